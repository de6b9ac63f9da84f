//! Handlers in this process: the engine as a library.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use relais_core::{
    BodyKind, Cause, Command, Failure, FailureCode, LeaseToken, Progress, Task, TaskId, limits,
};
use relais_store::{Body, Claimed, Data, StoreError, StoredBody};
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, EngineError};
use crate::envelope::ResultHead;
use crate::execute::request::input_of;
use crate::work::{Outcome, Report, Settle, Unread};

/// Runs the tasks of one queue.
pub trait Handler: Send + Sync + 'static {
    /// Runs one attempt. May be called again for the same task after a crash or a failure.
    fn handle(
        &self,
        attempt: InlineAttempt,
    ) -> Pin<Box<dyn Future<Output = InlineOutcome> + Send + '_>>;
}

/// How an attempt of a handler ended.
#[derive(Debug, Clone)]
pub enum InlineOutcome {
    /// Done, with a result of this media type.
    Succeed {
        /// The media type.
        content_type: String,
        result: Bytes,
    },
    Fail {
        /// For operators; never secrets.
        detail: String,
        /// Whether another attempt may follow.
        retryable: bool,
    },
}

/// One attempt of a handler.
pub struct InlineAttempt {
    pub task: Task,
    pub input: Bytes,
    /// Where to resume.
    pub checkpoint: Option<Bytes>,
    /// Fires when the attempt is to stop: the task was canceled, its deadline passed, or Relais stops.
    pub stop: CancellationToken,
    engine: Engine,
    token: LeaseToken,
}

impl InlineAttempt {
    /// Says how far the attempt is, and optionally where another would resume.
    ///
    /// # Errors
    /// When the lease is over: then stop.
    pub async fn report(
        &self,
        progress: Option<Progress>,
        checkpoint: Option<Bytes>,
    ) -> Result<(), EngineError> {
        let report = Report { token: self.token, progress, output: None, checkpoint };
        let mut answers = self.engine.report(None, vec![report]).await?;
        answers.pop().expect("one answer per report").map(drop)
    }
}

impl Engine {
    pub(crate) async fn run_inline(&self, claimed: Claimed, stop: CancellationToken) {
        let task = claimed.task().clone();
        let token = claimed.token();
        let outcome = match self.config().handlers.get(&task.spec.queue).cloned() {
            Some(handler) => match self.inline_attempt(claimed, token, stop.clone()).await {
                Ok(attempt) => self.watch_inline(handler, attempt, &stop).await,
                Err(unread) => {
                    let task = task.spec.id;
                    tracing::warn!(error = %unread, %task, "could not begin an attempt");
                    Some(unread.outcome())
                }
            },
            None => {
                tracing::warn!(task = %task.spec.id, "there is no handler for a task; it waits");
                Some(Outcome::Release)
            }
        };
        let ended = match outcome {
            Some(outcome) => self.end_attempt(&task, Settle { token, outcome }).await,
            None => {
                let given_back = Command::Release { nonce: token.nonce };
                self.end_stopped(token, given_back).await
            }
        };
        if let Err(error) = ended {
            tracing::warn!(%error, task = %task.spec.id, "could not settle an attempt");
        }
    }

    async fn inline_attempt(
        &self,
        claimed: Claimed,
        token: LeaseToken,
        stop: CancellationToken,
    ) -> Result<InlineAttempt, Unread> {
        let unread = |body| move |error| Unread { body, error };
        let max = usize::try_from(limits::REQUEST_BODY_BYTES_MAX).unwrap_or(usize::MAX);
        let input = input_of(&claimed)?.bytes(max).await.map_err(unread(BodyKind::Input))?;
        let checkpoint = match find(&claimed.bodies, BodyKind::Checkpoint) {
            Some(body) => {
                let read = body.bytes(limits::CHECKPOINT_BYTES_MAX).await;
                Some(read.map_err(unread(BodyKind::Checkpoint))?)
            }
            None => None,
        };
        let engine = self.clone();
        Ok(InlineAttempt { task: claimed.changed.task, input, checkpoint, stop, engine, token })
    }

