//! What is printed: results on standard output, everything else on standard error.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::Context as _;
use relais_api::codes;
use relais_client::{Error, Problem, Progress, Task};
use serde::Serialize;

/// Prints one line of the result.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    written(writeln!(io::stdout().lock(), "{text}"))
}

/// Whoever closed the pipe has seen enough.
fn written(written: io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            // What `relais tasks | head` expects.
            std::process::exit(0)
        }
        written => Ok(written.context("could not write to standard output")?),
    }
}

/// Prints a part of the result as it is.
pub(crate) fn bytes(bytes: &[u8]) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    written(stdout.write_all(bytes).and_then(|()| stdout.flush()))
}

/// Prints a document on one line.
pub(crate) fn json<T: Serialize>(document: &T) -> anyhow::Result<()> {
    line(&serde_json::to_string(document)?)
}

/// Says something that is not the result.
pub(crate) fn note(text: &str) {
    error(text);
}

/// Prints a line on standard error. If even that is closed, nobody listens.
pub(crate) fn error(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// An error and its causes on one line; what a text says already is not said again.
pub(crate) fn causes(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(words) {
        if line.ends_with(&cause) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&cause);
    }
    line
}

/// One error. Of credentials that the server wants, it says where a command takes them: the server
/// names fields of HTTP.
fn words(error: &(dyn std::error::Error + 'static)) -> String {
    let Some(Error::Refused { problem, .. }) = error.downcast_ref() else {
        return error.to_string();
    };
    if problem.code != codes::UNAUTHORIZED.code {
        return error.to_string();
    }
    let detail = problem.detail.as_deref();
    let what = detail.filter(|detail| *detail != codes::UNAUTHORIZED.what_to_do);
    format!(
        "{} ({}, {}); pass an API key by --key or RELAIS_API_KEY, or the ticket of a task by \
         --ticket or RELAIS_TICKET",
        what.unwrap_or(&problem.title),
        problem.code,
        problem.status
    )
}

/// Progress in a few words: `40% line 12,000`.
pub(crate) fn progress(progress: &Progress) -> String {
    let mut words = Vec::new();
    match (progress.percent, progress.done, progress.total) {
        (Some(percent), _, _) => words.push(format!("{percent:.0}%")),
        (None, Some(done), Some(total)) => words.push(format!("{done}/{total}")),
        (None, Some(done), None) => words.push(done.to_string()),
        _ => {}
    }
    words.extend(progress.message.as_deref().map(clean));
    words.join(" ")
}

/// Why a task is as it is, in one line: why it failed, or what went wrong before it is tried again.
pub(crate) fn reason(task: &Task) -> String {
    let last = task.last_failure.as_ref().map(|last| &last.problem);
    task.problem.as_ref().or(last).map(problem).unwrap_or_default()
}

/// A problem in one line.
pub(crate) fn problem(problem: &Problem) -> String {
    let detail = problem.detail.as_deref().unwrap_or(&problem.title);
    format!("{}: {}", clean(&problem.code), clean(detail))
}

/// How long ago something was, in one unit: nobody reads more of it.
pub(crate) fn age(age: Duration) -> String {
    let units = [(48 * 3_600, 24 * 3_600, "d"), (2 * 3_600, 3_600, "h"), (120, 60, "m")];
    let seconds = age.as_secs();
    let unit = units.iter().find(|(from, _, _)| seconds >= *from);
    unit.map_or_else(
        || format!("{seconds}s"),
        |(_, unit, word)| format!("{}{word}", seconds / unit),
    )
}

/// Text of others, safe for a terminal: no control characters.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
