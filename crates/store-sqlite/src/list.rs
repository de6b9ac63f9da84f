//! Pages of tasks, newest first. The work of a page is bounded, whatever the filter.

use std::collections::HashSet;

use relais_core::{LaneKey, QueueName, Status, Task, TaskId, TenantName};
use relais_store::{Filter, Page};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params};

use crate::codec;
use crate::fault::Fault;
use crate::ledger::count_at;
use crate::row::{status_of, task_of};
use crate::sql;

/// Rows looked at for one page.
const LOOKED_AT_MAX: usize = 10_000;
/// Tasks of a status that are sorted for each page.
const FEW_MAX: u64 = 4_000;
/// Pools whose tasks are merged by an index; a filter that means more goes through all tasks.
const MERGED_MAX: usize = 64;

/// One way of going through tasks: a statement whose rows fall by id.
struct Way {
    statement: &'static str,
    /// Its parameters after the cursor and the limit.
    params: Vec<Value>,
}

pub(crate) fn page(conn: &Connection, filter: &Filter) -> Result<Page, Fault> {
    if filter.limit == 0 {
        return Ok(Page::default());
    }
    let pools = pools(conn, filter)?;
    let search = Search { filter, pools: &pools, is_all: is_everything(filter) };
    let ways = ways(conn, filter, &pools)?;
    if let [way] = &ways[..] {
        return search.follow(conn, way);
    }
    search.merge(conn, &ways)
}

/// Whether no pool is left out, so that none needs to be looked up.
fn is_everything(filter: &Filter) -> bool {
    filter.tenant.is_none() && filter.queue.is_none()
}

fn pools(conn: &Connection, filter: &Filter) -> Result<HashSet<i64>, Fault> {
    let tenant = filter.tenant.as_ref().map(TenantName::as_str);
    let queue = filter.queue.as_ref().map(QueueName::as_str);
    let mut select = conn.prepare_cached(sql::LIST_POOLS)?;
    let pools = select.query_map(params![tenant, queue], |row| row.get(0))?;
    Ok(pools.collect::<Result<_, _>>()?)
}

/// How to go through the tasks a filter means, with as few others as possible.
fn ways(conn: &Connection, filter: &Filter, pools: &HashSet<i64>) -> Result<Vec<Way>, Fault> {
    if let Some((key, value)) = &filter.label {
        let tenant = filter.tenant.as_ref().map(TenantName::as_str);
        let mut select = conn.prepare_cached(sql::LIST_TENANTS)?;
        let tenants = select.query_map([tenant], |row| row.get::<_, i64>(0))?;
        let way = |tenant| Way {
            statement: sql::LIST_LABELED,
            params: vec![Value::Integer(tenant), key.clone().into(), value.clone().into()],
        };
        return Ok(tenants.map(|tenant| tenant.map(way)).collect::<Result<_, _>>()?);
    }
    if let Some(status) = filter.status
        && counts(conn)?[status as usize] <= FEW_MAX
    {
        let params = vec![Value::Integer(status as i64)];
        return Ok(vec![Way { statement: sql::LIST_FEW, params }]);
    }
    let is_apart =
        matches!(filter.status, Some(Status::Waiting | Status::Failed | Status::Canceled));
    if let (true, Some(status)) = (is_apart && pools.len() <= MERGED_MAX, filter.status) {
        let mut pools: Vec<i64> = pools.iter().copied().collect();
        pools.sort_unstable();
        let way = |pool| Way {
            statement: sql::LIST_APART,
            params: vec![Value::Integer(pool), Value::Integer(status as i64)],
        };
        return Ok(pools.into_iter().map(way).collect());
    }
    Ok(vec![Way { statement: sql::LIST_ALL, params: Vec::new() }])
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

/// What a page looks for.
struct Search<'a> {
    filter: &'a Filter,
    pools: &'a HashSet<i64>,
    is_all: bool,
}

/// What one way found.
#[derive(Default)]
struct Found {
    tasks: Vec<Task>,
    /// Where looking stopped before the end of the way.
    stopped_at: Option<TaskId>,
}

impl Search<'_> {
    fn follow(&self, conn: &Connection, way: &Way) -> Result<Page, Fault> {
        let found = self.look(conn, way, self.filter.limit, LOOKED_AT_MAX)?;
        Ok(Page { tasks: found.tasks, next: found.stopped_at })
    }

    /// Merges what several ways find; the page ends where the first of them stopped looking.
    fn merge(&self, conn: &Connection, ways: &[Way]) -> Result<Page, Fault> {
        let mut tasks = Vec::new();
        let mut stopped_at: Option<TaskId> = None;
        let each_max = (LOOKED_AT_MAX / ways.len().max(1)).max(self.filter.limit);
        for way in ways {
            let found = self.look(conn, way, self.filter.limit, each_max)?;
            stopped_at = stopped_at.max(found.stopped_at);
            tasks.extend(found.tasks);
        }
        // Beyond the point where one of the ways stopped, the others may not speak.
        tasks.retain(|task| stopped_at.is_none_or(|stopped| task.spec.id >= stopped));
        tasks.sort_unstable_by_key(|task| std::cmp::Reverse(task.spec.id));
        if tasks.len() > self.filter.limit {
            tasks.truncate(self.filter.limit);
            stopped_at = tasks.last().map(|task| task.spec.id);
        }
        Ok(Page { tasks, next: stopped_at })
    }

    /// Goes along a way until `limit` tasks are found and it is known whether another follows.
    fn look(
        &self,
        conn: &Connection,
        way: &Way,
        limit: usize,
        looked_at_max: usize,
    ) -> Result<Found, Fault> {
        let mut found = Found::default();
        let after = self.filter.after.map_or([0xff; 16], codec::id_bytes);
        let mut select = conn.prepare_cached(way.statement)?;
        let mut values = vec![
            Value::Blob(after.to_vec()),
            Value::Integer(i64::try_from(looked_at_max + 1).unwrap_or(i64::MAX)),
        ];
        values.extend(way.params.iter().cloned());
        let mut rows = select.query(rusqlite::params_from_iter(values))?;
        let mut looked_at = 0;
        let mut last = None;
        while let Some(row) = rows.next()? {
            if looked_at == looked_at_max {
                found.stopped_at = last;
                break;
            }
            let id = codec::id_of(row.get_ref(0)?.as_blob()?)?;
            looked_at += 1;
            let fitting = match self.fitting(row) {
                // The others can be read; `check` names this one.
                Err(Fault::Task { .. }) => None,
                fitting => fitting?,
            };
            if let Some(task) = fitting {
                if found.tasks.len() == limit {
                    found.stopped_at = found.tasks.last().map(|task| task.spec.id);
                    break;
                }
                found.tasks.push(task);
            }
            last = Some(id);
        }
        Ok(found)
    }

    /// The task of a row, if the filter means it.
    fn fitting(&self, row: &Row<'_>) -> Result<Option<Task>, Fault> {
        let filter = self.filter;
        let status = status_of(row.get(2)?)?;
        if filter.status.is_some_and(|wanted| wanted != status)
            || (!self.is_all && !self.pools.contains(&row.get(1)?))
        {
            return Ok(None);
        }
        let task = task_of(row, 3)?;
        let fits = |lane: &LaneKey| task.spec.lane.as_ref() == Some(lane);
        Ok(filter.lane.as_ref().is_none_or(fits).then_some(task))
    }
}
