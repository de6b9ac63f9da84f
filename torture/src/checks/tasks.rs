//! Each task is there, once, and as hands left it.

use crate::facts::{Fact, Facts};
use crate::ledger::{Asked, Known, Ledger};
use crate::verdict::{Check, Verdict};

pub(super) fn check(ledger: &Ledger, facts: &Facts, verdict: &mut Verdict) {
    for (id, known) in &ledger.tasks {
        let Some(fact) = facts.tasks.get(id) else { continue };
        check_there(id, known, fact, verdict);
        if fact.is_there() {
            verdict.note(Check::Ends, Some(id), fact.is_over(), || {
                format!("it is {} although everything had time to end", fact.status())
            });
            let version = fact.task["version"].as_u64().unwrap_or(0);
            verdict.note(Check::Stays, Some(id), version >= known.version, || {
                format!("it was read at version {}, and is at {version} now", known.version)
            });
            check_hands(id, known, fact, verdict);
        }
    }
    for (name, intent) in &ledger.intents {
        let most = if intent.key.is_some() { 1 } else { intent.sends.max(1) as usize };
        let first = intent.ids.first().map(String::as_str);
        verdict.note(Check::Keys, first, intent.ids.len() <= most, || {
            let count = intent.sends;
            format!(
                "{name} (key {:?}) was sent {count} times and became {:?}",
                intent.key, intent.ids
            )
        });
    }
}

fn check_there(id: &str, known: &Known, fact: &Fact, verdict: &mut Verdict) {
    let is_gone = matches!(fact.found, 404 | 410);
    match known.erase {
        Asked::Done => verdict.note(Check::Hands, Some(id), is_gone, || {
            format!("its erasure was answered 204, and it is answered {}", fact.found)
        }),
        Asked::Sent => {}
        Asked::No if known.is_acknowledged => {
            verdict.note(Check::There, Some(id), fact.is_there(), || {
                format!(
                    "its submit was answered ({}), and it is answered {}",
                    known.name, fact.found
                )
            });
        }
        Asked::No => verdict.note(Check::There, Some(id), fact.is_there(), || {
            format!("it was seen at work or in a list, and it is answered {}", fact.found)
        }),
    }
}

fn check_hands(id: &str, known: &Known, fact: &Fact, verdict: &mut Verdict) {
    if known.cancel == Asked::Done && known.retries_sent == 0 {
        verdict.note(Check::Hands, Some(id), fact.status() == "canceled", || {
            format!("its cancel was answered as done, and it is {}", fact.status())
        });
    }
    if known.retries_sent > 0 {
        let retried = fact
            .log
            .iter()
            .filter(|event| event.kind == "requeued" && event.text("reason") == "retried");
        let count = u32::try_from(retried.count()).unwrap_or(u32::MAX);
        let holds = (known.retries_done..=known.retries_sent).contains(&count);
        verdict.note(Check::Hands, Some(id), holds, || {
            format!(
                "{} retries were sent, {} answered as begun, {count} are in its log",
                known.retries_sent, known.retries_done
            )
        });
        let runs = fact.task["run"].as_u64().unwrap_or(0);
        verdict.note(Check::Hands, Some(id), runs == u64::from(count) + 1, || {
            format!("{count} retries by hand, and it is in run {runs}")
        });
    }
}
