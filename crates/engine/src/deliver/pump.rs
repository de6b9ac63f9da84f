//! Rows become tasks: one loop for each endpoint for which something waits, woken by whatever may let it
//! go on, and asleep while its endpoint wants to be left alone.
//!
//! A few at a time: what is not made yet costs a row, and an endpoint that does not answer is asked now and
//! then with one. What is remembered here is of this node alone; a start, and another node that finds
//! this one dead, ask the store for whom something waits.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use relais_core::retry::backoff;
use relais_core::{
    Credentials, DeliveryId, EndpointId, Heard, Priority, Purpose, RetryPolicy, Runner, Spec,
    TenantName, Timestamp, accept, limits,
};
use relais_store::{Accept, Commit, Committed, DropDeliveries, Endpoints, Next};
use tokio::sync::Notify;

use super::{lane, queue};
use crate::engine::{Engine, EngineError};
use crate::log::trouble::Trouble;

/// How long to wait after a store that could not be asked.
const AGAIN: Duration = Duration::from_secs(1);

/// The loops, and what they know of their endpoints.
#[derive(Debug, Default)]
pub(crate) struct Pumps {
    pumps: Mutex<HashMap<EndpointId, Pump>>,
    trouble: Trouble<EndpointId>,
}

#[derive(Debug, Default)]
struct Pump {
    /// Whether its loop runs, and was woken once more.
    running: Option<Again>,
    bell: Arc<Notify>,
    /// Made here, and before their first attempt.
    fresh: HashSet<u64>,
    /// Attempts in a row that failed.
    failures: u32,
    /// Until when nothing new is made, of the time that is counted.
    quiet_until: Duration,
}

/// Whether a loop was woken while it ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    No,
    Yes,
}

impl Pump {
    /// How many may be made now, or else until when none may.
    fn room(&self, now: Duration) -> Result<usize, Duration> {
        if now < self.quiet_until {
            return Err(self.quiet_until);
        }
        let most = if self.failures > 0 { 1 } else { limits::DELIVERIES_AT_ONCE };
        Ok(most.saturating_sub(self.fresh.len()))
    }

    fn note(&mut self, heard: Heard, now: Duration, pause: Duration) {
        match heard {
            Heard::Delivered => (self.failures, self.quiet_until) = (0, Duration::ZERO),
            Heard::Failed | Heard::Gone => {
                self.failures += 1;
                self.quiet_until = now + pause;
            }
        }
    }

    /// Whether nothing is known of its endpoint that would be missed.
    fn is_idle(&self, now: Duration) -> bool {
        let is_quiet = now < self.quiet_until + FORGOTTEN_AFTER && self.failures > 0;
        self.running.is_none() && self.fresh.is_empty() && !is_quiet
    }
}

/// How long after its last failure an endpoint for which nothing waits is remembered.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// How long an endpoint is left alone after so many failures in a row.
fn quiet_for(failures: u32, jitter: f64) -> Duration {
    let policy = RetryPolicy {
        initial: Duration::from_secs(5),
        max: Duration::from_secs(300),
        ..RetryPolicy::default()
    };
    backoff(&policy, failures.max(1), jitter)
}

/// What a round of a loop came to.
enum Round {
    /// There may be more.
    Again,
    /// Nothing until it is woken.
    Dry,
    /// Nothing before then.
    Until(Duration),
}

impl Pumps {
    fn with<T>(&self, endpoint: EndpointId, change: impl FnOnce(&mut Pump) -> T) -> T {
        let mut pumps = self.pumps.lock().expect("nothing panics while it is held");
        change(pumps.entry(endpoint).or_default())
    }

    /// Forgets endpoints of which nothing is to be remembered; called from time to time.
    pub(crate) fn sweep(&self, now: Duration) {
        let mut pumps = self.pumps.lock().expect("nothing panics while it is held");
        pumps.retain(|_, pump| !pump.is_idle(now));
    }
}

impl Engine {
    /// Something may wait for an endpoint.
    pub(crate) fn pump(&self, endpoint: EndpointId) {
        if self.is_draining() {
            return;
        }
        let was_running = self.inner().pumps.with(endpoint, |pump| {
            let was_running = pump.running.is_some();
            pump.running = Some(if was_running { Again::Yes } else { Again::No });
            was_running
        });
        if !was_running {
            let engine = self.clone();
            self.inner().tracker.spawn(async move { engine.pump_until_dry(endpoint).await });
        }
    }

