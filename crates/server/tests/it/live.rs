//! Live answers: read while they come, from the first byte or from where a reader was cut off.

mod cut;
mod ends;

use relais_core::TaskId;
use relais_server::config::Mode;

use self::cut::read_on;
use crate::house::{Client, Gate, House, Plan, Reply, UpstreamCall};
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
