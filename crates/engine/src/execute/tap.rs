//! The hand-over: whoever waits for a task's answer taps its executor.
//!
//! The listener gets the head as soon as it is known not to be retried, then reads the stored copy
//! as it grows, and holds back the end until the outcome is committed. It never slows the executor.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use relais_core::{TaskId, Timestamp};
use relais_store::BodyRead;
use tokio::sync::watch;

use crate::envelope::ResultHead;

/// What the executor has got to.
#[derive(Clone, Default)]
pub enum TapEvent {
    /// No answer yet, or none that stands.
    #[default]
    Waiting,
    /// The answer's head stands, and so much of its body is stored.
    Streaming(Arc<Answer>, u64),
    /// The answer is whole and the outcome is committed.
    Committed(Arc<Answer>, u64),
    /// The attempt failed; the next may start at this moment. Whoever has no patience left
    /// until then need not wait.
    Retrying(Timestamp),
    /// The run ended without an answer that can be streamed: look at the task.
    Settled,
    /// The answer broke off in mid-stream.
    Broken,
}

/// An answer on its way.
pub struct Answer {
    pub head: ResultHead,
    /// The length it announced.
    pub announced_len: Option<u64>,
    /// Reads the stored copy.
    pub body: Arc<dyn BodyRead>,
}

impl fmt::Debug for TapEvent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting => out.write_str("Waiting"),
            Self::Streaming(_, len) => write!(out, "Streaming({len})"),
            Self::Committed(_, len) => write!(out, "Committed({len})"),
            Self::Retrying(at) => write!(out, "Retrying({})", at.as_ms()),
            Self::Settled => out.write_str("Settled"),
            Self::Broken => out.write_str("Broken"),
        }
    }
}

/// The listener's end.
#[derive(Debug)]
pub struct Tap {
    events: watch::Receiver<TapEvent>,
    task: TaskId,
    taps: Taps,
}

impl Tap {
    /// What the executor has got to by now.
    #[must_use]
    pub fn current(&self) -> TapEvent {
        self.events.borrow().clone()
    }

    /// Resolves when there is something newer than what [`current`](Self::current) said last.
    /// `false` when nothing more will come.
    pub async fn changed(&mut self) -> bool {
        self.events.changed().await.is_ok()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.taps.lock().remove(&self.task);
    }
}

/// Who listens, by task. One listener each: the request that brought the task.
#[derive(Debug, Clone, Default)]
pub(crate) struct Taps {
    listeners: Arc<Mutex<HashMap<TaskId, watch::Sender<TapEvent>>>>,
}

impl Taps {
    /// Listens to a task from before it exists.
    pub(crate) fn listen(&self, task: TaskId) -> Tap {
        let sender = watch::Sender::new(TapEvent::Waiting);
        let events = sender.subscribe();
        self.lock().insert(task, sender);
        Tap { events, task, taps: self.clone() }
    }

    /// The listener of a task, if it has one.
    pub(crate) fn of(&self, task: TaskId) -> Option<watch::Sender<TapEvent>> {
        self.lock().get(&task).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TaskId, watch::Sender<TapEvent>>> {
        self.listeners.lock().expect("nothing panics while it is held")
    }
}

impl crate::Engine {
    /// Listens to the executor of a task that is about to be submitted in this process.
    #[must_use]
    pub fn tap(&self, task: TaskId) -> Tap {
        self.inner().taps.listen(task)
    }
}
