//! Requests as the reader would send them with curl, and what comes back.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use aws_lc_rs::digest::{self, SHA256};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;

use super::names::Names;
use super::truth::within;

#[derive(Debug, Clone)]
pub(super) struct Call {
    method: Method,
    url: String,
    fields: Vec<(&'static str, String)>,
    body: Option<Sent>,
}

/// What a request carries.
#[derive(Debug, Clone)]
enum Sent {
    Json { name: &'static str, json: &'static str },
    File { name: &'static str, bytes: Bytes },
    Nothing,
}

impl Call {
    /// Asks for something.
    pub(super) fn get(url: impl Into<String>) -> Self {
        Self { method: Method::GET, url: url.into(), fields: Vec::new(), body: None }
    }

    /// Asks for the events of a task as they happen.
    pub(super) fn events(url: &str) -> Self {
        Self::get(url).field("Accept", "text/event-stream")
    }

    /// Sends nothing but the call itself.
    pub(super) fn post(url: impl Into<String>) -> Self {
        Self { method: Method::POST, body: Some(Sent::Nothing), ..Self::get(url) }
    }

    /// Sends a document, which lies in the demo's folder under `name`.
    pub(super) fn post_json(
        url: impl Into<String>,
        name: &'static str,
        json: &'static str,
    ) -> Self {
        Self { body: Some(Sent::Json { name, json }), ..Self::post(url) }
    }

    /// Sends a file.
    pub(super) fn post_file(
        url: impl Into<String>,
        name: &'static str,
        content_type: &str,
        bytes: Bytes,
    ) -> Self {
        let call = Self { body: Some(Sent::File { name, bytes }), ..Self::post(url) };
        call.field("Content-Type", content_type)
    }

    /// Adds a header field.
    pub(super) fn field(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// Asks for a ticket instead of the answer.
    pub(super) fn respond_async(self) -> Self {
        self.field("Prefer", "respond-async")
    }

    /// Asks for the answer if it comes within so many seconds.
    pub(super) fn wait(self, seconds: u32) -> Self {
        self.field("Prefer", format!("wait={seconds}"))
    }

    fn request(&self) -> anyhow::Result<Request<Full<Bytes>>> {
        let mut request = Request::builder().method(self.method.clone()).uri(&self.url);
        for (name, value) in &self.fields {
            request = request.header(*name, value);
        }
        let body = match &self.body {
            Some(Sent::Json { json, .. }) => {
                request = request.header(CONTENT_TYPE, "application/json");
                Bytes::from_static(json.as_bytes())
            }
            Some(Sent::File { bytes, .. }) => bytes.clone(),
            Some(Sent::Nothing) | None => Bytes::new(),
        };
        Ok(request.body(Full::new(body))?)
    }
}

/// The call as a command line; tickets are cut short, because they say nothing to a reader.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line(&without_ticket(&self.url)))
    }
}

impl Call {
    /// The call as a command line that can be copied: long URLs by their names.
    pub(super) fn command(&self, names: &Names) -> String {
        self.line(&names.shorten(&self.url))
    }

    fn line(&self, url: &str) -> String {
        let mut line = "curl".to_owned();
        if matches!(self.body, Some(Sent::Nothing)) {
            line += &format!(" -X {}", self.method);
        }
        for (name, value) in &self.fields {
            line += &format!(" -H '{name}: {value}'");
        }
        // In double quotes a shell still puts in the values of names.
        let is_plain = !url.contains(['?', '&', '$']);
        line += &if is_plain { format!(" {url}") } else { format!(" \"{url}\"") };
        match &self.body {
            Some(Sent::Json { name, .. }) => line += &format!(" --json @{name}"),
            Some(Sent::File { name, .. }) => line += &format!(" --data-binary @{name}"),
            Some(Sent::Nothing) | None => {}
        }
        line
    }
}

/// A URL whose ticket is cut short.
pub(super) fn without_ticket(url: &str) -> String {
    let Some((before, rest)) = url.split_once("ticket=") else { return url.to_owned() };
    let after = rest.find('&').map_or("", |end| &rest[end..]);
    format!("{before}ticket=…{after}")
}

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) fields: HeaderMap,
}

impl Head {
    /// The text of a header field.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.to_str().ok()
    }

    /// The text of a header field that must be there.
    pub(super) fn required(&self, name: &str) -> anyhow::Result<&str> {
        self.text(name).with_context(|| format!("expected: a field {name}\nfound:    none"))
    }

    /// How long the server asks to wait before the next question.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.text(RETRY_AFTER.as_str())?.parse().ok().map(Duration::from_secs)
    }
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) head: Head,
    pub(super) body: Bytes,
    /// From the call to the last byte.
    pub(super) took: Duration,
}

