//! The store in memory, until it breaks, or is slow: then, like a real one, it carries out what it was
//! asked whether or not somebody still waits for the answer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use relais_core::{BodyKind, EndpointId, QueueName, Session, Task, TaskId, TenantName};
use relais_store::{
    Beat, BodyRead, Changes, Claim, Claims, Commit, Committed, Data, Deliveries, Delivery, Due,
    DueQuery, EndpointRow, Endpoints, EventQuery, Figures, Filter, Health, Logged, MemoryStore,
    Next, Nodes, Page, Place, Pool, QueueStats, Queues, Rejected, ShownAs, Spool, Store,
    StoreError, StoreFuture, StoredBody, WatchedAnswer,
};
use tokio::sync::Semaphore;

/// What is slow.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slow {
    Accepts,
    Claims,
}

pub(crate) struct OddStore {
    whole: Arc<MemoryStore>,
    error: Arc<Mutex<Option<StoreError>>>,
    /// What every call fails with once the next commit is durable.
    error_to_come: Mutex<Option<StoreError>>,
    reads_failed: Semaphore,
    looks: AtomicU64,
    questions: AtomicU64,
    reads: AtomicU64,
    slow: Mutex<Option<Slow>>,
    /// What is committed before a log is read the next time.
    before_log: Mutex<Vec<Commit>>,
    arrived: Arc<Semaphore>,
    opened: Arc<Semaphore>,
}

impl OddStore {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            whole: Arc::new(MemoryStore::new()),
            error: Arc::default(),
            error_to_come: Mutex::default(),
            reads_failed: Semaphore::new(0),
            looks: AtomicU64::new(0),
            questions: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            slow: Mutex::default(),
            before_log: Mutex::default(),
            arrived: Arc::new(Semaphore::new(0)),
            opened: Arc::new(Semaphore::new(0)),
        })
    }

    /// Every call fails like this, or none.
    pub(crate) fn break_with(&self, error: Option<StoreError>) {
        *self.error.lock().unwrap() = error;
    }

    /// Every call fails like this once the next commit is durable: before anybody learns of it.
    pub(crate) fn break_after_commit(&self, error: StoreError) {
        *self.error_to_come.lock().unwrap() = Some(error);
    }

    /// How often it was asked how it is.
    pub(crate) fn looks(&self) -> u64 {
        self.looks.load(Ordering::Relaxed)
    }

    /// How often it was asked for something that is stored.
    pub(crate) fn questions(&self) -> u64 {
        self.questions.load(Ordering::Relaxed)
    }

    /// How often it was asked for tasks.
    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Resolves when a task could not be read.
    pub(crate) async fn read_failed(&self) {
        self.reads_failed.acquire().await.unwrap().forget();
    }

    /// The next such call waits until it is let through.
    pub(crate) fn slow_down(&self, slow: Slow) {
        *self.slow.lock().unwrap() = Some(slow);
    }

    /// This is committed by somebody just before a log is read the next time.
    pub(crate) fn commit_before_log(&self, commit: Commit) {
        self.before_log.lock().unwrap().push(commit);
    }

    /// Resolves when a slow call has come.
    pub(crate) async fn reached(&self) {
        self.arrived.acquire().await.unwrap().forget();
    }

    /// Lets the slow call through.
    pub(crate) fn open(&self) {
        self.opened.add_permits(1);
    }

    fn or<'a, T: Send + 'a>(&'a self, future: StoreFuture<'a, T>) -> StoreFuture<'a, T> {
        self.questions.fetch_add(1, Ordering::Relaxed);
        match self.error.lock().unwrap().clone() {
            Some(error) => Box::pin(async move { Err(error) }),
            None => future,
        }
    }

    /// Whether this call is the slow one.
    fn takes_slowly(&self, what: Slow) -> bool {
        let mut slow = self.slow.lock().unwrap();
        let is_slow = *slow == Some(what);
        if is_slow {
            *slow = None;
        }
        is_slow
    }

    /// Does it in its own time, whoever waits.
    fn slowly<T: Send + 'static>(
        &self,
        work: impl FnOnce(Arc<MemoryStore>) -> StoreFuture<'static, T> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        let (arrived, opened) = (self.arrived.clone(), self.opened.clone());
        let whole = self.whole.clone();
        let work = tokio::spawn(async move {
            arrived.add_permits(1);
            opened.acquire().await.unwrap().forget();
            work(whole).await
        });
        Box::pin(async move { work.await.unwrap() })
    }
}

/// A body in the making, which a store that is broken just then does not finish.
struct OddSpool {
    whole: Box<dyn Spool>,
    error: Arc<Mutex<Option<StoreError>>>,
}

impl Spool for OddSpool {
    fn write(&mut self, chunk: bytes::Bytes) -> StoreFuture<'_, ()> {
        self.whole.write(chunk)
    }

    fn reader(&self) -> Arc<dyn BodyRead> {
        self.whole.reader()
    }

    fn show(&mut self, answer: ShownAs) {
        self.whole.show(answer);
    }

    fn break_off(&self) {
        self.whole.break_off();
    }

    fn len(&self) -> u64 {
        self.whole.len()
    }

    fn finish(&mut self) -> StoreFuture<'_, Data> {
        match self.error.lock().unwrap().clone() {
            Some(error) => Box::pin(async move { Err(error) }),
            None => self.whole.finish(),
        }
    }
}

