//! The plain streaming proxy: mode `sync` and the fallback. No task, no retry; the call ends with its
//! client.

pub(crate) mod fields;
pub(crate) mod source;
mod tunnel;

use std::error::Error as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::header::{FORWARDED, HOST, HeaderValue};
use http::uri::Authority;
use http::{Request, StatusCode, Uri};
use http_body::Body as _;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use relais_api::codes;
use tokio_util::task::TaskTracker;

use self::fields::PreferIs;
use self::source::Source;
use crate::app::App;
use crate::config::HostHeader;
use crate::connection::Peer;
use crate::problem::{ORIGIN, Refusal};

/// How long connecting to an upstream may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an idle connection to an upstream is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Idle connections kept per upstream.
const IDLE_MAX: usize = 256;
/// How long a call goes on for a client that has closed its sending side, since the last byte that it
/// was sent: it may wait for its answer, and most who do that are gone.
const HALF_CLOSED_FOR: Duration = Duration::from_secs(5);
/// How often a silent upstream is asked, on the connection's level, whether it still lives.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Where a request is passed on to.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Scheme, authority and base path.
    pub(crate) upstream: String,
    /// Which `Host` it is sent.
    pub(crate) host: HostHeader,
    /// What becomes of `Prefer`.
    pub(crate) prefer: PreferIs,
    /// How long the upstream may take to begin its answer.
    pub(crate) timeout: Duration,
}

/// Passes requests on.
pub(crate) struct Proxy {
    app: Arc<App>,
    client: Client<HttpsConnector<HttpConnector>, Body>,
    tracker: TaskTracker,
}

impl Proxy {
    pub(crate) fn new(app: Arc<App>, tracker: TaskTracker) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        http.set_keepalive(Some(KEEPALIVE));
        let https = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_MAX)
            .build(https);
        Self { app, client, tracker }
    }

    /// Passes a request on, and its answer back, as they come.
    ///
    /// # Errors
    /// When there is no answer to pass back.
    pub(crate) async fn forward(
        &self,
        mut request: Request<Body>,
        peer: &Peer,
        target: &Target,
    ) -> Result<Response, Refusal> {
        peer.be_patient(HALF_CLOSED_FOR);
        let upgrade = fields::upgrade_of(request.headers(), request.version());
        let on_client = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
        let method = request.method().clone();
        let outgoing = self.outgoing(request, peer, target, upgrade)?;
        let call = tokio::time::timeout(target.timeout, self.client.request(outgoing));
        let answer = call.await.map_err(|_| Refusal::new(&codes::UPSTREAM_TIMEOUT))?;
        let mut answer = answer.map_err(|error| refusal_of(&error))?;
        let protocol = answer.headers().get(http::header::UPGRADE).cloned();
        let has_body = !answer.body().is_end_stream();
        fields::clean_response(answer.headers_mut(), &method, has_body);
        // An upstream that speaks HTTP/1.0 does not make Relais do so (RFC 9110, 2.5).
        *answer.version_mut() = http::Version::HTTP_11;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            let (Some(on_client), Some(protocol)) = (on_client, protocol) else {
                return Err(Refusal::new(&codes::UPSTREAM_MALFORMED)
                    .because("the upstream changed to a protocol that nobody asked for"));
            };
            let on_upstream = hyper::upgrade::on(&mut answer);
            let stop = self.app.stop.clone();
            let permit = peer.permit.clone();
            self.tracker.spawn(tunnel::run(on_client, on_upstream, stop, permit));
            fields::set_upgrade(answer.headers_mut(), protocol);
            return Ok(answer.map(|_| no_body()));
        }
        if answer.status().as_u16() >= 400 {
            answer.headers_mut().insert(ORIGIN, HeaderValue::from_static("upstream"));
        }
        Ok(answer.map(|body| if has_body { Body::new(body) } else { no_body() }))
    }

    fn outgoing(
        &self,
        request: Request<Body>,
        peer: &Peer,
        target: &Target,
        upgrade: Option<HeaderValue>,
    ) -> Result<Request<Body>, Refusal> {
        let config = self.app.engine.config();
        let via = &config.via;
        let (parts, body) = request.into_parts();
        if fields::is_loop(&parts.headers, via) {
            return Err(Refusal::new(&codes::LOOP_DETECTED));
        }
        let source = Source::of(&self.app.config, peer.address.ip(), &parts.headers);
        let uri = address(&target.upstream, &parts.uri)?;
        let mut headers = fields::of_request(&parts.headers, &source, target.prefer);
        let host = target.host.sent(&parts.headers);
        let host = host.as_deref().or_else(|| uri.authority().map(Authority::as_str));
        if let Some(Ok(host)) = host.map(HeaderValue::from_str) {
            headers.insert(HOST, host);
        }
        if let Ok(forwarded) = HeaderValue::try_from(source.forwarded()) {
            headers.insert(FORWARDED, forwarded);
        }
        fields::add_via(&mut headers, parts.version, via);
        if let Some(protocol) = upgrade {
            fields::set_upgrade(&mut headers, protocol);
        }
        let mut outgoing = Request::new(body);
        *outgoing.method_mut() = parts.method;
        *outgoing.uri_mut() = uri;
        *outgoing.headers_mut() = headers;
        Ok(outgoing)
    }
}

/// The address of a target at an upstream.
fn address(upstream: &str, target: &Uri) -> Result<Uri, Refusal> {
    let target = target.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    format!("{}{target}", upstream.trim_end_matches('/'))
        .parse()
        .map_err(|_| Refusal::new(&codes::MALFORMED_REQUEST).because("the target cannot be read"))
}

/// Why there is no answer.
fn refusal_of(error: &hyper_util::client::legacy::Error) -> Refusal {
    if error.is_connect() {
        return Refusal::new(&codes::UPSTREAM_UNREACHABLE);
    }
    tracing::debug!(%error, "an upstream did not answer");
    let cause = error.source().and_then(|source| source.downcast_ref::<hyper::Error>());
    if cause.is_some_and(hyper::Error::is_user) {
        // The client's own upload broke off; most likely nobody hears this.
        return crate::incoming::broken_off();
    }
    Refusal::new(&codes::UPSTREAM_MALFORMED)
        .because("the connection to the upstream broke before its answer could be read")
}

/// No body, and no word of its length: an answer to HEAD, or a 304, has one that is not sent.
pub(crate) fn no_body() -> Body {
    Body::new(Nothing)
}

struct Nothing;

impl http_body::Body for Nothing {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, Self::Error>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }
}
