//! `GET /v1/tasks/{id}/events` and `/v1/events`: what happened, in order.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use http::header::VARY;
use http::{HeaderMap, HeaderValue, Method, Uri};
use relais_api::{EventPage, codes, fields};
use relais_core::{Task, TaskId, limits};
use relais_engine::document::event_of;
use relais_store::EventQuery;

use crate::answer::problem::Refusal;
use crate::app::App;
use crate::auth::{Action, Seen, Visitor};
use crate::connection::Turns;
use crate::request::accept::preferred;
use crate::request::params::Params;
use crate::request::prefer::Prefer;
use crate::routes::{OneTask, PageItems, task};
use crate::watch::sse::{self, Opened, Resume};
use crate::watch::{many, poll};

/// The forms a log has, in the order of Relais' own liking.
const FORMS: [&str; 2] = ["text/event-stream", "application/json"];
/// Events read from the log at once: a few times what a page has room for, if they are large.
const AT_ONCE: usize = 50;
/// Largest number of an event that every JSON reader can read.
const SEQ_MAX: u64 = (1 << 53) - 1;

/// `GET /v1/tasks/{id}/events`.
pub(super) async fn of_task(
    State(app): State<Arc<App>>,
    OneTask(id): OneTask,
    visitor: Visitor,
    turns: Turns,
    uri: Uri,
) -> Result<Response, Refusal> {
    let mut response = match preferred(visitor.headers(), &FORMS) {
        0 => stream(&app, id, &visitor, &uri).await?,
        _ => page(&app, id, &visitor, turns, &uri).await?,
    };
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

/// Whether a request asks for a stream: then a refusal that will pass is told as `relais.busy`,
/// because browsers never come back after an error status.
pub(super) fn asks_for_stream(method: &Method, path: &str, headers: &HeaderMap) -> bool {
    if *method != Method::GET {
        return false;
    }
    let Some((_, part)) = path.split_once("/v1/tasks/") else {
        return path.ends_with("/v1/events");
    };
    match part.split_once('/') {
        None => preferred(headers, &task::FORMS) == task::STREAM,
        Some((_, part)) => part == "events" && preferred(headers, &FORMS) == 0,
    }
}

/// A stream of one task's events.
pub(super) async fn stream(
    app: &Arc<App>,
    id: TaskId,
    visitor: &Visitor,
    uri: &Uri,
) -> Result<Response, Refusal> {
    let params = Params::of(uri, &["after", "limit"])?;
    let resume = Resume::of(visitor.headers(), params.number("after", 0..=SEQ_MAX)?);
    let seen = visitor.task(app, id, Action::Read).await?;
    refuse_while_stopping(app)?;
    match sse::open(app, id, resume, seen.until).await? {
        Opened::Follow(follow) => Ok(sse::response(follow, visitor.client.clone())),
        Opened::Over => Ok(sse::over_response()),
    }
}

/// A page of one task's log.
async fn page(
    app: &App,
    id: TaskId,
    visitor: &Visitor,
    turns: Turns,
    uri: &Uri,
) -> Result<Response, Refusal> {
    let params = Params::of(uri, &["after", "limit"])?;
    let after = params.number("after", 0..=SEQ_MAX)?.unwrap_or(0);
    let limit = params.number("limit", 1..=limits::EVENT_PAGE_MAX as u64)?;
    let limit = limit.map_or(limits::EVENT_PAGE_MAX, |limit| limit as usize);
    let follower = app.engine.follow(id);
    let Seen { task, .. } = visitor.task(app, id, Action::Read).await?;
    if after > task.life.version {
        // A number of another store, or of a time that a restore undid: waiting there would miss
        // all that comes before. A stream tells it as `relais.reset`.
        let why = format_args!("beyond the end of the log, which is {}", task.life.version);
        return Err(Refusal::parameter("after", why));
    }
    let wait = Prefer::of(visitor.headers()).wait_up_to(limits::WAIT_MAX);
    let is_enough = |task: &Task| task.life.version > after || task.life.status().is_terminal();
    let end = visitor.client.has_waited(wait.unwrap_or(Duration::ZERO));
    let task = poll::until(app, follower, task, end, is_enough).await?;
    let task = task.ok_or_else(|| Refusal::new(&codes::TASK_GONE).about(id))?;
    let turn = turns.take().await;
    let (events, next) = read_log(app, id, after, limit).await?;
    let terminal = task.life.status().is_terminal() && next >= task.life.version;
    let mut response = events.page(&EventPage { events: Vec::new(), next, terminal })?;
    if let Some(wait) = wait {
        let applied = format!("wait={}", wait.as_secs());
        let applied = HeaderValue::from_str(&applied).map_err(Refusal::internal)?;
        response.headers_mut().insert(fields::PREFERENCE_APPLIED, applied);
    }
    Ok(turn.until_sent(response))
}

/// Up to `limit` events after a number, as many as a page has room for, and the number of the last.
async fn read_log(
    app: &App,
    id: TaskId,
    after: u64,
    limit: usize,
) -> Result<(PageItems, u64), Refusal> {
    let (mut events, mut next) = (PageItems::of("events"), after);
    while events.count < limit {
        let wanted = (limit - events.count).min(AT_ONCE);
        let query = EventQuery::Task { id, after: next, limit: wanted };
        let logged = app.engine.events(query).await?;
        for logged in &logged {
            let event = event_of(&logged.entry, app.base());
            if !events.takes(&event)? {
                return Ok((events, next));
            }
            next = event.seq;
        }
        if logged.len() < wanted {
            break;
        }
    }
    Ok((events, next))
}

/// `GET /v1/events`.
pub(super) async fn of_many(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    uri: Uri,
) -> Result<Response, Refusal> {
    let params = Params::repeatable(&uri, &["label", "after"], &["task", "ticket"])?;
    let after = params.number("after", 0..=SEQ_MAX)?;
    let wanted = many::Wanted::of(&app, &visitor, &params).await?;
    refuse_while_stopping(&app)?;
    let resume = Resume::of(visitor.headers(), after);
    Ok(sse::stream_response(many::open(&app, wanted, resume, visitor.client).await?.into_chunks()))
}

/// A stream that would be closed at once is not opened: the client is told to come back.
fn refuse_while_stopping(app: &App) -> Result<(), Refusal> {
    if app.stop.is_cancelled() { Err(Refusal::new(&codes::SERVER_DRAINING)) } else { Ok(()) }
}
