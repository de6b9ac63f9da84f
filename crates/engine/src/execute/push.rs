//! Runs an attempt by calling the upstream.

use std::error::Error as _;
use std::time::Duration;

use http::Method;
use relais_core::outcome::{Loss, Sent, judge_lost};
use relais_core::{BodyKind, Cause, Command, Failure, FailureCode, Gone, LeaseToken};
use relais_store::{Claimed, StoreError};
use tokio_util::sync::CancellationToken;

use super::answer::{Complete, Lost, Received};
use super::request::{self, Unsendable, Upload};
use crate::engine::{Engine, EngineError};
use crate::upstream::call::CallError;
use crate::work::{Outcome, Settle, Unread};

/// How a call ended.
enum Ended {
    /// By an answer.
    Answer(Box<Received>),
    /// By a failure that is one outcome.
    Failure(Box<Complete>),
    /// It was told to stop.
    Stopped,
}

impl Engine {
    /// Runs one attempt: calls the upstream, stores what it answers, settles.
    pub(crate) async fn push(&self, claimed: Claimed, stop: CancellationToken) {
        let token = claimed.token();
        let until = self.elapsed() + self.policy_of(claimed.task()).attempt_timeout;
        let mut sent = Sent::Nothing;
        let ended = tokio::select! {
            ended = self.call(&claimed, until, &mut sent) => ended,
            () = stop.cancelled() => Ended::Stopped,
        };
        let complete = match ended {
            Ended::Answer(received) => {
                let kept = self.keep_answer(&claimed, *received).await;
                kept.unwrap_or_else(|lost| broken_off(&claimed, lost))
            }
            Ended::Failure(complete) => *complete,
            Ended::Stopped => {
                return self.stopped(&claimed, token, sent).await;
            }
        };
        if let Some(pause) = complete.pause {
            self.leave_alone(claimed.task(), pause);
        }
        let settle = Settle { token, outcome: complete.outcome };
        if let Err(error) = self.end_attempt(claimed.task(), settle).await {
            tracing::warn!(%error, task = %claimed.task().spec.id, "could not settle an attempt");
            // Nothing will be committed of it, or nobody can say: its readers wait for no end.
            if let Some(spool) = complete.spool {
                spool.break_off();
            }
        }
    }

    /// Calls the upstream, which has time until `until`; `sent` says at any moment how much of the
    /// request may be gone.
    async fn call(&self, claimed: &Claimed, until: Duration, sent: &mut Sent) -> Ended {
        let calling = match request::calling_of(claimed.task()) {
            Ok(calling) => calling,
            Err(unread) => return unsendable(claimed, &unread.into()),
        };
        match self.by(until, verify(claimed)).await {
            Some(Ok(())) => {}
            Some(Err(unread)) => return unsendable(claimed, &unread.into()),
            None => return too_late(claimed, *sent).into(),
        }
        let trace = request::trace_of(&calling, self.chance().bits());
        let request = match request::build(claimed, &calling, &self.config(), &trace) {
            Ok(request) => request.map(Upload::outgoing),
            Err(error) => return unsendable(claimed, &error),
        };
        let is_head = request.method() == Method::HEAD;
        let is_repeatable = claimed.task().spec.runner.is_repeatable();
        let calling = self.caller().call(request, is_repeatable, sent);
        let response = match self.by(until, calling).await {
            Some(Ok(response)) => response,
            Some(Err(error)) => match unread_while_sent(&error) {
                Some(unread) if is_repeatable => return unsendable(claimed, &unread.into()),
                _ => return not_answered(claimed, &error, *sent).into(),
            },
            None => return too_late(claimed, *sent).into(),
        };
        match self.take_answer(claimed, is_head, response, until).await {
            Ok(received) => Ended::Answer(Box::new(received)),
            Err(lost) => broken_off(claimed, lost).into(),
        }
    }

    /// What comes by `until`, of the time that is counted.
    pub(crate) async fn by<T>(&self, until: Duration, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.clock().sleep_to(until) => None,
        }
    }

    /// The attempt was told to stop: what becomes of its task depends on what may have been sent.
    async fn stopped(&self, claimed: &Claimed, token: LeaseToken, sent: Sent) {
        let nonce = token.nonce;
        let lost = match judge_lost(sent, claimed.task().spec.runner.is_repeatable()) {
            Loss::Again => Command::Release { nonce },
            Loss::Unknown => {
                Command::Crash { nonce, gone: Gone::Stopped, jitter: self.chance().unit() }
            }
        };
        match self.end_stopped(token, lost).await {
            Ok(_) => {}
            Err(EngineError::Store(error)) => {
                let task = token.task;
                tracing::warn!(%error, %task, "could not store that an attempt stopped");
            }
            Err(error) => {
                tracing::debug!(%error, task = %token.task, "a stopped attempt had changed");
            }
        }
    }
}

