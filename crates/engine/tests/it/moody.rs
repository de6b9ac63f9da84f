//! A store that fails or waits when told to, and counts how often time is looked at.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use relais_core::{
    BodyKind, EndpointId, EventKind, LeaseToken, Priority, QueueName, Session, Status, Task,
    TaskId, TenantName, Timestamp,
};
use relais_engine::{
    Clock, Config, Engine, Gap, LOOK_EVERY, ManualClock, Report, SeededChance, Sleep, Submission,
    Submitted,
};
use relais_store::{
    Beat, BodyRead, BodySource, Changes, Claim, Claimed, Claims, Commit, Committed, Data,
    Deliveries, Delivery, Due, DueQuery, EndpointRow, Endpoints, EventQuery, FORMAT, Figures,
    Filter, Health, Logged, MemoryStore, Next, Nodes, Page, Place, Pool, QueueStats, Queues,
    Rejected, ShownAs, Spool, Store, StoreError, StoreFuture, StoredBody, WatchedAnswer,
};
use tokio::sync::watch;

use crate::log::Log;
use crate::world::{START, Upstream, World, for_upstream, for_workers, policy, queue, tenant};

pub(crate) struct Moody {
    store: MemoryStore,
    format: u32,
    pub(crate) is_away: AtomicBool,
    /// Nothing can be claimed.
    is_shut: AtomicBool,
    /// Until when calls that look for what is due wait.
    is_slow: watch::Sender<bool>,
    /// Why what a claim hands over cannot be read.
    pub(crate) unreadable: Mutex<Option<StoreError>>,
    /// A task whose row is damaged, and whether it was set aside: once it was asked for by its id.
    pub(crate) damaged: Mutex<Option<(TaskId, bool)>>,
    /// How bodies in the making fail, each once.
    pub(crate) spooling: Arc<Spooling>,
    due_calls: AtomicU64,
    pub(crate) refused_commits: AtomicU64,
    /// Calls that wrote.
    pub(crate) commits: AtomicU64,
    refused_claims: AtomicU64,
    /// Questions whose answers grow with the queues of all tenants.
    pub(crate) walks: AtomicU64,
}

/// A body that cannot be read.
struct Unreadable(StoreError);

impl BodyRead for Unreadable {
    fn read_at(&self, _: u64, _: usize) -> StoreFuture<'_, Bytes> {
        Box::pin(async { Err(self.0.clone()) })
    }
    fn verify(&self) -> StoreFuture<'_, ()> {
        Box::pin(async { Err(self.0.clone()) })
    }
}

/// How bodies in the making fail, each once: at their begin, at a write, at their end.
#[derive(Default)]
pub(crate) struct Spooling {
    pub(crate) begin: Mutex<Option<StoreError>>,
    pub(crate) write: Mutex<Option<StoreError>>,
    pub(crate) finish: Mutex<Option<StoreError>>,
    /// Every write fails.
    pub(crate) is_stuck: AtomicBool,
    /// The next one is begun by a bug.
    pub(crate) panics: AtomicBool,
}

impl Spooling {
    /// Everything fails once.
    pub(crate) fn fail_once(&self) {
        for place in [&self.begin, &self.write, &self.finish] {
            *place.lock().unwrap() = Some(away());
        }
    }

    pub(crate) fn has_failed(&self) -> bool {
        let places = [&self.begin, &self.write, &self.finish];
        places.into_iter().all(|place| place.lock().unwrap().is_none())
    }
}

/// A body in the making that fails as told.
struct MoodySpool(Box<dyn Spool>, Arc<Spooling>);

impl Spool for MoodySpool {
    fn write(&mut self, chunk: Bytes) -> StoreFuture<'_, ()> {
        if self.1.is_stuck.load(Ordering::SeqCst) {
            return Box::pin(async { Err(StoreError::Full) });
        }
        match self.1.write.lock().unwrap().take() {
            Some(error) => Box::pin(async { Err(error) }),
            None => self.0.write(chunk),
        }
    }
    fn reader(&self) -> Arc<dyn BodyRead> {
        self.0.reader()
    }
    fn show(&mut self, answer: ShownAs) {
        self.0.show(answer);
    }
    fn break_off(&self) {
        self.0.break_off();
    }
    fn len(&self) -> u64 {
        self.0.len()
    }
    fn finish(&mut self) -> StoreFuture<'_, Data> {
        match self.1.finish.lock().unwrap().take() {
            Some(error) => Box::pin(async { Err(error) }),
            None => self.0.finish(),
        }
    }
}

