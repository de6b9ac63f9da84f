//! Relais itself.

use http::StatusCode;
use http_body_util::BodyExt as _;
use relais_engine::Config;
use relais_server::config::{Scopes, ServerConfig};
use serde_json::json;
use tower::ServiceExt as _;

use crate::api::{Api, call, get, key, post, without_retries};

#[tokio::test]
async fn it_lives_and_takes_work_until_it_stops() {
    let api = Api::new().await;
    for path in ["/healthz", "/readyz"] {
        let answer = api.call(get(path).field("host", "balancer.example")).await;
        assert_eq!((answer.status, answer.text()), (StatusCode::OK, "{\"status\":\"ok\"}"));
    }
    api.app.close();
    assert_eq!(api.call(get("/healthz")).await.status, StatusCode::OK);
    let answer = api.call(get("/readyz")).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "server-draining"));
}

#[tokio::test]
async fn its_calls_are_described() {
    let api = Api::new().await;
    let answer = api.call(get("/v1/openapi.json")).await;
    assert_eq!(answer.json()["openapi"], "3.1.0");
    let document = answer.json();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let path = path
                .replace("{id}", "task_00000000000000000000000000")
                .replace("{queue}", "work")
                .replace("{code}", "internal");
            let answer = api.call(call(&method.to_uppercase(), &path)).await;
            assert_ne!(answer.status.as_u16(), 405, "{method} {path}");
            assert_ne!(answer.status.as_u16(), 501, "{method} {path}");
            let is_known =
                answer.status != StatusCode::NOT_FOUND || answer.json()["code"] != "not-found";
            assert!(is_known, "{method} {path} is described and does not exist");
        }
    }
}

#[tokio::test]
async fn every_error_has_a_page() {
    let api = Api::new().await;
    let plain = api.call(get("/problems/queue-full")).await;
    assert_eq!(plain.header("content-type"), "text/markdown; charset=utf-8");
    assert!(plain.text().starts_with("# queue-full"));
    let page = api.call(get("/problems/queue-full").field("accept", "text/html")).await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.text().contains("<h1>queue-full</h1>"));
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
    assert_eq!(api.call(get("/problems/no-such")).await.code(), "not-found");
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let api = Api::new().await;
    let nowhere = api.call(get("/nowhere?secret=1")).await;
    assert_eq!((nowhere.status.as_u16(), nowhere.code().as_str()), (404, "not-found"));
    assert_eq!(nowhere.json()["instance"], "/nowhere", "never the query");
    assert_eq!(api.call(get("/metrics")).await.code(), "not-found", "only on the admin listener");
    for path in ["/v1/ws", "/v1/push", "/v1/schedules", "/v1/webhooks", "/v1/nodes"] {
        let answer = api.call(call("POST", path)).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (501, "not-available"));
    }
}

#[tokio::test]
async fn a_prefix_goes_before_every_path() {
    let config = ServerConfig { api_prefix: "/_relais".to_owned(), ..ServerConfig::on_loopback() };
    let api = Api::with(config, Config::default()).await;
    assert_eq!(api.call(get("/healthz")).await.code(), "not-found");
    assert_eq!(api.call(get("/_relais/healthz")).await.status, StatusCode::OK);
    let problem = api.call(get("/_relais/problems/no-such")).await.json();
    assert_eq!(problem["type"], "http://127.0.0.1:0/_relais/problems/not-found");
    assert_eq!(problem["instance"], "/_relais/problems/no-such");
}

/// Metrics as the holder of a key, or somebody on this machine, reads them.
async fn metrics(api: &Api, api_key: Option<&str>, accept: &str) -> (StatusCode, String, String) {
    let mut request = http::Request::get("/metrics").header("host", "localhost:8081");
    request = request.header("accept", accept);
    if let Some(key) = api_key {
        request = request.header("relais-api-key", key);
    }
    let request = request.body(axum::body::Body::empty()).unwrap();
    let response = api.app.admin_router().oneshot(request).await.unwrap();
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    let status = response.status();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    (status, kind, String::from_utf8(text.to_vec()).unwrap())
}

