//! Reading documents, with errors that name the member and can be shown to a user: they never
//! repeat a value that was sent, which may be a secret in the wrong member.
//!
//! Limits on sizes are checked before; names and values are judged by `relais-core` afterwards.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::de::{DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::error::Category;
use serde_json::value::RawValue;
use serde_path_to_error::{Path, Segment};

use crate::bounded::{ENTRIES_MAX, Few, TOO_MANY};
use crate::codes::{self, Code};
use crate::problem::{FieldError, Problem};

/// Deepest nesting of arrays and objects. Most JSON readers refuse or fail somewhere above it, and
/// what is accepted here must be readable by every worker.
pub const NESTING_MAX: usize = 128;

/// Longest [`DecodeError::detail`] in characters: it may quote the name of a member that was sent.
const DETAIL_CHARS_MAX: usize = 300;

/// What kind of mistake a document holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeKind {
    /// It is not JSON (`malformed-json`, 400).
    Syntax,
    /// It has a member that the contract does not have (`unknown-field`, 422).
    UnknownField,
    /// A member is missing, named twice, of a wrong type or has an impossible value
    /// (`invalid-field`, 422).
    InvalidField,
    /// A call has more items than the limit; the rest was not read (`batch-too-large`, 413).
    TooManyItems,
}

/// A document that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct DecodeError {
    /// What kind of mistake it is.
    pub kind: DecodeKind,
    /// The member, as a JSON pointer (RFC 6901); `None` for the document itself.
    pub field: Option<String>,
    /// What is wrong with it, for the developer who sent it.
    pub detail: String,
}

impl DecodeError {
    /// A mistake in the value of the member at `pointer`.
    pub fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { kind: DecodeKind::InvalidField, field: Some(pointer.into()), detail: detail.into() }
    }

    fn syntax(detail: impl Into<String>) -> Self {
        Self { kind: DecodeKind::Syntax, field: None, detail: detail.into() }
    }

    /// The entry of the registry for this mistake.
    #[must_use]
    pub const fn code(&self) -> &'static Code {
        match self.kind {
            DecodeKind::Syntax => &codes::MALFORMED_JSON,
            DecodeKind::UnknownField => &codes::UNKNOWN_FIELD,
            DecodeKind::InvalidField => &codes::INVALID_FIELD,
            DecodeKind::TooManyItems => &codes::BATCH_TOO_LARGE,
        }
    }

    /// The problem document for this mistake; `base` is as in [`Code::problem`].
    #[must_use]
    pub fn problem(&self, base: &str) -> Problem {
        let mut problem = self.code().problem(base);
        let pointer = self.field.clone();
        problem.detail = Some(match &pointer {
            Some(pointer) if !pointer.is_empty() => format!("{pointer}: {}", self.detail),
            _ => self.detail.clone(),
        });
        if let Some(pointer) = pointer {
            problem.errors.push(FieldError { detail: self.detail.clone(), pointer });
        }
        problem
    }
}

/// Reads one document.
///
/// # Errors
/// [`DecodeKind::Syntax`] when the bytes are not JSON, hold an unpaired surrogate escape (`\ud800`)
/// or nest deeper than [`NESTING_MAX`]; the other kinds when they are JSON but not a `T`.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    check_portable(bytes)?;
    read(bytes)
}

/// Reads the body of `POST /v1/tasks/batch`: a JSON array, or one document a line (`ndjson`).
///
/// A bad item spoils itself only. Empty lines are passed over. Reading stops at the first item
/// beyond [`ENTRIES_MAX`](crate::ENTRIES_MAX).
///
/// # Errors
/// [`DecodeKind::Syntax`] when a JSON array is not JSON; [`DecodeKind::InvalidField`] when it is
/// something else; [`DecodeKind::TooManyItems`].
pub fn decode_batch<T: DeserializeOwned>(
    bytes: &[u8],
    ndjson: bool,
) -> Result<Vec<Item<T>>, DecodeError> {
    if !ndjson {
        return decode::<Few<_>>(bytes).map(|few| few.0);
    }
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let mut items = Vec::new();
    for line in lines.filter(|line| !line.is_empty()) {
        if items.len() == ENTRIES_MAX {
            let detail = format!("{TOO_MANY}: at most {ENTRIES_MAX}");
            return Err(DecodeError { kind: DecodeKind::TooManyItems, field: None, detail });
        }
        items.push(Item(decode(line)));
    }
    Ok(items)
}

/// One item of a batch: read by itself, so that a mistake in it is answered in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Item<T>(pub Result<T, DecodeError>);

impl<T> From<T> for Item<T> {
    fn from(value: T) -> Self {
        Self(Ok(value))
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Item<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(read(raw.get().as_bytes())))
    }
}

/// Writes the value.
///
/// # Errors
/// For an item that could not be read: there is nothing to write.
impl<T: Serialize> Serialize for Item<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Ok(value) => value.serialize(serializer),
            Err(error) => Err(serde::ser::Error::custom(error)),
        }
    }
}

/// The happy path is read once and plainly; the slower reader that keeps track of the path runs
/// only to explain a refusal.
fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    serde_json::from_slice(bytes).map_err(|error| explain::<T>(bytes, &error))
}

