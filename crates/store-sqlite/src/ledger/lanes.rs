//! Lanes as the writer remembers them, and which of their tasks is next.
//!
//! A lane belongs to its queue; its *lines* are its tasks within one pool each, and there is seldom
//! more than one. A row is stored per line, with what holds for the whole lane repeated in each.

use std::collections::HashMap;

use relais_core::{LaneKey, Timestamp};
use rusqlite::params;

use super::front::{Front, Head, Ranked, priority_behind, ready_task};
use super::{Standing, Started, count_of, id_at};
use crate::fault::Fault;
use crate::hash::NumberMap;
use crate::sql::Hot;

/// Where a task lives: its lane, and its line there. Good until the next flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Home {
    pub(crate) lane: usize,
    pub(crate) line: usize,
}

/// The first of the tasks of a line that hold a strict lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    Known(Option<i64>),
    Stale,
}

/// What says when it is a lane's turn: virtual time, and the two numbers of its rate.
type Pace = (i64, Option<i64>, Option<i64>);

pub(crate) struct Line {
    pub(crate) id: i64,
    pub(crate) pool: usize,
    tasks: u64,
    ready: u64,
    pub(crate) head: Head,
    holder: Holder,
    /// What is on disk of its lane, and of its place in the order; `None` if it is new.
    stored: Option<(Pace, Option<Front>)>,
}

pub(crate) struct Lane {
    queue: usize,
    pub(crate) key: Option<LaneKey>,
    pub(crate) vtime: i64,
    /// When the bucket of its rate is full again, in microseconds, if it is not.
    pub(crate) full_at: Option<i64>,
    /// When it may start the next, if its rate holds it back: until then it
    /// has no place in the order.
    pub(crate) free_at: Option<i64>,
    pub(crate) leases: u64,
    pub(crate) lines: Vec<Line>,
    is_dirty: bool,
}

impl Lane {
    const fn pace(&self) -> Pace {
        (self.vtime, self.full_at, self.free_at)
    }

    /// Tasks whose moment has come.
    pub(crate) fn ready(&self) -> u64 {
        self.lines.iter().map(|line| line.ready).sum()
    }

    /// Whether a task is known to hold it in strict order.
    pub(crate) fn has_holder(&self) -> bool {
        self.lines.iter().any(|line| matches!(line.holder, Holder::Known(Some(_))))
    }
}

impl Line {
    fn new(id: i64, pool: usize) -> Self {
        Self {
            id,
            pool,
            tasks: 0,
            ready: 0,
            head: Head::Known(None),
            holder: Holder::Known(None),
            stored: None,
        }
    }

    pub(super) fn shift(
        &mut self,
        n: i64,
        before: Option<Standing>,
        after: Option<Standing>,
        is_ripe: bool,
        was_ripe: bool,
    ) {
        self.tasks += u64::from(after.is_some());
        self.tasks -= u64::from(before.is_some());
        self.ready += u64::from(is_ripe);
        self.ready -= u64::from(was_ripe);
        if let Head::Known(Some(head)) = self.head
            && head.n == n
        {
            self.head = Head::Stale;
        }
        if let Some(after) = after
            && after.phase == super::Phase::Ready
            && let Head::Known(head) = &mut self.head
        {
            let place = after.place.expect("ready tasks have a place");
            if head.is_none_or(|head| (place, n) < (head.place, head.n)) {
                *head = Some(Ranked { place, n, rank: after.rank, priority: after.priority });
            }
        }
        let held = before.is_some_and(|before| before.started == Started::Strict);
        let holds = after.is_some_and(|after| after.started == Started::Strict);
        if held && !holds && self.holder == Holder::Known(Some(n)) {
            self.holder = Holder::Stale;
        }
        if holds
            && !held
            && let Holder::Known(holder) = &mut self.holder
        {
            *holder = Some(holder.map_or(n, |holder| holder.min(n)));
        }
    }
}

/// The lanes in mind.
pub(crate) struct Lanes {
    lanes: Vec<Option<Lane>>,
    free: Vec<usize>,
    by_key: HashMap<(usize, Option<LaneKey>), usize>,
    by_line: NumberMap<i64, usize>,
    dirty: Vec<usize>,
    last_line: i64,
}

