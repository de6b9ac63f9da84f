//! A follower whose events are written to a client, whatever the form and whatever carries the bytes:
//! the HTTP library's body, or a bare socket that was taken back from it.
//!
//! A browser closes an `EventSource` for ever after any error status: whatever may pass is told as
//! `relais.busy` in a 200 instead.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use relais_api::{Notice, Span, codes};
use relais_core::{Status, Task, Timestamp, limits};
use relais_engine::{Engine, EngineError, Happening, Published, Subscription, View};
use tokio::time::Instant;

use crate::answer::incremental::as_it_comes;
use crate::answer::pace;
use crate::answer::problem::Refusal;
use crate::connection::Client;
use crate::watch::cursor::{self, Batch, Cursor, End, Resume, Step};
use crate::watch::follower::{Follower, Followers, News};

/// How long a client waits before it comes back: drawn in this range, so that a thousand streams
/// that end together do not come back together, and less where a task that it holds would be canceled
/// before. Browsers do not go under 500 ms.
const RETRY_MS: std::ops::Range<u32> = 1_000..5_000;

/// How what a stream says is written. It decides nothing.
pub(crate) trait Form: Send + Sync {
    /// Its media type.
    fn media_type(&self) -> &'static str;
    /// What tells one from others of its kind: of two with the same name either may write for both.
    fn name(&self) -> &str {
        self.media_type()
    }
    /// An event, with the number by which a client resumes behind it; `base` as in
    /// [`Published::json`].
    fn event(&self, event: &Published, number: u64, base: &str, out: &mut Vec<u8>);
    /// What is said besides the log.
    fn notice(&self, notice: &Notice, out: &mut Vec<u8>);
    /// How long a client that comes back waits, in milliseconds; a notice follows.
    fn come_back_after(&self, ms: u32, out: &mut Vec<u8>);
    /// Something that nobody sees, and that keeps the connection alive.
    fn quiet(&self, out: &mut Vec<u8>);
    /// Why nothing more comes, where that is not seen by the end of the bytes.
    fn end(&self, _: End, _base: &str, _: &mut Vec<u8>) {}
}

/// A stream of events.
pub struct EventStream {
    follower: Follower,
    form: Box<dyn Form>,
    /// The longest that its client may be told to wait, milliseconds, where something says so.
    away_ms_max: Option<u32>,
}

/// What a stream turned out to be.
pub(crate) enum Opened {
    /// Events follow, after the bytes that begin it.
    Stream(EventStream, Bytes),
    /// The log is over and was read: do not come back.
    Over,
}

/// What is followed.
pub(crate) struct Followed {
    pub(crate) subscription: Subscription,
    /// When the right to it ends.
    pub(crate) until: Option<Timestamp>,
    /// The tasks that are named, where whoever follows them holds them: see
    /// [`Attending`](relais_engine::Attending).
    pub(crate) holds: Vec<Task>,
}

/// What is asked for.
pub(crate) struct Asked {
    pub(crate) followed: Followed,
    pub(crate) resume: Resume,
    pub(crate) client: Client,
    pub(crate) form: Box<dyn Form>,
    /// How long it lives, if the right to it does: drawn where `None`.
    pub(crate) life: Option<Duration>,
}

impl EventStream {
    /// Opens a stream.
    ///
    /// # Errors
    /// When the store cannot be read, the task is gone, or the server stops: a stream that would be
    /// closed at once is not opened.
    pub(crate) async fn open(shared: &Arc<Followers>, asked: Asked) -> Result<Opened, Refusal> {
        if shared.stop.is_cancelled() {
            return Err(Refusal::new(&codes::SERVER_DRAINING));
        }
        let Asked { followed, resume, client, form, life } = asked;
        let Followed { subscription, until, holds } = followed;
        // Sitting down before looking: what happens in between is not missed.
        let Followers { engine, answers, .. } = &**shared;
        let channel = engine.channel(subscription);
        let (last, task) = match channel.subscription() {
            Subscription::Task(id) => {
                let task = engine.task(*id).await?;
                let task = task.ok_or_else(|| Refusal::new(&codes::TASK_NOT_FOUND))?;
                (task.life.version, Some(task))
            }
            Subscription::Many(_) => (engine.begin(&channel).await?, None),
        };
        let is_over = task.as_ref().is_some_and(|task| task.life.status().is_terminal());
        if is_over && resume == Resume::After(last) {
            return Ok(Opened::Over);
        }
        let (after, is_reset) = resume.within(last);
        let (now, drawn) = (Instant::now(), cursor::life(engine.chance().unit()));
        let left = until.map(|until| until.since(engine.now()));
        let mut cursor = Cursor::stream(after, now, left, life.unwrap_or(drawn));
        cursor.is_queued = task.as_ref().is_some_and(|task| task.life.status() == Status::Queued);
        answers.metrics.followers(1);
        let follower = Follower::new(shared.clone(), channel, cursor, client);
        let mut this = Self { follower, form, away_ms_max: away_ms_max(&holds) };
        let opening = this.opening(task.map(|task| task.life.version), is_reset).await?;
        this.follower.attend(&holds);
        Ok(Opened::Stream(this, opening))
    }

