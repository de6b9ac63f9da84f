//! CSV records with the line of the file on which each begins.
//!
//! The line that the `csv` crate gives is not used: after CRLF or a blank
//! line it is the one before.

use csv::{ByteRecord, Reader, ReaderBuilder};

pub(super) struct Record<'a> {
    /// The line on which it begins, from 1.
    pub(super) line: u64,
    pub(super) fields: &'a ByteRecord,
    /// The file ends inside one of its quoted fields.
    pub(super) is_unclosed: bool,
}

/// The records of a file, one after the other; blank lines are none.
pub(super) struct Records<'a> {
    reader: Reader<&'a [u8]>,
    input: &'a [u8],
    line: u64,
    counted: usize,
    record: ByteRecord,
}

impl<'a> Records<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        let input = without_bom(input);
        Self { reader: reader(input), input, line: 1, counted: 0, record: ByteRecord::new() }
    }

    /// The next record, `None` at the end.
    ///
    /// Not an iterator: the record is lent, because copying each one doubles the time.
    pub(super) fn next(&mut self) -> Result<Option<Record<'_>>, csv::Error> {
        let mut start = self.reader.position().byte() as usize;
        if !self.reader.read_byte_record(&mut self.record)? {
            return Ok(None);
        }
        // The reader takes the rest of a line end, and blank lines, only with the next record.
        while self.input.get(start).is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
            start += 1;
        }
        self.line += line_ends(self.input, self.counted, start);
        self.counted = start;
        let is_last = self.reader.position().byte() as usize >= self.input.len();
        let is_unclosed = is_last && ends_in_quotes(&self.input[start..]);
        Ok(Some(Record { line: self.line, fields: &self.record, is_unclosed }))
    }
}

/// The number of records of `input`, the header included.
pub(super) fn count(input: &[u8]) -> Result<u64, csv::Error> {
    let mut reader = reader(without_bom(input));
    let mut record = ByteRecord::new();
    let mut count = 0;
    while reader.read_byte_record(&mut record)? {
        count += 1;
    }
    Ok(count)
}

fn reader(input: &[u8]) -> Reader<&[u8]> {
    ReaderBuilder::new().has_headers(false).flexible(true).from_reader(input)
}

fn without_bom(input: &[u8]) -> &[u8] {
    input.strip_prefix(b"\xef\xbb\xbf").unwrap_or(input)
}

/// The ends of lines in `input[from..to]`: LF, CRLF or a CR alone, as the `csv` crate has them.
fn line_ends(input: &[u8], from: usize, to: usize) -> u64 {
    let ends = (from..to).filter(|&at| match input[at] {
        b'\n' => true,
        b'\r' => input.get(at + 1) != Some(&b'\n'),
        _ => false,
    });
    ends.count() as u64
}

/// Whether the last record of a file stops inside quotes. The `csv` crate accepts that silently, so
/// the record is read again with one more line behind it: if it is closed, that line is a record.
fn ends_in_quotes(last: &[u8]) -> bool {
    let probe = [last, b"\nend"].concat();
    let mut reader = reader(&probe);
    let mut record = ByteRecord::new();
    while matches!(reader.read_byte_record(&mut record), Ok(true)) {}
    reader.position().record() < 2
}
