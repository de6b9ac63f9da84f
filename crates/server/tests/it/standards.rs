//! Standards that are younger than most of HTTP: `Incremental`, and the method QUERY.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use relais_core::{Runner, Status};
use relais_server::config::{CorsBy, Mode, Route, Run};
use tokio::net::TcpStream;

use crate::house::{House, Plan, Reply};

/// A key that nobody guesses.
const KEY: &str = "idempotency-key: 8e03978e-40d5-43dd-bc93-6894a57f9324\r\n";

/// A question that is asked by its body.
fn query(fields: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "QUERY /stock?in=oslo HTTP/1.1\r\nhost: a\r\n{fields}content-length: {length}\r\n\r\n{body}"
    )
}

#[track_caller]
fn assert_comes_bit_by_bit(head: &Reply) {
    assert_eq!(head.status, 200, "{head:?}");
    assert_eq!(head.all("incremental"), ["?1"], "{head:?}");
    assert_eq!(head.all("x-accel-buffering"), ["no"], "{head:?}");
    assert_eq!(head.all("cache-control"), ["private, no-store, no-transform"], "{head:?}");
}

#[tokio::test]
async fn every_stream_of_ours_asks_to_be_passed_on_as_it_comes() {
    let house = House::with(Mode::Async).await;
    let ticket = house.call(&query("", "a")).await;
    let of_ticket = |name: &str| ticket.json()[name].as_str().unwrap().to_owned();
    let (id, pass) = (of_ticket("id"), of_ticket("ticket"));
    let events = "accept: text/event-stream\r\n";
    for path in [
        format!("/v1/tasks/{id}?ticket={pass}"),
        format!("/v1/tasks/{id}/events?ticket={pass}"),
        format!("/v1/events?ticket={pass}"),
    ] {
        // The first is driven by a shard, the others by the HTTP library.
        for line in [
            format!("GET {path} HTTP/1.1"),
            format!("HEAD {path} HTTP/1.1"),
            format!("GET {path} HTTP/1.0"),
        ] {
            let request = format!("{line}\r\nhost: {}\r\n{events}\r\n", house.address);
            assert_comes_bit_by_bit(&house.send(&request).await.head().await);
        }
        let stream = TcpStream::connect(house.address).await.unwrap();
        let (executor, io) = (TokioExecutor::new(), TokioIo::new(stream));
        let shaken = hyper::client::conn::http2::handshake(executor, io).await;
        let (mut sender, connection) = shaken.unwrap();
        tokio::spawn(connection);
        let request = http::Request::get(format!("http://{}{path}", house.address));
        let request = request.header("accept", "text/event-stream").body(Empty::<Bytes>::new());
        let answer = sender.send_request(request.unwrap()).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, http::Version::HTTP_2));
        assert_eq!(answer.headers()["incremental"], "?1", "{path}");
    }
    // A log that is asked for page by page is none.
    let page = format!("/v1/tasks/{id}/events HTTP/1.1\r\nhost: {}\r\n", house.address);
    let page = house.call(&format!("GET {page}accept: application/json\r\n\r\n")).await;
    assert_eq!((page.status, page.field("incremental")), (200, ""));
}

#[tokio::test]
async fn what_others_say_of_their_messages_is_passed_on_both_ways() {
    const THEIRS: &str = "incremental: ?1\r\n";
    for mode in [Mode::Sync, Mode::Auto, Mode::Async] {
        let house = House::with(mode).await;
        let mut client = house.send(&query(THEIRS, "a")).await;
        let mut call = house.upstream.next().await;
        assert_eq!(call.fields("incremental"), ["?1"], "{mode:?}");
        call.answer("200 OK", THEIRS, "seven").await;
        let mut reply = client.reply().await;
        if mode == Mode::Async {
            house.over(reply.task()).await;
            let path = format!("/v1/tasks/{}/result", reply.task());
            let host = format!("host: {}\r\n", house.address);
            reply = house.call(&format!("GET {path} HTTP/1.1\r\n{host}\r\n")).await;
        }
        assert_eq!((reply.status, reply.text()), (200, "seven"), "{mode:?}");
        assert_eq!(reply.all("incremental"), ["?1"], "{mode:?}: {reply:?}");
    }
}

#[tokio::test]
async fn what_is_in_front_of_everything_passes_a_query_through() {
    let mut plan = Plan::with(Mode::Auto).await;
    plan.server.routes = Route::everything_to(&plan.upstream.url().parse().unwrap()).to_vec();
    plan.server.routes.iter_mut().for_each(|route| route.queue = "work".parse().unwrap());
    let house = plan.build().await;
    let mut client = house.send(&query("", "shoes")).await;
    let mut call = house.upstream.next().await;
    assert_eq!((call.line(), &call.body[..]), ("QUERY /stock?in=oslo HTTP/1.1", &b"shoes"[..]));
    assert_eq!(call.field("relais-task"), None, "there is no task");
    call.answer("200 OK", "", "7").await;
    assert_eq!(client.reply().await.text(), "7");
    let ticket = house.call(&query("prefer: respond-async\r\n", "boots")).await;
    assert_eq!(ticket.status, 202, "{ticket:?}");
    assert_eq!(house.upstream.next().await.body, b"boots");
}

