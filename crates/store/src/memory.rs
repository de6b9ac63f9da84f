//! The reference: a store in memory, in plain code that is obviously right.
//!
//! Not here: speed and survival. Everything is gone with the process;
//! drivers are compared with this.

mod body;
mod claim;
mod commit;
mod query;
mod session;
mod state;
mod webhook;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use relais_core::{BodyKind, EndpointId, QueueName, Session, Task, TaskId, TenantName};

use crate::body::{Spool, StoredBody};
use crate::change::Changes;
use crate::claim::{Claim, Claims, Due, DueQuery, Pool};
use crate::commit::{Commit, Committed, Rejected};
use crate::growing::{GrowingAnswers, WatchedAnswer};
use crate::node::{Beat, Nodes};
use crate::query::{EventQuery, Figures, Filter, Health, Logged, Page, Place, QueueStats, Queues};
use crate::webhook::{Deliveries, Delivery, EndpointRow, Endpoints, Next};
use crate::{Store, StoreFuture};
use state::Inner;

/// The store that defines what a store does; for tests, demos and comparison.
#[derive(Clone, Default)]
pub struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
    growing: GrowingAnswers,
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Finished bodies that no commit has decided about yet: zero when nobody holds one.
    #[must_use]
    pub fn unclaimed_bodies(&self) -> usize {
        self.inner().spilled.count()
    }

    /// Tasks that are watched, or have an answer that grows: zero when nobody holds one.
    #[must_use]
    pub fn growing_answers(&self) -> usize {
        self.growing.count()
    }

    /// From now on a body is found to be damaged: what only the suite does.
    #[cfg(feature = "conformance")]
    pub fn damage(&self, task: TaskId, kind: BodyKind) {
        self.inner().damaged.insert((task, kind));
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner
            .lock()
            .expect("a bug of the reference poisoned it: nothing it says is worth having")
    }
}

/// Memory never waits and never fails.
fn answer<'a, T: Send + 'a>(value: T) -> StoreFuture<'a, T> {
    Box::pin(std::future::ready(Ok(value)))
}

impl Store for MemoryStore {
    fn commit(&self, commits: Vec<Commit>) -> StoreFuture<'_, Vec<Result<Committed, Rejected>>> {
        let mut inner = self.inner();
        let answers: Vec<_> = commits.into_iter().map(|commit| inner.apply(commit)).collect();
        for stepped in answers.iter().flatten().filter_map(Committed::stepped) {
            self.growing.note(&stepped.changed.task);
        }
        inner.tell();
        answer(answers)
    }

    fn claim(&self, claim: Claim) -> StoreFuture<'_, Claims> {
        let mut inner = self.inner();
        let claims = inner.claim(&claim);
        inner.tell();
        answer(claims)
    }

    fn due(&self, query: DueQuery) -> StoreFuture<'_, Due> {
        answer(self.inner().due(query))
    }

    fn pools(&self, of: Option<(TenantName, QueueName)>) -> StoreFuture<'_, Vec<Pool>> {
        answer(self.inner().pools(of.as_ref()))
    }

    fn beat(&self, beat: Beat) -> StoreFuture<'_, Nodes> {
        let mut inner = self.inner();
        let told = inner.beat(&beat);
        inner.tell();
        answer(told)
    }

    fn changes(&self, after: u64, limit: usize) -> StoreFuture<'_, Changes> {
        answer(self.inner().changes(after, limit))
    }

    fn changed(&self, after: u64) -> StoreFuture<'_, ()> {
        let mut told = self.inner().notices.watch();
        Box::pin(async move {
            // The sender lives in the store that this borrows.
            let _ = told.wait_for(|told| *told > after).await;
            Ok(())
        })
    }

    fn read(&self, ids: Vec<TaskId>) -> StoreFuture<'_, Vec<Option<Task>>> {
        let inner = self.inner();
        answer(ids.iter().map(|id| inner.tasks.get(id).map(|row| row.task.clone())).collect())
    }

    fn list(&self, filter: Filter) -> StoreFuture<'_, Page> {
        answer(self.inner().list(&filter))
    }

    fn events(&self, query: EventQuery) -> StoreFuture<'_, Vec<Logged>> {
        answer(self.inner().events(&query))
    }

    fn last_pos(&self) -> StoreFuture<'_, u64> {
        answer(self.inner().last_pos())
    }

    fn body(&self, task: TaskId, kind: BodyKind) -> StoreFuture<'_, Option<StoredBody>> {
        let inner = self.inner();
        let body = inner.body(task, kind);
        Box::pin(std::future::ready(body))
    }

    fn spool(&self) -> StoreFuture<'_, Box<dyn Spool>> {
        let spool = body::MemorySpool::new(self.inner.clone(), self.growing.clone());
        answer(Box::new(spool) as Box<dyn Spool>)
    }

    fn watch_answer(&self, task: TaskId) -> WatchedAnswer {
        self.growing.watch(task)
    }

    fn queue(&self, tenant: TenantName, queue: QueueName) -> StoreFuture<'_, Option<QueueStats>> {
        answer(self.inner().queue_stats(tenant, queue))
    }

    fn queues(&self, which: Queues) -> StoreFuture<'_, Vec<QueueStats>> {
        answer(self.inner().queues_stats(&which))
    }

    fn figures(&self) -> StoreFuture<'_, Figures> {
        let inner = self.inner();
        answer(Figures {
            waiting: inner.waiting(),
            disk: None,
            sessions: inner.sessions.len() as u64,
        })
    }

    fn place(&self, task: TaskId) -> StoreFuture<'_, Option<Place>> {
        answer(self.inner().place(task))
    }

    fn secrets(&self, prefix: &str) -> StoreFuture<'_, Vec<(String, Bytes)>> {
        let inner = self.inner();
        let named = inner.secrets.iter().filter(|(name, _)| name.starts_with(prefix));
        answer(named.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    fn session(&self, id_mac: [u8; 32]) -> StoreFuture<'_, Option<Session>> {
        answer(self.inner().sessions.get(&id_mac).map(|kept| kept.session.clone()))
    }

    fn endpoints(&self, which: Endpoints) -> StoreFuture<'_, Vec<EndpointRow>> {
        answer(self.inner().read_endpoints(&which))
    }

    fn waited_for(&self) -> StoreFuture<'_, Vec<EndpointId>> {
        answer(self.inner().waited_for())
    }

    fn next_deliveries(&self, endpoint: EndpointId, limit: usize) -> StoreFuture<'_, Option<Next>> {
        answer(self.inner().next_deliveries(endpoint, limit))
    }

    fn deliveries(&self, which: Deliveries) -> StoreFuture<'_, Vec<Delivery>> {
        answer(self.inner().read_deliveries(which))
    }

    fn health(&self) -> Health {
        Health::Ready
    }

    fn has_room_for(&self, _: u64) -> bool {
        true
    }
}
