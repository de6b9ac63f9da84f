//! What one caller costs the others: items, bodies, results and pages have bounds that hold while
//! they are read, and what is refused leaves nothing behind.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use relais_core::limits;
use relais_engine::Config;
use relais_server::config::{Scopes, ServerConfig};
use relais_store::MemoryStore;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::api::{Answer, Api, call, get, id_of, key, post};

const CALLS: [&str; 2] = ["/v1/leases/settle", "/v1/leases/heartbeat"];

async fn with_keys() -> Api {
    Api::with_keys(vec![key("rk_a", "a", Scopes::ALL), key("rk_b", "b", Scopes::ALL)]).await
}

fn limit_of(answer: &Answer) -> u64 {
    answer.json()["limit"].as_u64().unwrap()
}

#[tokio::test]
async fn a_lease_call_without_key_and_token_is_nobodys() {
    // It was answered 200: nothing was asked for, so nothing was refused.
    let api = with_keys().await;
    for path in CALLS {
        let empty = api.call(post(path, &json!({"items": []}))).await;
        assert_eq!((empty.status.as_u16(), empty.code().as_str()), (401, "unauthorized"));
        let keyed = post(path, &json!({"items": []})).field("relais-api-key", "rk_a");
        assert_eq!(api.call(keyed).await.status, StatusCode::OK);
        // A token that nobody gave is answered in its place, as always.
        let token = json!({"items": [{"token": "lease_x", "outcome": "release"}]});
        assert_eq!(api.call(post(path, &token)).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn credentials_are_looked_at_before_the_body() {
    let reader = Scopes { read: true, ..Scopes::default() };
    let api = Api::with_keys(vec![key("rk_read", "a", reader)]).await;
    for path in CALLS {
        // The body never comes: whoever waited for it would never answer.
        let silent = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let keyed = post(path, &Value::Null).field("relais-api-key", "rk_read").body(silent);
        let answer = api.call(keyed).await;
        assert_eq!(answer.code(), "forbidden");
        assert!(answer.json()["detail"].as_str().unwrap().contains("`work`"), "{answer:?}");
        let silent = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let large = limits::KEYLESS_BATCH_BODY_BYTES_MAX + 1;
        let keyless = post(path, &Value::Null).field("content-length", &large.to_string());
        let answer = api.call(keyless.body(silent)).await;
        assert_eq!(answer.code(), "body-too-large");
        assert_eq!(limit_of(&answer), limits::KEYLESS_BATCH_BODY_BYTES_MAX);
    }
}

#[tokio::test]
async fn the_first_item_too_many_ends_the_call() {
    let api = with_keys().await;
    let items = vec![json!({}); limits::BATCH_MAX + 1];
    let envelope = json!({ "items": items });
    for (path, document) in
        [(CALLS[0], &envelope), (CALLS[1], &envelope), ("/v1/tasks/batch", &json!(items))]
    {
        let answer = api.call(post(path, document).field("relais-api-key", "rk_a")).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (413, "batch-too-large"));
        assert_eq!(limit_of(&answer), limits::BATCH_MAX as u64);
    }
}

/// A body of so many bytes that then pauses for ever, and what tells that all of them were taken.
fn pausing(bytes: usize) -> (Body, oneshot::Receiver<()>) {
    let (taken, is_taken) = oneshot::channel();
    let first = stream::iter([Ok::<_, std::io::Error>(Bytes::from(vec![b' '; bytes]))]);
    let pause = stream::once(async move {
        let _ = taken.send(());
        std::future::pending().await
    });
    (Body::from_stream(first.chain(pause)), is_taken)
}

#[tokio::test]
async fn unfinished_bodies_of_one_tenant_do_not_fill_the_memory() {
    // 64 MiB each, and a connection costs nothing.
    let keys = ["a", "b", "c"].map(|name| key(&format!("rk_{name}"), name, Scopes::ALL)).to_vec();
    let unfinished_memory_bytes_max = 1 << 20;
    let server = ServerConfig { keys, unfinished_memory_bytes_max, ..ServerConfig::on_loopback() };
    let api = Arc::new(Api::with(server, Config::default()).await);
    let send = |name: &str, body: Body| {
        let (api, name) = (api.clone(), format!("rk_{name}"));
        let call = post("/v1/tasks", &Value::Null).field("relais-api-key", &name).body(body);
        tokio::spawn(async move { api.call(call).await })
    };
    let (body, taken) = pausing(500 << 10);
    let first = send("a", body);
    taken.await.unwrap();
    let refused = send("a", pausing(100 << 10).0).await.unwrap();
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (429, "rate-limited"));
    assert_eq!(limit_of(&refused), 512 << 10);
    assert!(!refused.header("retry-after").is_empty());
    let (body, taken) = pausing(500 << 10);
    let second = send("b", body);
    taken.await.unwrap();
    let refused = send("c", pausing(100 << 10).0).await.unwrap();
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (503, "overloaded"));
    assert!(!refused.header("retry-after").is_empty());
    // What is small goes on, and what is given up gives its room back.
    let small = send("c", json!({"queue": "work", "input": 1}).to_string().into());
    assert_eq!(small.await.unwrap().status, StatusCode::ACCEPTED);
    first.abort();
    second.abort();
    assert!(first.await.is_err() && second.await.is_err());
}

