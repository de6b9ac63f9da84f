//! When to come back: the honest `Retry-After`.

use std::time::Duration;

use relais_core::{QueueName, Task, TenantName};

use crate::app::App;

/// The shortest and the longest `Retry-After`, seconds.
const RANGE_S: std::ops::RangeInclusive<f64> = 1.0..=60.0;
/// How long a task takes when nothing was measured yet.
const UNKNOWN: Duration = Duration::from_secs(2);

impl App {
    /// Seconds after which asking for a task again makes sense: its place over the measured throughput
    /// and the median run, jittered so that those who came together do not come back together.
    #[must_use]
    pub(crate) fn retry_after_s(&self, task: &Task, ahead: u64) -> u32 {
        let now = self.engine.now();
        let wait = match self.engine.eta(task, ahead) {
            Some((p50, _)) => p50.since(now),
            None => task.life.run_at().unwrap_or(now).since(now) + UNKNOWN,
        };
        self.jittered_s(wait)
    }

    /// Seconds after which a full queue may have room.
    #[must_use]
    pub(crate) fn room_after_s(&self, tenant: &TenantName, queue: &QueueName) -> u32 {
        let pace = self.engine.meters().pace(tenant, queue);
        self.jittered_s(pace.map_or(5 * UNKNOWN, |pace| pace.between))
    }

    fn jittered_s(&self, wait: Duration) -> u32 {
        let factor = 0.75 + self.engine.chance().unit() / 2.0;
        let seconds = (wait.as_secs_f64() * factor).ceil().clamp(*RANGE_S.start(), *RANGE_S.end());
        // Whole and small: within the range.
        seconds as u32
    }
}
