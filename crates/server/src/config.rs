//! What a server is told at its start. The binary makes it from `relais.toml`, flags and
//! environment; it is checked there, and trusted here.

mod page;
mod public_url;
mod upstream;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use relais_core::outcome::SAFE_METHODS;
use relais_core::{Grace, Grants, LaneKey, OptionName, QueueName, TenantName, limits};

use crate::connection::tls::TlsFiles;

pub use page::{Color, InvalidColor, InvalidLogo, Logo, Page};
pub use public_url::{InvalidPublicUrl, PublicUrl};
pub use upstream::{InvalidUpstream, Upstream};

/// What a server is told at its start.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The front door and the task API.
    pub listen: SocketAddr,
    /// Metrics and administration: another origin on purpose.
    pub admin_listen: SocketAddr,
    /// What absolute links begin with; `None` on loopback only, where links are made from the
    /// listening address.
    pub public_url: Option<PublicUrl>,
    /// Whose `Forwarded` and `X-Forwarded-*` are believed: networks as (address, prefix length).
    pub trusted_proxies: Vec<IpNet>,
    /// Where requests go that no route takes; `None` answers 404.
    pub fallback: Option<Upstream>,
    /// Which `Host` the fallback is sent; `None` is [`HostHeader::usual_for`] its URL.
    pub upstream_host: Option<HostHeader>,
    /// Goes before every path of Relais itself on `listen`; empty, or `/…`
    /// without a trailing slash.
    pub api_prefix: String,
    /// Origins whose pages may read answers of Relais itself, as browsers
    /// write them; none by default.
    pub cors_origins: Vec<String>,
    /// Whose pages are shown to people.
    pub page: Page,
    /// The routes, in the order of the file.
    pub routes: Vec<Route>,
    /// API keys of the configuration. Those added by `relais key add` live in the store.
    pub keys: Vec<ApiKey>,
    /// The tenant of callers without an API key, on `/v1`.
    pub default_tenant: TenantName,
    /// Header fields sealed at rest, lower case and with `-` for `_`: `authorization`,
    /// `cookie` and those configured.
    pub sealed_fields: Vec<String>,
    /// Whether calls without a key are taken off loopback too (`--insecure`).
    pub is_insecure: bool,
    /// Largest request body, bytes.
    pub body_bytes_max: u64,
    /// Bytes of bodies held in memory that are not whole yet.
    pub unfinished_memory_bytes_max: u64,
    /// Bytes of bodies on their way into the store that are not whole yet.
    pub unfinished_store_bytes_max: u64,
    /// Connections at once.
    pub connections_max: usize,
    /// How long a client may take to send a request head.
    pub header_timeout: Duration,
    /// Whether each request has a line in the log.
    pub access_log: bool,
    /// The certificate of `listen`; without one it speaks plain HTTP.
    pub tls: Option<TlsFiles>,
    /// The certificate of `admin_listen`.
    pub admin_tls: Option<TlsFiles>,
}

impl ServerConfig {
    /// A server on loopback, without routes: what tests begin with.
    #[must_use]
    pub fn on_loopback() -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            listen: any,
            admin_listen: any,
            public_url: None,
            trusted_proxies: Vec::new(),
            fallback: None,
            upstream_host: None,
            api_prefix: String::new(),
            cors_origins: Vec::new(),
            page: Page::default(),
            routes: Vec::new(),
            keys: Vec::new(),
            default_tenant: "default".parse().expect("a valid name"),
            sealed_fields: vec!["authorization".to_owned(), "cookie".to_owned()],
            is_insecure: false,
            body_bytes_max: limits::REQUEST_BODY_BYTES_MAX,
            unfinished_memory_bytes_max: limits::UNFINISHED_MEMORY_BYTES_MAX,
            unfinished_store_bytes_max: limits::UNFINISHED_STORE_BYTES_MAX,
            connections_max: limits::CONNECTIONS_MAX,
            header_timeout: Duration::from_secs(10),
            access_log: false,
            tls: None,
            admin_tls: None,
        }
    }

    /// The scheme that `listen` is called by.
    #[must_use]
    pub const fn scheme(&self) -> &'static str {
        scheme(self.tls.as_ref())
    }

    /// The scheme that `admin_listen` is called by.
    #[must_use]
    pub const fn admin_scheme(&self) -> &'static str {
        scheme(self.admin_tls.as_ref())
    }
}

const fn scheme(tls: Option<&TlsFiles>) -> &'static str {
    if tls.is_some() { "https" } else { "http" }
}

impl ServerConfig {
    /// Whether it is called under a name that is not this machine's: then others than those on this
    /// machine reach `listen`, by whatever leads that name to it.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.public_url.as_ref().is_some_and(|url| !url.is_of_this_machine())
    }
}

