//! Parameters, each under the name that operations refer to it by.

use serde_json::{Value, json};

pub(super) fn all() -> Value {
    let mut parameters = of_paths();
    for more in [of_headers(), of_queries(), of_live_answers()] {
        if let (Value::Object(all), Value::Object(more)) = (&mut parameters, more) {
            all.extend(more);
        }
    }
    parameters
}

fn of_paths() -> Value {
    json!({
        "id": {
            "name": "id", "in": "path", "required": true,
            "description": "The task's id.",
            "schema": {"type": "string", "pattern": "^task_[0-7][0-9a-hjkmnp-tv-z]{25}$"},
            "example": "task_01jdk3v5x8e2rbk0t6q9z4m7ha",
        },
        "queueName": {
            "name": "queue", "in": "path", "required": true,
            "description": "The queue's name.",
            "schema": {"type": "string", "pattern": "^[a-z0-9_-]{1,64}$"},
            "example": "imports",
        },
        "code": {
            "name": "code", "in": "path", "required": true,
            "description": "The code of a problem.",
            "schema": {"type": "string", "pattern": "^[a-z]+(-[a-z]+)*$"},
            "example": "queue-full",
        },
        "pageFile": {
            "name": "file", "in": "path", "required": true,
            "description": "The name by which pages call it.",
            "schema": {"type": "string", "pattern": "^[0-9a-f]{16}\\.(svg|png|jpg|webp)$"},
            "example": "0123456789abcdef.svg",
        },
    })
}

fn of_headers() -> Value {
    json!({
        "idempotencyKey": {
            "name": "Idempotency-Key", "in": "header",
            "description": "The same key with the same request gives the same task, for as long \
                as the task is kept and at least 24 h. With or without double quotes.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!#-~]+$"},
            "example": "8e03978e-40d5-43dd-bc93-6894a57f9324",
        },
        "prefer": {
            "name": "Prefer", "in": "header",
            "description": "`wait=N` waits up to N seconds, at most 55, for something to happen \
                (RFC 7240). What is not understood is ignored.",
            "schema": {"type": "string"},
            "example": "wait=1",
        },
        "ifNoneMatch": {
            "name": "If-None-Match", "in": "header",
            "description": "Versions that the client has: 304 instead of one of them. A task that \
                is asked for with `Prefer: wait=N` answers at the first that is another.",
            "schema": {"type": "string"},
            "example": "W/\"v4-json\"",
        },
        "range": {
            "name": "Range", "in": "header",
            "description": "One range of bytes of a result that is a 200; several give the whole.",
            "schema": {"type": "string"},
            "example": "bytes=1000-1999",
        },
        "ifRange": {
            "name": "If-Range", "in": "header",
            "description": "The version that the range is of; of another one the whole is given.",
            "schema": {"type": "string"},
            "example": "\"task_01jdk3v5x8e2rbk0t6q9z4m7ha-1-1\"",
        },
        "lastEventId": {
            "name": "Last-Event-ID", "in": "header",
            "description": "Resume after this event; wins over `after`.",
            "schema": {"type": "string"},
            "example": "4",
        },
        "leaseToken": {
            "name": "Relais-Lease", "in": "header", "required": true,
            "description": "The token of the lease.",
            "schema": {"type": "string", "minLength": 1},
        },
        "contentType": {
            "name": "Content-Type", "in": "header",
            "description": "The media type of the result; kept with it.",
            "schema": {"type": "string"},
            "example": "text/csv",
        },
    })
}

