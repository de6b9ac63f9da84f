//! Files stay short: 500 lines without tests, 800 for those that say why.
//!
//! The length of functions is clippy's: here it is only made sure that clippy looks.

use super::Report;
use super::tree::Tree;

/// Refuses long files, excuses for files that are no longer long, and a switched-off lint.
pub(super) fn check(tree: &Tree, report: &mut Report) {
    let excused = excused(tree, report);
    for source in tree.sources() {
        let len = source.len_without_tests();
        let is_excused = excused.iter().any(|(_, path)| *path == source.path);
        if len > LINES_HARD_MAX {
            let what = format!("{len} lines, {LINES_HARD_MAX} at the very most: split it");
            report.add(&source.path, LINES_HARD_MAX + 1, "file-length", what);
        } else if len > LINES_MAX && !is_excused {
            let what = format!("{len} lines, {LINES_MAX} at most: split it by what it knows");
            report.add(&source.path, LINES_MAX + 1, "file-length", what);
        }
    }
    for (line, path) in excused {
        let is_long = tree
            .sources()
            .any(|source| source.path == path && source.len_without_tests() > LINES_MAX);
        if !is_long {
            let what = format!("{path} is not long (any more): remove this line");
            report.add(EXCUSES, line, "file-length", what);
        }
    }
    check_lint(tree, report);
}

/// The lines of the list, `path: reason`, with their numbers.
fn excused<'a>(tree: &'a Tree, report: &mut Report) -> Vec<(usize, &'a str)> {
    let mut excused = Vec::new();
    for (line, text) in super::errors::entries(tree.file(EXCUSES).unwrap_or_default()) {
        match text.split_once(": ") {
            Some((path, reason)) if !reason.trim().is_empty() => excused.push((line, path)),
            _ => report.add(EXCUSES, line, "file-length", "write `path: reason`"),
        }
    }
    excused
}

fn check_lint(tree: &Tree, report: &mut Report) {
    let on = tree.file("Cargo.toml").and_then(|text| text.parse::<toml::Table>().ok()).is_some_and(
        |manifest| {
            let lint = manifest
                .get("workspace")
                .and_then(|table| table.get("lints"))
                .and_then(|table| table.get("clippy"))
                .and_then(|table| table.get("too_many_lines"));
            let level = lint.and_then(|lint| lint.as_str().or_else(|| lint.get("level")?.as_str()));
            matches!(level, Some("warn" | "deny" | "forbid"))
        },
    );
    if !on {
        report.add("Cargo.toml", 1, "function-length", "switch on clippy's too_many_lines");
    }
    let threshold = tree
        .file("clippy.toml")
        .and_then(|text| text.parse::<toml::Table>().ok())
        .and_then(|config| config.get("too-many-lines-threshold")?.as_integer());
    if threshold.is_none_or(|lines| lines > FUNCTION_LINES_MAX) {
        let what = format!("set too-many-lines-threshold to at most {FUNCTION_LINES_MAX}");
        report.add("clippy.toml", 1, "function-length", what);
    }
}

const LINES_MAX: usize = 500;
const LINES_HARD_MAX: usize = 800;
const FUNCTION_LINES_MAX: i64 = 70;
/// Files between the two limits: `path: reason`, one a line.
const EXCUSES: &str = "xtask/tidy/long-files.txt";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::found;

    const LINT: (&str, &str) =
        ("Cargo.toml", "[workspace.lints.clippy]\ntoo_many_lines = \"warn\"");
    const THRESHOLD: (&str, &str) = ("clippy.toml", "too-many-lines-threshold = 70");

    #[test]
    fn a_long_file_is_refused_unless_it_says_why() {
        let path = "crates/core/src/a.rs";
        let long = "fn a() {}\n".repeat(501);
        let files = [LINT, THRESHOLD, (path, &long)];
        assert_eq!(found(check, &files), [format!("{path}:501: file-length")]);
        let excuse = (EXCUSES, "# why\ncrates/core/src/a.rs: one table\n");
        assert!(found(check, &[LINT, THRESHOLD, (path, &long), excuse]).is_empty());
        let longer = "fn a() {}\n".repeat(801);
        let files = [LINT, THRESHOLD, (path, &longer), excuse];
        assert_eq!(found(check, &files), [format!("{path}:801: file-length")]);
    }

    #[test]
    fn tests_do_not_count() {
        let tests = "    fn a() {}\n".repeat(600);
        let text = format!("fn a() {{}}\n#[cfg(test)]\nmod tests {{\n{tests}}}\n");
        let files = [LINT, THRESHOLD, ("crates/core/src/a.rs", &text)];
        assert!(found(check, &files).is_empty());
    }

    #[test]
    fn an_excuse_for_a_short_file_or_without_reason_is_refused() {
        let excuses = (EXCUSES, "crates/core/src/a.rs: one table\ncrates/core/src/b.rs\n");
        let files = [LINT, THRESHOLD, ("crates/core/src/a.rs", "fn a() {}\n"), excuses];
        let lines = [format!("{EXCUSES}:1: file-length"), format!("{EXCUSES}:2: file-length")];
        assert_eq!(found(check, &files), lines);
    }

    #[test]
    fn clippy_must_look_at_functions() {
        let off = ("Cargo.toml", "[workspace.lints.clippy]\ntoo_many_lines = \"allow\"");
        let lax = ("clippy.toml", "too-many-lines-threshold = 100");
        let lines = ["Cargo.toml:1: function-length", "clippy.toml:1: function-length"];
        assert_eq!(found(check, &[off, lax]), lines);
    }
}
