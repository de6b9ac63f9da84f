//! `GET /v1/tasks/{id}` and `…/why`: how a task stands.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::header::{CACHE_CONTROL, ETAG, SET_COOKIE, VARY};
use http::{HeaderValue, StatusCode, Uri};
use relais_api::why::{Reason, WaitingFor};
use relais_api::{Why, codes, fields};
use relais_core::outcome::PauseScope;
use relais_core::{Grace, State as Life, Task, TaskId, limits};
use relais_engine::{Estimate, Obstacle, document};

use crate::answer::accepted::set_pace;
use crate::answer::etag::{self, Form};
use crate::answer::links::{self, Viewer};
use crate::answer::pages::{View, Way};
use crate::answer::present;
use crate::answer::problem::Refusal;
use crate::app::App;
use crate::auth::{Action, Visitor};
use crate::request::accept::{Accepts, language};
use crate::request::params::Params;
use crate::request::prefer::Prefer;
use crate::routes::onward::onward;
use crate::routes::{OneTask, events, json};
use crate::watch::follower::Follower;
use crate::watch::poll;

/// The forms a task has, in the order of Relais' own liking.
const FORMS: [&str; 3] = ["application/json", "text/html", "text/event-stream"];

/// The place of the stream among them.
const STREAM: usize = 2;

/// `GET /v1/tasks/{id}`.
pub(super) async fn read(
    State(app): State<Arc<App>>,
    OneTask(id): OneTask,
    accepts: Accepts,
    visitor: Result<Visitor, Refusal>,
    uri: Uri,
) -> Result<Response, Refusal> {
    let form = accepts.form(&FORMS);
    if form == STREAM {
        let mut response = events::stream(&app, id, visitor, &uri, &accepts).await?;
        response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
        return Ok(response);
    }
    let visitor = visitor?;
    let form = if form == 1 { Form::Html(language(visitor.headers())) } else { Form::Json };
    let params = Params::of(&uri, &["ask"])?;
    let asks = params.get("ask").is_some();
    let wait = Prefer::of(visitor.headers()).wait_up_to(limits::WAIT_MAX);
    let patience = wait.unwrap_or_default();
    let follower = Follower::of_task(&app.followers, id, patience, visitor.client.clone());
    let seen = visitor.task(id, Action::Read).await?;
    let known = seen.task.life.version;
    let is_news = !etag::is_known(visitor.headers(), &etag::tag(known, form))
        && etag::is_conditional(visitor.headers());
    let task = match wait {
        Some(_) if !is_news => {
            let changed =
                |task: &Task| task.life.version > known || task.life.status().is_terminal();
            let now = poll::until(follower, seen.task, changed).await?;
            now.ok_or_else(|| Refusal::new(&codes::TASK_GONE).about(id))?
        }
        _ => app.engine.ask(seen.task).await?,
    };
    let joins = match form {
        // Where no session can be begun the page is as good, by its ticket.
        Form::Html(_) => join(&app, &visitor, id).await.unwrap_or_else(|refusal| {
            app.answers.note_no_session(&refusal);
            None
        }),
        Form::Json => None,
    };
    let tag = etag::tag(task.life.version, form);
    let (mut response, estimate) = if etag::is_known(visitor.headers(), &tag) {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        (response, app.engine.estimate(&task).await?)
    } else {
        whole(&app, &visitor, &task, &seen.viewer, form, asks).await?
    };
    let headers = response.headers_mut();
    if let Some(cookie) = joins {
        headers.insert(SET_COOKIE, cookie);
    }
    headers.insert(ETAG, tag);
    let kept = match form {
        Form::Html(_) => "no-store",
        Form::Json => "private, no-cache",
    };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(kept));
    headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Language"));
    set_pace(&app.engine, &task, estimate, headers);
    if let Some(wait) = wait {
        let applied = format!("wait={}", wait.as_secs());
        let applied = HeaderValue::from_str(&applied).map_err(Refusal::internal)?;
        headers.insert(fields::PREFERENCE_APPLIED, applied);
    }
    Ok(response)
}

/// A page to which a person goes by a ticket from one of the application's joins the browser's session:
/// it needs the ticket no more. Where a foreign link led there a button does, if the person wants it;
/// that page, which loads itself again, must not do it by itself.
async fn join(app: &App, visitor: &Visitor, id: TaskId) -> Result<Option<HeaderValue>, Refusal> {
    if !visitor.has_ticket() || !visitor.fetch().is_led_by_own_page() {
        return Ok(None);
    }
    app.auth.join(visitor.browser(), visitor.right_to(id).await?).await
}

/// How the browser comes back to the task.
async fn way(
    app: &App,
    visitor: &Visitor,
    task: &Task,
    ticket: Option<&str>,
) -> Result<Way, Refusal> {
    let (id, base) = (task.spec.id, app.base.path());
    if visitor.joined(id).is_some() {
        return Ok(Way::BySession { list: links::to_session(base) });
    }
    Ok(match ticket {
        // Where leaving cancels it, the button that leads to its other address would.
        _ if task.grace() == Some(Grace::ZERO) => Way::AsItCame,
        Some(ticket) if app.auth.may_join(visitor.browser(), id).await? => {
            let id = id.to_string();
            let (join, then) = (links::to_join(base, &id, ticket), links::to_task(base, &id, None));
            Way::ByLink { join, then }
        }
        _ => Way::AsItCame,
    })
}

