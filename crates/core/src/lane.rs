//! The arithmetic of waiting: whose turn it is within a lane, between lanes, and under a rate.

use std::time::Duration;

use minicbor::{Decode, Encode};

use crate::limits;
use crate::policy::Rate;
use crate::task::Priority;
use crate::time::Timestamp;

/// Virtual time that one start costs a lane of weight 1; divided by the weight of heavier ones.
pub const TURN: i64 = 1_000;

/// The place of a task within its lane; the smallest starts first.
///
/// A level of priority is worth a fixed time of waiting, so the order of two tasks never changes
/// while they wait, ageing is free, and none starves.
#[must_use]
pub fn rank(run_at: Timestamp, priority: Priority) -> i64 {
    let level = i64::try_from(limits::AGEING_PER_LEVEL.as_millis()).expect("a small constant");
    run_at.as_ms().saturating_sub(i64::from(priority.get()).saturating_mul(level))
}

/// The place of a lane among the lanes of its queue; the smallest is served first.
///
/// `vtime` rises with each start (weighted fair queueing); the priority of the lane's head is a
/// bounded credit of turns, so that a lane of urgent tasks goes first but never for ever.
#[must_use]
pub fn turn(vtime: i64, head: Priority) -> i64 {
    vtime.saturating_sub(i64::from(head.get()) * limits::TURNS_PER_LEVEL * TURN)
}

/// The virtual time of a lane after one start.
#[must_use]
pub fn vtime_after_start(vtime: i64, weight: u32) -> i64 {
    vtime.saturating_add((TURN / i64::from(weight.max(1))).max(1))
}

/// The virtual time of a queue after one of its lanes was served: `lane` is that lane's, the start
/// paid for, and `head` the priority of the task that started. 0 before the first start.
///
/// It never goes back. What urgency borrowed does not count: else a lane that arrives behind an
/// urgent one would wait until all others had caught up with its credit.
#[must_use]
pub fn queue_vtime_after_start(queue: i64, lane: i64, head: Priority) -> i64 {
    queue.max(lane.min(turn(lane, head)))
}

/// The virtual time of a lane that gets work while none of its tasks is ready: it may not save up
/// its turns, so it joins at the queue's own virtual time. A new lane starts there.
#[must_use]
pub fn vtime_on_arrival(lane: i64, queue: i64) -> i64 {
    lane.max(queue)
}

/// A token bucket over attempt starts. Counts in millionths of a token, so
/// that no fraction is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Bucket {
    /// Millionths of a token in the bucket at `at`.
    #[n(0)]
    micro: u64,
    /// When `micro` was counted.
    #[n(1)]
    at: Timestamp,
}

