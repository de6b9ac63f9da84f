//! Live answers: read while they come, from the first byte or from where a reader was cut off.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use relais_core::{Grace, Status, TaskId, limits};
use relais_server::config::Mode;
use relais_store::{MemoryStore, Store};
use tokio::time::timeout;

use crate::front_door_wire::h2;
use crate::house::{Client, Gate, House, LONG, Plan, Reply, SOON, UpstreamCall};
use crate::odd_store::OddStore;

const POST: &str = "POST /work HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";
const GET: &str = "GET /work HTTP/1.1\r\nhost: a\r\n\r\n";
/// A second that no test waits for: an answer that comes at all comes before it is over.
const PATIENT: &str = "prefer: wait=50\r\n";

/// A task of this request whose upstream was called.
async fn begun(house: &House, request: &str) -> (TaskId, UpstreamCall) {
    let ticket = house.send(request).await.head().await;
    assert_eq!(ticket.status, 202);
    (ticket.task(), house.upstream.next().await)
}

fn asking(method: &str, id: TaskId, query: &str, fields: &str) -> String {
    format!("{method} /v1/tasks/{id}/result{query} HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n")
}

/// A reader of the answer of a task.
async fn reader(house: &House, id: TaskId, query: &str, fields: &str) -> Client {
    house.send(&asking("GET", id, query, fields)).await
}

/// The whole answer to such a reader.
async fn read(house: &House, id: TaskId, query: &str, fields: &str) -> Reply {
    reader(house, id, query, fields).await.reply().await
}

/// The first bytes of a body, with its framing taken off.
async fn first_bytes(client: &mut Client, head: &Reply, len: usize) -> Vec<u8> {
    if head.field("transfer-encoding") != "chunked" {
        return client.bytes(len).await;
    }
    let mut bytes = Vec::new();
    while bytes.len() < len {
        bytes.extend(client.chunk().await);
    }
    bytes.truncate(len);
    bytes
}

/// The head of an answer with a body of so many bytes, by length or in chunks; what of it is sent at once,
/// and what ends it.
fn framed(fields: &str, is_chunked: bool, first: &[u8], rest: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let head = |framing: &str| format!("HTTP/1.1 200 OK\r\n{fields}{framing}\r\n\r\n").into_bytes();
    if !is_chunked {
        let len = first.len() + rest.len();
        return ([head(&format!("content-length: {len}")), first.into()].concat(), rest.into());
    }
    let chunk = |bytes: &[u8]| match bytes.len() {
        0 => Vec::new(),
        len => [format!("{len:x}\r\n").as_bytes(), bytes, b"\r\n"].concat(),
    };
    let begin = [head("transfer-encoding: chunked"), chunk(first)].concat();
    (begin, [chunk(rest), b"0\r\n\r\n".into()].concat())
}

