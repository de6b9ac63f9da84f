//! What foreign pages, and forgers, try with the session of a browser.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use relais_api::openapi;
use relais_server::config::{Scopes, ServerConfig};
use relais_store::{Commit, MemoryStore, Store as _};
use serde_json::json;

use crate::api::{Answer, Api, Call, call, get, key, post};
use crate::sessions::{
    a_task, api, by_page, by_person, cookie_of, followed, granting, ids, joining,
};

const SHOP: &str = "https://shop.example.com";

/// Ways in which a page that is not of our own origin, or somebody who is no browser, calls.
fn by_others(call: impl Fn() -> Call) -> Vec<(&'static str, Call)> {
    let from = |site: &str| call().field("sec-fetch-site", site);
    vec![
        ("a foreign page", from("cross-site")),
        ("a page of a sister host", from("same-site")),
        ("an address that was typed", from("none")),
        ("a listed origin", from("same-site").field("origin", SHOP)),
        ("a listed origin, by an old browser", call().field("origin", SHOP)),
        ("a page without an origin", call().field("origin", "null")),
        (
            "a foreign page that claims ours",
            from("cross-site").field("origin", "http://127.0.0.1:0"),
        ),
        ("who says nothing", call()),
    ]
}

async fn api_with_origins() -> Api {
    let keys = vec![key("rk_all", "default", Scopes::ALL)];
    let cors_origins = vec![SHOP.to_owned()];
    let server = ServerConfig { keys, cors_origins, ..ServerConfig::on_loopback() };
    Api::with(server, relais_engine::Config::default()).await
}

#[track_caller]
fn assert_cross_site(answer: &Answer, who: &str) {
    let refused = (answer.status.as_u16(), answer.code());
    assert_eq!(refused, (403, "cross-site".to_owned()), "{who}: {}", answer.text());
    assert_eq!(answer.header("set-cookie"), "", "{who}");
}

/// Whatever changes something takes more than the cookie: every call of the description is tried, so
/// that one which is added is held to it.
#[tokio::test]
async fn by_the_cookie_alone_no_foreign_page_changes_anything_by_any_call() {
    let api = api_with_origins().await;
    let (id, cookie) = followed(&api, &["read", "cancel", "retry"]).await;
    let before = api.call(get(&format!("/v1/tasks/{id}")).field("cookie", &cookie)).await.json();
    let document = openapi::document("");
    let mut tried = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys().map(|name| name.to_uppercase()) {
            // The token of a lease is in the call itself: no browser adds it.
            if method == "GET" || path.starts_with("/v1/leases/") {
                continue;
            }
            let target = path.replace("{id}", &id).replace("{queue}", "work");
            let with_cookie = || {
                let call = call(&method, &target).field("content-type", "application/json");
                call.body("{}").field("cookie", &cookie)
            };
            for (who, call) in by_others(with_cookie) {
                let who = format!("{method} {target} by {who}");
                assert_cross_site(&api.call(call).await, &who);
            }
            tried.push(format!("{method} {path}"));
        }
    }
    for expected in ["POST /v1/tasks/{id}/cancel", "DELETE /v1/session", "PUT /v1/queues/{queue}"] {
        assert!(tried.iter().any(|call| call == expected), "{tried:?}");
    }
    assert!(tried.len() >= 15, "{tried:?}");
    let after = api.call(get(&format!("/v1/tasks/{id}")).field("cookie", &cookie)).await.json();
    assert_eq!(after, before);
    assert_eq!(ids(&api, &cookie).await, [id.as_str()]);
    // Our own pages do it: by what their browser says of them, or by their equal origin.
    let cancel = || call("POST", &format!("/v1/tasks/{id}/cancel")).field("cookie", &cookie);
    for own in [by_page(cancel()), cancel().field("origin", "http://127.0.0.1:0")] {
        assert_eq!(api.call(own).await.json()["status"], "canceled");
    }
}

