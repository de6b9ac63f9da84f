//! The log as it travels: an event's document is a function of its entry, and of nothing else.
//!
//! Every transport shows this, so that all show the same, whatever has become of the task, its
//! result, or the entries before. `base` is the address under which problems have their pages.

use bytes::Bytes;
use relais_api::codes::{self, Code};
use relais_api::event::{
    AcceptedData, AttemptCause, AttemptFailedData, CancelReason, CanceledData, DeferredData,
    FailedData, OutputData, RequeueReason, RequeuedData, StartedData, SucceededData,
};
use relais_api::task::Message;
use relais_api::{Event, EventType, Problem, RawJson, Time};
use relais_core::{Cause, Entry, EventData, EventKind, Failure, FailureCode, Progress, Timestamp};
use serde::Serialize;

/// An entry as an event.
#[must_use]
pub fn event_of(entry: &Entry, base: &str) -> Event {
    Event {
        task: entry.task.to_string(),
        seq: entry.seq,
        kind: kind_of(entry.data.kind()),
        at: time(entry.at),
        attempt: (entry.attempt > 0).then_some(entry.attempt),
        data: data_of(&entry.data, base),
    }
}

const fn kind_of(kind: EventKind) -> EventType {
    match kind {
        EventKind::Accepted => EventType::Accepted,
        EventKind::Started => EventType::Started,
        EventKind::Progressed => EventType::Progressed,
        EventKind::Output => EventType::Output,
        EventKind::Deferred => EventType::Deferred,
        EventKind::AttemptFailed => EventType::AttemptFailed,
        EventKind::Requeued => EventType::Requeued,
        EventKind::Succeeded => EventType::Succeeded,
        EventKind::Failed => EventType::Failed,
        EventKind::Canceled => EventType::Canceled,
    }
}

fn data_of(data: &EventData, base: &str) -> RawJson {
    match data {
        EventData::Accepted { queue, run_at } => {
            json(&AcceptedData { queue: queue.to_string(), run_at: time(*run_at) })
        }
        EventData::Started { worker } => json(&StartedData { worker: worker.clone() }),
        EventData::Progressed(of) => json(&progress(of)),
        EventData::Output(output) => json(&OutputData { output: carried(output) }),
        EventData::Deferred { until } => json(&DeferredData { deadline: time(*until) }),
        EventData::AttemptFailed { cause, failure, run_at } => json(&AttemptFailedData {
            cause: match cause {
                Cause::Error => AttemptCause::Error,
                Cause::Timeout => AttemptCause::Timeout,
                Cause::Crash => AttemptCause::Crash,
                Cause::Stop => AttemptCause::Stop,
            },
            run_at: run_at.map(time),
            problem: Some(attempt_problem(base, failure, *run_at)),
        }),
        EventData::Requeued { reason, run, run_at } => json(&RequeuedData {
            reason: match reason {
                relais_core::RequeueReason::Released => RequeueReason::Released,
                relais_core::RequeueReason::Retried => RequeueReason::Retried,
            },
            run: *run,
            run_at: time(*run_at),
        }),
        EventData::Succeeded { result, message } => json(&SucceededData {
            result: result.as_ref().map(carried),
            message: said(message.as_ref()),
        }),
        EventData::Failed(failure) => {
            json(&FailedData { problem: problem_of(base, failure), message: message_of(failure) })
        }
        EventData::Canceled { reason } => json(&CanceledData {
            reason: match reason {
                relais_core::CancelReason::Requested => CancelReason::Requested,
                relais_core::CancelReason::Abandoned => CancelReason::Abandoned,
            },
        }),
    }
}

/// Why an attempt failed. Where another one follows, trying again is what is done about it.
fn attempt_problem(base: &str, failure: &Failure, run_at: Option<Timestamp>) -> Problem {
    let mut problem = problem_of(base, failure);
    problem.retryable |= run_at.is_some();
    problem
}

