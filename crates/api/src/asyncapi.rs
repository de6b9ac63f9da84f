//! The AsyncAPI 3 document of the WebSocket: each frame, and who sends it. What frames carry (tasks, events,
//! problems) has the schemas of the OpenAPI document.

use serde_json::{Map, Value, json};
use utoipa::PartialSchema;

use crate::{bulk, openapi, paths, ws};

/// A frame: its name, what it says, the members that it must and may have, and one of its kind.
struct Frame {
    name: &'static str,
    says: &'static str,
    required: &'static [&'static str],
    optional: &'static [&'static str],
    example: fn() -> Value,
}

/// What clients send.
const ASKED: [Frame; 7] = [
    Frame {
        name: "auth",
        says: "Brings an API key or a ticket; answered by `ready`.",
        required: &["op", "token"],
        optional: &[],
        example: || json!({"op": "auth", "token": "rt_AQ"}),
    },
    Frame {
        name: "submit",
        says: "Hands in a task, as `POST /v1/tasks`; answered by `reply`.",
        required: &["op", "id", "task"],
        optional: &["key"],
        example: || json!({"op": "submit", "id": "1", "task": {"queue": "imports", "input": {}}}),
    },
    Frame {
        name: "watch",
        says: "Follows one task, or all with a label; answered by `open` and events, or by `end`.",
        required: &["op", "watch"],
        optional: &["task", "ticket", "label", "after"],
        example: || json!({"op": "watch", "watch": "w", "task": "task_01jdk3", "after": 3}),
    },
    Frame {
        name: "unwatch",
        says: "Ends a watch; answered by `end`.",
        required: &["op", "watch"],
        optional: &[],
        example: || json!({"op": "unwatch", "watch": "w"}),
    },
    Frame {
        name: "cancel",
        says: "Calls a task off; answered by `reply`.",
        required: &["op", "id", "task"],
        optional: &["ticket"],
        example: || json!({"op": "cancel", "id": "2", "task": "task_01jdk3"}),
    },
    Frame {
        name: "retry",
        says: "Runs a task again; answered by `reply`.",
        required: &["op", "id", "task"],
        optional: &["ticket", "from"],
        example: || json!({"op": "retry", "id": "3", "task": "task_01jdk3", "from": "start"}),
    },
    Frame {
        name: "ping",
        says: "Is answered by `pong`, for those who cannot send a ping of the protocol.",
        required: &["op"],
        optional: &[],
        example: || json!({"op": "ping"}),
    },
];

/// What Relais sends.
const SAID: [Frame; 9] = [
    Frame {
        name: "event",
        says: "Something happened to what is watched.",
        required: &["watch", "pos", "event"],
        optional: &[],
        example: || {
            let event = json!({"task": "task_01jdk3", "seq": 4, "type": "canceled",
                               "at": "2026-11-22T10:00:05.000Z", "data": {"reason": "requested"}});
            json!({"watch": "w", "pos": 17, "event": event})
        },
    },
    Frame {
        name: "ready",
        says: "It is known who asks; the connection lasts so long at most.",
        required: &["op", "lifetime"],
        optional: &[],
        example: || json!({"op": "ready", "lifetime": "8m"}),
    },
    Frame {
        name: "open",
        says: "A watch begins.",
        required: &["op", "watch", "version", "gap"],
        optional: &["pos"],
        example: || json!({"op": "open", "watch": "w", "version": 4, "gap": false}),
    },
    Frame {
        name: "reset",
        says: "The number to go on behind is unknown: it begins anew.",
        required: &["op", "watch", "reason", "from"],
        optional: &[],
        example: || json!({"op": "reset", "watch": "w", "reason": "unknown", "from": 0}),
    },
    Frame {
        name: "estimate",
        says: "Where a queued task stands.",
        required: &["op", "watch"],
        optional: &["position", "eta"],
        example: || json!({"op": "estimate", "watch": "w", "position": 3}),
    },
    Frame {
        name: "erased",
        says: "A task of a label was erased.",
        required: &["op", "watch", "task"],
        optional: &[],
        example: || json!({"op": "erased", "watch": "w", "task": "task_01jdk3"}),
    },
    Frame {
        name: "end",
        says: "Nothing more comes of a watch, and its name is free.",
        required: &["op", "watch", "reason"],
        optional: &["retry_after", "problem"],
        example: || json!({"op": "end", "watch": "w", "reason": "over"}),
    },
    Frame {
        name: "reply",
        says: "The answer to a call.",
        required: &["op", "id", "status"],
        optional: &["replayed", "task", "problem"],
        example: || json!({"op": "reply", "id": "2", "status": 200, "task": {}}),
    },
    Frame {
        name: "pong",
        says: "The answer to `ping`.",
        required: &["op"],
        optional: &[],
        example: || json!({"op": "pong"}),
    },
];

