//! Promise 4: whichever way somebody follows a task, the events are the
//! same, with the same numbers.

use std::sync::Arc;

use relais_api::{SseFrame, SseParser};
use relais_core::{Command, limits};
use relais_engine::Config;
use relais_server::Streaming;
use relais_server::config::ServerConfig;
use relais_store::{Commit, StepOf};
use serde_json::{Value, json};

use crate::api::{Api, call, get, id_of, post, read_until};
use crate::odd_store::OddStore;

/// The events of a stream, and the names of what came without a number.
fn events(text: &str) -> (Vec<Value>, Vec<String>) {
    let (mut numbered, mut notices) = (Vec::new(), Vec::new());
    for frame in SseParser::new().push(text.as_bytes()).unwrap() {
        let SseFrame::Event { last_event_id, name, data } = frame else { continue };
        if name.starts_with("relais.") || name == "erased" {
            notices.push(name);
            continue;
        }
        let event: Value = serde_json::from_str(&data).unwrap();
        assert_eq!(event["type"], name);
        assert_eq!(last_event_id, event["seq"].to_string());
        numbered.push(event);
    }
    (numbered, notices)
}

/// The log by pages, each waited for, one event at a time.
async fn by_pages(api: &Api, log: &str, wait: &str) -> Vec<Value> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let asked = get(&format!("{log}?after={after}&limit=1"));
        let asked = asked.field("accept", "application/json").field("prefer", wait);
        let page = api.call(asked).await.json();
        all.extend(page["events"].as_array().unwrap().iter().cloned());
        after = page["next"].as_u64().unwrap();
        if page["terminal"] == true {
            return all;
        }
    }
}

/// The versions that a long-poll of the task saw.
async fn by_polling(api: &Api, id: &str) -> Vec<u64> {
    let (mut versions, mut etag) = (Vec::new(), String::new());
    loop {
        let mut asked = get(&format!("/v1/tasks/{id}")).field("prefer", "wait=30");
        if !etag.is_empty() {
            asked = asked.field("if-none-match", &etag);
        }
        let answer = api.call(asked).await;
        etag = answer.header("etag").to_owned();
        let task = answer.json();
        versions.push(task["version"].as_u64().unwrap());
        if task["terminal"] == true {
            return versions;
        }
    }
}

async fn work(api: &Api) {
    let asked = json!({"max": 1, "worker": "w-7"});
    let leased = api.call(post("/v1/queues/work/leases", &asked)).await.json();
    let lease = &leased["leases"][0];
    for part in 0..3 {
        let beat = json!({"items": [{"token": lease["token"], "output": part}]});
        api.call(post("/v1/leases/heartbeat", &beat)).await;
    }
    api.settle(json!({"token": lease["token"], "outcome": "succeed", "result": {"sum": 7}})).await;
}

#[tokio::test]
async fn poll_long_poll_stream_and_log_show_the_same_events_with_the_same_numbers() {
    let api = Api::new().await;
    let task = api.submit().await;
    let id = task["id"].as_str().unwrap();
    let log = format!("/v1/tasks/{id}/events");
    let stream = api.open(get(&log)).await;
    let is_over = |text: &str| text.contains("event: succeeded");
    let ((text, _), pages, versions, ()) = tokio::join!(
        read_until(stream, is_over),
        by_pages(&api, &log, "wait=30"),
        by_polling(&api, id),
        work(&api),
    );
    let (streamed, notices) = events(&text);
    assert_eq!(notices, ["relais.open", "relais.estimate"]);
    let numbers: Vec<_> = streamed.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
    assert_eq!(streamed[1]["data"], json!({"worker": "w-7"}), "who holds the lease");
    assert_eq!(pages, streamed, "the long-poll of the log");
    assert_eq!(by_pages(&api, &log, "wait=0").await, streamed, "the log, polled");
    let whole = get(&log).field("accept", "application/json");
    assert_eq!(api.call(whole).await.json()["events"], json!(streamed), "the log at once");
    // A later stream reads from the log what the first was told as it happened.
    let (again, _) = events(api.call(get(&log)).await.text());
    assert_eq!(again, streamed);
    assert!(versions.is_sorted() && versions.last() == Some(&6), "{versions:?}");
}

