//! Without API keys: who is on this machine, and what that reaches.

use axum::body::Body;
use http::{Request, StatusCode, Version};
use relais_engine::Config;
use relais_server::config::{Mode, Route, Run, Scopes, ServerConfig};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::api::{Api, call, get, key, post};
use crate::house::Plan;

#[tokio::test]
async fn a_request_that_came_through_a_proxy_is_not_local() {
    // Whoever reached a proxy on the same machine listed, submitted and paused.
    let api = Api::new().await;
    let task = api.submit().await;
    let (id, ticket) = (task["id"].as_str().unwrap(), task["ticket"].as_str().unwrap());
    for field in ["forwarded", "via", "x-real-ip", "x-forwarded-for", "x-forwarded-host"] {
        for call in [
            get("/v1/tasks"),
            get(&format!("/v1/tasks/{id}")),
            post("/v1/tasks", &json!({"queue": "work"})),
            call("POST", "/v1/queues/work/pause"),
            call("POST", "/v1/queues/work/leases"),
        ] {
            let answer = api.call(call.field(field, "203.0.113.7")).await;
            assert_eq!((answer.status.as_u16(), answer.code().as_str()), (403, "not-local"));
        }
        let with_ticket = get(&format!("/v1/tasks/{id}?ticket={ticket}")).field(field, "for=_x");
        assert_eq!(api.call(with_ticket).await.status, StatusCode::OK, "a ticket goes on to work");
    }
    // A lease's token speaks for itself, too.
    let lease = api.lease().await;
    let settle = json!({"items": [{"token": lease["token"], "outcome": "succeed"}]});
    let settled = api.call(post("/v1/leases/settle", &settle).field("via", "1.1 edge")).await;
    assert_eq!(settled.json()["items"][0]["status"], 200);
}

#[tokio::test]
async fn a_request_by_http_1_0_is_not_local() {
    // What nginx speaks by default, with a `Host` that is its upstream's: ours.
    let house = Plan::with(Mode::Async).await.build().await;
    let answer = house.call("GET /v1/tasks HTTP/1.0\r\nhost: localhost\r\n\r\n").await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "not-local"));
}

#[tokio::test]
async fn with_a_public_url_local_calls_are_taken_on_the_admin_listener_only() {
    let public_url = Some("https://api.example.com".parse().unwrap());
    let server = ServerConfig { public_url, ..ServerConfig::on_loopback() };
    let api = Api::with(server, Config::default()).await;
    let refused = api.call(get("/v1/tasks")).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (401, "unauthorized"));
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("`admin_listen`"), "{detail}");
    let request = Request::get("/v1/tasks").header("host", "localhost").body(Body::empty());
    let answer = relais_server::admin_router(&api.app).oneshot(request.unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let mut proxied = Request::get("/v1/tasks").header("host", "localhost");
    proxied = proxied.version(Version::HTTP_10);
    let answer =
        relais_server::admin_router(&api.app).oneshot(proxied.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.unwrap().status(), StatusCode::FORBIDDEN, "nor is the admin side a proxy's");
    // A public URL of this machine's own changes nothing.
    let public_url = Some("http://localhost:8080".parse().unwrap());
    let server = ServerConfig { public_url, ..ServerConfig::on_loopback() };
    let api = Api::with(server, Config::default()).await;
    assert_eq!(api.call(get("/v1/tasks")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn another_tenants_task_is_not_found_without_keys_too() {
    let mut plan = Plan::with(Mode::Async).await;
    let [template, _] = Route::everything_to(&"http://a".parse().unwrap());
    plan.server.routes = vec![Route {
        path: "/b/{*rest}".to_owned(),
        methods: Vec::new(),
        run: Run::Workers,
        mode: Mode::Async,
        tenant: "b".parse().unwrap(),
        ..template
    }];
    let house = plan.build().await;
    let task =
        house.call("POST /b/x HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").await.json();
    let (id, ticket) = (task["id"].as_str().unwrap(), task["ticket"].as_str().unwrap());
    for request in [
        "GET {}",
        "GET {}/result",
        "GET {}/events",
        "GET {}/why",
        "POST {}/cancel",
        "POST {}/retry",
        "DELETE {}",
    ] {
        let request = request.replace("{}", &format!("/v1/tasks/{id}"));
        let fields = "HTTP/1.1\r\nhost: localhost\r\naccept: application/json\r\ncontent-length: 0";
        let answer = house.call(&format!("{request} {fields}\r\n\r\n")).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "task-not-found"), "{request}");
        if request.starts_with("GET") {
            let fields = format!("{fields}\r\nauthorization: Bearer {ticket}");
            let answer = house.call(&format!("{request} {fields}\r\n\r\n")).await;
            assert!(answer.status < 300, "its ticket opens it: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_refusal_says_which_scope_or_route_is_missing() {
    let scopes = |submit, read| Scopes { submit, read, ..Scopes::default() };
    let keys = vec![
        key("rk_s", "default", scopes(true, false)),
        key("rk_r", "default", scopes(false, true)),
    ];
    let api = Api::with_keys(keys).await;
    let detail = async |call: crate::api::Call| {
        let answer = api.call(call).await;
        assert_eq!(answer.code(), "forbidden");
        answer.json()["detail"].as_str().unwrap().to_owned()
    };
    let task: Value = api
        .call(post("/v1/tasks", &json!({"queue": "work"})).field("relais-api-key", "rk_s"))
        .await
        .json();
    let path = format!("/v1/tasks/{}", task["id"].as_str().unwrap());
    for (key, scope, call) in [
        ("rk_s", "admin", call("POST", "/v1/queues/work/pause")),
        ("rk_s", "work", call("POST", "/v1/queues/work/leases")),
        ("rk_s", "read", get("/v1/tasks")),
        ("rk_s", "read", get(&path)),
        ("rk_r", "submit", post("/v1/tasks", &json!({"queue": "work"}))),
        ("rk_r", "submit", call("POST", &format!("{path}/cancel"))),
    ] {
        let detail = detail(call.field("relais-api-key", key)).await;
        assert!(detail.contains(&format!("`{scope}`")), "{scope}: {detail}");
    }
    let ticket = format!("Bearer {}", task["ticket"].as_str().unwrap());
    let detail =
        detail(call("POST", &format!("{path}/cancel")).field("authorization", &ticket)).await;
    assert!(detail.contains("ticket") && detail.contains("`submit`"), "{detail}");
}

#[tokio::test]
async fn a_path_that_no_route_takes_is_told_so() {
    let mut plan = Plan::with(Mode::Async).await;
    plan.route().path = "/imports".to_owned();
    plan.route().methods = vec!["POST".to_owned()];
    let house = plan.build().await;
    let nothing = house.call("GET /orders HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(nothing.code(), "not-found");
    let detail = nothing.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("route") && detail.contains("fallback"), "{detail}");
    let method = house.call("GET /imports HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!((method.code().as_str(), method.field("allow")), ("method-not-allowed", "POST"));
    let detail = method.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("method") && detail.contains("fallback"), "{detail}");
}
