//! A client that waits to be told how a task stands, of tasks that are canceled when all have left.

use relais_core::Task;
use relais_engine::{Attending, Engine, EngineError};

/// It attends the task while it waits; dropped before it is answered, it has left.
pub(crate) struct Asking {
    attending: Attending,
    /// Whether a countdown ran when it came.
    was_left: bool,
}

impl Asking {
    /// It comes for a task as it was read just now.
    pub(crate) fn for_task(engine: &Engine, task: &Task) -> Self {
        Self { attending: engine.attend([task]), was_left: task.life.is_left() }
    }

    /// It is answered: the countdown that it found begins anew, and where none ran none begins. The task
    /// as it is then.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn answered(
        mut self,
        engine: &Engine,
        task: Task,
    ) -> Result<Task, EngineError> {
        if !self.was_left {
            self.attending.let_go();
            return Ok(task);
        }
        drop(self.attending);
        engine.attendance_told().await;
        Ok(engine.task(task.spec.id).await?.unwrap_or(task))
    }

    /// It is refused.
    pub(crate) fn refused(mut self) {
        if !self.was_left {
            self.attending.let_go();
        }
    }

    /// It does not get how the task stands, but its answer, and attends it until the end of that.
    pub(crate) fn stays(self) -> Attending {
        self.attending
    }
}
