//! Sessions of browsers: one row each, found by the HMAC of its id. What a change is, the rules decide.

use relais_core::session::change;
use relais_core::{Session, TaskId, Timestamp};
use relais_store::{Committed, Rejected, SessionOf};
use rusqlite::{Connection, Row, params};

use crate::codec;
use crate::fault::Fault;
use crate::scribe::Scribe;
use crate::sql;

/// Sessions removed at once: bounds how long other writes wait.
const ENDED_MAX: i64 = 1_000;
/// The status of a task from which on it is over.
const SUCCEEDED: i64 = relais_core::Status::Succeeded as i64;

/// A session, as it was stored. One that cannot be read is none: its browser begins another, and the
/// store is as good as before. A deep look names it.
pub(crate) fn session(conn: &Connection, id_mac: [u8; 32]) -> Result<Option<Session>, Fault> {
    let mut select = conn.prepare_cached(sql::READ_SESSION)?;
    let mut rows = select.query([id_mac])?;
    Ok(rows.next()?.and_then(|row| decode(row, 0).ok()))
}

fn decode(row: &Row<'_>, column: usize) -> Result<Session, Fault> {
    codec::decode("session", row.get_ref(column)?.as_blob()?)
}

/// Whether a row of [`sql::CHECK_SESSIONS`] is as it should be.
pub(crate) fn check(row: &Row<'_>) -> Result<(), Fault> {
    let session = decode(row, 1)?;
    if row.get::<_, i64>(0)? == session.ends_at().as_ms() {
        Ok(())
    } else {
        Err(Fault::damaged("it is stored with another end".to_owned()))
    }
}

impl Scribe<'_> {
    pub(crate) fn session(&mut self, of: &SessionOf) -> Result<Result<Committed, Rejected>, Fault> {
        let stored = session(self.conn, of.id_mac)?;
        let is_over = |id: TaskId| {
            let mut select = self.conn.prepare_cached(sql::TASK_STATUS)?;
            let mut rows = select.query([codec::id_bytes(id)])?;
            let status = rows.next()?.map(|row| row.get::<_, i64>(0)).transpose()?;
            Ok::<_, Fault>(status.is_none_or(|status| status >= SUCCEEDED))
        };
        let (session, reply) = change(stored.clone(), &of.op, of.now, is_over)?;
        let mac = of.id_mac;
        match (&stored, &session) {
            (before, after) if before == after => {}
            (_, None) => {
                self.conn.prepare_cached(sql::SESSION_DELETE)?.execute([mac])?;
                self.sessions -= 1;
            }
            (Some(_), Some(session)) => {
                let (data, ends_at) = (codec::encode(session, self.format), session.ends_at());
                let mut update = self.conn.prepare_cached(sql::SESSION_UPDATE)?;
                update.execute(params![mac, ends_at.as_ms(), data])?;
            }
            (None, Some(session)) => {
                let begun_by = of.begun_by().expect("only a task begins a session");
                let begun_by = codec::id_bytes(begun_by);
                let count = |of_whom: &str, whose: &[u8], bound: u64| {
                    let bound = i64::try_from(bound).unwrap_or(i64::MAX);
                    let mut count = self.conn.prepare_cached(of_whom)?;
                    let count =
                        count.query_row(params![whose, bound], |row| row.get::<_, i64>(0))?;
                    Ok::<_, Fault>(count.cast_unsigned())
                };
                let of_task = count(sql::SESSIONS_BEGUN_BY, &begun_by, of.capacity.per_task)?;
                let of_source = match &of.source {
                    Some(source) => {
                        count(sql::SESSIONS_OF_SOURCE, &source.0, of.capacity.per_source)?
                    }
                    None => 0,
                };
                if let Err(full) = of.has_room(self.sessions, of_task, of_source) {
                    return Ok(Err(full));
                }
                let (data, ends_at) = (codec::encode(session, self.format), session.ends_at());
                let mut insert = self.conn.prepare_cached(sql::SESSION_INSERT)?;
                let source = of.source.map(|source| source.0);
                insert.execute(params![mac, begun_by, source, ends_at.as_ms(), data])?;
                self.sessions += 1;
            }
        }
        Ok(Ok(Committed::Session(reply)))
    }

    /// Removes sessions that have ended, a few at once.
    pub(crate) fn sweep_sessions(&mut self, now: Timestamp) -> Result<(), Fault> {
        let mut sweep = self.conn.prepare_cached(sql::SESSION_SWEEP)?;
        self.sessions -= sweep.execute((now.as_ms(), ENDED_MAX))? as u64;
        Ok(())
    }
}
