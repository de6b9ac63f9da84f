//! The judgment: the ledger held against what Relais says. Pure: nothing is asked here any more.

mod calls;
mod log;
mod order;
mod outcomes;
mod tasks;

use crate::facts::Facts;
use crate::ledger::Ledger;
use crate::verdict::Verdict;

/// Judges. `life` is the number of the last process, the only one that was not killed.
pub(crate) fn judge(ledger: &Ledger, facts: &Facts, life: u32) -> Verdict {
    let mut verdict = Verdict::default();
    tasks::check(ledger, facts, &mut verdict);
    log::check(ledger, facts, &mut verdict);
    outcomes::check(ledger, facts, life, &mut verdict);
    calls::check(ledger, facts, &mut verdict);
    order::check(ledger, facts, &mut verdict);
    verdict
}
