//! How drivers keep what can grow (tasks, entries, policies) in the blobs of their rows: a byte that
//! says which format it is, then numbered members.
//!
//! Versions of Relais share a store, so a reader skips members that it does not know, and has defaults for those
//! that are missing; a rewrite drops what it skipped. Hence the rule for whoever changes what is stored:
//! - A new member, or a new variant, takes the next number, and raises [`FORMAT`]. A member is
//!   optional, or has a default. No number is used twice.
//! - Rows are written in the store's format, which is the lowest of the nodes that live
//!   ([`Nodes::format`](crate::Nodes::format)), and goes up when all are there. What came later is not
//!   written until then: a member by [`relais_core::cbor::since`]; for a variant nothing could stand
//!   in, so that whoever would bring it about asks for the format first.
//! - A row of a higher format than this program's is neither read nor written: it is named as
//!   [`Unreadable::Newer`].
//!
//! `tests/it/rows.rs` holds rows of each format, as bytes.

use minicbor::{Decode, Decoder, Encode};
use relais_core::cbor::Format;
use relais_core::{Entry, EventData, TaskId, Timestamp};

/// The newest format that this program reads and writes; below 256.
pub const FORMAT: Format = 1;

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

/// Writes `value` in a format into `bytes`, which are emptied first.
pub fn encode_into<T: Encode<Format>>(value: &T, mut format: Format, bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.push(u8::try_from(format).expect("formats are below 256"));
    minicbor::encode_with(value, bytes, &mut format).expect("memory takes all that is written");
}

/// `value` as it is stored in a format.
#[must_use]
pub fn encode<T: Encode<Format>>(value: &T, format: Format) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    encode_into(value, format, &mut bytes);
    bytes
}

/// Reads what [`encode`] wrote, in this version or another.
///
/// # Errors
/// See [`Unreadable`].
pub fn decode<'b, T: Decode<'b, Format>>(bytes: &'b [u8]) -> Result<T, Unreadable> {
    let damaged = |why: &dyn std::fmt::Display| Unreadable::Damaged(why.to_string());
    let (mut format, rest) = match bytes.split_first() {
        Some((format @ 1..=FORMAT_BYTE, rest)) => (Format::from(*format), rest),
        Some((0, _)) | None => return Err(damaged(&"it has no format")),
        Some((format, _)) => return Err(Unreadable::Newer(*format)),
    };
    let mut from = Decoder::new(rest);
    let value = from.decode_with(&mut format).map_err(|error| damaged(&error))?;
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
pub fn encode_entry(entry: &Entry, format: Format, bytes: &mut Vec<u8>) {
    let Entry { at, attempt, data, .. } = entry;
    encode_into(&EntryRow { at: *at, attempt: *attempt, data }, format, bytes);
}

/// Reads an entry back.
///
/// # Errors
/// See [`Unreadable`].
pub fn decode_entry(task: TaskId, seq: u64, bytes: &[u8]) -> Result<Entry, Unreadable> {
    let EntryRow::<EventData> { at, attempt, data } = decode(bytes)?;
    Ok(Entry { task, seq, at, attempt, data })
}
