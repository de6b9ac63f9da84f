//! Relais itself.

use std::sync::Arc;

use http::StatusCode;
use relais_engine::Config;
use relais_server::config::{Logo, ServerConfig};
use serde_json::json;
use tower::ServiceExt as _;

use crate::api::{Api, call, get, post};

#[tokio::test]
async fn it_lives_and_takes_work_until_it_stops() {
    let api = Api::new().await;
    for path in ["/healthz", "/readyz"] {
        let answer = api.call(get(path).field("host", "balancer.example")).await;
        assert_eq!((answer.status, answer.text()), (StatusCode::OK, "{\"status\":\"ok\"}"));
    }
    api.app.stop.close();
    assert_eq!(api.call(get("/healthz")).await.status, StatusCode::OK);
    let answer = api.call(get("/readyz")).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "server-draining"));
}

/// Whoever asked, without a key, had the whole document made again.
#[tokio::test]
async fn the_description_of_its_calls_is_made_once() {
    let api = Api::new().await;
    let first = api.call(get("/v1/openapi.json")).await;
    let again = api.call(get("/v1/openapi.json")).await;
    assert_eq!(first.header("content-type"), "application/json");
    assert_eq!(first.body.as_ptr(), again.body.as_ptr(), "the same bytes are shared");
}

#[tokio::test]
async fn its_calls_are_described() {
    let mut server = ServerConfig::on_loopback();
    let logo = Arc::new(Logo::new(b"<svg/>".to_vec()).unwrap());
    server.page.logo = Some(logo.clone());
    let api = Api::with(server, Config::default()).await;
    let answer = api.call(get("/v1/openapi.json")).await;
    assert_eq!(answer.json()["openapi"], "3.1.0");
    let document = answer.json();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let path = path
                .replace("{id}", "task_00000000000000000000000000")
                .replace("{queue}", "work")
                .replace("{code}", "internal")
                .replace("{file}", logo.file());
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
    // The contract named `/ui`, and it was answered like a typing mistake.
    let dashboard = http::Request::get("/ui").header("host", "localhost:8081");
    let dashboard = dashboard.body(axum::body::Body::empty()).unwrap();
    let answer = relais_server::admin_router(&api.app).oneshot(dashboard).await.unwrap();
    assert_eq!(answer.status(), 501, "not-available");
    for path in ["/v1/push", "/v1/schedules", "/v1/webhooks", "/v1/nodes"] {
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

#[tokio::test]
async fn many_queues_come_in_pages() {
    let api = Api::new().await;
    for start in [0, 300] {
        let tasks: Vec<_> =
            (start..start + 300).map(|n| json!({"queue": format!("q{n}")})).collect();
        assert_eq!(api.call(post("/v1/tasks/batch", &json!(tasks))).await.status, StatusCode::OK);
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
