//! A store under test, and what tests say to it.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use relais_core::{BodyKind, Command, Entry, EventKind, Holder, Task, TaskId};

use super::fixture::{Ask, TaskBuilder, at, policy, queue, tenant};
use crate::*;

/// Makes a body of a task unreadable, behind the back of its store.
type Damage = Box<dyn Fn(TaskId, BodyKind) + Send + Sync>;

/// A store, what keeps it alive (a folder, a server), and names for what happens in it.
pub struct World {
    pub store: Arc<dyn Store>,
    /// The same store by another handle, as another node has it.
    pub other: Arc<dyn Store>,
    drawn: AtomicU64,
    damage: Option<Damage>,
    _keep: Box<dyn Any + Send + Sync>,
}

impl<S: Store> From<S> for World {
    fn from(store: S) -> Self {
        Self::new(Arc::new(store), ())
    }
}

impl<S: Store, K: Send + Sync + 'static> From<(S, K)> for World {
    fn from((store, keep): (S, K)) -> Self {
        Self::new(Arc::new(store), keep)
    }
}

impl From<Arc<dyn Store>> for World {
    fn from(store: Arc<dyn Store>) -> Self {
        Self::new(store, ())
    }
}

impl World {
    /// A world around a store; `keep` is dropped after it.
    pub fn new(store: Arc<dyn Store>, keep: impl Any + Send + Sync) -> Self {
        let other = store.clone();
        Self { store, other, drawn: AtomicU64::new(0), damage: None, _keep: Box::new(keep) }
    }

    /// Says how another node has this store.
    #[must_use]
    pub fn beside(self, other: impl Store) -> Self {
        Self { other: Arc::new(other), ..self }
    }

    /// Says how a body of this store is damaged.
    #[must_use]
    pub fn damaged_by(mut self, damage: impl Fn(TaskId, BodyKind) + Send + Sync + 'static) -> Self {
        self.damage = Some(Box::new(damage));
        self
    }

    /// Damages a body.
    pub fn damage(&self, task: TaskId, kind: BodyKind) {
        let damage = self.damage.as_ref().expect("the world of this store says how");
        damage(task, kind);
    }

