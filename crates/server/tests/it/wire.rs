//! Golden exchanges: what travels, byte for byte, as it also stands in the documentation.
//!
//! Each file of `tests/wire` is a story: requests (after `>>>`) and their answers (after
//! `<<<`). With `UPDATE=1` the answers are written anew; the diff is the review. Clock and
//! chance stand still, so that they are the same each time. `{id}`, `{ticket}` and `{token}`
//! stand for those of the answers before.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::api::{Api, Call, call};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/wire");

#[tokio::test]
async fn exchanges_are_as_documented() {
    let mut names: Vec<PathBuf> =
        std::fs::read_dir(FOLDER).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|name| name.extension().is_some_and(|end| end == "http"));
    names.sort();
    assert!(!names.is_empty());
    let updates = std::env::var_os("UPDATE").is_some();
    for name in names {
        let told = std::fs::read_to_string(&name).unwrap();
        let happened = play(&told).await;
        if updates {
            std::fs::write(&name, happened).unwrap();
        } else {
            assert_eq!(happened, told, "{}: run with UPDATE=1 to write it anew", shown(&name));
        }
    }
}

fn shown(name: &Path) -> String {
    name.file_name().unwrap().to_string_lossy().into_owned()
}

/// Plays a story, and tells it with the answers as they are.
async fn play(story: &str) -> String {
    let api = Api::new().await;
    let mut out = String::new();
    let mut names = BTreeMap::new();
    let mut parts = story.split(">>>\n");
    out.push_str(parts.next().unwrap());
    for part in parts {
        let (request, rest) = part.split_once("<<<\n").unwrap_or((part, "\n"));
        // What stands between an answer and the next request is prose, which begins with `#`.
        let prose: String = rest
            .lines()
            .filter(|line| line.starts_with('#'))
            .map(|line| format!("{line}\n"))
            .collect();
        let answer = api.call(read(request, &names)).await;
        write!(out, ">>>\n{}\n\n<<<\n", request.trim_end()).unwrap();
        let mut text = format!("HTTP/1.1 {}\n", answer.status);
        for (name, value) in &answer.headers {
            writeln!(text, "{name}: {}", value.to_str().unwrap()).unwrap();
        }
        let body = match serde_json::from_slice::<Value>(&answer.body) {
            Ok(json) => {
                remember(&json, &mut names);
                indented(answer.text())
            }
            Err(_) => answer.text().trim_end().to_owned(),
        };
        let gap = if body.is_empty() { "" } else { "\n" };
        write!(text, "{gap}{body}{gap}\n{prose}\n").unwrap();
        for (name, value) in &names {
            text = text.replace(value, &format!("{{{name}}}"));
        }
        out.push_str(&text);
    }
    while out.ends_with("\n\n") {
        out.pop();
    }
    out
}

/// JSON with its members in their order, each on a line.
fn indented(json: &str) -> String {
    let mut out = String::new();
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for character in json.chars() {
        let opens = matches!(character, '{' | '[');
        let closes = matches!(character, '}' | ']');
        if !quoted && closes {
            depth -= 1;
            if !out.ends_with(['{', '[']) {
                out.push_str(&format!("\n{}", "  ".repeat(depth)));
            }
        } else if !quoted && out.ends_with(['{', '[']) {
            out.push_str(&format!("\n{}", "  ".repeat(depth)));
        }
        out.push(character);
        match character {
            _ if quoted => {}
            ',' => out.push_str(&format!("\n{}", "  ".repeat(depth))),
            ':' => out.push(' '),
            _ if opens => depth += 1,
            _ => {}
        }
        quoted ^= character == '"' && !escaped;
        escaped = quoted && character == '\\' && !escaped;
    }
    out
}

fn remember(json: &Value, names: &mut BTreeMap<&'static str, String>) {
    for (name, pointer) in [("id", "/id"), ("ticket", "/ticket"), ("token", "/leases/0/token")] {
        if let Some(value) = json.pointer(pointer).and_then(Value::as_str) {
            names.insert(name, value.to_owned());
        }
    }
}

fn read(request: &str, names: &BTreeMap<&'static str, String>) -> Call {
    let mut text = request.to_owned();
    for (name, value) in names {
        text = text.replace(&format!("{{{name}}}"), value);
    }
    let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
    let mut lines = head.lines();
    let mut first = lines.next().unwrap().split(' ');
    let mut read = call(first.next().unwrap(), first.next().unwrap());
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        read = read.field(&name.to_ascii_lowercase(), value);
    }
    read.body(body.trim_end().to_owned())
}
