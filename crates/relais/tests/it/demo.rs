//! The demo, as a reader starts it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{output, relais, stderr, stdout};

/// The shop, which the demo finds beside itself.
fn build_shop() -> PathBuf {
    let shop = Path::new(env!("CARGO_BIN_EXE_relais")).with_file_name("shop");
    if !shop.is_file() {
        // The tests of the whole workspace have built it; those of this package alone have not.
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo).args(["build", "--package", "shop"]).status().unwrap();
        assert!(built.success() && shop.is_file(), "the shop is not beside {}", shop.display());
    }
    shop
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn the_story_comes_true_and_leaves_nothing_behind() {
    build_shop();
    let folder = tempfile::tempdir().unwrap();
    let mut command = relais(folder.path(), &["demo", "--once"]);
    // What the reader has set for a server of their own must not change the story.
    command.env("TMPDIR", folder.path()).env("RELAIS_LISTEN", "nowhere").env("RELAIS_TICKET", "x");
    let told = output(command, b"");
    let story = stdout(&told);
    assert_eq!(told.status.code(), Some(0), "{story}\n{}", stderr(&told));
    for line in [
        "1. A call as it always was",
        "2. The same with a ticket",
        "3. A long import, killed twice",
        "4. A failure, retried",
        "5. A lost answer, not retried",
        "6. A large invoice, handed over",
        "What was shown",
    ] {
        assert!(story.lines().any(|told| told == line), "{line} is missing:\n{story}");
    }
    for line in story.lines() {
        assert!(line.chars().count() <= 80, "too wide for a terminal: {line}");
    }
    assert_eq!(story.matches("! kill -9").count(), 2, "{story}");
    assert!(!story.contains('\u{1b}'), "no colours in a file:\n{story}");
    assert!(!story.contains("ticket=r"), "no ticket is shown:\n{story}");
    assert!(files_in(folder.path()).is_empty(), "{:?}", files_in(folder.path()));
}

#[test]
fn a_taken_port_ends_the_demo_with_the_reason() {
    build_shop();
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().min(65_533).to_string();
    let mut command = relais(folder.path(), &["demo", "--once", "--port-base", &port]);
    command.env("TMPDIR", folder.path());
    let told = output(command, b"");
    assert_eq!(told.status.code(), Some(1));
    let text = stderr(&told);
    assert!(text.contains("shop ended instead of getting ready"), "{text}");
    assert!(text.contains("could not listen on"), "{text}");
    assert!(files_in(folder.path()).is_empty(), "{:?}", files_in(folder.path()));
}
