//! One call: its request, when it is repeated, and reading what comes back.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use relais_api::{Problem, fields};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backoff::Backoff;
use crate::body::{self, SendBody};
use crate::client::Client;
use crate::error::{Error, is_transient};
use crate::limits;

pub(crate) const TASK: HeaderName = HeaderName::from_static(fields::TASK);
pub(crate) const PREFER: HeaderName = HeaderName::from_static(fields::PREFER);
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static(fields::IDEMPOTENCY_KEY);
pub(crate) const IDEMPOTENT_REPLAYED: HeaderName =
    HeaderName::from_static(fields::IDEMPOTENT_REPLAYED);
pub(crate) const PREFERENCE_APPLIED: HeaderName =
    HeaderName::from_static(fields::PREFERENCE_APPLIED);
pub(crate) const LEASE: HeaderName = HeaderName::from_static(fields::LEASE);

/// One request, as often as it has to be sent.
#[derive(Debug)]
pub(crate) struct Call {
    method: Method,
    path: String,
    fields: HeaderMap,
    body: Bytes,
    /// How long the server was asked to wait before it answers.
    wait: Duration,
    /// Whether sending it twice is the same as sending it once.
    is_repeatable: bool,
}

impl Call {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            fields: HeaderMap::new(),
            body: Bytes::new(),
            wait: Duration::ZERO,
            is_repeatable: true,
        }
    }

    /// A call that must not be repeated unless [`Call::repeatable`] says so.
    pub(crate) fn post(path: impl Into<String>) -> Self {
        Self { method: Method::POST, is_repeatable: false, ..Self::get(path) }
    }

    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self { method: Method::DELETE, ..Self::get(path) }
    }

    pub(crate) fn set_method(&mut self, method: Method) {
        self.method = method;
    }

    pub(crate) fn repeatable(mut self) -> Self {
        self.is_repeatable = true;
        self
    }

    pub(crate) fn json<T: Serialize>(mut self, document: &T) -> Result<Self, Error> {
        self.body = serde_json::to_vec(document)
            .map_err(|_| Error::Invalid("the document cannot be written as JSON"))?
            .into();
        Ok(self.field(CONTENT_TYPE, HeaderValue::from_static("application/json")))
    }

    pub(crate) fn field(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.fields.insert(name, value);
        self
    }

    pub(crate) fn text_field(self, name: HeaderName, value: &str) -> Result<Self, Error> {
        let value = HeaderValue::from_str(value)
            .map_err(|_| Error::Invalid("a header field cannot carry this text"))?;
        Ok(self.field(name, value))
    }

    /// Asks the server to wait for something to happen.
    pub(crate) fn waiting(mut self, wait: Duration) -> Self {
        self.wait = wait;
        let value = HeaderValue::from_str(&format!("wait={}", wait.as_secs()));
        self.field(PREFER, value.expect("digits and letters"))
    }

    /// For a server that is told in the body how long to wait.
    pub(crate) const fn patient(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }
}

impl Client {
    /// Sends a call, again where that is safe, until a head is there that is worth reading.
    pub(crate) async fn send(&self, call: &Call) -> Result<Response<Incoming>, Error> {
        let mut backoff = Backoff::default();
        loop {
            let answer = match self.send_once(call, body::whole(call.body.clone())).await {
                // The outcome of a task may have any status: it is not the server's own answer.
                Ok(response)
                    if is_transient(response.status().as_u16())
                        && !response.headers().contains_key(TASK) =>
                {
                    Err(refused(response).await)
                }
                answer => answer,
            };
            let error = match answer {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let asked = error.retry_after();
            let may_repeat = call.is_repeatable
                && error.is_transient()
                && backoff.failures() + 1 < self.attempts()
                && asked.is_none_or(|asked| asked <= limits::RETRY_AFTER_MAX);
            if !may_repeat {
                return Err(error);
            }
            let delay = backoff.failed(asked);
            tracing::debug!(path = %call.path, %error, ?delay, "calling again");
            tokio::time::sleep(delay).await;
        }
    }

    pub(crate) async fn send_once(
        &self,
        call: &Call,
        body: SendBody,
    ) -> Result<Response<Incoming>, Error> {
        let mut head = Request::new(()).into_parts().0;
        head.method = call.method.clone();
        head.headers = call.fields.clone();
        if let Some((name, value)) = self.credentials().field()? {
            head.headers.insert(name, value);
        }
        let patience = limits::HEAD_TIMEOUT + call.wait;
        self.transport().send(head, &call.path, body, patience).await
    }

    /// Sends a call whose answer is a document.
    pub(crate) async fn document<T: DeserializeOwned>(&self, call: &Call) -> Result<T, Error> {
        let response = self.send(call).await?;
        self.read(response).await
    }

    /// Sends a call whose answer is only a status.
    pub(crate) async fn done(&self, call: &Call) -> Result<(), Error> {
        let response = self.send(call).await?;
        if response.status().is_success() { Ok(()) } else { Err(refused(response).await) }
    }

    /// Reads a document, or why there is none.
    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        response: Response<Incoming>,
    ) -> Result<T, Error> {
        if !response.status().is_success() {
            return Err(refused(response).await);
        }
        let bytes = self.collect(response, limits::DOCUMENT_BYTES_MAX).await?;
        parse(&bytes)
    }

