//! `cargo xtask docs`: writes the generated files again.
//!
//! Each generated file is guarded by a golden test beside the code it is generated from. Such a
//! test compares, or writes where the environment variable `UPDATE` is set. Naming that variable is
//! what makes a package one of the golden ones, so there is no list here to forget.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::bail;

use crate::run::{self, Steps};
use crate::tidy::tree::Tree;

/// Runs the golden tests with `UPDATE=1`, then shows what changed.
///
/// # Errors
/// Where there is no golden test, or one fails even though it may write.
pub(crate) fn docs() -> anyhow::Result<()> {
    let packages = golden_packages()?;
    if packages.is_empty() {
        bail!("no test reads UPDATE yet, so there is nothing to generate");
    }
    let steps = Steps::start();
    let mut command = run::cargo(["test", "--quiet", "--all-targets"]);
    command.env("UPDATE", "1");
    for package in &packages {
        command.args(["--package", package]);
    }
    steps.run(&format!("golden tests of {}", packages.join(", ")), &mut command)?;
    client(&steps)?;
    let mut diff = Command::new("git");
    steps.run("changed files", diff.current_dir(run::root()).args(["status", "--short"]))
}

/// Makes the types of the client in TypeScript from the description of the interface, and of the client
/// the one file that the server has. Where its packages are not installed (`cargo xtask test` does that)
/// they stay as they are, which its tests tell.
fn client(steps: &Steps) -> anyhow::Result<()> {
    let client = run::root().join("clients/typescript");
    if !client.join("node_modules").exists() {
        eprintln!("not made: what clients/typescript is (run `npm ci` there, then this again)");
        return Ok(());
    }
    for part in ["types", "bundle"] {
        let mut npm = Command::new("npm");
        npm.args(["run", "--silent", part]).current_dir(&client);
        steps.run(&format!("{part} of clients/typescript"), &mut npm)?;
    }
    Ok(())
}

/// The packages with a golden test, sorted.
///
/// # Errors
/// Where the tree cannot be read.
pub(crate) fn golden_packages() -> anyhow::Result<Vec<String>> {
    Ok(golden_of(&Tree::load(run::root())?))
}

fn golden_of(tree: &Tree) -> Vec<String> {
    let packages = tree.packages();
    tree.sources()
        .filter(|source| source.has_literal("UPDATE"))
        .filter_map(|source| {
            packages.iter().find(|package| source.path.starts_with(&package.folder))
        })
        .map(|package| package.name.clone())
        // xtask names the variable because it sets it.
        .filter(|name| name != "xtask")
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_whose_test_reads_the_variable_is_golden() {
        let tree = Tree::of(&[
            ("crates/core/Cargo.toml", "[package]\nname = \"relais-core\"\n"),
            ("crates/core/tests/it/table.rs", "fn f() { std::env::var_os(\"UPDATE\"); }"),
            ("crates/api/Cargo.toml", "[package]\nname = \"relais-api\"\n"),
            ("crates/api/src/lib.rs", "//! Says UPDATE only here.\n"),
        ]);
        assert_eq!(golden_of(&tree), ["relais-core"]);
    }
}
