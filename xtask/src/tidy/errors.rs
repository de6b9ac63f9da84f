//! An error is a page: every code has one in `docs/problems/`, and a test that knows it (I8).
//!
//! The registry is `crates/api/src/codes.rs` and what lies below it; a code is a line
//! `NAME = "code", status, …` there. A test knows a code when it names it, as a text or by its
//! constant, in Rust or in a golden exchange. The tests of `api` itself do not count: they describe
//! codes and answer with none.

use std::collections::BTreeMap;

use super::Report;
use super::source::{Source, has_word};
use super::tree::Tree;

/// Refuses codes without page, pages without code, codes that no test knows, and stale excuses.
pub(super) fn check(tree: &Tree, report: &mut Report) {
    let codes = codes(tree);
    if codes.is_empty() {
        // Otherwise a registry that moved would switch these rules off in silence.
        report.add(REGISTRY, 1, "error-page", "no code found: list them here");
    }
    for (code, (path, line)) in &codes {
        if tree.file(&format!("{PAGES}{code}.md")).is_none() {
            let what = format!("write {PAGES}{code}.md: cause, and what to do");
            report.add(path, *line, "error-page", what);
        }
    }
    for (path, _) in tree.files() {
        let page = path.strip_prefix(PAGES).and_then(|name| name.strip_suffix(".md"));
        if page.is_some_and(|name| name != "README" && !codes.contains_key(name)) {
            report.add(path, 1, "error-page", "no code has this name: remove the page");
        }
    }
    check_tested(tree, &codes, report);
}

fn check_tested(tree: &Tree, codes: &BTreeMap<String, (String, usize)>, report: &mut Report) {
    let said = said_in_tests(tree);
    let is_tested =
        |code: &str| said.iter().any(|text| says(text, code) || has_constant(text, code));
    let untested: Vec<(usize, &str)> = entries(tree.file(UNTESTED).unwrap_or_default()).collect();
    for (code, (path, line)) in codes {
        if !is_tested(code) && !untested.iter().any(|(_, listed)| listed == code) {
            let what = format!("no test names {code}: write one");
            report.add(path, *line, "error-test", what);
        }
    }
    for (line, code) in &untested {
        if !codes.contains_key(*code) {
            let what = format!("{code} is no code (any more): remove this line");
            report.add(UNTESTED, *line, "error-test", what);
        } else if is_tested(code) {
            let what = format!("{code} has a test now: remove this line");
            report.add(UNTESTED, *line, "error-test", what);
        }
    }
    if !untested.is_empty() {
        let count = untested.len();
        report.notes.push(format!("{count} error codes without a test ({UNTESTED} must shrink)"));
    }
}

/// Every code with the place where the registry says it.
fn codes(tree: &Tree) -> BTreeMap<String, (String, usize)> {
    let mut codes = BTreeMap::new();
    for source in tree.sources().filter(|source| is_registry(source)) {
        for (line, _) in source.lines().filter(|(_, code)| is_entry(code)) {
            if let Some(literal) = source.literals.iter().find(|literal| literal.line == line) {
                codes.entry(literal.text.clone()).or_insert((source.path.clone(), line));
            }
        }
    }
    codes
}

fn is_registry(source: &Source) -> bool {
    source.path == REGISTRY || source.path.starts_with("crates/api/src/codes/")
}

/// Whether a line of the registry opens an entry: `NAME = "…", 404, …` with the literal blanked.
fn is_entry(code: &str) -> bool {
    let Some((name, rest)) = code.trim().split_once(" = \"") else { return false };
    let is_constant = !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    let after = rest.trim_start().strip_prefix("\", ");
    is_constant && after.is_some_and(|after| after.starts_with(|c: char| c.is_ascii_digit()))
}

/// What tests say: their literals, their lines of code, and the golden exchanges.
fn said_in_tests(tree: &Tree) -> Vec<&str> {
    let exchanges = tree
        .files()
        .filter(|(path, _)| path.starts_with("tests/") && !super::tree::is_rust(path))
        .map(|(_, text)| text);
    let sources = || tree.sources().filter(|source| !source.path.starts_with("crates/api/"));
    let literals = sources().flat_map(|source| {
        source.literals.iter().filter(|l| source.is_test(l.line)).map(|l| l.text.as_str())
    });
    let lines = sources().flat_map(|source| {
        source.lines().filter(|(line, _)| source.is_test(*line)).map(|(_, code)| code)
    });
    exchanges.chain(literals).chain(lines).collect()
}

