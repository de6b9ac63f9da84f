//! From a request to a task: all that can be refused is refused before its body is read, and the
//! body is durable before the upstream hears of it.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, header, request};
use relais_api::codes;
use relais_core::outcome::is_idempotent_method;
use relais_core::{Purpose, RequestLine, Runner};
use relais_engine::headers::folded;
use relais_engine::{
    Calling, Context, EngineError, Field, Presented, RequestHead, Sight, Submission,
};

use super::caller::{self, Submitter};
use super::options;
use super::repeat::Sent;
use super::trace::traceparent;
use super::upload;
use crate::answer::base::Base;
use crate::answer::problem::Refusal;
use crate::app::App;
use crate::config::{Route, Run};
use crate::proxy::fields::{self, PreferIs};
use crate::proxy::source::Source;
use crate::request::bodies::{Holder, Place};
use crate::request::incoming::check_length;
use crate::request::sent_by::SentBy;

/// A request that is about to become a task.
struct Prepared {
    /// Who hands it in.
    submitter: Submitter,
    /// The task it asks for, but for its body.
    submission: Submission,
    /// Its method and content type as they came.
    method: String,
    content_type: Vec<u8>,
}

/// Reads a request to its end: what is returned can be submitted.
///
/// # Errors
/// Why it is refused.
pub(super) async fn read(
    app: &App,
    route: &Route,
    names: &[(String, String)],
    request: Request<Body>,
) -> Result<(Submitter, Submission), Refusal> {
    let (mut parts, body) = request.into_parts();
    let sent_by = SentBy::take(&app.config, &mut parts);
    let prepared = prepare(app, route, names, &sent_by, &parts).await?;
    let holder = Holder::of(&prepared.submitter.caller, &sent_by.source);
    prepared.with_body(app, &parts.headers, body, holder).await
}

/// Decides, by its head alone, what task a request asks for.
async fn prepare(
    app: &App,
    route: &Route,
    names: &[(String, String)],
    sent_by: &SentBy,
    parts: &request::Parts,
) -> Result<Prepared, Refusal> {
    let headers = &parts.headers;
    if app.engine.is_draining() {
        return Err(EngineError::Draining.into());
    }
    // Before the body is read, and whatever its length.
    app.engine.require_room(0)?;
    if fields::wants_websocket(headers, parts.version) {
        return Err(Refusal::new(&codes::UPGRADE_NOT_SUPPORTED));
    }
    if headers.contains_key(header::VIA) && fields::is_loop(headers, &app.engine.config().via) {
        return Err(Refusal::new(&codes::LOOP_DETECTED));
    }
    let source = &sent_by.source;
    let submitter = Submitter::of(&app.auth, route, sent_by, parts).await?;
    if app.engine.policies().find(&submitter.tenant, &route.queue).is_none() {
        return Err(EngineError::UnknownQueue.into());
    }
    let options = options::of(headers, &route.allow, app.engine.now())?;
    let from_route = match &route.lane {
        Some(lane) => caller::lane(lane, headers, names, parts.uri.query(), source)?,
        None => None,
    };
    let (traceparent, _) = traceparent(headers, app.engine.chance());
    let (open, secrets) = stored_fields(&app.config.sealed_fields, headers, source, &traceparent);
    let context = context(&app.base, route, &submitter, parts, source, traceparent);
    let content_type = headers.get(header::CONTENT_TYPE);
    let submission = Submission {
        tenant: submitter.tenant.clone(),
        purpose: Purpose::Client,
        queue: route.queue.clone(),
        lane: options.lane.or(from_route),
        priority: options.priority,
        labels: options.labels,
        runner: runner(route, parts.method.as_str()),
        run_at: options.run_at,
        deadline: options.deadline,
        retention: None,
        content_type: content_type.and_then(|kind| kind.to_str().ok()).map(str::to_owned),
        head: RequestHead {
            method: parts.method.as_str().to_owned(),
            target: context.presented.called_target.clone(),
            fields: open,
            params: names.to_vec(),
        },
        request: Some(RequestLine::new(parts.method.as_str(), parts.uri.path())),
        input: relais_store::Data::Inline(Bytes::new()),
        secrets,
        checkpoint: None,
        idempotency: None,
        context,
        source: source.share(&app.auth.mac, &submitter.caller),
        grace: route.abandon,
        webhook: None,
        is_attended: false,
    };
    let content_type = content_type.map_or(&[][..], HeaderValue::as_bytes).to_vec();
    let method = parts.method.as_str().to_owned();
    Ok(Prepared { submitter, submission, method, content_type })
}

impl Prepared {
    async fn with_body(
        mut self,
        app: &App,
        headers: &HeaderMap,
        body: Body,
        holder: Holder,
    ) -> Result<(Submitter, Submission), Refusal> {
        let max = app.config.body_bytes_max;
        check_length(headers, max)?;
        let mut form = self.submitter.repeat.form(&self.content_type);
        let held = app.bodies.begin(Place::Store, holder);
        self.submission.input = upload::read(&app.engine, body, max, form.as_mut(), held).await?;
        self.submission.idempotency = form.and_then(|form| {
            let sent = Sent {
                tenant: &self.submitter.tenant,
                method: &self.method,
                target: &self.submission.head.target,
                content_type: &self.content_type,
                form,
            };
            self.submitter.repeat.claim(&app.auth.mac, sent)
        });
        Ok((self.submitter, self.submission))
    }
}

fn runner(route: &Route, method: &str) -> Runner {
    match &route.run {
        Run::Workers => Runner::Workers,
        Run::Upstream(upstream) => {
            let repeatable = route.idempotent.unwrap_or_else(|| is_idempotent_method(method));
            Runner::Upstream { origin: upstream.origin().clone(), repeatable }
        }
    }
}

fn context(
    base: &Base,
    route: &Route,
    submitter: &Submitter,
    parts: &request::Parts,
    source: &Source,
    traceparent: String,
) -> Context {
    let target = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let calling = match &route.run {
        Run::Workers => None,
        Run::Upstream(upstream) => Some(Calling {
            upstream: upstream.to_string(),
            host: route.upstream_host.sent(&parts.headers),
            idempotency_key: submitter.repeat.key().map(str::to_owned),
            traceparent,
            forwarded: source.forwarded(),
            may_report: route.report,
        }),
    };
    Context {
        calling,
        presented: Presented {
            called_as: source.called_as(base),
            called_target: target.to_owned(),
        },
        sight: Sight { access: submitter.access.clone(), grants: route.grants },
    }
}

/// The fields that are stored openly, and those that are sealed.
fn stored_fields(
    sealed: &[String],
    headers: &HeaderMap,
    source: &Source,
    traceparent: &str,
) -> (Vec<Field>, Vec<Field>) {
    // The trace goes on under the engine's hand; what belongs to another one does not.
    let trace = headers.get("traceparent").and_then(|line| line.to_str().ok());
    let goes_on = trace.is_some_and(|given| given.get(3..35) == traceparent.get(3..35));
    let mut open = Vec::new();
    let mut secrets = Vec::new();
    for (name, value) in &fields::of_request(headers, source, PreferIs::Ours) {
        let name = name.as_str();
        let folded = folded(name);
        let is_made_anew = matches!(&*folded, "idempotency-key" | "traceparent")
            || (name == "tracestate" && !goes_on);
        if is_made_anew {
            continue;
        }
        let field = (name.to_owned(), Bytes::copy_from_slice(value.as_bytes()));
        if sealed.iter().any(|sealed| *sealed == *folded) {
            secrets.push(field);
        } else {
            open.push(field);
        }
    }
    (open, secrets)
}
