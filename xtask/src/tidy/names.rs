//! Names that say nothing: types called Manager, files called util.

use super::Report;
use super::source::names_after;
use super::tree::Tree;

/// Refuses empty names of types and files.
pub(super) fn check(tree: &Tree, report: &mut Report) {
    for source in tree.sources() {
        let file = source.path.rsplit('/').next().unwrap_or(&source.path);
        let folders = source.path.split('/').rev().skip(1);
        let in_empty_folder = folders.into_iter().any(|name| EMPTY_FILES.contains(&name));
        if in_empty_folder || EMPTY_FILES.contains(&file.trim_end_matches(".rs")) {
            report.add(&source.path, 1, "file-name", "name the file after what it knows");
        }
        for (line, code) in source.lines() {
            for keyword in ["struct", "enum", "trait", "type", "union"] {
                for name in names_after(code, keyword) {
                    if EMPTY_ENDS.iter().any(|end| name.ends_with(end)) {
                        let what = format!("name {name} after what it is or decides");
                        report.add(&source.path, line, "type-name", what);
                    }
                }
            }
        }
    }
}

const EMPTY_FILES: &[&str] = &["common", "util", "utils", "helper", "helpers", "misc"];
const EMPTY_ENDS: &[&str] = &["Manager", "Helper", "Helpers", "Util", "Utils"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::found;

    #[test]
    fn empty_names_are_refused() {
        let files = [
            ("crates/core/src/a.rs", "pub struct TaskManager;\nenum Fine { A }\n"),
            ("crates/core/src/util.rs", "fn a() {}"),
            ("crates/core/tests/common/mod.rs", "fn a() {}"),
        ];
        assert_eq!(
            found(check, &files),
            [
                "crates/core/src/a.rs:1: type-name",
                "crates/core/src/util.rs:1: file-name",
                "crates/core/tests/common/mod.rs:1: file-name",
            ]
        );
    }

    #[test]
    fn telling_names_pass() {
        let text = "struct Lease;\n// a struct Manager\nlet a = \"enum Helper\";\n";
        assert!(found(check, &[("crates/core/src/lease.rs", text)]).is_empty());
    }
}
