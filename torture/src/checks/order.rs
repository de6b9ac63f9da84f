//! Strict lanes: the next starts only when the one before is over, and in the order of arrival.

use std::collections::HashMap;

use crate::facts::{Event, Fact, Facts};
use crate::ledger::Ledger;
use crate::scene::{Door, lane_name};
use crate::verdict::{Check, Verdict};

pub(super) fn check(ledger: &Ledger, facts: &Facts, verdict: &mut Verdict) {
    for (lane, names) in &ledger.strict {
        check_logs(ledger, facts, names, verdict);
        check_calls(ledger, *lane, names, verdict);
    }
}

/// By their logs.
fn check_logs(ledger: &Ledger, facts: &Facts, names: &[String], verdict: &mut Verdict) {
    let fact_of = |name: &String| -> Option<(&str, &Fact)> {
        let id = ledger.intents.get(name)?.ids.first()?;
        Some((id, facts.tasks.get(id).filter(|fact| fact.is_there())?))
    };
    let tasks: Vec<(&str, &Fact)> = names.iter().filter_map(fact_of).collect();
    for pair in tasks.windows(2) {
        let ((before, one), (id, next)) = (pair[0], pair[1]);
        let started = next.log.iter().find(|event| event.kind == "started");
        let ended = one.log.last().filter(|_| one.is_over());
        let is_clear = |event: &&Event| ledger.came_once(&event.at);
        if !started.iter().chain(&ended).all(is_clear) {
            continue;
        }
        if let Some(started) = started {
            let holds = ended.is_some_and(|ended| ended.at <= started.at);
            verdict.note(Check::Strict, Some(id), holds, || {
                let end = ended.map_or("not yet", |ended| &ended.at);
                format!(
                    "it started at {}; {before}, before it in its lane, ended {end}",
                    started.at
                )
            });
        }
    }
}

/// By what reached the upstream.
fn check_calls(ledger: &Ledger, lane: usize, names: &[String], verdict: &mut Verdict) {
    let places: HashMap<&str, usize> =
        names.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
    let lane = lane_name(Door::Strict, lane);
    let of_lane = |call: &&crate::ledger::Call| call.door == Door::Strict && call.lane == lane;
    let calls: Vec<_> = ledger.calls.iter().filter(of_lane).collect();
    for pair in calls.windows(2) {
        let (one, next) = (pair[0], pair[1]);
        if let (Some(before), Some(after)) =
            (places.get(one.name.as_str()), places.get(next.name.as_str()))
        {
            verdict.note(Check::Strict, Some(&next.task), before <= after, || {
                format!("it was called after {}, which came in later", one.task)
            });
        }
        let overlaps = one.life == next.life && one.ended.is_none_or(|ended| ended > next.begun);
        verdict.note(Check::Strict, Some(&next.task), !overlaps, || {
            format!("it was called while {} of its lane still ran", one.task)
        });
    }
}
