//! Error codes that need a story of their own to come about.

use std::time::Duration;

use http::StatusCode;
use relais_core::{Status, limits};
use relais_server::config::Mode;
use serde_json::{Value, json};

use crate::api::{Api, call, get, id_of, post};
use crate::house::{House, Plan};

const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\nprefer: respond-async\r\n\
                    authorization: Bearer theirs\r\ncontent-length: 2\r\n\r\nhi";

/// Reads a task as somebody on the same machine.
async fn read(house: &House, target: &str) -> crate::house::Reply {
    house.call(&format!("GET {target} HTTP/1.1\r\nhost: {}\r\n\r\n", house.address)).await
}

/// Whatever ended a task without an answer, its problem names the task and says what happened and
/// what to do next. Some did not, and one said its title twice.
fn assert_tells_all(problem: &Value, id: &str, detail: &str) {
    assert_eq!(
        (&problem["task"], &problem["instance"]),
        (&json!(id), &json!(format!("/v1/tasks/{id}")))
    );
    let told = problem["detail"].as_str().unwrap();
    assert!(told.contains(detail) && !told.contains(problem["title"].as_str().unwrap()), "{told}");
}

#[tokio::test]
async fn a_task_whose_time_runs_out_says_so() {
    let api = Api::new().await;
    let task = api.call(post("/v1/tasks", &json!({"queue": "work", "deadline": "10s"}))).await;
    let id = id_of(&task.json());
    let mut follower = api.engine.follow(id);
    api.clock.advance(Duration::from_secs(11));
    follower.after(1).await;
    let read = api.call(get(&format!("/v1/tasks/{id}"))).await.json();
    assert_eq!((&read["status"], &read["terminal"]), (&json!("failed"), &json!(true)));
    assert_eq!(read["problem"]["code"], "deadline-exceeded");
    let result = api.call(get(&format!("/v1/tasks/{id}/result"))).await;
    assert_eq!((result.status.as_u16(), result.code().as_str()), (504, "deadline-exceeded"));
    assert_tells_all(
        &result.json(),
        &id.to_string(),
        "while the task waited for its turn. Look at",
    );
    // Asked for by hand it starts anew, with as much time again.
    let again = api.call(call("POST", &format!("/v1/tasks/{id}/retry"))).await.json();
    assert_eq!((&again["status"], &again["run"]), (&json!("queued"), &json!(2)));
    assert_eq!(api.lease().await["task"], task.json()["id"]);
}

