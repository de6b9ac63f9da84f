//! What workers send and get: leases, heartbeats, settles.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::bounded;
use crate::decode::{DecodeError, Item};
use crate::object::object;
use crate::problem::Problem;
use crate::raw::RawJson;
use crate::task::{Message, Progress, Task};
use crate::time::{Span, Time};
use crate::words::words;

/// The body of `POST /v1/queues/{queue}/leases`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct LeaseRequest {
    /// How many tasks to lease at most, 1 to 1,000; 1 unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000)]
    pub max: Option<u32>,
    /// How long to wait for the first one, at most 55 s; not at all unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<Span>,
    /// The worker's name for itself, shown to operators.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 128)]
    pub worker: Option<String>,
}

/// The answer: the tasks leased, maybe none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct LeaseResponse {
    /// One lease for each task.
    #[schema(max_items = 1000)]
    pub leases: Vec<Lease>,
}

/// The right to run one attempt of a task until `lease_until`.
///
/// The input is in exactly one of `input`, `input_base64` and `input_url`; none means the task has
/// no input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct Lease {
    /// The fencing token: goes with each heartbeat and with the settle. A secret.
    pub token: String,
    /// The task's id.
    pub task: String,
    /// The task's queue.
    pub queue: String,
    /// The task's lane.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// The number of this attempt.
    #[schema(minimum = 1)]
    pub attempt: u32,
    /// The task's run.
    #[schema(minimum = 1)]
    pub run: u32,
    /// The client's own names and values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(required = false)]
    pub labels: BTreeMap<String, String>,
    /// The media type of the input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// What was asked; only of tasks that came by the front door.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestHead>,
    /// The input when it was submitted as JSON, with the source bytes kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<RawJson>,
    /// The input when it is anything else, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_base64: Option<String>,
    /// Where to get an input over 64 KiB, with the token in `Relais-Lease`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_url: Option<String>,
    /// Where to resume: the latest checkpoint of an earlier attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<RawJson>,
    /// How often to send a heartbeat: a third of the lease.
    pub heartbeat_every: Span,
    /// When the lease ends unless a heartbeat extends it.
    pub lease_until: Time,
    /// When the task fails if it is not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Time>,
}

/// What was asked of a route of the front door, whole but for credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct RequestHead {
    /// The method that the route was called with.
    #[schema(example = "PUT")]
    pub method: String,
    /// The path as it came.
    #[schema(example = "/reports/monthly")]
    pub path: String,
    /// The query as it came, without its `?`; left out where there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "year=2026")]
    pub query: Option<String>,
    /// The values of the names in the route's path, decoded.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(required = false, example = json!({"name": "monthly"}))]
    pub params: BTreeMap<String, String>,
    /// The end-to-end fields, as pairs of a name in lower case and a value, in order. Sealed fields
    /// (`Authorization`, `Cookie`…) are not among them; bytes that are not UTF-8 are U+FFFD.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Vec<String>>, required = false)]
    pub headers: Vec<(String, String)>,
}

/// The body of `POST /v1/leases/heartbeat`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct HeartbeatRequest {
    /// Up to 1,000 heartbeats; a bad one spoils itself only.
    #[serde(deserialize_with = "bounded::list")]
    #[schema(value_type = Vec<Heartbeat>, max_items = 1000)]
    pub items: Vec<Item<Heartbeat>>,
}

/// Extends one lease, and reports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct Heartbeat {
    /// The lease's token.
    pub token: String,
    /// How far the attempt has come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// A piece of output for the followers, up to 64 KiB; becomes an event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<RawJson>,
    /// Where a later attempt resumes, up to 64 KiB; replaces the one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<RawJson>,
}

/// The answer: one entry for each heartbeat, in the same order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct HeartbeatResponse {
    /// What became of each.
    #[schema(max_items = 1000)]
    pub items: Vec<HeartbeatItem>,
}

/// What became of one heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct HeartbeatItem {
    /// 200, or the problem's status.
    #[schema(minimum = 200, maximum = 599)]
    pub status: u16,
    /// When the lease ends now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_until: Option<Time>,
    /// The task was canceled: stop. The lease is over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub canceled: bool,
    /// Why nothing was extended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

words! {
    /// How an attempt ended, as its worker says.
    Outcome {
        /// It is done.
        Succeed = "succeed",
        /// It could not be done.
        Fail = "fail",
        /// The worker gives it back untouched: no failure is counted.
        Release = "release",
    }
}

/// The body of `POST /v1/leases/settle`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct SettleRequest {
    /// Up to 1,000 settles; a bad one spoils itself only.
    #[serde(deserialize_with = "bounded::list")]
    #[schema(value_type = Vec<Settle>, max_items = 1000)]
    pub items: Vec<Item<Settle>>,
    /// Leases the next tasks in the same round trip.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_next: Option<LeaseNext>,
}

