//! Who answers a request: Relais itself, or the front door.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, RwLock};

use axum::body::Body;
use axum::response::Response;
use futures_util::FutureExt as _;
use http::header::{ALLOW, COOKIE, HOST, HeaderMap, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use http::{Method, Request, StatusCode, Uri, Version};
use relais_api::codes;
use relais_core::limits;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use crate::answer::problem::Refusal;
use crate::app::{App, ServeError};
use crate::config::ServerConfig;
use crate::connection::{Peer, Shards, Side, Sockets};
use crate::front_door::FrontDoor;
pub use crate::front_door::check::{RouteProblem, validate_routes};
use crate::observe::access;
use crate::request::sent_by::SentBy;
use crate::routes::OwnPaths;

/// Methods that Relais knows how to pass on; others pass, too, where a route names them.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, QUERY";

/// Where all requests come in. Its rules may change while it is open; a request goes by those
/// that it found, to its end.
pub struct Door {
    /// What the server was started with: connections go by it.
    pub(crate) app: Arc<App>,
    /// Connections, followers and tunnels: what a stop waits for.
    pub(crate) tracker: TaskTracker,
    /// Event streams that were taken back from the HTTP library.
    pub(crate) shards: Shards,
    /// WebSockets, which were too.
    pub(crate) sockets: Sockets,
    rules: RwLock<Arc<Rules>>,
}

/// Who answers what, compiled from a configuration.
pub struct Rules {
    app: Arc<App>,
    public: OwnPaths,
    admin: OwnPaths,
    front: FrontDoor,
}

impl Door {
    /// Compiles the routes.
    ///
    /// # Errors
    /// The first route that cannot be served.
    pub fn new(app: Arc<App>) -> Result<Arc<Self>, RouteProblem> {
        let tracker = TaskTracker::new();
        let rules = RwLock::new(Arc::new(Rules::new(app.clone(), tracker.clone())?));
        let (shards, sockets) = (Shards::default(), Sockets::default());
        Ok(Arc::new(Self { app, tracker, shards, sockets, rules }))
    }

    /// Compiles other rules, which nothing goes by yet.
    ///
    /// # Errors
    /// A route that cannot be served, or a certificate.
    pub fn prepare(&self, config: ServerConfig) -> Result<Rules, ServeError> {
        let app = self.app.with(config)?;
        Rules::new(app, self.tracker.clone()).map_err(ServeError::Route)
    }

    /// Lets each request that comes from now on go by other rules.
    pub fn go_by(&self, rules: Rules) {
        *self.rules.write().expect("nothing panics while it is held") = Arc::new(rules);
    }

    /// Answers a request. A mistake of ours fails this request only.
    pub(crate) async fn answer(&self, request: Request<Body>) -> Response {
        self.rules().answer(request).await
    }

    /// What an operator should know of the certificates that are served, now.
    #[must_use]
    pub fn certificate_warnings(&self) -> Vec<String> {
        self.rules().certificate_warnings()
    }

    /// What handshakes on a listener are made with, from now on; `None` where it speaks plain HTTP.
    pub(crate) fn acceptor(&self, side: Side) -> Option<TlsAcceptor> {
        self.rules().app.certificates.acceptor(side)
    }

    /// What is gone by now.
    pub(crate) fn current(&self) -> Arc<App> {
        self.rules().app.clone()
    }

    fn rules(&self) -> Arc<Rules> {
        self.rules.read().expect("nothing panics while it is held").clone()
    }
}

impl Rules {
    /// What an operator should know of their certificates, now.
    #[must_use]
    pub fn certificate_warnings(&self) -> Vec<String> {
        self.app.certificates.warnings(self.app.engine.now())
    }

    fn new(app: Arc<App>, tracker: TaskTracker) -> Result<Self, RouteProblem> {
        let front = FrontDoor::new(app.clone(), tracker)?;
        let (public, admin) = (OwnPaths::new(&app, Side::Public), OwnPaths::new(&app, Side::Admin));
        Ok(Self { app, public, admin, front })
    }

    async fn answer(&self, mut request: Request<Body>) -> Response {
        let elapsed = || self.app.engine.elapsed();
        let config = &self.app.config;
        let path = request.uri().path().to_owned();
        let entered = enter(&mut request);
        // Behind that its `Host` is where it belongs, whatever it came by.
        SentBy::of(config, &mut request);
        let noted = config.access_log.then(|| access::Asked::by(&request, elapsed()));
        let side = request.extensions().get::<Peer>().map_or(Side::Public, |peer| peer.side);
        let asked = match (&self.app.cors, side) {
            (Some(cors), Side::Public) => Some(cors.asked(&request)),
            _ => None,
        };
        let answered = match entered {
            Ok(Entered::Answered(response)) => Ok(response),
            Ok(Entered::Goes) => self.route(&path, request, side).await,
            Err(refusal) => Err(refusal),
        };
        let mut response =
            answered.unwrap_or_else(|refusal| self.app.answers.refuse(&refusal, &path));
        if let Some(asked) = asked {
            asked.answer(&mut response);
        }
        if let Some(noted) = noted {
            noted.answered(&response, elapsed());
        }
        response
    }

    /// Lets Relais itself answer, or the front door.
    async fn route(
        &self,
        path: &str,
        request: Request<Body>,
        side: Side,
    ) -> Result<Response, Refusal> {
        let own = match side {
            Side::Public => &self.public,
            Side::Admin => &self.admin,
        };
        if own.has(request.uri().path()) {
            return Ok(own.answer(path, request).await);
        }
        // Boxed, so that Relais' own answers hold no room for it.
        let taken = AssertUnwindSafe(Box::pin(self.front.take(request))).catch_unwind().await;
        taken.map_err(|_| Refusal::internal("a handler panicked"))
    }
}

/// What became of a request at the door.
enum Entered {
    /// It is answered.
    Answered(Response),
    /// It goes on.
    Goes,
}

/// Lets a request in, in one form.
fn enter(request: &mut Request<Body>) -> Result<Entered, Refusal> {
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Err(Refusal::new(&codes::METHOD_NOT_ALLOWED).allow(METHODS));
    }
    if request.method() == Method::OPTIONS && request.uri().path() == "*" {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(METHODS));
        return Ok(Entered::Answered(response));
    }
    normalise(request)?;
    Ok(Entered::Goes)
}

