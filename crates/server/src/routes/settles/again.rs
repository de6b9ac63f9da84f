//! A settle said again: whether it brings the result that was recorded.
//!
//! The rules compare what they see of an end: its kind, its failure, its message. Results are bytes of
//! the store, and are compared here, where a settle is said again only.

use bytes::Bytes;
use relais_core::{BodyKind, Refused, Reply, TaskId};
use relais_engine::envelope;
use relais_engine::measure::meters::Meters;
use relais_engine::{EngineError, ResultHead};
use relais_store::{BodySource, Stepped, StoreError, StoredBody};

use crate::answer::problem::Refusal;
use crate::app::App;

/// Bytes that are read and compared at once.
const PIECE_BYTES: usize = 64 << 10;

/// What a settle brings as its result.
pub(super) enum Brought {
    /// Nothing to compare: it is no success, or names a stored result, of which only the name is known
    /// once it was recorded.
    Unknown,
    /// A success without a result.
    Nothing,
    /// A head, which is stored in one format or another, and bytes.
    Result(ResultHead, Bytes),
}

/// The answer to a settle, unless it is said again with another result than the recorded one.
///
/// # Errors
/// Then; when the store cannot be read; and as `answer` has it.
pub(super) async fn checked(
    app: &App,
    answer: Result<Stepped, Refusal>,
    brought: Brought,
) -> Result<Stepped, Refusal> {
    let stepped = answer?;
    if stepped.reply != Reply::Replayed {
        return Ok(stepped);
    }
    let id = stepped.changed.task.spec.id;
    match is_recorded(app, id, &brought).await {
        // What is damaged cannot be compared.
        Ok(true) | Err(EngineError::Store(StoreError::BodyDamaged(_))) => Ok(stepped),
        Ok(false) => {
            Meters::count(&app.engine.meters().stale_settles);
            Err(Refusal::from(Refused::SettledOtherwise).about(id))
        }
        Err(error) => Err(error.into()),
    }
}

async fn is_recorded(app: &App, id: TaskId, brought: &Brought) -> Result<bool, EngineError> {
    let stored = async || app.engine.body(id, BodyKind::Result).await;
    Ok(match brought {
        Brought::Unknown => true,
        Brought::Nothing => stored().await?.is_none(),
        Brought::Result(head, bytes) => match stored().await? {
            Some(stored) => {
                let is_same = envelope::decode::<ResultHead>(&stored.head)? == *head;
                is_same && has_bytes(&stored, bytes).await?
            }
            None => false,
        },
    })
}

async fn has_bytes(stored: &StoredBody, bytes: &Bytes) -> Result<bool, StoreError> {
    let reader = match &stored.data {
        BodySource::Inline(stored) => return Ok(stored == bytes),
        BodySource::Reader(reader) => reader,
    };
    if stored.len != bytes.len() as u64 {
        return Ok(false);
    }
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let offset = (bytes.len() - rest.len()) as u64;
        let piece = reader.read_at(offset, PIECE_BYTES.min(rest.len())).await?;
        match rest.strip_prefix(&piece[..]) {
            Some(after) if !piece.is_empty() => rest = after,
            _ => return Ok(false),
        }
    }
    Ok(true)
}
