//! Waiting for a task without a stream: up to an end that the caller sets, and not while the server
//! stops.

use std::sync::Arc;
use std::time::Duration;

use relais_core::{Task, TaskId};
use relais_engine::EngineError;

use crate::connection::Client;
use crate::watch::cursor::End;
use crate::watch::follower::{Follower, Followers, News};

/// Waits until `is_enough` of a task, or the follower's time is over. Answers the task as it is
/// then; `None` if it is gone. The follower must have come before the task was read.
///
/// # Errors
/// When the store cannot be read.
pub(crate) async fn until(
    mut follower: Follower,
    mut task: Task,
    is_enough: impl Fn(&Task) -> bool,
) -> Result<Option<Task>, EngineError> {
    while !is_enough(&task) {
        // The task as it was read shows these events already: only later ones are waited for.
        follower.cursor.skip_to(task.life.version);
        match follower.news().await {
            News::Happened(batch) => follower.told(&batch, batch.happenings.len()),
            News::Quiet => {}
            News::End(End::Gone) => return Ok(None),
            News::End(_) => break,
            News::Failed(error) => return Err(error),
        }
        match follower.shared.engine.task(task.spec.id).await? {
            Some(now) => task = now,
            None => return Ok(None),
        }
    }
    Ok(Some(task))
}

/// Waits until a task is over, for so long and while the client listens.
///
/// # Errors
/// When the store cannot be read.
pub(crate) async fn until_over(
    followers: &Arc<Followers>,
    id: TaskId,
    wait: Duration,
    client: Client,
) -> Result<Option<Task>, EngineError> {
    let follower = Follower::of_task(followers, id, wait, client);
    let Some(task) = followers.engine.task(id).await? else { return Ok(None) };
    until(follower, task, |task| task.life.status().is_terminal()).await
}
