//! One timer for thousands: a wheel of seconds, on which each follower stands once.

use std::time::Duration;

use tokio::time::Instant;

/// How far the wheel turns at once. Nothing is done later than it should be; up to so much sooner it may.
pub(in crate::connection) const TICK: Duration = Duration::from_secs(1);
/// Ticks of one turn. What is due later is looked at once a turn.
const SLOTS: u32 = 32;

/// Who is looked at when.
pub(in crate::connection) struct Wheel {
    began: Instant,
    /// The tick that was last turned to.
    tick: u32,
    slots: Vec<Vec<u32>>,
}

impl Wheel {
    pub(in crate::connection) fn new(began: Instant) -> Self {
        Self { began, tick: 0, slots: vec![Vec::new(); SLOTS as usize] }
    }

    /// Has a follower looked at in the tick that a moment is in, but not in one that is over. Answers when it
    /// is looked at: in the tick `due`, as it was set before, if that is sooner.
    pub(in crate::connection) fn set(&mut self, follower: u32, due: u32, moment: Instant) -> u32 {
        let sooner = self.tick_of(moment).clamp(self.tick + 1, self.tick + SLOTS - 1);
        if due > self.tick && due <= sooner {
            return due;
        }
        self.slots[(sooner % SLOTS) as usize].push(follower);
        sooner
    }

    /// Who is to be looked at up to now, and by which tick.
    pub(in crate::connection) fn turn(&mut self, now: Instant) -> Vec<(u32, u32)> {
        let mut due = Vec::new();
        while self.tick < self.tick_of(now) {
            self.tick += 1;
            let slot = std::mem::take(&mut self.slots[(self.tick % SLOTS) as usize]);
            due.extend(slot.into_iter().map(|follower| (self.tick, follower)));
        }
        due
    }

    /// When it turns next.
    pub(in crate::connection) fn next(&self) -> Instant {
        self.began + TICK * (self.tick + 1)
    }

    fn tick_of(&self, moment: Instant) -> u32 {
        u32::try_from(moment.saturating_duration_since(self.began).as_secs()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_is_looked_at_in_the_second_that_it_is_due_and_not_before() {
        let began = Instant::now();
        let mut wheel = Wheel::new(began);
        let at = |ms| began + Duration::from_millis(ms);
        assert_eq!(wheel.set(7, 0, at(14_900)), 14);
        assert_eq!(wheel.set(8, 0, at(300)), 1, "not in a second that is over");
        assert_eq!(wheel.set(9, 0, at(1_000_000)), 31, "once a turn");
        assert_eq!(wheel.set(9, 31, at(32_000)), 31, "it is looked at before");
        assert_eq!(wheel.turn(at(999)), []);
        assert_eq!(wheel.next(), at(1_000));
        assert_eq!(wheel.turn(at(1_000)), [(1, 8)]);
        assert_eq!(wheel.turn(at(40_000)), [(14, 7), (31, 9)]);
    }
}
