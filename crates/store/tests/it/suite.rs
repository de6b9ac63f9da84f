//! The suite is whole: every case that is written is expanded.

use std::fs;
use std::path::Path;

#[test]
fn every_case_that_is_written_is_in_the_list() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let list = fs::read_to_string(source.join("conformance.rs")).expect("it is there");
    let listed: Vec<&str> = list.lines().map(str::trim).collect();
    let mut cases = 0;
    for file in fs::read_dir(source.join("conformance")).expect("it is there") {
        let text = fs::read_to_string(file.expect("it can be read").path()).expect("it is text");
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
