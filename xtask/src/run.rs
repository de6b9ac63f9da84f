//! Running other programs: steps with a headline each, stopping at the first that fails.

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::Context as _;

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository's root")
}

/// A command that runs the same cargo as the one that started us, in the root.
pub(crate) fn cargo<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(args);
    command
}

/// The test runner with `args`: nextest where it is installed, else cargo's own, without doc tests.
pub(crate) fn tests(args: &[&str]) -> Command {
    let has_nextest = cargo(["nextest", "--version"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if has_nextest {
        let mut command = cargo(["nextest", "run", "--config-file", "xtask/nextest.toml"]);
        // A package without tests is no failure: cargo's own runner sees none in that either.
        command.args(["--no-tests=pass", "--no-fail-fast"]).args(args);
        command
    } else {
        let mut command = cargo(["test", "--no-fail-fast"]);
        // Naming kinds of targets is what leaves the doc tests out.
        let names_kinds = args.contains(&"--lib");
        command.args((!names_kinds).then_some("--all-targets")).args(args);
        command
    }
}

/// The steps of a chore, each announced with the seconds gone so far.
pub(crate) struct Steps {
    started: Instant,
}

impl Steps {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// Announces a step. Nothing is printed after one, because a test runner's own summary must be
    /// the last thing that CI reads.
    pub(crate) fn headline(&self, name: &str) {
        eprintln!("==> [{:>3} s] {name}", self.started.elapsed().as_secs());
    }

    /// Runs `command` as the step `name`, without standard input.
    ///
    /// # Errors
    /// [`Failed`] with the command's own exit code where it does not end well.
    pub(crate) fn run(&self, name: &str, command: &mut Command) -> anyhow::Result<()> {
        self.headline(name);
        let status = command
            .stdin(Stdio::null())
            .status()
            .with_context(|| format!("could not start {}", command.get_program().display()))?;
        if status.success() {
            return Ok(());
        }
        // A child ended by a signal has no code; 1 is as good as any.
        let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
        Err(Failed { step: name.to_owned(), code: code.max(1) }.into())
    }
}

/// A step that did not end well.
#[derive(Debug)]
pub(crate) struct Failed {
    step: String,
    code: u8,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed", self.step)
    }
}

impl std::error::Error for Failed {}

/// What xtask exits with for `error`: the code of the step that failed, else 1.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    error.downcast_ref::<Failed>().map_or(1, |failed| failed.code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_passes_its_exit_code_on() {
        let steps = Steps::start();
        let error = steps.run("sh", Command::new("sh").args(["-c", "exit 7"])).unwrap_err();
        assert_eq!(exit_code(&error), 7);
        assert_eq!(error.to_string(), "sh failed");
        assert_eq!(exit_code(&anyhow::anyhow!("something else")), 1);
    }

    #[test]
    fn a_step_has_no_standard_input() {
        // `read` fails at once on an empty input; a terminal would make it wait for ever.
        let steps = Steps::start();
        assert!(steps.run("sh", Command::new("sh").args(["-c", "! read line"])).is_ok());
    }
}
