//! What the log says of requests, however many there are and whatever is in them.

use std::time::Duration;

use relais_core::Policy;
use relais_engine::Config;
use relais_server::config::{Mode, ServerConfig};
use relais_store::StoreError;
use serde_json::json;

use crate::api::{Api, get, post};
use crate::house::Plan;
use crate::log::Log;
use crate::odd_store::OddStore;

const BROKEN: &str = "task_00000000000000000000000000";

/// Each request to a damaged store had a line of its own, also those of callers without a key.
#[tokio::test]
async fn faults_of_ours_have_a_line_now_and_then_however_often_they_are_met() {
    let store = OddStore::new();
    let api = Api::on(store.clone(), ServerConfig::on_loopback(), Config::default()).await;
    let task = format!("/v1/tasks/{BROKEN}");
    for (path, error, code) in [
        (task.as_str(), StoreError::Corrupt("bad page 7".to_owned()), "internal"),
        (&task, StoreError::BodyDamaged("bad sum 8".to_owned()), "body-damaged"),
        ("/readyz", StoreError::Corrupt("bad page 9".to_owned()), "store-unavailable"),
    ] {
        let cause = match &error {
            StoreError::Corrupt(text) | StoreError::BodyDamaged(text) => text.clone(),
            StoreError::Unavailable(_) | StoreError::Full => String::new(),
        };
        store.break_with(Some(error));
        let log = Log::here();
        for _ in 0..20 {
            let refused = api.call(get(path)).await;
            assert_eq!(refused.code(), code);
            assert!(!refused.text().contains(&cause), "what is inside is not told");
        }
        let lines = log.with(&cause);
        assert_eq!(lines.len(), 1, "{}", log.text());
        assert!(lines[0].contains(&format!("code=\"{code}\"")) && lines[0].contains(path));
        api.clock.advance(Duration::from_secs(10));
        api.call(get(path)).await;
        assert!(log.with(&cause)[1].contains("count=20"), "{}", log.text());
    }
}

/// An hour by which the clock was set was an hour that a request took, and let a kind speak again.
#[tokio::test]
async fn a_clock_that_is_set_changes_no_duration_in_the_log() {
    let mut plan = Plan::with(Mode::Auto).await;
    plan.server.access_log = true;
    let house = plan.build().await;
    let log = Log::here();
    let ask = "GET / HTTP/1.1\r\nhost: relais.test\r\n\r\n";
    let mut client = house.send(ask).await;
    let mut asked = house.upstream.next().await;
    house.clock.advance(Duration::from_millis(20));
    house.clock.set_by(3_600_000);
    asked.answer("200 OK", "", "done").await;
    assert_eq!(client.reply().await.status, 200);
    assert!(log.with("relais::access")[0].contains("took_ms=20"), "{}", log.text());

    house.app.stop.leave();
    for set_by_ms in [0, 3_600_000, -7_200_000] {
        house.clock.set_by(set_by_ms);
        let ready = "GET /readyz HTTP/1.1\r\nhost: relais.test\r\n\r\n";
        assert_eq!(house.call(ready).await.status, 503);
    }
    assert_eq!(log.with("a request was refused").len(), 1, "{}", log.text());
}

/// Behind a trusted proxy each line named the proxy: nobody could see who asked.
#[tokio::test]
async fn the_access_log_names_the_caller_and_the_proxy_it_came_by() {
    let asked = "GET /healthz HTTP/1.1\r\nhost: relais.test\r\n\
                 x-forwarded-for: 203.0.113.9\r\n\r\n";
    let log = Log::here();
    let trusted: ipnet::IpNet = "127.0.0.0/8".parse().unwrap();
    for (proxies, told) in [
        (vec![trusted], "client=203.0.113.9 peer=127.0.0.1"),
        // Nobody's proxy is not believed.
        (vec![], "took_ms=0 client=127.0.0.1"),
    ] {
        let mut plan = Plan::with(Mode::Auto).await;
        plan.server.access_log = true;
        plan.server.trusted_proxies = proxies;
        let house = plan.build().await;
        assert_eq!(house.call(asked).await.status, 200);
        let lines = log.with("relais::access");
        assert!(lines.last().unwrap().ends_with(told), "{told}: {}", log.text());
    }
}

/// The token of a callback stood in two lines, that of its refusal and that of the access log.
#[tokio::test]
async fn the_token_in_the_path_of_a_callback_is_not_logged() {
    let mut plan = Plan::with(Mode::Auto).await;
    plan.server.access_log = true;
    let house = plan.build().await;
    let log = Log::here();
    let callback = "POST /v1/callbacks/the-secret HTTP/1.1\r\nhost: relais.test\r\n\r\n";
    assert_eq!(house.call(callback).await.code(), "not-available");
    assert!(!log.text().contains("the-secret"), "{}", log.text());
    for line in ["relais::access", "a request was refused"] {
        assert!(log.with(line)[0].contains("path=\"/v1/callbacks/…\""), "{}", log.text());
    }
}

/// Of items that were refused the log said nothing, and of a fault of ours in one a line each.
#[tokio::test]
async fn refused_items_of_calls_are_told_like_refused_calls() {
    let policy = Policy { capacity: 1, ..Policy::default() };
    let engine = Config { template: Some(policy), ..Config::default() };
    let api = Api::with(ServerConfig::on_loopback(), engine).await;
    let log = Log::here();
    let batch = json!([{"queue": "work"}, {"queue": "work"}, {"queue": "work"}]);
    let items = api.call(post("/v1/tasks/batch", &batch)).await.json()["items"].clone();
    assert_eq!(items[2]["problem"]["code"], "queue-full", "{items}");
    assert_eq!(log.with("code=\"queue-full\"").len(), 1, "{}", log.text());
}