const MICRO: u64 = 1_000_000;
/// From here on a bucket was counted by a clock that was set back, not by a
/// claim that overtook another.
const SET_BACK_MIN: Duration = Duration::from_secs(1);

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub fn full(rate: Rate, now: Timestamp) -> Self {
        Self { micro: burst(rate), at: now }
    }

    /// Whole tokens there are at `now`. A clock that went back adds nothing and takes nothing.
    #[must_use]
    pub fn available(self, rate: Rate, now: Timestamp) -> u64 {
        self.refilled(rate, now).micro / MICRO
    }

    /// The bucket without `count` tokens; never below empty.
    #[must_use]
    pub fn take(self, rate: Rate, count: u64, now: Timestamp) -> Self {
        // Counting anew drops the fraction of a millionth: whoever only looks must not wear a slow
        // rate down to nothing.
        if count == 0 {
            return self;
        }
        let full = self.refilled(rate, now);
        Self { micro: full.micro.saturating_sub(count.saturating_mul(MICRO)), at: full.at }
    }

    /// The bucket with `count` tokens that were taken and not used; never over full.
    #[must_use]
    pub fn put_back(self, rate: Rate, count: u64, now: Timestamp) -> Self {
        if count == 0 {
            return self;
        }
        let full = self.refilled(rate, now);
        let micro = full.micro.saturating_add(count.saturating_mul(MICRO)).min(burst(rate));
        Self { micro, at: full.at }
    }

    /// The first moment at which there is a whole token.
    #[must_use]
    pub fn next_at(self, rate: Rate, now: Timestamp) -> Timestamp {
        self.nth_at(rate, 1, now)
    }

    /// The moment at which the `n`-th token from now on is there, if each is taken as it comes.
    #[must_use]
    pub fn nth_at(self, rate: Rate, n: u64, now: Timestamp) -> Timestamp {
        let full = self.refilled(rate, now);
        let wanted = u128::from(n) * u128::from(MICRO);
        let missing = wanted.saturating_sub(u128::from(full.micro));
        let period_ms = rate.period.as_millis().max(1);
        let wait_ms =
            (missing * period_ms).div_ceil(u128::from(rate.count.max(1)) * u128::from(MICRO));
        Timestamp::from_ms(
            full.at
                .as_ms()
                .max(now.as_ms())
                .saturating_add(i64::try_from(wait_ms).unwrap_or(i64::MAX)),
        )
    }

    /// The bucket as it is after the clock was set by `ms`: no time passed.
    #[must_use]
    pub fn shifted(self, ms: i64) -> Self {
        Self { at: self.at.shifted(ms), ..self }
    }

    /// The bucket of a clock that was set back since it was counted, counted anew; `None` if it was
    /// not. Else nothing would start until the clock has come as far again. Looks that overtake
    /// each other by less than a second change nothing.
    #[must_use]
    pub fn set_back(self, now: Timestamp) -> Option<Self> {
        (self.at.since(now) > SET_BACK_MIN).then_some(Self { at: now, ..self })
    }

    fn refilled(self, rate: Rate, now: Timestamp) -> Self {
        let elapsed_ms = now.since(self.at).as_millis();
        let period_ms = rate.period.as_millis().max(1);
        let added =
            elapsed_ms.saturating_mul(u128::from(rate.count) * u128::from(MICRO)) / period_ms;
        let added = u64::try_from(added).unwrap_or(u64::MAX);
        Self { micro: self.micro.saturating_add(added).min(burst(rate)), at: self.at.max(now) }
    }
}

/// When the bucket of a lane is full again after one more start at `now`, in microseconds;
/// `full_at` is the same before it, `None` for a bucket that is full.
///
/// One number is the whole bucket: a queue may have very many lanes.
#[must_use]
pub fn full_after_start(full_at: Option<i64>, rate: Rate, now: Timestamp) -> i64 {
    refilling(full_at, rate, micros(now)).saturating_add(token_us(rate))
}

/// When a lane with such a bucket may start again; `None` if it may at `now`.
#[must_use]
pub fn free_at(full_at: Option<i64>, rate: Rate, now: Timestamp) -> Option<Timestamp> {
    nth_free_at(full_at, rate, 1, now)
}

/// When a lane with such a bucket may make its `n`-th start from now on, if each is made as soon as
/// it may; `None` if it may at `now`.
#[must_use]
pub fn nth_free_at(full_at: Option<i64>, rate: Rate, n: u64, now: Timestamp) -> Option<Timestamp> {
    let now_us = micros(now);
    let before = i64::try_from(n.saturating_sub(1)).unwrap_or(i64::MAX);
    let missing_us =
        refilling(full_at, rate, now_us).saturating_add(token_us(rate).saturating_mul(before));
    // There is a whole token once no more than the rest of the burst is missing.
    let free_us = missing_us.saturating_sub(burst_us(rate) - token_us(rate));
    (free_us > now_us).then(|| Timestamp::from_ms(free_us.saturating_add(999).div_euclid(1_000)))
}

/// The longest that a lane waits for its next start under a rate, in milliseconds.
#[must_use]
pub fn held_ms_max(rate: Rate) -> i64 {
    token_us(rate).saturating_add(999).div_euclid(1_000)
}

