//! Tasks whose rows cannot be decoded. None of them can be settled, but none holds up its queue
//! either: it is set aside, where no claim and no alarm meets it, with all that is stored of it.

use relais_core::{Status, TaskId};
use rusqlite::Connection;

use crate::codec;
use crate::fault::Fault;
use crate::ledger::{Phase, Standing, Started};
use crate::row::status_of;
use crate::scribe::Scribe;
use crate::sql;

/// Tasks named at once; a store with more is beyond listing them.
const NAMED_MAX: i64 = 100;

impl Scribe<'_> {
    /// Sets a task aside, and answers which; `None` if it is aside already. It keeps its status,
    /// and its room in the queue.
    pub(crate) fn set_aside(&mut self, n: i64) -> Result<Option<TaskId>, Fault> {
        let mut select = self.conn.prepare_cached(sql::READ_STRANGE)?;
        let mut rows = select.query([n])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let id = codec::id_of(row.get_ref(0)?.as_blob()?)?;
        let line: i64 = row.get(1)?;
        let (status, phase) = (status_of(row.get(2)?)?, Phase::of(row.get(3)?)?);
        if phase == Phase::Aside {
            return Ok(None);
        }
        let holds = row.get::<_, Option<i64>>(6)?.is_some();
        // Only what the columns say: rank and source are in what cannot be decoded.
        let before = Standing {
            status,
            phase,
            place: row.get(4)?,
            rank: 0,
            priority: 0,
            sched_at: row.get(5)?,
            is_leased: status == Status::Running,
            node: None,
            started: if holds { Started::Strict } else { Started::No },
            source: None,
        };
        let after = Standing {
            phase: Phase::Aside,
            place: None,
            sched_at: None,
            is_leased: false,
            started: Started::No,
            ..before
        };
        drop(rows);
        self.conn.prepare_cached(sql::SET_ASIDE)?.execute([n])?;
        for statement in [sql::SET_ASIDE_ATTENDED, sql::SET_ASIDE_COUNTDOWN] {
            self.conn.prepare_cached(statement)?.execute([codec::id_bytes(id)])?;
        }
        let home = self.ledger.home(&mut self.hot, line)?;
        self.ledger.shift(home, n, Some(before), Some(after));
        Ok(Some(id))
    }
}

/// Which tasks are set aside: at most a hundred of them.
pub(crate) fn tasks(conn: &Connection) -> Result<Vec<TaskId>, Fault> {
    let mut select = conn.prepare_cached(sql::READ_ASIDE)?;
    let id = |row: &rusqlite::Row<'_>| codec::id_of(row.get_ref(0)?.as_blob()?);
    select.query_and_then([NAMED_MAX], id)?.collect()
}
