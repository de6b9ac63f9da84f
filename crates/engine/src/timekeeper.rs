//! What time does: ends leases, deadlines and retention, and starts what was scheduled. Sleeps until the
//! next of them; commits that bring an earlier one wake it.
//!
//! It looks at the clock twice a second while it sleeps: moments follow the machine's time when that is
//! set, and nobody's silence counts while this process did not run (see `Command::Tick`). It does so while
//! it waits for the store, too: a store that is slow is no process that was away.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use relais_core::limits::{NODE_ALIVE_FOR, NODE_BEAT_EVERY};
use relais_core::{Command, Reply, State, Status, Task, TaskId, Timestamp};
use relais_store::{
    Attended, Commit, Committed, DueQuery, Erasure, Filter, Pool, StepOf, StoreError,
};
use tokio::sync::Notify;

use crate::clock::{Gap, LOOK_EVERY};
use crate::engine::{Engine, EngineError};
use crate::log::trouble::Trouble;
use crate::measure::meters::Meters;

/// Overdue tasks ended in one write.
const TICKS_MAX: usize = 256;
/// How often followers and desks that nobody uses are forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// How often is looked for deliveries that have waited for too long: those of endpoints that are held wake
/// nobody.
const PUMP_EVERY: Duration = Duration::from_secs(3_600);
/// Tasks read in one page where leases, or countdowns, are looked for.
const LEASES_PAGE: usize = 500;
/// Pages of failed and of canceled tasks, newest first, in which holders that were told to stop are looked
/// for after a leap of time: they stop soon, and all that ended is kept for days.
const ENDED_PAGES_MAX: usize = 8;

/// When to wake up next.
#[derive(Debug)]
pub(crate) struct Alarm {
    next_ms: AtomicI64,
    earlier: Notify,
    /// Pools to wake at a moment that only the engine knows of: a paused origin, an empty bucket.
    pools: Mutex<BTreeSet<(Timestamp, Pool)>>,
    /// Since when this process has been there without a break, milliseconds.
    here_since_ms: AtomicI64,
    /// Since when clients could come back without a break, to this process or to another, milliseconds.
    open_since_ms: AtomicI64,
    /// The machine's time was set, and what waits was not yet reckoned anew.
    has_leapt: AtomicBool,
    /// By how much it was set since endpoints were last told of it, milliseconds.
    set_by_ms: AtomicI64,
    /// What is due could not be looked for.
    trouble: Trouble<()>,
}

