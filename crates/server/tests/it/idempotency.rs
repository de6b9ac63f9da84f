//! The same request twice is one task.

use std::time::Duration;

use http::StatusCode;
use relais_core::BodyKind;
use relais_server::config::Scopes;
use serde_json::json;

use crate::api::{Api, Call, call, get, id_of, key, post};

const LONG: &str = "8e03978e-40d5-43dd-bc93-6894a57f9324";

fn submission(key: &str) -> Call {
    post("/v1/tasks", &json!({"queue": "work", "input": 1})).field("idempotency-key", key)
}

#[tokio::test]
async fn the_same_request_again_is_the_same_task_with_a_fresh_ticket() {
    let api = Api::new().await;
    let first = api.call(submission(LONG)).await;
    let second = api.call(submission(&format!("\"{LONG}\""))).await;
    assert_eq!(second.status, StatusCode::ACCEPTED);
    assert_eq!(first.json()["id"], second.json()["id"]);
    assert_eq!(first.header("idempotent-replayed"), "");
    assert_eq!(second.header("idempotent-replayed"), "true");
    let task = api.call(get(second.header("operation-location"))).await;
    assert_eq!(task.status, StatusCode::OK);
}

#[tokio::test]
async fn once_it_is_done_the_same_request_again_is_its_result() {
    let api = Api::new().await;
    let id = id_of(&api.call(submission(LONG)).await.json());
    let lease = api.lease().await;
    api.settle(json!({"token": lease["token"], "outcome": "succeed", "result": [7]})).await;
    let again = api.call(submission(LONG)).await;
    assert_eq!((again.status, again.text()), (StatusCode::OK, "[7]"));
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.header("relais-task"), id.to_string());
}

#[tokio::test]
async fn on_this_machine_a_short_key_leads_to_ticket_and_answer_too() {
    // Whoever is taken without credentials here sees all tasks in any case: the second run of a
    // program with a key like this one got a 202 without ticket and without `Retry-After`.
    let api = Api::new().await;
    let first = api.call(submission("order-1")).await;
    let second = api.call(submission("order-1")).await;
    assert_eq!(second.json()["id"], first.json()["id"]);
    assert!(second.json()["ticket"].is_string());
    assert!(second.header("retry-after").parse::<u32>().is_ok(), "{second:?}");
    let lease = api.lease().await;
    api.settle(json!({"token": lease["token"], "outcome": "succeed", "result": "done"})).await;
    let third = api.call(submission("order-1").field("prefer", "wait=5")).await;
    assert_eq!((third.status, third.text()), (StatusCode::OK, "\"done\""));
    assert_eq!(third.header("preference-applied"), "wait=5");
}

#[tokio::test]
async fn who_sends_credentials_is_known_and_apart_from_others() {
    let api = Api::new().await;
    let as_caller = |who: &str| submission("order-1").field("cookie", who);
    let first = api.call(as_caller("session=a")).await;
    let again = api.call(as_caller("session=a")).await;
    assert_eq!(first.json()["id"], again.json()["id"]);
    assert!(again.json()["ticket"].is_string());
    let other = api.call(as_caller("session=b")).await;
    assert_ne!(first.json()["id"], other.json()["id"]);
}

#[tokio::test]
async fn another_request_with_the_key_is_refused() {
    let api = Api::new().await;
    api.call(submission(LONG)).await;
    let other = post("/v1/tasks", &json!({"queue": "work", "input": 2}));
    let answer = api.call(other.field("idempotency-key", LONG)).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (422, "idempotency-key-reused"));
}

#[tokio::test]
async fn a_key_whose_task_is_gone_runs_nothing() {
    let api = Api::new().await;
    let id = id_of(&api.call(submission(LONG)).await.json());
    let erased = api.call(call("DELETE", &format!("/v1/tasks/{id}?cancel=true"))).await;
    assert_eq!(erased.status, StatusCode::NO_CONTENT);
    let answer = api.call(submission(LONG)).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (410, "task-gone"));
    assert!(api.engine.body(id, BodyKind::Input).await.unwrap().is_none());
}

