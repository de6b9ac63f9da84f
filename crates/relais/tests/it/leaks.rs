//! Connections that come and go by the hundred leave nothing behind.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use crate::process::Server;

/// It only bounds tests that fail.
const SOON: Duration = Duration::from_secs(20);
/// Connections at once: whatever kept one for good would soon keep all others out.
const AT_ONCE: usize = 8;
const ROUNDS: usize = 150;

fn connect(server: &Server) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(server.api.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    BufReader::new(stream)
}

/// Sends this, and reads the first line of the answer.
fn begin(server: &Server, request: &str) -> (BufReader<TcpStream>, String) {
    let mut stream = connect(server);
    stream.get_mut().write_all(request.as_bytes()).unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    (stream, line)
}

fn descriptors(server: &Server) -> usize {
    Path::new(&format!("/proc/{}/fd", server.process.child.id())).read_dir().unwrap().count()
}

fn resident_kib(server: &Server) -> u64 {
    let path = format!("/proc/{}/status", server.process.child.id());
    let status = std::fs::read_to_string(path).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Every way to leave early, once.
fn come_and_go(server: &Server, task: &str) {
    // Without a word, and in the middle of each part of a request.
    drop(connect(server));
    for part in [
        "GET / HT",
        "PRI * HTTP/2.0\r\n\r\nSM",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        "POST /v1/tasks HTTP/1.1\r\nhost: localhost\r\ncontent-length: 500000\r\n\r\n{",
        "POST /v1/queues/none/leases HTTP/1.1\r\nhost: localhost\r\n\
         content-type: application/json\r\ncontent-length: 14\r\n\r\n{\"wait\":\"50s\"}",
    ] {
        connect(server).get_mut().write_all(part.as_bytes()).unwrap();
    }
    // As a follower, a listener of many tasks, a long-poll.
    let host = "host: localhost\r\n";
    let stream = format!("{host}accept: text/event-stream\r\n\r\n");
    for request in [
        format!("GET /v1/tasks/{task}/events HTTP/1.1\r\n{stream}"),
        format!("GET /v1/events?task={task} HTTP/1.1\r\n{stream}"),
    ] {
        let (_following, line) = begin(server, &request);
        assert!(line.starts_with("HTTP/1.1 200"), "{request}: {line}");
    }
    let waiting = "prefer: wait=50\r\nif-none-match: \"v1-json\"\r\n\r\n";
    let request = format!("GET /v1/tasks/{task} HTTP/1.1\r\n{host}{waiting}");
    connect(server).get_mut().write_all(request.as_bytes()).unwrap();
}

/// P64: descriptors and memory stay where they are, and so does the right to be let in.
#[test]
fn connections_that_come_and_go_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let config = format!("[limits]\nconnections = {AT_ONCE}\n[queue.later]\n[queue.none]\n");
    std::fs::write(folder.path().join("relais.toml"), config).unwrap();
    let server = Server::start(folder.path(), &["--config", "relais.toml"]);
    let submission = "{\"queue\": \"later\"}";
    let fields = "host: localhost\r\nconnection: close\r\ncontent-type: application/json";
    let length = submission.len();
    let (mut rest, line) = begin(
        &server,
        &format!(
            "POST /v1/tasks HTTP/1.1\r\n{fields}\r\ncontent-length: {length}\r\n\r\n{submission}"
        ),
    );
    assert!(line.starts_with("HTTP/1.1 202"), "{line}");
    let mut answer = String::new();
    rest.read_to_string(&mut answer).unwrap();
    let document: serde_json::Value =
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let task = document["id"].as_str().unwrap();
    for _ in 0..ROUNDS / 3 {
        come_and_go(&server, task);
    }
    let (descriptors_before, kib_before) = (descriptors(&server), resident_kib(&server));
    for _ in 0..ROUNDS {
        come_and_go(&server, task);
    }
    // Those that left last may not be gone yet.
    let left = descriptors(&server).saturating_sub(descriptors_before);
    assert!(left <= AT_ONCE, "{left} descriptors are left");
    let growth = resident_kib(&server).saturating_sub(kib_before);
    assert!(growth < 8 << 10, "it grew by {growth} KiB");
    // There is room for as many as before.
    let all: Vec<_> = (0..AT_ONCE)
        .map(|_| begin(&server, "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"))
        .collect();
    assert!(all.iter().all(|(_, line)| line.starts_with("HTTP/1.1 200")));
}
