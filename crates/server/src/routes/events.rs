//! `GET /v1/tasks/{id}/events` and `/v1/events`: what happened, in order.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::header::VARY;
use http::{HeaderValue, Uri};
use relais_api::{After, EventPage, codes, fields};
use relais_core::{Task, TaskId, TenantName, Timestamp, limits};
use relais_engine::{Many, Subscription};

use crate::answer::problem::Refusal;
use crate::app::App;
use crate::auth::{Action, Chooser, Scope, Seen, Visitor};
use crate::connection::{Client, Turns};
use crate::request::accept::Accepts;
use crate::request::params::{Params, label_of};
use crate::request::prefer::Prefer;
use crate::routes::{OneTask, PageItems};
use crate::watch::cursor::Resume;
use crate::watch::follower::Follower;
use crate::watch::poll;
use crate::watch::sse::{self, Sse};
use crate::watch::stream::{self, Asked, EventStream, Followed};

/// The forms a log has, in the order of Relais' own liking.
const FORMS: [&str; 2] = ["text/event-stream", "application/json"];

/// `GET /v1/tasks/{id}/events`.
pub(super) async fn of_task(
    State(app): State<Arc<App>>,
    OneTask(id): OneTask,
    accepts: Accepts,
    visitor: Result<Visitor, Refusal>,
    turns: Turns,
    uri: Uri,
) -> Result<Response, Refusal> {
    let mut response = match accepts.form(&FORMS) {
        0 => stream(&app, id, visitor, &uri, &accepts).await?,
        _ => page(&app, id, &visitor?, turns, &uri).await?,
    };
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

/// A stream of one task's events.
pub(super) async fn stream(
    app: &Arc<App>,
    id: TaskId,
    visitor: Result<Visitor, Refusal>,
    uri: &Uri,
    accepts: &Accepts,
) -> Result<Response, Refusal> {
    let asked = async {
        let visitor = visitor?;
        let params = Params::of(uri, &["after", "limit"])?;
        let after = params.number("after", 0..=After::NUMBER_MAX)?;
        let resume = sse::resume(visitor.headers(), after.map(After::Number));
        let seen = visitor.task(id, Action::Read).await?;
        let (subscription, until) = (Subscription::Task(id), seen.until);
        let holds = held(accepts, vec![seen.task]);
        Ok(by_sse(visitor.client, resume, Followed { subscription, until, holds }))
    };
    streamed(app, asked, uri, accepts).await
}

/// Of the tasks that a stream names, those that it holds. The head of a stream follows nothing.
fn held(accepts: &Accepts, named: Vec<Task>) -> Vec<Task> {
    if accepts.is_get() { named } else { Vec::new() }
}

/// The stream in the form that browsers read.
fn by_sse(client: Client, resume: Resume, followed: Followed) -> Asked {
    Asked { followed, resume, client, form: Box::new(Sse), life: None }
}

/// The stream that is asked for. A refusal that will pass is told in one: browsers never come back
/// after an error status.
async fn streamed(
    app: &Arc<App>,
    asked: impl Future<Output = Result<Asked, Refusal>>,
    uri: &Uri,
    accepts: &Accepts,
) -> Result<Response, Refusal> {
    let (opened, away_ms_max) = match asked.await {
        Ok(asked) => {
            let away_ms_max = stream::away_ms_max(&asked.followed.holds);
            (EventStream::open(&app.followers, asked).await, away_ms_max)
        }
        Err(refusal) => (Err(refusal), None),
    };
    match opened {
        Ok(opened) => Ok(stream::response(opened)),
        Err(refusal) if accepts.is_get() && refusal.is_transient() => {
            app.answers.note(&refusal, Some(uri.path()));
            Ok(stream::busy_response(&app.engine, &Sse, &refusal, away_ms_max))
        }
        Err(refusal) => Err(refusal),
    }
}

/// A page of one task's log.
async fn page(
    app: &Arc<App>,
    id: TaskId,
    visitor: &Visitor,
    turns: Turns,
    uri: &Uri,
) -> Result<Response, Refusal> {
    let params = Params::of(uri, &["after", "limit"])?;
    let after = params.number("after", 0..=After::NUMBER_MAX)?.unwrap_or(0);
    let limit = params.number("limit", 1..=limits::EVENT_PAGE_MAX as u64)?;
    let limit = limit.map_or(limits::EVENT_PAGE_MAX, |limit| limit as usize);
    let wait = Prefer::of(visitor.headers()).wait_up_to(limits::WAIT_MAX);
    let patience = wait.unwrap_or_default();
    let follower = Follower::of_task(&app.followers, id, patience, visitor.client.clone());
    let Seen { task, .. } = visitor.task(id, Action::Read).await?;
    if after > task.life.version {
        // A number of another store, or of a time that a restore undid: waiting there would miss
        // all that comes before. A stream tells it as `relais.reset`.
        let why = format_args!("beyond the end of the log, which is {}", task.life.version);
        return Err(Refusal::parameter("after", why));
    }
    let is_enough = |task: &Task| task.life.version > after || task.life.status().is_terminal();
    let task = poll::until(follower, task, is_enough).await?;
    let task = task.ok_or_else(|| Refusal::new(&codes::TASK_GONE).about(id))?;
    let turn = turns.take().await;
    let (events, next) = read_log(app, id, after, limit).await?;
    // What was added since the task was read may be its next run.
    let terminal = task.life.status().is_terminal() && next == task.life.version;
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
    loop {
        let part = app.engine.read_log(&Subscription::Task(id), next).await?;
        for event in &part.events {
            if events.count == limit || !events.takes_json(event.json(app.base.as_str())) {
                return Ok((events, next));
            }
            next = event.entry.seq;
        }
        if !part.has_more {
            return Ok((events, next));
        }
    }
}

/// `GET /v1/events`.
pub(super) async fn of_many(
    State(app): State<Arc<App>>,
    accepts: Accepts,
    chooser: Result<Chooser, Refusal>,
    uri: Uri,
) -> Result<Response, Refusal> {
    let asked = async {
        let Chooser(visitor) = chooser?;
        let params = Params::repeatable(&uri, &["label", "after"], &["task", "ticket"])?;
        let after = params.parse("after", After::EXPECTED)?;
        let resume = sse::resume(visitor.headers(), after);
        let (many, until, named) = selection(&app, &visitor, &params).await?;
        let (subscription, holds) = (Subscription::Many(many), held(&accepts, named));
        Ok(by_sse(visitor.client, resume, Followed { subscription, until, holds }))
    };
    streamed(&app, asked, &uri, &accepts).await
}

/// Which tasks are wanted, and until when the visitor may see them: by tickets, or by tasks and a
/// label with an API key; and the tasks that are named.
///
/// # Errors
/// When none is named, too many are, or one is not the visitor's.
async fn selection(
    app: &App,
    visitor: &Visitor,
    params: &Params,
) -> Result<(Many, Option<Timestamp>, Vec<Task>), Refusal> {
    // Before any of them is looked at.
    if params.all("ticket").chain(params.all("task")).nth(limits::STREAM_TASKS_MAX).is_some() {
        let max = limits::STREAM_TASKS_MAX as u64;
        return Err(Refusal::parameter("task", format_args!("at most {max}")).limit(max));
    }
    let label = params.get("label").map(label_of).transpose()?;
    let (mut named, mut tenant, mut ends) = (Vec::new(), None, Vec::new());
    for token in params.all("ticket") {
        let (task, end) = app.auth.read_by_ticket(token).await?;
        one_tenant(&mut tenant, &task.spec.tenant)?;
        named.push(task);
        ends.push(end);
    }
    for text in params.all("task") {
        let id = text.parse().map_err(|_| Refusal::parameter("task", "no id of a task"))?;
        let seen = visitor.task(id, Action::Read).await?;
        one_tenant(&mut tenant, &seen.task.spec.tenant)?;
        named.push(seen.task);
        ends.extend(seen.until);
    }
    if label.is_some() {
        one_tenant(&mut tenant, &visitor.tenant(Scope::Read)?)?;
    }
    named.sort_unstable_by_key(|task| task.spec.id);
    named.dedup_by_key(|task| task.spec.id);
    // In one order, so that those who want the same share what they are told.
    let tasks = named.iter().map(|task| task.spec.id).collect();
    let nothing = || Refusal::parameter("task", "give task, ticket or label");
    let only_open = label.is_some() && visitor.is_anonymous();
    let many = Many { tenant: tenant.ok_or_else(nothing)?, tasks, label, only_open };
    Ok((many, ends.into_iter().min(), named))
}

fn one_tenant(known: &mut Option<TenantName>, other: &TenantName) -> Result<(), Refusal> {
    match known {
        Some(known) if known != other => {
            Err(Refusal::parameter("ticket", "all tasks of a stream belong to one tenant"))
        }
        _ => {
            *known = Some(other.clone());
            Ok(())
        }
    }
}
