//! The judge at work on the real program: a minute of it, on every run of the tests.
//!
//! `cargo xtask torture` blows longer, and `--prove` shows that the judge would see what breaks.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The program, built beforehand by `cargo xtask test` beside this test.
fn relais() -> PathBuf {
    let own = std::env::current_exe().expect("a test is a program");
    // target/<profile>/deps/it-…
    let profile = own.parent().and_then(Path::parent).expect("two folders above");
    let relais = profile.join("relais");
    assert!(relais.is_file(), "build it first: cargo build -p relais");
    relais
}

fn judge(arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relais-torture"));
    command.args(arguments).output().expect("cargo built it")
}

#[test]
fn a_minute_of_torture_breaks_no_promise() {
    let relais = relais();
    let arguments = ["--minutes", "1", "--kills-per-minute", "30", "--relais"];
    let output = judge(&[&arguments[..], &[relais.to_str().unwrap()]].concat());
    let (said, progress) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{progress}\n{said}");
    assert!(said.contains("every promise was kept"), "{said}");
    let kills = said.lines().find_map(|line| line.trim().strip_prefix("kills at work"));
    let kills: u32 = kills.and_then(|count| count.trim().parse().ok()).expect("it counts them");
    assert!(kills >= 20, "{said}");
}

#[test]
fn a_server_that_does_not_start_is_no_success() {
    // A program that ends at once, whatever it is told.
    let output = judge(&["--minutes", "0.1", "--relais", "/bin/false"]);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("ended by itself"), "{said}");
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    for arguments in [&["--minutes", "0"][..], &["--minutes", "nan"], &["--kills-per-minute", "99"]]
    {
        assert_eq!(judge(arguments).status.code(), Some(2), "{arguments:?}");
    }
}
