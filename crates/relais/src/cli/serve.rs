//! `relais serve`: the server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use clap::builder::FalseyValueParser;
use relais_server::config::HostHeader;

use super::argument::{self, Usage};
use crate::config::{self, Overrides};
use crate::{logs, start};

/// Runs the server until SIGTERM or SIGINT, then drains: `/readyz` is 503 at once, after
/// `drain_delay` nothing new is taken, and what runs may end within `drain`. A second signal ends
/// it at once. SIGHUP reads the file again: if it is wrong, nothing changes and the log says why.
///
/// Flags win over the environment, the environment over the file, the file over the defaults. When
/// both listeners are ready one line says so on standard output: `relais ready: api URL admin URL`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  relais serve --upstream http://127.0.0.1:9000\n  \
                        relais serve --config relais.toml --log json")]
pub(super) struct Serve {
    #[command(flatten)]
    overrides: Flags,
    /// How log lines look: `human`, or `json`, one document a line. What is logged is in RUST_LOG
    /// [default filter: info]
    #[arg(long, env = "RELAIS_LOG", value_name = "FORMAT", default_value = "human")]
    log: logs::Format,
    /// Logs each request once its answer stands: method, path, status, how long it took, who asked
    #[arg(long, env = "RELAIS_ACCESS_LOG", value_parser = FalseyValueParser::new())]
    access_log: bool,
}

/// Flags over the configuration file; `serve` and `check` share them.
#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The configuration file [default: relais.toml, if there is one]
    #[arg(long, env = "RELAIS_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the front door and the task API listen: address and port, 0 takes a free one
    /// [default: 127.0.0.1:8080]
    #[arg(long, env = "RELAIS_LISTEN", value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Where metrics and administration listen: address and port, 0 takes a free one
    /// [default: 127.0.0.1:8081]
    #[arg(long, env = "RELAIS_ADMIN_LISTEN", value_name = "ADDRESS")]
    admin_listen: Option<SocketAddr>,
    /// Scheme and host of absolute links, such as https://api.example.com; needed off loopback
    #[arg(long, env = "RELAIS_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
    /// Where tasks survive: `sqlite:FILE`, or `memory:` for trials [default: sqlite:relais.db]
    #[arg(long, env = "RELAIS_STORE", value_name = "URL")]
    store: Option<String>,
    /// Fronts everything that no route of the file takes with this service, such as
    /// http://127.0.0.1:9000
    #[arg(long, env = "RELAIS_UPSTREAM", value_name = "URL")]
    upstream: Option<String>,
    /// Which Host that service is sent: `client`, `upstream`, or a name. Said of the
    /// file's fallback, too [default: client for a loopback or private address or a name
    /// without a dot, else upstream]
    #[arg(
        long,
        env = "RELAIS_UPSTREAM_HOST",
        value_name = "HOST",
        value_parser = config::url::host
    )]
    upstream_host: Option<HostHeader>,
    /// Takes calls without an API key off loopback, too: for trusted networks only
    #[arg(long, env = "RELAIS_INSECURE", value_parser = FalseyValueParser::new())]
    insecure: bool,
    /// Goes on although credentials in the store are sealed with a key that is
    /// not there: their tasks fail
    #[arg(long, env = "RELAIS_ALLOW_LOST_SEAL_KEY", value_parser = FalseyValueParser::new())]
    allow_lost_seal_key: bool,
}

impl Flags {
    /// What they say.
    ///
    /// # Errors
    /// When one of the URLs is none. Clap does not judge them: it would repeat a password in one.
    pub(super) fn overrides(&self) -> Result<Overrides, Usage> {
        if let Some(store) = &self.store {
            argument::store(store)?;
        }
        let is_public = |text: &str| config::url::public(text).map(drop);
        let urls = [
            ("--public-url <URL>", &self.public_url, is_public as fn(&str) -> _),
            ("--upstream <URL>", &self.upstream, |text| config::url::upstream(text).map(drop)),
        ];
        for (argument, url, judge) in urls {
            if let Some(Err(why)) = url.as_deref().map(judge) {
                return Err(Usage::value(argument, why));
            }
        }
        Ok(Overrides {
            config: self.config.clone(),
            listen: self.listen,
            admin_listen: self.admin_listen,
            public_url: self.public_url.clone(),
            store: self.store.clone(),
            upstream: self.upstream.clone(),
            upstream_host: self.upstream_host.clone(),
            insecure: self.insecure,
            access_log: false,
            allow_lost_seal_key: self.allow_lost_seal_key,
        })
    }
}

impl Serve {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let overrides = Overrides { access_log: self.access_log, ..self.overrides.overrides()? };
        let settings = config::load(&overrides, &variable)?;
        let _log = logs::init(self.log)?;
        for warning in &settings.warnings {
            tracing::warn!("{warning}");
        }
        start::serve(settings, overrides).await?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A variable of the environment; one that is not UTF-8 counts as not set.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
