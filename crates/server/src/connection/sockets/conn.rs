//! One WebSocket of a shard: its socket, what waits on it, and for how long.

use std::io::{self, Read, Write};
use std::sync::Arc;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use relais_core::limits;
use tokio::time::Instant;

use super::{AUTH_WITHIN, PING_AFTER, PONG_WITHIN};
use crate::auth::Standing;
use crate::connection::shard::WRITE_MAX;
use crate::connection::shard::waking::write_some;
use crate::request::bodies::Held;
use crate::socket::codec::Reader;
use crate::socket::open::Counted;
use crate::socket::speaker::Speaker;

/// What carries the bytes: the socket itself, or the near end of a pair whose far end is served by TLS.
pub(super) enum Link {
    Tcp(TcpStream),
    Pair(UnixStream),
}

impl Link {
    fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(stream) => stream,
            Self::Pair(stream) => stream,
        }
    }
}

impl Read for Link {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(into),
            Self::Pair(stream) => stream.read(into),
        }
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Pair(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for Link {
    fn register(&mut self, to: &Registry, token: Token, wanted: Interest) -> io::Result<()> {
        self.source().register(to, token, wanted)
    }

    fn reregister(&mut self, to: &Registry, token: Token, wanted: Interest) -> io::Result<()> {
        self.source().reregister(to, token, wanted)
    }

    fn deregister(&mut self, from: &Registry) -> io::Result<()> {
        self.source().deregister(from)
    }
}

/// Whether it is known who asks.
pub(super) enum Known {
    /// Not yet: who has not said so by then has no more time.
    Not { by: Instant },
    /// Until then.
    Until(Instant),
    /// To the end of the connection.
    ForGood,
}

/// One WebSocket.
pub(super) struct Conn {
    pub(super) link: Link,
    pub(super) reader: Reader,
    pub(super) speaker: Arc<Speaker>,
    pub(super) known: Known,
    /// Whether a token is being looked at: nothing is heard meanwhile.
    pub(super) is_judging: bool,
    /// The slots of its watches.
    pub(super) watches: Vec<u32>,
    /// How many calls are not answered yet.
    pub(super) calls: usize,
    /// For how many of its watches the store is being read.
    pub(super) reads: usize,
    /// What came and was not heard yet, because something else is to be done first.
    pub(super) unread: Vec<u8>,
    /// What the socket had no room for, and since when.
    pub(super) waiting: Vec<u8>,
    pub(super) since: Instant,
    /// Room that an unfinished message takes, and what waits to be heard.
    pub(super) room: Option<Box<Held>>,
    /// When it ends whatever comes, once a close was sent.
    pub(super) ending: Option<Instant>,
    /// Whether it ends as soon as all is written: its client has closed.
    pub(super) is_over: bool,
    /// When its life is over.
    pub(super) life: Instant,
    heard_at: Instant,
    pinged_at: Option<Instant>,
    frames: u32,
    frames_since: Instant,
    pub(super) generation: u32,
    /// The tick of the wheel that is meant for it: others are of the past.
    pub(super) due: u32,
    pub(super) counted: Counted,
}

/// What is to be done for a connection on which nothing happens.
pub(super) enum Quiet {
    /// Nothing, until then.
    Wait(Instant),
    /// It must show that it is there.
    Ping,
    /// It did not.
    Gone,
}

impl Conn {
    pub(super) fn new(
        link: Link,
        speaker: Speaker,
        counted: Counted,
        (now, life): (Instant, Instant),
        generation: u32,
    ) -> Self {
        Self {
            link,
            reader: Reader::default(),
            speaker: Arc::new(speaker),
            known: Known::Not { by: now + AUTH_WITHIN },
            is_judging: false,
            watches: Vec::new(),
            calls: 0,
            reads: 0,
            unread: Vec::new(),
            waiting: Vec::new(),
            since: now,
            room: None,
            ending: None,
            is_over: false,
            life,
            heard_at: now,
            pinged_at: None,
            frames: 0,
            frames_since: now,
            generation,
            due: 0,
            counted,
        }
    }

    /// It is known who asks. `until` is when that ends on this clock.
    pub(super) fn knows(&mut self, standing: Standing, until: impl FnOnce(Standing) -> Instant) {
        self.known = match standing.until {
            Some(_) => Known::Until(until(standing)),
            None => Known::ForGood,
        };
    }

    /// Whether what it sends must wait: for calls to be answered, for the store, or for it to read.
    pub(super) fn holds(&self) -> bool {
        let is_full = self.calls >= super::CALLS_MAX || self.reads >= super::READS_MAX;
        self.is_judging || self.is_blocked() || is_full
    }

    /// Whether it does not read what it was told.
    pub(super) fn is_blocked(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether a message of so many bytes is too much of somebody of whom it is not known who it is.
    pub(super) fn may_not_send(&self, len: usize) -> bool {
        matches!(self.known, Known::Not { .. }) && len > limits::SOCKET_AUTH_BYTES_MAX
    }

    /// Something came.
    pub(super) fn hears(&mut self, now: Instant) {
        self.heard_at = now;
        self.pinged_at = None;
    }

    /// One more frame came. Whether they are too many.
    pub(super) fn floods(&mut self, now: Instant) -> bool {
        if now.duration_since(self.frames_since) >= super::FRAMES_WITHIN {
            (self.frames, self.frames_since) = (0, now);
        }
        self.frames += 1;
        self.frames > super::FRAMES_MAX
    }

    /// What is to be done if nothing happens. While nothing is read of it, it cannot show anything.
    pub(super) fn quiet(&self, now: Instant) -> Quiet {
        match self.pinged_at {
            _ if self.holds() => Quiet::Wait(now + PONG_WITHIN),
            Some(pinged) if pinged + PONG_WITHIN <= now => Quiet::Gone,
            Some(pinged) => Quiet::Wait(pinged + PONG_WITHIN),
            None if self.heard_at + PING_AFTER <= now => Quiet::Ping,
            None => Quiet::Wait(self.heard_at + PING_AFTER),
        }
    }

    pub(super) fn pinged(&mut self, now: Instant) {
        self.pinged_at = Some(now);
    }

    /// Writes bytes behind all that waits. What the socket does not take waits, too.
    ///
    /// # Errors
    /// When the connection is broken.
    pub(super) fn write(&mut self, bytes: &[u8], now: Instant) -> io::Result<()> {
        if self.is_blocked() {
            self.waiting.extend_from_slice(bytes);
            return Ok(());
        }
        let written = write_some(&mut self.link, bytes)?;
        if written < bytes.len() {
            self.waiting = bytes[written..].to_vec();
            self.since = now;
        }
        Ok(())
    }

    /// Writes what waits, as far as there is room.
    ///
    /// # Errors
    /// When the connection is broken.
    pub(super) fn flush(&mut self, now: Instant) -> io::Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        let written = write_some(&mut self.link, &waiting)?;
        if written < waiting.len() {
            self.waiting = waiting[written..].to_vec();
            if written > 0 {
                self.since = now;
            }
        }
        Ok(())
    }

    /// Until when it may go on reading nothing.
    pub(super) fn patience(&self) -> Instant {
        self.since + WRITE_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 18,000 idle WebSockets are promised at 3 KiB each, with what the handshake said.
    #[test]
    fn a_connection_is_small() {
        assert!(size_of::<Conn>() <= 448, "{} bytes", size_of::<Conn>());
    }
}
