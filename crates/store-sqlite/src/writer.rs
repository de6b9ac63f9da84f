//! The one thread that writes: gathers what has arrived into one transaction, commits it, and hands it to
//! the thread that makes it durable and answers (`syncer`).
//!
//! Nothing waits for company: a transaction is committed as soon as the one before is durable. Until
//! then it takes what arrives.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use relais_core::{TaskId, limits};
use relais_store::{StoreError, Unclaimed};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::checkpoint::Housekeeper;
use crate::fault::{Fault, Meaning};
use crate::request::{
    Answer, Reply, Request, brings_something_new, bytes_of, is_close, refuse, refuse_new, size_of,
};
use crate::scribe::Scribe;
use crate::shared::Shared;
use crate::sql;
use crate::syncer::{Syncer, Written};

/// Bytes of bodies gathered into one write: bounds the log, and how long all of them wait.
const BYTES_PER_WRITE_MAX: u64 = 8 << 20;

/// The writer as its store sees it.
pub(crate) struct Writer {
    requests: mpsc::Sender<Request>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread. It reads what it has to remember before it takes the first request.
    pub(crate) fn start(
        mut conn: Connection,
        shared: Arc<Shared>,
        (housekeeper, log): (Housekeeper, File),
        tasks_kept: usize,
    ) -> Result<Self, Fault> {
        let (requests, incoming) = mpsc::channel(limits::WRITER_QUEUE_MAX);
        let (hooked, is_written) = (housekeeper.log.clone(), Arc::new(AtomicBool::new(false)));
        let written = is_written.clone();
        conn.wal_hook(Some(move |_: &mut _, count| {
            hooked.pages.store(u32::try_from(count).unwrap_or(u32::MAX), Ordering::Relaxed);
            written.store(true, Ordering::Relaxed);
            Ok(())
        }))?;
        let (unlinker, weak) = (housekeeper.unlinker(), requests.downgrade());
        let syncer = Syncer::start(log, shared.clone(), unlinker, weak)?;
        let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
        let run = move || {
            let _watch = Watch(shared.clone());
            match Scribe::new(&conn, &shared, tasks_kept) {
                Ok(scribe) => {
                    let _ = ready.send(Ok(()));
                    let (is_stale, patience) = (false, (0, 0));
                    let desk = Desk { scribe, syncer, housekeeper, is_written, is_stale, patience };
                    desk.work(Intake { incoming, next: None });
                }
                Err(fault) => {
                    let _ = ready.send(Err(fault));
                }
            }
        };
        let thread = thread::Builder::new().name("relais-writer".into()).spawn(run)?;
        let fault = match is_ready.recv() {
            Ok(Ok(())) => return Ok(Self { requests, thread: Mutex::new(Some(thread)) }),
            Ok(Err(fault)) => fault,
            Err(_) => Fault::damaged("the writer did not start"),
        };
        // Its connections are closed before anything else of the store is.
        let _ = thread.join();
        Err(fault)
    }

    /// Asks, and waits until the answer is durable.
    pub(crate) async fn ask<T>(
        &self,
        request: impl FnOnce(Reply<T>) -> Request,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let stopped = || StoreError::Unavailable("the store is closed".to_owned());
        self.requests.send(request(reply)).await.map_err(|_| stopped())?;
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Lets the thread finish what it was asked, and no more. Returns when its files are closed.
    pub(crate) async fn close(&self) {
        let _ = self.requests.send(Request::Close).await;
        if let Some(thread) = self.take_thread() {
            let _ = tokio::task::spawn_blocking(|| thread.join()).await;
        }
    }

    fn take_thread(&self) -> Option<JoinHandle<()>> {
        self.thread.lock().expect("nothing panics while it is held").take()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let (closed, _) = mpsc::channel(1);
        drop(std::mem::replace(&mut self.requests, closed));
        if let Some(thread) = self.take_thread() {
            let _ = thread.join();
        }
    }
}

/// Says so if the thread dies of a bug: then nothing can be written any more.
struct Watch(Arc<Shared>);

impl Drop for Watch {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.condition.note(&Fault::Bug);
        }
    }
}

