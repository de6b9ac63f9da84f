//! A client that sees every byte.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::SOON;
use super::upstream::find;

/// One HTTP/1.1 connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    /// Read, and not looked at yet.
    rest: Vec<u8>,
}

/// An answer, or its head.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// All values of a field, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let named = self.fields.iter().filter(|(other, _)| other == name);
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a field; empty if it is not there.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.all(name).first().copied().unwrap_or_default()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of a problem document of Relais itself.
    pub(crate) fn code(&self) -> String {
        assert_eq!(self.field("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(self.field("relais-origin"), "relais", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        problem["code"].as_str().unwrap().to_owned()
    }

    /// The task it is about.
    pub(crate) fn task(&self) -> relais_core::TaskId {
        self.field("relais-task").parse().unwrap_or_else(|_| panic!("names no task: {self:?}"))
    }

    fn content_length(&self) -> Option<usize> {
        self.all("content-length").first().map(|len| len.parse().unwrap())
    }
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), rest: Vec::new() }
    }

    /// One for which the system keeps little of what it does not read.
    pub(crate) async fn with_little_room(address: SocketAddr) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        Self { stream: socket.connect(address).await.unwrap(), rest: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        timeout(SOON, self.stream.write_all(bytes.as_ref())).await.expect("is read").unwrap();
    }

    /// Sends a request, and reads its whole answer.
    pub(crate) async fn call(&mut self, request: &str) -> Reply {
        self.send(request).await;
        self.reply().await
    }

    /// Whether nothing was read that was not asked for yet.
    pub(crate) fn has_read_all(&self) -> bool {
        self.rest.is_empty()
    }

    /// More bytes; 0 at a clean end.
    async fn more(&mut self) -> std::io::Result<usize> {
        timeout(SOON, self.stream.read_buf(&mut self.rest)).await.expect("more comes")
    }

    /// The head of the next answer.
    pub(crate) async fn head(&mut self) -> Reply {
        let end = loop {
            if let Some(at) = find(&self.rest, b"\r\n\r\n") {
                break at + 4;
            }
            let got = self.more().await.expect("an answer comes");
            assert!(got > 0, "no answer: {:?}", String::from_utf8_lossy(&self.rest));
        };
        let head: Vec<_> = self.rest.drain(..end).collect();
        parse(&head)
    }

    /// So many bytes of a body.
    pub(crate) async fn bytes(&mut self, len: usize) -> Vec<u8> {
        while self.rest.len() < len {
            let got = self.more().await.expect("a body comes");
            assert!(got > 0, "the body ends early: {:?}", String::from_utf8_lossy(&self.rest));
        }
        self.rest.drain(..len).collect()
    }

    /// The data of the next chunk of a chunked body.
    pub(crate) async fn chunk(&mut self) -> Vec<u8> {
        let line = loop {
            if let Some(at) = find(&self.rest, b"\r\n") {
                break self.rest.drain(..at + 2).collect::<Vec<_>>();
            }
            assert!(self.more().await.expect("a chunk comes") > 0, "the body ends early");
        };
        let size = std::str::from_utf8(&line).unwrap().trim();
        let size = usize::from_str_radix(size, 16).unwrap();
        let data = self.bytes(size + 2).await;
        data[..size].to_vec()
    }

    /// The next answer, whole, to a request that was not HEAD.
    pub(crate) async fn reply(&mut self) -> Reply {
        let mut reply = self.head().await;
        if matches!(reply.status, 100..200 | 204 | 304) {
            return reply;
        }
        if let Some(len) = reply.content_length() {
            reply.body = self.bytes(len).await;
        } else if reply.field("transfer-encoding") == "chunked" {
            loop {
                let chunk = self.chunk().await;
                if chunk.is_empty() {
                    break;
                }
                reply.body.extend(chunk);
            }
        } else {
            while self.more().await.expect("a clean end") > 0 {}
            reply.body = std::mem::take(&mut self.rest);
        }
        reply
    }

    /// What is left until the end of the connection, and whether that was a clean one.
    pub(crate) async fn rest(&mut self) -> (Vec<u8>, bool) {
        let is_clean = loop {
            match self.more().await {
                Ok(0) => break true,
                Ok(_) => {}
                Err(_) => break false,
            }
        };
        (std::mem::take(&mut self.rest), is_clean)
    }

    /// Asserts that nothing has come that was not asked for yet.
    pub(crate) fn assert_silent(&mut self) {
        assert_eq!(String::from_utf8_lossy(&self.rest), "");
        let mut scratch = [0; 64];
        match self.stream.try_read(&mut scratch) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Ok(len) => panic!("came early: {:?}", String::from_utf8_lossy(&scratch[..len])),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Reads a whole answer from bytes.
pub(crate) fn reply_of(bytes: &[u8]) -> Reply {
    let end = find(bytes, b"\r\n\r\n").unwrap_or_else(|| {
        panic!("not an answer: {:?}", String::from_utf8_lossy(bytes));
    });
    let mut reply = parse(&bytes[..end + 4]);
    reply.body = bytes[end + 4..].to_vec();
    reply
}

fn parse(head: &[u8]) -> Reply {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let fields = lines.filter_map(|line| line.split_once(": "));
    let fields = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    Reply { status, fields: fields.collect(), body: Vec::new() }
}

/// The data of a whole chunked body.
pub(super) fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    loop {
        let end = find(bytes, b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return data;
        }
        data.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 4 + size..];
    }
}
