//! Waiting for a task without a stream: up to an end that the caller sets, and not while the server
//! stops.

use relais_core::{Task, TaskId};
use relais_engine::Follower;

use crate::answer::problem::Refusal;
use crate::app::App;

/// Waits until `is_enough` of a task, or `end` resolves. Answers the task as it is then; `None` if
/// it is gone. `follower` must have come before the task was read.
///
/// # Errors
/// When the store cannot be read.
pub(crate) async fn until(
    app: &App,
    mut follower: Follower,
    mut task: Task,
    end: impl Future<Output = ()>,
    is_enough: impl Fn(&Task) -> bool,
) -> Result<Option<Task>, Refusal> {
    tokio::pin!(end);
    while !is_enough(&task) {
        tokio::select! {
            () = follower.after(task.life.version) => {}
            () = &mut end => break,
            () = app.stop.cancelled() => break,
        }
        match app.engine.task(task.spec.id).await? {
            Some(now) => task = now,
            None => return Ok(None),
        }
    }
    Ok(Some(task))
}

/// Waits until a task is over, or `end` resolves.
///
/// # Errors
/// When the store cannot be read.
pub(crate) async fn until_over(
    app: &App,
    id: TaskId,
    end: impl Future<Output = ()>,
) -> Result<Option<Task>, Refusal> {
    let follower = app.engine.follow(id);
    let Some(task) = app.engine.task(id).await? else { return Ok(None) };
    until(app, follower, task, end, |task| task.life.status().is_terminal()).await
}
