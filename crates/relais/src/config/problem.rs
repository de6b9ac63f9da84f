//! What is wrong with a configuration: each mistake with its place, all of them at once.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;

/// A text that mistakes are found in.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    pub(crate) fn new(path: &Path, text: String) -> Self {
        Self { path: path.to_owned(), text }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    fn line(&self, at: usize) -> usize {
        self.text.get(..at).map_or(1, |before| before.matches('\n').count() + 1)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `relais.toml:12`, or the flag or variable it came from.
    pub place: String,
    /// What it is about, such as `[queue.imports] lease`; may be empty.
    pub field: String,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, field, what } = self;
        if field.is_empty() {
            write!(f, "{place}: {what}")
        } else {
            write!(f, "{place}: {field}: {what}")
        }
    }
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The mistakes, in the order of the file.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.problems.iter().map(Problem::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Invalid {}

/// Gathers mistakes while a configuration is read.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    source: &'a Source,
    found: Vec<(usize, Problem)>,
    /// Where tables are that an entry was left out of, because it was wrong.
    holes: Vec<Range<usize>>,
}

impl<'a> Report<'a> {
    pub(crate) const fn new(source: &'a Source) -> Self {
        Self { source, found: Vec::new(), holes: Vec::new() }
    }

    /// Where something of the file is, as `relais.toml:12`.
    pub(crate) fn place(&self, at: usize) -> String {
        format!("{}:{}", self.source.path.display(), self.source.line(at))
    }

    /// A mistake in the value at `span`.
    pub(crate) fn at(
        &mut self,
        span: Range<usize>,
        field: impl Into<String>,
        what: impl fmt::Display,
    ) {
        let place = self.place(span.start);
        let problem = Problem { place, field: field.into(), what: what.to_string() };
        self.found.push((span.start, problem));
    }

    /// Notes that something of the table at `span` was wrong and is left out.
    pub(crate) fn hole(&mut self, span: Range<usize>) {
        self.holes.push(span);
    }

    /// Something that the table at `span` must have and has not. If anything of it was left out it
    /// may have been just that, which is reported already.
    pub(crate) fn missing(
        &mut self,
        span: Range<usize>,
        field: impl Into<String>,
        what: impl fmt::Display,
    ) {
        if !self.holes.contains(&span) {
            self.at(span, field, what);
        }
    }

    /// What the reader of TOML says, with the line it says it of.
    pub(crate) fn of_toml(&mut self, error: &toml::de::Error) {
        let span = error.span().unwrap_or_default();
        let line = self.source.line(span.start);
        let text = self.source.text.lines().nth(line - 1).unwrap_or_default().trim();
        let message = error.message().trim().replace('\n', "; ");
        // The line names the field, unless it is a whole table.
        let what =
            if text.is_empty() { message } else { format!("{message}, in `{}`", shorten(text)) };
        self.at(span, "", what);
    }

    /// A mistake that is not in the file.
    pub(crate) fn elsewhere(&mut self, place: &str, field: &str, what: impl fmt::Display) {
        let problem =
            Problem { place: place.to_owned(), field: field.to_owned(), what: what.to_string() };
        self.found.push((usize::MAX, problem));
    }

    /// Takes a value, or says that it is wrong.
    pub(crate) fn take<T, E: fmt::Display>(
        &mut self,
        span: Range<usize>,
        field: &str,
        value: Result<T, E>,
    ) -> Option<T> {
        value.map_err(|error| self.at(span, field, error)).ok()
    }

    /// Reads a text as a `T`, if it was given.
    pub(crate) fn parse<T: std::str::FromStr<Err: fmt::Display>>(
        &mut self,
        given: Option<&Spanned<String>>,
        field: &str,
    ) -> Option<T> {
        let given = given?;
        let shown = given.get_ref();
        let value = shown.parse::<T>().map_err(|error| format!("{shown:?} {error}"));
        self.take(given.span(), field, value)
    }

    /// Whether nothing is wrong so far.
    pub(crate) const fn is_clean(&self) -> bool {
        self.found.is_empty()
    }

    pub(crate) fn finish(mut self) -> Result<(), Invalid> {
        self.found.sort_by_key(|(at, _)| *at);
        let problems: Vec<Problem> = self.found.into_iter().map(|(_, problem)| problem).collect();
        if problems.is_empty() { Ok(()) } else { Err(Invalid { problems }) }
    }
}

fn shorten(line: &str) -> String {
    const CHARS_MAX: usize = 100;
    // A key's hash is no secret, but whoever wrote a key itself there must not see it in a log.
    if line.starts_with("hash") || line.contains("rk_") {
        return line.split('=').next().unwrap_or_default().trim().to_owned() + " = …";
    }
    line.chars().take(CHARS_MAX).collect()
}
