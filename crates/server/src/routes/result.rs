//! `GET /v1/tasks/{id}/result`: 202 with the task until it is over, then what came out; with `live` the
//! answer while it comes.

mod live;

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::header::SET_COOKIE;
use http::{HeaderValue, Method, StatusCode, Uri};
use relais_api::{codes, fields};
use relais_core::{Task, TaskId, limits};
use relais_engine::Estimate;

use self::live::{Came, Wish};
use crate::answer::accepted::{follow_headers, set_pace};
use crate::answer::links::Viewer;
use crate::answer::pages;
use crate::answer::present;
use crate::answer::problem::Refusal;
use crate::answer::redirect;
use crate::answer::replay::{only_live_response, result_response};
use crate::app::App;
use crate::auth::{Action, Visitor};
use crate::request::accept::Language;
use crate::request::params::Params;
use crate::request::prefer::Prefer;
use crate::routes::{OneTask, json};
use crate::watch::poll;

/// `GET /v1/tasks/{id}/result`.
pub(super) async fn read(
    State(app): State<Arc<App>>,
    OneTask(id): OneTask,
    visitor: Visitor,
    method: Method,
    uri: Uri,
) -> Result<Response, Refusal> {
    let wish = Wish::of(&Params::of(&uri, &["live", "after", "attempt", "keepalive"])?)?;
    let seen = visitor.task(id, Action::Read).await?;
    let wait = Prefer::of(visitor.headers()).wait_up_to(limits::WAIT_MAX);
    let came = match (&wish, wait) {
        _ if seen.task.life.status().is_terminal() => Came::Task(Box::new(seen.task)),
        // Boxed, so that others hold no room for it.
        (Some(wish), _) => {
            Box::pin(live::wait(&app, &visitor, &seen, (wish, &method), wait)).await?
        }
        (None, Some(wait)) => {
            let over = poll::until_over(&app.followers, id, wait, visitor.client.clone()).await?;
            let over = over.ok_or_else(|| Refusal::new(&codes::TASK_GONE).about(id))?;
            Came::Task(Box::new(over))
        }
        (None, None) => Came::Task(Box::new(app.engine.ask(seen.task).await?)),
    };
    let page = visitor.page_for(&method);
    let mut response = match came {
        Came::Live(response) => response,
        Came::Task(task) if !task.life.status().is_terminal() => {
            not_yet(&app, &task, &seen.viewer, page).await?
        }
        Came::Task(task) if present::has_answer(&task) => match &wish {
            Some(wish) if wish.is_only_live => {
                only_live_response(&app.answers, &task, wish.resume.as_ref()).await?
            }
            wish => {
                let resume = wish.as_ref().and_then(|wish| wish.resume.as_ref());
                let asked = (&method, visitor.headers());
                let mut response = result_response(&app.answers, &task, asked, resume).await?;
                if page.is_some() {
                    let status = response.status();
                    redirect::lead(&task, status, response.headers_mut())?;
                }
                response
            }
        },
        Came::Task(task) => {
            let asked = (&method, visitor.headers());
            let problem = result_response(&app.answers, &task, asked, None).await?;
            in_place_of(problem, &app, &task, &seen.viewer, page)
        }
    };
    if !tells_cookies(&app, &visitor, &method, id).await? {
        response.headers_mut().remove(SET_COOKIE);
    }
    if let Some(wait) = wait {
        let applied = format!("wait={}", wait.as_secs());
        let applied = HeaderValue::from_str(&applied).map_err(Refusal::internal)?;
        response.headers_mut().insert(fields::PREFERENCE_APPLIED, applied);
    }
    Ok(response)
}

/// Whether an answer is told with its cookies. A link from elsewhere, or a picture of a foreign page, leads
/// to what somebody else may have asked for: the cookies of that answer could make whoever follows it
/// somebody else to the application, without knowing it. So they are for whoever asks by itself; and for a
/// person whom the task's page has led here, in the session that handed it in, once.
async fn tells_cookies(
    app: &App,
    visitor: &Visitor,
    method: &Method,
    id: TaskId,
) -> Result<bool, Refusal> {
    if visitor.page_for(method).is_none() {
        return Ok(visitor.fetch().asks_by_itself());
    }
    let is_awaited = visitor.joined(id).is_some_and(|joined| joined.leads(app.engine.now()));
    if !is_awaited || !visitor.fetch().is_visit(method) {
        return Ok(false);
    }
    app.auth.opens_result(visitor.browser(), id).await
}

/// The 202 with the task, for as long as there is nothing else.
async fn not_yet(
    app: &App,
    task: &Task,
    viewer: &Viewer<'_>,
    page: Option<Language>,
) -> Result<Response, Refusal> {
    let estimate = app.engine.estimate(task).await?;
    let document = present::task_of(&app.answers, task, viewer, estimate);
    let mut response = json(StatusCode::ACCEPTED, &document)?;
    if let Some(language) = page {
        let viewer = viewer.for_page(&app.base);
        let shown = present::task_of(&app.answers, task, &viewer, estimate);
        response = pages::in_place_of(response, app.answers.page_of(task, &shown, language));
    }
    follow_headers(document, response.headers_mut());
    set_pace(&app.engine, task, estimate, response.headers_mut());
    Ok(response)
}

/// The page of a task without an answer, for people.
fn in_place_of(
    problem: Response,
    app: &App,
    task: &Task,
    viewer: &Viewer<'_>,
    page: Option<Language>,
) -> Response {
    let Some(language) = page else { return problem };
    let viewer = viewer.for_page(&app.base);
    let shown = present::task_of(&app.answers, task, &viewer, Estimate::default());
    pages::in_place_of(problem, app.answers.page_of(task, &shown, language))
}