    fn draw(&self) -> u128 {
        u128::from(self.drawn.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The next id; ids rise.
    pub fn id(&self) -> TaskId {
        TaskId::from_u128((0x0190 << 112) | self.draw())
    }

    /// A fence nobody has.
    pub fn nonce(&self) -> u128 {
        (7 << 100) | self.draw()
    }

    pub async fn commit(&self, commit: Commit) -> Result<Committed, Rejected> {
        let mut answers = self.commit_all(vec![commit]).await;
        assert_eq!(answers.len(), 1, "one answer per commit");
        answers.remove(0)
    }

    pub async fn commit_all(&self, commits: Vec<Commit>) -> Vec<Result<Committed, Rejected>> {
        self.store.commit(commits).await.expect("the store works")
    }

    /// The commit of a new task.
    #[must_use]
    pub fn accepting(&self, task: TaskBuilder) -> Commit {
        Commit::Accept(Box::new(task.build(self.id())))
    }

    /// A new task, which must be taken.
    pub async fn accept(&self, task: TaskBuilder) -> TaskId {
        let accept = task.build(self.id());
        let id = accept.task.spec.id;
        let taken = self.commit(Commit::Accept(Box::new(accept))).await;
        assert!(matches!(taken, Ok(Committed::Accepted { .. })), "not accepted: {taken:?}");
        id
    }

    /// Several of the same kind.
    pub async fn accept_many(&self, count: usize, task: &TaskBuilder) -> Vec<TaskId> {
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(self.accept(task.clone()).await);
        }
        ids
    }

    /// A new task, which may be refused.
    pub async fn try_accept(&self, task: TaskBuilder) -> Result<Committed, Rejected> {
        self.commit(self.accepting(task)).await
    }

    /// The commit of a step under [`policy`].
    #[must_use]
    pub fn stepping(id: TaskId, command: Command, now: i64) -> StepOf {
        let policy = Arc::new(policy());
        StepOf { id, tenant: None, command, policy, bodies: Vec::new(), now: at(now) }
    }

    /// A step, which may be refused.
    pub async fn try_step(
        &self,
        id: TaskId,
        command: Command,
        now: i64,
    ) -> Result<Stepped, Rejected> {
        self.try_step_of(Self::stepping(id, command, now)).await
    }

    /// A step in all its detail, which may be refused.
    pub async fn try_step_of(&self, step: StepOf) -> Result<Stepped, Rejected> {
        match self.commit(Commit::Step(Box::new(step))).await? {
            Committed::Stepped(stepped) => Ok(*stepped),
            other => panic!("a step is answered by what it did, not by {other:?}"),
        }
    }

    /// A step, which must be taken.
    pub async fn step(&self, id: TaskId, command: Command, now: i64) -> Stepped {
        self.try_step(id, command, now).await.expect("the step is allowed")
    }

    /// A step with a body, which must be taken.
    pub async fn step_with(
        &self,
        id: TaskId,
        command: Command,
        body: (BodyKind, Body),
        now: i64,
    ) -> Stepped {
        let step = StepOf { bodies: vec![body], ..Self::stepping(id, command, now) };
        self.try_step_of(step).await.expect("the step is allowed")
    }

    /// What [`claim`](Self::claim) asks the store.
    pub fn claiming(&self, ask: &Ask) -> Claim {
        Claim {
            pool: ask.pool.clone(),
            policy: Arc::new(ask.policy.clone()),
            holder: Holder::Worker { name: "w".to_owned() },
            nonces: (0..ask.limit).map(|_| self.nonce()).collect(),
            held: Arc::new(ask.held.clone()),
            now: at(ask.now),
        }
    }

    pub async fn claim(&self, ask: &Ask) -> Claims {
        self.store.claim(self.claiming(ask)).await.expect("the store works")
    }

    /// The tasks a claim starts, in order.
    pub async fn started(&self, ask: &Ask) -> Vec<TaskId> {
        self.claim(ask).await.started.iter().map(|claimed| claimed.task().spec.id).collect()
    }

    /// The one task a claim starts, and its fence.
    pub async fn start_one(&self, ask: &Ask) -> (TaskId, u128) {
        let claims = self.claim(ask).await;
        assert_eq!(claims.started.len(), 1, "one task starts");
        (claims.started[0].task().spec.id, claims.started[0].nonce)
    }

    /// A task as it is now, which must exist.
    pub async fn read(&self, id: TaskId) -> Task {
        self.try_read(id).await.expect("the task exists")
    }

    /// A task as it is now.
    pub async fn try_read(&self, id: TaskId) -> Option<Task> {
        let mut tasks = self.store.read(vec![id]).await.expect("the store works");
        assert_eq!(tasks.len(), 1, "one answer per id");
        tasks.remove(0)
    }

    /// A whole body, which must exist.
    pub async fn body(&self, id: TaskId, kind: BodyKind) -> Bytes {
        let body = self.try_body(id, kind).await.expect("the body exists");
        body.bytes(usize::MAX).await.expect("the store works")
    }

    pub async fn try_body(&self, id: TaskId, kind: BodyKind) -> Option<StoredBody> {
        self.store.body(id, kind).await.expect("the store works")
    }

    /// The log of a task.
    pub async fn log(&self, id: TaskId) -> Vec<Entry> {
        let query = EventQuery::Task { id, after: 0, limit: 100_000 };
        let events = self.store.events(query).await.expect("the store works");
        events.into_iter().map(|logged| logged.entry).collect()
    }

    /// The kinds of the entries of a task's log.
    pub async fn kinds(&self, id: TaskId) -> Vec<EventKind> {
        self.log(id).await.iter().map(|entry| entry.data.kind()).collect()
    }

    /// What time has to do.
    pub async fn due(&self, now: i64) -> Due {
        let query = DueQuery { now: at(now), limit: 100 };
        self.store.due(query).await.expect("the store works")
    }

    /// The counts of a queue of the tenant `default`, as they are at `now`.
    pub async fn stats(&self, name: &str, now: i64) -> QueueStats {
        // Scheduled tasks become ready when somebody looks.
        self.due(now).await;
        let stats = self.store.queue(tenant("default"), queue(name)).await;
        stats.expect("the store works").expect("the queue exists")
    }

    /// A queue of the tenant `default` is paused, resumed, or given a policy.
    pub async fn set(&self, name: &str, change: QueueChange) {
        let (tenant, queue) = (tenant("default"), queue(name));
        let put = self.commit(Commit::Queue { tenant, queue, change }).await;
        assert!(matches!(put, Ok(Committed::Put)), "{put:?}");
    }

    /// The task is taken to a successful end.
    pub async fn run(&self, ask: &Ask) -> TaskId {
        let (id, nonce) = self.start_one(&ask.clone().limit(1)).await;
        self.step(id, Command::succeed(nonce), ask.now).await;
        id
    }
}
