//! Clients that leave a program which gives them three seconds to come back, and a program that is killed.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::process::Server;

/// It only bounds tests that fail.
const SOON: Duration = Duration::from_secs(30);
const GRACE: Duration = Duration::from_secs(3);

fn start(folder: &Path, upstream: &TcpListener) -> Server {
    let url = upstream.local_addr().unwrap();
    let config = format!(
        "[queue.default]\nretry = {{ initial = \"10ms\", max = \"10ms\" }}\n\
         [[route]]\npath = \"/{{*rest}}\"\nupstream = \"http://{url}\"\nqueue = \"default\"\n\
         wait = \"50s\"\nabandon = \"cancel after 3s\"\n"
    );
    std::fs::write(folder.join("relais.toml"), config).unwrap();
    Server::start(folder, &["--config", "relais.toml"])
}

fn send(server: &Server, request: &str, fields: &str) -> TcpStream {
    let api = server.api.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(api).unwrap();
    let head = format!("{request} HTTP/1.1\r\nhost: {api}\r\n{fields}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// The next call of the upstream: the task that it is for.
fn called(upstream: &TcpListener) -> (String, TcpStream) {
    let (stream, _) = upstream.accept().unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let (mut stream, mut id, mut line) = (BufReader::new(stream), String::new(), String::new());
    while line != "\r\n" {
        line.clear();
        assert!(stream.read_line(&mut line).unwrap() > 0, "a whole head comes");
        if let Some(told) = line.to_ascii_lowercase().strip_prefix("relais-task:") {
            id = told.trim().to_owned();
        }
    }
    (id, stream.into_inner())
}

/// Until a call is left alone.
fn until_aborted(mut call: TcpStream) {
    let mut bytes = [0; 64];
    while let Ok(len @ 1..) = call.read(&mut bytes) {
        assert!(len > 0);
    }
}

fn task(server: &Server, folder: &Path, id: &str) -> serde_json::Value {
    serde_json::from_str(server.run(folder, &["show", id, "--json"]).trim()).unwrap()
}

#[test]
fn the_upstream_is_left_alone_within_a_second_after_the_grace_and_not_before() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &upstream);
    let client = send(&server, "GET /tell", "");
    let (id, call) = called(&upstream);
    let left = Instant::now();
    drop(client);
    until_aborted(call);
    let after = left.elapsed();
    assert!((GRACE..GRACE + Duration::from_secs(1)).contains(&after), "{after:?}");
    let why = server.run(folder.path(), &["why", &id]);
    let again = format!("if it is wanted after all: relais retry {id}");
    assert!(why.contains("canceled") && why.contains(&again), "{why}");
    // Its credentials would be erased: a retry is refused.
    let client = send(&server, "GET /tell", "authorization: Bearer me\r\n");
    let (id, call) = called(&upstream);
    drop(client);
    until_aborted(call);
    let why = server.run(folder.path(), &["why", &id]);
    assert!(why.contains("send the request again; this task takes no retry"), "{why}");
    assert!(!why.contains("relais retry"), "{why}");
}

#[test]
fn the_clients_of_a_killed_program_have_the_grace_from_its_start_on() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &upstream);
    let _gone = send(&server, "GET /gone", "");
    let (gone, _first) = called(&upstream);
    let _back = send(&server, "GET /back", "");
    let (back, _second) = called(&upstream);
    server.process.signal("KILL");
    drop(server);
    // Both run again.
    let server = start(folder.path(), &upstream);
    let started = Instant::now();
    let follows = format!("GET /v1/tasks/{back}/events");
    let _follower = send(&server, &follows, "accept: text/event-stream\r\n");
    let mut calls = [called(&upstream), called(&upstream)];
    calls.sort_by_key(|(id, _)| *id != gone);
    let [(id, call), _still] = calls;
    assert_eq!(id, gone);
    until_aborted(call);
    let after = started.elapsed();
    let (least, most) = (GRACE - Duration::from_millis(500), GRACE + Duration::from_secs(2));
    assert!((least..most).contains(&after), "{after:?}");
    assert_eq!(task(&server, folder.path(), &gone)["status"], "canceled");
    assert_eq!(task(&server, folder.path(), &back)["status"], "running");
}
