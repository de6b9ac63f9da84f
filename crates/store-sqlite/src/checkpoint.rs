//! Copies the write-ahead log into the database beside the writer, and removes files of erased bodies.
//!
//! Most is copied while the writer goes on. Only the last few pages are copied while it waits, because
//! the log begins anew only when all of it is copied at the moment of the next write.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;

use crate::fault::{Condition, Fault, Meaning};
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
/// Chores waiting; more are done at once by whoever has them, or left to the next start.
const CHORES_MAX: usize = 256;

/// What is done beside the writer.
enum Chore {
    Checkpoint,
    /// The log is full: the writer waits until this is dropped.
    CheckpointNow(SyncSender<()>),
    /// Files of bodies whose rows are gone.
    Unlink(Vec<String>),
    /// What a start leaves to be done: files without rows, left by earlier runs; the reserve.
    Start,
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

/// The thread beside the writer.
pub(crate) struct Housekeeper {
    chores: SyncSender<Chore>,
    thread: Option<JoinHandle<()>>,
    pub(crate) gate: Arc<Gate>,
    /// Pages in the log after the last commit.
    pub(crate) pages: Arc<AtomicU32>,
    /// Whether a checkpoint is under way already.
    has_asked: bool,
    shared: Arc<Shared>,
}

impl Housekeeper {
    /// Starts it, with a connection of its own.
    pub(crate) fn start(conn: Connection, shared: Arc<Shared>) -> std::io::Result<Self> {
        let (chores, incoming) = sync_channel(CHORES_MAX);
        let gate = Arc::new(Gate::default());
        let pages = Arc::new(AtomicU32::new(0));
        let worker =
            Worker { conn, gate: gate.clone(), pages: pages.clone(), shared: shared.clone() };
        let run = move || worker.work(&incoming);
        let thread = thread::Builder::new().name("relais-checkpoint".into()).spawn(run)?;
        let _ = chores.try_send(Chore::Start);
        Ok(Self { chores, thread: Some(thread), gate, pages, has_asked: false, shared })
    }

    /// After a commit: has the log copied if it has grown, and waits for that if it is full.
    pub(crate) fn committed(&mut self) {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages >= PAGES_MAX {
            let (done, is_done) = sync_channel(1);
            let _ = self.chores.send(Chore::CheckpointNow(done));
            let _ = is_done.recv();
            self.has_asked = false;
        } else if pages >= PAGES_MIN && !self.has_asked {
            self.has_asked = self.chores.try_send(Chore::Checkpoint).is_ok();
        } else if pages < PAGES_MIN {
            self.has_asked = false;
        }
    }

    pub(crate) fn unlink(&self, files: Vec<String>) {
        if let Err(TrySendError::Full(chore) | TrySendError::Disconnected(chore)) =
            self.chores.try_send(Chore::Unlink(files))
            && let Chore::Unlink(files) = chore
        {
            files.iter().for_each(|file| self.shared.files.remove(file));
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
    pages: Arc<AtomicU32>,
    shared: Arc<Shared>,
}

impl Worker {
    fn work(self, chores: &Receiver<Chore>) {
        while let Ok(chore) = chores.recv() {
            match chore {
                Chore::Checkpoint => {
                    // The log may have been copied for another asker.
                    if self.pages.load(Ordering::Relaxed) >= PAGES_MIN {
                        self.checkpoint();
                    }
                }
                Chore::CheckpointNow(_done) => self.checkpoint(),
                Chore::Unlink(files) => {
                    files.iter().for_each(|file| self.shared.files.remove(file));
                }
                Chore::Start => {
                    self.shared.reserve.fill();
                    match self.shared.files.sweep(&self.conn) {
                        Ok(0) => {}
                        Ok(count) => tracing::info!(count, "removed bodies that have no task"),
                        Err(fault) => note(&self.shared.condition, &fault),
                    }
                }
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
            let left = pass(&self.conn, sql::CHECKPOINT_RESTART)?;
            if left == 0 {
                self.pages.store(0, Ordering::Relaxed);
            }
            Ok(())
        })
    }
}

fn note(condition: &Condition, fault: &Fault) {
    if fault.meaning() == Meaning::Passing {
        tracing::warn!("could not tidy the store: {fault}");
    }
    condition.note(fault);
}

/// One pass; answers how many pages are left.
pub(crate) fn pass(conn: &Connection, statement: &str) -> Result<i64, Fault> {
    let pages = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
    let (log, copied) = conn.prepare_cached(statement)?.query_row([], pages)?;
    Ok((log - copied).max(0))
}
