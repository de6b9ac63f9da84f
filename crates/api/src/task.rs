//! The task as its followers see it: the body of `GET /v1/tasks/{id}` and of every 202.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::bounded;
use crate::object::object;
use crate::problem::Problem;
use crate::time::Time;
use crate::words::words;

words! {
    /// Where a task is in its life.
    Status {
        /// Waits for its moment, its turn or a worker.
        Queued = "queued",
        /// An attempt is being made.
        Running = "running",
        /// An outside system has it.
        Waiting = "waiting",
        /// Done, with an outcome that is a success. Terminal.
        Succeeded = "succeeded",
        /// Done, with a problem; may be retried by hand. Terminal.
        Failed = "failed",
        /// Stopped on request; may be retried by hand if `links.retry` is there. Terminal.
        Canceled = "canceled",
    }
}

impl Status {
    /// Whether the run is over.
    #[must_use]
    pub const fn terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Canceled)
    }
}

/// Text for end users by language tag (BCP 47): safe to show, without internals.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(example = json!({"en": "The supplier did not answer in time."}))]
pub struct Message(#[serde(deserialize_with = "bounded::members")] pub BTreeMap<String, String>);

/// What was asked of a route of the front door.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct RequestLine {
    /// The method of the request.
    #[schema(example = "POST")]
    pub method: String,
    /// The path as it came, without the query, which may hold secrets. One over 2,048 bytes is cut,
    /// and ends with `…`.
    #[schema(example = "/imports/june")]
    pub path: String,
}

/// How far an attempt has come, as its worker says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct Progress {
    /// Share done, from 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 100)]
    pub percent: Option<f64>,
    /// Units done, of whatever the worker counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    pub done: Option<u64>,
    /// Units in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    pub total: Option<u64>,
    /// One line for the reader; up to 2,048 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// When the task will probably be done: an estimate, and it may move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct Eta {
    /// As likely before as after.
    pub p50: Time,
    /// Nine times of ten before.
    pub p90: Time,
}

/// Absolute URLs of one task. A ticket rides in them when the caller has no API key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct Links {
    /// Where the task is read.
    #[serde(rename = "self")]
    pub this: String,
    /// Its result: 202 with the task until it is there.
    pub result: String,
    /// Its events, as a stream or a page.
    pub events: String,
    /// Why it waits.
    pub why: String,
    /// Where to cancel it; left out when this caller may not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel: Option<String>,
    /// Where to retry it by hand; left out when this caller may not, or the task takes no retry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<String>,
}

/// How the latest attempt failed, where that was not the end: what a task
/// that is tried again tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct LastFailure {
    /// The attempt that failed.
    #[schema(minimum = 1)]
    pub attempt: u32,
    /// When it did.
    pub at: Time,
    /// Why: the worker's own problem, or that of Relais.
    pub problem: Problem,
    /// The status that the upstream answered with, if it answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 100, maximum = 999)]
    pub upstream_status: Option<u16>,
}

/// One accepted request and all that happened to it.
///
/// Clients rely on `terminal`, not on the names of statuses, and ignore members they do not know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct Task {
    /// `task_` and a UUIDv7 in lower-case Crockford base32. Not a secret.
    #[schema(example = "task_01jdk3v5x8e2rbk0t6q9z4m7ha")]
    pub id: String,
    /// The queue it waits in.
    #[schema(example = "imports")]
    pub queue: String,
    /// Its lane within the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// What was asked; only of tasks that came by the front door.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestLine>,
    /// Where it is in its life.
    pub status: Status,
    /// Whether the run is over: nothing more happens unless it is retried by hand.
    pub terminal: bool,
    /// The number of its latest event; also its ETag.
    #[schema(minimum = 1)]
    pub version: u64,
    /// Passages from `queued` to a terminal status: 1, and one more after each retry by hand.
    #[schema(minimum = 1)]
    pub run: u32,
    /// The number of the latest attempt; 0 before the first.
    pub attempt: u32,
    /// Failed attempts of this run.
    pub failures: u32,
    /// Failed attempts after which the run fails.
    pub max_attempts: u32,
    /// From -10 to 10, higher first.
    #[schema(minimum = -10, maximum = 10)]
    pub priority: i32,
    /// Names and values of the client's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(required = false)]
    pub labels: BTreeMap<String, String>,
    /// How far the latest attempt has come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Place in the queue, 1 being next; only while it waits there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub position: Option<u64>,
    /// When it will probably be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eta: Option<Eta>,
    /// When it was accepted.
    pub created_at: Time,
    /// While it is queued: from when on it may start, in the future if it is scheduled or tried again
    /// later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_at: Option<Time>,
    /// When its latest event happened.
    pub updated_at: Time,
    /// When it fails if it is not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Time>,
    /// When it is canceled, because all who waited for it have left, unless one of them comes back before:
    /// to wait for it, to read its answer or to follow it. Asking for it starts that time anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abandon_at: Option<Time>,
    /// When it will be erased; known once it is terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// What went wrong before in this run, unless `problem` tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<LastFailure>,
    /// How it ended, for end users: what the settle said, else the text of the problem's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Message>,
    /// URL of the result once there is one, under the name that clients of long-running operations
    /// look for.
    #[serde(rename = "resourceLocation", skip_serializing_if = "Option::is_none")]
    pub resource_location: Option<String>,
    /// Where to go next.
    pub links: Links,
}

/// The body of a 202: the task, and what it takes to follow it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Accepted {
    /// The task as it is now.
    #[serde(flatten)]
    pub task: Task,
    /// The token that lets its bearer follow the task. Left out where the route hands none out, and
    /// where `no_ticket` says why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// Why a repeated request gets neither ticket nor answer: its caller is not known, is not on
    /// this machine, and its `Idempotency-Key` is so short that it could be guessed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_ticket: Option<String>,
}

/// A page of tasks, newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct TaskList {
    /// Up to 500 tasks.
    #[schema(max_items = 500)]
    pub items: Vec<Task>,
    /// What to give as `after` for the next page; left out on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

object!(RequestLine, Progress, Eta, Links, LastFailure, Task, TaskList);