/// Brings a request into one form, whatever protocol it came by: an origin-form target,
/// one `Host`, one `Cookie`.
fn normalise(request: &mut Request<Body>) -> Result<(), Refusal> {
    join_cookies(request.headers_mut())?;
    if request.headers().len() > limits::HEAD_FIELDS_MAX {
        return Err(Refusal::new(&codes::HEAD_TOO_LARGE).limit(limits::HEAD_FIELDS_MAX as u64));
    }
    let host = host_of(request)?;
    if let Some(host) = host {
        request.headers_mut().insert(HOST, host);
    }
    let target = request.uri().path_and_query().cloned();
    let target = target.unwrap_or_else(|| PathAndQuery::from_static("/"));
    if !target.path().starts_with('/') {
        return Err(malformed("the target is no path"));
    }
    if request.uri().authority().is_some() {
        *request.uri_mut() = Uri::from(target);
    }
    Ok(())
}

/// The one host that a request names (RFC 9112, 3.2; RFC 9113, 8.3.1).
fn host_of(request: &Request<Body>) -> Result<Option<HeaderValue>, Refusal> {
    let invalid = || Refusal::new(&codes::INVALID_HOST);
    let mut lines = request.headers().get_all(HOST).iter();
    let line = lines.next();
    if lines.next().is_some() {
        return Err(invalid());
    }
    if let Some(line) = line
        && !is_authority(line.as_bytes())
    {
        return Err(invalid());
    }
    match (request.uri().authority(), line) {
        (Some(authority), Some(line)) if request.version() == Version::HTTP_2 => {
            // Two names for one request: the next hop could believe the other one.
            let is_same = line.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes());
            if is_same { Ok(Some(line.clone())) } else { Err(invalid()) }
        }
        // An absolute target outweighs `Host`.
        (Some(authority), _) if authority.as_str().contains('@') => Err(invalid()),
        (Some(authority), _) => {
            HeaderValue::from_str(authority.as_str()).map(Some).map_err(|_| invalid())
        }
        (None, Some(line)) => Ok(Some(line.clone())),
        (None, None) if request.version() < Version::HTTP_11 => Ok(None),
        (None, None) => Err(invalid()),
    }
}

fn is_authority(text: &[u8]) -> bool {
    Authority::try_from(text).is_ok_and(|authority| !authority.as_str().contains('@'))
}

/// HTTP/2 may send a cookie in crumbs; everybody else wants one line (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) -> Result<(), Refusal> {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return Ok(());
    }
    let crumbs: Vec<_> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let line = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]));
    headers.insert(COOKIE, line.map_err(|_| malformed("the cookies cannot be read"))?);
    Ok(())
}

fn malformed(why: &str) -> Refusal {
    Refusal::new(&codes::MALFORMED_REQUEST).because(why)
}
