//! The configuration: `relais.toml`, flags and environment, judged once and trusted afterwards.
//!
//! Flags win over the environment (`RELAIS_*`, which the command line reads), the environment over
//! the file, the file over the defaults. All mistakes are reported at once, each with its line. Not
//! here: what the values mean (`relais-engine`, `relais-server`).

mod file;
mod here;
mod keys;
mod loops;
mod misspelt;
mod page;
mod policy;
mod problem;
mod read;
pub mod reference;
mod route;
mod server;
mod upstream;
pub(crate) mod url;
mod webhooks;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use relais_core::{QueueName, limits};
use relais_engine::Config as EngineConfig;
use relais_server::config::{HostHeader, Route, ServerConfig};
use relais_server::validate_routes;

pub use here::{Here, here};
pub use problem::{Invalid, Problem};
pub use url::StoreUrl;

pub(crate) use keys::{add_scope, key_name};

use problem::{Report, Source};

/// The file that is read from the working folder when none is named.
pub const DEFAULT_FILE: &str = "relais.toml";

/// What flags and environment say, over the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// The file; [`DEFAULT_FILE`], if there is one, unless given.
    pub config: Option<PathBuf>,
    /// `[server] listen`.
    pub listen: Option<SocketAddr>,
    /// `[server] admin_listen`.
    pub admin_listen: Option<SocketAddr>,
    /// `[server] public_url`.
    pub public_url: Option<String>,
    /// `[store] url`.
    pub store: Option<String>,
    /// Fronts everything that no route of the file takes.
    pub upstream: Option<String>,
    /// `[server] upstream_host`.
    pub upstream_host: Option<HostHeader>,
    /// Takes calls without a key off loopback, too.
    pub insecure: bool,
    /// Logs each request.
    pub access_log: bool,
    /// Starts although the key of sealed credentials is lost.
    pub allow_lost_seal_key: bool,
}

/// A configuration that holds.
#[derive(Clone)]
pub struct Settings {
    /// The file it came from.
    pub file: Option<PathBuf>,
    /// What the server is told.
    pub server: ServerConfig,
    /// What the engine is told; the key that seals credentials is still to be added.
    pub engine: EngineConfig,
    /// Where tasks survive.
    pub store: StoreUrl,
    /// Whether to start although credentials in the store are sealed with a key that is not there.
    pub may_lose_seal_key: bool,
    /// How long a server that was told to stop says so before it refuses anything.
    pub drain_delay: Duration,
    /// What holds but is worth a second look.
    pub warnings: Vec<String>,
}

impl Settings {
    /// Whether a call without a key may come from another machine only if
    /// there are keys in the store.
    #[must_use]
    pub fn needs_stored_keys(&self) -> bool {
        let is_open =
            !self.server.listen.ip().is_loopback() || !self.server.admin_listen.ip().is_loopback();
        is_open && self.server.keys.is_empty() && !self.server.is_insecure
    }

    /// Whether calls without credentials are refused on `listen`, because it has a public name,
    /// unless there are keys in the store.
    #[must_use]
    pub fn has_no_calls_at_listen(&self) -> bool {
        self.server.is_public() && self.server.keys.is_empty() && !self.server.is_insecure
    }
}

/// Where variables are looked up.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads and judges the configuration.
///
/// # Errors
/// When the file cannot be read, or [`Invalid`] for what is wrong in it.
pub fn load(overrides: &Overrides, environment: Environment<'_>) -> anyhow::Result<Settings> {
    let default = Path::new(DEFAULT_FILE);
    let path = match &overrides.config {
        Some(path) => Some(path.as_path()),
        None => default.is_file().then_some(default),
    };
    let text = match path {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| anyhow::anyhow!("could not read {}: {error}", path.display()))?,
        None => String::new(),
    };
    Ok(judge(path, text, overrides, environment)?)
}

