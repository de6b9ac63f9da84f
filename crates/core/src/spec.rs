//! What a task was when it was accepted.

use std::time::Duration;

use bytes::Bytes;
use minicbor::{Decode, Encode};

use crate::attendance::Grace;
use crate::id::TaskId;
use crate::limits;
use crate::name::{LaneKey, QueueName, TenantName};
use crate::runner::Runner;
use crate::task::Priority;
use crate::time::Timestamp;
use crate::webhook::OwnWebhook;

/// What was asked of a route: enough to tell an import from an order. The query stays with the
/// stored request, because it may hold secrets.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RequestLine {
    /// The method that the route was called with.
    #[n(0)]
    pub method: String,
    /// The path as it came; one over [`limits::PATH_TOLD_BYTES_MAX`] is cut, and ends with `…`.
    #[n(1)]
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

/// For whom a task is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
#[cbor(index_only)]
pub enum Purpose {
    /// For whoever handed it in.
    #[default]
    #[n(0)]
    Client,
    /// For Relais, which made it to do what it owes somebody, like the delivery of a webhook. It runs
    /// like any other, with attempts, retries, lanes and a dead letter, but waits apart from clients'
    /// tasks, also in a queue of the same name. No list, log or count of a tenant has it, it takes none
    /// of a tenant's room, and to clients its id is that of no task.
    #[n(1)]
    Internal,
}

impl Purpose {
    /// Whether what happens to such a task is delivered to those who subscribed to it. A delivery is
    /// itself a task: if one caused deliveries, there would be no last one.
    #[must_use]
    pub const fn causes_deliveries(self) -> bool {
        match self {
            Self::Client => true,
            Self::Internal => false,
        }
    }
}

/// What a task was when it was accepted. Never changes.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Spec {
    /// The id that its submitter was told.
    #[n(0)]
    pub id: TaskId,
    /// Whose task it is.
    #[n(1)]
    pub tenant: TenantName,
    /// Where it waits.
    #[n(2)]
    pub queue: QueueName,
    /// The lane it shares with others, if any.
    #[n(3)]
    pub lane: Option<LaneKey>,
    /// How urgent it is: a higher number goes first.
    #[n(4)]
    pub priority: Priority,
    /// Free labels of the submitter, in its order.
    #[n(5)]
    pub labels: Vec<(String, String)>,
    /// Who runs it.
    #[n(6)]
    pub runner: Runner,
    /// When it was accepted.
    #[n(7)]
    pub created_at: Timestamp,
    /// When it may start for the first time.
    #[n(8)]
    pub run_at: Timestamp,
    /// How long after `run_at` (of each run) it must be done.
    #[n(9)]
    #[cbor(with = "crate::cbor::span")]
    pub deadline_after: Duration,
    /// How long it is kept after its end.
    #[n(10)]
    #[cbor(with = "crate::cbor::span")]
    pub retention: Duration,
    /// The media type of its input.
    #[n(11)]
    pub content_type: Option<String>,
    /// Length of its input, bytes.
    #[n(12)]
    pub input_bytes: u64,
    /// What the engine and the server need to know and the rules do not (route, access, target…).
    #[n(13)]
    #[cbor(with = "crate::cbor::opaque")]
    pub context: Bytes,
    /// Whose share of its queue it takes until it is terminal; `None` is
    /// bounded by the queue alone.
    #[n(14)]
    pub source: Option<Source>,
    /// What was asked; `None` where no route took it.
    #[n(15)]
    pub request: Option<RequestLine>,
    /// For whom it is done.
    #[n(16)]
    #[cbor(default)]
    pub purpose: Purpose,
    /// How long it goes on once everybody who attended it has left; `None` goes on in any case.
    #[n(17)]
    pub grace: Option<Grace>,
    /// Who is told of it, beside the endpoints of its tenant.
    #[n(18)]
    pub webhook: Option<OwnWebhook>,
}

impl Spec {
    /// Whether clients of this tenant know of the task: it is theirs, and not internal.
    #[must_use]
    pub fn is_shown_to(&self, tenant: &TenantName) -> bool {
        self.purpose == Purpose::Client && self.tenant == *tenant
    }
}

/// Where a task came from, as far as shares of a queue go: equal for those who have one share
/// together. It says nothing else: an address is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Source(
    #[cbor(with = "minicbor::bytes")]
    #[n(0)]
    pub [u8; 16],
);

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

    #[test]
    fn a_delivery_causes_no_other() {
        assert!(Purpose::default().causes_deliveries());
        assert!(!Purpose::Internal.causes_deliveries());
    }
}
