//! Counts and orders that are kept, and the same once more, counted.

use std::collections::{BTreeMap, HashMap, HashSet};

use relais_core::{LaneKey, Source, Status};
use rusqlite::{Connection, Row};

use crate::fault::Fault;
use crate::ledger::{Front, Phase, Ranked, Standing, Started, each, run_by_columns};
use crate::row::TaskRow;
use crate::sql;

/// A queue's columns: its six counts, then ready, leases and started.
type QueueCounts = [i64; 9];

/// What is kept, and what was counted.
pub(super) struct Counts {
    queues: BTreeMap<i64, Kept<QueueCounts>>,
    /// Whether tasks are ready, and the first moment of the scheduled ones.
    pools: BTreeMap<i64, Kept<(i64, Option<i64>)>>,
    /// Live tasks by queue and source.
    sources: BTreeMap<(i64, Source), Kept<i64>>,
    lines: BTreeMap<i64, Line>,
    /// Queues with tasks that cannot be read, and so not be counted.
    left_out: HashSet<i64>,
}

#[derive(Default)]
struct Kept<T> {
    kept: T,
    counted: T,
}

/// A row of `lane`, with the names of where it is.
pub(super) struct Line {
    pub(super) pool_id: i64,
    pub(super) is_strict: bool,
    queue_id: i64,
    tenant: String,
    queue: String,
    purpose: i64,
    kind: i64,
    origin: String,
    key: String,
    vtime: i64,
    /// Whether its rate keeps it out of the order.
    is_held: bool,
    kept: LineCounts,
    counted: LineCounts,
    first: Option<Ranked>,
    /// If it is ready: the task that holds the lane.
    holder: Option<Ranked>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct LineCounts {
    /// Of the whole lane; counted of this line.
    leases: i64,
    tasks: i64,
    ready: i64,
    holder: Option<i64>,
    front: Option<Front>,
}

impl Counts {
    /// Reads what is kept.
    pub(super) fn read(conn: &Connection) -> Result<Self, Fault> {
        let mut counts = Self {
            queues: BTreeMap::new(),
            pools: BTreeMap::new(),
            sources: BTreeMap::new(),
            lines: BTreeMap::new(),
            left_out: HashSet::new(),
        };
        each(conn, sql::CHECK_QUEUES, |row| {
            let mut kept = [0; 9];
            for (column, count) in (1..).zip(&mut kept) {
                *count = row.get(column)?;
            }
            counts.queues.insert(row.get(0)?, Kept { kept, counted: [0; 9] });
            Ok(())
        })?;
        each(conn, sql::CHECK_POOLS, |row| {
            let kept = (row.get(1)?, row.get(2)?);
            counts.pools.insert(row.get(0)?, Kept { kept, counted: (0, None) });
            Ok(())
        })?;
        each(conn, sql::CHECK_SOURCES, |row| {
            let key = (row.get(0)?, Source(row.get(1)?));
            counts.sources.insert(key, Kept { kept: row.get(2)?, counted: 0 });
            Ok(())
        })?;
        each(conn, sql::CHECK_LANES, |row| {
            counts.lines.insert(row.get(0)?, Line::read(row)?);
            Ok(())
        })?;
        Ok(counts)
    }

    pub(super) fn line(&self, id: i64) -> Option<&Line> {
        self.lines.get(&id)
    }

    /// Leaves out the queue of a task that cannot be read: which of its counts the task is part of
    /// is not known.
    pub(super) fn leave_out(&mut self, line_id: i64) {
        if let Some(line) = self.lines.get(&line_id) {
            self.left_out.insert(line.queue_id);
        }
    }

    /// Counts a task.
    pub(super) fn add(&mut self, row: &TaskRow) {
        let standing = row.standing();
        let Some(line) = self.lines.get_mut(&row.line_id) else { return };
        line.add(row, standing);
        if let Some(pool) = self.pools.get_mut(&line.pool_id) {
            pool.counted.0 |= i64::from(is_ripe(standing));
            pool.counted.1 = pool.counted.1.into_iter().chain(standing.sched_at).min();
        }
        if let Some(source) = standing.source {
            self.sources.entry((line.queue_id, source)).or_default().counted += 1;
        }
        if let Some(queue) = self.queues.get_mut(&line.queue_id) {
            queue.counted[standing.status as usize] += 1;
            queue.counted[6] += i64::from(is_ripe(standing));
            queue.counted[7] += i64::from(standing.is_leased);
            queue.counted[8] += i64::from(standing.started != Started::No);
        }
    }

