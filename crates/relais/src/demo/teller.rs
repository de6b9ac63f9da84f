//! How the story looks in the terminal: chapters, requests, answers, facts, one bar.
//!
//! The story goes to standard output and reads the same in a file. Colours and the moving bar are
//! for terminals only; `NO_COLOR` is honoured.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use relais_api::event::{AttemptFailedData, FailedData, StartedData};
use relais_client::Event;

use crate::cli::show::clean;

use super::call::{Answer, Head, without_ticket};

/// Tells the story.
#[derive(Debug)]
pub(super) struct Teller {
    has_colours: bool,
    /// The bar that is shown below the text, on a terminal.
    bar: Option<ProgressBar>,
    /// Where no bar moves: up to which tenth it has been told in words.
    tenths_told: u64,
    /// False once the reader has closed the pipe.
    is_heard: AtomicBool,
}

/// What a line is, which decides its colour.
#[derive(Debug, Clone, Copy)]
enum Look {
    Title,
    Request,
    Good,
    Bad,
    Quiet,
}

impl Teller {
    /// As the standard output of this program wants it.
    pub(super) fn for_terminal() -> Self {
        let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let has_colours = io::stdout().is_terminal() && !is_plain;
        Self { has_colours, bar: None, tenths_told: 0, is_heard: AtomicBool::new(true) }
    }

    /// Begins a chapter.
    pub(super) fn chapter(&self, number: usize, title: &str, why: &str) {
        self.line("");
        self.line(&self.dyed(Look::Title, &format!("{number}. {title}")));
        self.prose(why);
        self.line("");
    }

    /// A title without a number.
    pub(super) fn title(&self, title: &str) {
        self.line("");
        self.line(&self.dyed(Look::Title, title));
    }

    pub(super) fn prose(&self, text: &str) {
        for line in text.lines().flat_map(wrapped) {
            self.line(&format!("   {line}"));
        }
    }

    /// A command line; one that is too wide goes on in the next, as a shell reads it.
    pub(super) fn command(&self, command: &str) {
        let mut mark = "$";
        for line in continued(command) {
            self.line(&self.dyed(Look::Request, &format!("   {mark} {line}")));
            mark = "   ";
        }
    }

    /// What came back: status, time, some fields, and the beginning of a text.
    pub(super) fn answer(&self, answer: &Answer, fields: &[&str]) {
        self.head(&answer.head, answer.took, fields);
        let text = String::from_utf8_lossy(&answer.body);
        let text = without_ticket(&clean(text.trim()));
        if !text.is_empty() {
            self.quiet(&shorten(&text, TEXT_WIDTH));
        }
    }

    /// The head of what came back.
    pub(super) fn head(&self, head: &Head, took: Duration, fields: &[&str]) {
        let reason = head.status.canonical_reason().unwrap_or_default();
        let status = format!("{} {reason}", head.status.as_u16());
        self.line(&format!("     {} after {}", status.trim(), time(took)));
        for field in fields {
            if let Some(text) = head.text(field) {
                let line = format!("{field}: {}", without_ticket(&clean(text)));
                self.quiet(&shorten(&line, TEXT_WIDTH));
            }
        }
    }

    /// A document, whole.
    pub(super) fn document(&self, document: &serde_json::Value) {
        let text = serde_json::to_string_pretty(document).unwrap_or_default();
        for line in text.lines() {
            self.quiet(&shorten(&clean(line), TEXT_WIDTH));
        }
    }

    /// A line of detail.
    pub(super) fn quiet(&self, text: &str) {
        self.line(&self.dyed(Look::Quiet, &format!("     {text}")));
    }

    /// One event of a task's log; `begun_ms` is when the log begins.
    pub(super) fn event(&self, event: &Event, begun_ms: i64) {
        let after = u64::try_from(event.at.as_ms() - begun_ms).unwrap_or(0);
        let (seq, kind) = (event.seq, clean(&event.kind));
        let at = format!("+{}", time(Duration::from_millis(after)));
        self.quiet(format!("{at:>9}  {seq:>3}  {kind:<15} {}", words(event)).trim_end());
    }

    /// Something that was checked and is true.
    pub(super) fn fact(&self, text: &str) {
        let mut mark = "✓";
        for line in wrapped(text) {
            self.line(&self.dyed(Look::Good, &format!("   {mark} {line}")));
            mark = " ";
        }
    }

    /// Something that is done to the programs.
    pub(super) fn blow(&self, text: &str) {
        self.line(&self.dyed(Look::Bad, &format!("   ! {text}")));
    }

    /// Something that is wrong: the last thing that is told.
    pub(super) fn wrong(&mut self, text: &str) {
        self.end_bar();
        self.line("");
        for line in text.lines() {
            self.line(&self.dyed(Look::Bad, line));
        }
    }

    /// Begins a bar of `total` steps.
    pub(super) fn begin_bar(&mut self, total: u64) {
        self.end_bar();
        self.tenths_told = 0;
        let bar = ProgressBar::new(total);
        if bar.is_hidden() {
            return;
        }
        let template = "     [{bar:32}] {percent:>3}%  {msg}";
        let style = ProgressStyle::with_template(template).expect("the template is right");
        bar.set_style(style.progress_chars("=> "));
        self.bar = Some(bar);
    }

