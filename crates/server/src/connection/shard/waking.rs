//! What all shards have: how they begin, what wakes them, and how others have their turn.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mio::Registry;
use tokio::io::Interest as Wanted;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

use super::desk::Desk;
use crate::stop::Stop;

/// How many shards of a kind there are at most: more cores than that have other things to do.
const SHARDS_MAX: usize = 8;
/// Followers that are written to before others of this process have their turn.
const TURN: usize = 32;
/// Readiness of sockets taken from the system at once.
const READY_MAX: usize = 256;

/// The desks of all shards of a kind. They begin with the first arrival for which the system has room.
pub(in crate::connection) struct Desks<A> {
    desks: Mutex<Vec<Arc<Desk<A>>>>,
    next: AtomicUsize,
    /// Whether it was said that the system has no room: for one connection of all that come then.
    has_told: AtomicBool,
}

impl<A> Default for Desks<A> {
    fn default() -> Self {
        Self {
            desks: Mutex::default(),
            next: AtomicUsize::new(0),
            has_told: AtomicBool::new(false),
        }
    }
}

impl<A> Desks<A> {
    /// Hands something to the next shard in turn; `begin` begins one. There are as many as the system has
    /// processors.
    pub(in crate::connection) fn put(
        &self,
        stop: &Stop,
        begin: impl Fn(Waking<A>, Registry),
        arrival: A,
    ) {
        let desk = self.choose(|| {
            let (waking, registry) = Waking::new(stop.clone()).ok()?;
            let desk = waking.desk.clone();
            begin(waking, registry);
            Some(desk)
        });
        match desk {
            Some(desk) => {
                self.has_told.store(false, Ordering::Relaxed);
                desk.put(arrival);
            }
            None if !self.has_told.swap(true, Ordering::Relaxed) => {
                tracing::warn!("connections are closed: the system has no room for another poll");
            }
            None => {}
        }
    }

    /// The next desk in turn. Where there is none yet they are made; if none could be, the next arrival tries
    /// again.
    fn choose(&self, make: impl Fn() -> Option<Arc<Desk<A>>>) -> Option<Arc<Desk<A>>> {
        let mut desks = self.desks.lock().expect("nothing panics while it is held");
        if desks.is_empty() {
            let count = std::thread::available_parallelism().map_or(1, |count| count.get());
            desks.extend((0..count.min(SHARDS_MAX)).filter_map(|_| make()));
        }
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % desks.len().max(1);
        desks.get(turn).cloned()
    }
}

/// What wakes a shard: its sockets, its desk, a moment, and the stop of the server.
pub(in crate::connection) struct Waking<A> {
    pub(in crate::connection) desk: Arc<Desk<A>>,
    poll: AsyncFd<mio::Poll>,
    events: mio::Events,
    stop: Stop,
    /// Whether it was said that the server stops.
    has_told_stop: bool,
}

impl<A> Waking<A> {
    /// One, and where its sockets are registered.
    fn new(stop: Stop) -> io::Result<(Self, Registry)> {
        let poll = mio::Poll::new()?;
        let registry = poll.registry().try_clone()?;
        #[expect(deprecated, reason = "a poll has one descriptor, which is its own to its end")]
        let poll = AsyncFd::with_interest(poll, Wanted::READABLE)?;
        let events = mio::Events::with_capacity(READY_MAX);
        let desk = Arc::default();
        Ok((Self { desk, poll, events, stop, has_told_stop: false }, registry))
    }

    /// Whether the server stops.
    pub(in crate::connection) fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits until there may be something to do, which is now at `next` at the latest. Answers, once, that the
    /// server stops.
    pub(in crate::connection) async fn wait(&mut self, next: Option<Instant>) -> bool {
        tokio::select! {
            () = self.desk.filled() => {}
            Ok(mut ready) = self.poll.readable_mut() => {
                let polled = ready.get_inner_mut().poll(&mut self.events, Some(Duration::ZERO));
                if polled.is_err() || self.events.is_empty() {
                    ready.clear_ready();
                }
            }
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            () = self.stop.cancelled(), if !self.has_told_stop => {
                self.has_told_stop = true;
                return true;
            }
        }
        false
    }

    /// The slots of the sockets of which the system has news, and whether there is room to write.
    pub(in crate::connection) fn ready(&mut self) -> Vec<(u32, bool)> {
        let slot = |event: &mio::event::Event| super::slot_of(event.token().0);
        let ready = self.events.iter().map(|event| (slot(event), event.is_writable())).collect();
        self.events.clear();
        ready
    }
}

/// Lets others of this process have their turn now and then.
#[derive(Default)]
pub(in crate::connection) struct Turns(usize);

impl Turns {
    /// One more thing is done.
    pub(in crate::connection) async fn take(&mut self) {
        self.0 = self.0.wrapping_add(1);
        if self.0.is_multiple_of(TURN) {
            tokio::task::yield_now().await;
        }
    }
}

/// Writes as much as the socket has room for. Answers how many bytes.
///
/// # Errors
/// When the connection is broken.
pub(in crate::connection) fn write_some(
    socket: &mut impl Write,
    bytes: &[u8],
) -> io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match socket.write(&bytes[written..]) {
            Ok(len) => written += len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All connections of its kind were closed from then on, until a restart.
    #[test]
    fn a_system_that_had_no_room_for_a_moment_is_asked_again() {
        let desks = Desks::<()>::default();
        assert!(desks.choose(|| None).is_none());
        assert!(desks.choose(|| Some(Arc::default())).is_some());
        assert!(desks.choose(|| None).is_some(), "there are as many as are needed");
    }
}
