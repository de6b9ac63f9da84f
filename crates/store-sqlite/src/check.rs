//! Looking over a store without changing it: for `relais check`, and for tests.
//!
//! The quick look asks whether the file can be opened. The deep one reads every row and every body,
//! and counts again what is kept as a count. It sees one moment, even beside a running server.

mod counts;

use std::path::Path;

use bytes::Bytes;
use relais_core::{BodyKind, TaskId};
use relais_store::{QueueStats, Queues, SEAL_KEY_ID_BYTES};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, Row};

use crate::aside;
use crate::bodies::BodyFiles;
use crate::codec;
use crate::events::LEAP;
use crate::fault::Fault;
use crate::held::Held;
use crate::ledger::Phase;
use crate::list;
use crate::open::{OpenError, check_identity, connect_reader};
use crate::read;
use crate::row::{TaskRow, rank_of, task_of};
use crate::session;
use crate::sql;
use crate::webhook;
use counts::Counts;

/// Problems described; a store with more is beyond listing them.
const PROBLEMS_MAX: usize = 100;
const LAST_DAMAGED: usize = PROBLEMS_MAX - 1;

/// What a look over a store found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Tasks, running and kept.
    pub tasks: u64,
    /// Entries of their logs. Only counted by a deep look, as all below.
    pub events: u64,
    /// Bodies, in the file and beside it.
    pub bodies: u64,
    /// Bodies beside the file.
    pub spilled: u64,
    /// Bytes of all bodies.
    pub body_bytes: u64,
    /// What is wrong with the store as a whole, one sentence each; at most a hundred.
    pub problems: Vec<String>,
    /// What is damaged of single tasks and harms no others, one sentence each; at most a hundred.
    /// With more, that is a problem of the whole.
    pub damaged: Vec<String>,
    /// The files among that.
    pub(crate) damaged_files: Vec<StoredFile>,
}

/// The file of a body, as its row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredFile {
    pub(crate) name: String,
    pub(crate) len: u64,
    pub(crate) crc: u32,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty() && self.damaged.is_empty()
    }

    /// All that is wrong, one sentence each.
    pub fn sentences(&self) -> impl Iterator<Item = &str> {
        self.problems.iter().chain(&self.damaged).map(String::as_str)
    }

    fn blame(&mut self, problem: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }

    fn blame_task(&mut self, damage: String) {
        match self.damaged.len() {
            PROBLEMS_MAX => {}
            LAST_DAMAGED => {
                self.damaged.push(damage);
                self.blame(format!("{PROBLEMS_MAX} tasks or more are damaged"));
            }
            _ => self.damaged.push(damage),
        }
    }

    /// Notes what a fault says, and goes on.
    fn note<T>(&mut self, about: &str, result: Result<T, Fault>) -> Option<T> {
        result.map_err(|fault| self.blame(format!("{about}: {fault}"))).ok()
    }
}

/// A view of the store in a file, which is left as it is; of one moment, unless it is only opened.
pub(crate) struct View {
    pub(crate) conn: Connection,
    /// The last member: it must go after the connection.
    pub(crate) held: Held,
}

impl View {
    /// A view of whatever is there at each question.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let held = Held::look(path)?;
        held.check_size()?;
        let conn = connect_viewer(held.path())?;
        check_identity(&conn)?;
        Ok(Self { conn, held })
    }

    fn of(path: &Path) -> Result<Self, OpenError> {
        let view = Self::open(path)?;
        view.conn.execute_batch(sql::BEGIN_READ)?;
        Ok(view)
    }
}

/// A connection that changes nothing. The last to close would copy the log and remove it: after a
/// crash this may be the only one to look at it.
fn connect_viewer(path: &Path) -> rusqlite::Result<Connection> {
    let conn = connect_reader(path)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(conn)
}

/// Reads the secrets in a file, such as API keys.
pub(crate) fn secrets(path: &Path) -> Result<Vec<(String, Bytes)>, OpenError> {
    Ok(read::secrets(&View::of(path)?.conn, "")?)
}

/// Reads the queues in a file, and their counts.
pub(crate) fn queues(path: &Path) -> Result<Vec<QueueStats>, OpenError> {
    Ok(read::queues(&View::of(path)?.conn, &Queues::All)?)
}

/// Reads which keys sealed what the tasks in a file hold.
pub(crate) fn seal_keys(path: &Path) -> Result<Vec<[u8; SEAL_KEY_ID_BYTES]>, OpenError> {
    Ok(read::seal_keys(&View::of(path)?.conn)?)
}

/// Reads which tasks in a file are set aside, because their rows cannot be decoded.
pub(crate) fn aside(path: &Path) -> Result<Vec<TaskId>, OpenError> {
    Ok(aside::tasks(&View::of(path)?.conn)?)
}

