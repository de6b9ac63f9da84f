//! Logs: of one task, and of the store in the order of its commits.

use relais_core::{Spec, TaskId, TenantName};
use relais_store::{EventQuery, Logged};
use rusqlite::{Connection, Row, Transaction, params};

use crate::codec;
use crate::fault::Fault;
use crate::scribe::{POS, position};
use crate::sql;

/// Tasks with a label whose logs are merged; with more, the whole log is read.
const LABELED_MAX: i64 = 1_000;
/// An event knows where the last before it is whose number this divides: a log of ten thousand is gone
/// through in 156 leaps. The statements that read logs have the number, too.
pub(crate) const LEAP: i64 = 64;

pub(crate) fn events(conn: &Connection, query: &EventQuery) -> Result<Vec<Logged>, Fault> {
    match query {
        EventQuery::Task { id, after, limit } => of_task(conn, *id, *after, *limit),
        EventQuery::Store { tenant, tasks, label, after, limit } => {
            let log = Log { conn, tenant, label: label.as_ref(), after: *after, limit: *limit };
            if !tasks.is_empty() {
                return log.of_tasks(tasks);
            }
            match log.labeled()? {
                Some(tasks) => log.of_tasks(&tasks),
                None => log.of_all(),
            }
        }
    }
}

/// The last place that was given, also to what was erased since.
pub(crate) fn last_pos(conn: &Connection) -> Result<u64, Fault> {
    let mut select = conn.prepare_cached(sql::READ_LAST_POS)?;
    Ok(select.query_row([POS], |row| row.get(0).map(position))?)
}

/// Whether a question can be answered by looking at so many events, as far as its tasks tell.
pub(crate) fn are_few(conn: &Connection, query: &EventQuery, max: u64) -> Result<bool, Fault> {
    match query {
        EventQuery::Task { id, after, limit } => {
            Ok(*limit as u64 <= max || behind(conn, *id, *after)? <= max)
        }
        EventQuery::Store { tasks, .. } if tasks.is_empty() => Ok(false),
        EventQuery::Store { tasks, .. } => {
            let mut count = 0;
            for id in tasks {
                count += behind(conn, *id, 0)?;
            }
            Ok(count <= max)
        }
    }
}

/// How many numbers of a task's log come after one.
fn behind(conn: &Connection, id: TaskId, after: u64) -> Result<u64, Fault> {
    let mut select = conn.prepare_cached(sql::READ_LAST_SEQ)?;
    let mut rows = select.query([codec::id_bytes(id)])?;
    let last = match rows.next()? {
        Some(row) => position(row.get(0)?),
        None => 0,
    };
    Ok(last.saturating_sub(after))
}

fn of_task(conn: &Connection, id: TaskId, after: u64, limit: usize) -> Result<Vec<Logged>, Fault> {
    let snapshot = conn.unchecked_transaction()?;
    let mut events = Vec::new();
    for pos in places_of(conn, id, signed(after), limit)? {
        events.extend(told(&snapshot, id, pos)?);
    }
    Ok(events)
}

/// Where the first events of a task behind a number are.
fn places_of(conn: &Connection, id: TaskId, after: i64, limit: usize) -> Result<Vec<i64>, Fault> {
    let mut select = conn.prepare_cached(sql::READ_PLACES)?;
    let behind = params![codec::id_bytes(id), after, signed(limit as u64)];
    let places = select.query_map(behind, |row| row.get(0))?;
    Ok(places.collect::<Result<_, _>>()?)
}

/// What the event at a place says, of the moment at which the place was found: one that went in between
/// would look like the end of its log.
fn told(snapshot: &Transaction<'_>, id: TaskId, pos: i64) -> Result<Option<Logged>, Fault> {
    let mut select = snapshot.prepare_cached(sql::READ_EVENT)?;
    let mut rows = select.query([pos])?;
    rows.next()?.map(|row| logged(id, row)).transpose()
}

/// An event of many tasks; none if it cannot be read. The others can; `check` names this one.
fn if_readable(event: Result<Option<Logged>, Fault>) -> Result<Option<Logged>, Fault> {
    match event {
        Err(Fault::Task { .. }) => Ok(None),
        event => event,
    }
}

