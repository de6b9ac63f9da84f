//! A TCP stream whose bytes are looked at on their way to the HTTP library: broken framing never
//! gets there, and whoever drives the connection knows what it waits for.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::task::AtomicWaker;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use relais_core::limits::CLIENT_SILENCE_MAX;
#[cfg(target_os = "linux")]
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use super::frames::Frames;
use super::framing::{Fault, Framing};
use super::transport::Transport;

/// What is known of a connection: shared by the stream, the service and the driver.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    is_in_head: AtomicBool,
    is_in_body: AtomicBool,
    is_busy: AtomicBool,
    is_starved: AtomicBool,
    is_blocked: AtomicBool,
    is_foreign: AtomicBool,
    is_half_closed: AtomicBool,
    /// Wakes requests that are held back when that is set.
    half_close: Notify,
    ends_by_closing: AtomicBool,
    /// How long the request being answered goes on without its client, in milliseconds.
    patience_ms: AtomicU32,
    read: AtomicU64,
    written: AtomicU64,
    fault: OnceLock<Fault>,
    /// The driver, when it asked for bytes that are only told to be the last after the answer.
    early: AtomicWaker,
}

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The next request to begin.
    Idle,
    /// The rest of a head.
    Head,
    /// The client to read what was sent; so many bytes were written.
    Reader(u64),
    /// The client to send more of a body that is wanted; so many bytes were read.
    Sender(u64),
    /// Relais itself.
    Answer,
    /// The same, for a client that will send nothing more and may be gone; so many bytes were
    /// written, and for so long it is waited without another.
    HalfClosed(u64, Duration),
}

impl Watch {
    /// A request was handed to the service.
    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        self.be_patient(CLIENT_SILENCE_MAX);
        self.is_busy.store(true, Ordering::Relaxed);
        Busy(self.clone())
    }

    /// What the connection waits for.
    pub(crate) fn wait(&self) -> Wait {
        if self.is_blocked.load(Ordering::Relaxed) {
            Wait::Reader(self.written.load(Ordering::Relaxed))
        } else if self.is_in_body() && self.is_starved.load(Ordering::Relaxed) {
            Wait::Sender(self.read.load(Ordering::Relaxed))
        } else if self.is_busy.load(Ordering::Relaxed) && self.is_half_closed() {
            let patience = Duration::from_millis(self.patience_ms.load(Ordering::Relaxed).into());
            Wait::HalfClosed(self.written.load(Ordering::Relaxed), patience)
        } else if self.is_busy.load(Ordering::Relaxed) || self.is_in_body() {
            Wait::Answer
        } else if self.is_in_head.load(Ordering::Relaxed) {
            Wait::Head
        } else {
            Wait::Idle
        }
    }

    /// Whether a body has begun to arrive and has not ended.
    pub(crate) fn is_in_body(&self) -> bool {
        self.is_in_body.load(Ordering::Relaxed)
    }

    /// Whether what came last may be another protocol's, so that nothing behind it is looked at:
    /// unless the change is granted, no further request may be read here.
    pub(crate) fn is_foreign(&self) -> bool {
        self.is_foreign.load(Ordering::Relaxed)
    }

    /// How long the request being answered goes on once its client has closed its sending side. The
    /// client may still read (RFC 9293, 3.6), or be gone: which of them only a write would tell.
    pub(crate) fn be_patient(&self, patience: Duration) {
        let ms = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
        self.patience_ms.store(ms, Ordering::Relaxed);
    }

    /// Resolves when the client has closed its sending side.
    pub(super) async fn half_closed(&self) {
        // Listening before looking, so that a close in between is not missed.
        let closing = self.half_close.notified();
        if !self.is_half_closed() {
            closing.await;
        }
    }

    fn is_half_closed(&self) -> bool {
        self.is_half_closed.load(Ordering::Relaxed)
    }

    /// Whether bytes wait for the client to read.
    pub(crate) fn is_blocked(&self) -> bool {
        self.is_blocked.load(Ordering::Relaxed)
    }

    /// The answer's end is that of the connection: there must be none before.
    pub(crate) fn end_by_closing(&self) {
        self.ends_by_closing.store(true, Ordering::Relaxed);
    }

    /// What was wrong with the bytes that came.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.fault.get().copied()
    }
}

