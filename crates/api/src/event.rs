//! The log of a task as it travels: the same events on SSE, WebSocket and in JSON pages.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::object::object;
use crate::problem::Problem;
use crate::raw::RawJson;
use crate::task::{Eta, Message};
use crate::time::{Span, Time};
use crate::words::words;

words! {
    /// What an event says.
    EventType {
        /// The task exists: [`AcceptedData`].
        Accepted = "accepted",
        /// An attempt began, or a waiting task went on: [`StartedData`].
        Started = "started",
        /// The attempt came further: [`crate::Progress`].
        Progressed = "progressed",
        /// The attempt gave a piece of output: [`OutputData`].
        Output = "output",
        /// An outside system has the task now: [`DeferredData`].
        Deferred = "deferred",
        /// The attempt failed: [`AttemptFailedData`].
        AttemptFailed = "attempt_failed",
        /// The task is back in its queue: [`RequeuedData`].
        Requeued = "requeued",
        /// The run ended well: [`SucceededData`]. Terminal.
        Succeeded = "succeeded",
        /// The run ended badly: [`FailedData`]. Terminal.
        Failed = "failed",
        /// The run was stopped: [`CanceledData`]. Terminal.
        Canceled = "canceled",
    }
}

impl EventType {
    /// Whether it ends a run.
    #[must_use]
    pub const fn terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Canceled)
    }
}

/// One entry of a task's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct Event {
    /// The task's id.
    pub task: String,
    /// 1, 2, 3…: its place in the task's log. Gaps are legal, where progress was thinned.
    #[schema(minimum = 1)]
    pub seq: u64,
    /// What it says.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// When it happened; never before the event before it.
    pub at: Time,
    /// The attempt it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub attempt: Option<u32>,
    /// More, by type: an object, maybe an empty one.
    #[serde(default)]
    pub data: RawJson,
}

impl Event {
    /// The event as JSON on one line, which every transport carries.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        crate::sse::json_line(self)
    }
}

/// A page of a task's log, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct EventPage {
    /// Up to 500 events.
    #[schema(max_items = 500)]
    pub events: Vec<Event>,
    /// What to give as `after` for what comes next: the latest `seq` read so far.
    pub next: u64,
    /// Whether the log is over: after `next` nothing comes unless the task is retried by hand.
    pub terminal: bool,
}

/// From where a stream over many tasks goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Behind this number; 0 is the beginning.
    Number(u64),
    /// Behind all that has happened when it begins.
    Now,
}

impl After {
    /// Largest number of an event that every JSON reader can read.
    pub const NUMBER_MAX: u64 = (1 << 53) - 1;
    /// How it is written.
    pub const EXPECTED: &str = "a whole number from 0 to 9007199254740991, or now";
}

/// What is neither a number of an event nor `now`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {}", After::EXPECTED)]
pub struct InvalidAfter;

impl FromStr for After {
    type Err = InvalidAfter;

    fn from_str(text: &str) -> Result<Self, InvalidAfter> {
        if text == "now" {
            return Ok(Self::Now);
        }
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if is_plain && number <= Self::NUMBER_MAX => Ok(Self::Number(number)),
            _ => Err(InvalidAfter),
        }
    }
}

/// What a stream says besides the log: without an id, so that it never moves a resume point. Only the
/// first of a stream over many tasks has one, the point that it begins behind.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// The first of every stream: the task's version now, and whether events between the resume
    /// point and the first event sent were thinned.
    Open {
        /// The task's version at this moment; 0 on a stream over many tasks.
        version: u64,
        /// Whether the numbers that follow leave some out.
        gap: bool,
        /// Of many tasks: the number behind which the stream begins.
        pos: Option<u64>,
    },
    /// The stream cannot be served now; it closes after this, and the client comes back.
    Busy {
        /// When to come back; the stream's `retry:` says the same.
        retry_after: Span,
    },
    /// The resume point is unknown here: the client starts again from `from`.
    Reset {
        /// Why, in a word.
        reason: String,
        /// The event after which the stream goes on.
        from: u64,
    },
    /// Where the task stands in its queue: an estimate.
    Estimate {
        /// Place in the queue, 1 being next.
        position: Option<u64>,
        /// When it will probably be done.
        eta: Option<Eta>,
    },
    /// A task was erased; only on streams over many tasks.
    Erased {
        /// The id it had.
        task: String,
    },
}

