//! Upstreams as services to protect: calls in flight, call rate, and pauses they asked for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use relais_core::Timestamp;
use relais_core::lane::Bucket;
use relais_core::outcome::PauseScope;
use relais_store::Pool;

use crate::config::UpstreamLimits;
use crate::engine::Engine;

/// All upstreams that were called. Origins come from the configuration, so their number is bounded.
#[derive(Debug)]
pub(crate) struct Origins {
    limits: Mutex<BTreeMap<String, UpstreamLimits>>,
    known: Mutex<HashMap<Arc<str>, Origin>>,
}

#[derive(Debug)]
struct Origin {
    limits: UpstreamLimits,
    in_flight: u32,
    /// Of them, those reserved by claims that have not said yet how many they start.
    claiming: u32,
    bucket: Option<Bucket>,
    paused_until: Timestamp,
    /// Pools that wait for a free call, or for a token that a claim may give back.
    starved: BTreeSet<Pool>,
}

/// What the limits of an origin let start, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Calls {
    /// Until when the origin is paused, if it is.
    pub(crate) paused_until: Option<Timestamp>,
    /// Until when its rate lets nothing start, if it does.
    pub(crate) rate_until: Option<Timestamp>,
    /// When its rate lets the call that was asked about start, unless it does now.
    pub(crate) nth_at: Option<Timestamp>,
    /// Calls that may start before one ends. What a claim has reserved and may give back is free.
    pub(crate) free: u64,
}

/// How many calls may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// So many, at least one; they are reserved.
    Calls(u32),
    /// None until a call ends; the pool is woken then.
    Full,
    /// None before this moment.
    Until(Timestamp),
}

impl Origins {
    pub(crate) fn new(limits: BTreeMap<String, UpstreamLimits>) -> Self {
        Self { limits: Mutex::new(limits), known: Mutex::default() }
    }

    /// Goes by other limits from now on. Calls in flight beyond them end as they would have.
    pub(crate) fn limit(&self, limits: BTreeMap<String, UpstreamLimits>) {
        let mut known = self.known.lock().expect("nothing panics while it is held");
        for (origin, state) in known.iter_mut() {
            let now = limits.get(&**origin).copied().unwrap_or_default();
            if now.rate != state.limits.rate {
                // Tokens are counted in the unit of their rate.
                state.bucket = None;
            }
            state.limits = now;
        }
        *self.limits.lock().expect("nothing panics while it is held") = limits;
    }

    /// Reserves up to `wanted` calls for `pool`.
    pub(crate) fn reserve(
        &self,
        origin: &Arc<str>,
        pool: &Pool,
        wanted: u32,
        now: Timestamp,
    ) -> Room {
        self.with(origin, |state| {
            if state.paused_until > now {
                return Room::Until(state.paused_until);
            }
            let free = state.limits.concurrency.saturating_sub(state.in_flight);
            if free == 0 {
                state.starved.insert(pool.clone());
                return Room::Full;
            }
            let mut calls = free.min(wanted);
            if let Some(rate) = state.limits.rate {
                let bucket = state.bucket.unwrap_or_else(|| Bucket::full(rate, now));
                let tokens = u32::try_from(bucket.available(rate, now)).unwrap_or(u32::MAX);
                if tokens == 0 {
                    if state.claiming > 0 {
                        state.starved.insert(pool.clone());
                    }
                    return Room::Until(bucket.next_at(rate, now));
                }
                calls = calls.min(tokens);
                state.bucket = Some(bucket.take(rate, u64::from(calls), now));
            }
            state.in_flight += calls;
            state.claiming += calls;
            Room::Calls(calls)
        })
    }

    /// A claim for which calls were reserved has started so many of them: the others are free
    /// again, and so are their tokens. Names the pools that waited for either.
    pub(crate) fn end_claim(
        &self,
        origin: &Arc<str>,
        reserved: u32,
        started: u32,
        now: Timestamp,
    ) -> Vec<Pool> {
        let unused = reserved.saturating_sub(started);
        self.with(origin, |state| {
            state.claiming = state.claiming.saturating_sub(reserved);
            if unused == 0 {
                return Vec::new();
            }
            state.in_flight = state.in_flight.saturating_sub(unused);
            if let (Some(rate), Some(bucket)) = (state.limits.rate, state.bucket) {
                state.bucket = Some(bucket.put_back(rate, u64::from(unused), now));
            }
            std::mem::take(&mut state.starved).into_iter().collect()
        })
    }

    /// A call has ended. Names the pools that waited for it.
    pub(crate) fn end_call(&self, origin: &Arc<str>) -> Vec<Pool> {
        self.with(origin, |state| {
            state.in_flight = state.in_flight.saturating_sub(1);
            std::mem::take(&mut state.starved).into_iter().collect()
        })
    }

    /// Leaves the origin alone until then, as it asked.
    pub(crate) fn pause(&self, origin: &Arc<str>, until: Timestamp) {
        self.with(origin, |state| state.paused_until = state.paused_until.max(until));
    }

