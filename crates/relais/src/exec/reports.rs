//! What a program reports on file descriptor 3: one JSON document a line, with `progress`,
//! `checkpoint` or `output`, or several of them.

use relais_client::{Progress, RawJson, Reporter};
use relais_core::limits::CHECKPOINT_BYTES_MAX;
use serde::Deserialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, BufReader};

use crate::cli::show;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    progress: Option<Progress>,
    checkpoint: Option<RawJson>,
    output: Option<RawJson>,
}

/// Sends reports on until the program closes the descriptor. A line that makes no sense is
/// complained about and passed over: a report is no reason to fail.
pub(super) async fn forward(reports: Option<impl AsyncRead + Unpin>, reporter: Reporter) {
    let Some(reports) = reports else { return };
    let mut reader = BufReader::new(reports);
    let mut complaints = 0;
    while let Ok(Some(line)) = next_line(&mut reader, LINE_BYTES_MAX).await {
        let wrong = match &line {
            Line::Whole(bytes) if bytes.trim_ascii().is_empty() => continue,
            Line::Whole(bytes) => take(bytes, &reporter).await.err(),
            Line::Cut(_) => Some(format!("it has more than {LINE_BYTES_MAX} bytes")),
        };
        // A program that writes something else there would fill the terminal.
        if let Some(wrong) = wrong
            && complaints < COMPLAINTS_MAX
        {
            complaints += 1;
            show::error(&format!("a line on file descriptor 3 is no report: {wrong}"));
        }
    }
}

async fn take(line: &[u8], reporter: &Reporter) -> Result<(), String> {
    let report: Report = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    if let Some(progress) = report.progress {
        reporter.progress(progress);
    }
    for (name, value) in [("checkpoint", &report.checkpoint), ("output", &report.output)] {
        let len = value.as_ref().map_or(0, |value| value.as_bytes().len());
        if len > CHECKPOINT_BYTES_MAX {
            return Err(format!("its {name} has more than {CHECKPOINT_BYTES_MAX} bytes"));
        }
    }
    if let Some(checkpoint) = report.checkpoint {
        reporter.checkpoint(checkpoint);
    }
    if let Some(output) = report.output {
        reporter.output(output).await;
    }
    Ok(())
}

/// One line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// All of it.
    Whole(Vec<u8>),
    /// Its beginning: it is longer than the limit.
    Cut(Vec<u8>),
}

/// The next line, of which at most `limit` bytes are held; `None` at the end.
pub(super) async fn next_line(
    reader: &mut (impl AsyncBufRead + Unpin),
    limit: usize,
) -> std::io::Result<Option<Line>> {
    let mut line = Vec::new();
    let (mut is_cut, mut is_any) = (false, false);
    loop {
        let bytes = reader.fill_buf().await?;
        if bytes.is_empty() {
            break;
        }
        is_any = true;
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let part = &bytes[..end.unwrap_or(bytes.len())];
        let room = limit - line.len();
        is_cut |= part.len() > room;
        line.extend_from_slice(&part[..part.len().min(room)]);
        let used = end.map_or(bytes.len(), |end| end + 1);
        reader.consume(used);
        if end.is_some() {
            break;
        }
    }
    Ok(is_any.then_some(if is_cut { Line::Cut(line) } else { Line::Whole(line) }))
}

/// A checkpoint and an output of full size, and the words around them.
const LINE_BYTES_MAX: usize = 2 * CHECKPOINT_BYTES_MAX + 4_096;
const COMPLAINTS_MAX: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_bounded_and_a_long_one_costs_only_itself() {
        let mut reader = BufReader::with_capacity(3, &b"ab\n\nabcdefgh\nabcd\nlast"[..]);
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut reader, 4).await.unwrap() {
            lines.push(line);
        }
        let whole = |text: &str| Line::Whole(text.into());
        let cut = |text: &str| Line::Cut(text.into());
        assert_eq!(lines, [whole("ab"), whole(""), cut("abcd"), whole("abcd"), whole("last")]);
    }
}
