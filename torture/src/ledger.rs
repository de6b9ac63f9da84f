//! The judge's own ledger: what it handed in, what it was told, and what reached its upstreams.
//!
//! Nothing here comes from Relais' own files; each entry is something the judge sent or received.

use std::collections::{BTreeSet, HashMap};

use crate::clock::{Moment, SECOND};
use crate::scene::{Door, Origin};
use crate::script::Script;
use crate::verdict::Verdict;

/// Something the judge wants done: one task, however often it has to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Intent {
    /// Where it is handed in.
    pub(crate) door: Door,
    /// What its upstream does.
    pub(crate) script: Script,
    /// By which method.
    pub(crate) method: &'static str,
    /// Its idempotency key.
    pub(crate) key: Option<String>,
    pub(crate) lane: Option<usize>,
    /// How long it is to wait at least.
    pub(crate) delay_ms: u64,
    /// By when it must be done, from when it may start; 0 is when the queue says.
    pub(crate) deadline_ms: u64,
    /// Bytes of its body.
    pub(crate) len: usize,
    /// When it was sent first.
    pub(crate) first_sent: Moment,
    /// How often it may have arrived.
    pub(crate) sends: u32,
    /// The tasks it became, as far as anybody said.
    pub(crate) ids: BTreeSet<String>,
}

/// What was asked of a task by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Asked {
    #[default]
    No,
    /// It was asked; what came of it is not known, or nothing did.
    Sent,
    /// It was asked, and answered as done.
    Done,
}

/// What is known of a task.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// The intent it came from.
    pub(crate) name: String,
    /// Whether anybody was told that it exists.
    pub(crate) is_acknowledged: bool,
    /// The call whose answer the submitter was given directly.
    pub(crate) direct: Option<usize>,
    /// The highest version anybody read.
    pub(crate) version: u64,
    /// Whether it was erased.
    pub(crate) erase: Asked,
    /// Whether it was canceled.
    pub(crate) cancel: Asked,
    /// When a hand was first laid on it: from then on an attempt may be stopped at any time.
    pub(crate) touched: Option<Moment>,
    /// Retries by hand that were sent.
    pub(crate) retries_sent: u32,
    /// Those that were answered as begun.
    pub(crate) retries_done: u32,
    /// The last checkpoint that was sent.
    pub(crate) checkpoint_sent: u64,
    /// The last checkpoint that was answered as stored.
    pub(crate) checkpoint_kept: u64,
}

impl Known {
    /// Notes that a hand is laid on the task now.
    pub(crate) fn touch(&mut self, now: Moment) {
        self.touched.get_or_insert(now);
    }
}

/// One call that reached an upstream.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// The intent, as the request named it.
    pub(crate) name: String,
    /// Behind which door.
    pub(crate) door: Door,
    pub(crate) origin: Origin,
    /// The lane, as the request named it.
    pub(crate) lane: String,
    /// `Relais-Task`.
    pub(crate) task: String,
    /// `Idempotency-Key`: it tells the runs of a task apart.
    pub(crate) key: String,
    /// In which life of the server.
    pub(crate) life: u32,
    /// When it arrived.
    pub(crate) begun: Moment,
    /// When it was answered, or the caller was gone.
    pub(crate) ended: Option<Moment>,
    /// The status it was answered with, if it was.
    pub(crate) answered: Option<u16>,
    /// Bytes of the answer.
    pub(crate) answer_len: usize,
}

/// What a worker says of its attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It succeeded, with a result that bears this number.
    Succeed(u64),
    /// It failed; another may follow, or not.
    Fail {
        /// Whether another may follow.
        retryable: bool,
    },
    /// It is given back.
    Release,
}

/// What Relais said to a settle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// Nothing that arrived.
    Nothing,
    /// 200: it is recorded.
    Recorded,
    /// 200 `replayed`: it had been recorded.
    Replayed,
    /// It was refused, with this code.
    Refused(String),
}

