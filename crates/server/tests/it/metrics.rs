//! What `/metrics` tells, to whom, and in which form.

use std::time::Duration;

use http::StatusCode;
use http_body_util::BodyExt as _;
use relais_core::limits::{METRIC_QUEUES_PER_TENANT_MAX, QUEUES_PER_TENANT_MAX};
use relais_engine::Config;
use relais_server::config::{Scopes, ServerConfig};
use serde_json::json;
use tower::ServiceExt as _;

use crate::api::{Api, call, key, post, without_retries};

const OF_QUEUE: &str = "{tenant=\"default\",queue=\"work\"";

/// Status, type and text, as the holder of a key or somebody on this machine reads them.
async fn read(api: &Api, api_key: Option<&str>, accept: &str) -> (StatusCode, String, String) {
    let mut request = http::Request::get("/metrics").header("host", "localhost:8081");
    if !accept.is_empty() {
        request = request.header("accept", accept);
    }
    if let Some(key) = api_key {
        request = request.header("relais-api-key", key);
    }
    let request = request.body(axum::body::Body::empty()).unwrap();
    let response = relais_server::admin_router(&api.app).oneshot(request).await.unwrap();
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    let status = response.status();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    (status, kind, String::from_utf8(text.to_vec()).unwrap())
}

async fn has_lines(api: &Api, lines: &[String]) {
    let (status, _, text) = read(api, None, "").await;
    assert_eq!(status, StatusCode::OK);
    for line in lines {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn they_count_by_queue_tenant_and_code() {
    let config = Config { template: Some(without_retries()), ..Config::default() };
    let api = Api::with(ServerConfig::on_loopback(), config).await;
    api.succeed(json!(1)).await;
    api.submit().await;
    let lease = api.lease().await;
    api.clock.advance(Duration::from_secs(2));
    // Its own code must not become a label: there would be no bound to them.
    let problem = json!({"code": "out-of-ink", "title": "No ink"});
    let fail = json!({"token": lease["token"], "outcome": "fail", "retryable": false,
                      "problem": problem});
    assert_eq!(api.settle(fail).await["status"], 200);
    let canceled = api.submit().await;
    let cancel = format!("/v1/tasks/{}/cancel", canceled["id"].as_str().unwrap());
    assert_eq!(api.call(call("POST", &cancel)).await.status, StatusCode::OK);
    has_lines(
        &api,
        &[
            format!("relais_tasks_accepted_total{OF_QUEUE}}} 3\n"),
            format!("relais_attempts_started_total{OF_QUEUE}}} 2\n"),
            format!("relais_runs_succeeded_total{OF_QUEUE}}} 1\n"),
            format!("relais_runs_canceled_total{OF_QUEUE}}} 1\n"),
            format!("relais_runs_failed_total{OF_QUEUE},code=\"handler-failed\"}} 1\n"),
            format!("relais_attempt_duration_seconds_count{OF_QUEUE}}} 2\n"),
            format!("relais_attempt_duration_seconds_bucket{OF_QUEUE},le=\"1.0\"}} 1\n"),
            format!("relais_attempt_duration_seconds_bucket{OF_QUEUE},le=\"10.0\"}} 2\n"),
            format!("relais_wait_duration_seconds_count{OF_QUEUE}}} 2\n"),
            format!("relais_queue_tasks{OF_QUEUE},status=\"failed\"}} 1\n"),
            "relais_store_ready 1\n".to_owned(),
            "relais_draining 0\n".to_owned(),
            "relais_build_info{version=".to_owned(),
        ],
    )
    .await;
    let (_, _, text) = read(&api, None, "").await;
    assert!(!text.contains("out-of-ink"), "{text}");
}

#[tokio::test]
async fn failed_attempts_count_though_another_follows() {
    let api = Api::new().await;
    api.submit().await;
    let lease = api.lease().await;
    let fail = json!({"token": lease["token"], "outcome": "fail", "retryable": true});
    assert_eq!(api.settle(fail).await["status"], 200);
    let line = format!("relais_attempts_failed_total{OF_QUEUE},code=\"handler-failed\"}} 1\n");
    has_lines(&api, &[line, format!("relais_queue_scheduled{OF_QUEUE}}} 1\n")]).await;
}

#[tokio::test]
async fn the_age_of_the_oldest_task_that_could_start_rises_and_falls() {
    let api = Api::new().await;
    let later = post("/v1/tasks", &json!({"queue": "work", "delay": "1h"}));
    assert_eq!(api.call(later).await.status, StatusCode::ACCEPTED);
    api.clock.advance(Duration::from_secs(5));
    let age = |seconds: u32| format!("relais_queue_oldest_seconds{OF_QUEUE}}} {seconds}\n");
    has_lines(&api, &[age(0)]).await;
    api.submit().await;
    api.clock.advance(Duration::from_secs(700));
    has_lines(&api, &[age(700)]).await;
    api.lease().await;
    has_lines(&api, &[age(0), format!("relais_queue_leases{OF_QUEUE}}} 1\n")]).await;
    assert_eq!(api.call(call("POST", "/v1/queues/work/pause")).await.status, StatusCode::OK);
    has_lines(&api, &[format!("relais_queue_paused{OF_QUEUE}}} 1\n")]).await;
}

#[tokio::test]
async fn refused_requests_and_upstreams_are_told() {
    let limits = relais_engine::UpstreamLimits::default();
    let upstreams = [("http://127.0.0.1:9".to_owned(), limits)].into();
    let config = Config { upstreams, template: Some(without_retries()), ..Config::default() };
    let api = Api::with(ServerConfig::on_loopback(), config).await;
    api.call(post("/v1/tasks", &json!({"queue": "NO"}))).await;
    has_lines(
        &api,
        &[
            "relais_requests_refused_total{code=\"".to_owned(),
            "relais_upstream_paused{upstream=\"http://127.0.0.1:9\"} 0\n".to_owned(),
            "relais_followers 0\n".to_owned(),
            "relais_websockets 0\n".to_owned(),
            "relais_sessions 0\n".to_owned(),
        ],
    )
    .await;
}

#[tokio::test]
async fn they_come_in_the_format_that_is_asked_for() {
    let api = Api::new().await;
    api.submit().await;
    let both = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    for (accept, is_open) in [
        ("", false),
        ("*/*", false),
        ("text/plain;version=0.0.4", false),
        ("text/html, */*;q=0.1", false),
        ("application/openmetrics-text;q=0.5, text/plain", false),
        (both, true),
    ] {
        let (_, kind, text) = read(&api, None, accept).await;
        let expected = match is_open {
            true => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            false => "text/plain; version=0.0.4; charset=utf-8",
        };
        assert_eq!(kind, expected, "{accept}");
        assert_eq!(text.ends_with("# EOF\n"), is_open, "{accept}");
        let family = if is_open { "relais_tasks_accepted" } else { "relais_tasks_accepted_total" };
        assert!(text.contains(&format!("# TYPE {family} counter\n")), "{accept}\n{text}");
    }
}

#[tokio::test]
async fn they_keep_tenants_apart() {
    // An admin's key of one tenant read the names and counts of all queues.
    let operator = Scopes { operator: true, ..Scopes::default() };
    let submit = Scopes { submit: true, ..Scopes::default() };
    let api = Api::with_keys(vec![
        key("rk_one", "one", Scopes::ALL),
        key("rk_two", "two", Scopes::ALL),
        key("rk_reader", "one", Scopes { read: true, ..Scopes::default() }),
        key("rk_submitter", "one", submit),
        key("rk_operator", "one", operator),
    ])
    .await;
    for tenant in ["one", "two"] {
        let task = json!({"queue": format!("secret-of-{tenant}")});
        let submit = post("/v1/tasks", &task).field("relais-api-key", &format!("rk_{tenant}"));
        assert_eq!(api.call(submit).await.status, StatusCode::ACCEPTED);
    }
    for own in ["rk_one", "rk_reader"] {
        let (_, _, text) = read(&api, Some(own), "*/*").await;
        assert!(text.contains("secret-of-one") && !text.contains("two"), "{text}");
        for of_all in [
            "requests_refused",
            "sessions",
            "followers",
            "websockets",
            "tasks_erased",
            "upstream_paused",
        ] {
            assert!(!text.contains(of_all), "{of_all} is of all tenants\n{text}");
        }
    }
    let (_, _, text) = read(&api, Some("rk_operator"), "*/*").await;
    assert!(text.contains("secret-of-one") && text.contains("secret-of-two"), "{text}");
    assert!(text.contains("relais_followers"), "{text}");
    let (status, _, text) = read(&api, Some("rk_submitter"), "*/*").await;
    assert!(status == StatusCode::FORBIDDEN && text.contains("`read`"), "{text}");
    assert_eq!(read(&api, None, "*/*").await.0, StatusCode::UNAUTHORIZED);
    let list = call("GET", "/v1/queues").field("relais-api-key", "rk_operator");
    assert_eq!(api.call(list).await.status, StatusCode::FORBIDDEN, "it is for metrics only");
}

#[tokio::test]
async fn many_queues_do_not_swell_them() {
    let api = Api::new().await;
    let count = QUEUES_PER_TENANT_MAX.min(600);
    let tasks: Vec<_> = (0..count).map(|n| json!({"queue": format!("q{n}")})).collect();
    assert_eq!(api.call(post("/v1/tasks/batch", &json!(tasks))).await.status, StatusCode::OK);
    api.submit().await;
    api.submit().await;
    api.clock.advance(Duration::from_secs(60));
    let (_, _, text) = read(&api, None, "").await;
    assert!(text.lines().count() < 6_000, "{} lines", text.lines().count());
    let others = "{tenant=\"default\",queue=\"(others)\"";
    let left = count - METRIC_QUEUES_PER_TENANT_MAX + 1;
    has_lines(
        &api,
        &[
            format!("relais_queue_tasks{others},status=\"queued\"}} {left}\n"),
            format!("relais_queue_oldest_seconds{others}}} 60\n"),
            // The largest is told by name, though it came last; counters go by who came first.
            format!("relais_queue_tasks{OF_QUEUE},status=\"queued\"}} 2\n"),
            format!("relais_tasks_accepted_total{others}}} {}\n", left + 1),
        ],
    )
    .await;
}
