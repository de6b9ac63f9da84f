//! The operations, in the order of the contract.

use serde_json::{Value, json};

use super::answers::{Access, Operation, reference};
use super::examples;
use crate::codes::{
    ALREADY_LIVE, ALREADY_SUCCEEDED, AMBIGUOUS_PATH, ANSWER_REPLACED, BATCH_TOO_LARGE,
    CREDENTIALS_ERASED, DEADLINE_EXCEEDED, IDEMPOTENCY_KEY_REUSED, INVALID_FIELD,
    INVALID_IDEMPOTENCY_KEY, MALFORMED_JSON, NOT_AVAILABLE, NOT_FOUND, PRECONDITION_FAILED,
    QUEUE_DEFINED_IN_FILE, QUEUE_FULL, QUEUE_NOT_FOUND, RANGE_NOT_SATISFIABLE, STALE_LEASE,
    STORE_FULL, TASK_CANCELED, TASK_GONE, TASK_NOT_FOUND, TASK_NOT_TERMINAL, TENANT_FULL,
    TOO_MANY_TASKS, UNSUPPORTED_MEDIA_TYPE,
};
use crate::paths;

/// The header fields of a 202.
const ACCEPTED: [&str; 7] = [
    "Location",
    "Operation-Location",
    "Link",
    "Relais-Task",
    "Retry-After",
    "Preference-Applied",
    "Idempotent-Replayed",
];

pub(super) fn all() -> Vec<Operation> {
    let mut all = submitting();
    all.extend(reading());
    all.extend(streams());
    all.extend(changing());
    all.extend(sessions());
    all.extend(in_bulk());
    all.extend(leasing());
    all.extend(settling());
    all.extend(bodies());
    all.extend(queues());
    all.extend(service());
    all
}

/// A body that may be any bytes.
fn any() -> Value {
    json!({"*/*": {"schema": {"type": "string", "format": "binary"}}})
}

/// Any bytes that are sent: a maker of clients that knows no `*/*` sends them as what they are.
fn any_sent() -> Value {
    let mut content = any();
    content["application/octet-stream"] = content["*/*"].clone();
    content
}

fn stream() -> Value {
    // As one text: what generators make of it can be read to its end, or passed over.
    let schema = json!({"type": "string", "description": "Server-Sent Events."});
    json!({"schema": schema, "example": examples::stream()})
}

fn submitting() -> Vec<Operation> {
    let refusals = [
        &QUEUE_NOT_FOUND,
        &QUEUE_FULL,
        &TENANT_FULL,
        &TOO_MANY_TASKS,
        &STORE_FULL,
        &INVALID_IDEMPOTENCY_KEY,
        &IDEMPOTENCY_KEY_REUSED,
    ];
    let items = json!({"type": "array", "maxItems": 1000, "items": reference("SubmitRequest")});
    let lines = "{\"queue\":\"imports\",\"input\":1}\n{\"queue\":\"imports\",\"input\":2}\n";
    vec![
        Operation::new("post", paths::TASKS, "submitTask")
            .says(
                "Submit a task",
                "Answers 202 at once, or with `Prefer: wait=N` the result if it is there in time: \
                 then with the status, fields and bytes of the outcome.",
            )
            .takes(&["idempotencyKey", "prefer"])
            .json("SubmitRequest", examples::submit())
            .gives("202", "Accepted: durable.", "Accepted", examples::accepted(), &ACCEPTED)
            .gives_any("200", "Done within the wait: the result.", any(), &["Relais-Task"])
            .gives_any("default", "The outcome, with its own status.", any(), &[])
            .fails(&refusals)
            .fails(&[&TASK_GONE]),
        Operation::new("post", paths::TASK_BATCH, "submitTasks")
            .says(
                "Submit up to 1,000 tasks in one durable write",
                "Each is accepted or refused by itself, in its place in `items`; an error status \
                 means that the envelope could not be read and nothing was accepted.",
            )
            .takes(&["idempotencyKey"])
            .body(json!({
                "application/json": {"schema": items, "example": examples::batch()},
                "application/x-ndjson": {"schema": {"type": "string"}, "example": lines},
            }))
            .gives("200", "One entry for each.", "BatchResponse", examples::batch_answer(), &[])
            .fails(&refusals)
            .fails(&[&MALFORMED_JSON, &INVALID_FIELD, &UNSUPPORTED_MEDIA_TYPE, &BATCH_TOO_LARGE]),
    ]
}

