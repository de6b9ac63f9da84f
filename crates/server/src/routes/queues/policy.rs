//! Policies as they travel, both ways. What is left out has its default.

use std::time::Duration;

use relais_api::{Policy as Document, Span};
use relais_core::{LaneKey, Order, Policy, Rate, RetryPolicy, limits};

use crate::problem::Refusal;

/// Longest time one attempt, or one task, may be given.
const LONGEST: Duration = limits::HORIZON_MAX;

/// The policy that a document says.
///
/// # Errors
/// Names the member that is not valid.
pub(super) fn from_document(document: Document) -> Result<Policy, Refusal> {
    let default = Policy::default();
    let retry = match &document.retry {
        Some(retry) => retry_of(retry)?,
        None => RetryPolicy::default(),
    };
    let lease = span("/lease", document.lease, default.lease, limits::LEASE_MIN, limits::LEASE_MAX);
    let second = Duration::from_secs(1);
    Ok(Policy {
        concurrency: concurrency("/concurrency", document.concurrency)?,
        concurrency_per_lane: concurrency("/concurrency_per_lane", document.concurrency_per_lane)?,
        rate: document
            .rate
            .map(|rate| Rate { count: rate.count(), period: rate.period().as_duration() }),
        order: match document.order {
            Some(relais_api::Order::Strict) => Order::Strict,
            Some(relais_api::Order::Fair) | None => Order::Fair,
        },
        retry,
        lease: lease?,
        attempt_timeout: span(
            "/attempt_timeout",
            document.attempt_timeout,
            default.attempt_timeout,
            second,
            LONGEST,
        )?,
        deadline: span("/deadline", document.deadline, default.deadline, second, LONGEST)?,
        retention: span(
            "/retention",
            document.retention,
            default.retention,
            Duration::ZERO,
            LONGEST,
        )?,
        capacity: capacity("/capacity", document.capacity)?.unwrap_or(default.capacity),
        capacity_per_ip: capacity("/capacity_per_ip", document.capacity_per_ip)?,
        lane_weights: document
            .lane_weights
            .into_iter()
            .map(|(lane, weight)| {
                if weight == 0 {
                    return Err(Refusal::field("/lane_weights", "must be at least 1"));
                }
                let lane: LaneKey =
                    lane.parse().map_err(|error| Refusal::field("/lane_weights", error))?;
                Ok((lane, weight))
            })
            .collect::<Result<_, _>>()?,
    })
}

fn retry_of(document: &relais_api::RetryPolicy) -> Result<RetryPolicy, Refusal> {
    let default = RetryPolicy::default();
    let max_attempts = document.max_attempts.unwrap_or(default.max_attempts);
    if !(1..=limits::ATTEMPTS_MAX).contains(&max_attempts) {
        let why = format!("must be from 1 to {}", limits::ATTEMPTS_MAX);
        return Err(Refusal::field("/retry/max_attempts", why));
    }
    let factor = document.factor.unwrap_or(default.factor);
    if !(1.0..=1_000.0).contains(&factor) {
        return Err(Refusal::field("/retry/factor", "must be from 1 to 1000"));
    }
    let initial =
        span("/retry/initial", document.initial, default.initial, Duration::ZERO, LONGEST)?;
    let max = span("/retry/max", document.max, default.max.max(initial), initial, LONGEST)?;
    Ok(RetryPolicy { max_attempts, initial, max, factor })
}

fn span(
    pointer: &str,
    given: Option<Span>,
    default: Duration,
    min: Duration,
    max: Duration,
) -> Result<Duration, Refusal> {
    let span = given.map_or(default, Span::as_duration);
    if (min..=max).contains(&span) {
        return Ok(span);
    }
    let (min, max) = (travelling(min), travelling(max));
    Err(Refusal::field(pointer, format_args!("must be from {min} to {max}")))
}

fn concurrency(pointer: &str, given: Option<u32>) -> Result<Option<u32>, Refusal> {
    match given {
        Some(given) if !(1..=limits::CONCURRENCY_MAX).contains(&given) => {
            let why = format!("must be from 1 to {}", limits::CONCURRENCY_MAX);
            Err(Refusal::field(pointer, why))
        }
        given => Ok(given),
    }
}

fn capacity(pointer: &str, given: Option<u64>) -> Result<Option<u64>, Refusal> {
    match given {
        Some(given) if !(1..=limits::QUEUE_CAPACITY_MAX).contains(&given) => {
            let why = format!("must be from 1 to {}", limits::QUEUE_CAPACITY_MAX);
            Err(Refusal::field(pointer, why))
        }
        given => Ok(given),
    }
}

/// The document that says a policy.
#[must_use]
pub(super) fn to_document(policy: &Policy) -> Document {
    Document {
        concurrency: policy.concurrency,
        concurrency_per_lane: policy.concurrency_per_lane,
        rate: policy
            .rate
            .and_then(|rate| relais_api::Rate::new(rate.count, travelling(rate.period))),
        order: Some(match policy.order {
            Order::Fair => relais_api::Order::Fair,
            Order::Strict => relais_api::Order::Strict,
        }),
        retry: Some(relais_api::RetryPolicy {
            max_attempts: Some(policy.retry.max_attempts),
            initial: Some(travelling(policy.retry.initial)),
            max: Some(travelling(policy.retry.max)),
            factor: Some(policy.retry.factor),
        }),
        lease: Some(travelling(policy.lease)),
        attempt_timeout: Some(travelling(policy.attempt_timeout)),
        deadline: Some(travelling(policy.deadline)),
        retention: Some(travelling(policy.retention)),
        capacity: Some(policy.capacity),
        capacity_per_ip: Some(policy.source_capacity()),
        lane_weights: policy
            .lane_weights
            .iter()
            .map(|(lane, weight)| (lane.to_string(), *weight))
            .collect(),
    }
}

/// A duration as it travels.
pub(crate) fn travelling(span: Duration) -> Span {
    Span::from_ms(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}
