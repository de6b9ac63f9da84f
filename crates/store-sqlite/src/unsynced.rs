//! What is committed and not durable yet: readers see it, and must not show it. After a loss of power
//! it may be as if it had never been.

use std::sync::{Mutex, MutexGuard};

use relais_core::TaskId;
use relais_store::StoreError;
use tokio::sync::Notify;

/// The tasks of at most one transaction.
#[derive(Default)]
pub(crate) struct Unsynced {
    state: Mutex<State>,
    ended: Notify,
}

#[derive(Default)]
struct State {
    is_open: bool,
    /// In order.
    tasks: Vec<TaskId>,
    /// Whether it could not be made durable: nobody knows what of it is left.
    is_lost: bool,
}

impl Unsynced {
    /// Before a transaction that changes these tasks is committed: from then on readers see it.
    pub(crate) fn begin(&self, tasks: &mut Vec<TaskId>) {
        tasks.sort_unstable();
        let mut state = self.state();
        std::mem::swap(&mut state.tasks, tasks);
        state.is_open = true;
        tasks.clear();
    }

    /// It is durable, or was not committed.
    pub(crate) fn end(&self) {
        self.state().is_open = false;
        self.ended.notify_waiters();
    }

    /// It could not be made durable.
    pub(crate) fn lose(&self) {
        self.state().is_lost = true;
        self.ended.notify_waiters();
    }

    /// After a read of these tasks: waits until what was read is durable.
    ///
    /// # Errors
    /// When nobody knows whether it is.
    pub(crate) async fn tasks(&self, ids: &[TaskId]) -> Result<(), StoreError> {
        let is_among = |state: &State| ids.iter().any(|id| state.tasks.binary_search(id).is_ok());
        self.wait(is_among).await
    }

    /// After a read of any tasks.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn all(&self) -> Result<(), StoreError> {
        self.wait(|_| true).await
    }

    async fn wait(&self, concerns: impl Fn(&State) -> bool) -> Result<(), StoreError> {
        // One transaction is all that was there when it was read; a later one is of no concern.
        let ended = self.ended.notified();
        {
            let state = self.state();
            if !state.is_open || !concerns(&state) {
                return Ok(());
            }
            if state.is_lost {
                return Err(lost());
            }
        }
        ended.await;
        if self.state().is_lost { Err(lost()) } else { Ok(()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it is held")
    }
}

fn lost() -> StoreError {
    StoreError::Unavailable("what was read could not be made durable".to_owned())
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const ONE: TaskId = TaskId::from_u128(1);
    const TWO: TaskId = TaskId::from_u128(2);

    #[test]
    fn what_is_not_durable_is_waited_for_and_nothing_else_is() {
        let unsynced = Unsynced::default();
        assert_eq!(unsynced.all().now_or_never(), Some(Ok(())));
        unsynced.begin(&mut vec![TWO, ONE]);
        assert_eq!(unsynced.tasks(&[TaskId::from_u128(3)]).now_or_never(), Some(Ok(())));
        let ids = [TWO];
        let (mut of_one, mut of_all) = (Box::pin(unsynced.tasks(&ids)), Box::pin(unsynced.all()));
        assert_eq!((&mut of_one).now_or_never(), None);
        assert_eq!((&mut of_all).now_or_never(), None);
        unsynced.end();
        unsynced.begin(&mut vec![TWO]);
        assert_eq!(of_one.now_or_never(), Some(Ok(())), "it has read what was before");
        assert_eq!(of_all.now_or_never(), Some(Ok(())));
    }

    #[test]
    fn what_may_be_lost_is_not_shown() {
        let unsynced = Unsynced::default();
        unsynced.begin(&mut vec![ONE]);
        let ids = [ONE];
        let mut waiting = Box::pin(unsynced.tasks(&ids));
        assert_eq!((&mut waiting).now_or_never(), None);
        unsynced.lose();
        assert!(waiting.now_or_never().expect("it is over").is_err());
        assert!(unsynced.tasks(&ids).now_or_never().expect("it is over").is_err());
        assert_eq!(unsynced.tasks(&[TWO]).now_or_never(), Some(Ok(())));
    }
}
