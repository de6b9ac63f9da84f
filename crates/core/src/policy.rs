//! The policy of a queue: what its tasks may use, and how they are tried.

use std::collections::BTreeMap;
use std::time::Duration;

use minicbor::{Decode, Encode};

use crate::limits;
use crate::name::LaneKey;
use crate::retry::RetryPolicy;
use crate::time::InWords;

/// In which order the tasks of one lane start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(index_only)]
pub enum Order {
    /// By priority with ageing, then by arrival.
    #[default]
    #[n(0)]
    Fair,
    /// First in, first out: the next starts only after the one before it is terminal.
    #[n(1)]
    Strict,
}

/// Attempt starts per period: a token bucket with a burst of one second's worth (at least one).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Rate {
    /// Starts allowed in `period`; at least 1.
    #[n(0)]
    pub count: u32,
    /// The period; at least one millisecond.
    #[n(1)]
    #[cbor(with = "crate::cbor::span")]
    pub period: Duration,
}

/// What a queue allows its tasks. It is not copied into tasks: a change
/// holds for those waiting, too.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Policy {
    /// Leases live at once in the queue; `None` is no limit.
    #[n(0)]
    pub concurrency: Option<u32>,
    /// Leases live at once in one lane; `None` is no limit.
    #[n(1)]
    pub concurrency_per_lane: Option<u32>,
    /// Attempt starts per second.
    #[n(2)]
    pub rate: Option<Rate>,
    /// The same in each lane; `None` is no limit.
    #[n(3)]
    pub rate_per_lane: Option<Rate>,
    /// Order within a lane.
    #[n(4)]
    pub order: Order,
    /// When failed attempts are tried again.
    #[n(5)]
    pub retry: RetryPolicy,
    /// How long a lease lasts without a heartbeat.
    #[n(6)]
    #[cbor(with = "crate::cbor::span")]
    pub lease: Duration,
    /// How long one attempt may take.
    #[n(7)]
    #[cbor(with = "crate::cbor::span")]
    pub attempt_timeout: Duration,
    /// How long after its first `run_at` a task must be done, unless it says otherwise itself.
    #[n(8)]
    #[cbor(with = "crate::cbor::span")]
    pub deadline: Duration,
    /// How long a finished task is kept, unless it says otherwise itself.
    #[n(9)]
    #[cbor(with = "crate::cbor::span")]
    pub retention: Duration,
    /// Tasks not yet terminal that the queue may hold.
    #[n(10)]
    pub capacity: u64,
    /// Of them, tasks of one source; `None` is a quarter of the capacity.
    #[n(11)]
    pub capacity_per_ip: Option<u64>,
    /// Shares of lanes; a lane without a weight has 1.
    #[n(12)]
    pub lane_weights: BTreeMap<LaneKey, u32>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            concurrency: None,
            concurrency_per_lane: None,
            rate: None,
            rate_per_lane: None,
            order: Order::Fair,
            retry: RetryPolicy::default(),
            lease: Duration::from_secs(30),
            attempt_timeout: Duration::from_secs(600),
            deadline: Duration::from_secs(24 * 3600),
            retention: Duration::from_secs(7 * 24 * 3600),
            capacity: limits::QUEUE_CAPACITY,
            capacity_per_ip: None,
            lane_weights: BTreeMap::new(),
        }
    }
}

impl Policy {
    /// How often a holder is told to heartbeat: a third of the lease, so that two may be lost.
    #[must_use]
    pub fn heartbeat_every(&self) -> Duration {
        self.lease / 3
    }

    /// Tasks not yet terminal that one source may hold; at least 1.
    #[must_use]
    pub fn source_capacity(&self) -> u64 {
        let share = self.capacity.div_ceil(limits::SOURCE_SHARE_DIVISOR);
        self.capacity_per_ip.unwrap_or(share).max(1)
    }

    /// The share of `lane`; at least 1.
    #[must_use]
    pub fn weight(&self, lane: Option<&LaneKey>) -> u32 {
        lane.and_then(|lane| self.lane_weights.get(lane)).copied().unwrap_or(1).max(1)
    }
}

