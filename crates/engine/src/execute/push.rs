//! Runs an attempt by calling the upstream.

use std::error::Error as _;
use std::time::Duration;

use http::Method;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use relais_core::{Cause, Command, Failure, FailureCode, LeaseToken, Runner, State, Status};
use relais_store::{Claimed, Stepped};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::answer::{Complete, Lost};
use super::request::{self, Upload};
use super::tap::TapEvent;
use crate::engine::Engine;
use crate::envelope::{self, Context};
use crate::work::{Outcome, Settle};

/// How long connecting to an upstream may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an idle connection to an upstream is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Idle connections kept per upstream.
const IDLE_MAX: usize = 256;

/// Calls upstreams.
pub(crate) struct Caller {
    client: Client<HttpsConnector<HttpConnector>, Upload>,
}

impl Caller {
    pub(crate) fn new() -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let https = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::aws_lc_rs::default_provider())
            .expect("the provider knows the default protocol versions")
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_MAX)
            .build(https);
        Self { client }
    }
}

/// How a call ended.
enum Ended {
    /// By an answer, or by a failure that is one outcome.
    Outcome(Box<Complete>),
    /// It was told to stop.
    Stopped,
}

impl Engine {
    /// Runs one attempt: calls the upstream, stores what it answers, settles.
    pub(crate) async fn push(&self, claimed: Claimed, stop: CancellationToken) {
        let tap = self.inner().taps.of(claimed.task.spec.id);
        let until = self.now().plus(self.policy_of(&claimed.task).attempt_timeout);
        let ended = tokio::select! {
            ended = self.call(&claimed, tap.as_ref()) => ended,
            () = stop.cancelled() => Ended::Stopped,
            () = self.clock().sleep_until(until) => {
                Ended::Outcome(Box::new(lost_answer(&claimed, Cause::Timeout, FailureCode::UpstreamTimeout,
                    "the upstream did not answer in time")))
            }
        };
        let complete = match ended {
            Ended::Outcome(complete) => *complete,
            Ended::Stopped => {
                self.stopped(&claimed).await;
                if let Some(tap) = tap {
                    conclude(&tap, TapEvent::Settled);
                }
                return;
            }
        };
        if let (Some(pause), Runner::Upstream { origin, .. }) =
            (complete.pause, &claimed.task.spec.runner)
        {
            self.inner().origins.pause(origin, pause, self.now());
        }
        let token = LeaseToken { task: claimed.task.spec.id, nonce: claimed.nonce };
        let settled =
            self.settle_own(&claimed.task, Settle { token, outcome: complete.outcome }).await;
        if let Err(error) = &settled {
            tracing::warn!(%error, task = %claimed.task.spec.id, "could not settle an attempt");
        }
        if let Some(tap) = tap {
            conclude(&tap, tell(settled.ok(), complete.streamed));
        }
    }

    async fn call(&self, claimed: &Claimed, tap: Option<&watch::Sender<TapEvent>>) -> Ended {
        let context: Context = match envelope::decode(&claimed.task.spec.context) {
            Ok(context) => context,
            Err(error) => return unsendable(&error.to_string()),
        };
        let trace = request::trace_of(&context, self.chance().bits());
        let request = match request::build(claimed, &self.config(), &trace) {
            Ok(request) => request,
            Err(error) => return unsendable(&error.to_string()),
        };
        let is_head = request.method() == Method::HEAD;
        let complete = match self.inner().caller.client.request(request).await {
            Err(error) => not_answered(claimed, &error),
            Ok(response) => match self.take_answer(claimed, is_head, response, tap).await {
                Ok(complete) => complete,
                Err(lost) => broken_off(claimed, lost),
            },
        };
        Ended::Outcome(Box::new(complete))
    }