/// The thread's own.
struct Desk<'c> {
    scribe: Scribe<'c>,
    syncer: Syncer,
    housekeeper: Housekeeper,
    /// Whether anything was written since this was last looked at.
    is_written: Arc<AtomicBool>,
    /// What is in mind may differ from what is stored.
    is_stale: bool,
    /// Times that what is new is refused before room is looked for again, and how many are left.
    patience: (u32, u32),
}

/// Taking the reserve again may write all of it, and fail although the disk says there is room (a
/// quota): seldom enough, and never too seldom.
const PATIENCE_MAX: u32 = 16;

/// What arrives.
struct Intake {
    incoming: mpsc::Receiver<Request>,
    /// The first of the next transaction, where this one could not take it.
    next: Option<Request>,
}

impl Intake {
    /// The first of a transaction; `None` when nothing more will come.
    fn first(&mut self) -> Option<Request> {
        self.next.take().or_else(|| self.incoming.blocking_recv())
    }
}

/// A transaction that is being filled.
struct Filling<'a> {
    intake: &'a mut Intake,
    syncer: &'a Syncer,
    shared: &'a Shared,
    size: usize,
    bytes: u64,
    /// Whether it is known that there is room for what is new.
    has_room: bool,
}

impl Filling<'_> {
    /// What else belongs into the transaction: what is there, and until the one before is durable also
    /// what comes. `None` when it is to be committed.
    fn next(&mut self) -> Option<Request> {
        if self.size >= limits::COMMITS_PER_WRITE_MAX || self.bytes >= BYTES_PER_WRITE_MAX {
            return None;
        }
        let request = match self.intake.incoming.try_recv() {
            Ok(request) => request,
            Err(_) if self.syncer.is_busy() => self.intake.incoming.blocking_recv()?,
            Err(_) => return None,
        };
        if brings_something_new(&request) && !self.has_room {
            self.has_room = self.shared.has_room_to_write();
            if !self.has_room {
                self.intake.next = Some(request);
                return None;
            }
        }
        self.count(&request);
        Some(request)
    }

    fn count(&mut self, request: &Request) {
        self.size += size_of(request);
        self.bytes += bytes_of(request);
    }
}

