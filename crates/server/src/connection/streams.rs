//! What an HTTP/2 connection holds for its client, and for how long: many requests share one
//! connection, so that what bounds HTTP/1.1 by itself (one answer at a time, a blocked
//! socket) has to be counted here.

use std::convert::Infallible;
use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker, ready};

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::Response;
use bytes::{Buf, Bytes};
use futures_util::task::AtomicWaker;
use http::request;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use relais_core::limits::CLIENT_SILENCE_MAX;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

use super::Peer;
use super::guard::{Wait, Watch};

/// Bytes of answers that are held for a client that does not read them: beyond, the
/// connection's next requests wait.
const HELD_BYTES_MAX: usize = 1 << 20;
/// Answers that are made whole in memory, such as a page of a list, at once: the next ones wait
/// until one of them was sent.
const PAGES_MAX: usize = 4;

/// What is known of an HTTP/2 connection: shared by its requests and its driver.
#[derive(Debug)]
pub(crate) struct Streams {
    /// Requests that are not answered to the end.
    open: AtomicUsize,
    /// Bytes of answers that the HTTP library holds.
    held: AtomicUsize,
    /// Bytes of answers that were sent.
    sent: AtomicU64,
    room: Notify,
    pages: Arc<Semaphore>,
    driver: AtomicWaker,
}

impl Streams {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            open: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            sent: AtomicU64::new(0),
            room: Notify::new(),
            pages: Arc::new(Semaphore::new(PAGES_MAX)),
            driver: AtomicWaker::new(),
        })
    }

    /// A request has come.
    pub(crate) fn begin(self: &Arc<Self>) -> Open {
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(self.clone())
    }

    /// Whom to wake when the last request has ended.
    pub(crate) fn register(&self, driver: &Waker) {
        self.driver.register(driver);
    }

    /// What the connection waits for.
    pub(crate) fn wait(&self, watch: &Watch) -> Wait {
        match watch.wait() {
            Wait::Idle if self.held.load(Ordering::Relaxed) > 0 => {
                Wait::Reader(self.sent.load(Ordering::Relaxed))
            }
            Wait::Idle if self.open.load(Ordering::Relaxed) > 0 => Wait::Answer,
            wait => wait,
        }
    }

    /// Waits while too much is held.
    async fn room(&self) {
        loop {
            let mut room = pin!(self.room.notified());
            room.as_mut().enable();
            if self.held.load(Ordering::Relaxed) < HELD_BYTES_MAX {
                return;
            }
            room.await;
        }
    }

    fn release(&self, len: usize) {
        let before = self.held.fetch_sub(len, Ordering::Relaxed);
        if before >= HELD_BYTES_MAX && before - len < HELD_BYTES_MAX {
            self.room.notify_waiters();
        }
    }
}

/// A request is being answered, until this is dropped.
#[derive(Debug)]
pub(crate) struct Open(Arc<Streams>);

impl Open {
    /// Waits until the client has read enough of what it asked for before.
    pub(crate) async fn room(&self) {
        self.0.room().await;
    }

    /// An answer whose bytes are counted until they were sent.
    pub(crate) fn sent(self, mut response: Response) -> http::Response<Sent> {
        let turn = response.extensions_mut().remove();
        response.map(|body| Sent { body, turn, open: self })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.driver.wake();
        }
    }
}

/// The body of an answer.
pub(crate) struct Sent {
    body: Body,
    turn: Option<Turn>,
    open: Open,
}

impl http_body::Body for Sent {
    type Data = Held;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Held>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let (streams, turn) = (&self.open.0, &self.turn);
        let held = |bytes| Held::new(bytes, streams.clone(), turn.clone());
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(held))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Bytes that the HTTP library holds until the client's window, and the socket, have room for them.
#[derive(Debug)]
pub(crate) struct Held {
    bytes: Bytes,
    streams: Arc<Streams>,
    _turn: Option<Turn>,
}

