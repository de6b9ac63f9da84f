//! Templates of bodies: the document of an event, in the form that a receiver wants.
//!
//! The language is Jinja's without what makes values: names, filters, comparisons, conditions and loops, but no
//! variables, lists, arithmetic or calls. So each value is one of the document, a text of the template, or
//! made of those by a filter with a bound. (With lists of its own a template of a hundred bytes makes a value
//! that takes years to compare, which no fuel is charged for.)
//! A template makes a body and nothing else: no field, no URL. Not here: which event it is given, and sending.

use std::fmt::Write as _;
use std::io;

use bytes::Bytes;
use minijinja::machinery::{Token, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, ValueKind};
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value,
};
use relais_core::limits;
use serde::de::IgnoredAny;

/// The text of a template that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(String);

/// Why a text is no template, fit for "field template: {error}".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    /// It is empty, or too long.
    #[error("must have 1 to {} bytes", limits::TEMPLATE_BYTES_MAX)]
    Length,
    /// It is not written as a template is.
    #[error("cannot be read: {0}")]
    Syntax(String),
    /// It wants more than templates have.
    #[error("line {line}: templates have no {what}")]
    Beyond {
        /// What it wants.
        what: String,
        /// Where, from 1.
        line: u16,
    },
}

/// Why a template makes no body of an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateFault {
    /// A filter is unknown, or was given what it cannot take, or the work was too much.
    #[error("the template failed: {0}")]
    Failed(String),
    /// The body is too long.
    #[error("the template makes more than {} bytes", limits::TEMPLATE_OUTPUT_BYTES_MAX)]
    TooLong,
    /// The body is not JSON.
    #[error("what the template makes is not JSON: {0}")]
    NotJson(String),
}

impl Template {
    /// Reads one.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, InvalidTemplate> {
        if !(1..=limits::TEMPLATE_BYTES_MAX).contains(&text.len()) {
            return Err(InvalidTemplate::Length);
        }
        refuse_beyond(text)?;
        let syntax = |error: Error| InvalidTemplate::Syntax(said(&error));
        environment().template_from_str(text).map(drop).map_err(syntax)?;
        Ok(Self(text.to_owned()))
    }

    /// The text it was read from.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The body that it makes of the document of an event.
    ///
    /// # Errors
    /// When there is none that is JSON within the limits.
    pub fn body(&self, document: &serde_json::Value) -> Result<Bytes, TemplateFault> {
        let failed = |error: Error| TemplateFault::Failed(said(&error));
        let environment = environment();
        let template = environment.template_from_str(&self.0).map_err(failed)?;
        let body = template.render(Value::from(Serde(document))).map_err(failed)?;
        if body.len() > limits::TEMPLATE_OUTPUT_BYTES_MAX {
            return Err(TemplateFault::TooLong);
        }
        match serde_json::from_str::<IgnoredAny>(&body) {
            Ok(_) => Ok(body.into()),
            Err(error) => Err(TemplateFault::NotJson(error.to_string())),
        }
    }
}

/// Refuses what makes values: see the module.
fn refuse_beyond(text: &str) -> Result<(), InvalidTemplate> {
    let mut before = None;
    for token in tokenize(text, false, SyntaxConfig::default()) {
        let (token, span) = token.map_err(|error| InvalidTemplate::Syntax(said(&error)))?;
        let begins_block = matches!(before, Some(Token::BlockStart));
        // Behind a value it is a member of it.
        let is_list =
            !matches!(before, Some(Token::Ident(_) | Token::BracketClose | Token::ParenClose));
        let is_known = match &token {
            Token::Ident(word) if begins_block => STATEMENTS.contains(word),
            Token::Ident(word) => *word != "recursive",
            Token::BracketOpen => !is_list,
            Token::TemplateData(_)
            | Token::VariableStart
            | Token::VariableEnd
            | Token::BlockStart
            | Token::BlockEnd
            | Token::Str(_)
            | Token::String(_)
            | Token::Int(_)
            | Token::Dot
            | Token::Tilde
            | Token::Pipe
            | Token::Eq
            | Token::Ne
            | Token::Gt
            | Token::Gte
            | Token::Lt
            | Token::Lte
            | Token::BracketClose
            | Token::ParenOpen
            | Token::ParenClose => true,
            _ => false,
        };
        if !is_known {
            let what = match token {
                Token::Ident(word) => format!("{word:?}"),
                Token::BracketOpen => "lists of their own".to_owned(),
                other => other.to_string(),
            };
            return Err(InvalidTemplate::Beyond { what, line: span.start_line });
        }
        before = Some(token);
    }
    Ok(())
}

