//! What the writer remembers between transactions: tenants, queues, pools and lanes.
//!
//! It is the only writer, so what it remembers is what is stored; each row that a transaction
//! touches is written back once. After a failure all of it is read anew. Not here: tasks.

mod front;
mod lanes;
mod load;
mod sources;
mod standing;

use std::collections::HashMap;

use bytes::Bytes;
use relais_core::cbor::Format;
use relais_core::lane::{Bucket, vtime_on_arrival};
use relais_core::{LaneKey, Purpose, QueueName, Status, TenantName};
use relais_store::{Place, Pool, RunBy};
use rusqlite::{Connection, params};

use crate::fault::Fault;
use crate::sql::{self, Hot};
pub(crate) use front::{Front, Head, Ranked};
pub(crate) use lanes::{Home, Lanes};
pub(crate) use load::{count_at, each, name_of, purpose_of};
pub(crate) use sources::Sources;
pub(crate) use standing::{Phase, Standing, Started};

pub(crate) struct Tenant {
    name: TenantName,
    /// Tasks not terminal, in all its queues but those of internal tasks.
    live: u64,
}

pub(crate) struct Queue {
    pub(crate) tenant: usize,
    pub(crate) name: QueueName,
    pub(crate) purpose: Purpose,
    pub(crate) is_paused: bool,
    pub(crate) is_strict: bool,
    /// As it is stored.
    pub(crate) policy: Option<Bytes>,
    pub(crate) vtime: i64,
    pub(crate) bucket: Option<Bucket>,
    counts: [u64; 6],
    ready: u64,
    pub(crate) leases: u64,
    pub(crate) started: u64,
    is_dirty: bool,
}

impl Queue {
    /// Tasks that are not terminal.
    pub(crate) fn live(&self) -> u64 {
        let live = |status: &&Status| !status.is_terminal();
        Status::ALL.iter().filter(live).map(|status| self.counts[*status as usize]).sum()
    }

    /// Of them, those that count for its tenant.
    fn live_of_tenant(&self) -> u64 {
        match self.purpose {
            Purpose::Client => self.live(),
            Purpose::Internal => 0,
        }
    }
}

pub(crate) struct PoolRow {
    pub(crate) queue: usize,
    pub(crate) run_by: RunBy,
    ready: u64,
    next_at: NextAt,
    is_dirty: bool,
}

impl PoolRow {
    /// What is written back when it changes.
    fn stored(&self) -> (bool, NextAt) {
        (self.ready > 0, self.next_at)
    }
}

/// The first moment of the scheduled tasks of a pool.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NextAt {
    Known(Option<i64>),
    /// It was taken away; the next must be looked up.
    Stale,
}

/// Tenants, queues and pools are never removed: each is where its id says.
pub(crate) struct Ledger {
    tenants: Vec<Tenant>,
    queues: Vec<Queue>,
    pools: Vec<PoolRow>,
    tenant_at: HashMap<TenantName, usize>,
    queue_at: HashMap<(TenantName, QueueName, Purpose), usize>,
    pool_at: HashMap<(usize, RunBy), usize>,
    pub(crate) lanes: Lanes,
    pub(crate) sources: Sources,
    dirty_queues: Vec<usize>,
    dirty_pools: Vec<usize>,
}

/// The id of what stands at an index, and back.
pub(crate) fn id_at(index: usize) -> i64 {
    i64::try_from(index).expect("there are fewer than 2^63") + 1
}

fn count_of(count: u64) -> i64 {
    i64::try_from(count).expect("counts of rows fit their keys")
}

impl Ledger {
    pub(crate) fn queue_named(
        &self,
        tenant: &TenantName,
        queue: &QueueName,
        purpose: Purpose,
    ) -> Option<usize> {
        self.queue_at.get(&(tenant.clone(), queue.clone(), purpose)).copied()
    }

    pub(crate) fn pool_named(&self, pool: &Pool) -> Option<usize> {
        let queue = self.queue_named(&pool.tenant, &pool.queue, pool.purpose)?;
        self.pool_at.get(&(queue, pool.run_by.clone())).copied()
    }

