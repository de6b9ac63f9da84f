//! `GET /v1/tasks/{id}/result`: 202 with the task until it is over, then what came out.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Method, StatusCode, Uri};
use relais_api::{Task, codes};
use relais_core::limits;

use crate::accept::{Language, page_for};
use crate::accepted::{PREFERENCE_APPLIED, follow_headers};
use crate::app::App;
use crate::auth::{Action, Visitor};
use crate::pages;
use crate::params::Params;
use crate::prefer::Prefer;
use crate::present;
use crate::problem::Refusal;
use crate::replay::result_response;
use crate::routes::task::set_pace;
use crate::routes::{OneTask, json};
use crate::watch::estimate::estimate;
use crate::watch::poll;

/// `GET /v1/tasks/{id}/result`.
pub(super) async fn read(
    State(app): State<Arc<App>>,
    OneTask(id): OneTask,
    visitor: Visitor,
    method: Method,
    uri: Uri,
) -> Result<Response, Refusal> {
    Params::of(&uri, &[])?;
    let seen = visitor.task(&app, id, Action::Read).await?;
    let wait = Prefer::of(visitor.headers()).wait_up_to(limits::WAIT_MAX);
    let task = match wait {
        Some(wait) if !seen.task.life.status().is_terminal() => {
            let over = poll::until_over(&app, id, wait).await?;
            over.ok_or_else(|| Refusal::new(&codes::TASK_GONE).about(id))?
        }
        _ => seen.task,
    };
    let mut response = if task.life.status().is_terminal() {
        result_response(&app, &task, &method, visitor.headers()).await?
    } else {
        let estimate = estimate(&app, &task).await?;
        let document = present::task_of(&app, &task, &seen.viewer, estimate);
        let mut response = match page_for(visitor.headers()) {
            Some(language) => not_yet(&document, language),
            None => json(StatusCode::ACCEPTED, &document)?,
        };
        follow_headers(&app, &task, &document.links, response.headers_mut());
        set_pace(&app, &task, estimate, response.headers_mut());
        response
    };
    if let Some(wait) = wait {
        let applied = format!("wait={}", wait.as_secs());
        let applied = HeaderValue::from_str(&applied).map_err(Refusal::internal)?;
        response.headers_mut().insert(PREFERENCE_APPLIED, applied);
    }
    Ok(response)
}

/// What a person is shown who came too early.
fn not_yet(document: &Task, language: Language) -> Response {
    let mut response = pages::ticket(document, language);
    *response.status_mut() = StatusCode::ACCEPTED;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
