//! From a request to a task: what the rules leave to the engine is decided here, then committed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use relais_core::{
    BodyKind, Credentials, Deadline, Grace, LaneKey, OwnWebhook, Policy, Priority, Purpose,
    QueueName, RequestLine, Runner, Source, Spec, Task, TaskId, TenantName, Timestamp, limits,
};
use relais_store::{Accept, Body, Commit, Committed, Data, Idempotency, Kept, Place, Rejected};

use crate::config::Config;
use crate::engine::{Engine, EngineError};
use crate::envelope::{Context, Field, RequestHead, Secrets};
use crate::measure::meters::Meters;

/// A request that is to become a task. Names and sizes are checked already.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Whose task it will be.
    pub tenant: TenantName,
    /// For whom it will be done.
    pub purpose: Purpose,
    /// Where it waits.
    pub queue: QueueName,
    /// The lane it shares with others.
    pub lane: Option<LaneKey>,
    pub priority: Priority,
    pub labels: Vec<(String, String)>,
    /// Who runs it. Tasks for workers become those of the handler in the
    /// process, if the queue has one.
    pub runner: Runner,
    /// When it may start; `None` is at once.
    pub run_at: Option<Timestamp>,
    /// By when it must be done; `None` is the queue's.
    pub deadline: Option<Deadline>,
    /// How long it is kept; `None` is the queue's.
    pub retention: Option<Duration>,
    /// The media type of its input.
    pub content_type: Option<String>,
    /// The request it came as.
    pub head: RequestHead,
    /// What its task tells of that request; `None` where no route took it.
    pub request: Option<RequestLine>,
    pub input: Data,
    /// Fields of the request to be sealed: credentials.
    pub secrets: Vec<Field>,
    /// Where a worker shall begin.
    pub checkpoint: Option<Bytes>,
    /// Its claim of an idempotency key.
    pub idempotency: Option<Claim>,
    /// What engine and server need to know of it.
    pub context: Context,
    /// Whose share of the queue it takes; `None` is bounded by the queue alone.
    pub source: Option<Source>,
    /// How long it goes on once everybody who attended it has left; `None` goes on in any case.
    pub grace: Option<Grace>,
    /// Who is told of it, beside the endpoints of its tenant.
    pub webhook: Option<OwnWebhook>,
    /// Whether a connection of this node waits for it: see [`Engine::attend_accepted`].
    pub is_attended: bool,
}

/// The claim of an idempotency key, given or implied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Which key it is.
    pub scope: [u8; 32],
    /// What makes two requests with it the same.
    pub fingerprint: [u8; 32],
    /// How long it holds from its first accept on; `None` is as long as its task, and at least
    /// [`limits::IDEMPOTENCY_MIN`].
    pub window: Option<Duration>,
}

/// What a submission became.
#[derive(Debug, Clone)]
pub enum Submitted {
    /// A task of its own, durable, and the place it has in its queue.
    New(Task, Place),
    /// Its idempotency key belongs to this task.
    Attached {
        /// The task, if it still exists.
        task: Option<Task>,
        /// Whether it was made by the same request.
        same: bool,
    },
}

impl Engine {
    /// Draws an id for a task that is about to be submitted.
    #[must_use]
    pub fn draw_id(&self) -> TaskId {
        let now = u64::try_from(self.now().as_ms()).unwrap_or(0);
        let bits = self.chance().bits().to_le_bytes();
        let random: [u8; 10] = bits[..10].try_into().expect("10 of 16 bytes");
        TaskId::from_u128(
            uuid::Builder::from_unix_timestamp_millis(now, &random).into_uuid().as_u128(),
        )
    }

