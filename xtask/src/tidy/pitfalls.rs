//! `docs/pitfalls.md` says for each known way to fail which test guards against it.
//!
//! A row is `| P1 | what happened | tests |`. Its tests are names in backticks, or one of two
//! words: `owed` (this stage owes them) and `later` (a later stage does).

use std::collections::{BTreeMap, BTreeSet};

use super::Report;
use super::source::names_after;
use super::tree::Tree;

/// Refuses missing rows, rows that name no test, and names that no function has.
pub(super) fn check(tree: &Tree, report: &mut Report) {
    let Some(text) = tree.file(TABLE) else {
        report.add(TABLE, 1, "pitfalls", "the table is missing");
        return;
    };
    let functions: BTreeSet<&str> =
        tree.sources().flat_map(|source| names_after(&source.code, "fn")).collect();
    let mut seen = BTreeMap::new();
    let mut counts = [("owed", 0_usize), ("later", 0), ("tested", 0)];
    for (index, line) in text.lines().enumerate() {
        let Some((number, tests)) = row(line) else { continue };
        let line = index + 1;
        if seen.insert(number, line).is_some() || !(1..=LAST).contains(&number) {
            report.add(TABLE, line, "pitfalls", format!("P{number}: one row for each 1..={LAST}"));
        }
        let kind = if tests == "owed" || tests == "later" { tests } else { "tested" };
        if let Some((_, count)) = counts.iter_mut().find(|(name, _)| *name == kind) {
            *count += 1;
        }
        if kind == "tested" {
            check_names(line, tests, &functions, report);
        }
    }
    for number in (1..=LAST).filter(|number| !seen.contains_key(number)) {
        report.add(TABLE, 1, "pitfalls", format!("P{number} has no row"));
    }
    let said = counts.map(|(name, count)| format!("{count} {name}"));
    report.notes.push(format!("pitfalls: {}", said.join(", ")));
}

fn check_names(line: usize, tests: &str, functions: &BTreeSet<&str>, report: &mut Report) {
    let names: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
    if names.is_empty() {
        let what = "name the test in backticks, or say owed or later";
        report.add(TABLE, line, "pitfalls", what);
    }
    for name in names {
        let function = name.rsplit("::").next().unwrap_or(name);
        if !functions.contains(function) {
            report.add(TABLE, line, "pitfalls", format!("no test is called {function}"));
        }
    }
}

/// The number and the last cell of a row of the table.
fn row(line: &str) -> Option<(u32, &str)> {
    let mut cells = line.strip_prefix("| P")?.trim_end().strip_suffix('|')?.split('|');
    let number = cells.next()?.trim().parse().ok()?;
    Some((number, cells.next_back()?.trim()))
}

const TABLE: &str = "docs/pitfalls.md";
const LAST: u32 = 81;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::found;

    fn table(first: &str) -> String {
        let rest: String = (2..=LAST).map(|n| format!("| P{n} | what | later |\n")).collect();
        format!("# Pitfalls\n| # | what | test |\n|---|---|---|\n{first}{rest}")
    }

    fn of(first: &str) -> Vec<String> {
        let test = "#[test]\nfn a_lease_ends() {}\n";
        found(check, &[("docs/pitfalls.md", &table(first)), ("crates/core/tests/it/a.rs", test)])
    }

    #[test]
    fn a_row_names_a_test_that_exists_or_says_when() {
        assert!(of("| P1 | killed | owed |\n").is_empty());
        assert!(
            of("| P1 | killed | `a_lease_ends`, `relais_core::it::a_lease_ends` |\n").is_empty()
        );
    }

    #[test]
    fn other_rows_are_refused() {
        for row in ["| P1 | killed | `gone` |\n", "| P1 | killed | soon |\n"] {
            assert_eq!(of(row), ["docs/pitfalls.md:4: pitfalls"], "{row}");
        }
        assert_eq!(of(""), ["docs/pitfalls.md:1: pitfalls"]);
        assert_eq!(of("| P1 | a | owed |\n| P1 | b | owed |\n"), ["docs/pitfalls.md:5: pitfalls"]);
    }
}
