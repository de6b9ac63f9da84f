//! Who starts what, when: pools are woken by commits and by time, never polled.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use relais_core::{Command, Gone, Holder, LeaseToken, QueueName, Runner, TenantName, Timestamp};
use relais_store::{Claim, Claimed, Claims, Pool, RunBy};
use tokio::sync::Notify;

use crate::engine::{Engine, EngineError};
use crate::log::trouble::Trouble;
use crate::upstream::origin::Room;

/// Attempts that one claim of the dispatcher starts at most.
const CLAIM_MAX: u32 = 64;
/// How long a worker that asked counts as there: it may be about to ask again.
const STAFFED_FOR: Duration = Duration::from_secs(10);
/// In-process attempts at once.
const INLINE_MAX: u32 = 64;

/// The pools that were woken.
#[derive(Debug, Default)]
pub(crate) struct Dispatcher {
    claiming: Mutex<HashMap<Pool, Again>>,
    /// Pools that could not be claimed from.
    trouble: Trouble<Pool>,
    /// Where workers wait for tasks, by pool.
    desks: Mutex<HashMap<Pool, Desk>>,
}

/// Where the workers of a pool wait.
#[derive(Debug, Default)]
struct Desk {
    bell: Arc<Notify>,
    /// When one asked last, of the time that is counted.
    asked_at: Duration,
}

impl Desk {
    fn is_waited_at(&self) -> bool {
        Arc::strong_count(&self.bell) > 1
    }

    fn is_staffed(&self, now: Duration) -> bool {
        self.is_waited_at() || now < self.asked_at + STAFFED_FOR
    }
}

/// What workers do about a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Staff {
    /// None asks.
    Nobody,
    /// One asked a moment ago: it is busy, or about to ask again.
    Around,
    /// One waits for a task.
    Waits,
}

/// Whether a pool was woken once more while it was being claimed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    No,
    Yes,
}

impl Dispatcher {
    /// Where a worker of this pool, which asks at `now`, waits.
    pub(crate) fn desk(&self, pool: &Pool, now: Duration) -> Arc<Notify> {
        let mut desks = self.desks.lock().expect("nothing panics while it is held");
        let desk = desks.entry(pool.clone()).or_default();
        desk.asked_at = now;
        desk.bell.clone()
    }

    /// Wakes one waiting worker of this pool, or the next that comes.
    fn call_worker(&self, pool: &Pool) {
        let desks = self.desks.lock().expect("nothing panics while it is held");
        if let Some(desk) = desks.get(pool) {
            desk.bell.notify_one();
        }
    }

    /// What workers do about this pool at `now`.
    pub(crate) fn staff(&self, pool: &Pool, now: Duration) -> Staff {
        let desks = self.desks.lock().expect("nothing panics while it is held");
        match desks.get(pool) {
            Some(desk) if desk.is_waited_at() => Staff::Waits,
            Some(desk) if desk.is_staffed(now) => Staff::Around,
            Some(_) | None => Staff::Nobody,
        }
    }

    /// Forgets desks at which nobody asks any more; called from time to time.
    pub(crate) fn sweep(&self, now: Duration) {
        let mut desks = self.desks.lock().expect("nothing panics while it is held");
        desks.retain(|_, desk| desk.is_staffed(now));
    }
}

impl Engine {
    /// Work may have appeared in `pool`, to start at `at`.
    pub(crate) fn wake(&self, pool: &Pool, at: Timestamp) {
        if at > self.now() {
            self.propose_alarm(at);
            return;
        }
        match pool.run_by {
            RunBy::Workers => self.inner().dispatcher.call_worker(pool),
            RunBy::Upstream(_) | RunBy::Inline | RunBy::Delivery => self.start_claiming(pool),
        }
    }

    /// Wakes the pools that have something ready: those of one queue, or all.
    pub(crate) async fn wake_pools(
        &self,
        of: Option<(TenantName, QueueName)>,
    ) -> Result<(), EngineError> {
        let pools = self.store().pools(of).await?;
        let now = self.now();
        pools.iter().for_each(|pool| self.wake(pool, now));
        Ok(())
    }

    /// Claims from a pool until nothing more may start; at most one such task runs per pool.
    fn start_claiming(&self, pool: &Pool) {
        if self.is_draining() {
            return;
        }
        {
            let claiming = &self.inner().dispatcher.claiming;
            let mut claiming = claiming.lock().expect("nothing panics while it is held");
            if let Some(again) = claiming.get_mut(pool) {
                *again = Again::Yes;
                return;
            }
            claiming.insert(pool.clone(), Again::No);
        }
        let engine = self.clone();
        let pool = pool.clone();
        self.inner().attempts.spawn(async move { engine.claim_until_dry(pool).await });
    }

