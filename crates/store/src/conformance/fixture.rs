//! What tests of stores are written with: tasks and claims with defaults, so that only what matters is
//! said, and a world that speaks of one store. Time is in milliseconds, and starts at 0.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use relais_core::{
    BodyKind, Cause, Command, Credentials, Entry, EventData, EventKind, Failure, FailureCode,
    Holder, LaneKey, Policy, Priority, QueueName, RetryPolicy, Runner, Spec, Task, TaskId,
    TenantName, Timestamp, accept,
};

use crate::*;

/// The moment `ms` milliseconds after the beginning.
#[must_use]
pub fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms)
}

/// So many milliseconds.
#[must_use]
pub fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A tenant's name.
#[must_use]
pub fn tenant(name: &str) -> TenantName {
    name.parse().expect("tests use good names")
}

/// A queue's name.
#[must_use]
pub fn queue(name: &str) -> QueueName {
    name.parse().expect("tests use good names")
}

/// A lane's value.
#[must_use]
pub fn lane(key: &str) -> LaneKey {
    key.parse().expect("tests use good names")
}

/// A policy under which failed attempts are tried again 10 ms later, 5 times in all.
#[must_use]
pub fn policy() -> Policy {
    let retry = RetryPolicy { max_attempts: 5, initial: ms(10), max: ms(10), factor: 1.0 };
    Policy { retry, lease: ms(30_000), ..Policy::default() }
}

/// A small body without a head.
#[must_use]
pub fn inline(bytes: impl Into<Bytes>) -> Body {
    Body { head: Bytes::new(), data: Data::Inline(bytes.into()) }
}

/// The origin of tasks that Relais pushes.
#[must_use]
pub fn upstream(repeatable: bool) -> Runner {
    Runner::Upstream { origin: "http://127.0.0.1:9000".into(), repeatable }
}

/// The holder of a lease reports a failure that may be tried again.
#[must_use]
pub fn fail(nonce: u128) -> Command {
    let failure = Failure::new(FailureCode::HandlerFailed, None);
    let cause = Cause::Error;
    Command::Fail { nonce, cause, failure, retryable: true, retry_after: None, jitter: 1.0 }
}

/// The holder of a lease reports a failure for good.
#[must_use]
pub fn give_up(nonce: u128) -> Command {
    let failure = Failure::new(FailureCode::HandlerFailed, None);
    let cause = Cause::Error;
    Command::Fail { nonce, cause, failure, retryable: false, retry_after: None, jitter: 1.0 }
}

/// A heartbeat that keeps the lease until `until` and says nothing else.
#[must_use]
pub fn heartbeat(nonce: u128, until: i64) -> Command {
    let until = at(until);
    Command::Report { nonce, until, progress: None, output: None, checkpoint: false }
}

/// Time has passed.
pub const TICK: Command = Command::Tick { jitter: 1.0 };

/// A task in the queue `mail` of the tenant `default`, for workers, ready at 0.
#[must_use]
pub fn task() -> TaskBuilder {
    TaskBuilder {
        id: None,
        tenant: tenant("default"),
        queue: queue("mail"),
        lane: None,
        priority: Priority::default(),
        labels: Vec::new(),
        runner: Runner::Workers,
        created_at: 0,
        run_at: None,
        deadline_after: ms(86_400_000),
        retention: ms(600_000),
        input: inline("input"),
        checkpoint: None,
        sealed: None,
        key: None,
        queue_capacity: u64::MAX,
        tenant_capacity: u64::MAX,
    }
}

/// A task in the making; see [`task`].
#[derive(Debug, Clone)]
pub struct TaskBuilder {
    id: Option<TaskId>,
    tenant: TenantName,
    queue: QueueName,
    lane: Option<LaneKey>,
    priority: Priority,
    labels: Vec<(String, String)>,
    runner: Runner,
    created_at: i64,
    run_at: Option<i64>,
    deadline_after: Duration,
    retention: Duration,
    input: Body,
    checkpoint: Option<Body>,
    sealed: Option<Body>,
    key: Option<Idempotency>,
    queue_capacity: u64,
    tenant_capacity: u64,
}