    /// Runs the handler on a task of its own, so that a panic is a failed attempt and a handler that
    /// never yields cannot hold the engine. `None` when the attempt was called off.
    async fn watch_inline(
        &self,
        handler: Arc<dyn Handler>,
        attempt: InlineAttempt,
        stop: &CancellationToken,
    ) -> Option<Outcome> {
        let task = attempt.task.spec.id;
        let policy = self.policy_of(&attempt.task);
        let until = self.elapsed() + policy.attempt_timeout;
        let mut work = tokio::spawn(async move { handler.handle(attempt).await });
        let aborted = tokio::select! {
            ended = &mut work => return Some(self.inline_outcome(task, ended).await),
            () = stop.cancelled() => true,
            () = self.clock().sleep_to(until) => false,
        };
        work.abort();
        if !aborted {
            let detail = "the attempt took longer than it may";
            return Some(failed(Cause::Timeout, detail, true));
        }
        None
    }

    async fn inline_outcome(
        &self,
        task: TaskId,
        ended: Result<InlineOutcome, tokio::task::JoinError>,
    ) -> Outcome {
        match ended {
            Ok(InlineOutcome::Succeed { content_type, result }) => {
                let store = || self.store_result(&content_type, result.clone());
                match self.until_stored(task, store).await {
                    Ok(body) => Outcome::success(Some(body)),
                    Err(error) => {
                        tracing::error!(%error, %task, "a result is lost: it could not be stored");
                        let detail = "the result of the handler could not be stored";
                        ended_by(FailureCode::StoreUnavailable, Cause::Error, detail, true)
                    }
                }
            }
            Ok(InlineOutcome::Fail { detail, retryable }) => {
                failed(Cause::Error, &detail, retryable)
            }
            Err(_) => failed(Cause::Crash, "the handler panicked", true),
        }
    }

    /// Makes a result durable: inline, or spilled if it is large.
    ///
    /// # Errors
    /// When the store has no room.
    pub async fn store_result(
        &self,
        content_type: &str,
        bytes: Bytes,
    ) -> Result<Body, EngineError> {
        let fields =
            vec![("content-type".to_owned(), Bytes::copy_from_slice(content_type.as_bytes()))];
        let head = self.encode(&ResultHead { status: 200, fields, has_body: true });
        Ok(Body { head, data: self.store_bytes(bytes).await? })
    }

    /// Makes sure that there is room for so many bytes more of something new. Outcomes need not ask: room
    /// is held back for them.
    ///
    /// # Errors
    /// [`StoreError::Full`] when there is not.
    pub fn require_room(&self, bytes: u64) -> Result<(), EngineError> {
        if self.store().has_room_for(bytes) { Ok(()) } else { Err(StoreError::Full.into()) }
    }

    /// Makes the input of something new ready for a commit.
    ///
    /// # Errors
    /// When the store has no room for what is new.
    pub async fn store_input(&self, bytes: Bytes) -> Result<Data, EngineError> {
        if bytes.len() > limits::INLINE_BODY_BYTES_MAX {
            self.require_room(bytes.len() as u64)?;
        }
        self.store_bytes(bytes).await
    }

    /// Makes bytes ready for a commit: inline, or spilled if they are many.
    ///
    /// # Errors
    /// When the store has no room.
    pub async fn store_bytes(&self, bytes: Bytes) -> Result<Data, EngineError> {
        if bytes.len() <= limits::INLINE_BODY_BYTES_MAX {
            return Ok(Data::Inline(bytes));
        }
        let mut spool = self.spool().await?;
        spool.write(bytes).await?;
        Ok(spool.finish().await?)
    }
}

fn failed(cause: Cause, detail: &str, retryable: bool) -> Outcome {
    ended_by(FailureCode::HandlerFailed, cause, detail, retryable)
}

fn ended_by(code: FailureCode, cause: Cause, detail: &str, retryable: bool) -> Outcome {
    let failure = Failure::new(code, Some(detail));
    Outcome::Fail { failure, cause, retryable, retry_after: None, result: None }
}

pub(crate) fn find(bodies: &[(BodyKind, StoredBody)], kind: BodyKind) -> Option<&StoredBody> {
    bodies.iter().find(|(found, _)| *found == kind).map(|(_, body)| body)
}
