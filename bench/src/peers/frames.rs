//! The frames of WebSockets: their pings are answered, or the server would close, and what they carry is told
//! from their heads.

use std::io::Write as _;

use anyhow::{Context as _, bail, ensure};
use mio::net::TcpStream;

/// What a ping begins with.
const PING: u8 = 0x89;
/// A pong without a payload, masked by nothing.
const PONG: &[u8] = &[0x8a, 0x80, 0, 0, 0, 0];

/// How far each follower is in the frame that comes.
pub(crate) struct Frames {
    /// Bytes of it that did not come yet.
    left: Vec<usize>,
}

impl Frames {
    pub(crate) fn of(followers: usize) -> Self {
        Self { left: vec![0; followers] }
    }

    /// Answers the pings in what came; `carried` is called with what the frames carry, part by part.
    ///
    /// # Errors
    /// Where it is no frame, or an answer finds no room.
    pub(crate) fn read(
        &mut self,
        follower: usize,
        mut stream: &TcpStream,
        bytes: &[u8],
        carried: impl FnMut(&[u8]),
    ) -> anyhow::Result<()> {
        for _ in 0..read(bytes, &mut self.left[follower], carried)? {
            let written = stream.write(PONG).context("could not answer a ping")?;
            ensure!(written == PONG.len(), "a ping was answered by half");
        }
        Ok(())
    }
}

/// Answers how many pings there are in bytes, of which the first `left` belong to a frame that began before.
fn read(bytes: &[u8], left: &mut usize, mut carried: impl FnMut(&[u8])) -> anyhow::Result<usize> {
    let (mut rest, mut pings) = (bytes, 0);
    loop {
        let (payload, behind) = rest.split_at(rest.len().min(*left));
        (rest, *left) = (behind, *left - payload.len());
        carried(payload);
        let (head, len) = match *rest {
            [] => return Ok(pings),
            [_, 126, high, low, ..] => (4, usize::from(u16::from_be_bytes([high, low]))),
            [_, len @ 0..126, ..] => (2, usize::from(len)),
            // Servers write a head at once, and no frame here is longer than 64 KiB.
            _ => bail!("a frame begins oddly: {:?}", &rest[..rest.len().min(8)]),
        };
        pings += usize::from(rest[0] == PING);
        (rest, *left) = (&rest[head..], len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_are_found_between_frames_and_not_in_them() {
        let long = [&[0x81, 126, 0, 200][..], &[PING; 200]].concat();
        let sent = [&[0x81, 2, PING, 0][..], &[PING, 0], &long, &[PING, 0, PING, 1, 7]].concat();
        for cut in [4, 6, 10, 100, 210, 212] {
            let (mut left, mut pings, mut carried) = (0, 0, 0);
            for part in [&sent[..cut], &sent[cut..]] {
                pings += read(part, &mut left, |payload| carried += payload.len()).unwrap();
            }
            assert_eq!((pings, carried, left), (3, 2 + 200 + 1, 0), "cut at {cut}");
        }
    }
}
