//! Whose turn it is: walks the lanes of a pool in order, and starts what the rules let start.
//!
//! The order of lanes and of the tasks within them is that of two indexes. A lane whose tasks may not
//! start costs one row of the first, and none of the second.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use relais_core::lane::{
    Bucket, free_at, full_after_start, held_ms_max, queue_vtime_after_start, vtime_after_start,
};
use relais_core::{BodyKind, Command, Credentials, Order, Timestamp, step};
use relais_store::{Changed, Claim, Claimed, Claims, StoredBody};

use crate::bodies::stored_body;
use crate::fault::Fault;
use crate::hash::NumberMap;
use crate::ledger::{Front, Head, Home, Phase, Standing, id_at};
use crate::row::{TaskRow, body_key};
use crate::scribe::Scribe;

/// Scheduled tasks of the pool made ready by one claim; the others by the next, or by `due`.
const PROMOTED_MAX: usize = 1_000;
/// Overdue tasks looked at by one claim, so that their lanes do not wait for them.
const OVERDUE_MAX: i64 = 64;
/// Lanes read at once.
const LANES_READ: i64 = 16;
/// Tasks of one lane read at once: first as many, then twice as many each time…
const TASKS_READ_MIN: i64 = 2;
/// … up to this.
const TASKS_READ_MAX: i64 = 128;
/// Lanes looked at beyond those that can be served, to say whether any of them wants a slot.
const LANES_LEFT_MAX: usize = 100;
/// Lanes put back into the order by one claim, whose rate held them; the others by the next.
const FREED_MAX: i64 = 1_000;
/// Tasks that may turn out unable to start, before a claim gives up.
const REFUSED_MAX: usize = 1_000;

/// A walk along the lanes of a pool.
struct Walk<'a> {
    claim: &'a Claim,
    pool: usize,
    queue: usize,
    /// Lanes read in the order that is stored, not looked at yet.
    stored: VecDeque<(Front, i64)>,
    /// Where that reading stopped.
    read_to: Front,
    is_read: bool,
    /// Lanes that were looked at, with the turn they have now.
    again: BinaryHeap<Reverse<(Front, usize, usize)>>,
    /// Tasks that were read ahead.
    tasks: NumberMap<i64, Ahead>,
    wants_slot: bool,
    /// When the first of the lanes that their rate holds may start again.
    free_at: Option<i64>,
}

/// What became of a task whose turn it was.
enum Turn {
    Started(Claimed),
    /// A body of it cannot be read: it has ended.
    Spoiled(Changed),
    /// The rules will not have it.
    Lapsed,
}

/// What whoever runs an attempt is given.
type Bodies = Vec<(BodyKind, StoredBody)>;

/// The tasks of a line that were read ahead.
struct Ahead {
    numbers: VecDeque<i64>,
    /// Place and arrival of the last one read.
    read_to: (i64, i64),
    is_read: bool,
    next_read: i64,
}

