//! Leasing, reporting, settling.

use std::time::Duration;

use http::StatusCode;
use relais_core::Status;
use relais_engine::Config;
use relais_server::config::{Scopes, ServerConfig};
use serde_json::{Value, json};

use crate::api::{Api, call, get, id_of, key, post, without_retries};

#[tokio::test]
async fn a_lease_has_all_that_an_attempt_needs() {
    let api = Api::new().await;
    let document = json!({
        "queue": "work", "input": {"n": 1.50}, "lane": "c-1", "labels": {"a": "b"},
        "checkpoint": {"at": 3},
    });
    let call = post("/v1/tasks", &Value::Null).body(document.to_string());
    let task = api.call(call).await.json();
    let request = json!({"max": 10, "worker": "w-1"});
    let answer = api.call(post("/v1/queues/work/leases", &request)).await;
    let document = answer.json();
    assert_eq!(document["leases"].as_array().unwrap().len(), 1);
    let lease = &document["leases"][0];
    assert_eq!(lease["task"], task["id"]);
    assert_eq!((&lease["attempt"], &lease["run"]), (&json!(1), &json!(1)));
    assert_eq!((&lease["lane"], &lease["labels"]["a"]), (&json!("c-1"), &json!("b")));
    assert_eq!(lease["heartbeat_every"], "10s");
    assert_eq!(lease["lease_until"], "2023-11-14T22:13:50.000Z");
    assert_eq!(lease["checkpoint"], json!({"at": 3}));
    assert_eq!(lease["content_type"], "application/json");
    assert!(answer.text().contains("\"input\":{\"n\":1.5}"), "{}", answer.text());
    let none = api.call(post("/v1/queues/work/leases", &request)).await;
    assert_eq!(none.json(), json!({"leases": []}));
}

#[tokio::test]
async fn what_is_not_json_is_leased_in_base64_and_what_is_large_by_url() {
    let api = Api::new().await;
    let odd = json!({"queue": "work", "input_base64": "AP8=", "content_type": "image/x"});
    api.call(post("/v1/tasks", &odd)).await;
    let lease = api.lease().await;
    assert_eq!((&lease["input_base64"], lease.get("input")), (&json!("AP8="), None));
    let broken =
        json!({"queue": "work", "input_base64": "ew==", "content_type": "application/json"});
    api.call(post("/v1/tasks", &broken)).await;
    assert_eq!(api.lease().await["input_base64"], "ew==", "it only says that it is JSON");
    let large = "x".repeat(70_000);
    api.call(post("/v1/tasks", &json!({"queue": "work", "input": large}))).await;
    let lease = api.lease().await;
    let url = lease["input_url"].as_str().unwrap();
    assert!(lease.get("input").is_none());
    let token = lease["token"].as_str().unwrap();
    let input = api.call(get(url).field("relais-lease", token)).await;
    assert_eq!((input.status, input.body.len()), (StatusCode::OK, 70_002));
    assert_eq!(input.header("content-type"), "application/json");
    assert_eq!(input.header("content-security-policy"), "sandbox");
    let bare = api.call(get(url)).await;
    assert_eq!(bare.code(), "unauthorized");
    // It was told to send an API key.
    assert!(bare.json()["detail"].as_str().unwrap().contains("`Relais-Lease`"), "{}", bare.text());
    let stale = api.call(get(url).field("relais-lease", "lease_x")).await;
    assert_eq!((stale.status.as_u16(), stale.code().as_str()), (409, "stale-lease"));
    // A typing mistake read as if another worker had the task.
    assert!(stale.json()["detail"].as_str().unwrap().contains("no token"), "{}", stale.text());
}

#[tokio::test]
async fn a_waiting_worker_gets_the_task_when_it_comes() {
    let api = Api::new().await;
    let wait = post("/v1/queues/work/leases", &json!({"wait": "30s"}));
    let (answer, task) = tokio::join!(api.call(wait), api.submit());
    assert_eq!(answer.json()["leases"][0]["task"], task["id"]);
}

#[tokio::test]
async fn leases_that_never_reach_their_worker_are_given_back_at_once() {
    // P7: lease granted, answer lost.
    let api = Api::new().await;
    let task = api.submit().await;
    let mut follower = api.engine.follow(id_of(&task));
    let lost = api.open(call("POST", "/v1/queues/work/leases")).await;
    assert_eq!(lost.status(), StatusCode::OK);
    drop(lost);
    follower.after(2).await;
    let lease = api.lease().await;
    assert_eq!((&lease["task"], &lease["attempt"]), (&task["id"], &json!(2)));
    let read = api.engine.task(id_of(&task)).await.unwrap().unwrap();
    assert_eq!((read.life.failures, read.life.crashes), (0, 0), "nobody is blamed");
}