/// An API key: only its hash is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// What operators call it; it decides nothing.
    pub name: String,
    /// SHA-256 of the key's text (`rk_…`: 256 random bits, so that a plain hash is enough).
    pub hash: [u8; 32],
    /// Whose it is.
    pub tenant: TenantName,
    /// What it allows.
    pub scopes: Scopes,
}

/// What an API key allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes {
    /// Submit, cancel, retry, erase.
    pub submit: bool,
    /// Read tasks, events, results, queues.
    pub read: bool,
    /// Lease, report, settle.
    pub work: bool,
    /// Pause queues, change policies, manage keys.
    pub admin: bool,
    /// See the figures of all tenants at `/metrics`.
    pub operator: bool,
}

impl Scopes {
    /// Everything within one tenant.
    pub const ALL: Self =
        Self { submit: true, read: true, work: true, admin: true, operator: false };
}

/// How a route answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Directly if done in time, else with a ticket.
    Auto,
    /// With a ticket.
    Async,
    /// Synchronously, unless the client prefers otherwise.
    Prefer,
    /// Synchronously: a plain streaming proxy.
    Sync,
}

/// Who runs the tasks of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Run {
    /// Relais calls this service, which also takes what is passed on without a task.
    Upstream(Upstream),
    /// Workers lease them; nothing can be passed on.
    Workers,
}

/// A rule of the front door: which requests become tasks, and how they are run.
#[derive(Debug, Clone)]
pub struct Route {
    /// A path, with `{name}` for a segment and a trailing `{*rest}` for the rest.
    pub path: String,
    /// Methods, upper case; empty takes all.
    pub methods: Vec<String>,
    /// Who runs its tasks.
    pub run: Run,
    /// How it answers.
    pub mode: Mode,
    /// How long `auto` waits for an answer.
    pub wait: Duration,
    /// How long a client may ask it to wait.
    pub wait_max: Duration,
    /// Where its tasks wait.
    pub queue: QueueName,
    /// The tenant of callers without an API key.
    pub tenant: TenantName,
    /// Where the lane comes from.
    pub lane: Option<LaneSource>,
    /// Whether a request may be sent again after a lost answer; `None` goes by the method.
    pub idempotent: Option<bool>,
    /// Who may see its tasks.
    pub access: RouteAccess,
    /// What its tickets grant.
    pub grants: Grants,
    /// How long after its last client has left a task is canceled; `None` lets it go on.
    pub abandon: Option<Grace>,
    /// After how long a silence an event stream that is streamed through gets a comment; `None` is never.
    pub keepalive: Option<Duration>,
    /// Options that a caller may set by header: `delay`, `run-at`, `priority`,
    /// `lane`, `deadline`, `label`.
    pub allow: Vec<OptionName>,
    /// Whether the upstream may heartbeat and report.
    pub report: bool,
    /// Which `Host` the upstream is sent.
    pub upstream_host: HostHeader,
    /// Who says which pages of other origins may call it.
    pub cors: CorsBy,
    /// Whether a request that comes twice makes one task.
    pub double_submit: Option<DoubleSubmit>,
}

/// When a request that comes twice makes one task, although no key says that it is the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoubleSubmit {
    /// How long after the first, at most [`limits::DOUBLE_SUBMIT_MAX`].
    pub window: Duration,
    /// The cookie of the service that says who somebody is. Others (a language, a consent) are alike in
    /// many browsers: by them alone nobody is known.
    pub cookie: Option<String>,
    /// The field, drawn anew for each page, by which two requests of nobody known are known to come
    /// from one page; `None` joins none of those.
    pub field: Option<String>,
}

/// Who says which pages of other origins may call a route, and read its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CorsBy {
    /// The upstream: its preflights and fields are passed on as they are.
    Upstream,
    /// Relais, by `cors_origins`: for an upstream that knows of no other origins, and for workers.
    Relais,
}

/// Which `Host` an upstream is sent. TLS always goes by the name in the upstream's URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostHeader {
    /// The authority of the upstream.
    Upstream,
    /// What the client sent.
    Client,
    Fixed(String),
}

impl HostHeader {
    /// Which one a service gets that stands behind Relais for everything and is not told otherwise.
    ///
    /// A loopback or private address, or a name without a dot, is a name of the inside: no
    /// client knows it, and a web application that checks `Origin` against it, or builds
    /// links of it, breaks. Such a service gets the client's `Host`. Any other name may be
    /// what the service is found by.
    #[must_use]
    pub fn usual_for(upstream: &Upstream) -> Self {
        let uri = upstream.origin().parse::<http::Uri>().ok();
        let host = uri.as_ref().and_then(http::Uri::host).unwrap_or_default();
        if is_name_of_the_inside(host.trim_matches(['[', ']'])) {
            Self::Client
        } else {
            Self::Upstream
        }
    }

