//! One connection: which protocol it speaks, what it may wait for, and how it ends.
//!
//! HTTP/1.1 runs on hyper's own builder, because only that gives a connection back (event streams).
//! Not here: what is answered (`service`).

mod chunk;
mod client;
mod frames;
mod framing;
mod guard;
mod head;
mod http2;
pub(crate) mod listen;
mod shard;
mod sockets;
mod streams;
mod timing;
pub(crate) mod tls;
mod transport;

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use relais_api::codes;
use relais_core::limits;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

pub(crate) use self::client::Client;
use self::framing::Fault;
pub(crate) use self::guard::Guard;
use self::guard::{Busy, Wait, Watch};
pub(crate) use self::shard::Shards;
pub(crate) use self::sockets::Sockets;
use self::streams::Streams;
pub(crate) use self::streams::Turns;
use self::timing::Timing;
use self::transport::Transport;
use crate::answer::problem::Refusal;
use crate::service::Door;
use crate::socket::Granted;
use crate::watch::stream::{EventStream, Streaming};

/// What every HTTP/2 connection begins with.
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What a TLS handshake begins with.
const TLS_HANDSHAKE: u8 = 0x16;
/// What whoever speaks plain HTTP where TLS is spoken is told.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\n\
                         content-length: 51\r\nconnection: close\r\n\r\n\
                         this port speaks HTTPS: the address is https://...\n";
/// The library's buffers: a head at its limit, and some.
const BUFFER_BYTES_MAX: usize = limits::HEAD_BYTES_MAX + (8 << 10);
/// How long a last word may take to be written.
const SAY_WITHIN: Duration = Duration::from_secs(2);
/// How long an ended connection is still read, so that what was written last is not lost to a reset
/// (RFC 9112, 9.6): a client that sends a whole upload before it reads must get through with it.
const LINGER_FOR: Duration = Duration::from_secs(30);
/// How long it may be silent meanwhile.
const LINGER_SILENT_FOR: Duration = Duration::from_secs(2);
/// How much of it is read: a body at its limit. What is read is dropped.
const LINGER_BYTES_MAX: u64 = limits::REQUEST_BODY_BYTES_MAX;
/// How much of it at once.
const LINGER_BUFFER_BYTES: usize = 16 << 10;

/// The right to hold one connection; given back when the last holder drops it.
pub(crate) type Permit = Arc<OwnedSemaphorePermit>;

/// Which listener a request came in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The front door and the task API.
    Public,
    /// Metrics and administration.
    Admin,
}

/// Who is at the other end: an extension of every request.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// Which listener it came by.
    pub(crate) side: Side,
    /// Held by whatever outlives the request on its connection, such as a tunnel.
    pub(crate) permit: Permit,
    /// The connection, where it serves one request at a time.
    watch: Option<Arc<Watch>>,
    /// The connection, where it serves many.
    streams: Option<Arc<Streams>>,
}

impl Peer {
    pub(crate) const fn new(address: SocketAddr, side: Side, permit: Permit) -> Self {
        Self { address, side, permit, watch: None, streams: None }
    }

    /// Whether the client still listens.
    pub(crate) fn client(&self) -> Client {
        Client(self.watch.clone())
    }

    /// How long this request goes on once its client has closed its sending side: a minute unless
    /// this says otherwise. HTTP/2 has no such state.
    pub(crate) fn be_patient(&self, patience: Duration) {
        self.client().be_patient(patience);
    }
}

/// Serves one connection to its end.
pub(crate) async fn serve(door: Arc<Door>, stream: TcpStream, peer: Peer) {
    // Answers are small and awaited.
    let _ = stream.set_nodelay(true);
    // Boxed, because a handshake is large and soon over.
    let begun = timeout(door.app.config.header_timeout, Box::pin(begin(&door, stream, &peer)));
    let stop = door.app.stop.clone();
    let (stream, is_h2, first) = tokio::select! {
        begun = begun => match begun {
            Ok(Some(begun)) => begun,
            // Nothing came, or nothing more will.
            Ok(None) | Err(_) => return,
        },
        () = stop.cancelled() => return,
    };
    if is_h2 {
        Box::pin(http2::serve(door, stream, first, peer)).await;
    } else {
        http1(door, stream, first, peer).await;
    }
}

/// Makes the handshake of a listener with a certificate, and tells the protocols apart. Answers
/// bytes that had to be read for that, too.
async fn begin(
    door: &Door,
    mut stream: TcpStream,
    peer: &Peer,
) -> Option<(Transport, bool, Bytes)> {
    let Some(acceptor) = door.acceptor(peer.side) else {
        let (is_h2, first) = preface(&mut stream).await?;
        return Some((Transport::Plain(stream), is_h2, first));
    };
    let mut first = [0];
    if stream.peek(&mut first).await.ok()? == 1 && first[0] != TLS_HANDSHAKE {
        door.app.refusals.note_not_tls(peer.address, door.app.engine.elapsed());
        stream.write_all(NOT_TLS).await.ok()?;
        linger(stream).await;
        return None;
    }
    match acceptor.accept(stream).await {
        Ok(stream) => {
            let stream = Transport::Tls(Box::new(stream));
            let is_h2 = stream.has_chosen_h2();
            Some((stream, is_h2, Bytes::new()))
        }
        Err(error) => {
            tracing::debug!(client = %peer.address, %error, "a TLS handshake broke");
            None
        }
    }
}