    /// Accepts a request: the task is durable when this returns.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub fn submit(
        &self,
        id: TaskId,
        submission: Submission,
    ) -> impl Future<Output = Result<Submitted, EngineError>> + Send {
        // At once, so that nobody holds room for the submission while the write is waited for.
        let prepared = self.prepare(id, submission, &self.config(), self.now());
        async move {
            let mut committed = self.commit_accepts(vec![prepared?]).await?;
            self.submitted(committed.pop().expect("one answer per commit")).await
        }
    }

    /// Accepts many requests in one durable write; one answer each, in order.
    ///
    /// # Errors
    /// When none was accepted.
    pub async fn submit_all(
        &self,
        submissions: Vec<(TaskId, Submission)>,
    ) -> Result<Vec<Result<Submitted, EngineError>>, EngineError> {
        let (config, now) = (self.config(), self.now());
        let mut commits = Vec::with_capacity(submissions.len());
        let mut prepare = |(id, submission)| {
            commits.push(self.prepare(id, submission, &config, now)?);
            Ok(())
        };
        let prepared: Vec<Result<(), EngineError>> =
            submissions.into_iter().map(&mut prepare).collect();
        let mut committed = self.commit_accepts(commits).await?.into_iter();
        let mut answers = Vec::with_capacity(prepared.len());
        for prepared in prepared {
            answers.push(match prepared {
                Err(error) => Err(error),
                Ok(()) => self.submitted(committed.next().expect("one answer per commit")).await,
            });
        }
        Ok(answers)
    }

    async fn commit_accepts(
        &self,
        commits: Vec<Commit>,
    ) -> Result<Vec<Result<Committed, Rejected>>, EngineError> {
        if self.is_draining() {
            return Err(EngineError::Draining);
        }
        Ok(self.store().commit(commits).await?)
    }

    /// What follows from the write.
    async fn submitted(
        &self,
        committed: Result<Committed, Rejected>,
    ) -> Result<Submitted, EngineError> {
        match committed? {
            Committed::Accepted { changed, place } => {
                self.act(&changed);
                Ok(Submitted::New(changed.task, place))
            }
            Committed::Attached { id, same, exists } => {
                Box::pin(self.attached(id, same, exists)).await
            }
            Committed::Stepped(_)
            | Committed::Erased(..)
            | Committed::Put
            | Committed::Session(_)
            | Committed::Endpoint(_)
            | Committed::Dropped(..) => {
                unreachable!("an accept is answered as an accept")
            }
        }
    }

    async fn attached(
        &self,
        id: TaskId,
        same: bool,
        exists: bool,
    ) -> Result<Submitted, EngineError> {
        Meters::count(&self.meters().attached);
        let task = if exists { self.task(id).await? } else { None };
        Ok(Submitted::Attached { task, same })
    }

    fn prepare(
        &self,
        id: TaskId,
        submission: Submission,
        config: &Config,
        now: Timestamp,
    ) -> Result<Commit, EngineError> {
        let (policy, queue_capacity, tenant_capacity) = self.room_for(&submission, config)?;
        let runner = match submission.runner {
            Runner::Workers if config.handlers.contains_key(&submission.queue) => Runner::Inline,
            runner => runner,
        };
        let run_at = submission.run_at.unwrap_or(now).max(now);
        let mut bodies = vec![(
            BodyKind::Input,
            Body { head: self.encode(&submission.head), data: submission.input },
        )];
        let input_bytes = bodies[0].1.data.len();
        if let Some(sealed) = self.seal(id, &submission.secrets, config)? {
            bodies.push((BodyKind::Sealed, inline(sealed)));
        }
        let credentials = if bodies.len() > 1 { Credentials::Sealed } else { Credentials::None };
        let has_checkpoint = submission.checkpoint.is_some();
        if let Some(checkpoint) = submission.checkpoint {
            bodies.push((BodyKind::Checkpoint, inline(checkpoint)));
        }
        let deadline_after = deadline_after(submission.deadline, run_at, &policy);
        let retention = submission.retention.unwrap_or(policy.retention);
        let spec = Spec {
            id,
            tenant: submission.tenant,
            queue: submission.queue,
            lane: submission.lane,
            priority: submission.priority,
            labels: submission.labels,
            runner,
            created_at: now,
            run_at,
            deadline_after,
            retention,
            content_type: submission.content_type,
            input_bytes,
            context: self.encode(&submission.context),
            source: submission.source,
            request: submission.request,
            purpose: submission.purpose,
            grace: submission.grace,
            webhook: submission.webhook,
        };
        let (mut task, entry) = relais_core::accept(spec, credentials, has_checkpoint);
        if submission.is_attended {
            task = task.attended_from_the_start(self.inner().node);
        }
        let idempotency = submission.idempotency.map(|claim| Idempotency {
            scope: claim.scope,
            fingerprint: claim.fingerprint,
            kept: match claim.window {
                None => Kept::WithItsTask { at_least: now.plus(limits::IDEMPOTENCY_MIN) },
                Some(window) => Kept::Until(now.plus(window)),
            },
        });
        let accept = Accept {
            task,
            entry,
            bodies,
            idempotency,
            queue_capacity,
            tenant_capacity,
            source_capacity: policy.source_capacity(),
        };
        Ok(Commit::Accept(Box::new(accept)))
    }

    /// The policy of the queue that a task is to come into, and how many it and the tenant may hold.
    /// What Relais itself owes is never refused: there is as much of it as clients' tasks bring about,
    /// and those are bounded.
    fn room_for(
        &self,
        Submission { tenant, queue, purpose, .. }: &Submission,
        config: &Config,
    ) -> Result<(Arc<Policy>, u64, u64), EngineError> {
        if *purpose == Purpose::Internal {
            return Ok((self.policies().of(tenant, queue), u64::MAX, u64::MAX));
        }
        let policy = self.policies().find(tenant, queue).ok_or(EngineError::UnknownQueue)?;
        self.admit_queue(tenant, queue)?;
        let queue_capacity = policy.capacity;
        Ok((policy, queue_capacity, config.tenant_capacity))
    }

    fn seal(
        &self,
        task: TaskId,
        secrets: &[Field],
        config: &Config,
    ) -> Result<Option<Bytes>, EngineError> {
        if secrets.is_empty() {
            return Ok(None);
        }
        let key = config.seal_key.as_ref().ok_or(EngineError::NoSealKey)?;
        let text = self.encode(&Secrets { fields: secrets.to_vec() });
        Ok(Some(key.seal(task, self.chance().bits(), &text)))
    }
}

fn inline(bytes: Bytes) -> Body {
    Body { head: Bytes::new(), data: Data::Inline(bytes) }
}

fn deadline_after(deadline: Option<Deadline>, run_at: Timestamp, policy: &Policy) -> Duration {
    match deadline {
        None => policy.deadline,
        Some(Deadline::After(span)) => span,
        Some(Deadline::At(moment)) => moment.since(run_at),
    }
}