    /// The `Host` to send for a request with these fields; `None` is the authority of the upstream.
    #[must_use]
    pub(crate) fn sent(&self, headers: &http::HeaderMap) -> Option<String> {
        match self {
            Self::Upstream => None,
            Self::Fixed(host) => Some(host.clone()),
            // HTTP/1.0 may come without one.
            Self::Client => Some(headers.get(http::header::HOST)?.to_str().ok()?.to_owned()),
        }
    }
}

fn is_name_of_the_inside(host: &str) -> bool {
    match host.parse::<IpAddr>().map(|address| address.to_canonical()) {
        // Nowhere means this machine to whoever calls it.
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_unspecified(),
        Ok(IpAddr::V6(ip)) => ip.is_loopback() || ip.is_unique_local() || ip.is_unspecified(),
        Err(_) => !host.is_empty() && !host.contains('.'),
    }
}

/// Where the lane of a route's tasks comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaneSource {
    /// A header field.
    Header(String),
    /// A named segment of the path.
    Path(String),
    /// A query parameter.
    Query(String),
    /// The address of the client.
    Ip,
    Const(LaneKey),
}

/// Who may see a route's tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteAccess {
    /// Whoever has the ticket.
    Ticket,
    /// Whoever sends the same value in this header field.
    Caller(String),
    /// Whoever has a key of the tenant.
    Key,
}

impl Route {
    /// The service that its requests may be passed on to.
    #[must_use]
    pub const fn upstream(&self) -> Option<&Upstream> {
        match &self.run {
            Run::Upstream(upstream) => Some(upstream),
            Run::Workers => None,
        }
    }

    /// The route that `--upstream` stands for: everything goes there; mode `prefer` for methods
    /// that only read, `auto` for the others.
    #[must_use]
    pub fn everything_to(upstream: &Upstream) -> [Self; 2] {
        let reading = Self {
            path: "/{*rest}".to_owned(),
            methods: SAFE_METHODS.map(str::to_owned).to_vec(),
            run: Run::Upstream(upstream.clone()),
            mode: Mode::Prefer,
            wait: Duration::from_secs(10),
            wait_max: limits::WAIT_MAX,
            queue: "default".parse().expect("a valid name"),
            tenant: "default".parse().expect("a valid name"),
            lane: None,
            idempotent: None,
            access: RouteAccess::Ticket,
            grants: Grants { read: true, cancel: false, retry: false },
            abandon: None,
            keepalive: None,
            allow: OptionName::BY_FIELD.to_vec(),
            report: false,
            upstream_host: HostHeader::usual_for(upstream),
            cors: CorsBy::Upstream,
            double_submit: None,
        };
        let others = Self { methods: Vec::new(), mode: Mode::Auto, ..reading.clone() };
        [reading, others]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_of_the_inside_gets_the_hosts_of_its_clients() {
        for (upstream, expected) in [
            ("http://127.0.0.1:9000", HostHeader::Client),
            ("http://127.8.9.1", HostHeader::Client),
            ("http://0.0.0.0:9000", HostHeader::Client),
            ("http://10.1.2.3/base", HostHeader::Client),
            ("http://172.31.0.1", HostHeader::Client),
            ("https://192.168.7.1:8443", HostHeader::Client),
            ("http://[::1]:9000", HostHeader::Client),
            ("http://[::ffff:10.0.0.1]", HostHeader::Client),
            ("http://[fd00::1]", HostHeader::Client),
            ("http://localhost:9000", HostHeader::Client),
            ("http://app:3000", HostHeader::Client),
            ("http://172.32.0.1", HostHeader::Upstream),
            ("http://203.0.113.7", HostHeader::Upstream),
            ("http://[2001:db8::1]", HostHeader::Upstream),
            ("https://api.example.com", HostHeader::Upstream),
            ("http://app.internal:3000", HostHeader::Upstream),
        ] {
            assert_eq!(
                HostHeader::usual_for(&upstream.parse().expect("an address")),
                expected,
                "{upstream}"
            );
        }
    }

    #[test]
    fn a_client_without_a_host_leaves_the_upstreams_own() {
        let none = http::HeaderMap::new();
        let mut some = none.clone();
        some.insert(http::header::HOST, http::HeaderValue::from_static("shop.example:81"));
        let fixed = HostHeader::Fixed("fixed.example".to_owned());
        for (policy, headers, expected) in [
            (HostHeader::Client, &some, Some("shop.example:81")),
            (HostHeader::Client, &none, None),
            (HostHeader::Upstream, &some, None),
            (fixed, &some, Some("fixed.example")),
        ] {
            assert_eq!(policy.sent(headers).as_deref(), expected, "{policy:?}");
        }
    }
}