fn explain<T: DeserializeOwned>(bytes: &[u8], error: &serde_json::Error) -> DecodeError {
    if error.classify() != Category::Data {
        return DecodeError::syntax(match bytes.trim_ascii() {
            [] => "the body is empty, JSON was expected".to_owned(),
            _ => cut(&error.to_string()),
        });
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let path = match serde_path_to_error::deserialize::<_, T>(&mut reader) {
        Ok(_) => String::new(),
        Err(error) => pointer(error.path()),
    };
    let message = error.to_string();
    // The position says nothing that the pointer does not say better.
    let message = message.rfind(" at line ").map_or(message.as_str(), |end| &message[..end]);
    let is_of_items = path.is_empty() || path == "/items";
    let (kind, member) = if message.starts_with(TOO_MANY) && is_of_items {
        (DecodeKind::TooManyItems, None)
    } else if let Some(member) = quoted(message, "unknown field `") {
        (DecodeKind::UnknownField, Some(member))
    } else {
        let missing = quoted(message, "missing field `");
        (DecodeKind::InvalidField, missing.or_else(|| quoted(message, "duplicate field `")))
    };
    let field = match member {
        Some(member) if path.rsplit('/').next() != Some(escaped(member).as_str()) => {
            format!("{path}/{}", escaped(member))
        }
        _ => path,
    };
    DecodeError { kind, field: Some(field), detail: cut(&plain(&without_value(message))) }
}

/// serde's words without the value that was found: `invalid type: string "x", expected a map`.
fn without_value(message: &str) -> Cow<'_, str> {
    const QUOTING: [&str; 3] = ["invalid type: ", "invalid value: ", "unknown variant "];
    if !QUOTING.iter().any(|start| message.starts_with(start)) {
        return message.into();
    }
    // What was expected is in our own words and comes last, whatever the value looks like.
    let Some((found, expected)) = message.rsplit_once(", expected ") else { return message.into() };
    let kind = found.split(['"', '`']).next().unwrap_or_default().trim_end();
    format!("{kind}, expected {expected}").into()
}

fn quoted<'a>(message: &'a str, start: &str) -> Option<&'a str> {
    message.strip_prefix(start)?.split('`').next()
}

fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => {
                // Writing to a string cannot fail.
                let _ = write!(pointer, "/{index}");
            }
            Segment::Map { key } | Segment::Enum { variant: key } => {
                pointer.push('/');
                pointer.push_str(&escaped(key));
            }
            Segment::Unknown => {}
        }
    }
    pointer
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// serde's words, without the names of our types.
fn plain(message: &str) -> String {
    const WORDS: [(&str, &str); 12] = [
        ("missing field `", "missing member `"),
        ("unknown field `", "unknown member `"),
        ("duplicate field `", "member named twice `"),
        ("invalid type: map", "invalid type: object"),
        ("invalid type: sequence", "invalid type: array"),
        ("expected a map", "expected an object"),
        ("expected a sequence", "expected an array"),
        ("there are no fields", "there are no members"),
        ("a borrowed string", "a string"),
        ("expected f64", "expected a number"),
        ("expected unit", "expected null"),
        ("expected a tuple of size 2", "expected an array of two"),
    ];
    let mut text = message.to_owned();
    for (theirs, ours) in WORDS {
        text = text.replacen(theirs, ours, 1);
    }
    let Some((head, kind)) = text.rsplit_once("expected ") else { return text };
    let expected = match kind {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" => "a whole number",
        kind if kind.starts_with("struct ") => "an object",
        _ => return text,
    };
    format!("{head}expected {expected}")
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(DETAIL_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Refuses what the grammar allows but many readers do not, because carried values are not parsed
/// here and would otherwise fail at a worker, together with its whole batch of leases.
fn check_portable(bytes: &[u8]) -> Result<(), DecodeError> {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = skip_string(bytes, at + 1)?,
            b'[' | b'{' => {
                depth += 1;
                if depth > NESTING_MAX {
                    return Err(DecodeError::syntax(format!(
                        "nested deeper than {NESTING_MAX} levels at byte {at}; \
                         send such a value as text or in base64"
                    )));
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// Returns the place of the quote that ends the string whose first byte is at `at`.
fn skip_string(bytes: &[u8], mut at: usize) -> Result<usize, DecodeError> {
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return Ok(at),
            b'\\' => at = skip_escape(bytes, at)?,
            _ => at += 1,
        }
    }
    Ok(at)
}

/// Returns the place after the escape that starts at `at`, with both halves of a surrogate pair.
fn skip_escape(bytes: &[u8], at: usize) -> Result<usize, DecodeError> {
    let Some(unit) = utf16_unit(bytes, at) else { return Ok(at + 2) };
    let pair = match unit {
        0xD800..=0xDBFF => {
            utf16_unit(bytes, at + 6).is_some_and(|low| (0xDC00..=0xDFFF).contains(&low))
        }
        0xDC00..=0xDFFF => false,
        _ => return Ok(at + 6),
    };
    if pair {
        return Ok(at + 12);
    }
    Err(DecodeError::syntax(format!(
        "unpaired surrogate \\u{unit:04x} at byte {at}: text must be valid Unicode"
    )))
}

/// The value of the escape `\uXXXX` at `at`, if there is one.
fn utf16_unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    // `from_str_radix` alone would also take a sign.
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}
