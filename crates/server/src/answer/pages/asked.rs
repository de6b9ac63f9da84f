//! What a task was asked for, in words that a person reads: never its id.

use relais_api::Task;
use relais_api::task::RequestLine;

use super::words::Words;

/// Longest path in a title, characters; of a longer one the end is told. The details have all.
const TITLE_CHARS_MAX: usize = 80;

/// The title of a task.
#[must_use]
pub(super) fn title(task: &Task, words: &Words) -> String {
    let Some(line) = &task.request else { return words.your_request.to_owned() };
    sentence(line, words).replace('%', &end_of(&readable(&line.path)))
}

const fn sentence<'a>(line: &RequestLine, words: &'a Words) -> &'a str {
    match line.method.as_bytes() {
        b"GET" | b"HEAD" | b"QUERY" | b"OPTIONS" => words.read,
        b"PUT" | b"PATCH" => words.changed,
        b"DELETE" => words.removed,
        _ => words.handed_in,
    }
}

/// A path as its reader would write it: decoded where that gives text which shows what it is. What
/// turns the direction of writing, or cannot be seen, stays coded, and nothing looks like another path.
#[must_use]
pub(super) fn readable(path: &str) -> String {
    let decoded = percent_encoding::percent_decode_str(path).decode_utf8();
    match decoded {
        Ok(text) if !text.contains(is_unseen) => text.into_owned(),
        _ => path.replace(is_unseen, "\u{fffd}"),
    }
}

fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn end_of(path: &str) -> String {
    let length = path.chars().count();
    if length <= TITLE_CHARS_MAX {
        return path.to_owned();
    }
    let end: String = path.chars().skip(length + 1 - TITLE_CHARS_MAX).collect();
    format!("…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_as_its_reader_would_write_it() {
        for (path, expected) in [
            ("/exports/june.csv", "/exports/june.csv"),
            ("/caf%C3%A9%20cr%C3%A8me", "/café crème"),
            ("/%E2%80%AEcsv.exe", "/%E2%80%AEcsv.exe"),
            ("/a%00b", "/a%00b"),
            ("/%ff", "/%ff"),
            ("/\u{202e}x%41", "/\u{fffd}x%41"),
            ("/100%", "/100%"),
        ] {
            assert_eq!(readable(path), expected, "{path}");
        }
    }

    #[test]
    fn of_a_long_path_the_title_has_the_end() {
        let told = end_of(&format!("/{}/june.csv", "a".repeat(100)));
        assert_eq!(told.chars().count(), TITLE_CHARS_MAX);
        assert!(told.starts_with('…') && told.ends_with("/june.csv"));
    }
}