impl Scribe<'_> {
    pub(crate) fn claim(&mut self, claim: &Claim) -> Result<Claims, Fault> {
        let pool = &claim.pool;
        let Some(pool) = self.ledger.pool_named(pool) else { return Ok(Claims::default()) };
        let queue = self.ledger.pool(pool).queue;
        if self.ledger.has_ripe(pool, claim.now.as_ms()) {
            self.promote(pool, claim.now, PROMOTED_MAX)?;
        }
        self.set_order(queue, claim.policy.order == Order::Strict)?;
        if let Some(back) =
            self.ledger.queue(queue).bucket.and_then(|bucket| bucket.set_back(claim.now))
        {
            self.ledger.queue_mut(queue).bucket = Some(back);
        }
        if self.ledger.queue(queue).is_paused {
            return Ok(Claims::default());
        }
        self.lapse(claim.now)?;
        self.ledger.flush_lanes(&mut self.hot)?;
        let free_at = self.free_lanes(pool, claim)?;
        let walk = Walk {
            claim,
            pool,
            queue,
            stored: VecDeque::new(),
            read_to: (i64::MIN, i64::MIN, i64::MIN),
            is_read: false,
            again: BinaryHeap::new(),
            tasks: NumberMap::default(),
            wants_slot: false,
            free_at,
        };
        walk.run(self)
    }

    /// Puts lanes back into the order whose rate need not hold them any more. Answers when the first of
    /// the others may start.
    ///
    /// Always looked up, which is three steps into an index: a lane may be held while it is empty, and by
    /// starts of another pool, so that what this pool started says nothing about it.
    fn free_lanes(&mut self, pool: usize, claim: &Claim) -> Result<Option<i64>, Fault> {
        let rate = claim.policy.rate_per_lane;
        let now = claim.now.as_ms();
        let far = now.saturating_add(rate.map_or(0, held_ms_max));
        let due = (id_at(pool), now, far, FREED_MAX);
        let lines: Vec<i64> =
            self.hot.lane_due.query_map(due, |row| row.get(0))?.collect::<Result<_, _>>()?;
        for line in lines {
            let home = self.ledger.home(&mut self.hot, line)?;
            let (lane, _) = self.ledger.lanes.touch(home);
            let held = rate.and_then(|rate| free_at(lane.full_at, rate, claim.now));
            lane.free_at = held.map(Timestamp::as_ms);
        }
        self.ledger.flush_lanes(&mut self.hot)?;
        let next = self.hot.lane_next.query_map([id_at(pool)], |row| row.get(0))?.next();
        Ok(next.transpose()?)
    }

    /// Takes tasks whose deadline has passed out of the ready order, where they would be in the way.
    fn lapse(&mut self, now: Timestamp) -> Result<(), Fault> {
        let mut overdue: Vec<i64> = Vec::new();
        let mut rows = self.hot.task_overdue.query((now.as_ms(), OVERDUE_MAX))?;
        while let Some(row) = rows.next()? {
            if row.get::<_, i64>(1)? == Phase::Ready as i64 {
                overdue.push(row.get(0)?);
            }
        }
        drop(rows);
        for n in overdue {
            if let Some(row) = self.find_n(n)? {
                self.set_phase(row, Phase::Lapsed)?;
            }
        }
        Ok(())
    }

    /// Moves a queued task to another phase of waiting.
    pub(crate) fn set_phase(&mut self, mut row: TaskRow, phase: Phase) -> Result<(), Fault> {
        self.hot.task_phase.execute((row.n, phase as i64))?;
        let home = self.home(&row)?;
        let before = row.standing();
        let after = Standing { phase, sched_at: None, ..before };
        self.ledger.shift(home, row.n, Some(before), Some(after));
        (row.phase, row.sched_at) = (phase, None);
        self.recent.keep(row);
        Ok(())
    }

    /// The bodies that an attempt needs, or the one that cannot be read.
    fn claimed_bodies(&mut self, row: &TaskRow) -> Result<Result<Bodies, BodyKind>, Fault> {
        let mut bodies = Vec::with_capacity(1);
        let life = &row.task.life;
        let wanted = [
            (BodyKind::Input, row.task.spec.input_bytes > 0),
            (BodyKind::Checkpoint, life.has_checkpoint),
            (BodyKind::Sealed, life.credentials == Credentials::Sealed),
        ];
        for (kind, must_be_there) in wanted {
            // Without bytes an input may still have a head.
            if !must_be_there && kind != BodyKind::Input {
                continue;
            }
            let mut rows = self.hot.body_read.query([body_key(row.n, kind)])?;
            match rows.next()?.map(|body| stored_body(body, &self.shared.files)) {
                Some(Ok(body)) => bodies.push((kind, body)),
                None if !must_be_there => {}
                None | Some(Err(Fault::Body(_))) => return Ok(Err(kind)),
                Some(Err(fault)) => return Err(fault),
            }
        }
        Ok(Ok(bodies))
    }
}