/// Judges a text as if it were the file at `path`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn judge(
    path: Option<&Path>,
    text: String,
    overrides: &Overrides,
    environment: Environment<'_>,
) -> Result<Settings, Invalid> {
    let source = Source::new(path.unwrap_or(Path::new(DEFAULT_FILE)), text);
    let mut report = Report::new(&source);
    let file = read::file(&source, &mut report);
    let mut warnings = Vec::new();
    let mut server = server::resolve(&file, overrides, &mut report);
    let mut engine = engine(&file, path.is_some(), &mut report, &mut warnings);
    server.page = page::resolve(&file.page, &mut report);
    server.keys = keys::resolve(&file.key, environment, &mut report);
    server.routes = route::resolve(&file.route, &server.default_tenant, &mut report);
    if report.is_clean() {
        // All routes of the file are there: their places are those of the file.
        judge_routes(&file, &server, &mut report);
    }
    refuse_cors_for_nobody(&file, &mut report);
    loops::refuse(&file, overrides, &server, &mut report);
    front_everything(&mut server, overrides, &mut report, &mut warnings);
    define_queues(&server.routes, &mut engine);
    warnings.extend(misspelt::hosts(&server));
    warnings.extend(misspelt::queues(&file));
    warnings.extend(route::joins_no_browser(&file.route, &report));
    let store = store(&file.store, overrides, &mut report);
    report.finish()?;
    let drain_delay = file.server.drain_delay.as_ref();
    let drain_delay = drain_delay.map_or(Duration::ZERO, |span| span.get_ref().as_duration());
    let file = path.map(Path::to_owned);
    let mut settings = Settings {
        file,
        server,
        engine,
        store,
        may_lose_seal_key: overrides.allow_lost_seal_key,
        drain_delay,
        warnings,
    };
    let more = second_looks(&settings);
    settings.warnings.extend(more);
    Ok(settings)
}

fn engine(
    file: &file::File,
    has_file: bool,
    report: &mut Report<'_>,
    warnings: &mut Vec<String>,
) -> EngineConfig {
    let mut config = EngineConfig::default();
    if has_file {
        // Without a file everything is allowed; a file says what there is.
        config.template = None;
    }
    for (name, queue) in &file.queue {
        let what = format!("[queue.{}]", name.get_ref());
        let policy = policy::resolve(queue, &what, report, warnings);
        if name.get_ref() == "*" {
            config.template = Some(policy);
        } else if let Some(name) = report.parse::<QueueName>(Some(name), &what) {
            config.queues.insert(name, policy);
        }
    }
    upstream::resolve(file, &mut config, report);
    config.outward = webhooks::resolve(&file.webhooks, report);
    config.result_bytes_max = server::bytes(
        file.limits.result.as_ref(),
        "[limits] result",
        limits::RESULT_BODY_BYTES_MAX,
        report,
    );
    if let Some(capacity) = &file.limits.tenant_capacity {
        let fits = (1..=limits::TENANT_CAPACITY).contains(capacity.get_ref());
        if !fits {
            let what = format!("must be from 1 to {}", limits::TENANT_CAPACITY);
            report.at(capacity.span(), "[limits] tenant_capacity", what);
        }
        config.tenant_capacity = *capacity.get_ref();
    }
    if let Some(drain) = server::span(file.server.drain.as_ref(), "[server] drain", report) {
        config.drain_for = drain;
    }
    if let Some(name) = &file.server.name {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let name_text = name.get_ref();
        if name_text.is_empty() || name_text.len() > 64 || !name_text.bytes().all(is_token) {
            let what = "must have 1 to 64 letters, digits, '-', '.' or '_'";
            report.at(name.span(), "[server] name", what);
        }
        config.via.clone_from(name_text);
    }
    config
}

