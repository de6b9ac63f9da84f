//! Entity tags: of tasks weak, because places and estimates change without an event; of results
//! strong, because an outcome never changes.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use relais_core::{ResultVersion, Task};

use crate::request::accept::Language;

/// The forms of a task, which have a tag each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For programs.
    Json,
    /// For people, in their language.
    Html(Language),
}

/// The tag of a version of a task.
#[must_use]
pub(crate) fn tag(version: u64, form: Form) -> HeaderValue {
    let form = match form {
        Form::Json => "json",
        Form::Html(Language::English) => "html",
        Form::Html(Language::French) => "html-fr",
    };
    HeaderValue::from_str(&format!("W/\"v{version}-{form}\"")).expect("ASCII")
}

/// The tag of the answer that the latest attempt of a task brings, as it comes and as the outcome:
/// another attempt may bring another one, and nothing else does.
#[must_use]
pub(crate) fn of_result(task: &Task) -> HeaderValue {
    let ResultVersion { run, attempt, is_other } = task.life.result_version();
    let other = if is_other { "-s" } else { "" };
    HeaderValue::from_str(&format!("\"{}-{run}-{attempt}{other}\"", task.spec.id)).expect("ASCII")
}

/// Whether `If-Match` is absent, names the tag by strong comparison (RFC 9110, 13.1.1), or is `*`.
#[must_use]
pub(crate) fn may_match(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let mut others = names(headers, &header::IF_MATCH).peekable();
    others.peek().is_none() || others.any(|other| other == "*" || other == *tag)
}

/// Whether `If-None-Match` names the tag, by weak comparison (RFC 9110, 8.8.3.2), or is `*`.
#[must_use]
pub(crate) fn is_known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let Ok(tag) = tag.to_str() else { return false };
    names(headers, &header::IF_NONE_MATCH).any(|other| other == "*" || opaque(other) == opaque(tag))
}

/// Whether the client says what it knows already.
#[must_use]
pub(crate) fn is_conditional(headers: &HeaderMap) -> bool {
    headers.contains_key(header::IF_NONE_MATCH)
}

/// The tags that a condition names. One that cannot be read is that of nothing.
fn names<'a>(headers: &'a HeaderMap, condition: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(condition).iter().map(|line| line.to_str().unwrap_or_default());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_weakly_and_in_lists() {
        let tag = tag(4, Form::Json);
        assert_eq!(tag, "W/\"v4-json\"");
        for (line, expected) in [
            ("W/\"v4-json\"", true),
            ("\"v4-json\"", true),
            ("\"x\", W/\"v4-json\"", true),
            ("*", true),
            ("W/\"v3-json\"", false),
            ("W/\"v4-html\"", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, line.parse().expect("a field"));
            assert_eq!(is_known(&headers, &tag), expected, "{line}");
        }
    }
}
