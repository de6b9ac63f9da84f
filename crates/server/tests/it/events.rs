//! What happened, in order: streams and pages show the same.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use relais_api::{SseFrame, SseParser};
use relais_core::limits;
use relais_server::config::Scopes;
use relais_server::{EventStream, Streaming};
use serde_json::{Value, json};

use crate::api::{Api, call, get, id_of, key, post, read_until};

fn target(accepted: &Value) -> String {
    format!("/v1/tasks/{}/events", accepted["id"].as_str().unwrap())
}

/// Names, ids and data of the events in a stream's text.
fn events(text: &str) -> Vec<(String, String, Value)> {
    let mut parser = SseParser::new();
    let frames = parser.push(text.as_bytes()).unwrap();
    let events = frames.into_iter().filter_map(|frame| match frame {
        SseFrame::Event { last_event_id, name, data } => {
            Some((name, last_event_id, serde_json::from_str(&data).unwrap()))
        }
        SseFrame::Comment(_) | SseFrame::Retry(_) => None,
    });
    events.collect()
}

#[tokio::test]
async fn a_stream_shows_the_whole_log_and_ends_with_the_outcome() {
    let api = Api::new().await;
    let task = api.submit().await;
    let response = api.open(get(&target(&task))).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "private, no-store, no-transform");
    let working = async {
        let lease = api.lease().await;
        let beat = json!({"items": [{
            "token": lease["token"], "progress": {"percent": 40, "message": "line\n2"},
            "output": {"part": 1},
        }]});
        assert_eq!(
            api.call(post("/v1/leases/heartbeat", &beat)).await.json()["items"][0]["status"],
            200
        );
        let item = json!({"token": lease["token"], "outcome": "succeed", "result": {"sum": 7}});
        api.settle(item).await;
    };
    let ((text, mut rest), ()) =
        tokio::join!(read_until(response, |text| text.contains("event: succeeded")), working);
    assert!(futures_util::StreamExt::next(&mut rest).await.is_none(), "it ends with the outcome");
    assert!(text.starts_with("retry: "), "{text}");
    let events = events(&text);
    let names: Vec<_> = events.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names[..3], ["relais.open", "accepted", "relais.estimate"]);
    assert_eq!(events[2].2, json!({"position": 1}));
    // An estimate is not in the log.
    let events: Vec<_> =
        events.into_iter().filter(|(name, ..)| name != "relais.estimate").collect();
    let names: Vec<_> = events.iter().map(|(name, ..)| name.as_str()).collect();
    let expected = ["relais.open", "accepted", "started", "progressed", "output", "succeeded"];
    assert_eq!(names, expected);
    let ids: Vec<_> = events.iter().map(|(_, id, _)| id.as_str()).collect();
    assert_eq!(ids, ["", "1", "2", "3", "4", "5"]);
    assert_eq!(events[0].2, json!({"version": 1, "gap": false}));
    assert_eq!(events[1].2["data"]["queue"], "work");
    assert_eq!(events[3].2["data"]["message"], "line\n2");
    assert_eq!(events[4].2["data"]["output"], json!({"part": 1}));
    assert_eq!(events[5].2["data"]["result"], json!({"sum": 7}), "a small result rides along");
    let page = api.call(get(&target(&task)).field("accept", "application/json")).await.json();
    let logged: Vec<_> = events[1..].iter().map(|(.., data)| data.clone()).collect();
    assert_eq!(page["events"], Value::Array(logged), "the page shows the same");
    assert_eq!((&page["next"], &page["terminal"]), (&json!(5), &json!(true)));
}

#[tokio::test]
async fn a_resumed_stream_repeats_nothing_and_skips_nothing() {
    let api = Api::new().await;
    let task = api.succeed(json!(1)).await;
    for (by, expected) in [
        (get(&target(&task)).field("last-event-id", "1"), vec!["2", "3"]),
        (get(&format!("{}?after=2", target(&task))), vec!["3"]),
        (get(&format!("{}?after=0", target(&task))).field("last-event-id", "2"), vec!["3"]),
    ] {
        let answer = api.call(by).await;
        let ids: Vec<_> = events(answer.text()).into_iter().skip(1).map(|(_, id, _)| id).collect();
        assert_eq!(ids, expected);
    }
}

#[tokio::test]
async fn a_log_that_is_over_and_read_says_so() {
    let api = Api::new().await;
    let task = api.succeed(json!(1)).await;
    let over = api.call(get(&target(&task)).field("last-event-id", "3")).await;
    assert_eq!((over.status.as_u16(), over.body.len()), (204, 0));
}

