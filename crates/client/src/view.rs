//! Tasks and events as this client reads them.
//!
//! The same documents as in `relais-api`, but the words are text: a server newer than this client
//! may say words that it does not know, and only `terminal` says whether a task is done (P72).

use std::collections::BTreeMap;

use relais_api::task::{Eta, LastFailure, Links, RequestLine};
use relais_api::{Message, Problem, Progress, RawJson, Time};
use serde::{Deserialize, Serialize};

/// One accepted request and all that happened to it. Unknown members are ignored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    /// `task_…`; not a secret.
    pub id: String,
    /// The queue it waits in.
    pub queue: String,
    /// Its lane within the queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// What was asked, if it came by the front door.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestLine>,
    /// Where it is in its life: a word for people. Programs ask `terminal`.
    pub status: String,
    /// Whether the run is over.
    pub terminal: bool,
    /// The number of its latest event.
    pub version: u64,
    /// The run it is in: a retry by hand begins the next.
    pub run: u32,
    /// The number of the latest attempt; 0 before the first.
    pub attempt: u32,
    /// Failed attempts of this run.
    pub failures: u32,
    /// Failed attempts after which the run fails.
    pub max_attempts: u32,
    /// From -10 to 10, higher first.
    pub priority: i32,
    /// Names and values of the client's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How far the latest attempt has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Place in the queue, 1 being next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// When it will probably be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta: Option<Eta>,
    /// When it was accepted.
    pub created_at: Time,
    /// While it is queued: from when on it may start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_at: Option<Time>,
    /// When its latest event happened.
    pub updated_at: Time,
    /// When it fails if it is not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Time>,
    /// When it is canceled, because all who waited for it have left, unless one of them comes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abandon_at: Option<Time>,
    /// When it will be erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// What went wrong before in this run, unless `problem` tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<LastFailure>,
    /// The same for end users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Message>,
    /// URL of the result once there is one.
    #[serde(default, rename = "resourceLocation", skip_serializing_if = "Option::is_none")]
    pub resource_location: Option<String>,
    /// Where to go next.
    pub links: Links,
}

impl Task {
    /// Whether it is done and went well.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.terminal && self.status == "succeeded"
    }
}

/// Another ticket for a task. Unknown members are ignored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ticket {
    /// The ticket.
    pub ticket: String,
    /// What it grants.
    pub grants: Vec<String>,
    /// When it ends.
    pub expires_at: Time,
}

/// A page of tasks, newest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TaskList {
    /// The tasks of this page.
    pub items: Vec<Task>,
    /// What to give as `after` for the next page; left out on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One entry of a task's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The task's id.
    pub task: String,
    /// Its place in the task's log. Gaps are legal, where progress was thinned.
    pub seq: u64,
    /// What it says: a word of the contract, or one that this client does not know.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it happened.
    pub at: Time,
    /// The attempt it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// More, by type.
    #[serde(default)]
    pub data: RawJson,
}

/// A page of a task's log.
#[derive(Debug, Deserialize)]
pub(crate) struct EventPage {
    pub(crate) events: Vec<Event>,
    pub(crate) next: u64,
    pub(crate) terminal: bool,
}
