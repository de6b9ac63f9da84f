//! `[queue.x]`: what a queue allows its tasks.

use std::ops::Range;
use std::time::Duration;

use relais_api::Span;
use relais_api::queue::{Order as OrderWord, Rate as RateText};
use relais_core::policy::{Draft, InvalidMember, check_concurrency};
use relais_core::time::InWords;
use relais_core::{Order, Policy, Rate};
use toml::Spanned;

use super::file::{Given, Queue};
use super::problem::Report;

/// The policy that a table says; `what` names it, as `[queue.imports]`.
pub(super) fn resolve(
    table: &Queue,
    what: &str,
    report: &mut Report<'_>,
    warnings: &mut Vec<String>,
) -> Policy {
    match draft(table).judge() {
        Ok(policy) => {
            second_looks(&policy, what, warnings);
            policy
        }
        Err(wrong) => {
            for member in wrong {
                let field = format!("{what} {}", member.member);
                report.at(place_of(table, &member), field, member);
            }
            Policy::default()
        }
    }
}

fn draft(table: &Queue) -> Draft {
    let weights = table.lane_weights.iter();
    Draft {
        concurrency: value(&table.concurrency),
        concurrency_per_lane: value(&table.concurrency_per_lane),
        rate: value(&table.rate).map(rate),
        rate_per_lane: value(&table.rate_per_lane).map(rate),
        order: value(&table.order).map(|order| match order {
            OrderWord::Strict => Order::Strict,
            OrderWord::Fair => Order::Fair,
        }),
        max_attempts: value(&table.retry.max_attempts),
        retry_initial: value(&table.retry.initial).map(Span::as_duration),
        retry_max: value(&table.retry.max).map(Span::as_duration),
        retry_factor: value(&table.retry.factor),
        lease: value(&table.lease).map(Span::as_duration),
        attempt_timeout: value(&table.attempt_timeout).map(Span::as_duration),
        deadline: value(&table.deadline).map(Span::as_duration),
        retention: value(&table.retention).map(Span::as_duration),
        capacity: value(&table.capacity),
        capacity_per_ip: value(&table.capacity_per_ip),
        lane_weights: weights
            .map(|(lane, weight)| (lane.get_ref().clone(), *weight.get_ref()))
            .collect(),
    }
}

fn value<T: Copy>(given: &Given<T>) -> Option<T> {
    given.as_ref().map(|given| *given.get_ref())
}

/// Where a member stands in the file.
fn place_of(table: &Queue, member: &InvalidMember) -> Range<usize> {
    fn of<T>(given: &Given<T>) -> Range<usize> {
        given.as_ref().map(Spanned::span).unwrap_or_default()
    }
    match member.member {
        "concurrency" => of(&table.concurrency),
        "concurrency_per_lane" => of(&table.concurrency_per_lane),
        "retry.max_attempts" => of(&table.retry.max_attempts),
        "retry.initial" => of(&table.retry.initial),
        "retry.max" => of(&table.retry.max),
        "retry.factor" => of(&table.retry.factor),
        "lease" => of(&table.lease),
        "attempt_timeout" => of(&table.attempt_timeout),
        "deadline" => of(&table.deadline),
        "retention" => of(&table.retention),
        "capacity" => of(&table.capacity),
        "capacity_per_ip" => of(&table.capacity_per_ip),
        _ => {
            let weight = member.place.and_then(|place| table.lane_weights.values().nth(place));
            weight.map(Spanned::span).unwrap_or_default()
        }
    }
}

fn second_looks(policy: &Policy, what: &str, warnings: &mut Vec<String>) {
    if policy.order == Order::Strict && policy.concurrency_per_lane.is_some_and(|lane| lane > 1) {
        warnings.push(format!(
            "{what}: with order = \"strict\" one task of a lane runs at a time, whatever \
             concurrency_per_lane says"
        ));
    }
    if policy.attempt_timeout > policy.deadline {
        let max = InWords(policy.deadline);
        warnings.push(format!("{what}: attempt_timeout is longer than deadline, which ends it first: set attempt_timeout to at most {max}"));
    }
    if policy.retention < Duration::from_secs(60) {
        warnings.push(format!(
            "{what}: a result is kept for less than a minute; a client that polls may miss it"
        ));
    }
}

/// A count that would stop everything if it were 0.
pub(super) fn at_least_one(
    given: Option<&Spanned<u32>>,
    field: &str,
    report: &mut Report<'_>,
) -> Option<u32> {
    let given = given?;
    report.take(given.span(), field, check_concurrency(*given.get_ref()))
}

/// A rate as the rules count it.
pub(super) const fn rate(rate: RateText) -> Rate {
    Rate { count: rate.count(), period: rate.period().as_duration() }
}