impl Held {
    fn new(bytes: Bytes, streams: Arc<Streams>, turn: Option<Turn>) -> Self {
        streams.held.fetch_add(bytes.len(), Ordering::Relaxed);
        Self { bytes, streams, _turn: turn }
    }
}

impl Buf for Held {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, len: usize) {
        self.bytes.advance(len);
        self.streams.sent.fetch_add(len as u64, Ordering::Relaxed);
        self.streams.release(len);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.streams.release(self.bytes.len());
    }
}

/// The right to make a page for the client of this request; any number at once where a connection
/// serves one request at a time.
#[derive(Debug)]
pub(crate) struct Turns(Option<Arc<Semaphore>>);

/// Held until a page was sent.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    _permit: Option<Arc<OwnedSemaphorePermit>>,
}

impl Turns {
    /// Waits until the client has read enough of its other pages.
    pub(crate) async fn take(self) -> Turn {
        let permit = match self.0 {
            Some(pages) => Some(Arc::new(pages.acquire_owned().await.expect("never closed"))),
            None => None,
        };
        Turn { _permit: permit }
    }
}

impl Turn {
    /// Marks the page, so that the next one waits for it.
    pub(crate) fn until_sent(self, mut page: Response) -> Response {
        page.extensions_mut().insert(self);
        page
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Turns {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Self, Infallible> {
        let streams = parts.extensions.get::<Peer>().and_then(|peer| peer.streams.as_ref());
        Ok(Self(streams.map(|streams| streams.pages.clone())))
    }
}

/// The body of a request: one that is wanted and does not come breaks off.
pub(crate) struct Received {
    body: Incoming,
    /// Set while a byte is waited for.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Received {
    pub(crate) const fn new(body: Incoming) -> Self {
        Self { body, timer: None }
    }
}

/// Why a body broke off.
#[derive(Debug)]
pub(crate) struct Stalled;

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nothing of the body came for {} s", CLIENT_SILENCE_MAX.as_secs())
    }
}

impl std::error::Error for Stalled {}

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.timer = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let end = || Box::pin(tokio::time::sleep_until(Instant::now() + CLIENT_SILENCE_MAX));
        ready!(self.timer.get_or_insert_with(end).as_mut().poll(context));
        Poll::Ready(Some(Err(Stalled.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use http_body_util::BodyExt as _;

    use super::*;

    #[test]
    fn what_the_client_does_not_read_holds_its_next_requests_back() {
        // 600 unread lists took a gigabyte.
        let (streams, watch) = (Streams::new(), Watch::default());
        let open = streams.begin();
        assert_eq!(streams.wait(&watch), Wait::Answer);
        assert!(open.room().now_or_never().is_some());
        let bytes = Bytes::from(vec![0; HELD_BYTES_MAX]);
        let mut held = Held::new(bytes, streams.clone(), None);
        assert_eq!(streams.wait(&watch), Wait::Reader(0));
        {
            let mut waiting = pin!(open.room());
            assert!(waiting.as_mut().now_or_never().is_none());
            held.advance(1);
            assert!(waiting.now_or_never().is_some(), "a byte was sent");
        }
        assert_eq!(streams.wait(&watch), Wait::Reader(1), "which is progress");
        drop(held);
        drop(open);
        assert_eq!(streams.wait(&watch), Wait::Idle);
    }

    #[tokio::test]
    async fn pages_wait_for_those_before_them() {
        let streams = Streams::new();
        let turns = || Turns(Some(streams.pages.clone()));
        let mut taken = Vec::new();
        for _ in 0..PAGES_MAX {
            taken.push(turns().take().await);
        }
        assert!(turns().take().now_or_never().is_none());
        let page = taken.pop().unwrap().until_sent(Response::new(Body::from("page")));
        let mut sent = streams.begin().sent(page);
        let held = sent.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
        drop(sent);
        assert!(turns().take().now_or_never().is_none(), "made, and not sent");
        drop(held);
        assert!(turns().take().now_or_never().is_some());
        assert!(Turns(None).take().now_or_never().is_some());
    }
}
