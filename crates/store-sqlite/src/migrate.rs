//! The schema: numbered files, applied once each, in order, and never changed after a release.

use relais_core::Timestamp;
use rusqlite::{Connection, TransactionBehavior};

use crate::fault::Fault;
use crate::ledger::{each, id_at};
use crate::sql;

/// "RLAI": says that a file is ours.
pub(crate) const APPLICATION_ID: i32 = 0x524c_4149;

/// Every change of the schema, in order.
const MIGRATIONS: &[&str] = &[include_str!("../migrations/0001_tasks.sql")];

/// The newest schema this program knows.
pub(crate) fn newest() -> i32 {
    i32::try_from(MIGRATIONS.len()).expect("a short list")
}

/// Whether a store began with the first schema that was released. Builds before it changed their
/// schema, and how rows are encoded, in place: what they wrote would be read wrong.
pub(crate) fn began_as_released(conn: &Connection) -> rusqlite::Result<bool> {
    let first: u32 = conn.query_row(sql::FIRST_MIGRATION, [], |row| row.get(0))?;
    Ok(first == checksum_of(MIGRATIONS[0]))
}

/// Brings the schema up to date in one transaction, and compares what was applied before.
pub(crate) fn migrate(conn: &mut Connection, now: Timestamp) -> Result<(), Fault> {
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(sql::MIGRATIONS_TABLE)?;
    let mut applied = 0_usize;
    each(&transaction, sql::MIGRATIONS, |row| {
        applied += 1;
        let (version, checksum): (i64, u32) = (row.get(0)?, row.get(1)?);
        let known = MIGRATIONS.get(applied - 1).map(|text| checksum_of(text));
        if version != id_at(applied - 1) || known != Some(checksum) {
            return Err(Fault::damaged(format!(
                "migration {version} is not what this program knows"
            )));
        }
        Ok(())
    })?;
    for (at, text) in MIGRATIONS.iter().enumerate().skip(applied) {
        transaction.execute_batch(text)?;
        let row = (id_at(at), checksum_of(text), now.as_ms());
        transaction.execute(sql::MIGRATION_INSERT, row)?;
    }
    if applied < MIGRATIONS.len() {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", newest())?;
    }
    transaction.commit()?;
    Ok(())
}

fn checksum_of(text: &str) -> u32 {
    crc32fast::hash(text.as_bytes())
}
