//! Followers of one channel: what each costs the server, how soon all have a message, and how many
//! messages a second arrive.

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use futures_util::future::try_join_all;
use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::frames::Frames;
use super::program::{Program, memory};
use super::readers::{Readers, Reading};
use crate::http::Connection;
use crate::process::Relais;
use crate::report::median;

/// Length of a message, bytes.
const MESSAGE: usize = 200;
/// Stands once in each message, and nowhere else in what servers send.
const MARK: u8 = b'~';
/// Messages of which the median time to the last follower is taken.
const SINGLES: usize = 9;
/// How many connect at once.
pub(crate) const CONNECTING: usize = 64;
/// A channel is quiet when nothing arrived for this long.
pub(crate) const QUIET: Duration = Duration::from_secs(1);
/// How long a message may take to reach everybody.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A server with one channel, ready to be followed.
pub(crate) struct Channel {
    /// Where it listens.
    pub(crate) address: String,
    /// The request of a follower.
    pub(crate) follow: Vec<u8>,
    /// The request that publishes one message.
    pub(crate) publish: Vec<u8>,
    /// Its process.
    pub(crate) server: Running,
}

/// A server's process; dropping it ends the server.
pub(crate) enum Running {
    Relais(Relais),
    Peer(Program),
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        match self {
            Self::Relais(relais) => relais.pid,
            Self::Peer(program) => program.pid(),
        }
    }

    /// Ends it and waits until it has ended, so that the next one has the machine.
    ///
    /// # Errors
    /// Where it cannot be stopped.
    pub(crate) async fn end(self) -> anyhow::Result<()> {
        match self {
            Self::Relais(relais) => relais.kill().await,
            Self::Peer(program) => {
                drop(program);
                Ok(())
            }
        }
    }
}

/// What was found.
pub(crate) struct Spread {
    /// Memory of the server for each follower, KiB.
    pub(crate) kib_each: f64,
    /// From a publisher's request to the last follower, ms.
    pub(crate) last_ms: f64,
    /// Messages times followers in a second.
    pub(crate) per_second: f64,
}

/// A message: JSON with the mark in it.
pub(crate) fn message() -> String {
    let (start, end) = (r#"{"text":""#, r#"~"}"#);
    format!("{start}{}{end}", "x".repeat(MESSAGE - start.len() - end.len()))
}

/// Follows `channel` with so many connections, and publishes one by one, then `burst` messages,
/// each as soon as the one before was answered.
///
/// # Errors
/// Where a server fails, or not each follower gets each message once.
pub(crate) async fn measure(
    channel: &Channel,
    followers: usize,
    burst: usize,
) -> anyhow::Result<Spread> {
    let mut crowd = Crowd::begin(channel, followers).await?;
    crowd.tell_first().await?;
    let kib_each = crowd.join_rest().await?;
    let last_ms = crowd.tell_all().await?;
    let per_second = crowd.tell_burst(burst).await?;
    Ok(Spread { kib_each, last_ms, per_second })
}

/// The followers of a channel, and who publishes.
pub(crate) struct Crowd<'a> {
    channel: &'a Channel,
    tally: Arc<Tally>,
    readers: Readers,
    publisher: Connection,
    /// Messages that each of them was sent since all are there.
    told: usize,
}

impl<'a> Crowd<'a> {
    /// The first of so many follows.
    ///
    /// # Errors
    /// Where it cannot.
    pub(crate) async fn begin(channel: &'a Channel, followers: usize) -> anyhow::Result<Self> {
        let tally = Arc::new(Tally::of(followers));
        let counting = Counting {
            tally: tally.clone(),
            frames: is_socket(&channel.follow).then(|| Frames::of(followers)),
        };
        let readers = Readers::start(followers, counting)?;
        let publisher = Connection::open(&channel.address).await?;
        let this = Self { channel, tally, readers, publisher, told: 0 };
        this.join(0..1).await?;
        this.tally.quiet().await;
        Ok(this)
    }

    /// Sends the first a message: what a server sets up once is not a follower's memory.
    ///
    /// # Errors
    /// Where it does not arrive.
    pub(crate) async fn tell_first(&mut self) -> anyhow::Result<()> {
        self.publish(1, 1).await?;
        Ok(())
    }

