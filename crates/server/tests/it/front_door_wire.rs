//! Connections: what is refused before it is HTTP, what a connection may wait for, how it ends.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use relais_server::config::Mode;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::house::{Gate, House, Plan, reply_of};

const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";

#[tokio::test]
async fn smuggled_requests_are_refused_and_the_connection_is_closed() {
    let house = House::with(Mode::Auto).await;
    let hidden = "GET /hidden HTTP/1.1\r\nhost: a\r\n\r\n";
    for fields in [
        "content-length: 6\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 6",
        "content-length: 6\r\ncontent-length: 5",
        "content-length: 6, 6",
        "content-length: +6",
        "transfer-encoding: xchunked",
        "transfer-encoding: chunked, identity",
        "transfer-encoding:\u{b}chunked",
        "transfer-encoding : chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "x: y\r\n transfer-encoding: chunked",
        "a\rb: c",
        "x:\0y",
    ] {
        let request = format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n0\r\n\r\n{hidden}");
        let mut client = house.send(&request).await;
        let (bytes, is_clean) = client.rest().await;
        let reply = reply_of(&bytes);
        assert_eq!(reply.code(), "malformed-request", "{fields:?}");
        assert_eq!((reply.status, reply.field("connection")), (400, "close"), "{fields:?}");
        let len: usize = reply.field("content-length").parse().unwrap();
        assert_eq!((reply.body.len(), is_clean), (len, true), "one answer only: {fields:?}");
    }
    assert!(house.upstream.is_silent().await);
}

#[tokio::test]
async fn a_bad_head_behind_a_good_one_does_not_spoil_its_answer() {
    let house = House::with(Mode::Auto).await;
    let bad =
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut client = house.send(&format!("{POST}{bad}")).await;
    house.upstream.next().await.answer("200 OK", "", "good").await;
    assert_eq!(client.reply().await.text(), "good");
    let refused = client.reply().await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "malformed-request"));
    assert_eq!(client.rest().await, (Vec::new(), true));
}

#[tokio::test]
async fn requests_in_a_row_are_answered_in_their_order() {
    let house = House::with(Mode::Auto).await;
    let mut client = house.send(&POST.repeat(3)).await;
    for text in ["one", "two", "three"] {
        house.upstream.next().await.answer("200 OK", "", text).await;
        assert_eq!(client.reply().await.text(), text);
    }
}

#[tokio::test]
async fn heads_over_the_limit_are_told() {
    let house = House::with(Mode::Auto).await;
    let long = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(70 << 10));
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "a: b\r\n".repeat(101));
    let endless = "GET / HTTP/1.1\r\nx: ".to_owned() + &"y".repeat(70 << 10);
    for request in [long, many, endless] {
        let mut client = house.send(&request).await;
        let (bytes, _) = client.rest().await;
        let reply = reply_of(&bytes);
        assert_eq!((reply.status, reply.code().as_str()), (431, "head-too-large"));
    }
    let fits = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(60 << 10));
    let _client = house.send(&fits).await;
    assert_eq!(house.upstream.next().await.field("x").unwrap().len(), 60 << 10);
}

#[tokio::test]
async fn what_is_not_http_is_told_so() {
    let house = House::with(Mode::Auto).await;
    for request in [
        "GET / HTTP/1.2\r\n\r\n",
        "GET  / HTTP/1.1\r\n\r\n",
        "\u{16}\u{3}\u{1}\0\r\n\r\n",
        "x\r\n\r\n",
        "GET /<a> HTTP/1.1\r\nhost: a\r\n\r\n",
    ] {
        let mut client = house.send(request).await;
        let (bytes, is_clean) = client.rest().await;
        assert_eq!(reply_of(&bytes).code(), "malformed-request", "{request:?}");
        assert!(is_clean, "{request:?}");
    }
}

#[tokio::test]
async fn a_slow_head_is_not_waited_for() {
    let mut plan = Plan::with(Mode::Auto).await;
    plan.server.header_timeout = std::time::Duration::from_millis(30);
    let house = plan.build().await;
    let mut client = house.send("GET / HTTP/1.1\r\nhost: a\r\n").await;
    let (bytes, _) = client.rest().await;
    assert_eq!(reply_of(&bytes).code(), "request-timeout");
    // Who says nothing at all is told nothing.
    let mut silent = house.connect().await;
    assert_eq!(silent.rest().await, (Vec::new(), true));
}

#[tokio::test]
async fn a_connection_that_lay_idle_is_taken_up_again() {
    let mut plan = Plan::with(Mode::Auto).await;
    plan.server.header_timeout = std::time::Duration::from_millis(20);
    let house = plan.build().await;
    let mut client = house.connect().await;
    for text in ["one", "two", "three"] {
        client.send(POST).await;
        house.upstream.next().await.answer("200 OK", "", text).await;
        assert_eq!(client.reply().await.text(), text);
        // So long that the other one is closed: a silent connection has as much time.
        let mut silent = house.connect().await;
        assert_eq!(silent.rest().await, (Vec::new(), true));
    }
    client.send("GET / HTTP/1.1\r\nhost: a\r\n").await;
    assert_eq!(reply_of(&client.rest().await.0).code(), "request-timeout");
}

