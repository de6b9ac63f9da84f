//! An answer while it grows, for one reader: from the stored copy, as fast as that one takes it.
//!
//! What says that it is whole is held back until its outcome is committed: with a length the last
//! byte, without one the end of the body, without a body the head. If it breaks off, so does this:
//! never a clean end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{FutureExt as _, stream};
use http::{HeaderMap, HeaderName, HeaderValue};
use relais_api::fields;
use relais_core::ResultVersion;
use relais_engine::{Attending, ResultHead, envelope};
use relais_store::{GrowingAnswer, Growth, StoreError, WatchedAnswer};
use tokio::sync::watch;
use tokio::time::{Sleep, sleep};

use crate::answer::keepalive::Keepalive;
use crate::answer::stored::PIECE_BYTES;
use crate::stop::Stop;

/// An answer that grows, or has just come to its end.
pub(crate) struct Live {
    pub(crate) head: ResultHead,
    answer: Arc<GrowingAnswer>,
    growth: watch::Receiver<Growth>,
    /// What became of the answer is told as long as somebody watches its task.
    _watched: WatchedAnswer,
}

/// Who reads an answer while it grows: a connection.
pub(crate) struct Reader {
    /// Until the server stops.
    pub(crate) stop: Stop,
    /// How long its right to read lasts, if it ends.
    pub(crate) right_for: Option<Duration>,
    /// After how long a silence it gets a sign of life, if it wants any.
    pub(crate) keepalive: Option<Duration>,
    /// It attends the task.
    pub(crate) attending: Attending,
}

impl Live {
    /// The answer that is watched, unless there is none, or it was broken off.
    ///
    /// # Errors
    /// When its head cannot be read.
    pub(crate) fn of(watched: &mut WatchedAnswer) -> Result<Option<Self>, StoreError> {
        let Some(answer) = watched.current() else { return Ok(None) };
        if answer.growth() == Growth::Broken {
            return Ok(None);
        }
        let (head, growth) = (envelope::decode(&answer.head)?, answer.follow());
        Ok(Some(Self { head, answer, growth, _watched: watched.clone() }))
    }

    /// Of which run and attempt it is.
    pub(crate) fn version(&self) -> ResultVersion {
        self.answer.version
    }

    /// The length that was announced for it.
    pub(crate) fn announced_len(&self) -> Option<u64> {
        self.answer.announced_len
    }

    /// Whether bytes of it can be given before its outcome is committed; of an answer without a body
    /// the head is all there is.
    pub(crate) fn has_body(&self) -> bool {
        self.head.has_body && self.answer.announced_len != Some(0)
    }

    /// Whether it can be read from this byte on while it grows: there are so many before it, and
    /// something is left to be held back.
    pub(crate) fn reaches(&self, offset: u64) -> bool {
        matches!(*self.growth.borrow(), Growth::Growing(len) if self.reaches_with(len, offset))
    }

    /// Resolves once it [reaches](Self::reaches) this byte, or came to its end.
    pub(crate) async fn until_it_reaches(&self, offset: u64) {
        let mut growth = self.answer.follow();
        let is_there = |growth: &Growth| match *growth {
            Growth::Growing(len) => self.reaches_with(len, offset),
            Growth::Committed(_) | Growth::Broken => true,
        };
        // The sender lives in the answer that this holds.
        let _ = growth.wait_for(is_there).await;
    }

    fn reaches_with(&self, len: u64, offset: u64) -> bool {
        let has_rest = self.answer.announced_len.is_none_or(|announced| offset < announced);
        self.has_body() && offset <= len && has_rest
    }

    /// Resolves once it is the result (`true`), or will never be.
    pub(crate) async fn is_kept(&self) -> bool {
        self.answer.over().await
    }

    /// Its bytes from `offset` on.
    pub(crate) fn into_body(self, offset: u64, reader: Reader) -> Body {
        let Reader { stop, right_for, keepalive, attending } = reader;
        let right = right_for.map(|span| Box::pin(sleep(span)));
        let takes_comments = self.announced_len().is_none();
        let keepalive = keepalive.filter(|_| takes_comments);
        let keepalive = keepalive.and_then(|every| Keepalive::of(&self.head, offset, every));
        let feed = Feed { live: self, offset, stop, right, keepalive, attending };
        Body::from_stream(stream::try_unfold(feed, Feed::next))
    }
}

/// Tells of which run and attempt an answer is.
pub(crate) fn tell_version(headers: &mut HeaderMap, version: ResultVersion) {
    let version = HeaderValue::from_str(&version.to_string()).expect("numbers are ASCII");
    headers.insert(HeaderName::from_static(fields::RESULT_VERSION), version);
}

/// The body of an answer that grows.
struct Feed {
    live: Live,
    /// Bytes given, or not wanted.
    offset: u64,
    stop: Stop,
    /// Ends with the right to read it.
    right: Option<Pin<Box<Sleep>>>,
    keepalive: Option<Keepalive>,
    attending: Attending,
}

impl Feed {
    /// The next piece; `None` at the committed end.
    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        loop {
            // Also of a reader that is never done with what there is.
            if self.stop.is_cancelled() || self.has_lost_its_right() {
                return Err(self.broken_by_us());
            }
            let growth = *self.live.growth.borrow_and_update();
            let (may_give, is_whole) = match growth {
                Growth::Committed(len) => (len, true),
                Growth::Growing(len) => (self.held_back(len), false),
                Growth::Broken => return Err(broken()),
            };
            if self.offset < may_give {
                let piece = self.read(may_give).await?;
                self.offset += piece.len() as u64;
                if let Some(keepalive) = &mut self.keepalive {
                    keepalive.given(&piece);
                }
                if is_whole && self.offset == may_give {
                    self.attending.let_go();
                }
                return Ok(Some((piece, self)));
            }
            if is_whole {
                self.attending.let_go();
                return Ok(None);
            }
            let ended = async {
                match &mut self.right {
                    Some(right) => right.await,
                    None => std::future::pending().await,
                }
            };
            let silent = async {
                match &mut self.keepalive {
                    Some(keepalive) => {
                        keepalive.due().await;
                        keepalive.comment()
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // What there is goes before a sign that there is nothing.
                biased;
                () = self.stop.cancelled() => {}
                () = ended => {}
                // The sender lives in the answer that this holds.
                _ = self.live.growth.changed() => {}
                comment = silent => return Ok(Some((comment, self))),
            }
        }
    }

    fn has_lost_its_right(&mut self) -> bool {
        self.right.as_mut().is_some_and(|right| right.as_mut().now_or_never().is_some())
    }

    /// It is Relais that ends it: its client has not left.
    fn broken_by_us(&mut self) -> io::Error {
        self.attending.let_go();
        broken()
    }

    /// How much may be given while the outcome is not committed.
    fn held_back(&self, stored: u64) -> u64 {
        match self.live.answer.announced_len {
            Some(len) => stored.min(len.saturating_sub(1)),
            None => stored,
        }
    }

    async fn read(&self, end: u64) -> io::Result<Bytes> {
        let max = usize::try_from(end - self.offset).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let body = &self.live.answer.body;
        let piece = body.read_at(self.offset, max).await.map_err(io::Error::other)?;
        if piece.is_empty() { Err(broken()) } else { Ok(piece) }
    }
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the answer broke off")
}