/// Looks over the store in a file.
pub(crate) fn check(path: &Path, is_deep: bool) -> Result<Report, OpenError> {
    let view = View::of(path)?;
    let conn = &view.conn;
    let mut report = Report::default();
    for probe in sql::PROBES {
        let probed = conn.query_row(probe, [], |_| Ok(())).map_err(Fault::from);
        report.note("the file", probed);
    }
    report.tasks = list::counts(conn)?.iter().sum();
    if is_deep {
        let mut look = Look { conn, path: view.held.path(), report, attending: 0 };
        look.whole()?;
        report = look.report;
    }
    Ok(report)
}

/// Whose body a row is, and which.
fn name_of(row: &Row<'_>) -> String {
    let key: i64 = row.get(0).unwrap_or_default();
    let kind = BodyKind::ALL.into_iter().find(|kind| *kind as i64 == key % 8);
    let id = row.get_ref(5).ok().and_then(|id| codec::id_of(id.as_blob().ok()?).ok());
    match (kind, id) {
        (Some(kind), Some(id)) => format!("the {} of {id}", kind.as_str()),
        _ => format!("body {key}"),
    }
}

/// A deep look in the making.
struct Look<'a> {
    conn: &'a Connection,
    path: &'a Path,
    report: Report,
    /// Nodes that attend tasks, as those say, less the rows that say so.
    attending: i64,
}

