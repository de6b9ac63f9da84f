//! SIGHUP: the configuration is read again and judged as at the start; it is
//! taken whole, or not at all.

use std::path::PathBuf;
use std::sync::Arc;

use relais_engine::Engine;
use relais_server::Door;
use relais_server::auth::KEY_SECRETS;

use crate::cli::{show, variable};
use crate::config::{self, Invalid, Overrides, Settings};
use crate::{open_files, start};

/// What a running server is told again.
pub(crate) struct Reload {
    overrides: Overrides,
    /// What it goes by now.
    settings: Settings,
    door: Arc<Door>,
    engine: Engine,
}

impl Reload {
    pub(crate) fn new(
        mut overrides: Overrides,
        settings: Settings,
        door: Arc<Door>,
        engine: Engine,
    ) -> Self {
        // A file that has gone is a mistake, not a configuration without routes and keys.
        overrides.config = overrides.config.or_else(|| settings.file.clone());
        Self { overrides, settings, door, engine }
    }

    /// How long a stop only says so.
    pub(crate) const fn drain_delay(&self) -> std::time::Duration {
        self.settings.drain_delay
    }

    /// Reads the configuration again and goes by it. If anything is wrong with it, each mistake is
    /// logged and nothing changes.
    pub(crate) async fn run(&mut self) {
        let shown = self.overrides.config.clone().unwrap_or_else(|| PathBuf::from("defaults"));
        let shown = shown.display();
        match self.take().await {
            Ok(is_whole) => {
                let but = if is_whole { "" } else { ", but for what needs a restart" };
                tracing::info!(
                    "the configuration ({shown}) was read again, and holds from now{but}"
                );
                start::warn_of_undefined(&self.engine).await;
            }
            Err(error) => {
                match error.downcast_ref::<Invalid>() {
                    Some(invalid) => {
                        invalid.problems.iter().for_each(|problem| tracing::error!("{problem}"));
                    }
                    None => tracing::error!("{}", show::causes(&error)),
                }
                tracing::error!("the configuration ({shown}) is wrong: nothing has changed");
            }
        }
        if let Err(error) = self.engine.look_again().await {
            tracing::warn!(%error, "could not look for what may start now");
        }
    }

    /// Whether all of it holds from now, nothing needing a restart.
    async fn take(&mut self) -> anyhow::Result<bool> {
        let mut next = config::load(&self.overrides, &variable)?;
        let fixed = keep_fixed(&self.settings, &mut next);
        for what in &fixed {
            tracing::warn!("{what} has changed, which needs a restart: it stays as it was");
        }
        open_files::connections(&next)?;
        start::check_keys(&next, &self.engine.secrets(KEY_SECRETS).await?)?;
        let rules = self.door.prepare(next.server.clone())?;
        for warning in next.warnings.iter().chain(&rules.certificate_warnings()) {
            tracing::warn!("{warning}");
        }
        // From here on nothing fails, and nothing waits in between: queues
        // and routes change together.
        self.engine.configure(next.engine.clone());
        self.door.go_by(rules);
        self.settings = next;
        Ok(fixed.is_empty())
    }
}

/// Takes over what cannot change while the server runs; names what would have.
fn keep_fixed(now: &Settings, next: &mut Settings) -> Vec<&'static str> {
    let mut fixed = Vec::new();
    let mut keep = |what, differs: bool| {
        if differs {
            fixed.push(what);
        }
    };
    let (server, changed) = (&now.server, &mut next.server);
    keep("[server] listen", server.listen != changed.listen);
    keep("[server] admin_listen", server.admin_listen != changed.admin_listen);
    keep("[server] header_timeout", server.header_timeout != changed.header_timeout);
    keep("[limits] connections", server.connections_max != changed.connections_max);
    keep("[store] url", now.store != next.store);
    changed.listen = server.listen;
    changed.admin_listen = server.admin_listen;
    changed.header_timeout = server.header_timeout;
    changed.connections_max = server.connections_max;
    // Each listener for itself: what holds one back is no reason for the other.
    for (what, now, next) in [
        ("whether [server] tls is on", &server.tls, &mut changed.tls),
        ("whether [server] admin_tls is on", &server.admin_tls, &mut changed.admin_tls),
    ] {
        let is_switched = now.is_some() != next.is_some();
        keep(what, is_switched);
        if is_switched {
            next.clone_from(now);
        }
    }
    next.store.clone_from(&now.store);
    fixed
}
