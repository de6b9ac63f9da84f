//! Pages for people: a task, live in a browser, and what a problem means. No framework, no foreign
//! content: each page may only do what its own script does.

mod asking;
mod words;

use std::fmt::Write as _;
use std::sync::LazyLock;

use aws_lc_rs::digest;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::{
    CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use relais_api::{Code, Status, Task};
use relais_core::EventKind;

pub(crate) use self::asking::asking;
use self::words::Words;
use crate::request::accept::Language;

const STYLE: &str = include_str!("pages/page.css");
const TICKET: &str = include_str!("pages/ticket.html");
const TICKET_SCRIPT: &str = include_str!("pages/ticket.js");
/// How often a browser without scripts looks again, seconds.
const REFRESH_S: u32 = 5;
const PROBLEM: &str = include_str!("pages/problem.html");

/// What the pages may do: their own style and script, and calls to where they came from.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let (style, script) = (hash(STYLE), hash(TICKET_SCRIPT));
    let policy = format!(
        "default-src 'none'; style-src {style}; script-src {script}; connect-src 'self'; \
         base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
    );
    HeaderValue::from_str(&policy).expect("ASCII")
});

/// Where the page of a task leads by itself.
#[derive(Debug)]
pub(crate) enum Onward {
    /// It shows how the task stands, and stays.
    Stays,
    /// When the task is over it loads itself again, and is told.
    WhenOver,
    /// To this address, at once.
    Now(String),
}

/// The page of a task, which leads to its answer if there is one. Its links are paths, because it
/// is read under the origin that they lead to.
#[must_use]
pub(crate) fn ticket(
    task: &Task,
    has_answer: bool,
    language: Language,
    onward: &Onward,
) -> Response {
    let words = Words::of(language);
    let heading = words.heading(&task.status);
    let own = escape(path_of(&task.links.this));
    let progress = match task.progress.as_ref().and_then(|progress| progress.percent) {
        _ if task.terminal => "hidden".to_owned(),
        Some(percent) => format!("value=\"{percent}\""),
        // Without a value it moves, which says that something is being done.
        None => String::new(),
    };
    // Without a script the page loads itself again, from its own address:
    // not the form that made it.
    let next = match onward {
        Onward::Now(there) => escape(there),
        Onward::Stays | Onward::WhenOver => String::new(),
    };
    let refresh = |seconds: u32, to: &str| {
        format!(
            "<noscript><meta http-equiv=\"refresh\" content=\"{seconds}; url={to}\"></noscript>"
        )
    };
    let refresh = match (onward, task.terminal) {
        (Onward::Now(_), _) => refresh(0, &next),
        (Onward::Stays | Onward::WhenOver, true) => String::new(),
        (Onward::Stays | Onward::WhenOver, false) => refresh(REFRESH_S, &own),
    };
    let kinds = EventKind::ALL.iter().map(|kind| [kind.as_str(), kind.status().as_str()].join("="));
    let headings = words.headings().map(|(status, text)| format!("data-{status}=\"{text}\""));
    let eta = task.eta.as_ref().map(|eta| eta.p50.to_string());
    let position = task.position.map(|position| position.to_string());
    let page = fill(
        TICKET,
        &[
            ("language", words.code),
            ("style", STYLE),
            ("script", TICKET_SCRIPT),
            ("refresh", &refresh),
            ("self", &own),
            ("onward", &next),
            ("events", &escape(path_of(&task.links.events))),
            ("result", &escape(path_of(&task.links.result))),
            ("terminal", if task.terminal { "true" } else { "false" }),
            ("kinds", &kinds.collect::<Vec<_>>().join(" ")),
            ("position", &position.unwrap_or_default()),
            ("eta", &escape(&eta.unwrap_or_default())),
            ("headings", &headings.join(" ")),
            ("place", words.place),
            ("expected", words.expected),
            ("heading", heading),
            ("progress", &progress),
            ("message", &escape(message_of(task, words.code))),
            ("done", shown(has_answer)),
            ("see", words.see),
            ("waits", shown(!task.terminal)),
            ("next", words.next),
            ("helps", shown(task.terminal && task.status != Status::Succeeded)),
            ("help", words.help),
            ("details", words.details),
            ("number", words.number),
            ("id", &escape(&task.id)),
            ("accepted", words.accepted),
            ("created", &escape(&task.created_at.to_string())),
            ("latest", words.latest),
            ("updated", &escape(&task.updated_at.to_string())),
            ("address", words.address),
            ("come_back", words.come_back),
        ],
    );
    let mut response = html(page);
    response.headers_mut().insert(CONTENT_LANGUAGE, HeaderValue::from_static(words.code));
    response
}

/// What a person is shown whose request was refused, or could not be passed on.
#[must_use]
pub(crate) fn refused(code: &Code, language: Language) -> Response {
    let words = Words::of(language);
    let message = code.message().and_then(|message| message.0.get(words.code).cloned());
    let next = if code.retryable { words.again } else { words.in_vain };
    let body = format!(
        "<h1>{}</h1>\n<p>{}</p>\n<p>{next}</p>\n<p class=\"quiet\">{} ({})</p>\n",
        words.refused,
        escape(&message.unwrap_or_default()),
        escape(code.title),
        code.code
    );
    let values =
        [("language", words.code), ("style", STYLE), ("title", words.refused), ("body", &body)];
    let mut response = html(fill(PROBLEM, &values));
    response.headers_mut().insert(CONTENT_LANGUAGE, HeaderValue::from_static(words.code));
    response
}

