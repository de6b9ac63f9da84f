//! A result as a resource of its own: which version it is, and parts of it.

use std::sync::Arc;

use relais_server::config::Mode;
use relais_store_sqlite::{Options, SqliteStore};

use crate::house::{House, Plan, Reply, START};

const FILE: &str = "accept-ranges: bytes\r\netag: \"theirs\"\r\ncontent-encoding: gzip\r\n\
                    content-disposition: attachment; filename=\"a.bin\"\r\ncontent-md5: x\r\n\
                    last-modified: Sat, 01 Aug 2026 10:00:00 GMT\r\n";

/// The path of a result that the upstream answered with this.
async fn result(house: &House, method: &str, status: &str, fields: &str, body: &str) -> String {
    let request = format!("{method} /file HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
    let ticket = house.send(&request).await.head().await;
    let mut call = house.upstream.next().await;
    if method == "HEAD" {
        let head = format!("HTTP/1.1 {status}\r\n{fields}content-length: {}\r\n\r\n", body.len());
        call.send(head).await;
    } else {
        call.answer(status, fields, body).await;
    }
    house.over(ticket.task()).await;
    let location = ticket.field("location");
    location[location.find("/v1/").unwrap()..].to_owned()
}

async fn read(house: &House, method: &str, path: &str, fields: &str) -> Reply {
    let request = format!("{method} {path} HTTP/1.1\r\nhost: a\r\n{fields}\r\n");
    let mut client = house.send(&request).await;
    if method == "HEAD" { client.head().await } else { client.reply().await }
}

#[tokio::test]
async fn a_result_offers_ranges_and_versions_and_keeps_its_word() {
    let house = House::with(Mode::Async).await;
    let body: String = ('a'..='z').collect();
    let path = result(&house, "POST", "200 OK", FILE, &body).await;
    let whole = read(&house, "GET", &path, "").await;
    assert_eq!((whole.status, whole.text()), (200, body.as_str()));
    assert_eq!(whole.field("accept-ranges"), "bytes");
    assert_eq!(whole.field("content-disposition"), "attachment; filename=\"a.bin\"");
    assert_eq!(whole.field("relais-upstream-etag"), "\"theirs\"");
    let tag = whole.field("etag").to_owned();
    assert_eq!(tag, format!("\"{}-1-1\"", whole.task()), "of task, run and attempt");

    let part = read(&house, "GET", &path, "range: bytes=3-5\r\n").await;
    assert_eq!((part.status, part.text()), (206, "def"));
    assert_eq!(part.field("content-range"), "bytes 3-5/26");
    assert_eq!(part.field("content-length"), "3");
    assert_eq!(part.field("content-encoding"), "gzip", "they are bytes of the coded body");
    assert_eq!((part.field("etag"), part.field("content-md5")), (tag.as_str(), ""));
    assert_eq!(part.field("content-security-policy"), "sandbox");
    let last = format!("range: bytes=-2\r\nif-range: {tag}\r\n");
    assert_eq!(read(&house, "GET", &path, &last).await.text(), "yz");
    let theirs = "range: bytes=0-0\r\nif-range: \"theirs\"\r\n";
    assert_eq!(read(&house, "GET", &path, theirs).await.status, 200, "of another version");

    let beyond = read(&house, "GET", &path, "range: bytes=26-\r\n").await;
    assert_eq!((beyond.status, beyond.code().as_str()), (416, "range-not-satisfiable"));
    assert_eq!(beyond.field("content-range"), "bytes */26");

    for method in ["GET", "HEAD"] {
        let same = read(&house, method, &path, &format!("if-none-match: W/{tag}\r\n")).await;
        assert_eq!((same.status, same.field("etag")), (304, tag.as_str()), "{method}");
        for gone in ["content-encoding", "content-length", "accept-ranges"] {
            assert_eq!(same.all(gone), [""; 0], "{method} {gone}");
        }
        let other = read(&house, method, &path, "if-none-match: \"theirs\"\r\n").await;
        assert_eq!((other.status, other.field("content-length")), (200, "26"), "{method}");
        let ranged = read(&house, "HEAD", &path, "range: bytes=0-0\r\n").await;
        assert_eq!((ranged.status, ranged.field("content-length")), (200, "26"), "{method}");
    }
    let other = read(&house, "GET", &path, "if-match: \"theirs\"\r\n").await;
    assert_eq!((other.status, other.code().as_str()), (412, "precondition-failed"));
}

#[tokio::test]
async fn what_is_no_200_offers_nothing_and_ignores_what_is_asked() {
    let house = House::with(Mode::Async).await;
    let partial = format!("{FILE}content-range: bytes 0-1/9\r\n");
    for (method, status, fields, told) in [
        ("POST", "201 Made", FILE, 201),
        ("POST", "206 Part", partial.as_str(), 206),
        ("POST", "404 No", FILE, 404),
        ("POST", "202 Later", FILE, 200),
        ("HEAD", "200 OK", FILE, 200),
    ] {
        let path = result(&house, method, status, fields, "hi").await;
        let tag = read(&house, "GET", &path, "").await.task().to_string();
        let asked =
            format!("range: bytes=5-\r\nif-none-match: *, \"{tag}-1-1\"\r\nif-match: \"x\"\r\n");
        let reply = read(&house, "GET", &path, &asked).await;
        assert_eq!(reply.status, told, "{method} {status}: {reply:?}");
        assert_eq!((reply.field("etag"), reply.field("accept-ranges")), ("", ""), "{status}");
        assert_eq!(reply.field("relais-upstream-etag"), "\"theirs\"", "{status}");
    }
}

#[tokio::test]
async fn of_an_empty_result_there_is_no_part() {
    let house = House::with(Mode::Async).await;
    let path = result(&house, "POST", "200 OK", FILE, "").await;
    let none = read(&house, "GET", &path, "range: bytes=0-\r\n").await;
    assert_eq!((none.status, none.field("content-range")), (416, "bytes */0"));
    let all = read(&house, "GET", &path, "range: bytes=-5\r\n").await;
    assert_eq!((all.status, all.field("content-length")), (200, "0"));
}

/// Bodies over 64 KiB are in a file of their own, which is read from where the part begins.
#[tokio::test]
async fn a_part_of_a_large_result_is_read_where_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(folder.path().join("relais.db"), START);
    let mut plan = Plan::with(Mode::Async).await;
    plan.store = Arc::new(SqliteStore::open(&options).unwrap());
    let house = plan.build().await;
    let body: String = (0..50_000).map(|line| format!("{line:05}\n")).collect();
    let path = result(&house, "POST", "200 OK", "", &body).await;
    for (range, expected) in [
        ("bytes=240000-240011", &body[240_000..240_012]),
        ("bytes=-6", "49999\n"),
        ("bytes=60000-", &body[60_000..]),
    ] {
        let part = read(&house, "GET", &path, &format!("range: {range}\r\n")).await;
        assert!(part.status == 206 && part.text() == expected, "{range}: {}", part.status);
    }
}

