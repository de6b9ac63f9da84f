//! The WebSocket: what is said on it is what every other way says.

pub(crate) mod client;
mod counted;
mod faults;
mod leaving;
mod rights;
mod torture;

use std::sync::Arc;

use relais_core::limits;
use relais_server::config::{ApiKey, Mode, Scopes};
use relais_store::MemoryStore;
use serde_json::{Value, json};

use self::client::{Ws, post, settle, task};
use crate::api::key;
use crate::house::{House, Plan};

/// A server that takes calls with these keys alone.
async fn with_keys(keys: Vec<ApiKey>) -> House {
    let mut plan = Plan::with(Mode::Async).await;
    plan.server.keys = keys;
    plan.build().await
}

fn all() -> ApiKey {
    key("rk_all", "default", Scopes::ALL)
}

#[tokio::test]
async fn a_watch_tells_the_whole_log_with_the_numbers_of_every_other_way() {
    let house = House::with(Mode::Async).await;
    let mut ws = Ws::open(&house, "").await;
    assert_eq!(ws.json().await["op"], "ready");
    let id = task(&house).await;
    ws.say(json!({"op": "watch", "watch": "w", "task": id})).await;
    assert_eq!(ws.json().await, json!({"op": "open", "watch": "w", "version": 1, "gap": false}));
    let mut told = vec![ws.json().await];
    assert_eq!(ws.json().await["op"], "estimate");
    settle(&house, json!({"sum": 7})).await;
    told.extend(ws.events_until(&id, "succeeded").await);
    let end = ws.json().await;
    assert_eq!(end, json!({"op": "end", "watch": "w", "reason": "over"}));
    let page = format!(
        "GET /v1/tasks/{id}/events HTTP/1.1\r\nhost: localhost\r\naccept: application/json\r\n\r\n"
    );
    let page = house.call(&page).await.json();
    let events: Vec<_> = told.iter().map(|frame| frame["event"].clone()).collect();
    assert_eq!(page["events"], Value::Array(events));
    let pos: Vec<_> = told.iter().map(|frame| frame["pos"].as_u64().unwrap()).collect();
    assert!(pos.is_sorted() && told.iter().all(|frame| frame["watch"] == "w"), "{told:?}");
    // The name is free, and what was read is not told again.
    ws.say(json!({"op": "watch", "watch": "w", "task": id, "after": 2})).await;
    assert_eq!(ws.json().await["op"], "open");
    assert_eq!(ws.json().await["event"], page["events"][2]);
    assert_eq!(ws.json().await["reason"], "over");
    ws.say(json!({"op": "watch", "watch": "w", "task": id, "after": 3})).await;
    assert_eq!(ws.json().await["reason"], "over", "the log was read");
    ws.say(json!({"op": "watch", "watch": "w", "task": id, "after": 99})).await;
    assert_eq!(ws.json().await["op"], "open");
    let reset = json!({"op": "reset", "watch": "w", "reason": "unknown", "from": 0});
    assert_eq!(ws.json().await, reset);
}

/// Two nodes of one store, which take calls with a key.
async fn two_nodes() -> [House; 2] {
    let store = Arc::new(MemoryStore::new());
    let node = async |seed| {
        let mut plan = Plan::with(Mode::Async).await;
        (plan.store, plan.seed) = (store.clone(), seed);
        plan.server.keys = vec![all()];
        plan.build().await
    };
    [node(7).await, node(8).await]
}

#[tokio::test]
async fn a_task_is_submitted_watched_canceled_and_retried_at_whichever_node() {
    let [one, other] = two_nodes().await;
    let by_key = "relais-api-key: rk_all\r\n";
    let (mut here, mut there) = (Ws::open(&one, by_key).await, Ws::open(&other, by_key).await);
    here.json().await;
    there.json().await;
    let submit = json!({"op": "submit", "id": "1", "key": "k-1", "task": {"queue": "work"}});
    here.say(submit.clone()).await;
    let accepted = here.json().await["task"].clone();
    let id = accepted["id"].as_str().unwrap();
    there.say(submit).await;
    let again = there.json().await;
    assert_eq!((&again["task"]["id"], &again["replayed"]), (&json!(id), &json!(true)));
    // A ticket of one node counts at the other.
    let by_ticket = format!("authorization: Bearer {}\r\n", accepted["ticket"].as_str().unwrap());
    let mut reader = Ws::open(&other, &by_ticket).await;
    assert_eq!(reader.json().await["op"], "ready");
    reader.say(json!({"op": "watch", "watch": "w", "task": id})).await;
    reader.events_until(id, "accepted").await;
    here.say(json!({"op": "cancel", "id": "2", "task": id})).await;
    assert_eq!(here.json().await["task"]["status"], "canceled");
    reader.events_until(id, "canceled").await;
    assert_eq!(reader.json().await["reason"], "over");
    there.say(json!({"op": "retry", "id": "3", "task": id})).await;
    assert_eq!(there.json().await["status"], 202);
    here.say(json!({"op": "watch", "watch": "w", "task": id, "after": 2})).await;
    here.events_until(id, "requeued").await;
}

