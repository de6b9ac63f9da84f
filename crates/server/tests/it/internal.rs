//! Tasks that Relais makes for itself: to clients there are none.

use relais_core::{Credentials, Purpose, Spec, TaskId, accept};
use relais_store::{Accept, Commit};

use crate::api::{Api, call, get};

/// What Relais does for itself is nobody's task, also to whoever knows its id.
#[tokio::test]
async fn an_internal_task_is_no_task_to_clients() {
    let api = Api::new().await;
    let own = api.submit().await;
    let listed = async || {
        let items = api.call(get("/v1/tasks")).await.json()["items"].clone();
        items.as_array().unwrap().iter().map(|item| item["id"].clone()).collect::<Vec<_>>()
    };
    let id: TaskId = own["id"].as_str().unwrap().parse().unwrap();
    let twin = api.engine.task(id).await.unwrap().unwrap().spec;
    let id = api.engine.draw_id();
    let spec = Spec { id, purpose: Purpose::Internal, ..(*twin).clone() };
    let (task, entry) = accept(spec, Credentials::None, false);
    let (bodies, room) = (Vec::new(), u64::MAX);
    let (queue_capacity, tenant_capacity, source_capacity) = (room, room, room);
    let idempotency = None;
    let internal = Accept {
        task,
        entry,
        bodies,
        idempotency,
        queue_capacity,
        tenant_capacity,
        source_capacity,
    };
    api.store
        .commit(vec![Commit::Accept(Box::new(internal))])
        .await
        .unwrap()
        .pop()
        .unwrap()
        .unwrap();
    assert_eq!(listed().await, std::slice::from_ref(&own["id"]));
    let target = format!("/v1/tasks/{id}");
    for path in ["", "/events", "/result", "/why"] {
        let answer = api.call(get(&format!("{target}{path}"))).await;
        assert_eq!(answer.code(), "task-not-found", "{path}");
    }
    assert_eq!(api.call(call("DELETE", &target)).await.code(), "task-not-found");
    assert_eq!(api.call(call("POST", &format!("{target}/cancel"))).await.code(), "task-not-found");
}
