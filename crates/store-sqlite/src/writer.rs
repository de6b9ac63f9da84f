//! The one thread that writes: gathers what has arrived, writes it in one
//! transaction, then answers.
//!
//! Nothing waits for company: while a transaction is made durable, the next gathers by itself.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use relais_core::{EndpointOp, Timestamp, limits};
use relais_store::{
    Beat, Body, Claim, Claims, Commit, Committed, Data, Nodes, Pool, Rejected, Stepped, StoreError,
    Unclaimed,
};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::checkpoint::Housekeeper;
use crate::fault::{Fault, Meaning};
use crate::scribe::Scribe;
use crate::shared::Shared;
use crate::sql;

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// Bytes of bodies gathered into one write: bounds the log, and how long all of them wait.
const BYTES_PER_WRITE_MAX: u64 = 8 << 20;

/// What the writer is asked.
pub(crate) enum Request {
    Commit {
        commits: Vec<Commit>,
        reply: Reply<Vec<Result<Committed, Rejected>>>,
    },
    Claim {
        claim: Box<Claim>,
        reply: Reply<Claims>,
    },
    Tidy {
        now: Timestamp,
        limit: usize,
        reply: Reply<Vec<Pool>>,
    },
    Beat {
        beat: Beat,
        reply: Reply<Nodes>,
    },
    /// Steps of the virtual machine so far.
    Effort {
        reply: Reply<i64>,
    },
    /// The last one.
    Close,
}

/// What it answers, once that is durable.
enum Answer {
    Commit(Vec<Result<Committed, Rejected>>),
    Claim(Claims),
    Tidy(Vec<Pool>),
    Beat(Nodes),
    Effort(i64),
    Close,
}