#[tokio::test]
async fn a_number_that_is_none_of_ours_starts_again() {
    let api = Api::new().await;
    let task = api.succeed(json!(1)).await;
    for id in ["99", "abc", "-1", "18446744073709551616", "é"] {
        let answer = api.call(get(&target(&task)).field("last-event-id", id)).await;
        let events = events(answer.text());
        let names: Vec<_> = events.iter().map(|(name, ..)| name.as_str()).collect();
        let expected = ["relais.open", "relais.reset", "accepted", "started", "succeeded"];
        assert_eq!(names, expected, "{id}");
    }
    let answer = api.call(get(&format!("{}?after=x", target(&task)))).await;
    assert_eq!(answer.code(), "invalid-parameter");
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_that_come_at_any_moment_see_the_whole_log_once() {
    // P71: between the snapshot and the first event nothing is lost or told twice.
    let api = Api::new().await;
    let task = api.submit().await;
    let lease = api.lease().await;
    let writing = async {
        for n in 0..200 {
            let beat = json!({"items": [{"token": lease["token"], "output": n}]});
            api.call(post("/v1/leases/heartbeat", &beat)).await;
        }
        api.settle(json!({"token": lease["token"], "outcome": "succeed"})).await;
    };
    let following = async {
        let mut streams = Vec::new();
        for after in 0..100 {
            let target = format!("{}?after={}", target(&task), after % 3);
            let response = api.open(get(&target)).await;
            streams.push((after % 3, tokio::spawn(read_to_end(response))));
        }
        for (after, stream) in streams {
            let ids: Vec<u64> = events(&stream.await.unwrap())
                .into_iter()
                .filter_map(|(_, id, _)| id.parse().ok())
                .collect();
            assert_eq!(ids, (after + 1..=203).collect::<Vec<_>>());
        }
    };
    tokio::join!(writing, following);
}

/// The first piece of a stream held up to 64 events of 64 KiB for each client that does not read.
#[tokio::test]
async fn the_opening_of_a_stream_is_bounded_in_bytes() {
    let api = Api::new().await;
    let task = api.submit().await;
    let lease = api.lease().await;
    for _ in 0..10 {
        let output = "x".repeat(40_000);
        let beat = json!({"items": [{"token": lease["token"], "output": output}]});
        api.call(post("/v1/leases/heartbeat", &beat)).await;
    }
    api.settle(json!({"token": lease["token"], "outcome": "succeed"})).await;
    let mut stream = api.open(get(&target(&task))).await.into_body().into_data_stream();
    let mut text = Vec::new();
    while let Some(piece) = futures_util::StreamExt::next(&mut stream).await {
        let piece = piece.unwrap();
        assert!(piece.len() < 120_000, "{}", piece.len());
        text.extend_from_slice(&piece);
    }
    let events = events(std::str::from_utf8(&text).unwrap());
    let ids: Vec<u64> = events.iter().filter_map(|(_, id, _)| id.parse().ok()).collect();
    assert_eq!(ids, (1..=13).collect::<Vec<_>>());
}

async fn read_to_end(response: axum::response::Response) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 24).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn a_task_read_as_a_stream_is_its_events() {
    let api = Api::new().await;
    let task = api.succeed(json!(1)).await;
    let by = get(&format!("/v1/tasks/{}", task["id"].as_str().unwrap()));
    let answer = api.call(by.field("accept", "text/event-stream")).await;
    assert!(answer.text().contains("event: succeeded"));
}

#[tokio::test]
async fn what_will_pass_is_told_so_that_browsers_come_back() {
    let api = Api::new().await;
    let task = api.submit().await;
    let open = api.open(get(&target(&task))).await;
    let (_, mut rest) = read_until(open, |text| text.contains("accepted")).await;
    api.app.stop.close();
    assert!(futures_util::StreamExt::next(&mut rest).await.is_none(), "a drain just closes");
    let busy = api.call(get(&target(&task))).await;
    assert_eq!(busy.status, StatusCode::OK);
    let events = events(busy.text());
    assert_eq!(events[0].0, "relais.busy");
    assert!(busy.text().starts_with("retry: "));
    let gone = api.call(get("/v1/tasks/task_00000000000000000000000000/events")).await;
    assert_eq!(gone.code(), "task-not-found", "what will not pass is an error");
}

