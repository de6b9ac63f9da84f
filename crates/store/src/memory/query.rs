//! What is read: pages, logs, counts and places.

use std::convert::Infallible;
use std::ops::Bound;

use relais_core::lane::rank;
use relais_core::{LaneKey, Order, Purpose, QueueName, Status, Task, TaskId, TenantName};

use super::claim::place_of;
use super::state::{Inner, Lane, Queue, QueueKey, Row, queue_of};
use crate::change::{Change, Changes, What};
use crate::node::{Beat, Nodes};
use crate::query::{
    Attended, EventQuery, Filter, Logged, Page, Place, QueueStats, Queues, Waiting,
};

/// Tasks ahead are counted up to here.
const AHEAD_MAX: usize = 10_000;

impl Inner {
    pub(super) fn list(&self, filter: &Filter) -> Page {
        let until = filter.after.map_or(Bound::Unbounded, Bound::Excluded);
        let older = self.tasks.range((Bound::Unbounded, until)).rev().map(|(_, row)| &row.task);
        let mut found = older.filter(|task| fits(filter, task));
        let tasks: Vec<Task> = found.by_ref().take(filter.limit).cloned().collect();
        let next = found.next().and(tasks.last()).map(|task| task.spec.id);
        Page { tasks, next }
    }

    pub(super) fn events(&self, query: &EventQuery) -> Vec<Logged> {
        match query {
            EventQuery::Task { id, after, limit } => {
                let events = self.tasks.get(id).map_or(&[][..], |row| &row.events);
                let later = events.iter().filter(|event| event.entry.seq > *after);
                later.take(*limit).cloned().collect()
            }
            EventQuery::Store { tenant, tasks, label, after, limit } => {
                let wanted = |row: &Row| {
                    let spec = &row.task.spec;
                    spec.is_shown_to(tenant)
                        && (tasks.is_empty() || tasks.contains(&spec.id))
                        && label.as_ref().is_none_or(|label| spec.labels.contains(label))
                };
                let later = self.log.range((Bound::Excluded(*after), Bound::Unbounded));
                let rows = later.map(|(_, (id, seq))| (self.row(*id), *seq));
                let events = rows.filter(|(row, _)| wanted(row)).filter_map(|(row, seq)| {
                    row.events.iter().find(|event| event.entry.seq == seq).cloned()
                });
                events.take(*limit).collect()
            }
        }
    }

    pub(super) fn last_pos(&self) -> u64 {
        self.last_pos
    }

    pub(super) fn queue_stats(&self, tenant: TenantName, queue: QueueName) -> Option<QueueStats> {
        self.queues.get_key_value(&(tenant, queue, Purpose::Client)).map(stats)
    }

    /// The queues of clients' tasks.
    fn shown(&self) -> impl Iterator<Item = (&QueueKey, &Queue)> {
        self.queues.iter().filter(|((.., purpose), _)| *purpose == Purpose::Client)
    }

    pub(super) fn queues_stats(&self, which: &Queues) -> Vec<QueueStats> {
        let Queues::Of { tenant, after, limit } = which else {
            return self.shown().map(stats).collect();
        };
        let is_behind = |name: &QueueName| after.as_ref().is_none_or(|after| name > after);
        let own = self.shown().filter(|((of, name, _), _)| of == tenant && is_behind(name));
        own.take(*limit).map(stats).collect()
    }

    pub(super) fn waiting(&self) -> Vec<Waiting> {
        let since = |id: TaskId| self.row(id).task.life.run_at();
        let waiting = |((tenant, name, _), queue): (&QueueKey, &Queue)| {
            let fronts = queue.lanes.values().filter_map(|lane| self.front(queue, lane));
            let (_, first) = fronts.min()?;
            Some(Waiting { tenant: tenant.clone(), queue: name.clone(), since: since(first)? })
        };
        self.shown().filter_map(waiting).collect()
    }

    /// The task of a lane that is next, if there is one, behind its rank.
    fn front(&self, queue: &Queue, lane: &Lane) -> Option<(i64, TaskId)> {
        if !queue.is_strict() {
            let firsts = lane.by_rank.values().filter_map(|ready| ready.first());
            return firsts.min().map(|(rank, _, id)| (*rank, *id));
        }
        // The one that holds the lane, once it is ready again, or else the first to arrive.
        let next = lane.started.first().or(lane.by_arrival.first())?;
        let task = &self.row(next.1).task;
        let is_ready = lane.by_arrival.contains(next);
        is_ready.then(|| Some((rank(task.life.run_at()?, task.spec.priority), next.1)))?
    }

