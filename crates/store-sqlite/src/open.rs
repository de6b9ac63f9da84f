//! Opening a file: is it ours, is it whole, is it free; then everything
//! that works on it is started.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use relais_core::Timestamp;
use relais_store::row;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, params};

use crate::bodies::BodyFiles;
use crate::checkpoint::{Housekeeper, PAGES_MAX, pass};
use crate::fault::{Fault, Meaning};
use crate::held::Held;
use crate::migrate::{APPLICATION_ID, began_as_released, migrate, newest};
use crate::readers::Readers;
use crate::reserve::Reserve;
use crate::scribe::counter;
use crate::shared::Shared;
use crate::sql;
use crate::system::System;
use crate::writer::Writer;

/// How to open a store.
#[derive(Debug, Clone)]
pub struct Options {
    /// The file; beside it there will be `-wal`, `-shm`, `.reserve` and the folder `.bodies`.
    pub path: PathBuf,
    /// When: noted where the schema changes.
    pub now: Timestamp,
    /// Tasks that the writer keeps in mind, about a kilobyte each; lanes as
    /// well. Others are read again.
    pub tasks_kept: usize,
    /// The size beyond which nothing new is accepted, in pages of 4 KiB; `None`
    /// is as large as the disk.
    pub pages_max: Option<u32>,
}

impl Options {
    /// A file, opened at `now`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, now: Timestamp) -> Self {
        Self { path: path.into(), now, tasks_kept: TASKS_KEPT, pages_max: None }
    }
}

/// Why a store could not be opened, fit for "could not open {path}: {error}".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another server has it, perhaps by another name.
    #[error("another process uses it, by this name or another (a link, a bind mount)")]
    InUse,
    /// The file is something else.
    #[error("it is not a database")]
    NotADatabase,
    /// The file is a database of another program.
    #[error("it is a database of another application (id {0:#010x})")]
    OtherApplication(i32),
    /// The file was written before the first release.
    #[error(
        "it was written by a build of Relais from before its first release, which encoded tasks \
         otherwise: let that build finish them, and begin with a new file"
    )]
    Unreleased,
    /// The file was written by a newer Relais.
    #[error("it has schema {found}, this program knows {known}: use a newer Relais")]
    Newer {
        /// The schema of the file.
        found: i32,
        /// The newest this program knows.
        known: i32,
    },
    /// A newer Relais wrote rows into the file that this one cannot read.
    #[error("its rows have format {found}, this program knows {known}: use a newer Relais")]
    NewerRows {
        /// The newest format of a row in the file.
        found: i64,
        /// The newest this program knows.
        known: u32,
    },
    /// The end of the file is missing.
    #[error("it is truncated: {found} bytes of {expected}; restore it from a backup")]
    Truncated {
        /// Bytes there are.
        found: u64,
        /// Bytes there should be.
        expected: u64,
    },
    /// The file is damaged.
    #[error("it is damaged: {0}; restore it from a backup")]
    Damaged(String),
    /// The file or its folder could not be used.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// The database could not be used just now.
    #[error("{0}")]
    Unavailable(String),
}

impl From<Fault> for OpenError {
    fn from(fault: Fault) -> Self {
        if let Fault::Sqlite(rusqlite::Error::SqliteFailure(error, _)) = &fault
            && error.code == rusqlite::ErrorCode::NotADatabase
        {
            return Self::NotADatabase;
        }
        match fault.meaning() {
            Meaning::Damaged | Meaning::Unreadable | Meaning::Spoiled => {
                Self::Damaged(fault.to_string())
            }
            Meaning::Passing | Meaning::Full | Meaning::Fatal => {
                Self::Unavailable(fault.to_string())
            }
        }
    }
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        Fault::from(error).into()
    }
}

/// Everything that works on an open file.
pub(crate) struct Parts {
    pub(crate) writer: Writer,
    pub(crate) points: Readers,
    pub(crate) pages: Readers,
    pub(crate) shared: Arc<Shared>,
    /// Until the store is closed. The last member: it must go after all connections.
    pub(crate) held: Mutex<Option<Held>>,
}

impl Parts {
    /// Closes every connection, then the file. Blocks; the writer has ended before.
    pub(crate) fn close(&self) {
        self.points.close();
        self.pages.close();
        drop(self.held.lock().expect("nothing panics while it is held").take());
    }
}

/// Most tasks are started soon after they came, and settled soon after that.
const TASKS_KEPT: usize = 1_024;
/// Connections for single rows, and for pages.
const POINT_READERS: usize = 4;
const PAGE_READERS: usize = 2;
/// How long to wait for a lock that only another connection of ours can hold.
const BUSY: Duration = Duration::from_secs(5);
/// The writer's page cache: what was written lately. SQLite looks through all of it at each commit,
/// so that more is not better.
const WRITER_CACHE_KIB: i64 = 16 << 10;
const READER_CACHE_KIB: i64 = 2 << 10;
const STATEMENTS_MAX: usize = 64;
const PAGE_BYTES: i64 = 4_096;

