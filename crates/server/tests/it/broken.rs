//! What clients are told when the store cannot.

use std::sync::Arc;
use std::sync::Mutex;

use http::StatusCode;
use relais_core::{BodyKind, Task, TaskId};
use relais_engine::Config;
use relais_server::config::ServerConfig;
use relais_store::{
    Claim, Claims, Commit, Committed, Due, DueQuery, EventQuery, Filter, Health, Logged,
    MemoryStore, Page, Place, QueueStats, Rejected, Spool, Store, StoreError, StoreFuture,
    StoredBody,
};
use serde_json::json;

use crate::api::{Api, get, post};

/// The store in memory, until it breaks.
struct BrokenStore {
    whole: MemoryStore,
    error: Mutex<Option<StoreError>>,
}

impl BrokenStore {
    fn new() -> Arc<Self> {
        Arc::new(Self { whole: MemoryStore::new(), error: Mutex::default() })
    }

    fn break_with(&self, error: Option<StoreError>) {
        *self.error.lock().unwrap() = error;
    }

    fn or<'a, T: Send + 'a>(&'a self, future: StoreFuture<'a, T>) -> StoreFuture<'a, T> {
        match self.error.lock().unwrap().clone() {
            Some(error) => Box::pin(async move { Err(error) }),
            None => future,
        }
    }
}

impl Store for BrokenStore {
    fn commit(&self, commits: Vec<Commit>) -> StoreFuture<'_, Vec<Result<Committed, Rejected>>> {
        self.or(self.whole.commit(commits))
    }

    fn claim(&self, claim: Claim) -> StoreFuture<'_, Claims> {
        self.or(self.whole.claim(claim))
    }

    fn due(&self, query: DueQuery) -> StoreFuture<'_, Due> {
        self.or(self.whole.due(query))
    }

    fn read(&self, ids: Vec<TaskId>) -> StoreFuture<'_, Vec<Option<Task>>> {
        self.or(self.whole.read(ids))
    }

    fn list(&self, filter: Filter) -> StoreFuture<'_, Page> {
        self.or(self.whole.list(filter))
    }

    fn events(&self, query: EventQuery) -> StoreFuture<'_, Vec<Logged>> {
        self.or(self.whole.events(query))
    }

    fn body(&self, task: TaskId, kind: BodyKind) -> StoreFuture<'_, Option<StoredBody>> {
        self.or(self.whole.body(task, kind))
    }

    fn spool(&self) -> StoreFuture<'_, Box<dyn Spool>> {
        self.or(self.whole.spool())
    }

    fn queues(&self) -> StoreFuture<'_, Vec<QueueStats>> {
        self.or(self.whole.queues())
    }

    fn place(&self, task: TaskId) -> StoreFuture<'_, Option<Place>> {
        self.or(self.whole.place(task))
    }

    fn secrets(&self) -> StoreFuture<'_, Vec<(String, bytes::Bytes)>> {
        self.or(self.whole.secrets())
    }

    fn health(&self) -> Health {
        match &*self.error.lock().unwrap() {
            None => Health::Ready,
            Some(StoreError::Corrupt(text)) => Health::Corrupt(text.clone()),
            Some(StoreError::Full | StoreError::Unavailable(_)) => Health::Full,
        }
    }
}

#[tokio::test]
async fn a_store_that_cannot_is_told_apart_and_its_words_are_kept_to_ourselves() {
    let store = BrokenStore::new();
    let api = Api::on(store.clone(), ServerConfig::on_loopback(), Config::default()).await;
    let secret = "/var/lib/relais.db: disk I/O error 778";
    for (error, status, code) in [
        (StoreError::Unavailable(secret.to_owned()), 503, "store-unavailable"),
        (StoreError::Full, 507, "store-full"),
        (StoreError::Corrupt(secret.to_owned()), 500, "internal"),
    ] {
        store.break_with(Some(error));
        let answer = api.call(post("/v1/tasks", &json!({"queue": "work"}))).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code));
        assert!(!answer.text().contains("relais.db"), "{}", answer.text());
        assert_eq!(answer.header("retry-after").is_empty(), status == 500);
        let ready = api.call(get("/readyz")).await;
        assert_eq!((ready.status.as_u16(), ready.code().as_str()), (503, "store-unavailable"));
        assert!(!ready.text().contains("relais.db"));
        assert_eq!(api.call(get("/healthz")).await.status, StatusCode::OK);
    }
    store.break_with(None);
    assert_eq!(api.call(get("/readyz")).await.status, StatusCode::OK);
    api.submit().await;
}

#[tokio::test]
async fn an_event_stream_is_told_to_come_back() {
    let store = BrokenStore::new();
    let api = Api::on(store.clone(), ServerConfig::on_loopback(), Config::default()).await;
    let task = api.submit().await;
    let target = format!("/v1/tasks/{}/events", task["id"].as_str().unwrap());
    store.break_with(Some(StoreError::Unavailable("gone fishing".to_owned())));
    // Even what is asked before the task is looked at may fail.
    api.clock.advance(std::time::Duration::from_secs(60));
    for target in [target.clone(), format!("/v1/events?task={}", task["id"].as_str().unwrap())] {
        let busy = api.call(get(&target)).await;
        assert_eq!(busy.status, StatusCode::OK);
        assert_eq!(busy.header("content-type"), "text/event-stream");
        assert!(busy.text().contains("event: relais.busy"), "{}", busy.text());
    }
    let page = api.call(get(&target).field("accept", "application/json")).await;
    assert_eq!(page.code(), "store-unavailable", "programs can read an error");
}
