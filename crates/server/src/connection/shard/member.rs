//! One stream of a shard: its socket, and what its bytes wait for.

use std::io::{self, Read, Write as _};
use std::net::Shutdown;

use bytes::Bytes;
use mio::net::TcpStream;
use tokio::time::Instant;

use super::waking::write_some;
use crate::connection::{Permit, chunk};
use crate::watch::stream::EventStream;

/// Bytes that a follower may send although nobody reads them.
const NOISE_BYTES_MAX: usize = 64 << 10;

/// One stream, and its connection.
pub(super) struct Member {
    pub(super) socket: TcpStream,
    /// The stream, unless it is away or over.
    pub(super) stream: Option<EventStream>,
    pub(super) state: State,
    /// Tells it from others that had its slot.
    pub(super) generation: u32,
    /// The tick of the wheel that is meant for it: others are of the past.
    pub(super) due: u32,
    noise: u32,
    /// Whether the client has closed its sending side.
    pub(super) is_closed: bool,
    _permit: Permit,
}

/// What a stream waits for.
pub(super) enum State {
    /// News.
    Idle,
    /// Its client to read.
    Blocked { rest: Bytes, since: Instant },
    /// Somebody else to bring its next piece.
    Away,
    /// Its turn to be ended.
    Ending,
    /// Its client to close, after the end.
    Lingering { until: Instant },
}

/// What a client does, whose bytes nobody wants.
pub(super) enum Heard {
    /// Nothing that matters.
    Open,
    /// It has closed its sending side.
    Closed,
    /// The connection is broken, or its client does not stop to send.
    Broken,
}

impl Member {
    pub(super) fn new(
        socket: TcpStream,
        stream: EventStream,
        generation: u32,
        permit: Permit,
    ) -> Self {
        Self {
            socket,
            stream: Some(stream),
            state: State::Idle,
            generation,
            due: 0,
            noise: 0,
            is_closed: false,
            _permit: permit,
        }
    }

    /// Writes bytes. `false` if the socket has no room for all of them: then they wait.
    ///
    /// # Errors
    /// When the connection is broken.
    pub(super) fn write(&mut self, bytes: &Bytes) -> io::Result<bool> {
        let written = write_some(&mut self.socket, bytes)?;
        if written < bytes.len() {
            let rest = bytes.slice(written..);
            self.state = State::Blocked { rest, since: Instant::now() };
        }
        Ok(written == bytes.len())
    }

    /// Reads what has come, and drops it.
    pub(super) fn hear(&mut self) -> Heard {
        let mut scratch = [0; 1024];
        loop {
            match self.socket.read(&mut scratch) {
                Ok(0) => {
                    self.is_closed = true;
                    return Heard::Closed;
                }
                Ok(len) => {
                    self.noise = self.noise.saturating_add(u32::try_from(len).unwrap_or(u32::MAX));
                    if self.noise as usize > NOISE_BYTES_MAX {
                        return Heard::Broken;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Heard::Open,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Heard::Broken,
            }
        }
    }

    /// Writes the end, without which the stream would seem to be cut. Answers whether its client is
    /// waited for, who has until then to close.
    pub(super) fn end(&mut self, until: Instant) -> bool {
        let is_written = self.socket.write(chunk::LAST).is_ok_and(|len| len == chunk::LAST.len());
        let is_shut = self.socket.shutdown(Shutdown::Write).is_ok();
        self.state = State::Lingering { until };
        is_written && is_shut && !self.is_closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten thousand followers of a task are promised at a KiB each, with their share of the tables and of
    /// what an allocator cannot give back.
    #[test]
    fn a_member_is_small() {
        assert!(size_of::<Member>() <= 256, "{} bytes", size_of::<Member>());
    }
}
