//! What callers without a key may hold of a queue, by their address.

use relais_core::Policy;
use relais_server::config::{Mode, Run, Scopes};
use serde_json::{Value, json};

use crate::api::key;
use crate::house::{House, Plan, Reply};
use crate::log::Log;

/// A house behind a proxy on this machine, whose queues give two tasks to each address.
async fn plan() -> Plan {
    let mut plan = Plan::with(Mode::Async).await;
    plan.server.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    // What came through a proxy is not taken at `/v1` without a key otherwise.
    plan.server.is_insecure = true;
    plan.policy = Policy { capacity_per_ip: Some(2), ..Policy::default() };
    plan.route().run = Run::Workers;
    plan
}

async fn house() -> House {
    plan().await.build().await
}

/// A request at the front door.
async fn knock(house: &House, fields: &str) -> Reply {
    house.call(&format!("POST /x HTTP/1.1\r\nhost: a\r\n{fields}content-length: 0\r\n\r\n")).await
}

/// The same, of a client that the proxy names.
async fn knock_from(house: &House, address: &str) -> Reply {
    knock(house, &format!("x-forwarded-for: {address}\r\n")).await
}

/// A call to the task API, of a client that the proxy names.
async fn post_from(house: &House, address: &str, path: &str, document: &Value) -> Reply {
    let body = document.to_string();
    let len = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nx-forwarded-for: {address}\r\n\
         content-type: application/json\r\ncontent-length: {len}\r\n\r\n"
    );
    house.call(&(head + &body)).await
}

fn assert_over_its_share(reply: &Reply) {
    assert_eq!((reply.status, reply.code().as_str()), (429, "too-many-tasks"));
    let problem = reply.json();
    assert_eq!((&problem["limit"], &problem["retryable"]), (&json!(2), &json!(true)));
    let after: u32 = reply.field("retry-after").parse().unwrap();
    assert!((1..=60).contains(&after), "{after}");
    assert_eq!(problem["retry_after"], format!("{after}s"));
}

#[tokio::test]
async fn an_address_holds_its_share_of_a_queue_and_the_others_theirs() {
    let house = house().await;
    let first = knock_from(&house, "203.0.113.7").await;
    assert_eq!(first.status, 202);
    assert_eq!(knock_from(&house, "203.0.113.7").await.status, 202);
    assert_over_its_share(&knock_from(&house, "203.0.113.7").await);
    assert_eq!(knock_from(&house, "203.0.113.8").await.status, 202);
    let tenant = "default".parse().unwrap();
    house.engine.cancel(&tenant, first.task()).await.unwrap();
    assert_eq!(knock_from(&house, "203.0.113.7").await.status, 202);
    assert_over_its_share(&knock_from(&house, "203.0.113.7").await);
}

