//! A log is one possible life of a task: numbers, times, and what may follow what.

use crate::facts::{Event, Facts};
use crate::ledger::{Follow, Ledger};
use crate::verdict::{Check, Verdict};

pub(super) fn check(ledger: &Ledger, facts: &Facts, verdict: &mut Verdict) {
    for (id, fact) in facts.tasks.iter().filter(|(_, fact)| fact.is_there()) {
        if !ledger.tasks.contains_key(id) {
            continue;
        }
        let order = order_of(&fact.log);
        verdict.note(Check::Order, Some(id), order.is_ok(), || text_of(&order));
        let early = start_of(&fact.log);
        verdict.note(Check::Early, Some(id), early.is_ok(), || text_of(&early));
        if !fact.is_over() {
            // It went on between the reading of the task and that of its log.
            continue;
        }
        let life = life_of(&fact.log, fact.status());
        verdict.note(Check::OneLife, Some(id), life.is_ok(), || text_of(&life));
        let last = fact.log.last().map_or(0, |event| event.seq);
        let version = fact.task["version"].as_u64().unwrap_or(0);
        verdict.note(Check::Order, Some(id), last == version, || {
            format!("its version is {version}, the last event of its log {last}")
        });
    }
    for follow in &ledger.follows {
        check_follow(follow, facts, verdict);
    }
}

/// What a follower saw over all its connections is the log: nothing twice, nothing skipped but
/// thinned progress, nothing that was not kept.
fn check_follow(follow: &Follow, facts: &Facts, verdict: &mut Verdict) {
    let Some(fact) = facts.tasks.get(&follow.task).filter(|fact| fact.is_there()) else { return };
    let seen = followed(&follow.seen, &fact.log);
    verdict.note(Check::Streams, Some(&follow.task), seen.is_ok(), || text_of(&seen));
}

fn followed(seen: &[(u64, String)], log: &[Event]) -> Result<(), String> {
    if let Some(pair) = seen.windows(2).find(|pair| pair[1].0 <= pair[0].0) {
        return Err(format!("a follower was sent event {} after {}", pair[1].0, pair[0].0));
    }
    let last = seen.last().map_or(0, |(seq, _)| *seq);
    let is_kept = |kind: &str| kind != "progressed";
    let sent: Vec<(u64, &str)> = seen
        .iter()
        .map(|(seq, kind)| (*seq, kind.as_str()))
        .filter(|(_, kind)| is_kept(kind))
        .collect();
    let kept: Vec<(u64, &str)> = log
        .iter()
        .filter(|event| event.seq <= last && is_kept(&event.kind))
        .map(|event| (event.seq, event.kind.as_str()))
        .collect();
    if sent == kept {
        Ok(())
    } else {
        Err(format!("a follower was sent {sent:?}, kept are {kept:?}"))
    }
}

fn text_of(found: &Result<(), String>) -> String {
    found.as_ref().err().cloned().unwrap_or_default()
}

/// Numbers rise from 1, with gaps only where progress was thinned; times never go back.
fn order_of(log: &[Event]) -> Result<(), String> {
    let first = log.first().map_or(0, |event| event.seq);
    if first != 1 {
        return Err(format!("its log begins with {first}"));
    }
    for (index, pair) in log.windows(2).enumerate() {
        let (one, next) = (&pair[0], &pair[1]);
        if next.seq <= one.seq {
            return Err(format!("event {} follows event {}", next.seq, one.seq));
        }
        // Thinned progress is one that a later one follows.
        let rest = &log[index + 1..];
        if next.seq > one.seq + 1 && !rest.iter().any(|event| event.kind == "progressed") {
            return Err(format!("between {} and {} something is missing", one.seq, next.seq));
        }
        if next.at < one.at {
            return Err(format!("event {} is at {}, before {}", next.seq, next.at, one.at));
        }
    }
    Ok(())
}

/// Where a task stands between two events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    Nowhere,
    Queued,
    Running,
    /// Its last attempt failed for good: the outcome follows.
    Falling,
    Over,
}

/// What may follow what; one outcome a run; the last is the status.
fn life_of(log: &[Event], status: &str) -> Result<(), String> {
    use Stand::{Falling, Nowhere, Over, Queued, Running};
    let (mut stand, mut attempt, mut outcome) = (Nowhere, 0, String::new());
    for event in log {
        let kind = event.kind.as_str();
        let then = match (stand, kind) {
            (Nowhere, "accepted") => Queued,
            (Queued, "started") if event.attempt == attempt + 1 => {
                attempt = event.attempt;
                Running
            }
            (Running, "progressed" | "output") => Running,
            (Running, "attempt_failed") if event.text("run_at").is_empty() => Falling,
            (Running, "attempt_failed") => Queued,
            (Running, "requeued") if event.text("reason") == "released" => Queued,
            (Running, "succeeded") | (Falling | Queued, "failed") => Over,
            (Queued | Running, "canceled") => Over,
            (Over, "requeued") if event.text("reason") == "retried" && outcome != "succeeded" => {
                Queued
            }
            _ => {
                let seq = event.seq;
                return Err(format!("event {seq} `{kind}` cannot follow here ({stand:?})"));
            }
        };
        if then == Over {
            outcome = event.kind.clone();
        }
        stand = then;
    }
    let expected = match stand {
        Over => outcome.as_str(),
        Queued => "queued",
        Running => "running",
        Nowhere | Falling => "",
    };
    if expected == status {
        Ok(())
    } else {
        Err(format!("its log ends {stand:?} {outcome}, it is {status}"))
    }
}

