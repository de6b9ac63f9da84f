//! What has happened to what many follow, written once for all who are at the same place.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use relais_engine::View;

use crate::connection::chunk;
use crate::watch::cursor::Batch;
use crate::watch::stream::EventStream;

/// What is at hand, and what was written of it.
pub(super) struct Round {
    pub(super) view: View,
    pieces: Vec<(&'static str, Range<usize>, Arc<Piece>)>,
}

/// Bytes to be written to a bare socket.
pub(super) struct Piece {
    pub(super) batch: Batch,
    /// How many happenings of the batch are in it.
    pub(super) count: usize,
    pub(super) framed: Bytes,
}

impl Round {
    pub(super) fn new(view: View) -> Self {
        Self { view, pieces: Vec::new() }
    }

    /// Part of the view, in the form of a stream.
    pub(super) fn piece(&mut self, stream: &EventStream, range: Range<usize>) -> Arc<Piece> {
        let form = stream.form().media_type();
        let is_it =
            |(other, known, _): &&(&str, Range<usize>, _)| *other == form && *known == range;
        if let Some((.., piece)) = self.pieces.iter().find(is_it) {
            return piece.clone();
        }
        let batch = Batch::of_view(&self.view, range.clone());
        let mut out = Vec::new();
        let count = stream.write(&batch, &mut out);
        let piece = Arc::new(Piece { batch, count, framed: chunk::of(&out) });
        self.pieces.push((form, range, piece.clone()));
        piece
    }
}
