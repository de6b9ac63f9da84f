//! The embedded store: one SQLite file, its log, and a folder of large bodies beside it.
//!
//! One thread writes, in transactions that gather whatever has arrived (`writer`); one copies the
//! log beside it (`checkpoint`); a few connections read (`readers`). What changes a task is decided
//! by `relais_core::step`, inside the transaction (`scribe`). Not here: HTTP, clocks, randomness.

mod accept;
mod aside;
mod bodies;
mod changes;
mod check;
mod checkpoint;
mod claim;
mod codec;
mod copy;
#[cfg(test)]
mod cost;
mod events;
mod fault;
mod hash;
mod held;
mod ledger;
mod list;
mod migrate;
mod nodes;
mod open;
mod read;
mod readers;
mod recent;
mod reserve;
mod row;
mod scribe;
mod session;
mod shared;
mod spool;
mod sql;
mod step;
mod system;
mod tidy;
mod webhook;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use relais_core::{BodyKind, EndpointId, QueueName, Session, Task, TaskId, TenantName};
use relais_store::{
    Beat, Changes, Claim, Claims, Commit, Committed, Deliveries, Delivery, Due, DueQuery,
    EndpointRow, Endpoints, EventQuery, Figures, Filter, Health, Logged, Next, Nodes, Page, Place,
    Pool, QueueStats, Queues, Rejected, SEAL_KEY_ID_BYTES, Spool, Store, StoreError, StoreFuture,
    StoredBody, WatchedAnswer,
};
use rusqlite::Connection;

pub use check::Report;
pub use copy::CopyError;
use fault::Fault;
use open::Parts;
pub use open::{OpenError, Options};
use spool::FileSpool;
use system::Machine;
use writer::Request;

/// A store in one SQLite file.
#[derive(Clone)]
pub struct SqliteStore {
    parts: Arc<Parts>,
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}

/// Ids read over one connection without leaving the caller's thread.
const READ_HERE_MAX: usize = 32;
/// Events gone through without leaving the caller's thread.
const EVENTS_HERE_MAX: u64 = 200;

impl SqliteStore {
    /// Opens the file, and makes it if it is new. Blocks; a store of millions
    /// of tasks takes a second.
    ///
    /// A process has one file open once: a second attempt is refused, and closes a
    /// descriptor of it, which costs the first its locks (see `held`). So does a look at
    /// it by the functions below.
    ///
    /// # Errors
    /// [`OpenError`] says whether the file is in use, not ours, too new, or damaged.
    pub fn open(options: &Options) -> Result<Self, OpenError> {
        Ok(Self { parts: Arc::new(open::open(options, Arc::new(Machine))?) })
    }

    /// Looks over the store in a file, beside a running server as well; deeply, every row and body.
    /// Blocks; a deep look takes as long as reading everything.
    ///
    /// # Errors
    /// [`OpenError`] if the file could not be opened as a store. What is wrong
    /// within is in the report.
    pub fn check(path: &Path, is_deep: bool) -> Result<Report, OpenError> {
        check::check(path, is_deep)
    }

    /// Copies the store in a file with its bodies to another place, as of one moment and beside a
    /// running server as well; reads the copy back whole, and answers what there is. What is
    /// damaged of single tasks is copied as it is, and in the report. Blocks.
    ///
    /// # Errors
    /// [`CopyError`] says what could not be read or written; then there is no file `to`.
    pub fn copy(from: &Path, to: &Path) -> Result<Report, CopyError> {
        copy::copy(from, to)
    }

    /// Reads the secrets in a file, beside a running server as well. Blocks.
    ///
    /// # Errors
    /// [`OpenError`] if the file could not be opened as a store, or they could not be read.
    pub fn secrets_in(path: &Path) -> Result<Vec<(String, Bytes)>, OpenError> {
        check::secrets(path)
    }

    /// Reads the queues of the store in a file, and their counts, beside a running server as well.
    ///
    /// # Errors
    /// [`OpenError`] if the file could not be opened as a store, or they could not be read.
    pub fn queues_in(path: &Path) -> Result<Vec<QueueStats>, OpenError> {
        check::queues(path)
    }

