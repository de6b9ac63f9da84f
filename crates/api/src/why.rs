//! Why a task waits: the answer of `GET /v1/tasks/{id}/why`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::object::object;
use crate::task::{Eta, LastFailure, Status};
use crate::time::Time;
use crate::words::words;

words! {
    /// One thing that a task waits for.
    Reason {
        /// Its `run_at` has not come.
        Scheduled = "scheduled",
        /// A failed attempt is made again later.
        Backoff = "backoff",
        /// Others are before it in the queue.
        Position = "position",
        /// The queue runs as many as it may.
        Concurrency = "concurrency",
        /// Its lane runs or starts as many as it may, or runs strictly one after the other.
        Lane = "lane",
        /// The queue starts as many as it may.
        Rate = "rate",
        /// The configuration does not define the queue (any more).
        QueueNotDefined = "queue-not-defined",
        /// Somebody paused the queue.
        Paused = "paused",
        /// The upstream asked for a pause, or does not answer.
        OriginPaused = "origin-paused",
        /// The upstream has as many requests as it may.
        OriginConcurrency = "origin-concurrency",
        /// The upstream gets as many requests a second as it may.
        OriginRate = "origin-rate",
        /// No worker asks for the queue's tasks.
        NoWorker = "no-worker",
        /// An attempt is being made.
        Running = "running",
        /// An outside system has it.
        OutsideSystem = "outside-system",
    }
}

/// What a task waits for, the most decisive first; empty when it is terminal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct Why {
    /// The task's id.
    pub task: String,
    /// Where it is in its life.
    pub status: Status,
    /// What it waits for.
    pub waiting_for: Vec<WaitingFor>,
    /// Place in the queue, 1 being next.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub position: Option<u64>,
    /// When it will probably be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eta: Option<Eta>,
    /// When it is canceled, because all who waited for it have left, unless one of them comes back before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abandon_at: Option<Time>,
    /// What went wrong before in this run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<LastFailure>,
}

/// One thing that a task waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct WaitingFor {
    /// The thing, for programs.
    pub reason: Reason,
    /// The thing, for people.
    pub detail: String,
    /// When it ends, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

object!(Why, WaitingFor);
