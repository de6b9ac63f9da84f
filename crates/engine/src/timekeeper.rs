//! What time does: ends leases, deadlines and retention, and starts what was scheduled. Sleeps until the
//! next of them; commits that bring an earlier one wake it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use relais_core::{Command, Holder, Reply, Status, Timestamp};
use relais_store::{Commit, Committed, DueQuery, Filter, Pool};
use tokio::sync::Notify;

use crate::engine::{Engine, EngineError};
use crate::meters::Meters;

/// Overdue tasks ended in one write.
const TICKS_MAX: usize = 256;
/// How often followers and desks that nobody uses are forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// Tasks read in one page while taking back the attempts of dead processes.
const RECLAIM_PAGE: usize = 500;

/// When to wake up next.
#[derive(Debug)]
pub(crate) struct Alarm {
    next_ms: AtomicI64,
    earlier: Notify,
    /// Pools to wake at a moment that only the engine knows of: a paused origin, an empty bucket.
    pools: Mutex<BTreeMap<(Timestamp, Pool), ()>>,
}

impl Default for Alarm {
    fn default() -> Self {
        Self { next_ms: AtomicI64::new(i64::MAX), earlier: Notify::new(), pools: Mutex::default() }
    }
}

impl Engine {
    /// Something is due at `moment`: the timekeeper looks then, at the latest.
    pub(crate) fn propose_alarm(&self, moment: Timestamp) {
        let alarm = &self.inner().alarm;
        let before = alarm.next_ms.fetch_min(moment.as_ms(), Ordering::AcqRel);
        if moment.as_ms() < before {
            alarm.earlier.notify_one();
        }
    }

    /// Wakes `pool` at `moment`.
    pub(crate) fn alarm_pool(&self, pool: &Pool, moment: Timestamp) {
        {
            let pools = &self.inner().alarm.pools;
            let mut pools = pools.lock().expect("nothing panics while it is held");
            pools.insert((moment, pool.clone()), ());
        }
        self.propose_alarm(moment);
    }

    /// Runs until the engine stops.
    pub(crate) async fn keep_time(&self) {
        let mut sweep_at = self.now().plus(SWEEP_EVERY);
        loop {
            let alarm = &self.inner().alarm;
            // Whoever proposes from here on is seen, by the number or by the notification.
            alarm.next_ms.store(i64::MAX, Ordering::Release);
            let now = self.now();
            if now >= sweep_at {
                self.feed().sweep();
                self.inner().dispatcher.sweep();
                sweep_at = now.plus(SWEEP_EVERY);
            }
            let next = match self.act_on_due(now).await {
                Ok(next) => next,
                Err(error) => {
                    tracing::warn!(%error, "could not look for what is due; trying again");
                    now.plus(Duration::from_secs(1))
                }
            };
            alarm.next_ms.fetch_min(next.as_ms(), Ordering::AcqRel);
            loop {
                let until = Timestamp::from_ms(alarm.next_ms.load(Ordering::Acquire)).min(sweep_at);
                if until <= self.now() {
                    break;
                }
                tokio::select! {
                    () = self.clock().sleep_until(until) => {}
                    () = alarm.earlier.notified() => {}
                    () = self.inner().stop.cancelled() => return,
                }
            }
            if self.inner().stop.is_cancelled() {
                return;
            }
        }
    }

    /// Ends what is overdue and wakes what became ready; answers when to look again.
    async fn act_on_due(&self, now: Timestamp) -> Result<Timestamp, EngineError> {
        let mut next = self.wake_alarmed_pools(now);
        let due = self.store().due(DueQuery { now, limit: TICKS_MAX, all_pools: false }).await?;
        for pool in &due.pools {
            self.wake(pool, now);
        }
        if let Some(moment) = due.next {
            next = next.min(moment);
        }
        if !due.tasks.is_empty() {
            let is_full = due.tasks.len() == TICKS_MAX;
            self.tick(due.tasks).await?;
            if is_full {
                next = now;
            }
        }
        Ok(next)
    }

    fn wake_alarmed_pools(&self, now: Timestamp) -> Timestamp {
        loop {
            let pool = {
                let pools = &self.inner().alarm.pools;
                let mut pools = pools.lock().expect("nothing panics while it is held");
                let Some(first) = pools.first_entry() else { return Timestamp::MAX };
                if first.key().0 > now {
                    return first.key().0;
                }
                first.remove_entry().0.1
            };
            self.wake(&pool, now);
        }
    }

    /// Lets time act on these tasks, and erases those whose retention is over.
    async fn tick(&self, ids: Vec<relais_core::TaskId>) -> Result<(), EngineError> {
        let tasks = self.tasks(ids).await?;
        let steps = tasks
            .iter()
            .flatten()
            .map(|task| self.step_of(task, None, Command::Tick { jitter: self.chance().unit() }))
            .collect();
        let mut expired = Vec::new();
        for answer in self.take(steps).await? {
            match answer {
                Ok(stepped) if stepped.reply == Reply::Expired => {
                    expired.push(stepped.task.spec.id)
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "an overdue task had changed"),
            }
        }
        self.erase_expired(expired).await
    }

    async fn erase_expired(&self, ids: Vec<relais_core::TaskId>) -> Result<(), EngineError> {
        if ids.is_empty() {
            return Ok(());
        }
        let commits = ids.into_iter().map(|id| Commit::Erase { id }).collect();
        for answer in self.store().commit(commits).await? {
            match answer {
                Ok(committed) => {
                    Meters::count(&self.meters().erased);
                    Meters::count(&self.meters().expired);
                    if let Committed::Erased(task) = committed {
                        self.feed().publish_erased(&task);
                    }
                }
                Err(error) => tracing::debug!(%error, "an expired task had changed"),
            }
        }
        Ok(())
    }

    /// Takes back the attempts that a dead process of Relais left behind.
    pub(crate) async fn reclaim(&self) -> Result<(), EngineError> {
        let mut after = None;
        loop {
            let status = Some(Status::Running);
            let filter = Filter { status, after, limit: RECLAIM_PAGE, ..Filter::default() };
            let page = self.list(filter).await?;
            let steps: Vec<_> = page
                .tasks
                .iter()
                .filter_map(|task| {
                    let lease = task.life.lease()?;
                    let Holder::Relais { epoch } = lease.holder else { return None };
                    let jitter = self.chance().unit();
                    let crash = Command::Crash { nonce: lease.nonce, jitter };
                    (epoch != self.inner().epoch).then(|| self.step_of(task, None, crash))
                })
                .collect();
            if !steps.is_empty() {
                tracing::info!(count = steps.len(), "took back attempts of a process that died");
                self.take(steps).await?;
            }
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        self.wake_all_pools().await
    }
}