    /// The ids of the keys that sealed the credentials of tasks, running or kept; a
    /// few steps in an index each.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn seal_keys(&self) -> Result<Vec<[u8; SEAL_KEY_ID_BYTES]>, StoreError> {
        self.page(read::seal_keys).await
    }

    /// The same of the store in a file, beside a running server as well. Blocks.
    ///
    /// # Errors
    /// [`OpenError`] if the file could not be opened as a store, or they could not be read.
    pub fn seal_keys_in(path: &Path) -> Result<Vec<[u8; SEAL_KEY_ID_BYTES]>, OpenError> {
        check::seal_keys(path)
    }

    /// Tasks in a file that were set aside, because their rows are damaged: at most a hundred.
    /// Their queues go on without them. Beside a running server as well; blocks.
    ///
    /// # Errors
    /// [`OpenError`] if the file could not be opened as a store, or they could not be read.
    pub fn set_aside_in(path: &Path) -> Result<Vec<TaskId>, OpenError> {
        check::aside(path)
    }

    /// Finishes what was begun, and leaves the file whole and free for the next process.
    /// Nothing can be read any more.
    pub async fn close(&self) {
        self.parts.writer.close().await;
        let parts = self.parts.clone();
        let _ = tokio::task::spawn_blocking(move || parts.close()).await;
    }

    /// Steps that SQLite's virtual machine took for the writer: what a test of its plans measures.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the store is closed.
    pub async fn effort(&self) -> Result<i64, StoreError> {
        self.parts.writer.ask(|reply| Request::Effort { reply }).await
    }

    /// Reads single rows, here and now.
    fn point<'a, T: Send + 'a>(
        &'a self,
        read: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'a,
    ) -> StoreFuture<'a, T> {
        let parts = &self.parts;
        Box::pin(async move { parts.points.read(&parts.shared.condition, read) })
    }

    /// Reads many rows, where it may block.
    fn page<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        let parts = self.parts.clone();
        Box::pin(async move {
            let read = move || parts.pages.read(&parts.shared.condition, read);
            let stopped = || StoreError::Unavailable("the process is shutting down".to_owned());
            tokio::task::spawn_blocking(read).await.unwrap_or_else(|_| Err(stopped()))
        })
    }
}

