//! A secret typed into the wrong member must not come back in an answer, nor end in somebody's log.

use serde_json::{Value, json};

use crate::api::{Answer, Api, Call, call, get};

/// A call that takes JSON: method, path, an example, and all members there are.
struct Operation {
    method: String,
    path: String,
    example: Value,
    members: Vec<String>,
}

fn operations(document: &Value) -> Vec<Operation> {
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let content = &operation["requestBody"]["content"]["application/json"];
            if content.is_null() {
                continue;
            }
            let mut members = vec![String::new()];
            list(document, &content["schema"], "", &mut members);
            let mut example = content["example"].clone();
            forget_to_wait(&mut example);
            let method = method.to_uppercase();
            operations.push(Operation { method, path: path.clone(), example, members });
        }
    }
    operations
}

/// Lists the places within a schema, as JSON pointers.
fn list(document: &Value, schema: &Value, at: &str, out: &mut Vec<String>) {
    if at.matches('/').count() > 5 {
        return;
    }
    if let Some(target) = schema["$ref"].as_str() {
        return list(document, document.pointer(&target[1..]).unwrap(), at, out);
    }
    for kind in ["allOf", "anyOf", "oneOf"] {
        for schema in schema[kind].as_array().into_iter().flatten() {
            list(document, schema, at, out);
        }
    }
    let mut place = |name: &str, schema: &Value| {
        let at = format!("{at}/{name}");
        out.push(at.clone());
        list(document, schema, &at, out);
    };
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        place(name, schema);
    }
    for (index, schema) in schema["prefixItems"].as_array().into_iter().flatten().enumerate() {
        place(&index.to_string(), schema);
    }
    if schema["items"].is_object() {
        place("0", &schema["items"]);
    }
    if schema["additionalProperties"].is_object() {
        place("x", &schema["additionalProperties"]);
    }
}

/// No call of this test is held.
fn forget_to_wait(example: &mut Value) {
    match example {
        Value::Object(members) => {
            members.remove("wait");
            members.values_mut().for_each(forget_to_wait);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_to_wait),
        _ => {}
    }
}

/// The document with another value at a place, which is made where it is not there.
fn with(document: &Value, place: &str, value: &Value) -> Value {
    let mut document = document.clone();
    let mut at = &mut document;
    for segment in place.split('/').skip(1) {
        at = match segment.parse::<usize>() {
            Ok(index) => {
                let mut items = at.as_array().cloned().unwrap_or_default();
                items.resize(items.len().max(index + 1), json!("x"));
                *at = Value::Array(items);
                &mut at[index]
            }
            Err(_) => {
                if !at.is_object() {
                    *at = json!({});
                }
                &mut at[segment]
            }
        };
    }
    *at = value.clone();
    document
}

/// What was refused of a call: all of an answer, or the items of one.
fn refusals(answer: &Answer) -> Vec<String> {
    if answer.status.is_client_error() || answer.status.is_server_error() {
        assert_eq!(answer.header("content-type"), "application/problem+json");
        return vec![answer.text().to_owned()];
    }
    let items = answer.json()["items"].as_array().cloned().unwrap_or_default();
    let problems = items.iter().map(|item| item["problem"].clone());
    problems.filter(|problem| !problem.is_null()).map(|problem| problem.to_string()).collect()
}

#[tokio::test]
async fn no_refusal_repeats_a_value_that_was_sent() {
    let api = Api::new().await;
    let document = api.call(get("/v1/openapi.json")).await.json();
    let secrets = [
        json!("hunter2"),
        json!("hunter2\u{1}\", expected hunter2 at line 1"),
        json!(4_242_424_242_u64),
        json!(-4_242_424_242_i64),
        json!(4_242_424_242.5),
        json!(["hunter2"]),
        json!({"x": "hunter2"}),
    ];
    let (mut calls, mut refused) = (0, 0);
    for operation in operations(&document) {
        for place in &operation.members {
            for secret in &secrets {
                let mut example = operation.example.clone();
                if !example["items"][0]["token"].is_null() {
                    api.submit().await;
                    example["items"][0]["token"] = api.lease().await["token"].clone();
                }
                for call in calls_of(&api, &operation, &with(&example, place, secret)).await {
                    let answer = api.call(call).await;
                    calls += 1;
                    for text in refusals(&answer) {
                        refused += 1;
                        let is_repeated = text.contains("hunter2") || text.contains("4242");
                        assert!(!is_repeated, "{} {place} {secret}: {text}", operation.path);
                    }
                }
            }
        }
    }
    assert!(calls > 500 && refused > 300, "{refused} of {calls} were refused");
}

async fn calls_of(api: &Api, operation: &Operation, body: &Value) -> Vec<Call> {
    let path = operation.path.replace("{queue}", "work");
    let path = match path.contains("{id}") {
        true => path.replace("{id}", api.submit().await["id"].as_str().unwrap()),
        false => path,
    };
    let sent = |kind: &str, body: String| {
        call(&operation.method, &path).field("content-type", kind).body(body)
    };
    let mut calls = vec![sent("application/json", body.to_string())];
    if let (true, Some(items)) = (path.ends_with("/batch"), body.as_array()) {
        let lines: Vec<_> = items.iter().map(Value::to_string).collect();
        calls.push(sent("application/x-ndjson", lines.join("\n")));
    }
    calls
}
