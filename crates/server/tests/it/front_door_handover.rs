//! The hand-over: who waits gets the answer while it grows, and its end only when it is committed.

use std::sync::Arc;

use relais_core::limits::NODE_ALIVE_FOR;
use relais_core::{CancelReason, Grace, State, Status};
use relais_server::config::{Mode, Run};
use relais_store::{MemoryStore, Store};
use serde_json::json;
use tokio::time::timeout;

use crate::house::{Client, Gate, House, Plan, Reply, SOON};

pub(crate) const POST: &str = "POST /work?x=1 HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";

/// A house whose outcomes wait at a gate.
async fn gated() -> (House, Arc<Gate>) {
    let gate = Gate::of_outcomes();
    let mut plan = Plan::with(Mode::Auto).await;
    plan.store = gate.clone();
    (plan.build().await, gate)
}

#[tokio::test]
async fn the_first_byte_comes_while_the_upstream_holds_its_last() {
    let house = House::with(Mode::Auto).await;
    let mut client = house.send(POST).await;
    let mut call = house.upstream.next().await;
    assert_eq!((call.line(), &call.body[..]), ("POST /work?x=1 HTTP/1.1", &b"hi"[..]));
    call.send("HTTP/1.1 201 Made\r\ncontent-length: 5\r\nx-a: 1\r\nx-a: 2\r\n\r\nhel").await;
    let head = client.head().await;
    assert_eq!((head.status, head.field("content-length")), (201, "5"));
    assert_eq!(head.all("x-a"), ["1", "2"]);
    assert_eq!(head.field("vary"), "Prefer");
    assert_eq!(client.bytes(3).await, b"hel");
    call.send("lo").await;
    assert_eq!(client.bytes(2).await, b"lo");
    assert_eq!(house.over(head.task()).await.life.status(), Status::Succeeded);
}

#[tokio::test]
async fn with_a_length_the_last_byte_waits_for_the_commit() {
    let (house, gate) = gated().await;
    let mut client = house.send(POST).await;
    house.upstream.next().await.answer("200 OK", "", "hello").await;
    gate.reached().await;
    assert_eq!(client.head().await.status, 200);
    assert_eq!(client.bytes(4).await, b"hell");
    client.assert_silent();
    gate.open();
    assert_eq!(client.bytes(1).await, b"o");
    // The connection goes on.
    client.send(POST).await;
    house.upstream.next().await;
}