/// A request is being answered, until this is dropped.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Watch>);

impl Busy {
    /// The connection that the request came by.
    pub(crate) fn watch(&self) -> &Watch {
        &self.0
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.is_busy.store(false, Ordering::Relaxed);
        self.0.early.wake();
    }
}

/// What is looked for in the bytes that come.
#[derive(Debug)]
enum Scan {
    Http1(Framing),
    Http2(Frames),
}

/// The stream of a connection.
#[derive(Debug)]
pub(crate) struct Guard {
    stream: Transport,
    /// Bytes read while the protocol was told apart.
    first: Bytes,
    scan: Scan,
    watch: Arc<Watch>,
    /// Whether the system would end the connection with a reset, were this process killed now.
    breaks: bool,
}

impl Guard {
    pub(crate) fn http1(stream: Transport, first: Bytes, watch: Arc<Watch>) -> Self {
        Self { stream, first, scan: Scan::Http1(Framing::new()), watch, breaks: false }
    }

    /// Of HTTP/2, whose library judges the framing.
    pub(crate) fn http2(stream: Transport, first: Bytes, watch: Arc<Watch>) -> Self {
        Self { stream, first, scan: Scan::Http2(Frames::new()), watch, breaks: false }
    }

    /// The client's side of a connection that has changed to another protocol, in which it may read
    /// nothing for as long as it likes. Whether it is there the system asks as before.
    ///
    /// # Errors
    /// When the socket cannot be set so, or the connection is none of Relais' listeners.
    pub(crate) fn of_tunnel(upgraded: Upgraded) -> io::Result<Self> {
        let foreign = |_| io::Error::other("a connection that is not guarded changed its protocol");
        let parts = upgraded.downcast::<TokioIo<Self>>().map_err(foreign)?;
        let mut guard = parts.io.into_inner();
        guard.first = [parts.read_buf, std::mem::take(&mut guard.first)].concat().into();
        #[cfg(target_os = "linux")]
        SockRef::from(guard.stream.tcp()).set_tcp_user_timeout(None)?;
        Ok(guard)
    }

    /// The stream itself.
    pub(crate) fn into_inner(self) -> Transport {
        self.stream
    }

