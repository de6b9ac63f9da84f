//! Entries of the log as events that travel. Every transport encodes with this,
//! so that all show the same.

use bytes::Bytes;
use relais_api::event::{
    AcceptedData, AttemptCause, AttemptFailedData, CancelReason, CanceledData, DeferredData,
    FailedData, OutputData, RequeueReason, RequeuedData, StartedData, SucceededData,
};
use relais_api::{Event, EventType, Problem, RawJson};
use relais_core::{
    BodyKind, Cause, Entry, EventData, EventKind, Failure, TaskId, Timestamp, limits,
};
use relais_engine::{EngineError, Published, ResultHead, envelope};
use relais_store::StoreError;
use serde::Serialize;

use crate::answer::present;
use crate::answer::problem::Refusal;
use crate::app::App;
use crate::watch::chunk::Chunk;

/// An entry as an event.
///
/// # Errors
/// When something that the event tells beside its entry cannot be read.
pub(crate) async fn event_of(app: &App, entry: &Entry) -> Result<Event, Refusal> {
    Ok(Event {
        task: entry.task.to_string(),
        seq: entry.seq,
        kind: kind_of(entry.data.kind()),
        at: present::time(entry.at),
        attempt: (entry.attempt > 0).then_some(entry.attempt),
        data: data_of(app, entry).await?,
    })
}

/// An entry as an event of a stream over one task, without framing.
///
/// # Errors
/// See [`event_of`].
pub(crate) async fn sse_of(app: &App, entry: &Entry) -> Result<Bytes, Refusal> {
    let mut out = Vec::with_capacity(256);
    event_of(app, entry).await?.encode_sse(&mut out);
    Ok(out.into())
}

/// A published entry as an event of a stream over one task: encoded once,
/// shared by all its followers.
///
/// # Errors
/// See [`event_of`].
pub(crate) async fn shared_sse_of(app: &App, published: &Published) -> Result<Chunk, Refusal> {
    if let Some(framed) = published.encoded.get() {
        return Ok(Chunk::of_framed(framed.clone()));
    }
    let chunk = Chunk::of(&sse_of(app, &published.entry).await?);
    let framed = published.encoded.get_or_init(|| chunk.framed().clone());
    Ok(Chunk::of_framed(framed.clone()))
}

fn kind_of(kind: EventKind) -> EventType {
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

async fn data_of(app: &App, entry: &Entry) -> Result<RawJson, Refusal> {
    match &entry.data {
        EventData::Accepted => accepted_data(app, entry.task).await,
        EventData::Started { worker } => json(&StartedData { worker: worker.clone() }),
        EventData::Progressed(progress) => json(&present::progress(progress)),
        EventData::Output(output) => json(&OutputData { output: carried(output)? }),
        EventData::Deferred { until } => json(&DeferredData { deadline: present::time(*until) }),
        EventData::AttemptFailed { cause, failure, run_at } => json(&AttemptFailedData {
            cause: match cause {
                Cause::Error => AttemptCause::Error,
                Cause::Timeout => AttemptCause::Timeout,
                Cause::Crash => AttemptCause::Crash,
                Cause::Stop => AttemptCause::Stop,
            },
            run_at: run_at.map(present::time),
            problem: Some(attempt_problem(app, failure, *run_at)),
        }),
        EventData::Requeued { reason, run, run_at } => json(&RequeuedData {
            reason: match reason {
                relais_core::RequeueReason::Released => RequeueReason::Released,
                relais_core::RequeueReason::Retried => RequeueReason::Retried,
            },
            run: *run,
            run_at: present::time(*run_at),
        }),
        EventData::Succeeded { message } => json(&SucceededData {
            result: small_result(app, entry.task).await?,
            message: present::said(message.as_ref()),
        }),
        EventData::Failed(failure) => json(&FailedData {
            problem: present::problem_of(app.base(), failure),
            message: present::message_of(failure),
        }),
        EventData::Canceled { reason } => json(&CanceledData {
            reason: match reason {
                relais_core::CancelReason::Requested => CancelReason::Requested,
                relais_core::CancelReason::Abandoned => CancelReason::Abandoned,
            },
        }),
    }
}

async fn accepted_data(app: &App, id: TaskId) -> Result<RawJson, Refusal> {
    // The task may be gone between the log and this: then the event has nothing more to tell.
    match app.engine.task(id).await? {
        Some(task) => json(&AcceptedData {
            queue: task.spec.queue.to_string(),
            run_at: present::time(task.spec.run_at),
        }),
        None => Ok(RawJson::default()),
    }
}

/// Why an attempt failed. Where another one follows, trying again is what is done about it.
fn attempt_problem(app: &App, failure: &Failure, run_at: Option<Timestamp>) -> Problem {
    let mut problem = present::problem_of(app.base(), failure);
    problem.retryable |= run_at.is_some();
    problem
}

/// The result of a task that succeeded, when it is JSON and small.
async fn small_result(app: &App, id: TaskId) -> Result<Option<RawJson>, Refusal> {
    let stored = match app.engine.body(id, BodyKind::Result).await {
        Ok(Some(stored)) => stored,
        // Whoever follows the link to it is told what is wrong: the stream goes on.
        Ok(None) | Err(EngineError::Store(StoreError::BodyDamaged(_))) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if stored.len > limits::EVENT_RESULT_BYTES_MAX {
        return Ok(None);
    }
    let head: ResultHead = envelope::decode(&stored.head)?;
    let is_coded = head.fields.iter().any(|(name, _)| name == "content-encoding");
    if is_coded || !head.content_type().is_some_and(is_json) {
        return Ok(None);
    }
    let bytes = stored.bytes(limits::EVENT_RESULT_BYTES_MAX as usize).await?;
    Ok(std::str::from_utf8(&bytes).ok().and_then(|text| RawJson::parse(text).ok()))
}

/// Whether a media type is JSON, or something written in it.
#[must_use]
pub(crate) fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.contains('/') && essence.ends_with("+json"))
}

fn json<T: Serialize>(value: &T) -> Result<RawJson, Refusal> {
    RawJson::from_value(value).map_err(Refusal::internal)
}

/// JSON that was checked when it came in.
fn carried(bytes: &Bytes) -> Result<RawJson, Refusal> {
    let text = std::str::from_utf8(bytes).map_err(Refusal::internal)?;
    RawJson::parse(text).map_err(Refusal::internal)
}
