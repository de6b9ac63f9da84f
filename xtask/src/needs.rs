//! What the tests need beyond Rust, and where it comes from: one table.
//!
//! Not here: anything that no test uses yet. PostgreSQL, Chromium and npm join the table together
//! with the first test that starts them.

use std::path::PathBuf;
use std::process::Command;

use anyhow::bail;

use crate::run::Steps;

/// One program that some test starts.
struct Need {
    /// Looked for under these names on `PATH`; one of them is enough.
    programs: &'static [&'static str],
    /// Where it is installed from where it is missing.
    source: Source,
    /// For the person who must install it by hand.
    why: &'static str,
}

/// Where a program comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    /// Debian packages.
    Apt(&'static [&'static str]),
}

/// Everything the tests need.
const NEEDS: &[Need] = &[
    Need {
        programs: &["cc", "gcc", "clang"],
        source: Source::Apt(&["gcc", "libc6-dev"]),
        why: "compiles SQLite and aws-lc",
    },
    Need {
        programs: &["git"],
        source: Source::Apt(&["git"]),
        why: "tidy asks it which files are ours",
    },
];

/// Installs what is missing where we are root; else says which line to run.
///
/// # Errors
/// Where something is missing and could not be installed.
pub(crate) fn install_missing(steps: &Steps) -> anyhow::Result<()> {
    let missing: Vec<&Need> =
        NEEDS.iter().filter(|need| !need.programs.iter().any(|name| on_path(name))).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !is_root() {
        for need in &missing {
            eprintln!("missing: {} ({})", need.programs.join(" or "), need.why);
        }
        bail!("install what the tests need first: {}", install_line(&missing));
    }
    steps.run("apt-get update", Command::new("apt-get").args(["update", "-q"]))?;
    let mut install = Command::new("apt-get");
    install.env("DEBIAN_FRONTEND", "noninteractive");
    install.args(["install", "-y", "-q", "--no-install-recommends"]).args(apt_packages(&missing));
    steps.run("apt-get install", &mut install)
}

fn install_line(missing: &[&Need]) -> String {
    format!("sudo apt-get install {}", apt_packages(missing).join(" "))
}

fn apt_packages(missing: &[&Need]) -> Vec<&'static str> {
    missing
        .iter()
        .flat_map(|need| match need.source {
            Source::Apt(packages) => packages.iter().copied(),
        })
        .collect()
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder: PathBuf| folder.join(program)).any(|p| p.is_file())
}

fn is_root() -> bool {
    // `id` and not a system call: that would need unsafe code or one more dependency.
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_only_where_it_is() {
        assert!(on_path("sh"));
        assert!(!on_path("a-program-that-nobody-has"));
    }

    #[test]
    fn the_line_to_run_by_hand_names_every_missing_package() {
        let all: Vec<&Need> = NEEDS.iter().collect();
        assert_eq!(install_line(&all), "sudo apt-get install gcc libc6-dev git");
    }
}
