//! A request's body, piece by piece, within bounds of time: whoever sends nothing, or hardly
//! anything, does not hold its room for ever.
//!
//! Not here: results that a worker sends while it makes them; its lease bounds those.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use relais_api::codes;
use relais_core::limits::{BODY_GRACE, BODY_PAUSE_MAX, BODY_RATE_MIN};
use tokio::time::Instant;

use crate::answer::problem::Refusal;
use crate::request::incoming::broken_off;

/// A body that is being read.
pub(crate) struct Pieces {
    body: Body,
    began: Instant,
    received: u64,
}

impl Pieces {
    /// Begins to read.
    pub(crate) fn of(body: Body) -> Self {
        Self { body, began: Instant::now(), received: 0 }
    }

    /// The next bytes; `None` at the end. Trailers are left out.
    ///
    /// # Errors
    /// 408 when it pauses, or is too slow on average; 400 when it breaks off.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            let until = self.due().min(Instant::now() + BODY_PAUSE_MAX);
            let frame = tokio::time::timeout_at(until, self.body.frame()).await;
            let frame = frame.map_err(|_| Refusal::new(&codes::REQUEST_TIMEOUT).closing())?;
            match frame.transpose().map_err(|_| broken_off())?.map(http_body::Frame::into_data) {
                None => return Ok(None),
                Some(Ok(data)) => {
                    self.received += data.len() as u64;
                    return Ok(Some(data));
                }
                Some(Err(_)) => {}
            }
        }
    }

    /// When the next bytes must have come, for what came so far.
    fn due(&self) -> Instant {
        self.began + BODY_GRACE + Duration::from_secs(self.received / BODY_RATE_MIN)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;

    use super::*;

    /// A body of so many pieces, one in each span of time.
    fn dripping(piece: usize, every: Duration, pieces: usize) -> Pieces {
        let drops = stream::unfold(0, move |given| async move {
            if given == pieces {
                return None;
            }
            tokio::time::sleep(every).await; // tidy: bounded wait
            Some((Ok::<_, Infallible>(Bytes::from(vec![b'x'; piece])), given + 1))
        });
        Pieces::of(Body::from_stream(drops))
    }

    /// Reads to the end; answers how many bytes came, and whether all.
    async fn read(mut pieces: Pieces) -> (u64, bool) {
        loop {
            match pieces.next().await {
                Ok(Some(_)) => {}
                Ok(None) => return (pieces.received, true),
                Err(_) => return (pieces.received, false),
            }
        }
    }

    /// A byte each 29 s never paused for 30 s, and held its room for weeks.
    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_ended_however_regular_it_is() {
        let began = Instant::now();
        let (bytes, is_whole) = read(dripping(1, Duration::from_secs(20), 1_000)).await;
        assert!(!is_whole && bytes < 10, "{bytes}");
        assert!(began.elapsed() <= BODY_GRACE + Duration::from_secs(1), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_line_gets_its_body_through() {
        // 2 KiB a second, for nine minutes: what a bad mobile connection carries.
        let (bytes, is_whole) = read(dripping(2_048, Duration::from_secs(1), 512)).await;
        assert_eq!((bytes, is_whole), (1 << 20, true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_ends_it() {
        let whole = BODY_PAUSE_MAX - Duration::from_secs(1);
        assert!(read(dripping(1 << 20, whole, 2)).await.1);
        let over = BODY_PAUSE_MAX + Duration::from_secs(1);
        assert_eq!(read(dripping(1 << 20, over, 2)).await, (0, false));
    }
}