    /// The queue, which comes into being if it is new.
    pub(crate) fn queue_for(
        &mut self,
        conn: &Connection,
        tenant: &TenantName,
        name: &QueueName,
        purpose: Purpose,
    ) -> Result<usize, Fault> {
        if let Some(queue) = self.queue_named(tenant, name, purpose) {
            return Ok(queue);
        }
        let tenant_at = self.tenant_at(conn, tenant)?;
        let at = self.queues.len();
        conn.prepare_cached(sql::QUEUE_INSERT)?.execute(params![
            id_at(at),
            id_at(tenant_at),
            name.as_str(),
            purpose as i64
        ])?;
        self.add_queue(Queue {
            tenant: tenant_at,
            name: name.clone(),
            purpose,
            is_paused: false,
            is_strict: false,
            policy: None,
            vtime: 0,
            bucket: None,
            counts: [0; 6],
            ready: 0,
            leases: 0,
            started: 0,
            is_dirty: false,
        });
        Ok(at)
    }

    fn tenant_at(&mut self, conn: &Connection, tenant: &TenantName) -> Result<usize, Fault> {
        if let Some(at) = self.tenant_at.get(tenant) {
            return Ok(*at);
        }
        let at = self.tenants.len();
        conn.prepare_cached(sql::TENANT_INSERT)?.execute(params![id_at(at), tenant.as_str()])?;
        self.add_tenant(tenant.clone());
        Ok(at)
    }

    /// The id of a tenant, which comes into being if it is new.
    pub(crate) fn tenant_for(
        &mut self,
        conn: &Connection,
        tenant: &TenantName,
    ) -> Result<i64, Fault> {
        self.tenant_at(conn, tenant).map(id_at)
    }

    /// The pool of a queue, which comes into being if it is new.
    pub(crate) fn pool_for(
        &mut self,
        conn: &Connection,
        queue: usize,
        run_by: RunBy,
    ) -> Result<usize, Fault> {
        if let Some(pool) = self.pool_at.get(&(queue, run_by.clone())) {
            return Ok(*pool);
        }
        let at = self.pools.len();
        let (kind, origin) = run_by_columns(&run_by);
        conn.prepare_cached(sql::POOL_INSERT)?.execute(params![
            id_at(at),
            id_at(queue),
            kind,
            origin
        ])?;
        self.add_pool(PoolRow {
            queue,
            run_by,
            ready: 0,
            next_at: NextAt::Known(None),
            is_dirty: false,
        });
        Ok(at)
    }

    pub(crate) fn queue(&self, at: usize) -> &Queue {
        &self.queues[at]
    }

    /// A queue to be changed, and written back.
    pub(crate) fn queue_mut(&mut self, at: usize) -> &mut Queue {
        let queue = &mut self.queues[at];
        if !queue.is_dirty {
            queue.is_dirty = true;
            self.dirty_queues.push(at);
        }
        queue
    }

    pub(crate) fn pool(&self, at: usize) -> &PoolRow {
        &self.pools[at]
    }

    pub(crate) fn pool_name(&self, at: usize) -> Pool {
        let pool = &self.pools[at];
        let queue = &self.queues[pool.queue];
        Pool {
            tenant: self.tenants[queue.tenant].name.clone(),
            queue: queue.name.clone(),
            purpose: queue.purpose,
            run_by: pool.run_by.clone(),
        }
    }

    /// Tasks of a tenant that are not terminal, internal ones not counted.
    pub(crate) fn tenant_live(&self, tenant: &TenantName) -> u64 {
        self.tenant_at.get(tenant).map_or(0, |at| self.tenants[*at].live)
    }

    /// Pools with scheduled tasks whose moment has come, the earliest first.
    pub(crate) fn ripe_pools(&self, now: i64) -> Vec<usize> {
        let ripe = |(at, pool): (usize, &PoolRow)| match pool.next_at {
            NextAt::Known(Some(next)) if next <= now => Some((next, at)),
            NextAt::Stale => Some((now, at)),
            NextAt::Known(_) => None,
        };
        let mut pools: Vec<(i64, usize)> = self.pools.iter().enumerate().filter_map(ripe).collect();
        pools.sort_unstable();
        pools.into_iter().map(|(_, at)| at).collect()
    }

