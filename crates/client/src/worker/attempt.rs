//! One attempt: runs the handler, then says in the words of the contract how it ended.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use relais_api::Settle;
use relais_api::lease::Outcome as Word;

use crate::client::Client;
use crate::error::Error;
use crate::limits;
use crate::work::ResultSource;
use crate::worker::handler::{Handler, LeasedTask, Outcome, Output};
use crate::worker::reporter::{Reporter, Slot, Stop};

/// How an attempt ended.
#[derive(Debug)]
pub(crate) enum Finished {
    /// With an outcome.
    Ended(Box<Ending>),
    /// The server took this lease away: there is nothing to settle.
    Lost(String),
}

/// An outcome that is to be recorded.
#[derive(Debug)]
pub(crate) struct Ending {
    /// Of which task, for the log.
    pub(crate) task: String,
    pub(crate) settle: Settle,
    /// Why the attempt was told to stop, if it was.
    pub(crate) stop: Option<Stop>,
}

/// Runs one attempt to its end. A handler that was told to stop has `grace` to do so.
pub(crate) async fn run<H: Handler>(
    handler: Arc<H>,
    client: Client,
    task: LeasedTask,
    slot: Arc<Slot>,
    grace: Duration,
) -> Finished {
    let token = task.token().to_owned();
    let id = task.id().to_owned();
    let reporter = Reporter::new(slot);
    let told = reporter.clone();
    // A task of its own, so that a panic is an outcome.
    let mut running = tokio::spawn(handler.run(task, reporter.clone()));
    let out_of_time = async {
        let why = told.stopped().await;
        match why {
            Stop::Canceled => tracing::warn!(task.id = %id, "the task was canceled"),
            Stop::Lost => tracing::warn!(
                task.id = %id,
                "the lease was lost: another worker may be doing the task, and what comes of this \
                 attempt is not recorded"
            ),
            Stop::Draining => {}
        }
        tokio::time::sleep(grace).await;
        why
    };
    let outcome = tokio::select! {
        // First, so that whoever stops because it was told is told in the log.
        biased;
        why = out_of_time => {
            running.abort();
            tracing::warn!(task.id = %id, ?why, "the handler did not stop in time");
            Outcome::Release
        }
        ended = &mut running => ended.unwrap_or_else(|error| {
            tracing::error!(task.id = %id, "the handler panicked");
            Outcome::fail(format!("the handler panicked: {}", panic_text(error)), true)
        }),
    };
    reporter.flush().await;
    let stop = reporter.stop();
    if stop == Some(Stop::Lost) {
        return Finished::Lost(token);
    }
    let settle = match settle_of(&client, &token, outcome).await {
        Ok(settle) => settle,
        Err(error) => {
            let detail = format!("could not store the result: {error}");
            failed(&token, Outcome::fail(detail, error.is_transient()))
        }
    };
    Finished::Ended(Box::new(Ending { task: id, settle, stop }))
}

async fn settle_of(client: &Client, token: &str, outcome: Outcome) -> Result<Settle, Error> {
    let output = match outcome {
        Outcome::Succeed(output) => output,
        Outcome::Release => return Ok(Settle::new(token, Word::Release)),
        fail => return Ok(failed(token, fail)),
    };
    let mut settle = Settle::new(token, Word::Succeed);
    match output {
        Output::Empty => {}
        Output::Json(result) if result.as_bytes().len() <= limits::INLINE_RESULT_BYTES_MAX => {
            settle.result = Some(result);
        }
        Output::Json(result) => {
            let source = ResultSource::Bytes(result.into_string().into());
            let stored = client.store_result(token, JSON, &source).await?;
            settle.result_id = Some(stored.result_id);
            settle.content_type = Some(JSON.to_owned());
        }
        Output::Bytes { bytes, content_type } => {
            if bytes.len() <= limits::INLINE_RESULT_BYTES_MAX {
                settle.result_base64 = Some(STANDARD.encode(&bytes));
            } else {
                let source = ResultSource::Bytes(bytes);
                let stored = client.store_result(token, &content_type, &source).await?;
                settle.result_id = Some(stored.result_id);
            }
            settle.content_type = Some(content_type);
        }
        Output::File { file, content_type } => {
            let source = ResultSource::File(file);
            let stored = client.store_result(token, &content_type, &source).await?;
            settle.result_id = Some(stored.result_id);
            settle.content_type = Some(content_type);
        }
    }
    Ok(settle)
}

fn failed(token: &str, outcome: Outcome) -> Settle {
    let mut settle = Settle::new(token, Word::Fail);
    if let Outcome::Fail { problem, retryable, retry_after, message } = outcome {
        settle.problem = Some(*problem);
        settle.retryable = Some(retryable);
        settle.retry_after = retry_after;
        settle.message = message;
    }
    settle
}

/// What a refused settle becomes: the task must not wait for its lease to end.
pub(crate) fn refused(token: &str, detail: &str) -> Settle {
    failed(token, Outcome::fail(format!("the outcome was refused: {detail}"), false))
}

fn panic_text(error: tokio::task::JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "it was aborted".to_owned() };
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "no text".to_owned()).chars().take(PANIC_CHARS_MAX).collect()
}

const JSON: &str = "application/json";
const PANIC_CHARS_MAX: usize = 500;
