//! Tasks of routes that are canceled when all who waited for them have left: who holds one, who does not,
//! and what becomes of its upstream.

use std::sync::Arc;
use std::time::Duration;

use relais_core::{CancelReason, Grace, State, Status, Task, TaskId, Timestamp};
use relais_server::config::Mode;
use relais_store::{MemoryStore, Store};

use crate::house::{Client, House, Plan, SOON, START};

const POST: &str = "POST /work?x=1 HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";
/// The beginning of an answer.
const BEGUN: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel";
const GRACE: Duration = Duration::from_secs(9);

/// A house whose tasks go on for [`GRACE`] after the last client has left.
async fn house() -> House {
    let mut plan = Plan::with(Mode::Auto).await;
    plan.route().abandon = Grace::of(GRACE);
    plan.build().await
}

/// Waits until a task is so. Nothing of it is in a log.
async fn until(house: &House, id: TaskId, is_so: impl Fn(&Task) -> bool) -> Task {
    let looking = async {
        loop {
            let task = house.engine.task(id).await.unwrap().unwrap();
            if is_so(&task) {
                return task;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, looking).await.expect("it should have come to be so")
}

fn after(span: Duration) -> Option<Timestamp> {
    Some(START.plus(span))
}

fn is_abandoned(task: &Task) -> bool {
    matches!(task.life.state, State::Canceled { reason: CancelReason::Abandoned, .. })
}

#[tokio::test]
async fn a_caller_that_leaves_has_the_grace_to_come_back_and_then_its_upstream_is_left_alone() {
    for has_answer_begun in [false, true] {
        let house = house().await;
        let mut client = house.send(POST).await;
        let mut call = house.upstream.next().await;
        let id = call.field("relais-task").unwrap().parse().unwrap();
        if has_answer_begun {
            call.send(BEGUN).await;
            client.head().await;
        }
        let task = house.engine.task(id).await.unwrap().unwrap();
        assert_eq!((task.life.attended_by().len(), task.life.abandon_at()), (1, None));
        drop(client);
        let task = until(&house, id, |task| task.life.is_left()).await;
        assert_eq!(task.life.abandon_at(), after(GRACE));
        house.clock.advance(GRACE - Duration::from_millis(1));
        assert_eq!(house.engine.task(id).await.unwrap().unwrap().life.status(), Status::Running);
        house.clock.advance(Duration::from_millis(1));
        assert!(is_abandoned(&house.over(id).await), "{has_answer_begun}");
        call.closed().await;
    }
}

#[tokio::test]
async fn a_caller_that_got_its_answer_or_a_ticket_starts_no_countdown() {
    let house = house().await;
    let mut client = house.send(POST).await;
    house.upstream.next().await.answer("200 OK", "", "hello").await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.text()), (200, "hello"));
    let impatient = POST.replace("host: a", "host: a\r\nprefer: respond-async");
    let reply = house.call(&impatient).await;
    assert_eq!(reply.status, 202);
    let ticket = reply.json()["id"].as_str().unwrap().parse().unwrap();
    let call = house.upstream.next().await;
    let handed_over = POST.replace("host: a", "host: a\r\nprefer: wait=1");
    let reply = house.call(&handed_over).await;
    assert_eq!(reply.status, 202);
    let patient = reply.json()["id"].as_str().unwrap().parse().unwrap();
    for id in [ticket, patient] {
        house.engine.attendance_told().await;
        let task = house.engine.task(id).await.unwrap().unwrap();
        assert_eq!(task.life.attendance, None);
    }
    drop(call);
}

/// A task that nobody waits for, whose upstream was called.
async fn left_to_itself(house: &House) -> TaskId {
    let reply = house.call(&POST.replace("host: a", "host: a\r\nprefer: respond-async")).await;
    assert_eq!(reply.status, 202);
    reply.json()["id"].as_str().unwrap().parse().unwrap()
}

