//! The handle of the engine: what servers, tests and embedding programs call.

use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, RwLock};

use bytes::Bytes;
use relais_core::limits::NODE_ALIVE_FOR;
use relais_core::{
    BodyKind, Command, Effect, EndpointId, Policy, Refused, Reply, Task, TaskId, TenantName,
    Timestamp,
};
use relais_store::{
    Changed, Commit, Committed, Erasure, EventQuery, FORMAT, Figures, Filter, Health, Logged, Page,
    Pool, Rejected, Spool, StepOf, Stepped, Store, StoreError, StoredBody, WatchedAnswer,
};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::attendance::Attendances;
use crate::changes::Learned;
use crate::clock::{Chance, Clock};
use crate::coalesce::Coalescer;
use crate::config::{Config, Policies};
use crate::deliver::Pumps;
use crate::dispatcher::Dispatcher;
use crate::execute::running::Running;
use crate::feed::Feed;
use crate::measure::meters::Meters;
use crate::queue::known::Known;
use crate::timekeeper::Alarm;
use crate::upstream::call::Caller;
use crate::upstream::origin::Origins;
use crate::upstream::pause::Pauses;

/// Why the engine could not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The store could not.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The rules, or a limit, say no.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// There is no such queue, and no template for new ones.
    #[error("there is no such queue")]
    UnknownQueue,
    /// The queue is defined by the configuration and not changed by the API.
    #[error("the queue is defined by the configuration")]
    QueueIsConfigured,
    /// The process is about to stop and takes nothing new.
    #[error("the server is draining")]
    Draining,
    /// The tenant has as many queues as it may.
    #[error("the tenant has too many queues")]
    TooManyQueues,
    /// Credentials cannot be stored without a key to seal them.
    #[error("there is no key to seal credentials with")]
    NoSealKey,
}

impl From<Refused> for EngineError {
    fn from(refused: Refused) -> Self {
        Self::Rejected(refused.into())
    }
}

/// The engine. Cheap to clone; all clones are one engine.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    config: RwLock<Arc<Config>>,
    policies: Policies,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    chance: Arc<dyn Chance>,
    feed: Feed,
    meters: Meters,
    pub(crate) known: Known,
    pub(crate) learned: Learned,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) alarm: Alarm,
    pub(crate) origins: Origins,
    pub(crate) pauses: Pauses,
    pub(crate) running: Running,
    pub(crate) coalescer: Coalescer,
    pub(crate) attendances: Attendances,
    pub(crate) pumps: Pumps,
    caller: Caller,
    outward: Caller,
    /// The number of this node: the leases of its attempts name it.
    pub(crate) node: u64,
    /// The format that every living node reads, as of the last sign of life of this one.
    pub(crate) format: AtomicU32,
    /// Claims and attempts of this process.
    pub(crate) attempts: TaskTracker,
    /// What else runs in the background.
    pub(crate) tracker: TaskTracker,
    pub(crate) is_draining: AtomicBool,
    /// Fires when nothing may start any more.
    pub(crate) draining: CancellationToken,
    /// Fires when nothing runs any more: time stops.
    pub(crate) stop: CancellationToken,
}

