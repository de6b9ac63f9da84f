//! The AsyncAPI document says what is read and written.

use std::collections::BTreeSet;
use std::path::Path;

use relais_api::asyncapi::document;
use relais_api::ws::{Ask, EndReason, Said};
use relais_api::{Notice, Span, codes};
use serde_json::{Value, json};

/// `UPDATE=1 cargo test -p relais-api` writes the golden copy anew; its diff is the review.
#[test]
fn the_document_is_the_golden_copy() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("asyncapi.json");
    let fresh = document();
    if std::env::var_os("UPDATE").is_some() {
        let mut text = serde_json::to_string_pretty(&fresh).unwrap();
        text.push('\n');
        std::fs::write(&file, text).unwrap();
    }
    let golden: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert!(golden == fresh, "the document changed: look at it, then bless it with UPDATE=1");
}

fn members(value: &Value) -> BTreeSet<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

fn required(payload: &Value) -> BTreeSet<&str> {
    let names = payload["required"].as_array().expect("a list");
    names.iter().map(|name| name.as_str().expect("a name")).collect()
}

#[test]
fn each_reference_leads_somewhere() {
    fn walk(root: &Value, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| walk(root, item)),
            Value::Object(members) => {
                if let Some(to) = members.get("$ref").and_then(Value::as_str) {
                    let pointer = to.strip_prefix('#').unwrap();
                    assert!(root.pointer(pointer).is_some(), "{to} leads nowhere");
                }
                members.values().for_each(|member| walk(root, member));
            }
            _ => {}
        }
    }
    let document = document();
    walk(&document, &document);
}

#[test]
fn each_frame_of_a_client_has_the_members_that_are_read_and_no_others() {
    let document = document();
    for (name, operation) in document["operations"].as_object().unwrap() {
        let Some(name) = name.strip_prefix("hear_") else { continue };
        assert_eq!(operation["action"], "receive");
        let message = &document["components"]["messages"][name];
        let (payload, example) = (&message["payload"], &message["examples"][0]["payload"]);
        let read = |frame: &Value| Ask::read(frame.to_string().as_bytes());
        assert!(read(example).is_ok(), "{example}");
        assert!(members(example).is_subset(&members(&payload["properties"])), "{example}");
        for member in required(payload) {
            let mut without = example.clone();
            without.as_object_mut().unwrap().remove(member);
            assert!(read(&without).is_err(), "{name} without {member}");
        }
        let all = ["token", "id", "key", "task", "watch", "label", "ticket", "after", "from"];
        for member in all {
            let mut with = example.clone();
            let value = match member {
                "after" => json!(1),
                "from" => json!("start"),
                _ => json!("x"),
            };
            with[member] = value;
            // Of one task or of a label: never of both.
            if (name, member) == ("watch", "label") {
                assert!(read(&with).is_err());
                continue;
            }
            let is_known = members(&payload["properties"]).contains(member);
            assert_eq!(read(&with).is_ok(), is_known, "{name} with {member}");
        }
    }
}

#[test]
fn each_frame_of_relais_has_the_members_that_the_document_says() {
    let document = document();
    let problem = || Some(codes::TICKET_EXPIRED.problem("http://localhost"));
    let erased = Notice::Erased { task: "task_1".to_owned() };
    let watch = "w";
    let all = [
        Said::Ready { lifetime: Span::from_secs(480) },
        Said::Pong,
        Notice::Open { version: 1, gap: false, pos: None }.of_watch(watch),
        Notice::Open { version: 0, gap: false, pos: Some(7) }.of_watch(watch),
        Said::Reset { watch, reason: "unknown", from: 0 },
        Said::Estimate { watch, position: None, eta: None },
        Said::Estimate { watch, position: Some(1), eta: None },
        erased.of_watch(watch),
        Said::End { watch, reason: EndReason::Over, retry_after: None, problem: None },
        Said::End {
            watch,
            reason: EndReason::Right,
            retry_after: Some(Span::from_secs(2)),
            problem: problem(),
        },
        Said::Reply { id: "1", status: 401, replayed: true, task: None, problem: problem() },
        Said::Reply { id: "1", status: 202, replayed: false, task: None, problem: None },
    ];
    for said in all {
        let said: Value = serde_json::from_slice(&said.to_json()).unwrap();
        let message = &document["components"]["messages"][said["op"].as_str().unwrap()];
        let payload = &message["payload"];
        let properties = members(&payload["properties"]);
        assert!(members(&said).is_subset(&properties), "{said}");
        assert!(required(payload).is_subset(&members(&said)), "{said}");
    }
    let reasons = &document["components"]["messages"]["end"]["payload"]["properties"]["reason"];
    for reason in [
        EndReason::Over,
        EndReason::Gone,
        EndReason::Right,
        EndReason::Busy,
        EndReason::Refused,
        EndReason::Unwatched,
    ] {
        let word = serde_json::to_value(reason).unwrap();
        assert!(reasons["enum"].as_array().unwrap().contains(&word), "{word}");
    }
}
