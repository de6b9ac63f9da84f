//! What all requests share: the configuration, the engine, the keys, and where Relais is.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use http::header::HOST;
use relais_api::Problem;
use relais_core::Task;
use relais_engine::{Context, Engine, EngineError, envelope};
use tokio_util::sync::CancellationToken;

use crate::answer::cors::{Cors, Own};
use crate::answer::problem::Refusal;
use crate::auth::{CallerMac, Keys, Signing, is_loopback};
use crate::config::ServerConfig;
use crate::connection::tls::{Certificates, TlsError};
use crate::observe::metrics::Metrics;
use crate::observe::refusals::Refusals;
use crate::proxy::source::is_authority;
use crate::request::bodies::Bodies;
use crate::routes::OwnPaths;
use crate::routes::uploads::Uploads;
use crate::service::RouteProblem;
use crate::watch::estimate::Estimates;

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The engine, or its store, could not.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A key in the store cannot be read.
    #[error("the key {0} in the store cannot be read")]
    UnreadableKey(String),
    /// The certificate of a listener cannot be served.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A route cannot be.
    #[error("{}: {}", .0.path, .0.why)]
    Route(RouteProblem),
}

/// Which listener a request came in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The front door and the task API.
    Public,
    /// Metrics and administration.
    Admin,
}

/// What all requests share. Where the configuration is read again there is one more of it, which
/// shares with the one before whatever outlives a request.
pub struct App {
    pub(crate) config: ServerConfig,
    pub(crate) engine: Engine,
    pub(crate) keys: Keys,
    pub(crate) signing: Arc<Signing>,
    pub(crate) caller_mac: Arc<CallerMac>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) uploads: Arc<Uploads>,
    pub(crate) certificates: Certificates,
    pub(crate) estimates: Arc<Estimates>,
    /// The bytes of requests that are not whole yet.
    pub(crate) bodies: Arc<Bodies>,
    /// Which other origins' pages may read answers; `None` if no origin is listed.
    pub(crate) cors: Option<Cors>,
    is_leaving: Arc<AtomicBool>,
    /// Fires when nothing runs any more: held requests are answered, streams
    /// close, then the listeners.
    pub(crate) stop: CancellationToken,
    /// Where the public listener is.
    address: OnceLock<SocketAddr>,
    base: OnceLock<String>,
    openapi: OnceLock<Bytes>,
}

impl App {
    /// Reads, or at the first start makes, the keys that tickets are signed with.
    ///
    /// # Errors
    /// When the store cannot be read, or holds a key that makes no sense.
    pub async fn new(config: ServerConfig, engine: Engine) -> Result<Arc<Self>, ServeError> {
        let stop = CancellationToken::new();
        let app = Self {
            keys: Keys::load(&config.keys, &engine).await?,
            signing: Signing::load(&engine, stop.clone()).await?,
            caller_mac: Arc::new(CallerMac::load(&engine).await?),
            metrics: Arc::default(),
            refusals: Arc::default(),
            uploads: Arc::default(),
            certificates: Certificates::read(&config)?,
            estimates: Arc::default(),
            bodies: Arc::new(Bodies::new(&config)),
            cors: Cors::of(&config.cors_origins),
            is_leaving: Arc::default(),
            stop,
            address: OnceLock::new(),
            base: OnceLock::new(),
            openapi: OnceLock::new(),
            config,
            engine,
        };
        Ok(Arc::new(app))
    }

    /// The same by another configuration. What must not be lost is shared: keys of the store,
    /// figures, uploads, room that bodies take, and how far a stop has come.
    ///
    /// # Errors
    /// When a certificate that it names cannot be served.
    pub(crate) fn with(&self, config: ServerConfig) -> Result<Arc<Self>, TlsError> {
        let app = Self {
            keys: self.keys.with(&config.keys),
            signing: self.signing.clone(),
            caller_mac: self.caller_mac.clone(),
            metrics: self.metrics.clone(),
            refusals: self.refusals.clone(),
            uploads: self.uploads.clone(),
            bodies: self.bodies.clone(),
            certificates: Certificates::read(&config)?,
            estimates: self.estimates.clone(),
            cors: Cors::of(&config.cors_origins),
            is_leaving: self.is_leaving.clone(),
            stop: self.stop.clone(),
            address: OnceLock::new(),
            base: OnceLock::new(),
            openapi: OnceLock::new(),
            config,
            engine: self.engine.clone(),
        };
        if let Some(address) = self.address.get() {
            app.listening_on(*address);
        }
        Ok(Arc::new(app))
    }

