//! Results stored before their settle, where the settle does not succeed at once.

use std::sync::Arc;

use relais_engine::Config;
use relais_server::config::ServerConfig;
use relais_store::{Store, StoreError};
use serde_json::{Value, json};

use crate::api::{Api, call, get, post};
use crate::house::Gate;
use crate::odd_store::OddStore;

/// An attempt whose large result is stored: the API, the task, and the settle that names the result.
async fn stored(store: Arc<dyn Store>) -> (Api, Value, Value) {
    let api = Api::on(store, ServerConfig::on_loopback(), Config::default()).await;
    let task = api.submit().await;
    let lease = api.lease().await;
    let put =
        call("PUT", "/v1/leases/result").field("relais-lease", lease["token"].as_str().unwrap());
    let stored = api.call(put.body(vec![7; 300_000])).await.json();
    let settle = json!({
        "token": lease["token"], "outcome": "succeed", "result_id": stored["result_id"],
    });
    (api, task, settle)
}

async fn assert_result(api: &Api, task: &Value) {
    let path = format!("/v1/tasks/{}/result", task["id"].as_str().unwrap());
    assert!(api.call(get(&path)).await.body == vec![7; 300_000]);
}

/// A store that was away for a moment cost the finished result: the settle said again was a 422.
#[tokio::test]
async fn a_settle_that_the_store_could_not_take_is_said_again_with_the_same_result() {
    let store = OddStore::new();
    let (api, task, settle) = stored(store.clone()).await;
    let call = || post("/v1/leases/settle", &json!({"items": [settle]}));
    for error in [StoreError::Unavailable("gone fishing".to_owned()), StoreError::Full] {
        store.break_with(Some(error));
        assert!(api.call(call()).await.status.is_server_error());
    }
    store.break_with(None);
    assert_eq!(api.settle(settle.clone()).await["status"], 200);
    assert_eq!(api.settle(settle.clone()).await["replayed"], true);
    assert_result(&api, &task).await;
}

/// A settle repeated while the first was under way was told that there is no such result.
#[tokio::test]
async fn a_settle_repeated_too_early_is_told_to_come_back() {
    let gate = Gate::of_outcomes();
    let (api, task, settle) = stored(gate.clone()).await;
    let early = async {
        gate.reached().await;
        let early = api.settle(settle.clone()).await;
        gate.open();
        early
    };
    let (first, early) = tokio::join!(api.settle(settle.clone()), early);
    assert_eq!(first["status"], 200);
    assert_eq!((&early["status"], &early["problem"]["code"]), (&json!(503), &json!("overloaded")));
    gate.open();
    assert_eq!(api.settle(settle.clone()).await["replayed"], true);
    assert_result(&api, &task).await;
}
