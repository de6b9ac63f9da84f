//! Followers of one channel: what each costs the server, how soon all have a message, and how many
//! messages a second arrive.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use futures_util::future::try_join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::program::{Program, memory};
use super::readers::Readers;
use crate::http::Connection;
use crate::process::Relais;
use crate::report::median;

/// Length of a message, bytes.
const MESSAGE: usize = 200;
/// Stands once in each message, and nowhere else in what servers send.
pub(super) const MARK: u8 = b'~';
/// Messages of which the median time to the last follower is taken.
const SINGLES: usize = 9;
/// How many connect at once.
const CONNECTING: usize = 64;
/// A channel is quiet when nothing arrived for this long.
const QUIET: Duration = Duration::from_secs(1);
/// How long a message may take to reach everybody.
const PATIENCE: Duration = Duration::from_secs(60);

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
    fn pid(&self) -> u32 {
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
    let tally = Arc::new(Tally::of(followers));
    let mut readers = Readers::start(&tally)?;
    let mut publisher = Connection::open(&channel.address).await?;
    // What a server sets up once is not a follower's memory: one follows and gets a message before.
    join(channel, &readers, 0..1).await?;
    tally.quiet().await;
    delivered(&tally, 1, &mut readers, publish(&mut publisher, channel, 1)).await?;
    let before = memory(channel.server.pid())?;
    for first in (1..followers).step_by(CONNECTING) {
        join(channel, &readers, first..followers.min(first + CONNECTING)).await?;
    }
    tally.quiet().await;
    let grown = memory(channel.server.pid())?.saturating_sub(before);
    tally.forget();
    let mut times = Vec::new();
    for _ in 0..SINGLES {
        let sent = publish(&mut publisher, channel, 1);
        times.push(delivered(&tally, followers, &mut readers, sent).await?.as_secs_f64() * 1_000.0);
    }
    let sent = publish(&mut publisher, channel, burst);
    let elapsed = delivered(&tally, followers * burst, &mut readers, sent).await?;
    tally.all_have(SINGLES + burst)?;
    #[expect(clippy::cast_precision_loss, reason = "counts and sizes are small")]
    Ok(Spread {
        kib_each: grown as f64 / 1024.0 / (followers - 1) as f64,
        last_ms: median(times),
        per_second: (followers * burst) as f64 / elapsed.as_secs_f64(),
    })
}

/// Opens the streams of some followers and reads them from now on.
async fn join(
    channel: &Channel,
    readers: &Readers,
    followers: std::ops::Range<usize>,
) -> anyhow::Result<()> {
    let streams = try_join_all(followers.clone().map(|_| follow(channel))).await?;
    for (follower, stream) in followers.zip(streams) {
        readers.read(follower, stream.into_std()?)?;
    }
    Ok(())
}

async fn follow(channel: &Channel) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(&channel.address).await.context("could not connect")?;
    stream.write_all(&channel.follow).await?;
    let mut seen = Vec::with_capacity(1024);
    while !seen.windows(4).any(|window| window == b"\r\n\r\n") {
        let read = stream.read_buf(&mut seen).await?;
        ensure!(read > 0, "a follower was hung up on: {}", String::from_utf8_lossy(&seen));
    }
    let is_open = [&b"HTTP/1.1 200"[..], b"HTTP/1.1 101"].iter().any(|head| seen.starts_with(head));
    ensure!(is_open, "{}", String::from_utf8_lossy(&seen));
    Ok(stream)
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
pub(super) struct Tally {
    each: Vec<AtomicU64>,
    all: AtomicU64,
    /// At how many of all somebody is woken.
    awaited: AtomicU64,
    reached: Notify,
}

impl Tally {
    pub(super) fn of(followers: usize) -> Self {
        Self {
            each: std::iter::repeat_with(AtomicU64::default).take(followers).collect(),
            all: AtomicU64::new(0),
            awaited: AtomicU64::new(u64::MAX),
            reached: Notify::new(),
        }
    }

    pub(super) fn add(&self, follower: usize, messages: u64) {
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

    pub(super) fn followers(&self) -> usize {
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
