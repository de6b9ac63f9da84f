//! Who may do what: keys, tickets, and calls without either.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use relais_server::auth::encode_key;
use relais_server::config::Scopes;
use serde_json::{Value, json};

use crate::api::{Api, Call, call, get, key, post};

const READER: Scopes =
    Scopes { submit: false, read: true, work: false, admin: false, operator: false };
const SUBMITTER: Scopes =
    Scopes { submit: true, read: true, work: false, admin: false, operator: false };

async fn two_tenants() -> Api {
    Api::with_keys(vec![
        key("rk_all", "default", Scopes::ALL),
        key("rk_read", "default", READER),
        key("rk_submit", "default", SUBMITTER),
        key("rk_other", "other", Scopes::ALL),
    ])
    .await
}

fn submission() -> Call {
    post("/v1/tasks", &json!({"queue": "work", "input": 1}))
}

#[tokio::test]
async fn a_key_comes_in_its_own_field_or_as_a_bearer_token() {
    let api = two_tenants().await;
    let own = api.call(submission().field("relais-api-key", "rk_all")).await;
    assert_eq!(own.status, StatusCode::ACCEPTED);
    let bearer = api.call(submission().field("authorization", "bearer rk_all")).await;
    assert_eq!(bearer.status, StatusCode::ACCEPTED);
    assert!(!own.header("location").contains("ticket="), "a key needs no ticket in links");
    assert!(own.json()["ticket"].is_string(), "but may pass one on");
    assert!(own.json()["links"]["cancel"].is_string());
}