pub(crate) fn open(options: &Options, system: Arc<dyn System>) -> Result<Parts, OpenError> {
    // The first that is made is the last that is dropped: after all connections, whatever fails.
    let held = Held::lock(&options.path)?;
    held.check_size()?;
    let path = held.path();
    // A size of one's own choosing has nothing to do with the room on the disk.
    let reserve = Reserve::new(path, options.pages_max.is_none(), system.clone());
    reserve.open_up();
    let mut conn = connect_writer(path)?;
    check_identity(&conn)?;
    migrate(&mut conn, options.now)?;
    // What a crash left in the log comes first: only then is the file whole.
    match pass(&conn, sql::CHECKPOINT_TRUNCATE) {
        Ok(_) => held.check_header()?,
        // On a full disk it stays in the log, and is read from there.
        Err(fault) if fault.meaning() == Meaning::Full => {}
        Err(fault) => return Err(fault.into()),
    }
    for probe in sql::PROBES {
        conn.query_row(probe, [], |_| Ok(()))?;
    }
    let boot = count_boot(&mut conn)?;
    if let Some(pages) = options.pages_max {
        conn.pragma_update(None, "max_page_count", pages)?;
    }
    let files = BodyFiles::open(path, boot)
        .map_err(|error| OpenError::Io(BodyFiles::folder_of(path), error))?;
    let shared = Arc::new(Shared::new(files, reserve, held.places(system)?));
    // From the first byte on: a disk may be filled by others, or by bodies,
    // long before the log is long.
    if !shared.reserve.fill() {
        shared.note_full();
    }
    let housekeeper = Housekeeper::start(connect(path)?, shared.clone())?;
    let writer = Writer::start(conn, shared.clone(), housekeeper, options.tasks_kept)?;
    let readers = |count: usize| -> Result<Readers, OpenError> {
        let conns = (0..count).map(|_| connect_reader(path)).collect::<Result<_, _>>()?;
        Ok(Readers::new(conns))
    };
    let (points, pages) = (readers(POINT_READERS)?, readers(PAGE_READERS)?);
    Ok(Parts { writer, points, pages, shared, held: Mutex::new(Some(held)) })
}

pub(crate) fn check_identity(conn: &Connection) -> Result<(), OpenError> {
    let id: i32 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i32 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let schema: i64 = conn.pragma_query_value(None, "schema_version", |row| row.get(0))?;
    let is_new = id == 0 && schema == 0;
    if !is_new && id != APPLICATION_ID {
        return Err(OpenError::OtherApplication(id));
    }
    if !is_new && !began_as_released(conn)? {
        return Err(OpenError::Unreleased);
    }
    if version > newest() {
        return Err(OpenError::Newer { found: version, known: newest() });
    }
    let found = if is_new { 0 } else { counter(conn, FORMAT)? };
    if found > row::FORMAT.into() {
        return Err(OpenError::NewerRows { found, known: row::FORMAT });
    }
    Ok(())
}

/// A connection as all of them are.
pub(crate) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // Plans that do not look at values are never made anew, and never turn out otherwise.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.pragma_update(None, "trusted_schema", false)?;
    conn.pragma_update(None, "foreign_keys", false)?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.pragma_update(None, "journal_size_limit", i64::from(PAGES_MAX) * PAGE_BYTES)?;
    conn.pragma_update(None, "synchronous", "full")?;
    conn.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    Ok(conn)
}

fn connect_writer(path: &Path) -> Result<Connection, OpenError> {
    let conn = connect(path)?;
    let mode: String =
        conn.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        return Err(OpenError::Unavailable(format!(
            "the journal mode stays {mode}: is it on a network drive?"
        )));
    }
    conn.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    conn.pragma_update(None, "temp_store", "memory")?;
    Ok(conn)
}

pub(crate) fn connect_reader(path: &Path) -> rusqlite::Result<Connection> {
    let conn = connect(path)?;
    conn.pragma_update(None, "query_only", true)?;
    Ok(conn)
}

/// Counts how often the store was opened, and notes in which format rows are written from now on: the
/// nodes that had it open before are dead, so that no older one must read them.
fn count_boot(conn: &mut Connection) -> Result<i64, OpenError> {
    let transaction = conn.transaction()?;
    let boot = counter(&transaction, BOOT)? + 1;
    transaction.execute(sql::COUNTER_PUT, params![BOOT, boot])?;
    transaction.execute(sql::NODES_END, [])?;
    transaction.execute(sql::COUNTER_PUT, params![FORMAT, row::FORMAT])?;
    transaction.commit()?;
    Ok(boot)
}

/// Names of rows that count, or say which layout the file has.
const BOOT: &str = "boot";
const FORMAT: &str = "format";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_commit_is_synced_into_a_log_that_no_writer_copies() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let held = Held::lock(&folder.path().join("relais.db")).expect("it is new");
        let conn = connect_writer(held.path()).expect("it opens");
        let number = |name: &str| {
            conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).expect("it has one")
        };
        assert_eq!(
            number("synchronous"),
            2,
            "FULL: a commit that was answered survives power loss"
        );
        assert_eq!(number("wal_autocheckpoint"), 0);
        let mode: String =
            conn.pragma_query_value(None, "journal_mode", |row| row.get(0)).expect("it has one");
        assert_eq!(mode, "wal");
    }
}