impl Walk<'_> {
    fn run(mut self, scribe: &mut Scribe<'_>) -> Result<Claims, Fault> {
        let (mut started, mut spoiled) = (Vec::new(), Vec::new());
        let mut refused = 0;
        while started.len() < self.claim.nonces.len() && refused < REFUSED_MAX {
            let Some((front, home)) = self.next_eligible(scribe)? else { break };
            if self.tokens(scribe) == Some(0) {
                self.again.push(Reverse((front, home.lane, home.line)));
                break;
            }
            let nonce = self.claim.nonces[started.len()];
            match self.start(scribe, front, home, nonce)? {
                Turn::Started(claimed) => started.push(claimed),
                Turn::Spoiled(changed) => {
                    spoiled.push(changed);
                    refused += 1;
                }
                Turn::Lapsed => refused += 1,
            }
        }
        let is_any_left = self.next_eligible(scribe)?.is_some();
        let is_held = is_any_left && self.tokens(scribe) == Some(0);
        if is_held {
            self.look_for_wants(scribe)?;
        }
        let policy = &self.claim.policy;
        let next_token = policy
            .rate
            .filter(|_| is_held)
            .map(|rate| self.bucket(scribe, rate).next_at(rate, self.claim.now));
        let next_at = next_token.into_iter().chain(self.free_at.map(Timestamp::from_ms)).min();
        Ok(Claims { started, spoiled, next_at, more: self.wants_slot || (is_any_left && !is_held) })
    }

    /// The next lane in order.
    fn next(&mut self, scribe: &mut Scribe<'_>) -> Result<Option<(Front, Home)>, Fault> {
        if self.stored.is_empty() && !self.is_read {
            let (turn, rank, first) = self.read_to;
            let from = (id_at(self.pool), turn, rank, first, LANES_READ);
            let mut rows = scribe.hot.lane_turns.query(from)?;
            while let Some(row) = rows.next()? {
                self.read_to = (row.get(0)?, row.get(1)?, row.get(2)?);
                self.stored.push_back((self.read_to, row.get(3)?));
            }
            self.is_read = self.stored.len() < usize::try_from(LANES_READ).unwrap_or_default();
        }
        let again = self.again.peek().map(|Reverse((front, ..))| *front);
        match self.stored.front() {
            Some((front, line)) if again.is_none_or(|again| *front < again) => {
                let found = (*front, *line);
                self.stored.pop_front();
                let home = scribe.ledger.home(&mut scribe.hot, found.1)?;
                Ok(Some((found.0, home)))
            }
            _ => Ok(self
                .again
                .pop()
                .map(|Reverse((front, lane, line))| (front, Home { lane, line }))),
        }
    }

    /// The next lane that has a slot.
    fn next_eligible(&mut self, scribe: &mut Scribe<'_>) -> Result<Option<(Front, Home)>, Fault> {
        let policy = &self.claim.policy;
        let is_below =
            |leases: u64, limit: Option<u32>| limit.is_none_or(|max| leases < max.into());
        while let Some((front, home)) = self.next(scribe)? {
            if self.claim.is_held(scribe.ledger.lanes.lane(home.lane).key.as_ref()) {
                continue;
            }
            if !is_below(scribe.ledger.queue(self.queue).leases, policy.concurrency) {
                // No lane of the queue has a slot: this one speaks for all.
                self.wants_slot = true;
                return Ok(None);
            }
            if is_below(scribe.ledger.lanes.lane(home.lane).leases, policy.concurrency_per_lane) {
                return Ok(Some((front, home)));
            }
            self.wants_slot = true;
        }
        Ok(None)
    }

    /// While a rate holds the queue back: whether some lane would want a slot as well.
    fn look_for_wants(&mut self, scribe: &mut Scribe<'_>) -> Result<(), Fault> {
        for _ in 0..LANES_LEFT_MAX {
            if self.wants_slot || self.next_eligible(scribe)?.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Starts the first task of a lane, unless it turns out that it cannot.
    fn start(
        &mut self,
        scribe: &mut Scribe<'_>,
        front: Front,
        home: Home,
        nonce: u128,
    ) -> Result<Turn, Fault> {
        let Some(mut row) = self.take(scribe, front, home)? else {
            return Err(Fault::damaged(format!(
                "task {} is next in its lane, but is not ready",
                front.2
            )));
        };
        let claim = self.claim;
        let now = claim.start_of(&row.task);
        let lease = claim.lease(nonce);
        let Ok(step) = step(&row.task, Command::Start { lease }, &claim.policy, now) else {
            // Only its deadline can stand against it: time will end it.
            scribe.set_phase(row, Phase::Lapsed)?;
            self.push_next(scribe, home)?;
            return Ok(Turn::Lapsed);
        };
        let bodies = match scribe.claimed_bodies(&row)? {
            Ok(bodies) => bodies,
            Err(body) => {
                let spoilt = Command::Spoil { nonce: None, body };
                let step = relais_core::step(&row.task, spoilt, &claim.policy, now)
                    .map_err(|refused| Fault::damaged(refused.to_string()))?;
                let changed = scribe.take(row, step, &[], now)?.changed;
                self.push_next(scribe, home)?;
                return Ok(Turn::Spoiled(changed));
            }
        };
        self.pay(scribe, home, &row);
        let (pos, told) = scribe.change(&mut row, step.life, &step.entries, now)?;
        self.push_next(scribe, home)?;
        let task = row.task.clone();
        scribe.recent.keep(row);
        let (entries, effects) = (step.entries, step.effects);
        let changed = Changed { task, started_at: None, entries, pos, effects, told };
        Ok(Turn::Started(Claimed { changed, nonce, bodies }))
    }

    /// The lane, the queue and the rate pay for a start.
    fn pay(&self, scribe: &mut Scribe<'_>, home: Home, row: &TaskRow) {
        let claim = self.claim;
        let spec = &row.task.spec;
        let (lane, _) = scribe.ledger.lanes.touch(home);
        lane.vtime = vtime_after_start(lane.vtime, claim.policy.weight(spec.lane.as_ref()));
        let vtime = lane.vtime;
        if let Some(rate) = claim.policy.rate_per_lane {
            let full_at = full_after_start(lane.full_at, rate, claim.now);
            lane.full_at = Some(full_at);
            lane.free_at = free_at(Some(full_at), rate, claim.now).map(Timestamp::as_ms);
        }
        let bucket =
            claim.policy.rate.map(|rate| self.bucket(scribe, rate).take(rate, 1, claim.now));
        let queue = scribe.ledger.queue_mut(self.queue);
        queue.vtime = queue_vtime_after_start(queue.vtime, vtime, spec.priority);
        queue.bucket = bucket.or(queue.bucket);
    }

    /// The task at the front of a lane.
    fn take(
        &mut self,
        scribe: &mut Scribe<'_>,
        front: Front,
        home: Home,
    ) -> Result<Option<TaskRow>, Fault> {
        if self.is_strict() {
            return Ok(scribe.find_n(front.2)?.filter(|row| row.phase == Phase::Ready));
        }
        let line = scribe.ledger.lanes.line(home).id;
        let ahead = self.tasks.entry(line).or_insert_with(Ahead::new);
        match ahead.next(scribe, line)? {
            Some(n) => scribe.find_n(n),
            None => Ok(None),
        }
    }

    /// Puts a lane back into the order, with its next task.
    fn push_next(&mut self, scribe: &mut Scribe<'_>, home: Home) -> Result<(), Fault> {
        if self.is_strict() {
            // The task that started holds the lane; one that could not makes it wait for the next claim.
            return Ok(());
        }
        let line = scribe.ledger.lanes.line(home).id;
        let ahead = self.tasks.entry(line).or_insert_with(Ahead::new);
        let next = match ahead.peek(scribe, line)? {
            Some(n) => scribe.ranked(n)?,
            None => None,
        };
        let (lane, at) = scribe.ledger.lanes.touch(home);
        lane.lines[at].head = Head::Known(next);
        if let Some(at) = lane.free_at {
            self.free_at = self.free_at.into_iter().chain(next.map(|_| at)).min();
        } else if let Some(next) = next {
            self.again.push(Reverse((next.front(lane.vtime), home.lane, home.line)));
        }
        Ok(())
    }

    fn is_strict(&self) -> bool {
        self.claim.policy.order == Order::Strict
    }

    fn bucket(&self, scribe: &Scribe<'_>, rate: relais_core::Rate) -> Bucket {
        let bucket = scribe.ledger.queue(self.queue).bucket;
        bucket.unwrap_or_else(|| Bucket::full(rate, self.claim.now))
    }

    /// Starts that the rate allows; `None` without a rate.
    fn tokens(&self, scribe: &Scribe<'_>) -> Option<u64> {
        let rate = self.claim.policy.rate?;
        Some(self.bucket(scribe, rate).available(rate, self.claim.now))
    }
}

impl Ahead {
    const fn new() -> Self {
        Self {
            numbers: VecDeque::new(),
            read_to: (i64::MIN, i64::MIN),
            is_read: false,
            next_read: TASKS_READ_MIN,
        }
    }

    /// The next task of the line, which is taken.
    fn next(&mut self, scribe: &mut Scribe<'_>, line: i64) -> Result<Option<i64>, Fault> {
        self.read(scribe, line)?;
        Ok(self.numbers.pop_front())
    }

    /// The next task of the line.
    fn peek(&mut self, scribe: &mut Scribe<'_>, line: i64) -> Result<Option<i64>, Fault> {
        self.read(scribe, line)?;
        Ok(self.numbers.front().copied())
    }

    /// Makes sure that the next task is known, if there is one.
    fn read(&mut self, scribe: &mut Scribe<'_>, line: i64) -> Result<(), Fault> {
        if !self.numbers.is_empty() || self.is_read {
            return Ok(());
        }
        let (place, n) = self.read_to;
        let mut rows = scribe.hot.task_ready.query((line, place, n, self.next_read))?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            self.read_to = (row.get(0)?, row.get(1)?);
            self.numbers.push_back(self.read_to.1);
            count += 1;
        }
        self.is_read = count < self.next_read;
        self.next_read = (self.next_read * 2).min(TASKS_READ_MAX);
        Ok(())
    }
}