    /// What is kept otherwise than it was counted.
    pub(super) fn problems(mut self) -> Vec<String> {
        let left_out = std::mem::take(&mut self.left_out);
        let is_counted = |queue: &i64| !left_out.contains(queue);
        for line in self.lines.values().filter(|line| !is_counted(&line.queue_id)) {
            self.pools.remove(&line.pool_id);
        }
        self.queues.retain(|id, _| is_counted(id));
        self.sources.retain(|(queue, _), _| is_counted(queue));
        self.lines.retain(|_, line| is_counted(&line.queue_id));
        let mut problems = Vec::new();
        for (id, queue) in &self.queues {
            if queue.kept != queue.counted {
                let Kept { kept, counted } = queue;
                problems.push(format!("queue {id} counts {kept:?} instead of {counted:?}"));
            }
        }
        for (id, pool) in &self.pools {
            if pool.kept != pool.counted {
                let Kept { kept, counted } = pool;
                problems.push(format!("pool {id} counts {kept:?} instead of {counted:?}"));
            }
        }
        for ((id, _), source) in &self.sources {
            // One that has no tasks is not kept.
            if source.kept != source.counted || source.kept == 0 {
                let Kept { kept, counted } = source;
                problems.push(format!("queue {id} counts {kept} of a source instead of {counted}"));
            }
        }
        self.settle_lanes();
        for (id, line) in &self.lines {
            if line.kept != line.counted {
                let Line { kept, counted, .. } = line;
                problems.push(format!("lane {id} keeps {kept:?} instead of {counted:?}"));
            }
        }
        problems
    }

    /// Finds what holds for whole lanes: their leases, and which of their tasks is next.
    fn settle_lanes(&mut self) {
        let mut lanes: HashMap<(i64, String), Vec<i64>> = HashMap::new();
        for (id, line) in &self.lines {
            lanes.entry((line.queue_id, line.key.clone())).or_default().push(*id);
        }
        for ids in lanes.into_values() {
            let of = |id: &i64| &self.lines[id];
            let leases = ids.iter().map(|id| of(id).counted.leases).sum();
            let holder = ids.iter().filter_map(|id| of(id).counted.holder).min();
            let first = ids.iter().filter_map(|id| of(id).first).map(|task| task.n).min();
            let vtimes: HashSet<i64> = ids.iter().map(|id| of(id).vtime).collect();
            for id in ids {
                let Some(line) = self.lines.get_mut(&id) else { continue };
                line.counted.leases = leases;
                let next = match (line.is_strict, holder) {
                    (false, _) => line.first,
                    (true, None) => line.first.filter(|task| Some(task.n) == first),
                    (true, Some(holder)) => line.holder.filter(|task| task.n == holder),
                };
                let next = next.filter(|_| !line.is_held);
                line.counted.front = next.map(|task| task.front(line.vtime));
                if vtimes.len() > 1 {
                    // A lane has one virtual time: no count is right then.
                    line.counted.front = None;
                    line.counted.tasks = -1;
                }
            }
        }
    }
}

/// Whether the moment of a queued task has come.
fn is_ripe(standing: Standing) -> bool {
    matches!(standing.phase, Phase::Ready | Phase::Lapsed)
}

impl Line {
    fn read(row: &Row<'_>) -> Result<Self, Fault> {
        let front: Option<i64> = row.get(13)?;
        let front = match front {
            Some(turn) => Some((turn, row.get(14)?, row.get(15)?)),
            None => None,
        };
        Ok(Self {
            pool_id: row.get(1)?,
            queue_id: row.get(2)?,
            key: row.get(3)?,
            tenant: row.get(4)?,
            queue: row.get(5)?,
            purpose: row.get(18)?,
            kind: row.get(6)?,
            origin: row.get(7)?,
            is_strict: row.get(8)?,
            vtime: row.get(9)?,
            is_held: row.get::<_, Option<i64>>(17)?.is_some(),
            kept: LineCounts {
                leases: row.get(10)?,
                tasks: row.get(11)?,
                ready: row.get(12)?,
                holder: row.get(16)?,
                front,
            },
            counted: LineCounts::default(),
            first: None,
            holder: None,
        })
    }

    /// Whether the task belongs here.
    pub(super) fn is_home_of(&self, row: &TaskRow) -> bool {
        let spec = &row.task.spec;
        let run_by = (&spec.runner).into();
        self.tenant == spec.tenant.as_str()
            && self.queue == spec.queue.as_str()
            && self.purpose == spec.purpose as i64
            && self.key == spec.lane.as_ref().map_or("", LaneKey::as_str)
            && (self.kind, self.origin.as_str()) == run_by_columns(&run_by)
    }

    fn add(&mut self, row: &TaskRow, standing: Standing) {
        let counted = &mut self.counted;
        counted.tasks += 1;
        counted.ready += i64::from(is_ripe(standing));
        counted.leases += i64::from(standing.is_leased);
        let ready = (standing.phase == Phase::Ready).then(|| row.ranked());
        if let Some(ready) = ready
            && self.first.is_none_or(|first| (ready.place, ready.n) < (first.place, first.n))
        {
            self.first = Some(ready);
        }
        if standing.started == Started::Strict && counted.holder.is_none_or(|held| row.n < held) {
            counted.holder = Some(row.n);
            self.holder = ready;
        }
    }
}

/// The statuses are the first six of a queue's counts.
const _: () = assert!(Status::ALL.len() == 6);
