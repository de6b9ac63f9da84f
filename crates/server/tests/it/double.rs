//! A form or a link that is sent twice is one task, where its route says so.

use std::sync::Arc;
use std::time::Duration;

use relais_core::{Grace, Status, TaskId};
use relais_server::config::{DoubleSubmit, Mode};
use relais_store::MemoryStore;

use crate::house::{House, Plan, Reply, UpstreamCall};

const WINDOW: Duration = Duration::from_secs(10);
const ALICE: &str = "cookie: login=alice\r\n";
const BOB: &str = "cookie: login=bob\r\n";
const FORM: &str = "content-type: application/x-www-form-urlencoded\r\n";

/// A route whose forms may come twice.
async fn plan(field: Option<&str>) -> Plan {
    let mut plan = Plan::with(Mode::Async).await;
    let field = field.map(str::to_owned);
    let cookie = Some("login".to_owned());
    plan.route().double_submit = Some(DoubleSubmit { window: WINDOW, cookie, field });
    plan
}

async fn house() -> House {
    plan(None).await.build().await
}

async fn send(house: &House, line: &str, fields: &str, body: &str) -> Reply {
    let head = format!("{line} HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n", body.len());
    let reply = house.call(&format!("{head}{fields}\r\n{body}")).await;
    assert_eq!(reply.status, 202, "{reply:?}");
    reply
}

async fn form(house: &House, fields: &str, body: &str) -> TaskId {
    send(house, "POST /orders", &format!("{FORM}{fields}"), body).await.task()
}

/// A body of a form with a file, as a browser writes it.
fn multipart(boundary: &str, value: &str) -> (String, String) {
    let part = "content-disposition: form-data; name=\"csrf_token\"";
    (
        format!("content-type: multipart/form-data; boundary={boundary}\r\n"),
        format!("--{boundary}\r\n{part}\r\n\r\n{value}\r\n--{boundary}--\r\n"),
    )
}

#[tokio::test]
async fn a_second_click_is_joined_to_the_task_of_the_first() {
    let house = house().await;
    let first = form(&house, ALICE, "a=1").await;
    let second = send(&house, "POST /orders", &format!("{FORM}{ALICE}"), "a=1").await;
    assert_eq!((second.task(), second.field("idempotent-replayed")), (first, "true"));
    assert!(second.json()["ticket"].is_string(), "it is the same person");
    let link = send(&house, "GET /export?month=6", ALICE, "").await.task();
    assert_eq!(send(&house, "GET /export?month=6", ALICE, "").await.task(), link);
}

#[tokio::test]
async fn another_person_body_address_or_method_is_another_task() {
    let house = house().await;
    let first = form(&house, ALICE, "a=1").await;
    let authorized = format!("{ALICE}authorization: Basic YTpi\r\n");
    let others = [
        form(&house, BOB, "a=1").await,
        form(&house, &authorized, "a=1").await,
        form(&house, ALICE, "a=2").await,
        send(&house, "POST /orders?x=1", &format!("{FORM}{ALICE}"), "a=1").await.task(),
        send(&house, "PATCH /orders", &format!("{FORM}{ALICE}"), "a=1").await.task(),
        send(&house, "POST /orders", &format!("content-type: text/x\r\n{ALICE}"), "a=1")
            .await
            .task(),
        // The same as CSV and as PDF, and another body in the same bytes.
        form(&house, &format!("{ALICE}accept: text/csv\r\n"), "a=1").await,
        form(&house, &format!("{ALICE}accept: application/pdf\r\n"), "a=1").await,
        form(&house, &format!("{ALICE}content-encoding: x\r\n"), "a=1").await,
        form(&house, &format!("{ALICE}content-encoding: y\r\n"), "a=1").await,
    ];
    for (at, other) in others.iter().enumerate() {
        assert_ne!(*other, first, "{at}");
        assert!(!others[..at].contains(other), "{at}");
    }
    assert_eq!(form(&house, ALICE, "a=1").await, first);
}

