//! Reads thousands of streams at the least cost: one thread, and one look at each message. What the
//! reader takes of the machine is taken from every server that is measured.

use std::io::{ErrorKind, Read as _};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use anyhow::anyhow;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use tokio::sync::mpsc;

use super::channel::{MARK, Tally};

/// The token that ends the thread.
const STOP: Token = Token(usize::MAX);
/// Readiness taken from the system at once.
const EVENTS_MAX: usize = 1024;
/// Bytes read at once: a read that does not fill it has taken all that was there.
const BUFFER_BYTES: usize = 64 << 10;

/// The followers' streams, read by a thread of their own until this is dropped.
pub(super) struct Readers {
    streams: Arc<Vec<OnceLock<TcpStream>>>,
    registry: Registry,
    stop: Waker,
    thread: Option<JoinHandle<()>>,
    /// What went wrong with a stream.
    pub(super) failed: mpsc::Receiver<anyhow::Error>,
}

impl Readers {
    /// Begins to read; messages are counted in `tally`.
    ///
    /// # Errors
    /// Where the system has no room for a poll or a thread.
    pub(super) fn start(tally: &Arc<Tally>) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let stop = Waker::new(poll.registry(), STOP)?;
        let streams: Vec<_> = (0..tally.followers()).map(|_| OnceLock::new()).collect();
        let streams = Arc::new(streams);
        let (failing, failed) = mpsc::channel(1);
        let (of_thread, tally) = (streams.clone(), tally.clone());
        let thread = thread::Builder::new().name("readers".to_owned()).spawn(move || {
            if let Err(error) = run(poll, &of_thread, &tally) {
                // Whoever measures may have gone.
                let _ = failing.try_send(error);
            }
        })?;
        Ok(Self { streams, registry, stop, thread: Some(thread), failed })
    }

    /// Reads a follower's stream from now on.
    ///
    /// # Errors
    /// Where the system does not tell of the socket.
    pub(super) fn read(&self, follower: usize, stream: std::net::TcpStream) -> anyhow::Result<()> {
        let kept = &self.streams[follower];
        let mut stream = TcpStream::from_std(stream);
        self.registry.register(&mut stream, Token(follower), Interest::READABLE)?;
        kept.set(stream).map_err(|_| anyhow!("follower {follower} came twice"))?;
        Ok(())
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        let is_told = self.stop.wake().is_ok();
        if let (true, Some(thread)) = (is_told, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

fn run(mut poll: Poll, streams: &[OnceLock<TcpStream>], tally: &Tally) -> anyhow::Result<()> {
    let mut events = Events::with_capacity(EVENTS_MAX);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            if event.token() == STOP {
                return Ok(());
            }
            let follower = event.token().0;
            let messages = take(streams[follower].wait(), &mut buffer)?;
            tally.add(follower, messages);
        }
    }
}

/// Reads all that is there. Answers how many messages that were.
fn take(mut stream: &TcpStream, buffer: &mut [u8]) -> anyhow::Result<u64> {
    let mut messages = 0;
    loop {
        match stream.read(buffer) {
            Ok(0) => return Err(anyhow!("a stream ended early")),
            Ok(len) => {
                messages += memchr::memchr_iter(MARK, &buffer[..len]).count() as u64;
                if len < buffer.len() {
                    return Ok(messages);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(messages),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}
