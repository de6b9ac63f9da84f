//! Idempotency keys at the front door: two requests with one are one task, and whom it is shown to.

use relais_server::config::Mode;

use crate::front_door_handover::POST;
use crate::house::{House, Plan};

#[tokio::test]
async fn the_same_key_twice_is_one_task() {
    let house = House::with(Mode::Auto).await;
    let keyed = POST.replace("host: a", "host: a\r\nidempotency-key: \"0123456789012345678901\"");
    let mut client = house.send(&keyed).await;
    let mut call = house.upstream.next().await;
    assert_eq!(call.fields("idempotency-key"), ["0123456789012345678901"]);
    let second = house.send(&keyed).await;
    call.answer("200 OK", "", "once").await;
    assert_eq!(client.reply().await.text(), "once");
    let mut second = second;
    let reply = second.reply().await;
    assert_eq!((reply.text(), reply.field("idempotent-replayed")), ("once", "true"));
    let third = house.call(&keyed).await;
    assert_eq!((third.text(), third.field("idempotent-replayed")), ("once", "true"));
    let other = house.call(&keyed.replace("\r\n\r\nhi", "\r\n\r\nho")).await;
    assert_eq!((other.status, other.code().as_str()), (422, "idempotency-key-reused"));
    assert!(house.upstream.is_silent().await);
}

#[tokio::test]
async fn nobody_in_particular_gets_no_ticket_for_a_key_that_could_be_guessed() {
    let house = House::with(Mode::Async).await;
    let keyed = POST.replace("host: a", "host: a\r\nidempotency-key: 42");
    let first = house.call(&keyed).await;
    assert!(first.json()["ticket"].is_string());
    let second = house.call(&keyed).await;
    assert_eq!((second.status, second.task()), (202, first.task()));
    for member in ["ticket", "labels", "progress"] {
        assert_eq!(second.json().get(member), None, "{member}");
    }
    assert!(!second.field("location").contains("ticket"), "{second:?}");
    let why = second.json()["no_ticket"].as_str().unwrap().to_owned();
    assert!(why.contains("22 characters") && why.contains("UUID"), "{why}");
    house.upstream.next().await.answer("200 OK", "", "secret").await;
    house.over(first.task()).await;
    let third = house.call(&keyed).await;
    assert_eq!((third.status, third.json().get("ticket")), (202, None));
    assert_eq!(third.field("retry-after"), "1", "every 202 says when to ask again");
    assert!(third.json()["no_ticket"].is_string() && !third.text().contains("secret"));
    // Somebody in particular has keys of its own.
    let known = keyed.replace("host: a", "host: a\r\nauthorization: Bearer me");
    let own = house.call(&known).await;
    assert_ne!(own.task(), first.task());
    let again = house.call(&known).await.json();
    assert!(again["ticket"].is_string() && again.get("no_ticket").is_none(), "{again}");
}

#[tokio::test]
async fn a_repeat_from_this_machine_gets_what_the_first_would_get() {
    // It was a 200 the first time and a bare 202 the second, to a client that knows nothing of
    // Relais; clients that wait as long as `Retry-After` says broke on their second run.
    let house = House::with(Mode::Auto).await;
    let here = POST.replace("host: a", "host: localhost\r\nidempotency-key: report");
    let mut client = house.send(&here).await;
    let mut call = house.upstream.next().await;
    let mut waiting = house.send(&here.replace("host:", "prefer: wait=50\r\nhost:")).await;
    call.answer("200 OK", "", "once").await;
    assert_eq!(client.reply().await.text(), "once");
    let waited = waiting.reply().await;
    assert_eq!((waited.text(), waited.field("idempotent-replayed")), ("once", "true"));
    assert_eq!(waited.field("preference-applied"), "wait=50");
    let asynchronous = here.replace("host:", "prefer: respond-async\r\nhost:");
    let again = house.call(&asynchronous).await;
    assert_eq!((again.status, again.text()), (200, "once"));
    // Not from this machine, as far as it shows: through a proxy, or under another name.
    for other in ["host: localhost\r\nx-forwarded-for: 203.0.113.7", "host: api.example.com"] {
        let stranger = house.call(&here.replace("host: localhost", other)).await;
        assert_eq!((stranger.status, stranger.json().get("ticket")), (202, None), "{other}");
    }
    assert!(house.upstream.is_silent().await);
}

#[tokio::test]
async fn the_task_of_another_tenant_is_not_told_to_this_machine_for_a_short_key() {
    let mut plan = Plan::with(Mode::Async).await;
    plan.route().tenant = "b".parse().unwrap();
    let house = plan.build().await;
    let here = POST.replace("host: a", "host: localhost\r\nidempotency-key: report");
    assert!(house.call(&here).await.json()["ticket"].is_string());
    let again = house.call(&here).await.json();
    assert!(again.get("ticket").is_none() && again["no_ticket"].is_string(), "{again}");
}
