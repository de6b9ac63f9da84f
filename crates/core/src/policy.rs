//! The policy of a queue: what its tasks may use, and how they are tried.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::name::LaneKey;
use crate::retry::RetryPolicy;

/// In which order the tasks of one lane start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Order {
    /// By priority with ageing, then by arrival.
    #[default]
    Fair,
    /// First in, first out: the next starts only after the one before it is terminal.
    Strict,
}

/// Attempt starts per period: a token bucket with a burst of one second's worth (at least one).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Starts allowed in `period`; at least 1.
    pub count: u32,
    /// The period; at least one millisecond.
    pub period: Duration,
}

/// What a queue allows its tasks. It is not copied into tasks: a change holds for those waiting, too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Leases live at once in the queue; `None` is no limit.
    pub concurrency: Option<u32>,
    /// Leases live at once in one lane; `None` is no limit.
    pub concurrency_per_lane: Option<u32>,
    /// Attempt starts per second.
    pub rate: Option<Rate>,
    /// Order within a lane.
    pub order: Order,
    /// When failed attempts are tried again.
    pub retry: RetryPolicy,
    /// How long a lease lasts without a heartbeat.
    pub lease: Duration,
    /// How long one attempt may take.
    pub attempt_timeout: Duration,
    /// How long after its first `run_at` a task must be done, unless it says otherwise itself.
    pub deadline: Duration,
    /// How long a finished task is kept, unless it says otherwise itself.
    pub retention: Duration,
    /// Tasks not yet terminal that the queue may hold.
    pub capacity: u64,
    /// Of them, tasks of one source; `None` is a quarter of the capacity.
    pub capacity_per_ip: Option<u64>,
    /// Shares of lanes; a lane without a weight has 1.
    pub lane_weights: BTreeMap<LaneKey, u32>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            concurrency: None,
            concurrency_per_lane: None,
            rate: None,
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
