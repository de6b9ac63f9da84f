//! Answers that a worker shows while they come: `PUT /v1/leases/result?live`.

use std::sync::Arc;

use bytes::Bytes;
use relais_core::{Status, TaskId, limits};
use relais_server::config::{Mode, Run};
use relais_store::{Body, Data, MemoryStore, Store};
use serde_json::{Value, json};

use crate::house::{Client, House, Plan, Reply};

const POST: &str = "POST /work HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";

async fn house(mode: Mode) -> House {
    let mut plan = Plan::with(mode).await;
    plan.route().run = Run::Workers;
    plan.build().await
}

async fn call(house: &House, method: &str, path: &str, body: &Value) -> Reply {
    let body = body.to_string();
    let fields = "host: localhost\r\ncontent-type: application/json\r\n";
    let len = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\n{fields}content-length: {len}\r\n\r\n{body}");
    house.call(&head).await
}

/// A task, and the token of its lease.
async fn leased(house: &House) -> (TaskId, String) {
    let id = house.send(POST).await.head().await.task();
    (id, lease(house).await)
}

async fn lease(house: &House) -> String {
    let leased = call(house, "POST", "/v1/queues/work/leases", &json!({"wait": "20s"})).await;
    leased.json()["leases"][0]["token"].as_str().unwrap().to_owned()
}

/// A worker that stores a result in chunks, and has sent the first.
async fn putting(house: &House, token: &str, query: &str, first: &str) -> Client {
    let fields = format!("host: localhost\r\nrelais-lease: {token}\r\ncontent-type: text/x-a\r\n");
    let head = format!("PUT /v1/leases/result{query} HTTP/1.1\r\n{fields}");
    let mut client = house.send(&format!("{head}transfer-encoding: chunked\r\n\r\n")).await;
    send(&mut client, first).await;
    client
}

async fn send(client: &mut Client, chunk: &str) {
    client.send(format!("{:x}\r\n{chunk}\r\n", chunk.len())).await;
}

/// The end of a result, and the name that it got.
async fn put(mut client: Client) -> String {
    client.send("0\r\n\r\n").await;
    let stored = client.reply().await;
    assert_eq!(stored.status, 200, "{stored:?}");
    stored.json()["result_id"].as_str().unwrap().to_owned()
}

async fn settle(house: &House, token: &str, mut with: Value) -> Value {
    with["token"] = json!(token);
    let settled = call(house, "POST", "/v1/leases/settle", &json!({"items": [with]})).await;
    settled.json()["items"][0].clone()
}

fn success(name: &str) -> Value {
    json!({"outcome": "succeed", "result_id": name})
}

fn asking(id: TaskId, query: &str) -> String {
    let fields = "host: localhost\r\nprefer: wait=50\r\n";
    format!("GET /v1/tasks/{id}/result{query} HTTP/1.1\r\n{fields}\r\n")
}

/// A reader that has got these bytes.
async fn reader(house: &House, id: TaskId, query: &str, first: &str) -> Client {
    let mut client = house.send(&asking(id, query)).await;
    let head = client.head().await;
    assert_eq!((head.status, head.field("content-type")), (200, "text/x-a"));
    assert_eq!(head.field("relais-result-version"), "1.1");
    assert_eq!(client.chunk().await, first.as_bytes());
    client
}

#[tokio::test]
async fn a_workers_answer_is_read_from_its_first_byte_at_each_node() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let build = async |seed| {
        let mut plan = Plan::with(Mode::Auto).await;
        plan.route().run = Run::Workers;
        (plan.store, plan.seed) = (store.clone(), seed);
        plan.build().await
    };
    let (one, two) = (build(7).await, build(8).await);
    // Whoever made the task gets it while it comes, too.
    let mut caller = one.send(POST).await;
    let token = lease(&two).await;
    let id = one.a_task().await.spec.id;
    let mut worker = putting(&two, &token, "?live", "one").await;
    let mut readers =
        [reader(&one, id, "?live", "one").await, reader(&two, id, "?live", "one").await];
    let head = caller.head().await;
    assert_eq!((head.status, head.field("relais-result-version")), (200, "1.1"));
    assert_eq!(caller.chunk().await, b"one");
    send(&mut worker, "two").await;
    for reader in readers.iter_mut().chain([&mut caller]) {
        assert_eq!(reader.chunk().await, b"two");
    }
    let name = put(worker).await;
    for reader in readers.iter_mut().chain([&mut caller]) {
        reader.assert_silent();
    }
    assert_eq!(settle(&one, &token, success(&name)).await["status"], 200);
    for reader in readers.iter_mut().chain([&mut caller]) {
        assert_eq!(reader.chunk().await, b"", "its end");
    }
    let stored = one.call(&asking(id, "?live&after=3&attempt=1.1")).await;
    assert_eq!((stored.status, stored.text()), (200, "two"));
    assert_eq!(stored.field("content-type"), "text/x-a");
}

