//! Handing work in.

use http::StatusCode;
use relais_core::BodyKind;
use relais_engine::Config;
use relais_server::config::ServerConfig;
use serde_json::{Value, json};

use crate::api::{Api, call, get, id_of, post};

#[tokio::test]
async fn a_submission_is_answered_with_all_that_it_takes_to_follow_it() {
    let api = Api::new().await;
    let document = json!({
        "queue": "imports", "input": {"n": 1.50}, "lane": "c-17", "priority": 3,
        "labels": {"order": "A-1"}, "delay": "10s", "deadline": "1h", "retention": "1h",
    });
    let answer = api.call(post("/v1/tasks", &document)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let task = answer.json();
    let id = task["id"].as_str().unwrap();
    let ticket = task["ticket"].as_str().unwrap();
    let url = format!("http://127.0.0.1:0/v1/tasks/{id}?ticket={ticket}");
    let result = format!("http://127.0.0.1:0/v1/tasks/{id}/result?ticket={ticket}");
    assert_eq!(answer.header("operation-location"), url);
    assert_eq!(answer.header("location"), result);
    assert_eq!(answer.header("link"), format!("<{url}>; rel=\"monitor\""));
    assert_eq!(answer.header("relais-task"), id);
    let pace: u32 = answer.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&pace), "{pace}");
    assert_eq!(task.get("watch_url"), None, "`links.self` leads there");
    assert_eq!(task.get("resourceLocation"), None, "there is no result yet");
    assert_eq!(task["links"]["self"], url);
    assert_eq!(task["links"]["result"], result);
    assert!(task["links"].get("cancel").is_none(), "the ticket is read-only");
    assert_eq!(task["status"], "queued");
    assert_eq!(task["terminal"], false);
    assert_eq!(task["version"], 1);
    assert_eq!((&task["queue"], &task["lane"]), (&json!("imports"), &json!("c-17")));
    assert_eq!(task["run_at"], "2023-11-14T22:13:30.000Z");
    assert_eq!(task["deadline"], "2023-11-14T23:13:30.000Z");
    assert_eq!(task["labels"], json!({"order": "A-1"}));
    assert!(!answer.text().contains("null"), "absent values are left out");
}

#[tokio::test]
async fn a_client_that_only_follows_location_gets_its_result() {
    let api = Api::new().await;
    let answer = api.call(post("/v1/tasks", &json!({"queue": "work", "input": 1}))).await;
    let location = answer.header("location").to_owned();
    let early = api.call(get(&location)).await;
    assert_eq!(early.status, StatusCode::ACCEPTED);
    assert!(!early.header("retry-after").is_empty());
    assert_eq!(early.json()["status"], "queued");
    let lease = api.lease().await;
    let item = json!({"token": lease["token"], "outcome": "succeed", "result": {"a": 1}});
    api.settle(item).await;
    let done = api.call(get(&location)).await;
    assert_eq!((done.status, done.text()), (StatusCode::OK, "{\"a\":1}"));
    assert_eq!(done.header("content-type"), "application/json");
    assert_eq!(done.header("cache-control"), "private, no-store");
    assert_eq!(done.header("x-content-type-options"), "nosniff");
    assert_eq!(done.header("content-security-policy"), "sandbox");
    assert!(done.header("retry-after").is_empty());
}