impl Answer {
    /// Its status as a number.
    pub(super) fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    /// Its body as a document.
    pub(super) fn json<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        let json = serde_json::from_slice(&self.body);
        json.with_context(|| format!("expected: a JSON document\nfound:    {self}"))
    }
}

/// For the reader of a story that did not come true.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body: String = String::from_utf8_lossy(&self.body).chars().take(2_000).collect();
        write!(f, "{} {body}", self.head.status)
    }
}

/// An answer too large to keep: what it takes to compare it.
#[derive(Debug)]
pub(super) struct Print {
    pub(super) head: Head,
    pub(super) bytes: u64,
    /// The first bytes, which tell the kind of a file.
    pub(super) magic: Vec<u8>,
    /// SHA-256 in hexadecimal.
    pub(super) sha256: String,
    pub(super) took: Duration,
}

/// Sends calls, each on a connection of its own as curl does.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    http: Client<HttpConnector, Full<Bytes>>,
}

impl Caller {
    pub(super) fn new() -> Self {
        let http = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
        Self { http }
    }

    /// Sends a call and reads the whole answer.
    ///
    /// # Errors
    /// When there is none in time.
    pub(super) async fn send(&self, call: &Call) -> anyhow::Result<Answer> {
        let started = Instant::now();
        let what = format!("the answer to {call}");
        let (head, mut body) = within(ANSWER_MAX, &what, self.open(call)).await??;
        let mut bytes = BytesMut::new();
        while let Some(piece) = within(ANSWER_MAX, &what, piece(&mut body)).await?? {
            anyhow::ensure!(bytes.len() + piece.len() <= KEPT_MAX, "{what} is too large to keep");
            bytes.extend_from_slice(&piece);
        }
        Ok(Answer { head, body: bytes.freeze(), took: started.elapsed() })
    }

    /// Sends a call and reads the whole answer without keeping it; `seen` is told the bytes so far.
    ///
    /// # Errors
    /// When there is none in time.
    pub(super) async fn print(
        &self,
        call: &Call,
        mut seen: impl FnMut(u64),
    ) -> anyhow::Result<Print> {
        let started = Instant::now();
        let what = format!("the answer to {call}");
        let (head, mut body) = within(ANSWER_MAX, &what, self.open(call)).await??;
        let (mut sum, mut bytes, mut magic) = (digest::Context::new(&SHA256), 0, Vec::new());
        while let Some(piece) = within(ANSWER_MAX, &what, piece(&mut body)).await?? {
            magic.extend(piece.iter().take(MAGIC_BYTES - magic.len()));
            sum.update(&piece);
            bytes += piece.len() as u64;
            seen(bytes);
        }
        let sha256 = sum.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Print { head, bytes, magic, sha256, took: started.elapsed() })
    }

    async fn open(&self, call: &Call) -> anyhow::Result<(Head, Incoming)> {
        let sent = self.http.request(call.request()?).await;
        let response = sent.with_context(|| format!("could not send {call}"))?;
        let (parts, body) = response.into_parts();
        Ok((Head { status: parts.status, fields: parts.headers }, body))
    }
}

/// The next bytes of a body; `None` at its end.
async fn piece(body: &mut Incoming) -> anyhow::Result<Option<Bytes>> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.context("the answer broke off")?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// How long an answer, or the next piece of one, may take. The longest wait asked for is 20 s.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Largest answer kept in memory.
const KEPT_MAX: usize = 4 << 20;
const MAGIC_BYTES: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_reads_as_a_command_line() {
        let call = Call::get("http://a/b").respond_async();
        assert_eq!(call.to_string(), "curl -H 'Prefer: respond-async' http://a/b");
        let call = Call::post("http://a/b?ticket=rt_x-_y");
        assert_eq!(call.to_string(), "curl -X POST \"http://a/b?ticket=…\"");
        let call = Call::post_json("http://a/b", "a.json", "{}");
        assert_eq!(call.to_string(), "curl http://a/b --json @a.json");
        let call = Call::post_file("http://a/b", "a.csv", "text/csv", Bytes::new());
        let line = "curl -H 'Content-Type: text/csv' http://a/b --data-binary @a.csv";
        assert_eq!(call.to_string(), line);
    }
}
