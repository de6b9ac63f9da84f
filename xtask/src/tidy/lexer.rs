//! Splits Rust text into code, comments and string literals, just enough to grep each apart.
//!
//! Not here: syntax. A rule that looks for a word in code must not trip over the same word in a
//! comment or a message, and that is all this knows.

/// Rust text taken apart.
pub(super) struct Lexed {
    /// The text with comments and the insides of literals blanked; line breaks and offsets kept.
    pub(super) code: String,
    /// The comments, one entry for each line of each comment, without the text around it.
    pub(super) comments: Vec<Fragment>,
    /// The string literals as they are written, without quotes and with their escapes.
    pub(super) literals: Vec<Fragment>,
}

/// A piece of a file and the line it begins on, counted from 1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fragment {
    pub(super) line: usize,
    pub(super) text: String,
}

/// Takes `text` apart. Text that is not Rust gives some answer, never a panic.
pub(super) fn lex(text: &str) -> Lexed {
    let mut lexer = Lexer {
        bytes: text.as_bytes(),
        code: text.as_bytes().to_vec(),
        at: 0,
        comments: Vec::new(),
        literals: Vec::new(),
    };
    while lexer.at < lexer.bytes.len() {
        lexer.step();
    }
    Lexed {
        code: String::from_utf8_lossy(&lexer.code).into_owned(),
        comments: fragments(text, &lexer.comments, true),
        literals: fragments(text, &lexer.literals, false),
    }
}

struct Lexer<'a> {
    bytes: &'a [u8],
    code: Vec<u8>,
    at: usize,
    comments: Vec<(usize, usize)>,
    literals: Vec<(usize, usize)>,
}

impl Lexer<'_> {
    fn step(&mut self) {
        let rest = &self.bytes[self.at..];
        if rest.starts_with(b"//") {
            let end = self.find_from(self.at, b"\n");
            self.take_comment(end);
        } else if rest.starts_with(b"/*") {
            let end = self.end_of_block_comment();
            self.take_comment(end);
        } else if rest[0] == b'"' {
            self.take_string();
        } else if let Some(hashes) = self.raw_string_hashes() {
            self.take_raw_string(hashes);
        } else if rest[0] == b'\'' {
            self.take_char_or_lifetime();
        } else {
            self.at += 1;
        }
    }

    fn take_comment(&mut self, end: usize) {
        self.comments.push((self.at, end));
        self.blank(self.at, end);
        self.at = end;
    }

    fn end_of_block_comment(&self) -> usize {
        let (mut depth, mut at) = (0_usize, self.at);
        while at < self.bytes.len() {
            if self.bytes[at..].starts_with(b"/*") {
                depth += 1;
                at += 2;
            } else if self.bytes[at..].starts_with(b"*/") {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            } else {
                at += 1;
            }
        }
        self.bytes.len()
    }

    fn take_string(&mut self) {
        let start = self.at + 1;
        let mut end = start;
        while end < self.bytes.len() && self.bytes[end] != b'"' {
            end += if self.bytes[end] == b'\\' { 2 } else { 1 };
        }
        let end = end.min(self.bytes.len());
        self.literals.push((start, end));
        self.blank(start, end);
        self.at = end + 1;
    }

    /// The number of hashes where a raw string begins here (`r"`, `r#"`, `br#"`).
    fn raw_string_hashes(&self) -> Option<usize> {
        let inside_word = self.at > 0 && is_word(self.bytes[self.at - 1]);
        if self.bytes[self.at] != b'r' || (inside_word && !self.is_prefixed()) {
            return None;
        }
        let hashes = self.bytes[self.at + 1..].iter().take_while(|b| **b == b'#').count();
        (self.bytes.get(self.at + 1 + hashes) == Some(&b'"')).then_some(hashes)
    }

    /// Whether the byte before is the `b` or `c` of a prefix and not the end of a name.
    fn is_prefixed(&self) -> bool {
        matches!(self.bytes[self.at - 1], b'b' | b'c')
            && (self.at < 2 || !is_word(self.bytes[self.at - 2]))
    }

    fn take_raw_string(&mut self, hashes: usize) {
        let start = self.at + hashes + 2;
        let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
        let end = self.find_from(start, &close);
        self.literals.push((start, end));
        self.blank(start, end);
        self.at = end + close.len();
    }

    fn take_char_or_lifetime(&mut self) {
        let rest = &self.bytes[self.at + 1..];
        let len = match rest.first() {
            Some(b'\\') => 2 + rest.iter().skip(2).take_while(|b| **b != b'\'').count(),
            Some(first) => utf8_len(*first),
            None => 0,
        };
        if rest.get(len) == Some(&b'\'') {
            self.blank(self.at + 1, self.at + 1 + len);
            self.at += len + 2;
        } else {
            self.at += 1;
        }
    }

    fn find_from(&self, start: usize, needle: &[u8]) -> usize {
        let start = start.min(self.bytes.len());
        self.bytes[start..]
            .windows(needle.len())
            .position(|window| window == needle)
            .map_or(self.bytes.len(), |offset| start + offset)
    }

    fn blank(&mut self, start: usize, end: usize) {
        let end = end.min(self.code.len());
        for byte in self.code[start.min(end)..end].iter_mut().filter(|byte| **byte != b'\n') {
            *byte = b' ';
        }
    }
}

