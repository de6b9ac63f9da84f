//! Faults that can be planted to prove that `relais-torture` would see them: a store that lies.
//!
//! Only built with the feature `faults`, and only when `RELAIS_FAULT` names one. Not here: faults
//! of the disk below a real store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::bail;
use bytes::Bytes;
use relais_core::{
    BodyKind, Command, EndpointId, EventKind, Order, Policy, QueueName, Refused, Reply, Runner,
    Session, State, Task, TaskId, TenantName,
};
use relais_store::{
    Accept, Beat, Body, BodySource, Changed, Changes, Claim, Claims, Commit, Committed, Data,
    Deliveries, Delivery, Due, DueQuery, EndpointRow, Endpoints, EventQuery, Figures, Filter,
    Health, Logged, Next, Nodes, Page, Place, Pool, QueueStats, Queues, Rejected, Spool, StepOf,
    Stepped, Store, StoreError, StoreFuture, StoredBody, WatchedAnswer,
};

/// The variable that names a fault.
const VARIABLE: &str = "RELAIS_FAULT";
/// How long what was answered too early is not yet done.
const LATE: Duration = Duration::from_millis(120);

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)+) => {
        /// What goes wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum Fault {
            $($(#[$doc])* $name,)+
        }

        impl Fault {
            fn parse(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$name),)+
                    _ => None,
                }
            }
        }
    };
}

faults! {
    /// An accept is answered before it is committed.
    EarlyAccept = "early-202",
    /// A settle is answered before it is committed.
    EarlySettle = "early-settle",
    /// A stale token settles for the live one.
    FenceOff = "fence-off",
    /// A settle that repeats another is recorded again.
    DoubleSettle = "double-settle",
    /// Every request may be sent again.
    PostRetried = "post-retried",
    /// What time makes due is not seen.
    AlarmLost = "alarm-lost",
    /// The attempts of a dead process are not taken back.
    ReclaimLost = "reclaim-lost",
    /// The slot of a task that was called off is not given back.
    SlotLeaked = "slot-leaked",
    /// An idempotency key is dropped.
    KeyForgotten = "key-forgotten",
    /// A task does not wait for its moment.
    EarlyStart = "early-start",
    /// An event is missing in a log.
    EventLost = "event-lost",
    /// An event is twice in a log.
    EventDoubled = "event-doubled",
    /// Lanes run as many as they like.
    LaneLimitOff = "lane-limit-off",
    /// Strict lanes are not strict.
    OrderOff = "order-off",
    /// A cancel is answered and not done.
    CancelForgotten = "cancel-forgotten",
    /// A result comes back without its last byte.
    ResultMixed = "result-mixed",
}

/// The store, with the fault that the environment names.
///
/// # Errors
/// When it names one that does not exist.
pub(crate) fn plant(store: Arc<dyn Store>) -> anyhow::Result<Arc<dyn Store>> {
    let Ok(word) = std::env::var(VARIABLE) else { return Ok(store) };
    let Some(fault) = Fault::parse(&word) else { bail!("{VARIABLE}: no fault is called {word:?}") };
    tracing::warn!("this server is built to break its promises: {word}");
    Ok(Arc::new(FaultyStore { inner: store, fault, results: Mutex::default() }))
}

/// A store that keeps all promises but one.
struct FaultyStore {
    inner: Arc<dyn Store>,
    fault: Fault,
    /// Results that a second settle put over the first.
    results: Mutex<HashMap<TaskId, StoredBody>>,
}

impl FaultyStore {
    /// Applies one commit; a whole call fails where the store does.
    async fn apply(&self, commit: Commit) -> Result<Result<Committed, Rejected>, StoreError> {
        match commit {
            Commit::Accept(accept) => self.accept(*accept).await,
            Commit::Step(step) => self.step(*step).await,
            other => self.pass_on(other).await,
        }
    }

    async fn pass_on(&self, commit: Commit) -> Result<Result<Committed, Rejected>, StoreError> {
        Ok(self.inner.commit(vec![commit]).await?.pop().expect("one answer per commit"))
    }

    async fn accept(&self, mut accept: Accept) -> Result<Result<Committed, Rejected>, StoreError> {
        match self.fault {
            Fault::EarlyAccept if accept.idempotency.is_none() => {
                let changed = Box::new(accept.changed(1, Vec::new()));
                self.later(Commit::Accept(Box::new(accept)));
                return Ok(Ok(Committed::Accepted { changed, place: Place::default() }));
            }
            Fault::PostRetried => {
                let mut spec = (*accept.task.spec).clone();
                if let Runner::Upstream { repeatable, .. } = &mut spec.runner {
                    *repeatable = true;
                }
                accept.task.spec = Arc::new(spec);
            }
            Fault::KeyForgotten => accept.idempotency = None,
            Fault::EarlyStart => {
                accept.task.life.state = State::Queued { run_at: accept.task.spec.created_at };
            }
            _ => {}
        }
        self.pass_on(Commit::Accept(Box::new(accept))).await
    }

