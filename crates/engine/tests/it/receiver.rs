//! A receiver of webhooks that answers as told, and hands over what it was sent.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// What it does with a message.
pub(crate) enum Answer {
    /// The head and the body of an answer.
    Say(&'static str),
    /// As many bytes behind a head as anybody reads.
    Flood(&'static str),
    /// Nothing, and the connection stays.
    Hang,
    /// The connection is cut off.
    Reset,
}

pub(crate) const TAKEN: Answer = Answer::Say("HTTP/1.1 204 No Content\r\n\r\n");
pub(crate) const FAILED: Answer =
    Answer::Say("HTTP/1.1 500 Oh\r\nContent-Length: 5\r\nX-Hint: a\r\n\r\nsorry");

/// What it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) timestamp: i64,
    pub(crate) signature: String,
    pub(crate) body: String,
    pub(crate) path: String,
}

impl Message {
    /// The type of what is told.
    pub(crate) fn kind(&self) -> String {
        self.json()["type"].as_str().unwrap().to_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Whether one of its signatures is made with this key.
    pub(crate) fn is_signed_by(&self, key: &[u8]) -> bool {
        let content = format!("{}.{}.{}", self.id, self.timestamp, self.body);
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key);
        let tag = STANDARD.encode(aws_lc_rs::hmac::sign(&key, content.as_bytes()));
        self.signature.split(' ').any(|one| one == format!("v1,{tag}"))
    }
}

pub(crate) struct Receiver {
    pub(crate) url: String,
    messages: mpsc::Receiver<Message>,
}

impl Receiver {
    /// Answers each message as `answer` says of its number, counted from 0.
    pub(crate) async fn start(answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?key=secret", listener.local_addr().unwrap());
        let (sender, messages) = mpsc::channel(10_000);
        let answer = Arc::new(answer);
        let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (sender, answer, count) = (sender.clone(), answer.clone(), count.clone());
                tokio::spawn(async move {
                    let next = || {
                        let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        answer(number)
                    };
                    serve(stream, sender, next).await
                });
            }
        });
        Self { url, messages }
    }

    /// One that takes all.
    pub(crate) async fn taking() -> Self {
        Self::start(|_| TAKEN).await
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Message {
        let patience = Duration::from_secs(20);
        let next = tokio::time::timeout(patience, self.messages.recv()).await;
        next.expect("a message was expected").unwrap()
    }

    /// What came, and was not looked at.
    pub(crate) fn rest(&mut self) -> Vec<Message> {
        std::iter::from_fn(|| self.messages.try_recv().ok()).collect()
    }
}

async fn serve(
    mut stream: TcpStream,
    sender: mpsc::Sender<Message>,
    next: impl Fn() -> Answer,
) -> Option<()> {
    loop {
        let message = read(&mut stream).await?;
        let answer = next();
        sender.send(message).await.ok()?;
        match answer {
            Answer::Say(text) => stream.write_all(text.as_bytes()).await.ok()?,
            Answer::Flood(head) => {
                stream.write_all(head.as_bytes()).await.ok()?;
                loop {
                    stream.write_all(&[b'x'; 16 << 10]).await.ok()?;
                }
            }
            Answer::Hang => std::future::pending().await,
            Answer::Reset => {
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).ok()?;
                return None;
            }
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<Message> {
    let mut raw = Vec::new();
    let end = loop {
        if let Some(end) = raw.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        (stream.read_buf(&mut raw).await.ok()? > 0).then_some(())?;
    };
    let head = String::from_utf8(raw[..end].to_vec()).ok()?;
    let field = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(found, _)| found.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim().to_owned())
    };
    let len: usize = field("content-length")?.parse().ok()?;
    while raw.len() < end + len {
        (stream.read_buf(&mut raw).await.ok()? > 0).then_some(())?;
    }
    Some(Message {
        id: field("webhook-id")?,
        timestamp: field("webhook-timestamp")?.parse().ok()?,
        signature: field("webhook-signature")?,
        body: String::from_utf8(raw[end..].to_vec()).ok()?,
        path: head.split(' ').nth(1)?.to_owned(),
    })
}