impl Store for SqliteStore {
    fn commit(&self, commits: Vec<Commit>) -> StoreFuture<'_, Vec<Result<Committed, Rejected>>> {
        Box::pin(self.parts.writer.ask(|reply| Request::Commit { commits, reply }))
    }

    fn claim(&self, claim: Claim) -> StoreFuture<'_, Claims> {
        let claim = Box::new(claim);
        Box::pin(self.parts.writer.ask(|reply| Request::Claim { claim, reply }))
    }

    fn due(&self, query: DueQuery) -> StoreFuture<'_, Due> {
        Box::pin(async move {
            let wants = self.point(move |conn| read::wants_tidying(conn, query)).await?;
            let pools = if wants {
                let (now, limit) = (query.now, query.limit);
                self.parts.writer.ask(|reply| Request::Tidy { now, limit, reply }).await?
            } else {
                Vec::new()
            };
            self.point(move |conn| read::due(conn, query, pools)).await
        })
    }

    fn pools(&self, of: Option<(TenantName, QueueName)>) -> StoreFuture<'_, Vec<Pool>> {
        match of {
            Some((tenant, queue)) => {
                self.point(move |conn| read::ready_pools_of(conn, &tenant, &queue))
            }
            None => self.page(read::ready_pools),
        }
    }

    fn beat(&self, beat: Beat) -> StoreFuture<'_, Nodes> {
        Box::pin(self.parts.writer.ask(move |reply| Request::Beat { beat, reply }))
    }

    fn changes(&self, after: u64, limit: usize) -> StoreFuture<'_, Changes> {
        let (head, notices) = {
            let known = self.parts.shared.notices();
            (known.head(), known.after(after))
        };
        Box::pin(async move {
            let Some(notices) = notices else { return Ok(Changes::Gap { head }) };
            let read = self.page(move |conn| changes::entries(conn, (after, head), limit));
            let (entries, upto) = read.await?;
            Ok(Changes::merged(entries, notices, (after, upto)))
        })
    }

    fn changed(&self, after: u64) -> StoreFuture<'_, ()> {
        let mut told = self.parts.shared.notices().watch();
        Box::pin(async move {
            // The sender lives in the store that this borrows.
            let _ = told.wait_for(|told| *told > after).await;
            Ok(())
        })
    }

    fn read(&self, ids: Vec<TaskId>) -> StoreFuture<'_, Vec<Option<Task>>> {
        if ids.len() <= READ_HERE_MAX {
            self.point(move |conn| read::tasks(conn, &ids))
        } else {
            self.page(move |conn| read::tasks(conn, &ids))
        }
    }

    fn list(&self, filter: Filter) -> StoreFuture<'_, Page> {
        self.page(move |conn| list::page(conn, &filter))
    }

    fn events(&self, query: EventQuery) -> StoreFuture<'_, Vec<Logged>> {
        Box::pin(async move {
            // A thread for each of a thousand streams that open together would cost more than they do.
            if self.point(|conn| events::are_few(conn, &query, EVENTS_HERE_MAX)).await? {
                return self.point(|conn| events::events(conn, &query)).await;
            }
            self.page(move |conn| events::events(conn, &query)).await
        })
    }

    fn last_pos(&self) -> StoreFuture<'_, u64> {
        self.point(events::last_pos)
    }

    fn body(&self, task: TaskId, kind: BodyKind) -> StoreFuture<'_, Option<StoredBody>> {
        let files = &self.parts.shared.files;
        self.point(move |conn| read::body(conn, files, task, kind))
    }

    fn spool(&self) -> StoreFuture<'_, Box<dyn Spool>> {
        let spool = FileSpool::new(self.parts.shared.clone());
        Box::pin(std::future::ready(Ok(Box::new(spool) as Box<dyn Spool>)))
    }

    fn watch_answer(&self, task: TaskId) -> WatchedAnswer {
        self.parts.shared.growing.watch(task)
    }

    fn queue(&self, tenant: TenantName, queue: QueueName) -> StoreFuture<'_, Option<QueueStats>> {
        self.point(move |conn| read::queue(conn, &tenant, &queue))
    }

    fn queues(&self, which: Queues) -> StoreFuture<'_, Vec<QueueStats>> {
        self.page(move |conn| read::queues(conn, &which))
    }

    fn figures(&self) -> StoreFuture<'_, Figures> {
        let shared = self.parts.shared.clone();
        self.page(move |conn| {
            Ok(Figures {
                waiting: read::waiting(conn)?,
                disk: shared.places.disk(),
                sessions: shared.sessions.load(Ordering::Relaxed),
            })
        })
    }

    fn place(&self, task: TaskId) -> StoreFuture<'_, Option<Place>> {
        self.point(move |conn| read::place(conn, task))
    }

    fn secrets(&self, prefix: &str) -> StoreFuture<'_, Vec<(String, Bytes)>> {
        let prefix = prefix.to_owned();
        self.page(move |conn| read::secrets(conn, &prefix))
    }

    fn session(&self, id_mac: [u8; 32]) -> StoreFuture<'_, Option<Session>> {
        self.point(move |conn| session::session(conn, id_mac))
    }

    fn endpoints(&self, which: Endpoints) -> StoreFuture<'_, Vec<EndpointRow>> {
        self.point(move |conn| webhook::endpoints(conn, &which))
    }

    fn waited_for(&self) -> StoreFuture<'_, Vec<EndpointId>> {
        self.page(webhook::waited_for)
    }

    fn next_deliveries(&self, endpoint: EndpointId, limit: usize) -> StoreFuture<'_, Option<Next>> {
        self.point(move |conn| webhook::next(conn, endpoint, limit))
    }

    fn deliveries(&self, which: Deliveries) -> StoreFuture<'_, Vec<Delivery>> {
        match which {
            Deliveries::One(_) => self.point(move |conn| webhook::deliveries(conn, which)),
            Deliveries::To { .. } | Deliveries::Of { .. } => {
                self.page(move |conn| webhook::deliveries(conn, which))
            }
        }
    }

    fn health(&self) -> Health {
        self.parts.shared.look_at_places();
        self.parts.shared.look_for_room();
        self.parts.shared.condition.health()
    }

    fn has_room_for(&self, bytes: u64) -> bool {
        self.parts.shared.has_room_for(bytes)
    }
}
