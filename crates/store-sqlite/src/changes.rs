//! What was committed after a position: entries from the log, all else from the memory of this
//! process, which has the file for itself.

use relais_store::{Change, What};
use rusqlite::{Connection, Row, params};

use crate::codec;
use crate::events::{logged, signed};
use crate::fault::Fault;
use crate::row::task_of;
use crate::scribe::position;
use crate::sql;

/// Entries after one position, up to another; and up to which these are all of them.
pub(crate) fn entries(
    conn: &Connection,
    (after, head): (u64, u64),
    limit: usize,
) -> Result<(Vec<Change>, u64), Fault> {
    let mut select = conn.prepare_cached(sql::READ_CHANGES)?;
    let mut rows = select.query(params![signed(after), signed(head), signed(limit as u64)])?;
    let (mut entries, mut upto, mut count) = (Vec::new(), head, 0);
    while let Some(row) = rows.next()? {
        count += 1;
        if count == limit {
            upto = position(row.get(0)?);
        }
        match entry(row) {
            // The others can be read; `check` names this one.
            Err(Fault::Task { .. }) => {}
            read => entries.push(read?),
        }
    }
    Ok((entries, upto))
}

fn entry(row: &Row<'_>) -> Result<Change, Fault> {
    let id = codec::id_of(row.get_ref(3)?.as_blob()?)?;
    let logged = logged(id, row)?;
    let what = What::Entry(Box::new(task_of(row, 4)?), logged.entry);
    Ok(Change { pos: logged.pos, what })
}
