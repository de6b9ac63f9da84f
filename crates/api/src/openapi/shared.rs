//! What several operations share: tags, header fields, credentials and examples of problems.

use serde_json::{Map, Value, json};

use crate::codes::{CODES, Code};

pub(super) const DESCRIPTION: &str = "\
Hand a request in, get a ticket at once, and follow the task until it is done.

Clients rely on `terminal`, not on the names of statuses, and ignore members they do not know. \
Absent values are left out, never `null`. Requests with members that are not known are refused. \
Errors are `application/problem+json` (RFC 9457) with a stable `code`; its page is at \
`/problems/{code}`. Times are RFC 3339 in UTC with milliseconds; durations are text such as \
`\"30s\"` or `\"1h30m\"`.";

pub(super) fn tags() -> Value {
    json!([
        {"name": "tasks", "description": "Hand work in, follow it, stop it, take it up again."},
        {"name": "events", "description": "What happened, in order."},
        {"name": "workers", "description": "Lease tasks, report, settle."},
        {"name": "queues", "description": "Where tasks wait, and by what policy."},
        {"name": "service", "description": "Relais itself."},
    ])
}

pub(super) fn security_schemes() -> Value {
    json!({
        "apiKey": {
            "type": "apiKey", "in": "header", "name": "Relais-Api-Key",
            "description": "An API key of a tenant (`rk_…`), with the scopes it was made with.",
        },
        "bearer": {
            "type": "http", "scheme": "bearer",
            "description": "An API key (`rk_…`), or the ticket of one task.",
        },
        "ticket": {
            "type": "apiKey", "in": "query", "name": "ticket",
            "description": "The ticket of one task, for clients that only follow links.",
        },
        "session": {
            "type": "apiKey", "in": "cookie", "name": "__Host-relais",
            "description": "The session of a browser (`relais` by plain http on this machine). What it \
                            alone allows changes something from pages of the same origin only.",
        },
        "lease": {
            "type": "apiKey", "in": "header", "name": "Relais-Lease",
            "description": "The token of a lease.",
        },
    })
}

pub(super) fn headers() -> Value {
    let text = |description: &str, required: bool| {
        json!({
            "description": description, "required": required, "schema": {"type": "string"},
        })
    };
    json!({
        "Location": text("URL of the result: 202 with the task until it is there.", true),
        "Operation-Location": text("URL of the task.", true),
        "Link": text("The task's URL with `rel=\"monitor\"` (RFC 8288).", true),
        "Set-Cookie": text("The session.", true),
        "Relais-Task": text("The task's id.", true),
        "Relais-Result-Version": text("Run and attempt of the answer, as `R.A`.", false),
        "Retry-After": {
            "description": "Seconds after which asking again makes sense.",
            "required": false,
            "schema": {"type": "integer", "minimum": 0},
        },
        "ETag": text("The task's version, as a weak entity tag.", true),
        "Content-Range": text("Which bytes of how many these are (RFC 9110 14.4).", true),
        "Preference-Applied": text("Which preferences were applied (RFC 7240).", false),
        "Idempotent-Replayed": text("`true` when an earlier request made the task.", false),
        "Relais-Origin": text("Who made this error: `relais`, `upstream` or `worker`.", false),
        "Allow": text("The methods that are allowed.", true),
        "WWW-Authenticate": text("How to authenticate (RFC 9110 11.6.1).", true),
    })
}

/// One example for each code: that of its page, so that the two cannot differ.
pub(super) fn problem_examples() -> Value {
    let example = |code: &Code| {
        let value: Value = code
            .page()
            .split("```json\n")
            .nth(1)
            .and_then(|rest| rest.split("```").next())
            .and_then(|text| serde_json::from_str(text).ok())
            .expect("each page ends with an example in JSON");
        (code.code.to_owned(), json!({"summary": code.title, "value": value}))
    };
    CODES.iter().map(example).collect::<Map<_, _>>().into()
}
