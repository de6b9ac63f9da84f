//! A piece of a stream together with its framing as a chunk of HTTP/1.1 (RFC 9112, 7.1): made once,
//! and shared by all followers, whether a bare socket carries it or the HTTP library.

use bytes::Bytes;

/// What a stream says while it has nothing to say; nobody sees it.
const COMMENT: &[u8] = b"e\r\n: still here\n\n\r\n";
/// What ends a chunked body: without it the connection was cut.
pub(crate) const LAST: &[u8] = b"0\r\n\r\n";

/// A piece of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk(Bytes);

impl Chunk {
    /// A piece with these bytes, of which there is at least one: none would be the end.
    pub(crate) fn of(events: &[u8]) -> Self {
        debug_assert!(!events.is_empty(), "an empty chunk ends a body");
        let mut framed = Vec::with_capacity(events.len() + 12);
        framed.extend_from_slice(format!("{:x}\r\n", events.len()).as_bytes());
        framed.extend_from_slice(events);
        framed.extend_from_slice(b"\r\n");
        Self(framed.into())
    }

    /// A comment, which keeps the connection alive.
    pub(crate) const fn comment() -> Self {
        Self(Bytes::from_static(COMMENT))
    }

    /// What [`framed`](Self::framed) answered before.
    pub(crate) const fn of_framed(framed: Bytes) -> Self {
        Self(framed)
    }

    /// The bytes as HTTP/1.1 frames them.
    #[must_use]
    pub const fn framed(&self) -> &Bytes {
        &self.0
    }

    /// The bytes alone, for whatever frames them otherwise. They are shared, not copied.
    #[must_use]
    pub fn plain(&self) -> Bytes {
        let line = self.0.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.0.slice(line..self.0.len() - b"\r\n".len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_has_its_bytes_between_its_length_and_its_end() {
        let text = "data: one\n\ndata: two\n\n";
        let chunk = Chunk::of(text.as_bytes());
        assert_eq!(chunk.framed(), &format!("16\r\n{text}\r\n"));
        assert_eq!(chunk.plain(), text);
        assert_eq!(Chunk::of_framed(chunk.framed().clone()), chunk);
        assert_eq!(Chunk::comment(), Chunk::of(b": still here\n\n"));
    }
}
