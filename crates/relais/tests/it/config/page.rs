//! `[page]`: whose the pages are that people see.

use super::{read, refused};
use relais_core::limits;

#[test]
fn a_page_bears_the_operators_name_colour_and_logo_up_to_their_limits() {
    assert!(read("").unwrap().server.page.name.is_none(), "unless said it is nobody's");
    let folder = tempfile::tempdir().unwrap();
    let logo = folder.path().join("logo.png");
    let mut picture = b"\x89PNG\r\n\x1a\n".to_vec();
    picture.resize(limits::PAGE_LOGO_BYTES_MAX, 0);
    std::fs::write(&logo, &picture).unwrap();
    let name = "é".repeat(limits::PAGE_NAME_CHARS_MAX);
    let with_logo = format!("[page]\nlogo = {:?}\n", logo.to_str().unwrap());
    let text = format!("{with_logo}name = \"{name}\"\ncolor = \"#0B6e4F\"\n");
    let page = read(&text).unwrap().server.page;
    assert_eq!(page.name, Some(name.clone()));
    assert_eq!(page.color.unwrap().rgb, [0x0b, 0x6e, 0x4f]);
    assert!(page.logo.unwrap().file().ends_with(".png"));

    picture.push(0);
    std::fs::write(&logo, &picture).unwrap();
    let why = refused(&with_logo);
    assert!(why.contains("[page] logo") && why.contains("more than 65536 bytes"), "{why}");
    for (line, what) in [
        (format!("name = \"{name}x\""), "[page] name"),
        ("name = \"\"".to_owned(), "[page] name"),
        ("name = \" \"".to_owned(), "[page] name"),
        ("name = \"a\\nb\"".to_owned(), "[page] name"),
        ("color = \"green\"".to_owned(), "[page] color"),
        ("color = \"#fff\"".to_owned(), "[page] color"),
        ("color = \"#fff}body{\"".to_owned(), "[page] color"),
        ("logo = \"nowhere.svg\"".to_owned(), "[page] logo"),
        ("font = \"serif\"".to_owned(), "font"),
    ] {
        let why = refused(&format!("[page]\n{line}\n"));
        assert!(why.contains(what), "{line}: {why}");
    }
}