/// A log of several pages that ends while nobody looks is read to its end.
#[tokio::test]
async fn a_long_log_is_streamed_whole_to_whoever_comes_late() {
    let api = Api::new().await;
    let task = api.submit().await;
    let lease = api.lease().await;
    // With the first two events and the last: one page, one page and an event, and more.
    for outputs in [61, 62, 200] {
        let known = api.call(get(&format!("/v1/tasks/{}", id_of(&task)))).await.json();
        for n in known["version"].as_u64().unwrap()..outputs + 2 {
            let beat = json!({"items": [{"token": lease["token"], "output": n}]});
            api.call(post("/v1/leases/heartbeat", &beat)).await;
        }
        let response = api.open(get(&format!("/v1/tasks/{}/events", id_of(&task)))).await;
        let last = format!("\nid: {}\n", outputs + 2);
        let (text, _) = read_until(response, |text| text.contains(&last)).await;
        assert_eq!(events(&text).0.len() as u64, outputs + 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_before_it_is_old_and_loses_nothing_by_it() {
    let api = Api::new().await;
    let task = api.submit().await;
    let log = format!("/v1/tasks/{}/events", id_of(&task));
    let response = api.open(get(&log)).await;
    let (mut stream, _) = *response.extensions().get::<Streaming>().unwrap().take().unwrap();
    let waiting = stream.piece().await.expect("a sign of life");
    assert!(String::from_utf8_lossy(&waiting).contains("relais.estimate"), "{waiting:?}");
    tokio::time::advance(limits::STREAM_LIFETIME_MAX).await;
    assert!(stream.piece().await.is_none());
    api.call(call("POST", &format!("/v1/tasks/{}/cancel", id_of(&task)))).await;
    let resumed = api.call(get(&log).field("last-event-id", "1")).await;
    let (events, _) = events(resumed.text());
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["type"], "canceled");
}

#[tokio::test]
async fn an_erasure_shows_on_streams_over_many_tasks() {
    let api = Api::new().await;
    let labelled = json!({"queue": "work", "labels": {"order": "A-1"}});
    let task = api.call(post("/v1/tasks", &labelled)).await.json();
    let other = api.submit().await;
    for id in [id_of(&task), id_of(&other)] {
        api.call(call("POST", &format!("/v1/tasks/{id}/cancel"))).await;
    }
    let stream = api.open(get("/v1/events?label=order%3DA-1")).await;
    let erasing = async {
        for id in [id_of(&other), id_of(&task)] {
            api.call(call("DELETE", &format!("/v1/tasks/{id}"))).await;
        }
    };
    let ((text, _), ()) =
        tokio::join!(read_until(stream, |text| text.contains("event: erased")), erasing);
    assert!(text.contains(&format!("event: erased\ndata: {{\"task\":\"{}\"}}", id_of(&task))));
    assert!(!text.contains(&id_of(&other).to_string()), "{text}");
}

#[tokio::test]
async fn a_queue_tells_what_it_gets_done_and_how_long_that_takes() {
    let api = Api::new().await;
    api.succeed(json!(1)).await;
    let queue = api.call(get("/v1/queues/work")).await.json();
    assert_eq!(queue["throughput"]["window"], "1m");
    for name in ["accepted_per_s", "finished_per_s"] {
        assert!(queue["throughput"][name].as_f64().unwrap() > 0.0, "{queue}");
    }
    for name in ["wait", "run"] {
        assert_eq!(queue["latency"][name], json!({"p50": "0s", "p90": "0s"}), "{queue}");
    }
}

/// A page said that the log is over although it held what a retry had just added.
#[tokio::test]
async fn a_page_that_tells_of_a_retry_is_not_the_last() {
    let store = OddStore::new();
    let api = Api::on(store.clone(), ServerConfig::on_loopback(), Config::default()).await;
    let id = id_of(&api.submit().await);
    api.call(call("POST", &format!("/v1/tasks/{id}/cancel"))).await;
    store.commit_before_log(Commit::Step(Box::new(StepOf {
        id,
        tenant: None,
        command: Command::Retry { from_start: false },
        policy: Arc::default(),
        bodies: Vec::new(),
        now: api.engine.now(),
    })));
    let log = get(&format!("/v1/tasks/{id}/events")).field("accept", "application/json");
    let page = api.call(log).await.json();
    assert_eq!(page["events"][2]["type"], "requeued");
    assert_eq!((&page["next"], &page["terminal"]), (&json!(3), &json!(false)));
}

/// All that were named were read, thousands of them, before their number was looked at.
#[tokio::test]
async fn a_stream_over_too_many_tasks_is_refused_before_any_is_read() {
    let store = OddStore::new();
    let api = Api::on(store.clone(), ServerConfig::on_loopback(), Config::default()).await;
    let query = vec![format!("task={}", id_of(&api.submit().await)); 51].join("&");
    let before = store.questions();
    let answer = api.call(get(&format!("/v1/events?{query}"))).await;
    assert_eq!(answer.code(), "invalid-parameter");
    assert_eq!(store.questions(), before);
}

/// A log of 4,001 events with 2,000 releases took 5.4 s: each event asked the store for more.
#[tokio::test]
async fn a_log_costs_the_same_whatever_it_tells() {
    let store = OddStore::new();
    let api = Api::on(store.clone(), ServerConfig::on_loopback(), Config::default()).await;
    let eventful = id_of(&api.submit().await);
    for _ in 0..20 {
        let lease = api.lease().await;
        api.settle(json!({"token": lease["token"], "outcome": "release"})).await;
    }
    let lease = api.lease().await;
    api.settle(json!({"token": lease["token"], "outcome": "succeed", "result": [1]})).await;
    let plain = id_of(&api.submit().await);
    let lease = api.lease().await;
    for n in 0..40 {
        let beat = json!({"items": [{"token": lease["token"], "output": n}]});
        api.call(post("/v1/leases/heartbeat", &beat)).await;
    }
    api.settle(json!({"token": lease["token"], "outcome": "succeed"})).await;
    for accept in ["application/json", "text/event-stream"] {
        let mut questions = Vec::new();
        for id in [eventful, plain] {
            let before = store.questions();
            let log = get(&format!("/v1/tasks/{id}/events")).field("accept", accept);
            let text = api.call(log).await.text().to_owned();
            assert_eq!(text.matches("\"seq\":").count(), 43, "{text}");
            questions.push(store.questions() - before);
        }
        assert_eq!(questions[0], questions[1], "{accept}");
    }
}

/// An event asked for its task and its result: a follower that came late was told less of it.
#[tokio::test]
async fn an_event_is_told_whole_when_its_task_is_gone() {
    let api = Api::new().await;
    let task = format!("/v1/tasks/{}", id_of(&api.submit().await));
    let response = api.open(get(&format!("{task}/events"))).await;
    let (mut stream, _) = *response.extensions().get::<Streaming>().unwrap().take().unwrap();
    work(&api).await;
    assert_eq!(api.call(call("DELETE", &task)).await.status, 204);
    let told = stream.piece().await.expect("what is at hand");
    let (events, _) = events(std::str::from_utf8(&told).unwrap());
    assert_eq!(events.last().unwrap()["data"], json!({"result": {"sum": 7}}));
}

#[tokio::test]
async fn a_result_rides_in_its_event_if_it_is_small_and_json() {
    let api = Api::new().await;
    let small = "x".repeat(limits::EVENT_RESULT_BYTES_MAX - 2);
    let results = [
        (json!({"result": small}), Some(json!(small))),
        (json!({"result": format!("{small}x")}), None),
        (json!({"result_base64": "e30=", "content_type": "application/a+json"}), Some(json!({}))),
        (json!({"result_base64": "e30=", "content_type": "text/plain"}), None),
        (json!({"result_base64": "e3t7", "content_type": "application/json"}), None),
    ];
    for (mut settle, told) in results {
        let task = id_of(&api.submit().await);
        settle["token"] = api.lease().await["token"].clone();
        settle["outcome"] = json!("succeed");
        api.settle(settle).await;
        let log = get(&format!("/v1/tasks/{task}/events")).field("accept", "application/json");
        let page = api.call(log).await.json();
        assert_eq!(page["events"][2]["data"].get("result"), told.as_ref(), "{page}");
    }
}