impl Lanes {
    pub(super) fn after(last_line: i64) -> Self {
        Self {
            lanes: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::new(),
            by_line: NumberMap::default(),
            dirty: Vec::new(),
            last_line,
        }
    }

    pub(crate) fn lane(&self, at: usize) -> &Lane {
        self.lanes[at].as_ref().expect("a home is good until the next flush")
    }

    pub(crate) fn line(&self, home: Home) -> &Line {
        &self.lane(home.lane).lines[home.line]
    }

    /// A lane to be changed, and written back.
    pub(crate) fn touch(&mut self, home: Home) -> (&mut Lane, usize) {
        let lane = self.lanes[home.lane].as_mut().expect("a home is good until the next flush");
        if !lane.is_dirty {
            lane.is_dirty = true;
            self.dirty.push(home.lane);
        }
        (lane, home.line)
    }

    /// The home of a task that names its line.
    pub(crate) fn home(
        &mut self,
        hot: &mut Hot<'_>,
        line_id: i64,
        is_strict: IsStrict<'_>,
    ) -> Result<Home, Fault> {
        let lane = match self.by_line.get(&line_id) {
            Some(at) => *at,
            None => {
                let (queue, key) = lane_of_line(hot, line_id)?;
                self.load(hot, queue, key, is_strict(queue))?
            }
        };
        let line = self.lane(lane).lines.iter().position(|line| line.id == line_id);
        let line = line.ok_or_else(|| Fault::damaged(format!("lane {line_id} is missing")))?;
        Ok(Home { lane, line })
    }

    /// The home of a new task; lane and line come into being if they are new.
    pub(crate) fn home_for(
        &mut self,
        hot: &mut Hot<'_>,
        (queue, is_strict): (usize, bool),
        key: Option<&LaneKey>,
        pool: usize,
    ) -> Result<Home, Fault> {
        let name = (queue, key.cloned());
        let at = match self.by_key.get(&name) {
            Some(at) => *at,
            None => self.load(hot, queue, name.1, is_strict)?,
        };
        let lane = self.lanes[at].as_mut().expect("it was just found");
        let line = match lane.lines.iter().position(|line| line.pool == pool) {
            Some(line) => line,
            None => {
                self.last_line += 1;
                lane.lines.push(Line::new(self.last_line, pool));
                self.by_line.insert(self.last_line, at);
                lane.lines.len() - 1
            }
        };
        Ok(Home { lane: at, line })
    }

    /// Reads a lane, or makes an empty one.
    fn load(
        &mut self,
        hot: &mut Hot<'_>,
        queue: usize,
        key: Option<LaneKey>,
        is_strict: bool,
    ) -> Result<usize, Fault> {
        let mut lane = Lane {
            queue,
            key,
            vtime: i64::MIN,
            full_at: None,
            free_at: None,
            leases: 0,
            lines: Vec::new(),
            is_dirty: false,
        };
        let name = lane.key.as_ref().map_or("", LaneKey::as_str);
        let mut rows = hot.lane_rows.query(params![id_at(queue), name])?;
        while let Some(row) = rows.next()? {
            lane.vtime = row.get(2)?;
            lane.leases = super::load::count_at(row, 3)?;
            (lane.full_at, lane.free_at) = (row.get(10)?, row.get(11)?);
            let front: Option<i64> = row.get(7)?;
            let front = match front {
                Some(turn) => Some((turn, row.get(8)?, row.get(9)?)),
                None => None,
            };
            let head = match front {
                // In strict order the next task may be another than the first that is ready.
                _ if is_strict => Head::Stale,
                // It has no place in the order now, whatever it has.
                _ if lane.free_at.is_some() => Head::Stale,
                None => Head::Known(None),
                Some((turn, rank, n)) => {
                    let priority = priority_behind(turn, lane.vtime);
                    Head::Known(Some(Ranked { place: rank, n, rank, priority }))
                }
            };
            lane.lines.push(Line {
                id: row.get(0)?,
                pool: usize::try_from(row.get::<_, i64>(1)? - 1)
                    .map_err(|_| Fault::damaged("a lane is in no pool"))?,
                tasks: super::load::count_at(row, 4)?,
                ready: super::load::count_at(row, 5)?,
                head,
                holder: Holder::Known(row.get(6)?),
                stored: Some((lane.pace(), front)),
            });
        }
        drop(rows);
        Ok(self.keep(lane))
    }

