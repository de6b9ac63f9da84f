//! What the tests take from PyPI and npm: installed below the target folder, and again only
//! when the list of it changed.
//!
//! `tests/peers/requirements.txt` and `tests/peers/package.json` are the lists. Each version is
//! named there, so that a test that fails fails because of us. What builds and tests
//! `clients/typescript` has its list there, and lies where its authors have it.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use crate::run::{Steps, root};

/// What npm installs by.
const NPM_LISTS: &[&str] = &["package.json", "package-lock.json"];

/// Installs the lists where they are not installed.
///
/// # Errors
/// Where something could not be installed.
pub(crate) fn install(steps: &Steps) -> anyhow::Result<()> {
    let lists = root().join("tests/peers");
    let place = root().join("target/peers");
    let python = place.join("python");
    once(&python, &read(&lists, &["requirements.txt"])?, || {
        let mut make = Command::new("python3");
        steps
            .run("a place for PyPI packages", make.args(["-m", "venv", "--clear"]).arg(&python))?;
        let mut pip = Command::new(python.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]);
        steps.run("PyPI packages", pip.arg(lists.join("requirements.txt")))
    })?;
    npm(steps, &lists, &place.join("node"), NPM_LISTS)?;
    let client = root().join("clients/typescript");
    // npm empties the folder that the mark lies in.
    once(&client.join("node_modules"), &read(&client, NPM_LISTS)?, || npm_ci(steps, &client))
}

/// Copies `files` of the folder `from`, a list of npm packages and what uses them, to `place`, and
/// installs the packages there. No package runs a script meanwhile: none that we use needs to.
///
/// # Errors
/// Where something could not be installed.
pub(crate) fn npm(steps: &Steps, from: &Path, place: &Path, files: &[&str]) -> anyhow::Result<()> {
    once(place, &read(from, files)?, || {
        std::fs::create_dir_all(place).context("could not make a folder for npm packages")?;
        for file in files {
            let copied = std::fs::copy(from.join(file), place.join(file));
            copied.with_context(|| format!("could not copy {file}"))?;
        }
        npm_ci(steps, place)
    })
}

fn npm_ci(steps: &Steps, folder: &Path) -> anyhow::Result<()> {
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
    steps.run("npm packages", npm.current_dir(folder))
}

/// The texts of some files, one after the other.
fn read(folder: &Path, files: &[&str]) -> anyhow::Result<String> {
    let read = |file: &&str| {
        let path = folder.join(file);
        std::fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))
    };
    files.iter().map(read).collect()
}

/// Runs `install` unless it ended well in `place` for the very same `wanted`.
///
/// # Errors
/// Where it does not end well; it is then not taken for installed.
pub(crate) fn once(
    place: &Path,
    wanted: &str,
    install: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mark = place.join("installed");
    if std::fs::read_to_string(&mark).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    install()?;
    std::fs::write(&mark, wanted).with_context(|| format!("could not write {}", mark.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_installed_again_only_when_it_changed() {
        let folder = std::env::temp_dir().join(format!("relais-xtask-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut times = 0;
        for text in ["one", "one", "two"] {
            let install = || {
                times += 1;
                Ok(())
            };
            once(&folder, text, install).unwrap();
        }
        assert_eq!(times, 2);
        let failed = once(&folder, "three", || anyhow::bail!("no network"));
        assert!(failed.is_err());
        let again = once(&folder, "three", || anyhow::bail!("no network"));
        assert!(again.is_err(), "what failed is not taken for installed");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
