//! From a document to a submission: names, limits and moments are checked here, once.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use relais_api::{RawJson, SubmitRequest, codes, submit};
use relais_core::name::free_text;
use relais_core::{Priority, Runner, Source, TenantName, Timestamp, limits};
use relais_engine::{Access, Context, Deadline, Grants, RequestHead, Submission};

use crate::app::App;
use crate::auth::Visitor;
use crate::heavy;
use crate::incoming::too_large;
use crate::problem::Refusal;

/// The media type of an input that was given as JSON.
const JSON: &str = "application/json";

/// What all submissions of one call have in common.
pub(super) struct Origin {
    idempotency_key: Option<String>,
    traceparent: Option<String>,
    called_as: String,
    source: Option<Source>,
}

impl Origin {
    pub(super) fn of(app: &App, visitor: &Visitor, key: Option<&str>) -> Self {
        let traceparent = visitor.headers().get("traceparent").and_then(|line| line.to_str().ok());
        let base = app.base();
        let called_as = base.strip_suffix(app.config.api_prefix.as_str()).unwrap_or(base);
        Self {
            idempotency_key: key.map(str::to_owned),
            traceparent: traceparent.filter(|text| text.len() <= 256).map(str::to_owned),
            called_as: called_as.to_owned(),
            source: visitor.share(app),
        }
    }
}

/// The submission that a document asks for, without its idempotency claim.
///
/// # Errors
/// Names the member that is not valid.
pub(super) async fn submission(
    app: &App,
    tenant: &TenantName,
    request: SubmitRequest,
    origin: &Origin,
) -> Result<Submission, Refusal> {
    request.check()?;
    let now = app.engine.now();
    let run_at = run_at(&request, now)?;
    let queue = request.queue.parse().map_err(|error| Refusal::field("/queue", error))?;
    if app.engine.policies().find(tenant, &queue).is_none() {
        return Err(Refusal::new(&codes::QUEUE_NOT_FOUND));
    }
    let checkpoint = checkpoint(request.checkpoint)?;
    let (bytes, content_type) =
        input(app, request.input, request.input_base64, request.content_type).await?;
    let lane = request.lane.map(|lane| lane.parse()).transpose();
    let fields = content_type
        .iter()
        .map(|kind| ("content-type".to_owned(), Bytes::copy_from_slice(kind.as_bytes())))
        .collect();
    let target = format!("{}/v1/tasks", app.config.api_prefix);
    Ok(Submission {
        tenant: tenant.clone(),
        queue,
        lane: lane.map_err(|error| Refusal::field("/lane", error))?,
        priority: priority(request.priority)?,
        labels: labels(request.labels)?,
        runner: Runner::Workers,
        run_at,
        deadline: request
            .deadline
            .map(|deadline| self::deadline(deadline, run_at.unwrap_or(now), now))
            .transpose()?,
        retention: request
            .retention
            .map(|span| within_horizon("/retention", span.as_duration()))
            .transpose()?,
        content_type,
        head: RequestHead {
            method: "POST".to_owned(),
            target: target.clone(),
            fields,
            params: Vec::new(),
        },
        request: None,
        input: app.engine.store_bytes(bytes).await?,
        secrets: Vec::new(),
        checkpoint,
        idempotency: None,
        context: Context {
            upstream: String::new(),
            host: None,
            called_as: origin.called_as.clone(),
            called_target: target,
            idempotency_key: origin.idempotency_key.clone(),
            access: Access::Ticket,
            grants: Grants { read: true, cancel: false, retry: false },
            traceparent: origin.traceparent.clone(),
            forwarded: String::new(),
            may_report: false,
        },
        source: origin.source,
    })
}

async fn input(
    app: &App,
    json: Option<RawJson>,
    base64: Option<String>,
    content_type: Option<String>,
) -> Result<(Bytes, Option<String>), Refusal> {
    if let Some(json) = json {
        return Ok((json.into_string().into(), Some(JSON.to_owned())));
    }
    let Some(text) = base64 else { return Ok((Bytes::new(), None)) };
    if let Some(kind) = &content_type {
        check_content_type("/content_type", kind)?;
    }
    let bytes = heavy::on(text.len(), move || STANDARD.decode(text)).await?;
    let bytes = bytes.map_err(|_| Refusal::field("/input_base64", "is not base64"))?;
    if bytes.len() as u64 > app.config.body_bytes_max {
        return Err(too_large(app.config.body_bytes_max));
    }
    Ok((bytes.into(), content_type))
}

