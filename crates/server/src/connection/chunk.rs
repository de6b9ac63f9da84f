//! Pieces of a stream with their framing as chunks of HTTP/1.1 (RFC 9112, 7.1), for a bare socket.

use bytes::Bytes;

/// What ends a chunked body: without it the connection was cut.
pub(super) const LAST: &[u8] = b"0\r\n\r\n";

/// Appends bytes as one chunk; there is at least one, as none would be the end.
pub(super) fn write(piece: &[u8], out: &mut Vec<u8>) {
    debug_assert!(!piece.is_empty(), "an empty chunk ends a body");
    out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
    out.extend_from_slice(piece);
    out.extend_from_slice(b"\r\n");
}

/// Bytes as one chunk.
pub(super) fn of(piece: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(piece.len() + 12);
    write(piece, &mut out);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_has_its_bytes_between_its_length_and_its_end() {
        let text = "data: one\n\ndata: two\n\n";
        assert_eq!(of(text.as_bytes()), format!("16\r\n{text}\r\n"));
    }
}