    /// Reads a whole body of at most `limit` bytes.
    pub(crate) async fn collect(
        &self,
        response: Response<Incoming>,
        limit: usize,
    ) -> Result<Bytes, Error> {
        let mut body = response.into_body();
        let mut bytes = BytesMut::new();
        while let Some(data) = self.piece(&mut body).await? {
            if bytes.len() + data.len() > limit {
                return Err(Error::TooLarge { limit });
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes.freeze())
    }

    /// The next piece of a body; `None` at its end.
    pub(crate) async fn piece(&self, body: &mut Incoming) -> Result<Option<Bytes>, Error> {
        loop {
            match tokio::time::timeout(limits::SILENCE_MAX, body.frame()).await {
                Ok(None) => return Ok(None),
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Ok(Some(Err(error))) => return Err(self.transport().unreachable(&error)),
                Err(_) => {
                    return Err(Error::TimedOut { at: self.transport().origin().base.clone() });
                }
            }
        }
    }
}

pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::Unreadable(error.to_string()))
}

/// Reads why the server said no. Whoever stands between may answer with anything.
pub(crate) async fn refused(response: Response<Incoming>) -> Error {
    let status = response.status();
    let retry_after = retry_after(response.headers());
    let is_problem = has_type(response.headers(), relais_api::problem::MEDIA_TYPE);
    let mut body = response.into_body();
    let mut bytes = BytesMut::new();
    while let Ok(Some(Ok(frame))) = tokio::time::timeout(limits::HEAD_TIMEOUT, body.frame()).await
        && bytes.len() < limits::PROBLEM_BYTES_MAX
    {
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    let problem = is_problem.then(|| serde_json::from_slice::<Problem>(&bytes).ok()).flatten();
    let mut problem = problem.unwrap_or_else(|| {
        let text = String::from_utf8_lossy(&bytes);
        let text = text.chars().filter(|c| !c.is_control());
        let text: String = text.take(limits::FOREIGN_ERROR_CHARS_MAX).collect();
        let mut problem = Problem::from_members(serde_json::Map::new());
        status.canonical_reason().unwrap_or("error").clone_into(&mut problem.title);
        problem.detail = (!text.trim().is_empty()).then_some(text);
        problem
    });
    // The status line decides, whatever the document says.
    problem.status = status.as_u16();
    Error::Refused { problem: Box::new(problem), retry_after }
}

/// `Retry-After` in seconds. A date is passed over: our clock may be wrong.
pub(crate) fn retry_after(fields: &HeaderMap) -> Option<Duration> {
    let seconds = fields.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Whether the body is of this media type, whatever its parameters.
pub(crate) fn has_type(fields: &HeaderMap, media_type: &str) -> bool {
    let value = fields.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case(media_type))
}

/// What needs no escape in a URL (RFC 3986, 2.3).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Text as one segment of a path, or as a value in a query.
pub(crate) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_name_cannot_leave_its_place_in_the_url() {
        assert_eq!(super::escaped("a/../b?c=d&é"), "a%2F..%2Fb%3Fc%3Dd%26%C3%A9");
    }
}