    /// The same for all for which something waits: at a start, after the death of a node, and now and
    /// then, because what waits for too long is dropped.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn pump_all(&self) -> Result<(), EngineError> {
        let waited_for = self.store().waited_for().await?;
        waited_for.into_iter().for_each(|endpoint| self.pump(endpoint));
        Ok(())
    }

    /// Nothing is known any more of an endpoint that was changed.
    pub(crate) fn be_quick(&self, endpoint: EndpointId) {
        self.inner().pumps.with(endpoint, |pump| {
            (pump.failures, pump.quiet_until) = (0, Duration::ZERO);
            pump.bell.notify_one();
        });
    }

    /// An attempt to deliver is over; with `heard`, if it says something of the endpoint.
    pub(super) fn note_attempt(
        &self,
        id: DeliveryId,
        heard: Option<Heard>,
        retry_after: Option<Duration>,
    ) {
        let (now, jitter) = (self.elapsed(), self.chance().unit());
        self.inner().pumps.with(id.endpoint, |pump| {
            pump.fresh.remove(&id.pos);
            if let Some(heard) = heard {
                let asked = retry_after.unwrap_or_default().min(limits::ORIGIN_PAUSE_MAX);
                pump.note(heard, now, quiet_for(pump.failures + 1, jitter).max(asked));
                if heard == Heard::Delivered {
                    pump.bell.notify_one();
                }
            }
        });
        self.pump(id.endpoint);
    }

    async fn pump_until_dry(&self, endpoint: EndpointId) {
        let bell = self.inner().pumps.with(endpoint, |pump| pump.bell.clone());
        loop {
            let trouble = &self.inner().pumps.trouble;
            let round = match self.pump_some(endpoint).await {
                Ok(round) => {
                    if trouble.is_over(&endpoint) {
                        tracing::info!("deliveries can be made again");
                    }
                    round
                }
                Err(error) => {
                    if trouble.begins(&endpoint) {
                        tracing::warn!(%error, "could not make deliveries; trying again each second");
                    }
                    Round::Until(self.elapsed() + AGAIN)
                }
            };
            let until = match round {
                Round::Again => continue,
                Round::Until(until) => until,
                Round::Dry => {
                    let is_dry = self.inner().pumps.with(endpoint, |pump| {
                        let is_dry = pump.running != Some(Again::Yes) || self.is_draining();
                        pump.running = (!is_dry).then_some(Again::No);
                        is_dry
                    });
                    if is_dry {
                        return;
                    }
                    continue;
                }
            };
            tokio::select! {
                () = self.clock().sleep_to(until) => {}
                () = bell.notified() => {}
                () = self.inner().draining.cancelled() => return,
            }
        }
    }

    /// Makes some of what waits into tasks.
    async fn pump_some(&self, endpoint: EndpointId) -> Result<Round, EngineError> {
        let now = self.elapsed();
        let room = match self.inner().pumps.with(endpoint, |pump| pump.room(now)) {
            Ok(0) => return Ok(Round::Dry),
            Ok(room) => room,
            Err(until) => return self.wait_quietly(endpoint, until).await,
        };
        let Some(next) = self.store().next_deliveries(endpoint, room).await? else {
            return Ok(Round::Dry);
        };
        if self.drop_old(endpoint, next.since).await? {
            return Ok(Round::Again);
        }
        if self.is_draining() {
            return Ok(Round::Dry);
        }
        match self.make(endpoint, &next).await? {
            0 => self.look_at(endpoint).await,
            _ => Ok(Round::Again),
        }
    }

    /// Nothing waits for its moment for whom nothing waits.
    async fn wait_quietly(
        &self,
        endpoint: EndpointId,
        until: Duration,
    ) -> Result<Round, EngineError> {
        let next = self.store().next_deliveries(endpoint, 1).await?;
        match next {
            None => Ok(Round::Dry),
            Some(next) if self.drop_old(endpoint, next.since).await? => Ok(Round::Again),
            Some(_) => Ok(Round::Until(until)),
        }
    }

    /// Makes them into tasks; answers how many.
    async fn make(&self, endpoint: EndpointId, next: &Next) -> Result<usize, EngineError> {
        let ids = next.places.iter().map(|pos| DeliveryId { endpoint, pos: *pos });
        let accepts = ids.map(|id| self.delivery(id, &next.tenant)).collect();
        let mut made = 0;
        // Before the write: an attempt may be over before its answer is looked at.
        self.inner().pumps.with(endpoint, |pump| pump.fresh.extend(&next.places));
        let answers = self.store().commit(accepts).await;
        let answers = match answers {
            Ok(answers) => answers,
            Err(error) => {
                self.forget_fresh(endpoint, next.places.iter().copied());
                return Err(error.into());
            }
        };
        let mut others = Vec::new();
        for (pos, answer) in next.places.iter().zip(answers) {
            match answer {
                Ok(Committed::Accepted { changed, .. }) => {
                    made += 1;
                    self.act(&changed);
                }
                // Another node made it, or it is not wanted any more.
                Ok(_) | Err(_) => others.push(*pos),
            }
        }
        self.forget_fresh(endpoint, others);
        Ok(made)
    }

    fn forget_fresh(&self, endpoint: EndpointId, places: impl IntoIterator<Item = u64>) {
        self.inner().pumps.with(endpoint, |pump| {
            for pos in places {
                pump.fresh.remove(&pos);
            }
        });
    }

    /// What waits, and could not be made: its endpoint is held, or is no more.
    async fn look_at(&self, endpoint: EndpointId) -> Result<Round, EngineError> {
        let kept = self.store().endpoints(Endpoints::One(endpoint)).await?.pop();
        match kept {
            Some(kept) if !kept.endpoint.standing.is_active() => Ok(Round::Dry),
            None if !endpoint.is_own() => {
                self.drop_until(endpoint, Timestamp::MAX).await?;
                Ok(Round::Again)
            }
            Some(_) | None => Ok(Round::Again),
        }
    }

    /// Drops what has waited for too long, if the oldest has; answers whether it did.
    async fn drop_old(&self, endpoint: EndpointId, since: Timestamp) -> Result<bool, EngineError> {
        let now = self.now();
        let is_old = since.plus(limits::DELIVERY_WAIT_MAX) <= now;
        if is_old {
            self.drop_until(endpoint, now.minus(limits::DELIVERY_WAIT_MAX)).await?;
        }
        Ok(is_old)
    }

    async fn drop_until(&self, endpoint: EndpointId, until: Timestamp) -> Result<(), EngineError> {
        let drop = DropDeliveries { endpoint, until, now: self.now() };
        let dropped = self.commit_one(Commit::Drop(drop)).await?;
        let Committed::Dropped(count, told) = dropped else { unreachable!("answered in kind") };
        tracing::warn!(%endpoint, count, "dropped deliveries that had waited for too long");
        told.into_iter().filter(|told| *told != endpoint).for_each(|told| self.pump(told));
        Ok(())
    }

    /// The internal task of a delivery.
    fn delivery(&self, id: DeliveryId, tenant: &TenantName) -> Commit {
        let policy = self.policies().of_deliveries();
        let now = self.now();
        let spec = Spec {
            id: id.task(),
            tenant: tenant.clone(),
            queue: queue(),
            lane: Some(lane(id.endpoint)),
            priority: Priority::default(),
            labels: Vec::new(),
            runner: Runner::Delivery,
            created_at: now,
            run_at: now,
            deadline_after: policy.deadline,
            retention: policy.retention,
            content_type: None,
            input_bytes: 0,
            context: bytes::Bytes::new(),
            source: None,
            request: None,
            purpose: Purpose::Internal,
            grace: None,
            webhook: None,
        };
        let (task, entry) = accept(spec, Credentials::None, false);
        Commit::Accept(Box::new(Accept {
            task,
            entry,
            bodies: Vec::new(),
            idempotency: None,
            queue_capacity: u64::MAX,
            tenant_capacity: u64::MAX,
            source_capacity: u64::MAX,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_that_fails_is_asked_with_one_and_ever_more_seldom() {
        let (mut pump, at) = (Pump::default(), Duration::from_secs);
        assert_eq!(pump.room(at(0)), Ok(limits::DELIVERIES_AT_ONCE));
        pump.note(Heard::Failed, at(10), quiet_for(1, 1.0));
        assert_eq!(pump.room(at(14)), Err(at(15)));
        assert_eq!(pump.room(at(15)), Ok(1));
        pump.fresh.insert(7);
        assert_eq!(pump.room(at(15)), Ok(0));
        pump.fresh.clear();
        let pauses: Vec<_> = (1..9).map(|count| quiet_for(count, 1.0).as_secs()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300]);
        pump.note(Heard::Delivered, at(15), at(9));
        assert_eq!(pump.room(at(15)), Ok(limits::DELIVERIES_AT_ONCE));
        assert!(pump.is_idle(at(15)));
    }
}