    /// All others follow, too. Answers how much memory the server has for each, KiB.
    ///
    /// # Errors
    /// Where one of them cannot.
    pub(crate) async fn join_rest(&mut self) -> anyhow::Result<f64> {
        let (followers, pid) = (self.tally.followers(), self.channel.server.pid());
        let before = memory(pid)?;
        for first in (1..followers).step_by(CONNECTING) {
            self.join(first..followers.min(first + CONNECTING)).await?;
        }
        self.tally.quiet().await;
        let grown = memory(pid)?.saturating_sub(before);
        self.tally.forget();
        #[expect(clippy::cast_precision_loss, reason = "counts and sizes are small")]
        Ok(grown as f64 / 1024.0 / (followers - 1) as f64)
    }

    /// Sends all of them one message after the other. Answers after how long the last of them had one, ms: the
    /// median of those messages.
    ///
    /// # Errors
    /// Where not each of them gets each once.
    pub(crate) async fn tell_all(&mut self) -> anyhow::Result<f64> {
        let followers = self.tally.followers();
        let mut times = Vec::new();
        for _ in 0..SINGLES {
            times.push(self.publish(1, followers).await?.as_secs_f64() * 1_000.0);
        }
        self.told += SINGLES;
        self.tally.all_have(self.told)?;
        Ok(median(times))
    }

    /// Sends all of them so many messages. Answers how many arrived in a second.
    ///
    /// # Errors
    /// Where not each of them gets each once.
    pub(crate) async fn tell_burst(&mut self, burst: usize) -> anyhow::Result<f64> {
        let messages = self.tally.followers() * burst;
        let elapsed = self.publish(burst, messages).await?;
        self.told += burst;
        self.tally.all_have(self.told)?;
        #[expect(clippy::cast_precision_loss, reason = "counts are small")]
        Ok(messages as f64 / elapsed.as_secs_f64())
    }

    /// Opens the streams of some followers and reads them from now on.
    async fn join(&self, followers: Range<usize>) -> anyhow::Result<()> {
        let Channel { address, follow, .. } = self.channel;
        let streams = followers.clone().map(|_| open(address, follow));
        for (follower, stream) in followers.zip(try_join_all(streams).await?) {
            self.readers.read(follower, stream)?;
        }
        Ok(())
    }

    /// Publishes messages. Answers how long it takes from then until `count` have arrived.
    async fn publish(&mut self, messages: usize, count: usize) -> anyhow::Result<Duration> {
        let Self { channel, tally, readers, publisher, .. } = self;
        delivered(tally, count, readers, publish(publisher, channel, messages)).await
    }
}

/// Whether a request is the handshake of a WebSocket.
fn is_socket(request: &[u8]) -> bool {
    memmem::find(request, b"Upgrade: websocket").is_some()
}

/// Sends a request on a connection of its own, and reads the head of the answer, which must be that of a stream.
/// What came behind it is still to be read.
///
/// # Errors
/// Where it is another.
pub(crate) async fn open(address: &str, request: &[u8]) -> anyhow::Result<std::net::TcpStream> {
    let mut stream = TcpStream::connect(address).await.context("could not connect")?;
    stream.write_all(request).await?;
    let mut seen = [0; 4096];
    let head = loop {
        let len = stream.peek(&mut seen).await?;
        ensure!(len > 0, "a follower was hung up on");
        if let Some(end) = memmem::find(&seen[..len], b"\r\n\r\n") {
            break end + 4;
        }
        ensure!(len < seen.len(), "a follower was answered by a head that does not end");
    };
    stream.read_exact(&mut seen[..head]).await?;
    let is_open = [&b"HTTP/1.1 200"[..], b"HTTP/1.1 101"].iter().any(|head| seen.starts_with(head));
    ensure!(is_open, "{}", String::from_utf8_lossy(&seen[..head]));
    Ok(stream.into_std()?)
}

/// Counts messages in what comes.
struct Counting {
    tally: Arc<Tally>,
    /// Where they come in frames.
    frames: Option<Frames>,
}

