//! Known ways to fail (`docs/pitfalls.md`) that show best over HTTP.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use relais_core::{Policy, Rate, Status};
use relais_engine::Config;
use relais_server::config::{Mode, Scopes, ServerConfig};
use relais_store_sqlite::{Options, SqliteStore};
use serde_json::{Value, json};

use crate::api::{Api, Call, call, get, id_of, key, post};
use crate::house::{Plan, START};

fn keyed(key: &str, document: &Value) -> Call {
    post("/v1/tasks", document).field("idempotency-key", key)
}

/// P32: keys are in the store, all of them: none is evicted by others, and none by a restart.
#[tokio::test]
async fn no_key_is_forgotten_however_many_there_are() {
    const BATCHES: usize = 20;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relais.db");
    let tasks = json!(vec![json!({"queue": "work"}); 250]);
    let mut first: Vec<Value> = Vec::new();
    for _ in 0..2 {
        // Room for few tasks: what is not in mind must be found in the file.
        let options = Options { tasks_kept: 16, ..Options::new(&path, START) };
        let store = SqliteStore::open(&options).unwrap();
        let (server, engine) = (ServerConfig::on_loopback(), Config::default());
        let api = Api::on(Arc::new(store.clone()), server, engine).await;
        let mut ids = Vec::new();
        for batch in 0..BATCHES {
            let key = format!("a-key-that-nobody-guesses-{batch}");
            let sent = post("/v1/tasks/batch", &tasks).field("idempotency-key", &key);
            let items = api.call(sent).await.json()["items"].clone();
            ids.extend(items.as_array().unwrap().iter().map(|item| item["task"]["id"].clone()));
        }
        assert_eq!(ids.len(), BATCHES * 250);
        if first.is_empty() {
            first = ids;
        } else {
            assert!(first == ids, "each key leads to its task");
        }
        drop(api);
        store.close().await;
    }
}

/// P33: a key swallows nothing that is new: it holds while its task does and a day at least,
/// whether the task is scheduled or between two attempts; then it is free.
#[tokio::test]
async fn a_key_holds_as_long_as_promised_and_no_longer() {
    const KEY: &str = "8e03978e-40d5-43dd-bc93-6894a57f9324";
    let api = Api::new().await;
    let document = json!({"queue": "work", "delay": "1h", "retention": "1h"});
    let id = id_of(&api.call(keyed(KEY, &document)).await.json());
    let again = async || api.call(keyed(KEY, &document)).await;
    let scheduled = again().await;
    assert_eq!(
        (scheduled.header("relais-task"), scheduled.header("idempotent-replayed")),
        (&*id.to_string(), "true")
    );
    api.clock.advance(Duration::from_secs(3_600));
    let lease = api.call(post("/v1/queues/work/leases", &json!({"wait": "30s"}))).await.json();
    let token = lease["leases"][0]["token"].clone();
    let failed = api.settle(json!({"token": token, "outcome": "fail", "retryable": true})).await;
    assert_eq!(failed["status"], 200, "{failed}");
    let waiting = again().await;
    assert_eq!(
        (&waiting.json()["status"], &waiting.json()["failures"]),
        (&json!("queued"), &json!(1))
    );
    assert_eq!(waiting.header("relais-task"), id.to_string(), "its retry is the work");
    // The task is gone an hour after its end; its key knows for the rest of the day.
    api.call(call("POST", &format!("/v1/tasks/{id}/cancel"))).await;
    api.clock.advance(Duration::from_secs(3_601));
    while api.engine.task(id).await.unwrap().is_some() {
        tokio::task::yield_now().await;
    }
    assert_eq!(again().await.code(), "task-gone");
    api.clock.advance(Duration::from_secs(22 * 3_600));
    let anew = again().await;
    assert_eq!(anew.status, StatusCode::ACCEPTED, "{}", anew.text());
    assert_ne!(anew.header("relais-task"), id.to_string());
    assert_eq!(anew.header("idempotent-replayed"), "");
}

/// P35: what limits one queue or one tenant's queue limits no other, whatever they have in common.
#[tokio::test]
async fn no_two_queues_share_a_limiter() {
    let rate = Some(Rate { count: 1, period: Duration::from_secs(3_600) });
    let policy = Policy { concurrency_per_lane: Some(1), rate, ..Policy::default() };
    let keys = vec![key("rk_a", "a", Scopes::ALL), key("rk_b", "b", Scopes::ALL)];
    let server = ServerConfig { keys, ..ServerConfig::on_loopback() };
    let api = Api::with(server, Config { template: Some(policy), ..Config::default() }).await;
    let pools = [("rk_a", "mail"), ("rk_a", "print"), ("rk_b", "mail"), ("rk_b", "print")];
    for (key, queue) in pools {
        for _ in 0..2 {
            let document = json!({"queue": queue, "lane": "c-1"});
            let call = post("/v1/tasks", &document).field("relais-api-key", key);
            assert_eq!(api.call(call).await.status, StatusCode::ACCEPTED);
        }
    }
    let lease = async |key: &str, queue: &str| {
        let lease = post(&format!("/v1/queues/{queue}/leases"), &json!({"max": 2}));
        let answer = api.call(lease.field("relais-api-key", key)).await;
        answer.json()["leases"].as_array().unwrap().len()
    };
    for (key, queue) in pools {
        assert_eq!(lease(key, queue).await, 1, "{key} {queue} has its own");
    }
    for (key, queue) in pools {
        assert_eq!(lease(key, queue).await, 0, "{key} {queue} has no more");
    }
}

