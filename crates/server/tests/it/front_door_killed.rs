//! The hand-over when the process ends in the middle: whoever waits has the beginning of the answer
//! early, and never its end before the outcome is committed. One table, for
//! every framing and protocol.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use relais_server::config::Mode;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::front_door_wire::h2;
use crate::house::{Client, Gate, House, Plan, SOON};

/// An answer of the upstream in two parts, and what of it a client may see before the commit.
struct Answer {
    method: &'static str,
    status: u16,
    /// All but its last byte or its end.
    beginning: &'static str,
    rest: &'static str,
    /// Whether it ends with the connection.
    closes: bool,
    /// What comes of the beginning; `None` where the head itself is held back.
    early: Option<&'static str>,
    /// What else comes before the commit.
    held: &'static str,
    /// What comes after it.
    last: &'static str,
}

const ANSWERS: [Answer; 7] = [
    Answer {
        method: "POST",
        status: 200,
        beginning: "200 OK\r\ncontent-length: 5\r\n\r\nhel",
        rest: "lo",
        closes: false,
        early: Some("hel"),
        held: "l",
        last: "o",
    },
    Answer {
        method: "POST",
        status: 422,
        beginning: "422 No\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n",
        rest: "2\r\nlo\r\n0\r\n\r\n",
        closes: false,
        early: Some("hel"),
        held: "lo",
        last: "",
    },
    Answer {
        method: "GET",
        status: 200,
        beginning: "200 OK\r\nconnection: close\r\n\r\nhel",
        rest: "lo",
        closes: true,
        early: Some("hel"),
        held: "lo",
        last: "",
    },
    Answer {
        method: "HEAD",
        status: 200,
        beginning: "200 OK\r\ncontent-length: 1234\r\n",
        rest: "\r\n",
        closes: false,
        early: None,
        held: "",
        last: "",
    },
    Answer {
        method: "HEAD",
        status: 200,
        beginning: "200 OK\r\ntransfer-encoding: chunked\r\n",
        rest: "\r\n",
        closes: false,
        early: None,
        held: "",
        last: "",
    },
    Answer {
        method: "POST",
        status: 204,
        beginning: "204 Nothing\r\n",
        rest: "\r\n",
        closes: false,
        early: None,
        held: "",
        last: "",
    },
    Answer {
        method: "GET",
        status: 304,
        beginning: "304 Same\r\netag: \"x\"\r\n",
        rest: "\r\n",
        closes: false,
        early: None,
        held: "",
        last: "",
    },
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http10,
    Http11,
    H2,
}

const PROTOCOLS: [Protocol; 3] = [Protocol::Http10, Protocol::Http11, Protocol::H2];

/// A house in a runtime of its own: when that ends, all its sockets close in the middle of what
/// they were doing, as those of a process that is killed.
struct Process {
    house: House,
    gate: Arc<Gate>,
    runtime: Option<Runtime>,
}

impl Process {
    async fn start() -> Self {
        let gate = Gate::of_outcomes();
        let mut plan = Plan::with(Mode::Auto).await;
        plan.store = gate.clone();
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.worker_threads(1).enable_all().build().unwrap();
        let house = runtime.spawn(plan.build()).await.unwrap();
        Self { house, gate, runtime: Some(runtime) }
    }

    fn kill(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What a client got in the end.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// A whole answer, with this at last.
    Whole(String),
    /// No answer, or one that can be seen to be incomplete, with this at last.
    Broken(String),
}

enum Waiting {
    Http1 {
        client: Client,
        framing: Option<Framing>,
        is_bodiless: bool,
    },
    Http2 {
        head: Option<JoinHandle<hyper::Result<http::Response<Incoming>>>>,
        body: Option<Incoming>,
    },
}

/// How an HTTP/1 client tells where the body ends.
#[derive(Debug, Clone, Copy)]
enum Framing {
    Length(usize),
    Chunks,
    Connection,
}

impl Waiting {
    async fn send(house: &House, protocol: Protocol, answer: &Answer) -> Self {
        let method = answer.method;
        let version = match protocol {
            Protocol::Http10 => "1.0",
            Protocol::Http11 => "1.1",
            Protocol::H2 => {
                let mut sender = h2(house).await;
                let request = http::Request::builder().method(method).uri("http://a.example/");
                let request = request.body(Full::<Bytes>::default()).unwrap();
                let head = tokio::spawn(sender.send_request(request));
                return Self::Http2 { head: Some(head), body: None };
            }
        };
        let fields = "host: a\r\nconnection: close\r\ncontent-length: 0";
        let client = house.send(&format!("{method} / HTTP/{version}\r\n{fields}\r\n\r\n")).await;
        Self::Http1 { client, framing: None, is_bodiless: answer.early.is_none() }
    }

