//! When to come back: the honest `Retry-After`.

use std::time::Duration;

use relais_core::{Grace, QueueName, Task, TenantName};
use relais_engine::{Engine, EngineError, Estimate};

use crate::answer::problem::Refusal;

/// The shortest and the longest `Retry-After`, seconds.
const RANGE_S: std::ops::RangeInclusive<f64> = 1.0..=60.0;
/// When a queue may have room of which nothing is known.
const UNKNOWN: Duration = Duration::from_secs(10);
/// How soon a page looks again, without scripts or without a stream, if nothing says that it should sooner.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Seconds after which asking for a task again makes sense, jittered so that those who came
/// together do not come back together.
#[must_use]
pub(crate) fn retry_after_s(engine: &Engine, estimate: Estimate) -> u32 {
    jittered_s(estimate.again_in, estimate.held_for, engine.chance().unit())
}

/// The longest that whoever follows these tasks may be told to stay away: well within the shortest of their
/// graces, since all others may leave meanwhile. Where there is no countdown nobody comes back in time.
#[must_use]
pub(crate) fn away_max<'a>(tasks: impl IntoIterator<Item = &'a Task>) -> Option<Duration> {
    let graces = tasks.into_iter().filter_map(|task| task.spec.grace);
    graces.filter(|grace| *grace != Grace::ZERO).map(Grace::ask_within).min()
}

/// How soon the page of a task looks again.
#[must_use]
pub(crate) fn look_again(task: &Task) -> Duration {
    away_max([task]).map_or(LOOK_AGAIN, |away| away.min(LOOK_AGAIN))
}

/// The same for a task that is not over. Where all have left, whoever asks keeps it from being canceled:
/// it is to come back well within the grace.
#[must_use]
pub(crate) fn ask_again_s(engine: &Engine, task: &Task, estimate: Estimate) -> u32 {
    let again_s = retry_after_s(engine, estimate);
    match away_max([task]).filter(|_| task.life.is_left()) {
        Some(away) => again_s.min(u32::try_from(away.as_secs()).unwrap_or(again_s)),
        None => again_s,
    }
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
    jittered_s(between.unwrap_or(UNKNOWN), Duration::ZERO, engine.chance().unit())
}

/// Spreads those who came together; `chance` is from 0 to 1. Of the time to wait, `held` is certain:
/// who came back before its end would come in vain, so that it is only ever made longer.
fn jittered_s(wait: Duration, held: Duration, chance: f64) -> u32 {
    let (guessed, held) = (wait.saturating_sub(held).as_secs_f64(), held.as_secs_f64());
    let seconds = held * (1.0 + chance / 4.0) + guessed * (0.75 + chance / 2.0);
    // Whole and small: within the range.
    seconds.ceil().clamp(*RANGE_S.start(), *RANGE_S.end()) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_back_before_an_end_that_is_known() {
        // A task with a delay of 20 s was to be asked for again after 16 s.
        let s = Duration::from_secs;
        for (wait, held, earliest, latest) in [(20, 20, 20, 25), (22, 20, 22, 28), (20, 0, 15, 25)]
        {
            let told = [0.0, 1.0].map(|chance| jittered_s(s(wait), s(held), chance));
            assert_eq!(told, [earliest, latest], "{wait} s, of which {held} are certain");
        }
        assert_eq!(jittered_s(s(0), s(0), 0.5), 1);
        assert_eq!(jittered_s(s(900), s(900), 0.5), 60);
    }
}
