//! What is known of a failure, of an attempt or a task.

use bytes::Bytes;
use minicbor::{Decode, Encode};

use crate::time::Timestamp;

/// Why a task, or an attempt, failed. Codes are stable: they travel, and have a page each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum FailureCode {
    /// The total deadline passed.
    #[n(0)]
    DeadlineExceeded,
    /// The holder vanished, three times in a row.
    #[n(1)]
    WorkerLost,
    /// The request may or may not have been carried out, and must not be sent again blindly.
    #[n(2)]
    OutcomeUnknown,
    /// The upstream answered with an error.
    #[n(3)]
    UpstreamError,
    /// The upstream did not answer in time.
    #[n(4)]
    UpstreamTimeout,
    /// The upstream could not be reached, or broke the connection.
    #[n(5)]
    UpstreamUnreachable,
    /// The upstream's answer was over the limit.
    #[n(6)]
    UpstreamResponseTooLarge,
    /// The upstream's answer was not HTTP.
    #[n(7)]
    UpstreamMalformed,
    /// The worker, or the handler in the process, said so.
    #[n(8)]
    HandlerFailed,
    /// A stored body that an attempt needs is damaged or missing.
    #[n(9)]
    BodyDamaged,
    /// The stored credentials were sealed with a key that is not there.
    #[n(10)]
    SealKeyMissing,
    /// The store could not be read when an attempt needed its bodies, or could not keep its answer.
    #[n(11)]
    StoreUnavailable,
}

impl FailureCode {
    /// Every code there is.
    pub const ALL: [Self; 12] = [
        Self::DeadlineExceeded,
        Self::WorkerLost,
        Self::OutcomeUnknown,
        Self::UpstreamError,
        Self::UpstreamTimeout,
        Self::UpstreamUnreachable,
        Self::UpstreamResponseTooLarge,
        Self::UpstreamMalformed,
        Self::HandlerFailed,
        Self::BodyDamaged,
        Self::SealKeyMissing,
        Self::StoreUnavailable,
    ];

    /// The stable text of the code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DeadlineExceeded => "deadline-exceeded",
            Self::WorkerLost => "worker-lost",
            Self::OutcomeUnknown => "outcome-unknown",
            Self::UpstreamError => "upstream-error",
            Self::UpstreamTimeout => "upstream-timeout",
            Self::UpstreamUnreachable => "upstream-unreachable",
            Self::UpstreamResponseTooLarge => "upstream-response-too-large",
            Self::UpstreamMalformed => "upstream-malformed",
            Self::HandlerFailed => "handler-failed",
            Self::BodyDamaged => "body-damaged",
            Self::SealKeyMissing => "seal-key-missing",
            Self::StoreUnavailable => "store-unavailable",
        }
    }
}

/// What is known of a failure.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Failure {
    /// The stable code.
    #[n(0)]
    pub code: FailureCode,
    /// For operators; never internal text, never payloads.
    #[n(1)]
    pub detail: Option<String>,
    /// The problem document a worker settled with, as JSON.
    #[n(2)]
    #[cbor(with = "crate::cbor::opaque_if_any", has_nil)]
    pub problem: Option<Bytes>,
    /// For end users: a JSON object from language to text, as the worker gave it.
    #[n(3)]
    #[cbor(with = "crate::cbor::opaque_if_any", has_nil)]
    pub message: Option<Bytes>,
    /// Whether the attempt left an answer, stored as the result if it is the last.
    #[n(4)]
    pub has_result: bool,
    /// The status that the upstream answered with, if it did.
    #[n(5)]
    pub upstream_status: Option<u16>,
}

impl Failure {
    /// A failure of which only the code and a detail are known.
    #[must_use]
    pub fn new(code: FailureCode, detail: Option<&str>) -> Self {
        Self {
            code,
            detail: detail.map(str::to_owned),
            problem: None,
            message: None,
            has_result: false,
            upstream_status: None,
        }
    }

    /// The bytes that whoever told of it may make large.
    #[must_use]
    pub fn large_bytes(&self) -> usize {
        let [problem, message] =
            [&self.problem, &self.message].map(|json| json.as_ref().map_or(0, Bytes::len));
        problem + message + self.detail.as_ref().map_or(0, String::len)
    }
}

/// How the latest attempt failed that was not the end of its run.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct LastFailure {
    /// What went wrong.
    #[n(0)]
    pub failure: Failure,
    /// When the attempt ended.
    #[n(1)]
    pub at: Timestamp,
    /// Which attempt it was.
    #[n(2)]
    pub attempt: u32,
}
