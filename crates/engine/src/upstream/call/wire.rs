//! One connection to an upstream.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use relais_core::address::Passage;
use relais_core::limits;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::Outgoing;
use super::idle::Generation;

/// A connection that takes one request after the other.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) sender: SendRequest<Outgoing>,
    /// By which right it leads where it leads; `None` of the configuration's upstreams.
    pub(super) passage: Option<Passage>,
    pub(super) generation: Generation,
    socket: Arc<TcpStream>,
}

impl Wire {
    /// Begins to speak HTTP over `stream`, which goes over `socket`.
    ///
    /// # Errors
    /// When the connection is gone.
    pub(super) async fn over<S>(
        stream: S,
        socket: Arc<TcpStream>,
        passage: Option<Passage>,
        generation: Generation,
    ) -> hyper::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::Builder::new()
            .max_headers(limits::UPSTREAM_FIELDS_MAX)
            .max_header_size(limits::HEAD_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await?;
        tokio::spawn(async move {
            // Whoever waits for an answer is told how it ended.
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to an upstream ended");
            }
        });
        Ok(Self { sender, passage, generation, socket })
    }

    /// Whether an idle connection still lives and has nothing to read: bytes that nobody asked for,
    /// or the upstream's end of it, mean that it must not be used.
    ///
    /// The kernel is asked, because the runtime may not have heard yet of what has arrived.
    pub(super) fn is_quiet(&self) -> bool {
        if !self.sender.is_ready() {
            return false;
        }
        let peeked = SockRef::from(&*self.socket).peek(&mut [MaybeUninit::uninit()]);
        peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// The end of a socket that is read and written; another may look at it meanwhile.
pub(super) struct Shared(pub(super) Arc<TcpStream>);

impl AsyncRead for Shared {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(context))?;
            match self.0.try_read_buf(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read.map(drop)),
            }
        }
    }
}

impl Shared {
    fn poll_try(
        &self,
        context: &mut Context<'_>,
        mut write: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(context))?;
            match write(&self.0) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }
}

impl AsyncWrite for Shared {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_try(context, |socket| socket.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_try(context, |socket| socket.try_write_vectored(pieces))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match SockRef::from(&*self.0).shutdown(std::net::Shutdown::Write) {
            // The upstream was faster.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            done => Poll::Ready(done),
        }
    }
}
