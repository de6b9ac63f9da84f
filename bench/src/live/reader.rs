//! One answer of HTTP/1.1, read piece by piece.

use anyhow::{Context as _, bail, ensure};
use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::http::header;

/// Bytes read from the connection at once.
const PIECE_BYTES: usize = 64 << 10;

/// An answer whose head is there.
pub(super) struct Reader {
    pub(super) head: String,
    stream: TcpStream,
    /// What came and was not read yet.
    buffer: Vec<u8>,
    framing: Framing,
}

/// Where the body ends.
enum Framing {
    /// After so many bytes.
    Length(u64),
    /// In a chunk, with so many bytes left of it.
    Chunk(u64),
    /// Behind the data of a chunk.
    ChunkEnd,
    /// Before a chunk.
    ChunkSize,
    /// It has ended.
    Over,
}

impl Reader {
    /// Sends a request on a connection of its own, and reads the head of the answer.
    ///
    /// # Errors
    /// Where there is none.
    pub(super) async fn open(address: &str, request: &[u8]) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(address).await.context("could not connect")?;
        stream.set_nodelay(true)?;
        stream.write_all(request).await?;
        let mut buffer = Vec::with_capacity(1024);
        let end = loop {
            if let Some(end) = memmem::find(&buffer, b"\r\n\r\n") {
                break end + 4;
            }
            let read = stream.read_buf(&mut buffer).await?;
            ensure!(read > 0, "no head: {}", String::from_utf8_lossy(&buffer));
        };
        let head = String::from_utf8(buffer.drain(..end).collect()).context("an odd head")?;
        let framing = match header(&head, "content-length") {
            Some(length) => Framing::Length(length.parse().context("an odd length")?),
            None => Framing::ChunkSize,
        };
        Ok(Self { head, stream, buffer, framing })
    }

    /// The value of a field that must be there.
    ///
    /// # Errors
    /// Where it is not.
    pub(super) fn field(&self, name: &str) -> anyhow::Result<&str> {
        header(&self.head, name).with_context(|| format!("no {name} in {}", self.head))
    }

    /// Refuses every answer but one with this status.
    ///
    /// # Errors
    /// Tells the whole head.
    pub(super) fn ensure_status(&self, status: &str) -> anyhow::Result<()> {
        ensure!(self.head.get(9..12) == Some(status), "{}", self.head);
        Ok(())
    }

    /// Appends what is there next to `out`, and waits for it; `false` at the end.
    ///
    /// # Errors
    /// Where the answer breaks off.
    pub(super) async fn more(&mut self, out: &mut Vec<u8>) -> anyhow::Result<bool> {
        loop {
            let before = out.len();
            self.unframe(out)?;
            if out.len() > before {
                return Ok(true);
            }
            if matches!(self.framing, Framing::Over) {
                return Ok(false);
            }
            self.buffer.reserve(PIECE_BYTES);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the answer broke off");
            }
        }
    }

    /// Moves the body's bytes that are there from the buffer to `out`.
    fn unframe(&mut self, out: &mut Vec<u8>) -> anyhow::Result<()> {
        let mut rest = &self.buffer[..];
        loop {
            self.framing = match self.framing {
                Framing::Length(left) | Framing::Chunk(left) if left > 0 && !rest.is_empty() => {
                    let len = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    let (taken, behind) = rest.split_at(len);
                    out.extend_from_slice(taken);
                    rest = behind;
                    let left = left - len as u64;
                    match self.framing {
                        Framing::Length(_) => Framing::Length(left),
                        _ => Framing::Chunk(left),
                    }
                }
                Framing::Length(0) => Framing::Over,
                Framing::Chunk(0) => Framing::ChunkEnd,
                Framing::ChunkEnd if rest.len() >= 2 => {
                    rest = &rest[2..];
                    Framing::ChunkSize
                }
                Framing::ChunkSize => {
                    let Some(end) = memmem::find(rest, b"\r\n") else { break };
                    let size = std::str::from_utf8(&rest[..end]).context("an odd chunk")?;
                    let size = u64::from_str_radix(size, 16).context("an odd chunk")?;
                    rest = &rest[end + 2..];
                    if size == 0 { Framing::Over } else { Framing::Chunk(size) }
                }
                Framing::Length(_) | Framing::Chunk(_) | Framing::ChunkEnd | Framing::Over => break,
            };
        }
        let read = self.buffer.len() - rest.len();
        self.buffer.drain(..read);
        Ok(())
    }
}
