//! Server-Sent Events: how what a stream says is written, and from where one is resumed.

use http::HeaderMap;
use relais_api::{After, Notice, sse};
use relais_engine::Published;

use crate::watch::cursor::Resume;
use crate::watch::stream::Form;

/// The form of Server-Sent Events.
pub(crate) struct Sse;

impl Form for Sse {
    fn media_type(&self) -> &'static str {
        sse::MEDIA_TYPE
    }

    fn event(&self, event: &Published, number: u64, base: &str, out: &mut Vec<u8>) {
        sse::write_json(out, Some(number), event.entry.data.kind().as_str(), event.json(base));
    }

    fn notice(&self, notice: &Notice, out: &mut Vec<u8>) {
        notice.encode_sse(out);
    }

    fn come_back_after(&self, ms: u32, out: &mut Vec<u8>) {
        sse::write_retry(out, ms);
    }

    fn quiet(&self, out: &mut Vec<u8>) {
        sse::write_comment(out, "still here");
    }
}

/// From where a client resumes: `Last-Event-ID`, read as bytes because browsers send back what they
/// got; else `after`.
#[must_use]
pub(crate) fn resume(headers: &HeaderMap, after: Option<After>) -> Resume {
    let otherwise = after.unwrap_or(After::Number(0)).into();
    let Some(line) = headers.get("last-event-id") else { return otherwise };
    let text = std::str::from_utf8(line.as_bytes()).unwrap_or_default().trim();
    if text.is_empty() {
        return otherwise;
    }
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if is_number => Resume::After(number),
        _ => Resume::Unknown,
    }
}