#[tokio::test]
async fn heartbeats_extend_report_and_are_answered_one_by_one() {
    let api = Api::new().await;
    let task = api.submit().await;
    let lease = api.lease().await;
    api.clock.advance(Duration::from_secs(20));
    let items = json!({"items": [
        {"token": lease["token"], "progress": {"percent": 40}, "checkpoint": {"at": 1}},
        {"token": "lease_x"},
        {"token": lease["token"], "progress": {"percent": 140}},
        {"token": lease["token"], "progres": {}},
        {"token": lease["token"], "output": "x".repeat(70_000)},
    ]});
    let answer = api.call(post("/v1/leases/heartbeat", &items)).await;
    assert_eq!(answer.status, StatusCode::OK);
    let document = answer.json();
    let items = document["items"].as_array().unwrap();
    assert_eq!(items[0]["lease_until"], "2023-11-14T22:14:10.000Z");
    let codes: Vec<_> = items[1..].iter().map(|item| item["problem"]["code"].clone()).collect();
    assert_eq!(codes, ["stale-lease", "invalid-field", "unknown-field", "invalid-field"]);
    let read = api.call(get(&format!("/v1/tasks/{}", task["id"].as_str().unwrap()))).await.json();
    assert_eq!(read["progress"]["percent"], 40.0);
}

#[tokio::test]
async fn a_canceled_task_tells_its_holder_and_takes_no_outcome() {
    let api = Api::new().await;
    let task = api.submit().await;
    let lease = api.lease().await;
    let path = format!("/v1/tasks/{}/cancel", task["id"].as_str().unwrap());
    assert_eq!(api.call(call("POST", &path)).await.json()["status"], "canceled");
    let beat = json!({"items": [{"token": lease["token"]}]});
    let beat = api.call(post("/v1/leases/heartbeat", &beat)).await.json();
    assert_eq!(beat["items"][0]["canceled"], true);
    let token = lease["token"].as_str().unwrap();
    let input = api.call(get("/v1/leases/input").field("relais-lease", token)).await;
    assert_eq!(input.code(), "task-canceled");
    let item = api.settle(json!({"token": token, "outcome": "succeed", "result": 1})).await;
    assert_eq!((&item["status"], &item["canceled"]), (&json!(409), &json!(true)));
    assert_eq!(item["problem"]["code"], "task-canceled");
    let read = api.engine.task(id_of(&task)).await.unwrap().unwrap();
    assert_eq!(read.life.status(), Status::Canceled);
    assert!(read.life.lease().is_none(), "the slot is free");
}

#[tokio::test]
async fn a_stale_token_changes_nothing_and_a_repeated_settle_is_replayed() {
    let api = Api::new().await;
    let task = api.submit().await;
    let first = api.lease().await;
    let release = json!({"token": first["token"], "outcome": "release"});
    assert_eq!(api.settle(release).await["status"], 200);
    let second = api.lease().await;
    let late = json!({"token": first["token"], "outcome": "succeed", "result": "late"});
    let late = api.settle(late).await;
    assert_eq!((&late["status"], &late["problem"]["code"]), (&json!(409), &json!("stale-lease")));
    let settle = json!({"token": second["token"], "outcome": "succeed", "result": "right"});
    assert!(api.settle(settle.clone()).await.get("replayed").is_none());
    assert_eq!(api.settle(settle).await["replayed"], true);
    let path = format!("/v1/tasks/{}/result", task["id"].as_str().unwrap());
    assert_eq!(api.call(get(&path)).await.text(), "\"right\"");
}