/// P62: the counts that are shown are kept, not counted, and are those that counting would give.
#[tokio::test]
async fn the_counts_of_a_queue_are_those_of_a_recount() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(folder.path().join("relais.db"), START);
    let store = SqliteStore::open(&options).unwrap();
    let engine = Config { template: Some(crate::api::without_retries()), ..Config::default() };
    let api = Api::on(Arc::new(store), ServerConfig::on_loopback(), engine).await;
    let tasks = json!(vec![json!({"queue": "work"}); 300]);
    api.call(post("/v1/tasks/batch", &tasks)).await;
    let later = json!(vec![json!({"queue": "work", "delay": "1h"}); 20]);
    api.call(post("/v1/tasks/batch", &later)).await;
    let leases = api.call(post("/v1/queues/work/leases", &json!({"max": 200}))).await.json();
    let leases = leases["leases"].as_array().unwrap().clone();
    let outcomes = ["succeed", "fail", "release"].iter().cycle();
    let items = leases.iter().zip(outcomes).take(150);
    let items: Vec<_> = items
        .map(|(lease, outcome)| json!({"token": lease["token"], "outcome": outcome}))
        .collect();
    api.call(post("/v1/leases/settle", &json!({"items": items}))).await;
    for lease in &leases[150..170] {
        let id = lease["task"].as_str().unwrap();
        api.call(call("POST", &format!("/v1/tasks/{id}/cancel"))).await;
    }
    for lease in &leases[..30] {
        let id = lease["task"].as_str().unwrap();
        api.call(call("DELETE", &format!("/v1/tasks/{id}"))).await;
    }
    let shown = api.call(get("/v1/queues/work")).await.json()["counts"].clone();
    let mut counted = serde_json::Map::new();
    for status in ["queued", "running", "waiting", "succeeded", "failed", "canceled"] {
        let target = format!("/v1/tasks?queue=work&status={status}&limit=500");
        let items = api.call(get(&target)).await.json()["items"].as_array().unwrap().clone();
        let is_scheduled = |item: &&Value| item["run_at"].as_str() > Some("2023-11-14T22:14");
        let scheduled = items.iter().filter(is_scheduled).count();
        if status == "queued" {
            counted.insert("scheduled".to_owned(), json!(scheduled));
            counted.insert(status.to_owned(), json!(items.len() - scheduled));
        } else {
            counted.insert(status.to_owned(), json!(items.len()));
        }
    }
    assert_eq!(shown, Value::Object(counted));
    assert_eq!((&shown["scheduled"], &shown["canceled"]), (&json!(20), &json!(20)));
}

/// P69: many tasks of one moment are listed once each, in one order, and
/// start in the order they came.
#[tokio::test]
async fn tasks_of_one_moment_have_one_order() {
    let api = Api::new().await;
    let mut came = Vec::new();
    for _ in 0..60 {
        came.push(api.submit().await["id"].as_str().unwrap().to_owned());
    }
    let page = async |size: usize| {
        let mut ids = Vec::new();
        let mut target = format!("/v1/tasks?limit={size}");
        loop {
            let page = api.call(get(&target)).await.json();
            let items = page["items"].as_array().unwrap();
            ids.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
            let Some(next) = page["next"].as_str() else { return ids };
            target = format!("/v1/tasks?limit={size}&after={next}");
        }
    };
    let whole = page(500).await;
    for size in [1, 7, 59, 60] {
        assert_eq!(page(size).await, whole, "pages of {size}");
    }
    let sorted = |mut ids: Vec<String>| {
        ids.sort();
        ids
    };
    assert_eq!(sorted(whole), sorted(came.clone()));
    let mut started = Vec::new();
    for _ in 0..60 {
        started.push(api.lease().await["task"].as_str().unwrap().to_owned());
    }
    assert_eq!(started, came);
}

/// P76: a deadline is kept before the start, during the call, and towards whoever waits; and then
/// the upstream is left in peace.
#[tokio::test]
async fn a_callers_deadline_ends_the_work_and_the_wait() {
    let mut plan = Plan::with(Mode::Auto).await;
    plan.policy.concurrency = Some(1);
    let house = plan.build().await;
    let post = "POST / HTTP/1.1\r\nhost: a\r\nrelais-deadline: 10s\r\ncontent-length: 0\r\n\r\n";
    let mut running = house.send(post).await;
    let mut call = house.upstream.next().await;
    let running_id = call.field("relais-task").unwrap().parse().unwrap();
    let mut queued = house.send(post).await;
    let mut changes = house.engine.follow_all();
    let queued_id = loop {
        let filter = relais_store::Filter { limit: 2, ..relais_store::Filter::default() };
        let tasks = house.engine.list(filter).await.unwrap().tasks;
        if let Some(task) = tasks.iter().find(|task| task.spec.id != running_id) {
            break task.spec.id;
        }
        changes.changed().await.unwrap();
    };
    house.clock.advance(Duration::from_secs(11));
    for (client, id) in [(&mut running, running_id), (&mut queued, queued_id)] {
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.code().as_str()), (504, "deadline-exceeded"));
        assert_eq!(reply.task(), id);
        assert_eq!(house.over(id).await.life.status(), Status::Failed);
    }
    call.closed().await;
    assert!(house.upstream.is_silent().await, "what is too late is not begun");
}