impl Desk<'_> {
    fn work(mut self, mut intake: Intake) {
        while let Some(request) = intake.first() {
            if !matches!(request, Request::Synced) && self.write(vec![request], Some(&mut intake)) {
                break;
            }
        }
    }

    /// Writes requests, and what else arrives; if that fails, in smaller parts, so that one
    /// bad request harms no other. Answers whether one of them was the last.
    fn write(&mut self, requests: Vec<Request>, intake: Option<&mut Intake>) -> bool {
        if requests.is_empty() {
            return false;
        }
        let shared = self.scribe.shared;
        // What was found away may be back. Otherwise the one look is that after the commit.
        if shared.condition.is_away() {
            shared.look_at_places();
        }
        if let Some(refusal) = shared.condition.refusal() {
            let is_last = requests.iter().any(is_close);
            requests.into_iter().for_each(|request| refuse(request, &refusal));
            return is_last;
        }
        let mut requests = if self.may_accept(&requests) { requests } else { refuse_new(requests) };
        let done = self.attempt_past_strange(&mut requests, intake);
        let is_last = requests.iter().any(is_close);
        match done {
            Ok(answers) => self.hand(requests, answers),
            Err(fault) => self.retry(requests, &fault),
        }
        is_last
    }

    /// Has what was committed made durable, and answered then.
    fn hand(&mut self, requests: Vec<Request>, answers: Vec<Answer>) {
        let shared = self.scribe.shared;
        let is_new = requests.iter().any(brings_something_new);
        let has_room = shared.condition.is_full() && self.has_room_after(is_new);
        self.syncer.hand(Written {
            requests,
            answers,
            head: self.scribe.head(),
            notices: std::mem::take(&mut self.scribe.notices),
            living: self.scribe.living,
            unlinks: std::mem::take(&mut self.scribe.unlinks),
            must_sync: self.is_written.swap(false, Ordering::Relaxed),
            has_room,
        });
        self.scribe.ledger.lanes.trim(self.scribe.recent.kept_max());
        self.housekeeper.committed();
    }

    /// Whether there is room for what is new, if anything is.
    fn may_accept(&mut self, requests: &[Request]) -> bool {
        let shared = self.scribe.shared;
        if !requests.iter().any(brings_something_new) || shared.has_room_to_write() {
            return true;
        }
        // The file never shrinks: what was erased within it is room as well.
        if self.has_free_pages() {
            return true;
        }
        shared.note_full();
        if !shared.reserve.is_spent() || !shared.reserve.could_return() {
            return false;
        }
        let (waits, left) = self.patience;
        if left > 0 {
            self.patience = (waits, left - 1);
            return false;
        }
        let has_room = shared.reserve.fill();
        let waits = if has_room { 0 } else { (waits * 2 + 1).min(PATIENCE_MAX) };
        self.patience = (waits, waits);
        has_room
    }

    /// Whether what was just written says that there is room again. What was erased within the file
    /// is room as well, which no disk tells of.
    fn has_room_after(&self, is_new: bool) -> bool {
        (is_new && self.scribe.shared.reserve.room().is_some()) || self.has_free_pages()
    }

    /// Whether a good part of the file is unused.
    fn has_free_pages(&self) -> bool {
        let pages = |name: &str| {
            let pages = self.scribe.conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
            pages.unwrap_or_default()
        };
        let reserve = i64::from(self.scribe.shared.reserve.pages());
        let enough = (pages("page_count") / 4).min(reserve);
        pages("freelist_count") > enough
    }

    fn retry(&mut self, mut requests: Vec<Request>, fault: &Fault) {
        let condition = &self.scribe.shared.condition;
        let error = fault.as_error();
        match fault.meaning() {
            Meaning::Fatal => {
                condition.note(fault);
                requests.into_iter().for_each(|request| refuse(request, &error));
            }
            Meaning::Full => {
                // What is new is refused at once: the room that is left is for outcomes.
                condition.note(fault);
                let is_first = self.scribe.shared.reserve.spend();
                let had_new = requests.iter().any(brings_something_new);
                requests = refuse_new(requests);
                // What the log holds may find its place in the database, and leave its own.
                let is_new_log = self.housekeeper.checkpoint();
                if is_first || had_new || is_new_log {
                    self.write(requests, None);
                } else {
                    self.write_in_parts(requests, &error);
                }
            }
            Meaning::Damaged | Meaning::Unreadable | Meaning::Spoiled | Meaning::Passing => {
                if requests.len() == 1 {
                    condition.note(fault);
                }
                self.write_in_parts(requests, &error);
            }
        }
    }

    /// Writes both halves; a request that failed by itself is told so.
    fn write_in_parts(&mut self, mut requests: Vec<Request>, error: &StoreError) {
        if requests.len() == 1 {
            requests.into_iter().for_each(|request| refuse(request, error));
            return;
        }
        let rest = requests.split_off(requests.len() / 2);
        self.write(requests, None);
        self.write(rest, None);
    }

    /// Attempts what is asked; each task in the way that cannot be read is
    /// set aside, and named once.
    fn attempt_past_strange(
        &mut self,
        requests: &mut Vec<Request>,
        mut intake: Option<&mut Intake>,
    ) -> Result<Vec<Answer>, Fault> {
        loop {
            let fault = match self.attempt(requests, intake.take()) {
                Err(fault) => fault,
                done => return done,
            };
            let Fault::Task { n: Some(n), .. } = fault else { return Err(fault) };
            match self.set_aside(n)? {
                Some(task) => {
                    tracing::error!(%task, "set aside, because its row is damaged: {fault}");
                }
                // It is asked for by its id.
                None => return Err(fault),
            }
        }
    }

    /// Answers all requests, and adds to them what else arrives.
    fn attempt(
        &mut self,
        requests: &mut Vec<Request>,
        intake: Option<&mut Intake>,
    ) -> Result<Vec<Answer>, Fault> {
        self.transaction(|scribe, syncer| {
            let mut answers = Vec::with_capacity(requests.len());
            for request in &*requests {
                answers.push(answer(scribe, request)?);
            }
            let Some(intake) = intake else { return Ok(answers) };
            let (shared, has_room) = (scribe.shared, requests.iter().any(brings_something_new));
            let mut filling = Filling { intake, syncer, shared, size: 0, bytes: 0, has_room };
            requests.iter().for_each(|request| filling.count(request));
            while let Some(request) = filling.next() {
                requests.push(request);
                answers.push(answer(scribe, requests.last().expect("it was pushed"))?);
            }
            Ok(answers)
        })
    }

    fn set_aside(&mut self, n: i64) -> Result<Option<TaskId>, Fault> {
        let aside = self.transaction(|scribe, _| scribe.set_aside(n))?;
        // Nobody is answered for that, and what follows is only committed when it is durable.
        self.hand(Vec::new(), Vec::new());
        Ok(aside)
    }

    /// One transaction. After an error nothing of it is left, in the store or in mind.
    fn transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Scribe<'_>, &Syncer) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        if self.is_stale {
            self.scribe.start_over()?;
            self.is_stale = false;
        }
        self.housekeeper.gate.enter();
        let done = self.transact(work);
        if done.is_err() {
            self.is_stale = true;
            // It fails when SQLite has rolled back by itself already.
            let _ = self.scribe.conn.execute_batch(sql::ROLLBACK);
        }
        self.housekeeper.gate.leave();
        let decided = std::mem::take(&mut self.scribe.decided);
        if done.as_ref().err().is_none_or(|fault| fault.meaning() == Meaning::Fatal) {
            // Where the end is not known, a row may name them.
            decided.iter().for_each(Unclaimed::claim);
        }
        done
    }

    /// Commits only when the transaction before is durable: so never more than one is not.
    fn transact<T>(
        &mut self,
        work: impl FnOnce(&mut Scribe<'_>, &Syncer) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.scribe.hot.begin.execute([])?;
        let done = work(&mut self.scribe, &self.syncer)?;
        self.scribe.flush()?;
        self.syncer.wait();
        let shared = self.scribe.shared;
        if shared.condition.is_dead() {
            return Err(Fault::Fsync(io::Error::other("that of the transaction before failed")));
        }
        shared.unsynced.begin(&mut self.scribe.changed);
        let committed = self.scribe.hot.commit.execute([]);
        if committed.is_err() {
            shared.unsynced.end();
        }
        committed?;
        Ok(done)
    }
}

fn answer(scribe: &mut Scribe<'_>, request: &Request) -> Result<Answer, Fault> {
    Ok(match request {
        Request::Commit { commits, .. } => {
            let answers: Result<_, Fault> =
                commits.iter().map(|commit| scribe.apply(commit)).collect();
            Answer::Commit(answers?)
        }
        Request::Claim { claim, .. } => Answer::Claim(scribe.claim(claim)?),
        Request::Tidy { now, limit, .. } => Answer::Tidy(scribe.tidy(*now, *limit)?),
        Request::Beat { beat, .. } => Answer::Beat(scribe.beat(beat)?),
        Request::Effort { .. } => Answer::Effort(scribe.hot.vm_steps()),
        Request::Synced | Request::Close => Answer::Nothing,
    })
}
