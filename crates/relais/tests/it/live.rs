//! Answers that are read while they come, of a program that is stopped, killed and started again.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use crate::process::Server;

/// It only bounds tests that fail.
const SOON: Duration = Duration::from_secs(30);
const LIVE: &str = "prefer: wait=50\r\n";
const FIRST: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n";

/// A head in lower case, and what comes behind it.
fn head(stream: TcpStream) -> (String, BufReader<TcpStream>) {
    stream.set_read_timeout(Some(SOON)).unwrap();
    let (mut stream, mut head) = (BufReader::new(stream), String::new());
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).unwrap() > 0, "a whole head comes: {head:?}");
    }
    (head.to_ascii_lowercase(), stream)
}

fn field<'a>(head: &'a str, name: &str) -> &'a str {
    let named = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    named.unwrap_or_else(|| panic!("no {name}: {head}"))
}

/// The next call of the upstream: the task that it is for.
fn called(upstream: &TcpListener) -> (String, TcpStream) {
    let (head, stream) = head(upstream.accept().unwrap().0);
    (field(&head, "relais-task").to_owned(), stream.into_inner())
}

/// A reader of the result of a task, whose answer has begun.
fn reader(server: &Server, id: &str, query: &str) -> (String, BufReader<TcpStream>) {
    let api = server.api.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(api).unwrap();
    let target = format!("GET /v1/tasks/{id}/result{query} HTTP/1.1\r\nhost: {api}\r\n");
    stream.write_all(format!("{target}{LIVE}\r\n").as_bytes()).unwrap();
    head(stream)
}

fn expect(stream: &mut BufReader<TcpStream>, text: &str) {
    let mut bytes = vec![0; text.len()];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), text);
}

/// All that still comes, before the connection ends in one way or the other.
fn rest(mut stream: BufReader<TcpStream>) -> String {
    let mut bytes = Vec::new();
    let mut scratch = [0; 1024];
    while let Ok(len @ 1..) = stream.read(&mut scratch) {
        bytes.extend(&scratch[..len]);
    }
    String::from_utf8(bytes).unwrap()
}

fn start(folder: &Path, upstream: &TcpListener) -> Server {
    let url = upstream.local_addr().unwrap();
    let config = format!(
        "[queue.\"*\"]\n[queue.default]\nretry = {{ initial = \"10ms\", max = \"10ms\" }}\n\
         [[route]]\npath = \"/{{*rest}}\"\nupstream = \"http://{url}\"\nqueue = \"default\"\nmode = \"async\"\n"
    );
    std::fs::write(folder.join("relais.toml"), config).unwrap();
    Server::start(folder, &["--config", "relais.toml"])
}

#[test]
fn a_server_that_is_killed_in_mid_answer_has_ended_none_and_its_readers_are_told_what_came_of_it() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &upstream);
    server.send("GET", "/tell", "", "");
    let (id, mut call) = called(&upstream);
    call.write_all(FIRST.as_bytes()).unwrap();
    let (head, mut cut) = reader(&server, &id, "?live");
    assert_eq!(field(&head, "relais-result-version"), "1.1");
    expect(&mut cut, "3\r\none\r\n");
    server.process.signal("KILL");
    assert_eq!(server.process.end().0, None);
    assert_eq!(rest(cut), "", "no end is faked");
    // What a dead process ran is taken back, and begins anew.
    let server = start(folder.path(), &upstream);
    let (again, mut call) = called(&upstream);
    assert_eq!(again, id);
    call.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 6\r\n\r\nsec")
        .unwrap();
    let (head, mut whole) = reader(&server, &id, "?live");
    assert_eq!(field(&head, "relais-result-version"), "1.2");
    expect(&mut whole, "sec");
    let (head, _) = reader(&server, &id, "?live&after=3&attempt=1.1");
    assert!(head.starts_with("http/1.1 412"), "{head}");
    call.write_all(b"ond").unwrap();
    expect(&mut whole, "ond");
    server.run(folder.path(), &["watch", &id]);
    // A part of the committed answer is read on after the next kill.
    server.process.signal("KILL");
    server.process.end();
    let server = start(folder.path(), &upstream);
    let (head, mut on) = reader(&server, &id, "?live&after=2&attempt=1.2");
    assert_eq!(field(&head, "relais-offset"), "2");
    expect(&mut on, "cond");
}

#[test]
fn a_server_that_is_stopped_in_mid_answer_tells_it_to_its_end() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &upstream);
    server.send("POST", "/tell", "", "");
    let (id, mut call) = called(&upstream);
    call.write_all(FIRST.as_bytes()).unwrap();
    let (_, mut live) = reader(&server, &id, "?live");
    expect(&mut live, "3\r\none\r\n");
    server.process.signal("TERM");
    call.write_all(b"3\r\ntwo\r\n0\r\n\r\n").unwrap();
    expect(&mut live, "3\r\ntwo\r\n0\r\n\r\n");
    assert_eq!(server.process.end().0, Some(0));
}

/// What a worker has shown whole is its own until its settle, and stays shown: also after a kill.
#[test]
fn what_a_worker_has_shown_is_read_after_a_kill_until_its_settle() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &upstream);
    let json = |answer: &str| -> serde_json::Value {
        serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap()
    };
    let task = json(&server.post("/v1/tasks", "{\"queue\":\"q\",\"input\":1}", ""));
    let id = task["id"].as_str().unwrap();
    let leased = json(&server.post("/v1/queues/q/leases", "{\"wait\":\"10s\"}", ""));
    let token = leased["leases"][0]["token"].as_str().unwrap();
    let fields = format!("content-type: text/x-a\r\nrelais-lease: {token}\r\n");
    let stored = json(&server.send("PUT", "/v1/leases/result?live", "whole", &fields));
    server.process.signal("KILL");
    server.process.end();
    let server = start(folder.path(), &upstream);
    let (head, mut live) = reader(&server, id, "?live");
    assert_eq!(field(&head, "content-type"), "text/x-a");
    expect(&mut live, "5\r\nwhole\r\n");
    let again = server.send("PUT", "/v1/leases/result?live", "other", &fields);
    assert!(again.starts_with("HTTP/1.1 409") && again.contains("already-live"), "{again}");
    let item = serde_json::json!({
        "token": token, "outcome": "succeed", "result_id": stored["result_id"],
    });
    let settle = serde_json::json!({"items": [item]}).to_string();
    let settled = json(&server.post("/v1/leases/settle", &settle, ""));
    assert_eq!(settled["items"][0]["status"], 200, "{settled}");
    expect(&mut live, "0\r\n\r\n");
}
