//! One Rust file as the rules see it: code, comments, literals, and which lines are tests.

use super::lexer::{Fragment, Lexed, is_word, lex};

/// A Rust file taken apart.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(super) code: String,
    pub(super) comments: Vec<Fragment>,
    pub(super) literals: Vec<Fragment>,
    /// For each line whether it belongs to a test; index 0 is line 1.
    test_lines: Vec<bool>,
    /// Modules declared as `#[cfg(test)] mod name;`: their files are tests as a whole.
    pub(super) test_modules: Vec<String>,
}

impl Source {
    /// Takes a file apart.
    pub(super) fn parse(path: &str, text: &str) -> Self {
        let Lexed { code, comments, literals } = lex(text);
        let line_count = text.lines().count().max(1);
        let whole = is_test_path(path) || code.contains("#![cfg(test)]");
        let mut test_lines = vec![whole; line_count];
        let mut test_modules = Vec::new();
        for (start, end) in test_items(&code) {
            let (first, last) = (line_of(&code, start), line_of(&code, end));
            for line in test_lines.iter_mut().take(last).skip(first - 1) {
                *line = true;
            }
            test_modules.extend(declared_module(&code[start..end]));
        }
        Self { path: path.to_owned(), code, comments, literals, test_lines, test_modules }
    }

    /// Makes every line a test: the file belongs to a module that only exists in tests.
    pub(super) fn mark_as_test(&mut self) {
        self.test_lines.fill(true);
    }

    /// Whether some string literal is exactly `text`.
    pub(crate) fn has_literal(&self, text: &str) -> bool {
        self.literals.iter().any(|literal| literal.text == text)
    }

    /// Whether `line`, counted from 1, belongs to a test.
    pub(super) fn is_test(&self, line: usize) -> bool {
        self.test_lines.get(line - 1).copied().unwrap_or(false)
    }

    /// How many lines are no test.
    pub(super) fn len_without_tests(&self) -> usize {
        self.test_lines.iter().filter(|test| !**test).count()
    }

    /// The lines of code with their numbers, counted from 1.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().map(|(index, line)| (index + 1, line))
    }
}

/// Whether `word` stands in `code` on its own. A sign at its start or end (`.unwrap()`) needs no
/// boundary there.
pub(super) fn has_word(code: &str, word: &str) -> bool {
    let (bytes, wanted) = (code.as_bytes(), word.as_bytes());
    code.match_indices(word).any(|(start, _)| {
        let end = start + wanted.len();
        let open = !is_word(wanted[0]) || start == 0 || !is_word(bytes[start - 1]);
        let close =
            !is_word(wanted[wanted.len() - 1]) || end == bytes.len() || !is_word(bytes[end]);
        open && close
    })
}

/// The names that follow `keyword` in `code`: `names_after("fn f()", "fn")` is `f`.
pub(super) fn names_after<'a>(code: &'a str, keyword: &str) -> impl Iterator<Item = &'a str> {
    let mut after_keyword = false;
    code.split(|c: char| c.is_whitespace() || !(c.is_ascii() && is_word(c as u8)))
        .filter(|word| !word.is_empty())
        .filter(move |word| std::mem::replace(&mut after_keyword, *word == keyword))
}

fn is_test_path(path: &str) -> bool {
    path.split('/').any(|part| part == "tests" || part == "tests.rs" || part == "benches")
}

/// The byte ranges of the items that exist only in tests, attribute included.
fn test_items(code: &str) -> Vec<(usize, usize)> {
    let mut items = Vec::new();
    for marker in ["#[cfg(test)]", "#[cfg(all(test,"] {
        items
            .extend(code.match_indices(marker).map(|(start, _)| (start, end_of_item(code, start))));
    }
    items
}

/// Where the item ends whose attribute begins at `start`: at its closing brace or its semicolon.
fn end_of_item(code: &str, start: usize) -> usize {
    let (mut round, mut curly) = (0_i32, 0_i32);
    for (offset, byte) in code.bytes().enumerate().skip(start) {
        match byte {
            b'(' | b'[' => round += 1,
            b')' | b']' => round -= 1,
            b'{' => curly += 1,
            b'}' => {
                curly -= 1;
                if curly <= 0 && round == 0 {
                    return offset + 1;
                }
            }
            b';' if round == 0 && curly == 0 => return offset + 1,
            _ => {}
        }
    }
    code.len()
}

/// The name in `mod name;`, where the item is that.
fn declared_module(item: &str) -> Option<String> {
    let name = item.trim_end().strip_suffix(';')?.rsplit(char::is_whitespace).next()?;
    has_word(item, "mod").then(|| name.to_owned())
}

fn line_of(code: &str, offset: usize) -> usize {
    // The end of an item lies just behind its last byte, which may be a line break's place.
    1 + code.as_bytes()[..offset.min(code.len())].iter().filter(|b| **b == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_test_module_are_tests() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { [1; 2] }\n}\nfn c() {}\n";
        let source = Source::parse("crates/core/src/a.rs", text);
        let tests: Vec<bool> = (1..=6).map(|line| source.is_test(line)).collect();
        assert_eq!(tests, [false, true, true, true, true, false]);
        assert_eq!(source.len_without_tests(), 2);
    }

    #[test]
    fn a_semicolon_inside_a_type_does_not_end_an_item() {
        let text = "#[cfg(test)]\nfn a(x: [u8; 3])\n{\n}\nfn b() {}\n";
        let source = Source::parse("crates/core/src/a.rs", text);
        assert!(source.is_test(4));
        assert!(!source.is_test(5));
    }

    #[test]
    fn a_file_of_tests_is_known_by_its_place_or_its_declaration() {
        assert!(Source::parse("crates/core/tests/it/a.rs", "fn a() {}").is_test(1));
        assert!(Source::parse("crates/core/src/a/tests.rs", "fn a() {}").is_test(1));
        assert!(!Source::parse("xtask/src/test.rs", "fn a() {}").is_test(1));
        let parent = Source::parse("crates/core/src/lib.rs", "#[cfg(test)]\nmod world;\nmod id;\n");
        assert_eq!(parent.test_modules, ["world"]);
        assert!(!parent.is_test(3));
    }

    #[test]
    fn a_word_is_found_whole() {
        assert!(has_word("x.unwrap();", ".unwrap()"));
        assert!(!has_word("x.unwrap_or(1)", ".unwrap()"));
        assert!(has_word("use axum::Router;", "axum"));
        assert!(!has_word("my_axum_like", "axum"));
    }

    #[test]
    fn names_follow_their_keyword() {
        let code = "pub fn one<T>() { fn two() {} } struct Three;";
        assert_eq!(names_after(code, "fn").collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(names_after(code, "struct").collect::<Vec<_>>(), ["Three"]);
    }
}
