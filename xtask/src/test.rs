//! `cargo xtask test`: everything that decides whether a change lands (`.ci/run` calls it).

use crate::run::{self, Steps};
use crate::{check, needs, packages};

/// Installs what the tests need, then checks and tests everything, stopping at the first failure.
///
/// The order matters at the end: CI reads the test runner's summary from the last lines, so the doc
/// tests (another runner) come before it and nothing is printed after it.
pub(crate) fn test() -> anyhow::Result<()> {
    let steps = Steps::start();
    steps.headline("what the tests need");
    needs::install_missing(&steps, needs::TESTS)?;
    packages::install(&steps)?;
    check::style(&steps)?;
    // The tests start the real programs, which cargo builds only for tests of their own package.
    steps.run("build", &mut run::cargo(["build", "--workspace", "--bins"]))?;
    steps.run("doc tests", &mut run::cargo(["test", "--doc", "--workspace"]))?;
    steps.run("tests", &mut run::tests(&["--workspace"]))
}
