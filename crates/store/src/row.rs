//! How drivers keep what can grow (tasks, entries, policies) in the blobs of their rows: a byte that
//! says which format it is, then numbered members.
//!
//! Versions of Relais share a store, so a reader skips members that it does not know, and has defaults for those
//! that are missing; a rewrite drops what it skipped. Hence the rule for whoever changes what is stored:
//! - A new member, or a new variant, takes the next number, and raises [`FORMAT`]. A member is
//!   optional, or has a default. No number is used twice.
//! - It is written only where the store's format allows it: that is the lowest of the nodes that
//!   live. It goes up when all are there.
//! - A row of a higher format than this program's is neither read nor written: it is named as
//!   [`Unreadable::Newer`].
//!
//! `tests/it/rows.rs` holds rows of each format, as bytes.

use minicbor::{Decode, Decoder, Encode};
use relais_core::{Entry, EventData, TaskId, Timestamp};

/// The format that this program writes, and the newest that it reads; below 256.
pub const FORMAT: u32 = 1;

const FORMAT_BYTE: u8 = FORMAT as u8;

/// Why a row cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A newer Relais wrote it, which is to read it.
    #[error("it has format {0}, and this program reads up to {FORMAT}: use a newer Relais")]
    Newer(u8),
    /// It is not what was written.
    #[error("it cannot be read: {0}")]
    Damaged(String),
}

/// Writes `value` into `bytes`, which are emptied first.
pub fn encode_into<T: Encode<()>>(value: &T, bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.push(FORMAT_BYTE);
    minicbor::encode(value, bytes).expect("memory takes all that is written");
}

/// `value` as it is stored.
#[must_use]
pub fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    encode_into(value, &mut bytes);
    bytes
}

/// Reads what [`encode`] wrote, in this version or another.
///
/// # Errors
/// See [`Unreadable`].
pub fn decode<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, Unreadable> {
    let damaged = |why: &dyn std::fmt::Display| Unreadable::Damaged(why.to_string());
    let rest = match bytes.split_first() {
        Some((1..=FORMAT_BYTE, rest)) => rest,
        Some((0, _)) | None => return Err(damaged(&"it has no format")),
        Some((format, _)) => return Err(Unreadable::Newer(*format)),
    };
    let mut from = Decoder::new(rest);
    let value = from.decode().map_err(|error| damaged(&error))?;
    if from.position() < rest.len() {
        return Err(damaged(&"there is more than was written"));
    }
    Ok(value)
}

/// What the columns of an entry's row do not say.
#[derive(Encode, Decode)]
struct EntryRow<D> {
    #[n(0)]
    at: Timestamp,
    #[n(1)]
    attempt: u32,
    #[n(2)]
    data: D,
}

/// Writes an entry, but for its task and its number, which have columns of their own.
pub fn encode_entry(entry: &Entry, bytes: &mut Vec<u8>) {
    encode_into(&EntryRow { at: entry.at, attempt: entry.attempt, data: &entry.data }, bytes);
}

/// Reads an entry back.
///
/// # Errors
/// See [`Unreadable`].
pub fn decode_entry(task: TaskId, seq: u64, bytes: &[u8]) -> Result<Entry, Unreadable> {
    let EntryRow::<EventData> { at, attempt, data } = decode(bytes)?;
    Ok(Entry { task, seq, at, attempt, data })
}