/// Tells the protocols apart. Bytes that had to be read for that come along.
async fn preface(stream: &mut TcpStream) -> Option<(bool, Bytes)> {
    let mut seen = [0; H2_PREFACE.len()];
    let len = stream.peek(&mut seen).await.ok()?;
    if len == 0 {
        return None;
    }
    if !H2_PREFACE.starts_with(&seen[..len]) {
        return Some((false, Bytes::new()));
    }
    if len == H2_PREFACE.len() {
        return Some((true, Bytes::new()));
    }
    // It began like HTTP/2 and stopped there: rare, and looking again would spin.
    let mut read = 0;
    while read < seen.len() && H2_PREFACE.starts_with(&seen[..read]) {
        let len = stream.read(&mut seen[read..]).await.ok().filter(|len| *len > 0)?;
        read += len;
    }
    Some((seen == H2_PREFACE, Bytes::copy_from_slice(&seen[..read])))
}

/// A stream that goes on without the HTTP library.
struct Taken {
    stream: EventStream,
    opening: Bytes,
    status: StatusCode,
    headers: HeaderMap,
}

/// How an HTTP/1.1 connection ended.
enum End {
    /// It is to go on without hyper.
    Taken(Box<Taken>),
    /// hyper is done with it.
    Done(Result<(), hyper::Error>),
    /// The client took too long.
    TimedOut(Wait),
}

/// Serves an HTTP/1.1 connection. While it lies idle the HTTP library's state and buffers
/// are given up: most connections do most of the time, and 15 KiB each would be the larger
/// part of a server's memory.
async fn http1(door: Arc<Door>, mut stream: Transport, mut first: Bytes, peer: Peer) {
    while let Some((idle, rest)) = Box::pin(converse(&door, stream, first, &peer)).await {
        let begun = timeout(timing::IDLE_MAX, idle.tcp().readable());
        tokio::select! {
            begun = begun => if begun.is_err() { return },
            () = door.app.stop.cancelled() => return,
        }
        (stream, first) = (idle, rest);
    }
}

/// Answers requests until the connection ends, or lies idle: then the stream comes back.
async fn converse(
    door: &Arc<Door>,
    stream: Transport,
    first: Bytes,
    peer: &Peer,
) -> Option<(Transport, Bytes)> {
    let is_plain = matches!(stream, Transport::Plain(_));
    let watch = Arc::new(Watch::default());
    let slot = Arc::new(Mutex::new(None));
    let permit = peer.permit.clone();
    let service = {
        let (door, watch, slot) = (door.clone(), watch.clone(), slot.clone());
        let peer = Peer { watch: Some(watch.clone()), ..peer.clone() };
        service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            let busy = watch.begin();
            // Boxed, so that an idle connection does not hold room for the largest of all answers.
            let slot = is_plain.then(|| slot.clone());
            Box::pin(answer(door.clone(), request, slot, busy))
        })
    };
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // The driver tells a slow head from an idle connection; hyper would not.
        .header_read_timeout(None)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(Guard::http1(stream, first, watch.clone())), service)
        .with_upgrades();
    let head_max = door.app.config.header_timeout;
    // What TLS has decrypted already would be lost on a parked connection.
    let idle_max = if is_plain { timing::PARK_AFTER.min(head_max) } else { timing::IDLE_MAX };
    let mut timing = pin!(Timing::new(head_max, idle_max));
    let mut stop = pin!(door.app.stop.cancelled());
    let mut is_stopping = false;
    let end = std::future::poll_fn(|context| {
        if !is_stopping && stop.as_mut().poll(context).is_ready() {
            is_stopping = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        if let Poll::Ready(ended) = Pin::new(&mut connection).poll(context) {
            return Poll::Ready(End::Done(ended));
        }
        // Answers to requests before it must be on their way.
        if !watch.is_blocked()
            && let Some(taken) = slot.lock().expect("nothing panics while it is held").take()
        {
            return Poll::Ready(End::Taken(taken));
        }
        timing.as_mut().poll(watch.wait(), context).map(End::TimedOut)
    })
    .await;
    let parts = connection.into_parts()?;
    let stream = parts.io.into_inner().into_inner();
    if is_plain && matches!(end, End::TimedOut(Wait::Idle)) {
        return Some((stream, parts.read_buf));
    }
    Box::pin(finish(door, stream, &watch, end, permit)).await;
    None
}

