//! What the tests take from PyPI and npm: installed below the target folder, and again only
//! when the list of it changed.
//!
//! `tests/peers/requirements.txt` and `tests/peers/package.json` are the lists. Each version is
//! named there, so that a test that fails fails because of us.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::run::{Steps, root};

/// Installs both lists where they are not installed.
///
/// # Errors
/// Where something could not be installed.
pub(crate) fn install(steps: &Steps) -> anyhow::Result<()> {
    let lists = root().join("tests/peers");
    let place = root().join("target/peers");
    let python = place.join("python");
    once(&python, &[lists.join("requirements.txt")], || {
        let mut make = Command::new("python3");
        steps
            .run("a place for PyPI packages", make.args(["-m", "venv", "--clear"]).arg(&python))?;
        let mut pip = Command::new(python.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]);
        steps.run("PyPI packages", pip.arg(lists.join("requirements.txt")))
    })?;
    let node = place.join("node");
    let named = ["package.json", "package-lock.json"].map(|name| lists.join(name));
    once(&node, &named, || {
        std::fs::create_dir_all(&node).context("could not make a folder for npm packages")?;
        for list in &named {
            let copy = node.join(list.file_name().context("a list has a name")?);
            std::fs::copy(list, copy).context("could not copy a list of npm packages")?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(&node);
        steps.run("npm packages", &mut npm)
    })
}

/// Runs `install` unless it ended well in `place` for the very same `lists`.
fn once(
    place: &Path,
    lists: &[PathBuf],
    install: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut wanted = String::new();
    for list in lists {
        let text = std::fs::read_to_string(list);
        wanted += &text.with_context(|| format!("could not read {}", list.display()))?;
    }
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
        let list = folder.join("list");
        let mut times = 0;
        for text in ["one", "one", "two"] {
            std::fs::write(&list, text).unwrap();
            let install = || {
                times += 1;
                Ok(())
            };
            once(&folder, std::slice::from_ref(&list), install).unwrap();
        }
        assert_eq!(times, 2);
        std::fs::write(&list, "three").unwrap();
        let failed = once(&folder, std::slice::from_ref(&list), || anyhow::bail!("no network"));
        assert!(failed.is_err());
        let again = once(&folder, std::slice::from_ref(&list), || anyhow::bail!("no network"));
        assert!(again.is_err(), "what failed is not taken for installed");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
