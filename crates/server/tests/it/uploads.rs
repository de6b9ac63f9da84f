//! Results stored before their settle, where the settle does not succeed at once.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use relais_core::BodyKind;
use relais_engine::Config;
use relais_server::config::ServerConfig;
use relais_store::{Store, StoreError};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::api::{Api, call, get, post};
use crate::house::{Gate, SOON};
use crate::odd_store::OddStore;

/// An attempt whose large result is stored: the API, the task, and the
/// settle that names the result.
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

/// A store that was away, or full, for a moment cost the stored result: it was made durable only
/// then. The settle said again was a 422.
#[tokio::test]
async fn a_settle_that_the_store_could_not_take_is_said_again_with_the_same_result() {
    let store = OddStore::new();
    let (api, task, settle) = stored(store.clone()).await;
    let away = StoreError::Unavailable("gone fishing".to_owned());
    for (error, status) in [(away, 503), (StoreError::Full, 507)] {
        store.break_with(Some(error));
        assert_eq!(api.settle(settle.clone()).await["status"], status);
    }
    store.break_with(None);
    assert_eq!(api.settle(settle.clone()).await["status"], 200);
    assert_eq!(api.settle(settle.clone()).await["replayed"], true);
    assert_result(&api, &task).await;
}

/// A result was called stored before it was durable: what the store could not take was missing at
/// the settle, when its worker may have let go of it.
#[tokio::test]
async fn a_result_is_stored_once_it_is_durable() {
    let store = OddStore::new();
    let (api, task, mut settle) = stored(store.clone()).await;
    let put = |body: Body| {
        let put = call("PUT", "/v1/leases/result");
        put.field("relais-lease", settle["token"].as_str().unwrap()).body(body)
    };
    let bytes = || Bytes::from(vec![7; 300_000]);
    let disk = store.clone();
    let fills_up = stream::once(async move {
        disk.break_with(Some(StoreError::Full));
        Ok::<_, std::io::Error>(Bytes::new())
    });
    let unlucky = stream::once(async move { Ok(bytes()) }).chain(fills_up);
    let refused = api.call(put(Body::from_stream(unlucky))).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (507, "store-full"));
    store.break_with(None);
    settle["result_id"] = api.call(put(bytes().into())).await.json()["result_id"].clone();
    assert_eq!(api.settle(settle.clone()).await["status"], 200);
    assert_result(&api, &task).await;
}

/// What a lease had stored ended after an hour, although its worker still
/// ran: the settle was a 422.
#[tokio::test]
async fn a_stored_result_lasts_as_long_as_its_lease() {
    let (api, task, settle) = stored(OddStore::new()).await;
    tokio::task::yield_now().await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(7_200)).await;
    tokio::task::yield_now().await;
    tokio::time::resume();
    assert_eq!(api.settle(settle.clone()).await["status"], 200);
    assert_result(&api, &task).await;
}

/// It was a 422 for a result that is no more, which no worker can mend, instead
/// of a lease that is over.
#[tokio::test]
async fn a_settle_that_comes_too_late_for_its_result_is_told_of_its_lease() {
    let (api, task, settle) = stored(OddStore::new()).await;
    let id = task["id"].as_str().unwrap().parse().unwrap();
    let mut follower = api.engine.follow(id);
    let version = api.engine.task(id).await.unwrap().unwrap().life.version;
    api.clock.advance(Duration::from_secs(31));
    follower.after(version).await;
    // Whoever watches over the lease hears of its end at the same time.
    tokio::task::yield_now().await;
    let late = api.settle(settle).await;
    assert_eq!((&late["status"], &late["problem"]["code"]), (&json!(409), &json!("stale-lease")));
}

/// A settle repeated while the first was under way was told that there is no such result.
#[tokio::test]
async fn a_settle_repeated_while_the_first_is_under_way_is_recorded_once() {
    let gate = Gate::of_outcomes();
    let (api, task, settle) = stored(gate.clone()).await;
    let again = async {
        gate.reached().await;
        let both_came = async {
            gate.reached().await;
            gate.open();
            gate.open();
        };
        tokio::join!(api.settle(settle.clone()), both_came).0
    };
    let (first, again) = tokio::join!(api.settle(settle.clone()), again);
    assert_eq!((&first["status"], &again["status"]), (&json!(200), &json!(200)));
    assert_ne!(first["replayed"] == true, again["replayed"] == true, "{first} {again}");
    assert_result(&api, &task).await;
}

