//! Server-Sent Events (WHATWG HTML 9.2): writing a stream, and reading one in pieces.

use serde::Serialize;

/// The media type of a stream.
pub const MEDIA_TYPE: &str = "text/event-stream";

/// Longest line, and longest data of one event, that [`SseParser`] takes unless told otherwise.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// Appends an event whose data is `data` as JSON on one line.
pub(crate) fn write_event<T: Serialize>(out: &mut Vec<u8>, id: Option<u64>, name: &str, data: &T) {
    write_json(out, id, name, &json_line(data));
}

/// Appends an event with these data, which stand on one line.
pub fn write_json(out: &mut Vec<u8>, id: Option<u64>, name: &str, json: &[u8]) {
    if let Some(id) = id {
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(id.to_string().as_bytes());
        out.push(b'\n');
    }
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    out.extend_from_slice(json);
    out.extend_from_slice(b"\n\n");
}

/// A document as JSON on one line.
pub(crate) fn json_line<T: Serialize>(document: &T) -> Vec<u8> {
    let mut json = serde_json::to_vec(document).expect("a vector takes every byte, keys are text");
    // Carried JSON may hold line ends as white space; inside a string they are always escaped. Left
    // alone, they would end the field and let the data write fields of its own.
    for byte in &mut json {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    json
}

/// Appends a comment, which keeps the connection alive and is seen by nobody; line ends in it
/// become spaces.
pub fn write_comment(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b": ");
    out.extend(text.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
    out.extend_from_slice(b"\n\n");
}

/// Appends how long the client waits before it connects again, in milliseconds: a line of the event
/// that must follow. A block of its own would be an empty message to common readers.
pub fn write_retry(out: &mut Vec<u8>, retry_ms: u32) {
    out.extend_from_slice(format!("retry: {retry_ms}\n").as_bytes());
}

/// One thing read from a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SseFrame {
    /// An event with data.
    Event {
        /// The latest id seen on the stream, this event's or an earlier one's; empty if none.
        last_event_id: String,
        /// Its name; `message` unless given.
        name: String,
        /// Its data, lines joined by a line feed.
        data: String,
    },
    /// A comment: the connection is alive.
    Comment(String),
    /// Wait this many milliseconds before connecting again.
    Retry(u64),
}

/// A stream that cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// A line, or the data of one event, is longer than the limit.
    #[error("the event stream has a line or an event of more than {limit} bytes")]
    TooLong {
        /// The limit, in bytes.
        limit: usize,
    },
}

/// Reads a stream in pieces of any size, as the standard says, byte by byte if need be.
///
/// An event whose closing blank line has not come is not given out. After an error the parser is
/// of no further use. For a new connection take a new one, with [`SseParser::resume`] if ids go on.
#[derive(Clone, Debug)]
pub struct SseParser {
    limit: usize,
    line: Vec<u8>,
    /// How far the stream is from its first line: a byte-order mark there is dropped.
    first_line: bool,
    /// The byte before was a carriage return: a line feed now belongs to it.
    after_cr: bool,
    name: String,
    data: String,
    has_data: bool,
    id: String,
    failed: bool,
}

impl Default for SseParser {
    fn default() -> Self {
        Self::with_limit(LINE_BYTES_MAX)
    }
}

impl SseParser {
    /// A parser at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A parser that takes lines and events of at most `limit` bytes.
    #[must_use]
    pub const fn with_limit(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            first_line: true,
            after_cr: false,
            name: String::new(),
            data: String::new(),
            has_data: false,
            id: String::new(),
            failed: false,
        }
    }

    /// A parser for a new connection that goes on after `last_event_id`.
    #[must_use]
    pub fn resume(last_event_id: impl Into<String>) -> Self {
        Self { id: last_event_id.into(), ..Self::default() }
    }

    /// What to send as `Last-Event-ID`; empty if nothing.
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        &self.id
    }

    /// Takes the next bytes of the stream and returns what they completed.
    ///
    /// # Errors
    /// [`SseError::TooLong`], and from then on always.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<SseFrame>, SseError> {
        let mut frames = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() && !self.failed {
            if std::mem::take(&mut self.after_cr) && rest[0] == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let (part, tail) = rest.split_at(end.unwrap_or(rest.len()));
            if self.line.len() + part.len() > self.limit {
                self.failed = true;
                break;
            }
            self.line.extend_from_slice(part);
            rest = tail;
            if end.is_some() {
                self.after_cr = rest[0] == b'\r';
                rest = &rest[1..];
                self.end_line(&mut frames);
            }
        }
        if self.failed { Err(SseError::TooLong { limit: self.limit }) } else { Ok(frames) }
    }

    fn end_line(&mut self, frames: &mut Vec<SseFrame>) {
        let mut bytes = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.first_line) && bytes.starts_with(b"\xEF\xBB\xBF") {
            bytes.drain(..3);
        }
        let line = String::from_utf8_lossy(&bytes);
        match line.split_once(':') {
            _ if line.is_empty() => frames.extend(self.dispatch()),
            Some(("", comment)) => {
                let comment = comment.strip_prefix(' ').unwrap_or(comment);
                frames.push(SseFrame::Comment(comment.to_owned()));
            }
            Some((field, value)) => {
                let value = value.strip_prefix(' ').unwrap_or(value);
                frames.extend(self.field(field, value));
            }
            None => frames.extend(self.field(&line, "")),
        }
        bytes.clear();
        // Keeps the buffer for the next line.
        self.line = bytes;
    }

    fn field(&mut self, field: &str, value: &str) -> Option<SseFrame> {
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if self.data.len() + value.len() + 1 > self.limit {
                    self.failed = true;
                    return None;
                }
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                return value.parse().ok().map(SseFrame::Retry);
            }
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<SseFrame> {
        let name = std::mem::take(&mut self.name);
        let data = std::mem::take(&mut self.data);
        if !std::mem::take(&mut self.has_data) {
            return None;
        }
        let name = if name.is_empty() { "message".to_owned() } else { name };
        Some(SseFrame::Event { last_event_id: self.id.clone(), name, data })
    }
}