/// A HEAD and a 304 read the whole file, 64 MiB at most, to compare it with its checksum: here one
/// that is not whole tells whether it was read.
#[tokio::test]
async fn only_what_sends_bytes_reads_the_whole_result() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(folder.path().join("relais.db"), START);
    let mut plan = Plan::with(Mode::Async).await;
    plan.store = Arc::new(SqliteStore::open(&options).unwrap());
    let house = plan.build().await;
    let path = result(&house, "POST", "200 OK", "", &"x".repeat(300_001)).await;
    let tag = read(&house, "HEAD", &path, "").await.field("etag").to_owned();
    let mut folders = vec![folder.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for file in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if file.file_type().unwrap().is_dir() {
                folders.push(file.path());
            } else if file.metadata().unwrap().len() == 300_001 {
                std::fs::write(file.path(), "y".repeat(300_001)).unwrap();
            }
        }
    }
    for (method, fields, status) in [
        ("HEAD", String::new(), 200),
        ("GET", format!("if-none-match: {tag}\r\n"), 304),
        ("GET", "if-match: \"x\"\r\n".to_owned(), 412),
        ("GET", "range: bytes=300001-\r\n".to_owned(), 416),
        ("GET", "range: bytes=0-0\r\n".to_owned(), 500),
        ("GET", String::new(), 500),
    ] {
        assert_eq!(read(&house, method, &path, &fields).await.status, status, "{method} {fields}");
    }
    for (after, status) in [(300_002, 416), (300_001, 200), (0, 500)] {
        let path = path.replace('?', &format!("?live&after={after}&attempt=1.1&"));
        assert_eq!(read(&house, "GET", &path, "").await.status, status, "{after}");
    }
}

#[tokio::test]
async fn a_retry_by_hand_is_another_version() {
    let house = House::with(Mode::Async).await;
    let path = result(&house, "POST", "404 No", "", "no").await;
    let task = read(&house, "GET", &path, "").await.task();
    let tenant = "default".parse().unwrap();
    house.engine.retry(&tenant, task, false).await.unwrap();
    house.upstream.next().await.answer("200 OK", "", "yes").await;
    house.over(task).await;
    let again = read(&house, "GET", &path, "").await;
    assert_eq!((again.text(), again.field("etag")), ("yes", format!("\"{task}-2-2\"").as_str()));
}
