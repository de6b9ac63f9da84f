//! Pages of tasks, newest first. The work of a page is bounded, whatever the filter.
//!
//! A page goes along one or several ways: indexes in which ids of tasks that it may show fall. It
//! reads a task only where a way comes upon it.

use std::collections::{HashMap, HashSet, VecDeque};

use relais_core::{QueueName, Status, Task, TaskId, TenantName};
use relais_store::{Filter, Page};
use rusqlite::types::Value;
use rusqlite::{Connection, Row};

use crate::codec;
use crate::fault::Fault;
use crate::ledger::count_at;
use crate::row::{status_of, task_of};
use crate::sql;

/// Tasks looked at for one page.
const LOOKED_AT_MAX: usize = 10_000;
/// Tasks of a status that are sorted for each page.
const FEW_MAX: u64 = 10_000;
/// A status that one task in so many has is found by going through all of them.
const DENSE_IN: u64 = 8;
/// Pools whose tasks are merged by an index; a filter that means more goes through all tasks.
const MERGED_MAX: usize = 1_024;
/// Ids read at once, at least, of each of several ways.
const IDS_MIN: usize = 8;

pub(crate) fn page(conn: &Connection, filter: &Filter) -> Result<Page, Fault> {
    if filter.limit == 0 {
        return Ok(Page::default());
    }
    let scope = Scope::of(conn, filter)?;
    let mut search = Search { conn, filter, ways: scope.ways(conn, filter)?, scope };
    search.page()
}

/// The pools that a filter means, without those in which it finds nothing.
struct Scope {
    /// None where no task is left out for its pool.
    pools: Option<HashSet<i64>>,
    /// Tasks that have the status, if one is asked for.
    count: u64,
}

impl Scope {
    fn of(conn: &Connection, filter: &Filter) -> Result<Self, Fault> {
        let tenant = filter.tenant.as_ref().map(TenantName::as_str);
        let queue = filter.queue.as_ref().map(QueueName::as_str);
        if (tenant, queue, filter.status) == (None, None, None) {
            return Ok(Self { pools: None, count: 0 });
        }
        let (statement, params) = match (tenant, queue) {
            (Some(tenant), Some(queue)) => (sql::LIST_POOLS_OF_QUEUE, vec![tenant, queue]),
            (Some(tenant), None) => (sql::LIST_POOLS_OF, vec![tenant]),
            (None, _) => (sql::LIST_POOLS, Vec::new()),
        };
        let (mut pools, mut counts) = (HashSet::new(), HashMap::new());
        let mut select = conn.prepare_cached(statement)?;
        let mut rows = select.query(rusqlite::params_from_iter(params))?;
        while let Some(row) = rows.next()? {
            if queue
                .is_some_and(|queue| row.get_ref(2).is_ok_and(|name| name.as_str() != Ok(queue)))
            {
                continue;
            }
            let with_status = match filter.status {
                Some(status) => count_at(row, 3 + status as usize)?,
                None => 1,
            };
            if with_status > 0 {
                pools.insert(row.get(0)?);
                counts.insert(row.get::<_, i64>(1)?, with_status);
            }
        }
        Ok(Self { pools: Some(pools), count: counts.values().sum() })
    }

    /// How to go through the tasks a filter means, with as few others as possible.
    fn ways(&self, conn: &Connection, filter: &Filter) -> Result<Vec<Way>, Fault> {
        let nothing = self.pools.as_ref().is_some_and(HashSet::is_empty);
        if nothing {
            return Ok(Vec::new());
        }
        if let Some((key, value)) = &filter.label {
            let tenants = tenants(conn, filter.tenant.as_ref())?;
            let label =
                |tenant| vec![Value::Integer(tenant), key.clone().into(), value.clone().into()];
            return Ok(tenants
                .into_iter()
                .map(|tenant| Way::new(sql::LIST_LABELED, label(tenant)))
                .collect());
        }
        if let Some(node) = filter.held_by {
            let held = vec![Value::Integer(node.cast_signed())];
            return Ok(vec![Way::new(sql::LIST_HELD, held)]);
        }
        let (Some(status), Some(pools)) = (filter.status, &self.pools) else {
            return Ok(vec![Way::new(sql::LIST_ALL, Vec::new())]);
        };
        let number = Value::Integer(status as i64);
        let is_apart = matches!(status, Status::Waiting | Status::Failed | Status::Canceled);
        if is_apart && pools.len() <= MERGED_MAX {
            let of = |pool: &i64| vec![Value::Integer(*pool), number.clone()];
            return Ok(pools.iter().map(|pool| Way::new(sql::LIST_APART, of(pool))).collect());
        }
        let one = |statement: &str, params: &[i64]| {
            let mut select = conn.prepare_cached(statement)?;
            let mut rows = select.query(rusqlite::params_from_iter(params))?;
            rows.next()?.map_or(Ok(0), |row| count_at(row, 0))
        };
        let is_dense = self.count * DENSE_IN >= one(sql::SPAN, &[])?;
        let few_max = i64::try_from(FEW_MAX + 1).expect("a small number");
        if !is_dense && one(sql::COUNT_FEW, &[status as i64, few_max])? <= FEW_MAX {
            return Ok(vec![Way::new(sql::LIST_FEW, vec![number])]);
        }
        Ok(vec![Way::new(sql::LIST_ALL, Vec::new())])
    }
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
    /// Ids that were read ahead.
    ids: VecDeque<TaskId>,
    is_read: bool,
}

