//! Calls of upstreams: one client, for tasks and for the plain proxy; and one for URLs that callers name.
//!
//! It knows two things that a general client does not tell: whether anything of a request may have
//! been sent, and how long its connection had been idle. Both decide whether a lost call may be
//! repeated. Not here: what an answer means (`relais_core::outcome`), and HTTP/2 to upstreams.

mod dial;
mod idle;
mod lookups;
mod reach;
mod tls;
mod wire;

use std::collections::BTreeMap;
use std::error::Error as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{HOST, HeaderMap, HeaderName};
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use relais_core::outcome::Sent;
use relais_core::{Guard, limits};

pub use dial::Unreachable;
pub use tls::{TlsFault, UpstreamTls};

use dial::Dialer;
use idle::Idle;
use reach::Reach;

/// The body of a request, whatever it is read from.
pub type Outgoing = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// How much care a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Care {
    /// It can be sent again: any connection that lives is good enough.
    Repeatable,
    /// It can be sent once only: an upstream closes idle connections when it likes, and what is
    /// sent into one that is being closed is lost (RFC 9112, 9.3.1). The connection is fresh, or
    /// was in use a moment ago.
    Once,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There was no connection: nothing was sent.
    #[error("the upstream could not be reached: {0}")]
    Unreachable(#[from] Unreachable),
    /// The head of the answer is over the limit of bytes or of fields.
    #[error(
        "the head of the upstream's answer is over the limit of {} bytes or {} fields",
        limits::HEAD_BYTES_MAX,
        limits::UPSTREAM_FIELDS_MAX
    )]
    HeadTooLarge,
    /// What came back is not HTTP.
    #[error("the upstream's answer was not HTTP")]
    NotHttp,
    /// The connection broke before the head of the answer was there.
    #[error("the connection broke before the upstream answered")]
    Broken {
        error: hyper::Error,
        /// Whether it had carried other requests before: then it may have been old.
        was_reused: bool,
    },
}

impl CallError {
    fn of(error: hyper::Error, was_reused: bool) -> Self {
        if error.is_parse_too_large() {
            return Self::HeadTooLarge;
        }
        if error.is_parse() {
            return Self::NotHttp;
        }
        let refused = error.source().and_then(Unreachable::of_refused_certificate);
        match refused {
            // The handshake of TLS 1.3 ends for the client before the server has judged it.
            Some(refused) if !was_reused => Self::Unreachable(refused),
            _ => Self::Broken { error, was_reused },
        }
    }

    /// Whether it was lost to a connection that its upstream had given up, as far as can be told.
    fn is_of_an_old_connection(&self) -> bool {
        match self {
            Self::Broken { error, was_reused } => *was_reused && !error.is_user(),
            Self::Unreachable(_) | Self::HeadTooLarge | Self::NotHttp => false,
        }
    }
}

/// A client of many upstreams, which keeps connections for the next call.
#[derive(Debug)]
pub struct Caller {
    dialer: Dialer,
    idle: Idle,
}

impl Caller {
    /// Makes one; `tls` says of upstreams, by scheme and authority, what is special with them.
    pub(crate) fn new(tls: BTreeMap<String, UpstreamTls>) -> Self {
        Self { dialer: Dialer::new(Reach::anywhere(), tls), idle: Idle::default() }
    }

    /// Makes one for URLs that callers and tenants name: each address is judged when it is dialled. An
    /// answer's extensions say by which [`Passage`](relais_core::address::Passage) it came.
    pub(crate) fn outward(guard: Guard) -> Self {
        Self { dialer: Dialer::new(Reach::outward(guard), BTreeMap::new()), idle: Idle::default() }
    }

    /// Judges by another list; connections that were made by the old one carry no further call.
    pub(crate) fn guard(&self, guard: Guard) {
        self.dialer.reach.guard(guard);
        self.idle.renew();
    }

    /// Goes by other files; connections that were made by the old ones carry no further call.
    pub(crate) fn configure(&self, tls: BTreeMap<String, UpstreamTls>) {
        self.dialer.configure(tls);
        // After it, so that what is of the new generation was made by the new files.
        self.idle.renew();
    }

