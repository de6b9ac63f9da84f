//! Relais itself.

use http::StatusCode;
use http_body_util::BodyExt as _;
use relais_engine::Config;
use relais_server::config::ServerConfig;
use tower::ServiceExt as _;

use crate::api::{Api, call, get};

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

#[tokio::test]
async fn the_admin_listener_shows_metrics() {
    let api = Api::new().await;
    api.submit().await;
    let request = http::Request::get("/metrics").header("host", "localhost:8081");
    let request = request.body(axum::body::Body::empty()).unwrap();
    let response = api.app.admin_router().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let text = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&text);
    for line in [
        "relais_tasks_accepted_total 1",
        "relais_queue_tasks{tenant=\"default\",queue=\"work\",status=\"queued\"} 1",
        "relais_store_ready 1",
        "# EOF",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}