#[tokio::test]
async fn a_lost_answer_to_what_must_not_be_sent_twice_is_an_unknown_outcome() {
    let house = House::with(Mode::Auto).await;
    let ticket = house.call(POST).await;
    house.upstream.next().await.die();
    let id = ticket.task();
    assert_eq!(house.over(id).await.life.status(), Status::Failed);
    let problem = read(&house, &format!("/v1/tasks/{id}")).await.json()["problem"].clone();
    assert_eq!(problem["code"], "outcome-unknown");
    let result = read(&house, &format!("/v1/tasks/{id}/result")).await;
    assert_eq!(result.code(), "outcome-unknown");
    let next = "may have done the work. Find out at the upstream";
    assert_tells_all(&result.json(), &id.to_string(), next);
    assert!(house.upstream.is_silent().await, "only somebody who knows better sends it again");
    // Nor does a retry of all that failed, which used to send it again without a word.
    let bulk = async |filter: &str| {
        let (address, length) = (house.address, filter.len());
        let fields = format!("host: {address}\r\ncontent-length: {length}\r\n");
        let fields = format!("{fields}content-type: application/json\r\n\r\n");
        house.call(&format!("POST /v1/tasks/retry HTTP/1.1\r\n{fields}{filter}")).await.json()
    };
    assert_eq!(bulk(r#"{"status":"failed"}"#).await, json!({"changed": 0, "left_out": 1}));
    let other = bulk(r#"{"code":"upstream-error"}"#).await;
    assert_eq!(other, json!({"changed": 0, "left_out": 0}));
    assert!(house.upstream.is_silent().await);
    let fields = format!("host: {}\r\ncontent-length: 0\r\n\r\n", house.address);
    let again = house.call(&format!("POST /v1/tasks/{id}/retry HTTP/1.1\r\n{fields}")).await;
    assert_eq!(again.status, 202, "{again:?}");
    let call = house.upstream.next().await;
    assert_eq!(call.field("authorization"), Some("Bearer theirs"));
    assert_eq!(call.field("idempotency-key"), Some(format!("{id}-r2").as_str()));
    call.die();
    assert_eq!(house.over(id).await.life.status(), Status::Failed);
    let named = bulk(r#"{"code":"outcome-unknown"}"#).await;
    assert_eq!(named, json!({"changed": 1, "left_out": 0}), "who names it knows");
}

#[tokio::test]
async fn what_was_sealed_and_is_erased_cannot_be_sent_again() {
    let mut plan = Plan::with(Mode::Async).await;
    plan.policy.concurrency = Some(1);
    let house = plan.build().await;
    let ticket = house.call(POST).await;
    let _call = house.upstream.next().await;
    let id = ticket.task();
    let fields = format!("host: {}\r\ncontent-length: 0\r\n\r\n", house.address);
    let by_hand = |what: &str| format!("POST /v1/tasks/{id}/{what} HTTP/1.1\r\n{fields}");
    assert_eq!(house.call(&by_hand("cancel")).await.json()["status"], "canceled");
    let result = read(&house, &format!("/v1/tasks/{id}/result")).await;
    assert_tells_all(&result.json(), &id.to_string(), "takes no retry. Send the request again");
    // Nor is it offered: not to programs, and not to people.
    let task = read(&house, &format!("/v1/tasks/{id}")).await;
    assert_eq!(task.json()["links"].get("retry"), None);
    let target = format!("/v1/tasks/{id} HTTP/1.1\r\naccept: text/html");
    let page = house.call(&format!("GET {target}\r\nhost: {}\r\n\r\n", house.address)).await;
    let page = page.text();
    assert!(page.contains("send it again from the page where you began"), "{page}");
    assert!(!page.contains("/retry"), "{page}");
    let refused = house.call(&by_hand("retry")).await;
    assert_eq!((refused.status, refused.code().as_str()), (409, "credentials-erased"));
    // One without credentials is run again.
    let ticket = house.call(&POST.replace("authorization", "x-other")).await;
    let id = ticket.task();
    let fields = format!("host: {}\r\ncontent-length: 0\r\n\r\n", house.address);
    for (what, status) in [("cancel", "canceled"), ("retry", "queued")] {
        let request = format!("POST /v1/tasks/{id}/{what} HTTP/1.1\r\n{fields}");
        assert_eq!(house.call(&request).await.json()["status"], status);
        let task = read(&house, &format!("/v1/tasks/{id}")).await.json();
        assert!(task["links"]["retry"].is_string(), "{task}");
        if status == "canceled" {
            let result = read(&house, &format!("/v1/tasks/{id}/result")).await;
            assert_tells_all(&result.json(), &id.to_string(), "Retry it by hand");
        }
    }
}

#[tokio::test]
async fn a_log_that_is_full_takes_no_output_and_still_takes_the_outcome() {
    let api = Api::new().await;
    let task = api.submit().await;
    let lease = api.lease().await;
    let item = json!({"token": lease["token"], "output": 1});
    let beats = json!({"items": vec![item; limits::BATCH_MAX]});
    let mut answers: Vec<Value> = Vec::new();
    for _ in 0..limits::EVENTS_MAX / limits::BATCH_MAX as u64 {
        let answer = api.call(post("/v1/leases/heartbeat", &beats)).await.json();
        answers.extend(answer["items"].as_array().unwrap().clone());
    }
    let taken = answers.iter().take_while(|item| item["status"] == 200).count();
    assert!(taken > 0 && taken < answers.len(), "{taken}");
    for refused in &answers[taken..] {
        assert_eq!(refused["problem"]["code"], "too-many-events");
    }
    // Nor does it keep the lease from being extended, or the outcome from being told.
    let beat = json!({"items": [{"token": lease["token"]}]});
    let beat = api.call(post("/v1/leases/heartbeat", &beat)).await.json();
    assert_eq!(beat["items"][0]["status"], 200);
    let settle = json!({"token": lease["token"], "outcome": "succeed", "result": 1});
    assert_eq!(api.settle(settle).await["status"], 200);
    let read = api.engine.task(id_of(&task)).await.unwrap().unwrap();
    assert_eq!(read.life.status(), Status::Succeeded);
    assert!(read.life.version <= limits::EVENTS_MAX, "{}", read.life.version);
}

#[tokio::test]
async fn results_that_wait_for_their_settle_are_bounded() {
    let api = Api::new().await;
    let most = limits::UPLOADS_PER_TENANT_MAX;
    let tasks = vec![json!({"queue": "work"}); most];
    api.call(post("/v1/tasks/batch", &json!(tasks))).await;
    api.submit().await;
    let mut tokens = Vec::new();
    for max in [most, 1] {
        let leases = api.call(post("/v1/queues/work/leases", &json!({"max": max}))).await.json();
        let leases = leases["leases"].as_array().unwrap().clone();
        tokens.extend(leases.iter().map(|one| one["token"].as_str().unwrap().to_owned()));
    }
    assert_eq!(tokens.len(), most + 1);
    let put = |token: &str| call("PUT", "/v1/leases/result").field("relais-lease", token).body("x");
    let last = tokens.pop().unwrap();
    let mut stored = Value::Null;
    for token in &tokens {
        let answer = api.call(put(token)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        stored = answer.json();
    }
    let over = api.call(put(&last)).await;
    assert_eq!((over.status.as_u16(), over.code().as_str()), (429, "rate-limited"));
    assert!(!over.header("retry-after").is_empty());
    assert_eq!(api.call(put(&tokens[0])).await.status, StatusCode::OK, "it replaces its own");
    // A settle makes room.
    let token = tokens.last().unwrap();
    let settle = json!({"token": token, "outcome": "succeed", "result_id": stored["result_id"]});
    assert_eq!(api.settle(settle).await["status"], 200);
    assert_eq!(api.call(put(&last)).await.status, StatusCode::OK);
}
