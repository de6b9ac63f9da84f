//! Pages of other origins (CORS): which of them may read what Relais itself answers.
//!
//! Not here: what an upstream answers on the front door. Its fields and its preflights are its own,
//! and are passed on as they are, but for what Relais adds of its own; unless its route says
//! `cors = "relais"`: then they count as Relais' own. Nor who may call: an origin that is listed has no rights by that.

use axum::response::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ALLOW, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use relais_api::fields;

use crate::answer::stored::no_body;

/// What a page may send, beside what every page may.
const SENT: &str = "authorization, content-type, idempotency-key, prefer, if-none-match, if-match, \
                    if-range, range, last-event-id, traceparent, tracestate, baggage, relais-api-key, relais-lease";
/// What a page may read, beside what every page may: what answers of Relais say in their fields.
const READ: &str = "ETag, Location, Retry-After, Preference-Applied, \
                    RateLimit, RateLimit-Policy, Deprecation, Sunset, Allow, WWW-Authenticate, \
                    Idempotent-Replayed, Accept-Ranges, Content-Range, Relais-Attempt, Relais-Origin, Relais-Upstream-Status, \
                    Relais-Upstream-ETag";
/// What else, also of an upstream's answer that it may read: what Relais adds to it, so that a page finds
/// its task again, and reads its answer on; and whether the bytes by whose number it does are coded, since a
/// browser shows them decoded.
const READ_OF_TASK: &str = "Operation-Location, Link, Relais-Task, Relais-Result-Version, Relais-Offset, \
                            Content-Encoding";
/// How long a browser may remember a preflight, seconds: Chromium's most.
const REMEMBERED_S: &str = "7200";

/// Marks an answer for which Relais speaks: one that it has made itself, or of a route whose
/// upstream leaves it to Relais. Without it, it is an upstream's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Own;

/// Marks an answer that is the same for everybody, whatever is configured: it says itself that each page
/// may read it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Everybodys;

/// The fields that a page wants to send to a route: which of them mean
/// something, its service knows.
#[derive(Debug, Clone)]
struct Wanted(HeaderValue);

/// The origins whose pages may read answers.
#[derive(Debug)]
pub(crate) struct Cors {
    origins: Vec<HeaderValue>,
}

/// What of a request its answer goes by.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The origin of the page, if it is listed.
    origin: Option<HeaderValue>,
    is_preflight: bool,
}

impl Cors {
    /// These origins, written as browsers send them; `None` if there are none.
    #[must_use]
    pub(crate) fn of(origins: &[String]) -> Option<Self> {
        let value = |origin: &String| HeaderValue::from_str(origin).expect("an origin is ASCII");
        (!origins.is_empty()).then(|| Self { origins: origins.iter().map(value).collect() })
    }

    /// Whether the pages of this origin may read answers.
    #[must_use]
    pub(crate) fn lists(&self, origin: &HeaderValue) -> bool {
        self.origins.contains(origin)
    }

    /// Who asks, and for what.
    #[must_use]
    pub(crate) fn asked<B>(&self, request: &Request<B>) -> Asked {
        let mut lines = request.headers().get_all(ORIGIN).iter();
        // No browser names two.
        let origin = lines.next().filter(|_| lines.next().is_none());
        Asked {
            origin: origin.filter(|origin| self.lists(origin)).cloned(),
            is_preflight: is_preflight(request),
        }
    }
}

/// Whether a browser asks what a page of another origin may send here.
#[must_use]
pub(crate) fn is_preflight<B>(request: &Request<B>) -> bool {
    *request.method() == Method::OPTIONS
        && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The method that a preflight is about.
#[must_use]
pub(crate) fn method_of_preflight<B>(request: &Request<B>) -> Option<&str> {
    let method = request.headers().get(ACCESS_CONTROL_REQUEST_METHOD)?;
    (*request.method() == Method::OPTIONS).then_some(method)?.to_str().ok()
}

/// The answer to a preflight of a route for which Relais speaks: this method, and the
/// fields that are asked for.
#[must_use]
pub(crate) fn preflight(method: &str, asked: &HeaderMap) -> Response {
    let mut response = Response::new(no_body());
    *response.status_mut() = StatusCode::NO_CONTENT;
    if let Ok(method) = HeaderValue::from_str(method) {
        response.headers_mut().insert(ALLOW, method);
    }
    let wanted = asked.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    response.extensions_mut().insert(Wanted(wanted.unwrap_or(HeaderValue::from_static(""))));
    response
}

impl Asked {
    /// Says who may read an answer, if Relais itself has made it.
    pub(crate) fn answer(self, response: &mut Response) {
        if response.extensions_mut().remove::<Everybodys>().is_some() {
            return;
        }
        if response.extensions_mut().remove::<Own>().is_none() {
            if let Some(origin) = &self.origin {
                add_to_theirs(response.headers_mut(), origin);
            }
            return;
        }
        let wanted = response.extensions_mut().remove::<Wanted>().map(|Wanted(names)| names);
        let says_methods = response.status().is_success() && response.headers().contains_key(ALLOW);
        let headers = response.headers_mut();
        // A stored answer may have brought its upstream's word, which was
        // given for another address.
        headers.remove(ACCESS_CONTROL_ALLOW_ORIGIN);
        headers.remove(ACCESS_CONTROL_ALLOW_CREDENTIALS);
        // Also where nothing else is said: no cache may give the answer for one page to another.
        headers.append(VARY, HeaderValue::from_static("Origin"));
        let Some(origin) = self.origin else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        if self.is_preflight && says_methods {
            allow(headers, wanted.unwrap_or(HeaderValue::from_static(SENT)));
        } else {
            for names in [READ, READ_OF_TASK] {
                headers.append(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(names));
            }
        }
    }
}

/// Lets a page read what Relais adds to the answer of a task, if the upstream lets it read the answer.
///
/// Also beside the upstream's own `*`, which means no field at all where the page sends credentials. Nothing
/// is said of `Origin` to caches: to whoever is given the answer out of one, its task is not its own.
fn add_to_theirs(headers: &mut HeaderMap, origin: &HeaderValue) {
    let mut allowed = headers.get_all(ACCESS_CONTROL_ALLOW_ORIGIN).iter();
    let is_allowed = allowed.next().is_some_and(|one| one == "*" || one == origin);
    // Browsers take two for none.
    let is_allowed = is_allowed && allowed.next().is_none();
    if is_allowed && headers.contains_key(fields::TASK) {
        let names = HeaderValue::from_static(READ_OF_TASK);
        headers.append(ACCESS_CONTROL_EXPOSE_HEADERS, names);
    }
}

/// What may be sent to a path: its methods, which the answer to `OPTIONS` names anyway, and fields.
fn allow(headers: &mut HeaderMap, names: HeaderValue) {
    if let Some(methods) = headers.get(ALLOW).cloned() {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    }
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names);
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(REMEMBERED_S));
}
