//! The suite is whole: every case that is written is expanded.

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_case_that_is_written_is_in_the_list() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let list = fs::read_to_string(source.join("conformance.rs")).expect("it is there");
    let listed: Vec<&str> = list.lines().map(str::trim).collect();
    let mut cases = 0;
    for file in files(&source.join("conformance")) {
        let text = fs::read_to_string(file).expect("it is text");
        let names = text.lines().filter_map(|line| {
            line.strip_prefix("pub async fn ")?.strip_suffix("(world: World) {")
        });
        for name in names {
            cases += 1;
            assert!(listed.contains(&name), "{name} is written, but not in conformance!");
        }
    }
    assert!(cases > 90, "only {cases} cases were found");
}

/// All files in a folder, and in those within it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("it is there");
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