    async fn claim_until_dry(&self, pool: Pool) {
        loop {
            let more = if self.is_draining() { false } else { self.claim_some(&pool).await };
            let claiming = &self.inner().dispatcher.claiming;
            let mut claiming = claiming.lock().expect("nothing panics while it is held");
            let was_woken = claiming.insert(pool.clone(), Again::No) == Some(Again::Yes);
            if !(more || was_woken) || self.is_draining() {
                claiming.remove(&pool);
                return;
            }
        }
    }

    /// One claim; answers whether another may start more.
    async fn claim_some(&self, pool: &Pool) -> bool {
        let now = self.now();
        if let Some(until) = self.inner().pauses.pool_until(pool, now) {
            self.alarm_pool(pool, until);
            return false;
        }
        let reserved = match &pool.run_by {
            RunBy::Upstream(origin) => {
                match self.inner().origins.reserve(origin, pool, CLAIM_MAX, now) {
                    Room::Calls(calls) => calls,
                    Room::Full => return false,
                    Room::Until(moment) => {
                        self.alarm_pool(pool, moment);
                        return false;
                    }
                }
            }
            RunBy::Inline | RunBy::Workers | RunBy::Delivery => INLINE_MAX,
        };
        let holder = Holder::Relais { epoch: self.inner().node };
        let trouble = &self.inner().dispatcher.trouble;
        let claims = match self.claim(pool, holder, reserved as usize).await {
            Ok(claims) => {
                if trouble.is_over(pool) {
                    tracing::info!("tasks can be claimed again");
                }
                claims
            }
            Err(error) => {
                if trouble.begins(pool) {
                    tracing::warn!(%error, "could not claim; trying again each second");
                }
                self.alarm_pool(pool, now.plus(Duration::from_secs(1)));
                Claims::default()
            }
        };
        let started = u32::try_from(claims.started.len()).expect("at most as many as reserved");
        if let RunBy::Upstream(origin) = &pool.run_by {
            for other in self.inner().origins.end_claim(origin, reserved, started, now) {
                if other != *pool {
                    self.wake(&other, now);
                }
            }
        }
        if let Some(next) = claims.next_at {
            self.alarm_pool(pool, next);
        }
        for claimed in claims.started {
            self.run_attempt(claimed);
        }
        started > 0 && (started == reserved || claims.more)
    }

    /// Starts attempts of a pool under new leases, and makes them known.
    pub(crate) async fn claim(
        &self,
        pool: &Pool,
        holder: Holder,
        limit: usize,
    ) -> Result<Claims, EngineError> {
        let nonces = (0..limit).map(|_| self.chance().bits()).collect();
        let policy = self.policies().leasing(pool);
        let now = self.now();
        let held = self.inner().pauses.lanes(pool, now);
        // The alarm that the pause itself set is of the time as it was then.
        if let Some(first) = held.values().min() {
            self.alarm_pool(pool, *first);
        }
        let claim = Claim { pool: pool.clone(), policy, holder, nonces, held, now };
        let claims = self.store().claim(claim).await?;
        let started = claims.started.iter().map(|claimed| &claimed.changed);
        started.chain(&claims.spoiled).for_each(|changed| self.act(changed));
        Ok(claims)
    }

    fn run_attempt(&self, claimed: Claimed) {
        let engine = self.clone();
        let stop = self.inner().running.begin(claimed.nonce);
        self.inner().attempts.spawn(async move {
            let token = claimed.token();
            let runner = claimed.task().spec.runner.clone();
            // In a box, because a task of the runtime is moved several times, with all that it may hold.
            let attempt = AssertUnwindSafe(Box::pin(engine.execute(claimed, stop)));
            if attempt.catch_unwind().await.is_err() {
                tracing::error!(task = %token.task, "an attempt panicked; it counts as a crash");
                engine.crashed(token).await;
            }
            engine.inner().running.end(token.nonce);
            if let Runner::Upstream { origin, .. } = runner {
                let now = engine.now();
                for pool in engine.inner().origins.end_call(&origin) {
                    engine.wake(&pool, now);
                }
            }
        });
    }

    /// An attempt ended by a bug of ours: its task and its slot must not wait for ever.
    async fn crashed(&self, token: LeaseToken) {
        let (gone, jitter) = (Gone::Broke, self.chance().unit());
        let crash = Command::Crash { nonce: token.nonce, gone, jitter };
        if let Err(error) = self.end_stopped(token, crash).await {
            let task = token.task;
            tracing::warn!(%error, %task, "could not record a crash; its lease will end");
        }
    }
}