#[tokio::test]
async fn without_a_valid_key_nothing_is_done_once_there_are_keys() {
    let api = two_tenants().await;
    let none = api.call(submission()).await;
    assert_eq!((none.status.as_u16(), none.code().as_str()), (401, "unauthorized"));
    assert_eq!(none.header("www-authenticate"), "Bearer realm=\"relais\"");
    // What was sent and is wrong was answered as if nothing had been sent.
    for (field, value, what) in [
        ("relais-api-key", "rk_nobody", "the API key that was sent is not valid"),
        ("authorization", "Bearer rk_nobody", "the API key that was sent is not valid"),
        ("authorization", "Bearer nonsense", "the ticket that was sent is not valid"),
    ] {
        let answer = api.call(submission().field(field, value)).await;
        assert_eq!(answer.code(), "unauthorized", "{value}");
        let challenge = "Bearer realm=\"relais\", error=\"invalid_token\"";
        assert_eq!(answer.header("www-authenticate"), challenge, "{value}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with(what) && !detail.contains("nonsense"), "{value}: {detail}");
    }
    let twice = submission().field("relais-api-key", "rk_all").field("relais-api-key", "rk_other");
    assert_eq!(api.call(twice).await.code(), "unauthorized");
}

#[tokio::test]
async fn a_key_does_what_its_scopes_say() {
    let api = two_tenants().await;
    let task = api.call(submission().field("relais-api-key", "rk_submit")).await.json();
    let id = task["id"].as_str().unwrap();
    for (method, target, allowed) in [
        ("GET", format!("/v1/tasks/{id}"), "rk_read rk_submit rk_all"),
        ("GET", "/v1/tasks".to_owned(), "rk_read rk_submit rk_all"),
        ("GET", "/v1/queues/work".to_owned(), "rk_read rk_submit rk_all"),
        ("POST", "/v1/queues/idle/leases".to_owned(), "rk_all"),
        ("POST", "/v1/queues/work/pause".to_owned(), "rk_all"),
        ("POST", format!("/v1/tasks/{id}/cancel"), "rk_submit rk_all"),
    ] {
        for key in ["rk_read", "rk_submit", "rk_all"] {
            let answer = api.call(call(method, &target).field("relais-api-key", key)).await;
            if allowed.split(' ').any(|allowed| allowed == key) {
                assert_eq!(answer.status, StatusCode::OK, "{method} {target} {key}");
            } else {
                assert_eq!(answer.code(), "forbidden", "{method} {target} {key}");
                assert!(answer.header("www-authenticate").contains("insufficient_scope"));
            }
        }
    }
}

#[tokio::test]
async fn another_tenants_task_is_not_found() {
    let api = two_tenants().await;
    let task = api.call(submission().field("relais-api-key", "rk_all")).await.json();
    let id = task["id"].as_str().unwrap();
    for (method, part) in [
        ("GET", ""),
        ("GET", "/result"),
        ("GET", "/events"),
        ("GET", "/why"),
        ("POST", "/cancel"),
        ("POST", "/retry"),
        ("DELETE", "?cancel=true"),
    ] {
        let target = format!("/v1/tasks/{id}{part}");
        let answer = api.call(call(method, &target).field("relais-api-key", "rk_other")).await;
        let refused = (answer.status.as_u16(), answer.code());
        assert_eq!(refused, (404, "task-not-found".to_owned()), "{method} {target}");
    }
    let list = api.call(get("/v1/tasks").field("relais-api-key", "rk_other")).await;
    assert_eq!(list.json()["items"], json!([]));
}

#[tokio::test]
async fn a_key_added_to_the_store_or_revoked_is_noticed() {
    let api = Api::new().await;
    let ours = key("rk_added", "default", Scopes::ALL);
    let (name, value) = encode_key(&ours);
    api.engine.put_secret(&name, Some(value)).await.unwrap();
    let added = || submission().field("relais-api-key", "rk_added");
    assert_eq!(api.call(added()).await.status, StatusCode::ACCEPTED);
    assert_eq!(api.call(submission()).await.code(), "unauthorized", "now there is a key");
    api.engine.put_secret(&name, None).await.unwrap();
    assert_eq!(api.call(added()).await.code(), "unauthorized");
}

fn ticket(task: &Value) -> &str {
    task["ticket"].as_str().unwrap()
}

fn self_target(task: &Value) -> String {
    format!("/v1/tasks/{}", task["id"].as_str().unwrap())
}

#[tokio::test]
async fn a_ticket_reads_its_task_from_anywhere_and_does_no_more() {
    let api = two_tenants().await;
    let task = api.call(submission().field("relais-api-key", "rk_all")).await.json();
    let (target, ticket) = (self_target(&task), ticket(&task));
    let elsewhere =
        || get(&target).field("host", "shop.example").field("sec-fetch-site", "cross-site");
    for by in [
        elsewhere().field("authorization", &format!("Bearer {ticket}")),
        get(&format!("{target}?ticket={ticket}")).field("host", "shop.example"),
    ] {
        let answer = api.call(by).await;
        assert_eq!(answer.status, StatusCode::OK);
        let link = answer.json()["links"]["result"].as_str().unwrap().to_owned();
        assert!(link.ends_with(&format!("/result?ticket={ticket}")), "{link}");
    }
    // A cookie names a session: a ticket in it is none.
    let in_cookie = elsewhere().field("cookie", &format!("a=b; __Host-relais={ticket}; c=d"));
    assert_eq!(api.call(in_cookie).await.code(), "unauthorized");
    let cancel = call("POST", &format!("{target}/cancel?ticket={ticket}"));
    let answer = api.call(cancel).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (403, "forbidden"));
    let erase = call("DELETE", &format!("{target}?ticket={ticket}"));
    assert_eq!(api.call(erase).await.code(), "forbidden");
    let list = api.call(get(&format!("/v1/tasks?ticket={ticket}"))).await;
    assert_eq!(list.code(), "forbidden");
}

#[tokio::test]
async fn a_ticket_is_for_one_task() {
    let api = two_tenants().await;
    let submit = || submission().field("relais-api-key", "rk_all");
    let (one, two) = (api.call(submit()).await.json(), api.call(submit()).await.json());
    let target = format!("{}?ticket={}", self_target(&one), ticket(&two));
    assert_eq!(api.call(get(&target)).await.code(), "task-not-found");
}

