//! How long a connection may wait for its client.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use relais_core::limits::CLIENT_SILENCE_MAX;
use tokio::time::{Instant, Sleep};

use super::guard::Wait;

/// How long a connection may lie idle between two requests: longer than the
/// common proxies keep theirs.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(75);
/// How soon an idle connection is parked: it costs a little to take it up again.
pub(super) const PARK_AFTER: Duration = Duration::from_secs(2);

/// Notices when a wait has lasted too long.
///
/// The timer is only moved to an earlier time; when it fires too early it is set anew. So a busy
/// connection, whose waits are short, hardly ever touches it.
pub(super) struct Timing {
    head_max: Duration,
    idle_max: Duration,
    wait: Wait,
    since: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Timing {
    pub(super) fn new(head_max: Duration, idle_max: Duration) -> Self {
        let since = Instant::now();
        let timer = Box::pin(tokio::time::sleep_until(since + idle_max));
        Self { head_max, idle_max, wait: Wait::Idle, since, timer }
    }

    /// Resolves when the connection has waited for too long.
    pub(super) fn poll(
        mut self: Pin<&mut Self>,
        wait: Wait,
        context: &mut Context<'_>,
    ) -> Poll<Wait> {
        if wait != self.wait {
            self.wait = wait;
            self.since = Instant::now();
            let end = self.end();
            if end <= self.since {
                // At once: a timer would be late by its tick.
                return Poll::Ready(wait);
            }
            if end < self.timer.deadline() {
                self.timer.as_mut().reset(end);
            }
        }
        while self.timer.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            if wait != Wait::Answer && self.end() <= now {
                return Poll::Ready(wait);
            }
            let end = self.end().max(now + Duration::from_secs(1));
            self.timer.as_mut().reset(end);
        }
        Poll::Pending
    }

    fn end(&self) -> Instant {
        self.since
            + match self.wait {
                Wait::Idle => self.idle_max,
                Wait::Answer => IDLE_MAX,
                Wait::Head => self.head_max,
                Wait::HalfClosed(_, patience) => patience,
                Wait::Reader(_) | Wait::Sender(_) => CLIENT_SILENCE_MAX,
            }
    }
}
