//! How fast a queue gets work done: what came and ended lately, and how long that took. Measured,
//! forgotten at a restart, and cheap: one and a half kilobytes for each queue.

use std::cell::Cell;
use std::time::Duration;

use relais_core::Timestamp;

/// Over which time things are counted.
pub const WINDOW: Duration = Duration::from_secs(60);
/// Into so many pieces the window is cut, so that it can move.
const SLOTS: usize = 12;
const SLOT_MS: i64 = WINDOW.as_millis() as i64 / SLOTS as i64;
/// Measurements after which half of their weight is forgotten.
const MEASURED_MAX: u32 = 1_000;
/// Buckets of a spread for each doubling: 12 % apart.
const PER_DOUBLING: u32 = 8;
/// The last bucket holds everything beyond some thirty years.
const BUCKETS: usize = 40 * PER_DOUBLING as usize;

/// What a queue did lately.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lately {
    /// Tasks accepted in a second.
    pub accepted_per_s: f64,
    /// Tasks that became terminal in a second.
    pub finished_per_s: f64,
    /// From the moment a task might run to the start of its first attempt.
    pub wait: Option<Quantiles>,
    /// From the start of an attempt to its end.
    pub run: Option<Quantiles>,
}

/// A distribution in two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantiles {
    /// Half took no longer.
    pub p50: Duration,
    /// Nine of ten took no longer.
    pub p90: Duration,
}

/// The pace of one queue.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    pub(crate) accepted: Window,
    pub(crate) finished: Window,
    pub(crate) wait: Spread,
    pub(crate) run: Spread,
}

impl Pace {
    /// How long an attempt takes, once one has ended; of one that has run for `elapsed`, how much
    /// longer. `None` too for one that has outlived all that were measured.
    pub(crate) fn run_after(&self, elapsed: Duration) -> Option<Quantiles> {
        if elapsed.is_zero() { self.run.quantiles() } else { self.run.left_after(elapsed) }
    }

    /// What the queue did lately.
    pub(crate) fn lately(&self, now: Timestamp) -> Lately {
        Lately {
            accepted_per_s: self.accepted.per_second(now),
            finished_per_s: self.finished.per_second(now),
            wait: self.wait.quantiles(),
            run: self.run.quantiles(),
        }
    }
}

/// A count over the last minute, in slots.
#[derive(Debug, Default)]
pub(crate) struct Window {
    slots: [u32; SLOTS],
    /// The number of the latest slot, counted since 1970.
    latest: i64,
}

impl Window {
    pub(crate) fn note(&mut self, now: Timestamp) {
        self.move_to(slot_of(now));
        let slot = &mut self.slots[index_of(self.latest)];
        *slot = slot.saturating_add(1);
    }

    fn per_second(&self, now: Timestamp) -> f64 {
        let current = slot_of(now).max(self.latest);
        let first = current - (SLOTS as i64 - 1);
        let counted = (first.max(self.latest - (SLOTS as i64 - 1))..=self.latest)
            .map(|slot| f64::from(self.slots[index_of(slot)]))
            // From 0.0: the sum of nothing would be -0.0.
            .fold(0.0, |sum, count| sum + count);
        let begun_ms = (now.as_ms() - current * SLOT_MS).clamp(1, SLOT_MS);
        #[expect(clippy::cast_precision_loss, reason = "a minute is small")]
        let ms = ((SLOTS as i64 - 1) * SLOT_MS + begun_ms) as f64;
        counted * 1_000.0 / ms
    }

    fn move_to(&mut self, slot: i64) {
        let steps = slot - self.latest;
        if steps >= SLOTS as i64 {
            self.slots = [0; SLOTS];
        } else {
            (self.latest + 1..=slot).for_each(|slot| self.slots[index_of(slot)] = 0);
        }
        self.latest = self.latest.max(slot);
    }
}

fn slot_of(moment: Timestamp) -> i64 {
    moment.as_ms().div_euclid(SLOT_MS)
}

fn index_of(slot: i64) -> usize {
    usize::try_from(slot.rem_euclid(SLOTS as i64)).expect("within the slots")
}

/// How long something took, in buckets that grow with the time.
#[derive(Debug)]
pub(crate) struct Spread {
    buckets: Box<[u16; BUCKETS]>,
    measured: u32,
    /// What was found since the last measurement. Much is measured that nobody asks for: it is found
    /// when somebody does.
    found: Cell<Option<Quantiles>>,
}

impl Default for Spread {
    fn default() -> Self {
        Self { buckets: Box::new([0; BUCKETS]), measured: 0, found: Cell::new(None) }
    }
}

impl Spread {
    pub(crate) fn note(&mut self, took: Duration) {
        if self.measured >= MEASURED_MAX {
            self.buckets.iter_mut().for_each(|count| *count /= 2);
            self.measured = self.buckets.iter().copied().map(u32::from).sum();
        }
        self.buckets[bucket_of(took)] += 1;
        self.measured += 1;
        self.found.set(None);
    }