impl Notice {
    /// The name of the SSE event.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Open { .. } => "relais.open",
            Self::Busy { .. } => "relais.busy",
            Self::Reset { .. } => "relais.reset",
            Self::Estimate { .. } => "relais.estimate",
            Self::Erased { .. } => "erased",
        }
    }

    /// Appends the notice to an SSE stream.
    pub fn encode_sse(&self, out: &mut Vec<u8>) {
        let body = self.body();
        crate::sse::write_event(out, body.pos, self.name(), &body);
    }

    fn body(&self) -> NoticeBody<'_> {
        let mut body = NoticeBody::default();
        match self {
            Self::Open { version, gap, pos } => {
                body.version = Some(*version);
                body.gap = Some(*gap);
                body.pos = *pos;
            }
            Self::Busy { retry_after } => body.retry_after = Some(*retry_after),
            Self::Reset { reason, from } => {
                body.reason = Some(reason);
                body.from = Some(*from);
            }
            Self::Estimate { position, eta } => {
                body.position = *position;
                body.eta = *eta;
            }
            Self::Erased { task } => body.task = Some(task),
        }
        body
    }

    /// Reads a notice from the name and data of an SSE event; `None` when it is not one.
    #[must_use]
    pub fn parse(name: &str, data: &str) -> Option<Self> {
        let body: NoticeBody<'_> = serde_json::from_str(data).ok()?;
        match name {
            "relais.open" => {
                Some(Self::Open { version: body.version?, gap: body.gap?, pos: body.pos })
            }
            "relais.busy" => Some(Self::Busy { retry_after: body.retry_after? }),
            "relais.reset" => {
                Some(Self::Reset { reason: body.reason?.to_owned(), from: body.from? })
            }
            "relais.estimate" => Some(Self::Estimate { position: body.position, eta: body.eta }),
            "erased" => Some(Self::Erased { task: body.task?.to_owned() }),
            _ => None,
        }
    }
}

#[derive(Default, Serialize, Deserialize)]
struct NoticeBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gap: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pos: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eta: Option<Eta>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<&'a str>,
}

/// The data of `accepted`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct AcceptedData {
    /// The task's queue.
    pub queue: String,
    /// When it may first run.
    pub run_at: Time,
}

/// The data of `started`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct StartedData {
    /// The worker's name for itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
}

/// The data of `output`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct OutputData {
    /// The piece, as the worker sent it.
    pub output: RawJson,
}

/// The data of `deferred`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct DeferredData {
    /// When the task fails if the outside system has not answered.
    pub deadline: Time,
}

words! {
    /// Why an attempt failed.
    AttemptCause {
        /// It said so, or the upstream did.
        Error = "error",
        /// It took too long.
        Timeout = "timeout",
        /// Its holder vanished.
        Crash = "crash",
        /// Relais was stopped by its operator, and it took longer than a stop waits.
        Stop = "stop",
    }
}

/// The data of `attempt_failed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct AttemptFailedData {
    /// How the attempt ended.
    pub cause: AttemptCause,
    /// When the next attempt may start; left out on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_at: Option<Time>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

words! {
    /// Why a task is back in its queue.
    RequeueReason {
        /// Its worker gave it back.
        Released = "released",
        /// Somebody retried it by hand.
        Retried = "retried",
    }
}

/// The data of `requeued`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct RequeuedData {
    /// Why the task is back in its queue.
    pub reason: RequeueReason,
    /// The run it is in now.
    #[schema(minimum = 1)]
    pub run: u32,
    /// When it may run.
    pub run_at: Time,
}

/// The data of `succeeded`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct SucceededData {
    /// The result, when it is JSON and small.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<RawJson>,
    /// For end users, if the settle said something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Message>,
}

/// The data of `failed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct FailedData {
    /// What went wrong, and what to do about it.
    pub problem: Problem,
    /// For end users: from the settle, else the code's own text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Message>,
}

words! {
    /// Why a task was called off.
    CancelReason {
        /// Somebody asked for it.
        Requested = "requested",
        /// Its caller hung up, and its route says that such tasks are called off.
        Abandoned = "abandoned",
    }
}

/// The data of `canceled`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct CanceledData {
    /// Why the task was called off.
    pub reason: CancelReason,
}

/// The schemas of what events say.
#[derive(utoipa::OpenApi)]
#[openapi(components(schemas(
    AcceptedData,
    StartedData,
    OutputData,
    DeferredData,
    AttemptFailedData,
    RequeuedData,
    SucceededData,
    FailedData,
    CanceledData,
)))]
pub(crate) struct DataSchemas;

object!(
    Event,
    EventPage,
    AcceptedData,
    StartedData,
    OutputData,
    DeferredData,
    AttemptFailedData,
    RequeuedData,
    SucceededData,
    FailedData,
    CanceledData,
);
