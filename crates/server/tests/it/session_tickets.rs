//! Tickets that come of a session or of other tickets: no more, and for no longer, than what asked for them.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use crate::api::{Call, call, get, post};
use crate::sessions::{a_task, api, by_page, cookie_of, followed, granting, joining};

#[tokio::test]
async fn a_ticket_is_renewed_with_no_more_than_was_presented() {
    let api = api().await;
    let (id, reads) = a_task(&api).await;
    let may_cancel = granting(&api, &id, &["read", "cancel"]).await;
    let renew = |ticket: &str, document: Value| {
        post(&format!("/v1/tasks/{id}/tickets?ticket={ticket}"), &document)
    };
    for (ticket, asked, given) in [
        (&reads, json!({}), Some(json!(["read"]))),
        (&reads, json!({"grants": ["read"]}), Some(json!(["read"]))),
        (&reads, json!({"grants": ["read", "cancel"]}), None),
        (&reads, json!({"grants": ["retry"]}), None),
        (&may_cancel, json!({}), Some(json!(["read", "cancel"]))),
        (&may_cancel, json!({"grants": ["cancel"]}), Some(json!(["cancel"]))),
        (&may_cancel, json!({"grants": ["read", "cancel", "retry"]}), None),
    ] {
        let answer = api.call(renew(ticket, asked.clone())).await;
        match given {
            Some(given) => {
                assert_eq!(answer.status, StatusCode::CREATED, "{asked}: {}", answer.text());
                assert_eq!(answer.json()["grants"], given, "{asked}");
            }
            None => {
                assert_eq!((answer.status.as_u16(), answer.code().as_str()), (403, "forbidden"))
            }
        }
    }
    let nothing = api.call(renew(&reads, json!({"expires_in": "0s"}))).await;
    assert_eq!(nothing.code(), "invalid-field");
    // At most to the end of the retention; a shorter life is as it is asked for.
    let end = "2023-11-15T00:13:21.000Z";
    for (asked, expected) in [
        (json!({}), end),
        (json!({"expires_in": "30d"}), end),
        (json!({"expires_in": "10m"}), "2023-11-14T22:23:20.000Z"),
    ] {
        let answer = api.call(renew(&reads, asked.clone())).await.json();
        assert_eq!(answer["expires_at"], expected, "{asked}");
        let target = format!("/v1/tasks/{id}?ticket={}", answer["ticket"].as_str().unwrap());
        assert_eq!(api.call(get(&target)).await.status, StatusCode::OK);
    }
    // One that ends soon may be renewed to the end; one that has ended, not at all.
    let short = api.call(renew(&reads, json!({"expires_in": "10m"}))).await.json();
    let short = short["ticket"].as_str().unwrap();
    let again = api.call(renew(short, json!({}))).await.json();
    assert_eq!(again["expires_at"], end);
    api.clock.advance(Duration::from_secs(601));
    let ended = api.call(renew(short, json!({}))).await;
    assert_eq!((ended.status.as_u16(), ended.code().as_str()), (401, "ticket-expired"));
}

#[tokio::test]
async fn a_cookie_gets_a_ticket_for_an_hour_at_most() {
    let api = api().await;
    let (id, cookie) = followed(&api, &["read", "cancel"]).await;
    let renew = |document: Value| {
        let call = post(&format!("/v1/tasks/{id}/tickets"), &document);
        by_page(call).field("cookie", &cookie)
    };
    for (asked, expected) in [
        (json!({}), "2023-11-14T23:13:20.000Z"),
        (json!({"expires_in": "2h"}), "2023-11-14T23:13:20.000Z"),
        (json!({"expires_in": "1m"}), "2023-11-14T22:14:20.000Z"),
    ] {
        let answer = api.call(renew(asked.clone())).await.json();
        assert_eq!(answer["expires_at"], expected, "{asked}");
        assert_eq!(answer["grants"], json!(["read", "cancel"]));
    }
    let more = api.call(renew(json!({"grants": ["retry"]}))).await;
    assert_eq!(more.code(), "forbidden");
}