/// Refuses a media type that no header field could carry.
///
/// # Errors
/// Names the member.
pub(crate) fn check_content_type(pointer: &str, kind: &str) -> Result<(), Refusal> {
    let fits = (1..=limits::CONTENT_TYPE_BYTES_MAX).contains(&kind.len());
    if fits && kind.contains('/') && kind.is_ascii() && HeaderValue::from_str(kind).is_ok() {
        return Ok(());
    }
    let why = format!("not a media type of 1 to {} bytes", limits::CONTENT_TYPE_BYTES_MAX);
    Err(Refusal::field(pointer, why))
}

fn priority(level: Option<i32>) -> Result<Priority, Refusal> {
    let level = level.unwrap_or(0);
    let range = limits::PRIORITY_RANGE;
    i8::try_from(level).ok().and_then(Priority::new).ok_or_else(|| {
        let (low, high) = (range.start(), range.end());
        Refusal::field("/priority", format_args!("must be from {low} to {high}"))
    })
}

fn labels(
    labels: std::collections::BTreeMap<String, String>,
) -> Result<Vec<(String, String)>, Refusal> {
    if labels.len() > limits::LABELS_MAX {
        let why = format!("at most {} labels", limits::LABELS_MAX);
        return Err(Refusal::field("/labels", why).limit(limits::LABELS_MAX as u64));
    }
    for (name, value) in &labels {
        check_label(name, value).map_err(|why| Refusal::field("/labels", why))?;
    }
    Ok(labels.into_iter().collect())
}

/// Checks the name and the value of a label.
///
/// # Errors
/// Says what is wrong.
pub(crate) fn check_label(name: &str, value: &str) -> Result<(), String> {
    let max = limits::LABEL_BYTES_MAX;
    free_text(name, max).map_err(|error| format!("the name of a label {error}"))?;
    if name.contains('=') {
        return Err("the name of a label must not contain '='".to_owned());
    }
    if !value.is_empty() {
        free_text(value, max).map_err(|error| format!("the value of a label {error}"))?;
    }
    Ok(())
}

fn run_at(request: &SubmitRequest, now: Timestamp) -> Result<Option<Timestamp>, Refusal> {
    if let Some(delay) = request.delay {
        return Ok(Some(now.plus(within_horizon("/delay", delay.as_duration())?)));
    }
    let Some(moment) = request.run_at else { return Ok(None) };
    let moment = Timestamp::from_ms(moment.as_ms());
    within_horizon("/run_at", moment.since(now))?;
    Ok(Some(moment))
}

fn deadline(
    deadline: submit::Deadline,
    run_at: Timestamp,
    now: Timestamp,
) -> Result<Deadline, Refusal> {
    match deadline {
        submit::Deadline::After(span) => {
            let span = within_horizon("/deadline", span.as_duration())?;
            if span.is_zero() {
                return Err(Refusal::field("/deadline", "must be longer than nothing"));
            }
            Ok(Deadline::After(span))
        }
        submit::Deadline::At(moment) => {
            let moment = Timestamp::from_ms(moment.as_ms());
            within_horizon("/deadline", moment.since(now))?;
            if moment <= run_at.max(now) {
                return Err(Refusal::field("/deadline", "must be after the task may run"));
            }
            Ok(Deadline::At(moment))
        }
    }
}

fn within_horizon(pointer: &str, span: Duration) -> Result<Duration, Refusal> {
    if span <= limits::HORIZON_MAX {
        return Ok(span);
    }
    let days = limits::HORIZON_MAX.as_secs() / 86_400;
    Err(Refusal::field(pointer, format_args!("must be within {days} days")))
}

fn checkpoint(checkpoint: Option<RawJson>) -> Result<Option<Bytes>, Refusal> {
    let Some(checkpoint) = checkpoint else { return Ok(None) };
    check_small("/checkpoint", checkpoint.as_bytes())?;
    Ok(Some(Bytes::copy_from_slice(checkpoint.as_bytes())))
}

/// Refuses JSON that is over the limit of checkpoints and outputs.
///
/// # Errors
/// Names the member.
pub(crate) fn check_small(pointer: &str, json: &[u8]) -> Result<(), Refusal> {
    let max = limits::CHECKPOINT_BYTES_MAX;
    if json.len() <= max {
        return Ok(());
    }
    Err(Refusal::field(pointer, format_args!("must have at most {max} bytes")).limit(max as u64))
}
