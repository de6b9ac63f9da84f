//! A policy means the same in `relais.toml` and by `PUT /v1/queues/{queue}`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use relais::config::{Overrides, judge};
use serde_json::{Value, json};

use crate::process::Server;

/// What the file's judge says is wrong with a line of `[queue.q]`.
fn in_file(line: &str) -> Option<String> {
    let text = format!("[queue.q]\n{line}\n");
    let file = Some(Path::new("relais.toml"));
    let error = judge(file, text, &Overrides::default(), &|_| None).err()?.to_string();
    let error = error.strip_prefix("relais.toml:2: ").unwrap();
    match error.strip_prefix("[queue.q] ") {
        Some(named) => Some(why(named)),
        // Where the reader of TOML stumbles, it shows the line instead.
        None => error.split(", in `").next().map(str::to_owned),
    }
}

/// What the API says is wrong with a policy.
fn by_put(server: &Server, policy: &Value) -> Option<String> {
    let body = policy.to_string();
    let address = server.api.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "PUT /v1/queues/q HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    if answer.starts_with("HTTP/1.1 200 ") {
        return None;
    }
    assert!(answer.starts_with("HTTP/1.1 422 "), "{answer}");
    let problem: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    Some(why(problem["detail"].as_str().unwrap()))
}

/// What is wrong, without the name of the member.
fn why(text: &str) -> String {
    text.split_once(": ").unwrap().1.to_owned()
}

/// The file took `attempt_timeout = "1ms"` and half of the capacities that the API took, which in
/// turn took lane weights of any size.
#[test]
fn what_the_file_refuses_the_api_refuses_and_both_say_the_same_why() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let mut table = vec![
        ("lane_weights = { a = 1000 }".to_owned(), json!({"lane_weights": {"a": 1000}})),
        ("lane_weights = { a = 1001 }".to_owned(), json!({"lane_weights": {"a": 1001}})),
        ("lane_weights = { a = 0 }".to_owned(), json!({"lane_weights": {"a": 0}})),
        ("lane_weights = { \"\" = 1 }".to_owned(), json!({"lane_weights": {"": 1}})),
        ("order = \"strict\"".to_owned(), json!({"order": "strict"})),
        ("rate = \"5/m\"".to_owned(), json!({"rate": "5/m"})),
    ];
    let mut add = |name: &str, value: Value| {
        let (line, policy) = match name.split_once('.') {
            Some((table, name)) => {
                (format!("{table} = {{ {name} = {value} }}"), json!({ table: { name: value } }))
            }
            None => (format!("{name} = {value}"), json!({ name: value })),
        };
        table.push((line, policy));
    };
    for name in ["lease", "attempt_timeout", "deadline", "retention", "retry.initial", "retry.max"]
    {
        for span in ["0s", "1ms", "500ms", "1s", "10m", "12h", "13h", "3650d", "3651d"] {
            add(name, span.into());
        }
    }
    for name in ["capacity", "capacity_per_ip"] {
        for count in [0_u64, 1, 10_000_000, 10_000_001, (1 << 53) - 1, 1 << 53] {
            add(name, json!(count));
        }
    }
    for name in ["concurrency", "concurrency_per_lane"] {
        for count in [0_u32, 1, 2_147_483_647, 2_147_483_648, 3_000_000_000] {
            add(name, count.into());
        }
    }
    for count in [0, 1, 100, 101] {
        add("retry.max_attempts", count.into());
    }
    for factor in [0.5, 1.0, 1000.0, 1001.0] {
        add("retry.factor", factor.into());
    }
    let (mut taken, mut refused) = (0, 0);
    for (line, policy) in table {
        let (file, put) = (in_file(&line), by_put(&server, &policy));
        assert_eq!(file, put, "{line}");
        if file.is_none() { taken += 1 } else { refused += 1 }
    }
    assert!(taken > 30 && refused > 25, "{taken} taken, {refused} refused");
}
