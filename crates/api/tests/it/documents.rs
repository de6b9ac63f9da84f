use relais_api::bulk::{BulkRequest, RetryRequest};
use relais_api::event::{RequeuedData, SucceededData};
use relais_api::queue::Policy;
use relais_api::{
    Accepted, Deadline, Event, EventPage, EventType, LeaseResponse, Problem, Span, Status, Task,
    decode,
};
use serde_json::{Value, json};

fn task() -> Value {
    json!({
        "id": "task_01jdk3v5x8e2rbk0t6q9z4m7ha", "queue": "imports", "lane": "c-17",
        "request": {"method": "POST", "path": "/imports/june"},
        "status": "running", "terminal": false, "version": 4,
        "run": 1, "attempt": 1, "failures": 0, "max_attempts": 5, "priority": 0,
        "labels": {"order": "A-1"},
        "progress": {"percent": 40.0, "done": 12000, "total": 30000, "message": "line 12,000"},
        "position": 3,
        "eta": {"p50": "2026-11-22T10:00:05.000Z", "p90": "2026-11-22T10:00:21.000Z"},
        "created_at": "2026-11-22T10:00:00.000Z", "run_at": "2026-11-22T10:00:00.000Z",
        "updated_at": "2026-11-22T10:00:01.000Z", "deadline": "2026-11-23T10:00:00.000Z",
        "expires_at": "2026-11-30T10:00:00.000Z",
        "problem": {"type": "/problems/upstream-timeout", "code": "upstream-timeout",
            "title": "The upstream did not answer in time", "status": 504, "retryable": true},
        "message": {"en": "The supplier did not answer in time."},
        "resourceLocation": "/v1/tasks/task_01jdk3v5x8e2rbk0t6q9z4m7ha/result",
        "last_failure": {"attempt": 1, "at": "2026-11-22T10:00:01.000Z", "upstream_status": 503,
            "problem": {"type": "/problems/upstream-error", "code": "upstream-error",
                "title": "The upstream answered with an error", "status": 502, "retryable": true}},
        "links": {"self": "a", "result": "b", "events": "c", "why": "w", "cancel": "d",
            "retry": "e"}
    })
}

#[test]
fn the_task_of_the_contract_survives_being_read_and_written() {
    let read: Task = serde_json::from_value(task()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), task());
}

#[test]
fn absent_values_are_left_out() {
    let mut small = task();
    for name in [
        "lane",
        "request",
        "labels",
        "progress",
        "position",
        "eta",
        "deadline",
        "expires_at",
        "problem",
        "last_failure",
        "message",
        "resourceLocation",
    ] {
        small.as_object_mut().unwrap().remove(name);
    }
    let read: Task = serde_json::from_value(small.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), small);
}

#[test]
fn an_accepted_task_is_the_task_with_a_ticket() {
    let mut accepted = task();
    accepted["ticket"] = json!("rt_…");
    let read: Accepted = serde_json::from_value(accepted.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), accepted);
}

#[test]
fn an_answer_may_grow_members_that_older_clients_do_not_know() {
    let mut grown = task();
    grown["colour"] = json!("blue");
    grown["links"]["hue"] = json!("f");
    assert!(serde_json::from_value::<Task>(grown).is_ok());
    let lease = json!({"leases": [{"token": "t", "task": "x", "queue": "q", "attempt": 1, "run": 1,
        "heartbeat_every": "10s", "lease_until": "2026-11-22T10:00:30Z", "new": [1]}]});
    let leases: LeaseResponse = serde_json::from_value(lease).unwrap();
    assert_eq!(leases.leases[0].heartbeat_every, Span::from_secs(10));
}

