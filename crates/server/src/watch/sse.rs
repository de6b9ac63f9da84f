//! A stream of one task's events (Server-Sent Events), whatever carries its bytes: hyper's body, or
//! a bare socket that was taken back from hyper.
//!
//! A browser closes an `EventSource` for ever after any error status: whatever may pass is told as
//! `relais.busy` in a 200 instead.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use relais_api::{Notice, Span, sse};
use relais_core::{Entry, EventKind, Status, TaskId, Timestamp, limits};
use relais_engine::Follower;
use relais_store::EventQuery;

use crate::answer::problem::Refusal;
use crate::app::App;
use crate::connection::Client;
use crate::watch::chunk::Chunk;
use crate::watch::encode::{shared_sse_of, sse_of};

/// How long a stream is silent at most.
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(15);
/// Events read from the log at once.
const PAGE: usize = 64;
/// What the end of one stream costs, with room to spare.
const END_EACH: Duration = Duration::from_micros(50);
/// Streams that end within this need no spreading.
const END_SPREAD_MIN: Duration = Duration::from_millis(20);
/// Streams that end together have ended after this, however many there are.
const END_SPREAD_MAX: Duration = Duration::from_secs(2);
/// How long a client waits before it comes back: drawn in this range, so that a thousand streams
/// that end together do not come back together. Browsers do not go under 500 ms.
const RETRY_MS: std::ops::Range<u32> = 1_000..5_000;

/// From where a client wants to read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resume {
    /// After this event; 0 is from the start.
    After(u64),
    /// After something that is no number of ours.
    Unknown,
}

impl Resume {
    /// `Last-Event-ID`, read as bytes because browsers send back what they got; else `after`.
    #[must_use]
    pub(crate) fn of(headers: &HeaderMap, after: Option<u64>) -> Self {
        let Some(line) = headers.get("last-event-id") else {
            return Self::After(after.unwrap_or(0));
        };
        let text = std::str::from_utf8(line.as_bytes()).unwrap_or_default().trim();
        if text.is_empty() {
            return Self::After(after.unwrap_or(0));
        }
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(seq) if is_number => Self::After(seq),
            _ => Self::Unknown,
        }
    }
}

/// What a stream turned out to be.
pub(crate) enum Opened {
    /// Events follow.
    Follow(Follow),
    /// The log is over and was read: do not come back.
    Over,
}

/// One follower. Small: ten thousand of them wait for most of their lives.
pub struct Follow {
    app: Arc<App>,
    task: TaskId,
    follower: Follower,
    /// The last event that was given out.
    after: u64,
    /// What begins the stream, until it was given out.
    opening: Option<Chunk>,
    is_over: bool,
    /// Whether the log holds more than what was read of it: then nothing is waited for.
    has_more: bool,
    /// Whether the task waits in its queue, as far as its events say.
    is_queued: bool,
    /// When the stream ends, of the time that is counted: the client comes back, if it still may.
    until: Duration,
}

/// Opens a stream. `until` is when the caller's ticket ends.
///
/// # Errors
/// When the store cannot be read, or the task is gone.
pub(crate) async fn open(
    app: &Arc<App>,
    id: TaskId,
    resume: Resume,
    until: Option<Timestamp>,
) -> Result<Opened, Refusal> {
    // Sitting down before looking: what happens in between is not missed.
    let follower = app.engine.follow(id);
    let task = app.engine.task(id).await?;
    let task = task.ok_or_else(|| Refusal::new(&relais_api::codes::TASK_NOT_FOUND))?;
    let version = task.life.version;
    let is_terminal = task.life.status().is_terminal();
    let (after, reset) = match resume {
        Resume::After(after) if after == version && is_terminal => return Ok(Opened::Over),
        Resume::After(after) if after <= version => (after, false),
        Resume::After(_) | Resume::Unknown => (0, true),
    };
    app.metrics.followers(1);
    let mut follow = Follow {
        app: app.clone(),
        task: id,
        follower,
        after,
        opening: None,
        is_over: false,
        has_more: false,
        is_queued: task.life.status() == Status::Queued,
        until: ends_at(app, until),
    };
    let page = follow.read_log().await?;
    let gap = page.first().is_some_and(|first| first.seq > after + 1);
    let version = page.last().map_or(version, |last| last.seq.max(version));
    let mut opening = Vec::with_capacity(1_024);
    sse::write_retry(&mut opening, retry_ms(app));
    Notice::Open { version, gap }.encode_sse(&mut opening);
    if reset {
        Notice::Reset { reason: "unknown".to_owned(), from: 0 }.encode_sse(&mut opening);
    }
    follow.give(&page, &mut opening);
    if follow.is_queued
        && !follow.has_more
        && let Some(estimate) = app.estimates.of(app, id).await?
    {
        opening.extend_from_slice(&estimate);
    }
    follow.opening = Some(Chunk::of(&opening));
    Ok(Opened::Follow(follow))
}