impl Default for Alarm {
    fn default() -> Self {
        Self {
            next_ms: AtomicI64::new(i64::MAX),
            earlier: Notify::new(),
            pools: Mutex::default(),
            here_since_ms: AtomicI64::new(i64::MAX),
            open_since_ms: AtomicI64::new(i64::MAX),
            has_leapt: AtomicBool::new(false),
            set_by_ms: AtomicI64::new(0),
            trouble: Trouble::default(),
        }
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
            pools.insert((moment, pool.clone()));
        }
        self.propose_alarm(moment);
    }

    /// The engine is there from now on, and everything is to be looked at.
    pub(crate) fn begin_time(&self) {
        // What was not normal before the start is not this process's.
        self.clock().look();
        self.be_here_since(self.now());
        self.inner().alarm.next_ms.store(i64::MIN, Ordering::Release);
    }

    fn be_here_since(&self, now: Timestamp) {
        self.inner().alarm.here_since_ms.store(now.as_ms(), Ordering::Release);
        self.inner().alarm.open_since_ms.store(now.as_ms(), Ordering::Release);
    }

    /// Others were there while this process was not: whoever left could come back to them.
    pub(crate) fn be_open_before(&self) {
        self.inner().alarm.open_since_ms.store(i64::MIN, Ordering::Release);
    }

    /// Runs until the engine stops.
    pub(crate) async fn keep_time(&self) {
        let mut sweep_at = self.elapsed() + SWEEP_EVERY;
        let mut beat_at = self.elapsed() + NODE_BEAT_EVERY;
        let mut pump_at = self.elapsed() + PUMP_EVERY;
        let next = || Timestamp::from_ms(self.inner().alarm.next_ms.load(Ordering::Acquire));
        while !self.inner().stop.is_cancelled() {
            // Before anything is judged by the time that it is now.
            self.look_at_clock();
            if next() <= self.now() {
                self.look_at_clock_during(self.look_for_due()).await;
            }
            if self.elapsed() >= beat_at {
                beat_at = self.elapsed() + NODE_BEAT_EVERY;
                self.look_at_clock_during(self.be_alive()).await;
            }
            if self.elapsed() >= pump_at {
                pump_at = self.elapsed() + PUMP_EVERY;
                self.look_at_clock_during(self.look_for_deliveries()).await;
            }
            if self.elapsed() >= sweep_at {
                self.feed().sweep();
                self.inner().dispatcher.sweep(self.elapsed());
                self.inner().pumps.sweep(self.elapsed());
                sweep_at = self.elapsed() + SWEEP_EVERY;
            }
            // In this order: time that passes in between makes the nap shorter, not longer.
            let counted = self.elapsed();
            let nap = next().since(self.now()).min(LOOK_EVERY);
            tokio::select! {
                () = self.clock().sleep_to(counted + nap) => {}
                () = self.inner().alarm.earlier.notified() => {}
                () = self.inner().stop.cancelled() => {}
            }
        }
    }

    /// Does something that may wait for the store. How long that takes says nothing of whether this
    /// process ran: the clock is looked at meanwhile, and once more before anything else.
    async fn look_at_clock_during(&self, work: impl Future<Output = ()>) {
        let mut work = pin!(work);
        loop {
            let look_at = self.elapsed() + LOOK_EVERY;
            let is_done = tokio::select! {
                () = &mut work => true,
                () = self.clock().sleep_to(look_at) => false,
            };
            self.look_at_clock();
            if is_done {
                return;
            }
        }
    }

    /// Sees whether the machine's time was set, or this process did not run for a while: leases last one
    /// more, and what was reckoned from the old time is to be reckoned anew.
    fn look_at_clock(&self) {
        let Some(Gap { set_by_ms, away }) = self.clock().look() else { return };
        let away_ms = u64::try_from(away.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(set_by_ms, away_ms, "time made a leap; leases last one more");
        self.be_here_since(self.now());
        if set_by_ms != 0 {
            self.inner().origins.shift(set_by_ms);
            self.inner().pauses.shift(set_by_ms);
            self.inner().alarm.set_by_ms.fetch_add(set_by_ms, Ordering::AcqRel);
            self.inner().alarm.has_leapt.store(true, Ordering::Release);
            self.propose_alarm(self.now());
        }
    }

    async fn look_for_deliveries(&self) {
        if let Err(error) = self.pump_all().await {
            tracing::debug!(%error, "could not look for deliveries that wait");
        }
    }

    /// Gives a sign of life. One that fails is nothing yet: the next may come in time.
    async fn be_alive(&self) {
        let beaten = match self.beat(NODE_ALIVE_FOR).await {
            Ok(nodes) if nodes.was_ahead => self.bound_leases().await,
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = beaten {
            tracing::debug!(%error, "could not give a sign of life");
        }
    }

    async fn look_for_due(&self) {
        let alarm = &self.inner().alarm;
        // Whoever proposes from here on is seen, by the number or by the notification.
        alarm.next_ms.store(i64::MAX, Ordering::Release);
        let reckoned = self.reckon_anew().await.map(|()| Timestamp::MAX);
        let now = self.now();
        let looked = [reckoned, self.act_on_due(now).await];
        match looked.iter().find_map(|looked| looked.as_ref().err()) {
            Some(error) if alarm.trouble.begins(&()) => {
                tracing::warn!(%error, "could not look for what is due; trying again each second");
            }
            None if alarm.trouble.is_over(&()) => {
                tracing::info!("what is due is looked for again");
            }
            Some(_) | None => {}
        }
        // What fails is tried again, and keeps the other from nothing.
        for next in looked {
            let next = next.unwrap_or_else(|_| now.plus(Duration::from_secs(1)));
            alarm.next_ms.fetch_min(next.as_ms(), Ordering::AcqRel);
        }
    }

    /// After a leap of time, until it was done once: bounds leases and looks at all that waits.
    async fn reckon_anew(&self) -> Result<(), EngineError> {
        let has_leapt = &self.inner().alarm.has_leapt;
        // Taken first: a leap that comes meanwhile is one more.
        if !has_leapt.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let mut reckoned = self.bound_leases().await;
        if reckoned.is_ok() {
            // By the time that it is now: another node goes by it.
            reckoned = self.beat(NODE_ALIVE_FOR).await.map(|_| ());
        }
        if reckoned.is_ok() {
            let by_ms = self.inner().alarm.set_by_ms.swap(0, Ordering::AcqRel);
            reckoned = self.shift_endpoints(by_ms).await;
            if reckoned.is_err() {
                self.inner().alarm.set_by_ms.fetch_add(by_ms, Ordering::AcqRel);
            }
        }
        if reckoned.is_ok() {
            reckoned = self.wake_pools(None).await;
        }
        if reckoned.is_err() {
            has_leapt.store(true, Ordering::Release);
        }
        reckoned
    }

    /// Ends what is overdue and wakes what became ready; answers when to look again.
    async fn act_on_due(&self, now: Timestamp) -> Result<Timestamp, EngineError> {
        let mut next = self.wake_alarmed_pools(now);
        let due = self.store().due(DueQuery { now, limit: TICKS_MAX }).await?;
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
                match pools.first() {
                    None => return Timestamp::MAX,
                    Some((moment, _)) if *moment > now => return *moment,
                    Some(_) => pools.pop_first().expect("there is a first").1,
                }
            };
            self.wake(&pool, now);
        }
    }

    /// Lets time act on these tasks, and erases those whose retention is over. Those that cannot be
    /// read come last, each for itself, so that the store may set them aside.
    async fn tick(&self, ids: Vec<TaskId>) -> Result<(), EngineError> {
        let tasks = match self.tasks(ids.clone()).await {
            Err(EngineError::Store(StoreError::Corrupt(_))) => vec![None; ids.len()],
            tasks => tasks?,
        };
        let steps = tasks
            .iter()
            .flatten()
            .map(|task| self.step_of(task, None, self.due_command(task)))
            .collect();
        let mut expired = Vec::new();
        for answer in self.take(steps).await? {
            match answer {
                Ok(stepped) if stepped.reply == Reply::Expired => {
                    expired.push(stepped.changed.task.spec.id)
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "an overdue task had changed"),
            }
        }
        self.erase_expired(expired).await?;
        let unread = ids.into_iter().zip(&tasks).filter(|(_, task)| task.is_none());
        let mut met = Ok(());
        for (id, _) in unread {
            let (tenant, policy, bodies) = (None, Arc::default(), Vec::new());
            let (command, now) = (self.tick_command(), self.now());
            let step = StepOf { id, tenant, command, policy, bodies, now };
            met = met.and(self.take(vec![step]).await.map(drop));
        }
        met
    }

    async fn erase_expired(&self, ids: Vec<TaskId>) -> Result<(), EngineError> {
        if ids.is_empty() {
            return Ok(());
        }
        let commits =
            ids.into_iter().map(|id| Commit::Erase { id, why: Erasure::Expired }).collect();
        for answer in self.store().commit(commits).await? {
            match answer {
                Ok(Committed::Erased(task, told)) => {
                    Meters::count_of(&task.spec, &self.meters().expired);
                    self.act_on_erasure(&task, &told);
                }
                Ok(_) => unreachable!("an erasure is answered as an erasure"),
                Err(error) => tracing::debug!(%error, "an expired task had changed"),
            }
        }
        Ok(())
    }

    /// A lease is a duration: those of a clock that was ahead end a whole lease from now on. So do those
    /// of holders whose task is over and that have not stopped yet: they use a slot. A countdown is one,
    /// too.
    pub(crate) async fn bound_leases(&self) -> Result<(), EngineError> {
        let now = self.now();
        for (status, pages_max) in [
            (Status::Running, usize::MAX),
            (Status::Failed, ENDED_PAGES_MAX),
            (Status::Canceled, ENDED_PAGES_MAX),
        ] {
            let held = Filter { status: Some(status), ..Filter::default() };
            let bound = self.step_each(held, pages_max, |task| {
                task.life.lease()?.is_beyond(now).then(|| self.tick_command())
            });
            bound.await?;
        }
        let left = Filter { attended: Some(Attended::NoMore), ..Filter::default() };
        self.step_each(left, usize::MAX, |_| Some(self.tick_command())).await?;
        Ok(())
    }

    /// Takes the steps that `command_of` names for tasks that a filter means; answers how many.
    pub(crate) async fn step_each(
        &self,
        of: Filter,
        pages_max: usize,
        command_of: impl Fn(&Task) -> Option<Command>,
    ) -> Result<usize, EngineError> {
        let mut count = 0;
        let mut after = None;
        for _ in 0..pages_max {
            let filter = Filter { after, limit: LEASES_PAGE, ..of.clone() };
            let page = self.list(filter).await?;
            let steps: Vec<_> = page
                .tasks
                .iter()
                .filter_map(|task| Some(self.step_of(task, None, command_of(task)?)))
                .collect();
            if !steps.is_empty() {
                count += steps.len();
                self.take(steps).await?;
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(count)
    }

    /// What time does to a task. An attempt of this process is there for as long as it runs, or
    /// tells a store that was away how it ended: its lease goes on.
    fn due_command(&self, task: &Task) -> Command {
        let now = self.now();
        match &task.life.state {
            State::Running { lease, .. }
                if lease.until <= now
                    && now < task.life.deadline
                    && self.inner().running.has(lease.nonce) =>
            {
                let until = now.plus(self.policies().leasing(&Pool::of(task)).lease);
                let (nonce, progress, output) = (lease.nonce, None, None);
                Command::Report { nonce, until, progress, output, checkpoint: false }
            }
            _ => self.tick_command(),
        }
    }

    fn tick_command(&self) -> Command {
        let here_since_ms = self.inner().alarm.here_since_ms.load(Ordering::Acquire);
        let here_since = Timestamp::from_ms(here_since_ms);
        let open_since_ms = self.inner().alarm.open_since_ms.load(Ordering::Acquire);
        let open_since = Timestamp::from_ms(open_since_ms);
        Command::Tick { here_since, open_since, jitter: self.chance().unit() }
    }
}
