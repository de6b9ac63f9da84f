use std::collections::BTreeSet;
use std::path::Path;

use relais_api::bulk::{BulkRequest, BulkResponse, RetryRequest};
use relais_api::health::Health;
use relais_api::lease::{HeartbeatResponse, SettleResponse, StoredResult};
use relais_api::openapi::document;
use relais_api::queue::{Policy, Queue, QueueList};
use relais_api::ticket::{TicketRequest, TicketResponse};
use relais_api::{
    Accepted, BatchRequest, BatchResponse, Code, EventPage, EventType, HeartbeatRequest,
    LeaseRequest, LeaseResponse, SettleRequest, SubmitRequest, Task, TaskList, Why, decode,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Calls `visit` with every object of the document.
fn walk(value: &Value, visit: &mut impl FnMut(&Value)) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| walk(item, visit)),
        Value::Object(members) => {
            visit(value);
            members.values().for_each(|member| walk(member, visit));
        }
        _ => {}
    }
}

fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().expect("paths are an object");
    paths
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().expect("methods are an object");
            methods.iter().map(move |(method, operation)| (format!("{method} {path}"), operation))
        })
        .collect()
}

/// `UPDATE=1 cargo test -p relais-api` writes the golden copy anew; its diff is the review.
#[test]
fn the_document_is_the_golden_copy() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let fresh = document("");
    if std::env::var_os("UPDATE").is_some() {
        let mut text = serde_json::to_string_pretty(&fresh).unwrap();
        text.push('\n');
        std::fs::write(&file, text).unwrap();
    }
    let golden: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert!(golden == fresh, "the document changed: look at it, then bless it with UPDATE=1");
}

#[test]
fn every_variable_of_a_path_is_a_parameter() {
    let document = document("");
    for (name, operation) in operations(&document) {
        let declared: BTreeSet<String> = operation["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|parameter| document.pointer(&parameter["$ref"].as_str().unwrap()[1..]).unwrap())
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| format!("{{{}}}", parameter["name"].as_str().unwrap()))
            .collect();
        let used: BTreeSet<String> =
            name.split('/').filter(|part| part.starts_with('{')).map(str::to_owned).collect();
        assert_eq!(declared, used, "{name}");
    }
}

#[test]
fn descriptions_are_for_readers_of_the_api() {
    walk(&document("")["components"]["schemas"], &mut |object| {
        let text = object.get("description").and_then(Value::as_str).unwrap_or("-");
        assert!(!text.is_empty() && !text.contains("[`") && !text.contains("::"), "{text}");
    });
}

#[test]
fn what_every_event_says_has_a_schema_and_a_word_in_the_contract() {
    let schemas = document("")["components"]["schemas"].clone();
    for kind in EventType::ALL {
        // What it says beside its kind is named after it, and progress is that of the task.
        let name = match kind {
            EventType::Progressed => "Progress".to_owned(),
            kind => format!("{kind:?}Data"),
        };
        assert!(schemas.get(&name).is_some(), "{name}");
    }
    let words: Vec<_> = EventType::ALL.iter().map(|kind| kind.as_str()).collect();
    let line = format!("Events: `{}`.", words.join(" "));
    assert!(include_str!("../../../../docs/protocol.md").contains(&line), "{line}");
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document("");
    walk(&document, &mut |object| {
        if let Some(Value::String(target)) = object.get("$ref") {
            let pointer = target.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{target}");
        }
    });
}

#[test]
fn nothing_in_a_schema_may_be_null() {
    walk(&document("")["components"]["schemas"], &mut |object| {
        let kinds = object.get("type").map(Value::to_string).unwrap_or_default();
        assert!(!kinds.contains("null"), "{object}");
    });
}

#[test]
fn the_prefix_goes_before_every_path() {
    for prefix in ["/_relais", "/_relais/"] {
        let document = document(prefix);
        let paths = document["paths"].as_object().unwrap();
        assert!(paths.keys().all(|path| path.starts_with("/_relais/")), "{prefix}");
        assert!(paths.contains_key("/_relais/v1/tasks"));
    }
}

#[test]
fn every_call_of_the_contract_is_there() {
    let document = document("");
    let found: BTreeSet<String> = operations(&document).into_iter().map(|(name, _)| name).collect();
    let contract = [
        "post /v1/tasks",
        "post /v1/tasks/batch",
        "get /v1/tasks",
        "get /v1/tasks/{id}",
        "delete /v1/tasks/{id}",
        "get /v1/tasks/{id}/result",
        "get /v1/tasks/{id}/events",
        "get /v1/tasks/{id}/why",
        "post /v1/tasks/{id}/cancel",
        "post /v1/tasks/{id}/retry",
        "post /v1/tasks/{id}/tickets",
        "get /v1/session",
        "delete /v1/session",
        "post /v1/session/forget",
        "post /v1/session/{id}",
        "delete /v1/session/{id}",
        "post /v1/session/{id}/forget",
        "post /v1/tasks/cancel",
        "post /v1/tasks/retry",
        "get /v1/events",
        "post /v1/queues/{queue}/leases",
        "post /v1/leases/heartbeat",
        "post /v1/leases/settle",
        "get /v1/leases/input",
        "put /v1/leases/result",
        "get /v1/client.js",
        "get /v1/page/{file}",
        "get /v1/queues",
        "get /v1/queues/{queue}",
        "put /v1/queues/{queue}",
        "post /v1/queues/{queue}/pause",
        "post /v1/queues/{queue}/resume",
        "get /healthz",
        "get /readyz",
        "get /problems/{code}",
        "get /v1/openapi.json",
    ];
    assert_eq!(found, contract.map(str::to_owned).into());
}