#[tokio::test]
async fn a_boundary_that_the_browser_draws_anew_makes_no_other_form() {
    let house = house().await;
    let send = async |boundary: &str, value: &str| {
        let (fields, body) = multipart(boundary, value);
        send(&house, "POST /upload", &format!("{fields}{ALICE}"), &body).await.task()
    };
    let first = send("----WebKitFormBoundaryB4kTXBl3tg4TPrLZ", "x").await;
    assert_eq!(send("----geckoformboundary5f0c66eb4e0fd0ac1a1f6e7e0b2d3ae4", "x").await, first);
    assert_ne!(send("----WebKitFormBoundaryB4kTXBl3tg4TPrLZ", "y").await, first);
}

#[tokio::test]
async fn the_window_counts_from_the_first_accept_and_not_from_the_task() {
    let house = house().await;
    let first = form(&house, ALICE, "a=1").await;
    house.clock.advance(WINDOW - Duration::from_millis(1));
    assert_eq!(form(&house, ALICE, "a=1").await, first);
    house.clock.advance(Duration::from_millis(1));
    let next = form(&house, ALICE, "a=1").await;
    assert_ne!(next, first, "the first waits still, and is another order");
    house.clock.advance(WINDOW - Duration::from_millis(1));
    assert_eq!(form(&house, ALICE, "a=1").await, next);
}

#[tokio::test]
async fn whoever_sends_no_credentials_is_joined_by_the_field_of_the_page_alone() {
    let plain = house().await;
    assert_ne!(form(&plain, "", "a=1").await, form(&plain, "", "a=1").await);

    let house = plan(Some("csrf_token")).await.build().await;
    assert_ne!(form(&house, "", "a=1").await, form(&house, "", "a=1").await, "without the field");
    let empty = "a=1&csrf_token=";
    assert_ne!(form(&house, "", empty).await, form(&house, "", empty).await, "without a value");
    let first = form(&house, "", "a=1&csrf_token=x").await;
    let second = send(&house, "POST /orders", FORM, "a=1&csrf_token=x").await;
    assert_eq!(second.task(), first);
    assert!(second.json()["ticket"].is_string(), "only one page has the field");
    assert_ne!(form(&house, "", "a=1&csrf_token=y").await, first, "another page");
    let link = async || send(&house, "GET /export?csrf_token=x", "", "").await.task();
    assert_eq!(link().await, link().await);
    let (fields, body) = multipart("b", "x");
    let upload = async || send(&house, "POST /upload", &fields, &body).await.task();
    assert_eq!(upload().await, upload().await);
    // Who is known needs no such field.
    assert_eq!(form(&house, ALICE, "a=1").await, form(&house, ALICE, "a=1").await);
}

/// Any cookie was a credential: the second of two people whose browsers had been told `consent=yes`
/// was handed the answer of the first.
#[tokio::test]
async fn a_cookie_that_says_nothing_of_who_sends_it_joins_nobody() {
    const CONSENT: &str = "cookie: consent=yes; lang=fr\r\n";
    for name in [Some("login"), None] {
        let mut plan = plan(None).await;
        let cookie = name.map(str::to_owned);
        plan.route().double_submit = Some(DoubleSubmit { window: WINDOW, cookie, field: None });
        let house = plan.build().await;
        for fields in
            [CONSENT, "cookie: login=\r\n", "cookie: xlogin=alice\r\n", "x-auth-token: a\r\n"]
        {
            let (first, second) = (form(&house, fields, "").await, form(&house, fields, "").await);
            assert_ne!(first, second, "{name:?} {fields}");
        }
        let is_known = form(&house, ALICE, "").await == form(&house, ALICE, "").await;
        assert_eq!(is_known, name.is_some());
        let basic = "authorization: Basic YTpi\r\n";
        assert_eq!(form(&house, basic, "").await, form(&house, basic, "").await);
    }
    // By the field of the page two are one, if their cookies are as well.
    let house = plan(Some("csrf_token")).await.build().await;
    let first = form(&house, CONSENT, "csrf_token=x").await;
    assert_eq!(form(&house, CONSENT, "csrf_token=x").await, first);
    assert_ne!(form(&house, "cookie: consent=no\r\n", "csrf_token=x").await, first);
    assert_ne!(form(&house, CONSENT, "").await, form(&house, CONSENT, "").await);
}

fn called_for(call: &UpstreamCall) -> TaskId {
    call.field("relais-task").unwrap().parse().unwrap()
}