/// A ticket, or a key, is sent by whoever has it: no browser adds those by itself.
#[tokio::test]
async fn a_listed_origin_acts_by_a_ticket_beside_a_cookie() {
    let api = api_with_origins().await;
    let (id, cookie) = followed(&api, &["read"]).await;
    let ticket = granting(&api, &id, &["read", "cancel"]).await;
    let cancel = call("POST", &format!("/v1/tasks/{id}/cancel"));
    let by = cancel.field("cookie", &cookie).field("origin", SHOP);
    let canceled = api.call(by.field("authorization", &format!("Bearer {ticket}"))).await;
    assert_eq!(canceled.json()["status"], "canceled", "{}", canceled.text());
}

#[tokio::test]
async fn a_foreign_link_shows_the_page_and_does_not_choose_what_the_browser_follows() {
    let api = api().await;
    let (mine, cookie) = followed(&api, &["read"]).await;
    let (theirs, ticket) = a_task(&api).await;
    let page = || {
        let page = get(&format!("/v1/tasks/{theirs}?ticket={ticket}")).field("accept", "text/html");
        page.field("cookie", &cookie)
    };
    for site in ["cross-site", "same-site", "none", ""] {
        let call = if site.is_empty() { page() } else { page().field("sec-fetch-site", site) };
        let shown = api.call(call).await;
        assert_eq!(shown.status, StatusCode::OK);
        assert_eq!((shown.header("set-cookie"), shown.header("cache-control")), ("", "no-store"));
        assert_eq!(shown.header("referrer-policy"), "no-referrer");
        let policy = shown.header("content-security-policy");
        assert!(policy.contains("frame-ancestors 'self'"), "{policy}");
        assert!(!policy.contains("unsafe-inline"), "{policy}");
    }
    // Nor can a foreign form press the button, with the browser's cookie or without it.
    let press = || call("POST", &format!("/v1/session/{theirs}?ticket={ticket}"));
    for (who, call) in by_others(press) {
        assert_cross_site(&api.call(call).await, who);
    }
    assert_eq!(ids(&api, &cookie).await, [mine.as_str()]);
    // That page is one of our own origin by now, and loads itself again, is loaded again by hand, and
    // leads to itself: it says neither that a person led there, nor where from.
    for call in [
        by_page(page()),
        by_person(page()).without("sec-fetch-user"),
        by_person(page()).without("referer"),
        by_person(page()).set("sec-fetch-dest", "iframe"),
        by_person(page()).set("sec-fetch-mode", "cors"),
        by_person(page()).set("sec-fetch-site", "same-site"),
        by_person(page()).field("sec-purpose", "prefetch;prerender"),
        page().field("origin", "http://127.0.0.1:0"),
    ] {
        let shown = api.call(call).await;
        assert_eq!((shown.status, shown.header("set-cookie")), (StatusCode::OK, ""));
    }
    assert_eq!(ids(&api, &cookie).await, [mine.as_str()]);
    // A person's own click on a page of the application is enough, and so is the button.
    let led = api.call(by_person(page())).await;
    assert_eq!(cookie_of(&led), cookie, "the session that it has");
    let mut both = [mine, theirs.clone()];
    both.sort_unstable();
    let mut found = ids(&api, &cookie).await;
    found.sort_unstable();
    assert_eq!(found, both);
    let pressed = api.call(joining(&theirs, &ticket).field("accept", "text/html")).await;
    let (status, location) = (pressed.status.as_u16(), pressed.header("location"));
    assert_eq!((status, location), (303, format!("../tasks/{theirs}").as_str()));
}

/// A cookie's text with one of its bytes changed.
fn with_byte(cookie: &str, at: usize) -> String {
    let (name, text) = cookie.split_once("=rs_").unwrap();
    let mut raw = URL_SAFE_NO_PAD.decode(text).unwrap();
    raw[at] ^= 1;
    format!("{name}=rs_{}", URL_SAFE_NO_PAD.encode(raw))
}

/// Another Relais, which signs with a key of its own.
async fn with_another_key() -> Api {
    let store = MemoryStore::new();
    let secret = json!({"created_ms": 1, "secret": "YW5vdGhlcg=="}).to_string();
    let (name, value) = ("signing-key/0000002a".to_owned(), Some(secret.into()));
    store.commit(vec![Commit::Secret { name, value }]).await.unwrap().remove(0).unwrap();
    let keys = vec![key("rk_all", "default", Scopes::ALL)];
    let server = ServerConfig { keys, ..ServerConfig::on_loopback() };
    Api::on(std::sync::Arc::new(store), server, relais_engine::Config::default()).await
}