/// A ticket with one of its bytes changed.
fn with_byte(ticket: &str, at: usize, byte: u8) -> String {
    let mut raw = URL_SAFE_NO_PAD.decode(&ticket["rt_".len()..]).unwrap();
    raw[at] = byte;
    format!("rt_{}", URL_SAFE_NO_PAD.encode(raw))
}

#[tokio::test]
async fn a_ticket_that_is_not_ours_is_refused() {
    let api = two_tenants().await;
    let task = api.call(submission().field("relais-api-key", "rk_all")).await.json();
    let ours = ticket(&task);
    assert!(ours.starts_with("rt_") && ours.len() <= 64, "{ours}");
    for token in [
        // Another version, another key, more grants, a longer life, another signature.
        with_byte(ours, 0, 2),
        with_byte(ours, 1, 0),
        with_byte(ours, 21, 0b1111),
        with_byte(ours, 22, 1),
        with_byte(ours, 42, 0),
        ours["rt_".len()..].to_owned(),
        ours[..ours.len() - 1].to_owned(),
        format!("{ours}x"),
        format!("rk_{}", &ours["rt_".len()..]),
        "eyJhbGciOiJub25lIn0.e30.".to_owned(),
        "x".repeat(5_000),
    ] {
        let live = format!("{}/result?live&", self_target(&task));
        for place in [format!("{}?", self_target(&task)), "/v1/events?".to_owned(), live] {
            let answer = api.call(get(&format!("{place}ticket={token}"))).await;
            assert_eq!((answer.status.as_u16(), answer.code().as_str()), (401, "unauthorized"));
            assert!(answer.header("www-authenticate").contains("invalid_token"));
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.starts_with("the ticket that was sent is not valid"), "{detail}");
        }
    }
}

#[tokio::test]
async fn an_older_key_verifies_its_tickets_and_the_newest_signs() {
    let api = two_tenants().await;
    let old = api.call(submission().field("relais-api-key", "rk_all")).await.json();
    let secret = json!({"created_ms": i64::MAX, "secret": "bmV3ZXI="}).to_string();
    api.engine.put_secret("signing-key/0000002a", Some(secret.into())).await.unwrap();
    let config = relais_server::config::ServerConfig::on_loopback();
    let again = Api::on(api.store.clone(), config, relais_engine::Config::default()).await;
    let new = again.submit().await;
    let (_, key) = relais_server::auth::read_unverified(ticket(&new)).unwrap();
    assert_eq!(key, 0x2a);
    for task in [&old, &new] {
        let target = format!("{}?ticket={}", self_target(task), ticket(task));
        let elsewhere = get(&target).field("host", "shop.example");
        assert_eq!(again.call(elsewhere).await.status, StatusCode::OK);
    }
}

