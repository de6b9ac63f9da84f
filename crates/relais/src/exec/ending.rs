//! A pipe that ends with its program, although a child that the program left behind holds it open.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::watch;

/// Reads a pipe to its end, or, once it is told that nothing more is to
/// come, what is in it already.
pub(super) struct EndingPipe<P> {
    pipe: P,
    /// Resolves when only what is in the pipe is still wanted.
    told: BoxFuture<'static, ()>,
    /// Bytes that may still come, once it was told.
    left: Option<usize>,
}

impl<P> EndingPipe<P> {
    /// The pipe, and what tells it by being dropped.
    pub(super) fn new(pipe: P, mut is_read: watch::Receiver<()>) -> Self {
        let told = Box::pin(async move { while is_read.changed().await.is_ok() {} });
        Self { pipe, told, left: None }
    }
}

impl<P: AsyncRead + Unpin> AsyncRead for EndingPipe<P> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.left.is_none() && this.told.as_mut().poll(context).is_ready() {
            this.left = Some(PIPE_BYTES_MAX);
        }
        let Some(left) = this.left else {
            return Pin::new(&mut this.pipe).poll_read(context, buffer);
        };
        if left == 0 {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        match Pin::new(&mut this.pipe).poll_read(context, buffer) {
            // Empty, and whoever could still write is not waited for.
            Poll::Pending => Poll::Ready(Ok(())),
            read => {
                ready!(read)?;
                let len = buffer.filled().len() - before;
                // A child that never stops writing must not be read for ever.
                this.left = Some(left.saturating_sub(len));
                Poll::Ready(Ok(()))
            }
        }
    }
}

/// The most that a pipe of a program without privileges holds.
const PIPE_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_pipe_ends_when_told_with_all_that_was_in_it() {
        let (is_read, told) = watch::channel(());
        let (mut held, pipe) = tokio::io::duplex(64);
        held.write_all(b"result").await.unwrap();
        let mut reader = EndingPipe::new(pipe, told);
        let mut bytes = [0; 3];
        reader.read_exact(&mut bytes).await.unwrap();
        drop(is_read);
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).await.unwrap();
        assert_eq!((&bytes[..], &rest[..]), (&b"res"[..], &b"ult"[..]));
        drop(held);
    }

    #[tokio::test]
    async fn a_child_that_never_stops_writing_is_not_read_for_ever() {
        let (is_read, told) = watch::channel(());
        drop(is_read);
        let mut bytes = Vec::new();
        EndingPipe::new(tokio::io::repeat(b'x'), told).read_to_end(&mut bytes).await.unwrap();
        assert!((PIPE_BYTES_MAX..2 * PIPE_BYTES_MAX).contains(&bytes.len()), "{}", bytes.len());
    }
}
