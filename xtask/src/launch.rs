//! `cargo xtask demo | bench | torture | soak`: builds the real programs, then hands over to the part.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::run;
use crate::tidy::tree::Tree;

/// Runs the story in the terminal: Relais in front of the example shop.
///
/// # Errors
/// Where the programs do not build or the story does not end well.
pub(crate) fn demo(args: &[String]) -> anyhow::Result<()> {
    build_release(PROGRAMS)?;
    hand_over("relais", &[&["demo".to_owned()], args].concat())
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
    build_release(&[PROGRAMS, &[package.as_str()]].concat())?;
    hand_over(&package, args)
}

/// Builds release binaries, with one progress line instead of cargo's scroll.
fn build_release(packages: &[&str]) -> anyhow::Result<()> {
    let mut command = run::cargo(["build", "--release"]);
    for package in packages {
        command.args(["--package", package]);
    }
    let line = ProgressBar::new_spinner();
    let style = "{spinner} {elapsed:>4}  {msg}";
    line.set_style(ProgressStyle::with_template(style).context("could not set the progress line")?);
    line.enable_steady_tick(Duration::from_millis(120));
    let what = format!("building {} (release)", packages.join(", "));
    line.set_message(what.clone());
    let mut child = command
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("could not run cargo")?;
    let stderr = child.stderr.take().context("cargo has no standard error")?;
    let mut said = Vec::new();
    for text in BufReader::new(stderr).lines() {
        let text = text.context("could not read what cargo says")?;
        line.set_message(format!("{what}: {}", text.trim()));
        said.push(text);
    }
    let status = child.wait().context("could not wait for cargo")?;
    line.finish_and_clear();
    if !status.success() {
        // Kept back until now, because a progress line and an error must not overwrite each other.
        bail!("{what} failed:\n{}", said.join("\n"));
    }
    Ok(())
}

/// Becomes the program, so that Ctrl-C, the terminal and the exit code are its own.
fn hand_over(package: &str, args: &[String]) -> anyhow::Result<()> {
    let mut command = run::cargo(["run", "--release", "--quiet", "--package", package, "--"]);
    command.args(args);
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