#[tokio::test]
async fn a_page_waits_for_what_comes_next() {
    let api = Api::new().await;
    let task = api.submit().await;
    let held = get(&format!("{}?after=1&limit=1", target(&task)))
        .field("accept", "application/json")
        .field("prefer", "wait=30");
    let (answer, _) = tokio::join!(api.call(held), api.lease());
    let page = answer.json();
    assert_eq!(page["events"][0]["type"], "started");
    assert_eq!((&page["next"], &page["terminal"]), (&json!(2), &json!(false)));
    assert_eq!(answer.header("preference-applied"), "wait=30");
}

/// It answered an empty page, as if nothing had happened yet, for as long as anybody asked.
#[tokio::test]
async fn a_page_from_beyond_the_log_is_refused_and_one_from_its_end_waits() {
    let api = Api::new().await;
    let task = api.submit().await;
    let page = |after: &str| {
        let target = format!("{}?after={after}", target(&task));
        get(&target).field("accept", "application/json")
    };
    let end = api.call(page("1")).await.json();
    assert_eq!(end, json!({"events": [], "next": 1, "terminal": false}));
    for (after, wait) in [("2", "wait=30"), ("2", "wait=0"), ("9007199254740991", "wait=30")] {
        let beyond = api.call(page(after).field("prefer", wait)).await;
        assert_eq!(beyond.code(), "invalid-parameter", "{after}");
        let detail = beyond.json()["detail"].clone();
        assert_eq!(detail, "`after`: beyond the end of the log, which is 1");
    }
    let (next, lease) = tokio::join!(api.call(page("1").field("prefer", "wait=30")), api.lease());
    assert_eq!(next.json()["events"][0]["type"], "started");
    api.settle(json!({"token": lease["token"], "outcome": "succeed"})).await;
    let over = api.call(page("3")).await.json();
    assert_eq!(over, json!({"events": [], "next": 3, "terminal": true}));
    assert_eq!(api.call(page("4")).await.code(), "invalid-parameter");
}

/// The stream of a response, and the bytes that begin it.
fn taken(response: &axum::response::Response) -> (EventStream, Bytes) {
    *response.extensions().get::<Streaming>().expect("a mark").take().expect("not taken before")
}

#[tokio::test]
async fn a_stream_can_be_taken_off_the_response() {
    let api = Api::new().await;
    let task = api.succeed(json!(1)).await;
    for target in [target(&task), format!("/v1/events?task={}", id_of(&task))] {
        let response = api.open(get(&target)).await;
        let mark = response.extensions().get::<Streaming>().expect("a mark").clone();
        let (_stream, opening) = taken(&response);
        assert!(mark.take().is_none());
        assert!(String::from_utf8_lossy(&opening).contains("event: succeeded"), "{target}");
    }
    let (mut stream, _) = taken(&api.open(get(&target(&task))).await);
    assert!(stream.piece().await.is_none());
}

#[tokio::test]
async fn a_stream_that_is_only_asked_about_has_no_follower() {
    let api = Api::new().await;
    let task = api.submit().await;
    let response = api.open(call("HEAD", &target(&task))).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert!(response.extensions().get::<Streaming>().is_none());
}