    fn keep(&mut self, lane: Lane) -> usize {
        let at = self.free.pop().unwrap_or_else(|| {
            self.lanes.push(None);
            self.lanes.len() - 1
        });
        self.by_key.insert((lane.queue, lane.key.clone()), at);
        for line in &lane.lines {
            self.by_line.insert(line.id, at);
        }
        self.lanes[at] = Some(lane);
        at
    }

    fn forget(&mut self, at: usize) {
        let lane = self.lanes[at].take().expect("it is forgotten once");
        self.by_key.remove(&(lane.queue, lane.key));
        for line in &lane.lines {
            self.by_line.remove(&line.id);
        }
        self.free.push(at);
    }

    /// Writes back the lanes that changed; `queue` says the order and the virtual time of one.
    pub(super) fn flush(
        &mut self,
        hot: &mut Hot<'_>,
        queue: impl Fn(usize) -> (bool, i64),
    ) -> Result<(), Fault> {
        let dirty = std::mem::take(&mut self.dirty);
        for at in &dirty {
            let lane = self.lanes[*at].as_mut().expect("dirty lanes are kept");
            let (is_strict, vtime) = queue(lane.queue);
            lane.is_dirty = false;
            let fronts = lane.fronts(hot, is_strict)?;
            let is_owing = lane.leases > 0 || lane.full_at.is_some() || lane.vtime > vtime;
            let (pace, may_go) = (lane.pace(), !is_owing);
            for (line, front) in lane.lines.iter_mut().zip(fronts) {
                line.write(
                    hot,
                    (lane.queue, lane.key.as_ref()),
                    (pace, lane.leases),
                    front,
                    may_go,
                )?;
            }
            let gone = lane.lines.extract_if(.., |line| line.tasks == 0 && may_go);
            for line in gone {
                self.by_line.remove(&line.id);
            }
            if lane.lines.is_empty() {
                self.forget(*at);
            }
        }
        self.dirty = dirty;
        self.dirty.clear();
        Ok(())
    }

    /// Forgets all lanes if there are too many in mind; they are read again when they are met. Only
    /// after a commit: all are written back then.
    pub(crate) fn trim(&mut self, kept_max: usize) {
        if self.by_key.len() > kept_max {
            *self = Self::after(self.last_line);
        }
    }

    /// Removes rows of lanes without tasks that no longer owe the queue any turns.
    pub(crate) fn sweep(
        &mut self,
        hot: &mut Hot<'_>,
        queue: usize,
        vtime: i64,
        now: Timestamp,
        max: i64,
    ) -> Result<(), Fault> {
        let now_us = now.as_ms().saturating_mul(1_000);
        let idle: Vec<i64> = hot
            .lane_sweep
            .query_map(params![id_at(queue), vtime, now_us, max], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for id in idle {
            if let Some(at) = self.by_line.get(&id) {
                self.forget(*at);
            }
            hot.lane_delete.execute([id])?;
        }
        Ok(())
    }
}

/// Says whether a queue is in strict order.
pub(crate) type IsStrict<'a> = &'a dyn Fn(usize) -> bool;

impl Line {
    fn write(
        &mut self,
        hot: &mut Hot<'_>,
        (queue, key): (usize, Option<&LaneKey>),
        (pace, leases): (Pace, u64),
        front: Option<Front>,
        may_go: bool,
    ) -> Result<(), Fault> {
        if self.tasks == 0 && may_go {
            if self.stored.is_some() {
                hot.lane_delete.execute([self.id])?;
            }
            return Ok(());
        }
        let Holder::Known(holder) = self.holder else { unreachable!("fronts() looked it up") };
        let (turn, rank, first) = match front {
            Some((turn, rank, first)) => (Some(turn), Some(rank), Some(first)),
            None => (None, None, None),
        };
        let (leases, tasks, ready) = (count_of(leases), count_of(self.tasks), count_of(self.ready));
        let (was, is) = (self.stored, Some((pace, front)));
        let (vtime, full_at, free_at) = pace;
        self.stored = is;
        if was == is {
            hot.lane_note.execute((self.id, leases, tasks, ready, holder))?;
        } else if was.is_some() {
            let row =
                (self.id, vtime, leases, tasks, ready, holder, turn, rank, first, full_at, free_at);
            hot.lane_update.execute(row)?;
        } else {
            let key = key.map_or("", LaneKey::as_str);
            let pool = id_at(self.pool);
            let name = (self.id, id_at(queue), key, pool);
            hot.lane_insert.execute((
                name.0, name.1, name.2, name.3, vtime, leases, tasks, ready, holder, turn, rank,
                first, full_at, free_at,
            ))?;
        }
        Ok(())
    }

