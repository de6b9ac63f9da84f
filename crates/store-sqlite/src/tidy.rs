//! What becomes due without anybody asking for it by name: scheduled tasks, dead keys, ended
//! sessions, idle lanes;
//! and the order of a queue, when its policy changes it.

use relais_core::Timestamp;
use relais_store::Pool;
use rusqlite::params;

use crate::fault::Fault;
use crate::ledger::{Head, Phase, Started, id_at};
use crate::row::{TaskRow, rank_of};
use crate::scribe::Scribe;
use crate::sql;

/// Scheduled tasks made ready at once: bounds how long other writes wait.
const PROMOTED_MAX: usize = 1_000;
/// Idempotency keys removed at once.
const KEYS_MAX: i64 = 1_000;
/// Lanes removed at once, of each of a few queues.
const LANES_MAX: i64 = 100;

impl Scribe<'_> {
    /// Makes scheduled tasks ready whose moment has come, in at most `limit` pools, which are
    /// named; and cleans up a little.
    pub(crate) fn tidy(&mut self, now: Timestamp, limit: usize) -> Result<Vec<Pool>, Fault> {
        self.hot.idem_sweep.execute((now.as_ms(), KEYS_MAX))?;
        self.sweep_sessions(now)?;
        let mut room = PROMOTED_MAX;
        let mut pools = Vec::new();
        for pool in self.ledger.ripe_pools(now.as_ms()).into_iter().take(limit) {
            let promoted = self.promote(pool, now, room)?;
            room -= promoted;
            if promoted > 0 {
                pools.push(self.ledger.pool_name(pool));
            }
            if room == 0 {
                break;
            }
        }
        if let Some(queue) = self.sweep_next() {
            let vtime = self.ledger.queue(queue).vtime;
            self.ledger.flush_lanes(&mut self.hot)?;
            self.ledger.lanes.sweep(&mut self.hot, queue, vtime, now, LANES_MAX)?;
        }
        Ok(pools)
    }

    /// The queue whose lanes are swept: each in turn.
    fn sweep_next(&mut self) -> Option<usize> {
        let count = self.ledger.queue_count();
        self.swept = if self.swept + 1 < count { self.swept + 1 } else { 0 };
        (count > 0).then_some(self.swept)
    }

    /// Makes up to `max` scheduled tasks of a pool ready; answers how many.
    pub(crate) fn promote(
        &mut self,
        pool: usize,
        now: Timestamp,
        max: usize,
    ) -> Result<usize, Fault> {
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        let ripe: Vec<TaskRow> = self
            .hot
            .task_ripe
            .query_and_then((id_at(pool), now.as_ms(), max), TaskRow::read)?
            .collect::<Result<_, _>>()?;
        let count = ripe.len();
        for row in ripe {
            self.recent.take(row.n);
            self.set_phase(row, Phase::Ready)?;
        }
        Ok(count)
    }

    /// Sets the order in which the tasks of each lane start. A change goes through all tasks of the
    /// queue that are not terminal: policies seldom change their order.
    pub(crate) fn set_order(&mut self, queue: usize, is_strict: bool) -> Result<(), Fault> {
        if self.ledger.queue(queue).is_strict == is_strict {
            return Ok(());
        }
        self.ledger.queue_mut(queue).is_strict = is_strict;
        self.ledger.flush(&mut self.hot, self.format)?;
        if is_strict && self.ledger.queue(queue).started > 0 {
            for n in self.numbers(sql::HELD_OF_QUEUE, id_at(queue))? {
                self.set_order_of(n, is_strict)?;
            }
        }
        for line in self.numbers(sql::LANES_OF_QUEUE, id_at(queue))? {
            for n in self.numbers(sql::LANE_QUEUED, line)? {
                self.set_order_of(n, is_strict)?;
            }
            let home = self.ledger.home(&mut self.hot, line)?;
            let (lane, at) = self.ledger.lanes.touch(home);
            lane.lines[at].head = Head::Stale;
            lane.lines[at].forget_holder();
        }
        self.ledger.flush_lanes(&mut self.hot)
    }

    /// A queued task gets its place; one that has started holds its lane from
    /// now on, or stays as it is.
    fn set_order_of(&mut self, n: i64, is_strict: bool) -> Result<(), Fault> {
        let Some(mut row) = self.find_n(n)? else { return Ok(()) };
        let before = row.standing();
        if row.phase != Phase::None {
            row.place = Some(if is_strict { 0 } else { rank_of(&row.task) });
        }
        if is_strict && row.started == Started::Fair {
            row.started = Started::Strict;
        }
        self.rewrite(&row, row.task.due_at(), before, row.standing())?;
        self.recent.keep(row);
        Ok(())
    }

    fn numbers(&self, statement: &str, of: i64) -> Result<Vec<i64>, Fault> {
        let mut select = self.conn.prepare_cached(statement)?;
        let numbers = select.query_map(params![of], |row| row.get(0))?;
        Ok(numbers.collect::<Result<_, _>>()?)
    }
}
