//! What the reference remembers, and the one way in which a task is put into it and taken out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use relais_core::lane::{Bucket, rank, vtime_on_arrival};
use relais_core::{
    BodyKind, DeliveryId, EndpointId, Entry, LaneKey, Policy, Purpose, QueueName, Session, Source,
    Spec, Status, Task, TaskId, TenantName, Timestamp,
};

use super::body::Spilled;
use crate::body::StoredBody;
use crate::change::{Change, Notices, What};
use crate::claim::RunBy;
use crate::commit::Kept;
use crate::node::Roll;
use crate::query::Logged;
use crate::webhook::EndpointRow;

/// The name of a queue, store-wide.
pub(super) type QueueKey = (TenantName, QueueName, Purpose);

/// The queue of a task.
pub(super) fn queue_of(spec: &Spec) -> QueueKey {
    (spec.tenant.clone(), spec.queue.clone(), spec.purpose)
}

#[derive(Default)]
pub(super) struct Inner {
    pub(super) tasks: BTreeMap<TaskId, Row>,
    pub(super) queues: BTreeMap<QueueKey, Queue>,
    /// When time alone will change something.
    pub(super) due: BTreeSet<(Timestamp, TaskId)>,
    /// Queued tasks whose moment had not come when somebody last looked.
    pub(super) scheduled: BTreeSet<(Timestamp, TaskId)>,
    /// Every event that is kept: its position, its task and its number there.
    pub(super) log: BTreeMap<u64, (TaskId, u64)>,
    pub(super) keys: BTreeMap<[u8; 32], Key>,
    pub(super) secrets: BTreeMap<String, Bytes>,
    pub(super) endpoints: BTreeMap<EndpointId, EndpointRow>,
    pub(super) deliveries: BTreeMap<DeliveryId, super::webhook::Row>,
    /// Sessions of browsers by the HMACs of their ids.
    pub(super) sessions: BTreeMap<[u8; 32], KeptSession>,
    pub(super) roll: Roll,
    /// Nodes that lived at the last sign of life.
    pub(super) living: usize,
    pub(super) notices: Notices,
    /// Finished spools that no commit has taken yet.
    pub(super) spilled: Spilled,
    pub(super) spools: u64,
    /// Bodies that a test has damaged.
    pub(super) damaged: BTreeSet<(TaskId, BodyKind)>,
    pub(super) last_pos: u64,
    last_arrival: u64,
}

/// A task and what belongs to it.
pub(super) struct Row {
    pub(super) task: Task,
    pub(super) arrival: u64,
    /// Whether it is queued and its moment was seen to have come.
    pub(super) is_ready: bool,
    pub(super) events: Vec<Logged>,
    pub(super) bodies: BTreeMap<BodyKind, StoredBody>,
}

/// The claim of an idempotency key.
pub(super) struct Key {
    pub(super) task: TaskId,
    pub(super) fingerprint: [u8; 32],
    pub(super) kept: Kept,
}

/// The session of a browser.
pub(super) struct KeptSession {
    /// The task that it began with.
    pub(super) begun_by: TaskId,
    /// Where it began.
    pub(super) source: Option<Source>,
    pub(super) session: Session,
}

#[derive(Default)]
pub(super) struct Queue {
    pub(super) is_paused: bool,
    pub(super) policy: Option<Policy>,
    /// The policy of the last claim.
    pub(super) seen: Option<Arc<Policy>>,
    pub(super) counts: [u64; 6],
    /// Tasks that are not terminal of each source that has any.
    sources: BTreeMap<Source, u64>,
    pub(super) leases: u64,
    pub(super) vtime: i64,
    pub(super) bucket: Option<Bucket>,
    pub(super) lanes: BTreeMap<Option<LaneKey>, Lane>,
}

impl Queue {
    /// Tasks that are not terminal.
    pub(super) fn live(&self) -> u64 {
        let live = |status: &&Status| !status.is_terminal();
        Status::ALL.iter().filter(live).map(|status| self.counts[*status as usize]).sum()
    }

