//! `cargo xtask check`: what is worth a look before each commit, warm in under three minutes.

use std::process::Command;

use crate::run::{self, Steps};
use crate::{docs, tidy};

/// Runs the quick checks and stops at the first that fails.
pub(crate) fn check() -> anyhow::Result<()> {
    let steps = Steps::start();
    style(&steps)?;
    steps.run("build", &mut run::cargo(["build", "--workspace", "--bins"]))?;
    steps.run("unit tests", &mut run::tests(&["--workspace", "--lib", "--bins"]))?;
    steps.run("store conformance", &mut tests_of(CONFORMANCE))?;
    let golden = docs::golden_packages()?;
    if golden.is_empty() {
        steps.headline("drift: no golden test yet");
        return Ok(());
    }
    steps.run("drift of generated files", &mut tests_of(&golden))
}

/// The part that `check` and `test` share: formatting, lints and the house rules.
pub(crate) fn style(steps: &Steps) -> anyhow::Result<()> {
    steps.run("fmt", &mut run::cargo(["fmt", "--all", "--check"]))?;
    let lint = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    steps.run("clippy", &mut run::cargo(lint))?;
    // Only torture builds them; nobody else would see that they no longer compile.
    let faults = ["clippy", "--package", "relais", "--features", "faults", "--", "-D", "warnings"];
    steps.run("clippy of the planted faults", &mut run::cargo(faults))?;
    steps.headline("tidy");
    tidy::tidy()
}

/// All tests of some packages.
fn tests_of(packages: &[impl AsRef<str>]) -> Command {
    let args: Vec<&str> = packages.iter().flat_map(|name| ["--package", name.as_ref()]).collect();
    run::tests(&args)
}

/// The packages that define the conformance suite or expand it over a driver.
const CONFORMANCE: &[&str] = &["relais-store", "relais-store-sqlite"];
