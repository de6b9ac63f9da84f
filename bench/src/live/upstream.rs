//! The service whose answers come bit by bit. It runs in this process, on a thread of its own, so that its stamps
//! and what readers note are of one clock.

use std::convert::Infallible;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::routing::any;
use axum::serve::ListenerExt as _;
use futures_util::stream;

/// Length of a piece that is stamped.
pub(super) const PIECE: usize = 200;
/// Bytes of a stamp at the start of a piece: microseconds, in decimal digits.
const STAMP: usize = 16;
/// Bytes that a large answer repeats. A prime, so that no piece of a power of two begins like its neighbour.
const PATTERN: usize = 65_521;
/// A large answer comes in such pieces…
const LARGE_PIECE: usize = 64 << 10;
/// …at this pace: about as fast as a fast disk, and never all at once.
const LARGE_PACE: Duration = Duration::from_micros(500);

/// When the process began, as far as stamps go.
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The service while it runs, which is until the process ends.
pub(super) struct Upstream {
    /// Where it listens.
    pub(super) address: String,
}

impl Upstream {
    /// Starts it.
    ///
    /// # Errors
    /// Where it cannot listen.
    pub(super) fn start() -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").context("could not listen")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?.to_string();
        now_us();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::spawn(move || runtime.block_on(serve(listener)));
        Ok(Self { address })
    }
}

async fn serve(listener: std::net::TcpListener) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener of this thread");
    let listener = listener.tap_io(|connection| {
        // A connection that just ended has no options.
        let _ = connection.set_nodelay(true);
    });
    let app = Router::new()
        .route("/stamped/{pieces}/{every_ms}", any(stamped))
        .route("/large/{bytes}", any(large));
    axum::serve(listener, app).await.expect("it serves for as long as the process lives");
}

/// Microseconds since the process began.
pub(super) fn now_us() -> u64 {
    u64::try_from(BEGAN.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// When a piece was sent.
///
/// # Errors
/// Where it is none.
pub(super) fn stamp_of(piece: &[u8]) -> anyhow::Result<u64> {
    let digits = piece.get(..STAMP).context("no piece")?;
    std::str::from_utf8(digits)?.parse().context("no stamp")
}

/// Answers with so many stamped pieces, one after the other.
async fn stamped(Path((pieces, every_ms)): Path<(u64, u64)>) -> Body {
    let mut ticks = tokio::time::interval(Duration::from_millis(every_ms));
    ticks.tick().await;
    Body::from_stream(stream::unfold((pieces, ticks), async |(left, mut ticks)| {
        let left = left.checked_sub(1)?;
        ticks.tick().await;
        let filler = PIECE - STAMP - 2;
        let piece = format!("{:0STAMP$} {left:0>filler$}\n", now_us());
        Some((Ok::<_, Infallible>(Bytes::from(piece)), (left, ticks)))
    }))
}

/// Answers with so many bytes of the pattern.
async fn large(Path(bytes): Path<u64>) -> Body {
    let pattern = Bytes::from(pattern());
    Body::from_stream(stream::unfold(0, move |sent| {
        let pattern = pattern.clone();
        async move {
            let len = usize::try_from(bytes - sent).unwrap_or(usize::MAX).min(LARGE_PIECE);
            if len == 0 {
                return None;
            }
            tokio::time::sleep(LARGE_PACE).await;
            let start = place(sent);
            Some((Ok::<_, Infallible>(pattern.slice(start..start + len)), sent + len as u64))
        }
    }))
}

/// Long enough that a piece can begin anywhere in what is repeated.
fn pattern() -> Vec<u8> {
    let byte = |at: usize| u8::try_from(at % PATTERN * 31 % 251).expect("below 251");
    (0..PATTERN + LARGE_PIECE).map(byte).collect()
}

/// Where in the pattern a byte of a large answer lies.
fn place(offset: u64) -> usize {
    usize::try_from(offset % PATTERN as u64).expect("below the length of the pattern")
}

/// Tells whether bytes are those of a large answer.
pub(super) struct Expected(Vec<u8>);

impl Expected {
    pub(super) fn new() -> Self {
        Self(pattern())
    }

    /// Whether `bytes` stand at `offset` of it.
    pub(super) fn is_at(&self, mut offset: u64, bytes: &[u8]) -> bool {
        bytes.chunks(LARGE_PIECE).all(|piece| {
            let start = place(offset);
            offset += piece.len() as u64;
            self.0[start..start + piece.len()] == *piece
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_answer_is_told_from_another_at_each_place() {
        let expected = Expected::new();
        let whole: Vec<u8> = (0..300_000).map(|at| expected.0[place(at)]).collect();
        assert!(expected.is_at(0, &whole) && expected.is_at(70_001, &whole[70_001..]));
        assert!(!expected.is_at(1, &whole) && !expected.is_at(0, &whole[1..]));
    }

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let piece = format!("{:0STAMP$} x\n", 1_234_567);
        assert_eq!(stamp_of(piece.as_bytes()).expect("a stamp"), 1_234_567);
        assert!(stamp_of(b"123").is_err());
    }
}