#[tokio::test]
async fn two_api_keys_never_share_a_key() {
    let keys = vec![key("rk_a", "default", Scopes::ALL), key("rk_b", "default", Scopes::ALL)];
    let api = Api::with_keys(keys).await;
    let a = api.call(submission("order-1").field("relais-api-key", "rk_a")).await;
    let b = api.call(submission("order-1").field("relais-api-key", "rk_b")).await;
    assert_ne!(a.json()["id"], b.json()["id"]);
    assert_eq!((a.status, b.status), (StatusCode::ACCEPTED, StatusCode::ACCEPTED));
}

#[tokio::test]
async fn what_is_no_key_is_refused() {
    let api = Api::new().await;
    for odd in ["", "a b", "\"a", "a,b"] {
        let answer = api.call(submission(odd)).await;
        let refused = (answer.status.as_u16(), answer.code());
        assert_eq!(refused, (400, "invalid-idempotency-key".to_owned()), "{odd:?}");
    }
}

#[tokio::test]
async fn a_batch_sent_again_is_the_same_tasks() {
    let api = Api::new().await;
    let items = json!([{"queue": "work", "input": 1}, {"queue": "work", "input": 1}]);
    let send = || post("/v1/tasks/batch", &items).field("idempotency-key", LONG);
    let (first, second) = (api.call(send()).await.json(), api.call(send()).await.json());
    assert_ne!(first["items"][0]["task"]["id"], first["items"][1]["task"]["id"]);
    for index in 0..2 {
        assert_eq!(first["items"][index]["task"]["id"], second["items"][index]["task"]["id"]);
        assert_eq!(second["items"][index]["replayed"], true);
    }
}

/// The whole body was hashed once for each task in it, and nobody else was answered meanwhile.
#[tokio::test]
async fn a_key_costs_a_large_batch_hardly_anything() {
    let api = Api::new().await;
    let large = json!({"queue": "work", "input": "x".repeat(4 << 20)});
    let batch: Vec<_> = (0..999).map(|_| json!({"queue": "work"})).chain([large]).collect();
    let batch = json!(batch);
    let mut took = Vec::new();
    for call in [
        post("/v1/tasks/batch", &batch),
        post("/v1/tasks/batch", &batch).field("idempotency-key", LONG),
    ] {
        let began = std::time::Instant::now();
        assert_eq!(api.call(call).await.json()["items"][999]["status"], 202);
        took.push(began.elapsed());
    }
    assert!(took[1] < took[0] * 3 + Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn a_key_leads_to_its_task_whatever_has_become_of_it() {
    // P30: the task that a key leads to may be queued, running, over in each way, or run again.
    let engine = relais_engine::Config {
        template: Some(crate::api::without_retries()),
        ..relais_engine::Config::default()
    };
    let server = relais_server::config::ServerConfig::on_loopback();
    let api = Api::with(server, engine).await;
    let id = id_of(&api.call(submission(LONG)).await.json());
    let again = async || {
        let answer = api.call(submission(LONG)).await;
        assert_eq!(answer.header("relais-task"), id.to_string());
        assert_eq!(answer.header("idempotent-replayed"), "true");
        answer
    };
    let status = |answer: crate::api::Answer| answer.json()["status"].clone();
    assert_eq!(status(again().await), "queued");
    let lease = api.lease().await;
    assert_eq!(status(again().await), "running");
    api.settle(json!({"token": lease["token"], "outcome": "fail"})).await;
    let failed = again().await;
    assert_eq!((failed.status.as_u16(), &failed.json()["code"]), (500, &json!("handler-failed")));
    api.call(call("POST", &format!("/v1/tasks/{id}/retry"))).await;
    assert_eq!(again().await.json()["run"], 2);
    api.call(call("POST", &format!("/v1/tasks/{id}/cancel"))).await;
    assert_eq!(again().await.json()["code"], "task-canceled");
}