/// Bodies of up to 64 KiB were not counted, and one connection of HTTP/2
/// carries two hundred of them.
#[tokio::test]
async fn many_unfinished_bodies_that_are_not_large_do_not_fill_the_memory() {
    for path in ["/v1/tasks", "/v1/queues/work/leases"] {
        let server = ServerConfig {
            keys: vec![key("rk_a", "a", Scopes::ALL)],
            unfinished_memory_bytes_max: 256 << 10,
            ..ServerConfig::on_loopback()
        };
        let api = Arc::new(Api::with(server, Config::default()).await);
        let send = |body: Body| {
            let api = api.clone();
            let call = post(path, &Value::Null).field("relais-api-key", "rk_a").body(body);
            tokio::spawn(async move { api.call(call).await })
        };
        let mut held = Vec::new();
        for _ in 0..2 {
            let (body, taken) = pausing(60_000);
            held.push(send(body));
            taken.await.unwrap();
        }
        let refused = send(pausing(60_000).0).await.unwrap();
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (429, "rate-limited"));
        for held in held {
            held.abort();
            assert!(held.await.is_err());
        }
    }
}

#[tokio::test]
async fn what_is_refused_leaves_nothing_in_the_store() {
    let store = Arc::new(MemoryStore::new());
    let server =
        ServerConfig { keys: vec![key("rk_a", "a", Scopes::ALL)], ..ServerConfig::on_loopback() };
    let api = Api::on(store.clone(), server, Config::default()).await;
    let large = "x".repeat(limits::INLINE_BODY_BYTES_MAX + 1);
    let token = format!("lease_{}", "0".repeat(52));
    let of_nobody = json!({"token": token, "outcome": "succeed", "result": large});
    let settled = api.call(post(CALLS[0], &json!({"items": [of_nobody]}))).await.json();
    assert_eq!(settled["items"][0]["problem"]["code"], "stale-lease");
    assert_eq!(store.unclaimed_bodies(), 0);
    let checkpoint = json!({"queue": "work", "input": large, "checkpoint": large});
    let unknown = json!({"queue": "no such queue", "input": large});
    for (document, status) in [(checkpoint, 422), (unknown, 422)] {
        let submit = post("/v1/tasks", &document).field("relais-api-key", "rk_a");
        assert_eq!(api.call(submit).await.status.as_u16(), status);
        assert_eq!(store.unclaimed_bodies(), 0);
    }
    api.engine.drain().await;
    let late = json!({"queue": "work", "input": large});
    for (path, late) in [("/v1/tasks", late.clone()), ("/v1/tasks/batch", json!([late]))] {
        let refused = api.call(post(path, &late).field("relais-api-key", "rk_a")).await;
        assert_eq!(refused.code(), "server-draining");
        assert_eq!(store.unclaimed_bodies(), 0, "its input was ready for a commit that never came");
    }
}

/// Leases `count` tasks of a tenant that were just submitted, and answers their tokens.
async fn leases(api: &Api, api_key: &str, count: usize) -> Vec<String> {
    let tasks = vec![json!({"queue": "work", "input": 1}); count];
    let batch = post("/v1/tasks/batch", &json!(tasks)).field("relais-api-key", api_key);
    assert_eq!(api.call(batch).await.status, StatusCode::OK);
    let lease = post("/v1/queues/work/leases", &json!({ "max": count }));
    let leases = api.call(lease.field("relais-api-key", api_key)).await.json();
    let leases = leases["leases"].as_array().unwrap();
    leases.iter().map(|lease| lease["token"].as_str().unwrap().to_owned()).collect()
}

async fn put(api: &Api, token: &str) -> Answer {
    let put = call("PUT", "/v1/leases/result").field("relais-lease", token).body("result");
    api.call(put).await
}

#[tokio::test]
async fn results_without_settles_block_nobody_else_and_end_with_their_leases() {
    // A thousand of one tenant kept all others from storing theirs, for an hour.
    let api = with_keys().await;
    let most = limits::UPLOADS_PER_TENANT_MAX;
    let tokens = leases(&api, "rk_b", most + 1).await;
    for token in &tokens[..most] {
        assert_eq!(put(&api, token).await.status, StatusCode::OK);
    }
    assert_eq!(put(&api, &tokens[0]).await.status, StatusCode::OK, "it takes its own place");
    let refused = put(&api, &tokens[most]).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (429, "rate-limited"));
    assert_eq!(limit_of(&refused), most as u64);
    let other = leases(&api, "rk_a", 1).await;
    assert_eq!(put(&api, &other[0]).await.status, StatusCode::OK);
    // Their leases end, and with them what they stored.
    let first = tokens[0].parse::<relais_core::LeaseToken>().unwrap().task;
    let mut follower = api.engine.follow(first);
    let version = api.engine.task(first).await.unwrap().unwrap().life.version;
    api.clock.advance(Duration::from_secs(31));
    follower.after(version).await;
    let next = leases(&api, "rk_b", 1).await;
    let freed = async {
        while put(&api, &next[0]).await.status != StatusCode::OK {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), freed).await.expect("their room is free");
}

