//! A small PDF writer: pages of text in one fixed-width font, and padding to any size.
//!
//! No colours, no compression, no fonts of its own: enough for a valid document.

use std::fmt::Write;

use bytes::Bytes;

use crate::random::Random;

/// Rows that fit on a page.
pub const ROWS_PER_PAGE: usize = 58;
/// Characters that fit in a row.
pub const COLUMNS: usize = 82;

/// A finished document: `head`, then `padding` bytes of anything, then `tail`.
#[derive(Clone, Debug)]
pub struct Document {
    head: Bytes,
    padding: u64,
    tail: Bytes,
    seed: u64,
}

impl Document {
    /// Lays `rows` out on pages and pads the document to `bytes_min`, exactly if it is shorter.
    ///
    /// Rows are not wrapped: what is longer than [`COLUMNS`] leaves the page on the right. The same
    /// arguments give the same bytes.
    pub fn new(title: &str, rows: &[String], bytes_min: u64, seed: u64) -> Self {
        let mut writer = Writer::default();
        // The comment of high bytes tells programs that move files that this one is binary.
        writer.bytes.extend_from_slice(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n");
        let pages: Vec<&[String]> = rows.chunks(ROWS_PER_PAGE).collect();
        let kids: String = (0..pages.len()).fold(String::new(), |mut kids, page| {
            let _ = write!(kids, "{} 0 R ", FIRST_PAGE + 2 * page);
            kids
        });
        writer.object(b"<< /Type /Catalog /Pages 2 0 R >>");
        let count = pages.len();
        writer.object(format!("<< /Type /Pages /Kids [{kids}] /Count {count} >>").as_bytes());
        writer.object(
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Courier /Encoding /WinAnsiEncoding >>",
        );
        let title = [b"<< /Title (", literal(title).as_slice(), b") /Producer (shop) >>"].concat();
        writer.object(&title);
        for (page, rows) in pages.iter().enumerate() {
            let content = FIRST_PAGE + 2 * page + 1;
            writer.object(
                format!(
                    "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {content} 0 R \
                     /Resources << /Font << /F1 3 0 R >> >> >>"
                )
                .as_bytes(),
            );
            let text = page_text(rows);
            let length = format!("<< /Length {} >>\nstream\n", text.len());
            writer.object(&[length.as_bytes(), &text, b"\nendstream"].concat());
        }
        writer.finish(bytes_min, seed)
    }

    /// The number of bytes of the whole document.
    pub fn bytes_len(&self) -> u64 {
        self.head.len() as u64 + self.padding + self.tail.len() as u64
    }

    /// The document in pieces, made as they are asked for.
    pub fn chunks(self) -> impl Iterator<Item = Bytes> + Send + 'static {
        let mut random = Random::new(self.seed, "padding");
        let mut left = self.padding;
        let padding = std::iter::from_fn(move || {
            let len = left.min(CHUNK_LEN);
            left -= len;
            (len > 0).then(|| {
                let mut chunk = Vec::with_capacity(CHUNK_LEN as usize);
                while (chunk.len() as u64) < len {
                    chunk.extend_from_slice(&random.draw().to_le_bytes());
                }
                chunk.truncate(len as usize);
                Bytes::from(chunk)
            })
        });
        std::iter::once(self.head).chain(padding).chain(std::iter::once(self.tail))
    }
}

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    offsets: Vec<usize>,
}

impl Writer {
    fn object(&mut self, body: &[u8]) {
        self.open_object();
        self.bytes.extend_from_slice(body);
        self.bytes.extend_from_slice(b"\nendobj\n");
    }

    fn open_object(&mut self) {
        self.offsets.push(self.bytes.len());
        self.bytes.extend_from_slice(format!("{} 0 obj\n", self.offsets.len()).as_bytes());
    }

    /// Ends the document. Padding is the last object, a stream that nothing refers to; its length
    /// and the offset after it have ten digits, so that the size of the rest does not depend on it.
    fn finish(mut self, bytes_min: u64, seed: u64) -> Document {
        let plain_len = self.bytes.len() as u64 + self.trailer(0, b"").len() as u64;
        if plain_len >= bytes_min {
            let tail = self.trailer(self.bytes.len() as u64, b"");
            return Document { head: self.bytes.into(), padding: 0, tail: tail.into(), seed };
        }
        self.open_object();
        let frame = |padding: u64| format!("<< /Length {padding:010} >>\nstream\n");
        let rest = (self.bytes.len() + frame(0).len()) as u64;
        let rest = rest + self.trailer(0, END_OF_PADDING).len() as u64;
        // A document that is only a little too short has no room for the frame: it gets longer.
        let padding = bytes_min.saturating_sub(rest);
        self.bytes.extend_from_slice(frame(padding).as_bytes());
        let xref = self.bytes.len() as u64 + padding + END_OF_PADDING.len() as u64;
        let tail = self.trailer(xref, END_OF_PADDING);
        Document { head: self.bytes.into(), padding, tail: tail.into(), seed }
    }

    fn trailer(&self, xref: u64, before: &[u8]) -> Vec<u8> {
        let size = self.offsets.len() + 1;
        let mut table = format!("xref\n0 {size}\n0000000000 65535 f \n");
        for offset in &self.offsets {
            let _ = writeln!(table, "{offset:010} 00000 n ");
        }
        let _ = write!(
            table,
            "trailer\n<< /Size {size} /Root 1 0 R /Info 4 0 R >>\nstartxref\n{xref:010}\n%%EOF\n"
        );
        [before, table.as_bytes()].concat()
    }
}

fn page_text(rows: &[String]) -> Vec<u8> {
    let mut text = b"BT /F1 10 Tf 13 TL 50 790 Td\n".to_vec();
    for row in rows {
        text.extend_from_slice(&[b"(", literal(row).as_slice(), b") Tj T*\n"].concat());
    }
    text.extend_from_slice(b"ET");
    text
}

/// The inside of a PDF string; a character that the font's encoding lacks becomes a question mark.
fn literal(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '(' | ')' | '\\' => bytes.extend_from_slice(&[b'\\', character as u8]),
            ' '..='~' => bytes.push(character as u8),
            '\u{a0}'..='\u{ff}' => {
                bytes.extend_from_slice(format!("\\{:03o}", u32::from(character)).as_bytes())
            }
            '€' => bytes.extend_from_slice(b"\\200"),
            _ => bytes.push(b'?'),
        }
    }
    bytes
}

/// Objects 1 to 4 are the catalogue, the page tree, the font and the information.
const FIRST_PAGE: usize = 5;
const CHUNK_LEN: u64 = 64 * 1024;
const END_OF_PADDING: &[u8] = b"\nendstream\nendobj\n";