/// Each node knew the keys of its start only: a ticket that another signed with a newer one was a forgery.
#[tokio::test]
async fn a_signing_key_made_at_one_node_verifies_at_another() {
    let one = Api::new().await;
    let other = one.beside().await;
    let secret = json!({"created_ms": i64::MAX, "secret": "bmV3ZXI="}).to_string();
    other.engine.put_secret("signing-key/0000002a", Some(secret.into())).await.unwrap();
    let signed_by = |task: &Value| relais_server::auth::read_unverified(ticket(task)).unwrap().1;
    let mut task = other.submit().await;
    while signed_by(&task) != 0x2a {
        tokio::task::yield_now().await;
        task = other.submit().await;
    }
    let target = format!("{}?ticket={}", self_target(&task), ticket(&task));
    for _ in 0..1_000 {
        let elsewhere = get(&target).field("host", "shop.example");
        if one.call(elsewhere).await.status == StatusCode::OK {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the other node does not know the key");
}

#[tokio::test]
async fn a_ticket_ends_with_its_task_and_a_gone_task_is_said_to_be_gone() {
    let api = two_tenants().await;
    let document = json!({"queue": "work", "deadline": "1h", "retention": "1h"});
    let call = post("/v1/tasks", &document).field("relais-api-key", "rk_all");
    let task = api.call(call).await.json();
    let target = format!("{}?ticket={}", self_target(&task), ticket(&task));
    assert_eq!(api.call(get(&target)).await.status, StatusCode::OK);
    let erase = crate::api::call("DELETE", &format!("{}?cancel=true", self_target(&task)));
    let erased = api.call(erase.field("relais-api-key", "rk_all")).await;
    assert_eq!(erased.status, StatusCode::NO_CONTENT);
    let gone = api.call(get(&target)).await;
    assert_eq!((gone.status.as_u16(), gone.code().as_str()), (410, "task-gone"));
    let by_key = api.call(get(&self_target(&task)).field("relais-api-key", "rk_all")).await;
    assert_eq!(by_key.code(), "task-not-found");
    let by_ticket = get(&format!("/v1/events?ticket={}", ticket(&task)));
    assert_eq!(api.call(by_ticket).await.code(), "task-gone", "on a stream over many, too");
    api.clock.advance(Duration::from_secs(2 * 3_600 + 1));
    for target in [target, format!("/v1/events?ticket={}", ticket(&task)), "/v1/tasks".to_owned()] {
        let by = get(&target).field("authorization", &format!("Bearer {}", ticket(&task)));
        let ended = api.call(by).await;
        assert_eq!((ended.status.as_u16(), ended.code().as_str()), (401, "ticket-expired"));
        assert!(ended.header("www-authenticate").contains("invalid_token"), "{target}");
    }
    let more = with_byte(ticket(&task), 21, 0b111);
    let forged = api.call(get(&format!("{}?ticket={more}", self_target(&task)))).await;
    assert_eq!(forged.code(), "unauthorized", "of a forgery nothing is said to have ended");
}

#[tokio::test]
async fn tickets_survive_a_restart() {
    let api = two_tenants().await;
    let task = api.call(submission().field("relais-api-key", "rk_all")).await.json();
    let target = format!("{}?ticket={}", self_target(&task), ticket(&task));
    let config = relais_server::config::ServerConfig::on_loopback();
    let again = Api::on(api.store.clone(), config, relais_engine::Config::default()).await;
    assert_eq!(again.call(get(&target)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn without_keys_only_this_machine_is_served() {
    let api = Api::new().await;
    assert_eq!(api.call(submission()).await.status, StatusCode::ACCEPTED);
    let rebound = api.call(submission().field("host", "evil.example")).await;
    assert_eq!((rebound.status.as_u16(), rebound.code().as_str()), (403, "foreign-host"));
    let page = api.call(submission().field("origin", "http://evil.example")).await;
    assert_eq!((page.status.as_u16(), page.code().as_str()), (403, "cross-site"));
    let fetched = api.call(submission().field("sec-fetch-site", "cross-site")).await;
    assert_eq!(fetched.code(), "cross-site");
    let form = submission().field("content-type", "text/plain");
    assert_eq!(api.call(form).await.code(), "unsupported-media-type");
}

#[tokio::test]
async fn off_loopback_without_keys_nothing_is_taken_unless_the_operator_insists() {
    use relais_server::config::ServerConfig;
    let listen = "0.0.0.0:80".parse().unwrap();
    let config = ServerConfig { listen, ..ServerConfig::on_loopback() };
    let api = Api::with(config.clone(), relais_engine::Config::default()).await;
    assert_eq!(api.call(submission()).await.code(), "unauthorized");
    let config = ServerConfig { is_insecure: true, ..config };
    let api = Api::with(config, relais_engine::Config::default()).await;
    let call = submission().field("host", "shop.example");
    assert_eq!(api.call(call).await.status, StatusCode::ACCEPTED);
}
