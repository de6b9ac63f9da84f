//! Clients that leave in the middle: nothing is left half done.

use relais_engine::Config;
use relais_server::config::ServerConfig;
use serde_json::json;

use crate::api::{Api, call, id_of, post};
use crate::odd_store::{OddStore, Slow};

#[tokio::test]
async fn a_task_whose_client_left_while_it_was_stored_is_run_all_the_same() {
    let store = OddStore::new();
    let api = Api::on(store.clone(), ServerConfig::on_loopback(), Config::default()).await;
    let worker = post("/v1/queues/work/leases", &json!({"wait": "30s"}));
    store.slow_down(Slow::Accepts);
    let leaving = async {
        let submission = post("/v1/tasks", &json!({"queue": "work"}));
        tokio::select! {
            answer = api.call(submission) => panic!("answered before it was stored: {answer:?}"),
            () = store.reached() => {}
        }
        store.open();
    };
    let (answer, ()) = tokio::join!(api.call(worker), leaving);
    assert_eq!(answer.json()["leases"][0]["attempt"], 1, "the worker was woken");
}

#[tokio::test]
async fn a_task_whose_worker_left_while_it_was_leased_is_given_back_at_once() {
    // P7: lease granted, nobody there to take it.
    let store = OddStore::new();
    let api = Api::on(store.clone(), ServerConfig::on_loopback(), Config::default()).await;
    let task = api.submit().await;
    let mut follower = api.engine.follow(id_of(&task));
    store.slow_down(Slow::Claims);
    tokio::select! {
        answer = api.call(call("POST", "/v1/queues/work/leases")) => {
            panic!("answered before it was claimed: {answer:?}");
        }
        () = store.reached() => {}
    }
    store.open();
    follower.after(2).await;
    let lease = api.lease().await;
    assert_eq!((&lease["task"], &lease["attempt"]), (&task["id"], &json!(2)));
}
