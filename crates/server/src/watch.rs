//! Views of one feed: waiting for a task, pages of its log, and event streams. All hear of the same
//! events with the same numbers; nothing is queued per follower.
//!
//! Read in this order: `cursor` (what a follower does next: the only decisions), `follower` (one that
//! waits), `stream` (one whose events are written to a client, in a form), `sse` (the form).

pub(crate) mod asking;
pub(crate) mod cursor;
pub(crate) mod estimate;
pub(crate) mod follower;
pub(crate) mod poll;
pub(crate) mod sse;
pub(crate) mod stream;