/// A stream over many tasks was woken by each commit, and its comment put off each time: on a busy
/// store it had none for ever.
#[tokio::test(start_paused = true)]
async fn a_silent_stream_is_kept_alive_by_comments_however_busy_the_store_is() {
    let api = Api::new().await;
    let task = api.submit().await;
    for target in [
        target(&task),
        format!("/v1/events?task={}", id_of(&task)),
        "/v1/events?label=order%3DA-1".to_owned(),
    ] {
        let (mut stream, _) = taken(&api.open(get(&target)).await);
        let opened = tokio::time::Instant::now();
        let others = async {
            loop {
                api.submit().await;
                // tidy: bounded wait
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        let piece = tokio::select! {
            piece = stream.piece() => piece.expect("a comment"),
            () = others => unreachable!("they go on"),
        };
        assert!(piece.starts_with(b": "), "{target}: {piece:?}");
        assert_eq!(opened.elapsed().as_secs(), 15, "{target}");
    }
}

/// The right to follow ends with the ticket, not with the next event after that.
#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_its_ticket() {
    let worker = Scopes { submit: false, read: false, admin: false, ..Scopes::ALL };
    let api = Api::with_keys(vec![
        key("rk_k", "default", Scopes::ALL),
        key("rk_worker", "default", worker),
        key("rk_other", "other", Scopes::ALL),
    ])
    .await;
    let submit = post("/v1/tasks", &json!({"queue": "work", "retention": "1m", "deadline": "1m"}));
    let task = api.call(submit.field("relais-api-key", "rk_k")).await.json();
    let target = format!("{}?ticket={}", target(&task), task["ticket"].as_str().unwrap());
    // A key that does not reach the task, or may not read it, gives no right that could last longer.
    for key in ["", "rk_worker", "rk_other"] {
        let request = get(&target);
        let request = if key.is_empty() { request } else { request.field("relais-api-key", key) };
        let (mut stream, _) = taken(&api.open(request).await);
        let opened = tokio::time::Instant::now();
        while stream.piece().await.is_some() {}
        assert!(opened.elapsed() < limits::STREAM_LIFETIME_MAX / 2, "{key} {:?}", opened.elapsed());
    }
}

#[tokio::test]
async fn a_driver_that_waits_for_news_itself_is_answered_at_once() {
    // A watch that was away held its task until its life was over, whatever had become of its connection.
    let api = Api::new().await;
    let task = api.submit().await;
    let (mut stream, _) = taken(&api.open(get(&target(&task))).await);
    assert_eq!(stream.piece_now().await.as_deref(), Some(&b""[..]), "nothing has happened");
    let cancel = format!("/v1/tasks/{}/cancel", task["id"].as_str().unwrap());
    api.call(call("POST", &cancel)).await;
    let told = stream.piece_now().await.expect("what happened");
    assert!(String::from_utf8_lossy(&told).contains("event: canceled"), "{told:?}");
    assert_eq!(stream.piece_now().await, None, "it is over");
}

#[tokio::test]
async fn a_follower_that_waits_is_small() {
    let api = Api::new().await;
    let task = api.submit().await;
    let (mut stream, _) = taken(&api.open(get(&target(&task))).await);
    let waiting = size_of_val(&stream.piece());
    let itself = size_of_val(&stream);
    // The second where the HTTP library goes on, whose own state is far larger.
    assert!(itself <= 128 && waiting <= 640, "{itself} and {waiting} bytes");
}

#[tokio::test]
async fn a_retry_by_hand_goes_on_in_the_same_log() {
    let api = Api::new().await;
    let task = api.submit().await;
    api.call(call("POST", &format!("/v1/tasks/{}/cancel", task["id"].as_str().unwrap()))).await;
    api.call(call("POST", &format!("/v1/tasks/{}/retry", task["id"].as_str().unwrap()))).await;
    let page = api.call(get(&target(&task)).field("accept", "application/json")).await.json();
    let kinds: Vec<_> =
        page["events"].as_array().unwrap().iter().map(|event| event["type"].clone()).collect();
    assert_eq!(kinds, ["accepted", "canceled", "requeued"]);
    assert_eq!(page["events"][2]["data"]["reason"], "retried");
    assert_eq!(page["events"][2]["data"]["run"], 2);
}

#[tokio::test]
async fn one_stream_follows_many_tasks_in_the_order_of_the_store() {
    let api = Api::new().await;
    let (one, other) = (api.submit().await, api.submit().await);
    api.call(call("POST", &format!("/v1/tasks/{}/cancel", one["id"].as_str().unwrap()))).await;
    let third = api.submit().await;
    let tasks = format!(
        "/v1/events?task={}&task={}",
        one["id"].as_str().unwrap(),
        other["id"].as_str().unwrap()
    );
    let response = api.open(get(&tasks)).await;
    assert_eq!(response.status(), StatusCode::OK);
    let cancel = async {
        let path = format!("/v1/tasks/{}/cancel", other["id"].as_str().unwrap());
        api.call(call("POST", &path)).await;
    };
    let ((text, _), ()) = tokio::join!(
        read_until(response, |text| text.matches("event: canceled").count() == 2),
        cancel
    );
    let events = events(&text);
    assert_eq!(events[0].0, "relais.open");
    let seen: Vec<_> =
        events[1..].iter().map(|(name, _, data)| (name.as_str(), data["task"].clone())).collect();
    let (one, other) = (one["id"].clone(), other["id"].clone());
    assert_eq!(
        seen,
        [
            ("accepted", one.clone()),
            ("accepted", other.clone()),
            ("canceled", one),
            ("canceled", other)
        ]
    );
    let ids: Vec<u64> = events[1..].iter().map(|(_, id, _)| id.parse().unwrap()).collect();
    assert!(ids.is_sorted(), "{ids:?}");
    assert!(!text.contains(third["id"].as_str().unwrap()));
    let resumed = api.open(get(&tasks).field("last-event-id", &ids[2].to_string())).await;
    let (text, _) = read_until(resumed, |text| text.contains("event: canceled")).await;
    // That of the opening is where it resumes.
    assert_eq!(text.matches("\nid: ").count(), 2, "{text}");
}

/// It opened well, and then kept silent for ever: the store it had been on was another.
#[tokio::test]
async fn a_stream_over_many_tasks_from_beyond_the_log_begins_anew() {
    let api = Api::new().await;
    let task = api.submit().await;
    let target = format!("/v1/events?task={}", task["id"].as_str().unwrap());
    let response = api.open(get(&target).field("last-event-id", "99999")).await;
    let (text, _) = read_until(response, |text| text.contains("event: accepted")).await;
    assert!(text.contains("event: relais.reset"), "{text}");
}

/// A new follower had to read all that ever happened. Its browser resumes by the id of the opening, also where
/// nothing had happened before it was cut off.
#[tokio::test]
async fn a_stream_over_many_tasks_begins_now_and_resumes_there_on_another_node() {
    let one = Api::new().await;
    let other = one.beside().await;
    let document = json!({"queue": "work", "labels": {"order": "A-1"}});
    for node in [&one, &other] {
        node.call(post("/v1/tasks", &document)).await;
    }
    let log = "/v1/events?label=order%3DA-1&after=now";
    let (_, opening) = taken(&one.open(get(log)).await);
    let opened = events(std::str::from_utf8(&opening).unwrap());
    let [(name, id, data)] = opened.as_slice() else { panic!("{opened:?}") };
    assert_eq!((name.as_str(), data["pos"].to_string()), ("relais.open", id.clone()));
    let later = other.call(post("/v1/tasks", &document)).await.json();
    let resumed = other.open(get(log).field("last-event-id", id)).await;
    let (text, _) = read_until(resumed, |text| text.contains("event: accepted")).await;
    assert_eq!(text.matches("event: accepted").count(), 1, "{text}");
    assert!(text.contains(later["id"].as_str().unwrap()), "{text}");
}

/// The place of an erased event was taken for one beyond the log: everything was told once more.
#[tokio::test]
async fn a_stream_over_many_tasks_resumes_behind_an_erased_task() {
    let api = Api::new().await;
    let document = json!({"queue": "work", "labels": {"order": "A-1"}});
    let first = api.call(post("/v1/tasks", &document)).await.json();
    let last = api.call(post("/v1/tasks", &document)).await.json();
    let log = "/v1/events?label=order%3DA-1";
    let (_, opening) = taken(&api.open(get(log)).await);
    let seen = events(std::str::from_utf8(&opening).unwrap()).last().unwrap().1.clone();
    let erased = call("DELETE", &format!("/v1/tasks/{}?cancel=true", id_of(&last)));
    assert_eq!(api.call(erased).await.status, StatusCode::NO_CONTENT);
    let (mut stream, opening) = taken(&api.open(get(log).field("last-event-id", &seen)).await);
    let names: Vec<_> =
        events(std::str::from_utf8(&opening).unwrap()).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["relais.open"], "nothing is told again");
    api.call(call("POST", &format!("/v1/tasks/{}/cancel", id_of(&first)))).await;
    let piece = stream.piece().await.expect("what is new");
    assert!(String::from_utf8_lossy(&piece).contains("event: canceled"), "{piece:?}");
}

