//! `POST /v1/queues/{queue}/leases` and `/v1/leases/heartbeat`: taking work, and staying alive.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Uri};
use relais_api::LeaseResponse;
use relais_api::lease::HeartbeatItem;
use relais_api::{Heartbeat, HeartbeatRequest, HeartbeatResponse, Item, LeaseRequest, codes};
use relais_core::name::free_text;
use relais_core::{LeaseToken, Progress, Refused, limits};
use relais_engine::{EngineError, Report, document};
use relais_store::{Rejected, Stepped};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::answer::answers::Answers;
use crate::answer::problem::Refusal;
use crate::app::App;
use crate::auth::{Scope, Visitor};
use crate::request::bodies::Bodies;
use crate::request::incoming::{self, Large};
use crate::request::params::Params;
use crate::routes::submit::{check_len, check_small};
use crate::routes::worker::{Handover, Leased, Right, Wish, leases_of, take};
use crate::routes::{OneQueue, json};

/// `POST /v1/queues/{queue}/leases`.
pub(super) async fn lease(
    State(app): State<Arc<App>>,
    OneQueue(queue): OneQueue,
    visitor: Visitor,
    uri: Uri,
    body: Body,
) -> Result<Response, Refusal> {
    Params::of(&uri, &[])?;
    let tenant = visitor.tenant(Scope::Work)?;
    let request: LeaseRequest = incoming::optional_json(&app.bodies, &visitor, body).await?;
    let max = lease_max("/max", request.max)?;
    let worker = worker_name("/worker", request.worker)?;
    let wait = request.wait.map_or(Duration::ZERO, |wait| wait.as_duration());
    let wish = Wish { tenant, queue, worker, max, wait: wait.min(limits::WAIT_MAX) };
    let leased = tokio::select! {
        leased = take(&app, wish) => leased?,
        () = app.stop.cancelled() => Leased::default(),
    };
    let leases = leases_of(&app, &leased.claimed).await?;
    hand_over(leased.handover, &LeaseResponse { leases })
}

/// The answer that carries leases: they are given back if it does not arrive.
pub(super) fn hand_over<T: Serialize>(
    handover: Option<Handover>,
    document: &T,
) -> Result<Response, Refusal> {
    let bytes = serde_json::to_vec(document).map_err(Refusal::internal)?;
    let body = match handover {
        Some(handover) => handover.body(bytes.into()),
        None => Body::from(bytes),
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// How many leases are asked for.
pub(super) fn lease_max(pointer: &str, max: Option<u32>) -> Result<usize, Refusal> {
    let max = max.unwrap_or(1) as usize;
    if (1..=limits::BATCH_MAX).contains(&max) {
        return Ok(max);
    }
    let why = format!("must be from 1 to {}", limits::BATCH_MAX);
    Err(Refusal::field(pointer, why).limit(limits::BATCH_MAX as u64))
}

/// The name that a worker gives itself.
pub(super) fn worker_name(pointer: &str, name: Option<String>) -> Result<String, Refusal> {
    let name = name.unwrap_or_default();
    if !name.is_empty() {
        free_text(&name, limits::WORKER_NAME_BYTES_MAX)
            .map_err(|error| Refusal::field(pointer, error))?;
    }
    Ok(name)
}

/// `POST /v1/leases/heartbeat`.
pub(super) async fn heartbeat(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    uri: Uri,
    body: Body,
) -> Result<Response, Refusal> {
    Params::of(&uri, &[])?;
    let right = Right::of(&visitor)?;
    let request: HeartbeatRequest = read_items(&app.bodies, &visitor, &right, body).await?;
    right.admit(request.items.len())?;
    let read: Vec<Result<Report, Refusal>> =
        request.items.into_iter().map(|Item(item)| report_of(item?)).collect();
    let mut slots = Vec::with_capacity(read.len());
    let mut reports = Vec::with_capacity(read.len());
    for report in read {
        slots.push(report.map(|report| reports.push(report)));
    }
    let mut answers = app.engine.report(right.tenant(), reports).await?.into_iter();
    let items = slots.into_iter().map(|slot| {
        let answer = slot.and_then(|()| {
            let answer = answers.next().expect("one answer per report");
            answer.map_err(refusal_of)
        });
        heartbeat_item(&app.answers, answer)
    });
    json(http::StatusCode::OK, &HeartbeatResponse { items: items.collect() })
}

/// Reads the body of a call about many leases.
pub(super) async fn read_items<T: DeserializeOwned + Send + 'static>(
    bodies: &Bodies,
    visitor: &Visitor,
    right: &Right,
    body: Body,
) -> Result<T, Refusal> {
    incoming::require_json(visitor.headers())?;
    let body = Large::read(bodies, visitor, body, right.body_bytes_max()).await?;
    body.decode(relais_api::decode).await
}

fn heartbeat_item(answers: &Answers, answer: Result<Stepped, Refusal>) -> HeartbeatItem {
    match answer {
        Ok(stepped) => HeartbeatItem {
            status: 200,
            lease_until: stepped.changed.task.life.lease().map(|lease| document::time(lease.until)),
            ..HeartbeatItem::default()
        },
        Err(refusal) => HeartbeatItem {
            status: refusal.code().status,
            canceled: *refusal.code() == codes::TASK_CANCELED,
            problem: Some(answers.refuse_item(&refusal)),
            ..HeartbeatItem::default()
        },
    }
}

/// A lease of a task that does not exist is answered as one that is over.
pub(super) fn refusal_of(error: EngineError) -> Refusal {
    match error {
        EngineError::Rejected(Rejected::NotFound) => Refused::StaleLease.into(),
        error => error.into(),
    }
}

/// Reads a lease's token. What is not a token is answered as a lease that is over.
pub(super) fn token_of(text: &str) -> Result<LeaseToken, Refusal> {
    text.parse().map_err(|_| {
        let why =
            "this is no token of a lease: send `token` of the lease as it was given out, whole";
        Refusal::new(&codes::STALE_LEASE).because(why)
    })
}

fn report_of(heartbeat: Heartbeat) -> Result<Report, Refusal> {
    let token = token_of(&heartbeat.token)?;
    let progress = heartbeat.progress.map(progress_of).transpose()?;
    let carried = |pointer, json: Option<relais_api::RawJson>| {
        let Some(json) = json else { return Ok(None) };
        check_small(pointer, json.as_bytes())?;
        Ok::<_, Refusal>(Some(Bytes::from(json.into_string())))
    };
    Ok(Report {
        token,
        progress,
        output: carried("/output", heartbeat.output)?,
        checkpoint: carried("/checkpoint", heartbeat.checkpoint)?,
    })
}

fn progress_of(progress: relais_api::Progress) -> Result<Progress, Refusal> {
    if progress.percent.is_some_and(|percent| !(0.0..=100.0).contains(&percent)) {
        return Err(Refusal::field("/progress/percent", "must be from 0 to 100"));
    }
    if let Some(text) = &progress.message {
        check_len("/progress/message", text.len(), limits::MESSAGE_BYTES_MAX)?;
    }
    Ok(Progress {
        percent: progress.percent,
        done: progress.done,
        total: progress.total,
        message: progress.message,
    })
}
