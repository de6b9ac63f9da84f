//! How a task stands, what came out, and changing it by hand.

use http::StatusCode;
use relais_core::Policy;
use relais_engine::Config;
use relais_server::config::ServerConfig;
use serde_json::{Value, json};

use crate::api::{Api, call, get, post, without_retries};

fn target(accepted: &Value) -> String {
    format!("/v1/tasks/{}", accepted["id"].as_str().unwrap())
}

#[tokio::test]
async fn a_task_is_read_with_a_weak_tag_and_a_pace() {
    let api = Api::new().await;
    let task = api.submit().await;
    let answer = api.call(get(&target(&task))).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("etag"), "W/\"v1-json\"");
    assert_eq!(answer.header("vary"), "Accept, Accept-Language");
    assert_eq!(answer.header("cache-control"), "private, no-cache");
    assert!(!answer.header("retry-after").is_empty());
    assert_eq!(answer.json()["position"], 1);
    let again = get(&target(&task)).field("if-none-match", "W/\"v1-json\"");
    let again = api.call(again).await;
    assert_eq!((again.status, again.body.len()), (StatusCode::NOT_MODIFIED, 0));
    assert_eq!(again.header("etag"), "W/\"v1-json\"");
    assert!(!again.header("retry-after").is_empty(), "a poller learns the pace");
    api.succeed(json!(1)).await;
}

#[tokio::test]
async fn a_held_request_is_answered_at_the_next_version() {
    let api = Api::new().await;
    let task = api.submit().await;
    let held =
        get(&target(&task)).field("if-none-match", "W/\"v1-json\"").field("prefer", "wait=30");
    let (answer, lease) = tokio::join!(api.call(held), api.lease());
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json()["version"], 2);
    assert_eq!(answer.header("preference-applied"), "wait=30");
    assert_eq!(lease["attempt"], 1);
}

#[tokio::test]
async fn a_wait_that_ends_says_that_nothing_is_new() {
    let api = Api::new().await;
    let task = api.submit().await;
    let held =
        get(&target(&task)).field("if-none-match", "W/\"v1-json\"").field("prefer", "wait=0");
    let answer = api.call(held).await;
    assert_eq!(answer.status, StatusCode::NOT_MODIFIED);
    assert_eq!(answer.header("preference-applied"), "wait=0");
    let stale =
        get(&target(&task)).field("if-none-match", "W/\"v0-json\"").field("prefer", "wait=30");
    assert_eq!(api.call(stale).await.status, StatusCode::OK, "something newer is told at once");
    let plain = get(&target(&task)).field("prefer", "wait=0");
    assert_eq!(api.call(plain).await.status, StatusCode::OK);
}