/// The tasks that a browser follows by its session.
#[must_use]
pub(crate) fn session(tasks: &[Task], next: Option<&str>, language: Language) -> Response {
    let words = Words::of(language);
    let mut body = String::new();
    for task in tasks {
        let (link, heading) = (escape(path_of(&task.links.this)), words.heading(&task.status));
        let _ = writeln!(body, "<p><a href=\"{link}\">{heading}</a> {}</p>", escape(&task.id));
    }
    if let Some(next) = next {
        let _ = writeln!(body, "<p><a href=\"?after={}\">{}</a></p>", escape(next), words.see);
    }
    let values = [("language", words.code), ("style", STYLE), ("title", ""), ("body", &body)];
    let mut response = html(fill(PROBLEM, &values));
    response.headers_mut().insert(CONTENT_LANGUAGE, HeaderValue::from_static(words.code));
    response
}

/// A page instead of a document: with the document's status and fields, but for what is said of the
/// content.
#[must_use]
pub(crate) fn in_place_of(document: Response, page: Response) -> Response {
    let (mut head, _) = document.into_parts();
    let (own, body) = page.into_parts();
    head.headers.extend(own.headers);
    Response::from_parts(head, body)
}

/// The attribute of an element that is there only if this holds.
const fn shown(is_shown: bool) -> &'static str {
    if is_shown { "" } else { "hidden" }
}

/// What is told of a task last: its outcome in this language, or else its progress.
fn message_of<'a>(task: &'a Task, language: &str) -> &'a str {
    let told = task.progress.as_ref().and_then(|progress| progress.message.as_deref());
    let said = task.message.as_ref().and_then(|message| {
        let in_language = message.0.get(language).or_else(|| message.0.get("en"));
        in_language.or_else(|| message.0.values().next())
    });
    said.map(String::as_str).or(told.filter(|_| !task.terminal)).unwrap_or_default()
}

/// Path and query of a URL of ours.
pub(crate) fn path_of(url: &str) -> &str {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    url[after_scheme..].find('/').map_or("/", |at| &url[after_scheme + at..])
}

/// The page of a problem.
#[must_use]
pub(crate) fn problem(code: &Code) -> Response {
    let title = escape(code.code);
    let body = rendered(code.page());
    let values = [("language", "en"), ("style", STYLE), ("title", title.as_str()), ("body", &body)];
    html(fill(PROBLEM, &values))
}

/// Markdown as it is written.
#[must_use]
pub(crate) fn markdown(text: &'static str) -> Response {
    answer(text.into(), "text/markdown; charset=utf-8")
}

fn html(page: String) -> Response {
    let mut response = answer(page.into(), "text/html; charset=utf-8");
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    // A ticket in the page's address stays here.
    response.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

fn answer(body: axum::body::Body, kind: &'static str) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Puts values, escaped already, where the template names them. One pass: a value that looks like a
/// name is left alone.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(template.len() + 4_096);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let (name, after) = after.split_once("}}").expect("the template closes each name");
        let value = values.iter().find(|(known, _)| *known == name);
        out.push_str(value.expect("the template names known values").1);
        rest = after;
    }
    out.push_str(rest);
    out
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            character => out.push(character),
        }
    }
    out
}

/// The Markdown of the problems' pages, of which only headings, paragraphs
/// and fenced blocks are used.
fn rendered(text: &str) -> String {
    let mut out = String::new();
    let mut fenced = false;
    let mut paragraph = String::new();
    let close = |paragraph: &mut String, out: &mut String| {
        if !paragraph.is_empty() {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "<p>{}</p>", escape(paragraph.trim()));
            paragraph.clear();
        }
    };
    for line in text.lines() {
        if line.starts_with("```") {
            close(&mut paragraph, &mut out);
            fenced = !fenced;
            out.push_str(if fenced { "<pre>" } else { "</pre>\n" });
        } else if fenced {
            let _ = writeln!(out, "{}", escape(line));
        } else if let Some(title) = line.strip_prefix("## ") {
            close(&mut paragraph, &mut out);
            let _ = writeln!(out, "<h2>{}</h2>", escape(title));
        } else if let Some(title) = line.strip_prefix("# ") {
            close(&mut paragraph, &mut out);
            let _ = writeln!(out, "<h1>{}</h1>", escape(title));
        } else if line.trim().is_empty() {
            close(&mut paragraph, &mut out);
        } else {
            paragraph.push_str(&line.replace("**", ""));
            paragraph.push(' ');
        }
    }
    close(&mut paragraph, &mut out);
    out
}

fn hash(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(digest::digest(&digest::SHA256, text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_become_markup_or_placeholders() {
        assert_eq!(escape("<script>'\"&"), "&lt;script&gt;&#39;&quot;&amp;");
        assert_eq!(fill("a{{x}}b{{y}}", &[("x", "{{y}}"), ("y", "1")]), "a{{y}}b1");
    }

    #[test]
    fn paths_are_cut_from_urls() {
        assert_eq!(path_of("https://a.example:8/b/v1?ticket=x"), "/b/v1?ticket=x");
        assert_eq!(path_of("http://[::1]:1"), "/");
    }

    #[test]
    fn every_problem_has_a_page() {
        for code in relais_api::CODES {
            let page = rendered(code.page());
            assert!(page.starts_with(&format!("<h1>{}</h1>", code.code)), "{}", code.code);
            assert_eq!(page.matches("<pre>").count(), page.matches("</pre>").count());
        }
    }
}
