//! `[upstream."…"]`: what protects a service, and how it is known.

use relais_core::outcome::PauseScope;
use relais_engine::{Config, TlsFault, UpstreamLimits, UpstreamTls};

use super::file::{File, RetryAfter, Upstream};
use super::problem::Report;
use super::{policy, url};

/// Tells the engine of every table.
pub(super) fn resolve(file: &File, config: &mut Config, report: &mut Report<'_>) {
    for (name, table) in &file.upstream {
        let what = format!("[upstream.{:?}]", name.get_ref());
        let origin = report.take(name.span(), &what, url::origin(name.get_ref()));
        let limits = limits(table, &what, report);
        let Some(origin) = origin else { continue };
        if let Some(tls) = tls(table, &origin, &what, report) {
            config.upstream_tls.insert(origin.clone(), tls);
        }
        config.upstreams.insert(origin, limits);
    }
}

fn limits(table: &Upstream, what: &str, report: &mut Report<'_>) -> UpstreamLimits {
    let field = format!("{what} concurrency");
    let concurrency = policy::at_least_one(table.concurrency.as_ref(), &field, report);
    UpstreamLimits {
        concurrency: concurrency.unwrap_or(UpstreamLimits::default().concurrency),
        rate: table.rate.as_ref().map(|rate| policy::rate(*rate.get_ref())),
        retry_after: table.retry_after.as_ref().map(|scope| match scope.get_ref() {
            RetryAfter::Origin => PauseScope::Origin,
            RetryAfter::Lane => PauseScope::Lane,
            RetryAfter::Queue => PauseScope::Queue,
        }),
    }
}

/// How it is called over TLS, if the table says anything of it. The files are read here, so that a
/// mistake in them is found before the first call.
fn tls(table: &Upstream, origin: &str, what: &str, report: &mut Report<'_>) -> Option<UpstreamTls> {
    let given = [("ca", &table.ca), ("cert", &table.cert), ("key", &table.key)];
    let mut given = given.into_iter().filter_map(|(name, file)| Some((name, file.as_ref()?)));
    let (first_name, first) = given.next()?;
    if !origin.starts_with("https://") {
        let field = format!("{what} {first_name}");
        report.at(first.span(), field, "is of TLS: only an https upstream has it");
        return None;
    }
    let identity = match (&table.cert, &table.key) {
        (Some(cert), Some(key)) => Some((cert.get_ref().as_path(), key.get_ref().as_path())),
        (None, None) => None,
        (Some(alone), None) => {
            report.at(alone.span(), format!("{what} cert"), "needs its `key`");
            return None;
        }
        (None, Some(alone)) => {
            report.at(alone.span(), format!("{what} key"), "needs its `cert`");
            return None;
        }
    };
    let ca = table.ca.as_ref().map(|ca| ca.get_ref().as_path());
    match UpstreamTls::of_files(ca, identity) {
        Ok(tls) => Some(tls),
        Err(fault) => {
            let (name, file) = match &fault {
                TlsFault::Authorities(_) => ("ca", &table.ca),
                TlsFault::Identity(_) => ("cert", &table.cert),
                TlsFault::Key(_) => ("key", &table.key),
            };
            let span = file.as_ref().map_or_else(|| first.span(), toml::Spanned::span);
            report.at(span, format!("{what} {name}"), fault.to_string());
            None
        }
    }
}