    /// Sends a request, and answers with the head of what comes back; once more, by what `again` makes, if
    /// it is lost on a connection that its upstream had given up. For requests that nobody counts: of a
    /// task each call is an attempt.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn call_or_repeat(
        &self,
        request: Request<Outgoing>,
        again: Option<impl FnOnce() -> Request<Outgoing>>,
        sent: &mut Sent,
    ) -> Result<Response<Incoming>, CallError> {
        match (self.call(request, again.is_some(), sent).await, again) {
            (Err(error), Some(again)) if error.is_of_an_old_connection() => {
                self.call(again(), false, sent).await
            }
            (called, _) => called,
        }
    }

    /// Sends a request, and answers with the head of what comes back.
    ///
    /// The request names its upstream by an absolute URI. One that may be repeated, by whoever asks,
    /// takes any connection that lives. `sent` says at any moment, also when this call is given up, how
    /// much of it may be gone.
    ///
    /// # Errors
    /// When there is no head of an answer.
    pub async fn call(
        &self,
        request: Request<Outgoing>,
        is_repeatable: bool,
        sent: &mut Sent,
    ) -> Result<Response<Incoming>, CallError> {
        let care = if is_repeatable { Care::Repeatable } else { Care::Once };
        *sent = Sent::Nothing;
        let upstream = request.uri().clone();
        let origin = Origin::of(&upstream).ok_or(Unreachable::NoAddress)?;
        let mut request = in_origin_form(request);
        loop {
            let idle = self.idle.take(&origin, care, Instant::now());
            let was_reused = idle.is_some();
            let mut wire = match idle {
                Some(wire) => wire,
                None => self.dialer.dial(&upstream, self.idle.generation()).await?,
            };
            *sent = Sent::Something;
            match wire.sender.try_send_request(request).await {
                Ok(mut response) => {
                    if let Some(passage) = wire.passage {
                        response.extensions_mut().insert(passage);
                    }
                    self.idle.await_return(origin, wire, keep_alive(response.headers()));
                    return Ok(response);
                }
                Err(mut failed) => match failed.take_message() {
                    // It was closed before the first byte: the next one may do.
                    Some(unsent) if was_reused => {
                        *sent = Sent::Nothing;
                        request = unsent;
                    }
                    Some(_) => {
                        *sent = Sent::Nothing;
                        return Err(Unreachable::Closed.into());
                    }
                    None => {
                        let error = CallError::of(failed.into_error(), was_reused);
                        if matches!(error, CallError::Unreachable(_)) {
                            *sent = Sent::Nothing;
                        }
                        return Err(error);
                    }
                },
            }
        }
    }
}

/// Scheme and authority of an upstream: connections are shared by those that have the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Origin {
    scheme: http::uri::Scheme,
    authority: http::uri::Authority,
}

impl Origin {
    fn of(uri: &Uri) -> Option<Self> {
        let (scheme, authority) = (uri.scheme()?.clone(), uri.authority()?.clone());
        Some(Self { scheme, authority })
    }
}

/// The request as it goes over the connection (RFC 9112, 3.2.1): the authority travels as `Host`.
fn in_origin_form(mut request: Request<Outgoing>) -> Request<Outgoing> {
    let uri = request.uri();
    let host = uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok());
    let target = uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    if let Some(host) = host {
        request.headers_mut().entry(HOST).or_insert(host);
    }
    *request.uri_mut() = Uri::from(target);
    request
}

/// How long the upstream says that it keeps the connection when idle (RFC 2068, 19.7.1.1).
fn keep_alive(headers: &HeaderMap) -> Option<Duration> {
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    let parameters = headers.get(KEEP_ALIVE)?.to_str().ok()?.split(',');
    let mut pairs = parameters.filter_map(|parameter| parameter.split_once('='));
    let (_, seconds) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"))?;
    seconds.trim().trim_matches('"').parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Empty};

    use super::*;

    fn request(uri: &str) -> Request<Outgoing> {
        let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
        Request::builder().uri(uri).body(body).expect("a good request")
    }

    #[test]
    fn a_request_goes_out_in_origin_form_under_its_host() {
        let plain = in_origin_form(request("http://a.example:81/x?y=1"));
        assert_eq!(plain.uri(), "/x?y=1");
        assert_eq!(plain.headers()[HOST], "a.example:81");
        let mut named = request("http://a.example");
        named.headers_mut().insert(HOST, HeaderValue::from_static("b.example"));
        let named = in_origin_form(named);
        assert_eq!(
            (named.uri().to_string(), &named.headers()[HOST]),
            ("/".into(), &HeaderValue::from_static("b.example"))
        );
    }

    #[test]
    fn the_hint_of_an_upstream_is_read() {
        let read = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("keep-alive", HeaderValue::from_static(text));
            keep_alive(&headers).map(|span| span.as_secs())
        };
        assert_eq!(read("timeout=5, max=100"), Some(5));
        assert_eq!(read("max=100, Timeout = \"2\""), Some(2));
        for text in ["", "max=5", "timeout", "timeout=-1", "timeout=soon"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
