//! When each of many connections learned that its task has ended.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use memchr::memmem;
use mio::net::TcpStream;
use tokio::sync::Notify;

use crate::peers::channel::{PATIENCE, QUIET};
use crate::peers::frames::Frames;
use crate::peers::readers::{Readers, Reading};

/// Stands in the last event of a task that succeeded, whatever carries it, and nowhere else.
const END: &[u8] = br#""type":"succeeded""#;

/// What the connections have learned.
pub(super) struct Ends {
    each: Vec<OnceLock<Instant>>,
    count: AtomicUsize,
    bytes: AtomicU64,
    all: Notify,
}

impl Ends {
    pub(super) fn of(followers: usize) -> Arc<Self> {
        Arc::new(Self {
            each: (0..followers).map(|_| OnceLock::new()).collect(),
            count: AtomicUsize::new(0),
            bytes: AtomicU64::new(0),
            all: Notify::new(),
        })
    }

    /// Waits until nothing comes any more: all have been told what was before.
    pub(super) async fn quiet(&self) {
        let mut before = u64::MAX;
        loop {
            let now = self.bytes.load(Ordering::SeqCst);
            if now == before {
                return;
            }
            before = now;
            tokio::time::sleep(QUIET).await;
        }
    }

    /// Waits until all know. Answers when each of them learned it.
    ///
    /// # Errors
    /// Where one of them does not.
    pub(super) async fn seen(&self, readers: &mut Readers) -> anyhow::Result<Vec<Instant>> {
        tokio::select! {
            () = self.all.notified() => {}
            Some(error) = readers.failed.recv() => return Err(error),
            () = tokio::time::sleep(PATIENCE) => {
                bail!("{} of {} know", self.count.load(Ordering::SeqCst), self.each.len())
            }
        }
        let seen = self.each.iter().map(|seen| seen.get().copied());
        seen.collect::<Option<_>>().context("not all know")
    }
}

/// Looks for the end in what comes.
pub(super) struct Looking {
    pub(super) ends: Arc<Ends>,
    /// Where it comes in frames.
    pub(super) frames: Option<Frames>,
}

impl Reading for Looking {
    fn takes(&mut self, follower: usize, stream: &TcpStream, bytes: &[u8]) -> anyhow::Result<()> {
        if let Some(frames) = &mut self.frames {
            frames.read(follower, stream, bytes, |_| {})?;
        }
        self.ends.bytes.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        if memmem::find(bytes, END).is_none() {
            return Ok(());
        }
        let is_first = self.ends.each[follower].set(Instant::now()).is_ok();
        ensure!(is_first, "a connection was told twice that its task has ended");
        if self.ends.count.fetch_add(1, Ordering::SeqCst) + 1 == self.ends.each.len() {
            self.ends.all.notify_one();
        }
        Ok(())
    }

    fn ends(&mut self, follower: usize) -> anyhow::Result<()> {
        ensure!(self.ends.each[follower].get().is_some(), "a stream ended before its task did");
        Ok(())
    }
}