    /// The order of the queue has changed: who holds the lane must be looked up.
    pub(crate) fn forget_holder(&mut self) {
        self.holder = Holder::Stale;
    }

    /// The first ready task, looked up if need be.
    fn head(&mut self, hot: &mut Hot<'_>) -> Result<Option<Ranked>, Fault> {
        if let Head::Known(head) = self.head {
            return Ok(head);
        }
        let mut rows = hot.task_ready.query((self.id, i64::MIN, 0, 1))?;
        let n: Option<i64> = rows.next()?.map(|row| row.get(1)).transpose()?;
        drop(rows);
        let head = match n {
            Some(n) => ready_task(hot, n)?,
            None => None,
        };
        self.head = Head::Known(head);
        Ok(head)
    }

    fn holder(&mut self, hot: &mut Hot<'_>) -> Result<Option<i64>, Fault> {
        if let Holder::Known(holder) = self.holder {
            return Ok(holder);
        }
        let mut rows = hot.task_first_started.query([self.id])?;
        let holder = match rows.next()? {
            Some(row) => Some(row.get(0)?),
            None => None,
        };
        self.holder = Holder::Known(holder);
        Ok(holder)
    }
}

impl Lane {
    /// What the order of lanes says of each line; `None` where no task is next.
    fn fronts(&mut self, hot: &mut Hot<'_>, is_strict: bool) -> Result<Vec<Option<Front>>, Fault> {
        let mut fronts = Vec::with_capacity(self.lines.len());
        let mut first_holder: Option<(i64, usize)> = None;
        for (at, line) in self.lines.iter_mut().enumerate() {
            let head = line.head(hot)?;
            fronts.push(head);
            if let Some(holder) = line.holder(hot)? {
                first_holder = first_holder.into_iter().chain([(holder, at)]).min();
            }
        }
        if is_strict {
            // Only one task of a strict lane is next: that which holds it, or
            // else the first to arrive.
            let next = match first_holder {
                Some((n, at)) => ready_task(hot, n)?.map(|task| (at, task)),
                None => {
                    let heads = fronts.iter().enumerate();
                    let heads = heads.filter_map(|(at, head)| head.map(|head| (at, head)));
                    heads.min_by_key(|(_, head)| head.n)
                }
            };
            fronts.fill(None);
            if let Some((at, task)) = next {
                fronts[at] = Some(task);
            }
        }
        if self.free_at.is_some() {
            fronts.fill(None);
        }
        let vtime = self.vtime;
        Ok(fronts.into_iter().map(|front| front.map(|task| task.front(vtime))).collect())
    }
}

fn lane_of_line(hot: &mut Hot<'_>, line: i64) -> Result<(usize, Option<LaneKey>), Fault> {
    let mut rows = hot.lane_by_id.query([line])?;
    let Some(row) = rows.next()? else {
        return Err(Fault::damaged(format!("lane {line} is missing")));
    };
    let queue = usize::try_from(row.get::<_, i64>(0)? - 1)
        .map_err(|_| Fault::damaged("a lane is in no queue"))?;
    let key = match row.get_ref(1)?.as_str()? {
        "" => None,
        key => Some(super::load::name_of(key)?),
    };
    Ok((queue, key))
}