impl Follow {
    /// The next piece of the stream; `None` at its end. After `keepalive` of
    /// silence it is a comment.
    ///
    /// May be dropped at any time: the next call goes on where the last one that returned left off.
    pub async fn next(&mut self, keepalive: Duration) -> Option<Chunk> {
        if let Some(opening) = self.opening.take() {
            return Some(opening);
        }
        let is_late = self.until <= self.app.engine.elapsed();
        if self.is_over || is_late || self.app.stop.is_cancelled() {
            return None;
        }
        let is_newer = tokio::select! {
            () = async {}, if self.has_more => true,
            () = self.follower.after(self.after) => true,
            () = tokio::time::sleep(keepalive) => false,
            () = self.app.stop.cancelled() => return None,
        };
        if !is_newer {
            if self.until <= self.app.engine.elapsed() {
                return None;
            }
            let estimate = if self.is_queued { Box::pin(self.estimate()).await } else { None };
            return Some(estimate.map_or(Chunk::comment(), |estimate| Chunk::of(&estimate)));
        }
        // Boxed: while a follower waits, it does not pay for what it does when it is woken.
        let chunk = Box::pin(self.chunk()).await;
        match chunk {
            Ok(chunk) => chunk,
            Err(refusal) => {
                self.is_over = true;
                self.app.note(&refusal, None);
                Some(Chunk::of(&busy(&self.app, &refusal)))
            }
        }
    }

    /// How long an ended stream stays open, where many followers of one task end together: ending
    /// one costs as much as telling it, and those that come back do not all come at once.
    pub(crate) fn ends_after(&self) -> Option<Duration> {
        ends_after(self.follower.count(), self.app.engine.chance().unit())
    }

    /// What a waiting client is told instead of a comment.
    async fn estimate(&self) -> Option<Bytes> {
        self.app.estimates.of(&self.app, self.task).await.ok().flatten()
    }

    /// The events that are there, encoded; `None` when the task is gone.
    async fn chunk(&mut self) -> Result<Option<Chunk>, Refusal> {
        if let Some(recent) = self.follower.recent(self.after)
            && let Some(last) = recent.last()
        {
            self.has_more = false;
            let last = last.clone();
            let chunk = match recent.as_slice() {
                // The commonest case: one event, shared without a copy.
                [only] => shared_sse_of(only, self.app.base()),
                several => {
                    let mut chunk = Vec::new();
                    for published in several {
                        let shared = shared_sse_of(published, self.app.base());
                        chunk.extend_from_slice(&shared.plain());
                    }
                    Chunk::of(&chunk)
                }
            };
            self.given(Some(&last.entry));
            return Ok(Some(chunk));
        }
        let page = self.read_log().await?;
        if page.is_empty() {
            // Known to be newer, and not in the log: it was erased.
            self.is_over = true;
            return Ok(None);
        }
        let mut chunk = Vec::new();
        self.give(&page, &mut chunk);
        Ok(Some(Chunk::of(&chunk)))
    }

    /// Gives out events of a page, as many as one piece of a stream may have: a follower that does
    /// not read holds no more than that.
    fn give(&mut self, page: &[Entry], chunk: &mut Vec<u8>) {
        let mut given = 0;
        while given < page.len() && chunk.len() < limits::STREAM_CHUNK_BYTES_MAX {
            chunk.extend_from_slice(&sse_of(&page[given], self.app.base()));
            given += 1;
        }
        self.has_more |= given < page.len();
        self.given(page[..given].last());
    }

    async fn read_log(&mut self) -> Result<Vec<Entry>, Refusal> {
        // One more than is given out tells whether to wait for the next.
        let query = EventQuery::Task { id: self.task, after: self.after, limit: PAGE + 1 };
        let mut page = self.app.engine.events(query).await?;
        self.has_more = page.len() > PAGE;
        page.truncate(PAGE);
        Ok(page.into_iter().map(|logged| logged.entry).collect())
    }

