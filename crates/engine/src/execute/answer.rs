//! The upstream's answer on its way into the store, where whoever watches its task reads along.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use relais_core::outcome::{Verdict, judge, pause_scope};
use relais_core::{Cause, Failure, FailureCode, Progress, Runner};
use relais_store::{Body, Claimed, ShownAs, Spool, StoreError};

use crate::engine::{Engine, EngineError};
use crate::envelope::ResultHead;
use crate::headers;
use crate::upstream::pause::Pause;
use crate::work::{Outcome, Report};

/// An answer of which more than this arrived reports its bytes as progress…
const PROGRESS_FROM_BYTES: u64 = 1 << 20;
/// …at most this often.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// Why an answer could not be taken whole.
#[derive(Debug)]
pub(crate) enum Lost {
    /// The connection broke, or what came was not HTTP.
    Broken(hyper::Error),
    /// It is no answer to what was asked.
    Malformed,
    /// It is larger than a result may be.
    TooLarge,
    /// It did not come in time.
    Late,
    /// It has this status, and the store could not keep it.
    Store(u16, EngineError),
}

/// An answer that has come whole, and that the store has yet to keep.
pub(crate) struct Received {
    status: u16,
    /// Its head, encoded.
    head: Bytes,
    verdict: Verdict,
    spool: Box<dyn Spool>,
}

/// A complete answer, judged.
pub(crate) struct Complete {
    pub(crate) outcome: Outcome,
    /// How long the upstream wants to be left alone.
    pub(crate) pause: Option<Pause>,
    /// Held until the outcome is stored: who comes before that finds the answer growing.
    pub(crate) spool: Option<Box<dyn Spool>>,
}

impl Engine {
    /// Takes an answer whole, by `until`: spools it, and shows it if it is known to stand.
    pub(crate) async fn take_answer(
        &self,
        claimed: &Claimed,
        is_head: bool,
        response: Response<Incoming>,
        until: Duration,
    ) -> Result<Received, Lost> {
        let task = claimed.task().spec.id;
        let (parts, mut incoming) = response.into_parts();
        let status = parts.status.as_u16();
        if parts.status.is_informational() {
            // Nobody asked for another protocol: such an answer has no end that could be kept.
            return Err(Lost::Malformed);
        }
        let has_body = !(is_head || status == 204 || status == 304);
        let announced = incoming.size_hint().exact().filter(|_| has_body);
        let max = self.config().result_bytes_max;
        if announced.is_some_and(|len| len > max) {
            return Err(Lost::TooLarge);
        }
        let mut fields = headers::end_to_end(&parts.headers);
        if !has_body && let Some(len) = parts.headers.get(http::header::CONTENT_LENGTH) {
            // What a GET would have had (RFC 9110, 8.6): not framing here.
            fields.push(("content-length".to_owned(), len.as_bytes().to_vec().into()));
        }
        let head = self.encode(&ResultHead { status, fields, has_body });
        let repeatable = claimed.task().spec.runner.is_repeatable();
        let verdict = judge(status, repeatable, headers::retry_after(&parts.headers));
        let spool = self.until_stored(task, || self.spool()).await;
        let mut spool = spool.map_err(|error| Lost::Store(status, error))?;
        // An answer that would be retried stands all the same when no attempt is left.
        let attempts = self.policy_of(claimed.task()).retry.max_attempts;
        let is_last = claimed.task().life.failures + 1 >= attempts;
        let stands = match verdict {
            Verdict::Succeed | Verdict::Fail => true,
            Verdict::Retry { pause } => is_last && pause.is_none(),
        };
        if stands {
            let version = claimed.task().life.result_version();
            let head = head.clone();
            spool.show(ShownAs { task, version, head, announced_len: announced });
        }
        let mut reported = (0, self.elapsed());
        while let Some(frame) = self.by(until, incoming.frame()).await.ok_or(Lost::Late)? {
            let Ok(chunk) = frame.map_err(Lost::Broken)?.into_data() else { continue };
            if spool.len() + chunk.len() as u64 > max {
                return Err(Lost::TooLarge);
            }
            let write = self.until_spooled(task, &mut *spool, |spool| spool.write(chunk.clone()));
            // Bounded like the upstream: what has not come whole holds a call, and room on a disk
            // that may be full of just that.
            let written = self.by(until, write).await.unwrap_or_else(|| Err(out_of_time()));
            written.map_err(|error| Lost::Store(status, error.into()))?;
            self.report_bytes(claimed, spool.len(), announced, &mut reported).await;
        }
        Ok(Received { status, head, verdict, spool })
    }

