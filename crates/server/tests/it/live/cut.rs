//! Readers that are cut off and come back: what they read in all is the answer, byte for byte.

use std::sync::Arc;
use std::time::Duration;

use relais_core::{Status, TaskId};
use relais_server::config::Mode;
use relais_store::{MemoryStore, Store};
use tokio::time::timeout;

use super::{GET, PATIENT, POST, begun, first_bytes, framed, read, reader};
use crate::house::{Client, House, Plan, Reply, SOON};

/// P102: what a caller read before it was cut and after it came back are the upstream's bytes, whatever
/// they are and wherever it was cut; and the upstream was called once.
#[tokio::test]
async fn a_caller_that_is_cut_after_any_byte_reads_on() {
    let sse = b"id: 1\nevent: delta\ndata: {\"t\":\"\xc3\xa9t\xc3\xa9\"}\n\n: c\r\n\r\ndata: x\n\n";
    let ndjson = b"{\"a\":1}\n{\"b\":\"\xe2\x82\xac\"}\n{\"c\":null}\n";
    let binary = b"\0\xff\r\n\r\n0\r\n\r\n\x1f\x8b\x08\0\xfe\r\n";
    // Offsets count what is stored: nothing is decoded on the way.
    let coded = b"\x1f\x8b\x08\0\0\0\0\0\0\x03K\x04\0C\xbe\xb7\xe8\x01\0\0\0";
    let house = House::with(Mode::Auto).await;
    for (kind, coding, bytes) in [
        ("text/event-stream", "", &sse[..]),
        ("application/x-ndjson", "", ndjson),
        ("application/octet-stream", "", binary),
        ("text/plain", "gzip", coded),
    ] {
        for cut in 0..=bytes.len() {
            let is_chunked = cut % 2 == 0;
            let field = if coding.is_empty() { "" } else { "content-encoding: gzip\r\n" };
            let fields = format!("connection: close\r\ncontent-type: {kind}\r\n{field}");
            // With a length the last byte is held back until the end.
            let sent = if is_chunked { cut } else { (cut + 1).min(bytes.len()) };
            let (begin, end) = framed(&fields, is_chunked, &bytes[..sent], &bytes[sent..]);
            let mut caller = house.send(POST).await;
            let mut call = house.upstream.next().await;
            call.send(begin).await;
            let head = caller.head().await;
            let version = head.field("relais-result-version");
            let got = cut.min(if is_chunked { cut } else { bytes.len() - 1 });
            let mut read = first_bytes(&mut caller, &head, got).await;
            drop(caller);
            let query = format!("?live&after={}&attempt={version}", read.len());
            let mut again = reader(&house, head.task(), &query, "").await;
            let second = again.head().await;
            assert_eq!(second.status, 200);
            assert_eq!(second.field("relais-offset"), read.len().to_string());
            assert_eq!(second.field("relais-result-version"), version);
            let told = (second.field("content-type"), second.field("content-encoding"));
            assert_eq!(told, (kind, coding));
            call.send(end).await;
            read.extend(rest_of(&mut again, &second).await);
            assert_eq!(read, bytes, "{kind}, cut after {cut} bytes");
            // The same once it is committed.
            house.over(head.task()).await;
            let stored = read_on(&house, head.task(), &query).await;
            assert_eq!((stored.status, &stored.body[..]), (200, &bytes[got..]));
            assert_eq!(stored.field("relais-offset"), got.to_string());
        }
    }
    assert!(house.upstream.is_silent().await, "each was called once");
}

pub(super) async fn read_on(house: &House, id: TaskId, query: &str) -> Reply {
    read(house, id, query, "").await
}

/// What is left of a body whose head was read.
async fn rest_of(client: &mut Client, head: &Reply) -> Vec<u8> {
    if head.field("transfer-encoding") != "chunked" {
        return client.bytes(head.field("content-length").parse().unwrap()).await;
    }
    let mut bytes = Vec::new();
    loop {
        let chunk = client.chunk().await;
        if chunk.is_empty() {
            return bytes;
        }
        bytes.extend(chunk);
    }
}

