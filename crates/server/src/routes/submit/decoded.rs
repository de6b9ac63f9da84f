//! From a document to a submission: its bodies are checked here, its options by the rules.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use relais_api::{RawJson, Span, SubmitRequest, codes, paths};
use relais_core::{
    Asked, Grants, InvalidOption, OptionName, Purpose, Runner, Source, TenantName, limits,
};
use relais_engine::{Access, Context, Presented, RequestHead, Sight, Submission};

use crate::answer::problem::Refusal;
use crate::app::App;
use crate::auth::Visitor;
use crate::request::heavy;
use crate::request::incoming::too_large;
use crate::routes::moments;

/// The media type of an input that was given as JSON.
const JSON: &str = "application/json";

/// What all submissions of one call have in common.
pub(super) struct InCommon {
    called_as: String,
    source: Option<Source>,
}

impl InCommon {
    pub(super) fn of(app: &App, visitor: &Visitor) -> Self {
        Self { called_as: app.base.origin().to_owned(), source: visitor.share() }
    }
}

/// The submission that a document asks for, without its idempotency claim.
///
/// # Errors
/// Names the member that is not valid.
pub(super) async fn submission(
    app: &App,
    tenant: &TenantName,
    mut request: SubmitRequest,
    in_common: &InCommon,
) -> Result<Submission, Refusal> {
    request.check()?;
    let now = app.engine.now();
    let options = asked(&mut request).judge(now).map_err(|error| invalid_option(&error))?;
    let queue = request.queue.parse().map_err(|error| Refusal::field("/queue", error))?;
    if app.engine.policies().find(tenant, &queue).is_none() {
        return Err(Refusal::new(&codes::QUEUE_NOT_FOUND));
    }
    let checkpoint = checkpoint(request.checkpoint)?;
    let (bytes, content_type) =
        input(app, request.input, request.input_base64, request.content_type).await?;
    let fields = content_type
        .iter()
        .map(|kind| ("content-type".to_owned(), Bytes::copy_from_slice(kind.as_bytes())))
        .collect();
    let target = format!("{}{}", app.config.api_prefix, paths::TASKS);
    Ok(Submission {
        tenant: tenant.clone(),
        purpose: Purpose::Client,
        queue,
        lane: options.lane,
        priority: options.priority,
        labels: options.labels,
        runner: Runner::Workers,
        run_at: options.run_at,
        deadline: options.deadline,
        retention: options.retention,
        content_type,
        head: RequestHead {
            method: "POST".to_owned(),
            target: target.clone(),
            fields,
            params: Vec::new(),
        },
        request: None,
        input: app.engine.store_input(bytes).await?,
        secrets: Vec::new(),
        checkpoint,
        idempotency: None,
        context: Context {
            calling: None,
            presented: Presented { called_as: in_common.called_as.clone(), called_target: target },
            sight: Sight {
                access: Access::Ticket,
                grants: Grants { read: true, cancel: false, retry: false },
            },
        },
        source: in_common.source,
        grace: None,
        webhook: None,
        is_attended: false,
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

/// What a document asks of its task.
fn asked(request: &mut SubmitRequest) -> Asked {
    Asked {
        run_at: request.run_at.map(moments::stamp),
        delay: request.delay.map(Span::as_duration),
        priority: request.priority.map(i64::from),
        lane: request.lane.take(),
        deadline: request.deadline.map(moments::deadline),
        labels: std::mem::take(&mut request.labels).into_iter().collect(),
        retention: request.retention.map(Span::as_duration),
    }
}

/// Names the member of an option that cannot be had.
fn invalid_option(error: &InvalidOption) -> Refusal {
    let pointer = match error.option {
        OptionName::RunAt => "/run_at",
        OptionName::Delay => "/delay",
        OptionName::Priority => "/priority",
        OptionName::Lane => "/lane",
        OptionName::Deadline => "/deadline",
        OptionName::Label => "/labels",
        OptionName::Retention => "/retention",
    };
    let refusal = Refusal::field(pointer, error);
    match error.limit {
        Some(limit) => refusal.limit(limit),
        None => refusal,
    }
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
    check_len(pointer, json.len(), limits::CHECKPOINT_BYTES_MAX)
}

/// Refuses what has more bytes than its limit.
///
/// # Errors
/// Names the member.
pub(crate) fn check_len(pointer: &str, len: usize, max: usize) -> Result<(), Refusal> {
    if len <= max {
        return Ok(());
    }
    Err(Refusal::field(pointer, format_args!("must have at most {max} bytes")).limit(max as u64))
}
