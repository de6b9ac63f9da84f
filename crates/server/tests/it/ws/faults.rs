//! Clients that are gone, do not read, or send too much; servers that stop.

use std::time::Duration;

use relais_core::limits;
use relais_server::config::Mode;
use serde_json::{Value, json};

use super::client::{Ws, frame, handshake, post, task, text};
use super::{all, with_keys};
use crate::house::{House, Plan};

#[tokio::test(start_paused = true)]
async fn a_client_of_whom_nothing_is_heard_is_asked_and_then_given_up() {
    let house = House::with(Mode::Async).await;
    let mut ws = Ws::open(&house, "").await;
    ws.json().await;
    let began = tokio::time::Instant::now();
    assert_eq!(ws.late_frame().await, (0x89, Vec::new()), "a ping");
    let asked = began.elapsed().as_secs();
    assert!((30..33).contains(&asked), "{asked}");
    // Any frame is a sign of life.
    ws.raw(&frame(0x8a, b"")).await;
    assert_eq!(ws.late_frame().await.0, 0x89);
    assert_eq!(ws.closed().await, (4102, "no answer to a ping".to_owned()));
    let ended = began.elapsed().as_secs();
    assert!((70..76).contains(&ended), "{ended}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_lives_ten_minutes_at_most_and_its_client_comes_back_at_once() {
    let house = House::with(Mode::Async).await;
    let mut ws = Ws::open(&house, "").await;
    let ready = ws.json().await;
    let began = tokio::time::Instant::now();
    loop {
        let (kind, payload) = ws.late_frame().await;
        match kind {
            0x89 => ws.raw(&frame(0x8a, &payload)).await,
            0x88 => {
                assert_eq!(payload[..2], 4201_u16.to_be_bytes());
                break;
            }
            _ => panic!("{kind:x}"),
        }
    }
    let lived = began.elapsed();
    let most = limits::STREAM_LIFETIME_MAX + Duration::from_secs(2);
    assert!((limits::STREAM_LIFETIME_MAX / 2..most).contains(&lived), "{lived:?}");
    assert!(ready["lifetime"].as_str().unwrap().contains('m'), "{ready}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_waits_no_longer_than_that_for_a_client_that_is_silent() {
    let house = House::with(Mode::Async).await;
    let mut ws = Ws::open(&house, "").await;
    ws.json().await;
    let mut told_before = Ws::open(&house, "").await;
    told_before.json().await;
    told_before.raw(&frame(0x81, b"{")).await;
    assert_eq!(told_before.frame().await.0, 0x88);
    let began = tokio::time::Instant::now();
    house.app.stop.close();
    house.serving.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(ws.closed().await.0, 4200);
}

/// A task with a watch on it, by a client that reads little more than that it began, and by one that reads all;
/// far more happened since than the system keeps.
async fn one_does_not_read(house: &House) -> Ws {
    let slow = Ws::with_little_room(house).await;
    goes_on_beside(house, slow).await
}

/// The same with a client that has read all that it was told so far.
pub(crate) async fn goes_on_beside(house: &House, mut slow: Ws) -> Ws {
    let id = task(house).await;
    let mut quick = Ws::open(house, "").await;
    quick.json().await;
    for ws in [&mut slow, &mut quick] {
        ws.say(json!({"op": "watch", "watch": "w", "task": id})).await;
        assert_eq!(ws.json().await["op"], "open");
    }
    let lease = "POST /v1/queues/work/leases HTTP/1.1\r\nhost: localhost\r\n\
                 content-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    let token = house.call(lease).await.json()["leases"][0]["token"].clone();
    for n in 0..OUTPUTS {
        beat(house, &token, n).await;
        let told = quick.until(|frame| frame["event"]["type"] == "output").await.pop().unwrap();
        assert_eq!(told["event"]["data"]["output"]["n"], n, "nobody waits for who does not read");
    }
    slow
}

const OUTPUTS: u32 = 400;

#[tokio::test]
async fn many_long_logs_wait_for_a_client_that_reads_slowly_piece_by_piece() {
    // Each watch brought a piece at once, and all together were more than may wait for a client.
    let house = House::with(Mode::Async).await;
    let mut ids = Vec::new();
    for _ in 0..LONG_LOGS {
        ids.push(task(&house).await);
        let lease = "POST /v1/queues/work/leases HTTP/1.1\r\nhost: localhost\r\n\
                     content-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
        let token = house.call(lease).await.json()["leases"][0]["token"].clone();
        for n in 0..3 {
            beat(&house, &token, n).await;
        }
    }
    let mut slow = Ws::with_little_room(&house).await;
    let watches: Vec<_> =
        ids.iter().flat_map(|id| text(&json!({"op": "watch", "watch": id, "task": id}))).collect();
    slow.raw(&watches).await;
    // What is there has come as far as it can before anything is read.
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    let mut whole = 0;
    while whole < LONG_LOGS {
        let frame = slow.json().await;
        whole += usize::from(frame["event"]["data"]["output"]["n"] == 2);
    }
}

/// Far more than the system keeps and a client may leave unread, in logs of about 96 KiB.
const LONG_LOGS: usize = 60;

/// A sign of life of a worker, with 32 KiB of output.
async fn beat(house: &House, token: &Value, n: u32) {
    let output = json!({"n": n, "text": "x".repeat(32 << 10)});
    let beat = json!({"items": [{"token": token, "output": output}]}).to_string();
    let request = format!(
        "POST /v1/leases/heartbeat HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\
         content-type: application/json\r\n\r\n{beat}",
        beat.len()
    );
    assert_eq!(house.call(&request).await.status, 200);
}

#[tokio::test]
async fn a_client_that_reads_again_is_told_all_that_it_missed() {
    let house = House::with(Mode::Async).await;
    let mut slow = one_does_not_read(&house).await;
    let is_last = |frame: &Value| frame["event"]["data"]["output"]["n"] == OUTPUTS - 1;
    let told = slow.until(is_last).await;
    let seqs: Vec<_> = told.iter().filter_map(|frame| frame["event"]["seq"].as_u64()).collect();
    assert!(seqs.windows(2).all(|two| two[0] + 1 == two[1]), "{seqs:?}");
}

#[tokio::test]
async fn a_client_that_never_reads_is_closed_after_ten_seconds() {
    let house = House::with(Mode::Async).await;
    let mut slow = one_does_not_read(&house).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(13)).await;
    tokio::time::resume();
    // It is told so, should it read on, behind what it was told before.
    assert_eq!(slow.closed().await, (4100, "nothing was read for too long".to_owned()));
}

#[tokio::test]
async fn a_client_that_floods_is_closed() {
    let house = House::with(Mode::Async).await;
    let mut ws = Ws::open(&house, "").await;
    ws.json().await;
    let flood: Vec<_> = (0..=limits::SOCKET_FRAMES_MAX).flat_map(|_| frame(0x8a, b"")).collect();
    ws.raw(&flood).await;
    assert_eq!(ws.closed().await, (4101, "too many frames".to_owned()));
}

/// They were never counted: the message to which they belong never ends.
#[tokio::test]
async fn a_message_that_goes_on_for_ever_in_empty_frames_is_a_flood() {
    let house = House::with(Mode::Async).await;
    let mut ws = Ws::open(&house, "").await;
    ws.json().await;
    ws.raw(&frame(0x01, b"")).await;
    let flood: Vec<_> = (0..limits::SOCKET_FRAMES_MAX).flat_map(|_| frame(0x00, b"")).collect();
    ws.raw(&flood).await;
    assert_eq!(ws.closed().await, (4101, "too many frames".to_owned()));
}

#[tokio::test]
async fn who_is_not_known_sends_no_large_message() {
    let house = with_keys(vec![all()]).await;
    let max = limits::SOCKET_AUTH_BYTES_MAX;
    let auth = json!({"op": "auth", "token": "rk_all"}).to_string();
    let padded = |len: usize| frame(0x81, format!("{auth:len$}").as_bytes());
    let too_large = (1009, "send auth first".to_owned());
    let mut ws = Ws::open(&house, "").await;
    ws.raw(&padded(max)).await;
    assert_eq!(ws.json().await["op"], "ready");
    let mut ws = Ws::open(&house, "").await;
    ws.raw(&padded(max + 1)).await;
    assert_eq!(ws.closed().await, too_large);
    // Before it is whole.
    let mut ws = Ws::open(&house, "").await;
    ws.raw(&padded(max * 3)[..max * 2]).await;
    assert_eq!(ws.closed().await, too_large);
}

/// A house with room for less than a message, and a connection that is known.
async fn with_little_memory() -> (House, Ws) {
    let mut plan = Plan::with(Mode::Async).await;
    plan.server.unfinished_memory_bytes_max = 16 << 10;
    let house = plan.build().await;
    let mut ws = Ws::open(&house, "").await;
    ws.json().await;
    (house, ws)
}

/// What came whole in one piece was decoded, and held, without having been counted.
#[tokio::test]
async fn a_message_is_counted_before_it_is_decoded() {
    let (_house, mut ws) = with_little_memory().await;
    let input = "x".repeat(20 << 10);
    ws.say(json!({"op": "submit", "id": "1", "task": {"queue": "work", "input": input}})).await;
    assert_eq!(ws.closed().await, (4103, "overloaded".to_owned()));
}

#[tokio::test]
async fn what_waits_behind_a_call_is_counted() {
    let (house, mut ws) = with_little_memory().await;
    let auth = text(&json!({"op": "auth", "token": "rt_nothing"}));
    let ping = text(&json!({"op": "ping", "rest": "x".repeat(1_000)}));
    ws.raw(&[auth, ping.repeat(20)].concat()).await;
    assert_eq!(ws.closed().await, (4103, "overloaded".to_owned()));
    drop(house);
}

#[tokio::test]
async fn a_call_that_is_answered_behind_a_close_is_made_and_not_told() {
    let house = House::with(Mode::Async).await;
    let mut ws = Ws::open(&house, "").await;
    ws.json().await;
    let submit =
        json!({"op": "submit", "id": "1", "task": {"queue": "work", "labels": {"a": "b"}}});
    ws.raw(&[text(&submit), frame(0x81, b"{")].concat()).await;
    // That nothing comes behind it is asserted there.
    assert_eq!(ws.closed().await.0, 4000);
    assert_eq!(house.a_task().await.spec.labels.len(), 1);
}

#[tokio::test]
async fn an_address_without_a_key_that_is_not_here_has_a_share_of_connections() {
    let mut plan = Plan::with(Mode::Async).await;
    plan.server.keys = vec![all()];
    plan.server.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let house = plan.build().await;
    let fields = "x-forwarded-for: 192.0.2.7\r\n";
    let mut open = Vec::new();
    for _ in 0..limits::SOCKETS_PER_ADDRESS_MAX {
        open.push(Ws::open(&house, fields).await);
    }
    let reply = house.call(&handshake(fields)).await;
    assert_eq!((reply.status, reply.code().as_str()), (429, "rate-limited"));
    Ws::open(&house, "x-forwarded-for: 192.0.2.8\r\n").await;
    drop(open);
}

#[tokio::test]
async fn new_work_is_refused_while_the_server_drains_and_what_is_watched_goes_on() {
    let house = with_keys(vec![all()]).await;
    let mut ws = Ws::open(&house, "relais-api-key: rk_all\r\n").await;
    ws.json().await;
    let accepted = post(&house, &json!({"queue": "work", "input": {}})).await;
    let id = accepted["id"].as_str().unwrap();
    house.engine.begin_drain();
    ws.say(json!({"op": "submit", "id": "1", "task": {"queue": "work"}})).await;
    let reply = ws.json().await;
    assert_eq!(
        (&reply["status"], &reply["problem"]["code"]),
        (&json!(503), &json!("server-draining"))
    );
    ws.say(json!({"op": "watch", "watch": "w", "task": id})).await;
    assert_eq!(ws.json().await["op"], "open");
}