/// A stored result was in the memory of one process: a settle that came to another, or after a restart,
/// was a 422, and what its worker had done was to be put again.
#[tokio::test]
async fn a_settle_finds_its_result_on_another_node() {
    let store: Arc<dyn Store> = OddStore::new();
    let (_first, task, settle) = stored(store.clone()).await;
    let second = Api::on(store, ServerConfig::on_loopback(), Config::default()).await;
    assert_eq!(second.settle(settle.clone()).await["status"], 200);
    assert_eq!(second.settle(settle).await["replayed"], true);
    assert_result(&second, &task).await;
}

/// A task that could not be read at the moment of one of its events cost the result that was just being
/// sent, although its lease held.
#[tokio::test]
async fn an_upload_goes_on_although_its_task_cannot_be_read_for_a_moment() {
    let store = OddStore::new();
    let (api, task, mut settle) = stored(store.clone()).await;
    let (begun, has_begun) = oneshot::channel();
    let (ends, may_end) = oneshot::channel();
    let body = stream::once(async move {
        begun.send(()).unwrap();
        may_end.await.unwrap();
        Ok::<_, std::io::Error>(Bytes::from(vec![7; 300_000]))
    });
    let put = call("PUT", "/v1/leases/result");
    let put = put.field("relais-lease", settle["token"].as_str().unwrap());
    let sign = json!({"items": [{"token": settle["token"], "output": "half of it"}]});
    let moment = async {
        has_begun.await.unwrap();
        store.break_after_commit(StoreError::Unavailable("gone fishing".to_owned()));
        api.call(post("/v1/leases/heartbeat", &sign)).await;
        // Whoever watches over the lease looks at the task for the sake of that event.
        store.read_failed().await;
        store.break_with(None);
        ends.send(()).unwrap();
    };
    let (stored, ()) = tokio::join!(api.call(put.body(Body::from_stream(body))), moment);
    settle["result_id"] = stored.json()["result_id"].clone();
    assert_eq!(api.settle(settle).await["status"], 200);
    assert_result(&api, &task).await;
}

/// A worker that never ended its upload held its room, and its file, long after its lease.
#[tokio::test]
async fn an_upload_ends_with_its_lease() {
    let (api, _, settle) = stored(OddStore::new()).await;
    let clock = api.clock.clone();
    let ends = stream::once(async move {
        clock.advance(Duration::from_secs(31));
        Ok::<_, std::io::Error>(Bytes::from(vec![7; 300_000]))
    });
    let put = call("PUT", "/v1/leases/result");
    let put = put.field("relais-lease", settle["token"].as_str().unwrap());
    let put = put.body(Body::from_stream(ends.chain(stream::pending())));
    let answer = tokio::time::timeout(SOON, api.call(put)).await.expect("it is answered");
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (409, "stale-lease"));
}

/// A tenant's name that changed in the configuration cost its workers what they had done: a settle
/// without a key was looked for among the tasks of the new name, and took the stored result with it.
#[tokio::test]
async fn work_that_was_begun_under_another_configuration_is_still_settled() {
    let store: Arc<dyn Store> = OddStore::new();
    let (_, task, settle) = stored(store.clone()).await;
    let config =
        ServerConfig { default_tenant: "renamed".parse().unwrap(), ..ServerConfig::on_loopback() };
    let api = Api::on(store, config, Config::default()).await;
    let sign = json!({"items": [{"token": settle["token"]}]});
    let sign = api.call(post("/v1/leases/heartbeat", &sign)).await.json();
    assert_eq!(sign["items"][0]["status"], 200, "{sign}");
    let put = call("PUT", "/v1/leases/result");
    let put = put.field("relais-lease", settle["token"].as_str().unwrap()).body(vec![7; 300_000]);
    let stored = api.call(put).await.json();
    let settle = json!({
        "token": settle["token"], "outcome": "succeed", "result_id": stored["result_id"],
    });
    assert_eq!(api.settle(settle).await["status"], 200);
    let id = task["id"].as_str().unwrap().parse().unwrap();
    let stored = api.engine.body(id, BodyKind::Result).await.unwrap();
    assert_eq!(stored.map(|body| body.len), Some(300_000));
}