    /// The attempt was told to stop: by a cancel or the deadline, or because Relais stops.
    async fn stopped(&self, claimed: &Claimed) {
        let id = claimed.task.spec.id;
        let nonce = claimed.nonce;
        let is_live = match self.task(id).await {
            Ok(Some(task)) => {
                matches!(task.life.state, State::Running { ref lease, .. } if lease.nonce == nonce)
            }
            _ => false,
        };
        let command = if !is_live {
            Command::Free { nonce }
        } else if claimed.task.spec.runner.is_repeatable() {
            Command::Release { nonce }
        } else {
            // The request is out and its answer will not be heard: nobody knows what became of it.
            Command::Crash { nonce, jitter: self.chance().unit() }
        };
        if let Err(error) = self.step(None, id, command).await {
            tracing::debug!(%error, task = %id, "a stopped attempt had changed");
        }
    }
}

/// What a listener is told once the outcome is committed.
fn tell(
    settled: Option<Stepped>,
    streamed: Option<(std::sync::Arc<super::tap::Answer>, u64)>,
) -> TapEvent {
    match (settled, streamed) {
        (Some(stepped), Some((answer, len)))
            if stepped.task.life.status().is_terminal()
                && stepped.reply == relais_core::Reply::Done
                && stepped.task.life.status() != Status::Canceled =>
        {
            TapEvent::Committed(answer, len)
        }
        (None, _) => TapEvent::Settled,
        (Some(stepped), _) => match stepped.task.life.run_at() {
            Some(run_at) => TapEvent::Retrying(run_at),
            None => TapEvent::Settled,
        },
    }
}

/// Says the last word of an attempt; a listener that was being fed is cut off unless it got it all.
pub(crate) fn conclude(tap: &watch::Sender<TapEvent>, last: TapEvent) {
    tap.send_modify(|event| {
        let was_fed = matches!(event, TapEvent::Streaming(..) | TapEvent::Broken);
        *event = match last {
            TapEvent::Committed(..) => last,
            _ if was_fed => TapEvent::Broken,
            other => other,
        };
    });
}

fn unsendable(detail: &str) -> Ended {
    Ended::Outcome(Box::new(failed(Cause::Error, FailureCode::UpstreamError, detail, false)))
}

/// The upstream did not answer at all.
fn not_answered(claimed: &Claimed, error: &hyper_util::client::legacy::Error) -> Complete {
    if error.is_connect() {
        let detail = "the upstream could not be reached; nothing was sent";
        return failed(Cause::Error, FailureCode::UpstreamUnreachable, detail, true);
    }
    let is_garbage = error
        .source()
        .and_then(|source| source.downcast_ref::<hyper::Error>())
        .is_some_and(hyper::Error::is_parse);
    if is_garbage {
        let detail = "the upstream's answer was not HTTP";
        return lost_answer(claimed, Cause::Error, FailureCode::UpstreamMalformed, detail);
    }
    let detail = "the connection broke before the upstream answered";
    lost_answer(claimed, Cause::Error, FailureCode::UpstreamUnreachable, detail)
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
            lost_answer(claimed, Cause::Error, FailureCode::UpstreamMalformed, detail)
        }
        Lost::Broken(error) => {
            tracing::debug!(%error, "an answer broke off");
            let detail = "the upstream's answer broke off";
            lost_answer(claimed, Cause::Error, FailureCode::UpstreamUnreachable, detail)
        }
        Lost::Store(error) => {
            tracing::warn!(%error, "an answer could not be stored");
            let detail = "the upstream's answer could not be stored";
            lost_answer(claimed, Cause::Error, FailureCode::UpstreamError, detail)
        }
    }
}

/// The answer is lost after the request went out: only a repeatable request is tried again.
fn lost_answer(claimed: &Claimed, cause: Cause, code: FailureCode, detail: &str) -> Complete {
    if claimed.task.spec.runner.is_repeatable() {
        failed(cause, code, detail, true)
    } else {
        let detail = format!("{detail}; the upstream may have done the work");
        failed(cause, FailureCode::OutcomeUnknown, &detail, false)
    }
}

fn failed(cause: Cause, code: FailureCode, detail: &str, retryable: bool) -> Complete {
    let failure = Failure::new(code, Some(detail));
    let outcome = Outcome::Fail { failure, cause, retryable, retry_after: None, result: None };
    Complete { outcome, pause: None, streamed: None }
}
