//! Nodes and their signs of life: few rows, written as a whole.

use std::collections::BTreeMap;

use relais_core::Timestamp;
use relais_store::{Beat, FORMAT, NodeRow, Nodes, Roll};
use rusqlite::{Connection, params};

use crate::fault::Fault;
use crate::ledger::each;
use crate::scribe::Scribe;
use crate::sql;

/// The nodes of the file.
pub(crate) fn load(conn: &Connection) -> Result<Roll, Fault> {
    let mut rows = BTreeMap::new();
    // What began on a disk that was full has no row, and what it held must be found all the same.
    let unknown = NodeRow { format: FORMAT, beat_at: Timestamp::MIN, dead_at: Timestamp::MIN };
    each(conn, sql::NODES_HOLDING, |row| {
        rows.insert(row.get::<_, i64>(0)?.cast_unsigned(), unknown);
        Ok(())
    })?;
    each(conn, sql::NODES, |row| {
        let moment = |column| row.get(column).map(Timestamp::from_ms);
        let (beat_at, dead_at) = (moment(2)?, moment(3)?);
        let known = NodeRow { format: row.get(1)?, beat_at, dead_at };
        rows.insert(row.get::<_, i64>(0)?.cast_unsigned(), known);
        Ok(())
    })?;
    Ok(Roll::of(rows))
}

impl Scribe<'_> {
    pub(crate) fn beat(&mut self, beat: &Beat) -> Result<Nodes, Fault> {
        let conn = self.conn;
        let mut holds = conn.prepare_cached(sql::NODE_HOLDS)?;
        let told =
            self.roll.beat(beat, |node| Ok::<_, Fault>(holds.exists([node.cast_signed()])?))?;
        (self.living, self.format) = (told.living, told.format);
        // What room is left on a full disk is for outcomes; this process knows that it is there.
        if self.shared.condition.is_full() {
            return Ok(told);
        }
        conn.prepare_cached(sql::NODES_CLEAR)?.execute([])?;
        let mut insert = conn.prepare_cached(sql::NODE_INSERT)?;
        for (node, NodeRow { format, beat_at, dead_at }) in self.roll.rows() {
            let moments = (beat_at.as_ms(), dead_at.as_ms());
            insert.execute(params![node.cast_signed(), format, moments.0, moments.1])?;
        }
        Ok(told)
    }
}
