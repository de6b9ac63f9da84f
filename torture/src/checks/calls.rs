//! What reached the upstreams: how often, when, and how many at once.

use std::collections::{BTreeMap, HashMap};

use crate::clock::{Moment, SECOND};
use crate::facts::Facts;
use crate::ledger::{Call, Ledger};
use crate::scene::{Door, ORIGIN_CONCURRENCY};
use crate::verdict::{Check, Verdict};

pub(super) fn check(ledger: &Ledger, facts: &Facts, verdict: &mut Verdict) {
    check_once(ledger, verdict);
    check_known(ledger, facts, verdict);
    check_early(ledger, verdict);
    check_caps(ledger, verdict);
}

/// A request that must not be repeated is sent again only after an answer
/// that says it was not done.
fn check_once(ledger: &Ledger, verdict: &mut Verdict) {
    let mut runs: HashMap<(&str, &str), Vec<&Call>> = HashMap::new();
    for call in ledger.calls.iter().filter(|call| !call.door.promise().repeatable) {
        runs.entry((&call.task, &call.key)).or_default().push(call);
    }
    for ((task, _), calls) in runs {
        let earlier = &calls[..calls.len() - 1];
        let holds = earlier.iter().all(|call| matches!(call.answered, Some(425 | 429 | 503)));
        verdict.note(Check::Once, Some(task), holds, || {
            let shown: Vec<String> = calls.iter().map(|call| shown(call)).collect();
            format!("an unsafe request was sent {} times: {}", calls.len(), shown.join("; "))
        });
    }
}

fn shown(call: &Call) -> String {
    let answer = match call.answered {
        Some(status) => status.to_string(),
        None => "nothing".to_owned(),
    };
    let at = call.begun / 1_000;
    format!("at {at} ms in life {} ({}), answered {answer}", call.life, call.key)
}

/// Nothing is sent of which the log does not know the start.
fn check_known(ledger: &Ledger, facts: &Facts, verdict: &mut Verdict) {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for call in &ledger.calls {
        *counts.entry(&call.task).or_default() += 1;
    }
    for (task, count) in counts {
        let Some(fact) = facts.tasks.get(task) else {
            verdict.note(Check::Leases, Some(task), false, || {
                "it was sent to an upstream, and nobody knows it".to_owned()
            });
            continue;
        };
        if fact.is_over() {
            let started = fact.log.iter().filter(|event| event.kind == "started").count();
            verdict.note(Check::Leases, Some(task), started >= count, || {
                format!("its upstream was called {count} times, {started} starts are in its log")
            });
        }
    }
}

/// By the judge's own watch, nothing starts before its delay is over.
fn check_early(ledger: &Ledger, verdict: &mut Verdict) {
    let calls = ledger.calls.iter().map(|call| (call.task.as_str(), call.begun));
    let leases = ledger.leases.values().map(|lease| (lease.task.as_str(), lease.got));
    for (task, begun) in calls.chain(leases) {
        // A retry by hand does not wait for what the first run waited for.
        if ledger.tasks.get(task).is_some_and(|task| task.retries_sent > 0) {
            continue;
        }
        let Some(intent) = ledger.intent_of(task).filter(|intent| intent.delay_ms > 0) else {
            continue;
        };
        let set_ahead = ledger.set_ahead_between(intent.first_sent, begun);
        let earliest = (intent.first_sent + intent.delay_ms * 1_000).saturating_sub(set_ahead);
        verdict.note(Check::Early, Some(task), begun + CLOCK_SLACK >= earliest, || {
            format!(
                "it was to wait {} ms, and began {} ms after it was handed in",
                intent.delay_ms,
                begun.saturating_sub(intent.first_sent) / 1_000
            )
        });
    }
}

/// A time in which something used a slot for sure.
#[derive(Debug, Clone, Copy)]
struct Span<'a> {
    task: &'a str,
    from: Moment,
    to: Moment,
}

/// Who used what: by what is limited, and for calls in which life of the server.
#[derive(Default)]
struct Users<'a> {
    limits: BTreeMap<(String, u32), (usize, Vec<Span<'a>>)>,
}

impl<'a> Users<'a> {
    fn add(&mut self, what: String, life: u32, most: Option<usize>, span: Span<'a>) {
        if let Some(most) = most
            && span.from < span.to
        {
            self.limits.entry((what, life)).or_insert((most, Vec::new())).1.push(span);
        }
    }
}

fn check_caps(ledger: &Ledger, verdict: &mut Verdict) {
    let mut users = Users::default();
    for call in &ledger.calls {
        let span = Span { task: &call.task, from: call.begun, to: end_of(ledger, call) };
        let promise = call.door.promise();
        let (queue, per_lane) = (promise.queue, promise.concurrency_per_lane);
        users.add(format!("queue {queue}"), call.life, promise.concurrency, span);
        users.add(format!("lane {}", call.lane), call.life, per_lane, span);
        let origin = format!("upstream {:?}", call.origin);
        users.add(origin, call.life, Some(ORIGIN_CONCURRENCY), span);
    }
    let work = Door::Work.promise();
    for lease in ledger.leases.values() {
        let settled = lease.settles.first().map_or(Moment::MAX, |settle| settle.sent);
        let touched = touched(ledger, &lease.task);
        // A lease outlives a kill: it counts in whichever life.
        let to = lease.live_until.saturating_sub(CLOCK_SLACK).min(settled).min(touched);
        let span = Span { task: &lease.task, from: lease.got, to };
        users.add(format!("queue {}", work.queue), 0, work.concurrency, span);
        users.add(format!("lane {}", lease.lane), 0, work.concurrency_per_lane, span);
    }
    for ((what, life), (most, spans)) in users.limits {
        let (count, who) = peak(&spans);
        verdict.note(Check::Caps, who.first().copied(), count <= most, || {
            format!("{what} may run {most} at once, and ran {count} in life {life}: {who:?}")
        });
    }
}

/// When a call ended for sure: from the first hand laid on its task on, it
/// may be stopped at any time.
fn end_of(ledger: &Ledger, call: &Call) -> Moment {
    call.ended.unwrap_or(Moment::MAX).min(touched(ledger, &call.task))
}

fn touched(ledger: &Ledger, task: &str) -> Moment {
    ledger.tasks.get(task).and_then(|task| task.touched).unwrap_or(Moment::MAX)
}

/// The most users at once, and who they were.
fn peak<'a>(spans: &[Span<'a>]) -> (usize, Vec<&'a str>) {
    let mut edges: Vec<(Moment, bool, &str)> = Vec::with_capacity(spans.len() * 2);
    for span in spans {
        edges.push((span.from, true, span.task));
        edges.push((span.to, false, span.task));
    }
    // At the same moment, who leaves makes room for who comes.
    edges.sort_unstable();
    let (mut inside, mut most) = (Vec::new(), Vec::new());
    for (_, comes, task) in edges {
        if comes {
            inside.push(task);
            if inside.len() > most.len() {
                most.clone_from(&inside);
            }
        } else if let Some(place) = inside.iter().position(|other| *other == task) {
            inside.swap_remove(place);
        }
    }
    (most.len(), most)
}

/// Rounding to milliseconds, twice, and a clock that is slewed.
const CLOCK_SLACK: Moment = SECOND / 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_that_of_overlapping_spans() {
        let span = |task, from, to| Span { task, from, to };
        let spans = [span("a", 0, 10), span("b", 10, 20), span("c", 12, 15), span("d", 14, 30)];
        let (count, who) = peak(&spans);
        assert_eq!((count, who), (3, vec!["b", "c", "d"]));
        assert_eq!(peak(&[]).0, 0);
    }
}
