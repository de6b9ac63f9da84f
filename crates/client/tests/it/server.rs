//! A server that answers by script. Blocking threads: a spinning runtime does not stop it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use relais_client::{Client, Credentials};
use serde_json::{Value, json};

/// One request, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    fields: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What the script answers.
pub(crate) struct Answer {
    status: u16,
    fields: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// The body has no length and ends here, or stays open until the test is over.
    stream: Option<Ends>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    Cleanly,
    Broken,
    Never,
}

impl Answer {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        let fields = vec![("content-type", "application/json".to_owned())];
        Self { status, fields, body: body.to_string().into_bytes(), stream: None }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self { status, fields: Vec::new(), body: Vec::new(), stream: None }
    }

    pub(crate) fn problem(status: u16, code: &str) -> Self {
        let mut answer =
            Self::json(status, &json!({"code": code, "title": code, "status": status}));
        answer.fields[0].1 = "application/problem+json".to_owned();
        answer
    }

    pub(crate) fn events(text: &str, ends: Ends) -> Self {
        let fields = vec![("content-type", "text/event-stream".to_owned())];
        Self { status: 200, fields, body: text.as_bytes().to_vec(), stream: Some(ends) }
    }

    /// Nothing: the connection is closed.
    pub(crate) fn nothing() -> Self {
        Self::empty(0)
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}

type Script = dyn Fn(usize, &Asked) -> Answer + Send + Sync;

pub(crate) struct Server {
    url: String,
    shared: Arc<Shared>,
}

struct Shared {
    script: Box<Script>,
    asked: Mutex<Vec<Asked>>,
    more: Condvar,
}

impl Server {
    /// Answers each request with what `script` says; it is given how many came before.
    pub(crate) fn start(script: impl Fn(usize, &Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let script = Box::new(script);
        let shared = Arc::new(Shared { script, asked: Mutex::default(), more: Condvar::new() });
        let of_thread = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = of_thread.clone();
                std::thread::spawn(move || serve(&stream.unwrap(), &shared));
            }
        });
        Self { url, shared }
    }

    pub(crate) fn client(&self) -> Client {
        self.client_as(Credentials::Nobody)
    }

    pub(crate) fn client_as(&self, credentials: Credentials) -> Client {
        Client::new(&self.url, credentials).unwrap()
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// Blocks until so many requests fit.
    pub(crate) fn wait_for(&self, count: usize, fits: impl Fn(&Asked) -> bool) {
        let asked = self.shared.asked.lock().unwrap();
        let few = |asked: &mut Vec<Asked>| asked.iter().filter(|asked| fits(asked)).count() < count;
        drop(self.shared.more.wait_while(asked, few).unwrap());
    }
}

fn serve(stream: &TcpStream, shared: &Shared) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(asked) = read(&mut reader) {
        let before = {
            let mut all = shared.asked.lock().unwrap();
            all.push(asked.clone());
            all.len() - 1
        };
        shared.more.notify_all();
        let answer = (shared.script)(before, &asked);
        if answer.status == 0 || !write(stream, &answer) {
            return;
        }
        match answer.stream {
            None => {}
            Some(Ends::Never) => {
                // Until the client hangs up.
                let _ = reader.read(&mut [0]);
                return;
            }
            Some(_) => return,
        }
    }
}

fn read(reader: &mut impl BufRead) -> Option<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut fields = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        fields.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let len = fields.get("content-length").map_or(0, |len| len.parse().unwrap());
    let mut body = vec![0; len];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { method, path, fields, body })
}

fn write(mut stream: &TcpStream, answer: &Answer) -> bool {
    let mut head = format!("HTTP/1.1 {} X\r\n", answer.status);
    for (name, value) in &answer.fields {
        head += &format!("{name}: {value}\r\n");
    }
    let mut body = answer.body.clone();
    if let Some(ends) = answer.stream {
        head += "transfer-encoding: chunked\r\n\r\n";
        body = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n"].concat();
        if ends == Ends::Cleanly {
            body.extend_from_slice(b"0\r\n\r\n");
        }
    } else if matches!(answer.status, 204 | 304) {
        head += "\r\n";
    } else {
        head += &format!("content-length: {}\r\n\r\n", body.len());
    }
    stream.write_all(&[head.as_bytes(), &body].concat()).is_ok()
}

pub(crate) const ID: &str = "task_01jdk3v5x8e2rbk0t6q9z4m7ha";

/// A task as the server writes it.
pub(crate) fn task(status: &str, terminal: bool, version: u64) -> Value {
    let at = "2026-11-22T10:00:05.000Z";
    json!({
        "id": ID, "queue": "imports", "status": status, "terminal": terminal, "version": version,
        "run": 1, "attempt": 1, "failures": 0, "max_attempts": 5, "priority": 0,
        "created_at": at, "run_at": at, "updated_at": at,
        "links": {"self": "a", "result": "b", "events": "c", "why": "d"},
        "added_by_a_newer_server": {"x": 1},
    })
}

/// An event on a stream.
pub(crate) fn event(seq: u64, kind: &str) -> String {
    format!("id: {seq}\nevent: {kind}\ndata: {}\n\n", event_json(seq, kind))
}

pub(crate) fn event_json(seq: u64, kind: &str) -> Value {
    let at = "2026-11-22T10:00:05.000Z";
    json!({"task": ID, "seq": seq, "type": kind, "at": at, "data": {}})
}
