//! A process that is killed while somebody waits for an answer whose outcome is not committed.
//!
//! The commit is kept from happening by the test, which holds the write lock of the store's file.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::process::Server;

/// It only bounds tests that fail.
const SOON: Duration = Duration::from_secs(20);

/// The rest of what comes, and whether the connection ended without a reset.
fn rest(stream: &mut impl std::io::Read) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let mut scratch = [0; 4096];
    loop {
        match stream.read(&mut scratch) {
            Ok(0) => return (bytes, true),
            Ok(len) => bytes.extend(&scratch[..len]),
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
                return (bytes, false);
            }
        }
    }
}

/// The next request, without its body: none is sent.
fn accept(upstream: &TcpListener) -> BufReader<TcpStream> {
    let (stream, _) = upstream.accept().unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        assert!(stream.read_line(&mut line).unwrap() > 0, "a whole head comes");
    }
    stream
}

/// Nothing is committed while this is held.
fn hold(connection: &mut Connection) -> Transaction<'_> {
    connection.busy_timeout(SOON).unwrap();
    connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap()
}

fn is_task_of_unknown_outcome(folder: &Path) {
    let server = Server::start(folder, &[]);
    let list = || -> serde_json::Value {
        serde_json::from_str(server.run(folder, &["tasks", "--json"]).trim()).unwrap()
    };
    // It is taken back while the server answers already.
    let id = list()["id"].as_str().unwrap().to_owned();
    server.send("GET", &format!("/v1/tasks/{id}"), "", "prefer: wait=20\r\n");
    let task = list();
    assert_eq!(task["status"], "failed", "{task}");
    assert_eq!(task["problem"]["code"], "outcome-unknown", "{task}");
    // Nothing said that it was Relais that had died, and the first advice was to do it once more.
    let why = server.run(folder, &["why", &id]);
    let at = |part: &str| why.find(part).unwrap_or_else(|| panic!("{part}: {why}"));
    assert!(at("the process of Relais that ran the attempt ended") < at("first look in the other"));
    assert!(at("first look in the other system") < at("relais retry") && !why.contains("0 of"));
}

struct Case {
    request: &'static str,
    answer: &'static str,
    /// All that may be seen of the answer's body, its framing included; `None`
    /// where not even the head.
    seen: Option<&'static str>,
    ends_with_reset: bool,
}

const CASES: [Case; 7] = [
    Case {
        request: "POST / HTTP/1.1",
        answer: "200 OK\r\ncontent-length: 5\r\n\r\nhello",
        seen: Some("hell"),
        ends_with_reset: false,
    },
    Case {
        request: "POST / HTTP/1.1",
        answer: "200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        seen: Some("5\r\nhello\r\n"),
        ends_with_reset: false,
    },
    Case {
        request: "POST / HTTP/1.0",
        answer: "200 OK\r\ncontent-length: 5\r\n\r\nhello",
        seen: Some("hell"),
        ends_with_reset: false,
    },
    Case {
        request: "POST / HTTP/1.0",
        answer: "200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        seen: Some("hello"),
        ends_with_reset: true,
    },
    Case {
        request: "HEAD / HTTP/1.1",
        answer: "200 OK\r\ncontent-length: 5\r\n\r\n",
        seen: None,
        ends_with_reset: false,
    },
    Case {
        request: "POST / HTTP/1.1",
        answer: "204 Nothing\r\n\r\n",
        seen: None,
        ends_with_reset: false,
    },
    Case {
        request: "GET / HTTP/1.1",
        answer: "304 Same\r\netag: \"x\"\r\n\r\n",
        seen: None,
        ends_with_reset: false,
    },
];

#[test]
fn a_server_that_is_killed_before_the_commit_has_not_shown_the_end_of_the_answer() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", upstream.local_addr().unwrap());
    for case in &CASES {
        let name = format!("{} {:?}", case.request, case.answer);
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path(), &["--upstream", &url]);
        let api = server.api.strip_prefix("http://").unwrap();
        let mut client = TcpStream::connect(api).unwrap();
        client.set_read_timeout(Some(SOON)).unwrap();
        let fields = "host: a\r\nprefer: respond-async, wait=50\r\ncontent-length: 0\r\n\r\n";
        client.write_all(format!("{}\r\n{fields}", case.request).as_bytes()).unwrap();
        let mut call = accept(&upstream);
        // From here on nothing is committed.
        let mut other = Connection::open(folder.path().join("relais.db")).unwrap();
        let held = hold(&mut other);
        let answer = case.answer.replacen("\r\n", "\r\nconnection: close\r\n", 1);
        call.get_mut().write_all(format!("HTTP/1.1 {answer}").as_bytes()).unwrap();
        // The server has read all of it, and hangs up.
        assert_eq!(rest(&mut call), (Vec::new(), true), "{name}");
        let mut client = BufReader::new(client);
        if let Some(seen) = case.seen {
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                assert!(client.read_line(&mut line).unwrap() > 0, "{name}");
            }
            let mut bytes = vec![0; seen.len()];
            client.read_exact(&mut bytes).unwrap();
            assert_eq!(String::from_utf8_lossy(&bytes), seen, "{name}");
        }
        server.process.signal("KILL");
        assert_eq!(server.process.end().0, None);
        let (bytes, is_clean) = rest(&mut client);
        assert_eq!(String::from_utf8_lossy(&bytes), "", "{name}");
        assert_eq!(!is_clean, case.ends_with_reset, "{name}");
        drop(held);
        if case.request.starts_with("POST") {
            // Nobody was told more than is known.
            is_task_of_unknown_outcome(folder.path());
        }
    }
}

#[tokio::test]
async fn a_server_that_is_killed_before_the_commit_has_ended_no_stream_of_http_2() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", upstream.local_addr().unwrap());
    for (answer, seen) in [
        ("200 OK\r\ncontent-length: 5\r\n\r\nhello", "hell"),
        ("200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "hello"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path(), &["--upstream", &url]);
        let api = server.api.strip_prefix("http://").unwrap();
        let stream = tokio::net::TcpStream::connect(api).await.unwrap();
        let (executor, stream) = (TokioExecutor::new(), TokioIo::new(stream));
        let shaken = hyper::client::conn::http2::handshake(executor, stream).await;
        let (mut sender, connection) = shaken.unwrap();
        tokio::spawn(connection);
        let request = http::Request::post("http://a.example/").body(Full::<Bytes>::default());
        let head = tokio::spawn(sender.send_request(request.unwrap()));
        let (upstream, call) = {
            let upstream = upstream.try_clone().unwrap();
            let accepted = tokio::task::spawn_blocking(move || {
                let call = accept(&upstream);
                (upstream, call)
            });
            accepted.await.unwrap()
        };
        drop(upstream);
        let mut other = Connection::open(folder.path().join("relais.db")).unwrap();
        let held = hold(&mut other);
        { call.get_ref() }.write_all(format!("HTTP/1.1 {answer}").as_bytes()).unwrap();
        let mut body = head.await.unwrap().unwrap().into_body();
        let mut bytes = Vec::new();
        while bytes.len() < seen.len() {
            bytes.extend(body.frame().await.unwrap().unwrap().into_data().unwrap());
        }
        assert_eq!(String::from_utf8_lossy(&bytes), seen);
        server.process.signal("KILL");
        assert_eq!(server.process.end().0, None);
        assert!(body.collect().await.is_err(), "{answer:?} was ended cleanly");
        drop(held);
        is_task_of_unknown_outcome(folder.path());
    }
}