fn away() -> StoreError {
    StoreError::Unavailable("away".to_owned())
}

impl Moody {
    pub(crate) fn new() -> Arc<Self> {
        Self::of_later(MemoryStore::new(), FORMAT)
    }

    /// A handle on a store of nodes whose program reads up to this format.
    pub(crate) fn of_later(store: MemoryStore, format: u32) -> Arc<Self> {
        Arc::new(Self {
            store,
            format,
            is_away: AtomicBool::new(false),
            is_shut: AtomicBool::new(false),
            is_slow: watch::Sender::new(false),
            unreadable: Mutex::new(None),
            damaged: Mutex::default(),
            spooling: Arc::default(),
            due_calls: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            refused_commits: AtomicU64::new(0),
            refused_claims: AtomicU64::new(0),
            walks: AtomicU64::new(0),
        })
    }

    /// Is away until it has refused a commit, and back from then on.
    pub(crate) async fn refuse_one_commit(&self) {
        self.is_away.store(true, Ordering::SeqCst);
        while self.refused_commits.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        self.is_away.store(false, Ordering::SeqCst);
    }

    /// Fails like a damaged row if it is that of one of these tasks.
    fn whole(&self, mut ids: impl Iterator<Item = TaskId>) -> Result<(), StoreError> {
        let damaged = self.damaged.lock().unwrap().map(|(id, _)| id);
        match ids.any(|id| Some(id) == damaged) {
            true => Err(StoreError::Corrupt("a row".to_owned())),
            false => Ok(()),
        }
    }

    /// The call is not even begun while the store is away.
    fn or_away<'a, T: 'a>(&self, call: impl FnOnce() -> StoreFuture<'a, T>) -> StoreFuture<'a, T> {
        if self.is_away.load(Ordering::SeqCst) {
            return Box::pin(async { Err(away()) });
        }
        call()
    }
}

impl Store for Moody {
    fn commit(&self, commits: Vec<Commit>) -> StoreFuture<'_, Vec<Result<Committed, Rejected>>> {
        self.commits.fetch_add(1, Ordering::SeqCst);
        if self.is_away.load(Ordering::SeqCst) {
            self.refused_commits.fetch_add(1, Ordering::SeqCst);
        }
        let steps = commits.iter().filter_map(|commit| match commit {
            Commit::Step(of) => Some(of.id),
            _ => None,
        });
        if let Err(error) = self.whole(steps) {
            self.damaged.lock().unwrap().as_mut().unwrap().1 = true;
            return Box::pin(async { Err(error) });
        }
        self.or_away(|| self.store.commit(commits))
    }
    fn claim(&self, claim: Claim) -> StoreFuture<'_, Claims> {
        if self.is_shut.load(Ordering::SeqCst) {
            self.refused_claims.fetch_add(1, Ordering::SeqCst);
            return Box::pin(async { Err(StoreError::Unavailable("shut".to_owned())) });
        }
        let claims = self.or_away(|| self.store.claim(claim));
        Box::pin(async {
            let mut claims = claims.await?;
            if let Some(error) = &*self.unreadable.lock().unwrap() {
                for (_, body) in claims.started.iter_mut().flat_map(|claimed| &mut claimed.bodies) {
                    body.data = BodySource::Reader(Arc::new(Unreadable(error.clone())));
                }
            }
            Ok(claims)
        })
    }
    fn due(&self, query: DueQuery) -> StoreFuture<'_, Due> {
        self.due_calls.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            let mut is_slow = self.is_slow.subscribe();
            let _ = is_slow.wait_for(|is_slow| !is_slow).await;
            let mut due = self.or_away(|| self.store.due(query)).await?;
            let aside = self.damaged.lock().unwrap().filter(|(_, is_aside)| *is_aside);
            due.tasks.retain(|id| aside.is_none_or(|(aside, _)| *id != aside));
            Ok(due)
        })
    }
    fn read(&self, ids: Vec<TaskId>) -> StoreFuture<'_, Vec<Option<Task>>> {
        match self.whole(ids.iter().copied()) {
            Err(error) => Box::pin(async { Err(error) }),
            Ok(()) => self.store.read(ids),
        }
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
        assert!(!self.spooling.panics.swap(false, Ordering::SeqCst), "a bug, as told");
        if let Some(error) = self.spooling.begin.lock().unwrap().take() {
            return Box::pin(async { Err(error) });
        }
        Box::pin(async {
            let spool = self.store.spool().await?;
            Ok(Box::new(MoodySpool(spool, self.spooling.clone())) as Box<dyn Spool>)
        })
    }
    fn watch_answer(&self, task: TaskId) -> WatchedAnswer {
        self.store.watch_answer(task)
    }
    fn beat(&self, beat: Beat) -> StoreFuture<'_, Nodes> {
        self.or_away(|| self.store.beat(Beat { format: self.format, ..beat }))
    }
    fn changes(&self, after: u64, limit: usize) -> StoreFuture<'_, Changes> {
        self.store.changes(after, limit)
    }
    fn changed(&self, after: u64) -> StoreFuture<'_, ()> {
        self.store.changed(after)
    }
    fn pools(&self, of: Option<(TenantName, QueueName)>) -> StoreFuture<'_, Vec<Pool>> {
        self.walks.fetch_add(u64::from(of.is_none()), Ordering::SeqCst);
        self.or_away(|| self.store.pools(of))
    }
    fn queue(&self, tenant: TenantName, queue: QueueName) -> StoreFuture<'_, Option<QueueStats>> {
        self.store.queue(tenant, queue)
    }
    fn queues(&self, which: Queues) -> StoreFuture<'_, Vec<QueueStats>> {
        self.walks.fetch_add(1, Ordering::SeqCst);
        self.store.queues(which)
    }
    fn figures(&self) -> StoreFuture<'_, Figures> {
        self.store.figures()
    }
    fn place(&self, task: TaskId) -> StoreFuture<'_, Option<Place>> {
        self.or_away(|| self.store.place(task))
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

