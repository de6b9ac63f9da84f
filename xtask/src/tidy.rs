//! `cargo xtask tidy`: the house rules that no compiler knows, each a small pure check of the tree.
//!
//! A check reads the [`Tree`] and reports `path:line: rule: what to do`. Not here: what clippy
//! (function length, unwrap) or a crate's own golden test (OpenAPI,
//! lifecycle table) already checks.
//!
//! A line may be excused by a comment on it or on the line before, `// tidy: allow(rule): reason`;
//! an excuse that excuses nothing is itself refused, so that none outlives its cause.

use std::fmt;

use anyhow::bail;

use crate::run;

mod conflicts;
mod errors;
mod floors;
mod leaks;
mod length;
mod lexer;
mod lines;
mod manifests;
mod names;
mod pitfalls;
mod source;
pub(crate) mod tree;

use tree::Tree;

/// Checks the repository and prints what is wrong.
///
/// # Errors
/// Where a rule is broken or the tree cannot be read.
pub(crate) fn tidy() -> anyhow::Result<()> {
    let report = check(&Tree::load(run::root())?);
    for violation in &report.violations {
        eprintln!("{violation}");
    }
    for note in &report.notes {
        eprintln!("note: {note}");
    }
    match report.violations.len() {
        0 => Ok(()),
        1 => bail!("tidy found 1 broken rule"),
        count => bail!("tidy found {count} broken rules"),
    }
}

fn check(tree: &Tree) -> Report {
    let mut report = Report::default();
    floors::check(tree, &mut report);
    manifests::check(tree, &mut report);
    length::check(tree, &mut report);
    errors::check(tree, &mut report);
    lines::check(tree, &mut report);
    names::check(tree, &mut report);
    pitfalls::check(tree, &mut report);
    leaks::check(tree, &mut report);
    conflicts::check(tree, &mut report);
    report.violations.sort();
    report
}

/// What the checks found.
#[derive(Default)]
struct Report {
    violations: Vec<Violation>,
    /// Figures worth seeing that break no rule.
    notes: Vec<String>,
}

impl Report {
    /// Adds a broken rule. `line` counts from 1.
    fn add(&mut self, path: &str, line: usize, rule: &'static str, what: impl Into<String>) {
        let path = path.to_owned();
        self.violations.push(Violation { path, line, rule, what: what.into() });
    }
}

/// One broken rule; sorted as it is read: by file, then line.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    path: String,
    line: usize,
    rule: &'static str,
    what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.rule, self.what)
    }
}

/// Runs one check over a small tree and gives `path:line: rule` of each violation.
#[cfg(test)]
fn found(check: fn(&Tree, &mut Report), files: &[(&str, &str)]) -> Vec<String> {
    let mut report = Report::default();
    check(&Tree::of(files), &mut report);
    report.violations.sort();
    report.violations.iter().map(|v| format!("{}:{}: {}", v.path, v.line, v.rule)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_is_one_line_that_says_what_to_do() {
        let mut report = Report::default();
        report.add("crates/core/src/lib.rs", 3, "clock", "take the time as an argument");
        assert_eq!(
            report.violations[0].to_string(),
            "crates/core/src/lib.rs:3: clock: take the time as an argument"
        );
    }
}
