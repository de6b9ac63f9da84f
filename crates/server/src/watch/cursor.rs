//! One follower's place in what it follows, and what is to be done for it next. It knows no transport,
//! reads no clock and no store: whoever drives it brings the time and what happened.

use std::ops::Range;
use std::time::Duration;

use relais_api::After;
use relais_core::{Status, limits};
use relais_engine::{Happening, Subscription, View};
use tokio::time::Instant;

/// How long a stream is silent at most.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(15);

/// From where a client wants to read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resume {
    /// After this number; 0 is from the start.
    After(u64),
    /// After all that has happened.
    Now,
    /// After something that is no number of ours.
    Unknown,
}

impl From<After> for Resume {
    fn from(after: After) -> Self {
        match after {
            After::Number(number) => Self::After(number),
            After::Now => Self::Now,
        }
    }
}

impl Resume {
    /// The number to go on after, and whether that is a new beginning, in a log that ends with
    /// `last`: a number beyond is of another store, or of a time that a restore undid, and whoever
    /// waited there would miss all that comes before.
    pub(crate) fn within(self, last: u64) -> (u64, bool) {
        match self {
            Self::After(after) if after <= last => (after, false),
            Self::Now => (last, false),
            Self::After(_) | Self::Unknown => (0, true),
        }
    }
}

/// Where a follower is.
#[derive(Debug)]
pub(crate) struct Cursor {
    /// The number it resumes behind: all before was told, or is not wanted.
    after: u64,
    /// The index of the next happening in the channel; `None` if the log must be read first.
    next: Option<u64>,
    /// When it ends, whatever happens.
    until: Instant,
    /// When it was told something last.
    told_at: Instant,
    /// Whether it is told something now and then, so that it is not taken for dead.
    is_stream: bool,
    /// Whether the task waits in its queue, as far as its events say.
    pub(crate) is_queued: bool,
    /// Why nothing more is told, once that is known: the last event was told, say.
    over: Option<End>,
}

/// How long a stream lives, or a connection with several: `chance` (0 to 1) draws it, so that those that
/// opened together do not end together.
pub(crate) fn life(chance: f64) -> Duration {
    limits::STREAM_LIFETIME_MAX.mul_f64(0.5 + chance / 2.0)
}

/// What is to be done for a follower.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// These of the view happened, and are to be told.
    Tell(Range<usize>),
    /// What is at hand does not go on where the follower is: the log must be read.
    Read,
    /// Nothing has happened for so long that this must be told.
    Quiet,
    /// Nothing until then, unless something happens.
    Wait(Instant),
    /// Nothing any more.
    End(End),
}

/// Why nothing more is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The log is over.
    Over,
    /// It was told already that nothing more comes now.
    Told,
    /// The task was erased.
    Gone,
    /// Its time is over: the client may come back, if it still has the right to.
    Late,
    /// The server stops.
    Stop,
    /// The client has closed its sending side.
    Left,
}

/// Happenings to be told, in order.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) happenings: Vec<Happening>,
    /// The index of the first, if they come from the channel.
    first: Option<u64>,
    /// Where a follower is that was told all of them.
    after: u64,
    next: Option<u64>,
    /// Whether they are all that is known.
    is_last: bool,
}

impl Batch {
    /// Part of what is at hand.
    pub(crate) fn of_view(view: &View, range: Range<usize>) -> Self {
        let next = view.first + range.end as u64;
        Self {
            first: Some(view.first + range.start as u64),
            after: 0,
            next: Some(next),
            is_last: range.end == view.recent.len(),
            happenings: view.recent[range].to_vec(),
        }
    }

    /// Part of the log, up to the number `end`. `next` is the index that was the channel's next before it
    /// was read, if nothing follows in the log.
    pub(crate) fn of_log(happenings: Vec<Happening>, end: u64, next: Option<u64>) -> Self {
        Self { happenings, first: None, after: end, next, is_last: next.is_some() }
    }
}

impl Cursor {
    /// A follower that waits for what has the index `next`, and has seen all before.
    pub(crate) fn new(next: u64, now: Instant, until: Instant) -> Self {
        Self {
            after: 0,
            next: Some(next),
            until,
            told_at: now,
            is_stream: false,
            is_queued: false,
            over: None,
        }
    }