#[tokio::test]
async fn a_settle_said_again_with_another_content_is_refused_and_changes_nothing() {
    // `{"x": 2}` after `{"x": 1}` was confirmed as `replayed`, and thrown away.
    let api = Api::new().await;
    let large = |last: &str| format!("{}{last}", "x".repeat(70_000));
    let fail = |detail: &str| json!({"outcome": "fail", "problem": {"detail": detail}});
    let succeed = |result: Value| json!({"outcome": "succeed", "result": result});
    let bytes =
        |kind: &str| json!({"result_base64": "eA==", "content_type": kind, "outcome": "succeed"});
    for (first, other) in [
        (succeed(json!({"x": 1})), succeed(json!({"x": 2}))),
        (succeed(json!(large("a"))), succeed(json!(large("b")))),
        (succeed(json!(1)), json!({"outcome": "succeed"})),
        (json!({"outcome": "succeed"}), succeed(json!(1))),
        (succeed(json!(1)), json!({"outcome": "succeed", "result": 1, "message": {"en": "ok"}})),
        (bytes("text/plain"), bytes("text/csv")),
        (succeed(json!(1)), fail("no")),
        (fail("a"), fail("b")),
    ] {
        let task = api.submit().await;
        let lease = api.lease().await;
        let by = |mut settle: Value| {
            settle["token"] = lease["token"].clone();
            settle
        };
        assert_eq!(api.settle(by(first.clone())).await["status"], 200);
        let told = |item: &Value| (item["status"].as_u64(), item["problem"]["code"].clone());
        let refused = api.settle(by(other.clone())).await;
        assert_eq!(told(&refused), (Some(409), json!("stale-lease")), "{}", other["outcome"]);
        let detail = refused["problem"]["detail"].as_str().unwrap();
        assert!(detail.contains("settled before"), "{detail}");
        let again = api.settle(by(first.clone())).await;
        assert_eq!((&again["status"], &again["replayed"]), (&json!(200), &json!(true)));
        if first["result"].is_object() {
            let path = format!("/v1/tasks/{}/result", task["id"].as_str().unwrap());
            assert_eq!(api.call(get(&path)).await.json(), first["result"]);
        }
        api.call(call("POST", &format!("/v1/tasks/{}/cancel", task["id"].as_str().unwrap()))).await;
    }
}

#[tokio::test]
async fn a_settle_may_lease_the_next_tasks_in_the_same_call() {
    let policy = relais_core::Policy { concurrency: Some(1), ..relais_core::Policy::default() };
    let engine = Config { template: Some(policy), ..Config::default() };
    let api = Api::with(ServerConfig::on_loopback(), engine).await;
    api.submit().await;
    api.clock.advance(Duration::from_millis(1));
    let next = api.submit().await;
    let lease = api.lease().await;
    let settle = json!({
        "items": [{"token": lease["token"], "outcome": "succeed"}],
        "lease_next": {"queue": "work", "max": 5},
    });
    let answer = api.call(post("/v1/leases/settle", &settle)).await.json();
    assert_eq!(answer["items"][0]["status"], 200);
    assert_eq!(answer["leases"][0]["task"], next["id"], "the slot it freed is used");
}