#[tokio::test]
async fn a_watch_of_a_label_goes_on_behind_the_place_it_was_at_on_another_node() {
    let store = Arc::new(MemoryStore::new());
    let mut plan = Plan::with(Mode::Async).await;
    plan.store = store.clone();
    let one = plan.build().await;
    let mut plan = Plan::with(Mode::Async).await;
    (plan.store, plan.seed) = (store, 8);
    let other = plan.build().await;
    let mut ws = Ws::open(&one, "").await;
    ws.json().await;
    ws.say(json!({"op": "watch", "watch": "all", "label": "order=A-1"})).await;
    assert_eq!(ws.json().await["version"], 0);
    let labels = json!({"order": "A-1"});
    let document = json!({"queue": "work", "input": {}, "labels": labels});
    // What another node accepts is told here, too.
    let first = post(&other, &document).await["id"].clone();
    let told = ws.json().await;
    assert_eq!((&told["event"]["type"], &told["event"]["task"]), (&json!("accepted"), &first));
    let pos = told["pos"].as_u64().unwrap();
    drop(ws);
    let second = post(&one, &document).await["id"].clone();
    let mut ws = Ws::open(&other, "").await;
    ws.json().await;
    ws.say(json!({"op": "watch", "watch": "x", "label": "order=A-1", "after": pos})).await;
    assert_eq!(ws.json().await["op"], "open");
    let told = ws.json().await;
    assert_eq!((&told["event"]["task"], &told["watch"]), (&second, &json!("x")));
    // One that both nodes' clients watch ends for both.
    let id = second.as_str().unwrap();
    let mut here = Ws::open(&one, "").await;
    here.json().await;
    here.say(json!({"op": "watch", "watch": "t", "task": id})).await;
    ws.say(json!({"op": "cancel", "id": "1", "task": id})).await;
    assert!(here.events_until(id, "canceled").await.len() >= 2);
}

/// A new follower of a label had to read all that ever happened to its tasks.
#[tokio::test]
async fn a_watch_of_a_label_that_begins_now_is_told_what_comes_and_from_where_it_goes_on() {
    let store = Arc::new(MemoryStore::new());
    let mut plan = Plan::with(Mode::Async).await;
    plan.store = store.clone();
    let one = plan.build().await;
    let mut plan = Plan::with(Mode::Async).await;
    (plan.store, plan.seed) = (store, 8);
    let other = plan.build().await;
    let document = json!({"queue": "work", "input": {}, "labels": {"order": "A-1"}});
    // Before it, at either node.
    post(&one, &document).await;
    post(&other, &document).await;
    let mut ws = Ws::open(&one, "").await;
    ws.json().await;
    ws.say(json!({"op": "watch", "watch": "l", "label": "order=A-1", "after": "now"})).await;
    let open = ws.json().await;
    let pos = open["pos"].as_u64().expect("the place that it begins behind");
    assert_eq!(open, json!({"op": "open", "watch": "l", "version": 0, "gap": false, "pos": pos}));
    drop(ws);
    // It was cut off before anything happened.
    let later = post(&other, &document).await["id"].clone();
    let mut ws = Ws::open(&other, "").await;
    ws.json().await;
    ws.say(json!({"op": "watch", "watch": "l", "label": "order=A-1", "after": pos})).await;
    assert_eq!(ws.json().await["pos"], pos);
    let told = ws.json().await;
    assert_eq!((&told["event"]["task"], &told["event"]["seq"]), (&later, &json!(1)));
    // What is no place of it closes the connection, as every frame that cannot be read.
    ws.say(json!({"op": "watch", "watch": "t", "task": later, "after": "now"})).await;
    assert_eq!(ws.closed().await.0, 4000);
}