    /// Moves the cursor past `last`. A terminal event that nothing follows yet ends the stream: a
    /// retry by hand begins another.
    fn given(&mut self, last: Option<&Entry>) {
        let Some(last) = last else { return };
        self.after = last.seq;
        let kind = last.data.kind();
        self.is_over = kind.is_terminal() && !self.has_more;
        let waits = [EventKind::Accepted, EventKind::Requeued, EventKind::AttemptFailed];
        self.is_queued = waits.contains(&kind);
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.app.metrics.followers(-1);
    }
}

/// Marks a response whose events may be written without hyper: whoever takes the [`Follow`] out
/// writes the head and the events; otherwise the response's body gives them.
#[derive(Clone)]
pub struct Following(Arc<Mutex<Option<Follow>>>);

impl Following {
    /// Takes the follower; `None` if it was taken before.
    #[must_use]
    pub fn take(&self) -> Option<Follow> {
        self.0.lock().expect("nothing panics while it is held").take()
    }
}

/// The answer that streams a follower's events to a client, until that has closed its sending side.
#[must_use]
pub(crate) fn response(follow: Follow, client: Client) -> Response {
    let following = Following(Arc::new(Mutex::new(Some(follow))));
    let marked = following.clone();
    let events = stream::unfold(None, move |follow: Option<Follow>| {
        let follow = follow.or_else(|| following.take());
        let client = client.clone();
        async move {
            let mut follow = follow?;
            let chunk = tokio::select! {
                // What is there is given out first.
                biased;
                chunk = follow.next(KEEPALIVE) => chunk?,
                () = client.half_closed() => return None,
            };
            Some((Ok::<_, std::convert::Infallible>(chunk.plain()), Some(follow)))
        }
    });
    let mut response = head(Body::from_stream(events));
    response.extensions_mut().insert(marked);
    response
}

/// The answer that streams other bytes of events.
#[must_use]
pub(crate) fn stream_response(chunks: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    head(Body::from_stream(chunks.map(Ok::<_, std::convert::Infallible>)))
}

/// The head of every stream.
fn head(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(sse::MEDIA_TYPE));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would hold events back otherwise.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// The log is over and was read.
#[must_use]
pub(crate) fn over_response() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// A refusal that will pass, told so that a browser comes back.
#[must_use]
pub(crate) fn busy_response(app: &App, refusal: &Refusal) -> Response {
    head(Body::from(busy(app, refusal)))
}

fn busy(app: &App, refusal: &Refusal) -> Bytes {
    let ms = match refusal.retry_after_s() {
        Some(seconds) => seconds.saturating_mul(1_000).max(RETRY_MS.start),
        None => retry_ms(app),
    };
    let mut out = Vec::new();
    sse::write_retry(&mut out, ms);
    Notice::Busy { retry_after: Span::from_ms(u64::from(ms)) }.encode_sse(&mut out);
    out.into()
}

/// When a stream that opens now ends: drawn in a range, so that those that opened together do not
/// end together, and not after the right to it, which `until` bounds. Whoever still may comes
/// back, and misses nothing.
#[must_use]
pub(crate) fn ends_at(app: &App, until: Option<Timestamp>) -> Duration {
    let most = limits::STREAM_LIFETIME_MAX;
    let life = most.mul_f64(0.5 + app.engine.chance().unit() / 2.0);
    let left = until.map_or(life, |until| until.since(app.engine.now()).min(life));
    app.engine.elapsed() + left
}

/// How long one of `count` streams stays open that end together; `chance` is from 0 to 1.
fn ends_after(count: usize, chance: f64) -> Option<Duration> {
    let spread = END_EACH.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
    let share = 0.5 + chance / 2.0;
    (spread >= END_SPREAD_MIN).then(|| spread.min(END_SPREAD_MAX).mul_f64(share))
}

/// How long this client waits before it comes back.
pub(crate) fn retry_ms(app: &App) -> u32 {
    let spread = f64::from(RETRY_MS.end - RETRY_MS.start);
    RETRY_MS.start + (app.engine.chance().unit() * spread) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_streams_end_at_once_and_many_over_some_time() {
        assert_eq!(ends_after(1, 0.9), None);
        assert_eq!(ends_after(399, 0.9), None);
        assert_eq!(ends_after(10_000, 0.0), Some(Duration::from_millis(250)));
        assert_eq!(ends_after(10_000, 1.0), Some(Duration::from_millis(500)));
        assert_eq!(ends_after(usize::MAX, 1.0), Some(END_SPREAD_MAX));
    }
}
