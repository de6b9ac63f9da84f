//! `GET /v1/tasks/{id}/result`: 202 with the task until it is over, then what came out.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderValue, Method, StatusCode, Uri};
use relais_api::{codes, fields};
use relais_core::limits;
use relais_engine::Estimate;

use crate::answer::accepted::{follow_headers, set_pace};
use crate::answer::pages;
use crate::answer::present;
use crate::answer::problem::Refusal;
use crate::answer::replay::result_response;
use crate::app::App;
use crate::auth::{Action, Visitor};
use crate::request::params::Params;
use crate::request::prefer::Prefer;
use crate::request::reader::page_for;
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
    Params::of(&uri, &[])?;
    let seen = visitor.task(id, Action::Read).await?;
    let wait = Prefer::of(visitor.headers()).wait_up_to(limits::WAIT_MAX);
    let task = match wait {
        Some(wait) if !seen.task.life.status().is_terminal() => {
            let over = poll::until_over(&app.followers, id, wait, visitor.client.clone()).await?;
            over.ok_or_else(|| Refusal::new(&codes::TASK_GONE).about(id))?
        }
        _ => seen.task,
    };
    let page = page_for(&method, visitor.headers());
    let mut response = if task.life.status().is_terminal() {
        let result = result_response(&app.answers, &task, &method, visitor.headers()).await?;
        match page.filter(|_| !present::has_answer(&task)) {
            Some(language) => {
                let estimate = Estimate::default();
                let document = present::task_of(&app.answers, &task, &seen.viewer, estimate);
                pages::in_place_of(result, pages::ticket(&document, false, language))
            }
            None => result,
        }
    } else {
        let estimate = app.engine.estimate(&task).await?;
        let document = present::task_of(&app.answers, &task, &seen.viewer, estimate);
        let mut response = json(StatusCode::ACCEPTED, &document)?;
        if let Some(language) = page {
            response = pages::in_place_of(response, pages::ticket(&document, false, language));
        }
        follow_headers(document, response.headers_mut());
        set_pace(&app.engine, &task, estimate, response.headers_mut());
        response
    };
    if let Some(wait) = wait {
        let applied = format!("wait={}", wait.as_secs());
        let applied = HeaderValue::from_str(&applied).map_err(Refusal::internal)?;
        response.headers_mut().insert(fields::PREFERENCE_APPLIED, applied);
    }
    Ok(response)
}