fn reading() -> Vec<Operation> {
    let running = || examples::task("running");
    let page = json!({"schema": {"type": "string"}});
    let one = [&TASK_NOT_FOUND, &TASK_GONE];
    vec![
        Operation::new("get", paths::TASKS, "listTasks")
            .says("List tasks, newest first", "All filters given must fit.")
            .takes(&["queue", "status", "label", "lane", "afterTask", "limit"])
            .gives("200", "A page.", "TaskList", examples::tasks(), &[]),
        Operation::new("get", paths::TASK, "readTask")
            .says(
                "Read a task",
                "Always 200, done or not. With `If-None-Match` and `Prefer: wait=N` it answers at \
                 the first newer version, else 304 (long-poll). `Accept: text/html` gives a page \
                 for people, `text/event-stream` its events.",
            )
            .access(Access::Ticket)
            .takes(&["id", "prefer", "ifNoneMatch", "ask"])
            .gives_any(
                "200",
                "The task.",
                json!({
                    "application/json": {"schema": reference("Task"), "example": running()},
                    "text/html": page,
                    "text/event-stream": stream(),
                }),
                &["ETag", "Retry-After", "Preference-Applied"],
            )
            .gives_any("204", "Streaming: the log is over and read.", Value::Null, &[])
            .gives_any(
                "304",
                "No newer version.",
                Value::Null,
                &["ETag", "Retry-After", "Preference-Applied"],
            )
            .fails(&one),
        Operation::new("get", paths::TASK_RESULT, "readResult")
            .says(
                "Read a task's result",
                "Done: the outcome with its own status, fields and bytes; of a failed task the \
                 upstream's answer or a problem. Not done: 202 with the task. Of a result that is a \
                 200 one range of bytes is given, and its strong `ETag` is compared. `live` tells the \
                 answer while it comes.",
            )
            .access(Access::Ticket)
            .takes(&["id", "live", "afterBytes", "attempt", "keepalive"])
            .takes(&["prefer", "range", "ifRange", "ifNoneMatch"])
            .gives_any("200", "The result.", any(), &["Relais-Task", "Relais-Result-Version"])
            .gives("202", "Not done yet.", "Task", running(), &["Retry-After"])
            .gives_any("206", "The range of the result.", any(), &["Relais-Task", "Content-Range"])
            .gives_any("204", "`live=only`: it is committed.", Value::Null, &[])
            .gives_any("304", "The client has it.", Value::Null, &["Relais-Task"])
            .gives_any("default", "The outcome, with its own status.", any(), &[])
            .fails(&one)
            .fails(&[&TASK_CANCELED, &DEADLINE_EXCEEDED])
            .fails(&[&ANSWER_REPLACED, &PRECONDITION_FAILED, &RANGE_NOT_SATISFIABLE]),
        Operation::new("get", paths::TASK_WHY, "explainTask")
            .says("Read why a task waits", "Position, limits, pauses, or no worker.")
            .access(Access::Ticket)
            .takes(&["id"])
            .gives("200", "What it waits for.", "Why", examples::why(), &[])
            .fails(&one),
    ]
}

