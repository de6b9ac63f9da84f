//! When to come back: the honest `Retry-After`.

use std::time::Duration;

use relais_core::{QueueName, TenantName};
use relais_engine::{Engine, EngineError, Estimate};

use crate::answer::problem::Refusal;

/// The shortest and the longest `Retry-After`, seconds.
const RANGE_S: std::ops::RangeInclusive<f64> = 1.0..=60.0;
/// When a queue may have room of which nothing is known.
const UNKNOWN: Duration = Duration::from_secs(10);

/// Seconds after which asking for a task again makes sense, jittered so that those who came
/// together do not come back together.
#[must_use]
pub(crate) fn retry_after_s(engine: &Engine, estimate: Estimate) -> u32 {
    jittered_s(engine, estimate.again_in)
}

/// A refused submission, with an honest time to come back where there is no room.
#[must_use]
pub(crate) fn refuse_submission(
    engine: &Engine,
    tenant: &TenantName,
    queue: &QueueName,
    error: EngineError,
) -> Refusal {
    let is_full = matches!(&error, EngineError::Rejected(rejected) if rejected.is_for_room());
    let refusal = Refusal::from(error);
    if is_full { refusal.retry_after(room_after_s(engine, tenant, queue)) } else { refusal }
}

/// Seconds after which a full queue may have room: the time between two ends, as measured.
fn room_after_s(engine: &Engine, tenant: &TenantName, queue: &QueueName) -> u32 {
    let lately = engine.meters().lately(tenant, queue, engine.now());
    let finished_per_s = lately.map_or(0.0, |lately| lately.finished_per_s);
    let between = Duration::try_from_secs_f64(1.0 / finished_per_s);
    jittered_s(engine, between.unwrap_or(UNKNOWN))
}

fn jittered_s(engine: &Engine, wait: Duration) -> u32 {
    let factor = 0.75 + engine.chance().unit() / 2.0;
    let seconds = (wait.as_secs_f64() * factor).ceil().clamp(*RANGE_S.start(), *RANGE_S.end());
    // Whole and small: within the range.
    seconds as u32
}
