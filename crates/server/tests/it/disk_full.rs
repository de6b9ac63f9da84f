//! A disk that is full, from the door to the file: what is new is refused, what is there goes
//! on, and it ends by itself.

use std::sync::Arc;

use relais_core::Status;
use relais_server::config::Mode;
use relais_store_sqlite::{Options, SqliteStore};
use serde_json::{Value, json};

use crate::house::{House, Plan, Reply, START};

/// A call to the task API, from the same machine.
async fn api(house: &House, method: &str, path: &str, document: &Value) -> Reply {
    let body = document.to_string();
    let fields = format!("content-type: application/json\r\ncontent-length: {}", body.len());
    let host = house.address;
    let request = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n{fields}\r\n\r\n{body}");
    house.call(&request).await
}

async fn get(house: &House, path: &str) -> Reply {
    house.call(&format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", house.address)).await
}

/// P24: submits are refused, outcomes are recorded and read, and room is used without a restart.
#[tokio::test]
async fn a_full_disk_refuses_submits_and_nothing_else_until_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relais.db");
    let options = Options { pages_max: Some(400), ..Options::new(path, START) };
    let mut plan = Plan::with(Mode::Auto).await;
    plan.store = Arc::new(SqliteStore::open(&options).unwrap());
    let house = plan.build().await;
    // Work of both kinds is under way.
    let post = "POST /import HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";
    let mut waiting = house.send(post).await;
    let mut call = house.upstream.next().await;
    let large = json!({"queue": "later", "input": "x".repeat(60_000)});
    let mut ids = Vec::new();
    let refused = loop {
        let reply = api(&house, "POST", "/v1/tasks", &large).await;
        if reply.status != 202 {
            break reply;
        }
        ids.push(reply.task());
    };
    assert!(ids.len() > 10, "{} were accepted", ids.len());

    assert_eq!((refused.status, refused.code().as_str()), (507, "store-full"));
    assert!(refused.field("retry-after").parse::<u32>().unwrap() >= 1);
    let batch = api(&house, "POST", "/v1/tasks/batch", &json!([large, large])).await;
    assert_eq!((batch.status, batch.code().as_str()), (507, "store-full"));
    let long = "x".repeat(60_000);
    let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}", long.len());
    let at_the_door = house.call(&format!("{head}\r\n\r\n{long}")).await;
    assert_eq!((at_the_door.status, at_the_door.code().as_str()), (507, "store-full"));
    assert!(house.upstream.is_silent().await, "what is not durable is not sent");
    let ready = get(&house, "/readyz").await;
    assert_eq!((ready.status, ready.code().as_str()), (503, "store-unavailable"));
    assert_eq!(get(&house, "/healthz").await.status, 200);

    // Outcomes are told to whoever waits, and to whoever asks.
    call.answer("201 Made", "", "imported").await;
    let answer = waiting.reply().await;
    assert_eq!((answer.status, answer.text()), (201, "imported"));
    assert_eq!(house.over(answer.task()).await.life.status(), Status::Succeeded);
    let leases = api(&house, "POST", "/v1/queues/later/leases", &json!({"max": 5})).await.json();
    let leases = leases["leases"].as_array().unwrap().clone();
    assert_eq!(leases.len(), 5);
    for lease in &leases {
        let beat = json!({"items": [{"token": lease["token"]}]});
        let beat = api(&house, "POST", "/v1/leases/heartbeat", &beat).await.json();
        assert_eq!(beat["items"][0]["status"], 200, "{beat}");
        let item = json!({"token": lease["token"], "outcome": "succeed", "result": "done"});
        let settle = json!({"items": [item]});
        let settled = api(&house, "POST", "/v1/leases/settle", &settle).await.json();
        assert_eq!(settled["items"][0]["status"], 200, "{settled}");
        let id = lease["task"].as_str().unwrap();
        assert_eq!(get(&house, &format!("/v1/tasks/{id}")).await.json()["status"], "succeeded");
        assert_eq!(get(&house, &format!("/v1/tasks/{id}/result")).await.text(), "\"done\"");
        let refused = api(&house, "POST", "/v1/tasks", &large).await;
        assert_eq!(refused.code(), "store-full");
    }
    let listed = get(&house, "/v1/tasks?queue=later&limit=500").await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), ids.len());

    // Room is made, and used at once.
    for id in ids.iter().take(10) {
        let target = format!("/v1/tasks/{id}?cancel=true");
        let request = format!("DELETE {target} HTTP/1.1\r\nhost: {}\r\n\r\n", house.address);
        assert_eq!(house.call(&request).await.status, 204);
    }
    assert_eq!(api(&house, "POST", "/v1/tasks", &large).await.status, 202);
    assert_eq!(get(&house, "/readyz").await.status, 200);
    let mut waiting = house.send(post).await;
    house.upstream.next().await.answer("200 OK", "", "again").await;
    assert_eq!(waiting.reply().await.text(), "again");
}