/// No bucket is emptier than empty, so that a clock that went back makes nobody wait longer.
fn refilling(full_at: Option<i64>, rate: Rate, now_us: i64) -> i64 {
    full_at.unwrap_or(i64::MIN).clamp(now_us, now_us.saturating_add(burst_us(rate)))
}

fn micros(at: Timestamp) -> i64 {
    at.as_ms().saturating_mul(1_000)
}

fn token_us(rate: Rate) -> i64 {
    let token = rate.period.as_micros() / u128::from(rate.count.max(1));
    i64::try_from(token).unwrap_or(i64::MAX).max(1)
}

fn burst_us(rate: Rate) -> i64 {
    token_us(rate).max(1_000_000)
}

/// One second's worth of tokens, at least one.
fn burst(rate: Rate) -> u64 {
    let per_second =
        u128::from(rate.count) * u128::from(MICRO) * 1_000 / rate.period.as_millis().max(1);
    u64::try_from(per_second).unwrap_or(u64::MAX).max(MICRO)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    const TEN_PER_SECOND: Rate = Rate { count: 10, period: Duration::from_secs(1) };

    #[test]
    fn a_bucket_gives_its_burst_then_its_rate() {
        let bucket = Bucket::full(TEN_PER_SECOND, at(0));
        assert_eq!(bucket.available(TEN_PER_SECOND, at(0)), 10);
        let empty = bucket.take(TEN_PER_SECOND, 10, at(0));
        assert_eq!(empty.available(TEN_PER_SECOND, at(99)), 0);
        assert_eq!(empty.next_at(TEN_PER_SECOND, at(0)), at(100));
        assert_eq!(empty.available(TEN_PER_SECOND, at(100)), 1);
        assert_eq!(empty.available(TEN_PER_SECOND, at(1_000_000)), 10);
    }

    #[test]
    fn tokens_that_were_not_used_are_there_for_the_next() {
        let bucket = Bucket::full(TEN_PER_SECOND, at(0)).take(TEN_PER_SECOND, 10, at(0));
        let back = bucket.put_back(TEN_PER_SECOND, 9, at(0));
        assert_eq!(back.available(TEN_PER_SECOND, at(0)), 9);
        let more = back.put_back(TEN_PER_SECOND, 9, at(0));
        assert_eq!(more.available(TEN_PER_SECOND, at(0)), 10, "never over full");
    }

    #[test]
    fn the_bucket_of_a_lane_is_one_number() {
        let mut full_at = None;
        for start in 0..10 {
            assert_eq!(free_at(full_at, TEN_PER_SECOND, at(0)), None, "start {start}");
            full_at = Some(full_after_start(full_at, TEN_PER_SECOND, at(0)));
        }
        assert_eq!(free_at(full_at, TEN_PER_SECOND, at(0)), Some(at(100)));
        assert_eq!(free_at(full_at, TEN_PER_SECOND, at(99)), Some(at(100)));
        assert_eq!(free_at(full_at, TEN_PER_SECOND, at(100)), None);
        let hourly = Rate { count: 1, period: Duration::from_secs(3600) };
        let full_at = Some(full_after_start(None, hourly, at(5)));
        assert_eq!(free_at(full_at, hourly, at(5)), Some(at(3_600_005)));
        assert_eq!(free_at(full_at, hourly, at(3_600_005)), None);
        // The clock went back by a day, the policy was made faster: nobody waits for what was.
        assert_eq!(free_at(full_at, hourly, at(-86_400_000)), Some(at(-82_800_000)));
        assert_eq!(free_at(full_at, TEN_PER_SECOND, at(5)), Some(at(105)));
    }

    #[test]
    fn the_nth_start_of_a_lane_is_when_its_starts_one_by_one_come_to_it() {
        let slow = Rate { count: 2, period: Duration::from_secs(60) };
        for rate in [TEN_PER_SECOND, slow] {
            let (mut full_at, mut now) = (None, at(0));
            for n in 1..=25 {
                let told = nth_free_at(None, rate, n, at(0));
                now = free_at(full_at, rate, now).unwrap_or(now);
                assert_eq!(told, (now > at(0)).then_some(now), "start {n}");
                full_at = Some(full_after_start(full_at, rate, now));
            }
        }
        let once = Some(full_after_start(None, slow, at(0)));
        assert_eq!(nth_free_at(once, slow, 2, at(0)), Some(at(60_000)));
        assert_eq!(nth_free_at(once, slow, 2, at(45_000)), Some(at(75_000)), "it did not start");
        let endless = nth_free_at(once, slow, u64::MAX, at(0)).expect("it is far away");
        assert!(endless > at(60_000));
    }

    #[test]
    fn the_nth_start_under_a_rate_has_its_moment() {
        let half = Bucket::full(TEN_PER_SECOND, at(0)).take(TEN_PER_SECOND, 5, at(0));
        assert_eq!(half.nth_at(TEN_PER_SECOND, 5, at(0)), at(0));
        assert_eq!(half.nth_at(TEN_PER_SECOND, 6, at(0)), at(100));
        assert_eq!(half.nth_at(TEN_PER_SECOND, 105, at(0)), at(10_000), "beyond the burst, too");
    }

    #[test]
    fn a_slow_rate_keeps_its_fractions() {
        let hourly = Rate { count: 1, period: Duration::from_secs(3600) };
        let mut bucket = Bucket::full(hourly, at(0)).take(hourly, 1, at(0));
        for step in 1..3600 {
            bucket = bucket.take(hourly, 0, at(step * 1_000));
            assert_eq!(bucket.available(hourly, at(step * 1_000)), 0, "second {step}");
        }
        assert_eq!(bucket.available(hourly, at(3_601_000)), 1);
    }

    #[test]
    fn a_clock_that_jumps_neither_fills_nor_empties_the_bucket() {
        // P43: buckets went negative, or full, when a clock was set back.
        let bucket = Bucket::full(TEN_PER_SECOND, at(10_000)).take(TEN_PER_SECOND, 10, at(10_000));
        let back = bucket.take(TEN_PER_SECOND, 0, at(0));
        assert_eq!(back.available(TEN_PER_SECOND, at(0)), 0);
        assert_eq!(back.available(TEN_PER_SECOND, at(10_100)), 1);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_stop_a_rate() {
        let bucket =
            Bucket::full(TEN_PER_SECOND, at(3_600_000)).take(TEN_PER_SECOND, 10, at(3_600_000));
        assert_eq!(bucket.set_back(at(3_599_500)), None, "a look that was overtaken");
        let back = bucket.set_back(at(0)).expect("an hour back");
        assert_eq!(back.available(TEN_PER_SECOND, at(0)), 0, "nothing is given away");
        assert_eq!(back.available(TEN_PER_SECOND, at(100)), 1);
    }

    #[test]
    fn a_lane_that_arrives_behind_an_urgent_one_waits_for_one_turn_only() {
        // P38: 500 urgent starts must not push the newcomer 500 turns back.
        let (urgent, calm) = (Priority::new(10).expect("in range"), Priority::default());
        let (mut queue, mut hurried) = (0, 0);
        for _ in 0..500 {
            hurried = vtime_after_start(hurried, 1);
            queue = queue_vtime_after_start(queue, hurried, urgent);
        }
        let newcomer = vtime_on_arrival(i64::MIN, queue);
        assert!(turn(newcomer, calm) <= TURN);
        assert_eq!(queue_vtime_after_start(queue, 0, calm), queue, "it never goes back");
    }

    #[test]
    fn a_level_of_priority_is_worth_its_waiting() {
        let low = rank(at(0), Priority::new(0).expect("in range"));
        let high_soon = rank(at(599_999), Priority::new(1).expect("in range"));
        let high_late = rank(at(600_001), Priority::new(1).expect("in range"));
        assert!(high_soon < low && low < high_late);
    }
}
