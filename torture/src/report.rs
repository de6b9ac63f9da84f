//! The report: what was done, what was checked, and what did not hold, with the logs that show it.

use std::fmt::Write as _;

use crate::run::Ended;
use crate::verdict::Check;

/// The whole report.
pub(crate) fn report(ended: &Ended, seed: u64) -> String {
    let mut text = String::new();
    let counts = &ended.counts;
    let done: [(&str, u64); 20] = [
        ("kills at work", counts.kills),
        ("kills during a start", counts.kills_at_start),
        ("looks at the store by sqlite3", counts.looks),
        ("times that the clock was set", counts.clock_moves),
        ("times that the server was stopped for a while", counts.suspends),
        ("submits sent", counts.submits),
        ("  acknowledged (202, batch items, replays)", counts.acknowledged),
        ("  answered directly by the hand-over", counts.direct),
        ("  lost with the server", counts.lost),
        ("  sent again with their key", counts.sent_again),
        ("  refused by a limit", counts.refused),
        ("tasks", ended.tasks as u64),
        ("calls that reached the upstreams", ended.calls as u64),
        ("leases", counts.leases),
        ("heartbeats answered", counts.heartbeats),
        ("settles sent", counts.settles),
        ("  with a token known to be stale", counts.stale_settles),
        (
            "cancels, retries and erasures by hand",
            counts.cancels + counts.retries + counts.erasures,
        ),
        ("reads and long polls", counts.reads),
        ("events that followers were sent", counts.followed),
    ];
    _ = writeln!(text, "done (seed {seed})");
    for (what, count) in done {
        _ = writeln!(text, "  {what:<58} {count:>9}");
    }
    _ = writeln!(text, "checked{:>55} {:>9}", "cases", "wrong");
    for check in Check::ALL {
        let (cases, wrong) = (ended.verdict.checked(check), ended.verdict.failed(check));
        let mark = if wrong == 0 { ' ' } else { '!' };
        _ = writeln!(text, "{mark} {:<51} {cases:>9} {wrong:>9}", check.claim());
    }
    failures(&mut text, ended);
    text
}

fn failures(text: &mut String, ended: &Ended) {
    for violation in ended.verdict.violations() {
        let id = violation.task.as_deref().unwrap_or("no task in particular");
        _ = writeln!(text, "\nWRONG: {}\n  {id}: {}", violation.check.claim(), violation.what);
        if let Some(id) = &violation.task {
            for line in ended.facts.shown(id) {
                _ = writeln!(text, "    {line}");
            }
        }
    }
    if let Some(folder) = &ended.kept {
        _ = writeln!(text, "\nstore, configuration and log are kept in {}", folder.display());
    }
}
