//! How a running attempt reports, and learns that it should stop.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use relais_api::{Heartbeat, Progress, RawJson};
use tokio::sync::{Notify, watch};

use crate::limits;

/// Why an attempt should stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The task was canceled.
    Canceled,
    /// The lease is over: somebody else may be doing the work already.
    Lost,
    /// This worker is about to stop; [`crate::Outcome::Release`] gives the task back.
    Draining,
}

/// Reports for one attempt. Cheap to clone; never blocks but for [`Reporter::output`].
#[derive(Clone, Debug)]
pub struct Reporter {
    slot: Arc<Slot>,
}

impl Reporter {
    pub(crate) const fn new(slot: Arc<Slot>) -> Self {
        Self { slot }
    }

    /// Says how far the attempt has come. Of many in a short time only the last is sent.
    pub fn progress(&self, progress: Progress) {
        self.slot.pending().progress = Some(progress);
        self.slot.wake.notify_one();
    }

    /// Stores where a later attempt resumes. Of many in a short time only the last is sent.
    pub fn checkpoint(&self, checkpoint: RawJson) {
        self.slot.pending().checkpoint = Some(checkpoint);
        self.slot.wake.notify_one();
    }

    /// Gives the followers a piece of output. Waits while too many are on their way.
    pub async fn output(&self, output: RawJson) {
        loop {
            let changed = self.slot.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut pending = self.slot.pending();
                if pending.outputs.len() < limits::OUTPUTS_WAITING_MAX || pending.is_closed {
                    pending.outputs.push_back(output);
                    break;
                }
            }
            changed.await;
        }
        self.slot.wake.notify_one();
    }

    /// Waits until everything reported so far is with the server, or the lease is over.
    pub async fn flush(&self) {
        self.slot.flush().await;
    }

    /// Resolves when the attempt should stop.
    pub async fn stopped(&self) -> Stop {
        let mut stop = self.slot.stop.subscribe();
        let stopped = stop.wait_for(Option::is_some).await.map(|stop| *stop);
        // The sender lives as long as this reporter.
        stopped.ok().flatten().unwrap_or(Stop::Lost)
    }

    /// Whether the attempt should stop: for handlers that do not wait.
    #[must_use]
    pub fn stop(&self) -> Option<Stop> {
        *self.slot.stop.borrow()
    }
}

/// One lease, shared by its handler and the thread that keeps it alive.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) token: String,
    pub(crate) every: Duration,
    stop: watch::Sender<Option<Stop>>,
    pending: Mutex<Pending>,
    /// Reports were sent, or will never be.
    changed: Notify,
    /// Wakes the thread that sends them.
    wake: Arc<Notify>,
}

/// What is to be reported.
#[derive(Debug, Default)]
struct Pending {
    progress: Option<Progress>,
    checkpoint: Option<RawJson>,
    outputs: VecDeque<RawJson>,
    /// Some of it is on its way.
    is_sending: bool,
    /// Somebody waits for it: do not gather more.
    is_urgent: bool,
    /// Nothing is sent any more.
    is_closed: bool,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.progress.is_none() && self.checkpoint.is_none() && self.outputs.is_empty()
    }
}

impl Slot {
    pub(crate) fn new(token: String, every: Duration, wake: Arc<Notify>) -> Self {
        Self {
            token,
            // A lease so short that its third rounds to nothing still must not spin.
            every: every.max(Duration::from_millis(10)),
            stop: watch::Sender::new(None),
            pending: Mutex::default(),
            changed: Notify::new(),
            wake,
        }
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().expect("nothing panics while it is held")
    }

    /// The first reason stands: a canceled task is not merely drained.
    pub(crate) fn stop(&self, why: Stop) {
        self.stop.send_if_modified(|stop| {
            let replaces =
                stop.is_none() || (*stop == Some(Stop::Draining) && why != Stop::Draining);
            if replaces {
                *stop = Some(why);
            }
            replaces
        });
    }

    /// Nothing is sent any more: those who wait go on.
    pub(crate) fn close(&self) {
        self.pending().is_closed = true;
        self.changed.notify_waiters();
    }

    /// Whether there is something to report, and whether it goes at once: output is not merged like
    /// progress, so waiting would only make it late.
    pub(crate) fn to_report(&self) -> (bool, bool) {
        let pending = self.pending();
        (!pending.is_empty(), pending.is_urgent || !pending.outputs.is_empty())
    }

    /// The next heartbeat, with what is to be reported; one piece of output at a time.
    pub(crate) fn take_beat(&self) -> Heartbeat {
        let mut pending = self.pending();
        pending.is_sending = true;
        Heartbeat {
            token: self.token.clone(),
            progress: pending.progress.take(),
            output: pending.outputs.pop_front(),
            checkpoint: pending.checkpoint.take(),
        }
    }

    /// The heartbeat arrived.
    pub(crate) fn sent(&self) {
        self.pending().is_sending = false;
        self.changed.notify_waiters();
    }

    /// The heartbeat did not arrive: what is newer stays, the rest is sent again.
    pub(crate) fn not_sent(&self, beat: Heartbeat) {
        let mut pending = self.pending();
        pending.is_sending = false;
        pending.progress = pending.progress.take().or(beat.progress);
        pending.checkpoint = pending.checkpoint.take().or(beat.checkpoint);
        if let Some(output) = beat.output {
            pending.outputs.push_front(output);
        }
    }

    pub(crate) async fn flush(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut pending = self.pending();
                let is_sent = pending.is_empty() && !pending.is_sending;
                if is_sent || pending.is_closed {
                    pending.is_urgent = false;
                    return;
                }
                pending.is_urgent = true;
            }
            self.wake.notify_one();
            changed.await;
        }
    }
}
