//! A service of its own for a test, and an HTTP client of a few lines.

use std::time::Duration;

use serde_json::Value;
use shop::serve::{self, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) struct Service {
    pub(crate) address: String,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) served: JoinHandle<()>,
}

pub(crate) async fn service() -> Service {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (stop, stopped) = oneshot::channel();
    let options = Options { seed: 1, drain: Duration::from_secs(60), per_line: Duration::ZERO };
    let served = tokio::spawn(serve::serve(listener, options, async {
        stopped.await.ok();
    }));
    Service { address, stop, served }
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Reads a whole answer; `None` when there is none.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return None;
        }
        let end = bytes.windows(4).position(|at| at == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let answer = Self { status, head, body: bytes[end + 4..].to_vec() };
        let length: usize = answer.field("content-length").unwrap().parse().unwrap();
        assert_eq!(answer.body.len(), length, "the body is complete");
        Some(answer)
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Service {
    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.send("GET", target, b"").await.expect("an answer")
    }

    pub(crate) async fn post(&self, target: &str, body: impl AsRef<[u8]>) -> Answer {
        self.send("POST", target, body.as_ref()).await.expect("an answer")
    }

    /// Sends what a form of a page does.
    pub(crate) async fn form(&self, target: &str, body: &str) -> Answer {
        let mut stream = self.open_as(FORM, "POST", target, body.len(), "").await;
        stream.write_all(body.as_bytes()).await.unwrap();
        read(stream).await.expect("an answer")
    }

    /// Sends JSON, and says in how many pieces the answer came, and what they say together.
    pub(crate) async fn pieces(&self, target: &str, body: &str) -> (usize, String) {
        let mut stream = self.open("POST", target, body.len(), "").await;
        stream.write_all(body.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, mut rest) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        let (mut count, mut whole) = (0, String::new());
        loop {
            let (length, behind) = rest.split_once("\r\n").unwrap();
            let length = usize::from_str_radix(length, 16).unwrap();
            if length == 0 {
                return (count, whole);
            }
            count += 1;
            whole.push_str(&behind[..length]);
            rest = &behind[length + 2..];
        }
    }

    pub(crate) async fn send(&self, method: &str, target: &str, body: &[u8]) -> Option<Answer> {
        let mut stream = self.open(method, target, body.len(), "").await;
        stream.write_all(body).await.unwrap();
        read(stream).await
    }

    /// Sends a head and leaves the body to the caller.
    pub(crate) async fn open(
        &self,
        method: &str,
        target: &str,
        length: usize,
        fields: &str,
    ) -> TcpStream {
        self.open_as("application/json", method, target, length, fields).await
    }

    async fn open_as(
        &self,
        kind: &str,
        method: &str,
        target: &str,
        length: usize,
        fields: &str,
    ) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n{fields}\
             content-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }
}

pub(crate) async fn read(mut stream: TcpStream) -> Option<Answer> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    Answer::parse(&bytes)
}

pub(crate) fn order(reference: &str) -> String {
    serde_json::json!({"reference": reference, "customer": "Zoé (c-17)", "lines": [
        {"sku": "P-1", "quantity": 3, "price": "12.50"},
        {"sku": "P-2", "quantity": 1, "price": "0.05"},
    ]})
    .to_string()
}

const FORM: &str = "application/x-www-form-urlencoded";