impl Reading for Counting {
    fn takes(
        &mut self,
        follower: usize,
        stream: &mio::net::TcpStream,
        bytes: &[u8],
    ) -> anyhow::Result<()> {
        let mut messages = 0;
        let mut count = |part: &[u8]| messages += memchr::memchr_iter(MARK, part).count() as u64;
        match &mut self.frames {
            // The head of a frame may have any byte.
            Some(frames) => frames.read(follower, stream, bytes, count)?,
            None => count(bytes),
        }
        self.tally.add(follower, messages);
        Ok(())
    }
}

async fn publish(
    publisher: &mut Connection,
    channel: &Channel,
    messages: usize,
) -> anyhow::Result<()> {
    for _ in 0..messages {
        let answer = publisher.call(&channel.publish).await?;
        ensure!(answer.status < 300, "{}{}", answer.head, String::from_utf8_lossy(answer.body));
    }
    Ok(())
}

/// How long it takes from now until `count` more messages have arrived, while `sent` is under way.
async fn delivered(
    tally: &Tally,
    count: usize,
    readers: &mut Readers,
    sent: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<Duration> {
    tally.expect_more(count);
    let began = Instant::now();
    let arrived = async {
        tokio::select! {
            () = tally.reached.notified() => Ok(began.elapsed()),
            Some(error) = readers.failed.recv() => Err(error),
            () = tokio::time::sleep(PATIENCE) => bail!("{} did not arrive", tally.missing()),
        }
    };
    Ok(tokio::try_join!(sent, arrived)?.1)
}

/// Messages that arrived.
struct Tally {
    each: Vec<AtomicU64>,
    all: AtomicU64,
    /// At how many of all somebody is woken.
    awaited: AtomicU64,
    reached: Notify,
}

impl Tally {
    fn of(followers: usize) -> Self {
        Self {
            each: std::iter::repeat_with(AtomicU64::default).take(followers).collect(),
            all: AtomicU64::new(0),
            awaited: AtomicU64::new(u64::MAX),
            reached: Notify::new(),
        }
    }

    fn add(&self, follower: usize, messages: u64) {
        if messages == 0 {
            return;
        }
        self.each[follower].fetch_add(messages, Ordering::Relaxed);
        let before = self.all.fetch_add(messages, Ordering::SeqCst);
        let awaited = self.awaited.load(Ordering::SeqCst);
        if before < awaited && before + messages >= awaited {
            self.reached.notify_one();
        }
    }

    fn followers(&self) -> usize {
        self.each.len()
    }

    fn expect_more(&self, count: usize) {
        let awaited = self.all.load(Ordering::SeqCst) + count as u64;
        self.awaited.store(awaited, Ordering::SeqCst);
    }

    fn missing(&self) -> u64 {
        self.awaited.load(Ordering::SeqCst).saturating_sub(self.all.load(Ordering::SeqCst))
    }

    /// Waits until nothing arrives any more: some servers first tell what was before.
    async fn quiet(&self) {
        let mut before = u64::MAX;
        loop {
            let now = self.all.load(Ordering::SeqCst);
            if now == before {
                return;
            }
            before = now;
            tokio::time::sleep(QUIET).await;
        }
    }

    /// Counts each follower from nought.
    fn forget(&self) {
        for each in &self.each {
            each.store(0, Ordering::Relaxed);
        }
    }

    fn all_have(&self, messages: usize) -> anyhow::Result<()> {
        let wrong = |each: &&AtomicU64| each.load(Ordering::SeqCst) != messages as u64;
        let wrong = self.each.iter().filter(wrong).count();
        ensure!(wrong == 0, "{wrong} followers did not get each of {messages} messages once");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_is_woken_by_the_message_that_was_missing() {
        let tally = Tally::of(2);
        tally.add(0, 1);
        tally.forget();
        tally.expect_more(4);
        tally.add(0, 2);
        tally.add(1, 1);
        assert_eq!(tally.missing(), 1);
        assert!(tally.all_have(2).is_err(), "one follower has one message");
        tally.add(1, 1);
        tally.reached.notified().await;
        assert!(tally.all_have(2).is_ok());
    }

    #[test]
    fn a_message_has_its_length_and_one_mark() {
        let message = message();
        assert_eq!(message.len(), MESSAGE);
        assert_eq!(memchr::memchr_iter(MARK, message.as_bytes()).count(), 1);
    }
}