/// What to lease after a settle; it does not wait.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct LeaseNext {
    /// From which queue.
    #[schema(min_length = 1, max_length = 64)]
    pub queue: String,
    /// How many at most, 1 to 1,000; 1 unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000)]
    pub max: Option<u32>,
    /// The worker's name for itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 128)]
    pub worker: Option<String>,
}

/// Ends one attempt. Each member says which `outcome` it goes with.
///
/// [`Settle::check`] tells whether a value keeps to this.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct Settle {
    /// The lease's token.
    pub token: String,
    /// How it ended.
    pub outcome: Outcome,
    /// `succeed`: the result as JSON; its source bytes are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<RawJson>,
    /// `succeed`: the result as bytes, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(content_encoding = "base64")]
    pub result_base64: Option<String>,
    /// `succeed`: the result that `PUT /v1/leases/result` stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_id: Option<String>,
    /// `succeed`: the media type of the result; `application/json` for `result`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// `succeed`: the HTTP status that the result is answered with; 200 unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 200, maximum = 599)]
    pub status: Option<u16>,
    /// `succeed`: more fields of that answer, as pairs of name and value, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounded::fields")]
    #[schema(value_type = Vec<Vec<String>>, required = false)]
    pub headers: Vec<(String, String)>,
    /// `fail`: why, as a problem (RFC 9457) whose members may all be left out; without a `code` it
    /// is `handler-failed`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "bounded::tree")]
    #[schema(value_type = Object)]
    pub problem: Option<Problem>,
    /// `fail`: whether another attempt makes sense; it does unless the problem says otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retryable: Option<bool>,
    /// `fail`: not before this long from now. With `release` it is not built yet, and refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Span>,
    /// For end users.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Message>,
}

impl Settle {
    /// A settle with nothing but its token and outcome.
    #[must_use]
    pub fn new(token: impl Into<String>, outcome: Outcome) -> Self {
        Self {
            token: token.into(),
            outcome,
            result: None,
            result_base64: None,
            result_id: None,
            content_type: None,
            status: None,
            headers: Vec::new(),
            problem: None,
            retryable: None,
            retry_after: None,
            message: None,
        }
    }

    /// Checks that the members fit the outcome and each other.
    ///
    /// # Errors
    /// Names the first member that does not fit.
    pub fn check(&self) -> Result<(), DecodeError> {
        let of_success = [
            ("/result", self.result.is_some()),
            ("/result_base64", self.result_base64.is_some()),
            ("/result_id", self.result_id.is_some()),
            ("/content_type", self.content_type.is_some()),
            ("/status", self.status.is_some()),
            ("/headers", !self.headers.is_empty()),
        ];
        let of_failure =
            [("/problem", self.problem.is_some()), ("/retryable", self.retryable.is_some())];
        let given = |members: &[(&'static str, bool)]| {
            members.iter().find(|(_, given)| *given).map(|(pointer, _)| *pointer)
        };
        let stray = match self.outcome {
            Outcome::Succeed => given(&of_failure)
                .or_else(|| given(&[("/retry_after", self.retry_after.is_some())])),
            Outcome::Fail => given(&of_success),
            Outcome::Release => given(&of_success)
                .or_else(|| given(&of_failure))
                .or_else(|| given(&[("/message", self.message.is_some())])),
        };
        if let Some(pointer) = stray {
            let detail = format!("does not go with the outcome \"{}\"", self.outcome);
            return Err(DecodeError::invalid(pointer, detail));
        }
        let mut results = of_success[..3].iter().filter(|(_, given)| *given);
        if let (Some(_), Some((second, _))) = (results.next(), results.next()) {
            let detail = "give one of result, result_base64 and result_id";
            return Err(DecodeError::invalid(*second, detail));
        }
        if self.result_base64.is_some() && self.content_type.is_none() {
            let detail = "result_base64 needs its content_type";
            return Err(DecodeError::invalid("/content_type", detail));
        }
        Ok(())
    }
}

/// The answer: one entry for each settle, in the same order, and what was leased next.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct SettleResponse {
    /// What became of each.
    #[schema(max_items = 1000)]
    pub items: Vec<SettleItem>,
    /// What `lease_next` leased.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, max_items = 1000)]
    pub leases: Vec<Lease>,
}

/// What became of one settle: `task`, or `problem`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct SettleItem {
    /// 200, or the problem's status.
    #[schema(minimum = 200, maximum = 599)]
    pub status: u16,
    /// The same settle had been recorded before: nothing changed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub replayed: bool,
    /// The task had been canceled: the outcome was not recorded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub canceled: bool,
    /// The task as it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// Why the outcome was not recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// The answer of `PUT /v1/leases/result`: what to name in the settle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct StoredResult {
    /// Goes into `result_id` of the settle.
    pub result_id: String,
    /// How many bytes were stored.
    pub size: u64,
}

object!(
    LeaseRequest,
    LeaseResponse,
    Lease,
    RequestHead,
    HeartbeatRequest,
    Heartbeat,
    HeartbeatResponse,
    HeartbeatItem,
    SettleRequest,
    LeaseNext,
    Settle,
    SettleResponse,
    SettleItem,
    StoredResult,
);