/// Whether `text` names `code` whole: `task-gone` is not in `task-gone-away`.
fn says(text: &str, code: &str) -> bool {
    let goes_on = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    // A code of one word is an English word too: it counts as the whole value only.
    let is_one_word = !code.contains('-');
    text.match_indices(code).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + code.len()..]);
        if is_one_word {
            (before.is_empty() || before.ends_with(['"', '/']))
                && (after.is_empty() || after.starts_with(['"', '\\']))
        } else {
            !before.ends_with(goes_on) && !after.starts_with(goes_on)
        }
    })
}

fn has_constant(text: &str, code: &str) -> bool {
    let name = code.to_ascii_uppercase().replace('-', "_");
    has_word(text, &format!("codes::{name}"))
}

/// The entries of a list with their lines: one a line, `#` begins a comment.
pub(super) fn entries(list: &str) -> impl Iterator<Item = (usize, &str)> {
    list.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// Where the codes are listed.
const REGISTRY: &str = "crates/api/src/codes.rs";
const PAGES: &str = "docs/problems/";
/// Codes that no test names yet; it may only shrink.
const UNTESTED: &str = "xtask/tidy/untested-codes.txt";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::found;

    const CODES: (&str, &str) = (REGISTRY, "TASK_GONE = \"task-gone\", 410, final {\n\"t-t\"; }");
    const PAGE: (&str, &str) = ("docs/problems/task-gone.md", "# Gone\n");
    const TEST: (&str, &str) =
        ("crates/server/tests/it/a.rs", "f(\"{\\\"code\\\":\\\"task-gone\\\"}\")");

    #[test]
    fn a_code_with_page_and_test_passes() {
        assert!(found(check, &[CODES, PAGE, TEST]).is_empty());
        let exchange = ("tests/wire/gone.http", "HTTP/1.1 410\n\n{\"code\":\"task-gone\"}\n");
        assert!(found(check, &[CODES, PAGE, exchange]).is_empty());
    }

    #[test]
    fn a_code_without_page_or_test_is_refused() {
        let lines = [format!("{REGISTRY}:1: error-page"), format!("{REGISTRY}:1: error-test")];
        assert_eq!(found(check, &[CODES]), lines);
        let other = ("crates/server/tests/it/a.rs", "f(\"task-gone-away\")");
        assert_eq!(found(check, &[CODES, PAGE, other]), [format!("{REGISTRY}:1: error-test")]);
    }

    #[test]
    fn a_test_may_name_the_constant_but_not_in_the_registry_s_own_crate() {
        let text = "f(codes::TASK_GONE, \"task-gone\")";
        assert!(found(check, &[CODES, PAGE, ("crates/server/tests/it/a.rs", text)]).is_empty());
        let own = ("crates/api/tests/it/a.rs", text);
        assert_eq!(found(check, &[CODES, PAGE, own]), [format!("{REGISTRY}:1: error-test")]);
    }

    #[test]
    fn a_code_of_one_word_counts_as_a_whole_value_only() {
        let code = (REGISTRY, "INTERNAL = \"internal\", 500, retryable {");
        let page = ("docs/problems/internal.md", "# Internal\n");
        for (text, is_tested) in [
            ("f(\"internal\")", true),
            ("f(r#\"{\"code\":\"internal\"}\"#)", true),
            ("f(\"an internal matter\")", false),
        ] {
            let found = found(check, &[code, page, ("crates/server/tests/it/a.rs", text)]);
            assert_eq!(found.is_empty(), is_tested, "{text}");
        }
    }

    #[test]
    fn a_registry_that_moved_is_noticed() {
        let moved = ("crates/api/src/problem.rs", "const A: &str = \"task-gone\";");
        assert_eq!(found(check, &[moved]), [format!("{REGISTRY}:1: error-page")]);
    }

    #[test]
    fn a_page_without_code_is_refused() {
        let page = ("docs/problems/other-thing.md", "# Other\n");
        let readme = ("docs/problems/README.md", "# Problems\n");
        let lines = ["docs/problems/other-thing.md:1: error-page"];
        assert_eq!(found(check, &[CODES, PAGE, TEST, page, readme]), lines);
    }

    #[test]
    fn the_list_of_untested_codes_may_only_shrink() {
        let listed = (UNTESTED, "# Codes that wait for a test.\ntask-gone\n");
        assert!(found(check, &[CODES, PAGE, listed]).is_empty());
        let lines = [format!("{UNTESTED}:2: error-test")];
        assert_eq!(found(check, &[CODES, PAGE, TEST, listed]), lines);
        let unknown = (UNTESTED, "\nnever-a-code\n");
        assert_eq!(found(check, &[CODES, PAGE, TEST, unknown]), lines);
    }
}