/// The hour was that of one call: a ticket from a cookie was renewed to the end of the retention, and
/// one from a right of a minute was for an hour.
#[tokio::test]
async fn no_renewal_outlasts_the_ticket_or_the_right_that_a_session_gave() {
    let api = api().await;
    let (id, cookie) = followed(&api, &["read", "cancel", "retry"]).await;
    let renew = async |by: Call| {
        let answer = api.call(by).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        let answer = answer.json();
        (
            answer["ticket"].as_str().unwrap().to_owned(),
            answer["expires_at"].as_str().unwrap().to_owned(),
        )
    };
    let target = format!("/v1/tasks/{id}/tickets");
    let by_cookie = |cookie: &str| by_page(post(&target, &json!({}))).field("cookie", cookie);
    let by_ticket =
        |ticket: &str| post(&format!("{target}?ticket={ticket}"), &json!({"expires_in": "30d"}));
    let hour = "2023-11-14T23:13:20.000Z";
    let (mut ticket, end) = renew(by_cookie(&cookie)).await;
    assert_eq!(end, hour);
    for _ in 0..3 {
        api.clock.advance(Duration::from_secs(600));
        let (next, end) = renew(by_ticket(&ticket)).await;
        assert_eq!(end, hour, "an hour from the first");
        ticket = next;
    }
    // Nor does a session that is joined by it, or the fresh ticket of a retry, lead beyond.
    let joined = api.call(joining(&id, &ticket)).await;
    let other = cookie_of(&joined);
    assert!(
        joined.header("set-cookie").contains("Max-Age=1800;"),
        "{}",
        joined.header("set-cookie")
    );
    api.clock.advance(Duration::from_secs(60));
    assert_eq!(renew(by_cookie(&other)).await.1, hour);
    let cancel = call("POST", &format!("/v1/tasks/{id}/cancel?ticket={ticket}"));
    assert_eq!(api.call(cancel).await.status, StatusCode::OK);
    let retry = call("POST", &format!("/v1/tasks/{id}/retry?ticket={ticket}"));
    let fresh = api.call(retry).await.json();
    let (_, end) = renew(by_ticket(fresh["ticket"].as_str().unwrap())).await;
    assert_eq!(end, hour);
}

/// A retry answers with a fresh ticket: one with every grant of the route was handed to whoever
/// had only some, and one for days to whoever came by a cookie.
#[tokio::test]
async fn a_retry_hands_out_no_more_than_what_asked_for_it() {
    let api = api().await;
    let (id, cookie) = followed(&api, &["read", "retry"]).await;
    let cancel = || {
        let call = call("POST", &format!("/v1/tasks/{id}/cancel"));
        call.field("relais-api-key", "rk_all")
    };
    api.call(cancel()).await;
    api.clock.advance(Duration::from_secs(600));
    let retry = by_page(call("POST", &format!("/v1/tasks/{id}/retry")));
    let retried = api.call(retry.field("cookie", &cookie)).await;
    assert_eq!(retried.status, StatusCode::ACCEPTED, "{}", retried.text());
    assert!(!retried.text().contains("ticket"), "{}", retried.text());
    assert!(retried.json()["links"]["cancel"].is_null());
    assert!(!retried.header("location").contains("ticket"), "{}", retried.header("location"));
    assert_eq!(retried.header("set-cookie"), "", "the session's right ends when it did");

    let ticket = granting(&api, &id, &["retry", "read"]).await;
    api.call(cancel()).await;
    let retry = call("POST", &format!("/v1/tasks/{id}/retry?ticket={ticket}"));
    let fresh = api.call(retry).await.json();
    let (fresh, _) =
        relais_server::auth::read_unverified(fresh["ticket"].as_str().unwrap()).unwrap();
    assert!(fresh.grants.read && !fresh.grants.cancel, "{fresh:?}");

    api.clock.advance(Duration::from_secs(6_000));
    let by = by_page(post(&format!("/v1/tasks/{id}/tickets"), &json!({"expires_in": "30d"})));
    let last = api.call(by.field("cookie", &cookie)).await.json();
    assert_eq!(last["expires_at"], "2023-11-15T00:13:21.000Z", "as before both retries");
}