    pub(crate) fn has_ripe(&self, pool: usize, now: i64) -> bool {
        match self.pools[pool].next_at {
            NextAt::Known(next) => next.is_some_and(|next| next <= now),
            NextAt::Stale => true,
        }
    }

    /// Queues, for housekeeping that takes them in turn.
    pub(crate) fn queue_count(&self) -> usize {
        self.queues.len()
    }

    /// A task moved: adjusts every count and order it is part of.
    pub(crate) fn shift(
        &mut self,
        home: Home,
        n: i64,
        before: Option<Standing>,
        after: Option<Standing>,
    ) {
        let pool_at = self.lanes.line(home).pool;
        let queue_at = self.pools[pool_at].queue;
        let queue_vtime = self.queue_mut(queue_at).vtime;
        self.shift_counts(queue_at, before, after);
        let source = |standing: Option<Standing>| standing.and_then(|standing| standing.source);
        self.sources.shift(queue_at, source(before), source(after));
        self.shift_pool(pool_at, before, after);

        let was_ripe = before.is_some_and(|before| before.phase.is_ripe());
        let is_ripe = after.is_some_and(|after| after.phase.is_ripe());
        let (lane, line) = self.lanes.touch(home);
        lane.leases += u64::from(after.is_some_and(|after| after.is_leased));
        lane.leases -= u64::from(before.is_some_and(|before| before.is_leased));
        if is_ripe && !was_ripe && lane.ready() == 0 {
            lane.vtime = vtime_on_arrival(lane.vtime, queue_vtime);
        }
        lane.lines[line].shift(n, before, after, is_ripe, was_ripe);
    }

    fn shift_counts(&mut self, at: usize, before: Option<Standing>, after: Option<Standing>) {
        let queue = &mut self.queues[at];
        let live_before = queue.live_of_tenant();
        if let Some(after) = after {
            queue.counts[after.status as usize] += 1;
            queue.leases += u64::from(after.is_leased);
            queue.started += u64::from(after.started != Started::No);
            queue.ready += u64::from(after.phase.is_ripe());
        }
        if let Some(before) = before {
            queue.counts[before.status as usize] -= 1;
            queue.leases -= u64::from(before.is_leased);
            queue.started -= u64::from(before.started != Started::No);
            queue.ready -= u64::from(before.phase.is_ripe());
        }
        let tenant = &mut self.tenants[queue.tenant];
        tenant.live = tenant.live + queue.live_of_tenant() - live_before;
    }

    fn shift_pool(&mut self, at: usize, before: Option<Standing>, after: Option<Standing>) {
        let was = before.map(|before| (before.phase.is_ripe(), before.sched_at));
        let is = after.map(|after| (after.phase.is_ripe(), after.sched_at));
        if was.unwrap_or((false, None)) == is.unwrap_or((false, None)) {
            return;
        }
        let pool = &mut self.pools[at];
        let stored = pool.stored();
        pool.ready += u64::from(is.is_some_and(|(is_ripe, _)| is_ripe));
        pool.ready -= u64::from(was.is_some_and(|(was_ripe, _)| was_ripe));
        if let NextAt::Known(next) = &mut pool.next_at {
            if let Some(at) = is.and_then(|(_, at)| at) {
                *next = Some(next.map_or(at, |next| next.min(at)));
            }
            if was.is_some_and(|(_, at)| at.is_some() && at == *next) {
                pool.next_at = NextAt::Stale;
            }
        }
        if pool.stored() != stored && !pool.is_dirty {
            pool.is_dirty = true;
            self.dirty_pools.push(at);
        }
    }

