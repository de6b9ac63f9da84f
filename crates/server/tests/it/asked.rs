//! What was asked of a route, told by its task and by its lease.

use relais_server::config::{Mode, Run};
use serde_json::{Value, json};

use crate::house::{House, Plan, Reply};

async fn house() -> House {
    let mut plan = Plan::with(Mode::Async).await;
    plan.route().run = Run::Workers;
    plan.route().path = "/reports/{name}".to_owned();
    plan.build().await
}

async fn ask(house: &House, line: &str, fields: &str) -> Reply {
    house.call(&format!("{line} HTTP/1.1\r\nhost: a\r\n{fields}content-length: 1\r\n\r\nx")).await
}

async fn get(house: &House, path: &str) -> Value {
    house.call(&format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")).await.json()
}

async fn lease(house: &House) -> Value {
    let call =
        "POST /v1/queues/work/leases HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 0\r\n\r\n";
    house.call(call).await.json()["leases"][0].clone()
}

/// An operator could not tell an import from an order where all routes share a queue.
#[tokio::test]
async fn a_task_shows_what_was_asked_without_the_query() {
    let house = house().await;
    let accepted = ask(&house, "PUT /reports/m%C3%A4rz?token=hidden", "").await;
    let asked = json!({"method": "PUT", "path": "/reports/m%C3%A4rz"});
    assert_eq!(accepted.json()["request"], asked);
    let id = accepted.task();
    assert_eq!(get(&house, &format!("/v1/tasks/{id}")).await["request"], asked);
    let listed = get(&house, "/v1/tasks").await;
    assert_eq!(listed["items"][0]["request"], asked);
    assert!(!listed.to_string().contains("hidden"), "{listed}");
}

/// A worker of `/reports/{name}` could not know which report it was to make.
#[tokio::test]
async fn a_lease_tells_all_that_was_asked_but_for_credentials() {
    let house = house().await;
    let fields = "x-colour: purple\r\nx-colour: red\r\nauthorization: Bearer s3cret\r\n\
                  cookie: s3cret=1\r\nconnection: x-hop\r\nx-hop: 1\r\nrelais-attempt: 9\r\n\
                  content-type: text/plain\r\n";
    ask(&house, "PUT /reports/m%C3%A4rz?year=2026&x=%20", fields).await;
    let lease = lease(&house).await;
    let expected = json!({
        "method": "PUT", "path": "/reports/m%C3%A4rz", "query": "year=2026&x=%20",
        "params": {"name": "märz"},
        "headers": [
            ["x-colour", "purple"], ["x-colour", "red"], ["content-type", "text/plain"],
            ["x-forwarded-for", "127.0.0.1"], ["x-forwarded-proto", "http"],
            ["x-forwarded-host", "a"],
        ],
    });
    assert_eq!(lease["request"], expected);
    assert!(!lease.to_string().contains("s3cret"), "{lease}");
}

#[tokio::test]
async fn a_long_path_is_cut_in_the_task_and_whole_in_the_lease() {
    let house = house().await;
    let path = format!("/reports/{}", "a".repeat(3_000));
    let accepted = ask(&house, &format!("GET {path}"), "").await.json();
    let told = accepted["request"]["path"].as_str().unwrap();
    assert_eq!((told.len(), told.ends_with("a…")), (2_048, true));
    assert_eq!(lease(&house).await["request"]["path"], *path);
}

#[tokio::test]
async fn a_task_of_the_task_api_asks_nothing_of_a_route() {
    let house = house().await;
    let body = r#"{"queue": "work", "input": 1}"#;
    let head = "POST /v1/tasks HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n";
    let call = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    assert_eq!(house.call(&call).await.json().get("request"), None);
    assert_eq!(lease(&house).await.get("request"), None);
}