/// Whether a byte may stand in a name.
pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn utf8_len(first: u8) -> usize {
    match first {
        0xF0.. => 4,
        0xE0.. => 3,
        0xC0.. => 2,
        _ => 1,
    }
}

fn fragments(text: &str, spans: &[(usize, usize)], each_line: bool) -> Vec<Fragment> {
    let mut found = Vec::new();
    let (mut line, mut counted) = (1, 0);
    for &(start, end) in spans {
        line += newlines(&text.as_bytes()[counted..start.min(text.len())]);
        counted = start.min(text.len());
        let piece = text.get(start..end).unwrap_or_default();
        if each_line {
            let lines = piece.split('\n').enumerate();
            found.extend(lines.map(|(i, t)| Fragment { line: line + i, text: t.to_owned() }));
        } else {
            found.push(Fragment { line, text: piece.to_owned() });
        }
    }
    found
}

fn newlines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_leave_the_code() {
        let lexed = lex("let a = \"x // y\"; // why\n/* a /* b */ c */ let b = r#\"q \" q\"#;\n");
        assert_eq!(
            lexed.code,
            "let a = \"      \";       \n                  let b = r#\"     \"#;\n"
        );
        assert_eq!(lexed.literals[0], Fragment { line: 1, text: "x // y".into() });
        assert_eq!(lexed.literals[1], Fragment { line: 2, text: "q \" q".into() });
        assert_eq!(lexed.comments[0], Fragment { line: 1, text: "// why".into() });
    }

    #[test]
    fn a_quote_as_a_character_opens_no_string() {
        let lexed = lex(r#"match c { '"' | '\'' | '\u{1F600}' | 'é' => f::<'a>("s"), _ => b'"' }"#);
        assert_eq!(lexed.literals, [Fragment { line: 1, text: "s".into() }]);
        assert!(lexed.code.contains("<'a>"));
    }

    #[test]
    fn escapes_and_raw_names_do_not_confuse() {
        let lexed = lex("f(\"a\\\"b\", br\"c\\\", r#type, for\"d\")");
        let texts: Vec<&str> = lexed.literals.iter().map(|l| l.text.as_str()).collect();
        assert_eq!(texts, ["a\\\"b", "c\\", "d"]);
    }

    #[test]
    fn broken_text_gives_an_answer() {
        for text in ["\"", "r#\"", "/*", "'", "'\\", "\"\\", "b'", "é\"é", "r", "'é"] {
            assert_eq!(lex(text).code.len(), text.len());
        }
    }
}