/// No attempt starts before the moment that the event before it named.
fn start_of(log: &[Event]) -> Result<(), String> {
    let mut run_at = String::new();
    for event in log {
        match event.kind.as_str() {
            "accepted" | "attempt_failed" | "requeued" => {
                event.text("run_at").clone_into(&mut run_at);
            }
            "started" if event.at < run_at => {
                return Err(format!(
                    "event {} started at {}, not after {run_at}",
                    event.seq, event.at
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(seq: u64, kind: &str, attempt: u64, data: &Value) -> Event {
        let at = format!("2026-01-01T00:00:{seq:02}.000Z");
        Event::read(&json!({"seq": seq, "type": kind, "at": at, "attempt": attempt, "data": data}))
    }

    fn log(kinds: &[&str]) -> Vec<Event> {
        let mut attempt = 0;
        let events = kinds.iter().zip(1..).map(|(kind, seq)| {
            attempt += u64::from(*kind == "started");
            match *kind {
                "retry" => event(seq, "attempt_failed", attempt, &json!({"run_at": "2026-01-01"})),
                "retried" | "released" => event(seq, "requeued", attempt, &json!({"reason": kind})),
                _ => event(seq, kind, attempt, &json!({})),
            }
        });
        events.collect()
    }

    #[test]
    fn possible_lives_pass() {
        for (kinds, status) in [
            (&["accepted"][..], "queued"),
            (&["accepted", "started", "progressed", "succeeded"], "succeeded"),
            (&["accepted", "started", "retry", "started", "attempt_failed", "failed"], "failed"),
            (&["accepted", "failed"], "failed"),
            (&["accepted", "canceled", "retried", "started", "released"], "queued"),
        ] {
            assert_eq!(life_of(&log(kinds), status), Ok(()), "{kinds:?}");
            assert_eq!(order_of(&log(kinds)), Ok(()), "{kinds:?}");
        }
    }

    #[test]
    fn impossible_lives_are_found() {
        for (kinds, status) in [
            (&["accepted", "succeeded"][..], "succeeded"),
            (&["accepted", "started", "succeeded", "succeeded"], "succeeded"),
            (&["accepted", "started", "succeeded", "retried"], "queued"),
            (&["accepted", "started", "started"], "running"),
            (&["accepted", "started", "succeeded"], "failed"),
            (&["started"], "running"),
            (&["accepted", "started", "attempt_failed"], "running"),
        ] {
            assert!(life_of(&log(kinds), status).is_err(), "{kinds:?}");
        }
    }

    #[test]
    fn missing_doubled_and_misplaced_events_are_found() {
        let whole = log(&["accepted", "started", "succeeded"]);
        let without = [whole[0].clone(), whole[2].clone()];
        assert!(order_of(&without).is_err());
        assert!(order_of(&[whole[0].clone(), whole[0].clone()]).is_err());
        assert!(order_of(&whole[1..]).is_err());
        let mut early = whole;
        early[2].at = "2025".to_owned();
        assert!(order_of(&early).is_err());
        let mut thinned = log(&["accepted", "started", "progressed", "progressed"]);
        thinned.remove(2);
        assert_eq!(order_of(&thinned), Ok(()));
    }

    #[test]
    fn a_follower_sees_what_is_kept_once_and_in_order() {
        let kept = log(&["accepted", "started", "progressed", "succeeded"]);
        let seen = |kinds: &[(u64, &str)]| -> Vec<(u64, String)> {
            kinds.iter().map(|(seq, kind)| (*seq, (*kind).to_owned())).collect()
        };
        let (one, two, four) = ((1, "accepted"), (2, "started"), (4, "succeeded"));
        for whole in [&[one, two, (3, "progressed"), four][..], &[one, two, four], &[one], &[]] {
            assert_eq!(followed(&seen(whole), &kept), Ok(()), "{whole:?}");
        }
        for broken in [&[one, four][..], &[one, one, two], &[one, two, (4, "failed")], &[two]] {
            assert!(followed(&seen(broken), &kept).is_err(), "{broken:?}");
        }
        let beyond = seen(&[one, two, four, (5, "requeued")]);
        assert!(followed(&beyond, &kept).is_err(), "sent, and not kept");
    }

    #[test]
    fn an_early_start_is_found() {
        let mut early = log(&["accepted", "started"]);
        early[0].whole["data"]["run_at"] = "2026-01-01T00:00:09.000Z".into();
        assert!(start_of(&early).is_err());
        early[1].at = "2026-01-01T00:00:09.000Z".to_owned();
        assert_eq!(start_of(&early), Ok(()));
    }
}
