//! The only place that asks the system for the time, and for randomness.
//!
//! There are two kinds of time. Moments (`run_at`, deadlines, `created_at`) are the machine's: they
//! follow its clock when somebody sets it, and when it slept. Durations (timeouts, waits) are
//! counted by a clock that nobody can set.

use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use relais_core::Timestamp;
use tokio::sync::watch;

/// What a call of [`Clock`] that waits returns.
pub type Sleep<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// What time it is, how much of it has passed, and waiting for it to pass.
pub trait Clock: Send + Sync + 'static {
    /// The machine's time. May be set at any moment, forwards and back.
    fn now(&self) -> Timestamp;

    /// Time counted since the clock was made. Nobody sets it, and it never goes back; while the
    /// machine sleeps it may stand still.
    fn elapsed(&self) -> Duration;

    /// Resolves when [`elapsed`](Self::elapsed) has come to `moment`, or soon after.
    fn sleep_to(&self, moment: Duration) -> Sleep<'_>;

    /// What was not normal about the time since the last call. For one caller, which calls at least
    /// every [`LOOK_EVERY`].
    fn look(&self) -> Option<Gap>;
}

/// How often somebody looks at the clock while a moment is waited for: so soon is seen that it was
/// set, or that the machine slept.
pub const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What a clock may be off, and a look late, before it counts: less is slewing, or a busy machine.
const GAP_MIN: Duration = Duration::from_millis(500);

/// Time that did not pass as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gap {
    /// By how much the machine's time was set, or went on while it slept, milliseconds.
    pub set_by_ms: i64,
    /// How long the process did not run, although time was counted.
    pub away: Duration,
}

impl Gap {
    /// What is wrong with `passed` having been counted while the machine's time went from `then` to
    /// `now`, between two looks.
    fn between(passed: Duration, then: Timestamp, now: Timestamp) -> Option<Self> {
        let counted_ms = i64::try_from(passed.as_millis()).unwrap_or(i64::MAX);
        let shown_ms = now.as_ms().saturating_sub(then.as_ms());
        let set_by_ms = shown_ms.saturating_sub(counted_ms);
        let was_set = Duration::from_millis(set_by_ms.unsigned_abs()) >= GAP_MIN;
        let away = passed.saturating_sub(LOOK_EVERY);
        let was_away = away >= GAP_MIN;
        (was_set || was_away).then_some(Self {
            set_by_ms: if was_set { set_by_ms } else { 0 },
            away: if was_away { away } else { Duration::ZERO },
        })
    }
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
    /// Both times at the last look.
    seen: Mutex<(Duration, Timestamp)>,
}

impl SystemClock {
    /// Begins to count.
    #[must_use]
    pub fn start() -> Self {
        let seen = Mutex::new((Duration::ZERO, system_now()));
        Self { started: Instant::now(), seen }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that asks the system")]
fn system_now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::EPOCH.plus(since_epoch)
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        system_now()
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn sleep_to(&self, moment: Duration) -> Sleep<'_> {
        Box::pin(async move {
            // A timer rounds; the moment itself must have come.
            while let Some(left) = moment.checked_sub(self.elapsed()).filter(|left| !left.is_zero())
            {
                tokio::time::sleep(left).await;
            }
        })
    }

    fn look(&self) -> Option<Gap> {
        let (elapsed, now) = (self.elapsed(), self.now());
        let mut seen = self.seen.lock().expect("nothing panics while it is held");
        let (before, then) = std::mem::replace(&mut *seen, (elapsed, now));
        Gap::between(elapsed.saturating_sub(before), then, now)
    }
}

/// A clock that stands still until it is moved: tests decide what time it is.
#[derive(Debug)]
pub struct ManualClock {
    shown: watch::Sender<Shown>,
}