const STATEMENTS: [&str; 6] = ["if", "elif", "else", "endif", "for", "endfor"];

/// What templates have: three filters, and no function.
fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_fuel(Some(limits::TEMPLATE_FUEL));
    // One template is for many kinds of events: what one of them does not have is empty.
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    // What the formatter has escaped is not escaped again.
    environment.set_auto_escape_callback(|_| AutoEscape::Custom("json".into()));
    environment.set_formatter(print);
    environment.add_filter("json", |value: &Value| json(value).map(Value::from_safe_string));
    environment.add_filter("default", |value: Value, other: Value| {
        if value.is_undefined() || value.is_none() { other } else { value }
    });
    environment.add_filter("truncate", |value: String, chars: usize| shorten(value, chars));
    environment
}

/// Prints a value as a part of a JSON string: nothing that it holds ends the string that it is in.
fn print(out: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let text = match value.as_str() {
        _ if value.is_undefined() => return Ok(()),
        Some(text) if value.is_safe() => text.to_owned(),
        Some(_) => within_quotes(value)?,
        None if value.kind() == ValueKind::Number => json(value)?,
        None => within_quotes(&Value::from(json(value)?))?,
    };
    out.write_str(&text).map_err(Error::from)
}

fn within_quotes(text: &Value) -> Result<String, Error> {
    let quoted = json(text)?;
    let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    Ok(inner.unwrap_or_default().to_owned())
}

/// A value as JSON; what is not there is `null`.
fn json(value: &Value) -> Result<String, Error> {
    let mut text = Bounded(Vec::new());
    serde_json::to_writer(&mut text, value)
        .map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))?;
    Ok(String::from_utf8(text.0).expect("JSON is UTF-8"))
}