#[test]
fn every_operation_has_a_name_an_example_and_its_errors_as_problems() {
    let document = document("");
    let mut ids = BTreeSet::new();
    for (name, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id), "{id} is there twice");
        assert!(!operation["summary"].as_str().unwrap().is_empty(), "{name}");
        for (status, answer) in operation["responses"].as_object().unwrap() {
            assert!(!answer["description"].as_str().unwrap().is_empty(), "{name} {status}");
            if !status.starts_with(['4', '5']) {
                continue;
            }
            let problem = &answer["content"]["application/problem+json"];
            assert_eq!(problem["schema"]["$ref"], "#/components/schemas/Problem", "{name}");
            for code in problem["examples"].as_object().unwrap().keys() {
                let code = Code::find(code).unwrap();
                assert_eq!(code.status.to_string(), *status, "{name}");
            }
        }
    }
}

/// Generators of typed clients made `unknown` of a content without a type, or left its call out.
#[test]
fn every_content_has_a_type_and_every_problem_only_described_members() {
    let document = document("");
    let says_a_type = |schema: &Value| {
        let schema = match schema["$ref"].as_str() {
            Some(target) => document.pointer(&target[1..]).unwrap(),
            None => schema,
        };
        ["type", "oneOf", "anyOf", "allOf", "enum"].iter().any(|word| schema.get(word).is_some())
    };
    let mut contents = 0;
    walk(&document["paths"], &mut |object| {
        let Some(content) = object.get("content").and_then(Value::as_object) else { return };
        for (media, content) in content {
            contents += 1;
            assert!(says_a_type(&content["schema"]), "{media}: {object}");
        }
    });
    assert!(contents > 100, "{contents}");
    let described = document["components"]["schemas"]["Problem"]["properties"].as_object().unwrap();
    for (code, example) in document["components"]["examples"].as_object().unwrap() {
        for name in example["value"].as_object().unwrap().keys() {
            assert!(described.contains_key(name), "{code}: {name}");
        }
    }
}

fn reads<T: DeserializeOwned + Serialize>(example: &Value) {
    let bytes = example.to_string();
    let value: T = decode(bytes.as_bytes()).unwrap_or_else(|error| panic!("{error}: {bytes}"));
    assert_eq!(&serde_json::to_value(value).expect("a document is JSON"), example);
}

#[test]
fn every_example_is_what_it_stands_for() {
    let document = document("");
    let mut examples = 0;
    walk(&document["paths"], &mut |object| {
        let (Some(schema), Some(example)) = (object.get("schema"), object.get("example")) else {
            return;
        };
        let Some(name) = schema["$ref"].as_str().and_then(|target| target.rsplit('/').next())
        else {
            if schema["type"] == "array" {
                reads::<BatchRequest>(example);
            }
            return;
        };
        examples += 1;
        match name {
            "SubmitRequest" => reads::<SubmitRequest>(example),
            "BatchResponse" => reads::<BatchResponse>(example),
            "Accepted" => reads::<Accepted>(example),
            "Task" => reads::<Task>(example),
            "TaskList" => reads::<TaskList>(example),
            "QueueList" => reads::<QueueList>(example),
            "Why" => reads::<Why>(example),
            "RetryRequest" => reads::<RetryRequest>(example),
            "TicketRequest" => reads::<TicketRequest>(example),
            "TicketResponse" => reads::<TicketResponse>(example),
            "BulkRequest" => reads::<BulkRequest>(example),
            "BulkResponse" => reads::<BulkResponse>(example),
            "EventPage" => reads::<EventPage>(example),
            "LeaseRequest" => reads::<LeaseRequest>(example),
            "LeaseResponse" => reads::<LeaseResponse>(example),
            "HeartbeatRequest" => reads::<HeartbeatRequest>(example),
            "HeartbeatResponse" => reads::<HeartbeatResponse>(example),
            "SettleRequest" => reads::<SettleRequest>(example),
            "SettleResponse" => reads::<SettleResponse>(example),
            "StoredResult" => reads::<StoredResult>(example),
            "Policy" => reads::<Policy>(example),
            "Queue" => reads::<Queue>(example),
            "Health" => reads::<Health>(example),
            other => panic!("no test reads the example of {other}"),
        }
    });
    assert!(examples >= 25, "{examples}");
}
