//! An upstream's answer, fed to the client from the stored copy while it grows.
//!
//! What says that the answer is whole is held back until its outcome is committed: with
//! a length the last byte, without one the end of the body. If it breaks off, so does
//! this: never a clean end.

use relais_api::fields;
use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use relais_core::TaskId;
use relais_engine::execute::tap::Answer;
use relais_engine::headers::{is_hop_by_hop, is_own};
use relais_engine::{ResultHead, Tap, TapEvent};

use super::abandon::Abandon;
use crate::answer::problem::Refusal;
use crate::answer::stored::no_body;
use crate::proxy::fields::vary_by_prefer;

/// Bytes read from the store at once.
const PIECE_BYTES: usize = 64 << 10;

/// The answer with its head as it stands; its body follows the tap.
///
/// # Errors
/// When its head cannot be passed on.
pub(super) fn streamed(
    answer: &Arc<Answer>,
    tap: Tap,
    abandon: Abandon,
    task: TaskId,
    applied: Option<&str>,
) -> Result<Response, Refusal> {
    let feed = Feed { tap, answer: answer.clone(), offset: 0, abandon };
    let body = Body::from_stream(stream::try_unfold(feed, Feed::next));
    let mut response = with_head(&answer.head, body, task, applied)?;
    if let Some(len) = answer.announced_len {
        response.headers_mut().insert(CONTENT_LENGTH, len.into());
    }
    Ok(response)
}

/// An answer without a body: its head was held back until now.
///
/// # Errors
/// When its head cannot be passed on.
pub(super) fn bodiless(
    head: &ResultHead,
    task: TaskId,
    applied: Option<&str>,
) -> Result<Response, Refusal> {
    with_head(head, no_body(), task, applied)
}

fn with_head(
    head: &ResultHead,
    body: Body,
    task: TaskId,
    applied: Option<&str>,
) -> Result<Response, Refusal> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(head.status).map_err(Refusal::internal)?;
    let headers = response.headers_mut();
    for (name, value) in &head.fields {
        if is_own(name) || is_hop_by_hop(name) || (head.has_body && name == CONTENT_LENGTH.as_str())
        {
            continue;
        }
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(Refusal::internal)?;
        let value = HeaderValue::from_maybe_shared(value.clone()).map_err(Refusal::internal)?;
        headers.append(name, value);
    }
    if head.status >= 400 {
        headers.insert(fields::ORIGIN, HeaderValue::from_static("upstream"));
    }
    add_fields(headers, task, applied);
    Ok(response)
}

/// What Relais adds to the answer of a task.
pub(super) fn add_fields(headers: &mut HeaderMap, task: TaskId, applied: Option<&str>) {
    let id = HeaderValue::from_str(&task.to_string()).expect("an id is ASCII");
    headers.insert(fields::TASK, id);
    if let Some(applied) = applied.and_then(|text| HeaderValue::from_str(text).ok()) {
        headers.insert(fields::PREFERENCE_APPLIED, applied);
    }
    vary_by_prefer(headers);
}

/// The body of a streamed answer.
struct Feed {
    tap: Tap,
    answer: Arc<Answer>,
    /// Bytes given to the client.
    offset: u64,
    abandon: Abandon,
}

impl Feed {
    /// The next piece; `None` at the committed end.
    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        loop {
            let (may_give, is_whole) = match self.tap.current() {
                TapEvent::Committed(_, len) => (len, true),
                TapEvent::Streaming(_, stored) => (self.held_back(stored), false),
                TapEvent::Waiting
                | TapEvent::Retrying(_)
                | TapEvent::Settled
                | TapEvent::Broken => return Err(broken()),
            };
            if self.offset < may_give {
                let piece = self.read(may_give).await?;
                self.offset += piece.len() as u64;
                return Ok(Some((piece, self)));
            }
            if is_whole {
                self.abandon.disarm();
                return Ok(None);
            }
            if !self.tap.changed().await {
                return Err(broken());
            }
        }
    }

    /// How much may be given while the outcome is not committed.
    fn held_back(&self, stored: u64) -> u64 {
        match self.answer.announced_len {
            Some(len) => stored.min(len.saturating_sub(1)),
            None => stored,
        }
    }

    async fn read(&self, end: u64) -> io::Result<Bytes> {
        let max = usize::try_from(end - self.offset).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let piece = self.answer.body.read_at(self.offset, max).await.map_err(io::Error::other)?;
        if piece.is_empty() { Err(broken()) } else { Ok(piece) }
    }
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the answer broke off")
}
