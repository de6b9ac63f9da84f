//! A request's body on its way into the store: read to its end before anything is decided.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use relais_core::limits;
use relais_engine::Engine;
use relais_store::{Data, Spool};

use super::form::Form;
use crate::answer::problem::Refusal;
use crate::request::bodies::Held;
use crate::request::incoming::too_large;
use crate::request::pieces::Pieces;

/// Reads a body of at most `max` bytes: what is small stays in memory, what is not goes to the store
/// piece by piece. `held` is the room it takes until it is whole; `form` looks at what comes.
///
/// # Errors
/// When it is too long, too slow or breaks off, its sender sends too much at once, or the store has no
/// room.
pub(crate) async fn read(
    engine: &Engine,
    body: Body,
    max: u64,
    mut form: Option<&mut Form>,
    mut held: Held,
) -> Result<Data, Refusal> {
    let mut pieces = Pieces::of(body);
    let mut kept = Kept::default();
    while let Some(piece) = pieces.next().await? {
        let len = kept.len() + piece.len() as u64;
        if len > max {
            return Err(too_large(max));
        }
        held.grow(len)?;
        if let Some(form) = &mut form {
            form.update(&piece);
        }
        kept.add(engine, piece).await?;
    }
    kept.finish().await
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
        if let Some(mut spool) = self.spool.take() {
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
