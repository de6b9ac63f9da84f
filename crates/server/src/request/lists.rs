//! Fields that are lists, with parameters and quoted strings (RFC 9110, 5.6): `Prefer`, `Forwarded`.

/// The parts between separators that are not inside a quoted string.
pub(crate) fn split(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let mut escaped = false;
    text.split(move |byte| {
        if escaped {
            escaped = false;
        } else if quoted && *byte == b'\\' {
            escaped = true;
        } else if *byte == b'"' {
            quoted = !quoted;
        }
        *byte == separator && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_quotes_separates_nothing() {
        let parts = |text: &'static str| split(text.as_bytes(), b',').collect::<Vec<_>>();
        assert_eq!(parts("a,b"), [b"a", b"b"]);
        assert_eq!(parts(r#"for="a,b",c"#), [br#"for="a,b""#.as_slice(), b"c"]);
        assert_eq!(parts(r#""\",",b"#), [br#""\",""#.as_slice(), b"b"]);
    }
}