impl Look<'_> {
    fn whole(&mut self) -> Result<(), Fault> {
        self.tree()?;
        let mut counts = Counts::read(self.conn)?;
        self.each(sql::CHECK_TASKS, "a task", |look, row| look.task(row, &mut counts))?;
        self.each(sql::CHECK_ATTENDED, "who attends a task", Self::attended)?;
        if self.attending != 0 {
            self.report.blame("tasks are attended, and no row says so".to_owned());
        }
        self.each(sql::CHECK_EVENTS, "an event", Self::event)?;
        self.each(sql::CHECK_BODIES, "a body", Self::body)?;
        self.each(sql::CHECK_SESSIONS, "a session", |look, row| {
            // It harms no task, and no other session.
            if let Err(fault) = session::check(row) {
                look.report.blame_task(format!("a session: {fault}"));
            }
            Ok(())
        })?;
        self.each(webhook::sql::CHECK_ENDPOINTS, "an endpoint", |_, row| {
            webhook::check_endpoint(row)
        })?;
        self.each(webhook::sql::CHECK_DELIVERIES, "a delivery", |_, row| {
            webhook::check_delivery(row)
        })?;
        self.each(sql::CHECK_STRAYS, "a row", |_, row| {
            let what: String = row.get(0)?;
            Err(Fault::damaged(format!("{what} belongs to a task that does not exist")))
        })?;
        for problem in counts.problems() {
            self.report.blame(problem);
        }
        Ok(())
    }

    /// SQLite's own look at its pages.
    fn tree(&mut self) -> Result<(), Fault> {
        let report = &mut self.report;
        self.conn.pragma_query(None, "integrity_check", |row| {
            let line: String = row.get(0)?;
            if line != "ok" {
                report.blame(format!("the file: {line}"));
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Goes through the rows of a statement; a bad one is noted, and does not hide the next.
    fn each(
        &mut self,
        statement: &str,
        what: &str,
        mut check: impl FnMut(&mut Self, &Row<'_>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut select = self.conn.prepare(statement)?;
        let mut rows = select.query([])?;
        loop {
            match rows.next() {
                Ok(Some(row)) => {
                    let checked = check(self, row);
                    self.report.note(what, checked);
                }
                Ok(None) => return Ok(()),
                Err(error) => {
                    self.report.note(what, Err::<(), _>(error.into()));
                    return Ok(());
                }
            }
        }
    }

    fn task(&mut self, row: &Row<'_>, counts: &mut Counts) -> Result<(), Fault> {
        let id = codec::id_of(row.get_ref("id")?.as_blob()?)?;
        let read = match TaskRow::read(row) {
            Ok(read) => read,
            Err(fault @ Fault::Task { .. }) => {
                counts.leave_out(row.get("lane_id")?);
                self.report.blame_task(format!("{id}: {fault}"));
                return Ok(());
            }
            Err(fault) => return Err(Fault::damaged(format!("{id}: {fault}"))),
        };
        let task = &read.task;
        let Some(line) = counts.line(read.line_id) else {
            return Err(Fault::damaged(format!("{id} is in no lane")));
        };
        let column = |name: &str| row.get::<_, Option<i64>>(name);
        let standing = read.standing();
        let (sched_at, holds) = standing.marks();
        let (early, is_stored): (Option<String>, bool) = (row.get("early")?, row.get("has_early")?);
        let has_early = task.life.early().map(|_| task.spec.tenant.as_str());
        let is_queued = task.life.run_at().is_some();
        let place = if line.is_strict { 0 } else { rank_of(task) };
        let demands = [
            ("id", task.spec.id == id),
            ("lane", line.is_home_of(&read)),
            ("pool", column("pool_id")? == Some(line.pool_id)),
            ("status", column("status")? == Some(standing.status as i64)),
            ("alarm", column("due_at")? == Some(task.due_at().as_ms())),
            ("phase", is_queued == (read.phase != Phase::None)),
            ("place", read.place == is_queued.then_some(place)),
            ("moment", sched_at.is_some() == (read.phase == Phase::Scheduled)),
            ("marks", (column("apart")?, column("holds")?) == (standing.apart(), holds)),
            ("early result", early.as_deref() == has_early && is_stored == has_early.is_some()),
            ("node", column("node")? == standing.node),
            ("grace", row.get::<_, bool>("is_left")? == task.life.is_left()),
            ("log", column("seq")? == i64::try_from(task.life.version).ok()),
        ];
        counts.add(&read);
        self.attending += i64::try_from(task.life.attended_by().len()).expect("nodes are few");
        let wrong: Vec<&str> =
            demands.into_iter().filter(|(_, is_so)| !is_so).map(|(what, _)| what).collect();
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(Fault::damaged(format!("{id} is stored with another {}", wrong.join(", "))))
        }
    }

    fn attended(&mut self, row: &Row<'_>) -> Result<(), Fault> {
        let id = codec::id_of(row.get_ref(0)?.as_blob()?)?;
        let node = row.get::<_, i64>(1)?.cast_unsigned();
        self.attending -= 1;
        match task_of(row, 2) {
            Ok(task) if task.life.attended_by().contains(&node) => Ok(()),
            // It was named already.
            Err(Fault::Task { .. }) => Ok(()),
            _ => Err(Fault::damaged(format!("{id} is not attended by the node that a row names"))),
        }
    }

    fn event(&mut self, row: &Row<'_>) -> Result<(), Fault> {
        self.report.events += 1;
        let (pos, prev): (i64, i64) = (row.get(0)?, row.get(2)?);
        if let Err(fault) = codec::decode_entry(TaskId::from_u128(0), 0, row.get_ref(3)?.as_blob()?)
        {
            self.report.blame_task(format!("event {pos}: {fault}"));
        }
        // The previous event is that with the number before, of the same task; so is that of the leap.
        let (n, seq, leap): (i64, i64, i64) = (row.get(1)?, row.get(4)?, row.get(7)?);
        let of_task = |at: i64, number: i64, n_column: usize| -> Result<bool, Fault> {
            let found: Option<i64> = row.get(n_column)?;
            Ok(match number {
                0 => at == 0 && found.is_none(),
                _ => found == Some(n) && row.get::<_, i64>(n_column + 1)? == number && at < pos,
            })
        };
        if of_task(prev, seq - 1, 5)? && of_task(leap, (seq - 1) / LEAP * LEAP, 8)? {
            Ok(())
        } else {
            Err(Fault::damaged(format!("event {pos} follows another")))
        }
    }

    fn body(&mut self, row: &Row<'_>) -> Result<(), Fault> {
        let (len, crc): (i64, u32) = (row.get(1)?, row.get(2)?);
        let len = u64::try_from(len).unwrap_or_default();
        self.report.bodies += 1;
        self.report.body_bytes += len;
        let Some(file) = row.get_ref(3)?.as_str_or_null()? else {
            let bytes = row.get_ref(4)?.as_blob()?;
            if bytes.len() as u64 != len || crc32fast::hash(bytes) != crc {
                self.report.blame_task(format!("{} is not what was stored", name_of(row)));
            }
            return Ok(());
        };
        self.report.spilled += 1;
        // Beside a running server, a file may go between the moment that is looked at and now.
        if let Err(fault) = BodyFiles::verify(self.path, file, len, crc)
            && self.is_still_there(file)?
        {
            self.report.blame_task(format!("{}: {fault}", name_of(row)));
            if self.report.damaged.len() < PROBLEMS_MAX {
                self.report.damaged_files.push(StoredFile { name: file.to_owned(), len, crc });
            }
        }
        Ok(())
    }

    fn is_still_there(&self, file: &str) -> Result<bool, Fault> {
        let conn = connect_viewer(self.path)?;
        Ok(conn.prepare(sql::BODY_HAS_FILE)?.exists([file])?)
    }
}