/// One settle that was sent.
#[derive(Debug, Clone)]
pub(crate) struct Settle {
    /// What it says.
    pub(crate) outcome: Outcome,
    /// When it was sent.
    pub(crate) sent: Moment,
    /// Whether a later attempt of the task had been leased before it was sent.
    pub(crate) is_stale: bool,
    /// What was answered.
    pub(crate) said: Said,
}

/// One lease that a worker was given.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    /// Of which task.
    pub(crate) task: String,
    pub(crate) attempt: u64,
    pub(crate) lane: String,
    /// When the answer arrived.
    pub(crate) got: Moment,
    /// Until when it is live for sure, as far as heartbeats were answered.
    pub(crate) live_until: Moment,
    /// The settles that named it.
    pub(crate) settles: Vec<Settle>,
}

/// What one follower of a task saw, over all its connections.
#[derive(Debug, Clone)]
pub(crate) struct Follow {
    pub(crate) task: String,
    /// Numbers and kinds of the events, in the order in which they came.
    pub(crate) seen: Vec<(u64, String)>,
}

/// What was counted on the way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    /// Kills at work.
    pub(crate) kills: u64,
    /// Kills while the server was starting.
    pub(crate) kills_at_start: u64,
    /// Looks at the store by another program.
    pub(crate) looks: u64,
    /// Times that the clock was set.
    pub(crate) clock_moves: u64,
    /// Times that the server was stopped for a while.
    pub(crate) suspends: u64,
    /// Requests that handed something in.
    pub(crate) submits: u64,
    /// Answers that acknowledged a task: 202, an item of a batch, or a replay.
    pub(crate) acknowledged: u64,
    /// Answers given directly by the hand-over.
    pub(crate) direct: u64,
    /// Submits without an answer.
    pub(crate) lost: u64,
    /// Submits that were sent again with their key.
    pub(crate) sent_again: u64,
    /// Submits refused by a limit.
    pub(crate) refused: u64,
    /// Heartbeats that were answered.
    pub(crate) heartbeats: u64,
    pub(crate) leases: u64,
    pub(crate) settles: u64,
    /// Settles with a token that was stale.
    pub(crate) stale_settles: u64,
    pub(crate) cancels: u64,
    /// Retries by hand sent.
    pub(crate) retries: u64,
    pub(crate) erasures: u64,
    /// Reads and long polls.
    pub(crate) reads: u64,
    /// Events that followers were sent.
    pub(crate) followed: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// What was handed in, by name.
    pub(crate) intents: HashMap<String, Intent>,
    /// What is known of tasks, by id.
    pub(crate) tasks: HashMap<String, Known>,
    /// Ids in the order in which they became known, for hands that look for work.
    pub(crate) recent: Vec<String>,
    /// What reached the upstreams, in order of arrival.
    pub(crate) calls: Vec<Call>,
    /// The leases given, by token.
    pub(crate) leases: HashMap<String, Lease>,
    /// The latest attempt of each task that was leased.
    pub(crate) latest_attempt: HashMap<String, u64>,
    /// The names of each strict lane, in the order in which they were handed in one by one.
    pub(crate) strict: HashMap<usize, Vec<String>>,
    /// Tasks that wait behind each door, as they were counted last.
    pub(crate) backlog: HashMap<Door, u64>,
    /// What followers saw.
    pub(crate) follows: Vec<Follow>,
    /// When the server's clock was set, and how many milliseconds ahead.
    pub(crate) clock: Vec<(Moment, i64)>,
    /// Spans of the server's time that came twice, because its clock was set back: from and to, as
    /// events tell times. Which of two events of different tasks came first
    /// is not to be told there.
    pub(crate) twice: Vec<(String, String)>,
    /// What was counted.
    pub(crate) counts: Counts,
    /// What was found at once.
    pub(crate) verdict: Verdict,
}