#[derive(Debug, Clone, Copy)]
struct Shown {
    now: Timestamp,
    elapsed: Duration,
    gap: Option<Gap>,
}

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        let shown = Shown { now, elapsed: Duration::ZERO, gap: None };
        Self { shown: watch::Sender::new(shown) }
    }

    /// Time passes, while the process runs; wakes those who waited for it.
    pub fn advance(&self, span: Duration) {
        self.shown.send_modify(|shown| shown.pass(span));
    }

    /// Time passes, while the process is stopped.
    pub fn stall(&self, span: Duration) {
        self.shown.send_modify(|shown| {
            shown.pass(span);
            shown.gap.get_or_insert_default().away += span;
        });
    }

    /// Somebody sets the machine's time, or it slept: no time is counted. It is seen once
    /// [`LOOK_EVERY`] has passed.
    pub fn set_by(&self, ms: i64) {
        self.shown.send_modify(|shown| {
            shown.now = Timestamp::from_ms(shown.now.as_ms().saturating_add(ms));
            shown.gap.get_or_insert_default().set_by_ms += ms;
        });
    }
}

impl Shown {
    fn pass(&mut self, span: Duration) {
        self.now = self.now.plus(span);
        self.elapsed += span;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.shown.borrow().now
    }

    fn elapsed(&self) -> Duration {
        self.shown.borrow().elapsed
    }

    fn sleep_to(&self, moment: Duration) -> Sleep<'_> {
        let mut moved = self.shown.subscribe();
        Box::pin(async move {
            // The sender lives as long as the clock, which lives as long as this future.
            let _ = moved.wait_for(|shown| shown.elapsed >= moment).await;
        })
    }

    fn look(&self) -> Option<Gap> {
        let mut gap = None;
        self.shown.send_if_modified(|shown| {
            gap = shown.gap.take();
            false
        });
        gap
    }
}

/// Where chance comes from.
pub trait Chance: Send + Sync + 'static {
    /// 128 unguessable bits.
    fn bits(&self) -> u128;

    /// A number in `0.0..1.0`, for jitter.
    fn unit(&self) -> f64 {
        // 53 bits fill a double's mantissa.
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact in a double")]
        let numerator = (self.bits() >> 75) as f64;
        numerator / (1u64 << 53) as f64
    }
}

/// The system's secure random numbers, drawn in blocks because leases and ids need many.
#[derive(Debug, Default)]
pub struct SystemChance {
    pool: Mutex<Vec<u128>>,
}

impl Chance for SystemChance {
    fn bits(&self) -> u128 {
        let mut pool = self.pool.lock().expect("nothing panics while it is held");
        if let Some(bits) = pool.pop() {
            return bits;
        }
        let mut block = [0u8; 16 * 64];
        aws_lc_rs::rand::fill(&mut block).expect("the system has random numbers");
        pool.extend(
            block
                .chunks_exact(16)
                .map(|chunk| u128::from_le_bytes(chunk.try_into().expect("chunks have 16 bytes"))),
        );
        pool.pop().expect("a block was just added")
    }
}

/// Chance by seed, for tests: the same seed draws the same numbers (SplitMix64).
#[derive(Debug)]
pub struct SeededChance {
    state: Mutex<u64>,
}

impl SeededChance {
    /// Starts from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: Mutex::new(seed) }
    }
}

impl Chance for SeededChance {
    fn bits(&self) -> u128 {
        let mut state = self.state.lock().expect("nothing panics while it is held");
        let mut draw = || {
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut bits = *state;
            bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            u128::from(bits ^ (bits >> 31))
        };
        draw() << 64 | draw()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(passed_ms: u64, shown_ms: i64) -> Option<(i64, u64)> {
        let then = Timestamp::from_ms(1_000_000);
        let now = Timestamp::from_ms(1_000_000 + shown_ms);
        let gap = Gap::between(Duration::from_millis(passed_ms), then, now)?;
        Some((gap.set_by_ms, u64::try_from(gap.away.as_millis()).expect("a short time")))
    }

    #[test]
    fn a_look_sees_that_the_clock_was_set_and_that_the_process_did_not_run() {
        assert_eq!(between(500, 500), None);
        assert_eq!(between(900, 1_300), None, "late, and slewed, a little");
        assert_eq!(between(500, 3_600_500), Some((3_600_000, 0)), "the machine slept");
        assert_eq!(between(500, -3_599_500), Some((-3_600_000, 0)), "it was set back");
        assert_eq!(between(10_500, 10_500), Some((0, 10_000)), "the process was stopped");
        assert_eq!(between(10_500, 70_500), Some((60_000, 10_000)));
    }
}