    async fn step(&self, mut step: StepOf) -> Result<Result<Committed, Rejected>, StoreError> {
        match (self.fault, &mut step.command) {
            (Fault::EarlySettle, Command::Succeed { .. } | Command::Fail { .. }) => {
                let answer = self.pretend(&step).await?;
                if answer.is_ok() {
                    self.later(Commit::Step(Box::new(step)));
                }
                return Ok(answer);
            }
            (Fault::CancelForgotten, Command::Cancel) => return self.pretend(&step).await,
            (
                Fault::FenceOff,
                Command::Succeed { nonce, .. }
                | Command::Fail { nonce, .. }
                | Command::Postpone { nonce, .. }
                | Command::Release { nonce },
            ) => {
                let task = self.task(step.id).await?;
                if let Some(State::Running { lease, .. }) =
                    task.as_ref().map(|task| &task.life.state)
                {
                    *nonce = lease.nonce;
                }
            }
            (
                Fault::SlotLeaked,
                Command::Free { nonce }
                | Command::Succeed { nonce, .. }
                | Command::Fail { nonce, .. }
                | Command::Crash { nonce, .. },
            ) => {
                let nonce = *nonce;
                let task = self.task(step.id).await?;
                if task.as_ref().is_some_and(|task| is_left_over(task, nonce)) {
                    return Ok(Err(Refused::TaskCanceled.into()));
                }
            }
            (Fault::DoubleSettle, Command::Succeed { .. }) => return self.settle_again(step).await,
            _ => {}
        }
        self.pass_on(Commit::Step(Box::new(step))).await
    }

    /// Answers a step as if it had been taken.
    async fn pretend(&self, step: &StepOf) -> Result<Result<Committed, Rejected>, StoreError> {
        let Some(mut task) = self.task(step.id).await? else { return Ok(Err(Rejected::NotFound)) };
        let taken = relais_core::step(&task, step.command.clone(), &step.policy, step.now);
        Ok(taken.map_err(Rejected::from).map(|taken| {
            let started_at = task.life.started_at();
            task.life = taken.life;
            let (entries, effects, reply) = (taken.entries, taken.effects, taken.reply);
            let told = Vec::new();
            let changed = Changed { task, started_at, entries, pos: 1, effects, told };
            Committed::Stepped(Box::new(Stepped { changed, reply }))
        }))
    }

    /// A settle that says what was said before is recorded over it.
    async fn settle_again(&self, step: StepOf) -> Result<Result<Committed, Rejected>, StoreError> {
        let id = step.id;
        let result = step.bodies.iter().find(|(kind, _)| *kind == BodyKind::Result);
        let result = result.and_then(|(_, body)| stored(body));
        let mut answer = self.pass_on(Commit::Step(Box::new(step))).await?;
        if let Ok(Committed::Stepped(stepped)) = &mut answer
            && stepped.reply == Reply::Replayed
            && let Some(result) = result
        {
            stepped.reply = Reply::Done;
            self.results.lock().expect("nothing panics while it is held").insert(id, result);
        }
        Ok(answer)
    }

    /// Commits, but not now.
    fn later(&self, commit: Commit) {
        let inner = self.inner.clone();
        tokio::spawn(async move {
            tokio::time::sleep(LATE).await;
            if let Err(error) = inner.commit(vec![commit]).await {
                tracing::warn!(%error, "what was answered could not be done");
            }
        });
    }

    async fn task(&self, id: TaskId) -> Result<Option<Task>, StoreError> {
        Ok(self.inner.read(vec![id]).await?.pop().flatten())
    }
}

/// Whether `nonce` is that of a holder whose task is over.
fn is_left_over(task: &Task, nonce: u128) -> bool {
    match &task.life.state {
        State::Failed { holder: Some(lease), .. } | State::Canceled { holder: Some(lease), .. } => {
            lease.nonce == nonce
        }
        _ => false,
    }
}

fn stored(body: &Body) -> Option<StoredBody> {
    let Data::Inline(bytes) = &body.data else { return None };
    let data = BodySource::Inline(bytes.clone());
    Some(StoredBody { head: body.head.clone(), len: bytes.len() as u64, data })
}