    /// What an operator should know of the certificates, now.
    #[must_use]
    pub fn certificate_warnings(&self) -> Vec<String> {
        self.certificates.warnings(self.engine.now())
    }

    /// Says where the public listener is, if links are to be made from its address. The first call,
    /// and the first link, decide.
    pub fn listening_on(&self, address: SocketAddr) {
        let _ = self.address.set(address);
        let _ = self.base.set(self.base_on(address));
    }

    /// The first step of a stop: says at `/readyz` that new work should go elsewhere, and still
    /// takes all that comes. The second is [`Engine::drain`].
    pub fn leave(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
    }

    /// Whether new work should go elsewhere.
    pub(crate) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed) || self.engine.is_draining()
    }

    /// The last step of a stop: held requests are answered with what is known, streams close, then
    /// the listeners; clients come back elsewhere or later.
    pub fn close(&self) {
        self.leave();
        self.stop.cancel();
    }

    /// Relais' own paths on the public listener; all others are not found.
    pub fn api_router(self: &Arc<Self>) -> Router {
        self.own_router(Side::Public)
    }

    /// All of the admin listener.
    pub fn admin_router(self: &Arc<Self>) -> Router {
        self.own_router(Side::Admin)
    }

    fn own_router(self: &Arc<Self>, side: Side) -> Router {
        let own = Arc::new(OwnPaths::new(self, side));
        Router::new().fallback(async move |request: Request| {
            let path = request.uri().path().to_owned();
            own.answer(&path, request).await
        })
    }

    /// The description of the calls, as JSON: made once, as whoever asks costs nothing else.
    pub(crate) fn openapi(&self) -> Bytes {
        let make = || relais_api::openapi::document(&self.config.api_prefix).to_string().into();
        self.openapi.get_or_init(make).clone()
    }

    /// Scheme, authority and prefix of Relais' own paths, without a slash at the end.
    #[must_use]
    pub(crate) fn base(&self) -> &str {
        self.base.get_or_init(|| self.base_on(self.config.listen))
    }

    /// The same for a caller who found Relais under another name of this machine, which its
    /// links keep: to a page on `http://localhost:8080`, links on `http://127.0.0.1:8080` lead
    /// to another origin. `None` where [`base`](Self::base) holds. A name that is not this
    /// machine's never makes a link.
    #[must_use]
    pub(crate) fn base_for(&self, headers: &HeaderMap) -> Option<String> {
        let host = headers.get(HOST)?.to_str().ok()?;
        let may = self.config.public_url.is_none() && is_loopback(host) && is_authority(host);
        let (scheme, rest) = self.base().split_once("://")?;
        let own = rest.split('/').next().unwrap_or_default();
        (may && host != own).then(|| format!("{scheme}://{host}{}", self.config.api_prefix))
    }

    /// Turns a refusal, if the response is one, into its document. `path` is that of the request.
    #[must_use]
    pub(crate) fn finish(&self, mut response: Response, path: &str) -> Response {
        match response.extensions_mut().remove::<Refusal>() {
            Some(refusal) => self.refuse(&refusal, path),
            None => response,
        }
    }

    /// The answer to a request that is refused.
    #[must_use]
    pub(crate) fn refuse(&self, refusal: &Refusal, path: &str) -> Response {
        self.metrics.refused(refusal.code());
        self.note(refusal, Some(path));
        self.own(refusal.response(self.base(), Some(path)))
    }

    /// The document of an item of a call that is refused.
    #[must_use]
    pub(crate) fn refuse_item(&self, refusal: &Refusal) -> Problem {
        self.note(refusal, None);
        refusal.problem(self.base(), None)
    }

    /// Lets the log tell of a refusal that no answer of its own comes of. `path` is that of the
    /// request, where it is known.
    pub(crate) fn note(&self, refusal: &Refusal, path: Option<&str>) {
        self.refusals.note(refusal, path, self.engine.elapsed());
    }

    /// Marks an answer as made by Relais itself, if it matters who made it.
    #[must_use]
    pub(crate) fn own(&self, mut response: Response) -> Response {
        if self.cors.is_some() {
            response.extensions_mut().insert(Own);
        }
        response
    }

    /// What engine and server remember of a task beside its rules.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn context(task: &Task) -> Result<Context, Refusal> {
        Ok(envelope::decode(&task.spec.context)?)
    }

    fn base_on(&self, address: SocketAddr) -> String {
        let origin = match &self.config.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("{}://{address}", self.config.scheme()),
        };
        format!("{origin}{}", self.config.api_prefix)
    }
}