#[tokio::test]
async fn held_requests_are_answered_when_the_server_stops() {
    let api = Api::new().await;
    let task = api.submit().await;
    let held = get(&format!("{}/result", target(&task))).field("prefer", "wait=50");
    let answering = api.call(held);
    let (answer, ()) = tokio::join!(answering, async { api.app.stop.close() });
    assert_eq!(answer.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_task_that_is_over_is_answered_at_once() {
    let api = Api::new().await;
    let task = api.succeed(json!(1)).await;
    let answer = api.call(get(&target(&task)).field("prefer", "wait=50")).await;
    let document = answer.json();
    assert_eq!((&document["status"], &document["terminal"]), (&json!("succeeded"), &json!(true)));
    assert!(document["resourceLocation"].as_str().unwrap().ends_with("/result"));
    assert!(document["expires_at"].is_string());
    assert_eq!(answer.header("retry-after"), "");
}

#[tokio::test]
async fn people_get_a_page_that_runs_only_its_own_script() {
    let api = Api::new().await;
    let document = json!({"queue": "work", "labels": {"a": "<script>"}});
    let task = api.call(post("/v1/tasks", &document)).await.json();
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let answer =
        api.call(get(task["links"]["self"].as_str().unwrap()).field("accept", browser)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(answer.header("etag"), "W/\"v1-html\"");
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
    let policy = answer.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(answer.text().contains(task["id"].as_str().unwrap()));
    assert!(!answer.text().contains("{{"));
}

#[tokio::test]
async fn every_path_says_its_methods() {
    let api = Api::new().await;
    let task = api.succeed(json!(1)).await;
    for (path, allow) in [
        ("/v1/tasks".to_owned(), "GET, HEAD, POST, OPTIONS"),
        ("/v1/tasks/batch".to_owned(), "POST, OPTIONS"),
        (target(&task), "GET, HEAD, DELETE, OPTIONS"),
        (format!("{}/result", target(&task)), "GET, HEAD, OPTIONS"),
        ("/v1/leases/result".to_owned(), "PUT, OPTIONS"),
        ("/v1/queues/work".to_owned(), "GET, HEAD, PUT, OPTIONS"),
        ("/healthz".to_owned(), "GET, HEAD, OPTIONS"),
    ] {
        let options = api.call(call("OPTIONS", &path)).await;
        assert_eq!((options.status.as_u16(), options.header("allow")), (204, allow), "{path}");
        let refused = api.call(call("PATCH", &path)).await;
        assert_eq!(refused.code(), "method-not-allowed", "{path}");
        assert_eq!(refused.header("allow"), allow, "{path}");
    }
    for path in [target(&task), format!("{}/result", target(&task)), "/v1/tasks".to_owned()] {
        let whole = api.call(get(&path)).await;
        let head = api.call(call("HEAD", &path)).await;
        assert_eq!((head.status, head.body.len()), (whole.status, 0), "{path}");
        assert_eq!(head.header("content-type"), whole.header("content-type"), "{path}");
        let length = whole.body.len().to_string();
        assert_eq!(head.header("content-length"), length, "{path}");
    }
}

#[tokio::test]
async fn what_is_no_id_is_no_task() {
    let api = Api::new().await;
    for id in ["x", "task_", "task_00000000000000000000000000", "task_%00", "TASK_1"] {
        let answer = api.call(get(&format!("/v1/tasks/{id}"))).await;
        assert_eq!(answer.code(), "task-not-found", "{id}");
    }
}

#[tokio::test]
async fn tasks_are_listed_newest_first_and_page_by_page() {
    let api = Api::new().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        // Ids of one millisecond have no order in time.
        api.clock.advance(std::time::Duration::from_millis(1));
        let document =
            json!({"queue": "work", "lane": format!("l{}", n % 2), "labels": {"n": n.to_string()}});
        let task = api.call(post("/v1/tasks", &document)).await.json();
        ids.insert(0, task["id"].clone());
    }
    let listed = |document: &Value| -> Vec<Value> {
        document["items"].as_array().unwrap().iter().map(|task| task["id"].clone()).collect()
    };
    let mut seen = Vec::new();
    let mut next = "/v1/tasks?queue=work&limit=2".to_owned();
    loop {
        let page = api.call(get(&next)).await.json();
        seen.extend(listed(&page));
        let Some(after) = page["next"].as_str() else { break };
        next = format!("/v1/tasks?queue=work&limit=2&after={after}");
    }
    assert_eq!(seen, ids);
    for (query, expected) in [
        ("lane=l1", &ids[1..2]),
        ("label=n%3D3", &ids[1..2]),
        ("label=n=4&status=queued", &ids[0..1]),
        ("status=failed", &ids[0..0]),
        ("queue=other", &ids[0..0]),
    ] {
        let page = api.call(get(&format!("/v1/tasks?{query}"))).await.json();
        assert_eq!(listed(&page)[..expected.len()], *expected, "{query}");
    }
    for query in ["limit=0", "limit=501", "limit=+1", "status=done", "label=x", "after=x", "a=b"] {
        let answer = api.call(get(&format!("/v1/tasks?{query}"))).await;
        assert_eq!(answer.code(), "invalid-parameter", "{query}");
    }
}

#[tokio::test]
async fn cancel_is_idempotent_and_says_what_happened() {
    let api = Api::new().await;
    let task = api.submit().await;
    let cancel = || call("POST", &format!("{}/cancel", target(&task)));
    for _ in 0..2 {
        let answer = api.call(cancel()).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.json()["status"], "canceled");
        assert_eq!(answer.header("etag"), "W/\"v2-json\"");
    }
    let result = api.call(get(&format!("{}/result", target(&task)))).await;
    assert_eq!((result.status.as_u16(), result.code().as_str()), (409, "task-canceled"));
    let done = api.succeed(json!(1)).await;
    let answer = api.call(call("POST", &format!("{}/cancel", target(&done)))).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["status"]), (200, &json!("succeeded")));
}