fn streams() -> Vec<Operation> {
    vec![
        Operation::new("get", paths::TASK_EVENTS, "readEvents")
            .tag("events")
            .says(
                "Follow a task",
                "Server-Sent Events, or a page when JSON is preferred. The stream starts with an \
                 id-less `relais.open` and resumes after `Last-Event-ID`. A transient refusal is \
                 200 with `relais.busy`, because browsers never come back after an error status.",
            )
            .access(Access::Ticket)
            .takes(&["id", "lastEventId", "afterEvent", "limit", "prefer"])
            .gives_any(
                "200",
                "The events.",
                json!({
                    "text/event-stream": stream(),
                    "application/json": {
                        "schema": reference("EventPage"), "example": examples::events(),
                    },
                }),
                &["Preference-Applied"],
            )
            .gives_any("204", "The log is over and read.", Value::Null, &[])
            .fails(&[&TASK_NOT_FOUND, &TASK_GONE]),
        Operation::new("get", paths::EVENTS, "followTasks")
            .tag("events")
            .says(
                "Follow many tasks",
                "One stream, because browsers allow six connections a host. Give `task`, `ticket` \
                 or `label`. Ids are positions in the log of the whole store; `relais.open` has that \
                 which the stream begins behind. `erased` says that a task is gone.",
            )
            .takes(&["tasks", "tickets", "label", "lastEventId", "afterPlace"])
            .gives_any("200", "The events.", json!({"text/event-stream": stream()}), &[])
            .fails(&[&TASK_NOT_FOUND, &TASK_GONE]),
    ]
}

fn changing() -> Vec<Operation> {
    let one = [&TASK_NOT_FOUND, &TASK_GONE];
    vec![
        Operation::new("post", paths::TASK_CANCEL, "cancelTask")
            .says("Cancel a task", "Durable and idempotent; a task that is done stays as it is.")
            .access(Access::Ticket)
            .takes(&["id"])
            .gives("200", "The task now.", "Task", examples::task("canceled"), &["ETag"])
            .fails(&one),
        Operation::new("post", paths::TASK_RETRY, "retryTask")
            .says(
                "Retry a task by hand",
                "From `failed` or `canceled`: the next run starts, from the checkpoint unless the \
                 body says otherwise. A task that is not terminal stays as it is (200).",
            )
            .access(Access::Ticket)
            .takes(&["id"])
            .optional_json("RetryRequest", json!({"from": "start"}))
            .gives("200", "It was not terminal.", "Accepted", examples::accepted(), &[])
            .gives("202", "The next run.", "Accepted", examples::accepted(), &ACCEPTED)
            .fails(&one)
            .fails(&[&ALREADY_SUCCEEDED, &CREDENTIALS_ERASED]),
        Operation::new("post", paths::TASK_TICKETS, "renewTicket")
            .says(
                "Ask for another ticket",
                "It grants no more than what was presented, and lasts at most to the end of the \
                 task's retention; one that is asked for by a session alone, an hour.",
            )
            .access(Access::Ticket)
            .takes(&["id"])
            .optional_json("TicketRequest", json!({"grants": ["read"], "expires_in": "1d"}))
            .gives("201", "The ticket.", "TicketResponse", examples::ticket(), &[])
            .fails(&one),
        Operation::new("delete", paths::TASK, "eraseTask")
            .says("Erase a task", "Terminal tasks only, unless `cancel=true`.")
            .takes(&["id", "cancel"])
            .gives_any("204", "It is erased.", Value::Null, &[])
            .fails(&one)
            .fails(&[&TASK_NOT_TERMINAL]),
    ]
}

fn sessions() -> Vec<Operation> {
    let forgets = |path, id, summary| {
        Operation::new("delete", path, id)
            .says(summary, "From a page of the same origin only.")
            .access(Access::Session)
            .gives_any("204", "It is forgotten.", Value::Null, &[])
    };
    let form = |path, id| {
        Operation::new("post", path, id)
            .says(
                "The same for a form, which knows no DELETE",
                "From a page of the same origin only. A form that likes text/html is sent on to the \
                 list.",
            )
            .access(Access::Session)
            .gives_any("204", "It is forgotten.", Value::Null, &[])
            .gives_any("303", "The same, for a form.", Value::Null, &[])
    };
    let page = json!({"schema": {"type": "string"}});
    let list = json!({"schema": reference("TaskList"), "example": examples::session()});
    vec![
        Operation::new("get", paths::SESSION, "listSession")
            .says(
                "List the tasks that this browser follows",
                "By its cookie, newest first. Links carry no ticket. `Accept: text/html` gives a \
                 page for people.",
            )
            .access(Access::Session)
            .takes(&["afterTask", "limit"])
            .gives_any("200", "A page.", json!({"application/json": list, "text/html": page}), &[]),
        Operation::new("post", paths::SESSION_TASK, "joinSession")
            .says(
                "Follow a task from now on without its ticket",
                "From a page of the same origin only, with whatever reaches the task. Begins a \
                 session where there is none. A form that likes text/html is sent on to the task.",
            )
            .access(Access::Ticket)
            .takes(&["id"])
            .gives_any("204", "It is followed.", Value::Null, &["Set-Cookie"])
            .gives_any("303", "The same, for a form.", Value::Null, &["Set-Cookie"])
            .fails(&[&TASK_NOT_FOUND, &TASK_GONE, &NOT_AVAILABLE]),
        forgets(paths::SESSION, "forgetSession", "Forget all tasks of this browser"),
        form(paths::SESSION_FORGET_ALL, "forgetSessionByForm"),
        forgets(paths::SESSION_TASK, "forgetTask", "Forget one task of this browser")
            .takes(&["id"])
            .fails(&[&TASK_NOT_FOUND]),
        form(paths::SESSION_FORGET, "forgetTaskByForm").takes(&["id"]).fails(&[&TASK_NOT_FOUND]),
    ]
}