/// The same for one that is larger than what memory keeps of it, cut at random, while it comes and after.
#[tokio::test]
async fn a_large_answer_is_read_on_from_anywhere() {
    let mut state = 42_u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state >> 33
    };
    let bytes: Vec<u8> = (0..3 << 20).map(|_| random().to_le_bytes()[0]).collect();
    let half = bytes.len() / 2;
    let house = House::with(Mode::Async).await;
    let (id, mut call) = begun(&house, POST).await;
    let (begin, end) = framed("", true, &bytes[..half], &bytes[half..]);
    call.send(begin).await;
    let mut readers = Vec::new();
    for _ in 0..12 {
        let after = usize::try_from(random()).unwrap() % half;
        let query = format!("?live&after={after}&attempt=1.1");
        let mut client = reader(&house, id, &query, PATIENT).await;
        let head = client.head().await;
        assert_eq!(head.field("relais-offset"), after.to_string());
        readers.push((after, client, head));
    }
    // Some read nothing at all: that delays neither the upstream nor the others.
    let deaf = reader(&house, id, "?live", "").await;
    call.send(end).await;
    house.over(id).await;
    for (after, client, head) in &mut readers {
        assert!(rest_of(client, head).await == bytes[*after..], "from {after} on");
    }
    drop(deaf);
    let after = usize::try_from(random()).unwrap() % bytes.len();
    let stored = read_on(&house, id, &format!("?live&after={after}&attempt=1.1")).await;
    assert!(stored.body == bytes[after..], "from {after} on");
}

#[tokio::test]
async fn an_offset_that_is_not_there_yet_waits_and_one_behind_the_end_is_refused() {
    for is_chunked in [true, false] {
        let house = House::with(Mode::Async).await;
        let (id, mut call) = begun(&house, POST).await;
        // Before the head, too: who has a part of it waits for the rest.
        let mut at_four = reader(&house, id, "?live&after=4&attempt=1.1", "").await;
        at_four.assert_silent();
        let (begin, end) = framed("connection: close\r\n", is_chunked, b"hel", b"lo");
        call.send(begin).await;
        let mut at_end = reader(&house, id, "?live&after=5&attempt=1.1", "").await;
        let mut beyond = reader(&house, id, "?live&after=6&attempt=1.1", "").await;
        for waiting in [&mut at_four, &mut at_end, &mut beyond] {
            waiting.assert_silent();
        }
        let brief = read(&house, id, "?live&after=4&attempt=1.1", "prefer: wait=0\r\n").await;
        assert_eq!(brief.status, 202, "as long as it says");
        call.send(end).await;
        let reply = at_four.reply().await;
        assert_eq!((reply.text(), reply.field("relais-offset")), ("o", "4"));
        let reply = at_end.reply().await;
        assert_eq!((reply.status, reply.text(), reply.field("relais-offset")), (200, "", "5"));
        let reply = beyond.reply().await;
        assert_eq!((reply.status, reply.code().as_str()), (416, "range-not-satisfiable"));
        assert_eq!(reply.field("content-range"), "bytes */5");
    }
}

