//! How tasks, events and policies look in the file (`relais_store::row`), and what it means when they
//! cannot be read. Not here: columns.

use minicbor::Decode;
use relais_core::cbor::Format;
use relais_core::{Entry, TaskId};
use relais_store::row;
pub(crate) use relais_store::row::{encode, encode_entry, encode_into};

use crate::fault::Fault;

/// Reads what [`encode`] wrote; `what` names it for people.
pub(crate) fn decode<'b, T: Decode<'b, Format>>(what: &str, bytes: &'b [u8]) -> Result<T, Fault> {
    row::decode(bytes).map_err(|error| Fault::damaged(format!("of a {what}: {error}")))
}

/// Reads an event back. One that cannot be read is the damage of its task.
pub(crate) fn decode_entry(task: TaskId, seq: u64, bytes: &[u8]) -> Result<Entry, Fault> {
    let unreadable = |error| Fault::Task { n: None, why: format!("of an event: {error}") };
    row::decode_entry(task, seq, bytes).map_err(unreadable)
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