    /// The bytes that begin it. `version` is that of the one task that it follows.
    async fn opening(&mut self, version: Option<u64>, is_reset: bool) -> Result<Bytes, Refusal> {
        let after = self.follower.cursor.after();
        let gone = || Refusal::new(&codes::TASK_GONE);
        let batch = self.follower.read().await?.ok_or_else(gone)?;
        let mut seqs = batch.happenings.iter().filter_map(|happening| match happening {
            Happening::Event(event) => Some(event.entry.seq),
            Happening::Erased(_) => None,
        });
        let (first, last) = (seqs.next(), seqs.next_back());
        let open = match version {
            Some(version) => Notice::Open {
                version: version.max(last.or(first).unwrap_or(0)),
                gap: first.is_some_and(|first| first > after + 1),
                pos: None,
            },
            // The numbers of many tasks always have gaps, and tell no version.
            None => Notice::Open { version: 0, gap: false, pos: Some(after) },
        };
        let mut out = Vec::with_capacity(1_024);
        let retry_ms = retry_ms(&self.follower.shared.engine, self.away_ms_max);
        self.form.come_back_after(retry_ms, &mut out);
        self.form.notice(&open, &mut out);
        if is_reset {
            let reset = Notice::Reset { reason: "unknown".to_owned(), from: 0 };
            self.form.notice(&reset, &mut out);
        }
        let count = self.write(&batch, &mut out);
        self.told(&batch, count);
        if self.follower.cursor.is_queued && count == batch.happenings.len() {
            self.estimate(&mut out).await?;
        }
        Ok(out.into())
    }

    /// The next piece of the stream; `None` at its end.
    ///
    /// May be dropped at any time: the next call goes on where the last one that returned left off.
    pub async fn piece(&mut self) -> Option<Bytes> {
        let news = self.follower.news().await;
        self.piece_of(news).await
    }

    /// The same for a driver that waits for news itself: it waits for the store alone, and what it brings may
    /// be empty.
    pub async fn piece_now(&mut self) -> Option<Bytes> {
        match self.follower.look().await {
            ControlFlow::Break(news) => self.piece_of(news).await,
            ControlFlow::Continue(_) => Some(Bytes::new()),
        }
    }

    async fn piece_of(&mut self, news: News) -> Option<Bytes> {
        let mut out = Vec::new();
        match news {
            News::Happened(batch) => {
                let count = self.write(&batch, &mut out);
                self.told(&batch, count);
            }
            News::Quiet => self.quiet_anew(&mut out).await,
            News::End(end) => {
                self.end(end, &mut out);
                if out.is_empty() {
                    return None;
                }
                self.follower.cursor.end();
            }
            News::Failed(error) => self.busy(&error.into(), &mut out),
        }
        Some(out.into())
    }

    /// What is to be done now.
    pub(crate) fn step(&mut self, view: &View, now: Instant) -> Step {
        self.follower.step(view, now)
    }

    /// The form it is written in.
    pub(crate) fn form(&self) -> &dyn Form {
        &*self.form
    }

    /// What is written where it ends.
    pub(crate) fn end(&self, end: End, out: &mut Vec<u8>) {
        self.form.end(end, self.follower.shared.answers.base.as_str(), out);
    }

    /// It is written to a bare socket from now on, which tells itself when its client has gone.
    pub(crate) fn leave_connection(&mut self) {
        self.follower.forget_client();
    }

    /// It is ended without its client's having left.
    pub(crate) fn let_go(&mut self) {
        self.follower.let_go();
    }

    pub(crate) fn follower(&self) -> &Follower {
        &self.follower
    }

    /// Writes happenings, as many as one piece of a stream may have: a follower that does not read
    /// holds no more than that. Answers how many.
    pub(crate) fn write(&self, batch: &Batch, out: &mut Vec<u8>) -> usize {
        let Follower { shared, channel, .. } = &self.follower;
        let base = shared.answers.base.as_str();
        let mut count = 0;
        for happening in &batch.happenings {
            if count > 0 && out.len() >= limits::STREAM_CHUNK_BYTES_MAX {
                break;
            }
            match happening {
                Happening::Event(event) => {
                    let number = channel.subscription().number_of(event);
                    self.form.event(event, number, base, out);
                }
                Happening::Erased(task) => {
                    self.form.notice(&Notice::Erased { task: task.to_string() }, out);
                }
            }
            count += 1;
        }
        count
    }

    /// The first `count` of a batch were written.
    pub(crate) fn told(&mut self, batch: &Batch, count: usize) {
        self.follower.told(batch, count);
    }