async fn finish(door: &Door, stream: Transport, watch: &Watch, end: End, permit: Permit) {
    let app = &door.app;
    let refusal = match (end, watch.fault()) {
        (End::Taken(taken), _) => {
            // Only a bare socket is taken back.
            let Transport::Plain(stream) = stream else { return };
            let Taken { stream: events, opening, status, headers } = *taken;
            let head = head::closing(status, &headers, None, app.engine.now());
            let begun = (head, events, opening);
            return door.shards.take(&app.stop, &door.tracker, stream, begun, permit);
        }
        (End::TimedOut(Wait::Head), _) => Refusal::new(&codes::REQUEST_TIMEOUT),
        (End::TimedOut(Wait::Reader(_) | Wait::Sender(_) | Wait::HalfClosed(..)), _) => {
            return abort(&stream);
        }
        // The first is not the end, the second never takes too long.
        (End::TimedOut(Wait::Idle | Wait::Answer), _) => return,
        (End::Done(_), Some(Fault::Malformed(why))) => {
            Refusal::new(&codes::MALFORMED_REQUEST).because(why)
        }
        (End::Done(_), Some(Fault::TooLarge)) => {
            Refusal::new(&codes::HEAD_TOO_LARGE).limit(limits::HEAD_BYTES_MAX as u64)
        }
        // An answer that cannot be finished must not look finished.
        (End::Done(Err(error)), _) if error.is_user() => return abort(&stream),
        (End::Done(_), _) => {
            if watch.is_in_body() || watch.is_foreign() {
                linger(stream).await;
            }
            return;
        }
    };
    say(door, stream, &refusal).await;
}

/// Says why the connection ends.
async fn say(door: &Door, mut stream: Transport, refusal: &Refusal) {
    door.app.metrics.refused(refusal.code());
    let response = refusal.response(door.app.base.as_str(), None);
    let bytes = head::whole(response, door.app.engine.now()).await;
    if matches!(timeout(SAY_WITHIN, stream.write_all(&bytes)).await, Ok(Ok(()))) {
        linger(stream).await;
    }
}

/// Closes with a reset: for HTTP/1.0 the end of a connection would be the end of a body.
fn abort(stream: &Transport) {
    let _ = stream.tcp().set_zero_linger();
}

/// Ends a connection whose client may still be sending: closing at once would be a reset, and could
/// take what was written last with it.
async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let drained = async {
        stream.shutdown().await?;
        let mut read = 0;
        // On the heap: each connection has room for this future.
        let mut scratch = vec![0; LINGER_BUFFER_BYTES];
        while read < LINGER_BYTES_MAX {
            match timeout(LINGER_SILENT_FOR, stream.read(&mut scratch)).await?? {
                0 => break,
                len => read += len as u64,
            }
        }
        Ok::<(), std::io::Error>(())
    };
    let _ = timeout(LINGER_FOR, drained).await;
}

/// Answers one request of an HTTP/1.1 connection, or leaves it to the driver and never resolves.
async fn answer(
    door: Arc<Door>,
    request: Request<Incoming>,
    slot: Option<Arc<Mutex<Option<Box<Taken>>>>>,
    busy: Busy,
) -> Result<Response<Tracked>, std::convert::Infallible> {
    let is_head = request.method() == Method::HEAD;
    let is_http_11 = request.version() == Version::HTTP_11;
    // Behind TLS the library goes on: the state of the encryption is the larger part there.
    let slot = slot.filter(|_| is_http_11 && !is_head);
    let has_body = !request.body().is_end_stream();
    let mut response = door.answer(request.map(Body::new)).await;
    if let Some(slot) = slot
        && let Some(streaming) = response.extensions_mut().remove::<Streaming>()
        && let Some(stream) = streaming.take()
    {
        let (parts, _) = response.into_parts();
        let (stream, opening) = *stream;
        let taken = Taken { stream, opening, status: parts.status, headers: parts.headers };
        *slot.lock().expect("nothing panics while it is held") = Some(Box::new(taken));
        return std::future::pending().await;
    }
    if let Some(granted) = response.extensions_mut().remove::<Granted>()
        && let Some(begun) = granted.take()
    {
        door.tracker.spawn(sockets::take_over(door.clone(), begun));
    }
    let watch = busy.watch();
    let is_foreign = watch.is_foreign() && response.status() != StatusCode::SWITCHING_PROTOCOLS;
    if is_foreign || (has_body && watch.is_in_body()) {
        // What follows may be another protocol's, or the rest of a body that nobody wants: neither
        // is read as a request, and the client is told so.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if !is_http_11 && response.headers().contains_key(CONNECTION) {
        // The library would write `keep-alive` beside it, and go on.
        *response.version_mut() = Version::HTTP_10;
    }
    let has_length = response.body().size_hint().exact().is_some()
        || response.headers().contains_key(CONTENT_LENGTH);
    if !is_http_11 && !is_head && !has_length {
        watch.end_by_closing();
    }
    Ok(response.map(|body| Tracked { body, _busy: busy }))
}

/// A body that says when it was sent.
struct Tracked {
    body: Body,
    _busy: Busy,
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
