//! Queues as operators see them: `GET` and `PUT /v1/queues/{queue}`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};

use crate::bounded;
use crate::object::object;
use crate::time::Span;
use crate::words::words;

/// Starts of attempts in a second, a minute or an hour: `"100/s"`, `"5/m"`, `"10/h"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    count: u32,
    period: Period,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Period {
    Second,
    Minute,
    Hour,
}

impl Rate {
    /// The highest count: a million.
    pub const COUNT_MAX: u32 = 1_000_000;

    /// How many in each period; at least 1.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.count
    }

    /// The period: a second, a minute or an hour.
    #[must_use]
    pub const fn period(self) -> Span {
        match self.period {
            Period::Second => Span::from_secs(1),
            Period::Minute => Span::from_secs(60),
            Period::Hour => Span::from_secs(3600),
        }
    }

    /// The rate of `count` in `period`; `None` unless the count is within `1..=COUNT_MAX` and the
    /// period is a second, a minute or an hour.
    #[must_use]
    pub fn new(count: u32, period: Span) -> Option<Self> {
        let period = match period.as_ms() {
            1000 => Period::Second,
            60_000 => Period::Minute,
            3_600_000 => Period::Hour,
            _ => return None,
        };
        (1..=Self::COUNT_MAX).contains(&count).then_some(Self { count, period })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.period {
            Period::Second => "s",
            Period::Minute => "m",
            Period::Hour => "h",
        };
        f.pad(&format!("{}/{unit}", self.count))
    }
}

/// Text that is not a rate. It is not repeated: it may be a secret in the wrong place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the text is not a rate: write a whole number from 1 to 1000000 and a period, \
     for example \"100/s\", \"5/m\" or \"10/h\""
)]
pub struct InvalidRate;

impl FromStr for Rate {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Self, InvalidRate> {
        let parse = || {
            let (count, unit) = text.split_once('/')?;
            let period = match unit {
                "s" => Period::Second,
                "m" => Period::Minute,
                "h" => Period::Hour,
                _ => return None,
            };
            // `parse` alone would also take a sign.
            let count = count.bytes().all(|byte| byte.is_ascii_digit()).then_some(count)?;
            let count: u32 = count.parse().ok()?;
            (1..=Self::COUNT_MAX).contains(&count).then_some(Self { count, period })
        };
        parse().ok_or(InvalidRate)
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RateVisitor;
        impl Visitor<'_> for RateVisitor {
            type Value = Rate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a rate such as \"100/s\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Rate, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(RateVisitor)
    }
}

impl utoipa::PartialSchema for Rate {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some("^(1000000|[1-9][0-9]{0,5})/[smh]$"))
            .description(Some("Starts of attempts in a second, a minute or an hour."))
            .examples(["100/s", "5/m"])
            .into()
    }
}

impl ToSchema for Rate {
    fn name() -> std::borrow::Cow<'static, str> {
        "Rate".into()
    }
}

words! {
    /// In which order a lane's tasks run.
    Order {
        /// By priority, then age; lanes take turns.
        Fair = "fair",
        /// One after the other, in the order they were accepted.
        Strict = "strict",
    }
}

/// When failed attempts are made again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct RetryPolicy {
    /// Attempts in all before the task fails; 1 means no retry.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100)]
    pub max_attempts: Option<u32>,
    /// The wait after the first failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial: Option<Span>,
    /// The longest wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Span>,
    /// By how much each wait is longer than the one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000)]
    pub factor: Option<f64>,
}

/// The policy of a queue: the body of `PUT`, and a part of the answer to `GET`.
///
/// `PUT` replaces it whole: what is left out has its default. `GET` leaves out only what has no
/// limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct Policy {
    /// Attempts at the same time; no limit unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 2_147_483_647_u64)]
    pub concurrency: Option<u32>,
    /// Attempts at the same time in one lane; no limit unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 2_147_483_647_u64)]
    pub concurrency_per_lane: Option<u32>,
    /// Starts of attempts, with a burst of one second; no limit unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Starts of attempts in one lane, with a burst of one second; no limit unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_per_lane: Option<Rate>,
    /// The order within a lane; `fair` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// When failed attempts are made again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// How long a lease lasts without a heartbeat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<Span>,
    /// How long one attempt may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt_timeout: Option<Span>,
    /// How long after its first `run_at` a task must be done, unless it says otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Span>,
    /// How long a terminal task is kept, unless it says otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<Span>,
    /// Tasks that are not terminal, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 10_000_000)]
    pub capacity: Option<u64>,
    /// Of them, tasks that callers without an API key hand in from one address (of IPv6: one /64),
    /// at most; a quarter of `capacity` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 10_000_000)]
    pub capacity_per_ip: Option<u64>,
    /// Shares of lanes, 1 to 1,000; a lane without one has 1.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[serde(deserialize_with = "bounded::members")]
    #[schema(required = false)]
    pub lane_weights: BTreeMap<String, u32>,
}

/// A queue as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct Queue {
    /// The name of the queue.
    pub name: String,
    /// The policy that its tasks go by.
    pub policy: Policy,
    /// Whether no attempt starts until somebody resumes it.
    pub paused: bool,
    /// Whether the operator's file defines the policy: then `PUT` is refused.
    pub defined_in_file: bool,
    /// Its tasks, by status.
    pub counts: Counts,
    /// What it gets done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throughput: Option<Throughput>,
    /// How long its tasks take: also what `eta` is computed from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
}

/// Tasks of a queue, by status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct Counts {
    /// Queued, and may run now.
    pub queued: u64,
    /// Queued, and its moment has not come.
    pub scheduled: u64,
    /// An attempt is being made.
    pub running: u64,
    /// An outside system has it.
    pub waiting: u64,
    /// Succeeded, and still kept.
    pub succeeded: u64,
    /// Failed, and still kept.
    pub failed: u64,
    /// Canceled, and still kept.
    pub canceled: u64,
}

/// Work done in a window that ends now.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct Throughput {
    /// How long the window is.
    pub window: Span,
    /// Tasks accepted in a second.
    #[schema(minimum = 0)]
    pub accepted_per_s: f64,
    /// Tasks that became terminal in a second.
    #[schema(minimum = 0)]
    pub finished_per_s: f64,
}

/// How long tasks of a queue took lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct Latency {
    /// From `run_at` to the start of the first attempt.
    pub wait: Quantiles,
    /// From the start of an attempt to its end.
    pub run: Quantiles,
}

/// A distribution in two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct Quantiles {
    /// Half took no longer.
    pub p50: Span,
    /// Nine of ten took no longer.
    pub p90: Span,
}

/// A page of the queues of a tenant that anything came into, by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct QueueList {
    /// The queues of this page.
    pub items: Vec<Queue>,
    /// Goes into `after` for the next page; left out at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

object!(RetryPolicy, Policy, Queue, QueueList, Counts, Throughput, Latency, Quantiles);