#[tokio::test]
async fn a_broken_upload_is_no_task() {
    let house = House::with(Mode::Auto).await;
    let chunked = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel";
    let mut client = house.send(chunked).await;
    client.stream.shutdown().await.unwrap();
    client.rest().await;
    let mut client = house.send(&chunked.replace("5\r\nhel", "5\r\nhelloX")).await;
    client.rest().await;
    assert!(house.upstream.is_silent().await);
    let filter = relais_store::Filter { limit: 1, ..relais_store::Filter::default() };
    assert!(house.engine.list(filter).await.unwrap().tasks.is_empty());
}

#[tokio::test]
async fn a_refused_upload_hears_why_though_it_is_still_sending() {
    let mut plan = Plan::with(Mode::Auto).await;
    plan.server.body_bytes_max = 10;
    let house = plan.build().await;
    let mut client = house.connect().await;
    client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", 300_000)).await;
    client.send(vec![b'x'; 300_000]).await;
    assert_eq!(client.reply().await.code(), "body-too-large");
}

/// A connection that speaks HTTP/2 from its first byte.
pub(crate) async fn h2(house: &House) -> hyper::client::conn::http2::SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(house.address).await.unwrap();
    let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = shaken.await.unwrap();
    tokio::spawn(connection);
    sender
}

fn h2_request(method: &str, target: &str) -> http::Request<Full<Bytes>> {
    let request = http::Request::builder().method(method).uri(format!("http://h2.example{target}"));
    request.header("cookie", "a=1").header("cookie", "b=2").body("hi".into()).unwrap()
}

#[tokio::test]
async fn http_2_streams_and_its_end_waits_for_the_commit() {
    let gate = Gate::of_outcomes();
    let mut plan = Plan::with(Mode::Auto).await;
    plan.store = gate.clone();
    let house = plan.build().await;
    let mut sender = h2(&house).await;
    let answer = tokio::spawn(sender.send_request(h2_request("POST", "/x")));
    let mut call = house.upstream.next().await;
    assert_eq!((call.line(), &call.body[..]), ("POST /x HTTP/1.1", &b"hi"[..]));
    assert_eq!(call.fields("cookie"), ["a=1; b=2"]);
    assert!(call.field("forwarded").unwrap().contains("host=\"h2.example\""));
    call.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    let mut answer = answer.await.unwrap().unwrap();
    let first = answer.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "hello");
    call.send("0\r\n\r\n").await;
    gate.reached().await;
    let mut end = answer.into_body();
    tokio::select! {
        biased;
        early = end.frame() => panic!("ended before the commit: {early:?}"),
        () = tokio::task::yield_now() => gate.open(),
    }
    let rest = end.collect().await.expect("a clean end").to_bytes();
    assert_eq!(rest, "");
}

#[tokio::test]
async fn http_2_answers_that_break_off_are_reset() {
    let house = House::with(Mode::Auto).await;
    let mut sender = h2(&house).await;
    let answer = tokio::spawn(sender.send_request(h2_request("POST", "/")));
    let mut call = house.upstream.next().await;
    call.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello").await;
    let answer = answer.await.unwrap().unwrap();
    call.die();
    assert!(answer.into_body().collect().await.is_err());
    // The connection lives on.
    let answer = tokio::spawn(sender.send_request(h2_request("GET", "/")));
    house.upstream.next().await.answer("200 OK", "", "fine").await;
    let body = answer.await.unwrap().unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "fine");
}

#[tokio::test]
async fn a_preface_in_two_pieces_is_http_2_all_the_same() {
    let house = House::with(Mode::Auto).await;
    let mut client = house.send("PRI * HT").await;
    // What is missing of it, and an empty SETTINGS frame.
    client.send(b"TP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    let frame = client.bytes(9).await;
    assert_eq!(frame[3], 4, "the server's SETTINGS: {frame:?}");
    let mut other = house.send("PR").await;
    other.send("OPFIND / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(house.upstream.next().await.line(), "PROPFIND / HTTP/1.1");
}

#[tokio::test]
async fn beyond_the_cap_connections_wait_for_their_turn() {
    let mut plan = Plan::with(Mode::Auto).await;
    plan.server.connections_max = 1;
    let house = plan.build().await;
    let mut first = house.connect().await;
    first.send(POST).await;
    let mut call = house.upstream.next().await;
    let mut second = house.send(POST).await;
    assert!(house.upstream.is_silent().await);
    call.answer("200 OK", "", "one").await;
    assert_eq!(first.reply().await.text(), "one");
    drop(first);
    house.upstream.next().await.answer("200 OK", "", "two").await;
    assert_eq!(second.reply().await.text(), "two");
}