#[tokio::test]
async fn the_admin_listener_shows_metrics_by_queue_tenant_and_code() {
    let api = Api::with(
        ServerConfig::on_loopback(),
        Config { template: Some(without_retries()), ..Config::default() },
    )
    .await;
    api.succeed(json!(1)).await;
    api.submit().await;
    let lease = api.lease().await;
    api.clock.advance(std::time::Duration::from_secs(2));
    let fail = json!({"token": lease["token"], "outcome": "fail", "retryable": false});
    assert_eq!(api.settle(fail).await["status"], 200);
    let (status, _, text) = metrics(&api, None, "*/*").await;
    assert_eq!(status, StatusCode::OK);
    let of_queue = "{tenant=\"default\",queue=\"work\"";
    for line in [
        format!("relais_tasks_accepted_total{of_queue}}} 2\n"),
        format!("relais_attempts_started_total{of_queue}}} 2\n"),
        format!("relais_runs_succeeded_total{of_queue}}} 1\n"),
        format!("relais_runs_failed_total{of_queue},code=\"handler-failed\"}} 1\n"),
        format!("relais_attempt_duration_seconds_count{of_queue}}} 2\n"),
        format!("relais_attempt_duration_seconds_bucket{of_queue},le=\"2.5\"}} 2\n"),
        format!("relais_attempt_duration_seconds_bucket{of_queue},le=\"1.0\"}} 1\n"),
        format!("relais_task_wait_seconds_count{of_queue}}} 2\n"),
        format!("relais_queue_tasks{of_queue},status=\"failed\"}} 1\n"),
        "relais_store_ready 1\n".to_owned(),
        "relais_build_info{version=".to_owned(),
    ] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn metrics_come_in_the_format_that_is_asked_for() {
    let api = Api::new().await;
    api.submit().await;
    let both = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    for (accept, is_open) in [
        ("*/*", false),
        ("text/plain;version=0.0.4", false),
        ("text/html, */*;q=0.1", false),
        (both, true),
    ] {
        let (_, kind, text) = metrics(&api, None, accept).await;
        assert_eq!(kind.starts_with("application/openmetrics-text"), is_open, "{accept}: {kind}");
        assert_eq!(text.ends_with("# EOF\n"), is_open, "{accept}");
        let family = if is_open { "relais_tasks_accepted" } else { "relais_tasks_accepted_total" };
        assert!(text.contains(&format!("# TYPE {family} counter\n")), "{accept}\n{text}");
    }
}

#[tokio::test]
async fn metrics_keep_tenants_apart() {
    // An admin's key of one tenant read the names and counts of all queues.
    let operator = Scopes { operator: true, ..Scopes::default() };
    let api = Api::with_keys(vec![
        key("rk_one", "one", Scopes::ALL),
        key("rk_two", "two", Scopes::ALL),
        key("rk_reader", "one", Scopes { read: true, ..Scopes::default() }),
        key("rk_operator", "one", operator),
    ])
    .await;
    for tenant in ["one", "two"] {
        let task = json!({"queue": format!("secret-of-{tenant}")});
        let submit = post("/v1/tasks", &task).field("relais-api-key", &format!("rk_{tenant}"));
        assert_eq!(api.call(submit).await.status, StatusCode::ACCEPTED);
    }
    let (_, _, text) = metrics(&api, Some("rk_one"), "*/*").await;
    assert!(text.contains("secret-of-one") && !text.contains("two"), "{text}");
    assert!(!text.contains("relais_requests_refused"), "that is of all tenants");
    let (_, _, text) = metrics(&api, Some("rk_operator"), "*/*").await;
    assert!(text.contains("secret-of-one") && text.contains("secret-of-two"), "{text}");
    let (status, _, text) = metrics(&api, Some("rk_reader"), "*/*").await;
    assert!(status == StatusCode::FORBIDDEN && text.contains("`admin`"), "{text}");
}

#[tokio::test]
async fn many_queues_do_not_swell_the_answers() {
    let api = Api::new().await;
    for start in [0, 300] {
        let tasks: Vec<_> =
            (start..start + 300).map(|n| json!({"queue": format!("q{n}")})).collect();
        assert_eq!(api.call(post("/v1/tasks/batch", &json!(tasks))).await.status, StatusCode::OK);
    }
    let (_, _, text) = metrics(&api, None, "*/*").await;
    assert!(text.lines().count() < 6_000, "{} lines", text.lines().count());
    let others = "{tenant=\"default\",queue=\"(others)\"";
    for line in [
        format!("relais_queue_tasks{others},status=\"queued\"}} 500\n"),
        format!("relais_tasks_accepted_total{others}}} 500\n"),
    ] {
        assert!(text.contains(&line), "{line}");
    }
    let (mut found, mut after) = (std::collections::BTreeSet::new(), String::new());
    loop {
        let page = api.call(get(&format!("/v1/queues?limit=250{after}"))).await.json();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 250);
        for queue in items {
            assert!(found.insert(queue["name"].as_str().unwrap().to_owned()), "each once");
        }
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(found.len(), 600);
    assert_eq!(api.call(get("/v1/queues?limit=501")).await.code(), "invalid-parameter");
}

#[tokio::test]
async fn a_tenant_makes_no_more_queues_than_it_may() {
    let api = Api::new().await;
    let most = relais_core::limits::QUEUES_PER_TENANT_MAX;
    for start in (0..most).step_by(1_000) {
        let tasks: Vec<_> =
            (start..start + 1_000).map(|n| json!({"queue": format!("q{n}")})).collect();
        assert_eq!(api.call(post("/v1/tasks/batch", &json!(tasks))).await.status, StatusCode::OK);
    }
    let over = api.call(post("/v1/tasks", &json!({"queue": "one-more"}))).await;
    assert_eq!((over.status.as_u16(), over.code().as_str()), (409, "too-many-queues"));
    assert_eq!(over.json()["limit"], most);
    let pause = api.call(call("POST", "/v1/queues/one-more/pause")).await;
    assert_eq!(pause.code(), "too-many-queues", "this would make it, too");
    let known = api.call(post("/v1/tasks", &json!({"queue": "q7"}))).await;
    assert_eq!(known.status, StatusCode::ACCEPTED);
}