#[tokio::test]
async fn the_bytes_of_an_input_are_kept() {
    let api = Api::new().await;
    // P51: number spelling, order and repeated members survive.
    let source = r#"{"queue":"work","input":{"b":1.50, "a":1e2,"a":2}}"#;
    let call = post("/v1/tasks", &Value::Null).body(source);
    let id = id_of(&api.call(call).await.json());
    let input = api.engine.body(id, BodyKind::Input).await.unwrap().unwrap();
    let bytes = input.bytes(1_000).await.unwrap();
    assert_eq!(&bytes[..], br#"{"b":1.50, "a":1e2,"a":2}"#);
    let odd = json!({"queue": "work", "input_base64": "AP8AgA==", "content_type": "image/x"});
    let id = id_of(&api.call(post("/v1/tasks", &odd)).await.json());
    let input = api.engine.body(id, BodyKind::Input).await.unwrap().unwrap();
    assert_eq!(&input.bytes(1_000).await.unwrap()[..], [0, 255, 0, 128]);
}

#[tokio::test]
async fn a_large_input_is_spilled_and_kept() {
    let api = Api::new().await;
    let large = "x".repeat(200_000);
    let document = json!({"queue": "work", "input": large});
    let id = id_of(&api.call(post("/v1/tasks", &document)).await.json());
    let input = api.engine.body(id, BodyKind::Input).await.unwrap().unwrap();
    assert_eq!(input.len, 200_002);
}

#[tokio::test]
async fn what_is_not_valid_is_refused_by_name() {
    let api = Api::new().await;
    let long = "x".repeat(129);
    let many: serde_json::Map<_, _> = (0..17).map(|n| (format!("l{n}"), json!("v"))).collect();
    for (document, code, pointer) in [
        (json!({"input": 1}), "invalid-field", "/queue"),
        (json!({"queue": "No Such"}), "invalid-field", "/queue"),
        (json!({"queue": "work", "prio": 1}), "unknown-field", "/prio"),
        (json!({"queue": "work", "webhook": "http://x"}), "unknown-field", "/webhook"),
        (json!({"queue": "work", "priority": 11}), "invalid-field", "/priority"),
        (json!({"queue": "work", "lane": long}), "invalid-field", "/lane"),
        (json!({"queue": "work", "labels": many}), "invalid-field", "/labels"),
        (json!({"queue": "work", "labels": {"a=b": "c"}}), "invalid-field", "/labels"),
        (
            json!({"queue": "work", "run_at": "2026-11-22T10:00:05Z", "delay": "1s"}),
            "invalid-field",
            "/delay",
        ),
        (json!({"queue": "work", "delay": "soon"}), "invalid-field", "/delay"),
        (json!({"queue": "work", "run_at": "9999-01-01T00:00:00Z"}), "invalid-field", "/run_at"),
        (
            json!({"queue": "work", "deadline": "2000-01-01T00:00:00Z"}),
            "invalid-field",
            "/deadline",
        ),
        (
            json!({"queue": "work", "input": 1, "input_base64": ""}),
            "invalid-field",
            "/input_base64",
        ),
        (
            json!({"queue": "work", "input_base64": "%", "content_type": "a/b"}),
            "invalid-field",
            "/input_base64",
        ),
        (
            json!({"queue": "work", "input_base64": "", "content_type": "a/b\nx: y"}),
            "invalid-field",
            "/content_type",
        ),
    ] {
        let answer = api.call(post("/v1/tasks", &document)).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{document}");
        assert_eq!(answer.code(), code, "{document}");
        assert_eq!(answer.json()["errors"][0]["pointer"], pointer, "{document}");
        assert_eq!(answer.json()["instance"], "/v1/tasks");
    }
}

#[tokio::test]
async fn the_door_refuses_what_it_cannot_read() {
    let api = Api::new().await;
    let ok = json!({"queue": "work"});
    let malformed = api.call(post("/v1/tasks", &ok).body("{\"queue\":")).await;
    assert_eq!((malformed.status.as_u16(), malformed.code().as_str()), (400, "malformed-json"));
    let text = api.call(call("POST", "/v1/tasks").field("content-type", "text/plain")).await;
    assert_eq!((text.status.as_u16(), text.code().as_str()), (415, "unsupported-media-type"));
    let coded = api.call(post("/v1/tasks", &ok).field("content-encoding", "gzip")).await;
    assert_eq!(coded.code(), "unsupported-media-type");
    let unknown = api.call(post("/v1/tasks?dryrun=1", &ok)).await;
    assert_eq!((unknown.status.as_u16(), unknown.code().as_str()), (400, "invalid-parameter"));
    assert!(unknown.json()["detail"].as_str().unwrap().contains("dryrun"));
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_with_the_limit() {
    let server = ServerConfig { body_bytes_max: 1_000, ..ServerConfig::on_loopback() };
    let api = Api::with(server, Config::default()).await;
    let fits = json!({"queue": "work", "input": "x".repeat(900)});
    assert_eq!(api.call(post("/v1/tasks", &fits)).await.status, StatusCode::ACCEPTED);
    let over = json!({"queue": "work", "input": "x".repeat(1_000)});
    let answer = api.call(post("/v1/tasks", &over)).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (413, "body-too-large"));
    assert_eq!(answer.json()["limit"], 1_000);
    let announced = post("/v1/tasks", &json!({})).field("content-length", "1001");
    assert_eq!(api.call(announced).await.code(), "body-too-large");
}

#[tokio::test]
async fn a_full_queue_and_an_unknown_one_refuse() {
    let policy = relais_core::Policy { capacity: 1, ..relais_core::Policy::default() };
    let queues = [("small".parse().unwrap(), policy)].into_iter().collect();
    let engine = Config { queues, template: None, ..Config::default() };
    let api = Api::with(ServerConfig::on_loopback(), engine).await;
    let document = json!({"queue": "small"});
    assert_eq!(api.call(post("/v1/tasks", &document)).await.status, StatusCode::ACCEPTED);
    let full = api.call(post("/v1/tasks", &document)).await;
    assert_eq!(full.code(), "queue-full");
    assert!((1..=60).contains(&full.header("retry-after").parse::<u32>().unwrap()));
    let unknown = api.call(post("/v1/tasks", &json!({"queue": "other"}))).await;
    assert_eq!((unknown.status.as_u16(), unknown.code().as_str()), (404, "queue-not-found"));
}

#[tokio::test]
async fn a_tenant_over_its_capacity_is_refused() {
    let engine = Config { tenant_capacity: 1, ..Config::default() };
    let api = Api::with(ServerConfig::on_loopback(), engine).await;
    api.submit().await;
    let full = api.call(post("/v1/tasks", &json!({"queue": "other"}))).await;
    assert_eq!((full.status.as_u16(), full.code().as_str()), (429, "tenant-full"));
}

#[tokio::test]
async fn a_batch_answers_each_item_in_its_place() {
    let api = Api::new().await;
    let items = json!([
        {"queue": "work", "input": 1},
        {"queue": "work", "nonsense": 1},
        {"queue": "NO"},
        {"queue": "work", "input": 2},
    ]);
    let answer = api.call(post("/v1/tasks/batch", &items)).await;
    assert_eq!(answer.status, StatusCode::OK);
    let document = answer.json();
    let items = document["items"].as_array().unwrap();
    let statuses: Vec<_> = items.iter().map(|item| item["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [202, 422, 422, 202]);
    assert_eq!(items[1]["problem"]["code"], "unknown-field");
    assert!(items[3]["task"]["ticket"].is_string());
}

#[tokio::test]
async fn a_batch_may_be_one_document_a_line() {
    let api = Api::new().await;
    let lines = "{\"queue\":\"work\"}\n\n{\"queue\":\"work\",\n{\"queue\":\"work\"}";
    let call =
        call("POST", "/v1/tasks/batch").field("content-type", "application/x-ndjson").body(lines);
    let document = api.call(call).await.json();
    let statuses: Vec<_> = document["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["status"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [202, 400, 202]);
}

#[tokio::test]
async fn a_batch_over_the_limit_is_refused_whole() {
    let api = Api::new().await;
    let item = json!({"queue": "work"});
    let fits = Value::Array(vec![item.clone(); 1_000]);
    assert_eq!(api.call(post("/v1/tasks/batch", &fits)).await.status, StatusCode::OK);
    let over = api.call(post("/v1/tasks/batch", &Value::Array(vec![item; 1_001]))).await;
    assert_eq!((over.status.as_u16(), over.code().as_str()), (413, "batch-too-large"));
    assert_eq!(over.json()["limit"], 1_000);
    assert_eq!(api.call(post("/v1/tasks/batch", &json!({}))).await.status.as_u16(), 422);
}

#[tokio::test]
async fn a_caller_that_waits_gets_the_result_itself() {
    let api = Api::new().await;
    let document = json!({"queue": "work", "input": 1});
    let waiting = api.call(post("/v1/tasks", &document).field("prefer", "wait=30"));
    let working = async {
        let wait = post("/v1/queues/work/leases", &json!({"wait": "30s"}));
        let lease = api.call(wait).await.json()["leases"][0].clone();
        let item = json!({"token": lease["token"], "outcome": "succeed", "result": 42});
        api.settle(item).await;
    };
    let (answer, ()) = tokio::join!(waiting, working);
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "42"));
    assert_eq!(answer.header("preference-applied"), "wait=30");
    assert!(answer.header("relais-task").starts_with("task_"));
}

#[tokio::test]
async fn what_was_preferred_and_applied_is_said() {
    let api = Api::new().await;
    let document = json!({"queue": "work"});
    for (prefer, applied) in [
        ("respond-async", "respond-async"),
        ("respond-async, wait=0", "respond-async, wait=0"),
        ("wait=soon", ""),
    ] {
        let answer = api.call(post("/v1/tasks", &document).field("prefer", prefer)).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED);
        assert_eq!(answer.header("preference-applied"), applied, "{prefer}");
    }
}

#[tokio::test]
async fn a_server_that_stops_takes_nothing_new() {
    let api = Api::new().await;
    api.engine.drain().await;
    let answer = api.call(post("/v1/tasks", &json!({"queue": "work"}))).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "server-draining"));
    assert!(!answer.header("retry-after").is_empty());
}

