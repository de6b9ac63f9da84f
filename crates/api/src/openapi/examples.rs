//! Examples, one of each document; a test reads each as the type it stands for.

use serde_json::{Value, json};

const ID: &str = "task_01jdk3v5x8e2rbk0t6q9z4m7ha";
const BASE: &str = "https://api.example.com/v1/tasks/task_01jdk3v5x8e2rbk0t6q9z4m7ha";
const TICKET: &str = "rt_AX0hxOkBk2Y9l6hwsLmDRrp-Sh4qAQBrDBPCLXEWQrcmsEQBYnyp-6wy9Q";
const TOKEN: &str = "lease_3Jk9dQ2m";

pub(super) fn submit() -> Value {
    json!({
        "queue": "imports", "input": {"file": "orders.csv"}, "lane": "c-17", "priority": 0,
        "delay": "30s", "deadline": "1h", "labels": {"order": "A-1"},
    })
}

pub(super) fn task(status: &str) -> Value {
    let terminal = matches!(status, "succeeded" | "failed" | "canceled");
    let mut task = json!({
        "id": ID, "queue": "imports", "lane": "c-17",
        "request": {"method": "POST", "path": "/imports/june"},
        "status": status, "terminal": terminal,
        "version": 4, "run": 1, "attempt": 1, "failures": 0, "max_attempts": 5, "priority": 0,
        "labels": {"order": "A-1"},
        "created_at": "2026-11-22T10:00:00.000Z", "run_at": "2026-11-22T10:00:00.000Z",
        "updated_at": "2026-11-22T10:00:02.000Z", "deadline": "2026-11-22T11:00:00.000Z",
        "links": {
            "self": BASE, "result": format!("{BASE}/result"), "events": format!("{BASE}/events"),
            "why": format!("{BASE}/why"),
            "cancel": format!("{BASE}/cancel"), "retry": format!("{BASE}/retry"),
        },
    });
    match status {
        "succeeded" => task["resourceLocation"] = format!("{BASE}/result").into(),
        "queued" => {
            task["version"] = 1.into();
            task["attempt"] = 0.into();
            task["position"] = 3.into();
            task["eta"] =
                json!({"p50": "2026-11-22T10:00:05.000Z", "p90": "2026-11-22T10:00:21.000Z"});
        }
        "running" => {
            task["progress"] = json!({
                "percent": 40.0, "done": 12_000, "total": 30_000, "message": "line 12,000",
            });
        }
        _ => {}
    }
    if terminal {
        task["expires_at"] = "2026-11-29T10:00:02.000Z".into();
    }
    task
}

pub(super) fn accepted() -> Value {
    let mut task = task("queued");
    task["ticket"] = TICKET.into();
    task
}

pub(super) fn ticket() -> Value {
    json!({"ticket": TICKET, "grants": ["read"], "expires_at": "2026-11-23T10:00:00.000Z"})
}

/// What a browser follows by its session: no link has a ticket.
pub(super) fn session() -> Value {
    let text = tasks().to_string().replace(&format!("?ticket={TICKET}"), "");
    serde_json::from_str(&text).expect("it was JSON")
}

pub(super) fn tasks() -> Value {
    json!({"items": [task("running")], "next": "01jdk3v5x8e2rbk0t6q9z4m7ha"})
}

pub(super) fn batch() -> Value {
    let bytes = json!({
        "queue": "imports", "input_base64": "YSxiCjEsMgo=", "content_type": "text/csv",
    });
    json!([submit(), bytes])
}

pub(super) fn batch_answer() -> Value {
    let problem = json!({
        "type": "https://api.example.com/problems/queue-full", "title": "The queue is full",
        "status": 429, "code": "queue-full", "retryable": true, "retry_after": "12s",
    });
    json!({"items": [{"status": 202, "task": accepted()}, {"status": 503, "problem": problem}]})
}

pub(super) fn event() -> Value {
    json!({
        "task": ID, "seq": 4, "type": "progressed", "at": "2026-11-22T10:00:02.000Z",
        "attempt": 1, "data": {"percent": 40, "message": "line 12,000"},
    })
}

