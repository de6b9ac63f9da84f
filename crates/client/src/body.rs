//! Bodies that are sent: bytes, or a file read piece by piece.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncRead, ReadBuf};

pub(crate) type SendBody = BoxBody<Bytes, io::Error>;

/// Bytes that are there already.
pub(crate) fn whole(bytes: Bytes) -> SendBody {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

/// A file from its start, of a length known in advance.
pub(crate) fn file(file: tokio::fs::File, len: u64) -> SendBody {
    FileBody { file, left: len, buffer: BytesMut::new() }.boxed()
}

struct FileBody {
    file: tokio::fs::File,
    left: u64,
    buffer: BytesMut,
}

const PIECE_BYTES: usize = 64 << 10;

impl http_body::Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        if this.left == 0 {
            return Poll::Ready(None);
        }
        let piece = PIECE_BYTES.min(usize::try_from(this.left).unwrap_or(PIECE_BYTES));
        this.buffer.resize(piece, 0);
        let mut into = ReadBuf::new(&mut this.buffer);
        ready!(Pin::new(&mut this.file).poll_read(context, &mut into))?;
        let len = into.filled().len();
        if len == 0 {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        this.left -= len as u64;
        Poll::Ready(Some(Ok(Frame::data(this.buffer.split_to(len).freeze()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
