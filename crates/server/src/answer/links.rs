//! Addresses of a task: absolute URLs for programs, paths for pages. And making somebody else's relative
//! ones absolute.

use std::borrow::Cow;

use relais_api::{Links, paths};

use super::base::Base;

/// For whom links are made: what rides in them, and what they lead to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Viewer<'a> {
    /// What its links begin with, if not as `Base` says: where the caller found Relais (see
    /// `Base::for_caller`), or on a page the path alone.
    pub(crate) base: Option<&'a str>,
    /// The ticket that rides in the links, for callers without an API key.
    pub(crate) ticket: Option<&'a str>,
    /// Whether this caller may cancel the task.
    pub(crate) may_cancel: bool,
    /// Whether this caller may retry the task, and the task takes it.
    pub(crate) may_retry: bool,
}

impl<'a> Viewer<'a> {
    /// The same for a page, whose links are paths: it is read under the origin that they lead to, whatever
    /// that is called.
    #[must_use]
    pub(crate) fn for_page(self, base: &'a Base) -> Self {
        Self { base: Some(base.path()), ..self }
    }
}

/// The URL of a task. A ticket is made of characters that need no escape.
#[must_use]
pub(crate) fn to_task(base: &str, id: &str, ticket: Option<&str>) -> String {
    let (query, ticket) = ticket.map_or(("", ""), |ticket| ("?ticket=", ticket));
    [base, "/v1/tasks/", id, query, ticket].concat()
}

/// The URL of its result, for whoever needs no ticket.
#[must_use]
pub(crate) fn to_result(base: &str, id: &str) -> String {
    [base, "/v1/tasks/", id, "/result"].concat()
}

/// The URL of the tasks that a browser follows.
#[must_use]
pub(crate) fn to_session(base: &str) -> String {
    [base, paths::SESSION].concat()
}

/// The URL at which a browser is let forget a task.
#[must_use]
pub(crate) fn to_forget(base: &str, id: &str) -> String {
    [base, &paths::SESSION_FORGET.replace("{id}", id)].concat()
}

/// The URL at which a browser is let forget all its tasks.
#[must_use]
pub(crate) fn to_forget_all(base: &str) -> String {
    [base, paths::SESSION_FORGET_ALL].concat()
}

/// The URL at which a browser is let follow a task by its session.
#[must_use]
pub(crate) fn to_join(base: &str, id: &str, ticket: &str) -> String {
    [base, "/v1/session/", id, "?ticket=", ticket].concat()
}

/// A line of `Link` (RFC 8288) that says where a task is followed.
#[must_use]
pub(crate) fn monitor(url: &str) -> String {
    ["<", url, ">; rel=\"monitor\""].concat()
}

/// All links of a task. Each 202 and each item of a batch has them: every URL is put together in
/// one step.
#[must_use]
pub(crate) fn links(base: &str, id: &str, viewer: &Viewer<'_>) -> Links {
    let (query, ticket) = viewer.ticket.map_or(("", ""), |ticket| ("?ticket=", ticket));
    let url = |part| [base, "/v1/tasks/", id, part, query, ticket].concat();
    Links {
        this: to_task(base, id, viewer.ticket),
        result: url("/result"),
        events: url("/events"),
        why: url("/why"),
        cancel: viewer.may_cancel.then(|| url("/cancel")),
        retry: viewer.may_retry.then(|| url("/retry")),
    }
}

