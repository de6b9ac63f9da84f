//! The plain streaming proxy: mode `sync` and the fallback. No task; the call ends with its client.
//! No retry, but of a call that only asks, has no body, and was lost to an old connection.

pub(crate) mod fields;
pub(crate) mod source;
mod tunnel;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::header::{FORWARDED, HOST, HeaderValue};
use http::uri::Authority;
use http::{Request, StatusCode, Uri};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use relais_api::codes::{self, Code};
use relais_core::outcome::{Loss, Sent, is_idempotent_method, is_safe_method, judge_lost};
use relais_engine::Engine;
use relais_engine::upstream::call::{CallError, Outgoing};
use tokio_util::task::TaskTracker;

use self::fields::PreferIs;
use crate::answer::problem::Refusal;
use crate::answer::stored::no_body;
use crate::config::{HostHeader, ServerConfig, Upstream};
use crate::connection::Peer;
use crate::request::sent_by::SentBy;
use crate::stop::Stop;

/// How long a call goes on for a client that has closed its sending side, since the last byte that
/// it was sent: it may wait for its answer, and most who do that are gone.
const HALF_CLOSED_FOR: Duration = Duration::from_secs(5);

/// Where a request is passed on to.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) upstream: Upstream,
    /// Which `Host` it is sent.
    pub(crate) host: HostHeader,
    /// What becomes of `Prefer`.
    pub(crate) prefer: PreferIs,
    /// How long the upstream may take to begin its answer.
    pub(crate) timeout: Duration,
}

/// Passes requests on.
pub(crate) struct Proxy {
    pub(crate) engine: Engine,
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) stop: Stop,
    /// Waits for tunnels when the server stops.
    pub(crate) tracker: TaskTracker,
}

impl Proxy {
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
        let outgoing = self.outgoing(request, target, upgrade)?;
        let mut answer = self.call(outgoing, target.timeout).await?;
        let protocol = answer.headers().get(http::header::UPGRADE).cloned();
        let has_body = !answer.body().is_end_stream();
        fields::clean_response(answer.headers_mut(), &method, has_body);
        // An upstream that speaks HTTP/1.0 does not make Relais do so (RFC 9110, 2.5).
        *answer.version_mut() = http::Version::HTTP_11;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            let (Some(on_client), Some(protocol)) = (on_client, protocol) else {
                let loss = judge_lost(Sent::Something, is_idempotent_method(method.as_str()));
                let detail = "the upstream changed to a protocol that nobody asked for";
                return Err(lost(&codes::UPSTREAM_MALFORMED, loss, detail));
            };
            let on_upstream = hyper::upgrade::on(&mut answer);
            let stop = self.stop.clone();
            let permit = peer.permit.clone();
            self.tracker.spawn(tunnel::run(on_client, on_upstream, stop, permit));
            fields::set_upgrade(answer.headers_mut(), protocol);
            return Ok(answer.map(|_| no_body()));
        }
        if answer.status().as_u16() >= 400 {
            answer
                .headers_mut()
                .insert(relais_api::fields::ORIGIN, HeaderValue::from_static("upstream"));
        }
        Ok(answer.map(|body| if has_body { Body::new(body) } else { no_body() }))
    }

    /// Calls the upstream. A request that asks only may be sent again if it has no body: that of a
    /// QUERY passes as it comes, and nobody keeps it. So such a one only takes a connection that
    /// was in use a moment ago.
    async fn call(
        &self,
        request: Request<Body>,
        timeout: Duration,
    ) -> Result<http::Response<Incoming>, Refusal> {
        let method = request.method().clone();
        let asks_only = is_safe_method(method.as_str());
        let again = (asks_only && request.body().is_end_stream()).then(|| copy_of(&request));
        let again = again.map(|again| move || again.map(boxed));
        let mut sent = Sent::Nothing;
        let calling = self.engine.caller().call_or_repeat(request.map(boxed), again, &mut sent);
        let called = tokio::time::timeout(timeout, calling).await;
        let loss = judge_lost(sent, is_idempotent_method(method.as_str()));
        match called {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(refusal_of(&error, loss)),
            Err(_) => {
                Err(lost(&codes::UPSTREAM_TIMEOUT, loss, "the upstream did not answer in time"))
            }
        }
    }

    fn outgoing(
        &self,
        request: Request<Body>,
        target: &Target,
        upgrade: Option<HeaderValue>,
    ) -> Result<Request<Body>, Refusal> {
        let config = self.engine.config();
        let via = &config.via;
        let (mut parts, body) = request.into_parts();
        if fields::is_loop(&parts.headers, via) {
            return Err(Refusal::new(&codes::LOOP_DETECTED));
        }
        let source = SentBy::take(&self.config, &mut parts).source;
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
fn address(upstream: &Upstream, target: &Uri) -> Result<Uri, Refusal> {
    let target = target.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    format!("{upstream}{target}")
        .parse()
        .map_err(|_| Refusal::new(&codes::MALFORMED_REQUEST).because("the target cannot be read"))
}

fn boxed(body: Body) -> Outgoing {
    body.map_err(Into::into).boxed_unsync()
}

/// The same request once more; it has no body.
fn copy_of(request: &Request<Body>) -> Request<Body> {
    let mut copy = Request::new(Body::empty());
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    copy
}

/// Why there is no answer.
fn refusal_of(error: &CallError, loss: Loss) -> Refusal {
    let detail = error.to_string();
    match error {
        CallError::Unreachable(_) => {
            Refusal::new(&codes::UPSTREAM_UNREACHABLE).caused_by(&detail).because(detail)
        }
        CallError::HeadTooLarge => {
            Refusal::new(&codes::UPSTREAM_RESPONSE_TOO_LARGE).because(detail)
        }
        CallError::NotHttp => lost(&codes::UPSTREAM_MALFORMED, loss, &detail),
        // The client's own upload broke off; most likely nobody hears this.
        CallError::Broken { error, .. } if error.is_user() => {
            crate::request::incoming::broken_off()
        }
        CallError::Broken { error, .. } => {
            tracing::debug!(%error, "an upstream did not answer");
            lost(&codes::UPSTREAM_MALFORMED, loss, &detail)
        }
    }
}

/// There is no answer; whether the request may be sent again is said by the code.
fn lost(code: &'static Code, loss: Loss, detail: &str) -> Refusal {
    match loss {
        Loss::Again => Refusal::new(code).because(detail),
        Loss::Unknown => Refusal::new(&codes::OUTCOME_UNKNOWN)
            .because(format!("{detail}; the upstream may have done the work")),
    }
}
