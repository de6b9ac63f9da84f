//! A small HTTP/1.1 client for load: one connection, prepared requests, no allocation per answer.

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The fields of a WebSocket's handshake.
pub(crate) const HANDSHAKE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A keep-alive connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer: its status, and where its body lies in the connection's buffer.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    /// The head, as text.
    pub(crate) head: &'a str,
    pub(crate) body: &'a [u8],
}

impl Answer<'_> {
    /// The task that a 202 names, in the field of Relais or in that of Restate.
    pub(crate) fn id(&self) -> Option<&str> {
        ["relais-task", "x-restate-id"].iter().find_map(|name| header(self.head, name))
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> anyhow::Result<serde_json::Value> {
        serde_json::from_slice(self.body).context("the answer is not JSON")
    }
}

impl Connection {
    pub(crate) async fn open(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.context("could not connect")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(16 << 10) })
    }

    /// Sends a prepared request and reads its answer whole.
    pub(crate) async fn call(&mut self, request: &[u8]) -> anyhow::Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let head_end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end + 4;
            }
            self.fill().await?;
        };
        let head = std::str::from_utf8(&self.buffer[..head_end]).context("an odd head")?;
        let status: u16 = head.get(9..12).context("no status")?.parse()?;
        let length = header(head, "content-length").map(str::parse::<usize>).transpose()?;
        match length {
            Some(length) => {
                while self.buffer.len() < head_end + length {
                    self.fill().await?;
                }
            }
            None if status == 204 || status == 304 => {}
            None => {
                while !self.buffer.ends_with(b"0\r\n\r\n") {
                    self.fill().await?;
                }
            }
        }
        let (head, body) = self.buffer.split_at(head_end);
        let head = std::str::from_utf8(head).context("an odd head")?;
        Ok(Answer { status, head, body })
    }

    async fn fill(&mut self) -> anyhow::Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            bail!("the server hung up after {}", String::from_utf8_lossy(&self.buffer));
        }
        Ok(())
    }
}

/// A request with a JSON body.
pub(crate) fn post(path: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{fields}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A request without a body.
pub(crate) fn get(path: &str, fields: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}\r\n").into_bytes()
}

/// The value of a header field.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
