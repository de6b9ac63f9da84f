//! What all requests share, put together from a configuration and an engine. It decides nothing:
//! each part belongs to the room that it is named after.

use std::sync::Arc;

use relais_engine::{Engine, EngineError};

use crate::answer::answers::Answers;
use crate::answer::base::Base;
use crate::answer::cors::Cors;
use crate::answer::pages::Pages;
use crate::auth::{Auth, CallerMac, Keys, KeysError, Signing};
use crate::config::ServerConfig;
use crate::connection::tls::{Certificates, TlsError};
use crate::observe::metrics::Metrics;
use crate::observe::refusals::Refusals;
use crate::request::bodies::Bodies;
use crate::routes::service::Description;
use crate::service::RouteProblem;
use crate::socket::open::OpenSockets;
use crate::stop::Stop;
use crate::watch::estimate::Estimates;
use crate::watch::follower::Followers;

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The engine, or its store, could not.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The keys in the store cannot be read.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The certificate of a listener cannot be served.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A route cannot be.
    #[error("{}: {}", .0.path, .0.why)]
    Route(RouteProblem),
}

/// What all requests share. Where the configuration is read again there is one more of it, which
/// shares with the one before whatever outlives a request.
pub struct App {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) engine: Engine,
    /// Who calls, and what that reaches.
    pub(crate) auth: Arc<Auth>,
    /// What answers are made with.
    pub(crate) answers: Arc<Answers>,
    /// Where Relais is.
    pub(crate) base: Arc<Base>,
    /// What all followers share.
    pub(crate) followers: Arc<Followers>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) refusals: Arc<Refusals>,
    /// The bytes of requests that are not whole yet.
    pub(crate) bodies: Arc<Bodies>,
    /// The WebSockets of each caller.
    pub(crate) open_sockets: Arc<OpenSockets>,
    pub(crate) certificates: Certificates,
    /// Which other origins' pages may read answers; `None` if no origin is listed.
    pub(crate) cors: Option<Cors>,
    /// The description of the calls.
    pub(crate) description: Description,
    /// How far a stop has come.
    pub stop: Stop,
}

impl App {
    /// Reads, or at the first start makes, the keys that tickets are signed with.
    ///
    /// # Errors
    /// When the store cannot be read, or holds a key that makes no sense.
    pub async fn new(config: ServerConfig, engine: Engine) -> Result<Arc<Self>, ServeError> {
        let stop = Stop::default();
        let keys = Keys::load(&config.keys, &engine).await?;
        let signing = Signing::load(&engine, stop.clone()).await?;
        let mac = Arc::new(CallerMac::load(&engine).await?);
        let bodies = Arc::new(Bodies::new(&config));
        let config = Arc::new(config);
        let base = Arc::new(Base::new(config.clone()));
        let auth = Auth { engine, config, base, keys, signing, mac };
        let (metrics, refusals) = (Arc::default(), Arc::default());
        let (estimates, open_sockets) = (Arc::default(), Arc::default());
        Self::of(auth, Lasting { metrics, refusals, bodies, open_sockets, estimates, stop })
    }

    /// The same by another configuration. What must not be lost is shared: keys of the store,
    /// figures, room that bodies take, and how far a stop has come.
    ///
    /// # Errors
    /// When a certificate that it names cannot be served.
    pub(crate) fn with(&self, config: ServerConfig) -> Result<Arc<Self>, ServeError> {
        let config = Arc::new(config);
        let auth = Auth {
            engine: self.engine.clone(),
            base: Arc::new(self.base.with(config.clone())),
            keys: self.auth.keys.with(&config.keys),
            signing: self.auth.signing.clone(),
            mac: self.auth.mac.clone(),
            config,
        };
        let lasting = Lasting {
            metrics: self.metrics.clone(),
            refusals: self.refusals.clone(),
            bodies: self.bodies.clone(),
            open_sockets: self.open_sockets.clone(),
            estimates: self.followers.estimates.clone(),
            stop: self.stop.clone(),
        };
        Self::of(auth, lasting)
    }

    fn of(auth: Auth, lasting: Lasting) -> Result<Arc<Self>, ServeError> {
        let Lasting { metrics, refusals, bodies, open_sockets, estimates, stop } = lasting;
        let (config, engine, base) = (auth.config.clone(), auth.engine.clone(), auth.base.clone());
        let cors = Cors::of(&config.cors_origins);
        let answers = Arc::new(Answers {
            engine: engine.clone(),
            base: base.clone(),
            pages: Pages::new(&config.page, base.path()),
            signing: auth.signing.clone(),
            metrics: metrics.clone(),
            refusals: refusals.clone(),
            marks_own: cors.is_some(),
        });
        let followers = Arc::new(Followers {
            engine: engine.clone(),
            answers: answers.clone(),
            estimates,
            stop: stop.clone(),
        });
        Ok(Arc::new(Self {
            certificates: Certificates::read(&config)?,
            description: Description::default(),
            auth: Arc::new(auth),
            config,
            engine,
            answers,
            base,
            followers,
            metrics,
            refusals,
            bodies,
            open_sockets,
            cors,
            stop,
        }))
    }
}

/// What outlives a configuration, beside the keys.
struct Lasting {
    metrics: Arc<Metrics>,
    refusals: Arc<Refusals>,
    bodies: Arc<Bodies>,
    open_sockets: Arc<OpenSockets>,
    estimates: Arc<Estimates>,
    stop: Stop,
}
