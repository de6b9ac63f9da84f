//! How an engine ends: first nothing starts any more, then what runs ends, and time stops last.

use std::sync::atomic::Ordering;
use std::time::Duration;

use relais_core::{Holder, Status};
use relais_store::Filter;

use crate::engine::{Engine, EngineError};

/// How long attempts that were told to stop have to store how they ended.
const LAST_WORD: Duration = Duration::from_secs(5);
/// Running tasks read at once while looking for one whose end is waited for.
const PAGE: usize = 100;

impl Engine {
    /// Whether the engine takes nothing new.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.inner().is_draining.load(Ordering::Relaxed)
    }

    /// Takes nothing new and starts nothing from now on; workers that wait for a task are sent away
    /// without one. What runs goes on, and so does time: leases are extended
    /// and end, attempts settle.
    pub fn begin_drain(&self) {
        self.inner().is_draining.store(true, Ordering::Relaxed);
        self.inner().draining.cancel();
    }

    /// Stops: takes nothing new, waits for attempts that run, those of workers as well, within the
    /// configured bound. Its own are given back then and burn nothing; a worker keeps its lease and
    /// settles after the next start.
    pub async fn drain(&self) {
        self.begin_drain();
        let inner = self.inner();
        inner.attempts.close();
        let bound = self.config().drain_for;
        let is_over = tokio::time::timeout(bound, self.until_nothing_runs()).await.is_ok();
        // Before what runs is broken off: whoever reads its answer is cut off by this, and has not left.
        inner.attendances.close();
        if !is_over {
            inner.running.abort_all();
            if tokio::time::timeout(LAST_WORD, inner.attempts.wait()).await.is_err() {
                tracing::warn!("some attempts did not stop; the next start takes them back");
            }
        }
        inner.stop.cancel();
        inner.tracker.close();
        if tokio::time::timeout(LAST_WORD, inner.tracker.wait()).await.is_err() {
            tracing::warn!("what runs in the background did not stop in time");
        }
        // Others need not wait to take back what is left; where that fails, they wait.
        let _ = tokio::time::timeout(LAST_WORD, self.beat(Duration::ZERO)).await;
    }

    async fn until_nothing_runs(&self) {
        self.inner().attempts.wait().await;
        let mut committed = self.follow_all();
        loop {
            // Seen before looking: a settle in between wakes the wait below.
            committed.borrow_and_update();
            match self.is_any_leased().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(%error, "could not look for workers that still run tasks");
                    return;
                }
            }
            if committed.changed().await.is_err() {
                return;
            }
        }
    }

    /// Whether a worker runs a task. Attempts of other processes of Relais are not waited for.
    async fn is_any_leased(&self) -> Result<bool, EngineError> {
        let mut after = None;
        loop {
            let status = Some(Status::Running);
            let filter = Filter { status, after, limit: PAGE, ..Filter::default() };
            let page = self.list(filter).await?;
            let holders = page.tasks.iter().filter_map(|task| task.life.lease());
            if holders.into_iter().any(|lease| matches!(lease.holder, Holder::Worker { .. })) {
                return Ok(true);
            }
            after = page.next;
            if after.is_none() {
                return Ok(false);
            }
        }
    }
}