#[tokio::test]
async fn a_page_of_events_is_bounded_in_bytes() {
    // 400 outputs of 60 KB were 24 MB for each reader that did not even read.
    let api = Api::new().await;
    let task = api.submit().await;
    let lease = api.lease().await;
    let output = "o".repeat(60_000);
    for _ in 0..40 {
        let beat = json!({"items": [{"token": lease["token"], "output": output}]});
        assert_eq!(api.call(post(CALLS[1], &beat)).await.json()["items"][0]["status"], 200);
    }
    let path = format!("/v1/tasks/{}/events?limit=500", task["id"].as_str().unwrap());
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let page =
            api.call(get(&format!("{path}&after={after}")).field("accept", "application/json"));
        let page = page.await;
        assert!(page.body.len() < limits::PAGE_BYTES_MAX + 4_096, "{} bytes", page.body.len());
        let page = page.json();
        let events = page["events"].as_array().unwrap();
        seen.extend(events.iter().map(|event| event["seq"].as_u64().unwrap()));
        after = page["next"].as_u64().unwrap();
        if events.is_empty() {
            break;
        }
    }
    assert_eq!(seen, (1..=42).collect::<Vec<u64>>(), "following `next` gives each event once");
}

#[tokio::test]
async fn a_page_of_tasks_is_bounded_in_bytes() {
    let api = Api::new().await;
    let labels: serde_json::Map<String, Value> =
        (0..16).map(|n| (format!("{n:0>128}"), "v".repeat(128).into())).collect();
    let tasks = vec![json!({"queue": "work", "labels": labels}); 400];
    assert_eq!(api.call(post("/v1/tasks/batch", &json!(tasks))).await.status, StatusCode::OK);
    let (mut after, mut seen) = (String::new(), std::collections::BTreeSet::new());
    loop {
        let page = api.call(get(&format!("/v1/tasks?limit=500{after}"))).await;
        assert!(page.body.len() < limits::PAGE_BYTES_MAX + 4_096, "{} bytes", page.body.len());
        let page = page.json();
        for item in page["items"].as_array().unwrap() {
            assert!(seen.insert(id_of(item)), "each task once");
        }
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(seen.len(), 400);
}

#[tokio::test]
async fn an_answer_with_many_leases_has_room_for_so_many_inputs() {
    let api = Api::new().await;
    let input = "i".repeat(60_000);
    let count = limits::LEASE_INPUTS_BYTES_MAX as usize / input.len() + 10;
    let tasks = vec![json!({"queue": "work", "input": input}); count];
    assert_eq!(api.call(post("/v1/tasks/batch", &json!(tasks))).await.status, StatusCode::OK);
    let leases = api.call(post("/v1/queues/work/leases", &json!({ "max": count }))).await.json();
    let leases = leases["leases"].as_array().unwrap().clone();
    let by_url: Vec<_> = leases.iter().filter(|lease| lease.get("input_url").is_some()).collect();
    assert_eq!(leases.len(), count);
    assert!((10..=11).contains(&by_url.len()), "{}", by_url.len());
    let token = by_url[0]["token"].as_str().unwrap();
    let fetched = api.call(get("/v1/leases/input").field("relais-lease", token)).await;
    assert_eq!(fetched.body.len(), input.len() + 2);
}

#[tokio::test]
async fn a_worker_sets_no_field_that_speaks_for_relais_own_origin() {
    let api = Api::new().await;
    let settle = async |name: &str| {
        let task = api.submit().await;
        let lease = api.lease().await;
        let item = json!({"token": lease["token"], "outcome": "succeed", "result": 1,
                          "headers": [[name, "1"]]});
        let item = api.settle(item).await;
        if item["status"] != 200 {
            let release = json!({"token": lease["token"], "outcome": "succeed"});
            assert_eq!(api.settle(release).await["status"], 200, "the refusal took no lease");
        }
        (task, item)
    };
    for name in [
        "Set-Cookie",
        "Clear-Site-Data",
        "Strict-Transport-Security",
        "Access-Control-Allow-Origin",
        "Sec-Session-Registration",
        "Service-Worker-Allowed",
        "WWW-Authenticate",
    ] {
        let (_, item) = settle(name).await;
        assert_eq!(item["problem"]["code"], "invalid-field", "{name}");
        assert_eq!(item["problem"]["errors"][0]["pointer"], "/headers/0", "{name}");
    }
    let (task, item) = settle("X-Mine").await;
    assert_eq!(item["status"], 200);
    let result = format!("/v1/tasks/{}/result", task["id"].as_str().unwrap());
    assert_eq!(api.call(get(&result)).await.header("x-mine"), "1");
}