impl Answer {
    /// The steps that were taken.
    fn steps(&self) -> impl Iterator<Item = &Stepped> {
        let committed = match self {
            Self::Commit(answers) => &answers[..],
            Self::Claim(_) | Self::Tidy(_) | Self::Beat(_) | Self::Effort(_) | Self::Close => &[],
        };
        committed.iter().flatten().filter_map(Committed::stepped)
    }
}

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
        housekeeper: Housekeeper,
        tasks_kept: usize,
    ) -> Result<Self, Fault> {
        let (requests, incoming) = mpsc::channel(limits::WRITER_QUEUE_MAX);
        let log = housekeeper.log.clone();
        conn.wal_hook(Some(move |_: &mut _, count| {
            log.pages.store(u32::try_from(count).unwrap_or(u32::MAX), Ordering::Relaxed);
            Ok(())
        }))?;
        let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
        let run = move || {
            let _watch = Watch(shared.clone());
            match Scribe::new(&conn, &shared, tasks_kept) {
                Ok(scribe) => {
                    let _ = ready.send(Ok(()));
                    Desk { scribe, housekeeper, is_stale: false, patience: (0, 0) }.work(incoming);
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
    housekeeper: Housekeeper,
    /// What is in mind may differ from what is stored.
    is_stale: bool,
    /// Times that what is new is refused before room is looked for again, and how many are left.
    patience: (u32, u32),
}

/// Taking the reserve again may write all of it, and fail although the disk says there is room (a
/// quota): seldom enough, and never too seldom.
const PATIENCE_MAX: u32 = 16;

impl Desk<'_> {
    fn work(mut self, mut incoming: mpsc::Receiver<Request>) {
        let mut gathered = Vec::new();
        while let Some(request) = incoming.blocking_recv() {
            let (mut size, mut bytes) = (size_of(&request), bytes_of(&request));
            gathered.push(request);
            while size < limits::COMMITS_PER_WRITE_MAX
                && bytes < BYTES_PER_WRITE_MAX
                && let Ok(request) = incoming.try_recv()
            {
                size += size_of(&request);
                bytes += bytes_of(&request);
                gathered.push(request);
            }
            let is_last = gathered.iter().any(|request| matches!(request, Request::Close));
            self.write(std::mem::take(&mut gathered));
            if is_last {
                break;
            }
        }
    }

    /// Writes what was gathered; if that fails, in smaller parts, so that one
    /// bad request harms no other.
    fn write(&mut self, requests: Vec<Request>) {
        if requests.is_empty() {
            return;
        }
        let shared = self.scribe.shared;
        // What was found away may be back. Otherwise the one look is that after the commit.
        if shared.condition.is_away() {
            shared.look_at_places();
        }
        if let Some(refusal) = shared.condition.refusal() {
            requests.into_iter().for_each(|request| refuse(request, &refusal));
            return;
        }
        let requests = if self.may_accept(&requests) { requests } else { refuse_new(requests) };
        match self.attempt_past_strange(&requests) {
            Ok(answers) => {
                shared.look_at_places();
                if shared.condition.is_full() && self.has_room_after(&requests) {
                    shared.condition.has_room();
                }
                // What is new and no start would find is not promised to anybody, whenever its file
                // went. All else is stored, and answered so: nobody would run what is claimed if
                // its claim were told otherwise. The next is refused before it is written.
                let refusal = shared.condition.refusal();
                for (request, answer) in requests.into_iter().zip(answers) {
                    answer.steps().for_each(|step| shared.growing.note(&step.changed.task));
                    match &refusal {
                        Some(refusal) if brings_something_new(&request) => refuse(request, refusal),
                        _ => give(request, answer),
                    }
                }
            }
            Err(fault) => self.retry(requests, &fault),
        }
    }

    /// Whether there is room for what is new, if anything is.
    fn may_accept(&mut self, requests: &[Request]) -> bool {
        let shared = self.scribe.shared;
        let (is_spent, has_room) = (shared.reserve.is_spent(), || shared.reserve.room().is_some());
        if !requests.iter().any(brings_something_new) || (!is_spent && has_room()) {
            return true;
        }
        // The file never shrinks: what was erased within it is room as well.
        if self.has_free_pages() {
            return true;
        }
        shared.note_full();
        if !is_spent || !shared.reserve.could_return() {
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
    fn has_room_after(&self, written: &[Request]) -> bool {
        let is_new = written.iter().any(brings_something_new);
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
                    self.write(requests);
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
        self.write(requests);
        self.write(rest);
    }

    /// Attempts what is asked; each task in the way that cannot be read is
    /// set aside, and named once.
    fn attempt_past_strange(&mut self, requests: &[Request]) -> Result<Vec<Answer>, Fault> {
        loop {
            let fault = match self.attempt(|scribe| answer_all(scribe, requests)) {
                Err(fault) => fault,
                done => return done,
            };
            let Fault::Task { n: Some(n), .. } = fault else { return Err(fault) };
            match self.attempt(|scribe| scribe.set_aside(n))? {
                Some(task) => {
                    tracing::error!(%task, "set aside, because its row is damaged: {fault}");
                }
                // It is asked for by its id.
                None => return Err(fault),
            }
        }
    }

    /// One transaction. After an error nothing of it is left, in the store or in mind.
    fn attempt<T>(
        &mut self,
        work: impl FnOnce(&mut Scribe<'_>) -> Result<T, Fault>,
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
        let done = done?;
        let (head, notices) = (self.scribe.head(), std::mem::take(&mut self.scribe.notices));
        {
            let mut known = self.scribe.shared.notices();
            known.add(head, notices);
            known.tell(self.scribe.living);
        }
        self.scribe.ledger.lanes.trim(self.scribe.recent.kept_max());
        let files = std::mem::take(&mut self.scribe.unlinks);
        if !files.is_empty() {
            self.housekeeper.unlink(files);
        }
        self.housekeeper.committed();
        Ok(done)
    }

    fn transact<T>(
        &mut self,
        work: impl FnOnce(&mut Scribe<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.scribe.hot.begin.execute([])?;
        let done = work(&mut self.scribe)?;
        self.scribe.flush()?;
        self.scribe.hot.commit.execute([])?;
        Ok(done)
    }
}

fn answer_all(scribe: &mut Scribe<'_>, requests: &[Request]) -> Result<Vec<Answer>, Fault> {
    requests.iter().map(|request| answer(scribe, request)).collect()
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
        Request::Close => Answer::Close,
    })
}

/// How much of a transaction a request is.
fn size_of(request: &Request) -> usize {
    match request {
        Request::Commit { commits, .. } => commits.len(),
        Request::Claim { claim, .. } => claim.nonces.len(),
        Request::Tidy { .. } | Request::Beat { .. } | Request::Effort { .. } | Request::Close => 1,
    }
}

/// Bytes of bodies that a request brings.
fn bytes_of(request: &Request) -> u64 {
    let Request::Commit { commits, .. } = request else { return 0 };
    let of_bodies = |bodies: &[(_, Body)]| -> u64 {
        let inline = |body: &Body| matches!(body.data, Data::Inline(_)).then_some(body.data.len());
        bodies.iter().filter_map(|(_, body)| inline(body)).sum()
    };
    let of_commit = |commit: &Commit| match commit {
        Commit::Accept(accept) => of_bodies(&accept.bodies),
        Commit::Step(of) => of_bodies(&of.bodies),
        Commit::Erase { .. }
        | Commit::Queue { .. }
        | Commit::Secret { .. }
        | Commit::Session(_)
        | Commit::Endpoint(_)
        | Commit::Drop(_)
        | Commit::LetWait(_) => 0,
    };
    commits.iter().map(of_commit).sum()
}

/// Whether a request adds tasks or sessions, which a full disk has no room for.
fn brings_something_new(request: &Request) -> bool {
    let is_new = |commit: &Commit| match commit {
        Commit::Accept(_) => true,
        Commit::Session(of) => of.begun_by().is_some(),
        Commit::Endpoint(of) => matches!(of.op, EndpointOp::Create(_)),
        Commit::Step(_)
        | Commit::Erase { .. }
        | Commit::Queue { .. }
        | Commit::Secret { .. }
        | Commit::Drop(_)
        | Commit::LetWait(_) => false,
    };
    match request {
        Request::Commit { commits, .. } => commits.iter().any(is_new),
        _ => false,
    }
}

/// Refuses what is new, for want of room; the rest is left.
fn refuse_new(requests: Vec<Request>) -> Vec<Request> {
    let (new, old): (Vec<_>, Vec<_>) = requests.into_iter().partition(brings_something_new);
    new.into_iter().for_each(|request| refuse(request, &StoreError::Full));
    old
}

/// Whoever does not wait any more is not missed.
fn give(request: Request, answer: Answer) {
    match (request, answer) {
        (Request::Commit { reply, .. }, Answer::Commit(answer)) => _ = reply.send(Ok(answer)),
        (Request::Claim { reply, .. }, Answer::Claim(answer)) => _ = reply.send(Ok(answer)),
        (Request::Tidy { reply, .. }, Answer::Tidy(answer)) => _ = reply.send(Ok(answer)),
        (Request::Beat { reply, .. }, Answer::Beat(answer)) => _ = reply.send(Ok(answer)),
        (Request::Effort { reply }, Answer::Effort(answer)) => _ = reply.send(Ok(answer)),
        (Request::Close, Answer::Close) => {}
        _ => unreachable!("answers are in the order of their requests"),
    }
}

fn refuse(request: Request, error: &StoreError) {
    let error = error.clone();
    match request {
        Request::Commit { reply, .. } => _ = reply.send(Err(error)),
        Request::Claim { reply, .. } => _ = reply.send(Err(error)),
        Request::Tidy { reply, .. } => _ = reply.send(Err(error)),
        Request::Beat { reply, .. } => _ = reply.send(Err(error)),
        Request::Effort { reply } => _ = reply.send(Err(error)),
        Request::Close => {}
    }
}
