use std::path::Path;

use relais::config::reference::{SECTIONS, Section, page};
use relais::config::{Overrides, Settings, judge};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guide/configuration.md");

#[test]
fn the_page_is_made_from_the_reference() {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(PAGE, page()).unwrap();
    }
    let written = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(written == page(), "docs/guide/configuration.md has drifted: run `cargo xtask docs`");
}

fn read(text: &str) -> Result<Settings, String> {
    let none = |_: &str| None;
    judge(Some(Path::new("relais.toml")), text.to_owned(), &Overrides::default(), &none)
        .map_err(|error| error.to_string())
}

/// The reader says which keys it knows when it meets one that it does not.
fn known_keys(section: &Section) -> Vec<String> {
    let error = read(&format!("{}\nno_such_key = 1\n", section.heading)).err().unwrap();
    let (_, list) = error.split_once("expected ").unwrap();
    let mut keys: Vec<String> = list
        .split('`')
        .skip(1)
        .step_by(2)
        .take_while(|word| !word.contains("no_such_key"))
        .map(str::to_owned)
        .collect();
    keys.sort();
    keys
}

#[test]
fn every_key_of_the_file_is_on_the_page_and_no_other() {
    for section in SECTIONS {
        let mut listed: Vec<String> = section.keys.iter().map(|key| key.name.to_owned()).collect();
        listed.sort();
        assert_eq!(listed, known_keys(section), "{}", section.heading);
    }
}

/// What a file of all these values says, where two sections have a table of the same kind.
fn file(with_defaults: bool) -> String {
    let mut text = String::new();
    for section in SECTIONS {
        text += &format!("{}\n", section.heading);
        text += match section.heading {
            "[[route]]" => "path = \"/x\"\nupstream = \"http://127.0.0.1:9000\"\n",
            "[[key]]" => {
                "name = \"k\"\nscopes = [\"read\"]\n\
                 hash = \"00000000000000000000000000000000000000000000000000000000000000aa\"\n"
            }
            _ => "",
        };
        for key in section.keys.iter().filter(|key| with_defaults && !key.default.is_empty()) {
            text += &format!("{} = {}\n", key.name, key.default);
        }
    }
    text
}

#[test]
fn the_defaults_on_the_page_are_the_defaults() {
    let (written, left_out) = (read(&file(true)).unwrap(), read(&file(false)).unwrap());
    assert_eq!(format!("{:?}", written.server), format!("{:?}", left_out.server));
    assert_eq!(written.engine.queues, left_out.engine.queues);
    assert_eq!(written.engine.upstreams, left_out.engine.upstreams);
    assert_eq!(written.engine.outward, left_out.engine.outward);
    assert_eq!(written.store, left_out.store);
    assert_eq!(written.drain_delay, left_out.drain_delay);
    let rest = |settings: &Settings| {
        let engine = &settings.engine;
        (engine.result_bytes_max, engine.tenant_capacity, engine.drain_for, engine.via.clone())
    };
    assert_eq!(rest(&written), rest(&left_out));
}
