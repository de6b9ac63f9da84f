//! Signs of life through silent event streams. Comments of one stream tell that time has passed for
//! another: nothing here waits for less.

use std::time::Duration;

use relais_server::config::Mode;
use tokio::time::Instant;

use crate::house::{Client, House, Plan, Reply, UpstreamCall};

const GET: &str = "GET /work HTTP/1.1\r\nhost: a\r\n\r\n";
const EVENTS: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n";
const COMMENT: &[u8] = b":relais\n\n";

async fn house() -> House {
    let mut plan = Plan::with(Mode::Auto).await;
    plan.route().keepalive = Some(Duration::from_millis(20));
    plan.build().await
}

/// A stream that has begun with this.
async fn begun(house: &House, fields: &str, first: &str) -> (Client, Reply, UpstreamCall) {
    begun_for(house, GET, fields, first).await
}

async fn begun_for(
    house: &House,
    request: &str,
    fields: &str,
    first: &str,
) -> (Client, Reply, UpstreamCall) {
    let mut client = house.send(request).await;
    let mut call = house.upstream.next().await;
    call.send(format!("{EVENTS}{fields}\r\n")).await;
    call.send(chunk(first)).await;
    let head = client.head().await;
    (client, head, call)
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// Two silences pass.
async fn time_passes(witness: &mut Client) {
    for _ in 0..2 {
        assert_eq!(witness.chunk().await, COMMENT);
    }
}

#[tokio::test]
async fn a_comment_comes_between_events_and_is_neither_stored_nor_counted() {
    let house = house().await;
    let (mut witness, _, _call) = begun(&house, "", "data: w\n\n").await;
    assert_eq!(witness.chunk().await, b"data: w\n\n");
    let (mut client, head, mut call) = begun(&house, "", "data: 1\n\n").await;
    assert_eq!(client.chunk().await, b"data: 1\n\n");
    assert_eq!(client.chunk().await, COMMENT);
    call.send(chunk("data: 2\r\n")).await;
    let mut seen = Vec::new();
    while !seen.ends_with(b"data: 2\r\n") {
        seen.extend(client.chunk().await);
    }
    time_passes(&mut witness).await;
    call.send(chunk("\r\n")).await;
    assert_eq!(client.chunk().await, b"\r\n", "no event was cut in two");
    assert_eq!(client.chunk().await, COMMENT);
    // A reader that did not ask gets none, and one that reads on counts none.
    let id = head.task();
    let version = head.field("relais-result-version");
    let live = async |query: &str| {
        let path = format!("/v1/tasks/{id}/result?live{query}");
        let mut reader =
            house.send(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")).await;
        reader.head().await;
        reader
    };
    let mut plain = live("").await;
    let mut resumed = live(&format!("&after=9&attempt={version}&keepalive=1")).await;
    let whole = b"data: 1\n\ndata: 2\r\n\r\n";
    assert_eq!(plain.chunk().await, whole);
    assert_eq!(resumed.chunk().await, &whole[9..]);
    assert_eq!(resumed.chunk().await, COMMENT);
    call.send(chunk("data: 3\n\n")).await;
    assert_eq!(plain.chunk().await, b"data: 3\n\n");
    assert_eq!(resumed.chunk().await, b"data: 3\n\n");
    call.send("0\r\n\r\n").await;
    house.over(id).await;
    let stored = format!("GET /v1/tasks/{id}/result HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(house.call(&stored).await.text(), "data: 1\n\ndata: 2\r\n\r\ndata: 3\n\n");
}

#[tokio::test]
async fn what_a_comment_would_break_gets_none() {
    let house = house().await;
    let (mut witness, _, _call) = begun(&house, "", "data: w\n\n").await;
    assert_eq!(witness.chunk().await, b"data: w\n\n");
    let (mut coded, _, mut coded_call) = begun(&house, "content-encoding: gzip\r\n", "\n\n").await;
    assert_eq!(coded.chunk().await, b"\n\n");
    // Nothing has come of it yet.
    let mut silent = house.send(GET).await;
    let mut silent_call = house.upstream.next().await;
    silent_call.send(format!("{EVENTS}\r\n")).await;
    silent.head().await;
    let mut long = house.send(GET).await;
    let mut long_call = house.upstream.next().await;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 5\r\n\r\n";
    long_call.send(format!("{head}:\n\n")).await;
    long.head().await;
    assert_eq!(long.bytes(3).await, b":\n\n");
    time_passes(&mut witness).await;
    coded_call.send(chunk("x")).await;
    assert_eq!(coded.chunk().await, b"x");
    silent_call.send(chunk("data: 1\n\n")).await;
    assert_eq!(silent.chunk().await, b"data: 1\n\n");
    long_call.send(":\n").await;
    assert_eq!(long.bytes(2).await, b":\n");
}

#[tokio::test(start_paused = true)]
async fn a_live_read_gets_a_comment_each_15_s_if_it_asks_and_else_none() {
    let house = House::with(Mode::Auto).await;
    let (mut caller, head, _call) = begun(&house, "", "data: 1\n\n").await;
    let path = format!("/v1/tasks/{}/result?live", head.task());
    let mut readers = Vec::new();
    for (query, fields) in
        [("&keepalive", ""), ("", ""), ("&keepalive", "range: bytes=0-1099511627776\r\n")]
    {
        let line = format!("GET {path}{query} HTTP/1.1\r\nhost: localhost\r\n{fields}");
        let mut reader = house.send(&format!("{line}\r\n")).await;
        reader.head().await;
        assert_eq!(reader.chunk().await, b"data: 1\n\n");
        readers.push(reader);
    }
    assert_eq!(caller.chunk().await, b"data: 1\n\n");
    let began = Instant::now();
    time_passes(&mut readers[0]).await;
    let elapsed = began.elapsed();
    assert!((29..=31).contains(&elapsed.as_secs()), "{elapsed:?}");
    for silent in readers[1..].iter_mut().chain([&mut caller]) {
        silent.assert_silent();
    }
}

#[tokio::test]
async fn a_keepalive_is_asked_for_in_seconds_and_of_live_answers_alone() {
    let house = house().await;
    let (_client, head, _call) = begun(&house, "", "data: 1\n\n").await;
    let id = head.task();
    for query in ["live&keepalive=0", "live&keepalive=61", "live&keepalive=x", "keepalive"] {
        let path = format!("/v1/tasks/{id}/result?{query}");
        let reply = house.call(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")).await;
        assert_eq!((reply.status, reply.code()), (400, "invalid-parameter".to_owned()), "{query}");
    }
}

#[tokio::test]
async fn another_relais_in_front_gets_no_comments_because_it_stores_what_it_gets() {
    let house = house().await;
    let (mut witness, _, _call) = begun(&house, "", "data: w\n\n").await;
    assert_eq!(witness.chunk().await, b"data: w\n\n");
    let from_relais =
        "GET /work HTTP/1.1\r\nhost: a\r\nrelais-task: task_01jdk3v5x8e2rbk0t6q9z4m7ha\r\n\r\n";
    let (mut client, _, mut call) = begun_for(&house, from_relais, "", "data: 1\n\n").await;
    assert_eq!(client.chunk().await, b"data: 1\n\n");
    time_passes(&mut witness).await;
    call.send(chunk("data: 2\n\n")).await;
    assert_eq!(client.chunk().await, b"data: 2\n\n");
}