/// A moment as it travels.
#[must_use]
pub const fn time(moment: Timestamp) -> Time {
    Time::from_ms(moment.as_ms())
}

/// Progress as it travels.
#[must_use]
pub fn progress(progress: &Progress) -> relais_api::Progress {
    relais_api::Progress {
        percent: progress.percent,
        done: progress.done,
        total: progress.total,
        message: progress.message.clone(),
    }
}

/// The registry's entry of a failure.
#[must_use]
pub const fn code_of(code: FailureCode) -> &'static Code {
    match code {
        FailureCode::DeadlineExceeded => &codes::DEADLINE_EXCEEDED,
        FailureCode::WorkerLost => &codes::WORKER_LOST,
        FailureCode::OutcomeUnknown => &codes::OUTCOME_UNKNOWN,
        FailureCode::UpstreamError => &codes::UPSTREAM_ERROR,
        FailureCode::UpstreamTimeout => &codes::UPSTREAM_TIMEOUT,
        FailureCode::UpstreamUnreachable => &codes::UPSTREAM_UNREACHABLE,
        FailureCode::UpstreamResponseTooLarge => &codes::UPSTREAM_RESPONSE_TOO_LARGE,
        FailureCode::UpstreamMalformed => &codes::UPSTREAM_MALFORMED,
        FailureCode::HandlerFailed => &codes::HANDLER_FAILED,
        FailureCode::BodyDamaged => &codes::BODY_DAMAGED,
        FailureCode::SealKeyMissing => &codes::SEAL_KEY_MISSING,
        FailureCode::StoreUnavailable => &codes::STORE_UNAVAILABLE,
    }
}

/// Why a task or an attempt failed: what its worker said, or the code's own text.
#[must_use]
pub fn problem_of(base: &str, failure: &Failure) -> Problem {
    let mut own = code_of(failure.code).problem(base);
    own.detail.clone_from(&failure.detail);
    let Some(bytes) = &failure.problem else { return own };
    // It was a problem document when it was settled with.
    let Ok(mut theirs) = serde_json::from_slice::<Problem>(bytes) else { return own };
    if theirs.code.is_empty() {
        theirs.code = own.code;
        if theirs.type_uri == "about:blank" {
            theirs.type_uri = own.type_uri;
        }
    }
    // Whoever made it may not know where the pages are: absolute for all who read it.
    if theirs.type_uri.starts_with("/problems/") {
        theirs.type_uri.insert_str(0, base);
    }
    if theirs.title.is_empty() {
        theirs.title = own.title;
    }
    // An answer made of it must say that it is an error.
    if !(400..600).contains(&theirs.status) {
        theirs.status = own.status;
    }
    theirs
}

/// What end users read of a failure.
#[must_use]
pub fn message_of(failure: &Failure) -> Option<Message> {
    said(failure.message.as_ref()).or_else(|| code_of(failure.code).message())
}

/// What a worker said for end users. It was a message when it was settled with.
#[must_use]
pub fn said(json: Option<&Bytes>) -> Option<Message> {
    json.and_then(|json| serde_json::from_slice(json).ok())
}

fn json<T: Serialize>(value: &T) -> RawJson {
    RawJson::from_value(value).expect("documents of the contract have a JSON form")
}

/// JSON that was checked when it came in. Should it have been damaged on the disk, then `null` is
/// told in its place: one event does not take the rest of its log away.
fn carried(bytes: &Bytes) -> RawJson {
    let text = std::str::from_utf8(bytes).unwrap_or("null");
    RawJson::parse(text).unwrap_or_else(|_| json(&()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Streams end, and clients stop following, by either word.
    #[test]
    fn a_kind_has_one_word_and_ends_a_run_here_as_there() {
        for kind in EventKind::ALL {
            let told = kind_of(*kind);
            assert_eq!((told.as_str(), told.terminal()), (kind.as_str(), kind.is_terminal()));
        }
        assert_eq!(EventKind::ALL.len(), EventType::ALL.len());
    }
}
