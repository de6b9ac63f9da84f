//! Events framed for streams. What an event says is `relais_engine::document`'s.

use bytes::Bytes;
use relais_core::Entry;
use relais_engine::Published;
use relais_engine::document::event_of;

use crate::watch::chunk::Chunk;

/// An entry as an event of a stream over one task, without framing.
#[must_use]
pub(crate) fn sse_of(entry: &Entry, base: &str) -> Bytes {
    let mut out = Vec::with_capacity(256);
    event_of(entry, base).encode_sse(&mut out);
    out.into()
}

/// A published entry as an event of a stream over one task: encoded once, shared by all its
/// followers.
#[must_use]
pub(crate) fn shared_sse_of(published: &Published, base: &str) -> Chunk {
    let framed = published
        .encoded
        .get_or_init(|| Chunk::of(&sse_of(&published.entry, base)).framed().clone());
    Chunk::of_framed(framed.clone())
}
