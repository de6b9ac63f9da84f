//! The task API to play with: its router called in process, on the store in memory.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use relais_core::{Policy, TaskId, Timestamp};
use relais_engine::{Config, Engine, ManualClock, SeededChance};
use relais_server::App;
use relais_server::auth::hash_key;
use relais_server::config::{ApiKey, Scopes, ServerConfig};
use relais_store::{MemoryStore, Store};
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// When tests begin.
const START: Timestamp = Timestamp::from_ms(1_700_000_000_000);

pub(crate) struct Api {
    pub(crate) app: Arc<App>,
    pub(crate) engine: Engine,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) store: Arc<dyn Store>,
    router: Router,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The code of a problem, after checking that it is a whole one.
    pub(crate) fn code(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(self.header("relais-origin"), "relais");
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16());
        assert!(problem["type"].as_str().unwrap().starts_with("http"), "{problem}");
        problem["code"].as_str().unwrap().to_owned()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// A request in the making.
pub(crate) struct Call {
    method: Method,
    target: String,
    fields: Vec<(String, String)>,
    body: Body,
}

pub(crate) fn call(method: &str, target: &str) -> Call {
    let target = target.strip_prefix("http://127.0.0.1:0").unwrap_or(target).to_owned();
    let fields = vec![("host".to_owned(), "127.0.0.1:0".to_owned())];
    Call { method: method.parse().unwrap(), target, fields, body: Body::empty() }
}

pub(crate) fn get(target: &str) -> Call {
    call("GET", target)
}

pub(crate) fn post(target: &str, document: &Value) -> Call {
    call("POST", target).field("content-type", "application/json").body(document.to_string())
}

impl Call {
    pub(crate) fn field(mut self, name: &str, value: &str) -> Self {
        let is_single = matches!(name, "host" | "content-type");
        self.fields.retain(|(other, _)| !(is_single && other == name));
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with another value of a field.
    pub(crate) fn set(self, name: &str, value: &str) -> Self {
        self.without(name).field(name, value)
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(other, _)| other != name);
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }
}

impl Api {
    pub(crate) async fn new() -> Self {
        Self::with(ServerConfig::on_loopback(), Config::default()).await
    }

    pub(crate) async fn with_keys(keys: Vec<ApiKey>) -> Self {
        let config = ServerConfig { keys, ..ServerConfig::on_loopback() };
        Self::with(config, Config::default()).await
    }

    pub(crate) async fn with(server: ServerConfig, engine: Config) -> Self {
        Self::on(Arc::new(MemoryStore::new()), server, engine).await
    }

    pub(crate) async fn on(store: Arc<dyn Store>, server: ServerConfig, engine: Config) -> Self {
        Self::node(store, server, engine, 7).await
    }

    /// Another node over the same store, by its own configuration.
    pub(crate) async fn beside(&self) -> Self {
        let server = ServerConfig::on_loopback();
        Self::node(self.store.clone(), server, Config::default(), 8).await
    }

    async fn node(store: Arc<dyn Store>, server: ServerConfig, engine: Config, seed: u64) -> Self {
        let clock = Arc::new(ManualClock::at(START));
        let chance = Arc::new(SeededChance::new(seed));
        let engine = Engine::start(engine, store.clone(), clock.clone(), chance).await.unwrap();
        let app = App::new(server, engine.clone()).await.unwrap();
        let router = relais_server::api_router(&app);
        Self { app, engine, clock, store, router }
    }

    /// The head of the answer; its body is still to come.
    pub(crate) async fn open(&self, call: Call) -> Response {
        let mut request = Request::new(call.body);
        *request.method_mut() = call.method;
        *request.uri_mut() = call.target.parse().unwrap();
        for (name, value) in call.fields {
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn call(&self, call: Call) -> Answer {
        let (parts, body) = self.open(call).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// Submits `{}` to the queue `work`, and answers the body of the 202.
    pub(crate) async fn submit(&self) -> Value {
        let answer = self.call(post("/v1/tasks", &json!({"queue": "work", "input": {}}))).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        answer.json()
    }

    /// Leases one task of the queue `work`, and answers the lease.
    pub(crate) async fn lease(&self) -> Value {
        let answer = self.call(call("POST", "/v1/queues/work/leases")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.json()["leases"][0].clone()
    }

    /// Settles one attempt, and answers what became of it.
    pub(crate) async fn settle(&self, item: Value) -> Value {
        let answer = self.call(post("/v1/leases/settle", &json!({"items": [item]}))).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.json()["items"][0].clone()
    }

    /// Submits a task and runs it to this result; answers the body of the 202.
    pub(crate) async fn succeed(&self, result: Value) -> Value {
        let accepted = self.submit().await;
        let lease = self.lease().await;
        let item = json!({"token": lease["token"], "outcome": "succeed", "result": result});
        assert_eq!(self.settle(item).await["status"], 200);
        accepted
    }
}

/// An API key of a tenant.
pub(crate) fn key(text: &str, tenant: &str, scopes: Scopes) -> ApiKey {
    let name = text.trim_start_matches("rk_").to_owned();
    ApiKey { name, hash: hash_key(text), tenant: tenant.parse().unwrap(), scopes }
}

/// A policy under which a failure is final.
pub(crate) fn without_retries() -> Policy {
    let mut policy = Policy::default();
    policy.retry.max_attempts = 1;
    policy
}

pub(crate) fn id_of(accepted: &Value) -> TaskId {
    accepted["id"].as_str().unwrap().parse().unwrap()
}

/// Reads a stream until `is_enough` of its text so far.
pub(crate) async fn read_until(
    response: Response,
    is_enough: impl Fn(&str) -> bool,
) -> (String, axum::body::BodyDataStream) {
    let mut stream = response.into_body().into_data_stream();
    let mut text = String::new();
    while !is_enough(&text) {
        let patience = Duration::from_secs(20);
        let chunk = tokio::time::timeout(patience, stream.next()).await;
        let chunk = chunk.unwrap_or_else(|_| panic!("nothing more came after {text}"));
        let chunk = chunk.unwrap_or_else(|| panic!("the stream ended after {text}")).unwrap();
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    (text, stream)
}
