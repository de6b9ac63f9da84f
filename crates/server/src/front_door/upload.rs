//! A request's body on its way into the store: read to its end before anything is decided.

use std::time::Duration;

use aws_lc_rs::digest;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use relais_api::codes;
use relais_core::limits;
use relais_engine::Engine;
use relais_store::{Data, Spool};

use crate::bodies::Held;
use crate::incoming::{broken_off, too_large};
use crate::problem::Refusal;

/// How long a client may pause in the middle of its upload.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A body that came whole, and is durable as far as it is not small.
#[derive(Debug)]
pub(crate) struct Uploaded {
    /// The bytes.
    pub(crate) data: Data,
    /// Their SHA-256, if it was asked for.
    pub(crate) sha256: Option<[u8; 32]>,
}

/// Whether a body's SHA-256 is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Digest {
    /// Yes: the request has an idempotency key.
    Wanted,
    /// No.
    Unwanted,
}

/// Reads a body of at most `max` bytes: what is small stays in memory, what is not goes to the store
/// piece by piece. `held` is the room it takes until it is whole.
///
/// # Errors
/// When it is too long, too slow or breaks off, its sender sends too much at once, or the store has no
/// room.
pub(crate) async fn read(
    engine: &Engine,
    mut body: Body,
    max: u64,
    digest: Digest,
    mut held: Held,
) -> Result<Uploaded, Refusal> {
    let mut kept = Kept::default();
    let mut hash = (digest == Digest::Wanted).then(|| digest::Context::new(&digest::SHA256));
    while let Some(frame) = next(&mut body).await? {
        let len = kept.len() + frame.len() as u64;
        if len > max {
            return Err(too_large(max));
        }
        held.grow(len)?;
        if let Some(hash) = &mut hash {
            hash.update(&frame);
        }
        kept.add(engine, frame).await?;
    }
    let sha256 = hash.map(|hash| hash.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"));
    Ok(Uploaded { data: kept.finish().await?, sha256 })
}

/// The next bytes; `None` at the end.
async fn next(body: &mut Body) -> Result<Option<Bytes>, Refusal> {
    loop {
        let frame = tokio::time::timeout(PAUSE_MAX, body.frame()).await;
        let frame = frame.map_err(|_| Refusal::new(&codes::REQUEST_TIMEOUT).closing())?;
        match frame.transpose().map_err(|_| broken_off())?.map(http_body::Frame::into_data) {
            None => return Ok(None),
            Some(Ok(data)) => return Ok(Some(data)),
            // Trailers are not kept.
            Some(Err(_)) => {}
        }
    }
}

/// What has come so far.
#[derive(Default)]
struct Kept {
    first: Bytes,
    rest: BytesMut,
    spool: Option<Box<dyn Spool>>,
}

impl Kept {
    fn len(&self) -> u64 {
        match &self.spool {
            Some(spool) => spool.len(),
            None => (self.first.len() + self.rest.len()) as u64,
        }
    }

    async fn add(&mut self, engine: &Engine, data: Bytes) -> Result<(), Refusal> {
        if let Some(spool) = &mut self.spool {
            engine.require_room(data.len() as u64)?;
            return Ok(spool.write(data).await?);
        }
        if self.first.is_empty() && data.len() <= limits::INLINE_BODY_BYTES_MAX {
            // Most bodies come in one piece, which is not copied.
            self.first = data;
        } else if self.len() + data.len() as u64 <= limits::INLINE_BODY_BYTES_MAX as u64 {
            self.rest.extend_from_slice(&data);
        } else {
            engine.require_room(data.len() as u64)?;
            let mut spool = engine.spool().await?;
            for piece in [std::mem::take(&mut self.first), self.rest.split().freeze(), data] {
                if !piece.is_empty() {
                    spool.write(piece).await?;
                }
            }
            self.spool = Some(spool);
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<Data, Refusal> {
        if let Some(spool) = self.spool.take() {
            return Ok(spool.finish().await?);
        }
        if self.rest.is_empty() {
            return Ok(Data::Inline(self.first));
        }
        let mut all = BytesMut::with_capacity(self.first.len() + self.rest.len());
        all.extend_from_slice(&self.first);
        all.extend_from_slice(&self.rest);
        Ok(Data::Inline(all.freeze()))
    }
}
