//! Words that may not stand in Rust code, each where and why: one table.
//!
//! Not here: names of types and files (`names`), and words that clippy can tell better.

use std::collections::BTreeSet;

use super::Report;
use super::lexer::is_word;
use super::source::{Source, has_word};
use super::tree::Tree;

/// One banned word or a few that mean the same.
struct Rule {
    name: &'static str,
    words: &'static [&'static str],
    /// Whether the words are banned on this line.
    applies: fn(&Source, usize) -> bool,
    what: &'static str,
}

/// Refuses banned words, SQL outside its place and excuses that excuse nothing.
pub(super) fn check(tree: &Tree, report: &mut Report) {
    for source in tree.sources() {
        check_source(source, report);
    }
}

fn check_source(source: &Source, report: &mut Report) {
    let excuses = excuses(source);
    let mut used = BTreeSet::new();
    for (line, rule, what) in hits(source) {
        // A comment on a line of its own speaks for the line after it.
        let excuse = excuses
            .iter()
            .find(|excuse| excuse.rule == rule && (excuse.line == line || excuse.line + 1 == line));
        match excuse {
            Some(excuse) => _ = used.insert((excuse.line, excuse.rule.clone())),
            None => report.add(&source.path, line, rule, what),
        }
    }
    for excuse in excuses {
        if !used.contains(&(excuse.line, excuse.rule.clone())) {
            let what = format!("nothing here breaks the rule {:?}: remove the excuse", excuse.rule);
            report.add(&source.path, excuse.line, "stale-excuse", what);
        }
    }
}

fn hits(source: &Source) -> Vec<(usize, &'static str, &'static str)> {
    let mut hits = Vec::new();
    for (line, code) in source.lines() {
        for rule in RULES.iter().filter(|rule| (rule.applies)(source, line)) {
            if rule.words.iter().any(|word| has_word(code, word)) {
                hits.push((line, rule.name, rule.what));
            }
        }
        if source.is_test(line) && has_free_sleep(code) {
            hits.push((line, "sleep", SLEEP));
        }
    }
    for comment in &source.comments {
        if has_word(&comment.text, MARK) {
            hits.push((comment.line, "unfinished", UNFINISHED));
        }
    }
    let sql_may_stand_here = source.path.ends_with("/sql.rs");
    for literal in &source.literals {
        if !sql_may_stand_here && !source.is_test(literal.line) && is_sql(&literal.text) {
            hits.push((literal.line, "sql", SQL));
        }
    }
    hits
}

/// Permission to break one rule once, with a reason.
struct Excuse {
    line: usize,
    rule: String,
}

fn excuses(source: &Source) -> Vec<Excuse> {
    source
        .comments
        .iter()
        .filter_map(|comment| {
            let said = comment.text.strip_prefix("// tidy: ")?.trim();
            let rule = if said == "bounded wait" {
                "sleep"
            } else {
                let (rule, reason) = said.strip_prefix("allow(")?.split_once("):")?;
                // Without a reason it is no excuse, and the line stays refused.
                (!reason.trim().is_empty()).then_some(rule)?
            };
            Some(Excuse { line: comment.line, rule: rule.to_owned() })
        })
        .collect()
}

/// Whether `sleep(` is called as a function: `clock.sleep(…)` and `fn sleep(…)` are ours.
fn has_free_sleep(code: &str) -> bool {
    code.match_indices("sleep(").any(|(at, _)| {
        let before = &code[..at];
        let is_method = before.ends_with('.');
        let is_longer_name = before.bytes().next_back().is_some_and(is_word);
        let is_definition = before.split_whitespace().next_back() == Some("fn");
        !is_method && !is_longer_name && !is_definition
    })
}

/// Whether a literal is a statement of SQL: the verb with the word that must follow it.
fn is_sql(literal: &str) -> bool {
    let lower = literal.to_ascii_lowercase().replace("\\n", " ");
    let words: Vec<&str> = lower
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| !word.is_empty())
        .collect();
    STATEMENTS.iter().any(|(first, then)| {
        // The verb must open the text, so that prose that uses both words passes.
        words.first() == Some(first) && words.contains(then)
    })
}

fn anywhere(_: &Source, _: usize) -> bool {
    true
}

fn outside_tests(source: &Source, line: usize) -> bool {
    !source.is_test(line)
}

fn outside_the_clock(source: &Source, _: usize) -> bool {
    source.path != CLOCK
}