/// The second click makes the browser drop the connection of the first: whoever was joined to what
/// had been canceled by that could hand in nothing until the window was over.
#[tokio::test]
async fn a_click_that_was_canceled_because_its_client_had_left_takes_no_other_with_it() {
    let mut plan = plan(None).await;
    plan.route().mode = Mode::Auto;
    plan.route().abandon = Some(Grace::ZERO);
    let house = plan.build().await;
    let click =
        format!("POST /orders HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n{FORM}{ALICE}\r\na=1");
    let client = house.send(&click).await;
    let left = house.upstream.next().await;
    let first = called_for(&left);
    drop(client);
    assert_eq!(house.over(first).await.life.status(), Status::Canceled);
    let mut client = house.send(&click).await;
    let mut call = house.upstream.next().await;
    assert_ne!(called_for(&call), first);
    call.answer("200 OK", "", "ordered").await;
    let reply = client.reply().await;
    assert_eq!((reply.text(), reply.all("idempotent-replayed")), ("ordered", vec![]));
}

/// Whoever cancels, and sends the same again at once, has changed their mind.
#[tokio::test]
async fn a_click_that_was_canceled_by_hand_holds_nobody() {
    let house = house().await;
    let first = form(&house, ALICE, "a=1").await;
    let host = format!("host: {}\r\ncontent-length: 0\r\n\r\n", house.address);
    let canceled = house.call(&format!("POST /v1/tasks/{first}/cancel HTTP/1.1\r\n{host}")).await;
    assert_eq!(canceled.json()["status"], "canceled");
    let second = send(&house, "POST /orders", &format!("{FORM}{ALICE}"), "a=1").await;
    assert_ne!(second.task(), first);
    assert_eq!(second.field("idempotent-replayed"), "");
    assert_eq!(form(&house, ALICE, "a=1").await, second.task(), "and its window has begun");
}

#[tokio::test]
async fn the_same_field_from_another_address_joins_nobody() {
    let mut plan = plan(Some("csrf_token")).await;
    plan.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    let house = plan.build().await;
    let from = async |address: &str| {
        form(&house, &format!("x-forwarded-for: {address}\r\n"), "csrf_token=x").await
    };
    let first = from("192.0.2.1").await;
    assert_eq!(from("192.0.2.1").await, first);
    assert_ne!(from("192.0.2.2").await, first);
    assert_ne!(from("2001:db8::1").await, from("2001:db8::2").await);
}

#[tokio::test]
async fn a_key_that_is_given_outweighs_the_window() {
    let house = house().await;
    let keyed =
        async |key: &str| form(&house, &format!("{ALICE}idempotency-key: {key}\r\n"), "a=1").await;
    let first = keyed("one").await;
    assert_ne!(keyed("two").await, first);
    assert_ne!(form(&house, ALICE, "a=1").await, first);
    house.clock.advance(WINDOW * 2);
    assert_eq!(keyed("one").await, first);
}

#[tokio::test]
async fn the_cookie_of_relais_makes_nobody_another_caller() {
    let house = plan(Some("csrf_token")).await.build().await;
    let first = form(&house, ALICE, "a=1").await;
    let with_ours = "cookie: __Host-relais=abc; login=alice\r\n";
    assert_eq!(form(&house, with_ours, "a=1").await, first);
    let ours_alone = "cookie: __Host-relais=abc\r\n";
    assert_ne!(form(&house, ours_alone, "a=1").await, form(&house, ours_alone, "a=1").await);
}

#[tokio::test]
async fn by_default_each_click_is_a_task() {
    let house = House::with(Mode::Async).await;
    assert_ne!(form(&house, ALICE, "a=1").await, form(&house, ALICE, "a=1").await);
}

/// Nothing of it lives in one process: the claim is part of the commit.
#[tokio::test]
async fn two_nodes_that_get_one_form_at_once_make_one_task() {
    let store = Arc::new(MemoryStore::new());
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let mut plan = plan(None).await;
        plan.store = store.clone();
        nodes.push(Arc::new(plan.build().await));
    }
    let clicks: Vec<_> = (0..20)
        .map(|click| {
            let node = nodes[click % 2].clone();
            tokio::spawn(async move { form(&node, ALICE, "a=1").await })
        })
        .collect();
    let mut tasks = Vec::new();
    for click in clicks {
        tasks.push(click.await.unwrap());
    }
    tasks.dedup();
    assert_eq!(tasks.len(), 1, "{tasks:?}");
}