    /// A stream, which begins with what the log has after a number. It ends with its life, or with the
    /// right to it, of which so much is `left`.
    pub(crate) fn stream(after: u64, now: Instant, left: Option<Duration>, life: Duration) -> Self {
        let until = now + left.map_or(life, |left| left.min(life));
        Self { after, next: None, is_stream: true, ..Self::new(0, now, until) }
    }

    /// The number it resumes behind.
    pub(crate) const fn after(&self) -> u64 {
        self.after
    }

    /// The index from which on it needs what is at hand.
    pub(crate) fn next(&self) -> u64 {
        self.next.unwrap_or(u64::MAX)
    }

    /// Whether its time is not over yet.
    pub(crate) fn waits(&self, now: Instant) -> bool {
        self.until > now
    }

    /// All up to this number is known in another way.
    pub(crate) fn skip_to(&mut self, number: u64) {
        self.after = self.after.max(number);
    }

    /// What is to be done now. `view` is what is at hand, at least from [`next`](Self::next) on.
    pub(crate) fn step(
        &mut self,
        of: &Subscription,
        view: &View,
        now: Instant,
        is_stopping: bool,
    ) -> Step {
        if let Some(end) = self.over {
            return Step::End(end);
        }
        if is_stopping {
            return Step::End(End::Stop);
        }
        if self.until <= now {
            return Step::End(End::Late);
        }
        let Some(next) = self.next.filter(|next| *next >= view.first) else { return Step::Read };
        let fresh = self.fresh(of, view, next);
        match (of, view.recent[fresh.clone()].first()) {
            (_, None) => {}
            // Erased tasks are told where there may be others.
            (Subscription::Task(_), Some(Happening::Erased(_))) => return Step::End(End::Gone),
            // What is between was made known before anybody followed, or is about to be.
            (Subscription::Task(_), Some(Happening::Event(event)))
                if event.entry.seq != self.after + 1 =>
            {
                return Step::Read;
            }
            (Subscription::Task(_), Some(_)) => {
                let is_event = |happening: &&Happening| matches!(happening, Happening::Event(_));
                let count = view.recent[fresh.clone()].iter().take_while(is_event).count();
                return Step::Tell(fresh.start..fresh.start + count);
            }
            (Subscription::Many(_), Some(_)) => return Step::Tell(fresh),
        }
        let due = if self.is_stream { self.told_at + SILENCE_MAX } else { self.until };
        if due <= now { Step::Quiet } else { Step::Wait(due.min(self.until)) }
    }

    /// The part of the view that was not told yet. Events that a reading of the log had already are
    /// passed over.
    fn fresh(&mut self, of: &Subscription, view: &View, next: u64) -> Range<usize> {
        let is_fresh = |happening: &Happening| match happening {
            Happening::Event(event) => of.number_of(event) > self.after,
            Happening::Erased(_) => true,
        };
        let start = usize::try_from(next - view.first).unwrap_or(usize::MAX);
        let start = start.min(view.recent.len());
        let later = &view.recent[start..];
        let stale = later.iter().take_while(|happening| !is_fresh(happening)).count();
        let fresh = later[stale..].iter().take_while(|happening| is_fresh(happening)).count();
        self.next = Some(next + stale as u64);
        start + stale..start + stale + fresh
    }

    /// The first `count` of a batch were told.
    pub(crate) fn told(&mut self, of: &Subscription, batch: &Batch, count: usize, now: Instant) {
        let told = &batch.happenings[..count];
        for happening in told {
            if let Happening::Event(event) = happening {
                self.after = of.number_of(event);
                self.is_queued = event.entry.data.kind().status() == Status::Queued;
            }
        }
        self.next = batch.first.map(|first| first + count as u64);
        self.told_at = now;
        if count < batch.happenings.len() {
            return;
        }
        self.next = batch.next;
        self.after = self.after.max(batch.after);
        // A terminal event that nothing follows yet ends the stream: a retry by hand begins another.
        if let (Subscription::Task(_), Some(Happening::Event(last))) = (of, told.last()) {
            let is_over = batch.is_last && last.entry.data.kind().is_terminal();
            self.over = is_over.then_some(End::Over);
        }
    }

    /// It was told that nothing happens.
    pub(crate) fn told_quiet(&mut self, now: Instant) {
        self.told_at = now;
    }

    /// Nothing more is told: its driver has said why.
    pub(crate) fn end(&mut self) {
        self.over = Some(End::Told);
    }
}

#[cfg(test)]
mod tests;
