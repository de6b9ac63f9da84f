//! Pages of tasks, newest first. The work of a page is bounded, whatever the filter.
//!
//! A page goes along one or several ways: indexes in which ids of tasks that it may show fall. It
//! reads a task only where a way comes upon it. Tasks that are neither queued nor run are in an index
//! of their pool and status (ADR 0012): a page of them costs what it shows. So does one of queued
//! tasks, which are found through their lanes, while there are few; where there are many, and for
//! tasks that run, see [`Scope::ways`].

use std::collections::{BinaryHeap, HashMap, VecDeque};

use relais_core::{QueueName, Status, Task, TaskId, TenantName};
use relais_store::{Attended, Filter, Page};
use rusqlite::types::Value;
use rusqlite::{Connection, Row};

use crate::codec;
use crate::fault::Fault;
use crate::ledger::count_at;
use crate::row::{status_of, task_of};
use crate::sql;

/// Tasks looked at for one page.
const LOOKED_AT_MAX: usize = 10_000;
/// Tasks, or lanes of queued tasks, that are gone through for each page so that they can be sorted.
const FEW_MAX: i64 = 10_000;
/// Where ways are not cheap, so many tasks for each that a page shows are looked at first: of a store
/// that has mostly what is asked for, nothing else needs to be read.
const WALKED_FOR_EACH: usize = 8;
/// The ways through so many pools are cheap, unless one of them sorts.
const CHEAP_POOLS_MAX: usize = 64;
/// Ids read at once, at least, of each of several ways.
const IDS_MIN: usize = 4;

pub(crate) fn page(conn: &Connection, filter: &Filter) -> Result<Page, Fault> {
    if filter.limit == 0 {
        return Ok(Page::default());
    }
    let scope = Scope::of(conn, filter)?;
    let search = Search { conn, filter, scope: scope.as_ref() };
    let mut filling = Filling { last: filter.after, ..Filling::default() };
    let few = filter.limit.saturating_add(1).saturating_mul(WALKED_FOR_EACH);
    if search.is_costly() && search.walk(&mut filling, few.min(LOOKED_AT_MAX / 2))? {
        return Ok(filling.page);
    }
    match ways(conn, filter, scope.as_ref())? {
        Some(mut ways) => search.merge(&mut filling, &mut ways)?,
        None => _ = search.walk(&mut filling, LOOKED_AT_MAX + 1)?,
    }
    Ok(filling.page)
}

/// The pools that a filter means, without those in which it finds nothing.
struct Scope {
    /// By their ids, with the queue of each.
    pools: HashMap<i64, i64>,
    /// Tasks per status of these queues.
    queues: HashMap<i64, [u64; 6]>,
}

/// Which statuses a filter means.
fn statuses(filter: &Filter) -> &[Status] {
    filter.status.as_ref().map_or(&Status::ALL[..], std::slice::from_ref)
}

impl Scope {
    /// `None` where no task is left out for its pool.
    fn of(conn: &Connection, filter: &Filter) -> Result<Option<Self>, Fault> {
        let tenant = filter.tenant.as_ref().map(TenantName::as_str);
        let queue = filter.queue.as_ref().map(QueueName::as_str);
        if (tenant, queue, filter.status) == (None, None, None) {
            return Ok(None);
        }
        let (statement, params) = match (tenant, queue) {
            (Some(tenant), Some(queue)) => (sql::LIST_POOLS_OF_QUEUE, vec![tenant, queue]),
            (Some(tenant), None) => (sql::LIST_POOLS_OF, vec![tenant]),
            (None, _) => (sql::LIST_POOLS, Vec::new()),
        };
        let mut scope = Self { pools: HashMap::new(), queues: HashMap::new() };
        let mut select = conn.prepare_cached(statement)?;
        let mut rows = select.query(rusqlite::params_from_iter(params))?;
        while let Some(row) = rows.next()? {
            if queue.is_some() && row.get_ref(2)?.as_str().ok() != queue {
                continue;
            }
            let mut counts = [0; 6];
            for status in statuses(filter) {
                counts[*status as usize] = count_at(row, 3 + *status as usize)?;
            }
            if counts != [0; 6] {
                let queue = row.get(1)?;
                scope.pools.insert(row.get(0)?, queue);
                scope.queues.insert(queue, counts);
            }
        }
        Ok(Some(scope))
    }