#[tokio::test]
async fn an_answer_is_read_while_it_comes_and_its_end_waits_for_the_commit() {
    for is_chunked in [true, false] {
        let gate = Gate::of_outcomes();
        let mut plan = Plan::with(Mode::Async).await;
        plan.store = gate.clone();
        let house = plan.build().await;
        let (id, mut call) = begun(&house, POST).await;
        let fields = "content-type: text/plain\r\netag: \"theirs\"\r\ncontent-encoding: gzip\r\n\
                      cache-control: public\r\nlocation: made/17\r\n";
        let (begin, end) = framed(fields, is_chunked, b"hel", b"lo");
        call.send(begin).await;
        let mut early = reader(&house, id, "?live", PATIENT).await;
        let head = early.head().await;
        assert_eq!((head.status, head.field("content-type")), (200, "text/plain"));
        assert_eq!(head.field("relais-result-version"), "1.1");
        assert_eq!(head.task(), id);
        assert_eq!(head.field("etag"), format!("\"{id}-1-1\""));
        assert_eq!(head.field("relais-upstream-etag"), "\"theirs\"");
        assert_eq!(head.field("content-encoding"), "gzip", "nothing is coded on the way");
        assert_eq!((head.field("x-accel-buffering"), head.field("incremental")), ("no", "?1"));
        assert_eq!(head.field("relais-offset"), "", "it was not asked for");
        // As the stored answer: it is told from Relais' own origin.
        assert_eq!(head.field("cache-control"), "private, no-store, no-transform");
        assert_eq!(head.field("x-content-type-options"), "nosniff");
        assert_eq!(head.field("content-security-policy"), "sandbox");
        assert_eq!(head.field("referrer-policy"), "no-referrer");
        assert!(head.field("location").starts_with("http://"), "{head:?}");
        assert_eq!(head.field("content-length"), if is_chunked { "" } else { "5" });
        assert_eq!(first_bytes(&mut early, &head, 3).await, b"hel");
        // Another one comes later, and gets it from the first byte.
        let mut late = reader(&house, id, "?live", "").await;
        let second = late.head().await;
        assert_eq!(first_bytes(&mut late, &second, 3).await, b"hel");
        call.send(end).await;
        gate.reached().await;
        for reader in [&mut early, &mut late] {
            if is_chunked {
                assert_eq!(reader.chunk().await, b"lo");
            } else {
                assert_eq!(reader.bytes(1).await, b"l");
            }
            reader.assert_silent();
        }
        // Whoever comes now finds it whole, and not committed.
        let mut last = reader(&house, id, "?live", "").await;
        let third = last.head().await;
        assert_eq!(first_bytes(&mut last, &third, 4).await, b"hell");
        gate.open();
        for reader in [&mut early, &mut late] {
            let end = if is_chunked { reader.chunk().await } else { reader.bytes(1).await };
            assert_eq!(end, if is_chunked { &b""[..] } else { b"o" });
        }
        house.over(id).await;
        let stored = read(&house, id, "", "").await;
        assert_eq!((stored.text(), stored.field("relais-result-version")), ("hello", "1.1"));
        for name in ["etag", "content-type", "location", "content-security-policy"] {
            assert_eq!(stored.all(name), head.all(name), "{name}");
        }
        assert!(house.upstream.is_silent().await, "one call for all readers");
    }
}

#[tokio::test]
async fn before_the_head_stands_a_reader_waits_as_it_says() {
    let house = House::with(Mode::Async).await;
    let (id, mut call) = begun(&house, POST).await;
    let early = read(&house, id, "?live", "").await;
    assert_eq!((early.status, early.json()["status"].as_str()), (202, Some("running")));
    assert!(!early.field("retry-after").is_empty());
    let none = read(&house, id, "?live", "prefer: wait=0\r\n").await;
    assert_eq!((none.status, none.field("preference-applied")), (202, "wait=0"));
    let mut waiting = reader(&house, id, "?live", PATIENT).await;
    waiting.assert_silent();
    call.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n").await;
    let head = waiting.head().await;
    assert_eq!((head.status, head.field("preference-applied")), (200, "wait=50"));
    // A plain read is as it was: it waits for the end.
    assert_eq!(read(&house, id, "", "").await.status, 202);
    call.send("hello").await;
    assert_eq!(waiting.bytes(5).await, b"hello");
}

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