    /// The status of the answer.
    async fn head(&mut self) -> u16 {
        match self {
            Self::Http1 { client, framing, .. } => {
                let head = client.head().await;
                let chunks = head.field("transfer-encoding") == "chunked";
                *framing = Some(match head.field("content-length").parse() {
                    Ok(length) => Framing::Length(length),
                    Err(_) if chunks => Framing::Chunks,
                    Err(_) => Framing::Connection,
                });
                head.status
            }
            Self::Http2 { head, body } => {
                let head = timeout(SOON, head.take().unwrap()).await.expect("a head comes");
                let (head, rest) = head.unwrap().unwrap().into_parts();
                *body = Some(rest);
                head.status.as_u16()
            }
        }
    }

    /// So much of the body.
    async fn bytes(&mut self, len: usize) -> String {
        let mut bytes = Vec::new();
        while bytes.len() < len {
            match self {
                Self::Http1 { client, framing: Some(Framing::Chunks), .. } => {
                    bytes.extend(client.chunk().await);
                }
                Self::Http1 { client, framing, .. } => {
                    let wanted = len - bytes.len();
                    bytes.extend(client.bytes(wanted).await);
                    if let Some(Framing::Length(left)) = framing {
                        *left -= wanted;
                    }
                }
                Self::Http2 { body, .. } => {
                    let frame = timeout(SOON, body.as_mut().unwrap().frame()).await;
                    let frame = frame.expect("more comes").expect("is not over").unwrap();
                    bytes.extend(frame.into_data().unwrap());
                }
            }
        }
        String::from_utf8(bytes).unwrap()
    }

    /// All that comes until the end.
    async fn end(mut self) -> End {
        let (bytes, is_whole) = match &mut self {
            Self::Http1 { client, framing, is_bodiless } => {
                let is_bodiless = *is_bodiless;
                let (bytes, is_clean) = client.rest().await;
                let is_whole = match framing {
                    None => {
                        assert!(bytes.is_empty(), "{:?}", String::from_utf8_lossy(&bytes));
                        false
                    }
                    Some(_) if is_bodiless => bytes.is_empty(),
                    Some(Framing::Length(left)) => bytes.len() == *left,
                    Some(Framing::Chunks) => bytes == b"0\r\n\r\n",
                    Some(Framing::Connection) => is_clean,
                };
                let is_end_marker = matches!(framing, Some(Framing::Chunks)) && is_whole;
                (if is_end_marker { Vec::new() } else { bytes }, is_whole)
            }
            Self::Http2 { head: Some(head), .. } => {
                let answer = timeout(SOON, head).await.expect("an end comes").unwrap();
                assert!(answer.is_err(), "a head came: {answer:?}");
                (Vec::new(), false)
            }
            Self::Http2 { body, .. } => {
                let mut body = body.take().unwrap();
                let mut bytes = Vec::new();
                loop {
                    match timeout(SOON, body.frame()).await.expect("an end comes") {
                        None => break (bytes, true),
                        Some(Err(_)) => break (bytes, false),
                        Some(Ok(frame)) => bytes.extend(frame.into_data().unwrap()),
                    }
                }
            }
        };
        let text = String::from_utf8(bytes).unwrap();
        if is_whole { End::Whole(text) } else { End::Broken(text) }
    }
}

/// Plays each answer to each client until its outcome is about to be committed; `then` says what
/// becomes of the process, and the client's end of it is handed out.
async fn play(then: impl Fn(&mut Process)) -> Vec<(String, &'static Answer, End)> {
    let mut ends = Vec::new();
    for protocol in PROTOCOLS {
        for answer in &ANSWERS {
            let name = format!("{protocol:?} {} {:?}", answer.method, answer.beginning);
            let mut process = Process::start().await;
            let mut client = Waiting::send(&process.house, protocol, answer).await;
            let mut call = process.house.upstream.next().await;
            call.send(format!("HTTP/1.1 {}", answer.beginning)).await;
            if let Some(early) = answer.early {
                assert_eq!(client.head().await, answer.status, "{name}");
                assert_eq!(client.bytes(early.len()).await, early, "{name}");
            }
            call.send(answer.rest).await;
            let mut call = Some(call);
            if answer.closes {
                call = None;
            }
            process.gate.reached().await;
            assert_eq!(client.bytes(answer.held.len()).await, answer.held, "{name}");
            then(&mut process);
            if process.runtime.is_some() && answer.early.is_none() {
                assert_eq!(client.head().await, answer.status, "{name}");
            }
            ends.push((name, answer, client.end().await));
            drop(call);
        }
    }
    ends
}

#[tokio::test]
async fn the_end_of_an_answer_comes_with_its_commit_in_every_framing() {
    for (name, answer, end) in play(|process| process.gate.open()).await {
        assert_eq!(end, End::Whole(answer.last.to_owned()), "{name}");
    }
}

#[tokio::test]
async fn who_waits_on_a_process_that_dies_before_the_commit_never_sees_a_clean_end() {
    for (name, _, end) in play(Process::kill).await {
        assert_eq!(end, End::Broken(String::new()), "{name}");
    }
}
