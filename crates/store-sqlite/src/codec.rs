//! How tasks, events and policies look on disk: postcard behind a version byte.
//!
//! A new layout gets a new version and keeps the decoder of the old one. Not here: columns.

use relais_core::{Entry, EventData, TaskId, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::fault::Fault;

/// The layout written today.
const VERSION: u8 = 1;

/// Writes `value` into `bytes`, which are emptied first.
pub(crate) fn encode_into<T: Serialize>(value: &T, bytes: &mut Vec<u8>) {
    let mut buffer = std::mem::take(bytes);
    buffer.clear();
    buffer.push(VERSION);
    *bytes = postcard::to_extend(value, buffer).expect("values of our own always serialise");
}

/// `value` as it is stored.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    encode_into(value, &mut bytes);
    bytes
}

/// Reads what [`encode`] wrote; `what` names it for people.
pub(crate) fn decode<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, Fault> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => postcard::from_bytes(rest)
            .map_err(|error| Fault::damaged(format!("a {what} cannot be read: {error}"))),
        Some((version, _)) => Err(Fault::damaged(format!("a {what} has the layout {version}"))),
        None => Err(Fault::damaged(format!("a {what} is empty"))),
    }
}

/// Writes what an event's columns do not say.
pub(crate) fn encode_entry(entry: &Entry, bytes: &mut Vec<u8>) {
    encode_into(&(entry.at, entry.attempt, &entry.data), bytes);
}

/// Reads an event back.
pub(crate) fn decode_entry(task: TaskId, seq: u64, bytes: &[u8]) -> Result<Entry, Fault> {
    let (at, attempt, data): (Timestamp, u32, EventData) = decode("event", bytes)?;
    Ok(Entry { task, seq, at, attempt, data })
}

/// An id as its column has it: bytes in the order of ids.
pub(crate) fn id_bytes(id: TaskId) -> [u8; 16] {
    id.as_u128().to_be_bytes()
}

/// Reads an id back.
pub(crate) fn id_of(bytes: &[u8]) -> Result<TaskId, Fault> {
    let bits =
        bytes.try_into().map_err(|_| Fault::damaged("an id has another length".to_owned()))?;
    Ok(TaskId::from_u128(u128::from_be_bytes(bits)))
}
