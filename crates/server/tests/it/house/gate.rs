//! A store some of whose commits wait until the test lets them through.

use std::sync::Arc;

use bytes::Bytes;
use relais_core::{BodyKind, Command, EndpointId, QueueName, Session, Task, TaskId, TenantName};
use relais_store::{
    Beat, Changes, Claim, Claims, Commit, Committed, Deliveries, Delivery, Due, DueQuery,
    EndpointRow, Endpoints, EventQuery, Figures, Filter, Health, Logged, MemoryStore, Next, Nodes,
    Page, Place, Pool, QueueStats, Queues, Rejected, Spool, Store, StoreFuture, StoredBody,
    WatchedAnswer,
};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::SOON;

/// Holds back commits.
pub(crate) struct Gate {
    store: MemoryStore,
    holds: fn(&Commit) -> bool,
    arrived: Arc<Semaphore>,
    opened: Arc<Semaphore>,
}

impl Gate {
    /// Holds back outcomes.
    pub(crate) fn of_outcomes() -> Arc<Self> {
        Self::new(is_outcome)
    }

    /// Holds back new tasks.
    pub(crate) fn of_accepts() -> Arc<Self> {
        Self::new(|commit| matches!(commit, Commit::Accept(_)))
    }

    fn new(holds: fn(&Commit) -> bool) -> Arc<Self> {
        let arrived = Arc::new(Semaphore::new(0));
        let opened = Arc::new(Semaphore::new(0));
        Arc::new(Self { store: MemoryStore::new(), holds, arrived, opened })
    }

    /// Resolves when such a commit has come.
    pub(crate) async fn reached(&self) {
        let arrived = timeout(SOON, self.arrived.acquire()).await;
        arrived.expect("a commit comes").unwrap().forget();
    }

    /// Lets one through.
    pub(crate) fn open(&self) {
        self.opened.add_permits(1);
    }
}

fn is_outcome(commit: &Commit) -> bool {
    match commit {
        Commit::Step(step) => {
            matches!(step.command, Command::Succeed { .. } | Command::Fail { .. })
        }
        _ => false,
    }
}

impl Store for Gate {
    fn commit(&self, commits: Vec<Commit>) -> StoreFuture<'_, Vec<Result<Committed, Rejected>>> {
        Box::pin(async move {
            if commits.iter().any(self.holds) {
                self.arrived.add_permits(1);
                self.opened.acquire().await.unwrap().forget();
            }
            self.store.commit(commits).await
        })
    }

    fn claim(&self, claim: Claim) -> StoreFuture<'_, Claims> {
        self.store.claim(claim)
    }

    fn due(&self, query: DueQuery) -> StoreFuture<'_, Due> {
        self.store.due(query)
    }

    fn read(&self, ids: Vec<TaskId>) -> StoreFuture<'_, Vec<Option<Task>>> {
        self.store.read(ids)
    }

    fn list(&self, filter: Filter) -> StoreFuture<'_, Page> {
        self.store.list(filter)
    }

    fn events(&self, query: EventQuery) -> StoreFuture<'_, Vec<Logged>> {
        self.store.events(query)
    }

    fn last_pos(&self) -> StoreFuture<'_, u64> {
        self.store.last_pos()
    }

    fn body(&self, task: TaskId, kind: BodyKind) -> StoreFuture<'_, Option<StoredBody>> {
        self.store.body(task, kind)
    }

    fn spool(&self) -> StoreFuture<'_, Box<dyn Spool>> {
        self.store.spool()
    }

    fn watch_answer(&self, task: TaskId) -> WatchedAnswer {
        self.store.watch_answer(task)
    }

    fn beat(&self, beat: Beat) -> StoreFuture<'_, Nodes> {
        self.store.beat(beat)
    }

    fn changes(&self, after: u64, limit: usize) -> StoreFuture<'_, Changes> {
        self.store.changes(after, limit)
    }

    fn changed(&self, after: u64) -> StoreFuture<'_, ()> {
        self.store.changed(after)
    }

    fn pools(&self, of: Option<(TenantName, QueueName)>) -> StoreFuture<'_, Vec<Pool>> {
        self.store.pools(of)
    }

    fn queue(&self, tenant: TenantName, queue: QueueName) -> StoreFuture<'_, Option<QueueStats>> {
        self.store.queue(tenant, queue)
    }

    fn queues(&self, which: Queues) -> StoreFuture<'_, Vec<QueueStats>> {
        self.store.queues(which)
    }

    fn figures(&self) -> StoreFuture<'_, Figures> {
        self.store.figures()
    }

    fn place(&self, task: TaskId) -> StoreFuture<'_, Option<Place>> {
        self.store.place(task)
    }

    fn secrets(&self, prefix: &str) -> StoreFuture<'_, Vec<(String, Bytes)>> {
        self.store.secrets(prefix)
    }

    fn session(&self, id_mac: [u8; 32]) -> StoreFuture<'_, Option<Session>> {
        self.store.session(id_mac)
    }

    fn endpoints(&self, which: Endpoints) -> StoreFuture<'_, Vec<EndpointRow>> {
        self.store.endpoints(which)
    }

    fn waited_for(&self) -> StoreFuture<'_, Vec<EndpointId>> {
        self.store.waited_for()
    }

    fn next_deliveries(&self, endpoint: EndpointId, limit: usize) -> StoreFuture<'_, Option<Next>> {
        self.store.next_deliveries(endpoint, limit)
    }

    fn deliveries(&self, which: Deliveries) -> StoreFuture<'_, Vec<Delivery>> {
        self.store.deliveries(which)
    }

    fn health(&self) -> Health {
        self.store.health()
    }

    fn has_room_for(&self, bytes: u64) -> bool {
        self.store.has_room_for(bytes)
    }
}
