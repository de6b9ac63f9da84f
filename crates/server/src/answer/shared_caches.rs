//! Whether a shared cache may keep an answer, for what must not be given to the next who asks.
//!
//! Caches differ in how they read what is not well formed. So this reads strictly, and what is in
//! doubt may be kept. Not here: what this process keeps, which is nothing.

use http::header::CACHE_CONTROL;
use http::{HeaderMap, Method};

/// Fields by which an answer speaks to certain caches, which go by them and not by `Cache-Control`.
const TARGETED: [&str; 2] = ["surrogate-control", "x-accel-expires"];

/// Whether no shared cache may keep an answer to a request with this method.
///
/// It must not be of a method that caches keep answers of, or must forbid that for all of it; and
/// nothing in it may allow it.
pub(crate) fn keep_nothing_of(method: &Method, answer: &HeaderMap) -> bool {
    let is_for_some = |name: &str| {
        // `CDN-Cache-Control` is the one that all of them read (RFC 9213); each has one more.
        TARGETED.contains(&name) || name.ends_with("-cache-control")
    };
    if answer.keys().any(|name| is_for_some(name.as_str())) {
        return false;
    }
    let Ok(said) = Said::of(answer) else { return false };
    let is_kept_by_default = matches!(method.as_str(), "GET" | "HEAD" | "QUERY");
    !said.allows_shared && (!is_kept_by_default || said.forbids())
}

/// Nobody knows what others read in it.
struct NotWellFormed;

/// What the lines of `Cache-Control` say together.
#[derive(Debug, Default)]
struct Said {
    /// `public`, or `s-maxage`.
    allows_shared: bool,
    has_private: bool,
    /// `private="set-cookie"`: of this field only, and some caches take it for all.
    has_private_of_fields: bool,
    has_no_store: bool,
    /// A cache that knows the status may ignore `no-store` then (RFC 9111, 5.2.2.3).
    has_must_understand: bool,
}

impl Said {
    /// Reads all lines.
    fn of(answer: &HeaderMap) -> Result<Self, NotWellFormed> {
        let mut said = Self::default();
        for line in answer.get_all(CACHE_CONTROL) {
            let mut rest = line.as_bytes();
            while let Some((directive, behind)) = next(rest)? {
                said.note(&directive)?;
                rest = behind;
            }
        }
        Ok(said)
    }

    fn note(&mut self, directive: &Directive<'_>) -> Result<(), NotWellFormed> {
        let &Directive { name, has_argument } = directive;
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        if is("public") || is("s-maxage") {
            self.allows_shared = true;
        } else if is("private") {
            self.has_private |= !has_argument;
            self.has_private_of_fields |= has_argument;
        } else if is("no-store") {
            // There is no such thing as a part that is not stored.
            if has_argument {
                return Err(NotWellFormed);
            }
            self.has_no_store = true;
        } else if is("must-understand") {
            self.has_must_understand = true;
        }
        Ok(())
    }

    const fn forbids(&self) -> bool {
        let is_private = self.has_private && !self.has_private_of_fields;
        is_private || (self.has_no_store && !self.has_must_understand)
    }
}

/// `name`, `name=token` or `name="text"` (RFC 9111, 5.2).
struct Directive<'a> {
    name: &'a [u8],
    has_argument: bool,
}

/// The first directive of a list, and what follows it; nothing at its end.
fn next(list: &[u8]) -> Result<Option<(Directive<'_>, &[u8])>, NotWellFormed> {
    // Items may be empty (RFC 9110, 5.6.1.2).
    let skipped = list.iter().take_while(|byte| matches!(byte, b',' | b' ' | b'\t')).count();
    let list = &list[skipped..];
    if list.is_empty() {
        return Ok(None);
    }
    let (name, mut rest) = token(list).ok_or(NotWellFormed)?;
    let has_argument = rest.first() == Some(&b'=');
    if has_argument {
        rest = match rest[1..].strip_prefix(b"\"") {
            Some(opened) => behind_quoted(opened),
            None => token(&rest[1..]).map(|(_, behind)| behind),
        }
        .ok_or(NotWellFormed)?;
    }
    let rest = rest.trim_ascii_start();
    match rest.first() {
        None | Some(b',') => Ok(Some((Directive { name, has_argument }, rest))),
        Some(_) => Err(NotWellFormed),
    }
}