    /// Tasks with a status.
    fn count(&self, status: Status) -> u64 {
        self.queues.values().map(|counts| counts[status as usize]).sum()
    }

    /// The ways along which all tasks of a scope are found that have one of the statuses; `None` if
    /// more of them would have to be sorted than is done for a page.
    ///
    /// A task that runs is in an index of all that run, of whatever tenant: one of its own would cost
    /// each life two writes. A page with these goes through up to ten thousand of them.
    fn ways(&self, conn: &Connection, statuses: &[Status]) -> Result<Option<Vec<Way>>, Fault> {
        let mut ways = Vec::new();
        for status in statuses.iter().filter(|status| self.count(**status) > 0) {
            let number = Value::Integer(*status as i64);
            match status {
                Status::Queued if self.has_few_queued(conn)? => {
                    let queued = self.queues.iter().filter(|(_, counts)| counts[0] > 0);
                    let of = |queue: &i64| Way::sorted(sql::LIST_QUEUED, Value::Integer(*queue));
                    ways.extend(queued.map(|(queue, _)| of(queue)));
                }
                Status::Queued | Status::Running => {
                    let params = [*status as i64, FEW_MAX + 1];
                    if count(conn, sql::COUNT_FEW, &params)? > FEW_MAX {
                        return Ok(None);
                    }
                    ways.push(Way::sorted(sql::LIST_FEW, number));
                }
                Status::Waiting | Status::Succeeded | Status::Failed | Status::Canceled => {
                    let has = |queue: &i64| self.queues[queue][*status as usize] > 0;
                    let pools = self.pools.iter().filter(|(_, queue)| has(queue));
                    let of = |pool: &i64| vec![Value::Integer(*pool), number.clone()];
                    ways.extend(pools.map(|(pool, _)| Way::new(sql::LIST_APART, of(pool))));
                }
            }
        }
        Ok(Some(ways))
    }

    /// Whether few tasks are queued, in few lanes.
    fn has_few_queued(&self, conn: &Connection) -> Result<bool, Fault> {
        let queued = i64::try_from(self.count(Status::Queued)).unwrap_or(i64::MAX);
        let mut room = FEW_MAX - queued;
        for (queue, _) in self.queues.iter().filter(|(_, counts)| counts[0] > 0) {
            if room > 0 {
                room -= count(conn, sql::COUNT_LANES, &[*queue, room])?;
            }
        }
        Ok(room > 0)
    }
}

/// How to go through the tasks that a filter means, with as few others as possible; `None` is through
/// all tasks.
fn ways(
    conn: &Connection,
    filter: &Filter,
    scope: Option<&Scope>,
) -> Result<Option<Vec<Way>>, Fault> {
    if scope.is_some_and(|scope| scope.pools.is_empty()) {
        return Ok(Some(Vec::new()));
    }
    if let Some((key, value)) = &filter.label {
        let label = |tenant| vec![Value::Integer(tenant), key.clone().into(), value.clone().into()];
        let tenants = tenants(conn, filter.tenant.as_ref())?.into_iter();
        return Ok(Some(tenants.map(|of| Way::new(sql::LIST_LABELED, label(of))).collect()));
    }
    if let Some(node) = filter.held_by {
        let held = vec![Value::Integer(node.cast_signed())];
        return Ok(Some(vec![Way::new(sql::LIST_HELD, held)]));
    }
    match filter.attended {
        Some(Attended::By(node)) => {
            let node = vec![Value::Integer(node.cast_signed())];
            return Ok(Some(vec![Way::new(sql::LIST_ATTENDED, node)]));
        }
        Some(Attended::NoMore) => return Ok(Some(vec![Way::new(sql::LIST_LEFT, Vec::new())])),
        None => {}
    }
    scope.map_or(Ok(None), |scope| scope.ways(conn, statuses(filter)))
}

