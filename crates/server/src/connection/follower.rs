//! An idle follower is the commonest thing there is, so it must cost almost nothing: its connection
//! is taken back from the HTTP library, and one small task writes the events to the bare stream, as
//! chunks that all followers share.

use std::time::Duration;

use axum::response::Response;
use http::{HeaderMap, StatusCode};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::{Permit, linger};
use crate::watch::chunk::LAST;
use crate::watch::sse::{Follow, Following, KEEPALIVE};

/// How long a follower may take to read what was written: a slow one is closed, and reads on from
/// the log when it comes back.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that a follower may send although nobody reads them.
const NOISE_BYTES_MAX: usize = 64 << 10;

/// A response that goes on without the HTTP library.
pub(crate) struct Taken {
    pub(crate) follow: Follow,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
}

/// The follower of a response that may go on without the HTTP library.
pub(super) fn of(response: &mut Response) -> Option<Follow> {
    response.extensions_mut().remove::<Following>()?.take()
}

/// Writes the head and then the events until either side ends it. The stream is not used again.
pub(super) async fn feed(mut stream: TcpStream, head: Vec<u8>, mut follow: Follow, permit: Permit) {
    if !write(&mut stream, &head).await {
        return;
    }
    drop(head);
    loop {
        let chunk = tokio::select! {
            // What is there is given out before a client that sends nothing more is taken for gone.
            biased;
            chunk = follow.next(KEEPALIVE) => chunk,
            () = hung_up(&stream) => return,
        };
        match chunk {
            Some(chunk) => {
                if !write(&mut stream, chunk.framed()).await {
                    return;
                }
            }
            None => break,
        }
    }
    // The last event of a task ends all its streams: who still waits for it comes first.
    match follow.ends_after() {
        Some(delay) => Box::pin(sleep(delay)).await,
        None => tokio::task::yield_now().await,
    }
    drop(follow);
    // Without it the stream would seem to be cut.
    if !write(&mut stream, LAST).await {
        return;
    }
    Box::pin(linger(stream)).await;
    drop(permit);
}

/// Whether the bytes were taken in time.
async fn write(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    // The common case costs no timer: the bytes fit into the socket's buffer.
    let written = stream.try_write(bytes).unwrap_or(0);
    if written == bytes.len() {
        return true;
    }
    let rest = Box::pin(timeout(WRITE_TIMEOUT, stream.write_all(&bytes[written..])));
    matches!(rest.await, Ok(Ok(())))
}

/// Resolves when the client closes its side, or keeps sending what nobody asked for.
async fn hung_up(stream: &TcpStream) {
    let mut noise = 0;
    while noise < NOISE_BYTES_MAX {
        if stream.readable().await.is_err() {
            return;
        }
        match stream.try_read(&mut [0; 256]) {
            Ok(0) => return,
            Ok(len) => noise += len,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
