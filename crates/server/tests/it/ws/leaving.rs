//! Tasks that are canceled when all who waited have left: who has left that closed its WebSocket, or had it
//! closed. A task that a client left has a countdown.

use std::time::Duration;

use relais_core::{Grace, Status, TaskId};
use relais_server::config::{Mode, Scopes};
use relais_store::StoreError;
use serde_json::json;

use super::all;
use super::client::{Ws, frame, text};
use super::faults::goes_on_beside;
use crate::api::key;
use crate::house::{House, Plan, SOON, UpstreamCall};
use crate::odd_store::OddStore;

const GRACE: Duration = Duration::from_secs(9);

/// A task of a route with a countdown, whose upstream was called.
struct Held {
    id: TaskId,
    ticket: String,
    _call: UpstreamCall,
}

impl Held {
    async fn of(house: &House) -> Self {
        let post = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\nhi";
        let accepted = house.call(post).await.json();
        let text = |name: &str| accepted[name].as_str().unwrap().to_owned();
        let call = house.upstream.next().await;
        Self { id: text("id").parse().unwrap(), ticket: text("ticket"), _call: call }
    }

    /// Has a client watch it, which is known by now.
    async fn by(&self, ws: &mut Ws) {
        ws.say(json!({"op": "watch", "watch": "held", "task": self.id.to_string()})).await;
        ws.until(|frame| frame["event"]["type"] == "started").await;
    }

    /// Whether all who held it have left, once the store was told of it. It goes on all the same.
    async fn is_left(&self, house: &House) -> bool {
        house.engine.attendance_told().await;
        let task = house.engine.task(self.id).await.unwrap().unwrap();
        assert_eq!(task.life.status(), Status::Running);
        assert!(task.life.attended_by().is_empty(), "somebody is there");
        task.life.abandon_at().is_some()
    }
}

async fn plan() -> Plan {
    let mut plan = Plan::with(Mode::Async).await;
    plan.route().abandon = Grace::of(GRACE);
    plan.server.keys = vec![
        all(),
        key("rk_work", "default", Scopes { submit: false, read: false, ..Scopes::ALL }),
    ];
    plan
}

/// A client that watches a task by a key.
async fn watching(house: &House, held: &Held) -> Ws {
    let mut ws = Ws::open(house, "relais-api-key: rk_all\r\n").await;
    ws.json().await;
    held.by(&mut ws).await;
    ws
}

/// Whoever is sent away for what it did not do has not left; it was canceled behind its back.
#[tokio::test]
async fn whoever_breaks_a_rule_has_left_and_whoever_may_no_longer_be_here_has_not() {
    let auth = |token: &str| text(&json!({"op": "auth", "token": token}));
    let flood: Vec<_> = (0..=2_000).flat_map(|_| frame(0x8a, b"")).collect();
    for (sent, code, has_left) in [
        (auth("rt_nothing"), 4001, false),
        (auth("rk_work"), 4003, false),
        (frame(0x81, b"{"), 4000, true),
        (flood, 4101, true),
        (frame(0x83, b""), 1002, true),
        (frame(0x82, b""), 1003, true),
        (frame(0x81, b"\xff"), 1007, true),
        (frame(0x88, &1_001_u16.to_be_bytes()), 1001, true),
    ] {
        let house = plan().await.build().await;
        let held = Held::of(&house).await;
        let mut ws = watching(&house, &held).await;
        ws.raw(&sent).await;
        assert_eq!(ws.closed().await.0, code);
        assert_eq!(held.is_left(&house).await, has_left, "{code}");
    }
}

#[tokio::test]
async fn who_ends_a_watch_has_left_as_who_ends_a_stream() {
    let house = plan().await.build().await;
    let held = Held::of(&house).await;
    let mut ws = watching(&house, &held).await;
    ws.say(json!({"op": "unwatch", "watch": "held"})).await;
    ws.until(|frame| frame["reason"] == "unwatched").await;
    assert!(held.is_left(&house).await);
}

#[tokio::test]
async fn a_connection_that_breaks_leaves_the_tasks_that_its_watches_hold() {
    let house = plan().await.build().await;
    let held = Held::of(&house).await;
    drop(watching(&house, &held).await);
    let left = async {
        while house.engine.task(held.id).await.unwrap().unwrap().life.abandon_at().is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, left).await.expect("it was left");
    assert!(held.is_left(&house).await);
    house.clock.advance(GRACE);
    assert_eq!(house.over(held.id).await.life.status(), Status::Canceled);
}

