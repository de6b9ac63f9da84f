//! The 202: the task, and all it takes to follow it.

use axum::response::Response;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LINK, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use relais_api::{Accepted, fields};
use relais_core::{Grants, Task, limits};
use relais_engine::{Access, Engine, Estimate, envelope};

use crate::answer::answers::Answers;
use crate::answer::base::Base;
use crate::answer::links::{self, Viewer};
use crate::answer::pace;
use crate::answer::present;
use crate::answer::problem::Refusal;
use crate::auth::{Caller, Right, Scope, Ticket};
use crate::request::accept::Language;

/// Room for the document of a usual task.
const BODY_BYTES_USUAL: usize = 1_536;

/// How a task was accepted.
#[derive(Debug, Clone, Default)]
pub(crate) struct How {
    /// What was applied of `Prefer`, as `Preference-Applied` says it on a 202…
    pub(crate) applied: Option<String>,
    /// …and on the answer itself.
    pub(crate) applied_to_answer: Option<String>,
    /// Whether an earlier request with the same idempotency key made it.
    pub(crate) is_replayed: bool,
    /// Whether whoever called may not be who made it: the answer names the task, no more.
    pub(crate) is_stranger: bool,
    /// The language of the page that a person is shown instead of the document.
    pub(crate) page: Option<Language>,
    /// What its links begin with, if not as `Base` says: see `Viewer`.
    pub(crate) base: Option<String>,
    /// By what it was asked for: no ticket grants more than that, and none is handed to whoever came by a
    /// session, which a page could read out.
    pub(crate) right: Right,
}

impl How {
    /// The same for a page, whose links are paths: see `Viewer::for_page`.
    #[must_use]
    pub(crate) fn for_page(&self, base: &Base) -> Self {
        Self { base: Some(base.path().to_owned()), ..self.clone() }
    }

    /// What of the grants of a task's tickets whoever asked is given.
    const fn grants(&self, usual: Grants) -> Grants {
        match self.right {
            Right::Own => usual,
            Right::Ticket(grants) | Right::Session(grants) | Right::OfSession(grants, _) => {
                usual.and(grants)
            }
        }
    }
}

/// The answer to a request that became a task.
///
/// # Errors
/// When the task's context cannot be read.
pub(crate) fn accepted_response(
    answers: &Answers,
    task: &Task,
    estimate: Estimate,
    caller: &Caller,
    how: &How,
) -> Result<Response, Refusal> {
    let told = accepted(answers, task, estimate, caller, how)?;
    let mut response = match how.page {
        Some(language) => {
            let how = how.for_page(&answers.base);
            let shown = accepted(answers, task, estimate, caller, &how)?.task;
            match envelope::context_of(task)?.sight.access {
                Access::Ticket => answers.page_of(task, &shown, language),
                access => {
                    let (url, grace) = (&told.task.links.result, task.spec.grace);
                    answers.pages.asking(&shown, url, grace, &access, language)
                }
            }
        }
        None => document(&told),
    };
    *response.status_mut() = StatusCode::ACCEPTED;
    let headers = response.headers_mut();
    // It holds a ticket.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    follow_headers(told.task, headers);
    // Also where the task is over: whoever is told 202 asks again.
    headers.insert(RETRY_AFTER, pace::retry_after_s(&answers.engine, estimate).into());
    if let Some(applied) = how.applied.as_deref().and_then(|text| HeaderValue::from_str(text).ok())
    {
        headers.insert(fields::PREFERENCE_APPLIED, applied);
    }
    if how.is_replayed {
        headers.insert(fields::IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(answers.own(response))
}

fn document(accepted: &Accepted) -> Response {
    let mut body = Vec::with_capacity(BODY_BYTES_USUAL);
    serde_json::to_writer(&mut body, accepted).expect("a task is plain data");
    let mut response = Response::new(body.into());
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// The body of the 202, also an item of a batch.
///
/// # Errors
/// When the task's context cannot be read.
pub(crate) fn accepted(
    answers: &Answers,
    task: &Task,
    estimate: Estimate,
    caller: &Caller,
    how: &How,
) -> Result<Accepted, Refusal> {
    let sight = envelope::context_of(task)?.sight;
    if how.is_stranger {
        return Ok(for_stranger(answers, task, how));
    }
    let grants = how.grants(sight.grants);
    let ticket = match (sight.access, how.right) {
        (Access::Ticket, Right::Own | Right::Ticket(_)) => Some(Ticket::of(task, grants)),
        (Access::Ticket, Right::OfSession(_, end)) => Some(Ticket::of_session(task, grants, end)),
        (Access::Ticket, Right::Session(_)) | (Access::Caller { .. } | Access::Key, _) => None,
    };
    let ticket = ticket.map(|ticket| ticket.sign(&answers.signing.keys()));
    let viewer = viewer_of(caller, grants, ticket.as_deref(), how);
    let presented = present::task_of(answers, task, &viewer, estimate);
    Ok(Accepted { task: presented, ticket, no_ticket: None })
}

/// The header fields by which clients of all habits find their task. Its document is written by now,
/// and gives its texts away.
pub(crate) fn follow_headers(document: relais_api::Task, headers: &mut HeaderMap) {
    let mut insert = |name: HeaderName, value: String| {
        let value = HeaderValue::from_maybe_shared(Bytes::from(value)).expect("URLs are ASCII");
        headers.insert(name, value);
    };
    insert(LINK, links::monitor(&document.links.this));
    insert(HeaderName::from_static(fields::OPERATION_LOCATION), document.links.this);
    insert(LOCATION, document.links.result);
    insert(HeaderName::from_static(fields::TASK), document.id);
}

/// `Retry-After`, while asking again makes sense.
pub(crate) fn set_pace(engine: &Engine, task: &Task, estimate: Estimate, headers: &mut HeaderMap) {
    if !task.life.status().is_terminal() {
        headers.insert(RETRY_AFTER, pace::ask_again_s(engine, task, estimate).into());
    }
}

fn viewer_of<'a>(
    caller: &Caller,
    grants: Grants,
    ticket: Option<&'a str>,
    how: &'a How,
) -> Viewer<'a> {
    let base = how.base.as_deref();
    match caller {
        Caller::Key(key) => {
            let may_submit = Scope::Submit.is_in(key.scopes);
            Viewer { base, ticket: None, may_cancel: may_submit, may_retry: may_submit }
        }
        Caller::Nobody => {
            Viewer { base, ticket, may_cancel: grants.cancel, may_retry: grants.retry }
        }
    }
}

/// The task's name and nothing that its maker alone should know.
fn for_stranger(answers: &Answers, task: &Task, how: &How) -> Accepted {
    let viewer = Viewer { base: how.base.as_deref(), ..Viewer::default() };
    let mut presented = present::task_of(answers, task, &viewer, Estimate::default());
    presented.lane = None;
    presented.labels.clear();
    presented.progress = None;
    presented.problem = None;
    presented.last_failure = None;
    presented.message = None;
    let no_ticket = format!(
        "This request repeats an earlier one. Whoever sends the same without credentials may be \
         somebody else, because its `Idempotency-Key` has fewer than {} characters and could be \
         guessed: so it gets neither the ticket nor the answer. Follow the task with the ticket of \
         the first answer; send a longer key next time, such as a random UUID, or an API key.",
        limits::IDEMPOTENCY_KEY_UNGUESSABLE_BYTES
    );
    Accepted { task: presented, ticket: None, no_ticket: Some(no_ticket) }
}