/// Asks for something of a task, with what else its head has.
async fn ask(house: &House, id: TaskId, what: &str, fields: &str) -> Client {
    let path = format!("/v1/tasks/{id}{what}");
    house.send(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n")).await
}

/// Each kind of connection that holds a task, of which the last two wait.
const HOLDING: [(&str, &str); 6] = [
    ("/events", "accept: text/event-stream\r\n"),
    ("", "accept: text/event-stream\r\n"),
    ("/result?live", "prefer: wait=50\r\n"),
    ("/result", "prefer: wait=50\r\n"),
    ("", "prefer: wait=50\r\n"),
    ("/events?after=2", "accept: application/json\r\nprefer: wait=50\r\n"),
];

#[tokio::test]
async fn whatever_waits_for_a_task_or_follows_it_holds_it_and_leaves_it() {
    for (what, fields) in HOLDING {
        let house = house().await;
        let id = left_to_itself(&house).await;
        let call = house.upstream.next().await;
        let client = ask(&house, id, what, fields).await;
        until(&house, id, |task| task.life.attended_by().len() == 1).await;
        drop(client);
        let left = until(&house, id, |task| task.life.is_left()).await;
        assert_eq!(left.life.abandon_at(), after(GRACE), "{what} {fields}");
        // Whoever comes back, in whichever way, stops the countdown.
        let back = ask(&house, id, what, fields).await;
        until(&house, id, |task| task.life.attended_by().len() == 1).await;
        house.clock.advance(GRACE);
        let task = house.engine.task(id).await.unwrap().unwrap();
        assert_eq!(task.life.status(), Status::Running, "{what} {fields}");
        drop((back, call));
    }
}

#[tokio::test]
async fn a_stream_over_many_tasks_holds_those_that_it_names() {
    let house = house().await;
    let id = left_to_itself(&house).await;
    let _call = house.upstream.next().await;
    let stream = format!("GET /v1/events?task={id} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let client = house.send(&stream).await;
    until(&house, id, |task| task.life.attended_by().len() == 1).await;
    drop(client);
    until(&house, id, |task| task.life.is_left()).await;
}

#[tokio::test]
async fn the_head_of_a_stream_and_a_stream_that_the_server_ends_are_no_leaving() {
    let mut plan = Plan::with(Mode::Auto).await;
    plan.route().abandon = Some(Grace::ZERO);
    let house = plan.build().await;
    let id = left_to_itself(&house).await;
    let _call = house.upstream.next().await;
    let head = format!("HEAD /v1/tasks/{id}/events HTTP/1.1\r\nhost: localhost\r\n\r\n");
    house.send(&head).await.head().await;
    house.engine.attendance_told().await;
    let mut client = ask(&house, id, "/events", "accept: text/event-stream\r\n").await;
    client.head().await;
    until(&house, id, |task| task.life.attended_by().len() == 1).await;
    house.app.stop.close();
    let task = until(&house, id, |task| task.life.attendance.is_none()).await;
    assert_eq!(task.life.status(), Status::Running);
}

#[tokio::test]
async fn a_poll_starts_a_countdown_that_it_finds_anew_and_none_where_none_ran() {
    for what in ["", "/result", "/events"] {
        let house = house().await;
        let id = left_to_itself(&house).await;
        let _call = house.upstream.next().await;
        let json = "accept: application/json\r\n";
        let mut client = ask(&house, id, what, json).await;
        client.reply().await;
        house.engine.attendance_told().await;
        let task = house.engine.task(id).await.unwrap().unwrap();
        assert_eq!(task.life.attendance, None, "{what}");
        let stream = ask(&house, id, "/events", "accept: text/event-stream\r\n").await;
        until(&house, id, |task| task.life.attended_by().len() == 1).await;
        drop(stream);
        until(&house, id, |task| task.life.is_left()).await;
        house.clock.advance(Duration::from_secs(5));
        let reply = ask(&house, id, what, json).await.reply().await;
        let task = house.engine.task(id).await.unwrap().unwrap();
        assert_eq!(task.life.abandon_at(), after(GRACE + Duration::from_secs(5)), "{what}");
        if what != "/events" {
            assert!(reply.field("retry-after").parse::<u64>().unwrap() <= GRACE.as_secs() / 3);
            assert_eq!(reply.json()["abandon_at"], "2023-11-14T22:13:34.000Z", "{what}");
        }
        let why = ask(&house, id, "/why", "").await.reply().await.json();
        assert_eq!(why["abandon_at"], "2023-11-14T22:13:34.000Z");
    }
}

#[tokio::test]
async fn a_poll_that_may_wait_starts_no_countdown_where_none_ran() {
    for (what, fields) in &HOLDING[2..] {
        let house = house().await;
        let id = left_to_itself(&house).await;
        let _call = house.upstream.next().await;
        let brief = fields.replace("wait=50", "wait=0");
        ask(&house, id, what, &brief).await.reply().await;
        house.engine.attendance_told().await;
        let task = house.engine.task(id).await.unwrap().unwrap();
        assert_eq!(task.life.attendance, None, "{what} {fields}");
    }
}

/// Of a task that begins in an hour its `Retry-After` is a minute otherwise.
#[tokio::test]
async fn a_countdown_shortens_when_to_ask_again_whatever_else_is_known() {
    let house = house().await;
    let later = "host: a\r\nrelais-delay: 1h\r\nprefer: respond-async";
    let id = house.call(&POST.replace("host: a", later)).await.task();
    let retry_after = async |what: &str| {
        let reply = ask(&house, id, what, "").await.reply().await;
        reply.field("retry-after").parse::<u64>().unwrap()
    };
    assert_eq!(retry_after("").await, 60);
    let stream = ask(&house, id, "/events", "accept: text/event-stream\r\n").await;
    until(&house, id, |task| task.life.attended_by().len() == 1).await;
    drop(stream);
    until(&house, id, |task| task.life.is_left()).await;
    for what in ["", "/result", "/result?live"] {
        assert_eq!(retry_after(what).await, GRACE.as_secs() / 3, "{what}");
    }
}

/// One that closed its connection was known to be gone a minute after the last byte.
#[tokio::test]
async fn whoever_reads_an_answer_while_it_comes_holds_its_task() {
    let house = house().await;
    let id = left_to_itself(&house).await;
    let mut call = house.upstream.next().await;
    call.send(BEGUN).await;
    let mut reader = ask(&house, id, "/result?live", "prefer: wait=50\r\n").await;
    assert_eq!(reader.head().await.status, 200);
    assert_eq!(reader.bytes(3).await, b"hel");
    until(&house, id, |task| task.life.attended_by().len() == 1).await;
    drop(reader);
    let left = until(&house, id, |task| task.life.is_left()).await;
    assert_eq!(left.life.abandon_at(), after(GRACE));
    let mut back = ask(&house, id, "/result?live&after=3&attempt=1.1", "prefer: wait=50\r\n").await;
    call.send("l").await;
    back.head().await;
    assert_eq!(back.bytes(1).await, b"l");
    until(&house, id, |task| task.life.attended_by().len() == 1).await;
    house.clock.advance(GRACE);
    call.send("o").await;
    assert_eq!(back.bytes(1).await, b"o");
    assert_eq!(house.over(id).await.life.status(), Status::Succeeded);
}

#[tokio::test]
async fn the_head_of_a_live_answer_is_no_leaving() {
    let house = house().await;
    let id = left_to_itself(&house).await;
    let mut call = house.upstream.next().await;
    call.send(BEGUN).await;
    let path = format!("/v1/tasks/{id}/result?live");
    let fields = "host: localhost\r\nprefer: wait=50\r\n";
    let head = house.send(&format!("HEAD {path} HTTP/1.1\r\n{fields}\r\n")).await.head().await;
    assert_eq!(head.status, 200);
    house.engine.attendance_told().await;
    assert_eq!(house.engine.task(id).await.unwrap().unwrap().life.attendance, None);
}

/// A page without scripts came back after 5 s, and a stream was told to after up to 5 s: too late.
#[tokio::test]
async fn whoever_watches_is_told_to_come_back_well_within_the_grace() {
    const SHORT: Duration = Duration::from_secs(3);
    let mut plan = Plan::with(Mode::Auto).await;
    plan.route().abandon = Grace::of(SHORT);
    let house = plan.build().await;
    let id = left_to_itself(&house).await;
    let _call = house.upstream.next().await;
    let mut client = ask(&house, id, "/events", "accept: text/event-stream\r\n").await;
    client.head().await;
    let opening = client.chunk().await;
    assert!(opening.starts_with(b"retry: 1000\n"), "{}", String::from_utf8_lossy(&opening));
    until(&house, id, |task| task.life.attended_by().len() == 1).await;
    drop(client);
    until(&house, id, |task| task.life.is_left()).await;
    for _ in 0..30 {
        let page = ask(&house, id, "", "accept: text/html\r\n").await.reply().await;
        let page = page.text();
        let (_, refresh) = page.split_once("http-equiv=\"refresh\" content=\"").unwrap();
        let (seconds, _) = refresh.split_once(';').unwrap();
        assert!(page.contains("data-again=\"1000\""), "its script waits for so long");
        house.clock.advance(Duration::from_secs(seconds.parse().unwrap()));
        let task = house.engine.task(id).await.unwrap().unwrap();
        assert_eq!(task.life.status(), Status::Running, "at {:?}", house.engine.now());
    }
}

/// It ends with the patience of its client, who has not left.
#[tokio::test]
async fn a_long_poll_starts_the_countdown_that_it_found_when_it_is_answered() {
    let house = house().await;
    let id = left_to_itself(&house).await;
    let _call = house.upstream.next().await;
    let stream = ask(&house, id, "/events", "accept: text/event-stream\r\n").await;
    until(&house, id, |task| task.life.attended_by().len() == 1).await;
    drop(stream);
    until(&house, id, |task| task.life.is_left()).await;
    house.clock.advance(Duration::from_secs(5));
    let reply = ask(&house, id, "/result", "prefer: wait=1\r\n").await.reply().await;
    assert_eq!(reply.status, 202);
    let task = house.engine.task(id).await.unwrap().unwrap();
    assert_eq!(task.life.abandon_at(), after(GRACE + Duration::from_secs(5)));
    assert_eq!(reply.json()["abandon_at"], "2023-11-14T22:13:34.000Z");
}

/// Nobody was there then, and the upstream ran to its end.
#[tokio::test]
async fn whoever_left_while_a_poll_waited_is_counted_when_it_is_answered() {
    for (what, fields) in [("/result?live", "prefer: wait=1\r\n"), ("", "prefer: wait=1\r\n")] {
        let house = house().await;
        let id = left_to_itself(&house).await;
        let mut call = house.upstream.next().await;
        let stream = ask(&house, id, "/events", "accept: text/event-stream\r\n").await;
        until(&house, id, |task| task.life.attended_by().len() == 1).await;
        let mut poll = ask(&house, id, what, fields).await;
        poll.assert_silent();
        drop(stream);
        let reply = poll.reply().await;
        assert!(reply.field("retry-after").parse::<u64>().unwrap() <= GRACE.as_secs() / 3);
        assert_eq!(reply.json()["abandon_at"], "2023-11-14T22:13:29.000Z", "{what}");
        house.clock.advance(GRACE);
        assert!(is_abandoned(&house.over(id).await));
        call.closed().await;
    }
}

#[tokio::test]
async fn a_repeat_stops_the_countdown_and_its_ticket_starts_none() {
    let house = house().await;
    let keyed = POST.replace("host: a", "host: a\r\nidempotency-key: 0123456789abcdef0123456789");
    let client = house.send(&keyed).await;
    let call = house.upstream.next().await;
    let id = call.field("relais-task").unwrap().parse().unwrap();
    drop(client);
    until(&house, id, |task| task.life.is_left()).await;
    let again = keyed.replace("host: a", "host: a\r\nprefer: respond-async");
    assert_eq!(house.call(&again).await.status, 202);
    house.engine.attendance_told().await;
    assert_eq!(house.engine.task(id).await.unwrap().unwrap().life.attendance, None);
    // One that waits holds it.
    let client = house.send(&keyed).await;
    until(&house, id, |task| task.life.attended_by().len() == 1).await;
    drop(client);
    until(&house, id, |task| task.life.is_left()).await;
}

/// It waited for a teller that had stopped, until its connection was forced.
#[tokio::test]
async fn a_stop_answers_whoever_waits_although_a_countdown_ran() {
    let house = house().await;
    // It can be repeated, and waits for the next start then.
    let safe = "GET /work HTTP/1.1\r\nhost: a\r\nprefer: respond-async\r\n\r\n";
    let id = house.call(safe).await.task();
    let _call = house.upstream.next().await;
    let stream = ask(&house, id, "/events", "accept: text/event-stream\r\n").await;
    until(&house, id, |task| task.life.attended_by().len() == 1).await;
    drop(stream);
    until(&house, id, |task| task.life.is_left()).await;
    let mut live = ask(&house, id, "/result?live", "prefer: wait=50\r\n").await;
    until(&house, id, |task| task.life.attended_by().len() == 1).await;
    house.engine.drain().await;
    house.app.stop.close();
    assert_eq!(live.head().await.status, 202);
}

/// It is Relais that cuts its clients off then. What it had just given back was canceled as abandoned, by
/// itself or by the next start.
#[tokio::test]
async fn a_stop_is_no_leaving_and_what_it_gave_back_runs_again() {
    const GET: &str = "GET /work HTTP/1.1\r\nhost: a\r\n\r\n";
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let mut plan = Plan::with(Mode::Auto).await;
    plan.store = store.clone();
    plan.route().abandon = Some(Grace::ZERO);
    let house = plan.build().await;
    let mut streaming = house.send(GET).await;
    let mut call = house.upstream.next().await;
    call.send(BEGUN).await;
    let read = streaming.head().await.task();
    let _waiting = house.send(GET).await;
    let other = house.upstream.next().await;
    let waited_for = other.field("relais-task").unwrap().parse().unwrap();
    house.engine.drain().await;
    assert_eq!(streaming.rest().await, (b"hel".into(), false), "no end is faked");
    house.app.stop.close();
    let mut plan = Plan::with(Mode::Auto).await;
    (plan.store, plan.seed) = (store, 8);
    let next = plan.build().await;
    for _ in 0..2 {
        house.upstream.next().await.answer("200 OK", "", "hello").await;
    }
    for id in [read, waited_for] {
        assert_eq!(next.over(id).await.life.status(), Status::Succeeded);
    }
}