impl Store for OddStore {
    fn commit(&self, commits: Vec<Commit>) -> StoreFuture<'_, Vec<Result<Committed, Rejected>>> {
        let accepts = commits.iter().any(|commit| matches!(commit, Commit::Accept(_)));
        if accepts && self.takes_slowly(Slow::Accepts) {
            return self.slowly(|whole| Box::pin(async move { whole.commit(commits).await }));
        }
        self.or(Box::pin(async move {
            let answers = self.whole.commit(commits).await;
            if let Some(error) = self.error_to_come.lock().unwrap().take() {
                self.break_with(Some(error));
            }
            answers
        }))
    }

    fn claim(&self, claim: Claim) -> StoreFuture<'_, Claims> {
        if self.takes_slowly(Slow::Claims) {
            return self.slowly(|whole| Box::pin(async move { whole.claim(claim).await }));
        }
        self.or(self.whole.claim(claim))
    }

    fn due(&self, query: DueQuery) -> StoreFuture<'_, Due> {
        self.or(self.whole.due(query))
    }

    fn read(&self, ids: Vec<TaskId>) -> StoreFuture<'_, Vec<Option<Task>>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        if self.error.lock().unwrap().is_some() {
            self.reads_failed.add_permits(1);
        }
        self.or(self.whole.read(ids))
    }

    fn list(&self, filter: Filter) -> StoreFuture<'_, Page> {
        self.or(self.whole.list(filter))
    }

    fn events(&self, query: EventQuery) -> StoreFuture<'_, Vec<Logged>> {
        let before = std::mem::take(&mut *self.before_log.lock().unwrap());
        if !before.is_empty() {
            drop(self.whole.commit(before));
        }
        self.or(self.whole.events(query))
    }

    fn last_pos(&self) -> StoreFuture<'_, u64> {
        self.or(self.whole.last_pos())
    }

    fn body(&self, task: TaskId, kind: BodyKind) -> StoreFuture<'_, Option<StoredBody>> {
        self.or(self.whole.body(task, kind))
    }

    fn spool(&self) -> StoreFuture<'_, Box<dyn Spool>> {
        self.or(Box::pin(async {
            let whole = self.whole.spool().await?;
            Ok(Box::new(OddSpool { whole, error: self.error.clone() }) as Box<dyn Spool>)
        }))
    }

    fn watch_answer(&self, task: TaskId) -> WatchedAnswer {
        self.whole.watch_answer(task)
    }

    fn beat(&self, beat: Beat) -> StoreFuture<'_, Nodes> {
        self.or(self.whole.beat(beat))
    }

    fn changes(&self, after: u64, limit: usize) -> StoreFuture<'_, Changes> {
        self.or(self.whole.changes(after, limit))
    }

    fn changed(&self, after: u64) -> StoreFuture<'_, ()> {
        self.whole.changed(after)
    }

    fn pools(&self, of: Option<(TenantName, QueueName)>) -> StoreFuture<'_, Vec<Pool>> {
        self.or(self.whole.pools(of))
    }

    fn queue(&self, tenant: TenantName, queue: QueueName) -> StoreFuture<'_, Option<QueueStats>> {
        self.or(self.whole.queue(tenant, queue))
    }

    fn queues(&self, which: Queues) -> StoreFuture<'_, Vec<QueueStats>> {
        self.or(self.whole.queues(which))
    }

    fn figures(&self) -> StoreFuture<'_, Figures> {
        self.or(self.whole.figures())
    }

    fn place(&self, task: TaskId) -> StoreFuture<'_, Option<Place>> {
        self.or(self.whole.place(task))
    }

    fn secrets(&self, prefix: &str) -> StoreFuture<'_, Vec<(String, bytes::Bytes)>> {
        self.or(self.whole.secrets(prefix))
    }

    fn session(&self, id_mac: [u8; 32]) -> StoreFuture<'_, Option<Session>> {
        self.or(self.whole.session(id_mac))
    }

    fn endpoints(&self, which: Endpoints) -> StoreFuture<'_, Vec<EndpointRow>> {
        self.whole.endpoints(which)
    }

    fn waited_for(&self) -> StoreFuture<'_, Vec<EndpointId>> {
        self.whole.waited_for()
    }

    fn next_deliveries(&self, endpoint: EndpointId, limit: usize) -> StoreFuture<'_, Option<Next>> {
        self.whole.next_deliveries(endpoint, limit)
    }

    fn deliveries(&self, which: Deliveries) -> StoreFuture<'_, Vec<Delivery>> {
        self.whole.deliveries(which)
    }

    fn health(&self) -> Health {
        self.looks.fetch_add(1, Ordering::Relaxed);
        match &*self.error.lock().unwrap() {
            None | Some(StoreError::BodyDamaged(_)) => Health::Ready,
            Some(StoreError::Corrupt(text)) => Health::Corrupt(text.clone()),
            Some(StoreError::Full | StoreError::Unavailable(_)) => Health::Full,
        }
    }

    fn has_room_for(&self, _: u64) -> bool {
        *self.error.lock().unwrap() != Some(StoreError::Full)
    }
}