/// The answers of settles that were recorded were lost behind a 404.
#[tokio::test]
async fn a_queue_that_cannot_be_leased_from_does_not_hide_what_was_settled() {
    let queues = [("work".parse().unwrap(), relais_core::Policy::default())].into();
    let engine = Config { queues, template: None, ..Config::default() };
    let api = Api::with(ServerConfig::on_loopback(), engine).await;
    api.submit().await;
    let lease = api.lease().await;
    let item = json!({"token": lease["token"], "outcome": "succeed"});
    let settle = |items: Value| {
        let next = json!({"queue": "nowhere"});
        post("/v1/leases/settle", &json!({"items": items, "lease_next": next}))
    };
    let answer = api.call(settle(json!([item]))).await.json();
    assert_eq!(answer["items"][0]["status"], 200, "{answer}");
    assert_eq!(answer["leases"].as_array().map_or(0, Vec::len), 0);
    assert_eq!(api.call(settle(json!([]))).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_result_has_the_status_and_fields_its_worker_says() {
    let api = Api::new().await;
    let task = api.submit().await;
    let lease = api.lease().await;
    let item = json!({
        "token": lease["token"], "outcome": "succeed", "result_base64": "AP8=",
        "content_type": "image/x", "status": 201,
        "headers": [["location", "/made/7"], ["x-a", "1"], ["x-a", "2"]],
    });
    assert_eq!(api.settle(item).await["status"], 200);
    let path = format!("/v1/tasks/{}/result", task["id"].as_str().unwrap());
    let answer = api.call(get(&path)).await;
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (201, &[0, 255][..]));
    assert_eq!(answer.header("location"), "http://127.0.0.1:0/made/7");
    let values: Vec<_> = answer.headers.get_all("x-a").iter().collect();
    assert_eq!(values, ["1", "2"]);
}

#[tokio::test]
async fn a_workers_own_202_does_not_look_like_ours() {
    let api = Api::new().await;
    let task = api.submit().await;
    let lease = api.lease().await;
    let item = json!({"token": lease["token"], "outcome": "succeed", "result": 1, "status": 202});
    api.settle(item).await;
    let path = format!("/v1/tasks/{}/result", task["id"].as_str().unwrap());
    let answer = api.call(get(&path)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("relais-upstream-status"), "202");
}

/// The event told another code than the task, and also said that a retry may help although the worker had said that none would.
#[tokio::test]
async fn whether_a_retry_may_help_is_what_the_worker_says_everywhere() {
    let api = Api::new().await;
    let problem = json!({"title": "no", "detail": "no such file", "code": "no-file"});
    for (members, code, retryable) in [
        (json!({"retryable": false}), "handler-failed", false),
        (json!({"retryable": false, "problem": problem}), "no-file", false),
        (json!({"retryable": true, "problem": problem}), "no-file", true),
        (json!({"problem": problem}), "no-file", true),
        (json!({}), "handler-failed", true),
    ] {
        let task = api.submit().await;
        let mut item = members.clone();
        item["token"] = api.lease().await["token"].clone();
        item["outcome"] = json!("fail");
        assert_eq!(api.settle(item).await["status"], 200);
        let path = format!("/v1/tasks/{}", task["id"].as_str().unwrap());
        let log = get(&format!("{path}/events?after=2")).field("accept", "application/json");
        let log = api.call(log).await.json();
        let (attempt, end) = (&log["events"][0], &log["events"][1]);
        assert_eq!(attempt["type"], "attempt_failed", "{log}");
        assert_eq!(attempt["data"]["problem"]["retryable"], retryable, "{members}: {attempt}");
        assert_eq!(attempt["data"]["problem"]["code"], code, "{members}: {attempt}");
        assert_eq!(end.is_null(), retryable, "{members}: {log}");
        if end.is_null() {
            let told = api.call(get(&path)).await.json();
            assert_eq!(attempt["data"]["problem"], told["last_failure"]["problem"], "{members}");
            api.call(post(&format!("{path}/cancel"), &json!({}))).await;
            continue;
        }
        let told = api.call(get(&path)).await.json();
        for problem in [&end["data"]["problem"], &told["problem"]] {
            assert_eq!(problem["retryable"], false, "{members}: {problem}");
            assert_eq!(problem["code"], code);
            let page = "http://127.0.0.1:0/problems/handler-failed";
            assert_eq!(problem["type"] == page, code == "handler-failed", "{problem}");
        }
    }
}

#[tokio::test]
async fn an_attempt_that_was_the_last_says_what_its_task_says() {
    let engine = Config { template: Some(without_retries()), ..Config::default() };
    let api = Api::with(ServerConfig::on_loopback(), engine).await;
    let task = api.submit().await;
    let token = api.lease().await["token"].clone();
    api.settle(json!({"token": token, "outcome": "fail"})).await;
    let path = format!("/v1/tasks/{}/events?after=2", task["id"].as_str().unwrap());
    let log = api.call(get(&path).field("accept", "application/json")).await.json();
    for event in [&log["events"][0], &log["events"][1]] {
        assert_eq!(
            event["data"]["problem"]["retryable"], true,
            "a retry by hand may help: {event}"
        );
    }
}

#[tokio::test]
async fn what_a_settle_cannot_mean_is_refused_in_its_place() {
    let api = Api::new().await;
    api.submit().await;
    let lease = api.lease().await;
    let token = &lease["token"];
    for (item, code, pointer) in [
        (json!({"token": token, "outcome": "won"}), "invalid-field", "/outcome"),
        (json!({"token": token, "outcome": "fail", "result": 1}), "invalid-field", "/result"),
        (
            json!({"token": token, "outcome": "succeed", "result": 1, "status": 100}),
            "invalid-field",
            "/status",
        ),
        (
            json!({"token": token, "outcome": "succeed", "headers": [["content-length", "3"]]}),
            "invalid-field",
            "/headers/0",
        ),
        (
            json!({"token": token, "outcome": "succeed", "headers": [["x", "a\r\ny: z"]]}),
            "invalid-field",
            "/headers/0",
        ),
        (
            json!({"token": token, "outcome": "succeed", "headers": [["relais-task", "x"]]}),
            "invalid-field",
            "/headers/0",
        ),
        (
            json!({"token": token, "outcome": "succeed", "result_id": "result_x"}),
            "invalid-field",
            "/result_id",
        ),
        (
            json!({"token": token, "outcome": "fail", "problem": {"detail": "x".repeat(20_000)}}),
            "invalid-field",
            "/problem",
        ),
    ] {
        let answer = api.settle(item.clone()).await;
        assert_eq!(answer["problem"]["code"], code, "{item}");
        assert_eq!(answer["problem"]["errors"][0]["pointer"], pointer, "{item}");
    }
    // Most clients have fields in an object: the error said "expected an array", and not of what.
    for (headers, pointer, expected) in [
        (json!({"x-a": "b"}), "/headers", "an array of pairs of name and value"),
        (json!(["x-a: b"]), "/headers/0", "an array of two"),
    ] {
        let item = json!({"token": token, "outcome": "succeed", "headers": headers});
        let answer = api.settle(item).await;
        let error = &answer["problem"]["errors"][0];
        assert_eq!(error["pointer"], pointer, "{answer}");
        assert!(error["detail"].as_str().unwrap().contains(expected), "{answer}");
    }
    let item = json!({"token": token, "outcome": "succeed"});
    assert_eq!(api.settle(item).await["status"], 200, "nothing was recorded before");
    let many = json!({"items": vec![json!({"token": "x", "outcome": "release"}); 1_001]});
    let over = api.call(post("/v1/leases/settle", &many)).await;
    assert_eq!(over.code(), "batch-too-large");
    let over = post("/v1/queues/work/leases", &json!({"max": 1_001}));
    assert_eq!(api.call(over).await.code(), "invalid-field");
}

#[tokio::test]
async fn a_large_result_is_stored_before_its_settle() {
    let api = Api::new().await;
    let task = api.submit().await;
    let lease = api.lease().await;
    let token = lease["token"].as_str().unwrap();
    let bytes = vec![0xff; 300_000];
    let put = call("PUT", "/v1/leases/result")
        .field("relais-lease", token)
        .field("content-type", "application/x-bytes")
        .body(bytes.clone());
    let stored = api.call(put).await;
    assert_eq!((stored.status, &stored.json()["size"]), (StatusCode::OK, &json!(300_000)));
    let settle = json!({
        "token": token, "outcome": "succeed", "result_id": stored.json()["result_id"],
    });
    let mut odd = settle.clone();
    odd["status"] = json!(101);
    assert_eq!(api.settle(odd).await["status"], 422, "a refusal keeps what was stored");
    assert_eq!(api.settle(settle.clone()).await["status"], 200);
    assert_eq!(api.settle(settle).await["replayed"], true, "said again, it was recorded");
    let path = format!("/v1/tasks/{}/result", task["id"].as_str().unwrap());
    let answer = api.call(get(&path)).await;
    assert_eq!(answer.header("content-type"), "application/x-bytes");
    assert!(answer.body == bytes);
    let late = call("PUT", "/v1/leases/result").field("relais-lease", token).body("x");
    assert_eq!(api.call(late).await.code(), "stale-lease");
}

#[tokio::test]
async fn a_result_over_the_limit_is_refused() {
    let engine = Config { result_bytes_max: 1_000, ..Config::default() };
    let api = Api::with(ServerConfig::on_loopback(), engine).await;
    api.submit().await;
    let lease = api.lease().await;
    let token = lease["token"].as_str().unwrap();
    let put = |len: usize| {
        call("PUT", "/v1/leases/result").field("relais-lease", token).body("x".repeat(len))
    };
    assert_eq!(api.call(put(1_000)).await.status, StatusCode::OK);
    assert_eq!(api.call(put(1_001)).await.code(), "body-too-large");
    let item = json!({"token": token, "outcome": "succeed", "result": "x".repeat(1_000)});
    assert_eq!(api.settle(item).await["problem"]["limit"], 1_000);
}

#[tokio::test]
async fn a_leases_token_speaks_for_itself_where_keys_are_needed() {
    let keys = vec![
        key("rk_all", "default", Scopes::ALL),
        key("rk_other", "other", Scopes::ALL),
        key("rk_read", "default", Scopes { read: true, ..Scopes::default() }),
    ];
    let api = Api::with_keys(keys).await;
    let submission = post("/v1/tasks", &json!({"queue": "work"}));
    api.call(submission.field("relais-api-key", "rk_all")).await;
    let lease = call("POST", "/v1/queues/work/leases").field("relais-api-key", "rk_all");
    let lease = api.call(lease).await.json()["leases"][0].clone();
    let beat = || post("/v1/leases/heartbeat", &json!({"items": [{"token": lease["token"]}]}));
    let of = |answer: crate::api::Answer| answer.json()["items"][0]["status"].clone();
    assert_eq!(of(api.call(beat()).await), 200);
    assert_eq!(of(api.call(beat().field("relais-api-key", "rk_all")).await), 200);
    assert_eq!(of(api.call(beat().field("relais-api-key", "rk_other")).await), 409);
    assert_eq!(api.call(beat().field("relais-api-key", "rk_read")).await.code(), "forbidden");
    let next = json!({"items": [], "lease_next": {"queue": "work"}});
    assert_eq!(api.call(post("/v1/leases/settle", &next)).await.code(), "unauthorized");
}
