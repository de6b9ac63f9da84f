//! Event streams on the wire: taken back from the HTTP library, and driven by hand.

use std::time::Duration;

use bytes::Bytes;
use relais_core::{LeaseToken, TaskId, limits};
use relais_engine::Report;
use relais_server::config::Mode;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::house::{Client, House};

const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";

/// A task in the house, and paths of streams that follow it.
async fn followed(house: &House) -> [String; 2] {
    let ticket = house.call(POST).await;
    let id = ticket.json()["id"].as_str().unwrap().to_owned();
    [format!("/v1/tasks/{id}/events"), format!("/v1/events?task={id}")]
}

fn stream_of(house: &House, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", house.address)
}

/// How many streams are open, by the server's own count.
async fn streams(house: &House) -> String {
    let metrics = format!("GET /metrics HTTP/1.1\r\nhost: {}\r\n\r\n", house.admin);
    let mut admin = Client::connect(house.admin).await;
    let text = admin.call(&metrics).await.text().to_owned();
    text.lines().find(|line| line.starts_with("relais_followers")).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_follower_is_taken_back_from_the_http_library() {
    let house = House::with(Mode::Async).await;
    let ticket = house.call(POST).await;
    let mut call = house.upstream.next().await;
    let events = ticket.json()["links"]["events"].as_str().unwrap().to_owned();
    let request = stream_of(&house, &events[events.find("/v1").unwrap()..]);
    let mut client = house.send(&request).await;
    let head = client.head().await;
    assert_eq!((head.status, head.field("content-type")), (200, "text/event-stream"));
    assert_eq!((head.field("connection"), head.field("transfer-encoding")), ("close", "chunked"));
    assert_eq!((head.field("content-length"), head.all("date").len()), ("", 1));
    call.answer("200 OK", "", "done").await;
    // Each event is a chunk, and the end shows: without it a cut looked like one, and clients that
    // read by blocks held every event back.
    let mut chunks = Vec::new();
    loop {
        let chunk = String::from_utf8(client.chunk().await).unwrap();
        if chunk.is_empty() {
            break;
        }
        assert!(chunk.ends_with("\n\n"), "{chunk:?}");
        chunks.push(chunk);
    }
    assert!(chunks.len() > 1 && chunks.last().unwrap().contains("event: succeeded"), "{chunks:?}");
    // What readers make a message of is an event.
    assert!(chunks[0].starts_with("retry: ") && !chunks[0].contains("\n\nretry"), "{chunks:?}");
    assert!(chunks.concat().split("\n\n").all(|block| block.is_empty() || block.contains("data:")));
    assert_eq!(client.rest().await, (Vec::new(), true));
    // HTTP/1.0 knows no chunks: there the end is that of the connection.
    let mut client = house.send(&request.replace("HTTP/1.1", "HTTP/1.0")).await;
    let head = client.head().await;
    assert_eq!((head.status, head.field("transfer-encoding")), (200, ""));
    let (bytes, is_clean) = client.rest().await;
    assert!(is_clean && String::from_utf8(bytes).unwrap().starts_with("retry: "));
}

#[tokio::test]
async fn a_follower_that_leaves_or_a_server_that_stops_ends_the_stream() {
    let house = House::with(Mode::Async).await;
    let paths = followed(&house).await;
    let _call = house.upstream.next().await;
    let mut staying = Vec::new();
    for path in &paths {
        let mut leaving = house.send(&stream_of(&house, path)).await;
        assert_eq!(leaving.head().await.field("transfer-encoding"), "chunked", "{path}");
        drop(leaving);
        let mut stays = house.send(&stream_of(&house, path)).await;
        stays.head().await;
        staying.push(stays);
    }
    while streams(&house).await != "relais_followers 2" {
        tokio::task::yield_now().await;
    }
    house.app.stop.close();
    for mut stays in staying {
        let (bytes, is_clean) = stays.rest().await;
        assert!(is_clean && bytes.ends_with(b"0\r\n\r\n"), "a clean end");
    }
    house.serving.await.unwrap();
}

/// What is taken back from the HTTP library is driven by hand: what the socket does not take waits,
/// nothing is lost by it, and others are told meanwhile.
#[tokio::test]
async fn a_follower_that_does_not_read_loses_nothing_and_holds_up_nobody() {
    let house = House::with(Mode::Async).await;
    let id = for_a_worker(&house).await;
    for path in [format!("/v1/tasks/{id}/events"), format!("/v1/events?task={id}")] {
        let mut idle = house.send(&stream_of(&house, &path)).await;
        idle.head().await;
        let mut reading = house.send(&stream_of(&house, &path)).await;
        reading.head().await;
        let last = give_out_much(&house, id).await;
        for client in [&mut reading, &mut idle] {
            let (mut text, mut numbers) = (String::new(), Vec::new());
            while !text.contains(&last) {
                text = String::from_utf8(client.chunk().await).unwrap();
                numbers.extend(numbers_of(&text));
            }
            assert!(numbers.windows(2).all(|two| two[0] + 1 == two[1]), "{path}: {numbers:?}");
        }
    }
}

/// Whoever closed its sending side, and was further behind than one piece of the stream, was cut off.
#[tokio::test]
async fn a_follower_that_sends_nothing_more_is_told_all_that_was_there() {
    let house = House::with(Mode::Async).await;
    let id = for_a_worker(&house).await;
    let last = give_out_much(&house, id).await;
    for path in [format!("/v1/tasks/{id}/events"), format!("/v1/events?task={id}")] {
        let mut client = house.send(&stream_of(&house, &path)).await;
        client.stream.shutdown().await.unwrap();
        client.head().await;
        let (bytes, is_clean) = client.rest().await;
        let text = String::from_utf8(bytes).unwrap();
        let count = numbers_of(&text).count();
        assert_eq!((count, text.contains(&last)), (302, true), "{path}");
        assert!(is_clean && text.ends_with("0\r\n\r\n"), "{path}: a clean end");
    }
}

/// The numbers of the events in a stream's text, without the place that its opening tells.
fn numbers_of(text: &str) -> impl Iterator<Item = u64> {
    let lines = text.lines().zip(text.lines().skip(1));
    let events = lines.filter(|(_, name)| *name != "event: relais.open");
    events.filter_map(|(id, _)| id.strip_prefix("id: ")).map(|id| id.parse().unwrap())
}

/// A task that a worker may lease.
async fn for_a_worker(house: &House) -> TaskId {
    let task = json!({"queue": "leased", "input": 1}).to_string();
    let submit = format!(
        "POST /v1/tasks HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{task}",
        house.address,
        task.len()
    );
    house.call(&submit).await.json()["id"].as_str().unwrap().parse().unwrap()
}

/// More events of a task than the buffers of a socket take; answers what the last one says.
async fn give_out_much(house: &House, id: TaskId) -> String {
    let tenant = "default".parse().unwrap();
    let mut task = house.engine.task(id).await.unwrap().unwrap();
    if task.life.lease().is_none() {
        let queue = "leased".parse().unwrap();
        house.engine.lease(&tenant, &queue, "w", 1, Duration::ZERO).await.unwrap();
        task = house.engine.task(id).await.unwrap().unwrap();
    }
    let token = LeaseToken { task: id, nonce: task.life.lease().unwrap().nonce };
    let mut last = String::new();
    for n in task.life.version..task.life.version + 300 {
        last = format!("{n:0>50000}");
        let output = Some(Bytes::from(format!("\"{last}\"")));
        let report = Report { token, progress: None, output, checkpoint: None };
        house.engine.report(Some(&tenant), vec![report]).await.unwrap().remove(0).unwrap();
    }
    last
}

#[tokio::test]
async fn a_silent_stream_is_told_that_it_lives_and_ends_in_its_time() {
    let house = House::with(Mode::Async).await;
    let paths = followed(&house).await;
    let _call = house.upstream.next().await;
    for path in &paths {
        let mut client = house.send(&stream_of(&house, path)).await;
        client.head().await;
        let opening = client.chunk().await;
        assert!(opening.starts_with(b"retry: "), "{path}");
        pass(SILENCE_MAX).await;
        assert!(client.chunk().await.starts_with(b": "), "{path}: a comment");
        pass(limits::STREAM_LIFETIME_MAX).await;
        let (bytes, is_clean) = client.rest().await;
        assert!(is_clean && bytes.ends_with(b"0\r\n\r\n"), "{path}: a clean end");
    }
}

/// How long a stream is silent at most.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// Lets time pass, for timers only.
async fn pass(span: Duration) {
    tokio::time::pause();
    tokio::time::advance(span).await;
    tokio::time::resume();
}