/// A policy as somebody wrote it: read, and not judged. What is left out has its default.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Draft {
    /// See [`Policy::concurrency`].
    pub concurrency: Option<u32>,
    /// See [`Policy::concurrency_per_lane`].
    pub concurrency_per_lane: Option<u32>,
    /// See [`Policy::rate`].
    pub rate: Option<Rate>,
    /// See [`Policy::rate_per_lane`].
    pub rate_per_lane: Option<Rate>,
    /// See [`Policy::order`].
    pub order: Option<Order>,
    /// See [`RetryPolicy::max_attempts`].
    pub max_attempts: Option<u32>,
    /// See [`RetryPolicy::initial`].
    pub retry_initial: Option<Duration>,
    /// See [`RetryPolicy::max`].
    pub retry_max: Option<Duration>,
    /// See [`RetryPolicy::factor`].
    pub retry_factor: Option<f64>,
    /// See [`Policy::lease`].
    pub lease: Option<Duration>,
    /// See [`Policy::attempt_timeout`].
    pub attempt_timeout: Option<Duration>,
    /// See [`Policy::deadline`].
    pub deadline: Option<Duration>,
    /// See [`Policy::retention`].
    pub retention: Option<Duration>,
    /// See [`Policy::capacity`].
    pub capacity: Option<u64>,
    /// See [`Policy::capacity_per_ip`].
    pub capacity_per_ip: Option<u64>,
    /// See [`Policy::lane_weights`].
    pub lane_weights: Vec<(String, u32)>,
}

/// A member of a policy that is wrong, fit for "field x: {error}".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct InvalidMember {
    /// Its name, with that of the table around it: `retry.max`.
    pub member: &'static str,
    /// The place within it, of what has several values.
    pub place: Option<usize>,
    /// What is wrong.
    pub why: String,
}

impl Draft {
    /// Judges a policy, whether it stands in the operator's file or came by the API.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn judge(self) -> Result<Policy, Vec<InvalidMember>> {
        let mut judge = Judge { wrong: Vec::new() };
        let default = Policy::default();
        let (least, most) = (limits::SPAN_MIN, limits::HORIZON_MAX);
        let policy = Policy {
            concurrency: judge.concurrency("concurrency", self.concurrency),
            concurrency_per_lane: judge
                .concurrency("concurrency_per_lane", self.concurrency_per_lane),
            rate: self.rate,
            rate_per_lane: self.rate_per_lane,
            order: self.order.unwrap_or_default(),
            retry: judge.retry(&self),
            lease: judge
                .span("lease", self.lease, limits::LEASE_MIN, limits::LEASE_MAX)
                .unwrap_or(default.lease),
            attempt_timeout: judge
                .span("attempt_timeout", self.attempt_timeout, least, most)
                .unwrap_or(default.attempt_timeout),
            deadline: judge
                .span("deadline", self.deadline, least, most)
                .unwrap_or(default.deadline),
            retention: judge
                .span("retention", self.retention, least, most)
                .unwrap_or(default.retention),
            capacity: judge.capacity("capacity", self.capacity).unwrap_or(default.capacity),
            capacity_per_ip: judge.capacity("capacity_per_ip", self.capacity_per_ip),
            lane_weights: judge.lane_weights(self.lane_weights),
        };
        if judge.wrong.is_empty() { Ok(policy) } else { Err(judge.wrong) }
    }
}

/// Whether so many attempts at the same time may be asked for.
///
/// # Errors
/// Says what may.
pub fn check_concurrency(count: u32) -> Result<u32, String> {
    let max = limits::CONCURRENCY_MAX;
    if (1..=max).contains(&count) {
        return Ok(count);
    }
    Err(format!("must be from 1 to {max}; to hold a queue, pause it"))
}

/// Gathers what is wrong.
struct Judge {
    wrong: Vec<InvalidMember>,
}

impl Judge {
    fn refuse(&mut self, member: &'static str, why: impl Into<String>) {
        self.wrong.push(InvalidMember { member, place: None, why: why.into() });
    }

    fn concurrency(&mut self, member: &'static str, given: Option<u32>) -> Option<u32> {
        let given = given?;
        check_concurrency(given).map_err(|why| self.refuse(member, why)).ok()
    }

    fn capacity(&mut self, member: &'static str, given: Option<u64>) -> Option<u64> {
        let max = limits::QUEUE_CAPACITY_MAX;
        let given = given?;
        if (1..=max).contains(&given) {
            return Some(given);
        }
        self.refuse(member, format!("must be from 1 to {max}"));
        None
    }

    fn span(
        &mut self,
        member: &'static str,
        given: Option<Duration>,
        min: Duration,
        max: Duration,
    ) -> Option<Duration> {
        let given = given?;
        if (min..=max).contains(&given) {
            return Some(given);
        }
        let (min, max) = (InWords(min), InWords(max));
        self.refuse(member, format!("must be from {min} to {max}"));
        None
    }