#[tokio::test]
async fn what_is_whole_and_waits_for_its_settle_is_read_by_whoever_comes_then() {
    let house = house(Mode::Async).await;
    let (id, token) = leased(&house).await;
    // Nobody watches while it comes: as after a restart, only the store has it.
    let name = put(putting(&house, &token, "?live", "whole").await).await;
    let mut first = reader(&house, id, "?live", "whole").await;
    let mut second = reader(&house, id, "?live&after=2&attempt=1.1", "ole").await;
    first.assert_silent();
    assert_eq!(settle(&house, &token, success(&name)).await["status"], 200);
    assert_eq!((first.chunk().await, second.chunk().await), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn what_is_put_without_live_is_not_shown_before_its_settle() {
    let house = house(Mode::Async).await;
    let (id, token) = leased(&house).await;
    let mut waiting = house.send(&asking(id, "?live")).await;
    let name = put(putting(&house, &token, "", "whole").await).await;
    waiting.assert_silent();
    let with =
        json!({"outcome": "succeed", "result_id": name, "status": 201, "headers": [["x-a", "b"]]});
    assert_eq!(settle(&house, &token, with).await["status"], 200);
    let reply = waiting.reply().await;
    assert_eq!((reply.status, reply.text(), reply.field("x-a")), (201, "whole", "b"));
}

#[tokio::test]
async fn an_answer_is_shown_once_under_a_lease() {
    let house = house(Mode::Async).await;
    for ends in [None, Some(true), Some(false)] {
        let (id, token) = leased(&house).await;
        let worker = putting(&house, &token, "?live", "one").await;
        let mut reader = reader(&house, id, "?live", "one").await;
        let first = match ends {
            None => Some(worker),
            Some(true) => {
                put(worker).await;
                None
            }
            Some(false) => {
                drop(worker);
                assert!(!reader.rest().await.1, "what breaks off is aborted");
                None
            }
        };
        let second = putting(&house, &token, "?live", "two").await.reply().await;
        assert_eq!((second.status, second.code().as_str()), (409, "already-live"), "{ends:?}");
        // The lease goes on; another result is another version of the answer.
        let name = put(putting(&house, &token, "", "other").await).await;
        assert_eq!(settle(&house, &token, success(&name)).await["status"], 200);
        if ends != Some(false) {
            assert!(!reader.rest().await.1, "it is not the result");
        }
        drop(first);
        let on = house.call(&asking(id, "?live&after=3&attempt=1.1")).await;
        assert_eq!((on.status, on.code().as_str()), (412, "answer-replaced"));
        let stored = house.call(&asking(id, "?live")).await;
        assert_eq!((stored.text(), stored.field("relais-result-version")), ("other", "1.1.s"));
        assert_eq!(stored.field("etag"), format!("\"{id}-1-1-s\""));
        let on = house.call(&asking(id, "?live&after=3&attempt=1.1.s")).await;
        assert_eq!(on.text(), "er");
    }
    let odd = house.call("PUT /v1/leases/result?live=1 HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_eq!((odd.status, odd.code().as_str()), (400, "invalid-parameter"));
}

#[tokio::test]
async fn a_settle_says_nothing_else_of_an_answer_that_was_shown() {
    let house = house(Mode::Async).await;
    let (id, token) = leased(&house).await;
    let worker = putting(&house, &token, "?live", "one").await;
    let mut reader = reader(&house, id, "?live", "one").await;
    let name = put(worker).await;
    for (member, value) in [
        ("headers", json!([["x-a", "b"]])),
        ("content_type", json!("text/plain")),
        ("status", json!(201)),
    ] {
        let mut with = success(&name);
        with[member] = value;
        let refused = settle(&house, &token, with).await;
        assert_eq!(refused["status"], 422, "{refused}");
        let field = refused["problem"]["errors"][0]["pointer"].as_str().unwrap_or_default();
        let detail = refused["problem"]["detail"].as_str().unwrap();
        assert!(detail.contains(member) || field.contains(member), "{refused}");
    }
    reader.assert_silent();
    assert_eq!(house.engine.task(id).await.unwrap().unwrap().life.status(), Status::Running);
    let mut with = success(&name);
    (with["content_type"], with["status"]) = (json!("text/x-a"), json!(200));
    assert_eq!(settle(&house, &token, with).await["status"], 200);
    assert_eq!(reader.chunk().await, b"");
}

#[tokio::test]
async fn any_other_end_of_the_attempt_aborts_the_readers() {
    let house = house(Mode::Async).await;
    for end in [
        Some(json!({"outcome": "succeed", "result": {"a": 1}})),
        Some(json!({"outcome": "succeed"})),
        Some(json!({"outcome": "fail", "retryable": false})),
        Some(json!({"outcome": "release"})),
        None,
    ] {
        let (id, token) = leased(&house).await;
        let worker = putting(&house, &token, "?live", "one").await;
        let mut reader = reader(&house, id, "?live", "one").await;
        match &end {
            Some(end) => assert_eq!(settle(&house, &token, end.clone()).await["status"], 200),
            None => _ = house.engine.cancel(&"default".parse().unwrap(), id).await.unwrap(),
        }
        assert_eq!(reader.rest().await, (Vec::new(), false), "{end:?}");
        drop(worker);
        if end.as_ref().is_some_and(|end| end["outcome"] == "release") {
            // The next attempt shows its own.
            let token = lease(&house).await;
            let worker = putting(&house, &token, "?live", "again").await;
            let mut next = house.send(&asking(id, "?live")).await;
            assert_eq!(next.head().await.field("relais-result-version"), "1.2");
            let name = put(worker).await;
            assert_eq!(settle(&house, &token, success(&name)).await["status"], 200);
        }
    }
}

/// A worker keeps its lease over a stop, and nobody waits for that: who reads comes back later.
#[tokio::test]
async fn a_stop_cuts_readers_off_and_ends_nothing() {
    let house = house(Mode::Async).await;
    let (id, token) = leased(&house).await;
    let name = put(putting(&house, &token, "?live", "whole").await).await;
    let mut live = reader(&house, id, "?live", "whole").await;
    house.app.stop.close();
    assert_eq!(live.rest().await, (Vec::new(), false), "no end is faked");
    let task = house.engine.task(id).await.unwrap().unwrap();
    assert_eq!((task.life.status(), task.life.live()), (Status::Running, task.life.early()));
    assert!(name.starts_with("result_"));
}

#[tokio::test]
async fn nobody_shows_an_answer_without_its_lease() {
    let house = house(Mode::Async).await;
    let (id, token) = leased(&house).await;
    let forged = token.chars().rev().collect::<String>();
    for (token, status, code) in [
        (forged.as_str(), 409, "stale-lease"),
        ("lease_x", 409, "stale-lease"),
        ("", 409, "stale-lease"),
    ] {
        let refused = putting(&house, token, "?live", "one").await.reply().await;
        assert_eq!((refused.status, refused.code().as_str()), (status, code), "{token:?}");
    }
    let task = house.engine.task(id).await.unwrap().unwrap();
    assert_eq!(task.life.live(), None, "nothing was noted");
}

/// The head of an empty answer was held back until its settle, whatever patience its reader had.
#[tokio::test]
async fn an_empty_answer_of_a_worker_is_shown_and_ends_with_its_settle() {
    let house = house(Mode::Async).await;
    let (id, token) = leased(&house).await;
    let fields = format!("host: localhost\r\nrelais-lease: {token}\r\ncontent-length: 0\r\n");
    let stored = house.call(&format!("PUT /v1/leases/result?live HTTP/1.1\r\n{fields}\r\n")).await;
    let name = stored.json()["result_id"].as_str().unwrap().to_owned();
    let mut live = house.send(&asking(id, "?live")).await;
    let head = live.head().await;
    assert_eq!((head.status, head.field("content-type")), (200, "application/octet-stream"));
    live.assert_silent();
    assert_eq!(settle(&house, &token, success(&name)).await["status"], 200);
    assert_eq!(live.chunk().await, b"");
}

/// What cannot be stored will never be a settle's: its readers waited for the end of the lease.
#[tokio::test]
async fn an_answer_that_is_refused_at_its_end_breaks_its_readers_at_once() {
    let house = house(Mode::Async).await;
    for _ in 0..limits::UPLOADS_PER_TENANT_MAX {
        let (_, token) = leased(&house).await;
        let body = Body { head: Bytes::new(), data: Data::Inline(Bytes::from_static(b"early")) };
        house.engine.store_early(None, token.parse().unwrap(), None, body).await.unwrap();
    }
    let (id, token) = leased(&house).await;
    let mut worker = putting(&house, &token, "?live", "one").await;
    let mut live = reader(&house, id, "?live", "one").await;
    worker.send("0\r\n\r\n").await;
    assert_eq!(live.rest().await, (Vec::new(), false), "no end is faked");
    let refused = worker.reply().await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate-limited"));
}