    /// How a queue and a lane stand, as a task sees it that is about to come into the lane.
    pub(crate) fn place(&self, queue: usize, home: Home) -> Place {
        let (lane, queue) = (self.lanes.lane(home.lane), &self.queues[queue]);
        Place {
            ahead: lane.ready(),
            is_paused: queue.is_paused,
            is_held: queue.is_strict && lane.has_holder(),
            queue_leases: queue.leases,
            lane_leases: lane.leases,
            bucket: queue.bucket,
            lane_full_at: lane.full_at,
        }
    }

    /// The home of a task that names its line.
    pub(crate) fn home(&mut self, hot: &mut Hot<'_>, line_id: i64) -> Result<Home, Fault> {
        let queues = &self.queues;
        self.lanes.home(hot, line_id, &|at| queues.get(at).is_some_and(|queue| queue.is_strict))
    }

    /// The home of a new task; its lane comes into being if it is new.
    pub(crate) fn home_for(
        &mut self,
        hot: &mut Hot<'_>,
        queue: usize,
        key: Option<&LaneKey>,
        pool: usize,
    ) -> Result<Home, Fault> {
        let is_strict = self.queues[queue].is_strict;
        self.lanes.home_for(hot, (queue, is_strict), key, pool)
    }

    /// Writes back what a transaction changed, once each.
    pub(crate) fn flush(&mut self, hot: &mut Hot<'_>, format: Format) -> Result<(), Fault> {
        self.flush_lanes(hot)?;
        self.sources.flush(hot)?;
        for at in self.dirty_pools.drain(..) {
            let pool = &mut self.pools[at];
            let next_at = match pool.next_at {
                NextAt::Known(next) => next,
                NextAt::Stale => first_scheduled(hot, id_at(at))?,
            };
            pool.next_at = NextAt::Known(next_at);
            pool.is_dirty = false;
            hot.pool_update.execute(params![id_at(at), pool.ready > 0, next_at])?;
        }
        for at in self.dirty_queues.drain(..) {
            let queue = &mut self.queues[at];
            queue.is_dirty = false;
            hot.queue_update.execute(params![
                id_at(at),
                queue.is_paused,
                queue.is_strict,
                queue.policy.as_deref(),
                queue.vtime,
                queue.bucket.as_ref().map(|bucket| crate::codec::encode(bucket, format)),
                count_of(queue.counts[0]),
                count_of(queue.counts[1]),
                count_of(queue.counts[2]),
                count_of(queue.counts[3]),
                count_of(queue.counts[4]),
                count_of(queue.counts[5]),
                count_of(queue.ready),
                count_of(queue.leases),
                count_of(queue.started),
            ])?;
        }
        Ok(())
    }

    /// Writes back the lanes only: a claim walks them in the order that is stored.
    pub(crate) fn flush_lanes(&mut self, hot: &mut Hot<'_>) -> Result<(), Fault> {
        let queues = &self.queues;
        self.lanes.flush(hot, |queue| (queues[queue].is_strict, queues[queue].vtime))
    }

    /// Tenants get their ids in the order of their coming.
    pub(crate) fn tenant_id(&self, queue: usize) -> i64 {
        id_at(self.queues[queue].tenant)
    }
}

/// How a runner is stored.
pub(crate) fn run_by_columns(run_by: &RunBy) -> (i64, &str) {
    match run_by {
        RunBy::Upstream(origin) => (0, origin),
        RunBy::Workers => (1, ""),
        RunBy::Inline => (2, ""),
        RunBy::Delivery => (3, ""),
    }
}

/// Reads it back.
pub(crate) fn run_by_of(kind: i64, origin: &str) -> Result<RunBy, Fault> {
    match kind {
        0 => Ok(RunBy::Upstream(origin.into())),
        1 => Ok(RunBy::Workers),
        2 => Ok(RunBy::Inline),
        3 => Ok(RunBy::Delivery),
        _ => Err(Fault::damaged(format!("a pool is of kind {kind}"))),
    }
}

fn first_scheduled(hot: &mut Hot<'_>, pool: i64) -> Result<Option<i64>, Fault> {
    let mut rows = hot.task_next_scheduled.query([pool])?;
    Ok(match rows.next()? {
        Some(row) => Some(row.get(0)?),
        None => None,
    })
}