/// A token (RFC 9110, 5.6.2) and what follows it; there is none of no character.
fn token(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let len = text.iter().take_while(is_part).count();
    (len > 0).then(|| text.split_at(len))
}

/// What follows a quoted text that has been opened; it must be closed.
fn behind_quoted(text: &[u8]) -> Option<&[u8]> {
    let mut bytes = text.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Some(&text[at + 1..]),
            b'\\' => drop(bytes.next()?),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn answer(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
        }
        headers
    }

    /// Of GET, and of POST.
    fn none_keeps(lines: &[&str]) -> (bool, bool) {
        let fields: Vec<_> = lines.iter().map(|line| ("cache-control", *line)).collect();
        let headers = answer(&fields);
        let of = |method| keep_nothing_of(&method, &headers);
        assert_eq!(of(Method::GET), of(Method::HEAD));
        assert_eq!(of(Method::GET), of(Method::from_bytes(b"QUERY").expect("a method")));
        assert_eq!(of(Method::POST), of(Method::PUT));
        (of(Method::GET), of(Method::POST))
    }

    #[test]
    fn only_what_forbids_it_for_all_of_it_is_kept_by_nobody() {
        let (both, posts, neither) = ((true, true), (false, true), (false, false));
        for (lines, expected) in [
            (&[][..], posts),
            (&[""], posts),
            (&["no-store"], both),
            (&["private"], both),
            (&["PRIVATE"], both),
            (&["No-Store, Max-Age=0"], both),
            (&["private, no-store"], both),
            (&["max-age=60, private"], both),
            (&["max-age=60", "private"], both),
            (&["private", "no-store"], both),
            (&[", ,\tprivate ,"], both),
            (&["max-age=\"60\", private"], both),
            // Kept, and asked about, is kept.
            (&["no-cache"], posts),
            (&["max-age=0, must-revalidate"], posts),
            (&["max-age=60"], posts),
            (&["no-transform"], posts),
            (&["no-storage"], posts),
            (&["x-private"], posts),
            (&["ext=private"], posts),
            (&["ext=\"private, no-store\""], posts),
            (&["ext=\"\\\", private, \\\"\""], posts),
            // What is said of some fields is not said of all.
            (&["private=\"set-cookie\""], posts),
            (&["private=set-cookie"], posts),
            (&["private=\"set-cookie, link\", max-age=60"], posts),
            (&["private, private=\"set-cookie\""], posts),
            (&["private=\"set-cookie\"", "private"], posts),
            (&["private=\"set-cookie\", no-store"], both),
            (&["private=\"\""], posts),
            (&["no-store, must-understand"], posts),
            (&["private, no-store, must-understand"], both),
            // Whatever else is said.
            (&["public"], neither),
            (&["no-store, public"], neither),
            (&["private", "PUBLIC"], neither),
            (&["private, s-maxage=60"], neither),
            (&["S-MaxAge=0, no-store"], neither),
            (&["public=\"x\", private"], neither),
            (&["ext=\"public\", private"], both),
            // What cannot be read.
            (&["private;no-store"], neither),
            (&["max-age=5;, private"], neither),
            (&["private no-store"], neither),
            (&["private =\"x\""], neither),
            (&["private="], neither),
            (&["private, ext=\"open"], neither),
            (&["ext=\"open", "\", private"], neither),
            (&["private, ext=\"open\\\""], neither),
            (&["private, ext=\"a\"b"], neither),
            (&["private, =x"], neither),
            (&["private, \"no-store\""], neither),
            (&["no-store=x"], neither),
            (&["no-store=\"set-cookie\", private"], neither),
            (&["private, caf\u{e9}"], neither),
            (&["private, max-age=60 60"], neither),
            (&["private", "=", "no-store"], neither),
        ] {
            assert_eq!(none_keeps(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn what_speaks_to_certain_caches_counts_whatever_it_says() {
        for name in [
            "CDN-Cache-Control",
            "Surrogate-Control",
            "X-Accel-Expires",
            "Vercel-CDN-Cache-Control",
        ] {
            for value in ["no-store", "max-age=60", "0", ""] {
                let headers = answer(&[("cache-control", "private, no-store"), (name, value)]);
                for method in [Method::GET, Method::POST] {
                    assert!(!keep_nothing_of(&method, &headers), "{name}: {value}");
                }
            }
        }
        let others = [("cache-control", "private"), ("expires", "0"), ("pragma", "cache")];
        assert!(keep_nothing_of(&Method::GET, &answer(&others)));
    }
}