/// An answer that was broken off is no part of the next one, of which each byte comes from its own.
#[tokio::test]
async fn an_answer_that_breaks_off_is_aborted_and_never_read_on() {
    let house = House::with(Mode::Async).await;
    let (id, mut call) = begun(&house, GET).await;
    call.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n").await;
    let mut cut = reader(&house, id, "?live", "").await;
    cut.head().await;
    assert_eq!(cut.chunk().await, b"one");
    let mut follower = house.engine.follow(id);
    call.die();
    assert_eq!(cut.rest().await, (Vec::new(), false), "no end is faked");
    timeout(SOON, follower.after(2)).await.unwrap();
    let on = "?live&after=3&attempt=1.1";
    let queued = read_on(&house, id, on).await;
    assert_eq!((queued.status, queued.code().as_str()), (412, "answer-replaced"));
    // Whoever wants the whole waits for the next attempt.
    let mut waiting = reader(&house, id, "?live", PATIENT).await;
    house.clock.advance(Duration::from_secs(10));
    let mut again = house.upstream.next().await;
    assert_eq!(read_on(&house, id, on).await.code(), "answer-replaced", "while it runs");
    again.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsec").await;
    let head = waiting.head().await;
    assert_eq!(head.field("relais-result-version"), "1.2");
    assert_eq!(read_on(&house, id, on).await.code(), "answer-replaced", "while it comes");
    again.send("ond").await;
    assert_eq!(waiting.bytes(6).await, b"second");
    house.over(id).await;
    assert_eq!(read_on(&house, id, on).await.code(), "answer-replaced", "for good");
    assert_eq!(read_on(&house, id, "?live&after=3&attempt=1.2").await.text(), "ond");
}

/// Nothing of it lives in one process alone: a reader at another node, and one that comes back to it.
#[tokio::test]
async fn an_answer_is_read_at_each_node() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let plan = async |seed| {
        let mut plan = Plan::with(Mode::Auto).await;
        (plan.store, plan.seed) = (store.clone(), seed);
        plan
    };
    let one = plan(7).await.build().await;
    let two = plan(8).await.build().await;
    let mut caller = one.send(POST).await;
    let mut call = one.upstream.next().await;
    call.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello").await;
    let head = caller.head().await;
    assert_eq!(caller.bytes(5).await, b"hello");
    drop(caller);
    let (id, version) = (head.task(), head.field("relais-result-version"));
    let mut on = reader(&two, id, &format!("?live&after=5&attempt={version}"), "").await;
    let mut whole = reader(&two, id, "?live", PATIENT).await;
    assert_eq!(on.head().await.field("relais-offset"), "5");
    assert_eq!(whole.head().await.status, 200);
    assert_eq!(whole.bytes(5).await, b"hello");
    call.send(" you").await;
    assert_eq!(on.bytes(4).await, b" you");
    assert_eq!(whole.bytes(4).await, b" you");
    assert!(one.upstream.is_silent().await && two.upstream.is_silent().await);
}

/// A reader is fed to the end of the answer that it began with, whatever became of its task meanwhile; who
/// comes back is told that there is another one.
#[tokio::test]
async fn a_retry_by_hand_replaces_the_answer_for_those_who_come_back() {
    let len = 8 << 20;
    let house = House::with(Mode::Async).await;
    let (id, mut call) = begun(&house, POST).await;
    let fields = format!("connection: close\r\ncontent-length: {len}\r\n");
    call.send(format!("HTTP/1.1 500 Oops\r\n{fields}\r\n")).await;
    let mut slow = reader(&house, id, "?live", PATIENT).await;
    let head = slow.head().await;
    assert_eq!((head.status, head.field("relais-origin")), (500, "upstream"));
    call.send(vec![b'x'; len]).await;
    assert_eq!(house.over(id).await.life.status(), Status::Failed);
    let tenant = "default".parse().unwrap();
    house.engine.retry(&tenant, id, false).await.unwrap();
    let mut again = house.upstream.next().await;
    again.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndo").await;
    let on = read_on(&house, id, "?live&after=1&attempt=1.1").await;
    assert_eq!((on.status, on.code().as_str()), (412, "answer-replaced"));
    let mut next = reader(&house, id, "?live", PATIENT).await;
    assert_eq!(next.head().await.field("relais-result-version"), "2.2");
    assert_eq!(slow.bytes(len).await.len(), len, "all of what it began with");
    again.send("ne").await;
    assert_eq!(next.bytes(4).await, b"done");
}
