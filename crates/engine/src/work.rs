//! What workers do: lease, report, settle.

use std::time::Duration;

use bytes::Bytes;
use relais_core::{
    BodyKind, Cause, Command, Failure, FailureCode, Holder, LeaseToken, Progress, Purpose,
    QueueName, Reply, State, Task, TenantName,
};
use relais_store::{
    Body, Claimed, Data, Pool, Rejected, RunBy, StepOf, Stepped, StoreError, StoredBody,
};

use crate::engine::{Engine, EngineError};
use crate::envelope;

/// A sign of life, and what it brings.
#[derive(Debug, Clone)]
pub struct Report {
    pub token: LeaseToken,
    /// How far it is.
    pub progress: Option<Progress>,
    /// For its followers, as JSON.
    pub output: Option<Bytes>,
    /// Where another worker would resume, as JSON.
    pub checkpoint: Option<Bytes>,
}

/// How an attempt ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    Succeed {
        /// What came out, if anything did.
        result: Option<Body>,
        /// For end users: a JSON object from language to text.
        message: Option<Bytes>,
    },
    Fail {
        failure: Failure,
        cause: Cause,
        /// Whether another attempt may follow.
        retryable: bool,
        /// How long to wait at least before it.
        retry_after: Option<Duration>,
        /// What it left, if it is the last.
        result: Option<Body>,
    },
    /// Whoever was called wants to be left alone first: it counts as no failure.
    Postpone {
        /// What was answered.
        failure: Failure,
        /// For how long.
        pause: Duration,
        /// The answer, should there be no room for another attempt.
        result: Option<Body>,
    },
    /// A stored body that it needs is damaged or missing.
    Spoil { body: BodyKind },
    /// It is given back untouched.
    Release,
}

impl Outcome {
    /// A success that left nothing, or this.
    #[must_use]
    pub const fn success(result: Option<Body>) -> Self {
        Self::Succeed { result, message: None }
    }
}

/// A stored body that an attempt needs cannot be read. The text is for logs: it holds the store's
/// own words.
#[derive(Debug, thiserror::Error)]
#[error("could not read the stored {}: {error}", .body.as_str())]
pub struct Unread {
    pub body: BodyKind,
    pub error: StoreError,
}

impl Unread {
    /// How the attempt ends. What cannot be read just now may be there for the next one; what is
    /// damaged stays so, and ends the task.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let body = self.body;
        if !self.error.may_pass() {
            return Outcome::Spoil { body };
        }
        let detail = format!("the stored {} of the task could not be read", body.as_str());
        Outcome::Fail {
            failure: Failure::new(FailureCode::StoreUnavailable, Some(&detail)),
            cause: Cause::Error,
            retryable: true,
            retry_after: None,
            result: None,
        }
    }
}

/// The end of an attempt.
#[derive(Debug, Clone)]
pub struct Settle {
    pub token: LeaseToken,
    /// How it ended.
    pub outcome: Outcome,
}