#[tokio::test]
async fn a_failed_task_explains_itself_and_is_retried_by_hand() {
    let engine = Config { template: Some(without_retries()), ..Config::default() };
    let api = Api::with(ServerConfig::on_loopback(), engine).await;
    let task = api.submit().await;
    let lease = api.lease().await;
    let problem = json!({
        "type": "https://shop.example/out-of-stock", "title": "Out of stock", "status": 409,
        "code": "out-of-stock", "detail": "article 7",
    });
    let item = json!({
        "token": lease["token"], "outcome": "fail", "problem": problem,
        "message": {"en": "It is sold out.", "fr": "Épuisé."},
    });
    assert_eq!(api.settle(item).await["status"], 200);
    let read = api.call(get(&target(&task))).await.json();
    assert_eq!(read["status"], "failed");
    assert_eq!(read["problem"]["code"], "out-of-stock");
    assert_eq!(read["message"]["fr"], "Épuisé.");
    let result = api.call(get(&format!("{}/result", target(&task)))).await;
    assert_eq!(result.status, StatusCode::CONFLICT);
    assert_eq!(result.header("relais-origin"), "worker");
    assert_eq!(result.json()["type"], "https://shop.example/out-of-stock");
    assert_eq!(result.header("content-security-policy"), "sandbox");
    let retry = || call("POST", &format!("{}/retry", target(&task)));
    let answer = api.call(retry()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!((&answer.json()["run"], &answer.json()["failures"]), (&json!(2), &json!(0)));
    assert!(answer.json()["ticket"].is_string());
    let again = api.call(retry()).await;
    assert_eq!((again.status.as_u16(), &again.json()["run"]), (200, &json!(2)), "nothing changed");
    let lease = api.lease().await;
    assert_eq!((&lease["attempt"], &lease["run"]), (&json!(2), &json!(2)));
    api.settle(json!({"token": lease["token"], "outcome": "succeed"})).await;
    let done = api.call(retry()).await;
    assert_eq!((done.status.as_u16(), done.code().as_str()), (409, "already-succeeded"));
    let empty = api.call(get(&format!("{}/result", target(&task)))).await;
    assert_eq!((empty.status.as_u16(), empty.body.len()), (204, 0));
}

#[tokio::test]
async fn a_failure_without_words_has_the_codes_own() {
    let engine = Config { template: Some(without_retries()), ..Config::default() };
    let api = Api::with(ServerConfig::on_loopback(), engine).await;
    let task = api.submit().await;
    let lease = api.lease().await;
    api.settle(json!({"token": lease["token"], "outcome": "fail"})).await;
    let read = api.call(get(&target(&task))).await.json();
    assert_eq!(read["problem"]["code"], "handler-failed");
    assert_eq!(read["message"]["en"], "It could not be done.");
    let result = api.call(get(&format!("{}/result", target(&task)))).await;
    assert_eq!((result.status.as_u16(), &result.json()["code"]), (500, &json!("handler-failed")));
}

#[tokio::test]
async fn a_retry_takes_its_one_member_and_no_other() {
    let api = Api::new().await;
    let task = api.submit().await;
    let retry = format!("{}/retry", target(&task));
    let known = api.call(post(&retry, &json!({"from": "start"}))).await;
    assert_eq!(known.status, StatusCode::OK, "it is not over: nothing changes");
    let unknown = api.call(post(&retry, &json!({"form": "start"}))).await;
    assert_eq!(unknown.code(), "unknown-field");
    let cancel = api.call(post(&format!("{}/cancel", target(&task)), &json!({"now": true}))).await;
    assert_eq!(cancel.code(), "unknown-field");
}

#[tokio::test]
async fn only_what_is_over_is_erased() {
    let api = Api::new().await;
    let task = api.submit().await;
    let live = api.call(call("DELETE", &target(&task))).await;
    assert_eq!((live.status.as_u16(), live.code().as_str()), (409, "task-not-terminal"));
    let erased = api.call(call("DELETE", &format!("{}?cancel=true", target(&task)))).await;
    assert_eq!(erased.status, StatusCode::NO_CONTENT);
    assert_eq!(api.call(get(&target(&task))).await.code(), "task-not-found");
    let odd = api.call(call("DELETE", &format!("{}?cancel=yes", target(&task)))).await;
    assert_eq!(odd.code(), "invalid-parameter");
}

#[tokio::test]
async fn many_tasks_are_changed_page_by_page() {
    let api = Api::new().await;
    for _ in 0..5 {
        api.clock.advance(std::time::Duration::from_millis(1));
        api.submit().await;
    }
    let nothing = api.call(post("/v1/tasks/cancel", &json!({}))).await;
    assert_eq!((nothing.status.as_u16(), nothing.code().as_str()), (422, "invalid-field"));
    let first = json!({"queue": "work", "limit": 3});
    let first = api.call(post("/v1/tasks/cancel", &first)).await.json();
    assert_eq!(first["changed"], 3);
    let second = json!({"queue": "work", "limit": 3, "after": first["next"]});
    let second = api.call(post("/v1/tasks/cancel", &second)).await.json();
    assert_eq!((&second["changed"], second.get("next")), (&json!(2), None));
    let retried = api.call(post("/v1/tasks/retry", &json!({"status": "canceled"}))).await.json();
    assert_eq!(retried["changed"], 5);
    let none = api.call(post("/v1/tasks/retry", &json!({"queue": "work"}))).await.json();
    assert_eq!(none["changed"], 0);
}

#[tokio::test]
async fn a_task_says_why_it_waits() {
    let api = Api::new().await;
    let task = api.submit().await;
    let why = api.call(get(&format!("{}/why", target(&task)))).await.json();
    assert_eq!((&why["status"], &why["position"]), (&json!("queued"), &json!(1)));
    assert_eq!(why["waiting_for"][0]["reason"], "no-worker");
    api.call(call("POST", "/v1/queues/work/pause")).await;
    let why = api.call(get(&format!("{}/why", target(&task)))).await.json();
    assert_eq!(why["waiting_for"][0]["reason"], "paused");
}

#[tokio::test]
async fn a_task_that_is_tried_again_tells_what_went_wrong() {
    // A task in its backoff said only that an attempt had failed, not why.
    let api = Api::new().await;
    let task = api.submit().await;
    assert_eq!(task["links"]["why"], task["links"]["self"].as_str().unwrap().replace('?', "/why?"));
    let lease = api.lease().await;
    let problem = json!({"title": "The printer is out of paper", "code": "out-of-paper"});
    let item = json!({"token": lease["token"], "outcome": "fail", "problem": problem});
    assert_eq!(api.settle(item).await["status"], 200);
    let state = api.call(get(&target(&task))).await.json();
    let why = api.call(get(&format!("{}/why", target(&task)))).await.json();
    let listed = api.call(get("/v1/tasks")).await.json()["items"][0].clone();
    for document in [&state, &why, &listed] {
        let last = &document["last_failure"];
        assert_eq!(last["problem"]["code"], "out-of-paper", "{document}");
        assert_eq!((&last["attempt"], &last["at"]), (&json!(1), &state["updated_at"]));
    }
    assert!(state.get("problem").is_none(), "it has not failed");
}

/// Runs tasks of `work`, so that something was measured: each takes ten seconds.
async fn measured(api: &Api) {
    for _ in 0..3 {
        api.submit().await;
        let lease = api.lease().await;
        api.clock.advance(std::time::Duration::from_secs(10));
        let item = json!({"token": lease["token"], "outcome": "succeed", "result": 1});
        assert_eq!(api.settle(item).await["status"], 200);
    }
}

fn retry_after(answer: &crate::api::Answer) -> u64 {
    answer.header("retry-after").parse().unwrap()
}

#[tokio::test]
async fn an_accept_a_poll_and_why_tell_one_estimate() {
    // A 202 left out the queue ahead: whoever followed it alone asked each second.
    let api = Api::new().await;
    measured(&api).await;
    api.submit().await;
    let held = api.lease().await;
    api.submit().await;
    let body = json!({"queue": "work", "input": {}});
    let accepted = api.call(post("/v1/tasks", &body)).await;
    let task = accepted.json();
    let polled = api.call(get(&target(&task))).await;
    let why = api.call(get(&format!("{}/why", target(&task)))).await.json();
    assert_eq!((&task["position"], &task["eta"]["p50"]), (&json!(2), &polled.json()["eta"]["p50"]));
    assert_eq!((&why["position"], &why["eta"]), (&task["position"], &task["eta"]));
    assert!(task["eta"].is_object(), "{task}");
    // Two attempts of ten seconds must end before its own begins, on the one worker there is.
    let told = [retry_after(&accepted), retry_after(&polled)];
    assert!(told.iter().all(|seconds| (22..=42).contains(seconds)), "{told:?}");
    assert!(held["token"].is_string());
}

#[tokio::test]
async fn no_end_is_promised_where_nothing_can_start() {
    let api = Api::new().await;
    measured(&api).await;
    api.call(call("POST", "/v1/queues/work/pause")).await;
    let task = api.submit().await;
    let why = api.call(get(&format!("{}/why", target(&task)))).await.json();
    let state = api.call(get(&target(&task))).await;
    for document in [&task, &why, &state.json()] {
        assert!(document.get("eta").is_none(), "{document}");
    }
    api.clock.advance(std::time::Duration::from_secs(100));
    let later = api.call(get(&target(&task))).await;
    assert!(retry_after(&later) > retry_after(&state), "what waits long is not over soon");
    api.call(call("POST", "/v1/queues/work/resume")).await;
    let why = api.call(get(&format!("{}/why", target(&task)))).await.json();
    assert_eq!(why["waiting_for"][0]["reason"], "no-worker");
    assert!(why.get("eta").is_none(), "workers went away: {why}");
}

#[tokio::test]
async fn an_attempt_that_outlives_the_others_is_not_about_to_end_at_each_poll() {
    let api = Api::new().await;
    measured(&api).await;
    let task = api.submit().await;
    api.lease().await;
    let usual = api.call(get(&target(&task))).await;
    assert!(usual.json()["eta"].is_object());
    let mut told = vec![retry_after(&usual)];
    for _ in 0..2 {
        api.clock.advance(std::time::Duration::from_secs(29));
        let heartbeat = json!({"items": []});
        api.call(post("/v1/leases/heartbeat", &heartbeat)).await;
        let late = api.call(get(&target(&task))).await;
        if late.json()["status"] == "running" {
            assert!(late.json().get("eta").is_none(), "{}", late.text());
            told.push(retry_after(&late));
        }
    }
    assert!(told[1] > 10, "it has run for half a minute: {told:?}");
}

#[tokio::test]
async fn why_is_never_empty_and_names_the_rate_that_holds_a_task() {
    let rate = relais_core::Rate { count: 1, period: std::time::Duration::from_secs(60) };
    let policy = Policy { rate: Some(rate), ..Policy::default() };
    let config = Config { template: Some(policy), ..Config::default() };
    let api = Api::with(ServerConfig::on_loopback(), config).await;
    api.submit().await;
    let (first, second) = (api.submit().await, api.submit().await);
    api.lease().await;
    for (task, until) in [(&first, 60), (&second, 120)] {
        let why = api.call(get(&format!("{}/why", target(task)))).await.json();
        let reasons = why["waiting_for"].as_array().unwrap();
        assert_eq!(reasons[0]["reason"], "rate", "{why}");
        let at = relais_api::Time::from_ms(1_700_000_000_000 + until * 1_000).to_string();
        assert_eq!(reasons[0]["until"], json!(at), "those before it count");
        assert!(retry_after(&api.call(get(&target(task))).await) >= 45);
    }
}

/// A task without a lane waited for "its lane", which nobody had given it.
#[tokio::test]
async fn tasks_without_a_lane_wait_for_each_other_and_are_told_so() {
    let policy = Policy { concurrency_per_lane: Some(1), ..Policy::default() };
    let engine = Config { template: Some(policy), ..Config::default() };
    let api = Api::with(ServerConfig::on_loopback(), engine).await;
    api.submit().await;
    let second = api.submit().await["id"].as_str().unwrap().to_owned();
    api.lease().await;
    let why = api.call(get(&format!("/v1/tasks/{second}/why"))).await.json();
    let waiting = &why["waiting_for"][0];
    let third = api.submit().await["id"].as_str().unwrap().to_owned();
    let behind = api.call(get(&format!("/v1/tasks/{third}/why"))).await.text().to_owned();
    assert!(behind.contains("1 task of its lane starts before it"), "{behind}");
    let told = "tasks without a lane run as many as they may together: 1";
    assert_eq!((&waiting["reason"], &waiting["detail"]), (&json!("lane"), &json!(told)), "{why}");
}

#[tokio::test]
async fn a_task_promises_what_its_reader_may_and_no_moment_that_is_over() {
    let api = Api::new().await;
    let task = api.submit().await;
    let target = format!("/v1/tasks/{}", task["id"].as_str().unwrap());
    // A 202 named neither, and the same ticket's poll on this machine both.
    let ticket = task["ticket"].as_str().unwrap();
    let by_ticket = api.call(get(&format!("{target}?ticket={ticket}"))).await.json();
    assert_eq!(by_ticket["links"].get("cancel"), None, "the ticket is read-only");
    let own = api.call(get(&target)).await.json();
    assert!(own["links"]["cancel"].is_string(), "this machine may");
    assert_eq!(own["run_at"], own["created_at"]);
    // After a release or a retry it went back to the first one.
    api.lease().await;
    assert_eq!(api.call(get(&target)).await.json().get("run_at"), None);
    let unknown = api.call(get("/v1/tasks?status=done")).await;
    assert!(unknown.text().contains("none of queued, running"), "{}", unknown.text());
}