#[tokio::test]
async fn malformed_bodies_are_refused_everywhere_and_break_nothing() {
    // P54: whatever comes, the answer is a client's error, and the next request is served.
    let api = Api::new().await;
    let deep = "[".repeat(100_000);
    let bodies: [&[u8]; 9] = [
        b"",
        b"\0",
        b"nul",
        b"\xff\xfe{}",
        b"[1e999999]",
        b"{\"queue\":\"\\ud800\"}",
        b"{\"queue\":\"work\",\"queue\":\"work\"}",
        b"{\"items\":{}}",
        deep.as_bytes(),
    ];
    for (method, path) in [
        ("POST", "/v1/tasks"),
        ("POST", "/v1/tasks/batch"),
        ("POST", "/v1/tasks/cancel"),
        ("POST", "/v1/tasks/retry"),
        ("POST", "/v1/leases/heartbeat"),
        ("POST", "/v1/leases/settle"),
        ("PUT", "/v1/queues/work"),
    ] {
        for body in bodies {
            let request = call(method, path).field("content-type", "application/json");
            let answer = api.call(request.body(body.to_vec())).await;
            // A batch answers for its items in their places.
            let is_batch = path.ends_with("/batch") && answer.status == StatusCode::OK;
            let is_refused = answer.status.is_client_error() && !answer.code().is_empty();
            assert!(is_batch || is_refused, "{method} {path} {body:?}: {answer:?}");
        }
    }
    api.submit().await;
}