impl Store for FaultyStore {
    fn commit(&self, commits: Vec<Commit>) -> StoreFuture<'_, Vec<Result<Committed, Rejected>>> {
        Box::pin(async move {
            let mut answers = Vec::with_capacity(commits.len());
            for commit in commits {
                answers.push(self.apply(commit).await?);
            }
            Ok(answers)
        })
    }

    fn claim(&self, mut claim: Claim) -> StoreFuture<'_, Claims> {
        let policy = (*claim.policy).clone();
        match self.fault {
            Fault::LaneLimitOff => {
                claim.policy = Arc::new(Policy { concurrency_per_lane: None, ..policy });
            }
            Fault::OrderOff => claim.policy = Arc::new(Policy { order: Order::Fair, ..policy }),
            _ => {}
        }
        self.inner.claim(claim)
    }

    fn due(&self, query: DueQuery) -> StoreFuture<'_, Due> {
        Box::pin(async move {
            let mut due = self.inner.due(query).await?;
            if self.fault == Fault::SlotLeaked {
                // Nor is it given back when its time is over.
                let tasks = self.inner.read(due.tasks.clone()).await?;
                let is_kept = |task: &Task| !task.life.status().is_terminal();
                let kept = tasks.iter().flatten().filter(|task| is_kept(task));
                due.tasks = kept.map(|task| task.spec.id).collect();
            }
            // What is ready at the start is seen (`pools`), so that only time is lost.
            Ok(if self.fault == Fault::AlarmLost { Due::default() } else { due })
        })
    }

    fn watch_answer(&self, task: TaskId) -> WatchedAnswer {
        self.inner.watch_answer(task)
    }

    fn beat(&self, beat: Beat) -> StoreFuture<'_, Nodes> {
        self.inner.beat(beat)
    }

    fn changes(&self, after: u64, limit: usize) -> StoreFuture<'_, Changes> {
        self.inner.changes(after, limit)
    }

    fn changed(&self, after: u64) -> StoreFuture<'_, ()> {
        self.inner.changed(after)
    }

    fn pools(&self, of: Option<(TenantName, QueueName)>) -> StoreFuture<'_, Vec<Pool>> {
        self.inner.pools(of)
    }

    fn read(&self, ids: Vec<TaskId>) -> StoreFuture<'_, Vec<Option<Task>>> {
        self.inner.read(ids)
    }

    fn list(&self, filter: Filter) -> StoreFuture<'_, Page> {
        // Only the engine itself looks at all tenants: for what a dead process left running.
        if self.fault == Fault::ReclaimLost && filter.tenant.is_none() {
            return Box::pin(async { Ok(Page::default()) });
        }
        self.inner.list(filter)
    }

    fn events(&self, query: EventQuery) -> StoreFuture<'_, Vec<Logged>> {
        Box::pin(async move {
            let mut logged = self.inner.events(query).await?;
            let is_start = |logged: &Logged| logged.entry.data.kind() == EventKind::Started;
            match self.fault {
                Fault::EventLost => logged.retain(|logged| !is_start(logged)),
                Fault::EventDoubled => {
                    if let Some(place) = logged.iter().position(is_start) {
                        logged.insert(place, logged[place].clone());
                    }
                }
                _ => {}
            }
            Ok(logged)
        })
    }

    fn last_pos(&self) -> StoreFuture<'_, u64> {
        self.inner.last_pos()
    }

    fn body(&self, task: TaskId, kind: BodyKind) -> StoreFuture<'_, Option<StoredBody>> {
        Box::pin(async move {
            if kind != BodyKind::Result {
                return self.inner.body(task, kind).await;
            }
            let over = {
                let results = self.results.lock().expect("nothing panics while it is held");
                results.get(&task).cloned()
            };
            let body = match over {
                Some(body) => Some(body),
                None => self.inner.body(task, kind).await?,
            };
            Ok(if self.fault == Fault::ResultMixed { body.map(shortened) } else { body })
        })
    }

    fn spool(&self) -> StoreFuture<'_, Box<dyn Spool>> {
        self.inner.spool()
    }

    fn queue(&self, tenant: TenantName, queue: QueueName) -> StoreFuture<'_, Option<QueueStats>> {
        self.inner.queue(tenant, queue)
    }

    fn queues(&self, which: Queues) -> StoreFuture<'_, Vec<QueueStats>> {
        self.inner.queues(which)
    }

    fn figures(&self) -> StoreFuture<'_, Figures> {
        self.inner.figures()
    }

    fn place(&self, task: TaskId) -> StoreFuture<'_, Option<Place>> {
        self.inner.place(task)
    }

    fn secrets(&self, prefix: &str) -> StoreFuture<'_, Vec<(String, Bytes)>> {
        self.inner.secrets(prefix)
    }

    fn session(&self, id_mac: [u8; 32]) -> StoreFuture<'_, Option<Session>> {
        self.inner.session(id_mac)
    }

    fn endpoints(&self, which: Endpoints) -> StoreFuture<'_, Vec<EndpointRow>> {
        self.inner.endpoints(which)
    }

    fn waited_for(&self) -> StoreFuture<'_, Vec<EndpointId>> {
        self.inner.waited_for()
    }

    fn next_deliveries(&self, endpoint: EndpointId, limit: usize) -> StoreFuture<'_, Option<Next>> {
        self.inner.next_deliveries(endpoint, limit)
    }

    fn deliveries(&self, which: Deliveries) -> StoreFuture<'_, Vec<Delivery>> {
        self.inner.deliveries(which)
    }

    fn health(&self) -> Health {
        self.inner.health()
    }

    fn has_room_for(&self, bytes: u64) -> bool {
        self.inner.has_room_for(bytes)
    }
}

/// The body without its last byte, as far as it is at hand.
fn shortened(body: StoredBody) -> StoredBody {
    match body.data {
        BodySource::Inline(bytes) if !bytes.is_empty() => {
            let bytes = bytes.slice(..bytes.len() - 1);
            StoredBody { len: bytes.len() as u64, data: BodySource::Inline(bytes), ..body }
        }
        data => StoredBody { data, ..body },
    }
}