    /// Makes an answer durable, and says what it means. From here on neither the time of its
    /// attempt nor a stop takes it away.
    pub(crate) async fn keep_answer(
        &self,
        claimed: &Claimed,
        received: Received,
    ) -> Result<Complete, Lost> {
        let Received { status, head, verdict, mut spool } = received;
        let data = self
            .until_spooled(claimed.task().spec.id, &mut *spool, |spool| spool.finish())
            .await
            .map_err(|error| Lost::Store(status, error.into()))?;
        let result = Body { head, data };
        Ok(Complete {
            outcome: outcome_of(verdict, status, result),
            pause: match verdict {
                Verdict::Retry { pause } => pause.map(|span| self.pause_of(claimed, status, span)),
                Verdict::Succeed | Verdict::Fail => None,
            },
            spool: Some(spool),
        })
    }

    fn pause_of(&self, claimed: &Claimed, status: u16, span: Duration) -> Pause {
        let spec = &claimed.task().spec;
        let wished = match &spec.runner {
            Runner::Upstream { origin, .. } => self.inner().origins.pause_scope(origin),
            Runner::Workers | Runner::Inline | Runner::Delivery => None,
        };
        Pause { scope: pause_scope(status, wished, spec.lane.is_some()), span }
    }

    /// Tells followers how much of a large answer has arrived.
    async fn report_bytes(
        &self,
        claimed: &Claimed,
        len: u64,
        total: Option<u64>,
        reported: &mut (u64, Duration),
    ) {
        let now = self.elapsed();
        if len < reported.0 + PROGRESS_FROM_BYTES || now < reported.1 + PROGRESS_EVERY {
            return;
        }
        *reported = (len, now);
        #[expect(clippy::cast_precision_loss, reason = "a percentage needs no precision")]
        let percent = total.map(|total| (len as f64 / total.max(1) as f64 * 100.0).round());
        let progress = Progress { percent, done: Some(len), total, message: None };
        let token = claimed.token();
        let report = Report { token, progress: Some(progress), output: None, checkpoint: None };
        // Progress is a courtesy: if it cannot be stored, the attempt goes on.
        drop(self.report(None, vec![report]).await);
    }
}

fn out_of_time() -> StoreError {
    StoreError::Unavailable("not in the time that the attempt had".to_owned())
}

fn outcome_of(verdict: Verdict, status: u16, result: Body) -> Outcome {
    let detail = format!("the upstream answered {status}");
    let failed = |detail: &str| Failure {
        upstream_status: Some(status),
        ..Failure::new(FailureCode::UpstreamError, Some(detail))
    };
    let failure = || failed(&detail);
    match verdict {
        Verdict::Succeed => Outcome::success(Some(result)),
        Verdict::Fail => Outcome::Fail {
            failure: failure(),
            cause: Cause::Error,
            retryable: false,
            retry_after: None,
            result: Some(result),
        },
        Verdict::Retry { pause: Some(pause) } => {
            let detail = format!("{detail}, and wants to be left alone for {} s", pause.as_secs());
            Outcome::Postpone { failure: failed(&detail), pause, result: Some(result) }
        }
        Verdict::Retry { pause: None } => Outcome::Fail {
            failure: failure(),
            cause: Cause::Error,
            retryable: true,
            retry_after: None,
            result: Some(result),
        },
    }
}
