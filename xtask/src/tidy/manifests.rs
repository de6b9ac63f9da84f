//! Manifests and crate roots look alike: sorted, under the workspace's lints, with a purpose said.

use toml::{Table, Value};

use super::Report;
use super::tree::Tree;

/// Refuses unsorted workspace dependencies, crates outside the lints, and crates without a purpose.
pub(super) fn check(tree: &Tree, report: &mut Report) {
    if let Some(text) = tree.file(WORKSPACE) {
        check_sorted(text, report);
    }
    for (path, text) in tree.manifests() {
        // A manifest that is no TOML is refused by the floors.
        let manifest: Table = text.parse().unwrap_or_default();
        let lints = manifest.get("lints").and_then(|lints| lints.get("workspace"));
        if lints.and_then(Value::as_bool) != Some(true) {
            report.add(path, 1, "lints", "add `[lints] workspace = true`");
        }
        let folder = path.trim_end_matches("Cargo.toml");
        for root in ["src/lib.rs", "src/main.rs"] {
            let path = format!("{folder}{root}");
            if tree.file(&path).is_some_and(|text| !text.starts_with("//! ")) {
                report.add(&path, 1, "crate-doc", "begin with `//! ` and the crate's purpose");
            }
        }
    }
}

/// Our own crates and those of others are two blocks; each is sorted.
fn check_sorted(text: &str, report: &mut Report) {
    let (mut inside, mut last) = (false, "");
    for (index, line) in text.lines().enumerate() {
        if line.starts_with('[') {
            inside = line == "[workspace.dependencies]";
            last = "";
        } else if line.trim().is_empty() {
            last = "";
        } else if inside && !line.starts_with(['#', ' ', ']', '}']) {
            let name = line.split(['=', '.', ' ']).next().unwrap_or(line);
            if name < last {
                let what = format!("{name} comes before {last}: keep the block sorted");
                report.add(WORKSPACE, index + 1, "sorted", what);
            }
            last = name;
        }
    }
}

const WORKSPACE: &str = "Cargo.toml";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::found;

    #[test]
    fn workspace_dependencies_are_sorted_block_by_block() {
        let good = "[workspace.dependencies]\nrelais-api = \"1\"\n\n# Others.\nanyhow = \"1\"\n\
                    clap = { version = \"4\" }\nclap_complete = \"4\"\n\n[profile.dev]\na = 1\n";
        assert!(found(check, &[("Cargo.toml", good)]).is_empty());
        let bad = "[workspace.dependencies]\nclap = \"4\"\nanyhow = \"1\"\n";
        assert_eq!(found(check, &[("Cargo.toml", bad)]), ["Cargo.toml:3: sorted"]);
    }

    #[test]
    fn a_crate_has_the_lints_and_a_purpose() {
        let good = [
            ("crates/core/Cargo.toml", "[lints]\nworkspace = true\n"),
            ("crates/core/src/lib.rs", "//! The rules.\n"),
        ];
        assert!(found(check, &good).is_empty());
        let bad = [
            ("crates/core/Cargo.toml", "[package]\nname = \"relais-core\"\n"),
            ("crates/core/src/lib.rs", "mod id;\n"),
        ];
        let lines = ["crates/core/Cargo.toml:1: lints", "crates/core/src/lib.rs:1: crate-doc"];
        assert_eq!(found(check, &bad), lines);
    }
}