    fn read(&mut self, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, out);
        }
        let len = self.first.len().min(out.remaining());
        out.put_slice(&self.first[..len]);
        self.first.advance(len);
        Poll::Ready(Ok(()))
    }

    /// Looks at bytes that came, and makes known where the connection is.
    fn look(&mut self, bytes: &[u8]) -> Result<(), (usize, Fault)> {
        let watch = &self.watch;
        match &mut self.scan {
            Scan::Http1(framing) => {
                let scanned = framing.scan(bytes);
                watch.is_in_head.store(framing.is_in_head(), Ordering::Relaxed);
                watch.is_in_body.store(framing.is_in_body(), Ordering::Relaxed);
                watch.is_foreign.store(framing.is_foreign(), Ordering::Relaxed);
                scanned
            }
            Scan::Http2(frames) => {
                frames.scan(bytes);
                watch.is_in_head.store(frames.is_in_head(), Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// The end of what may be read: after a fault nothing more is.
    fn end(&self, fault: Fault, context: &Context<'_>) -> Poll<io::Result<()>> {
        // The answer to the request before comes first; the library would stop writing it now.
        self.watch.early.register(context.waker());
        let is_early = self.watch.is_busy.load(Ordering::Relaxed) && fault != Fault::Body;
        if is_early { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    /// The client sends nothing more. The library would take that for a hang-up; unless a body
    /// broke off the request being answered goes on, and the driver bounds for how long.
    fn half_close(&self, context: &Context<'_>) -> Poll<io::Result<()>> {
        self.watch.is_half_closed.store(true, Ordering::Relaxed);
        self.watch.half_close.notify_waiters();
        self.watch.early.register(context.waker());
        let is_early = self.watch.is_busy.load(Ordering::Relaxed) && !self.watch.is_in_body();
        if is_early { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
}

impl AsyncRead for Guard {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(fault) = this.watch.fault() {
            return this.end(fault, context);
        }
        let before = out.filled().len();
        let read = this.read(context, out);
        this.watch.is_starved.store(read.is_pending(), Ordering::Relaxed);
        ready!(read)?;
        let len = out.filled().len() - before;
        if len == 0 && out.remaining() > 0 {
            return this.half_close(context);
        }
        this.watch.read.fetch_add(len as u64, Ordering::Relaxed);
        let scanned = this.look(&out.filled()[before..]);
        let Err((good, fault)) = scanned else { return Poll::Ready(Ok(())) };
        // Set once, here only.
        let _ = this.watch.fault.set(fault);
        out.set_filled(before + good);
        if good > 0 { Poll::Ready(Ok(())) } else { this.end(fault, context) }
    }
}

impl AsyncWrite for Guard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.beware();
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.beware();
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if matches!(self.stream, Transport::Tls(_)) {
            // What was written may still wait behind the encryption.
            self.watch.is_blocked.store(flushed.is_pending(), Ordering::Relaxed);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // After a fault the driver still has something to say.
        if self.watch.fault().is_some() {
            return Poll::Ready(Ok(()));
        }
        self.end_well();
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Guard {
    /// Before the first byte of an answer that ends with its connection: should the process die
    /// from now on, the system must not make a clean end of it.
    fn beware(&mut self) {
        if !self.breaks && self.watch.ends_by_closing.load(Ordering::Relaxed) {
            self.breaks = self.stream.tcp().set_zero_linger().is_ok();
        }
    }

    /// What was written last is waited for again, as it is without any option.
    fn end_well(&mut self) {
        if std::mem::take(&mut self.breaks) {
            #[expect(deprecated, reason = "it blocks for a span that is not none; this is none")]
            let _ = self.stream.tcp().set_linger(None);
        }
    }

    fn note(&self, written: &Poll<io::Result<usize>>) {
        self.watch.is_blocked.store(written.is_pending(), Ordering::Relaxed);
        if let Poll::Ready(Ok(len)) = written {
            self.watch.written.fetch_add(*len as u64, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::convert::Infallible;

    use axum::body::Body;
    use http::{Request, Response, StatusCode};
    use hyper::body::Incoming;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpSocket, TcpStream};
    use tokio::sync::mpsc;

    use super::*;

    /// A client that read nothing for a minute lost its tunnel.
    #[tokio::test]
    async fn whoever_reads_nothing_of_a_tunnel_is_not_cut_off_by_the_system() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = crate::listen(socket).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        assert!(SockRef::from(&accepted).tcp_user_timeout().unwrap().is_some());
        let (begun, mut tunnels) = mpsc::channel(1);
        let service = service_fn(|mut request: Request<Incoming>| {
            let (upgrade, begun) = (hyper::upgrade::on(&mut request), begun.clone());
            tokio::spawn(async move { begun.send(Guard::of_tunnel(upgrade.await.unwrap())).await });
            let answer = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
            let answer = answer.header("connection", "upgrade").header("upgrade", "x");
            async { answer.body(Body::empty()).map(Ok::<_, Infallible>).unwrap() }
        });
        let guard = Guard::http1(Transport::Plain(accepted), Bytes::new(), Arc::default());
        let connection = http1::Builder::new().serve_connection(TokioIo::new(guard), service);
        let upgrade = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
        client.write_all(format!("{upgrade}early").as_bytes()).await.unwrap();
        connection.with_upgrades().await.unwrap();
        let mut tunnel = tunnels.recv().await.unwrap().unwrap();
        let options = SockRef::from(tunnel.stream.tcp());
        assert_eq!(options.tcp_user_timeout().unwrap(), None);
        assert!(options.keepalive().unwrap(), "whether it is there is still asked");
        let mut early = [0; 5];
        tunnel.read_exact(&mut early).await.unwrap();
        assert_eq!(&early, b"early", "what came with the request is not lost");
    }
}