async fn read_on(house: &House, id: TaskId, query: &str) -> Reply {
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

#[tokio::test]
async fn what_a_reader_may_ask_for_is_refused_by_name_otherwise() {
    let house = House::with(Mode::Async).await;
    let (id, mut call) = begun(&house, POST).await;
    call.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel").await;
    for (query, name) in [
        ("?live&after=1", "after"),
        ("?after=1&attempt=1.1", "after"),
        ("?attempt=1.1", "attempt"),
        ("?live=yes", "live"),
        ("?live&live", "live"),
        ("?live&after=-1&attempt=1.1", "after"),
        ("?live&after=x&attempt=1.1", "after"),
        ("?live&after=9007199254740992&attempt=1.1", "after"),
        ("?live&after=1&attempt=1", "attempt"),
        ("?live&after=1&attempt=1.1.1", "attempt"),
        ("?live&after=1&attempt=01.1", "attempt"),
        ("?live&offset=1", "offset"),
    ] {
        let refused = read(&house, id, query, "").await;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (400, "invalid-parameter"),
            "{query}"
        );
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with(&format!("`{name}`")), "{query}: {detail}");
    }
    for attempt in ["1.2", "2.1", "0.0"] {
        let other = read(&house, id, &format!("?live&after=1&attempt={attempt}"), "").await;
        assert_eq!((other.status, other.code().as_str()), (412, "answer-replaced"), "{attempt}");
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

#[tokio::test]
async fn an_answer_that_will_be_tried_again_is_not_shown() {
    let house = House::with(Mode::Async).await;
    let (id, mut call) = begun(&house, GET).await;
    let mut waiting = reader(&house, id, "?live", PATIENT).await;
    let mut follower = house.engine.follow(id);
    // Nor its beginning, to whoever comes then.
    let busy = "HTTP/1.1 503 Busy\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbus";
    call.send(busy).await;
    let mut brief = reader(&house, id, "?live", "prefer: wait=1\r\n").await;
    assert_eq!(brief.head().await.status, 202);
    call.send("y").await;
    timeout(SOON, follower.after(2)).await.unwrap();
    waiting.assert_silent();
    house.clock.advance(Duration::from_secs(10));
    house.upstream.next().await.answer("200 OK", "", "done").await;
    let reply = waiting.reply().await;
    assert_eq!((reply.text(), reply.field("relais-result-version")), ("done", "1.2"));
}

#[tokio::test]
async fn who_waits_for_a_task_that_ends_without_an_answer_is_told_why() {
    let house = House::with(Mode::Async).await;
    let (id, mut call) = begun(&house, POST).await;
    call.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhel").await;
    let mut cut = reader(&house, id, "?live", "").await;
    cut.head().await;
    assert_eq!(cut.bytes(3).await, b"hel");
    call.die();
    assert!(!cut.rest().await.1);
    assert_eq!(house.over(id).await.life.status(), Status::Failed);
    for query in ["?live", "?live=only", "?live&after=3&attempt=1.1"] {
        let told = read(&house, id, query, "").await;
        assert_eq!((told.status, told.code().as_str()), (502, "outcome-unknown"), "{query}");
    }
}

#[tokio::test]
async fn a_task_that_is_canceled_aborts_its_readers() {
    let house = House::with(Mode::Async).await;
    let (id, mut call) = begun(&house, POST).await;
    call.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhel").await;
    let mut cut = reader(&house, id, "?live", "").await;
    cut.head().await;
    assert_eq!(cut.bytes(3).await, b"hel");
    house.engine.cancel(&"default".parse().unwrap(), id).await.unwrap();
    assert_eq!(cut.rest().await, (Vec::new(), false));
}

#[tokio::test]
async fn a_live_read_of_a_committed_answer_is_the_stored_one_unless_only_a_live_one_is_wanted() {
    let house = House::with(Mode::Async).await;
    let (id, mut call) = begun(&house, POST).await;
    call.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel").await;
    let mut only = reader(&house, id, "?live=only", "").await;
    assert_eq!(only.head().await.status, 200, "while it grows it is as without");
    call.send("lo").await;
    assert_eq!(only.bytes(5).await, b"hello");
    house.over(id).await;
    let only = read(&house, id, "?live=only", "").await;
    assert_eq!((only.status, only.field("content-length")), (204, ""));
    // A cache would keep it otherwise (RFC 9110, 15.3.5), and give it to a reader of the next run.
    assert_eq!(only.field("cache-control"), "private, no-store");
    assert_eq!((only.task(), only.field("relais-result-version")), (id, "1.1"));
    for (resume, status) in [
        ("after=5&attempt=1.1", 204),
        ("after=6&attempt=1.1", 416),
        ("after=5&attempt=2.1", 412),
        ("attempt=1.2", 412),
    ] {
        let reply = read(&house, id, &format!("?live=only&{resume}"), "").await;
        assert_eq!(reply.status, status, "{resume}");
    }
    let stored = read(&house, id, "?live", "").await;
    assert_eq!((stored.status, stored.text()), (200, "hello"));
    let part = read(&house, id, "?live", "range: bytes=1-2\r\n").await;
    assert_eq!((part.status, part.text()), (206, "el"));
    let open = read(&house, id, "?live", "range: bytes=1-1099511627776\r\n").await;
    assert_eq!((open.status, open.field("content-range")), (206, "bytes 1-4/5"));
}

#[tokio::test]
async fn of_what_grows_only_a_range_without_an_end_is_a_part() {
    let house = House::with(Mode::Async).await;
    let (id, mut call) = begun(&house, POST).await;
    let fields = "content-length: 5\r\ncontent-md5: x\r\n";
    call.send(format!("HTTP/1.1 200 OK\r\n{fields}\r\nhel")).await;
    let tag = format!("\"{id}-1-1\"");
    for (fields, from) in [
        ("range: bytes=1-\r\n".to_owned(), None),
        ("range: bytes=1-3\r\n".to_owned(), None),
        ("range: bytes=-2\r\n".to_owned(), None),
        ("range: bytes=0-1,2-1099511627776\r\n".to_owned(), None),
        ("range: bytes=1-1099511627775\r\n".to_owned(), None),
        ("range: bytes=0-1099511627776\r\n".to_owned(), Some(0)),
        ("range: bytes=2-1099511627776\r\n".to_owned(), Some(2)),
        (format!("range: bytes=2-1099511627776\r\nif-range: {tag}\r\n"), Some(2)),
        (format!("range: bytes=2-1099511627776\r\nif-range: W/{tag}\r\n"), None),
        ("range: bytes=2-1099511627776\r\nif-range: \"x\"\r\n".to_owned(), None),
    ] {
        let mut client = reader(&house, id, "?live", &fields).await;
        let head = client.head().await;
        assert_eq!(head.field("etag"), tag);
        match from {
            Some(from) => {
                assert_eq!(head.status, 206, "{fields}");
                let expected = format!("bytes {from}-1099511627776/*");
                assert_eq!(head.field("content-range"), expected);
                assert_eq!((head.field("content-length"), head.field("content-md5")), ("", ""));
                assert_eq!(first_bytes(&mut client, &head, 1).await, &b"hel"[from..=from]);
            }
            None => {
                assert_eq!((head.status, head.field("content-range")), (200, ""), "{fields}");
                assert_eq!((head.field("content-length"), head.field("content-md5")), ("5", "x"));
                assert_eq!(client.bytes(3).await, b"hel");
            }
        }
    }
    let other = read(&house, id, "?live", "if-match: \"x\"\r\n").await;
    assert_eq!((other.status, other.code().as_str()), (412, "precondition-failed"));
    // It waits for bytes that are not there yet.
    let mut waiting = reader(&house, id, "?live", "range: bytes=4-1099511627776\r\n").await;
    waiting.assert_silent();
    call.send("lo").await;
    let reply = waiting.reply().await;
    assert_eq!((reply.status, reply.text()), (206, "o"));
}

#[tokio::test]
async fn only_an_answer_that_is_a_200_has_parts() {
    let house = House::with(Mode::Async).await;
    let (id, mut call) = begun(&house, POST).await;
    call.send("HTTP/1.1 201 Made\r\ncontent-length: 5\r\n\r\nhel").await;
    let fields = "range: bytes=1-1099511627776\r\n";
    let head = reader(&house, id, "?live", fields).await.head().await;
    assert_eq!((head.status, head.field("etag"), head.field("accept-ranges")), (201, "", ""));
    // A client of ours reads on all the same: what it names is no range.
    let on = "?live&after=2&attempt=1.1";
    let mut client = reader(&house, id, on, fields).await;
    let head = client.head().await;
    assert_eq!((head.status, head.field("relais-offset")), (201, "2"));
    call.send("lo").await;
    assert_eq!(client.bytes(3).await, b"llo");
    house.over(id).await;
    let stored = read_on(&house, id, on).await;
    assert_eq!((stored.status, stored.text()), (201, "llo"));
}

#[tokio::test]
async fn head_tells_the_head_and_waits_no_longer_than_get() {
    let house = House::with(Mode::Async).await;
    let (id, mut call) = begun(&house, POST).await;
    let mut client = house.connect().await;
    client.send(asking("HEAD", id, "?live", "")).await;
    assert_eq!(client.head().await.status, 202);
    client.send(asking("HEAD", id, "?live", PATIENT)).await;
    call.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel").await;
    let head = client.head().await;
    assert_eq!((head.status, head.field("content-length")), (200, "5"));
    assert_eq!(head.field("relais-result-version"), "1.1");
    client.send(asking("HEAD", id, "?live&after=2&attempt=1.1", "")).await;
    let head = client.head().await;
    assert_eq!((head.field("relais-offset"), head.field("content-length")), ("2", "3"));
    client.send(asking("HEAD", id, "?live", "range: bytes=1-1099511627776\r\n")).await;
    assert_eq!(client.head().await.status, 200, "a range of no body means nothing");
    client.assert_silent();
}

#[tokio::test]
async fn an_answer_without_a_body_is_told_once_it_is_committed() {
    let gate = Gate::of_outcomes();
    let mut plan = Plan::with(Mode::Async).await;
    plan.store = gate.clone();
    let house = plan.build().await;
    let (id, mut call) = begun(&house, POST).await;
    let mut waiting = reader(&house, id, "?live", PATIENT).await;
    call.send("HTTP/1.1 204 Nothing\r\nx-a: 1\r\n\r\n").await;
    gate.reached().await;
    waiting.assert_silent();
    gate.open();
    let head = waiting.head().await;
    assert_eq!((head.status, head.field("x-a")), (204, "1"));
}

/// To HTTP/1.0 the end of a body is the end of the connection: one that was broken off must not look so.
#[tokio::test]
async fn to_http_1_0_an_end_is_a_close_and_an_abort_is_a_reset() {
    for breaks in [false, true] {
        let house = House::with(Mode::Auto).await;
        // A call by HTTP/1.0 is none of this machine's: it needs its ticket.
        let asking = POST.replace("host: a", "host: a\r\nprefer: respond-async");
        let ticket = house.call(&asking).await;
        let mut call = house.upstream.next().await;
        call.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
        let location = ticket.field("location");
        let path = &location[location.find("/v1/").unwrap()..];
        let query = path.replace('?', "?live&");
        let mut client = house.send(&format!("GET {query} HTTP/1.0\r\n{PATIENT}\r\n")).await;
        let head = client.head().await;
        assert_eq!((head.status, head.field("transfer-encoding")), (200, ""));
        assert_eq!(client.bytes(5).await, b"hello");
        if breaks {
            call.die();
        } else {
            call.send("0\r\n\r\n").await;
        }
        assert_eq!(client.rest().await, (Vec::new(), !breaks));
    }
}

#[tokio::test]
async fn to_http_2_an_end_is_a_frame_and_an_abort_is_a_reset_of_the_stream() {
    for breaks in [false, true] {
        let house = House::with(Mode::Async).await;
        let (id, mut call) = begun(&house, POST).await;
        call.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
        let mut sender = h2(&house).await;
        let uri = format!("http://localhost/v1/tasks/{id}/result?live");
        let request = http::Request::get(uri).header("prefer", "wait=50");
        let request = request.body(Full::<bytes::Bytes>::default()).unwrap();
        let mut answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.headers()["relais-result-version"], "1.1");
        let first = answer.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "hello");
        if breaks {
            call.die();
        } else {
            call.send("0\r\n\r\n").await;
        }
        let rest = timeout(SOON, answer.into_body().collect()).await.expect("it ends");
        assert_eq!(rest.is_err(), breaks);
    }
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

