//! What a task was when it was accepted.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::TaskId;
use crate::limits;
use crate::name::{LaneKey, QueueName, TenantName};
use crate::task::{Priority, Runner};
use crate::time::Timestamp;

/// What was asked of a route: enough to tell an import from an order. The query stays with the
/// stored request, because it may hold secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestLine {
    /// The method.
    pub method: String,
    /// The path as it came; one over [`limits::PATH_TOLD_BYTES_MAX`] is cut, and ends with `…`.
    pub path: String,
}

impl RequestLine {
    /// What a request of this method and path asks.
    #[must_use]
    pub fn new(method: &str, path: &str) -> Self {
        let max = limits::PATH_TOLD_BYTES_MAX;
        let path = if path.len() <= max {
            path.to_owned()
        } else {
            let room = max - '…'.len_utf8();
            let end = (0..=room).rev().find(|at| path.is_char_boundary(*at)).unwrap_or(0);
            format!("{}…", &path[..end])
        };
        Self { method: method.to_owned(), path }
    }
}

/// What a task was when it was accepted. Never changes.
///
/// Persisted: fields are appended, never reordered; a new layout gets a new
/// version byte in the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// Public id.
    pub id: TaskId,
    /// Whose task it is.
    pub tenant: TenantName,
    /// Where it waits.
    pub queue: QueueName,
    /// The lane it shares with others, if any.
    pub lane: Option<LaneKey>,
    /// Urgency.
    pub priority: Priority,
    /// Free labels of the submitter, in its order.
    pub labels: Vec<(String, String)>,
    /// Who runs it.
    pub runner: Runner,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it may start for the first time.
    pub run_at: Timestamp,
    /// How long after `run_at` (of each run) it must be done.
    pub deadline_after: Duration,
    /// How long it is kept after its end.
    pub retention: Duration,
    /// The media type of its input.
    pub content_type: Option<String>,
    /// Length of its input, bytes.
    pub input_bytes: u64,
    /// What the engine and the server need to know and the rules do not (route, access, target…).
    pub context: Bytes,
    /// Whose share of its queue it takes until it is terminal; `None` is
    /// bounded by the queue alone.
    pub source: Option<Source>,
    /// What was asked; `None` where no route took it.
    pub request: Option<RequestLine>,
}

/// Where a task came from, as far as shares of a queue go: equal for those who have one share
/// together. It says nothing else: an address is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Source(pub [u8; 16]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_up_to_its_limit() {
        let told = |path: String| RequestLine::new("GET", &path).path;
        let max = limits::PATH_TOLD_BYTES_MAX;
        let whole = "/".repeat(max);
        assert_eq!(told(whole.clone()), whole);
        let cut = told(format!("{}äxyz", "/".repeat(max - 4)));
        assert_eq!(cut, format!("{}…", "/".repeat(max - 4)), "no character is cut in two");
    }
}
