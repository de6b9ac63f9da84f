//! Members that the contract has, and that never came.

use serde_json::{Value, json};

use crate::api::{Api, call, get, post, without_retries};

/// The events of a task, oldest first.
async fn log(api: &Api, id: &str) -> Vec<Value> {
    let asked = get(&format!("/v1/tasks/{id}/events")).field("accept", "application/json");
    api.call(asked).await.json()["events"].as_array().unwrap().clone()
}

/// A settle that succeeded with a message was answered with 200, and nobody ever read it.
#[tokio::test]
async fn the_message_of_a_success_is_told_in_the_task_and_in_its_log() {
    let api = Api::new().await;
    let words = json!({"en": "Your file is ready.", "fr": "Votre fichier est prêt."});
    for result in [json!({"a": 1}), Value::Null] {
        let id = api.submit().await["id"].as_str().unwrap().to_owned();
        let token = api.lease().await["token"].clone();
        let mut item = json!({"token": token, "outcome": "succeed", "message": words});
        if !result.is_null() {
            item["result"] = result;
        }
        let settled = api.settle(item.clone()).await;
        assert_eq!((&settled["status"], &settled["task"]["message"]), (&json!(200), &words));
        assert_eq!(api.settle(item).await["replayed"], true);
        assert_eq!(api.call(get(&format!("/v1/tasks/{id}"))).await.json()["message"], words);
        let last = log(&api, &id).await.pop().unwrap();
        assert_eq!((&last["type"], &last["data"]["message"]), (&json!("succeeded"), &words));
    }
    let plain = api.succeed(json!(1)).await["id"].as_str().unwrap().to_owned();
    assert_eq!(api.call(get(&format!("/v1/tasks/{plain}"))).await.json().get("message"), None);
}

#[tokio::test]
async fn a_message_of_a_success_is_bounded_like_that_of_a_failure() {
    let api = Api::new().await;
    api.submit().await;
    let token = api.lease().await["token"].clone();
    for outcome in ["succeed", "fail"] {
        let long =
            json!({"token": token, "outcome": outcome, "message": {"en": "x".repeat(2_048)}});
        let refused = api.settle(long).await;
        assert_eq!(refused["problem"]["errors"][0]["pointer"], "/message", "{refused}");
    }
}

/// The log said nothing of why, and the run of a `requeued` was counted from the start of the log.
#[tokio::test]
async fn the_log_says_why_a_task_was_canceled_and_which_run_comes_next() {
    let config = relais_engine::Config {
        template: Some(without_retries()),
        ..relais_engine::Config::default()
    };
    let api = Api::with(relais_server::config::ServerConfig::on_loopback(), config).await;
    let id = api.submit().await["id"].as_str().unwrap().to_owned();
    for _ in 0..2 {
        api.call(call("POST", &format!("/v1/tasks/{id}/cancel"))).await;
        api.call(call("POST", &format!("/v1/tasks/{id}/retry"))).await;
    }
    let token = api.lease().await["token"].clone();
    api.settle(json!({"token": token, "outcome": "release"})).await;
    let told: Vec<_> =
        log(&api, &id).await.into_iter().map(|event| event["data"].clone()).collect();
    let at = "2023-11-14T22:13:20.000Z";
    let retried = |run| json!({"reason": "retried", "run": run, "run_at": at});
    let released = json!({"reason": "released", "run": 3, "run_at": at});
    let requested = json!({"reason": "requested"});
    let expected = [requested.clone(), retried(2), requested, retried(3), json!({}), released];
    assert_eq!(told[1..], expected);
    let settle = json!({"items": [{"token": "x", "outcome": "release", "retry_after": "5s"}]});
    let refused = api.call(post("/v1/leases/settle", &settle)).await.json();
    assert_ne!(refused["items"][0]["status"], 200, "what is not built is refused");
}
