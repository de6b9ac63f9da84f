//! Changing tasks by hand: cancel and retry, one or many at a time.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::decode::DecodeError;
use crate::object::object;
use crate::task::Status;
use crate::words::words;

/// The body of `POST /v1/tasks/retry` and `/cancel`: which tasks.
///
/// All members given must fit. At least one of `queue`, `status`, `label`, `lane` and `code` is
/// needed, so that an empty body does not change everything.
///
/// A retry leaves out tasks that failed as `outcome-unknown`, whose work may be done already: it
/// takes them only with that `code`.
///
/// [`BulkRequest::check`] tells whether a value keeps to this.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
#[schema(min_properties = 1)]
pub struct BulkRequest {
    /// Of this queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 64)]
    pub queue: Option<String>,
    /// In this status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// With this label, as `name=value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 257)]
    pub label: Option<String>,
    /// Of this lane.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 128)]
    pub lane: Option<String>,
    /// Failed with a problem of this code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// From where the call before left off: its `next`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// How many to change at most, 1 to 1,000; 1,000 unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

impl BulkRequest {
    /// Checks that the filter says which tasks.
    ///
    /// # Errors
    /// When it would take all there are.
    pub fn check(&self) -> Result<(), DecodeError> {
        let filters = self.queue.is_some()
            || self.status.is_some()
            || self.label.is_some()
            || self.lane.is_some()
            || self.code.is_some();
        if filters {
            return Ok(());
        }
        Err(DecodeError::invalid("", "give at least one of queue, status, label, lane and code"))
    }
}

/// The answer: how many were changed, and where to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct BulkResponse {
    /// Tasks changed by this call.
    pub changed: u64,
    /// Tasks that fit, and that a retry left out because nobody knows whether their work was done.
    #[serde(default)]
    pub left_out: u64,
    /// What to give as `after` in the next call; left out when all are done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

words! {
    /// Where a retry by hand goes on.
    RetryFrom {
        /// From the latest checkpoint, if there is one.
        Checkpoint = "checkpoint",
        /// From the start.
        Start = "start",
    }
}

/// The body of `POST /v1/tasks/{id}/retry`; it may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct RetryRequest {
    /// Where to go on; `checkpoint` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<RetryFrom>,
}

object!(BulkRequest, BulkResponse, RetryRequest);