#[tokio::test]
async fn without_a_length_the_end_waits_for_the_commit() {
    let (house, gate) = gated().await;
    let mut client = house.send(POST).await;
    let mut call = house.upstream.next().await;
    call.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
    let head = client.head().await;
    assert_eq!(head.field("transfer-encoding"), "chunked");
    call.send("5\r\nhello\r\n0\r\n\r\n").await;
    gate.reached().await;
    assert_eq!(client.chunk().await, b"hello");
    client.assert_silent();
    gate.open();
    assert_eq!(client.chunk().await, b"");
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_is_chunked() {
    let house = House::with(Mode::Auto).await;
    let mut client = house.send(POST).await;
    let mut call = house.upstream.next().await;
    call.send("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello").await;
    assert_eq!(client.head().await.field("transfer-encoding"), "chunked");
    assert_eq!(client.chunk().await, b"hello");
    drop(call);
    assert_eq!(client.chunk().await, b"");
}

#[tokio::test]
async fn without_a_body_the_head_waits_for_the_commit() {
    for (method, answer, status, length) in [
        ("HEAD", "200 OK\r\ncontent-length: 1234\r\n\r\n", 200, "1234"),
        ("HEAD", "200 OK\r\ntransfer-encoding: chunked\r\n\r\n", 200, ""),
        ("POST", "204 Nothing\r\n\r\n", 204, ""),
        ("GET", "304 Same\r\netag: \"x\"\r\n\r\n", 304, ""),
        ("POST", "200 OK\r\ncontent-length: 0\r\n\r\n", 200, "0"),
    ] {
        let (house, gate) = gated().await;
        let mut client = house.send(&format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        let mut call = house.upstream.next().await;
        call.send(format!("HTTP/1.1 {answer}")).await;
        gate.reached().await;
        client.assert_silent();
        gate.open();
        let head = client.head().await;
        assert_eq!((head.status, head.field("content-length")), (status, length), "{answer}");
        assert_eq!(head.field("transfer-encoding"), "", "{answer}");
        // Nothing follows the head: the connection takes the next request.
        client.send("GET /next HTTP/1.1\r\nhost: a\r\n\r\n").await;
        call.read_head().await;
        assert_eq!(call.line(), "GET /next HTTP/1.1", "{answer}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_never_ended_cleanly() {
    for (version, framing, sent) in [
        ("1.1", "content-length: 10\r\n\r\n", "hello"),
        ("1.1", "transfer-encoding: chunked\r\n\r\n", "5\r\nhello\r\n"),
        ("1.0", "transfer-encoding: chunked\r\n\r\n", "5\r\nhello\r\n"),
    ] {
        let house = House::with(Mode::Auto).await;
        let head = format!("POST / HTTP/{version}\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
        let mut client = house.send(&head).await;
        let mut call = house.upstream.next().await;
        call.send(format!("HTTP/1.1 200 OK\r\n{framing}{sent}")).await;
        let head = client.head().await;
        if head.field("transfer-encoding") == "chunked" {
            assert_eq!(client.chunk().await, b"hello");
        } else {
            assert_eq!(client.bytes(5).await, b"hello");
        }
        call.die();
        let (rest, is_clean) = client.rest().await;
        assert_eq!(String::from_utf8_lossy(&rest), "", "no end is faked ({framing:?})");
        assert!(!is_clean, "HTTP/{version} {framing:?}");
        let task = house.over(head.task()).await;
        assert_eq!(task.life.status(), Status::Failed, "a POST is not sent twice");
    }
}

#[tokio::test]
async fn a_client_that_reads_nothing_does_not_delay_the_task() {
    let house = House::with(Mode::Auto).await;
    let _deaf = house.send(POST).await;
    let mut call = house.upstream.next().await;
    let len = 20 << 20;
    call.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {len}\r\n\r\n")).await;
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..20 {
        call.send(&piece).await;
    }
    let id = call.field("relais-task").unwrap().parse().unwrap();
    assert_eq!(house.over(id).await.life.status(), Status::Succeeded);
}

#[tokio::test]
async fn a_client_that_leaves_changes_nothing() {
    let house = House::with(Mode::Auto).await;
    let mut client = house.send(POST).await;
    let mut call = house.upstream.next().await;
    call.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel").await;
    let id = client.head().await.task();
    drop(client);
    call.send("lo").await;
    assert_eq!(house.over(id).await.life.status(), Status::Succeeded);
}

#[tokio::test]
async fn a_route_may_cancel_what_its_caller_abandons() {
    for has_answer_begun in [false, true] {
        let mut plan = Plan::with(Mode::Auto).await;
        plan.route().abandon = Some(Grace::ZERO);
        let house = plan.build().await;
        let mut client = house.send(POST).await;
        let mut call = house.upstream.next().await;
        let id = call.field("relais-task").unwrap().parse().unwrap();
        if has_answer_begun {
            call.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel").await;
            client.head().await;
        }
        drop(client);
        let over = house.over(id).await;
        assert_eq!(over.life.status(), Status::Canceled, "{has_answer_begun}");
        assert!(matches!(over.life.state, State::Canceled { reason: CancelReason::Abandoned, .. }));
        call.closed().await;
        // What is collected later says why there is nothing.
        let target = format!("GET /v1/tasks/{id}/result HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let answer = house.call(&target).await;
        assert_eq!(answer.status, 409);
        assert_eq!(answer.json()["code"], "abandoned");
        // So does its log: the member was described, and never sent.
        let log = format!(
            "GET /v1/tasks/{id}/events HTTP/1.1\r\nhost: localhost\r\naccept: application/json\r\n\r\n"
        );
        let log = house.call(&log).await.json();
        let last = log["events"].as_array().unwrap().last().unwrap();
        assert_eq!(
            (&last["type"], &last["data"]["reason"]),
            (&json!("canceled"), &json!("abandoned"))
        );
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_its_task_is_stored_changes_nothing_either() {
    for cancels in [false, true] {
        let gate = Gate::of_accepts();
        let mut plan = Plan::with(Mode::Auto).await;
        plan.store = gate.clone();
        plan.route().abandon = cancels.then_some(Grace::ZERO);
        let house = plan.build().await;
        let client = house.send(POST).await;
        gate.reached().await;
        drop(client);
        gate.open();
        let id = house.a_task().await.spec.id;
        if !cancels {
            house.upstream.next().await.answer("200 OK", "", "").await;
        }
        let expected = if cancels { Status::Canceled } else { Status::Succeeded };
        assert_eq!(house.over(id).await.life.status(), expected);
    }
}

#[tokio::test]
async fn patience_ends_in_a_ticket() {
    let mut plan = Plan::with(Mode::Auto).await;
    plan.route().wait = std::time::Duration::from_millis(20);
    let house = plan.build().await;
    let mut client = house.send(POST).await;
    let mut call = house.upstream.next().await;
    let ticket = client.reply().await;
    assert_eq!(ticket.status, 202);
    assert_eq!(ticket.json()["status"], "running");
    // Its answer goes into the store alone.
    call.answer("200 OK", "", "late").await;
    house.over(ticket.task()).await;
    let result = get(&house, ticket.field("location")).await;
    assert_eq!((result.status, result.text()), (200, "late"));
}

#[tokio::test]
async fn an_outcome_that_is_tried_again_too_late_is_a_ticket_at_once() {
    let house = House::with(Mode::Auto).await;
    let mut client = house.send(POST).await;
    let mut call = house.upstream.next().await;
    // Longer than the patience, which no test would wait for.
    call.answer("503 Busy", "retry-after: 120\r\n", "no").await;
    let ticket = client.reply().await;
    assert_eq!((ticket.status, ticket.json()["status"].as_str()), (202, Some("queued")));
    house.clock.advance(std::time::Duration::from_secs(300));
    house.upstream.next().await.answer("200 OK", "", "yes").await;
    house.over(ticket.task()).await;
    assert_eq!(get(&house, ticket.field("location")).await.text(), "yes");
}

#[tokio::test]
async fn an_outcome_that_is_tried_again_in_time_is_waited_for() {
    let house = House::with(Mode::Auto).await;
    let mut client = house.send(POST).await;
    let mut call = house.upstream.next().await;
    let id = call.field("relais-task").unwrap().parse().unwrap();
    let mut follower = house.engine.follow(id);
    call.answer("503 Busy", "", "no").await;
    // Accepted, started, failed.
    follower.after(2).await;
    house.clock.advance(std::time::Duration::from_secs(10));
    let mut again = house.upstream.next().await;
    assert_eq!(again.field("relais-attempt"), Some("2"));
    again.answer("200 OK", "", "yes").await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.text()), (200, "yes"));
}

#[tokio::test]
async fn a_ticket_leads_to_the_same_answer_as_waiting_would() {
    let answer = "content-type: text/plain\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n\
                  location: made/17\r\ncontent-encoding: x-odd\r\n\
                  referrer-policy: unsafe-url\r\n";
    let house = House::with(Mode::Auto).await;
    let mut client = house.send(POST).await;
    house.upstream.next().await.answer("201 Made", answer, "bytes \u{1}\u{2}").await;
    let direct = client.reply().await;

    let asking = POST.replace("host: a", "host: a\r\nprefer: respond-async");
    let ticket = house.call(&asking).await;
    assert_eq!((ticket.status, ticket.field("preference-applied")), (202, "respond-async"));
    let mut call = house.upstream.next().await;
    assert_eq!(call.field("prefer"), None, "it was for Relais");
    let location = ticket.field("location").to_owned();
    let early = get(&house, &location).await;
    assert_eq!((early.status, early.json()["terminal"].as_bool()), (202, Some(false)));
    assert!(early.field("retry-after").parse::<u32>().unwrap() >= 1);
    call.answer("201 Made", answer, "bytes \u{1}\u{2}").await;
    house.over(ticket.task()).await;
    let replayed = get(&house, &location).await;
    assert_eq!((replayed.status, &replayed.body), (direct.status, &direct.body));
    for name in ["content-type", "set-cookie", "content-encoding"] {
        assert_eq!(replayed.all(name), direct.all(name), "{name}");
    }
    assert_eq!(direct.field("location"), "made/17");
    assert!(replayed.field("location").ends_with("/made/17"), "{replayed:?}");
    assert!(replayed.field("location").starts_with("http://"), "{replayed:?}");
    assert_eq!(replayed.field("cache-control"), "private, no-store");
    // Its address may have the ticket in it.
    assert_eq!(replayed.all("referrer-policy"), ["no-referrer"]);
}

#[tokio::test]
async fn an_error_of_the_upstream_is_the_answer_and_says_whose_it_is() {
    let house = House::with(Mode::Auto).await;
    let mut client = house.send(POST).await;
    let fields = "relais-origin: relais\r\nrelais-task: task_x\r\n";
    house.upstream.next().await.answer("422 No", fields, "no").await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.text()), (422, "no"));
    assert_eq!(reply.all("relais-origin"), ["upstream"]);
    assert_eq!(house.over(reply.task()).await.life.status(), Status::Failed);
}

#[tokio::test]
async fn who_waits_for_a_worker_gets_its_result() {
    let mut plan = Plan::with(Mode::Auto).await;
    plan.route().run = Run::Workers;
    let house = plan.build().await;
    let mut client = house.send(POST).await;
    let tenant = "default".parse().unwrap();
    let queue = "work".parse().unwrap();
    let leased = house.engine.lease(&tenant, &queue, "w", 1, crate::house::LONG).await.unwrap();
    let task = leased[0].task().spec.id;
    let token = relais_core::LeaseToken { task, nonce: leased[0].nonce };
    let body = house.engine.store_result("text/plain", "done".into()).await.unwrap();
    let outcome = relais_engine::Outcome::success(Some(body));
    let settle = relais_engine::Settle { token, outcome };
    house.engine.settle(Some(&tenant), vec![settle]).await.unwrap();
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.text(), reply.task()), (200, "done", task));
}

#[tokio::test]
async fn an_old_client_gets_its_answer_to_the_end_of_the_connection() {
    let house = House::with(Mode::Auto).await;
    let mut client = house.send("POST / HTTP/1.0\r\ncontent-length: 2\r\n\r\nhi").await;
    let mut call = house.upstream.next().await;
    call.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    let head = client.head().await;
    assert_eq!((head.status, head.field("transfer-encoding")), (200, ""));
    assert_eq!(client.bytes(5).await, b"hello");
    call.send("0\r\n\r\n").await;
    assert_eq!(client.rest().await, (Vec::new(), true));
}

#[tokio::test]
async fn large_bodies_pass_through_a_store_on_disk_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = Plan::with(Mode::Auto).await;
    let path = folder.path().join("relais.db");
    let options = relais_store_sqlite::Options::new(path, crate::house::START);
    plan.store = Arc::new(relais_store_sqlite::SqliteStore::open(&options).unwrap());
    let house = plan.build().await;
    let body: Vec<u8> = (0..20u32 << 20).map(|at| (at % 251) as u8).collect();
    let len = body.len();
    let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {len}\r\n\r\n");
    let mut client = house.send(&head).await;
    client.send(&body).await;
    let mut call = house.upstream.next().await;
    assert!(call.body == body, "byte for byte");
    call.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {len}\r\n\r\n")).await;
    let (_, reply) = tokio::join!(call.send(&body), client.reply());
    assert!(reply.body == body, "byte for byte");
    assert_eq!(house.over(reply.task()).await.life.status(), Status::Succeeded);
}

#[tokio::test]
async fn a_stop_answers_who_waits_with_a_ticket() {
    let house = House::with(Mode::Auto).await;
    let mut client = house.send(POST).await;
    let _call = house.upstream.next().await;
    house.app.stop.close();
    assert_eq!(client.reply().await.status, 202);
    assert_eq!(client.rest().await, (Vec::new(), true));
    house.serving.await.unwrap();
}

/// Fetches one of Relais' own URLs.
pub(crate) async fn get(house: &House, url: &str) -> Reply {
    let target = url.strip_prefix("http://").and_then(|rest| rest.find('/').map(|at| &rest[at..]));
    let target = target.unwrap_or_else(|| panic!("not absolute: {url}"));
    let request = format!("GET {target} HTTP/1.1\r\nhost: {}\r\n\r\n", house.address);
    Client::connect(house.address).await.call(&request).await
}

/// Another node took its attempt back before its answer began: a caller who was given that one had it
/// without its end, or waited for a head for ever.
#[tokio::test]
async fn a_caller_is_not_given_the_answer_of_an_attempt_that_was_taken_back() {
    for late in ["late", ""] {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let build = async |seed| {
            let mut plan = Plan::with(Mode::Auto).await;
            (plan.store, plan.seed) = (store.clone(), seed);
            plan.build().await
        };
        let (frozen, other) = (build(7).await, build(8).await);
        let mut client = frozen.send("GET /work HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let mut call = frozen.upstream.next().await;
        let id = call.field("relais-task").unwrap().parse().unwrap();
        let (mut watched, mut follower) = (other.engine.watch_answer(id), other.engine.follow(id));
        other.clock.advance(NODE_ALIVE_FOR);
        timeout(SOON, follower.after(2)).await.expect("it is taken back");
        call.answer("200 OK", "", late).await;
        watched.changed().await;
        let answer = watched.current().expect("its node does not know better");
        assert!(!timeout(SOON, answer.over()).await.expect("its readers are told"));
        for house in [&frozen, &other] {
            house.clock.advance(NODE_ALIVE_FOR);
        }
        let mut call = frozen.upstream.next().await;
        assert_eq!(call.field("relais-attempt"), Some("2"));
        call.answer("200 OK", "", "second").await;
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.text()), (200, "second"));
        assert_eq!(reply.field("relais-result-version"), "1.2");
    }
}

#[tokio::test]
async fn patience_ends_while_an_answer_without_a_body_is_not_committed() {
    let (house, gate) = gated().await;
    let mut client = house.send(&POST.replace("host: a", "host: a\r\nprefer: wait=1")).await;
    house.upstream.next().await.answer("204 No Content", "", "").await;
    gate.reached().await;
    assert_eq!(client.head().await.status, 202);
    gate.open();
}