    pub(super) fn beat(&mut self, beat: &Beat) -> Nodes {
        let mut roll = std::mem::take(&mut self.roll);
        let held = |node| {
            let mut lives = self.tasks.values().map(|row| &row.task.life);
            lives.any(|life| life.held_by() == Some(node) || Attended::By(node).fits(life))
        };
        let Ok(told) = roll.beat(beat, |node| Ok::<_, Infallible>(held(node)));
        self.roll = roll;
        self.living = told.living;
        told
    }

    pub(super) fn changes(&self, after: u64, limit: usize) -> Changes {
        let head = self.notices.head();
        let Some(notices) = self.notices.after(after) else { return Changes::Gap { head } };
        let later = self.log.range((Bound::Excluded(after), Bound::Unbounded));
        let cut_at = later.clone().nth(limit - 1).map(|(pos, _)| *pos);
        let entry = |(pos, (id, seq)): (&u64, &(TaskId, u64))| {
            let row = self.row(*id);
            let logged = row.events.iter().find(|logged| logged.entry.seq == *seq)?;
            let what = What::Entry(Box::new(row.task.clone()), logged.entry.clone());
            Some(Change { pos: *pos, what })
        };
        let entries = later.take(limit).filter_map(entry).collect();
        Changes::merged(entries, notices, (after, cut_at.unwrap_or(head)))
    }

    pub(super) fn place(&self, id: TaskId) -> Option<Place> {
        let row = self.tasks.get(&id).filter(|row| row.task.life.status() == Status::Queued)?;
        let spec = &row.task.spec;
        let queue = &self.queues[&queue_of(spec)];
        let is_strict = queue.is_strict();
        let key = |row: &Row| (if is_strict { 0 } else { place_of(&row.task) }, row.arrival);
        let is_ahead = |other: &&Row| {
            let with = &other.task.spec;
            other.task.life.status() == Status::Queued
                && (queue_of(with), &with.lane) == (queue_of(spec), &spec.lane)
                && key(other) < key(row)
        };
        let ahead = self.tasks.values().filter(is_ahead).take(AHEAD_MAX).count() as u64;
        Some(Place { ahead, ..queue.place(spec.lane.as_ref(), Some((row.arrival, id))) })
    }
}

impl Queue {
    /// Whether its tasks start in the order of their arrival, as far as the policy was seen.
    fn is_strict(&self) -> bool {
        self.seen.as_ref().is_some_and(|policy| policy.order == Order::Strict)
    }

    /// How the queue and one of its lanes stand, as a task sees it; `None` is
    /// one that is not there yet.
    pub(super) fn place(&self, lane: Option<&LaneKey>, task: Option<(u64, TaskId)>) -> Place {
        let lane = self.lanes.get(&lane.cloned());
        let holder = lane.and_then(|lane| lane.started.first()).copied();
        Place {
            ahead: lane.map_or(0, |lane| lane.by_arrival.len() as u64),
            is_paused: self.is_paused,
            is_held: self.is_strict() && holder.is_some() && holder != task,
            queue_leases: self.leases,
            lane_leases: lane.map_or(0, |lane| lane.leases),
            bucket: self.bucket,
            lane_full_at: lane.and_then(|lane| lane.full_at),
        }
    }

    fn ready(&self) -> u64 {
        self.lanes.values().map(|lane| lane.by_arrival.len() as u64).sum()
    }
}

fn stats(((tenant, name, _), queue): (&QueueKey, &Queue)) -> QueueStats {
    QueueStats {
        tenant: tenant.clone(),
        queue: name.clone(),
        is_paused: queue.is_paused,
        policy: queue.policy.clone(),
        counts: queue.counts,
        scheduled: queue.counts[Status::Queued as usize] - queue.ready(),
        leases: queue.leases,
    }
}

fn fits(filter: &Filter, task: &Task) -> bool {
    let spec = &task.spec;
    filter.tenant.as_ref().is_none_or(|tenant| spec.is_shown_to(tenant))
        && filter.queue.as_ref().is_none_or(|queue| *queue == spec.queue)
        && filter.status.is_none_or(|status| status == task.life.status())
        && filter.label.as_ref().is_none_or(|label| spec.labels.contains(label))
        && filter.lane.as_ref().is_none_or(|lane| spec.lane.as_ref() == Some(lane))
        && filter.held_by.is_none_or(|node| task.life.held_by() == Some(node))
        && filter.attended.is_none_or(|attended| attended.fits(&task.life))
}