fn where_no_duration_is_measured(source: &Source, line: usize) -> bool {
    let may = MAY_MEASURE.iter().any(|place| source.path.starts_with(place));
    source.path != CLOCK && !may && !source.is_test(line)
}

fn where_http_is_unknown(source: &Source, line: usize) -> bool {
    !KNOW_HTTP.iter().any(|place| source.path.starts_with(place)) && !source.is_test(line)
}

/// The only file that asks the system for the time.
const CLOCK: &str = "crates/engine/src/clock.rs";

/// Where a duration may be measured with the monotonic clock, because no task's time hangs on it.
const MAY_MEASURE: &[&str] = &[
    "bench/",
    "crates/client/",
    "crates/relais/",
    // How long a connection, or a client that waits, has been there: patience, not a task's time.
    "crates/engine/src/upstream/call",
    "crates/server/src/connection/",
    "crates/server/src/front_door",
    "crates/server/src/observe/metrics.rs",
    "crates/server/src/request/pieces.rs",
    "crates/server/src/watch/",
    "crates/store-sqlite/examples/",
    "examples/",
    "xtask/",
];

/// Where axum and status codes are known (I7).
const KNOW_HTTP: &[&str] = &[
    "bench/",
    "crates/relais/",
    "crates/server/",
    "crates/store-sqlite/examples/",
    "examples/",
    "xtask/",
];

fn where_a_store_is_open(source: &Source, line: usize) -> bool {
    let may = MAY_OPEN.contains(&source.path.as_str()) || source.is_test(line);
    source.path.starts_with("crates/store-sqlite/src/") && !may
}

/// Where the driver opens files: the database before SQLite does, and those that SQLite never sees.
const MAY_OPEN: &[&str] = &[
    "crates/store-sqlite/src/bodies.rs",
    // The copy that it makes, and files of bodies.
    "crates/store-sqlite/src/copy.rs",
    "crates/store-sqlite/src/held.rs",
    "crates/store-sqlite/src/reserve.rs",
];

/// A statement's first word and one that must follow. In pairs, so that
/// this table is no SQL itself.
const STATEMENTS: &[(&str, &str)] = &[
    ("select", "from"),
    ("with", "select"),
    ("insert", "into"),
    ("update", "set"),
    ("delete", "from"),
];

const MARK: &str = "FIXME";
const UNFINISHED: &str = "finish it, or file an issue and say so in the docs";
const SLEEP: &str = "wait on an event; a wait that has a bound says `// tidy: bounded wait`";
const SQL: &str = "move the statement into a .sql file or the driver's sql.rs (I10)";

