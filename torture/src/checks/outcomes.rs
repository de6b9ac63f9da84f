//! Outcomes: what was settled is what is recorded, and what comes back is what was handed in.

use std::collections::HashMap;

use crate::facts::{Event, Fact, Facts};
use crate::ledger::{Asked, Call, Lease, Ledger, Outcome, Said};
use crate::scene::Door;
use crate::script::Script;
use crate::settle::result_of;
use crate::upstream::{answer_bytes, index_of_answer};
use crate::verdict::{Check, Verdict};
use crate::wire::Answer;

/// What the ledger has of each task.
struct Index<'a> {
    ledger: &'a Ledger,
    calls: HashMap<&'a str, Vec<usize>>,
    leases: HashMap<&'a str, Vec<&'a Lease>>,
}

impl<'a> Index<'a> {
    fn of(ledger: &'a Ledger) -> Self {
        let mut index = Self { ledger, calls: HashMap::new(), leases: HashMap::new() };
        for (place, call) in ledger.calls.iter().enumerate() {
            index.calls.entry(&call.task).or_default().push(place);
        }
        for lease in ledger.leases.values() {
            index.leases.entry(&lease.task).or_default().push(lease);
        }
        index
    }

    /// The calls of a task, the last one first.
    fn calls_of(&self, task: &str) -> impl Iterator<Item = (usize, &'a Call)> {
        let places = self.calls.get(task).map(Vec::as_slice).unwrap_or_default();
        places.iter().rev().map(|place| (*place, &self.ledger.calls[*place]))
    }
}

pub(super) fn check(ledger: &Ledger, facts: &Facts, life: u32, verdict: &mut Verdict) {
    let index = Index::of(ledger);
    for lease in ledger.leases.values() {
        let Some(fact) = facts.tasks.get(&lease.task).filter(|fact| fact.is_there()) else {
            continue;
        };
        check_lease(lease, fact, verdict);
    }
    for (id, fact) in facts.tasks.iter().filter(|(_, fact)| fact.is_there()) {
        let Some(intent) = ledger.intent_of(id) else { continue };
        if intent.door == Door::Work {
            check_worked(&index, id, fact, verdict);
        } else {
            check_pushed(&index, id, fact, verdict);
            check_unknown(&index, id, fact, life, verdict);
        }
    }
}

/// How an attempt ended, as its log says.
fn end_of(log: &[Event], attempt: u64) -> Vec<&Event> {
    let of_attempt = log.iter().filter(|event| event.attempt == attempt);
    of_attempt
        .filter(|event| match event.kind.as_str() {
            "succeeded" | "attempt_failed" => true,
            "requeued" => event.text("reason") == "released",
            _ => false,
        })
        .collect()
}

fn check_lease(lease: &Lease, fact: &Fact, verdict: &mut Verdict) {
    let id = Some(lease.task.as_str());
    let attempt = lease.attempt;
    let is_started =
        fact.log.iter().any(|event| event.kind == "started" && event.attempt == attempt);
    verdict.note(Check::Leases, id, is_started, || {
        format!("attempt {attempt} was leased, and its start is not in the log")
    });
    let Some(settle) = lease.settles.iter().find(|settle| settle.said == Said::Recorded) else {
        return;
    };
    let expected = match settle.outcome {
        Outcome::Succeed(_) => "succeeded",
        Outcome::Fail { .. } => "attempt_failed",
        Outcome::Release => "requeued",
    };
    let ends = end_of(&fact.log, attempt);
    let is_recorded = ends.len() == 1 && ends[0].kind == expected;
    verdict.note(Check::Settles, id, is_recorded, || {
        let kinds: Vec<&str> = ends.iter().map(|event| event.kind.as_str()).collect();
        format!(
            "attempt {attempt} settled {:?}, answered 200; its log says {kinds:?}",
            settle.outcome
        )
    });
    if settle.outcome == (Outcome::Fail { retryable: false }) {
        let ends_run = ends.first().is_none_or(|event| event.text("run_at").is_empty());
        verdict.note(Check::Settles, id, ends_run, || {
            format!("attempt {attempt} failed for good, and is tried again")
        });
    }
}