/// Reads position, number and data.
pub(crate) fn logged(id: TaskId, row: &Row<'_>) -> Result<Logged, Fault> {
    let seq: i64 = row.get(1)?;
    let entry = codec::decode_entry(id, position(seq), row.get_ref(2)?.as_blob()?)?;
    Ok(Logged { pos: position(row.get(0)?), entry })
}

pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A question to the log of the store.
struct Log<'a> {
    conn: &'a Connection,
    tenant: &'a TenantName,
    label: Option<&'a (String, String)>,
    after: u64,
    limit: usize,
}

impl Log<'_> {
    /// The tasks with the label, if they are few.
    fn labeled(&self) -> Result<Option<Vec<TaskId>>, Fault> {
        let Some((key, value)) = self.label else { return Ok(None) };
        let mut select = self.conn.prepare_cached(sql::READ_LABELED)?;
        let mut rows = select.query(params![self.tenant.as_str(), key, value, LABELED_MAX + 1])?;
        let mut tasks = Vec::new();
        while let Some(row) = rows.next()? {
            tasks.push(codec::id_of(row.get_ref(0)?.as_blob()?)?);
        }
        Ok((signed(tasks.len() as u64) <= LABELED_MAX).then_some(tasks))
    }

    /// Merges the logs of a few tasks.
    fn of_tasks(&self, tasks: &[TaskId]) -> Result<Vec<Logged>, Fault> {
        let snapshot = self.conn.unchecked_transaction()?;
        let mut wanted = Vec::with_capacity(tasks.len());
        for id in tasks {
            if self.has_label(*id)? {
                wanted.push(*id);
            }
        }
        let (mut events, mut after) = (Vec::new(), signed(self.after));
        loop {
            let places = self.places(&wanted, after)?;
            for (pos, id) in &places {
                events.extend(if_readable(told(&snapshot, *id, *pos))?);
            }
            match places.last() {
                Some((last, _)) if places.len() == self.limit && events.len() < self.limit => {
                    after = *last;
                }
                _ => break,
            }
        }
        events.truncate(self.limit);
        Ok(events)
    }

    /// Where the first events of some tasks behind a position are.
    fn places(&self, tasks: &[TaskId], after: i64) -> Result<Vec<(i64, TaskId)>, Fault> {
        let mut seq_at = self.conn.prepare_cached(sql::READ_SEQ_AT)?;
        let mut places: Vec<(i64, TaskId)> = Vec::new();
        for id in tasks {
            let seen = params![codec::id_bytes(*id), self.tenant.as_str(), after];
            if let Some(seq) = seq_at.query_row(seen, |row| row.get::<_, Option<i64>>(0))? {
                let of_task = places_of(self.conn, *id, seq, self.limit)?;
                places.extend(of_task.into_iter().map(|pos| (pos, *id)));
            }
        }
        places.sort_unstable();
        places.dedup();
        places.truncate(self.limit);
        Ok(places)
    }

    fn has_label(&self, id: TaskId) -> Result<bool, Fault> {
        let Some(label) = self.label else { return Ok(true) };
        match crate::read::tasks(self.conn, &[id]) {
            // Its labels cannot be read either.
            Err(Fault::Task { .. }) => Ok(false),
            tasks => {
                Ok(tasks?.pop().flatten().is_some_and(|task| task.spec.labels.contains(label)))
            }
        }
    }

    /// Goes through the log of the tenant.
    fn of_all(&self) -> Result<Vec<Logged>, Fault> {
        let mut select = self.conn.prepare_cached(sql::READ_LOG)?;
        let mut events = Vec::new();
        let mut rows = select.query(params![signed(self.after), self.tenant.as_str()])?;
        while events.len() < self.limit
            && let Some(row) = rows.next()?
        {
            if let Some(label) = self.label {
                let spec = codec::decode::<Spec>("task", row.get_ref(4)?.as_blob()?);
                if !spec.is_ok_and(|spec| spec.labels.contains(label)) {
                    continue;
                }
            }
            let id = codec::id_of(row.get_ref(3)?.as_blob()?)?;
            events.extend(if_readable(logged(id, row).map(Some))?);
        }
        Ok(events)
    }
}