const RULES: &[Rule] = &[
    Rule {
        name: "unbounded",
        words: &["unbounded_channel", "unbounded()"],
        applies: anywhere,
        what: "use a bounded channel, its limit in limits.rs (I9)",
    },
    Rule {
        name: "unfinished",
        words: &["todo!", "unimplemented!", MARK],
        applies: anywhere,
        what: UNFINISHED,
    },
    Rule {
        name: "ignored-test",
        words: &["#[ignore"],
        applies: anywhere,
        what: "fix the test or remove it",
    },
    Rule {
        name: "unwrap",
        words: &[".unwrap()"],
        applies: outside_tests,
        what: "handle it, or expect(\"why it cannot fail\")",
    },
    Rule {
        name: "allow-attribute",
        words: &["#[allow", "#![allow"],
        applies: anywhere,
        what: "use #[expect(…, reason = \"…\")], which says when it is no longer needed",
    },
    Rule {
        name: "clock",
        words: &["SystemTime::now", "Utc::now", "Timestamp::now", "Zoned::now"],
        applies: outside_the_clock,
        what: "take the time as an argument; only engine/src/clock.rs asks the system (I1)",
    },
    Rule {
        name: "clock",
        words: &["Instant::now"],
        applies: where_no_duration_is_measured,
        what: "take the time as an argument; only engine/src/clock.rs asks the system (I1)",
    },
    Rule {
        name: "http-status",
        words: &["axum", "StatusCode"],
        applies: where_http_is_unknown,
        what: "only server knows axum and status codes: answer with a code or a kind (I7)",
    },
    Rule {
        name: "store-files",
        words: &[
            "File::open",
            "File::create",
            "File::options",
            "OpenOptions",
            "fs::read",
            "fs::read_to_string",
            "fs::write",
            "fs::copy",
        ],
        applies: where_a_store_is_open,
        what: "closing any descriptor of the database drops SQLite's locks: see held.rs",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::found;

    fn of(path: &str, text: &str) -> Vec<String> {
        found(check, &[(path, text)])
    }

    #[test]
    fn each_banned_word_is_found_in_code_only() {
        let path = "crates/engine/src/a.rs";
        for (text, rule) in [
            ("let (a, b) = mpsc::unbounded_channel();", "unbounded"),
            ("todo!()", "unfinished"),
            ("unimplemented!(\"x\")", "unfinished"),
            ("// FIXME: later", "unfinished"),
            ("#[ignore = \"slow\"]", "ignored-test"),
            ("a.unwrap();", "unwrap"),
            ("#[allow(dead_code)]", "allow-attribute"),
            ("let now = SystemTime::now();", "clock"),
            ("let now = jiff::Timestamp::now();", "clock"),
            ("let now = std::time::Instant::now();", "clock"),
            ("use axum::Router;", "http-status"),
            ("StatusCode::OK", "http-status"),
        ] {
            assert_eq!(of(path, text), [format!("{path}:1: {rule}")], "{text}");
            let said = format!("// say {}\nlet a = \"{}\";", "todo!()", "a.unwrap()");
            assert!(of(path, &said).is_empty());
        }
    }

    #[test]
    fn a_word_may_stand_where_it_is_at_home() {
        assert!(of(CLOCK, "SystemTime::now(); Instant::now();").is_empty());
        assert!(of("crates/server/src/observe/metrics.rs", "Instant::now();").is_empty());
        assert!(of("crates/server/src/problem.rs", "use axum::http::StatusCode;").is_empty());
        assert!(of("crates/store/tests/it/main.rs", "a.unwrap(); Instant::now();").is_empty());
        assert!(of("crates/engine/tests/it/upstream.rs", "use axum::Router;").is_empty());
        assert_eq!(of("crates/server/src/auth.rs", "Instant::now();").len(), 1);
        assert_eq!(of("crates/store/tests/it/main.rs", "SystemTime::now();").len(), 1);
    }

    #[test]
    fn the_driver_opens_files_in_few_places() {
        for text in ["File::open(path)", "fs::read(path)", "OpenOptions::new()", "fs::copy(a, b)"] {
            let path = "crates/store-sqlite/src/check.rs";
            assert_eq!(of(path, text), [format!("{path}:1: store-files")], "{text}");
            assert!(of("crates/store-sqlite/src/held.rs", text).is_empty());
            assert!(of("crates/store-sqlite/tests/it/open.rs", text).is_empty());
            assert!(of("crates/relais/src/config.rs", text).is_empty());
        }
        assert!(
            of("crates/store-sqlite/src/check.rs", "fs::read_dir(a); fs::metadata(b)").is_empty()
        );
    }

    #[test]
    fn sql_stands_in_its_own_file() {
        let text = "let q = \"select id from task\";\nlet r = \"\n  UPDATE task\\n set a = 1\";";
        let path = "crates/store-sqlite/src/claim.rs";
        assert_eq!(of(path, text), [format!("{path}:1: sql"), format!("{path}:2: sql")]);
        assert!(of("crates/store-sqlite/src/sql.rs", text).is_empty());
        assert!(of("crates/store-sqlite/tests/it/a.rs", text).is_empty());
        assert!(of(path, "let help = \"could not select a task from the queue\";").is_empty());
        assert!(of(path, "let help = \"update available\";").is_empty());
    }

    #[test]
    fn a_test_waits_on_events() {
        let path = "crates/engine/tests/it/a.rs";
        for text in ["std::thread::sleep(d);", "tokio::time::sleep(d).await;", "sleep(d).await;"] {
            assert_eq!(of(path, text), [format!("{path}:1: sleep")], "{text}");
            let bounded = format!("{text} // tidy: bounded wait");
            assert!(of(path, &bounded).is_empty());
            assert!(of("crates/engine/src/a.rs", text).is_empty(), "only in tests");
        }
        assert!(of(path, "clock.sleep(d); fn sleep(d: u8) {} nosleep(d);").is_empty());
    }

    #[test]
    fn an_excuse_needs_a_reason_and_a_cause() {
        let path = "crates/core/src/a.rs";
        let good = "// tidy: allow(unwrap): the macro's own words\na.unwrap();\n";
        assert!(of(path, good).is_empty());
        let without_reason = "a.unwrap(); // tidy: allow(unwrap):\n";
        assert_eq!(of(path, without_reason), [format!("{path}:1: unwrap")]);
        let stale = "// tidy: allow(unwrap): it was needed once\na();\n";
        assert_eq!(of(path, stale), [format!("{path}:1: stale-excuse")]);
    }
}
