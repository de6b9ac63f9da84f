//! Upstreams as services to protect: calls in flight, call rate, and pauses they asked for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use relais_core::lane::Bucket;
use relais_core::{Timestamp, limits};
use relais_store::Pool;

use crate::config::UpstreamLimits;

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
    bucket: Option<Bucket>,
    paused_until: Timestamp,
    /// Pools that wait for a free call.
    starved: BTreeSet<Pool>,
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
                    return Room::Until(bucket.next_at(rate, now));
                }
                calls = calls.min(tokens);
                state.bucket = Some(bucket.take(rate, u64::from(calls), now));
            }
            state.in_flight += calls;
            Room::Calls(calls)
        })
    }

    /// Gives back calls that were reserved: those that ended, or never started. Names the pools that
    /// waited for them.
    pub(crate) fn give_back(&self, origin: &Arc<str>, calls: u32) -> Vec<Pool> {
        if calls == 0 {
            return Vec::new();
        }
        self.with(origin, |state| {
            state.in_flight = state.in_flight.saturating_sub(calls);
            std::mem::take(&mut state.starved).into_iter().collect()
        })
    }

    /// Leaves the origin alone for a while, as it asked. Answers until when.
    pub(crate) fn pause(&self, origin: &Arc<str>, span: Duration, now: Timestamp) -> Timestamp {
        self.with(origin, |state| {
            let until = now.plus(span.min(limits::ORIGIN_PAUSE_MAX));
            state.paused_until = state.paused_until.max(until);
            state.paused_until
        })
    }

    /// Until when the origin is paused, if it is.
    pub(crate) fn paused_until(&self, origin: &Arc<str>, now: Timestamp) -> Option<Timestamp> {
        self.with(origin, |state| (state.paused_until > now).then_some(state.paused_until))
    }

    /// Whether no further call may start until one ends.
    pub(crate) fn is_full(&self, origin: &Arc<str>) -> bool {
        self.with(origin, |state| state.in_flight >= state.limits.concurrency)
    }

    fn limits_of(&self, origin: &Arc<str>) -> UpstreamLimits {
        let limits = self.limits.lock().expect("nothing panics while it is held");
        limits.get(&**origin).copied().unwrap_or_default()
    }

    fn with<T>(&self, origin: &Arc<str>, act: impl FnOnce(&mut Origin) -> T) -> T {
        let mut known = self.known.lock().expect("nothing panics while it is held");
        let state = known.entry(origin.clone()).or_insert_with(|| Origin {
            limits: self.limits_of(origin),
            in_flight: 0,
            bucket: None,
            paused_until: Timestamp::EPOCH,
            starved: BTreeSet::new(),
        });
        act(state)
    }
}
