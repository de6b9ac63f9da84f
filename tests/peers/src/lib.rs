//! Programs that nobody here wrote, against a running Relais: clients, services, browsers, proxies.
//!
//! Each test starts one script of this folder. A script starts the Relais that the variable
//! `RELAIS` names, prints a line for each thing that does not hold, and ends with `N passed, N
//! failed` and an exit status of 1 if anything failed. What scripts use from PyPI and npm is
//! installed by `cargo xtask test`. Not here: what the scripts try.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs a script of this folder to its end.
///
/// # Panics
/// Where it does not end well, or says that nothing was tried; the message has what it printed.
pub fn run(script: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
    let mut command = match path.extension().and_then(|kind| kind.to_str()) {
        Some("py") => Command::new(installed("python/bin/python")),
        Some("mjs") => Command::new("node"),
        kind => panic!("no program is known that runs {kind:?}"),
    };
    command
        .arg(&path)
        .env("RELAIS", relais())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        // Scripts in JavaScript look for packages from here.
        .current_dir(installed("node"))
        .stdin(Stdio::null());
    let output = command.output().unwrap_or_else(|error| panic!("{script}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    let verdict = said.lines().last().unwrap_or_default();
    let is_good = output.status.success() && verdict.ends_with(" passed, 0 failed");
    let tried_nothing = verdict.starts_with("0 passed");
    assert!(is_good && !tried_nothing, "{script}: {}\n{said}\n{complained}", output.status);
}

/// The program under test, built beforehand by `cargo xtask test` beside this one.
fn relais() -> PathBuf {
    let own = std::env::current_exe().expect("a test is a program");
    // target/<profile>/deps/it-…
    let profile = own.parent().and_then(Path::parent).expect("two folders above");
    let relais = profile.join("relais");
    assert!(relais.is_file(), "build it first: cargo build -p relais");
    relais
}

/// Something that `cargo xtask test` installs below the target folder.
fn installed(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers").join(name);
    assert!(path.exists(), "{name} is not installed: run `cargo xtask test` once");
    path
}
