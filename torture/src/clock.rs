//! The judge's own watch. It only goes forward, and owes nothing to the clock that Relais reads.

use std::time::{Duration, Instant};

/// Microseconds since the judge began.
pub(crate) type Moment = u64;

/// One second, as a [`Moment`] counts.
pub(crate) const SECOND: Moment = 1_000_000;

/// A watch that was started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
}

impl Clock {
    /// Starts the watch.
    pub(crate) fn start() -> Self {
        // tidy: allow(clock): the judge measures with a watch of its own
        Self { started: Instant::now() }
    }

    /// How long it has been running.
    pub(crate) fn now(self) -> Moment {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Sleeps until `moment`; not at all if it has passed.
    pub(crate) async fn sleep_until(self, moment: Moment) {
        tokio::time::sleep(Duration::from_micros(moment.saturating_sub(self.now()))).await;
    }
}

/// Sleeps for `ms` milliseconds.
pub(crate) async fn pause_ms(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}