/// The document.
#[must_use]
pub fn document() -> Value {
    let mut messages = Map::new();
    let mut operations = Map::new();
    for (frames, action, verb) in [(&ASKED[..], "receive", "hear"), (&SAID[..], "send", "say")] {
        for frame in frames {
            let Frame { name, says, .. } = frame;
            let message = json!({
                "name": name, "title": name, "summary": says,
                "contentType": "application/json",
                "payload": payload(frame, action == "receive"),
                "examples": [{"payload": (frame.example)()}],
            });
            messages.insert((*name).to_owned(), message);
            let message = format!("#/channels/socket/messages/{name}");
            let operation = json!({
                "action": action, "summary": says,
                "channel": {"$ref": "#/channels/socket"},
                "messages": [{ "$ref": message }],
            });
            operations.insert(format!("{verb}_{name}"), operation);
        }
    }
    let of_channel: Map<_, _> = messages
        .keys()
        .map(|name| (name.clone(), json!({"$ref": format!("#/components/messages/{name}")})))
        .collect();
    let protocols = json!({
        "type": "string",
        "description": "Offers `relais.v1.json`, and may bring a token as `relais.bearer.TOKEN`.",
        "examples": [ws::SUBPROTOCOL],
    });
    let fields = json!({
        "type": "object", "required": ["Sec-WebSocket-Protocol"],
        "properties": {"Sec-WebSocket-Protocol": protocols},
    });
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Relais",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The WebSocket of Relais: submit, watch, cancel and retry tasks. What it means \
                            stands in docs/protocol.md.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"here": {"host": "127.0.0.1:8080", "protocol": "ws"}},
        "channels": {"socket": {
            "address": paths::SOCKET,
            "messages": of_channel,
            "bindings": {"ws": {"method": "GET", "headers": fields, "bindingVersion": "0.1.0"}},
        }},
        "operations": operations,
        "components": {"messages": messages, "schemas": openapi::schemas()},
    })
}

/// The schema of a frame. Clients ignore members that they do not know; Relais refuses them.
fn payload(frame: &Frame, is_asked: bool) -> Value {
    let members = frame.required.iter().chain(frame.optional);
    let properties: Map<_, _> =
        members.map(|name| ((*name).to_owned(), member(frame.name, name))).collect();
    let mut schema = json!({
        "type": "object", "required": frame.required, "properties": properties,
    });
    if is_asked {
        schema["additionalProperties"] = json!(false);
    }
    if frame.name == "watch" {
        let with = |one: &str, without: &[&str]| {
            let not: Vec<_> = without.iter().map(|name| json!({"required": [name]})).collect();
            json!({"required": [one], "not": {"anyOf": not}})
        };
        schema["oneOf"] = json!([with("task", &["label"]), with("label", &["task", "ticket"])]);
    }
    schema
}

fn member(frame: &str, name: &str) -> Value {
    let text = |says: &str| json!({"type": "string", "description": says});
    let number = |says: &str| json!({"type": "integer", "minimum": 0, "description": says});
    let named = |says: &str| {
        let max = ws::NAME_BYTES_MAX;
        json!({"type": "string", "minLength": 1, "maxLength": max, "description": says})
    };
    let schema = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    match (frame, name) {
        (_, "op") => json!({"const": frame}),
        ("submit", "task") => schema("SubmitRequest"),
        ("reply", "task") => {
            json!({"type": "object", "description": "The task, of a submit or retry with its ticket."})
        }
        (_, "task") => text("The id of a task."),
        (_, "watch") => named("The client's name for the watch."),
        (_, "id") => named("The client's name for the call."),
        (_, "token") => text("An API key, or a ticket."),
        (_, "key") => text("The idempotency key."),
        (_, "ticket") => text("A ticket that counts for this call."),
        (_, "label") => text("`name=value`."),
        (_, "after") => json!({
            "description": "The number of the last event that is known; of a label also `now`, \
                behind all that has happened.",
            "oneOf": [{"type": "integer", "minimum": 0}, {"const": "now"}],
        }),
        ("retry", "from") => derived::<bulk::RetryFrom>(),
        (_, "from") => number("The number behind which it goes on."),
        ("open", "pos") => number("Of many tasks: the place behind which it begins."),
        (_, "pos") => number("The event's place in the order of the store."),
        (_, "event") => schema("Event"),
        (_, "lifetime" | "retry_after") => schema("Span"),
        (_, "version") => number("The task's version at this moment; 0 of many tasks."),
        (_, "gap" | "replayed") => json!({"type": "boolean"}),
        ("end", "reason") => derived::<ws::EndReason>(),
        (_, "reason") => text("Why, in a word."),
        (_, "position") => number("Place in the queue, 1 being next."),
        (_, "eta") => schema("Eta"),
        (_, "problem") => schema("Problem"),
        (_, "status") => number("What HTTP would have answered with."),
        _ => panic!("nothing is known of the member {name} of {frame}"),
    }
}

/// The schema that a type has by itself.
fn derived<T: PartialSchema>() -> Value {
    serde_json::to_value(T::schema()).expect("a schema is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It had a schema that takes anything, and no test failed.
    #[test]
    #[should_panic(expected = "the member retry_afer of end")]
    fn a_misspelt_member_is_none() {
        let end = SAID.iter().find(|frame| frame.name == "end").expect("there is one");
        payload(&Frame { optional: &["retry_afer"], ..*end }, false);
    }
}
