//! How a live read ends: as each protocol says it, with its task, and with the right to it.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use relais_core::{Grace, Status, limits};
use relais_server::config::Mode;
use relais_store::MemoryStore;
use tokio::time::timeout;

use super::{GET, PATIENT, POST, begun, read, reader};
use crate::front_door_wire::h2;
use crate::house::{Client, House, LONG, Plan, Reply, SOON};

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