#[test]
fn a_status_is_one_of_six_words() {
    let words: Vec<&str> = Status::ALL.iter().map(|status| status.as_str()).collect();
    assert_eq!(words, ["queued", "running", "waiting", "succeeded", "failed", "canceled"]);
    for status in Status::ALL {
        let json = serde_json::to_string(status).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), *status);
        assert_eq!(
            status.terminal(),
            matches!(status.as_str(), "succeeded" | "failed" | "canceled")
        );
    }
    for json in ["\"Queued\"", "\"cancelled\"", "{\"queued\":null}", "0"] {
        assert!(serde_json::from_str::<Status>(json).is_err(), "{json}");
    }
}

#[test]
fn a_deadline_is_a_time_or_a_duration() {
    let read = |text: &str| serde_json::from_value::<Deadline>(json!(text));
    assert!(matches!(read("24h"), Ok(Deadline::After(_))));
    assert!(matches!(read("2026-11-22T10:00:05+01:00"), Ok(Deadline::At(_))));
    assert_eq!(serde_json::to_value(read("24h").unwrap()).unwrap(), json!("1d"));
}

#[test]
fn an_event_is_read_as_it_is_written() {
    let text = r#"{"task":"task_1","seq":4,"type":"progressed","at":"2026-11-22T10:00:05.000Z","attempt":1,"data":{"percent":40,"message":"line 12,000"}}"#;
    let event: Event = serde_json::from_str(text).unwrap();
    assert_eq!(event.kind, EventType::Progressed);
    assert_eq!(serde_json::to_string(&event).unwrap(), text);
    let page = format!("{{\"events\":[{text}],\"next\":4,\"terminal\":false}}");
    let read: EventPage = serde_json::from_str(&page).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), page);
}

#[test]
fn the_data_of_an_event_keeps_a_null_result() {
    let data: SucceededData = serde_json::from_str(r#"{"result":null}"#).unwrap();
    assert_eq!(data.result.map(|raw| raw.into_string()), Some("null".to_owned()));
    let data = json!({"reason": "retried", "run": 2, "run_at": "2026-11-22T10:00:05.000Z"});
    assert!(serde_json::from_value::<RequeuedData>(data).is_ok());
}

#[test]
fn a_problem_is_read_leniently() {
    let problem: Problem = serde_json::from_str(
        r#"{"type":7,"title":"No","status":"x","code":"c","errors":[{"detail":"d","pointer":"/p"},1],"limit":5}"#,
    )
    .unwrap();
    assert_eq!((problem.type_uri.as_str(), problem.status), ("about:blank", 500));
    assert_eq!((problem.title.as_str(), problem.errors.len()), ("No", 1));
    assert_eq!(problem.extra["limit"], 5);
    assert!(!problem.retryable);
    let written = serde_json::to_value(&problem).unwrap();
    assert_eq!(serde_json::from_value::<Problem>(written).unwrap(), problem);
}

#[test]
fn a_bulk_filter_has_at_least_one_member() {
    let check = |json: &str| decode::<BulkRequest>(json.as_bytes()).unwrap().check().is_ok();
    assert!(!check("{}"));
    assert!(!check(r#"{"limit":10,"after":"x"}"#));
    assert!(check(r#"{"status":"failed"}"#));
    assert!(check(r#"{"lane":"c-17","limit":10}"#));
    assert!(decode::<RetryRequest>(br#"{"from":"start"}"#).is_ok());
    assert!(decode::<RetryRequest>(br#"{"from":"end"}"#).is_err());
}

#[test]
fn a_policy_reads_what_the_contract_shows() {
    let policy = json!({
        "concurrency": 8, "concurrency_per_lane": 1, "rate": "100/s", "rate_per_lane": "5/s", "order": "strict",
        "retry": {"max_attempts": 5, "initial": "1s", "max": "5m", "factor": 2.0},
        "lease": "30s", "attempt_timeout": "10m", "deadline": "1d", "retention": "7d",
        "capacity": 1_000_000, "capacity_per_ip": 250_000, "lane_weights": {"c-17": 3}
    });
    let read: Policy = serde_json::from_value(policy.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), policy);
    assert_eq!(serde_json::to_string(&Policy::default()).unwrap(), "{}");
}
