//! Stored bodies as bodies of answers: read in bounded pieces, as fast as the client takes them.

use std::convert::Infallible;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use relais_store::{BodyRead, BodySource, StoreError, StoreFuture, StoredBody};

/// Bytes read from the store at once.
pub(crate) const PIECE_BYTES: usize = 64 << 10;

/// The bytes of a stored body, with their length announced.
pub(crate) fn body_of(stored: &StoredBody) -> Body {
    part_of(stored, 0..stored.len)
}

/// Some of them: what stands before is not read.
pub(crate) fn part_of(stored: &StoredBody, part: Range<u64>) -> Body {
    match &stored.data {
        BodySource::Inline(bytes) => {
            let within = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
            Body::from(bytes.slice(within(part.start)..within(part.end)))
        }
        BodySource::Reader(reader) => Body::new(Pieces::new(reader.clone(), part)),
    }
}

/// No body, and no length of one: an answer to HEAD, a 204 and a 304 must not say that it is empty.
pub(crate) fn no_body() -> Body {
    Body::new(Nothing)
}

struct Nothing;

impl http_body::Body for Nothing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }
}

/// A body that is read while it is sent. Ends in an error, so that the connection is aborted, when
/// the store has fewer bytes than it said.
pub(crate) struct Pieces {
    reader: Arc<dyn BodyRead>,
    offset: u64,
    end: u64,
    reading: Option<StoreFuture<'static, Bytes>>,
}

impl Pieces {
    pub(crate) fn new(reader: Arc<dyn BodyRead>, part: Range<u64>) -> Self {
        Self { reader, offset: part.start, end: part.end, reading: None }
    }

    fn left(&self) -> u64 {
        self.end - self.offset
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = StoreError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StoreError>>> {
        if self.left() == 0 {
            return Poll::Ready(None);
        }
        let mut reading = self.reading.take().unwrap_or_else(|| {
            let reader = self.reader.clone();
            let offset = self.offset;
            let max = usize::try_from(self.left()).unwrap_or(usize::MAX).min(PIECE_BYTES);
            Box::pin(async move { reader.read_at(offset, max).await })
        });
        let Poll::Ready(piece) = reading.as_mut().poll(context) else {
            self.reading = Some(reading);
            return Poll::Pending;
        };
        Poll::Ready(Some(match piece {
            Ok(piece) if piece.is_empty() || piece.len() as u64 > self.left() => {
                Err(StoreError::Corrupt("a body has another length than it should".to_owned()))
            }
            Ok(piece) => {
                self.offset += piece.len() as u64;
                Ok(Frame::data(piece))
            }
            Err(error) => Err(error),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}