impl Ledger {
    /// Notes that the server's clock is `ahead_ms` ahead from now on.
    pub(crate) fn move_clock(&mut self, now: Moment, ahead_ms: i64) {
        self.counts.clock_moves += 1;
        let before_ms = self.clock.last().map_or(0, |(_, ahead_ms)| *ahead_ms);
        self.clock.push((now, ahead_ms));
        if ahead_ms < before_ms {
            // tidy: allow(clock): to be held against times that the server tells
            let here = jiff::Timestamp::now();
            let told = |ms: i64| format!("{:.3}", here + jiff::SignedDuration::from_millis(ms));
            let noticed_ms = i64::try_from(CLOCK_NOTICED_WITHIN / 1_000).unwrap_or(0);
            self.twice.push((told(ahead_ms), told(before_ms + noticed_ms)));
        }
    }

    /// Whether a time that an event tells came once only.
    pub(crate) fn came_once(&self, at: &str) -> bool {
        !self.twice.iter().any(|(from, to)| (from.as_str()..=to).contains(&at))
    }

    /// By how much less than the judge's watch says a server may wait between two moments, because
    /// its clock was set ahead: as far as the clock went ahead of where it was, in microseconds.
    pub(crate) fn set_ahead_between(&self, from: Moment, to: Moment) -> Moment {
        // The server notices a while later than the clock was set.
        let from = from.saturating_sub(CLOCK_NOTICED_WITHIN);
        let before = self.clock.iter().rev().find(|(at, _)| *at < from);
        let mut least = before.map_or(0, |(_, ahead_ms)| *ahead_ms);
        let mut most = 0;
        for (_, ahead_ms) in self.clock.iter().filter(|(at, _)| (from..=to).contains(at)) {
            most = most.max(ahead_ms - least);
            least = least.min(*ahead_ms);
        }
        u64::try_from(most).unwrap_or(0) * 1_000
    }

    /// Notes that an intent became a task, and that somebody was told so.
    pub(crate) fn acknowledge(&mut self, name: &str, id: &str) {
        self.counts.acknowledged += 1;
        self.meet(name, id).is_acknowledged = true;
    }

    /// Notes that a task belongs to an intent.
    pub(crate) fn meet(&mut self, name: &str, id: &str) -> &mut Known {
        if let Some(intent) = self.intents.get_mut(name)
            && !intent.ids.contains(id)
        {
            intent.ids.insert(id.to_owned());
        }
        if !self.tasks.contains_key(id) {
            self.recent.push(id.to_owned());
            let known = Known { name: name.to_owned(), ..Known::default() };
            self.tasks.insert(id.to_owned(), known);
        }
        self.tasks.get_mut(id).expect("it was just put there")
    }

    /// The intent of a task.
    pub(crate) fn intent_of(&self, id: &str) -> Option<&Intent> {
        self.intents.get(&self.tasks.get(id)?.name)
    }
}

/// How long the server may take to notice that its clock was set.
const CLOCK_NOTICED_WITHIN: Moment = 15 * SECOND;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_may_be_shorter_by_as_much_as_the_clock_was_set_ahead_meanwhile() {
        let mut ledger = Ledger::default();
        ledger.move_clock(100 * SECOND, 5_000);
        ledger.move_clock(200 * SECOND, -3_000);
        ledger.move_clock(300 * SECOND, 2_000);
        let between = |from, to| ledger.set_ahead_between(from * SECOND, to * SECOND);
        assert_eq!(between(10, 50), 0);
        assert_eq!(between(90, 110), 5 * SECOND);
        assert_eq!(between(150, 250), 0, "back is not ahead");
        assert_eq!(between(150, 350), 5 * SECOND, "from three behind to two ahead");
        assert_eq!(between(310, 320), 5 * SECOND, "it may have noticed only just now");
        assert_eq!(between(320, 330), 0);
        // Set back once, from now on for eight seconds and for as long as it may go unnoticed.
        let [(from, to)] = &ledger.twice[..] else { panic!("{:?}", ledger.twice) };
        assert!(from < to && !ledger.came_once(from) && !ledger.came_once(to));
        assert!(ledger.came_once("2026-01-01T00:00:00.000Z"));
    }
}