/// Takes no more than a body may have.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > limits::TEMPLATE_OUTPUT_BYTES_MAX {
            return Err(io::Error::other("a value is longer than a body may be"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The first characters of a text, with `…` for what is left out.
fn shorten(mut text: String, chars: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(chars) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// An error with its line, and without the name that the template does not have.
fn said(error: &Error) -> String {
    let mut text = error.kind().to_string();
    // Writing to a string cannot fail.
    if let Some(detail) = error.detail() {
        let _ = write!(text, ": {detail}");
    }
    if let Some(line) = error.line() {
        let _ = write!(text, " (line {line})");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> serde_json::Value {
        json!({
            "type": "task.failed",
            "timestamp": "2026-11-29T12:00:00.000Z",
            "data": {
                "task": "task_01jdk3v5x8e2rbk0t6q9z4m7ha",
                "seq": 4,
                "attempt": 2,
                "terminal": true,
                "labels": {"customer": "17", "kind": "import"},
                "lines": ["a", "b\"c"],
                "problem": {"title": "Not \"good\"\r\nX-Evil: 1\\", "detail": null},
            },
        })
    }

    fn body(template: &str) -> Result<String, String> {
        let template = Template::parse(template).map_err(|error| error.to_string())?;
        let body = template.body(&document()).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(body.to_vec()).unwrap())
    }

    fn made(template: &str) -> serde_json::Value {
        serde_json::from_str(&body(template).unwrap()).unwrap()
    }

    #[test]
    fn what_an_event_holds_cannot_leave_the_string_it_is_printed_in() {
        let title = "Not \"good\"\r\nX-Evil: 1\\";
        assert_eq!(
            body(r#"{"text":"{{ data.problem.title }}"}"#).unwrap(),
            r#"{"text":"Not \"good\"\r\nX-Evil: 1\\"}"#
        );
        assert_eq!(made(r#"{"t":{{ data.problem.title | json }}}"#), json!({ "t": title }));
        let of_all = made(r#"{"t":"{{ data.lines }} {{ data.seq }} {{ data.terminal }}"}"#);
        assert_eq!(of_all, json!({"t": r#"["a","b\"c"] 4 true"#}));
        let joined = r#"{"t":"{% if true %}{{ "<" ~ data.problem.title ~ ">" }}{% endif %}"}"#;
        assert_eq!(made(joined), json!({ "t": format!("<{title}>") }));
        // Once more escaped is not escaped less.
        let quoted = made(r#"{"t":"{{ data.problem.title | json | json | truncate(5) }}"}"#);
        assert!(quoted["t"].is_string());
        let bare = body(r#"{"t":{{ data.problem.title }}}"#).unwrap_err();
        assert!(bare.starts_with("what the template makes is not JSON"), "{bare}");
    }

    #[test]
    fn one_template_serves_events_of_many_kinds() {
        let template = r#"{"text":"{{ data.task }}{% if data.problem %}: {{ data.problem.title | truncate(3) }}{% endif %}",
            "next":"{{ data.retry.at }}","why":{{ data.problem.detail | json }},"or":"{{ data.no | default("-") }}",
            "labels":"{% for key in data.labels %}{{ key }}={{ data.labels[key] }}{% if not loop.last %}, {% endif %}{% endfor %}"}"#;
        assert_eq!(
            made(template),
            json!({
                "text": "task_01jdk3v5x8e2rbk0t6q9z4m7ha: Not…", "next": "", "why": null, "or": "-",
                "labels": "customer=17, kind=import",
            })
        );
    }

    #[test]
    fn a_template_sees_the_document_and_nothing_else() {
        for name in ["env", "config", "self", "request", "range", "dict", "debug", "data.__class__"]
        {
            assert_eq!(body(&format!("\"{{{{ {name} }}}}\"")).unwrap(), "\"\"", "{name}");
        }
        for call in ["range(9)", "debug()", "data.items()", "data | safe", "data | upper"] {
            let failed = body(&format!("\"{{{{ {call} }}}}\"")).unwrap_err();
            assert!(failed.starts_with("the template failed: "), "{call}: {failed}");
        }
    }

    #[test]
    fn what_makes_values_is_refused_with_its_line() {
        for beyond in [
            "{% set a = data %}",
            "{% with a = data %}{% endwith %}",
            "{% macro a() %}{% endmacro %}",
            "{% include 'a' %}",
            "{% extends 'a' %}",
            "{% import 'a' as b %}",
            "{% do data %}",
            "{% filter json %}{% endfilter %}",
            "{% autoescape false %}{% endautoescape %}",
            "{% for a in data recursive %}{% endfor %}",
            "{% for a, b in data %}{% endfor %}",
            "{{ [data] }}",
            "{{ {'a': data} }}",
            "{{ (data, data) }}",
            "{{ data * 9 }}",
            "{{ 9 ** 9 }}",
            "{{ data + data }}",
            "{{ data[1:2] }}",
            "{{ data | truncate(a=1) }}",
            "{{ 1.5 }}",
        ] {
            let refused = Template::parse(&format!("\n{beyond}")).unwrap_err();
            assert!(
                matches!(refused, InvalidTemplate::Beyond { line: 2, .. }),
                "{beyond}: {refused}"
            );
        }
        assert_eq!(
            Template::parse("{% set a = 1 %}").unwrap_err().to_string(),
            "line 1: templates have no \"set\""
        );
        for wrong in
            ["{{ data", "{% if %}", "{% if data %}", "{{ data | }}", "{{ 'a }}", "{% endfor %}"]
        {
            let refused = Template::parse(wrong).unwrap_err();
            assert!(matches!(refused, InvalidTemplate::Syntax(_)), "{wrong}: {refused}");
        }
        let deep = format!("{{{{ {}1{} }}}}", "(".repeat(4_000), ")".repeat(4_000));
        assert!(matches!(Template::parse(&deep), Err(InvalidTemplate::Syntax(_))));
    }

    #[test]
    fn length_work_and_body_of_a_template_have_limits() {
        let long = |bytes| format!("\"{}\"", "a".repeat(bytes - 2));
        assert!(body(&long(limits::TEMPLATE_BYTES_MAX)).is_ok());
        let refused = Template::parse(&long(limits::TEMPLATE_BYTES_MAX + 1)).unwrap_err();
        assert_eq!(refused, InvalidTemplate::Length);
        assert_eq!(Template::parse("").unwrap_err(), InvalidTemplate::Length);
        let nested = |depth: usize, within: &str| {
            let (open, close) = ("{% for a in data %}".repeat(depth), "{% endfor %}".repeat(depth));
            format!("\"{open}{within}{close}\"")
        };
        let endless = body(&nested(20, "")).unwrap_err();
        assert!(endless.contains("fuel"), "{endless}");
        let line = "a".repeat(400);
        assert!(body(&nested(2, &line)).is_ok());
        let much = body(&nested(3, &line)).unwrap_err();
        assert!(much.starts_with("the template makes more than 65536 bytes"), "{much}");
        // Each `json` doubles the backslashes.
        let doubled = body(&format!("\"{{{{ data.problem.title{} }}}}\"", " | json".repeat(40)));
        assert!(doubled.unwrap_err().contains("a value is longer than a body may be"));
    }
}
