//! Keeping leases alive, on a thread of its own: a handler that spins must not lose its lease (P5).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use relais_api::Heartbeat;
use relais_api::lease::HeartbeatItem;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::client::Client;
use crate::error::{Error, is_transient};
use crate::limits;
use crate::worker::reporter::{Slot, Stop};

/// The leases to keep alive. Ends its thread when it is dropped.
#[derive(Debug)]
pub(crate) struct Beats {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    leases: Mutex<Leases>,
    wake: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Leases {
    live: HashMap<String, Live>,
    is_over: bool,
}

#[derive(Debug)]
struct Live {
    slot: Arc<Slot>,
    due: Instant,
}

impl Beats {
    /// Starts the thread.
    pub(crate) fn start(client: &Client) -> Result<Self, Error> {
        let shared = Arc::new(Shared::default());
        // Connections belong to the runtime that opened them, so this one has its own.
        let client = client.on_its_own().with_attempts(1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let of_thread = shared.clone();
        std::thread::Builder::new()
            .name("relais-heartbeat".to_owned())
            .spawn(move || runtime.block_on(beat(&client, &of_thread)))?;
        Ok(Self { shared })
    }

    /// Keeps one more lease alive.
    pub(crate) fn add(&self, token: &str, every: Duration) -> Arc<Slot> {
        let slot = Arc::new(Slot::new(token.to_owned(), every, self.shared.wake.clone()));
        let live = Live { slot: slot.clone(), due: Instant::now() + slot.every };
        self.shared.leases().live.insert(token.to_owned(), live);
        self.shared.wake.notify_one();
        slot
    }

    /// Lets a lease go: it is settled.
    pub(crate) fn remove(&self, token: &str) {
        let live = self.shared.leases().live.remove(token);
        if let Some(live) = live {
            live.slot.close();
        }
    }

    /// Tells every handler to stop.
    pub(crate) fn stop_all(&self, why: Stop) {
        for live in self.shared.leases().live.values() {
            live.slot.stop(why);
        }
    }
}

impl Drop for Beats {
    fn drop(&mut self) {
        let mut leases = self.shared.leases();
        leases.is_over = true;
        for (_, live) in leases.live.drain() {
            live.slot.close();
        }
        self.shared.wake.notify_one();
    }
}

impl Shared {
    fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().expect("nothing panics while it is held")
    }
}

/// What the thread does next.
enum Next {
    Send(Vec<(Arc<Slot>, Heartbeat)>),
    Wait(Option<Instant>),
    End,
}

async fn beat(client: &Client, shared: &Shared) {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(3));
    let mut reports_from = Instant::now();
    loop {
        match shared.next(Instant::now(), reports_from) {
            Next::End => return,
            Next::Wait(until) => {
                let woken = shared.wake.notified();
                match until {
                    Some(until) => _ = tokio::time::timeout_at(until, woken).await,
                    None => woken.await,
                }
            }
            Next::Send(batch) => {
                let started = Instant::now();
                reports_from = started + limits::REPORT_EVERY_MIN;
                let (slots, beats): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
                match client.heartbeat(beats.clone()).await {
                    Ok(answer) => {
                        backoff.succeeded();
                        for ((slot, beat), item) in slots.iter().zip(beats).zip(answer.items) {
                            shared.answered(slot, beat, item, started);
                        }
                    }
                    Err(error) => {
                        let delay = backoff.failed(error.retry_after());
                        tracing::warn!(%error, ?delay, "could not send heartbeats");
                        for (slot, beat) in slots.iter().zip(beats) {
                            slot.not_sent(beat);
                        }
                        reports_from = Instant::now() + delay;
                        shared.again_at(&slots, reports_from);
                    }
                }
            }
        }
    }
}

impl Shared {
    /// Gathers what is due at `now`. Reports that nobody waits for go from `reports_from` on.
    fn next(&self, now: Instant, reports_from: Instant) -> Next {
        let mut leases = self.leases();
        if leases.is_over {
            return Next::End;
        }
        let mut batch = Vec::new();
        let mut wait: Option<Instant> = None;
        for live in leases.live.values_mut() {
            let (has_report, is_urgent) = live.slot.to_report();
            let due = match (has_report, is_urgent) {
                (true, true) => now.min(live.due),
                (true, false) => reports_from.min(live.due),
                (false, _) => live.due,
            };
            if due <= now && batch.len() < limits::BATCH_MAX {
                live.due = now + live.slot.every;
                batch.push((live.slot.clone(), live.slot.take_beat()));
            } else {
                wait = Some(wait.map_or(due, |wait| wait.min(due)));
            }
        }
        if batch.is_empty() { Next::Wait(wait) } else { Next::Send(batch) }
    }

    fn again_at(&self, slots: &[Arc<Slot>], moment: Instant) {
        let mut leases = self.leases();
        for slot in slots {
            if let Some(live) = leases.live.get_mut(&slot.token) {
                live.due = moment;
            }
        }
    }

    fn answered(&self, slot: &Arc<Slot>, beat: Heartbeat, item: HeartbeatItem, at: Instant) {
        let code = item.problem.as_ref().map_or("", |problem| problem.code.as_str());
        let why = match item.status {
            _ if item.canceled || code == "task-canceled" => Some(Stop::Canceled),
            200 => None,
            404 | 409 | 410 => Some(Stop::Lost),
            status if is_transient(status) || status >= 500 => {
                slot.not_sent(beat);
                self.again_at(std::slice::from_ref(slot), at + limits::REPORT_EVERY_MIN);
                return;
            }
            status => {
                // The report spoiled the heartbeat: go on without it, at once.
                let detail = item.problem.and_then(|problem| problem.detail).unwrap_or_default();
                tracing::warn!(status, detail, "a report was refused and is dropped");
                self.again_at(std::slice::from_ref(slot), at);
                None
            }
        };
        slot.sent();
        if let Some(why) = why {
            self.leases().live.remove(&slot.token);
            slot.stop(why);
            slot.close();
        }
    }
}