impl Engine {
    /// Starts the engine: begins to take back the attempts of dead nodes, and to run what waits.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn start(
        config: Config,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        chance: Arc<dyn Chance>,
    ) -> Result<Self, EngineError> {
        let node = u64::try_from(chance.bits() >> 64).expect("the upper half fits");
        let inner = Inner {
            policies: Policies::new(&config),
            feed: Feed::default(),
            meters: Meters::default(),
            known: Known::default(),
            learned: Learned::default(),
            dispatcher: Dispatcher::default(),
            alarm: Alarm::default(),
            origins: Origins::new(config.upstreams.clone()),
            pauses: Pauses::default(),
            running: Running::default(),
            coalescer: Coalescer::default(),
            attendances: Attendances::default(),
            pumps: Pumps::default(),
            caller: Caller::new(config.upstream_tls.clone()),
            outward: Caller::outward(config.outward.clone()),
            node,
            format: AtomicU32::new(FORMAT),
            attempts: TaskTracker::new(),
            tracker: TaskTracker::new(),
            is_draining: AtomicBool::new(false),
            draining: CancellationToken::new(),
            stop: CancellationToken::new(),
            config: RwLock::new(Arc::new(config)),
            store,
            clock,
            chance,
        };
        let engine = Self { inner: Arc::new(inner) };
        engine.begin_time();
        // What comes from here on is learned as a change.
        engine.inner.learned.skip_to(engine.store().last_pos().await?);
        let nodes = engine.beat(NODE_ALIVE_FOR).await?;
        if nodes.living > 1 {
            engine.be_open_before();
        }
        engine.read_settings().await?;
        if nodes.was_ahead {
            engine.bound_leases().await?;
        }
        engine.wake_pools(None).await?;
        engine.pump_all().await?;
        let follower = engine.clone();
        engine.inner.tracker.spawn(async move { follower.follow_changes().await });
        let teller = engine.clone();
        engine.inner.tracker.spawn(async move { teller.keep_attendance().await });
        let keeper = engine.clone();
        engine.inner.tracker.spawn(async move { keeper.keep_time().await });
        Ok(engine)
    }

    /// Now, as the engine sees it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// Time counted since the engine's clock was made, which nobody sets: for what lasts so long.
    #[must_use]
    pub fn elapsed(&self) -> std::time::Duration {
        self.inner.clock.elapsed()
    }

    /// What the engine counted.
    #[must_use]
    pub fn meters(&self) -> &Meters {
        &self.inner.meters
    }

    /// The policies of queues.
    #[must_use]
    pub fn policies(&self) -> &Policies {
        &self.inner.policies
    }

    /// What it was told last.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        self.inner.config.read().expect("nothing panics while it is held").clone()
    }

    /// Goes by another configuration from now on, but for the key that seals and the handlers:
    /// those are the process's. What may start now is found by [`look_again`](Self::look_again).
    pub fn configure(&self, config: Config) {
        let before = self.config();
        let (seal_key, handlers) = (before.seal_key.clone(), before.handlers.clone());
        let config = Config { seal_key, handlers, ..config };
        self.inner.policies.configure(&config);
        self.inner.origins.limit(config.upstreams.clone());
        self.inner.caller.configure(config.upstream_tls.clone());
        self.inner.outward.guard(config.outward.clone());
        let config = Arc::new(config);
        *self.inner.config.write().expect("nothing panics while it is held") = config;
    }

    /// Starts whatever may start now.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn look_again(&self) -> Result<(), EngineError> {
        self.wake_pools(None).await
    }

    /// Who calls upstreams: for tasks, and for whoever passes requests on without one.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.inner.caller
    }

    /// Who calls URLs that callers and tenants name, where they may be called.
    #[must_use]
    pub fn outward(&self) -> &Caller {
        &self.inner.outward
    }

    /// Where chance comes from.
    #[must_use]
    pub fn chance(&self) -> &dyn Chance {
        &*self.inner.chance
    }

    /// Whether the store can be relied on.
    #[must_use]
    pub fn health(&self) -> Health {
        self.store().health()
    }

    /// One task.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn task(&self, id: TaskId) -> Result<Option<Task>, EngineError> {
        Ok(self.store().read(vec![id]).await?.pop().flatten())
    }

    /// Many tasks, in order; `None` where there is none, or one that is damaged: it harms no other.
    ///
    /// # Errors
    /// When the store cannot be read, or none of them.
    pub async fn tasks(&self, ids: Vec<TaskId>) -> Result<Vec<Option<Task>>, EngineError> {
        let error = match self.store().read(ids.clone()).await {
            Err(error @ StoreError::Corrupt(_)) => error,
            tasks => return Ok(tasks?),
        };
        let mut tasks = Vec::with_capacity(ids.len());
        let mut is_any_read = false;
        for id in ids {
            match self.store().read(vec![id]).await {
                Err(StoreError::Corrupt(_)) => tasks.push(None),
                one => {
                    is_any_read = true;
                    tasks.push(one?.pop().flatten());
                }
            }
        }
        if is_any_read { Ok(tasks) } else { Err(error.into()) }
    }

    /// A page of tasks.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn list(&self, filter: Filter) -> Result<Page, EngineError> {
        Ok(self.store().list(filter).await?)
    }

    /// Events after a cursor.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn events(&self, query: EventQuery) -> Result<Vec<Logged>, EngineError> {
        Ok(self.store().events(query).await?)
    }

    /// One body of a task.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn body(
        &self,
        id: TaskId,
        kind: BodyKind,
    ) -> Result<Option<StoredBody>, EngineError> {
        Ok(self.store().body(id, kind).await?)
    }

    /// Begins a body of unknown length.
    ///
    /// # Errors
    /// When the store has no room.
    pub async fn spool(&self) -> Result<Box<dyn Spool>, EngineError> {
        Ok(self.store().spool().await?)
    }

    /// Watches the answers of a task while they come, whichever node they come to; the task need not
    /// exist yet.
    #[must_use]
    pub fn watch_answer(&self, id: TaskId) -> WatchedAnswer {
        self.store().watch_answer(id)
    }

    /// Calls a task off. `Reply::Nothing` if it was canceled already.
    ///
    /// # Errors
    /// [`Refused::AlreadyTerminal`], or not found (also for another tenant's).
    pub async fn cancel(&self, tenant: &TenantName, id: TaskId) -> Result<Stepped, EngineError> {
        self.step(Some(tenant), id, Command::Cancel).await
    }

    /// Runs a failed or canceled task again. `Reply::Nothing` if it is not terminal.
    ///
    /// # Errors
    /// [`Refused::AlreadySucceeded`], [`Refused::CredentialsErased`], or not found.
    pub async fn retry(
        &self,
        tenant: &TenantName,
        id: TaskId,
        from_start: bool,
    ) -> Result<Stepped, EngineError> {
        self.step(Some(tenant), id, Command::Retry { from_start }).await
    }

    /// Forgets a terminal task.
    ///
    /// # Errors
    /// [`Refused::NotTerminal`], or not found.
    pub async fn erase(&self, id: TaskId) -> Result<Task, EngineError> {
        let why = Erasure::Asked { now: self.now() };
        let committed = self.commit_one(Commit::Erase { id, why }).await?;
        let Committed::Erased(task, told) = committed else { unreachable!("answered in kind") };
        self.act_on_erasure(&task, &told);
        Ok(*task)
    }

    /// What operators watch, beside the counts of queues.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn figures(&self) -> Result<Figures, EngineError> {
        Ok(self.store().figures().await?)
    }

    /// Small named values that survive, whose names begin so.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn secrets(&self, prefix: &str) -> Result<Vec<(String, Bytes)>, EngineError> {
        Ok(self.store().secrets(prefix).await?)
    }

    /// Stores, or with `None` removes, a small named value.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn put_secret(&self, name: &str, value: Option<Bytes>) -> Result<(), EngineError> {
        self.commit_one(Commit::Secret { name: name.to_owned(), value }).await?;
        self.inner.learned.note_secret();
        Ok(())
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.inner.store
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.inner.clock
    }

    pub(crate) fn feed(&self) -> &Feed {
        &self.inner.feed
    }

    /// The policy of a task's queue.
    pub(crate) fn policy_of(&self, task: &Task) -> Arc<Policy> {
        let policy = self.policies().find_of(&task.spec);
        policy.unwrap_or_else(|| self.policies().of_undefined())
    }

    /// Takes one step, and acts on it.
    pub(crate) async fn step(
        &self,
        tenant: Option<&TenantName>,
        id: TaskId,
        command: Command,
    ) -> Result<Stepped, EngineError> {
        let task = self.task(id).await?.ok_or(Rejected::NotFound)?;
        let step = self.step_of(&task, tenant, command);
        self.take(vec![step]).await?.pop().expect("one answer per step")
    }

    /// A step of a task whose queue is known.
    pub(crate) fn step_of(
        &self,
        task: &Task,
        tenant: Option<&TenantName>,
        command: Command,
    ) -> StepOf {
        StepOf {
            id: task.spec.id,
            tenant: tenant.cloned(),
            command,
            policy: self.policy_of(task),
            bodies: Vec::new(),
            now: self.now(),
        }
    }

    /// Takes many steps in one durable write, and acts on each.
    pub(crate) async fn take(
        &self,
        steps: Vec<StepOf>,
    ) -> Result<Vec<Result<Stepped, EngineError>>, EngineError> {
        if steps.is_empty() {
            // Tokens of tasks that do not exist cost no turn of the writer.
            return Ok(Vec::new());
        }
        let commits = steps.into_iter().map(|step| Commit::Step(Box::new(step))).collect();
        let answers = self.store().commit(commits).await?;
        Ok(answers
            .into_iter()
            .map(|answer| match answer {
                Ok(Committed::Stepped(stepped)) => {
                    // What has expired did not change, and its alarm is what is being acted on.
                    if stepped.reply != Reply::Expired {
                        self.act(&stepped.changed);
                    }
                    Ok(*stepped)
                }
                Ok(_) => unreachable!("a step is answered as a step"),
                Err(rejected) => {
                    if let Rejected::Refused(Refused::StaleLease | Refused::SettledOtherwise) =
                        rejected
                    {
                        Meters::count(&self.inner.meters.stale_settles);
                    }
                    Err(rejected.into())
                }
            })
            .collect())
    }

    pub(crate) async fn commit_one(&self, commit: Commit) -> Result<Committed, EngineError> {
        let mut answers = self.store().commit(vec![commit]).await?;
        Ok(answers.pop().expect("one answer per commit")?)
    }

    /// Acts on what is durable now: makes it known, counts it, wakes whom it concerns. Repeating it
    /// is harmless.
    pub(crate) fn act(&self, changed: &Changed) {
        let task = &changed.task;
        if !changed.entries.is_empty() {
            self.publish(changed);
            self.inner.meters.note(changed);
            self.tell(changed);
        }
        self.propose_alarm(task.due_at());
        self.go_on_attending(task);
        changed.told.iter().for_each(|endpoint| self.pump(*endpoint));
        for effect in &changed.effects {
            match effect {
                Effect::Wake { at } => self.wake(&Pool::of(task), *at),
                Effect::Abort { nonce } => self.inner.running.abort(*nonce),
            }
        }
    }

    /// The same for a task that was erased.
    pub(crate) fn act_on_erasure(&self, task: &Task, told: &[EndpointId]) {
        Meters::count_of(&task.spec, &self.inner.meters.erased);
        told.iter().for_each(|endpoint| self.pump(*endpoint));
        self.make_erasure_known(task);
    }
}
