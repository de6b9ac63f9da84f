//! The last word of an attempt, made durable: what an upstream or a handler has done is not thrown away
//! because the store could not take it at once.

use std::future::Future;
use std::time::Duration;

use relais_core::{Command, LeaseToken, State, Task, TaskId};
use relais_store::{Rejected, Spool, Stepped, StoreError, StoreFuture};

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
    /// When the outcome is refused, what is stored is damaged, or Relais stops before the store
    /// takes it.
    pub(crate) async fn end_attempt(
        &self,
        task: &Task,
        settle: Settle,
    ) -> Result<Stepped, EngineError> {
        self.until_stored(task.spec.id, || self.settle_own(task, settle.clone())).await
    }

    /// Ends an attempt of this process that was told to stop, by a cancel or the deadline, or because
    /// Relais stops: by `lost` if its task still runs, else its lease is freed.
    ///
    /// # Errors
    /// See [`Engine::end_attempt`].
    pub(crate) async fn end_stopped(
        &self,
        token: LeaseToken,
        lost: Command,
    ) -> Result<Stepped, EngineError> {
        self.until_stored(token.task, || self.call_off(token, lost.clone())).await
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

    /// Repeats `store` until the store answers, or Relais stops. No time bounds it: whether the
    /// attempt may still say its word is for the fence alone to decide, and a store that has
    /// answered has asked it. Repeating is harmless: a store that did it the first time says so.
    /// Damage does not pass.
    ///
    /// # Errors
    /// What the store answered, or its trouble when Relais stopped.
    pub(crate) async fn until_stored<T, F>(
        &self,
        task: TaskId,
        store: impl Fn() -> F,
    ) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, EngineError>>,
    {
        let mut tries = Tries::of(task);
        loop {
            let done = store().await;
            let error = match &done {
                Err(EngineError::Store(error)) => Some(error),
                Ok(_) | Err(_) => None,
            };
            if !self.is_to_be_repeated(&mut tries, error).await {
                return done;
            }
        }
    }

    /// The same for what is said to a body in the making, which keeps what it has meanwhile.
    ///
    /// # Errors
    /// See [`Engine::until_stored`].
    pub(crate) async fn until_spooled<T>(
        &self,
        task: TaskId,
        spool: &mut dyn Spool,
        say: impl for<'a> Fn(&'a mut dyn Spool) -> StoreFuture<'a, T>,
    ) -> Result<T, StoreError> {
        let mut tries = Tries::of(task);
        loop {
            let done = say(spool).await;
            if !self.is_to_be_repeated(&mut tries, done.as_ref().err()).await {
                return done;
            }
        }
    }

    /// Whether to say something again that failed by `error`, if it did; waits before that.
    async fn is_to_be_repeated(&self, tries: &mut Tries, error: Option<&StoreError>) -> bool {
        let Tries { task, pause } = *tries;
        let is_first = pause == PAUSE_MIN;
        let Some(error) = error.filter(|error| error.may_pass()) else {
            if !is_first {
                tracing::info!(%task, "the store was told what an attempt brought, after all");
            }
            return false;
        };
        if is_first {
            tracing::warn!(%error, %task, "could not store what an attempt brought; trying again");
        } else {
            tracing::debug!(%error, %task, again_in = ?pause, "still could not store it");
        }
        tries.pause = (pause * 2).min(PAUSE_MAX);
        tokio::select! {
            () = self.clock().sleep_to(self.elapsed() + pause) => true,
            () = self.inner().stop.cancelled() => false,
        }
    }
}

/// How often something was said to the store, as the pause before it is said again.
struct Tries {
    task: TaskId,
    pause: Duration,
}

impl Tries {
    const fn of(task: TaskId) -> Self {
        Self { task, pause: PAUSE_MIN }
    }
}
