//! What a submission became, as an answer: the same for the task API and the front door.

use axum::response::Response;
use http::HeaderValue;
use relais_api::{codes, fields};
use relais_core::Task;

use crate::answer::accepted::{How, accepted_response};
use crate::answer::answers::Answers;
use crate::answer::problem::Refusal;
use crate::answer::replay::replay_response;
use crate::auth::Caller;

/// The answer to a request whose idempotency key belongs to a task already: its result if it is
/// there, else a 202 with a fresh ticket. A stranger gets neither.
///
/// # Errors
/// When the key came with another request, or the task is gone.
pub(crate) async fn attached_response(
    answers: &Answers,
    task: Option<&Task>,
    is_same: bool,
    caller: &Caller,
    how: How,
) -> Result<Response, Refusal> {
    let task = attached_task(task, is_same)?;
    if task.life.status().is_terminal() && !how.is_stranger {
        let mut response = replay_response(answers, task).await?;
        let replayed = HeaderValue::from_static("true");
        response.headers_mut().insert(fields::IDEMPOTENT_REPLAYED, replayed);
        if let Some(applied) = how.applied_to_answer {
            let applied = HeaderValue::from_str(&applied).map_err(Refusal::internal)?;
            response.headers_mut().insert(fields::PREFERENCE_APPLIED, applied);
        }
        return Ok(response);
    }
    let estimate = answers.engine.estimate_if_known(task).await;
    accepted_response(answers, task, estimate, caller, &How { is_replayed: true, ..how })
}

/// The task that an idempotency key belongs to.
///
/// # Errors
/// When the key came with another request, or the task is gone.
pub(crate) fn attached_task(task: Option<&Task>, is_same: bool) -> Result<&Task, Refusal> {
    if !is_same {
        return Err(Refusal::new(&codes::IDEMPOTENCY_KEY_REUSED));
    }
    task.ok_or_else(|| Refusal::new(&codes::TASK_GONE))
}
