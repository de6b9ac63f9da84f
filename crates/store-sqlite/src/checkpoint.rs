//! Copies the write-ahead log into the database beside the writer, and
//! removes files of erased bodies.
//!
//! Most is copied while the writer goes on. Only the last few pages are copied while it waits,
//! because the log begins anew only when all of it is copied at the moment of the next write.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::Connection;

use crate::fault::{Condition, Fault, Meaning};
use crate::reserve::Reserve;
use crate::shared::Shared;
use crate::sql;

/// Pages in the log from which on it is copied: 16 MiB.
const PAGES_MIN: u32 = 4_096;
/// Pages in the log at which the writer waits until it is copied: 64 MiB.
pub(crate) const PAGES_MAX: u32 = 16_384;
/// Pages left to copy that the writer may wait for.
const PAGES_LAST_MAX: i64 = 256;
/// Passes beside the writer before it has to wait for whatever is left.
const PASSES_MAX: usize = 8;
/// How long the writer may wait for readers of the log.
const READER_WAIT: Duration = Duration::from_millis(50);
/// Chores waiting; more are done at once by whoever has them, or left to the next start.
const CHORES_MAX: usize = 256;

/// Files of bodies that wait for the end of a backup.
const UNLINKS_MAX: usize = 100_000;

/// What is done beside the writer.
enum Chore {
    Checkpoint,
    /// The log is full: the writer waits until this is dropped.
    CheckpointNow(SyncSender<()>),
    /// Files of bodies whose rows are gone.
    Unlink(Vec<String>),
    /// Files without rows, left by earlier runs.
    Sweep,
}

/// Lets either the writer write or the log be closed.
#[derive(Default)]
pub(crate) struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    is_writing: bool,
    is_wanted: bool,
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().expect("nothing panics while it is held")
    }

    /// Before a transaction: waits while the log is closed.
    pub(crate) fn enter(&self) {
        let state = self.state();
        let mut state =
            self.changed.wait_while(state, |state| state.is_wanted).expect("nothing panics");
        state.is_writing = true;
    }

    /// After a transaction.
    pub(crate) fn leave(&self) {
        let mut state = self.state();
        state.is_writing = false;
        if state.is_wanted {
            self.changed.notify_all();
        }
    }

    /// Runs `act` between two transactions.
    fn closed<T>(&self, act: impl FnOnce() -> T) -> T {
        let mut state = self.state();
        state.is_wanted = true;
        let state = self.changed.wait_while(state, |state| state.is_writing);
        drop(state.expect("nothing panics"));
        let done = act();
        self.state().is_wanted = false;
        self.changed.notify_all();
        done
    }
}

/// How long the log is, and at which lengths something is done about it.
pub(crate) struct Log {
    /// Pages after the last commit.
    pub(crate) pages: AtomicU32,
    /// Copy it from here on.
    ask_at: AtomicU32,
    /// Wait for that from here on.
    wait_at: AtomicU32,
    /// Whether that is under way already.
    is_asked: AtomicBool,
    /// The usual values of both: a log that is longer than the reserve could not
    /// be copied on a full disk.
    pages_min: u32,
    pages_max: u32,
}

impl Log {
    fn new(reserve: &Reserve) -> Self {
        let pages_min = PAGES_MIN.min(reserve.pages() / 2);
        let pages_max = PAGES_MAX.min(reserve.pages() * 2);
        Self {
            pages: AtomicU32::new(0),
            ask_at: AtomicU32::new(pages_min),
            wait_at: AtomicU32::new(pages_max),
            is_asked: AtomicBool::new(false),
            pages_min,
            pages_max,
        }
    }

    fn is_long(&self) -> bool {
        self.pages.load(Ordering::Relaxed) >= self.ask_at.load(Ordering::Relaxed)
    }

    fn is_full(&self) -> bool {
        self.pages.load(Ordering::Relaxed) >= self.wait_at.load(Ordering::Relaxed)
    }

    /// The log begins anew with the next write.
    fn is_copied(&self) {
        self.pages.store(0, Ordering::Relaxed);
        self.ask_at.store(self.pages_min, Ordering::Relaxed);
        self.wait_at.store(self.pages_max, Ordering::Relaxed);
    }

    /// Somebody has read for long and still needs it: it grows on, and is looked at again later.
    fn is_in_use(&self) {
        let later = self.pages.load(Ordering::Relaxed).saturating_add(self.pages_min);
        self.ask_at.store(later, Ordering::Relaxed);
        self.wait_at.store(later.max(self.pages_max), Ordering::Relaxed);
    }
}

/// The thread beside the writer.
pub(crate) struct Housekeeper {
    chores: SyncSender<Chore>,
    thread: Option<JoinHandle<()>>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) log: Arc<Log>,
    shared: Arc<Shared>,
}