impl Engine {
    /// Leases up to `max` tasks of a queue to a worker, waiting up to `wait` for the first.
    ///
    /// When the engine begins to drain, a worker that waits is answered without a lease.
    ///
    /// A worker that never reads the answer has its leases end; whoever knows that the answer was not
    /// written should [release](Self::settle) them at once.
    ///
    /// # Errors
    /// [`EngineError::UnknownQueue`], [`EngineError::Draining`], or the store's.
    pub async fn lease(
        &self,
        tenant: &TenantName,
        queue: &QueueName,
        worker: &str,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Claimed>, EngineError> {
        if self.is_draining() {
            return Err(EngineError::Draining);
        }
        if !self.may_be_leased(tenant, queue).await? {
            return Err(EngineError::UnknownQueue);
        }
        let pool = Pool {
            tenant: tenant.clone(),
            queue: queue.clone(),
            purpose: Purpose::Client,
            run_by: RunBy::Workers,
        };
        let until = self.elapsed() + wait;
        let desk = self.inner().dispatcher.desk(&pool, self.elapsed());
        loop {
            // Sitting down before looking: a task that comes in between finds the worker waiting.
            let called = desk.notified();
            if self.is_draining() {
                return Ok(Vec::new());
            }
            let holder = Holder::Worker { name: worker.to_owned() };
            let claims = self.claim(&pool, holder, max).await?;
            if let Some(next) = claims.next_at {
                self.alarm_pool(&pool, next);
            }
            if !claims.started.is_empty() {
                if claims.more {
                    desk.notify_one();
                }
                return Ok(claims.started);
            }
            if wait.is_zero() || self.elapsed() >= until {
                return Ok(Vec::new());
            }
            tokio::select! {
                () = called => {}
                () = self.clock().sleep_to(until) => {}
                () = self.inner().draining.cancelled() => return Ok(Vec::new()),
            }
        }
    }

    /// Tells a worker how often to report on a task: a third of its lease.
    #[must_use]
    pub fn heartbeat_every(&self, task: &Task) -> Duration {
        self.policy_of(task).heartbeat_every()
    }

    /// Extends leases and stores what comes with the signs of life; one answer each, in order. With a
    /// `tenant`, tasks of others are not found.
    ///
    /// # Errors
    /// When the store could not take any.
    pub async fn report(
        &self,
        tenant: Option<&TenantName>,
        reports: Vec<Report>,
    ) -> Result<Vec<Result<Stepped, EngineError>>, EngineError> {
        let tokens: Vec<_> = reports.iter().map(|report| report.token).collect();
        let mut steps = Vec::with_capacity(reports.len());
        let tasks = self.tasks(tokens.iter().map(|token| token.task).collect()).await?;
        for (report, task) in reports.into_iter().zip(&tasks) {
            let Some(task) = task else { continue };
            // An attempt of this process reports by its own lease, which outlives its timeout: by that
            // of workers a clock that was set back would end it as lost although it runs.
            let until = self.now().plus(self.policies().leasing(&Pool::of(task)).lease);
            let mut bodies = Vec::new();
            // A token that is no lease leaves no trace: ids are known, and a nonce can be made up.
            let is_held = task.life.lease().is_some_and(|lease| lease.nonce == report.token.nonce);
            let progress = report.progress.filter(|_| is_held);
            let progress = progress.and_then(|progress| self.coalesce(report.token, progress));
            let has_checkpoint = report.checkpoint.is_some();
            if let Some(checkpoint) = report.checkpoint {
                let body = Body { head: Bytes::new(), data: Data::Inline(checkpoint) };
                bodies.push((BodyKind::Checkpoint, body));
            }
            let command = Command::Report {
                nonce: report.token.nonce,
                until,
                progress,
                output: report.output,
                checkpoint: has_checkpoint,
            };
            let mut step = self.step_of(task, tenant, command);
            step.bodies = bodies;
            steps.push(step);
        }
        self.take_known(&tasks, steps).await
    }

    /// Notes that the holder of a lease shows an answer while it comes, which it does once. Answers its
    /// number, by which it is [stored](Self::store_early) once it is whole.
    ///
    /// # Errors
    /// When the lease is over, or has shown an answer already.
    pub async fn begin_live(
        &self,
        tenant: Option<&TenantName>,
        token: LeaseToken,
    ) -> Result<u128, EngineError> {
        let id = self.chance().bits();
        self.step(tenant, token.task, Command::Show { nonce: token.nonce, id }).await?;
        Ok(id)
    }

    /// Stores a result under a lease that holds, before its settle, in the place of the one there may be:
    /// the answer that it shows, if its number is given. It ends with the lease. Answers its number, by
    /// which [`early`](Self::early) finds it on any node.
    ///
    /// # Errors
    /// When the lease is over, or there are as many early results as may be.
    pub async fn store_early(
        &self,
        tenant: Option<&TenantName>,
        token: LeaseToken,
        live: Option<u128>,
        body: Body,
    ) -> Result<u128, EngineError> {
        let task = self.task(token.task).await?.ok_or(Rejected::NotFound)?;
        let id = live.unwrap_or_else(|| self.chance().bits());
        let mut step = self.step_of(&task, tenant, Command::StoreEarly { nonce: token.nonce, id });
        step.bodies = vec![(BodyKind::Early, body)];
        self.take(vec![step]).await?.pop().expect("one answer per step")?;
        Ok(id)
    }

    /// The early result of a lease that holds, if it has this number, and whether it was shown while it
    /// came. A settle brings it as [`Data::Early`].
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn early(
        &self,
        token: LeaseToken,
        id: u128,
    ) -> Result<Option<(StoredBody, bool)>, EngineError> {
        let task = self.task(token.task).await?;
        let holds = |task: &Task| {
            let is_held = task.life.lease().is_some_and(|lease| lease.nonce == token.nonce);
            is_held && task.life.early() == Some(id)
        };
        let Some(task) = task.filter(holds) else { return Ok(None) };
        // One that takes its place meanwhile has another number: the rules refuse the settle then.
        let stored = self.body(token.task, BodyKind::Early).await?;
        Ok(stored.map(|stored| (stored, task.life.live() == Some(id))))
    }

    /// The answer of a task that was shown while it came, is whole, and waits for its settle: what a
    /// process that did not see it come reads.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn shown(&self, task: &Task) -> Result<Option<StoredBody>, EngineError> {
        if task.life.live().is_none() || task.life.early() != task.life.live() {
            return Ok(None);
        }
        self.body(task.spec.id, BodyKind::Early).await
    }

