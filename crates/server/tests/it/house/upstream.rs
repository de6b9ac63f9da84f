//! An upstream whose every byte the test sends itself.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::SOON;

/// Listens; answers nothing by itself.
pub(crate) struct Upstream {
    listener: TcpListener,
}

/// A request that has arrived whole.
pub(crate) struct UpstreamCall {
    pub(crate) stream: TcpStream,
    /// Request line and fields, in lower case but for the values.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    rest: Vec<u8>,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        Self { listener: TcpListener::bind(("127.0.0.1", 0)).await.unwrap() }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }

    /// The next connection.
    pub(crate) async fn accept(&self) -> TcpStream {
        timeout(SOON, self.listener.accept()).await.expect("a connection comes").unwrap().0
    }

    /// The next request, on a new connection.
    pub(crate) async fn next(&self) -> UpstreamCall {
        let mut call = self.head().await;
        call.read_body().await;
        call
    }

    /// The head of the next request, on a new connection.
    pub(crate) async fn head(&self) -> UpstreamCall {
        let stream = self.accept().await;
        let mut call =
            UpstreamCall { stream, head: String::new(), body: Vec::new(), rest: Vec::new() };
        call.read_head().await;
        call
    }

    /// Whether no connection is waiting.
    pub(crate) async fn is_silent(&self) -> bool {
        tokio::select! {
            biased;
            _ = self.listener.accept() => false,
            () = std::future::ready(()) => true,
        }
    }
}

impl UpstreamCall {
    /// Reads the head of the next request on the same connection.
    pub(crate) async fn read_head(&mut self) {
        let end = loop {
            if let Some(at) = find(&self.rest, b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.more().await > 0, "the request breaks off");
        };
        let head: Vec<_> = self.rest.drain(..end).collect();
        self.head = String::from_utf8(head).unwrap();
    }

    /// Reads the body that the head announces.
    pub(crate) async fn read_body(&mut self) {
        if let Some(len) = self.field("content-length") {
            let len: usize = len.parse().unwrap();
            while self.rest.len() < len {
                assert!(self.more().await > 0, "the body breaks off");
            }
            self.body = self.rest.drain(..len).collect();
        } else if self.field("transfer-encoding").is_some() {
            while find(&self.rest, b"0\r\n\r\n").is_none() {
                assert!(self.more().await > 0, "the body breaks off");
            }
            self.body = super::client::unchunk(&std::mem::take(&mut self.rest));
        }
    }

    async fn more(&mut self) -> usize {
        let read = timeout(SOON, self.stream.read_buf(&mut self.rest)).await;
        read.expect("more of the request comes").unwrap()
    }

    /// The request line.
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap()
    }

    /// All values of a field, in order.
    pub(crate) fn fields(&self, name: &str) -> Vec<&str> {
        let pairs = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        pairs.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim()).collect()
    }

    /// The value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields(name).first().copied()
    }

    pub(crate) async fn send(&mut self, text: impl AsRef<[u8]>) {
        timeout(SOON, self.stream.write_all(text.as_ref())).await.expect("is read").unwrap();
    }

    /// A small whole answer; the next request comes on a new connection.
    pub(crate) async fn answer(&mut self, status: &str, fields: &str, body: &str) {
        let fields = format!("{fields}connection: close\r\ncontent-length: {}\r\n", body.len());
        let head = format!("HTTP/1.1 {status}\r\n{fields}\r\n{body}");
        self.send(head).await;
    }

    /// Resolves when Relais closes the connection.
    pub(crate) async fn closed(&mut self) {
        loop {
            let mut scratch = [0; 1024];
            match timeout(SOON, self.stream.read(&mut scratch)).await.expect("closes") {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    /// Ends the connection at once, with a reset.
    pub(crate) fn die(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

pub(super) fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}
