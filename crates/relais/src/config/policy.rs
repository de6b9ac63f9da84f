//! `[queue.x]`: what a queue allows its tasks.

use std::time::Duration;

use relais_api::queue::{Order as OrderWord, Rate as RateText};
use relais_core::{LaneKey, Order, Policy, Rate, RetryPolicy, limits};
use toml::Spanned;

use super::file::{Queue, Retry};
use super::problem::Report;
use super::server::span;

/// The policy that a table says; `what` names it, as `[queue.imports]`.
pub(super) fn resolve(
    table: &Queue,
    what: &str,
    report: &mut Report<'_>,
    warnings: &mut Vec<String>,
) -> Policy {
    let defaults = Policy::default();
    let field = |name: &str| format!("{what} {name}");
    let mut policy = Policy {
        concurrency: at_least_one(table.concurrency.as_ref(), &field("concurrency"), report),
        concurrency_per_lane: at_least_one(
            table.concurrency_per_lane.as_ref(),
            &field("concurrency_per_lane"),
            report,
        ),
        rate: table.rate.as_ref().map(|rate_text| rate(*rate_text.get_ref())),
        order: match table.order.as_ref().map(|order| *order.get_ref()) {
            Some(OrderWord::Strict) => Order::Strict,
            Some(OrderWord::Fair) | None => Order::Fair,
        },
        retry: retry(&table.retry, what, report),
        lease: lease(table, what, report).unwrap_or(defaults.lease),
        attempt_timeout: span(table.attempt_timeout.as_ref(), &field("attempt_timeout"), report)
            .unwrap_or(defaults.attempt_timeout),
        deadline: span(table.deadline.as_ref(), &field("deadline"), report)
            .unwrap_or(defaults.deadline),
        retention: span(table.retention.as_ref(), &field("retention"), report)
            .unwrap_or(defaults.retention),
        ..defaults
    };
    if let Some(given) = capacity(table.capacity.as_ref(), &field("capacity"), report) {
        policy.capacity = given;
    }
    policy.capacity_per_ip =
        capacity(table.capacity_per_ip.as_ref(), &field("capacity_per_ip"), report);
    weights(table, what, &mut policy, report);
    second_looks(&policy, what, warnings);
    policy
}

fn second_looks(policy: &Policy, what: &str, warnings: &mut Vec<String>) {
    if policy.order == Order::Strict && policy.concurrency_per_lane.is_some_and(|lane| lane > 1) {
        warnings.push(format!(
            "{what}: with order = \"strict\" one task of a lane runs at a time, whatever \
             concurrency_per_lane says"
        ));
    }
    if policy.attempt_timeout > policy.deadline {
        warnings
            .push(format!("{what}: attempt_timeout is longer than deadline, which ends it first"));
    }
    if policy.retention < Duration::from_secs(60) {
        warnings.push(format!(
            "{what}: a result is kept for less than a minute; a client that polls may miss it"
        ));
    }
}

fn lease(table: &Queue, what: &str, report: &mut Report<'_>) -> Option<Duration> {
    let given = table.lease.as_ref()?;
    let lease = given.get_ref().as_duration();
    // Heartbeats come each third of it: they are shorter than any lease by construction.
    if (limits::LEASE_MIN..=limits::LEASE_MAX).contains(&lease) {
        return Some(lease);
    }
    report.at(given.span(), format!("{what} lease"), "must be from 1s to 12h");
    None
}

fn retry(table: &Retry, what: &str, report: &mut Report<'_>) -> RetryPolicy {
    let mut retry = RetryPolicy::default();
    let field = |name: &str| format!("{what} retry.{name}");
    if let Some(attempts) = &table.max_attempts {
        if !(1..=limits::ATTEMPTS_MAX).contains(attempts.get_ref()) {
            let what = format!("must be from 1 (no retry) to {}", limits::ATTEMPTS_MAX);
            report.at(attempts.span(), field("max_attempts"), what);
        }
        retry.max_attempts = *attempts.get_ref();
    }
    if let Some(initial) = span(table.initial.as_ref(), &field("initial"), report) {
        retry.initial = initial;
        // A longer first wait than the default longest one is meant as it is written.
        retry.max = retry.max.max(initial);
    }
    if let Some(given) = &table.max
        && let Some(max) = span(Some(given), &field("max"), report)
    {
        if max < retry.initial {
            report.at(given.span(), field("max"), "must not be shorter than initial");
        }
        retry.max = max;
    }
    if let Some(factor) = &table.factor {
        if !(1.0..=FACTOR_MAX).contains(factor.get_ref()) {
            report.at(
                factor.span(),
                field("factor"),
                format!("must be from 1.0 to {FACTOR_MAX:.1}"),
            );
        }
        retry.factor = *factor.get_ref();
    }
    retry
}

fn capacity(given: Option<&Spanned<u64>>, field: &str, report: &mut Report<'_>) -> Option<u64> {
    let given = given?;
    let max = limits::TENANT_CAPACITY;
    if !(1..=max).contains(given.get_ref()) {
        report.at(given.span(), field, format!("must be from 1 to {max}"));
    }
    Some(*given.get_ref())
}

fn weights(table: &Queue, what: &str, policy: &mut Policy, report: &mut Report<'_>) {
    for (lane, weight) in &table.lane_weights {
        let field = format!("{what} lane_weights");
        if !(1..=WEIGHT_MAX).contains(weight.get_ref()) {
            report.at(weight.span(), field.as_str(), format!("must be from 1 to {WEIGHT_MAX}"));
        }
        if let Some(lane) = report.parse::<LaneKey>(Some(lane), &field) {
            policy.lane_weights.insert(lane, *weight.get_ref());
        }
    }
}

/// A count that would stop everything if it were 0.
pub(super) fn at_least_one(
    given: Option<&Spanned<u32>>,
    field: &str,
    report: &mut Report<'_>,
) -> Option<u32> {
    let given = given?;
    if *given.get_ref() == 0 {
        report.at(given.span(), field, "must be 1 or more; to hold a queue, pause it");
    }
    Some(*given.get_ref())
}

/// A rate as the rules count it.
pub(super) const fn rate(rate: RateText) -> Rate {
    Rate { count: rate.count(), period: rate.period().as_duration() }
}

/// Beyond it the second wait is the longest one already.
const FACTOR_MAX: f64 = 1000.0;
const WEIGHT_MAX: u32 = 1000;
