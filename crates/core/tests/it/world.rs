//! Tasks and commands with defaults. Time is in milliseconds.

use std::time::Duration;

use bytes::Bytes;
use relais_core::{
    Cause, Command, Credentials, Failure, FailureCode, Holder, Lease, Policy, Priority, Purpose,
    RetryPolicy, Runner, Spec, Task, TaskId, Timestamp, accept,
};

pub(crate) fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms)
}

pub(crate) fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub(crate) fn pushed(repeatable: bool) -> Runner {
    Runner::Upstream { origin: "http://127.0.0.1:9000".into(), repeatable }
}

/// Accepted at 0, to run at once, to be done within 100 s, kept for 1,000 s.
pub(crate) fn spec(runner: Runner) -> Spec {
    Spec {
        id: TaskId::from_u128(1),
        tenant: "default".parse().expect("a good name"),
        queue: "mail".parse().expect("a good name"),
        lane: None,
        priority: Priority::default(),
        labels: Vec::new(),
        runner,
        created_at: at(0),
        run_at: at(0),
        deadline_after: ms(100_000),
        retention: ms(1_000_000),
        content_type: None,
        input_bytes: 0,
        context: Bytes::new(),
        source: None,
        request: None,
        purpose: Purpose::Client,
        grace: None,
        webhook: None,
    }
}

pub(crate) fn task(runner: Runner, credentials: Credentials) -> Task {
    accept(spec(runner), credentials, false).0
}

/// Attempts are tried again 10 s later, 5 times in all.
pub(crate) fn policy() -> Policy {
    let retry = RetryPolicy { max_attempts: 5, initial: ms(10_000), max: ms(10_000), factor: 1.0 };
    Policy { retry, ..Policy::default() }
}

/// How long a lease lasts.
pub(crate) const SPAN: Duration = Duration::from_secs(30);

/// Time has passed, and a server was always there.
pub(crate) const TICK: Command =
    Command::Tick { here_since: Timestamp::MIN, open_since: Timestamp::MIN, jitter: 1.0 };

pub(crate) fn lease(nonce: u128, until: i64) -> Lease {
    let holder = Holder::Worker { name: String::new() };
    Lease { nonce, until: at(until), span: SPAN, holder }
}

pub(crate) fn fail(nonce: u128, retryable: bool) -> Command {
    let failure = Failure::new(FailureCode::HandlerFailed, None);
    let (cause, retry_after) = (Cause::Error, None);
    Command::Fail { nonce, cause, failure, retryable, retry_after, jitter: 1.0 }
}
