//! Waiting for a task without a stream: up to an end that the caller sets, and not while the server
//! stops.

use std::sync::Arc;
use std::time::Duration;

use relais_core::{Task, TaskId};
use relais_engine::EngineError;

use crate::connection::Client;
use crate::watch::asking::Asking;
use crate::watch::cursor::End;
use crate::watch::follower::{Follower, Followers, News};

/// Waits until `is_enough` of a task, or the follower's time is over. Answers the task as it is
/// then; `None` if it is gone. The follower must have come before the task was read. Whoever waits
/// attends the task meanwhile, and starts a countdown that it found anew.
///
/// # Errors
/// When the store cannot be read.
pub(crate) async fn until(
    follower: Follower,
    task: Task,
    is_enough: impl Fn(&Task) -> bool,
) -> Result<Option<Task>, EngineError> {
    let engine = &follower.shared.clone().engine;
    if is_enough(&task) || !follower.waits() {
        return engine.ask(task).await.map(Some);
    }
    let asking = Asking::for_task(engine, &task);
    match wait(follower, task, is_enough).await {
        Ok(Waited::ForNobody(task)) => Ok(Some(task)),
        Ok(Waited::For(task)) => asking.answered(engine, task).await.map(Some),
        Ok(Waited::InVain) => {
            asking.refused();
            Ok(None)
        }
        Err(error) => {
            asking.refused();
            Err(error)
        }
    }
}

/// What a wait came to.
enum Waited {
    /// The task, for whoever waits.
    For(Task),
    /// The task, and whoever waited for it has closed its side.
    ForNobody(Task),
    /// The task is gone.
    InVain,
}

async fn wait(
    mut follower: Follower,
    mut task: Task,
    is_enough: impl Fn(&Task) -> bool,
) -> Result<Waited, EngineError> {
    while !is_enough(&task) {
        // The task as it was read shows these events already: only later ones are waited for.
        follower.cursor.skip_to(task.life.version);
        match follower.news().await {
            News::Happened(batch) => follower.told(&batch, batch.happenings.len()),
            News::Quiet => {}
            News::End(End::Gone) => return Ok(Waited::InVain),
            News::End(End::Left) => return Ok(Waited::ForNobody(task)),
            News::End(_) => break,
            News::Failed(error) => return Err(error),
        }
        match follower.shared.engine.task(task.spec.id).await? {
            Some(now) => task = now,
            None => return Ok(Waited::InVain),
        }
    }
    Ok(Waited::For(task))
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