/// What a statement counts.
fn count(conn: &Connection, statement: &str, params: &[i64]) -> Result<i64, Fault> {
    let mut select = conn.prepare_cached(statement)?;
    Ok(select.query_row(rusqlite::params_from_iter(params), |row| row.get(0))?)
}

/// The ids of one tenant, or of all.
fn tenants(conn: &Connection, of: Option<&TenantName>) -> Result<Vec<i64>, Fault> {
    let (statement, params) = match of {
        Some(tenant) => (sql::LIST_TENANT, vec![tenant.as_str()]),
        None => (sql::LIST_TENANTS, Vec::new()),
    };
    let mut select = conn.prepare_cached(statement)?;
    let tenants = select.query_map(rusqlite::params_from_iter(params), |row| row.get(0))?;
    Ok(tenants.collect::<Result<_, _>>()?)
}

/// All tasks per status.
pub(crate) fn counts(conn: &Connection) -> Result<[u64; 6], Fault> {
    let mut select = conn.prepare_cached(sql::COUNT_STATUSES)?;
    let mut rows = select.query([])?;
    let mut counts = [0; 6];
    if let Some(row) = rows.next()? {
        for (column, count) in counts.iter_mut().enumerate() {
            *count = count_at(row, column)?;
        }
    }
    Ok(counts)
}

/// One way of going through tasks: a statement that answers ids, falling.
struct Way {
    statement: &'static str,
    /// Its parameters after the cursor and the limit.
    params: Vec<Value>,
    /// Whether it goes through all of them, and sorts them, each time it is asked.
    is_sorted: bool,
    /// Ids that were read ahead.
    ids: VecDeque<TaskId>,
    is_read: bool,
}

impl Way {
    fn new(statement: &'static str, params: Vec<Value>) -> Self {
        Self { statement, params, is_sorted: false, ids: VecDeque::new(), is_read: false }
    }

    fn sorted(statement: &'static str, of: Value) -> Self {
        Self { is_sorted: true, ..Self::new(statement, vec![of]) }
    }

    /// The next of its ids, or the first behind `after`, read ahead `count` at a time.
    fn next(
        &mut self,
        search: &Search<'_>,
        after: Option<TaskId>,
        count: usize,
    ) -> Result<Option<TaskId>, Fault> {
        if self.ids.is_empty() && !self.is_read {
            // One that sorts is asked once.
            let count = if self.is_sorted { LOOKED_AT_MAX + 1 } else { count };
            let after = after.map_or([0xff; 16], codec::id_bytes);
            let limit = i64::try_from(count).unwrap_or(i64::MAX);
            let mut values = vec![Value::Blob(after.to_vec()), Value::Integer(limit)];
            values.extend(self.params.iter().cloned());
            let mut select = search.conn.prepare_cached(self.statement)?;
            let mut rows = select.query(rusqlite::params_from_iter(values))?;
            let mut found = 0;
            while let Some(row) = rows.next()? {
                found += 1;
                if !self.is_sorted || search.is_of_scope(row.get(1)?) {
                    self.ids.push_back(codec::id_of(row.get_ref(0)?.as_blob()?)?);
                }
            }
            self.is_read = self.is_sorted || found < count;
        }
        Ok(self.ids.pop_front())
    }
}

/// What a page looks for.
struct Search<'a> {
    conn: &'a Connection,
    filter: &'a Filter,
    scope: Option<&'a Scope>,
}

/// A page in the making.
#[derive(Default)]
struct Filling {
    page: Page,
    looked_at: usize,
    last: Option<TaskId>,
}

impl Filling {
    /// Whether one more task may be looked at; the page says where it ended otherwise.
    fn goes_on_with(&mut self, id: TaskId) -> bool {
        if self.looked_at == LOOKED_AT_MAX {
            self.page.next = self.last;
            return false;
        }
        self.looked_at += 1;
        self.last = Some(id);
        true
    }