    /// Of them, those of one source.
    pub(super) fn live_of(&self, source: &Source) -> u64 {
        self.sources.get(source).copied().unwrap_or(0)
    }
}

/// A ready task in the order of its lane.
pub(super) type Ranked = (i64, u64, TaskId);

pub(super) struct Lane {
    pub(super) vtime: i64,
    /// When the bucket of its rate is full again, if it is not.
    pub(super) full_at: Option<i64>,
    pub(super) leases: u64,
    /// Ready tasks by rank, for each who runs them.
    pub(super) by_rank: BTreeMap<RunBy, BTreeSet<Ranked>>,
    /// Ready tasks by arrival.
    pub(super) by_arrival: BTreeSet<(u64, TaskId)>,
    /// Tasks that started and are not terminal, by arrival: they hold a strict lane.
    pub(super) started: BTreeSet<(u64, TaskId)>,
}

impl Lane {
    const NEW: Self = Self {
        vtime: i64::MIN,
        full_at: None,
        leases: 0,
        by_rank: BTreeMap::new(),
        by_arrival: BTreeSet::new(),
        started: BTreeSet::new(),
    };

    /// Whether nothing but its virtual time is to be remembered.
    pub(super) fn is_idle(&self) -> bool {
        self.full_at.is_none()
            && self.leases == 0
            && self.by_arrival.is_empty()
            && self.started.is_empty()
    }
}

/// The lane of a task, which comes into being if it is new.
fn lane_of<'a>(queues: &'a mut BTreeMap<QueueKey, Queue>, task: &Task) -> (&'a mut Queue, LaneAt) {
    (queues.entry(queue_of(&task.spec)).or_default(), LaneAt(task.spec.lane.clone()))
}

/// Where a lane is within its queue.
struct LaneAt(Option<LaneKey>);

impl LaneAt {
    fn of<'a>(&self, lanes: &'a mut BTreeMap<Option<LaneKey>, Lane>) -> &'a mut Lane {
        lanes.entry(self.0.clone()).or_insert(Lane::NEW)
    }
}

impl Inner {
    /// A task comes into being, with the first entry of its log.
    pub(super) fn insert(&mut self, task: Task, now: Timestamp) {
        let id = task.spec.id;
        self.last_arrival += 1;
        let row = Row {
            task,
            arrival: self.last_arrival,
            is_ready: false,
            events: Vec::new(),
            bodies: BTreeMap::new(),
        };
        self.tasks.insert(id, row);
        self.index(id, now);
    }

    /// A task changes.
    pub(super) fn replace(&mut self, task: Task, now: Timestamp) {
        let id = task.spec.id;
        let row = self.row(id);
        if row.task.life == task.life {
            return;
        }
        // What waits as it did before has not arrived anew: the turn of its lane stays.
        if row.is_ready && row.task.life.run_at() == task.life.run_at() {
            let before = (row.task.due_at(), id);
            self.due.remove(&before);
            self.due.insert((task.due_at(), id));
            self.row_mut(id).task = task;
            return;
        }
        self.unindex(id);
        self.row_mut(id).task = task;
        self.index(id, now);
    }

    /// A task is forgotten, with all that belongs to it.
    pub(super) fn remove(&mut self, id: TaskId) -> Task {
        self.unindex(id);
        let row = self.tasks.remove(&id).expect("the caller found it");
        for event in &row.events {
            self.log.remove(&event.pos);
        }
        row.task
    }

    /// A scheduled task whose moment has come is ready.
    pub(super) fn promote(&mut self, id: TaskId, now: Timestamp) {
        self.unindex(id);
        self.index(id, now);
    }

