//! The OpenAPI 3.1 document of the task API, as served at `/v1/openapi.json`.
//!
//! Schemas are derived from the types of this crate, so that they cannot differ from what is read
//! and written; the operations are tables in `operations`. Routes of the front door are not
//! here: their requests and answers are the upstream's.

mod answers;
mod examples;
mod operations;
mod parameters;
mod shared;

use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use crate::{bulk, event, health, lease, problem, queue, submit, task, ticket, why};

#[derive(OpenApi)]
#[openapi(components(schemas(
    submit::SubmitRequest,
    submit::BatchResponse,
    task::Accepted,
    task::Task,
    task::TaskList,
    why::Why,
    bulk::RetryRequest,
    ticket::TicketRequest,
    ticket::TicketResponse,
    bulk::BulkRequest,
    bulk::BulkResponse,
    queue::QueueList,
    event::Event,
    event::EventPage,
    lease::LeaseRequest,
    lease::LeaseResponse,
    lease::HeartbeatRequest,
    lease::HeartbeatResponse,
    lease::SettleRequest,
    lease::SettleResponse,
    lease::StoredResult,
    queue::Policy,
    queue::Queue,
    health::Health,
    problem::Problem,
)))]
struct Schemas;

/// The document, with `prefix` before every path: what the operator set as `api_prefix`, such as
/// `/_relais`, or nothing. A slash at its end is dropped.
#[must_use]
pub fn document(prefix: &str) -> Value {
    let prefix = prefix.trim_end_matches('/');
    let mut paths = Map::new();
    for operation in operations::all() {
        let path = paths.entry(format!("{prefix}{}", operation.path)).or_insert_with(|| json!({}));
        let method = operation.method;
        path[method] = operation.into_json();
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Relais",
            "version": env!("CARGO_PKG_VERSION"),
            "description": shared::DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "Where this document came from."}],
        "tags": shared::tags(),
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "parameters": parameters::all(),
            "headers": shared::headers(),
            "examples": shared::problem_examples(),
            "securitySchemes": shared::security_schemes(),
        },
    })
}

/// The schemas of all documents.
pub(crate) fn schemas() -> Value {
    let mut schemas = Map::new();
    for part in [Schemas::openapi(), event::DataSchemas::openapi()] {
        let components = part.components.expect("the derive lists schemas");
        let part = serde_json::to_value(components.schemas).expect("schemas are JSON");
        schemas.extend(part.as_object().cloned().unwrap_or_default());
    }
    let mut schemas = Value::Object(schemas);
    forbid_null(&mut schemas);
    plain_text(&mut schemas);
    unsigned(&mut schemas);
    more_of_problems(&mut schemas["Problem"]["properties"]);
    schemas
}

/// The members that problems of Relais itself have beside those of every problem. In code they are
/// with whatever else somebody's problem has, which has no type.
fn more_of_problems(properties: &mut Value) {
    properties["limit"] = json!({
        "type": "integer", "minimum": 0,
        "description": "The limit that was passed, in its own unit.",
    });
    properties["retry_after"] = json!({
        "$ref": "#/components/schemas/Span",
        "description": "How long to wait before trying again; `Retry-After` says it in seconds.",
    });
    properties["task"] =
        json!({"type": "string", "description": "The id of the task that it is about."});
}

/// The derive calls `u32` an `int32`, which ends at half of what we take and give.
fn unsigned(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(unsigned),
        Value::Object(members) => {
            members.values_mut().for_each(unsigned);
            let is_unsigned =
                members.get("minimum").and_then(Value::as_f64).is_some_and(|min| min >= 0.0);
            if is_unsigned && members.get("format").is_some_and(|format| format == "int32") {
                members.remove("format");
                members.entry("maximum").or_insert_with(|| json!(u32::MAX));
            }
        }
        _ => {}
    }
}

/// Doc comments are broken at a margin, and what links to Rust items is for readers of the code.
fn plain_text(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(plain_text),
        Value::Object(members) => {
            members.values_mut().for_each(plain_text);
            if let Some(Value::String(text)) = members.get_mut("description") {
                let paragraphs = text.split("\n\n").filter(|paragraph| !paragraph.contains("[`"));
                let paragraphs = paragraphs.map(|paragraph| paragraph.replace('\n', " "));
                *text = paragraphs.collect::<Vec<_>>().join("\n\n");
            }
        }
        _ => {}
    }
}

/// Absent values are left out, never `null`; the derive takes every `Option` for nullable.
fn forbid_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(forbid_null),
        Value::Object(members) => {
            members.values_mut().for_each(forbid_null);
            if let Some(Value::Array(types)) = members.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    members.insert("type".to_owned(), only);
                }
            }
            let Some(Value::Array(choices)) = members.get_mut("oneOf") else { return };
            choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
            if let [Value::Object(only)] = choices.as_slice() {
                let only = only.clone();
                members.remove("oneOf");
                members.extend(only);
            }
        }
        _ => {}
    }
}