/// A reference made absolute against the target that was called (RFC 3986, 5.2). `origin` is scheme
/// and authority; `target` is path and query.
#[must_use]
pub(crate) fn absolute<'a>(reference: &'a str, origin: &str, target: &str) -> Cow<'a, str> {
    if has_scheme(reference) {
        return Cow::Borrowed(reference);
    }
    if reference.starts_with("//") {
        let scheme = origin.split("://").next().unwrap_or("http");
        return Cow::Owned(format!("{scheme}:{reference}"));
    }
    let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
    let end = reference.find(['?', '#']).unwrap_or(reference.len());
    let (its_path, rest) = reference.split_at(end);
    if its_path.is_empty() {
        let query = match query {
            Some(query) if !rest.starts_with('?') => format!("?{query}"),
            _ => String::new(),
        };
        return Cow::Owned(format!("{origin}{path}{query}{rest}"));
    }
    let merged = if its_path.starts_with('/') {
        its_path.to_owned()
    } else {
        let folder = path.rfind('/').map_or("/", |end| &path[..=end]);
        format!("{folder}{its_path}")
    };
    Cow::Owned(format!("{origin}{}{rest}", without_dots(&merged)))
}

/// A `Link` field (RFC 8288) whose targets are made absolute in the same way. What stands in quotes
/// is a text, even if it looks like a target.
#[must_use]
pub(crate) fn absolute_targets(links: &str, origin: &str, target: &str) -> String {
    let mut out = String::with_capacity(links.len() + origin.len());
    let mut rest = links;
    let mut is_quoted = false;
    while let Some(at) = rest.find(['"', '\\', '<']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let len = match from.as_bytes()[0] {
            b'<' if !is_quoted => {
                let end = from.find('>').unwrap_or(from.len());
                out.push('<');
                out.push_str(&absolute(&from[1..end], origin, target));
                end
            }
            first => {
                is_quoted ^= first == b'"';
                // What is escaped is taken over with its backslash.
                let len = if first == b'\\' && is_quoted { 2 } else { 1 };
                let taken = from.get(..len).unwrap_or(from);
                out.push_str(taken);
                taken.len()
            }
        };
        rest = &from[len..];
    }
    out.push_str(rest);
    out
}

fn has_scheme(reference: &str) -> bool {
    let Some((scheme, _)) = reference.split_once(':') else { return false };
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

/// RFC 3986, 5.2.4.
fn without_dots(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut ends_open = false;
    for segment in path.split('/').skip(1) {
        ends_open = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let slash = if ends_open && !segments.is_empty() { "/" } else { "" };
    format!("/{}{slash}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_of_links_are_made_absolute_and_texts_left_alone() {
        for (links, expected) in [
            ("<c>; rel=next", "<https://a.example/b/c>; rel=next"),
            ("<https://o/x>; rel=\"a\"", "<https://o/x>; rel=\"a\""),
            (
                "</x>;rel=a, <?p=2>;rel=b",
                "<https://a.example/x>;rel=a, <https://a.example/b/d?p=2>;rel=b",
            ),
            ("<c>; title=\"<c> \\\"<c>\"", "<https://a.example/b/c>; title=\"<c> \\\"<c>\""),
            ("<c", "<https://a.example/b/c"),
            ("nothing \\", "nothing \\"),
            ("\"é\\", "\"é\\"),
        ] {
            assert_eq!(absolute_targets(links, "https://a.example", "/b/d?q"), expected, "{links}");
        }
    }

    #[test]
    fn relative_references_are_made_absolute() {
        for (reference, expected) in [
            ("https://other.example/x", "https://other.example/x"),
            ("mailto:a@b", "mailto:a@b"),
            ("//other.example/x", "https://other.example/x"),
            ("/x?y#z", "https://api.example/x?y#z"),
            ("x", "https://api.example/a/b/x"),
            ("./x", "https://api.example/a/b/x"),
            ("../x", "https://api.example/a/x"),
            ("../../../x", "https://api.example/x"),
            ("..", "https://api.example/a/"),
            ("?p=1", "https://api.example/a/b/c?p=1"),
            ("#f", "https://api.example/a/b/c?q=1#f"),
            ("", "https://api.example/a/b/c?q=1"),
            ("x/y:z", "https://api.example/a/b/x/y:z"),
        ] {
            assert_eq!(absolute(reference, "https://api.example", "/a/b/c?q=1"), expected);
        }
    }
}
