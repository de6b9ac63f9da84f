//! The import worker: checks a CSV file line by line, slowly, and can go on where it stopped.
//!
//! Nothing is stored: the work is the pause of each line. On a resume the lines before the
//! checkpoint are read and checked again, without the pause. So the duplicates of a resumed import
//! are those of the whole file, its counts are proved against the checkpoint, and the bad lines
//! found before the crash are in the result.

use std::io::{self, Write};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::import::csv::Records;
use crate::import::format::Checker;
use crate::limits::{
    IMPORT_BAD_LINES_MAX, IMPORT_CHECKPOINT_EVERY, IMPORT_LINES_MAX, IMPORT_PROGRESS_EVERY,
};

mod csv;
mod format;
mod worker;

pub use format::Format;
pub use worker::{RealPace, read_input, reports};

/// Where an import stands; whoever gives it back later makes the import go on from there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Checkpoint {
    /// What the file is.
    pub format: Format,
    /// Lines done, the header and blank lines not counted. A quoted field may hold line ends: this
    /// counts CSV records.
    pub line: u64,
    /// The good ones of them.
    pub imported: u64,
    /// The bad ones of them.
    pub rejected: u64,
}

/// A line that was not imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BadLine {
    /// The line of the file where it begins, as an editor counts: the header is line 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// What an import did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// What the file is.
    pub format: Format,
    /// Lines done, over all attempts; counted as in [`Checkpoint::line`].
    pub lines: u64,
    /// The good ones of them.
    pub imported: u64,
    /// The bad ones of them.
    pub rejected: u64,
    /// The [`Checkpoint::line`] after which this attempt began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumed_at: Option<u64>,
    /// The first bad lines, at most [`IMPORT_BAD_LINES_MAX`].
    pub bad_lines: Vec<BadLine>,
}

/// Why an import could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// There is no header.
    #[error("the input is empty")]
    Empty,
    /// The header is none of the known ones.
    #[error("unknown header {found}; known are {}", format::headers())]
    UnknownHeader {
        /// The header, shortened.
        found: String,
    },
    /// The file cannot be read as CSV at all.
    #[error("the input is not CSV: {0}")]
    NotCsv(#[from] ::csv::Error),
    /// The file has too many lines.
    #[error("the input has more than {IMPORT_LINES_MAX} lines")]
    TooManyLines,
    /// The checkpoint was not made from this file.
    #[error("the checkpoint {checkpoint} is not one of this input")]
    ForeignCheckpoint {
        /// The checkpoint as JSON.
        checkpoint: String,
    },
    /// Whoever follows the import cannot be told.
    #[error("could not report on file descriptor 3: {0}")]
    Report(#[source] io::Error),
}

/// How long the work takes, and what time it is.
pub trait Pace {
    /// Takes the time that one line takes.
    fn work(&mut self);
    /// The time since the import began.
    fn elapsed(&self) -> Duration;
}

/// Imports `input`, from the start or after `checkpoint`; progress and checkpoints go to
/// `reports` as lines of JSON.
///
/// # Errors
/// Bad lines are not errors; [`ImportError`] says what is.
pub fn import(
    input: &[u8],
    checkpoint: Option<&Checkpoint>,
    pace: &mut dyn Pace,
    reports: &mut dyn Write,
) -> Result<Summary, ImportError> {
    let mut records = Records::new(input);
    let header = records.next()?.ok_or(ImportError::Empty)?;
    let format = Format::of_header(header.fields)
        .ok_or_else(|| ImportError::UnknownHeader { found: format::shorten(header.fields) })?;
    let total = csv::count(input)? - 1;
    if total > IMPORT_LINES_MAX {
        return Err(ImportError::TooManyLines);
    }
    let foreign = |checkpoint: &Checkpoint| ImportError::ForeignCheckpoint {
        checkpoint: json!(checkpoint).to_string(),
    };
    let resumed_at = checkpoint.map_or(0, |checkpoint| checkpoint.line);
    let mut state = Import::new(format, total, checkpoint.map(|checkpoint| checkpoint.line));
    if let Some(checkpoint) = checkpoint {
        while state.summary.lines < resumed_at {
            let record = records.next()?.ok_or_else(|| foreign(checkpoint))?;
            state.take(&record);
        }
        if state.checkpoint() != *checkpoint {
            return Err(foreign(checkpoint));
        }
    }
    while let Some(record) = records.next()? {
        state.take(&record);
        pace.work();
        state.report(pace.elapsed(), reports).map_err(ImportError::Report)?;
    }
    Ok(state.summary)
}

struct Import {
    checker: Checker,
    total: u64,
    summary: Summary,
    progress_at: Option<Duration>,
}

impl Import {
    fn new(format: Format, total: u64, resumed_at: Option<u64>) -> Self {
        let bad_lines = Vec::new();
        let summary = Summary { format, lines: 0, imported: 0, rejected: 0, resumed_at, bad_lines };
        Self { checker: Checker::new(format), total, summary, progress_at: None }
    }

    fn take(&mut self, record: &csv::Record<'_>) {
        let summary = &mut self.summary;
        summary.lines += 1;
        match self.checker.check(record) {
            Ok(()) => summary.imported += 1,
            Err(reason) => {
                summary.rejected += 1;
                if summary.bad_lines.len() < IMPORT_BAD_LINES_MAX {
                    summary.bad_lines.push(BadLine { line: record.line, reason });
                }
            }
        }
    }

    fn checkpoint(&self) -> Checkpoint {
        let Summary { format, lines, imported, rejected, .. } = self.summary;
        Checkpoint { format, line: lines, imported, rejected }
    }

    /// Tells what is due: a checkpoint by count, progress by time.
    fn report(&mut self, now: Duration, reports: &mut dyn Write) -> io::Result<()> {
        let done = self.summary.lines;
        if self.progress_at.is_none_or(|last| now - last >= IMPORT_PROGRESS_EVERY) {
            self.progress_at = Some(now);
            tell(
                reports,
                &json!({"progress": {
                    "percent": done * 100 / self.total,
                    "done": done,
                    "total": self.total,
                    "message": format!("line {}", thousands(done)),
                }}),
            )?;
        }
        if done.is_multiple_of(IMPORT_CHECKPOINT_EVERY) {
            tell(reports, &json!({"checkpoint": self.checkpoint()}))?;
        }
        Ok(())
    }
}

/// One write for the whole line, so that no reader ever sees a half of it.
fn tell(reports: &mut dyn Write, report: &serde_json::Value) -> io::Result<()> {
    reports.write_all(format!("{report}\n").as_bytes())?;
    reports.flush()
}

fn thousands(number: u64) -> String {
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

#[cfg(test)]
mod tests {
    #[test]
    fn a_number_is_written_with_its_thousands_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (12_000, "12,000"), (1_234_567, "1,234,567")]
        {
            assert_eq!(super::thousands(number), text);
        }
    }
}