    /// Appends entries to the log of a task; answers the position of the first, and who is told of them.
    pub(super) fn append(&mut self, id: TaskId, entries: &[Entry]) -> (u64, Vec<EndpointId>) {
        let first = self.last_pos + 1;
        let mut told = Vec::new();
        for (pos, entry) in (first..).zip(entries) {
            self.last_pos = pos;
            self.log.insert(pos, (id, entry.seq));
            self.row_mut(id).events.push(Logged { pos, entry: entry.clone() });
        }
        self.notices.add(self.last_pos, None);
        let spec = self.row(id).task.spec.clone();
        for (pos, entry) in (first..).zip(entries) {
            told.extend(self.tell_endpoints(&spec, entry, pos));
        }
        (first, told)
    }

    /// Wakes other nodes, if there are any.
    pub(super) fn tell(&mut self) {
        self.notices.tell(self.living);
    }

    /// Notes a change that is in no log.
    pub(super) fn note(&mut self, what: What) {
        self.last_pos += 1;
        let pos = self.last_pos;
        self.notices.add(pos, [Change { pos, what }]);
    }

    pub(super) fn row(&self, id: TaskId) -> &Row {
        self.tasks.get(&id).expect("indexes name tasks that exist")
    }

    pub(super) fn row_mut(&mut self, id: TaskId) -> &mut Row {
        self.tasks.get_mut(&id).expect("indexes name tasks that exist")
    }

    /// Enters a task into every index and count.
    fn index(&mut self, id: TaskId, now: Timestamp) {
        let row = self.tasks.get_mut(&id).expect("the caller put it there");
        let task = &row.task;
        self.due.insert((task.due_at(), id));
        let (queue, at) = lane_of(&mut self.queues, task);
        queue.counts[task.life.status() as usize] += 1;
        if let Some(source) = task.live_source() {
            *queue.sources.entry(source).or_default() += 1;
        }
        let lane = at.of(&mut queue.lanes);
        if task.life.lease().is_some() {
            queue.leases += 1;
            lane.leases += 1;
        }
        if task.life.status() == Status::Running {
            lane.started.insert((row.arrival, id));
        } else if task.life.status().is_terminal() {
            lane.started.remove(&(row.arrival, id));
        }
        match task.life.run_at() {
            Some(run_at) if run_at <= now => {
                row.is_ready = true;
                if lane.by_arrival.is_empty() {
                    lane.vtime = vtime_on_arrival(lane.vtime, queue.vtime);
                }
                lane.by_arrival.insert((row.arrival, id));
                let ranked = (rank(run_at, task.spec.priority), row.arrival, id);
                lane.by_rank.entry(RunBy::from(&task.spec.runner)).or_default().insert(ranked);
            }
            Some(run_at) => {
                self.scheduled.insert((run_at, id));
            }
            None => {}
        }
        if lane.is_idle() && lane.vtime <= queue.vtime {
            queue.lanes.remove(&task.spec.lane);
        }
    }

    /// Takes a task out of every index and count.
    fn unindex(&mut self, id: TaskId) {
        let row = self.tasks.get_mut(&id).expect("the caller found it");
        let task = &row.task;
        self.due.remove(&(task.due_at(), id));
        let (queue, at) = lane_of(&mut self.queues, task);
        queue.counts[task.life.status() as usize] -= 1;
        if let Some(source) = task.live_source() {
            match queue.live_of(&source) {
                0 | 1 => queue.sources.remove(&source),
                live => queue.sources.insert(source, live - 1),
            };
        }
        let lane = at.of(&mut queue.lanes);
        if task.life.lease().is_some() {
            queue.leases -= 1;
            lane.leases -= 1;
        }
        if let Some(run_at) = task.life.run_at() {
            self.scheduled.remove(&(run_at, id));
            lane.by_arrival.remove(&(row.arrival, id));
            let run_by = RunBy::from(&task.spec.runner);
            if let Some(ready) = lane.by_rank.get_mut(&run_by) {
                ready.remove(&(rank(run_at, task.spec.priority), row.arrival, id));
                if ready.is_empty() {
                    lane.by_rank.remove(&run_by);
                }
            }
            row.is_ready = false;
        }
        if lane.is_idle() && lane.vtime <= queue.vtime {
            queue.lanes.remove(&task.spec.lane);
        }
    }
}
