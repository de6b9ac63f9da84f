//! What the log says of tasks: a line for each that all have left, and for each failure, with its cause, how long the attempt took,
//! and when the next one is. Codes and Relais' own words only: what callers, upstreams and workers
//! sent has no place in a log.

use std::time::Duration;

use relais_core::{CancelReason, Cause, EventData, Failure, FailureCode, Grace};
use relais_store::Changed;

use crate::engine::Engine;

impl Engine {
    /// Logs what went wrong with a task.
    pub(crate) fn tell(&self, changed: &Changed) {
        let spec = &changed.task.spec;
        // What no attempt ended, its deadline did.
        let mut cause = Cause::Timeout.as_str();
        for entry in &changed.entries {
            let took = changed.started_at.map_or(Duration::ZERO, |start| entry.at.since(start));
            let attempt = entry.attempt;
            match &entry.data {
                EventData::AttemptFailed { cause: how, failure, run_at: Some(run_at) } => {
                    tracing::warn!(
                        task = %spec.id, queue = %spec.queue, attempt, cause = how.as_str(),
                        code = failure.code.as_str(), detail = own_words(failure), ?took,
                        next_in = ?run_at.since(entry.at), "an attempt failed"
                    );
                }
                EventData::AttemptFailed { cause: how, run_at: None, .. } => cause = how.as_str(),
                EventData::Failed(failure) => {
                    tracing::warn!(
                        task = %spec.id, queue = %spec.queue, attempt, cause,
                        code = failure.code.as_str(), detail = own_words(failure), ?took,
                        "{}", how_it_ended(failure)
                    );
                }
                EventData::Canceled { reason: CancelReason::Abandoned } => {
                    tracing::info!(
                        task = %spec.id, queue = %spec.queue, attempt, ?took,
                        grace = ?spec.grace.map_or(Duration::ZERO, Grace::span),
                        "a task was canceled: all who waited for it had left, and nobody came back"
                    );
                }
                // Nothing went wrong.
                _ => {}
            }
        }
    }
}

const fn how_it_ended(failure: &Failure) -> &'static str {
    match failure.code {
        FailureCode::OutcomeUnknown => "a task failed: nobody knows whether its work was done",
        _ => "a task failed",
    }
}

/// The detail of a failure, unless it is the words of a worker.
fn own_words(failure: &Failure) -> Option<&str> {
    failure.detail.as_deref().filter(|_| failure.code != FailureCode::HandlerFailed)
}
