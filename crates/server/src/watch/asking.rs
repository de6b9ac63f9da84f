//! A client that waits to be told how a task stands, of tasks that are canceled when all have left.

use relais_core::{Grace, Task};
use relais_engine::{Attending, Engine, EngineError};

/// It attends the task while it waits; dropped before it is answered, it has left.
pub(crate) struct Asking(Attending);

impl Asking {
    /// It comes for a task as it was read just now.
    pub(crate) fn for_task(engine: &Engine, task: &Task) -> Self {
        Self(engine.attend_asking(task))
    }

    /// It is answered: the countdown that it found begins anew, or one that others owe who left while it
    /// waited; where none is due none begins. The task as it is then.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn answered(
        mut self,
        engine: &Engine,
        task: Task,
    ) -> Result<Task, EngineError> {
        self.0.let_go();
        if task.grace().is_none_or(|grace| grace == Grace::ZERO) {
            return Ok(task);
        }
        engine.attendance_told().await;
        Ok(engine.task(task.spec.id).await?.unwrap_or(task))
    }

    /// It is refused.
    pub(crate) fn refused(mut self) {
        self.0.let_go();
    }

    /// It does not get how the task stands, but its answer, and attends it until the end of that.
    pub(crate) fn stays(mut self) -> Attending {
        self.0.hold();
        self.0
    }
}