    /// Ends attempts; one answer each, in order. Saying it again is answered `Reply::Replayed`. With a
    /// `tenant`, tasks of others are not found.
    ///
    /// # Errors
    /// When the store could not take any.
    pub async fn settle(
        &self,
        tenant: Option<&TenantName>,
        settles: Vec<Settle>,
    ) -> Result<Vec<Result<Stepped, EngineError>>, EngineError> {
        let ids = settles.iter().map(|settle| settle.token.task).collect();
        let tasks = self.tasks(ids).await?;
        let mut steps = Vec::with_capacity(settles.len());
        for (settle, task) in settles.into_iter().zip(&tasks) {
            let Some(task) = task else { continue };
            steps.push(self.settle_step(task, tenant, settle));
        }
        self.take_known(&tasks, steps).await
    }

    /// Ends one attempt of this process.
    pub(crate) async fn settle_own(
        &self,
        task: &Task,
        settle: Settle,
    ) -> Result<Stepped, EngineError> {
        let step = self.settle_step(task, None, settle);
        let stepped = self.take(vec![step]).await?.pop().expect("one answer per step")?;
        self.note_run(task, &stepped);
        Ok(stepped)
    }

    fn settle_step(&self, task: &Task, tenant: Option<&TenantName>, settle: Settle) -> StepOf {
        let nonce = settle.token.nonce;
        let (command, result) = match settle.outcome {
            Outcome::Succeed { result: body, message } => {
                let result = body.as_ref().and_then(envelope::told_result);
                let early = match body.as_ref().map(|body| &body.data) {
                    Some(Data::Early { id, .. }) => Some(*id),
                    Some(Data::Inline(_) | Data::Spilled { .. }) | None => None,
                };
                (Command::Succeed { nonce, result, message, early }, body)
            }
            Outcome::Spoil { body } => (Command::Spoil { nonce: Some(nonce), body }, None),
            Outcome::Release => (Command::Release { nonce }, None),
            Outcome::Postpone { mut failure, pause, result } => {
                failure.has_result = result.is_some();
                (Command::Postpone { nonce, failure, pause }, result)
            }
            Outcome::Fail { mut failure, cause, retryable, retry_after, result } => {
                failure.has_result = result.is_some();
                let jitter = self.chance().unit();
                let fail = Command::Fail { nonce, cause, failure, retryable, retry_after, jitter };
                (fail, result)
            }
        };
        let mut step = self.step_of(task, tenant, command);
        step.bodies = result.map(|body| (BodyKind::Result, body)).into_iter().collect();
        step
    }

    /// Takes the steps of those tasks that exist; the others are answered as not found.
    async fn take_known(
        &self,
        tasks: &[Option<Task>],
        steps: Vec<StepOf>,
    ) -> Result<Vec<Result<Stepped, EngineError>>, EngineError> {
        let mut taken = self.take(steps).await?.into_iter();
        let answers = tasks.iter().map(|task| match task {
            None => Err(Rejected::NotFound.into()),
            Some(task) => {
                let answer = taken.next().expect("one answer per step");
                if let Ok(stepped) = &answer {
                    self.note_run(task, stepped);
                }
                answer
            }
        });
        Ok(answers.collect())
    }

    /// Remembers how long an attempt took, for estimates: `before` is the task while it ran.
    fn note_run(&self, before: &Task, stepped: &Stepped) {
        let State::Running { started_at, .. } = before.life.state else { return };
        let life = &stepped.changed.task.life;
        // A heartbeat ends nothing, and what was given back says nothing of how long it would take.
        let has_ended = life.status().is_terminal() || life.failures > before.life.failures;
        if stepped.reply == Reply::Done && has_ended {
            self.meters().note_run(&before.spec, life.updated_at.since(started_at));
        }
    }
}
