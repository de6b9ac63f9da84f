//! What has happened to what many follow, written once for all who are at the same place.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use relais_engine::{Channel, View};

use crate::watch::cursor::Batch;
use crate::watch::stream::EventStream;

/// What is at hand, and what was written of it.
pub(in crate::connection) struct Round {
    pub(in crate::connection) view: View,
    pieces: Vec<(Box<str>, Range<usize>, Arc<Piece>)>,
}

/// Pieces that are kept for others who are at the same place. Each has a name of its form, which clients of
/// WebSockets choose: as many names as there are followers would be looked through for each.
const PIECES_MAX: usize = 8;

/// Bytes to be written to a bare socket.
pub(in crate::connection) struct Piece {
    pub(in crate::connection) batch: Batch,
    /// How many happenings of the batch are in it.
    pub(in crate::connection) count: usize,
    pub(in crate::connection) framed: Bytes,
}

impl Round {
    pub(in crate::connection) fn new(view: View) -> Self {
        Self { view, pieces: Vec::new() }
    }

    /// What followers of a channel need who need what is at hand from these on; `None` if there are none.
    pub(in crate::connection) fn for_all(
        channel: &Channel,
        nexts: impl Iterator<Item = u64>,
    ) -> Option<Self> {
        nexts.min().map(|from| Self::new(channel.view(from)))
    }

    /// Part of the view, in the form of a stream, framed for what carries it.
    pub(in crate::connection) fn piece(
        &mut self,
        stream: &EventStream,
        range: Range<usize>,
        frame: impl FnOnce(Vec<u8>) -> Bytes,
    ) -> Arc<Piece> {
        let form = stream.form().name();
        let is_it =
            |(other, known, _): &&(Box<str>, Range<usize>, _)| **other == *form && *known == range;
        if let Some((.., piece)) = self.pieces.iter().find(is_it) {
            return piece.clone();
        }
        let batch = Batch::of_view(&self.view, range.clone());
        let mut out = Vec::new();
        let count = stream.write(&batch, &mut out);
        let piece = Arc::new(Piece { batch, count, framed: frame(out) });
        if self.pieces.len() < PIECES_MAX {
            self.pieces.push((form.into(), range, piece.clone()));
        }
        piece
    }
}
