//! Nothing of the workplace leaks into the repository: no registry's host name, no local path.
//!
//! A clone must build wherever its owner's package clients are set up to look, and a path that
//! exists on one machine only is a bug on all others.

use super::Report;
use super::tree::Tree;

/// Refuses host names of package registries and paths of the workplace.
pub(super) fn check(tree: &Tree, report: &mut Report) {
    let hosts: Vec<String> = HOSTS.iter().map(|parts| parts.join(".")).collect();
    let workplace = format!("/{WORKPLACE}/");
    for (path, text) in tree.files().filter(|(path, _)| !WRITTEN_BY_CARGO.contains(path)) {
        for (index, line) in text.lines().enumerate() {
            if hosts.iter().any(|host| line.contains(host.as_str())) {
                let what = "name no registry's host: say the registry's name";
                report.add(path, index + 1, "registry-host", what);
            }
            if has_absolute(line, &workplace) {
                let what = "a path of the workplace: say it from the repository's root";
                report.add(path, index + 1, "workplace-path", what);
            }
        }
    }
}

/// Whether `folder` begins a path in `line`; in the midst of one
/// (`/v1/work/…`) it is another thing.
fn has_absolute(line: &str, folder: &str) -> bool {
    let goes_on = |c: char| c.is_alphanumeric() || "_-.}".contains(c);
    line.match_indices(folder).any(|(at, _)| !line[..at].ends_with(goes_on))
}

/// In parts, because this file is in the repository too.
const HOSTS: &[&[&str]] = &[
    &["crates", "io"],
    &["pypi", "org"],
    &["pythonhosted", "org"],
    &["npmjs", "org"],
    &["npmjs", "com"],
    &["deb", "debian", "org"],
    &["proxy", "golang", "org"],
];

const WORKPLACE: &str = "work";

/// Lock files name the registry by a form of their own that no one writes by hand.
const WRITTEN_BY_CARGO: &[&str] = &["Cargo.lock"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::found;

    #[test]
    fn hosts_and_local_paths_are_refused() {
        let text = format!("get it from {}\nsee /{WORKPLACE}/main\n", HOSTS[1].join("."));
        let lines = ["docs/a.md:1: registry-host", "docs/a.md:2: workplace-path"];
        assert_eq!(found(check, &[("docs/a.md", &text)]), lines);
    }

    #[test]
    fn names_and_other_paths_pass() {
        let text = format!("from PyPI\nPOST /v1/{WORKPLACE}/lease\n");
        assert!(found(check, &[("docs/a.md", &text)]).is_empty());
        let lock = format!("source = \"registry+https://{}\"\n", HOSTS[0].join("."));
        assert!(found(check, &[("Cargo.lock", &lock)]).is_empty());
    }
}