    /// Of all; `None` where nothing was measured.
    fn quantiles(&self) -> Option<Quantiles> {
        if self.measured > 0 && self.found.get().is_none() {
            let (p50, p90) = (self.quantile(0, 5), self.quantile(0, 9));
            self.found.set(Some(Quantiles { p50, p90 }));
        }
        self.found.get()
    }

    /// The time that `tenths` of those in the buckets from `first` on did not exceed.
    fn quantile(&self, first: usize, tenths: u32) -> Duration {
        let later = &self.buckets[first..];
        let counted: u32 = later.iter().copied().map(u32::from).sum();
        let wanted = (counted * tenths).div_ceil(10);
        let mut seen = 0;
        let reached = later.iter().position(|count| {
            seen += u32::from(*count);
            seen >= wanted
        });
        end_of(reached.map_or(BUCKETS - 1, |at| first + at))
    }

    /// How much longer what has taken `elapsed` takes: as those did that took as long at least.
    fn left_after(&self, elapsed: Duration) -> Option<Quantiles> {
        let first = bucket_of(elapsed);
        if self.buckets[first..].iter().all(|count| *count == 0) {
            return None;
        }
        // No finer than what is measured.
        let least = elapsed / (2 * PER_DOUBLING);
        let left = |tenths| self.quantile(first, tenths).saturating_sub(elapsed).max(least);
        Some(Quantiles { p50: left(5), p90: left(9) })
    }
}

/// Times of less than eight milliseconds have a bucket each; then eight share a doubling.
fn bucket_of(took: Duration) -> usize {
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    if ms < u64::from(PER_DOUBLING) {
        return usize::try_from(ms).expect("less than eight");
    }
    let doublings = ms.ilog2() - PER_DOUBLING.ilog2();
    let within = (ms >> doublings) - u64::from(PER_DOUBLING);
    let bucket = u64::from((doublings + 1) * PER_DOUBLING) + within;
    usize::try_from(bucket).unwrap_or(usize::MAX).min(BUCKETS - 1)
}

/// The longest time that belongs to a bucket.
fn end_of(bucket: usize) -> Duration {
    let bucket = u64::try_from(bucket).expect("a small number");
    let per = u64::from(PER_DOUBLING);
    if bucket < per {
        return Duration::from_millis(bucket);
    }
    let doublings = bucket / per - 1;
    Duration::from_millis(((per + bucket % per + 1) << doublings) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn every_time_is_in_a_bucket_that_ends_a_little_later() {
        for time in (0..5_000).chain([86_400_000, 1 << 36]) {
            let end = u64::try_from(end_of(bucket_of(ms(time))).as_millis()).unwrap();
            assert!(end >= time && end <= time + time / 8, "{time}: {end}");
        }
        assert_eq!(bucket_of(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn nothing_is_zero_and_not_less() {
        let now = Timestamp::from_ms(1_000_000);
        assert!(Window::default().per_second(now).is_sign_positive(), "JSON would say -0.0");
    }

    #[test]
    fn a_spread_tells_its_middle_and_forgets_what_is_long_ago() {
        let mut spread = Spread::default();
        (1..=10).for_each(|n| spread.note(ms(n)));
        assert_eq!(spread.quantiles(), Some(Quantiles { p50: ms(5), p90: ms(9) }));
        (0..5_000).for_each(|_| spread.note(ms(100)));
        let now = spread.quantiles().unwrap();
        assert_eq!(now.p50, now.p90);
        assert!(now.p50 >= ms(100) && now.p50 <= ms(112), "{now:?}");
    }

    #[test]
    fn what_has_lasted_long_lasts_as_those_did_that_lasted_as_long() {
        let mut spread = Spread::default();
        (0..90).for_each(|_| spread.note(ms(100)));
        (0..10).for_each(|_| spread.note(ms(10_000)));
        let left = |elapsed| spread.left_after(ms(elapsed)).map(|left| left.p50.as_millis());
        assert!(left(1).is_some_and(|left| (99..112).contains(&left)), "{:?}", left(1));
        assert!(left(500).is_some_and(|left| left > 9_000), "it is not done now: {:?}", left(500));
        assert!(left(9_999).is_some_and(|left| left >= 600), "{:?}", left(9_999));
        assert_eq!(left(60_000), None, "it has outlived them all");
    }

    #[test]
    fn a_window_counts_a_minute_and_no_more() {
        let mut window = Window::default();
        let at = Timestamp::from_ms;
        (0..60).for_each(|second| window.note(at(1_700_000_000_000 + second * 1_000)));
        let rate = window.per_second(at(1_700_000_000_000 + 59_999));
        assert!((rate - 1.0).abs() < 0.1, "{rate}");
        let later = window.per_second(at(1_700_000_000_000 + 90_000));
        assert!(later < 0.6, "{later}");
        assert!(window.per_second(at(1_700_000_000_000 + 130_000)) < 1e-9);
        window.note(at(1_700_000_500_000));
        assert!(window.per_second(at(1_700_000_500_001)) < 0.1);
    }
}