    /// Moves the bar, if there is one.
    pub(super) fn move_bar(&self, done: u64, message: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(clean(message));
            bar.set_position(done);
        }
    }

    /// Moves the bar; where there is none, every second tenth is told in words.
    pub(super) fn progress(&mut self, done: u64, total: u64, message: &str) {
        if self.bar.is_some() {
            return self.move_bar(done, message);
        }
        let tenths = done.saturating_mul(10) / total.max(1);
        if tenths >= self.tenths_told + 2 {
            self.tenths_told = tenths;
            self.quiet(&format!("{:>3}%  {}", tenths * 10, clean(message)));
        }
    }

    /// Takes the bar away.
    pub(super) fn end_bar(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// Whether somebody reads the story, as far as is known.
    pub(super) fn is_heard(&self) -> bool {
        self.is_heard.load(Ordering::Relaxed)
    }

    /// A line as it is.
    pub(super) fn line(&self, text: &str) {
        let print = || {
            if writeln!(io::stdout().lock(), "{text}").is_err() {
                self.is_heard.store(false, Ordering::Relaxed);
            }
        };
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn dyed(&self, look: Look, text: &str) -> String {
        if !self.has_colours {
            return text.to_owned();
        }
        let code = match look {
            Look::Title => "1",
            Look::Request => "36",
            Look::Good => "32",
            Look::Bad => "31",
            Look::Quiet => "2",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// What an event says beyond its name.
fn words(event: &Event) -> String {
    let data = &event.data;
    let attempt = event.attempt.map_or_else(String::new, |attempt| format!("attempt {attempt}"));
    match event.kind.as_str() {
        "started" => {
            let worker = data.read::<StartedData>().ok().and_then(|data| data.worker);
            let by = worker.map_or_else(String::new, |worker| format!(" by {}", clean(&worker)));
            attempt + &by
        }
        "attempt_failed" => {
            let Ok(data) = data.read::<AttemptFailedData>() else { return attempt };
            let why = data.problem.map(|problem| clean(&problem.code));
            let why = why.unwrap_or_else(|| data.cause.to_string());
            let again = data.run_at.map(|at| {
                let ms = u64::try_from(at.as_ms() - event.at.as_ms()).unwrap_or(0);
                format!(", again in {}", time(Duration::from_millis(ms)))
            });
            format!("{attempt}: {why}{}", again.unwrap_or_default())
        }
        "failed" => {
            data.read::<FailedData>().map(|data| clean(&data.problem.code)).unwrap_or_default()
        }
        _ => String::new(),
    }
}

/// A duration for people: `6 ms`, `1.52 s`.
pub(super) fn time(duration: Duration) -> String {
    let ms = duration.as_millis();
    if ms < 1_000 { format!("{ms} ms") } else { format!("{:.2} s", duration.as_secs_f64()) }
}

/// A number with its thousands apart.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The beginning of a text that is too long.
fn shorten(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width - 1).collect();
    short.push('…');
    short
}

/// A command line as a shell takes it from several lines: broken before options.
fn continued(command: &str) -> Vec<String> {
    if command.chars().count() <= TEXT_WIDTH {
        return vec![command.to_owned()];
    }
    match command.rfind(" -") {
        Some(place) if place > 0 => {
            let mut lines = continued(&command[..place]);
            if let Some(last) = lines.last_mut() {
                last.push_str(" \\");
            }
            lines.push(command[place + 1..].to_owned());
            lines
        }
        _ => vec![command.to_owned()],
    }
}

/// The lines of a text, broken between words where one would be too wide.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= TEXT_WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The width of a text: a terminal has 80 columns, of which up to five are indentation.
const TEXT_WIDTH: usize = 75;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_numbers_are_for_people() {
        assert_eq!(time(Duration::from_micros(6_400)), "6 ms");
        assert_eq!(time(Duration::from_millis(1_523)), "1.52 s");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(33_554_432), "33,554,432");
        assert_eq!(shorten("héllo", 5), "héllo");
        assert_eq!(shorten("héllo!", 5), "héll…");
        let words = ["word"; 20].join(" ");
        assert_eq!(wrapped(&words), [["word"; 15].join(" "), ["word"; 5].join(" ")]);
        let long = format!("curl -H 'A: b' {} --json @a.json", "x".repeat(60));
        let first = format!("curl -H 'A: b' {} \\", "x".repeat(60));
        assert_eq!(continued(&long), [first, "--json @a.json".to_owned()]);
        assert_eq!(wrapped("as  it   is"), ["as  it   is"]);
    }

    #[test]
    fn an_event_says_what_happened_next() {
        let event = |kind: &str, data: &str| {
            let text = format!(
                r#"{{"task":"t","seq":3,"type":"{kind}","at":"2026-11-22T10:00:05Z","attempt":2,
                    "data":{data}}}"#
            );
            words(&serde_json::from_str(&text).unwrap())
        };
        let failed = r#"{"cause": "error", "run_at": "2026-11-22T10:00:06.5Z",
                         "problem": {"code": "upstream-error"}}"#;
        assert_eq!(event("attempt_failed", failed), "attempt 2: upstream-error, again in 1.50 s");
        assert_eq!(event("started", r#"{"worker": "worker-2"}"#), "attempt 2 by worker-2");
        assert_eq!(event("failed", r#"{"problem": {"code": "worker-lost"}}"#), "worker-lost");
        assert_eq!(event("succeeded", "{}"), "");
    }
}
