//! `cargo xtask demo | bench | torture | soak`: builds the real programs,
//! then hands over to the part.

use std::process::Stdio;

use anyhow::{Context as _, bail};

use crate::run;
use crate::tidy::tree::Tree;

/// Runs the story in the terminal: Relais in front of the example shop.
///
/// # Errors
/// Where the programs do not build or the story does not end well.
pub(crate) fn demo(args: &[String]) -> anyhow::Result<()> {
    build("demo", PROGRAMS)?;
    hand_over("demo", "relais", &[&["demo".to_owned()], args].concat())
}

/// Runs one of the parts that have a crate of their own: `relais-<name>`.
///
/// # Errors
/// Where that crate does not exist yet, does not build, or what it runs does not end well.
pub(crate) fn part(name: &str, args: &[String]) -> anyhow::Result<()> {
    let package = format!("relais-{name}");
    let tree = Tree::load(run::root())?;
    if !tree.packages().iter().any(|known| known.name == package) {
        bail!("{name} is not built yet: there is no package {package} in the workspace");
    }
    build("release", &[PROGRAMS, &[package.as_str()]].concat())?;
    hand_over("release", &package, args)
}

/// Builds and puts the program where cargo puts programs, for everybody's `PATH`.
///
/// # Errors
/// Where it does not build, or cannot be put there.
pub(crate) fn install(args: &[String]) -> anyhow::Result<()> {
    let mut command = run::cargo(["install", "--locked", "--path", "crates/relais"]);
    let status = command.args(args).stdin(Stdio::null()).status();
    finish("install relais", &status.context("could not run cargo")?)
}

/// Builds programs, and leaves the terminal to cargo meanwhile: its bar is the one people know.
fn build(profile: &str, packages: &[&str]) -> anyhow::Result<()> {
    let mut command = run::cargo(["build", "--profile", profile]);
    for package in packages {
        command.args(["--package", package]);
    }
    let status = command.stdin(Stdio::null()).status().context("could not run cargo")?;
    finish(&format!("build {}", packages.join(", ")), &status)
}

fn finish(what: &str, status: &std::process::ExitStatus) -> anyhow::Result<()> {
    if !status.success() {
        bail!("could not {what}: cargo says why above");
    }
    Ok(())
}

/// Becomes the program, so that Ctrl-C, the terminal and the exit code are its own.
fn hand_over(profile: &str, package: &str, args: &[String]) -> anyhow::Result<()> {
    let mut command = run::cargo(["run", "--quiet", "--profile", profile, "--package", package]);
    command.arg("--").args(args);
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt as _;
        let error = command.exec();
        Err(error).with_context(|| format!("could not start {package}"))
    }
    #[cfg(not(unix))]
    {
        let status = command.status().with_context(|| format!("could not start {package}"))?;
        if status.success() { Ok(()) } else { bail!("{package} failed") }
    }
}

/// What every part starts: the product and the example service behind it.
const PROGRAMS: &[&str] = &["relais", "shop"];
