//! How many files the process may have open. Each connection is one, to clients and to upstreams: where
//! calls took all of them no client could connect, for as long as the calls lasted.

use std::collections::BTreeSet;

use anyhow::bail;
use relais_server::config::Route;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Settings;

/// What is neither a client's connection nor a call: administration (256), the store, bodies that are
/// read or written, the runtime.
const OTHERS: u64 = 512;
/// With fewer connections for clients there is no server.
const CONNECTIONS_MIN: u64 = 64;

/// Raises the limit as far as the system lets a process do that by itself: shells and service managers often
/// start one with 1,024 of a million.
pub(crate) fn raise() {
    let limit = getrlimit(Resource::Nofile);
    // Where that is refused, the limit stays as it is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// How many connections of clients fit beside the calls that may run at once.
///
/// # Errors
/// When calls could take all of them.
pub(crate) fn connections(settings: &Settings) -> anyhow::Result<usize> {
    let calls = calls(settings);
    let wanted = settings.server.connections_max;
    let Some(limit) = getrlimit(Resource::Nofile).current else { return Ok(wanted) };
    let Some(room) = limit.checked_sub(OTHERS + calls).filter(|room| *room >= CONNECTIONS_MIN)
    else {
        bail!(
            "[upstream] concurrency permits {calls} calls at once, each an open file, and this process may \
             have {limit} open: no room is left for clients. Lower concurrency, or raise the limit to \
             {} or more (LimitNOFILE of systemd, ulimit -n)",
            OTHERS + calls + CONNECTIONS_MIN
        );
    };
    let fit = usize::try_from(room).unwrap_or(usize::MAX).min(wanted);
    if fit < wanted {
        tracing::warn!(
            "at most {fit} clients are connected at once, not {wanted}: this process may have {limit} files \
             open, and calls may take {calls} of them. Raise the limit to {} (LimitNOFILE of systemd, \
             ulimit -n), or lower [limits] connections",
            OTHERS + calls + wanted as u64
        );
    }
    Ok(fit)
}

/// Calls that may run at once: to upstreams that have limits, and to those of routes.
fn calls(settings: &Settings) -> u64 {
    let limits = &settings.engine.upstreams;
    let server = &settings.server;
    let called = server.routes.iter().filter_map(Route::upstream).chain(&server.fallback);
    let called = called.map(|upstream| &**upstream.origin());
    let origins: BTreeSet<&str> = limits.keys().map(String::as_str).chain(called).collect();
    let of = |origin| limits.get(origin).copied().unwrap_or_default().concurrency;
    origins.into_iter().map(|origin| u64::from(of(origin))).sum()
}