fn in_bulk() -> Vec<Operation> {
    const PAGES: &str = "Up to 1,000 a call; go on with `after` set to `next`.";
    let bulk = |path, id, summary, how| {
        Operation::new("post", path, id)
            .says(summary, how)
            .json("BulkRequest", examples::bulk())
            .gives("200", "How many.", "BulkResponse", examples::bulk_answer(), &[])
    };
    vec![
        bulk(paths::TASK_CANCEL_MANY, "cancelTasks", "Cancel the tasks that fit a filter", PAGES),
        bulk(
            paths::TASK_RETRY_MANY,
            "retryTasks",
            "Retry by hand the tasks that fit a filter",
            "Up to 1,000 a call; go on with `after` set to `next`. Those that failed as \
             `outcome-unknown` are left out unless `code` asks for them.",
        ),
    ]
}

fn leasing() -> Vec<Operation> {
    vec![
        Operation::new("post", paths::QUEUE_LEASES, "leaseTasks")
            .tag("workers")
            .says(
                "Lease tasks",
                "Waits up to `wait` for the first one. Only tasks that workers run are leased.",
            )
            .takes(&["queueName"])
            .optional_json("LeaseRequest", examples::lease())
            .gives("200", "The leases, maybe none.", "LeaseResponse", examples::leases(), &[])
            .fails(&[&QUEUE_NOT_FOUND]),
        Operation::new("post", paths::LEASES_HEARTBEAT, "heartbeat")
            .tag("workers")
            .says("Extend leases and report", "Each heartbeat is answered in its place.")
            .json("HeartbeatRequest", examples::heartbeat())
            .gives(
                "200",
                "One entry for each.",
                "HeartbeatResponse",
                examples::heartbeat_answer(),
                &[],
            )
            .fails(&[&BATCH_TOO_LARGE]),
    ]
}

fn settling() -> Vec<Operation> {
    vec![
        Operation::new("post", paths::LEASES_SETTLE, "settle")
            .tag("workers")
            .says(
                "Settle attempts",
                "Each settle is answered in its place; repeating the one that recorded the outcome \
                 is 200 with `replayed`. `lease_next` leases the next tasks at once.",
            )
            .json("SettleRequest", examples::settle())
            .gives("200", "One entry for each.", "SettleResponse", examples::settle_answer(), &[])
            .fails(&[&BATCH_TOO_LARGE, &STORE_FULL]),
    ]
}

fn bodies() -> Vec<Operation> {
    vec![
        Operation::new("get", paths::LEASES_INPUT, "readInput")
            .tag("workers")
            .says("Read the input of a leased task", "Streamed, with its own media type.")
            .access(Access::Lease)
            .takes(&["leaseToken"])
            .gives_any("200", "The input.", any(), &[])
            .gives_any("204", "The task has no input.", Value::Null, &[])
            .fails(&[&STALE_LEASE, &TASK_CANCELED]),
        Operation::new("put", paths::LEASES_RESULT, "storeResult")
            .tag("workers")
            .says("Store a large result", "Streamed; the settle then names it as `result_id`.")
            .access(Access::Lease)
            .takes(&["leaseToken", "contentType", "liveResult"])
            .body(any_sent())
            .gives("200", "It is stored.", "StoredResult", examples::stored(), &[])
            .fails(&[&ALREADY_LIVE, &STALE_LEASE, &TASK_CANCELED])
            .fails(&[&STORE_FULL, &UNSUPPORTED_MEDIA_TYPE]),
    ]
}