#[tokio::test(start_paused = true)]
async fn a_ticket_that_ends_in_mid_connection_cancels_nothing() {
    let mut plan = plan().await;
    // Canceled as soon as the last has left.
    plan.route().abandon = Some(Grace::ZERO);
    let house = plan.build().await;
    let held = Held::of(&house).await;
    let body = json!({"expires_in": "15s"}).to_string();
    let renewal = format!(
        "POST /v1/tasks/{}/tickets HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        held.id,
        held.ticket,
        body.len()
    );
    let renewed = house.call(&renewal).await.json();
    let short = renewed["ticket"].as_str().unwrap();
    let mut ws = Ws::open(&house, &format!("authorization: Bearer {short}\r\n")).await;
    ws.json().await;
    held.by(&mut ws).await;
    assert_eq!(ws.closed().await, (4001, "ticket-expired".to_owned()));
    assert!(!held.is_left(&house).await);
}

#[tokio::test]
async fn want_of_the_store_cancels_nothing() {
    let store = OddStore::new();
    let mut plan = plan().await;
    plan.store = store.clone();
    let house = plan.build().await;
    let held = Held::of(&house).await;
    let mut ws = watching(&house, &held).await;
    store.break_with(Some(StoreError::Unavailable("for now".to_owned())));
    ws.say(json!({"op": "auth", "token": "rk_of_the_store"})).await;
    assert_eq!(ws.closed().await, (4103, "store-unavailable".to_owned()));
    store.break_with(None);
    // It is told again each second.
    let seconds = async {
        loop {
            house.clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = house.engine.attendance_told() => {}
        () = seconds => {}
    }
    assert!(!held.is_left(&house).await);
}

#[tokio::test]
async fn want_of_room_for_a_message_cancels_nothing() {
    let mut plan = plan().await;
    plan.server.unfinished_memory_bytes_max = 32 << 10;
    let house = plan.build().await;
    let held = Held::of(&house).await;
    let mut ws = watching(&house, &held).await;
    ws.raw(&frame(0x01, &[b' '; 40 << 10])).await;
    assert_eq!(ws.closed().await.0, 4103);
    assert!(!held.is_left(&house).await);
}

#[tokio::test]
async fn a_server_that_stops_closes_with_4200_and_nobody_has_left() {
    let house = plan().await.build().await;
    let held = Held::of(&house).await;
    let mut ws = watching(&house, &held).await;
    house.app.stop.close();
    assert_eq!(ws.closed().await, (4200, "the server stops".to_owned()));
    assert!(!held.is_left(&house).await);
    tokio::time::timeout(SOON, house.serving).await.expect("it ends").unwrap();
}

#[tokio::test(start_paused = true)]
async fn nobody_has_left_whose_connection_has_lived_for_long_enough() {
    let house = plan().await.build().await;
    let held = Held::of(&house).await;
    let mut ws = watching(&house, &held).await;
    assert_eq!(ws.told_to_close().await, 4201);
    assert!(!held.is_left(&house).await);
}

/// It may have vanished, and what it watches would go on for nobody.
#[tokio::test(start_paused = true)]
async fn whoever_is_silent_has_left_unless_it_answers_the_close() {
    for answers in [false, true] {
        let house = plan().await.build().await;
        let held = Held::of(&house).await;
        let mut ws = watching(&house, &held).await;
        assert_eq!(ws.late_frame().await.0, 0x89, "a ping");
        let (kind, close) = ws.late_frame().await;
        assert_eq!((kind, &close[..2]), (0x88, &4102_u16.to_be_bytes()[..]));
        if answers {
            ws.raw(&frame(0x88, &close[..2])).await;
        }
        ws.client.rest().await;
        assert_eq!(held.is_left(&house).await, !answers);
    }
}

#[tokio::test]
async fn whoever_does_not_read_has_left_unless_it_reads_on() {
    for reads_on in [false, true] {
        let mut plan = plan().await;
        plan.server.keys = Vec::new();
        let house = plan.build().await;
        let held = Held::of(&house).await;
        let mut slow = Ws::with_little_room(&house).await;
        held.by(&mut slow).await;
        let mut slow = goes_on_beside(&house, slow).await;
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(13)).await;
        if reads_on {
            tokio::time::resume();
            assert_eq!(slow.closed().await.0, 4100);
        } else {
            pass_seconds(8).await;
            tokio::time::resume();
            slow.client.rest().await;
        }
        assert_eq!(held.is_left(&house).await, !reads_on);
    }
}

/// Lets time pass, and what is due by then happen.
async fn pass_seconds(count: u32) {
    for _ in 0..count {
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}