    /// Takes a task that the filter means; answers whether the page is full, and this one follows it.
    fn is_full_before(&mut self, task: Task, limit: usize) -> bool {
        if self.page.tasks.len() == limit {
            self.page.next = self.page.tasks.last().map(|task| task.spec.id);
            return true;
        }
        self.page.tasks.push(task);
        false
    }
}

impl Search<'_> {
    /// Whether there is more than a page, by ways that are many, or sort.
    fn is_costly(&self) -> bool {
        let filter = self.filter;
        let is_found =
            filter.label.is_some() || filter.held_by.is_some() || filter.attended.is_some();
        let Some(scope) = self.scope.filter(|_| !is_found) else {
            return false;
        };
        let sorts = [Status::Queued, Status::Running].map(|status| scope.count(status) > 0);
        let is_long = scope.queues.values().flatten().sum::<u64>() > filter.limit as u64;
        is_long && (scope.pools.len() > CHEAP_POOLS_MAX || sorts.contains(&true))
    }

    /// Goes along all ways at once until the page is full and it is known whether another follows.
    fn merge(&self, filling: &mut Filling, ways: &mut [Way]) -> Result<(), Fault> {
        let ahead = (2 * self.filter.limit).div_ceil(ways.len().max(1)).max(IDS_MIN);
        let mut firsts = BinaryHeap::with_capacity(ways.len());
        for (at, way) in ways.iter_mut().enumerate() {
            firsts.extend(way.next(self, filling.last, ahead)?.map(|id| (id, at)));
        }
        let mut select = self.conn.prepare_cached(sql::LIST_TASK)?;
        while let Some((id, at)) = firsts.pop() {
            firsts.extend(ways[at].next(self, Some(id), ahead)?.map(|id| (id, at)));
            // One that changed its status meanwhile may come by two ways.
            if filling.last.is_some_and(|last| id >= last) {
                continue;
            }
            if !filling.goes_on_with(id) {
                break;
            }
            let mut rows = select.query([codec::id_bytes(id)])?;
            let fitting = rows.next()?.map(|row| self.fitting(row)).transpose()?.flatten();
            if fitting.is_some_and(|task| filling.is_full_before(task, self.filter.limit)) {
                break;
            }
        }
        Ok(())
    }

    /// Goes through up to `max` tasks, of whomever, by one statement: asking for each by its id would
    /// take several times as long. Answers whether the page is done.
    fn walk(&self, filling: &mut Filling, max: usize) -> Result<bool, Fault> {
        let after = filling.last.map_or([0xff; 16], codec::id_bytes);
        let mut select = self.conn.prepare_cached(sql::LIST_ALL)?;
        let mut rows = select.query((after, i64::try_from(max).unwrap_or(i64::MAX)))?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            count += 1;
            if !filling.goes_on_with(codec::id_of(row.get_ref(0)?.as_blob()?)?) {
                return Ok(true);
            }
            let fitting = self.fitting(row)?;
            if fitting.is_some_and(|task| filling.is_full_before(task, self.filter.limit)) {
                return Ok(true);
            }
        }
        Ok(count < max)
    }

    /// Whether tasks of a pool are meant.
    fn is_of_scope(&self, pool: i64) -> bool {
        self.scope.is_none_or(|scope| scope.pools.contains_key(&pool))
    }

    /// The task of a row, if the filter means it, and if it can be read: `check` names one that cannot.
    fn fitting(&self, row: &Row<'_>) -> Result<Option<Task>, Fault> {
        let filter = self.filter;
        let status = status_of(row.get(2)?)?;
        let is_other = filter.status.is_some_and(|wanted| wanted != status);
        if is_other || !self.is_of_scope(row.get(1)?) {
            return Ok(None);
        }
        let task = match task_of(row, 3) {
            Err(Fault::Task { .. }) => return Ok(None),
            task => task?,
        };
        let is_of_lane = filter.lane.is_none() || filter.lane == task.spec.lane;
        let is_held = filter.held_by.is_none() || filter.held_by == task.life.held_by();
        let is_attended = filter.attended.is_none_or(|attended| attended.fits(&task.life));
        Ok((is_of_lane && is_held && is_attended).then_some(task))
    }
}