pub(crate) async fn world(store: &Arc<Moody>) -> World {
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

/// One row that could not be decoded stopped time for all: no lease, deadline or retention ended any more,
/// and the signs of life of a whole call were lost with that of its task.
#[tokio::test]
async fn a_task_that_cannot_be_read_harms_no_other() {
    let store = Moody::new();
    let world = world(&store).await;
    let (damaged, whole) = (world.submit(for_workers()).await, world.submit(for_workers()).await);
    let leased = world.engine.lease(&tenant(), &queue("work"), "w", 2, Duration::ZERO).await;
    *store.damaged.lock().unwrap() = Some((damaged.spec.id, false));
    let report = |claimed: &Claimed| {
        let token = LeaseToken { task: claimed.task().spec.id, nonce: claimed.nonce };
        Report { token, progress: None, output: None, checkpoint: None }
    };
    let reports = leased.unwrap().iter().map(report).collect();
    let reported = world.engine.report(Some(&tenant()), reports).await.unwrap();
    assert_eq!(reported.iter().filter(|answer| answer.is_ok()).count(), 1);
    world.clock.advance(Duration::from_secs(31));
    let task = world.until(whole.spec.id, EventKind::AttemptFailed).await;
    assert_eq!(task.life.crashes, 1, "its lease has ended");
    let is_aside = || store.damaged.lock().unwrap().is_some_and(|(_, is_aside)| is_aside);
    while !is_aside() {
        tokio::task::yield_now().await;
    }
}

/// Resolves when this counts more than `before`.
async fn grown(counter: &AtomicU64, before: u64) {
    while counter.load(Ordering::SeqCst) <= before {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_told_once_and_once_that_it_is_back() {
    // There was a line each second, for each pool, as long as it lasted.
    let store = Moody::new();
    let world = world(&store).await;
    let upstream = Upstream::start().await;
    let log = Log::here();
    store.is_shut.store(true, Ordering::SeqCst);
    let task = world.submit(for_upstream(&upstream, "GET", true)).await;
    for refused in 0..4 {
        grown(&store.refused_claims, refused).await;
        world.clock.advance(Duration::from_secs(1));
    }
    store.is_away.store(true, Ordering::SeqCst);
    for _ in 0..4 {
        grown(&store.due_calls, store.due_calls.load(Ordering::SeqCst)).await;
        world.clock.advance(Duration::from_secs(1));
    }
    for line in ["could not claim", "could not look for what is due"] {
        assert_eq!(log.with(line).len(), 1, "{}", log.text());
    }
    store.is_away.store(false, Ordering::SeqCst);
    store.is_shut.store(false, Ordering::SeqCst);
    world.clock.advance(Duration::from_secs(60));
    upstream.answer("200 OK", "", "late, but there").await;
    world.until(task.spec.id, EventKind::Succeeded).await;
    for line in ["tasks can be claimed again", "what is due is looked for again"] {
        assert_eq!(log.with(line).len(), 1, "{}", log.text());
    }
}

#[tokio::test]
async fn an_input_that_cannot_be_read_now_is_not_called_damaged() {
    // A disk that did not answer for a moment made tasks fail as `body-damaged`, or start in a circle.
    let store = Moody::new();
    let world = world(&store).await;
    let upstream = Upstream::start().await;
    *store.unreadable.lock().unwrap() = Some(away());
    let id = world.submit(for_upstream(&upstream, "POST", false)).await.spec.id;
    let task = world.until(id, EventKind::AttemptFailed).await;
    let failed = task.life.last_failure.as_ref().expect("it failed");
    assert_eq!(failed.failure.code.as_str(), "store-unavailable");
    let detail = failed.failure.detail.as_deref();
    assert_eq!(detail, Some("the stored input of the task could not be read"), "no more is told");
    assert_eq!(task.life.failures, 1, "it is tried again, as after any failure");
    *store.unreadable.lock().unwrap() = None;
    world.clock.advance(Duration::from_secs(60));
    upstream.answer("200 OK", "", "").await;
    world.until(id, EventKind::Succeeded).await;
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

/// A clock by which a process that does not look was not there, like that of the machine.
struct Watched {
    clock: Arc<ManualClock>,
    looked_at: watch::Sender<Duration>,
}

impl Clock for Watched {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }
    fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }
    fn sleep_to(&self, moment: Duration) -> Sleep<'_> {
        self.clock.sleep_to(moment)
    }
    fn look(&self) -> Option<Gap> {
        let passed = self.elapsed() - self.looked_at.send_replace(self.elapsed());
        let away = passed.saturating_sub(LOOK_EVERY);
        (!away.is_zero()).then_some(Gap { set_by_ms: 0, away })
    }
}

#[tokio::test]
async fn a_slow_store_is_no_process_that_was_away() {
    // Under load each pass took a second, and each gave all leases one more: no dead worker was noticed.
    let store = Moody::new();
    let manual = Arc::new(ManualClock::at(START));
    let looked_at = watch::Sender::new(Duration::ZERO);
    let watched = Arc::new(Watched { clock: manual.clone(), looked_at });
    let config = Config { template: Some(policy()), ..Config::default() };
    let chance = Arc::new(SeededChance::new(1));
    let engine = Engine::start(config, store.clone(), watched.clone(), chance).await.unwrap();
    let world = World { engine, clock: manual, store: store.clone() };
    let task = world.submit(for_workers()).await;
    assert_eq!(world.lease(Duration::ZERO).await.len(), 1);
    let mut later = for_workers();
    later.run_at = Some(START.plus(LOOK_EVERY));
    world.submit(later).await;
    store.is_slow.send_replace(true);
    let calls = store.due_calls.load(Ordering::SeqCst);
    let mut looked_at = watched.looked_at.subscribe();
    while watched.elapsed() < policy().lease {
        world.clock.advance(LOOK_EVERY);
        let looked = looked_at.wait_for(|at| *at == watched.elapsed());
        let looked = tokio::time::timeout(Duration::from_secs(20), looked).await;
        drop(looked.expect("the clock is looked at while the store is slow").unwrap());
    }
    assert!(store.due_calls.load(Ordering::SeqCst) > calls, "all the time it was waited for");
    store.is_slow.send_replace(false);
    let task = world.until(task.spec.id, EventKind::AttemptFailed).await;
    assert_eq!(task.life.crashes, 1, "silent for a whole lease");
}

#[tokio::test]
async fn an_accept_that_is_durable_is_told_whatever_the_store_does_next() {
    // An urgent task was stored and answered as an error: its place was read again, and could not be.
    let store = Moody::new();
    let world = world(&store).await;
    world.submit(for_workers()).await;
    let urgent = Submission { priority: Priority::new(5).unwrap(), ..for_workers() };
    let submitted = world.engine.submit(world.engine.draw_id(), urgent).await.unwrap();
    let Submitted::New(task, place) = submitted else { panic!("a new task was expected") };
    store.is_away.store(true, Ordering::SeqCst);
    assert_eq!(world.engine.estimate_at(&task, &place).ahead, Some(1), "told by its commit");
    world.engine.estimate(&task).await.unwrap_err();
    let unknown = world.engine.estimate_if_known(&task).await;
    assert_eq!((unknown.ahead, unknown.eta), (None, None), "nothing is promised");
    assert!(unknown.again_in > Duration::ZERO);
}