    fn retry(&mut self, draft: &Draft) -> RetryPolicy {
        let default = RetryPolicy::default();
        let max_attempts = draft.max_attempts.unwrap_or(default.max_attempts);
        if !(1..=limits::ATTEMPTS_MAX).contains(&max_attempts) {
            let why = format!("must be from 1 (no retry) to {}", limits::ATTEMPTS_MAX);
            self.refuse("retry.max_attempts", why);
        }
        let factor = draft.retry_factor.unwrap_or(default.factor);
        if !(1.0..=limits::RETRY_FACTOR_MAX).contains(&factor) {
            let why = format!("must be from 1 to {}", limits::RETRY_FACTOR_MAX);
            self.refuse("retry.factor", why);
        }
        let (least, most) = (limits::SPAN_MIN, limits::HORIZON_MAX);
        let initial = self.span("retry.initial", draft.retry_initial, least, most);
        let initial = initial.unwrap_or(default.initial);
        let max = match self.span("retry.max", draft.retry_max, least, most) {
            // A longer first wait than the default longest one is meant as it is written.
            None => default.max.max(initial),
            Some(max) => {
                if max < initial {
                    self.refuse("retry.max", "must not be shorter than initial");
                }
                max
            }
        };
        RetryPolicy { max_attempts, initial, max, factor }
    }

    fn lane_weights(&mut self, given: Vec<(String, u32)>) -> BTreeMap<LaneKey, u32> {
        let mut weights = BTreeMap::new();
        for (place, (lane, weight)) in given.into_iter().enumerate() {
            let mut refuse = |why: String| {
                let place = Some(place);
                self.wrong.push(InvalidMember { member: "lane_weights", place, why });
            };
            let max = limits::LANE_WEIGHT_MAX;
            if !(1..=max).contains(&weight) {
                refuse(format!("a weight must be from 1 to {max}"));
            }
            match lane.parse::<LaneKey>() {
                Ok(lane) => {
                    weights.insert(lane, weight);
                }
                Err(why) => refuse(format!("the name of a lane {why}")),
            }
        }
        weights
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(draft: Draft) -> Vec<&'static str> {
        let wrong = draft.judge().err().unwrap_or_default();
        wrong.iter().map(|member| member.member).collect()
    }

    #[test]
    fn a_policy_is_judged_whole_and_each_member_at_its_limits() {
        assert_eq!(Draft::default().judge(), Ok(Policy::default()));
        let second = Duration::from_secs(1);
        let bad = Draft {
            concurrency: Some(0),
            concurrency_per_lane: Some(limits::CONCURRENCY_MAX + 1),
            max_attempts: Some(101),
            retry_factor: Some(f64::NAN),
            retry_initial: Some(2 * second),
            retry_max: Some(second),
            lease: Some(limits::LEASE_MAX + second),
            attempt_timeout: Some(Duration::ZERO),
            deadline: Some(limits::HORIZON_MAX + second),
            retention: Some(Duration::ZERO),
            capacity: Some(limits::QUEUE_CAPACITY_MAX + 1),
            capacity_per_ip: Some(0),
            lane_weights: vec![("a".to_owned(), limits::LANE_WEIGHT_MAX + 1)],
            ..Draft::default()
        };
        let all = [
            "concurrency",
            "concurrency_per_lane",
            "retry.max_attempts",
            "retry.factor",
            "retry.max",
            "lease",
            "attempt_timeout",
            "deadline",
            "retention",
            "capacity",
            "capacity_per_ip",
            "lane_weights",
        ];
        assert_eq!(wrong(bad), all);
        let good = Draft {
            concurrency: Some(limits::CONCURRENCY_MAX),
            retry_factor: Some(limits::RETRY_FACTOR_MAX),
            retry_initial: Some(600 * second),
            lease: Some(limits::LEASE_MIN),
            attempt_timeout: Some(limits::SPAN_MIN),
            capacity: Some(limits::QUEUE_CAPACITY_MAX),
            lane_weights: vec![("a".to_owned(), limits::LANE_WEIGHT_MAX)],
            ..Draft::default()
        };
        let policy = good.judge().expect("all is within its limits");
        assert_eq!(policy.retry.max, 600 * second, "a long first wait moves the longest one");
    }
}
