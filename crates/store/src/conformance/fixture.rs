//! What tests of stores are written with: tasks and claims with defaults, so that only what matters
//! is said. Time is in milliseconds, and starts at 0.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use relais_core::{
    BodyKind, Cause, Command, Credentials, Failure, FailureCode, Grace, LaneKey, OwnWebhook,
    Policy, Priority, Purpose, QueueName, RequestLine, RetryPolicy, Runner, Source, Spec, TaskId,
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

/// Somebody wants a task forgotten.
#[must_use]
pub fn erasing(id: TaskId) -> Commit {
    Commit::Erase { id, why: Erasure::Asked { now: at(0) } }
}

/// Time has passed, and a server was always there.
pub const TICK: Command =
    Command::Tick { here_since: Timestamp::MIN, open_since: Timestamp::MIN, jitter: 1.0 };

/// A task in the queue `mail` of the tenant `default`, for workers, ready at 0.
#[must_use]
pub fn task() -> TaskBuilder {
    TaskBuilder {
        id: None,
        tenant: tenant("default"),
        purpose: Purpose::Client,
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
        source: None,
        source_capacity: u64::MAX,
        grace: None,
        webhook: None,
        attended_by: None,
    }
}

/// A task in the making; see [`task`].
#[derive(Debug, Clone)]
pub struct TaskBuilder {
    id: Option<TaskId>,
    tenant: TenantName,
    purpose: Purpose,
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
    source: Option<Source>,
    source_capacity: u64,
    grace: Option<Grace>,
    webhook: Option<OwnWebhook>,
    attended_by: Option<u64>,
}

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
    pub fn purpose(self, purpose: Purpose) -> Self {
        Self { purpose, ..self }
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

    /// Claims the idempotency key `scope` for the request `fingerprint`, as long as the task and at
    /// least until then.
    #[must_use]
    pub fn key(self, scope: u8, fingerprint: u8, at_least: i64) -> Self {
        self.claim(scope, fingerprint, Kept::WithItsTask { at_least: at(at_least) })
    }

    /// Claims the key `scope` until then, whatever becomes of the task.
    #[must_use]
    pub fn key_until(self, scope: u8, end: i64) -> Self {
        self.claim(scope, scope, Kept::Until(at(end)))
    }

    fn claim(self, scope: u8, fingerprint: u8, kept: Kept) -> Self {
        let (scope, fingerprint) = ([scope; 32], [fingerprint; 32]);
        Self { key: Some(Idempotency { scope, fingerprint, kept }), ..self }
    }

    #[must_use]
    pub fn queue_capacity(self, queue_capacity: u64) -> Self {
        Self { queue_capacity, ..self }
    }

    #[must_use]
    pub fn tenant_capacity(self, tenant_capacity: u64) -> Self {
        Self { tenant_capacity, ..self }
    }

    /// It comes from `source`, which may hold so many tasks of its queue.
    #[must_use]
    pub fn source(self, source: u8, source_capacity: u64) -> Self {
        Self { source: Some(Source([source; 16])), source_capacity, ..self }
    }

    /// It is canceled so long after all have left: 0 is at once.
    #[must_use]
    pub fn grace(self, span: u64) -> Self {
        Self { grace: Some(Grace::of(ms(span)).unwrap_or(Grace::ZERO)), ..self }
    }

    /// It brings a webhook of its own along.
    #[must_use]
    pub fn webhook(self, webhook: OwnWebhook) -> Self {
        Self { webhook: Some(webhook), ..self }
    }

    /// Its caller waits for it at this node.
    #[must_use]
    pub fn attended_by(self, node: u64) -> Self {
        Self { attended_by: Some(node), ..self }
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
            source: self.source,
            request: Some(RequestLine::new("PUT", "/imports/june")),
            purpose: self.purpose,
            grace: self.grace,
            webhook: self.webhook,
        };
        let credentials =
            if self.sealed.is_some() { Credentials::Sealed } else { Credentials::None };
        let (task, entry) = accept(spec, credentials, self.checkpoint.is_some());
        let task = match self.attended_by {
            Some(node) => task.attended_from_the_start(node),
            None => task,
        };
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
            source_capacity: self.source_capacity,
        }
    }
}

/// A claim of up to 10 tasks from a queue of the tenant `default`, for workers, at 0.
#[must_use]
pub fn from(name: &str) -> Ask {
    let (tenant, queue, purpose) = (tenant("default"), queue(name), Purpose::Client);
    let pool = Pool { tenant, queue, purpose, run_by: RunBy::Workers };
    Ask { pool, policy: policy(), limit: 10, held: BTreeMap::new(), now: 0 }
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
    /// Lanes that are held, and until when.
    pub held: BTreeMap<LaneKey, Timestamp>,
    pub now: i64,
}

impl Ask {
    #[must_use]
    pub fn tenant(mut self, name: &str) -> Self {
        self.pool.tenant = tenant(name);
        self
    }

    #[must_use]
    pub fn purpose(mut self, purpose: Purpose) -> Self {
        self.pool.purpose = purpose;
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
    pub fn holding(mut self, key: &str, until: i64) -> Self {
        self.held.insert(lane(key), at(until));
        self
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
