//! What clients are told when the store cannot.

use bytes::Bytes;
use http::StatusCode;
use relais_core::{BodyKind, Credentials, RequestLine, Spec};
use relais_engine::Config;
use relais_server::config::{Mode, ServerConfig};
use relais_store::{Accept, Body, Commit, Data, StoreError};
use serde_json::json;

use crate::api::{Api, get, id_of, post};
use crate::house::Plan;
use crate::odd_store::OddStore;

#[tokio::test]
async fn a_store_that_cannot_is_told_apart_and_its_words_are_kept_to_ourselves() {
    let store = OddStore::new();
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

/// One task of which it cannot be read who may see it made every list that it was in a 500.
#[tokio::test]
async fn a_task_whose_context_is_damaged_is_left_out_of_lists() {
    let api = Api::new().await;
    let (mut spec, bodies) = (spec_like(&api).await, Vec::new());
    spec.context = Bytes::from_static(b"\x01\xff");
    let damaged = spec.id;
    accept(&api, spec, bodies).await;
    let list = api.call(get("/v1/tasks")).await.json();
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list}");
    let many = api.call(post("/v1/tasks/cancel", &json!({"queue": "work"}))).await.json();
    assert_eq!(many["changed"], 1, "{many}");
    let one = api.call(get(&format!("/v1/tasks/{damaged}"))).await;
    assert_eq!((one.status.as_u16(), one.code().as_str()), (500, "internal"));
}

/// The calls of all workers of its queue were a 500, and it was the next one again.
#[tokio::test]
async fn a_task_whose_request_is_damaged_ends_alone_when_it_is_leased() {
    let api = Api::new().await;
    let mut spec = spec_like(&api).await;
    spec.request = Some(RequestLine::new("POST", "/imports"));
    let (damaged, head) = (spec.id, Bytes::from_static(b"\x01\xff"));
    let body = Body { head, data: Data::Inline(Bytes::from_static(b"1")) };
    accept(&api, spec, vec![(BodyKind::Input, body)]).await;
    let leases = api.call(post("/v1/queues/work/leases", &json!({"max": 2}))).await;
    assert_eq!(leases.status, StatusCode::OK, "{}", leases.text());
    assert_eq!(leases.json()["leases"].as_array().unwrap().len(), 1);
    let ended = api.call(get(&format!("/v1/tasks/{damaged}"))).await.json();
    assert_eq!(
        (&ended["status"], &ended["problem"]["code"]),
        (&json!("failed"), &json!("body-damaged"))
    );
}

/// What a task would say of itself that is like one that was submitted.
async fn spec_like(api: &Api) -> Spec {
    let task = api.engine.task(id_of(&api.submit().await)).await.unwrap().unwrap();
    Spec { id: api.engine.draw_id(), ..(*task.spec).clone() }
}

/// A task comes into the store as no submission would make it.
async fn accept(api: &Api, spec: Spec, bodies: Vec<(BodyKind, Body)>) {
    let (task, entry) = relais_core::accept(spec, Credentials::None, false);
    let accept = Accept {
        task,
        entry,
        bodies,
        idempotency: None,
        queue_capacity: 9,
        tenant_capacity: 9,
        source_capacity: 9,
    };
    api.store.commit(vec![Commit::Accept(Box::new(accept))]).await.unwrap().remove(0).unwrap();
}

#[tokio::test]
async fn requests_of_the_front_door_cost_no_look_at_the_store() {
    // Each had the store look at its files: only probes do.
    let store = OddStore::new();
    let mut plan = Plan::with(Mode::Async).await;
    plan.store = store.clone();
    let house = plan.build().await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n";
    let before = store.looks();
    for _ in 0..3 {
        assert_eq!(house.call(&format!("{head}hi")).await.status, 202);
    }
    store.break_with(Some(StoreError::Full));
    let refused = house.call(head).await;
    assert_eq!((refused.status, refused.code().as_str()), (507, "store-full"), "by the head alone");
    assert_eq!(store.looks(), before);
}

#[tokio::test]
async fn an_event_stream_is_told_to_come_back() {
    let store = OddStore::new();
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