/// How a task stands, and what is known of when it will be over.
async fn whole(
    app: &App,
    visitor: &Visitor,
    task: &Task,
    viewer: &Viewer<'_>,
    form: Form,
    asks: bool,
) -> Result<(Response, Estimate), Refusal> {
    let Form::Html(language) = form else {
        let estimate = app.engine.estimate(task).await?;
        let document = present::task_of(&app.answers, task, viewer, estimate);
        return Ok((json(StatusCode::OK, &document)?, estimate));
    };
    let why = app.engine.why(task).await?;
    let shown = present::task_of(&app.answers, task, &viewer.for_page(&app.base), why.estimate);
    let view = View {
        waiting_for: why.obstacles.first().map(|obstacle| waiting_for(task, obstacle)),
        onward: onward(app, visitor, task).await?,
        way: way(app, visitor, task, viewer.ticket).await?,
        asks,
        ..app.answers.view_of(task, &shown, language)
    };
    // The script of a page that is shown already takes over what differs.
    let page = match visitor.fetch().is_script() {
        true => app.answers.pages.part(&view),
        false => app.answers.pages.ticket(&view),
    };
    Ok((page, why.estimate))
}

/// `GET /v1/tasks/{id}/why`.
pub(super) async fn why(
    State(app): State<Arc<App>>,
    OneTask(id): OneTask,
    visitor: Visitor,
    uri: Uri,
) -> Result<Response, Refusal> {
    Params::of(&uri, &[])?;
    let seen = visitor.task(id, Action::Read).await?;
    let why = app.engine.why(&seen.task).await?;
    let told = why.obstacles.iter().map(|obstacle| waiting_for(&seen.task, obstacle));
    let mut waiting_for: Vec<_> = told.collect();
    if matches!(seen.task.life.state, Life::Running { .. }) {
        let detail = "an attempt is being made".to_owned();
        waiting_for.push(WaitingFor { reason: Reason::Running, detail, until: None });
    }
    let document = Why {
        task: id.to_string(),
        status: present::status(seen.task.life.status()),
        waiting_for,
        position: why.estimate.ahead.map(|ahead| ahead + 1),
        eta: why.estimate.eta.map(present::eta),
        abandon_at: seen.task.life.abandon_at().map(document::time),
        last_failure: present::last_failure_of(app.base.as_str(), &seen.task),
    };
    json(StatusCode::OK, &document)
}

fn position(ahead: u64) -> String {
    match ahead {
        0 => "it is the next of its lane, and starts in its turn".to_owned(),
        1 => "1 task of its lane starts before it".to_owned(),
        ahead => format!("{ahead} tasks of its lane start before it"),
    }
}

fn lane_of(task: &Task) -> &'static str {
    if task.spec.lane.is_some() { "its lane" } else { "the lane of tasks without one" }
}

fn waiting_for(task: &Task, obstacle: &Obstacle) -> WaitingFor {
    let (reason, detail, until) = match obstacle {
        Obstacle::Scheduled { until, is_retry: true } => {
            (Reason::Backoff, "a failed attempt is made again later".to_owned(), Some(*until))
        }
        Obstacle::Scheduled { until, is_retry: false } => {
            (Reason::Scheduled, "its moment has not come".to_owned(), Some(*until))
        }
        Obstacle::QueueNotDefined => {
            let detail = "the configuration does not define its queue (any more): it is run by the \
                          default policy";
            (Reason::QueueNotDefined, detail.to_owned(), None)
        }
        Obstacle::QueuePaused => (Reason::Paused, "the queue is paused".to_owned(), None),
        Obstacle::OriginPaused { scope, until } => {
            let what = match scope {
                PauseScope::Origin => "",
                PauseScope::Queue => " by this queue",
                PauseScope::Lane => " by this lane",
            };
            let detail = format!("the upstream asked this server to be left alone{what}");
            (Reason::OriginPaused, detail, Some(*until))
        }
        Obstacle::OriginRate { until } => {
            let detail =
                "the upstream gets as many requests from this server as its rate allows".to_owned();
            (Reason::OriginRate, detail, Some(*until))
        }
        Obstacle::OriginFull => {
            let detail = "the upstream has as many requests of this server as it may".to_owned();
            (Reason::OriginConcurrency, detail, None)
        }
        Obstacle::Concurrency { limit } => {
            (Reason::Concurrency, format!("the queue runs as many as it may: {limit}"), None)
        }
        Obstacle::LaneConcurrency { limit } if task.spec.lane.is_none() => {
            let detail = format!("tasks without a lane run as many as they may together: {limit}");
            (Reason::Lane, detail, None)
        }
        Obstacle::LaneConcurrency { limit } => {
            (Reason::Lane, format!("its lane runs as many as it may: {limit}"), None)
        }
        Obstacle::LaneHeld => {
            let why = "runs one after the other, and one before it is not over";
            (Reason::Lane, format!("{} {why}", lane_of(task)), None)
        }
        Obstacle::LaneRate { until } => {
            let detail = format!("{} starts as many as its rate allows", lane_of(task));
            (Reason::Lane, detail, Some(*until))
        }
        Obstacle::Rate { until } => {
            let detail = "the queue starts as many as its rate allows".to_owned();
            (Reason::Rate, detail, Some(*until))
        }
        Obstacle::Position { ahead } => (Reason::Position, position(*ahead), None),
        Obstacle::NoWorker => (
            Reason::NoWorker,
            "no worker asks this server for tasks of this queue".to_owned(),
            None,
        ),
        Obstacle::Outside { until } => {
            (Reason::OutsideSystem, "an outside system has it".to_owned(), Some(*until))
        }
    };
    WaitingFor { reason, detail, until: until.map(document::time) }
}
