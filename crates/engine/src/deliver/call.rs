//! One call of a receiver, and the record of it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Request, Response, Uri, response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use relais_api::{Exchange, Span};
use relais_core::address::Passage;
use relais_core::outcome::Sent;
use relais_core::webhook::{Verdict, Wish, judge};
use relais_core::{Cause, FailureCode, Heard, limits};

use crate::engine::Engine;
use crate::headers;
use crate::upstream::call::CallError;

/// Bytes read of an answer that is longer than what is kept, so that its connection can be used again.
const READ_BYTES_MAX: usize = 64 << 10;
/// Bytes of fields that the record of an exchange has.
const FIELDS_BYTES_MAX: usize = 4 << 10;

/// What is sent, and where.
pub(super) struct Message<'a> {
    pub(super) url: &'a str,
    pub(super) id: &'a str,
    /// Seconds since 1970.
    pub(super) timestamp: i64,
    pub(super) signature: &'a str,
    pub(super) body: Bytes,
}

/// How a call ended.
pub(super) struct Called {
    pub(super) exchange: Exchange,
    pub(super) verdict: Verdict,
    pub(super) retry_after: Option<Duration>,
    pub(super) cause: Cause,
    pub(super) code: FailureCode,
}

impl Engine {
    /// Sends a message, and takes down what comes back.
    pub(super) async fn send(&self, message: Message<'_>, timeout: Duration) -> Called {
        let begun = self.elapsed();
        let until = begun + timeout;
        let mut exchange = Exchange { url: without_query(message.url), ..Exchange::default() };
        let lost = |cause, code, error: String, exchange: Exchange| Called {
            exchange: Exchange { error: Some(error), ..exchange },
            verdict: Verdict { heard: Heard::Failed, again: true },
            retry_after: None,
            cause,
            code,
        };
        let request = match request_of(message, &self.config().via) {
            Ok(request) => request,
            Err(error) => {
                let code = FailureCode::UpstreamUnreachable;
                return lost(
                    Cause::Error,
                    code,
                    format!("the URL cannot be called: {error}"),
                    exchange,
                );
            }
        };
        exchange.request = fields_of(request.headers());
        let request = request.map(|body| body.map_err(|never| match never {}).boxed_unsync());
        let mut sent = Sent::Nothing;
        let called = self.by(until, self.outward().call(request, false, &mut sent)).await;
        let mut called = match called {
            Some(Ok(response)) => self.take_down(response, until, exchange).await,
            Some(Err(error)) => {
                let code = code_of(&error);
                lost(Cause::Error, code, error.to_string(), exchange)
            }
            None => {
                let what = match sent {
                    Sent::Nothing => "no connection came about in time",
                    Sent::Something => "no answer came in time",
                };
                lost(Cause::Timeout, FailureCode::UpstreamTimeout, what.to_owned(), exchange)
            }
        };
        let took = self.elapsed().saturating_sub(begun);
        called.exchange.took = Span::from_ms(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        called
    }

    /// What an answer says; of its body, the first bytes. What the status says stands, whatever becomes
    /// of the body.
    async fn take_down(
        &self,
        response: Response<Incoming>,
        until: Duration,
        exchange: Exchange,
    ) -> Called {
        let (parts, body) = response.into_parts();
        let wish = parts.headers.get("webhook-delivery").map(HeaderValue::as_bytes);
        let verdict = judge(parts.status.as_u16(), wish.and_then(Wish::of));
        let mut kept = Vec::new();
        // Time that is over leaves what was read so far.
        _ = self.by(until, read(body, &mut kept)).await;
        let retry_after = headers::retry_after(&parts.headers);
        let exchange = with_answer(exchange, &parts, &kept);
        let (cause, code) = (Cause::Error, FailureCode::UpstreamError);
        Called { exchange, verdict, retry_after, cause, code }
    }
}

/// The record of an exchange that was answered. Of one that the operator's list let through only the
/// status is told: it was not for the eyes of who named the URL.
fn with_answer(exchange: Exchange, parts: &response::Parts, body: &[u8]) -> Exchange {
    let status = parts.status.as_u16();
    let redirects = || "the receiver redirects, which is not followed".to_owned();
    let exchange = Exchange {
        status: Some(status),
        error: (300..400).contains(&status).then(redirects),
        ..exchange
    };
    if parts.extensions.get() == Some(&Passage::Allowed) {
        return exchange;
    }
    let body = String::from_utf8_lossy(body).into_owned();
    let body = (!body.is_empty()).then_some(body);
    Exchange { answer: fields_of(&parts.headers), body, ..exchange }
}

async fn read(mut body: Incoming, kept: &mut Vec<u8>) {
    let mut count = 0;
    while count < READ_BYTES_MAX
        && let Some(Ok(frame)) = body.frame().await
    {
        let Ok(chunk) = frame.into_data() else { continue };
        count += chunk.len();
        let room = limits::DELIVERY_ANSWER_BYTES_MAX.saturating_sub(kept.len());
        kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
}

fn request_of(message: Message<'_>, via: &str) -> Result<Request<Full<Bytes>>, http::Error> {
    let uri: Uri = message.url.parse().map_err(http::Error::from)?;
    let host = uri.authority().map(|authority| HeaderValue::try_from(authority.as_str()));
    let mut request =
        Request::builder().method(Method::POST).uri(uri).body(Full::new(message.body))?;
    let fields = request.headers_mut();
    if let Some(host) = host {
        fields.insert(HOST, host?);
    }
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert(USER_AGENT, HeaderValue::try_from(via)?);
    for (name, value) in [
        ("webhook-id", message.id.to_owned()),
        ("webhook-timestamp", message.timestamp.to_string()),
        ("webhook-signature", message.signature.to_owned()),
    ] {
        fields.insert(HeaderName::from_static(name), HeaderValue::try_from(value)?);
    }
    Ok(request)
}

/// A URL as it is told: its query may hold secrets.
fn without_query(url: &str) -> String {
    match url.split_once('?') {
        Some((path, _)) => format!("{path}?…"),
        None => url.to_owned(),
    }
}

/// Fields as they are told, up to a bound; of a name that comes more than once, the last.
fn fields_of(fields: &HeaderMap) -> BTreeMap<String, String> {
    let mut bytes = 0;
    let told = fields.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    told.take_while(|(name, value)| {
        bytes += name.len() + value.len();
        bytes <= FIELDS_BYTES_MAX
    })
    .collect()
}

const fn code_of(error: &CallError) -> FailureCode {
    match error {
        CallError::Unreachable(_) | CallError::Broken { .. } => FailureCode::UpstreamUnreachable,
        CallError::NotHttp => FailureCode::UpstreamMalformed,
        CallError::HeadTooLarge => FailureCode::UpstreamResponseTooLarge,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, passage: Passage) -> Exchange {
        let answer = Response::builder().status(status).header("x-hint", "a").extension(passage);
        let (parts, ()) = answer.body(()).expect("an answer").into_parts();
        let url = without_query("https://example.com/hook?key=secret#x");
        with_answer(Exchange { url, ..Exchange::default() }, &parts, b"sorry\xff")
    }

    /// What answers within the operator's network is not shown to whoever named its address.
    #[test]
    fn an_answer_that_the_list_let_through_is_told_by_its_status_alone() {
        let public = answered(500, Passage::Public);
        assert_eq!(public.body.as_deref(), Some("sorry\u{fffd}"));
        assert_eq!(public.answer["x-hint"], "a");
        assert_eq!(public.url, "https://example.com/hook?…");
        let allowed = answered(500, Passage::Allowed);
        assert_eq!((allowed.status, &allowed.body), (Some(500), &None));
        assert!(allowed.answer.is_empty());
        assert!(answered(302, Passage::Allowed).error.is_some());
    }

    #[test]
    fn a_record_has_a_bounded_number_of_bytes_of_fields() {
        let mut fields = HeaderMap::new();
        for number in 0..100 {
            let name = HeaderName::try_from(format!("x-{number}")).expect("a name");
            fields
                .insert(name, HeaderValue::from_static("a value of some length, a hundred times"));
        }
        let told = fields_of(&fields);
        let bytes: usize = told.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(bytes <= FIELDS_BYTES_MAX && told.len() > 80, "{} fields", told.len());
    }
}
