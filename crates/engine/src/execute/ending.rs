//! The last word of an attempt, made durable: what an upstream or a handler has done is not thrown away
//! because the store could not take it at once.

use std::future::Future;
use std::time::Duration;

use relais_core::{Command, LeaseToken, State, Task};
use relais_store::{Rejected, Stepped, StoreError};

use crate::engine::{Engine, EngineError};
use crate::work::Settle;

/// How long the store is given before it is asked again; each pause is twice as long as the one before.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);

impl Engine {
    /// Settles an attempt of this process; `task` is its task while it ran.
    ///
    /// # Errors
    /// When the outcome is refused, or the store could not take it while the lease held.
    pub(crate) async fn end_attempt(
        &self,
        task: &Task,
        settle: Settle,
    ) -> Result<Stepped, EngineError> {
        self.until_stored(task, || self.settle_own(task, settle.clone())).await
    }

    /// Ends an attempt of this process that was told to stop, by a cancel or the deadline, or because
    /// Relais stops: by `lost` if its task still runs, else its lease is freed.
    ///
    /// # Errors
    /// See [`Engine::end_attempt`].
    pub(crate) async fn end_stopped(
        &self,
        task: &Task,
        token: LeaseToken,
        lost: Command,
    ) -> Result<Stepped, EngineError> {
        self.until_stored(task, || self.call_off(token, lost.clone())).await
    }

    async fn call_off(&self, token: LeaseToken, lost: Command) -> Result<Stepped, EngineError> {
        let LeaseToken { task: id, nonce } = token;
        let task = self.task(id).await?.ok_or(Rejected::NotFound)?;
        let is_live =
            matches!(&task.life.state, State::Running { lease, .. } if lease.nonce == nonce);
        let command = if is_live { lost } else { Command::Free { nonce } };
        let step = self.step_of(&task, None, command);
        self.take(vec![step]).await?.pop().expect("one answer per step")
    }

    /// Repeats `store` while the store cannot do it and may be able to later, as long as the lease holds.
    /// Repeating is harmless: a store that did it the first time says so. Damage does not pass.
    async fn until_stored<F>(
        &self,
        task: &Task,
        store: impl Fn() -> F,
    ) -> Result<Stepped, EngineError>
    where
        F: Future<Output = Result<Stepped, EngineError>>,
    {
        let lease = task.life.lease().map(|lease| lease.until.since(self.now()));
        let until = self.elapsed() + lease.unwrap_or_default();
        let mut pause = PAUSE_MIN;
        loop {
            let ended = store().await;
            let again_at = self.elapsed() + pause;
            match &ended {
                Err(EngineError::Store(
                    error @ (StoreError::Unavailable(_) | StoreError::Full),
                )) if again_at < until => tracing::warn!(
                    %error, task = %task.spec.id, again_in = ?pause,
                    "could not store how an attempt ended; trying again"
                ),
                _ => return ended,
            }
            tokio::select! {
                () = self.clock().sleep_to(again_at) => {}
                () = self.inner().stop.cancelled() => return ended,
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}
