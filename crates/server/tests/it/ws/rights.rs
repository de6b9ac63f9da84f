//! Who may open a WebSocket, and what for.

use std::time::Duration;

use relais_core::limits;
use relais_server::config::{Mode, Scopes};
use serde_json::{Value, json};

use super::client::{Ws, frame, handshake, post, task, text};
use super::{all, with_keys};
use crate::api::key;
use crate::house::{House, Plan};

/// A task of a server with keys: its id and its ticket.
async fn a_task(house: &House) -> (String, String) {
    let document = json!({"queue": "work", "input": {}, "deadline": "1h", "retention": "1h"});
    let accepted = post(house, &document).await;
    let text = |name: &str| accepted[name].as_str().unwrap().to_owned();
    (text("id"), text("ticket"))
}

/// The button by which a browser follows a task by its session.
fn joining(id: &str, ticket: &str) -> String {
    format!(
        "POST /v1/session/{id}?ticket={ticket} HTTP/1.1\r\nhost: localhost\r\n\
         sec-fetch-site: same-origin\r\ncontent-length: 0\r\n\r\n"
    )
}

/// Another ticket of a task, by a ticket or a key.
async fn renewed(house: &House, id: &str, by: &str, asked: Value) -> Value {
    let body = asked.to_string();
    let request = format!(
        "POST /v1/tasks/{id}/tickets HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {by}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    house.call(&request).await.json()["ticket"].clone()
}

fn watch(id: &str) -> Value {
    json!({"op": "watch", "watch": "w", "task": id})
}

#[tokio::test]
async fn whoever_asks_is_known_by_a_field_a_first_frame_or_a_subprotocol() {
    let house = with_keys(vec![all()]).await;
    let (id, ticket) = a_task(&house).await;
    for (fields, token) in [
        ("relais-api-key: rk_all\r\n".to_owned(), None),
        ("authorization: Bearer rk_all\r\n".to_owned(), None),
        (format!("authorization: Bearer {ticket}\r\n"), None),
        (format!("sec-websocket-protocol: relais.bearer.{ticket}\r\n"), None),
        ("sec-websocket-protocol: relais.bearer.rk_all\r\n".to_owned(), None),
        (String::new(), Some("rk_all")),
        (String::new(), Some(ticket.as_str())),
    ] {
        let mut ws = Ws::open(&house, &fields).await;
        if let Some(token) = token {
            // What comes right behind it waits until it was looked at.
            let both = [text(&json!({"op": "auth", "token": token})), text(&watch(&id))].concat();
            ws.raw(&both).await;
            assert_eq!(ws.json().await["op"], "ready", "{token}");
        } else {
            assert_eq!(ws.json().await["op"], "ready", "{fields}");
            ws.say(watch(&id)).await;
        }
        assert_eq!(ws.json().await["op"], "open", "{fields}");
    }
}

#[tokio::test]
async fn what_is_not_valid_is_401_by_a_field_and_4001_by_a_frame() {
    let house = with_keys(vec![
        all(),
        key("rk_work", "default", Scopes { submit: false, read: false, ..Scopes::ALL }),
    ])
    .await;
    for (fields, status, code) in [
        ("relais-api-key: rk_nobody\r\n", 401, "unauthorized"),
        ("authorization: Bearer rt_nothing\r\n", 401, "unauthorized"),
        ("relais-api-key: rk_work\r\n", 403, "forbidden"),
    ] {
        let reply = house.call(&handshake(fields)).await;
        assert_eq!((reply.status, reply.code()), (status, code.to_owned()), "{fields}");
    }
    for (token, code) in
        [("rk_nobody", 4001), ("rt_nothing", 4001), ("a\nb", 4001), ("rk_work", 4003)]
    {
        let mut ws = Ws::open(&house, "").await;
        ws.say(json!({"op": "auth", "token": token})).await;
        assert_eq!(ws.closed().await.0, code, "{token}");
    }
    let mut ws = Ws::open(&house, "sec-websocket-protocol: relais.bearer.rt_nothing\r\n").await;
    assert_eq!(ws.closed().await.0, 4001);
    let mut ws = Ws::open(&house, "").await;
    ws.say(json!({"op": "ping"})).await;
    assert_eq!(ws.closed().await, (4001, "the first frame must be auth".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn whoever_says_nothing_within_five_seconds_is_closed() {
    let house = with_keys(vec![all()]).await;
    let began = tokio::time::Instant::now();
    let mut ws = Ws::open(&house, "").await;
    assert_eq!(ws.closed().await, (4001, "unauthorized".to_owned()));
    let lasted = began.elapsed();
    let most = limits::SOCKET_AUTH_WITHIN + Duration::from_secs(2);
    assert!((limits::SOCKET_AUTH_WITHIN..most).contains(&lasted), "{lasted:?}");
}

#[tokio::test]
async fn a_page_of_another_origin_opens_none_whatever_it_carries() {
    let mut plan = Plan::with(Mode::Async).await;
    plan.server.keys = vec![all()];
    plan.server.cors_origins = vec!["https://listed.example".to_owned()];
    let house = plan.build().await;
    let (_, ticket) = a_task(&house).await;
    for fields in [
        String::new(),
        "relais-api-key: rk_all\r\n".to_owned(),
        format!("authorization: Bearer {ticket}\r\n"),
        format!("sec-websocket-protocol: relais.bearer.{ticket}\r\n"),
    ] {
        for origin in ["https://evil.example", "null", "https://localhost.evil.example"] {
            let fields = format!("{fields}origin: {origin}\r\n");
            let reply = house.call(&handshake(&fields)).await;
            assert_eq!((reply.status, reply.code().as_str()), (403, "cross-site"), "{fields}");
        }
    }
    let two = "origin: http://localhost\r\norigin: https://listed.example\r\n";
    assert_eq!(house.call(&handshake(two)).await.status, 403);
    for origin in ["http://localhost", "https://listed.example"] {
        let fields = format!("relais-api-key: rk_all\r\norigin: {origin}\r\n");
        assert_eq!(Ws::open(&house, &fields).await.json().await["op"], "ready", "{origin}");
    }
}

#[tokio::test]
async fn the_cookie_of_a_session_counts_only_beside_an_origin_that_is_ours() {
    let mut plan = Plan::with(Mode::Async).await;
    plan.server.keys = vec![all()];
    plan.server.cors_origins = vec!["https://listed.example".to_owned()];
    let house = plan.build().await;
    let (id, ticket) = a_task(&house).await;
    let joined = house.call(&joining(&id, &ticket)).await;
    let cookie = joined.field("set-cookie").split(';').next().unwrap().to_owned();
    assert!(cookie.starts_with("relais=rs_"), "{joined:?}");
    let ours = format!("cookie: {cookie}\r\norigin: http://localhost\r\n");
    let mut ws = Ws::open(&house, &ours).await;
    assert_eq!(ws.json().await["op"], "ready");
    ws.say(watch(&id)).await;
    assert_eq!(ws.json().await["op"], "open");
    // What joins it later is seen, and what it does not have is not.
    let (later, ticket) = a_task(&house).await;
    ws.say(json!({"op": "watch", "watch": "x", "task": later})).await;
    let end = ws.until(|frame| frame["watch"] == "x").await.pop().unwrap();
    assert_eq!(end["problem"]["code"], "task-not-found", "{end}");
    let joins = joining(&later, &ticket).replace("host:", &format!("cookie: {cookie}\r\nhost:"));
    assert_eq!(house.call(&joins).await.status, 204);
    ws.say(json!({"op": "watch", "watch": "x", "task": later})).await;
    let opened = ws.until(|frame| frame["watch"] == "x").await.pop().unwrap();
    assert_eq!(opened["op"], "open");
    for fields in [
        format!("cookie: {cookie}\r\norigin: https://listed.example\r\n"),
        format!("cookie: {cookie}\r\nsec-fetch-site: same-origin\r\n"),
    ] {
        let mut ws = Ws::open(&house, &fields).await;
        ws.say(watch(&id)).await;
        assert_eq!(ws.closed().await.0, 4001, "{fields}");
    }
}

#[tokio::test]
async fn what_joins_a_session_at_one_node_is_seen_by_its_connections_to_another() {
    let [one, other] = super::two_nodes().await;
    let ((id, ticket), (later, later_ticket)) = (a_task(&one).await, a_task(&one).await);
    let joined = one.call(&joining(&id, &ticket)).await;
    let cookie = joined.field("set-cookie").split(';').next().unwrap().to_owned();
    let fields = format!("cookie: {cookie}\r\norigin: http://localhost\r\n");
    let mut ws = Ws::open(&other, &fields).await;
    assert_eq!(ws.json().await["op"], "ready");
    ws.say(watch(&later)).await;
    assert_eq!(ws.json().await["problem"]["code"], "task-not-found");
    let with_cookie = format!("cookie: {cookie}\r\nhost:");
    let joins = joining(&later, &later_ticket).replace("host:", &with_cookie);
    assert_eq!(one.call(&joins).await.status, 204);
    ws.say(watch(&later)).await;
    assert_eq!(ws.json().await["op"], "open");
}

#[tokio::test]
async fn a_handshake_that_is_none_is_told_what_is_missing() {
    let house = House::with(Mode::Async).await;
    let good = handshake("");
    let ticket = "rt_x";
    let filler = "x".repeat(limits::SOCKET_FIELDS_BYTES_MAX);
    for (request, status, code) in [
        (good.replace("/v1/ws", &format!("/v1/ws?ticket={ticket}")), 400, "invalid-parameter"),
        (good.replace("/v1/ws", "/v1/ws?x=1"), 400, "invalid-parameter"),
        (good.replace("upgrade: websocket\r\n", ""), 426, "upgrade-required"),
        (good.replace("connection: Upgrade", "connection: close"), 426, "upgrade-required"),
        (good.replace("version: 13", "version: 8"), 426, "upgrade-required"),
        (good.replace("sec-websocket-key: dGhl", "sec-websocket-key: "), 400, "malformed-request"),
        (good.replace("relais.v1.json", "graphql-ws"), 400, "malformed-request"),
        (good.replace("sec-websocket-protocol: relais.v1.json\r\n", ""), 400, "malformed-request"),
        (good.replace("GET", "POST"), 405, "method-not-allowed"),
        (handshake("content-length: 2\r\n") + "hi", 400, "malformed-request"),
        (handshake("transfer-encoding: chunked\r\n") + "0\r\n\r\n", 400, "malformed-request"),
        (handshake(&format!("x-filler: {filler}\r\n")), 431, "head-too-large"),
    ] {
        let reply = house.call(&request).await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{request}");
        if status == 426 {
            assert_eq!(reply.field("sec-websocket-version"), "13");
            assert_eq!(reply.field("upgrade"), "websocket");
        }
    }
    let head = house.send(&good.replace("GET", "HEAD")).await.head().await;
    assert_eq!(head.status, 426, "nothing follows it");
    // As proxies and libraries write them.
    for request in [
        handshake(&format!("x-filler: {}\r\n", &filler[200..])),
        good.replace("connection: Upgrade", "connection: keep-alive, upgrade"),
        good.replace("upgrade: websocket", "upgrade: WebSocket"),
        good.replace("relais.v1.json", "chat, relais.v1.json"),
        good.replace("\r\n\r\n", "\r\nsec-websocket-extensions: permessage-deflate\r\n\r\n"),
    ] {
        let (_, head) = Ws::shake(&house, &request).await;
        assert_eq!(head.status, 101, "{request}");
        assert_eq!(head.field("sec-websocket-extensions"), "");
        assert_eq!(head.all("sec-websocket-protocol"), ["relais.v1.json"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_right_that_ends_ends_its_watch_and_the_connection_that_came_by_it() {
    let house = with_keys(vec![all()]).await;
    let (id, ticket) = a_task(&house).await;
    let short = renewed(&house, &id, &ticket, json!({"expires_in": "20s"})).await;
    let short = short.as_str().unwrap();
    let mut by_it = Ws::open(&house, &format!("authorization: Bearer {short}\r\n")).await;
    by_it.json().await;
    by_it.say(watch(&id)).await;
    // One that has another right of its own goes on.
    let mut beside =
        Ws::open(&house, "relais-api-key: rk_read\r\n".replace("read", "all").as_str()).await;
    beside.json().await;
    // One that brought a later one in time goes on, too.
    let mut renewed = Ws::open(&house, &format!("authorization: Bearer {short}\r\n")).await;
    renewed.json().await;
    renewed.say(json!({"op": "auth", "token": ticket})).await;
    assert_eq!(renewed.json().await["op"], "ready");
    let (code, reason) = by_it.closed().await;
    assert_eq!((code, reason.as_str()), (4001, "ticket-expired"));
    for ws in [&mut beside, &mut renewed] {
        ws.say(json!({"op": "ping"})).await;
        assert_eq!(ws.json().await["op"], "pong");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_by_a_ticket_of_its_own_ends_with_it_and_the_others_go_on() {
    let house = with_keys(vec![all()]).await;
    let (id, ticket) = a_task(&house).await;
    let (other, other_ticket) = a_task(&house).await;
    let short = renewed(&house, &other, &other_ticket, json!({"expires_in": "20s"})).await;
    let mut ws = Ws::open(&house, &format!("authorization: Bearer {ticket}\r\n")).await;
    ws.json().await;
    ws.say(watch(&id)).await;
    ws.say(json!({"op": "watch", "watch": "x", "task": other, "ticket": short})).await;
    let told = ws.until(|frame| frame["op"] == "end").await;
    let end = told.last().unwrap();
    assert_eq!((&end["watch"], &end["reason"]), (&json!("x"), &json!("right")));
    assert_eq!(end["problem"]["code"], "ticket-expired");
    ws.say(json!({"op": "ping"})).await;
    ws.until(|frame| frame["op"] == "pong").await;
}

#[tokio::test(start_paused = true)]
async fn a_right_of_a_session_that_ends_ends_its_watch_alone() {
    let house = with_keys(vec![all()]).await;
    let (id, ticket) = a_task(&house).await;
    let (other, long) = a_task(&house).await;
    let short = renewed(&house, &id, &ticket, json!({"expires_in": "20s"})).await;
    let joined = house.call(&joining(&id, short.as_str().unwrap())).await;
    let cookie = joined.field("set-cookie").split(';').next().unwrap().to_owned();
    let with_cookie = format!("cookie: {cookie}\r\nhost:");
    house.call(&joining(&other, &long).replace("host:", &with_cookie)).await;
    let fields = format!("cookie: {cookie}\r\norigin: http://localhost\r\n");
    let mut ws = Ws::open(&house, &fields).await;
    ws.json().await;
    ws.say(json!({"op": "watch", "watch": "x", "task": other})).await;
    ws.say(watch(&id)).await;
    let end = ws.until(|frame| frame["op"] == "end").await.pop().unwrap();
    assert_eq!((&end["watch"], &end["reason"]), (&json!("w"), &json!("right")));
    ws.say(json!({"op": "unwatch", "watch": "x"})).await;
    ws.until(|frame| frame["reason"] == "unwatched").await;
}

#[tokio::test]
async fn a_ticket_that_only_reads_neither_cancels_nor_follows_a_label() {
    let house = with_keys(vec![all()]).await;
    let (id, ticket) = a_task(&house).await;
    let mut ws = Ws::open(&house, &format!("authorization: Bearer {ticket}\r\n")).await;
    ws.json().await;
    ws.say(json!({"op": "cancel", "id": "1", "task": id})).await;
    let reply = ws.json().await;
    assert_eq!((&reply["status"], &reply["problem"]["code"]), (&json!(403), &json!("forbidden")));
    ws.say(json!({"op": "watch", "watch": "l", "label": "a=b"})).await;
    assert_eq!(ws.json().await["problem"]["status"], 403);
    ws.say(json!({"op": "submit", "id": "2", "task": {"queue": "work"}})).await;
    assert_eq!(ws.json().await["status"], 403);
    // A ticket that a call brings counts for that call alone.
    let may = renewed(&house, &id, "rk_all", json!({"grants": ["read", "cancel"]})).await;
    ws.say(json!({"op": "cancel", "id": "3", "task": id, "ticket": may})).await;
    assert_eq!(ws.json().await["status"], 200);
    ws.say(json!({"op": "cancel", "id": "4", "task": id})).await;
    assert_eq!(ws.json().await["status"], 403);
}

#[tokio::test]
async fn a_key_that_was_taken_back_counts_no_more_on_a_connection_that_is_open() {
    let house = with_keys(vec![all(), key("rk_b", "default", Scopes::ALL)]).await;
    let mut ws = Ws::open(&house, "relais-api-key: rk_b\r\n").await;
    ws.json().await;
    let mut server = relais_server::config::ServerConfig::on_loopback();
    server.keys = vec![all()];
    house.door.go_by(house.door.prepare(server).unwrap());
    ws.say(json!({"op": "submit", "id": "1", "task": {"queue": "work"}})).await;
    assert_eq!(ws.json().await["status"], 401);
}

#[tokio::test]
async fn a_frame_that_cannot_be_read_closes_with_what_is_wrong() {
    let house = House::with(Mode::Async).await;
    for (sent, why) in [
        ("{", ""),
        (r#"{"op": "lease"}"#, "/op is none of the frames that there are"),
        (r#"{"op": "watch", "watch": "w"}"#, "/task is missing"),
        (r#"{"op": "ping", "id": "1"}"#, "/id is not of this frame"),
        (r#"{"op": "watch", "watch": "w", "task": "x", "after": -1}"#, "/after"),
    ] {
        let mut ws = Ws::open(&house, "").await;
        ws.raw(&frame(0x81, sent.as_bytes())).await;
        let (code, reason) = ws.closed().await;
        assert!(code == 4000 && reason.starts_with(why), "{sent}: {code} {reason}");
    }
    let _ = task(&house).await;
}