/// `--upstream`: everything that no route takes goes there.
fn front_everything(
    server: &mut ServerConfig,
    overrides: &Overrides,
    report: &mut Report<'_>,
    warnings: &mut Vec<String>,
) {
    let Some(upstream) = &overrides.upstream else { return };
    match url::upstream(upstream) {
        Ok(upstream) => {
            let is_catch_all = |route: &Route| route.path == EVERYTHING;
            if server.routes.iter().any(is_catch_all) {
                warnings
                    .push("--upstream takes the place of the file's route for everything".into());
                server.routes.retain(|route| !is_catch_all(route));
            }
            let mut routes = Route::everything_to(&upstream);
            if let Some(host) = &server.upstream_host {
                routes.iter_mut().for_each(|route| route.upstream_host.clone_from(host));
            }
            server.routes.extend(routes);
            server.fallback = None;
            if report.is_clean() {
                for problem in validate_routes(server) {
                    report.elsewhere("--upstream", &problem.path, problem.why);
                }
            }
        }
        Err(error) => report.elsewhere("--upstream", "", error),
    }
}

/// What the server says of the routes together: hidden ones, paths that it does not serve.
fn judge_routes(file: &file::File, server: &ServerConfig, report: &mut Report<'_>) {
    for problem in validate_routes(server) {
        match problem.route {
            Some(index) => {
                let route = &file.route[index];
                let path = route.get_ref().path.as_ref();
                let span = path.map_or_else(|| route.span(), toml::Spanned::span);
                report.at(span, format!("[[route]] {:?}", problem.path), problem.why);
            }
            None => report.elsewhere("[server] fallback", "", problem.why),
        }
    }
}

/// Where no origin is listed, Relais would refuse every page of another origin in silence.
fn refuse_cors_for_nobody(file: &file::File, report: &mut Report<'_>) {
    for route in file.route.iter().map(toml::Spanned::get_ref) {
        if let Some(cors) = &route.cors
            && *cors.get_ref() == file::Cors::Relais
            && file.server.cors_origins.is_empty()
        {
            let what = "needs [server] cors_origins: which pages may call";
            report.at(cors.span(), "[[route]] cors", what);
        }
    }
}

/// A route's queue exists even if no table defines it.
fn define_queues(routes: &[Route], engine: &mut EngineConfig) {
    if engine.template.is_some() {
        return;
    }
    for route in routes {
        engine.queues.entry(route.queue.clone()).or_default();
    }
}

fn store(table: &file::Store, overrides: &Overrides, report: &mut Report<'_>) -> StoreUrl {
    let answer = match (&overrides.store, &table.url) {
        (Some(url), _) => match url.parse() {
            Ok(store) => Some(store),
            Err(error) => {
                report.elsewhere("--store", "", error);
                None
            }
        },
        (None, Some(url)) => {
            report.take(url.span(), "[store] url", url.get_ref().parse::<StoreUrl>())
        }
        (None, None) => None,
    };
    answer.unwrap_or_default()
}

fn second_looks(settings: &Settings) -> Vec<String> {
    let mut looks = Vec::new();
    if settings.store == StoreUrl::Memory {
        looks.push(
            "the store is in memory: every task is lost when Relais stops, whatever a 202 said"
                .to_owned(),
        );
    }
    if settings.server.is_insecure {
        looks.push("--insecure: whoever reaches the port may submit, read and cancel".to_owned());
    }
    if settings.needs_stored_keys() {
        looks.push(
            "it listens beyond this machine and the file has no key: it starts only if the store \
             has one (relais key add --store …), or with --insecure"
                .to_owned(),
        );
    }
    if settings.has_no_calls_at_listen() {
        looks.push(format!(
            "it is called under its public URL and the file has no key: without a ticket or a \
             lease's token the task API (/v1) answers on admin_listen ({}) only, unless the store \
             has a key (relais key add --store …)",
            settings.server.admin_listen
        ));
    }
    if settings.server.routes.is_empty() && settings.server.fallback.is_none() {
        looks.push("there is no route: only the task API (/v1) answers".to_owned());
    }
    looks
}

const EVERYTHING: &str = "/{*rest}";