    /// What is written when nothing happens, if it need not be made first.
    pub(crate) fn quiet(&mut self) -> Option<Bytes> {
        let mut out = Vec::new();
        self.form.quiet(&mut out);
        if let (true, Subscription::Task(id)) =
            (self.follower.cursor.is_queued, self.follower.channel.subscription())
        {
            let Followers { estimates, engine, .. } = &*self.follower.shared;
            let estimate = estimates.known(*id, engine.elapsed())?;
            self.form.notice(&estimate, &mut out);
        }
        self.follower.cursor.told_quiet(Instant::now());
        Some(out.into())
    }

    async fn quiet_anew(&mut self, out: &mut Vec<u8>) {
        self.form.quiet(out);
        if self.follower.cursor.is_queued {
            // Without one it is the sign of life alone.
            let _ = Box::pin(self.estimate(out)).await;
        }
        self.follower.cursor.told_quiet(Instant::now());
    }

    async fn estimate(&self, out: &mut Vec<u8>) -> Result<(), EngineError> {
        let Follower { shared, channel, .. } = &self.follower;
        if let Subscription::Task(id) = channel.subscription()
            && let Some(estimate) = shared.estimates.of(&shared.engine, *id).await?
        {
            self.form.notice(&estimate, out);
        }
        Ok(())
    }

    /// The last bytes of a stream that cannot be served on now.
    fn busy(&mut self, refusal: &Refusal, out: &mut Vec<u8>) {
        let Followers { engine, answers, .. } = &*self.follower.shared;
        answers.note(refusal, None);
        out.append(&mut busy(engine, &*self.form, refusal, self.away_ms_max));
        self.follower.cursor.end();
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.follower.shared.answers.metrics.followers(-1);
    }
}

/// Marks a response whose bytes may be written without the HTTP library: whoever takes the stream
/// and the bytes that begin it writes them behind the head; otherwise the response's body does.
#[derive(Clone)]
pub struct Streaming(Arc<Mutex<Option<Begun>>>);

/// A stream, and the bytes that begin it.
pub(crate) type Begun = Box<(EventStream, Bytes)>;

impl Streaming {
    /// Takes the stream; `None` if it was taken before.
    #[must_use]
    pub fn take(&self) -> Option<Begun> {
        self.0.lock().expect("nothing panics while it is held").take()
    }
}

/// The answer that is a stream.
#[must_use]
pub(crate) fn response(opened: Opened) -> Response {
    let Opened::Stream(events, opening) = opened else {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        return response;
    };
    let response = head(&*events.form, Body::empty());
    let streaming = Streaming(Arc::new(Mutex::new(Some(Box::new((events, opening))))));
    let marked = streaming.clone();
    let pieces = stream::unfold(None, move |events: Option<EventStream>| {
        let taken = if events.is_none() { streaming.take() } else { None };
        async move {
            let (events, piece) = match (events, taken) {
                (None, taken) => *taken?,
                (Some(mut events), _) => {
                    let piece = events.piece().await?;
                    (events, piece)
                }
            };
            Some((Ok::<_, Infallible>(piece), Some(events)))
        }
    });
    let mut response = response.map(|_| Body::from_stream(pieces));
    response.extensions_mut().insert(marked);
    response
}

/// A refusal that will pass, told so that a browser comes back.
#[must_use]
pub(crate) fn busy_response(
    engine: &Engine,
    form: &dyn Form,
    refusal: &Refusal,
    away_ms_max: Option<u32>,
) -> Response {
    head(form, Body::from(busy(engine, form, refusal, away_ms_max)))
}

/// The longest that whoever holds these tasks may be told to stay away, milliseconds.
#[must_use]
pub(crate) fn away_ms_max(holds: &[Task]) -> Option<u32> {
    pace::away_max(holds).map(|away| u32::try_from(away.as_millis()).unwrap_or(u32::MAX))
}

/// The head of every stream.
fn head(form: &dyn Form, body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(form.media_type()));
    as_it_comes(headers);
    response
}

fn busy(engine: &Engine, form: &dyn Form, refusal: &Refusal, away_ms_max: Option<u32>) -> Vec<u8> {
    let ms = match refusal.retry_after_s() {
        Some(seconds) => {
            let ms = seconds.saturating_mul(1_000).max(RETRY_MS.start);
            ms.min(away_ms_max.unwrap_or(ms))
        }
        None => retry_ms(engine, away_ms_max),
    };
    let mut out = Vec::new();
    form.come_back_after(ms, &mut out);
    form.notice(&Notice::Busy { retry_after: Span::from_ms(u64::from(ms)) }, &mut out);
    out
}

/// How long this client waits before it comes back.
fn retry_ms(engine: &Engine, away_ms_max: Option<u32>) -> u32 {
    let end = away_ms_max.unwrap_or(RETRY_MS.end).clamp(RETRY_MS.start, RETRY_MS.end);
    let spread = f64::from(end - RETRY_MS.start);
    RETRY_MS.start + (engine.chance().unit() * spread) as u32
}
