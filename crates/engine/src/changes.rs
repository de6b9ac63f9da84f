//! What other nodes did: followed in the store, and acted upon here.
//!
//! What this node commits it acts on at once, from the answer, which says the same. Doing it once
//! more, because the change comes along here, is harmless.

use std::collections::{HashSet, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use relais_core::{EventKind, Status, Task, TaskId, limits};
use relais_store::{Change, Changed, Changes, Filter, Pool, QueueChange, Queues, StoreError, What};
use tokio::sync::watch;

use crate::engine::{Engine, EngineError};
use crate::log::trouble::Trouble;

/// Entries read at once.
const PAGE: usize = 500;
/// How long to wait after a store that could not be read.
const AGAIN: Duration = Duration::from_secs(1);

/// What this node knows of what was committed.
#[derive(Debug)]
pub(crate) struct Learned {
    /// The position up to which all was learned.
    upto: AtomicU64,
    /// The last position at this node's last sign of life.
    at_last_beat: AtomicU64,
    /// When that was, of the time that is counted, milliseconds.
    beaten_ms: AtomicU64,
    /// Tasks whose erasure was made known lately: nobody is told of it twice.
    erased: Mutex<(HashSet<TaskId>, VecDeque<TaskId>)>,
    /// How often a named value was put or removed.
    secrets: watch::Sender<u64>,
    trouble: Trouble<()>,
}

impl Default for Learned {
    fn default() -> Self {
        Self {
            upto: AtomicU64::new(0),
            at_last_beat: AtomicU64::new(0),
            beaten_ms: AtomicU64::new(0),
            erased: Mutex::default(),
            secrets: watch::Sender::new(0),
            trouble: Trouble::default(),
        }
    }
}

impl Learned {
    /// The node gives a sign of life, and nobody else does. What was done until the one before, it did,
    /// or it learned of it; what was done since may be of a node that was silent, and comes back.
    pub(crate) fn be_alone(&self) {
        self.skip_to(self.at_last_beat.load(Ordering::Acquire));
    }

    /// A sign of life was given, when the store's last position was this; answers how long this node was
    /// silent before.
    pub(crate) fn beat_at(&self, head: u64, now: Duration) -> Duration {
        self.at_last_beat.store(head, Ordering::Release);
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let before_ms = self.beaten_ms.swap(now_ms, Ordering::AcqRel);
        Duration::from_millis(now_ms.saturating_sub(before_ms))
    }

    /// All up to here is known.
    pub(crate) fn skip_to(&self, pos: u64) {
        self.upto.fetch_max(pos, Ordering::AcqRel);
    }

    /// Whether an erasure is news.
    pub(crate) fn is_first_erasure(&self, id: TaskId) -> bool {
        let mut erased = self.erased.lock().expect("nothing panics while it is held");
        let (known, order) = &mut *erased;
        if !known.insert(id) {
            return false;
        }
        order.push_back(id);
        if order.len() > limits::ERASED_WAITING_MAX
            && let Some(oldest) = order.pop_front()
        {
            known.remove(&oldest);
        }
        true
    }

    /// A named value was put or removed.
    pub(crate) fn note_secret(&self) {
        self.secrets.send_modify(|count| *count += 1);
    }
}

impl Engine {
    /// Changes whenever a named value was put or removed, by whichever node.
    #[must_use]
    pub fn follow_secrets(&self) -> watch::Receiver<u64> {
        self.inner().learned.secrets.subscribe()
    }

    /// Learns what other nodes commit, until the engine stops.
    pub(crate) async fn follow_changes(&self) {
        let learned = &self.inner().learned;
        let stop = &self.inner().stop;
        loop {
            let upto = learned.upto.load(Ordering::Acquire);
            let caught_up = async {
                self.store().changed(upto).await?;
                self.catch_up(learned.upto.load(Ordering::Acquire)).await
            };
            let caught_up: Result<(), EngineError> = tokio::select! {
                caught_up = caught_up => caught_up,
                () = stop.cancelled() => return,
            };
            match caught_up {
                Ok(()) if learned.trouble.is_over(&()) => {
                    tracing::info!("what other nodes do is learned again");
                }
                Ok(()) => {}
                Err(error) => {
                    if learned.trouble.begins(&()) {
                        tracing::warn!(%error, "could not learn what other nodes do");
                    }
                    let again = self.clock().sleep_to(self.elapsed() + AGAIN);
                    tokio::select! {
                        () = again => {}
                        () = stop.cancelled() => return,
                    }
                }
            }
        }
    }

    /// Acts on a page of what was committed after a position.
    async fn catch_up(&self, after: u64) -> Result<(), EngineError> {
        let upto = match self.store().changes(after, PAGE).await? {
            Changes::Since { changes, upto } => {
                for change in changes {
                    self.learn(change).await?;
                }
                upto
            }
            Changes::Gap { head } => {
                self.read_anew().await?;
                head
            }
        };
        self.inner().learned.skip_to(upto);
        Ok(())
    }

    async fn learn(&self, Change { pos, what }: Change) -> Result<(), EngineError> {
        match what {
            What::Entry(task, entry) => {
                let ends = ends_attempt(entry.data.kind());
                let (entries, effects) = (vec![entry], Vec::new());
                // Whoever committed it makes its deliveries.
                let told = Vec::new();
                let changed =
                    Changed { task: *task, started_at: None, entries, pos, effects, told };
                self.publish(&changed);
                self.propose_alarm(changed.task.due_at());
                self.go_on_attending(&changed.task);
                self.stop_if_told(&changed.task);
                self.wake_for(&changed.task, ends);
            }
            What::Freed(task) => self.wake_for(&task, true),
            What::Left(task) => {
                self.propose_alarm(task.due_at());
                self.go_on_attending(&task);
            }
            What::Erased(task) => self.make_erasure_known(&task),
            What::Queue(tenant, queue, change) => {
                self.inner().known.admit(&tenant, &queue);
                if let QueueChange::Policy(policy) = change {
                    let policy = policy.map(|policy| *policy);
                    self.policies().put(tenant.clone(), queue.clone(), policy);
                }
                self.wake_pools(Some((tenant, queue))).await?;
            }
            What::Secret(_) => self.inner().learned.note_secret(),
            What::Endpoint(id) => self.be_quick(id),
        }
        Ok(())
    }

    /// Whoever may start this task, or another in its place, looks.
    fn wake_for(&self, task: &Task, is_slot_free: bool) {
        let pool = Pool::of(task);
        if let Some(run_at) = task.life.run_at() {
            self.wake(&pool, run_at);
        }
        if is_slot_free {
            self.wake(&pool, self.now());
        }
    }

    /// A task that is over and whose holder has not stopped: if that is an attempt of this process,
    /// it is told.
    fn stop_if_told(&self, task: &Task) {
        if task.life.status().is_terminal()
            && let Some(lease) = task.life.lease()
        {
            self.inner().running.abort(lease.nonce);
        }
    }

    /// Makes it known, once, that a task was erased.
    pub(crate) fn make_erasure_known(&self, task: &Task) {
        if self.inner().learned.is_first_erasure(task.spec.id) {
            self.publish_erased(task);
        }
    }

    /// Reads which queues there are, and the policies put for them.
    pub(crate) async fn read_settings(&self) -> Result<(), StoreError> {
        for stats in self.store().queues(Queues::All).await? {
            self.inner().known.admit(&stats.tenant, &stats.queue);
            self.policies().put(stats.tenant, stats.queue, stats.policy);
        }
        Ok(())
    }

    /// Some changes are not kept any more: what they were about is read as it is now.
    async fn read_anew(&self) -> Result<(), EngineError> {
        tracing::warn!("other nodes did more than is kept: reading all anew");
        self.read_settings().await?;
        self.inner().learned.note_secret();
        self.attend_anew();
        let own = Filter { held_by: Some(self.inner().node), limit: PAGE, ..Filter::default() };
        let mut after = None;
        loop {
            let page = self.store().list(Filter { after, ..own.clone() }).await?;
            page.tasks.iter().for_each(|task| self.stop_if_told(task));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        self.refresh_all().await?;
        // What is due of what was missed is looked for, too.
        self.propose_alarm(self.now());
        self.wake_pools(None).await
    }
}

/// Whether an entry says that an attempt does not run any more.
fn ends_attempt(kind: EventKind) -> bool {
    kind != EventKind::Accepted && kind.status() != Status::Running
}