/// The result of a task that workers ran.
fn check_worked(index: &Index<'_>, id: &str, fact: &Fact, verdict: &mut Verdict) {
    if fact.status() != "succeeded" {
        return;
    }
    let last = fact.log.iter().rev().find(|event| event.kind == "succeeded");
    let attempt = last.map_or(0, |event| event.attempt);
    let leases = index.leases.get(id).map(Vec::as_slice).unwrap_or_default();
    let settles: Vec<_> = leases
        .iter()
        .filter(|lease| lease.attempt == attempt)
        .flat_map(|lease| &lease.settles)
        .filter(|settle| !matches!(settle.said, Said::Refused(_)))
        .collect();
    let recorded = settles.iter().find(|settle| settle.said == Said::Recorded);
    let candidates = recorded.map_or(&settles[..], std::slice::from_ref);
    let results: Vec<String> = candidates
        .iter()
        .filter_map(|settle| match settle.outcome {
            Outcome::Succeed(salt) => Some(result_of(id, attempt, salt)),
            Outcome::Fail { .. } | Outcome::Release => None,
        })
        .collect();
    verdict.note(Check::Fences, Some(id), !results.is_empty(), || {
        format!("it succeeded by attempt {attempt}, of which nobody said so")
    });
    let got = fact.result.as_ref().map_or(&[][..], |answer| &answer.body[..]);
    let is_same = results.iter().any(|result| result.as_bytes() == got);
    verdict.note(Check::Results, Some(id), results.is_empty() || is_same, || {
        let shown = String::from_utf8_lossy(got);
        format!("its result is {shown}, recorded was {results:?}")
    });
}

/// The result of a task that an upstream ran: the answer of its last call, and no other.
fn check_pushed(index: &Index<'_>, id: &str, fact: &Fact, verdict: &mut Verdict) {
    let Some(result) = &fact.result else { return };
    let is_answer = fact.status() == "succeeded" || result.field("relais-origin") == "upstream";
    if is_answer {
        let same = same_as_call(index, id, result);
        verdict.note(Check::Results, Some(id), same.is_ok(), || same.err().unwrap_or_default());
    }
    let direct = index.ledger.tasks.get(id).and_then(|task| task.direct);
    if let Some(direct) = direct {
        let stored = index_of_answer(&result.body);
        verdict.note(Check::Results, Some(id), stored == Some(direct), || {
            format!("its submitter was given the answer of call {direct}, stored is {stored:?}")
        });
    }
}

fn same_as_call(index: &Index<'_>, id: &str, result: &Answer) -> Result<(), String> {
    let is_refusal = |call: &Call| matches!(call.answered, Some(425 | 429 | 503));
    let last = index.calls_of(id).find(|(_, call)| !is_refusal(call));
    // All attempts may have been refused: then the last refusal is the outcome.
    if result.status == 503 && result.body[..] == *b"busy" {
        return Ok(());
    }
    let Some((index, call)) = last else {
        return Err("it has a result, and no upstream was ever called".to_owned());
    };
    let head = answer_bytes(&call.name, index, 0).len();
    let len = call.answer_len.saturating_sub(head);
    let expected = answer_bytes(&call.name, index, len);
    if call.answered != Some(result.status) {
        return Err(format!(
            "its upstream answered {:?} in call {index}, its result says {}",
            call.answered, result.status
        ));
    }
    if result.body[..] != expected {
        return Err(format!(
            "its result has {} bytes, of call {:?}; its upstream answered {} in call {index}",
            result.body.len(),
            index_of_answer(&result.body),
            expected.len()
        ));
    }
    Ok(())
}

/// An answer is only lost where a server died, a hand stopped it, or the upstream gave none.
fn check_unknown(index: &Index<'_>, id: &str, fact: &Fact, life: u32, verdict: &mut Verdict) {
    if fact.code() != "outcome-unknown" {
        return;
    }
    let ledger = index.ledger;
    let (Some(intent), Some(known)) = (ledger.intent_of(id), ledger.tasks.get(id)) else { return };
    let last = index.calls_of(id).next().map(|(_, call)| call);
    let died = last.is_none_or(|call| call.life < life);
    let is_explained = died || intent.script == Script::Drop || known.cancel != Asked::No;
    verdict.note(Check::Results, Some(id), is_explained, || {
        format!(
            "its answer ({:?}) is lost although nobody died",
            last.and_then(|call| call.answered)
        )
    });
}