#[tokio::test]
async fn the_task_api_counts_with_the_front_door_and_a_batch_item_by_item() {
    let house = house().await;
    let one = json!({"queue": "work"});
    let address = "203.0.113.7";
    assert_eq!(knock_from(&house, address).await.status, 202);
    let batch = json!([one, {"queue": "other"}, one, {"queue": "other"}, {"queue": "other"}]);
    let answer = post_from(&house, address, "/v1/tasks/batch", &batch).await;
    assert_eq!(answer.status, 200);
    let items = answer.json()["items"].clone();
    let statuses: Vec<_> = (0..5).map(|at| items[at]["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [202, 202, 429, 202, 429]);
    let problem = &items[2]["problem"];
    assert_eq!((&problem["code"], &problem["limit"]), (&json!("too-many-tasks"), &json!(2)));
    assert_over_its_share(&post_from(&house, address, "/v1/tasks", &one).await);
    assert_over_its_share(&knock_from(&house, address).await);
    assert_eq!(post_from(&house, "203.0.113.8", "/v1/tasks", &one).await.status, 202);
}

#[tokio::test]
async fn a_client_cannot_choose_the_address_it_is_counted_by() {
    let house = house().await;
    for made_up in ["198.51.100.1", "198.51.100.2"] {
        let told = format!("{made_up}, 203.0.113.7");
        assert_eq!(knock_from(&house, &told).await.status, 202);
    }
    for made_up in ["198.51.100.3", "127.0.0.1", "::1", "nonsense"] {
        let told = format!("{made_up}, 203.0.113.7");
        assert_over_its_share(&knock_from(&house, &told).await);
        let one = json!({"queue": "work"});
        assert_over_its_share(&post_from(&house, &told, "/v1/tasks", &one).await);
    }
    assert_over_its_share(&knock(&house, "forwarded: for=1.1.1.1, for=203.0.113.7\r\n").await);
}

#[tokio::test]
async fn a_network_of_ipv6_is_counted_as_one() {
    let house = house().await;
    assert_eq!(knock_from(&house, "2001:db8:1:2::1").await.status, 202);
    assert_eq!(knock_from(&house, "2001:db8:1:2:ffff::9").await.status, 202);
    assert_over_its_share(&knock_from(&house, "2001:db8:1:2:3:4:5:6").await);
    assert_eq!(knock_from(&house, "2001:db8:1:3::1").await.status, 202);
    // An address of IPv4 is the same in whatever way it is written.
    assert_eq!(knock_from(&house, "192.0.2.1").await.status, 202);
    assert_eq!(knock_from(&house, "::ffff:192.0.2.1").await.status, 202);
    assert_over_its_share(&knock_from(&house, "192.0.2.1").await);
    assert_eq!(knock_from(&house, "::ffff:192.0.2.2").await.status, 202);
}

#[tokio::test]
async fn this_machine_is_not_counted_nor_is_what_a_stranger_says_of_others() {
    let mut plan = plan().await;
    let trusting = house().await;
    plan.server.trusted_proxies.clear();
    let house = plan.build().await;
    for _ in 0..4 {
        assert_eq!(knock(&trusting, "").await.status, 202);
        let one = json!({"queue": "work"});
        // Not a proxy that is trusted: it is on this machine, whatever it says.
        assert_eq!(knock_from(&house, "203.0.113.7").await.status, 202);
        assert_eq!(post_from(&house, "203.0.113.7", "/v1/tasks", &one).await.status, 202);
    }
}

#[tokio::test]
async fn what_a_proxy_here_calls_this_machine_or_cannot_name_is_counted() {
    // A client that had a proxy pass its own words on was bounded by nothing.
    for told in ["127.0.0.1", "::1", "203.0.113.7, unknown"] {
        let house = house().await;
        assert_eq!(knock_from(&house, told).await.status, 202);
        assert_eq!(knock_from(&house, told).await.status, 202);
        assert_over_its_share(&knock_from(&house, told).await);
    }
}

/// One caller, who threw each cookie away, could take the sessions from everybody, and nobody was told.
#[tokio::test]
async fn a_network_begins_its_share_of_sessions_and_a_browser_of_another_still_gets_one() {
    let log = Log::here();
    let mut plan = plan().await;
    plan.policy = Policy::default();
    plan.session_capacity.per_source = 2;
    let house = plan.build().await;
    let navigate = async |address: &str, cookie: &str| {
        let fields = "sec-fetch-mode: navigate\r\nsec-fetch-dest: document\r\n\
                      sec-fetch-site: none\r\nx-forwarded-proto: https\r\n";
        let asked = format!("{fields}x-forwarded-for: {address}\r\n{cookie}");
        house.call(&format!("GET /x HTTP/1.1\r\nhost: a\r\n{asked}\r\n")).await
    };
    let first = navigate("203.0.113.7", "").await;
    assert_eq!(first.status, 303, "{}", first.text());
    assert_eq!(navigate("203.0.113.7", "").await.status, 303);
    for _ in 0..3 {
        let refused = navigate("203.0.113.7", "").await;
        assert_eq!((refused.status, refused.all("set-cookie").len()), (202, 0), "by its ticket");
    }
    assert_eq!(navigate("203.0.113.8", "").await.status, 303);
    let cookie = first.field("set-cookie").split(';').next().unwrap();
    let again = navigate("203.0.113.7", &format!("cookie: {cookie}\r\n")).await;
    assert_eq!(again.status, 303, "it has a session");
    assert_eq!(log.with("a browser was given no session").len(), 1, "{}", log.text());
    assert_eq!(house.engine.figures().await.unwrap().sessions, 3);
}

#[tokio::test]
async fn the_holder_of_a_key_is_not_counted() {
    let mut plan = plan().await;
    plan.server.keys = vec![key("rk_mine", "default", Scopes::ALL)];
    let house = plan.build().await;
    let fields = "x-forwarded-for: 203.0.113.7\r\nrelais-api-key: rk_mine\r\n";
    for _ in 0..4 {
        assert_eq!(knock(&house, fields).await.status, 202);
        let body = "{\"queue\":\"work\"}";
        let call = format!(
            "POST /v1/tasks HTTP/1.1\r\nhost: a\r\n{fields}content-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        assert_eq!(house.call(&call).await.status, 202);
    }
    for _ in 0..2 {
        assert_eq!(knock_from(&house, "203.0.113.7").await.status, 202, "the key took no share");
    }
    assert_over_its_share(&knock_from(&house, "203.0.113.7").await);
}

#[tokio::test]
async fn whoever_repeats_a_request_is_attached_although_its_share_is_taken() {
    let house = house().await;
    let fields = "x-forwarded-for: 203.0.113.7\r\n\
                  idempotency-key: \"8e03978e-40d5-43dd-bc93-6894a57f9324\"\r\n";
    let first = knock(&house, fields).await;
    assert_eq!(knock_from(&house, "203.0.113.7").await.status, 202);
    assert_over_its_share(&knock_from(&house, "203.0.113.7").await);
    let again = knock(&house, fields).await;
    assert_eq!((again.status, again.field("idempotent-replayed")), (202, "true"));
    assert_eq!(again.task(), first.task());
}

#[tokio::test]
async fn the_address_itself_is_not_stored() {
    let house = house().await;
    let reply = knock_from(&house, "203.0.113.7").await;
    let other = knock_from(&house, "203.0.113.8").await;
    let source = async |reply: &Reply| {
        house.engine.task(reply.task()).await.unwrap().unwrap().spec.source.unwrap()
    };
    let (first, second) = (source(&reply).await, source(&other).await);
    assert_ne!(first, second);
    assert!(!first.0.windows(4).any(|bytes| bytes == [203, 0, 113, 7]), "{first:?}");
}