fn of_queries() -> Value {
    json!({
        "scriptVersion": {
            "name": "v", "in": "query",
            "description": "Of the caller's own choice: with one the script is kept for a year, and \
                another value is another script.",
            "schema": {"type": "string"},
        },
        "queue": {
            "name": "queue", "in": "query", "description": "Of this queue.",
            "schema": {"type": "string", "pattern": "^[a-z0-9_-]{1,64}$"},
        },
        "status": {
            "name": "status", "in": "query", "description": "In this status.",
            "schema": {"$ref": "#/components/schemas/Status"},
        },
        "label": {
            "name": "label", "in": "query", "description": "With this label, as `name=value`.",
            "schema": {"type": "string", "pattern": "^[^=]{1,128}=.{0,128}$"},
            "example": "order=A-1",
        },
        "lane": {
            "name": "lane", "in": "query", "description": "Of this lane.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 128},
        },
        "afterTask": {
            "name": "after", "in": "query", "description": "The `next` of the page before.",
            "schema": {"type": "string", "minLength": 1},
        },
        "afterQueue": {
            "name": "after", "in": "query", "description": "The `next` of the page before.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 64},
        },
        "limit": {
            "name": "limit", "in": "query", "description": "How many at most.",
            "schema": {"type": "integer", "minimum": 1, "maximum": 500, "default": 50},
        },
        "afterEvent": {
            "name": "after", "in": "query",
            "description": "Only events after this one. Beyond the end of its log a page is refused.",
            "schema": {"type": "integer", "minimum": 0, "maximum": 9_007_199_254_740_991_u64},
            "example": 4,
        },
        "afterPlace": {
            "name": "after", "in": "query",
            "description": "Only events behind this place in the log of the store; with `now` behind all \
                that has happened. `relais.open` says which that is.",
            "schema": {"oneOf": [
                {"type": "integer", "minimum": 0, "maximum": 9_007_199_254_740_991_u64},
                {"type": "string", "enum": ["now"]},
            ]},
            "example": "now",
        },
        "cancel": {
            "name": "cancel", "in": "query",
            "description": "Cancel the task first if it is not terminal.",
            "schema": {"type": "boolean", "default": false},
        },
        "tasks": {
            "name": "task", "in": "query", "explode": true,
            "description": "Of these tasks; give it several times.",
            "schema": {"type": "array", "maxItems": 50, "items": {"type": "string"}},
        },
        "tickets": {
            "name": "ticket", "in": "query", "explode": true,
            "description": "Of the tasks of these tickets; give it several times.",
            "schema": {"type": "array", "maxItems": 50, "items": {"type": "string"}},
        },
    })
}

/// Of answers that are read, or stored, while they come.
fn of_live_answers() -> Value {
    json!({
        "live": {
            "name": "live", "in": "query", "allowEmptyValue": true,
            "description": "The answer while it comes; with `only`, 204 once it is committed.",
            "schema": {"type": "string", "enum": ["", "only"]},
        },
        "ask": {
            "name": "ask", "in": "query", "allowEmptyValue": true,
            "description": "With `Accept: text/html`: the page asks whether the task is to be canceled, \
                and does not load itself again meanwhile.",
            "schema": {"type": "string", "enum": [""]},
        },
        "liveResult": {
            "name": "live", "in": "query", "allowEmptyValue": true,
            "description": "Show the result to readers while it comes.",
            "schema": {"type": "string", "enum": [""]},
        },
        "afterBytes": {
            "name": "after", "in": "query",
            "description": "With `live` and `attempt`: the answer behind so many of its bytes.",
            "schema": {"type": "integer", "minimum": 0, "maximum": 9_007_199_254_740_991_u64},
        },
        "keepalive": {
            "name": "keepalive", "in": "query", "allowEmptyValue": true,
            "description": "With `live`: after so many seconds of silence, 15 if none are given, a comment \
                through an event stream, which counts in no offset.",
            "schema": {"oneOf": [
                {"type": "string", "enum": [""]},
                {"type": "integer", "minimum": 1, "maximum": 60},
            ]},
        },
        "attempt": {
            "name": "attempt", "in": "query",
            "description": "With `live`: the answer that is read on, as its `Relais-Result-Version` \
                names it.",
            "schema": {"type": "string", "pattern": "^[0-9]+\\.[0-9]+(\\.s)?$"},
        },
    })
}