#[tokio::test]
async fn a_stream_over_many_tasks_takes_tickets_or_a_label() {
    let api = Api::new().await;
    let document = json!({"queue": "work", "labels": {"order": "A-1"}});
    let task = api.call(post("/v1/tasks", &document)).await.json();
    api.submit().await;
    for query in
        [format!("ticket={}", task["ticket"].as_str().unwrap()), "label=order%3DA-1".to_owned()]
    {
        let response = api.open(get(&format!("/v1/events?{query}"))).await;
        let (text, _) = read_until(response, |text| text.contains("event: accepted")).await;
        assert!(text.contains(task["id"].as_str().unwrap()), "{query}");
        assert_eq!(text.matches("event: accepted").count(), 1, "{query}");
    }
    let id = id_of(&task);
    for (query, code) in [
        (String::new(), "invalid-parameter"),
        ("label=x".to_owned(), "invalid-parameter"),
        ("task=x".to_owned(), "invalid-parameter"),
        ("ticket=x".to_owned(), "unauthorized"),
        (format!("task={id}&after=-1"), "invalid-parameter"),
        (format!("task={id}&after=then"), "invalid-parameter"),
        (vec![format!("task={id}"); 51].join("&"), "invalid-parameter"),
    ] {
        assert_eq!(api.call(get(&format!("/v1/events?{query}"))).await.code(), code, "{query}");
    }
}
