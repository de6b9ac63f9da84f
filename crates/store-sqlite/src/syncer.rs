//! Makes transactions durable beside the writer, which fills the next one meanwhile.
//!
//! SQLite writes what is committed into its log and leaves the sync to this thread. Until that is
//! done nobody learns of the transaction: no answer is given, no change is told, no file of a
//! body that it dropped is removed, and whoever reads what it wrote waits (`unsynced`).

use std::fs::File;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

use relais_store::Change;
use tokio::sync::mpsc;

use crate::checkpoint::Unlinker;
use crate::fault::Fault;
use crate::request::{Answer, Request, brings_something_new, give, refuse};
use crate::shared::Shared;

/// A transaction that SQLite has committed.
pub(crate) struct Written {
    pub(crate) requests: Vec<Request>,
    pub(crate) answers: Vec<Answer>,
    /// The position of the last change.
    pub(crate) head: u64,
    /// What it did that is in no log.
    pub(crate) notices: Vec<Change>,
    /// Nodes that lived at the last sign of life.
    pub(crate) living: usize,
    /// Files of bodies that it dropped.
    pub(crate) unlinks: Vec<String>,
    /// Whether it wrote anything.
    pub(crate) must_sync: bool,
    /// Whether it found that a disk that was full has room again.
    pub(crate) has_room: bool,
}

/// The thread, as the writer sees it.
pub(crate) struct Syncer {
    written: SyncSender<Written>,
    turn: Arc<Turn>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    /// Starts the thread. `log` is the file that SQLite writes its log into; `writer` is woken when a
    /// sync is done that it waits for.
    pub(crate) fn start(
        log: File,
        shared: Arc<Shared>,
        unlinker: Unlinker,
        writer: mpsc::WeakSender<Request>,
    ) -> Result<Self, Fault> {
        // One is being told of while the next is handed over.
        let (written, incoming) = sync_channel(1);
        let turn = Arc::new(Turn::default());
        let worker = Worker { log, shared, unlinker, writer, turn: turn.clone() };
        let thread = thread::Builder::new().name("relais-sync".into());
        let thread = thread.spawn(move || worker.work(&incoming))?;
        Ok(Self { written, turn, thread: Some(thread) })
    }

    /// Takes a transaction on. There is none before it that is not durable.
    pub(crate) fn hand(&self, written: Written) {
        self.turn.state().is_busy = true;
        if self.written.send(written).is_err() {
            // The thread died of a bug, and said so: whoever waits learns that its end is not known.
            self.turn.state().is_busy = false;
        }
    }

    /// Whether a transaction is being made durable. If so, the writer is woken when that is done.
    pub(crate) fn is_busy(&self) -> bool {
        let mut state = self.turn.state();
        state.is_awaited = state.is_busy;
        state.is_busy
    }

    /// Waits until the transaction before is durable, or is known not to be.
    pub(crate) fn wait(&self) {
        let mut state = self.turn.state();
        state.is_awaited = false;
        let state = self.turn.done.wait_while(state, |state| state.is_busy);
        drop(state.expect("nothing panics while it is held"));
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        let (closed, _) = sync_channel(1);
        drop(std::mem::replace(&mut self.written, closed));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Whose turn it is: at most one transaction is committed and not durable.
#[derive(Default)]
struct Turn {
    state: Mutex<TurnState>,
    done: Condvar,
}

#[derive(Default)]
struct TurnState {
    is_busy: bool,
    /// Whether the writer waits for requests, and would commit at once if this were done.
    is_awaited: bool,
}

impl Turn {
    fn state(&self) -> MutexGuard<'_, TurnState> {
        self.state.lock().expect("nothing panics while it is held")
    }
}

struct Worker {
    log: File,
    shared: Arc<Shared>,
    unlinker: Unlinker,
    writer: mpsc::WeakSender<Request>,
    turn: Arc<Turn>,
}

impl Worker {
    fn work(self, incoming: &Receiver<Written>) {
        while let Ok(written) = incoming.recv() {
            let synced = if written.must_sync { self.log.sync_data() } else { Ok(()) };
            match &synced {
                Ok(()) => self.shared.unsynced.end(),
                Err(_) => self.shared.unsynced.lose(),
            }
            self.tell(written, synced);
        }
    }

    /// The writer may commit; whoever asked is answered.
    fn tell(&self, written: Written, synced: io::Result<()>) {
        let fault = synced.err().map(Fault::Fsync);
        if let Some(fault) = &fault {
            self.shared.condition.note(fault);
        }
        self.release();
        match fault {
            None => self.answer(written),
            Some(fault) => {
                let error = fault.as_error();
                written.requests.into_iter().for_each(|request| refuse(request, &error));
            }
        }
    }

    fn answer(&self, written: Written) {
        let shared = &self.shared;
        let Written { requests, answers, head, notices, living, unlinks, has_room, .. } = written;
        shared.look_at_places();
        if has_room {
            shared.condition.has_room();
        }
        {
            let mut known = shared.notices();
            known.add(head, notices);
            known.tell(living);
        }
        // What is new and no start would find is not promised to anybody, whenever its file
        // went. All else is stored, and answered so: nobody would run what is claimed if
        // its claim were told otherwise. The next is refused before it is written.
        let refusal = shared.condition.refusal();
        for (request, answer) in requests.into_iter().zip(answers) {
            match &refusal {
                Some(refusal) if brings_something_new(&request) => refuse(request, refusal),
                _ => give(request, answer),
            }
        }
        if !unlinks.is_empty() {
            self.unlinker.unlink(unlinks);
        }
    }

    fn release(&self) {
        let is_awaited = {
            let mut state = self.turn.state();
            state.is_busy = false;
            std::mem::take(&mut state.is_awaited)
        };
        self.turn.done.notify_one();
        // If its channel is full it does not sleep.
        if is_awaited && let Some(writer) = self.writer.upgrade() {
            let _ = writer.try_send(Request::Synced);
        }
    }
}

impl Drop for Worker {
    /// Says so if the thread dies of a bug, so that nobody waits for it.
    fn drop(&mut self) {
        if thread::panicking() {
            self.shared.condition.note(&Fault::Bug);
            self.shared.unsynced.lose();
            self.release();
        }
    }
}
