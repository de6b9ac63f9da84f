//! Policies as they travel, both ways. What is left out has its default.

use std::time::Duration;

use relais_api::{Policy as Document, Span};
use relais_core::policy::Draft;
use relais_core::{Order, Policy, Rate};

use crate::answer::problem::Refusal;

/// The policy that a document says.
///
/// # Errors
/// Names the first member that is not valid.
pub(super) fn from_document(document: Document) -> Result<Policy, Refusal> {
    draft(document).judge().map_err(|wrong| match wrong.first() {
        Some(first) => Refusal::field(&format!("/{}", first.member.replace('.', "/")), &first.why),
        None => Refusal::internal("a policy was refused without a reason"),
    })
}

fn draft(document: Document) -> Draft {
    let retry = document.retry.unwrap_or_default();
    Draft {
        concurrency: document.concurrency,
        concurrency_per_lane: document.concurrency_per_lane,
        rate: document.rate.map(rate),
        rate_per_lane: document.rate_per_lane.map(rate),
        order: document.order.map(|order| match order {
            relais_api::Order::Strict => Order::Strict,
            relais_api::Order::Fair => Order::Fair,
        }),
        max_attempts: retry.max_attempts,
        retry_initial: retry.initial.map(Span::as_duration),
        retry_max: retry.max.map(Span::as_duration),
        retry_factor: retry.factor,
        lease: document.lease.map(Span::as_duration),
        attempt_timeout: document.attempt_timeout.map(Span::as_duration),
        deadline: document.deadline.map(Span::as_duration),
        retention: document.retention.map(Span::as_duration),
        capacity: document.capacity,
        capacity_per_ip: document.capacity_per_ip,
        lane_weights: document.lane_weights.into_iter().collect(),
    }
}

fn rate(rate: relais_api::Rate) -> Rate {
    Rate { count: rate.count(), period: rate.period().as_duration() }
}

fn travelling_rate(rate: Rate) -> Option<relais_api::Rate> {
    relais_api::Rate::new(rate.count, travelling(rate.period))
}

/// The document that says a policy.
#[must_use]
pub(super) fn to_document(policy: &Policy) -> Document {
    Document {
        concurrency: policy.concurrency,
        concurrency_per_lane: policy.concurrency_per_lane,
        rate: policy.rate.and_then(travelling_rate),
        rate_per_lane: policy.rate_per_lane.and_then(travelling_rate),
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