pub(super) fn events() -> Value {
    json!({"events": [event()], "next": 4, "terminal": false})
}

pub(super) fn stream() -> String {
    format!(
        "retry: 2345\n\nevent: relais.open\ndata: {{\"version\":4,\"gap\":false}}\n\n\
         id: 4\nevent: progressed\ndata: {}\n\n",
        event()
    )
}

pub(super) fn why() -> Value {
    json!({
        "task": ID, "status": "queued", "position": 3,
        "waiting_for": [
            {"reason": "concurrency", "detail": "the queue runs 8 tasks, as many as it may"},
            {"reason": "position", "detail": "2 tasks are before it"},
        ],
        "eta": {"p50": "2026-11-22T10:00:05.000Z", "p90": "2026-11-22T10:00:21.000Z"},
    })
}

pub(super) fn bulk() -> Value {
    json!({"queue": "imports", "status": "failed", "limit": 100})
}

pub(super) fn bulk_answer() -> Value {
    json!({"changed": 98, "left_out": 2, "next": "01jdk3v5x8e2rbk0t6q9z4m7ha"})
}

pub(super) fn lease() -> Value {
    json!({"max": 10, "wait": "1s", "worker": "importer-1"})
}

pub(super) fn leases() -> Value {
    json!({"leases": [{
        "token": TOKEN, "task": ID, "queue": "imports", "lane": "c-17", "attempt": 1, "run": 1,
        "labels": {"order": "A-1"}, "content_type": "application/json",
        "request": {
            "method": "POST", "path": "/imports/june", "query": "year=2026",
            "params": {"rest": "june"}, "headers": [["content-type", "application/json"]],
        },
        "input": {"file": "orders.csv"}, "heartbeat_every": "10s",
        "lease_until": "2026-11-22T10:00:32.000Z", "deadline": "2026-11-22T11:00:00.000Z",
    }]})
}

pub(super) fn heartbeat() -> Value {
    json!({"items": [{
        "token": TOKEN, "progress": {"percent": 40.0, "message": "line 12,000"},
        "checkpoint": {"line": 12_000},
    }]})
}

pub(super) fn heartbeat_answer() -> Value {
    json!({"items": [{"status": 200, "lease_until": "2026-11-22T10:00:42.000Z"}]})
}

pub(super) fn settle() -> Value {
    json!({
        "items": [{"token": TOKEN, "outcome": "succeed", "result": {"lines": 30_000}}],
        "lease_next": {"queue": "imports", "max": 1},
    })
}

pub(super) fn settle_answer() -> Value {
    let leases = leases()["leases"].clone();
    json!({"items": [{"status": 200, "task": task("succeeded")}], "leases": leases})
}

pub(super) fn stored() -> Value {
    json!({"result_id": "result_01jdk3v5x8e2rbk0t6q9z4m7hb", "size": 1_048_576})
}

pub(super) fn policy() -> Value {
    json!({
        "concurrency": 8, "concurrency_per_lane": 1, "rate": "100/s", "rate_per_lane": "5/s", "order": "fair",
        "retry": {"max_attempts": 5, "initial": "1s", "max": "5m", "factor": 2.0},
        "lease": "30s", "attempt_timeout": "10m", "deadline": "1d", "retention": "7d",
        "capacity": 1_000_000, "capacity_per_ip": 250_000,
        "lane_weights": {"c-17": 3},
    })
}

pub(super) fn queue(paused: bool) -> Value {
    json!({
        "name": "imports", "policy": policy(), "paused": paused, "defined_in_file": false,
        "counts": {
            "queued": 3, "scheduled": 1, "running": 8, "waiting": 0,
            "succeeded": 1200, "failed": 2, "canceled": 1,
        },
        "throughput": {"window": "1m", "accepted_per_s": 4.2, "finished_per_s": 4.0},
        "latency": {"wait": {"p50": "40ms", "p90": "2s"}, "run": {"p50": "1s200ms", "p90": "5s"}},
    })
}