#[tokio::test]
async fn a_forged_or_foreign_id_names_no_session_and_is_never_adopted() {
    let api = api().await;
    let elsewhere = with_another_key().await;
    let (id, cookie) = followed(&api, &["read"]).await;
    let (_, foreign) = followed(&elsewhere, &["read"]).await;
    let (_, ticket) = a_task(&api).await;
    let forged = [
        with_byte(&cookie, 0),
        with_byte(&cookie, 4),
        with_byte(&cookie, 5),
        with_byte(&cookie, 20),
        with_byte(&cookie, 36),
        foreign,
        format!("relais={ticket}"),
        "relais=".to_owned(),
        "relais=rs_".to_owned(),
        format!("{cookie}A"),
        format!("relais={}", "x".repeat(5_000)),
    ];
    let (other, ticket) = a_task(&api).await;
    for forged in forged {
        let answer = api.call(get(&format!("/v1/tasks/{id}")).field("cookie", &forged)).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (401, "unauthorized"));
        assert_eq!(ids(&api, &forged).await, [""; 0]);
        let joined = api.call(joining(&other, &ticket).field("cookie", &forged)).await;
        assert_eq!(joined.status, StatusCode::NO_CONTENT);
        assert!(![forged, cookie.clone()].contains(&cookie_of(&joined)), "it is a new one");
        assert_eq!(ids(&api, &cookie_of(&joined)).await, [other.as_str()]);
    }
    // Nor is a session brought back that has ended, by whoever kept its cookie.
    api.call(by_page(call("DELETE", "/v1/session")).field("cookie", &cookie)).await;
    let joined = api.call(joining(&other, &ticket).field("cookie", &cookie)).await;
    assert_ne!(cookie_of(&joined), cookie);
    assert_eq!(ids(&api, &cookie).await, [""; 0]);
}

#[tokio::test]
async fn a_forged_ticket_opens_no_new_path() {
    let api = api().await;
    let (id, ticket) = a_task(&api).await;
    let (_, of_another) = a_task(&api).await;
    let with_byte = |at: usize, byte: u8| {
        let mut raw = URL_SAFE_NO_PAD.decode(&ticket["rt_".len()..]).unwrap();
        raw[at] = byte;
        format!("rt_{}", URL_SAFE_NO_PAD.encode(raw))
    };
    let session = followed(&api, &["read"]).await.1;
    let other_purpose = session.replace("relais=rs_", "rt_");
    let forged = [
        (with_byte(0, 2), "unauthorized"),
        (with_byte(1, 0), "unauthorized"),
        (with_byte(21, 0b111), "unauthorized"),
        (with_byte(42, 0), "unauthorized"),
        (other_purpose, "unauthorized"),
        (of_another, "task-not-found"),
    ];
    for (forged, code) in &forged {
        let renew = post(&format!("/v1/tasks/{id}/tickets?ticket={forged}"), &json!({}));
        assert_eq!(api.call(renew).await.code(), *code, "{forged}");
        let joined = api.call(joining(&id, forged)).await;
        assert_eq!(joined.code(), *code, "{forged}");
        assert_eq!(joined.header("set-cookie"), "");
    }
}

#[tokio::test]
async fn sessions_of_one_link_are_bounded_and_its_page_is_shown_all_the_same() {
    let api = api().await;
    let (id, ticket) = a_task(&api).await;
    for _ in 0..relais_core::limits::SESSIONS_PER_TASK_MAX {
        assert_eq!(api.call(joining(&id, &ticket)).await.status, StatusCode::NO_CONTENT);
    }
    let one_more = api.call(joining(&id, &ticket)).await;
    assert_eq!((one_more.status.as_u16(), one_more.code().as_str()), (429, "rate-limited"));
    let page = get(&format!("/v1/tasks/{id}?ticket={ticket}")).field("accept", "text/html");
    let page = api.call(by_page(page)).await;
    assert_eq!((page.status, page.header("set-cookie")), (StatusCode::OK, ""));
    let (_, cookie) = followed(&api, &["read"]).await;
    let joined = api.call(joining(&id, &ticket).field("cookie", &cookie)).await;
    assert_eq!(joined.status, StatusCode::NO_CONTENT, "one that is there goes on");
}