impl Housekeeper {
    /// Starts it, with a connection of its own.
    pub(crate) fn start(conn: Connection, shared: Arc<Shared>) -> Result<Self, Fault> {
        // The writer waits as long for whoever reads; then the log grows on.
        conn.busy_timeout(READER_WAIT)?;
        let (chores, incoming) = sync_channel(CHORES_MAX);
        let gate = Arc::new(Gate::default());
        let log = Arc::new(Log::new(&shared.reserve));
        let worker = Worker { conn, gate: gate.clone(), log: log.clone(), shared: shared.clone() };
        let run = move || worker.work(&incoming);
        let thread = thread::Builder::new().name("relais-checkpoint".into()).spawn(run)?;
        let _ = chores.try_send(Chore::Sweep);
        Ok(Self { chores, thread: Some(thread), gate, log, shared })
    }

    /// After a commit: has the log copied if it has grown, and waits for that if it is full.
    pub(crate) fn committed(&mut self) {
        if self.log.is_full() {
            self.checkpoint();
        } else if self.log.is_long() && !self.log.is_asked.swap(true, Ordering::Relaxed) {
            // If there is no room for the chore, the next commit asks again.
            let is_sent = self.chores.try_send(Chore::Checkpoint).is_ok();
            self.log.is_asked.store(is_sent, Ordering::Relaxed);
        }
    }

    /// Has the log copied, and waits for that; answers whether it begins anew, and had anything.
    pub(crate) fn checkpoint(&mut self) -> bool {
        let before = self.log.pages.load(Ordering::Relaxed);
        let (done, is_done) = sync_channel(1);
        let _ = self.chores.send(Chore::CheckpointNow(done));
        // The other end is dropped when it is done.
        let _ = is_done.recv();
        before > 0 && self.log.pages.load(Ordering::Relaxed) == 0
    }

    pub(crate) fn unlink(&self, files: Vec<String>) {
        if let Err(TrySendError::Full(chore) | TrySendError::Disconnected(chore)) =
            self.chores.try_send(Chore::Unlink(files))
            && let Chore::Unlink(files) = chore
        {
            // Where they are held just now, the next start removes them.
            self.shared.files.remove_all(&files);
        }
    }
}

impl Drop for Housekeeper {
    fn drop(&mut self) {
        let (closed, _) = sync_channel(1);
        drop(std::mem::replace(&mut self.chores, closed));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread has.
struct Worker {
    conn: Connection,
    gate: Arc<Gate>,
    log: Arc<Log>,
    shared: Arc<Shared>,
}

impl Worker {
    fn work(self, chores: &Receiver<Chore>) {
        let mut unlinks = Vec::new();
        while let Ok(chore) = chores.recv() {
            match chore {
                Chore::Checkpoint => {
                    // The log may have been copied for another asker.
                    if self.log.is_long() {
                        self.checkpoint();
                    }
                    self.log.is_asked.store(false, Ordering::Relaxed);
                }
                Chore::CheckpointNow(_done) => self.checkpoint(),
                Chore::Unlink(files) => unlinks.extend(files),
                Chore::Sweep => match self.shared.files.sweep(&self.conn) {
                    Ok(0) => {}
                    Ok(count) => tracing::info!(count, "removed bodies that have no task"),
                    Err(fault) => note(&self.shared.condition, &fault),
                },
            }
            // While a backup copies them they wait, or if they are too many, for the next start.
            let is_done = !unlinks.is_empty() && self.shared.files.remove_all(&unlinks);
            if is_done || unlinks.len() > UNLINKS_MAX {
                unlinks.clear();
            }
        }
        // The writer is gone: leave one tidy file behind.
        if let Err(fault) = pass(&self.conn, sql::CHECKPOINT_TRUNCATE) {
            note(&self.shared.condition, &fault);
        }
    }

    /// Copies the whole log, and lets the next write begin it anew.
    fn checkpoint(&self) {
        if let Err(fault) = self.try_checkpoint() {
            note(&self.shared.condition, &fault);
        }
    }

    fn try_checkpoint(&self) -> Result<(), Fault> {
        for _ in 0..PASSES_MAX {
            if pass(&self.conn, sql::CHECKPOINT_PASSIVE)? <= PAGES_LAST_MAX {
                break;
            }
        }
        self.gate.closed(|| {
            if pass(&self.conn, sql::CHECKPOINT_RESTART)? == 0 {
                self.log.is_copied();
            } else {
                self.log.is_in_use();
            }
            Ok::<_, Fault>(())
        })
    }
}

fn note(condition: &Condition, fault: &Fault) {
    if fault.meaning() == Meaning::Passing {
        tracing::warn!("could not tidy the store: {fault}");
    }
    condition.note(fault);
}

/// One pass; answers how many pages are left, at least one if the log is still in use.
pub(crate) fn pass(conn: &Connection, statement: &str) -> Result<i64, Fault> {
    let pages = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let (is_busy, log, copied): (i64, i64, i64) =
        conn.prepare_cached(statement)?.query_row([], pages)?;
    Ok((log - copied).max(is_busy))
}