impl From<Complete> for Ended {
    fn from(complete: Complete) -> Self {
        Self::Failure(Box::new(complete))
    }
}

fn unsendable(claimed: &Claimed, error: &Unsendable) -> Ended {
    tracing::warn!(%error, task = %claimed.task().spec.id, "could not send a stored request");
    Complete { outcome: error.outcome(), pause: None, spool: None }.into()
}

/// Makes sure that the request is whole before any of it is sent.
async fn verify(claimed: &Claimed) -> Result<(), Unread> {
    for (kind, body) in &claimed.bodies {
        body.verify().await.map_err(|error| Unread { body: *kind, error })?;
    }
    Ok(())
}

/// Why a call broke, if that was because the input could not be read on.
fn unread_while_sent(error: &CallError) -> Option<Unread> {
    let CallError::Broken { error, .. } = error else { return None };
    let error = error.source()?.downcast_ref::<StoreError>()?.clone();
    Some(Unread { body: BodyKind::Input, error })
}

/// The upstream did not answer at all.
fn not_answered(claimed: &Claimed, error: &CallError, sent: Sent) -> Complete {
    let detail = error.to_string();
    let code = match error {
        CallError::Unreachable(_) | CallError::Broken { .. } => FailureCode::UpstreamUnreachable,
        CallError::NotHttp => FailureCode::UpstreamMalformed,
        // It has answered; what it said is refused as a whole.
        CallError::HeadTooLarge => {
            let code = FailureCode::UpstreamResponseTooLarge;
            return failed(Cause::Error, code, &detail, false);
        }
    };
    lost_answer(claimed, sent, Cause::Error, code, &detail)
}

/// The attempt took longer than it may.
fn too_late(claimed: &Claimed, sent: Sent) -> Complete {
    let detail = match sent {
        Sent::Nothing => "no connection to the upstream came about in time",
        Sent::Something => "the upstream did not answer in time",
    };
    lost_answer(claimed, sent, Cause::Timeout, FailureCode::UpstreamTimeout, detail)
}

/// The upstream's answer did not come whole.
fn broken_off(claimed: &Claimed, lost: Lost) -> Complete {
    match lost {
        Lost::TooLarge => {
            let detail = "the upstream's answer is larger than a result may be";
            failed(Cause::Error, FailureCode::UpstreamResponseTooLarge, detail, false)
        }
        Lost::Malformed => {
            let detail = "the upstream changed to a protocol that nobody asked for";
            lost_answer(
                claimed,
                Sent::Something,
                Cause::Error,
                FailureCode::UpstreamMalformed,
                detail,
            )
        }
        Lost::Broken(error) => {
            tracing::debug!(%error, "an answer broke off");
            let detail = "the upstream's answer broke off";
            lost_answer(
                claimed,
                Sent::Something,
                Cause::Error,
                FailureCode::UpstreamUnreachable,
                detail,
            )
        }
        Lost::Late => too_late(claimed, Sent::Something),
        Lost::Store(status, error) => {
            let task = claimed.task().spec.id;
            tracing::error!(%error, %task, "an answer is lost: it could not be stored");
            let detail = format!("the upstream answered {status}, but that could not be stored");
            let code = FailureCode::StoreUnavailable;
            lost_answer(claimed, Sent::Something, Cause::Error, code, &detail)
        }
    }
}

/// There is no answer, or not all of it.
fn lost_answer(
    claimed: &Claimed,
    sent: Sent,
    cause: Cause,
    code: FailureCode,
    detail: &str,
) -> Complete {
    match (judge_lost(sent, claimed.task().spec.runner.is_repeatable()), sent) {
        (Loss::Again, Sent::Nothing) => {
            failed(cause, code, &format!("{detail}; nothing was sent"), true)
        }
        (Loss::Again, Sent::Something) => failed(cause, code, detail, true),
        (Loss::Unknown, _) => {
            let detail = format!("{detail}; the upstream may have done the work");
            failed(cause, FailureCode::OutcomeUnknown, &detail, false)
        }
    }
}

fn failed(cause: Cause, code: FailureCode, detail: &str, retryable: bool) -> Complete {
    let failure = Failure::new(code, Some(detail));
    let outcome = Outcome::Fail { failure, cause, retryable, retry_after: None, result: None };
    Complete { outcome, pause: None, spool: None }
}
