//! Views of one feed: long-poll, pages of the log, and event streams. All read the same log with
//! the same numbers; nothing is queued per follower.

pub(crate) mod chunk;
pub(crate) mod encode;
pub(crate) mod estimate;
pub(crate) mod many;
pub(crate) mod poll;
pub(crate) mod sse;