#[tokio::test]
async fn a_call_is_answered_as_http_answers_it() {
    let house = House::with(Mode::Async).await;
    let mut ws = Ws::open(&house, "").await;
    ws.json().await;
    let document = json!({"queue": "work", "input": {"n": 1}});
    let submit = json!({"op": "submit", "id": "a", "key": "k-1", "task": document});
    ws.say(submit.clone()).await;
    let reply = ws.json().await;
    assert_eq!(
        (&reply["op"], &reply["id"], &reply["status"]),
        (&json!("reply"), &json!("a"), &json!(202))
    );
    let id = reply["task"]["id"].as_str().unwrap().to_owned();
    assert!(reply["task"]["ticket"].as_str().unwrap().starts_with("rt_"), "{reply}");
    ws.say(submit).await;
    let again = ws.json().await;
    assert_eq!((&again["task"]["id"], &again["replayed"]), (&json!(id), &json!(true)));
    // The key is the same by either way.
    let body = document.to_string();
    let request = format!(
        "POST /v1/tasks HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         idempotency-key: k-1\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let by_http = house.call(&request).await;
    assert_eq!(by_http.json()["id"], json!(id), "{}", by_http.text());
    ws.say(json!({"op": "cancel", "id": "b", "task": id})).await;
    let reply = ws.json().await;
    assert_eq!((&reply["status"], &reply["task"]["status"]), (&json!(200), &json!("canceled")));
    ws.say(json!({"op": "retry", "id": "c", "task": id, "from": "start"})).await;
    let reply = ws.json().await;
    assert_eq!((&reply["status"], &reply["task"]["run"]), (&json!(202), &json!(2)), "{reply}");
    assert!(reply["task"]["ticket"].is_string());
    ws.say(json!({"op": "retry", "id": "d", "task": id})).await;
    let reply = ws.json().await;
    assert_eq!((&reply["status"], &reply["task"]["run"]), (&json!(200), &json!(2)));
    for (task, status, code) in [
        (json!({"queue": "Nope", "input": {}}), 422, "invalid-field"),
        (json!({"queue": "work", "what": 1}), 422, "unknown-field"),
        (json!(7), 422, "invalid-field"),
    ] {
        ws.say(json!({"op": "submit", "id": "e", "task": task})).await;
        let reply = ws.json().await;
        let got = (&reply["status"], &reply["problem"]["code"]);
        assert_eq!(got, (&json!(status), &json!(code)), "{reply}");
    }
    ws.say(json!({"op": "cancel", "id": "f", "task": "task_none"})).await;
    assert_eq!(ws.json().await["problem"]["code"], "task-not-found");
}

#[tokio::test]
async fn a_watch_ends_when_its_client_wants_no_more_and_its_name_is_free() {
    let house = House::with(Mode::Async).await;
    let mut ws = Ws::open(&house, "").await;
    ws.json().await;
    let id = task(&house).await;
    for _ in 0..2 {
        ws.say(json!({"op": "watch", "watch": "w", "task": id})).await;
        assert_eq!(ws.json().await["op"], "open");
        assert_eq!(ws.json().await["event"]["type"], "accepted");
        assert_eq!(ws.json().await["op"], "estimate");
        ws.say(json!({"op": "unwatch", "watch": "w"})).await;
        let end = json!({"op": "end", "watch": "w", "reason": "unwatched"});
        assert_eq!(ws.json().await, end);
    }
    ws.say(json!({"op": "unwatch", "watch": "never"})).await;
    ws.say(json!({"op": "ping"})).await;
    assert_eq!(
        ws.json().await,
        json!({"op": "pong"}),
        "of a name that is not in use nothing is said"
    );
    ws.say(json!({"op": "watch", "watch": "w", "task": "task_none"})).await;
    let end = ws.json().await;
    assert_eq!((&end["reason"], &end["problem"]["status"]), (&json!("refused"), &json!(404)));
}

#[tokio::test]
async fn an_erased_task_is_gone_for_its_watch_and_told_to_that_of_its_label() {
    let house = House::with(Mode::Async).await;
    let mut ws = Ws::open(&house, "").await;
    ws.json().await;
    ws.say(json!({"op": "watch", "watch": "l", "label": "a=b"})).await;
    assert_eq!(ws.json().await["op"], "open");
    let labels = json!({"a": "b"});
    let accepted = post(&house, &json!({"queue": "work", "input": {}, "labels": labels})).await;
    let id = accepted["id"].as_str().unwrap();
    assert_eq!(ws.json().await["event"]["type"], "accepted");
    ws.say(json!({"op": "watch", "watch": "t", "task": id})).await;
    ws.until(|frame| frame["op"] == "estimate").await;
    let path = format!("/v1/tasks/{id}?cancel=true");
    house.call(&format!("DELETE {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")).await;
    let told = ws.until(|frame| frame["op"] == "erased").await;
    let ends: Vec<_> = told.iter().filter(|frame| frame["op"] == "end").collect();
    assert!(ends.iter().all(|end| end["watch"] == "t"), "{told:?}");
    assert_eq!(told.last().unwrap(), &json!({"op": "erased", "watch": "l", "task": id}));
}

#[tokio::test]
async fn the_hundred_and_first_watch_is_refused_and_a_name_is_used_once() {
    let house = House::with(Mode::Async).await;
    let mut ws = Ws::open(&house, "").await;
    ws.json().await;
    for n in 0..limits::SOCKET_WATCHES_MAX {
        ws.say(json!({"op": "watch", "watch": n.to_string(), "label": "a=b"})).await;
        assert_eq!(ws.json().await["op"], "open");
    }
    ws.say(json!({"op": "watch", "watch": "more", "label": "a=b"})).await;
    let end = ws.json().await;
    assert_eq!((&end["reason"], &end["problem"]["code"]), (&json!("busy"), &json!("rate-limited")));
    assert_eq!(end["problem"]["limit"], 100);
    ws.say(json!({"op": "watch", "watch": "7", "label": "a=b"})).await;
    assert_eq!(ws.closed().await.0, 4000);
}

#[tokio::test]
async fn sixteen_calls_may_be_unanswered_and_all_are_answered() {
    let house = House::with(Mode::Async).await;
    let mut ws = Ws::open(&house, "").await;
    ws.json().await;
    let document = json!({"queue": "work", "input": {}});
    let count = limits::SOCKET_CALLS_MAX * 20;
    let mut sent = Vec::new();
    for n in 0..count {
        sent.extend(client::text(&json!({"op": "submit", "id": n.to_string(), "task": document})));
    }
    ws.raw(&sent).await;
    let mut ids: Vec<usize> = Vec::new();
    for _ in 0..count {
        let reply = ws.json().await;
        assert_eq!(reply["status"], 202, "{reply}");
        ids.push(reply["id"].as_str().unwrap().parse().unwrap());
    }
    ids.sort_unstable();
    assert!(ids.into_iter().eq(0..count));
}

#[tokio::test]
async fn whoever_changes_the_way_midway_has_the_whole_log_in_the_end() {
    let house = House::with(Mode::Async).await;
    let id = task(&house).await;
    settle(&house, json!(1)).await;
    let mut ws = Ws::open(&house, "").await;
    ws.json().await;
    ws.say(json!({"op": "retry", "id": "1", "task": id})).await;
    ws.say(json!({"op": "ping"})).await;
    ws.until(|frame| frame["op"] == "pong").await;
    let answer = |fields: &str, query: &str| {
        format!("GET /v1/tasks/{id}/events{query} HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n")
    };
    let page = house.call(&answer("accept: application/json\r\n", "")).await.json();
    let all = page["events"].as_array().unwrap().clone();
    assert!(all.len() >= 3, "{page}");
    // An event stream, which is cut behind its first event…
    let mut stream = house.send(&answer("accept: text/event-stream\r\n", "")).await;
    stream.head().await;
    let told = String::from_utf8(stream.chunk().await).unwrap();
    drop(stream);
    let first = told.lines().find_map(|line| line.strip_prefix("data: {\"task\"")).unwrap();
    let mut seen: Vec<Value> = vec![serde_json::from_str(&format!("{{\"task\"{first}")).unwrap()];
    // …then a long-poll…
    let wait = "accept: application/json\r\nprefer: wait=5\r\n";
    let page = house.call(&answer(wait, "?after=1&limit=1")).await.json();
    seen.extend(page["events"].as_array().unwrap().clone());
    // …and then a WebSocket.
    ws.say(json!({"op": "watch", "watch": "w", "task": id, "after": 2})).await;
    let last = all.last().unwrap()["seq"].clone();
    let told = ws.until(|frame| frame["event"]["seq"] == last).await;
    seen.extend(told.into_iter().filter(|frame| frame["pos"].is_u64()).map(|f| f["event"].clone()));
    assert_eq!(seen, all);
}
