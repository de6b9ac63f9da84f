//! What becomes of a task whose caller hangs up while it waits for the answer.

use relais_core::{TaskId, TenantName};
use relais_engine::Engine;

use crate::answer::live::Holds;

/// Cancels the task when it is dropped before the answer was given out, if its route says so.
pub(super) struct Abandon {
    armed: Option<(Engine, TenantName, TaskId)>,
}

impl Abandon {
    /// Lets the task go on, whatever its caller does.
    pub(super) const fn goes_on() -> Self {
        Self { armed: None }
    }

    /// Cancels the task if its caller leaves.
    pub(super) fn cancels(engine: &Engine, tenant: &TenantName, task: TaskId) -> Self {
        Self { armed: Some((engine.clone(), tenant.clone(), task)) }
    }

    /// The caller got what it waited for.
    pub(super) fn disarm(&mut self) {
        self.armed = None;
    }
}

impl Holds for Abandon {
    fn has_given_all(&mut self) {
        self.disarm();
    }
}

impl Drop for Abandon {
    fn drop(&mut self) {
        let Some((engine, tenant, task)) = self.armed.take() else { return };
        // Without a runtime the process ends, and the task goes on after its next start.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Err(error) = engine.abandon(&tenant, task).await {
                tracing::debug!(%error, %task, "an abandoned task was not canceled");
            }
        });
    }
}
