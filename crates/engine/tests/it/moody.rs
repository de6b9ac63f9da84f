//! A store that fails when told to, and counts how often time is looked at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use relais_core::{BodyKind, EventKind, Status, Task, TaskId};
use relais_engine::Config;
use relais_store::{
    Claim, Claims, Commit, Committed, Due, DueQuery, EventQuery, Figures, Filter, Health, Logged,
    MemoryStore, Page, Place, QueueStats, Rejected, Spool, Store, StoreError, StoreFuture,
    StoredBody,
};

use crate::world::{START, Upstream, World, for_upstream, for_workers, policy};

struct Moody {
    store: MemoryStore,
    is_away: AtomicBool,
    due_calls: AtomicU64,
}

impl Moody {
    fn new() -> Arc<Self> {
        let store = MemoryStore::new();
        Arc::new(Self { store, is_away: AtomicBool::new(false), due_calls: AtomicU64::new(0) })
    }

    /// The call is not even begun while the store is away.
    fn or_away<'a, T: 'a>(&self, call: impl FnOnce() -> StoreFuture<'a, T>) -> StoreFuture<'a, T> {
        if self.is_away.load(Ordering::SeqCst) {
            return Box::pin(async { Err(StoreError::Unavailable("away".to_owned())) });
        }
        call()
    }
}

impl Store for Moody {
    fn commit(&self, commits: Vec<Commit>) -> StoreFuture<'_, Vec<Result<Committed, Rejected>>> {
        self.or_away(|| self.store.commit(commits))
    }
    fn claim(&self, claim: Claim) -> StoreFuture<'_, Claims> {
        self.or_away(|| self.store.claim(claim))
    }
    fn due(&self, query: DueQuery) -> StoreFuture<'_, Due> {
        self.due_calls.fetch_add(1, Ordering::SeqCst);
        self.or_away(|| self.store.due(query))
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
    fn body(&self, task: TaskId, kind: BodyKind) -> StoreFuture<'_, Option<StoredBody>> {
        self.store.body(task, kind)
    }
    fn spool(&self) -> StoreFuture<'_, Box<dyn Spool>> {
        self.store.spool()
    }
    fn queues(&self) -> StoreFuture<'_, Vec<QueueStats>> {
        self.store.queues()
    }
    fn figures(&self) -> StoreFuture<'_, Figures> {
        self.store.figures()
    }
    fn place(&self, task: TaskId) -> StoreFuture<'_, Option<Place>> {
        self.store.place(task)
    }
    fn secrets(&self) -> StoreFuture<'_, Vec<(String, bytes::Bytes)>> {
        self.store.secrets()
    }
    fn health(&self) -> Health {
        self.store.health()
    }
}

async fn world(store: &Arc<Moody>) -> World {
    let config = Config { template: Some(policy()), ..Config::default() };
    World::on(store.clone(), config, 1).await
}

#[tokio::test]
async fn every_loop_goes_on_after_the_store_was_away() {
    // P9: after a blip a loop hung for ever.
    let store = Moody::new();
    let world = world(&store).await;
    let upstream = Upstream::start().await;
    let mut later = for_upstream(&upstream, "GET", true);
    later.run_at = Some(START.plus(Duration::from_secs(5)));
    let task = world.submit(later).await;
    store.is_away.store(true, Ordering::SeqCst);
    let looked = store.due_calls.load(Ordering::SeqCst);
    world.clock.advance(Duration::from_secs(6));
    while store.due_calls.load(Ordering::SeqCst) == looked {
        tokio::task::yield_now().await;
    }
    store.is_away.store(false, Ordering::SeqCst);
    world.clock.advance(Duration::from_secs(60));
    upstream.answer("200 OK", "", "late, but there").await;
    let task = world.until(task.spec.id, EventKind::Succeeded).await;
    assert_eq!(task.life.status(), Status::Succeeded);
}

#[tokio::test]
async fn parked_tasks_are_not_looked_at_again_and_again() {
    // P46: ten thousand parked tasks kept a processor busy.
    let store = Moody::new();
    let world = world(&store).await;
    for _ in 0..200 {
        let mut later = for_workers();
        later.run_at = Some(START.plus(Duration::from_secs(3_600)));
        world.submit(later).await;
    }
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    let looked = store.due_calls.load(Ordering::SeqCst);
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        store.due_calls.load(Ordering::SeqCst),
        looked,
        "nothing happened, nothing is asked"
    );
    assert!(looked < 20, "200 tasks made {looked} looks");
}