fn queues() -> Vec<Operation> {
    let queue = |method, path, id| {
        Operation::new(method, path, id)
            .tag("queues")
            .takes(&["queueName"])
            .fails(&[&QUEUE_NOT_FOUND])
    };
    let now = |operation: Operation, paused| {
        operation.gives("200", "The queue now.", "Queue", examples::queue(paused), &[])
    };
    let read = queue("get", paths::QUEUE, "readQueue")
        .says("Read a queue", "Policy, counts, throughput and latency.");
    let define = queue("put", paths::QUEUE, "defineQueue")
        .says("Define a queue's policy", "Replaces it whole. Needs the scope `admin`.")
        .json("Policy", examples::policy())
        .fails(&[&QUEUE_DEFINED_IN_FILE]);
    let pause = queue("post", paths::QUEUE_PAUSE, "pauseQueue")
        .says("Pause a queue", "No attempt starts; tasks are still accepted. Needs `admin`.");
    let resume = queue("post", paths::QUEUE_RESUME, "resumeQueue")
        .says("Resume a queue", "Attempts start again. Needs `admin`.");
    let list = Operation::new("get", paths::QUEUES, "listQueues")
        .tag("queues")
        .says("List the queues", "Those that anything came into, by name, page by page.")
        .takes(&["afterQueue", "limit"])
        .gives("200", "The queues.", "QueueList", json!({"items": [examples::queue(false)]}), &[]);
    vec![list, now(read, false), now(define, false), now(pause, true), now(resume, false)]
}

fn service() -> Vec<Operation> {
    let open = |path, id, summary, description| {
        Operation::new("get", path, id)
            .tag("service")
            .says(summary, description)
            .access(Access::Open)
    };
    let ok = json!({"status": "ok"});
    let page = |title: &str| json!({"schema": {"type": "string"}, "example": title});
    vec![
        open(paths::HEALTH, "health", "Whether the process lives", "").gives(
            "200",
            "It lives.",
            "Health",
            ok.clone(),
            &[],
        ),
        open(paths::READY, "readiness", "Whether it takes work", "The store answers, no drain.")
            .gives("200", "It takes work.", "Health", ok, &[]),
        open(paths::PROBLEM, "readProblem", "Read about a problem", "A page for people.")
            .takes(&["code"])
            .gives_any(
                "200",
                "The page.",
                json!({
                    "text/html": page("<h1>queue-full</h1>"),
                    "text/markdown": page("# queue-full"),
                }),
                &[],
            )
            .fails(&[&NOT_FOUND, &AMBIGUOUS_PATH]),
        open(
            paths::PAGE_FILE,
            "readPageFile",
            "The logo of pages",
            "Another logo has another name.",
        )
        .takes(&["pageFile"])
        .gives_any(
            "200",
            "A picture.",
            json!({"image/*": {"schema": {"type": "string", "format": "binary"}}}),
            &[],
        )
        .fails(&[&NOT_FOUND, &AMBIGUOUS_PATH]),
        open(
            paths::SCRIPT,
            "readClient",
            "The client for browsers",
            "An ES module, with the elements `relais-task` and `relais-tray`.",
        )
        .takes(&["scriptVersion"])
        .gives_any(
            "200",
            "The script, compressed as `Accept-Encoding` allows.",
            json!({"text/javascript": {"schema": {"type": "string"}}}),
            &[],
        )
        .gives_any("304", "The client has it.", Value::Null, &[])
        .fails(&[&AMBIGUOUS_PATH]),
        open(paths::OPENAPI, "readOpenApi", "This document", "").gives_any(
            "200",
            "OpenAPI 3.1.",
            json!({"application/json": {"schema": {"type": "object"}}}),
            &[],
        ),
    ]
}