#[expect(missing_docs, reason = "each sets what its name says")]
impl TaskBuilder {
    #[must_use]
    pub fn id(self, id: TaskId) -> Self {
        Self { id: Some(id), ..self }
    }

    #[must_use]
    pub fn tenant(self, name: &str) -> Self {
        Self { tenant: tenant(name), ..self }
    }

    #[must_use]
    pub fn queue(self, name: &str) -> Self {
        Self { queue: queue(name), ..self }
    }

    #[must_use]
    pub fn lane(self, key: &str) -> Self {
        Self { lane: Some(lane(key)), ..self }
    }

    #[must_use]
    pub fn priority(self, level: i8) -> Self {
        Self { priority: Priority::new(level).expect("tests use good priorities"), ..self }
    }

    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.push((key.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn runner(self, runner: Runner) -> Self {
        Self { runner, ..self }
    }

    #[must_use]
    pub fn created_at(self, created_at: i64) -> Self {
        Self { created_at, ..self }
    }

    #[must_use]
    pub fn run_at(self, run_at: i64) -> Self {
        Self { run_at: Some(run_at), ..self }
    }

    #[must_use]
    pub fn deadline_after(self, span: u64) -> Self {
        Self { deadline_after: ms(span), ..self }
    }

    #[must_use]
    pub fn retention(self, span: u64) -> Self {
        Self { retention: ms(span), ..self }
    }

    #[must_use]
    pub fn input(self, input: Body) -> Self {
        Self { input, ..self }
    }

    #[must_use]
    pub fn checkpoint(self, bytes: &'static str) -> Self {
        Self { checkpoint: Some(inline(bytes)), ..self }
    }

    #[must_use]
    pub fn sealed(self, bytes: &'static str) -> Self {
        Self { sealed: Some(inline(bytes)), ..self }
    }

    /// Claims the idempotency key `scope` for the request `fingerprint`.
    #[must_use]
    pub fn key(self, scope: u8, fingerprint: u8, keep_until: i64) -> Self {
        let (scope, fingerprint) = ([scope; 32], [fingerprint; 32]);
        let key = Idempotency { scope, fingerprint, keep_until: at(keep_until) };
        Self { key: Some(key), ..self }
    }

    #[must_use]
    pub fn queue_capacity(self, queue_capacity: u64) -> Self {
        Self { queue_capacity, ..self }
    }

    #[must_use]
    pub fn tenant_capacity(self, tenant_capacity: u64) -> Self {
        Self { tenant_capacity, ..self }
    }

    /// The accept, under `id` unless the test has chosen one.
    #[must_use]
    pub fn build(self, id: TaskId) -> Accept {
        let input_bytes = self.input.data.len();
        let spec = Spec {
            id: self.id.unwrap_or(id),
            tenant: self.tenant,
            queue: self.queue,
            lane: self.lane,
            priority: self.priority,
            labels: self.labels,
            runner: self.runner,
            created_at: at(self.created_at),
            run_at: at(self.run_at.unwrap_or(self.created_at)),
            deadline_after: self.deadline_after,
            retention: self.retention,
            content_type: Some("text/plain".to_owned()),
            input_bytes,
            context: Bytes::from_static(b"\0context\xff"),
        };
        let credentials =
            if self.sealed.is_some() { Credentials::Sealed } else { Credentials::None };
        let (task, entry) = accept(spec, credentials, self.checkpoint.is_some());
        let bodies = [
            (BodyKind::Input, Some(self.input)),
            (BodyKind::Checkpoint, self.checkpoint),
            (BodyKind::Sealed, self.sealed),
        ];
        Accept {
            task,
            entry,
            bodies: bodies.into_iter().filter_map(|(kind, body)| Some((kind, body?))).collect(),
            idempotency: self.key,
            queue_capacity: self.queue_capacity,
            tenant_capacity: self.tenant_capacity,
        }
    }
}

/// A claim of up to 10 tasks from a queue of the tenant `default`, for workers, at 0.
#[must_use]
pub fn from(name: &str) -> Ask {
    let pool = Pool { tenant: tenant("default"), queue: queue(name), run_by: RunBy::Workers };
    Ask { pool, policy: policy(), limit: 10, now: 0 }
}

/// A claim in the making; see [`from`].
#[derive(Debug, Clone)]
pub struct Ask {
    /// Of which pool.
    pub pool: Pool,
    /// Under which policy.
    pub policy: Policy,
    /// How many at most.
    pub limit: usize,
    /// When.
    pub now: i64,
}

#[expect(missing_docs, reason = "each sets what its name says")]
impl Ask {
    #[must_use]
    pub fn tenant(mut self, name: &str) -> Self {
        self.pool.tenant = tenant(name);
        self
    }

    #[must_use]
    pub fn run_by(mut self, runner: &Runner) -> Self {
        self.pool.run_by = runner.into();
        self
    }

    #[must_use]
    pub fn policy(self, policy: &Policy) -> Self {
        Self { policy: policy.clone(), ..self }
    }

    #[must_use]
    pub fn limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    #[must_use]
    pub fn at(self, now: i64) -> Self {
        Self { now, ..self }
    }
}

/// A store, what keeps it alive (a folder, a server), and names for what happens in it.
pub struct World {
    /// The store.
    pub store: Arc<dyn Store>,
    drawn: AtomicU64,
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
        Self { store, drawn: AtomicU64::new(0), _keep: Box::new(keep) }
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

    /// One commit.
    pub async fn commit(&self, commit: Commit) -> Result<Committed, Rejected> {
        let mut answers = self.commit_all(vec![commit]).await;
        assert_eq!(answers.len(), 1, "one answer per commit");
        answers.remove(0)
    }

    /// A batch.
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

    /// A claim.
    pub async fn claim(&self, ask: &Ask) -> Claims {
        let claim = Claim {
            pool: ask.pool.clone(),
            policy: Arc::new(ask.policy.clone()),
            holder: Holder::Worker { name: "w".to_owned() },
            nonces: (0..ask.limit).map(|_| self.nonce()).collect(),
            now: at(ask.now),
        };
        self.store.claim(claim).await.expect("the store works")
    }

    /// The tasks a claim starts, in order.
    pub async fn started(&self, ask: &Ask) -> Vec<TaskId> {
        self.claim(ask).await.started.iter().map(|claimed| claimed.task.spec.id).collect()
    }

    /// The one task a claim starts, and its fence.
    pub async fn start_one(&self, ask: &Ask) -> (TaskId, u128) {
        let claims = self.claim(ask).await;
        assert_eq!(claims.started.len(), 1, "one task starts");
        (claims.started[0].task.spec.id, claims.started[0].nonce)
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

    /// A body.
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
        self.log(id).await.iter().map(|entry| EventData::kind(&entry.data)).collect()
    }

    /// What time has to do.
    pub async fn due(&self, now: i64) -> Due {
        let query = DueQuery { now: at(now), limit: 100, all_pools: false };
        self.store.due(query).await.expect("the store works")
    }

    /// The counts of a queue of the tenant `default`, as they are at `now`.
    pub async fn stats(&self, name: &str, now: i64) -> QueueStats {
        // Scheduled tasks become ready when somebody looks.
        self.due(now).await;
        let queues = self.store.queues().await.expect("the store works");
        let wanted = |stats: &QueueStats| {
            stats.tenant == tenant("default") && stats.queue == queue(name)
        };
        queues.into_iter().find(wanted).expect("the queue exists")
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
        self.step(id, Command::Succeed { nonce }, ask.now).await;
        id
    }
}
