//! A task comes into being.

use std::sync::Arc;

use crate::event::{Entry, EventData};
use crate::spec::Spec;
use crate::task::{Credentials, Life, State, Task};

/// The task that an accepted request becomes, and the first entry of its log.
#[must_use]
pub fn accept(spec: Spec, credentials: Credentials, has_checkpoint: bool) -> (Task, Entry) {
    let data = EventData::Accepted { queue: spec.queue.clone(), run_at: spec.run_at };
    let entry = Entry { task: spec.id, seq: 1, at: spec.created_at, attempt: 0, data };
    let life = Life {
        version: 1,
        run: 1,
        attempt: 0,
        failures: 0,
        crashes: 0,
        updated_at: spec.created_at,
        deadline: spec.run_at.plus(spec.deadline_after),
        progress: None,
        has_checkpoint,
        credentials,
        settled_by: None,
        last_failure: None,
        state: State::Queued { run_at: spec.run_at },
        attendance: None,
    };
    (Task { spec: Arc::new(spec), life }, entry)
}