impl Way {
    fn new(statement: &'static str, params: Vec<Value>) -> Self {
        Self { statement, params, ids: VecDeque::new(), is_read: false }
    }

    /// The first of its ids behind `after`, read ahead `count` at a time.
    fn first(
        &mut self,
        conn: &Connection,
        after: Option<TaskId>,
        count: usize,
    ) -> Result<Option<TaskId>, Fault> {
        if self.ids.is_empty() && !self.is_read {
            let after = after.map_or([0xff; 16], codec::id_bytes);
            let limit = i64::try_from(count).unwrap_or(i64::MAX);
            let mut values = vec![Value::Blob(after.to_vec()), Value::Integer(limit)];
            values.extend(self.params.iter().cloned());
            let mut select = conn.prepare_cached(self.statement)?;
            let mut rows = select.query(rusqlite::params_from_iter(values))?;
            while let Some(row) = rows.next()? {
                self.ids.push_back(codec::id_of(row.get_ref(0)?.as_blob()?)?);
            }
            self.is_read = self.ids.len() < count;
        }
        Ok(self.ids.front().copied())
    }
}

/// What a page looks for, and where.
struct Search<'a> {
    conn: &'a Connection,
    filter: &'a Filter,
    scope: Scope,
    ways: Vec<Way>,
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
    /// Goes along all ways at once until the page is full and it is known whether another follows.
    fn page(&mut self) -> Result<Page, Fault> {
        // A way that sorts for each answer is asked once; of many ways each is asked for a little.
        let ahead = match &self.ways[..] {
            [Way { statement: sql::LIST_ALL, .. }] => return self.walk(),
            [way] if way.statement == sql::LIST_FEW => LOOKED_AT_MAX + 1,
            ways => (2 * self.filter.limit).div_ceil(ways.len().max(1)).max(IDS_MIN),
        };
        let mut filling = Filling { last: self.filter.after, ..Filling::default() };
        let mut select = self.conn.prepare_cached(sql::LIST_TASK)?;
        while let Some(id) = self.next(filling.last, ahead)?
            && filling.goes_on_with(id)
        {
            let mut rows = select.query([codec::id_bytes(id)])?;
            let fitting = rows.next()?.map(|row| self.fitting(row)).transpose()?.flatten();
            if fitting.is_some_and(|task| filling.is_full_before(task, self.filter.limit)) {
                break;
            }
        }
        Ok(filling.page)
    }

    /// Goes through all tasks by one statement: where thousands are passed over, asking for each by
    /// its id would take several times as long.
    fn walk(&self) -> Result<Page, Fault> {
        let mut filling = Filling { last: self.filter.after, ..Filling::default() };
        let after = self.filter.after.map_or([0xff; 16], codec::id_bytes);
        let limit = i64::try_from(LOOKED_AT_MAX + 1).expect("a small number");
        let mut select = self.conn.prepare_cached(sql::LIST_ALL)?;
        let mut rows = select.query((after, limit))?;
        while let Some(row) = rows.next()? {
            if !filling.goes_on_with(codec::id_of(row.get_ref(0)?.as_blob()?)?) {
                break;
            }
            let fitting = self.fitting(row)?;
            if fitting.is_some_and(|task| filling.is_full_before(task, self.filter.limit)) {
                break;
            }
        }
        Ok(filling.page)
    }

    /// The next id behind `last`, of all ways.
    fn next(&mut self, last: Option<TaskId>, ahead: usize) -> Result<Option<TaskId>, Fault> {
        let mut first: Option<(TaskId, usize)> = None;
        for (at, way) in self.ways.iter_mut().enumerate() {
            let id = way.first(self.conn, last, ahead)?;
            first = first.max(id.map(|id| (id, at)));
        }
        let Some((id, at)) = first else { return Ok(None) };
        self.ways[at].ids.pop_front();
        Ok(Some(id))
    }

    /// The task of a row, if the filter means it, and if it can be read: `check` names one that cannot.
    fn fitting(&self, row: &Row<'_>) -> Result<Option<Task>, Fault> {
        let filter = self.filter;
        let status = status_of(row.get(2)?)?;
        if filter.status.is_some_and(|wanted| wanted != status) {
            return Ok(None);
        }
        if let Some(pools) = &self.scope.pools
            && !pools.contains(&row.get(1)?)
        {
            return Ok(None);
        }
        let task = match task_of(row, 3) {
            Err(Fault::Task { .. }) => return Ok(None),
            task => task?,
        };
        let is_of_lane = filter.lane.is_none() || filter.lane == task.spec.lane;
        let is_held = filter.held_by.is_none() || filter.held_by == task.life.held_by();
        Ok((is_of_lane && is_held).then_some(task))
    }
}