    /// What the origin lets start from now on, and when its rate lets the `n`-th call.
    pub(crate) fn calls(&self, origin: &Arc<str>, n: u64, now: Timestamp) -> Calls {
        let later = |at: &Timestamp| *at > now;
        self.with(origin, |state| {
            let rate = state.limits.rate;
            let full = |rate| Bucket::full(rate, now);
            let paced = rate.map(|rate| (rate, state.bucket.unwrap_or_else(|| full(rate))));
            let spent = paced.filter(|(rate, bucket)| bucket.available(*rate, now) == 0);
            let calls = state.in_flight.saturating_sub(state.claiming);
            Calls {
                paused_until: Some(state.paused_until).filter(later),
                rate_until: spent.map(|(rate, bucket)| bucket.next_at(rate, now)),
                nth_at: paced.map(|(rate, bucket)| bucket.nth_at(rate, n, now)).filter(later),
                free: state.limits.concurrency.saturating_sub(calls).into(),
            }
        })
    }

    /// What a `Retry-After` of the origin is about, if the configuration says it.
    pub(crate) fn pause_scope(&self, origin: &Arc<str>) -> Option<PauseScope> {
        self.with(origin, |state| state.limits.retry_after)
    }

    /// The machine's time was set by `ms`: pauses and rates are durations, and move along.
    pub(crate) fn shift(&self, ms: i64) {
        let mut known = self.known.lock().expect("nothing panics while it is held");
        for state in known.values_mut() {
            state.paused_until = state.paused_until.shifted(ms);
            state.bucket = state.bucket.map(|bucket| bucket.shifted(ms));
        }
    }

    fn limits_of(&self, origin: &Arc<str>) -> UpstreamLimits {
        let limits = self.limits.lock().expect("nothing panics while it is held");
        limits.get(&**origin).copied().unwrap_or_default()
    }

    /// Every origin that has limits or was called, and whether it is paused.
    pub(crate) fn pauses(&self, now: Timestamp) -> BTreeMap<String, bool> {
        let limits = self.limits.lock().expect("nothing panics while it is held");
        let mut pauses: BTreeMap<_, _> =
            limits.keys().map(|origin| (origin.clone(), false)).collect();
        drop(limits);
        let known = self.known.lock().expect("nothing panics while it is held");
        let known =
            known.iter().map(|(name, origin)| (name.to_string(), origin.paused_until > now));
        pauses.extend(known);
        pauses
    }

    fn with<T>(&self, origin: &Arc<str>, act: impl FnOnce(&mut Origin) -> T) -> T {
        let mut known = self.known.lock().expect("nothing panics while it is held");
        let state = known.entry(origin.clone()).or_insert_with(|| Origin {
            limits: self.limits_of(origin),
            in_flight: 0,
            claiming: 0,
            bucket: None,
            paused_until: Timestamp::EPOCH,
            starved: BTreeSet::new(),
        });
        act(state)
    }
}

impl Engine {
    /// Every upstream that has limits or was called, and whether it is left alone as it asked.
    #[must_use]
    pub fn upstream_pauses(&self) -> BTreeMap<String, bool> {
        self.inner().origins.pauses(self.now())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use relais_core::{Purpose, Rate};
    use relais_store::RunBy;

    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(1_000);

    fn pool(queue: &str, origin: &Arc<str>) -> Pool {
        Pool {
            tenant: "default".parse().expect("a name"),
            queue: queue.parse().expect("a name"),
            purpose: Purpose::Client,
            run_by: RunBy::Upstream(origin.clone()),
        }
    }

    /// Until the first call of an upstream its rate was left out of what its tasks were told.
    #[test]
    fn a_rate_under_which_nothing_was_called_yet_counts() {
        let origin: Arc<str> = "http://a".into();
        let rate = Some(Rate { count: 10, period: Duration::from_secs(1) });
        let limits = UpstreamLimits { rate, ..UpstreamLimits::default() };
        let origins = Origins::new(BTreeMap::from([(origin.to_string(), limits)]));
        assert_eq!(origins.calls(&origin, 10, NOW).nth_at, None);
        let eleventh = origins.calls(&origin, 11, NOW).nth_at;
        assert_eq!(eleventh, Some(NOW.plus(Duration::from_millis(100))));
    }

    /// A claim took all tokens for the one task it found, and gave back calls only.
    #[test]
    fn tokens_that_a_claim_does_not_use_let_the_next_tasks_pass() {
        let origin: Arc<str> = "http://a".into();
        let rate = Some(Rate { count: 10, period: Duration::from_secs(1) });
        let limits = UpstreamLimits { rate, ..UpstreamLimits::default() };
        let origins = Origins::new(BTreeMap::from([(origin.to_string(), limits)]));
        let (first, second) = (pool("first", &origin), pool("second", &origin));
        assert_eq!(origins.reserve(&origin, &first, 64, NOW), Room::Calls(10));
        // Another pool that asks meanwhile is told when the claim gives back.
        assert!(matches!(origins.reserve(&origin, &second, 64, NOW), Room::Until(_)));
        assert_eq!(origins.end_claim(&origin, 10, 1, NOW), std::slice::from_ref(&second));
        assert_eq!(origins.reserve(&origin, &second, 64, NOW), Room::Calls(9));
        assert!(origins.end_claim(&origin, 9, 9, NOW).is_empty());
        // Now the burst is spent, and nothing will be given back.
        assert!(matches!(origins.reserve(&origin, &first, 64, NOW), Room::Until(_)));
        assert!(origins.end_call(&origin).is_empty());
    }
}
