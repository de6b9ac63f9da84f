//! Calls over HTTP, told apart by what a broken one may have done.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::Value;

/// A complete answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// A field as text; empty if it is not there.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as JSON; `null` if it is not.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Status and the beginning of the body, for a message.
    pub(crate) fn shown(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let start: String = text.chars().take(300).collect();
        format!("{} {start}", self.status)
    }
}

/// How a call ended.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// With an answer.
    Answer(Answer),
    /// Without one; whether the request was carried out is not known.
    Lost,
    /// Nobody listens: nothing was sent.
    NotSent,
}

impl Reply {
    /// The answer, if there is one.
    pub(crate) fn answer(self) -> Option<Answer> {
        match self {
            Self::Answer(answer) => Some(answer),
            Self::Lost | Self::NotSent => None,
        }
    }
}

/// A client of one server.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
    authority: String,
}

impl Http {
    /// A client of the server at a port of this machine.
    pub(crate) fn to_port(port: u16) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(2)));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(20))
            .build(connector);
        Self { client, authority: format!("127.0.0.1:{port}") }
    }

    /// A request to `target`, to be completed.
    pub(crate) fn request(&self, method: Method, target: &str) -> http::request::Builder {
        Request::builder().method(method).uri(format!("http://{}{target}", self.authority))
    }

    /// Sends a request and reads the whole answer, within [`CALL_TIMEOUT`].
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Reply {
        match tokio::time::timeout(CALL_TIMEOUT, self.exchange(request)).await {
            Ok(reply) => reply,
            Err(_) => Reply::Lost,
        }
    }

    /// Sends a request whose answer is read bit by bit; `None` if there is none.
    pub(crate) async fn open(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Option<http::Response<hyper::body::Incoming>> {
        let asked = tokio::time::timeout(CALL_TIMEOUT, self.client.request(request)).await;
        asked.ok()?.ok()
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Reply {
        let response = match self.client.request(request).await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Reply::NotSent,
            Err(_) => return Reply::Lost,
        };
        let (head, body) = response.into_parts();
        match Limited::new(body, BODY_BYTES_MAX).collect().await {
            Ok(body) => Reply::Answer(Answer {
                status: head.status.as_u16(),
                headers: head.headers,
                body: body.to_bytes(),
            }),
            Err(_) => Reply::Lost,
        }
    }

    /// `GET` of a JSON document, or of whatever `accept` says.
    pub(crate) async fn get(&self, target: &str, accept: &str) -> Reply {
        let request = self.request(Method::GET, target).header("accept", accept);
        self.send(request.body(Full::default()).expect("a plain request")).await
    }

    /// `POST` of a JSON document.
    pub(crate) async fn post(&self, target: &str, document: &Value) -> Reply {
        self.post_keyed(target, document, None).await
    }

    /// `POST` of a JSON document with an idempotency key.
    pub(crate) async fn post_keyed(
        &self,
        target: &str,
        document: &Value,
        key: Option<&str>,
    ) -> Reply {
        let mut request =
            self.request(Method::POST, target).header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", format!("\"{key}\""));
        }
        let body = Full::new(Bytes::from(document.to_string()));
        self.send(request.body(body).expect("a plain request")).await
    }

    /// `DELETE`.
    pub(crate) async fn delete(&self, target: &str) -> Reply {
        let request = self.request(Method::DELETE, target);
        self.send(request.body(Full::default()).expect("a plain request")).await
    }
}

/// The media type of documents.
pub(crate) const JSON: &str = "application/json";
/// How long a call may take: longer than whatever the judge asks a server to wait for.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
const BODY_BYTES_MAX: usize = 16 << 20;