/// What is held of an answer is gone with its last reader.
#[tokio::test]
async fn nothing_is_left_of_an_answer_that_nobody_reads() {
    let store = Arc::new(MemoryStore::new());
    let mut plan = Plan::with(Mode::Auto).await;
    plan.store = store.clone();
    let house = plan.build().await;
    let mut caller = house.send(POST).await;
    house.upstream.next().await.answer("200 OK", "", "done").await;
    let id = caller.reply().await.task();
    house.over(id).await;
    let stored = read(&house, id, "?live", "").await;
    assert_eq!(stored.text(), "done");
    timeout(LONG, async {
        while store.growing_answers() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it is let go of");
}

/// A house whose tickets last for ten seconds.
async fn house_of_short_tickets() -> House {
    let mut plan = Plan::with(Mode::Async).await;
    (plan.policy.deadline, plan.policy.retention) =
        (Duration::from_secs(5), Duration::from_secs(5));
    plan.server.public_url = Some("https://shop.example".parse().unwrap());
    plan.route().abandon = Grace::of(limits::GRACE_MIN);
    plan.build().await
}

/// A reader who has a ticket alone.
async fn reader_by_ticket(house: &House, ticket: &Reply) -> Client {
    let location = ticket.field("location");
    let path = location[location.find("/v1/").unwrap()..].replace('?', "?live&");
    house.send(&format!("GET {path} HTTP/1.1\r\nhost: shop.example\r\n\r\n")).await
}

/// The right to read ends with the ticket, not with the next byte after that.
#[tokio::test(start_paused = true)]
async fn a_live_read_ends_with_its_ticket() {
    let house = house_of_short_tickets().await;
    let ticket = house.call(POST).await;
    let mut call = house.upstream.next().await;
    call.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello").await;
    let began = tokio::time::Instant::now();
    let mut client = reader_by_ticket(&house, &ticket).await;
    let head = client.head().await;
    assert_eq!(head.status, 200, "{head:?}");
    assert_eq!(client.bytes(5).await, b"hello");
    assert_eq!(client.rest().await, (Vec::new(), false), "no end is faked");
    assert!(began.elapsed() >= Duration::from_secs(9), "{:?}", began.elapsed());
    house.engine.attendance_told().await;
    let task = house.engine.task(head.task()).await.unwrap().unwrap();
    assert_eq!(task.life.status(), Status::Running);
    assert_eq!(task.life.attendance, None, "it is Relais that ended it: nobody has left");
}

/// It was asked only where the reader had all there was: one that took its time was fed for as long.
#[tokio::test(start_paused = true)]
async fn the_right_to_read_ends_also_for_whoever_is_slower_than_the_answer() {
    let len = 8 << 20;
    let house = house_of_short_tickets().await;
    let ticket = house.call(POST).await;
    let mut call = house.upstream.next().await;
    let fields = format!("connection: close\r\ncontent-length: {len}\r\n");
    call.send(format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).await;
    let mut client = reader_by_ticket(&house, &ticket).await;
    let head = client.head().await;
    call.send(vec![b'x'; len]).await;
    house.over(head.task()).await;
    tokio::time::advance(Duration::from_secs(11)).await;
    let (bytes, is_whole) = client.rest().await;
    assert!(!is_whole && bytes.len() < len, "{} bytes", bytes.len());
}

/// There was a read of the store for each piece and each reader who waits for a byte that is not there yet.
#[tokio::test]
async fn whoever_waits_for_a_later_byte_costs_nothing_while_the_answer_grows() {
    let store = OddStore::new();
    let mut plan = Plan::with(Mode::Async).await;
    plan.store = store.clone();
    let house = plan.build().await;
    let (id, mut call) = begun(&house, POST).await;
    let (begin, _) = framed("connection: close\r\n", true, b"hello", b"");
    call.send(begin).await;
    let mut near = reader(&house, id, "?live", PATIENT).await;
    let head = near.head().await;
    assert_eq!(first_bytes(&mut near, &head, 5).await, b"hello");
    let mut beyond = reader(&house, id, "?live&after=9007199254740991&attempt=1.1", "").await;
    beyond.assert_silent();
    let before = store.reads();
    for _ in 0..1_000 {
        call.send(b"1\r\nx\r\n").await;
        near.chunk().await;
    }
    beyond.assert_silent();
    assert!(store.reads() - before < 100, "{}", store.reads() - before);
    call.send(b"0\r\n\r\n").await;
    assert_eq!(beyond.reply().await.status, 416);
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
