//! Reads thousands of streams at the least cost: one thread, and one look at each message. What the
//! reader takes of the machine is taken from every server that is measured.

use std::io::{ErrorKind, Read as _};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use anyhow::{anyhow, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use tokio::sync::mpsc;

/// The token that ends the thread.
const STOP: Token = Token(usize::MAX);
/// Readiness taken from the system at once.
const EVENTS_MAX: usize = 1024;
/// Bytes read at once: a read that does not fill it has taken all that was there.
const BUFFER_BYTES: usize = 64 << 10;

/// What is done with what followers are sent.
pub(crate) trait Reading: Send + 'static {
    /// Bytes came for a follower.
    ///
    /// # Errors
    /// Where they are not what should come.
    fn takes(&mut self, follower: usize, stream: &TcpStream, bytes: &[u8]) -> anyhow::Result<()>;

    /// The stream of a follower has ended.
    ///
    /// # Errors
    /// Where it should not have.
    fn ends(&mut self, _follower: usize) -> anyhow::Result<()> {
        bail!("a stream ended early")
    }
}

/// The followers' streams, read by a thread of their own until this is dropped.
pub(crate) struct Readers {
    streams: Arc<Vec<OnceLock<TcpStream>>>,
    registry: Registry,
    stop: Waker,
    thread: Option<JoinHandle<()>>,
    /// What went wrong with a stream.
    pub(crate) failed: mpsc::Receiver<anyhow::Error>,
}

impl Readers {
    /// Begins to read the streams of so many followers.
    ///
    /// # Errors
    /// Where the system has no room for a poll or a thread.
    pub(crate) fn start(followers: usize, reading: impl Reading) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let stop = Waker::new(poll.registry(), STOP)?;
        let streams: Vec<_> = (0..followers).map(|_| OnceLock::new()).collect();
        let streams = Arc::new(streams);
        let (failing, failed) = mpsc::channel(1);
        let of_thread = streams.clone();
        let thread = thread::Builder::new().name("readers".to_owned()).spawn(move || {
            if let Err(error) = run(poll, &of_thread, reading) {
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
    pub(crate) fn read(&self, follower: usize, stream: std::net::TcpStream) -> anyhow::Result<()> {
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

fn run(
    mut poll: Poll,
    streams: &[OnceLock<TcpStream>],
    mut reading: impl Reading,
) -> anyhow::Result<()> {
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
            let (follower, has_ended) = (event.token().0, event.is_read_closed());
            take(streams[follower].wait(), follower, has_ended, &mut buffer, &mut reading)?;
        }
    }
}

/// Reads all that is there.
fn take(
    mut stream: &TcpStream,
    follower: usize,
    has_ended: bool,
    buffer: &mut [u8],
    reading: &mut impl Reading,
) -> anyhow::Result<()> {
    loop {
        match stream.read(buffer) {
            Ok(0) => return reading.ends(follower),
            Ok(len) => {
                reading.takes(follower, stream, &buffer[..len])?;
                if len < buffer.len() && !has_ended {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}