#[tokio::test]
async fn a_query_whose_answer_was_lost_is_asked_again() {
    for (method, status, code) in [("QUERY", 202, None), ("POST", 502, Some("outcome-unknown"))] {
        let mut plan = Plan::with(Mode::Auto).await;
        // Later than its client has patience for.
        plan.policy.retry.initial = Duration::from_secs(3_600);
        plan.policy.retry.max = Duration::from_secs(3_600);
        let house = plan.build().await;
        let mut client = house.send(&query("", "a").replace("QUERY", method)).await;
        house.upstream.next().await.die();
        let reply = client.reply().await;
        assert_eq!(reply.status, status, "{method}: {reply:?}");
        assert_eq!(reply.json()["code"].as_str(), code, "{method}: {reply:?}");
        let task = house.a_task().await;
        let is_queued = task.life.status() == Status::Queued;
        let Runner::Upstream { repeatable, .. } = &task.spec.runner else { panic!("{task:?}") };
        assert_eq!((*repeatable, is_queued), (method == "QUERY", method == "QUERY"));
        if is_queued {
            house.clock.advance(Duration::from_secs(3_600));
            let call = house.upstream.next().await;
            assert_eq!((call.fields("relais-attempt"), &call.body[..]), (vec!["2"], &b"a"[..]));
        }
    }
}

/// The body of a query is not kept, so that it cannot be sent twice; nor is it called unknown.
#[tokio::test]
async fn a_query_that_the_proxy_lost_is_called_retryable_and_repeated_without_a_body() {
    let house = House::with(Mode::Sync).await;
    for body in ["", "a"] {
        let mut first = house.send(&query("", body)).await;
        let mut call = house.upstream.next().await;
        call.send("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none").await;
        assert_eq!(first.reply().await.text(), "one");
        let mut second = house.send(&query("", body)).await;
        // It comes over the same connection, which then breaks.
        call.read_head().await;
        call.die();
        if body.is_empty() {
            house.upstream.next().await.answer("200 OK", "", "two").await;
            assert_eq!(second.reply().await.text(), "two");
            continue;
        }
        let problem = second.reply().await;
        assert_eq!((problem.status, problem.code().as_str()), (502, "upstream-malformed"));
        assert_eq!(problem.json()["retryable"], true);
    }
}

#[tokio::test]
async fn the_body_of_a_query_is_part_of_what_its_key_stands_for() {
    let house = House::with(Mode::Async).await;
    let first = house.call(&query(KEY, "shoes")).await;
    let again = house.call(&query(KEY, "shoes")).await;
    assert_eq!((again.status, again.field("idempotent-replayed")), (202, "true"), "{again:?}");
    assert_eq!(again.task(), first.task());
    let other = house.call(&query(KEY, "boots")).await;
    assert_eq!((other.status, other.code().as_str()), (422, "idempotency-key-reused"));
    // As another method it is another request.
    let posted = house.call(&query(KEY, "shoes").replace("QUERY", "POST")).await;
    assert_eq!(posted.status, 202);
    assert_ne!(posted.task(), first.task());
}

#[tokio::test]
async fn a_page_of_another_origin_may_ask_by_query_where_the_route_takes_it() {
    const SHOP: &str = "https://shop.example.com";
    let preflight = format!(
        "OPTIONS /stock HTTP/1.1\r\nhost: a\r\norigin: {SHOP}\r\n\
         access-control-request-method: QUERY\r\n\
         access-control-request-headers: content-type\r\n\r\n"
    );
    for cors in [CorsBy::Relais, CorsBy::Upstream] {
        let mut plan = Plan::with(Mode::Auto).await;
        plan.server.cors_origins = vec![SHOP.to_owned()];
        plan.route().cors = cors;
        plan.route().methods = vec!["OPTIONS".to_owned(), "QUERY".to_owned()];
        let house = plan.build().await;
        let mut client = house.send(&preflight).await;
        if cors == CorsBy::Upstream {
            let theirs = "access-control-allow-methods: QUERY\r\n";
            house.upstream.next().await.answer("204 X", theirs, "").await;
        }
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.field("relais-task")), (204, ""), "{cors:?}");
        assert_eq!(reply.field("access-control-allow-methods"), "QUERY", "{cors:?}");
    }
}

#[tokio::test]
async fn a_route_may_take_queries_alone() {
    let mut plan = Plan::with(Mode::Async).await;
    plan.route().methods = vec!["QUERY".to_owned()];
    plan.route().run = Run::Workers;
    let house = plan.build().await;
    let refused = house.call("GET /stock HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!((refused.status, refused.field("allow")), (405, "QUERY"));
    assert_eq!(house.call(&query("", "a")).await.status, 202);
    assert_eq!(house.a_task().await.spec.request.as_ref().unwrap().method, "QUERY");
    let all = house.call("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(all.field("allow").split(", ").any(|method| method == "QUERY"), "{all:?}");
}
