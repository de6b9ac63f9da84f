//! Policy, counts, pausing.

use http::StatusCode;
use relais_core::{Policy, limits};
use relais_engine::Config;
use relais_server::config::ServerConfig;
use serde_json::json;

use crate::api::{Api, call, get, post};

#[tokio::test]
async fn a_queue_shows_its_policy_and_counts() {
    let api = Api::new().await;
    api.submit().await;
    api.call(post("/v1/tasks", &json!({"queue": "work", "delay": "1h"}))).await;
    api.succeed(json!(1)).await;
    let queue = api.call(get("/v1/queues/work")).await.json();
    assert_eq!(queue["name"], "work");
    assert_eq!((&queue["paused"], &queue["defined_in_file"]), (&json!(false), &json!(false)));
    assert_eq!(
        queue["counts"],
        json!({
            "queued": 1, "scheduled": 1, "running": 0, "waiting": 0,
            "succeeded": 1, "failed": 0, "canceled": 0,
        })
    );
    assert_eq!(queue["policy"]["lease"], "30s");
    assert_eq!(queue["policy"]["retry"]["max_attempts"], 5);
    assert_eq!(api.call(get("/v1/queues/empty")).await.json()["counts"]["queued"], 0);
    assert_eq!(api.call(get("/v1/queues/NO")).await.code(), "queue-not-found");
}

#[tokio::test]
async fn a_policy_that_is_put_is_read_back_whole() {
    let api = Api::new().await;
    let policy = json!({
        "concurrency": 8, "concurrency_per_lane": 1, "rate": "100/s", "rate_per_lane": "5/s", "order": "strict",
        "retry": {"max_attempts": 3, "initial": "2s", "max": "1m", "factor": 1.5},
        "lease": "1m", "attempt_timeout": "5m", "deadline": "2h", "retention": "1d",
        "capacity": 10, "capacity_per_ip": 7, "lane_weights": {"c-1": 3},
    });
    let put = |document: &serde_json::Value| {
        call("PUT", "/v1/queues/work")
            .field("content-type", "application/json")
            .body(document.to_string())
    };
    assert_eq!(api.call(put(&policy)).await.json()["policy"], policy);
    assert_eq!(api.call(get("/v1/queues/work")).await.json()["policy"], policy);
    for (document, pointer) in [
        (json!({"concurrency": 0}), "/concurrency"),
        (json!({"rate": "0/s"}), "/rate"),
        (json!({"lease": "100ms"}), "/lease"),
        (json!({"lease": "1d"}), "/lease"),
        (json!({"retry": {"max_attempts": 0}}), "/retry/max_attempts"),
        (json!({"retry": {"max_attempts": 101}}), "/retry/max_attempts"),
        (json!({"retry": {"factor": 0.5}}), "/retry/factor"),
        (json!({"retry": {"initial": "1m", "max": "1s"}}), "/retry/max"),
        (json!({"capacity": 0}), "/capacity"),
        (json!({"capacity_per_ip": 0}), "/capacity_per_ip"),
        (json!({"lane_weights": {"a": 0}}), "/lane_weights"),
    ] {
        let answer = api.call(put(&document)).await;
        assert_eq!(answer.code(), "invalid-field", "{document}");
        assert_eq!(answer.json()["errors"][0]["pointer"], pointer, "{document}");
    }
    for (capacity, share) in [(1_000, 250), (5, 2), (1, 1)] {
        let small = api.call(put(&json!({ "capacity": capacity }))).await;
        assert_eq!(small.json()["policy"]["capacity_per_ip"], share, "a quarter by default");
    }
}

#[tokio::test]
async fn what_the_file_defines_is_not_put_and_what_is_unknown_is_not_found() {
    let queues = [("mine".parse().unwrap(), Policy::default())].into_iter().collect();
    let engine = Config { queues, template: None, ..Config::default() };
    let api = Api::with(ServerConfig::on_loopback(), engine).await;
    let put = |queue: &str| {
        call("PUT", &format!("/v1/queues/{queue}"))
            .field("content-type", "application/json")
            .body("{}")
    };
    let mine = api.call(put("mine")).await;
    assert_eq!((mine.status.as_u16(), mine.code().as_str()), (409, "queue-defined-in-file"));
    assert_eq!(api.call(put("other")).await.code(), "queue-not-found");
    assert_eq!(api.call(get("/v1/queues/other")).await.code(), "queue-not-found");
    let lease = call("POST", "/v1/queues/other/leases");
    assert_eq!(api.call(lease).await.code(), "queue-not-found");
    let form = call("POST", "/v1/queues/mine/pause").field("content-type", "text/plain");
    assert_eq!(api.call(form.body("x=y")).await.code(), "unsupported-media-type");
    let more = post("/v1/queues/mine/pause", &json!({"until": "noon"}));
    assert_eq!(api.call(more).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let pause = api.call(call("POST", "/v1/queues/mine/pause")).await;
    assert_eq!((pause.status, &pause.json()["paused"]), (StatusCode::OK, &json!(true)));
}

#[tokio::test]
async fn a_paused_queue_leases_nothing_until_it_is_resumed() {
    let api = Api::new().await;
    api.submit().await;
    let pause = api.call(call("POST", "/v1/queues/work/pause")).await;
    assert_eq!(pause.json()["paused"], true);
    let empty = api.call(call("POST", "/v1/queues/work/leases")).await;
    assert_eq!(empty.json(), json!({"leases": []}));
    let resume = api.call(call("POST", "/v1/queues/work/resume")).await;
    assert_eq!(resume.json()["paused"], false);
    assert_eq!(api.lease().await["attempt"], 1);
}

#[tokio::test]
async fn the_queues_of_a_tenant_are_listed_by_name() {
    let api = Api::new().await;
    assert_eq!(api.call(get("/v1/queues")).await.json(), json!({"items": []}));
    for queue in ["mail", "imports"] {
        api.call(post("/v1/tasks", &json!({"queue": queue, "input": 1}))).await;
    }
    let listed = api.call(get("/v1/queues")).await.json();
    let names: Vec<_> =
        listed["items"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["imports", "mail"]);
    assert_eq!(listed["items"][0]["counts"]["queued"], 1);
}

#[tokio::test]
async fn a_policy_takes_the_largest_numbers_and_none_beyond() {
    let api = Api::new().await;
    let (concurrency, capacity) = (limits::CONCURRENCY_MAX.into(), limits::QUEUE_CAPACITY_MAX);
    for (name, max) in [
        ("concurrency", concurrency),
        ("concurrency_per_lane", concurrency),
        ("capacity", capacity),
        ("capacity_per_ip", capacity),
    ] {
        for (number, status) in [(max, 200), (max + 1, 422), (0, 422)] {
            let document = json!({ name: number });
            let put = call("PUT", "/v1/queues/mine").field("content-type", "application/json");
            let answer = api.call(put.body(document.to_string())).await;
            assert_eq!(answer.status.as_u16(), status, "{name} {number}");
        }
    }
}
