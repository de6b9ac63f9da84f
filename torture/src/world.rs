//! What all actors of a torture share: the ledger, the watch, the way to the server, and its moods.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use crate::chance::Chance;
use crate::clock::{Clock, Moment};
use crate::ledger::Ledger;
use crate::verdict::Check;
use crate::wire::Http;

/// How the load behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Everything goes, and the server is killed.
    Storm,
    /// Nothing new comes; workers do what is left, well.
    Calm,
    /// Everybody goes home.
    Over,
}

/// What all actors share.
#[derive(Debug)]
pub(crate) struct World {
    /// The judge's watch.
    pub(crate) clock: Clock,
    /// The client of the server's public side.
    pub(crate) http: Http,
    /// The client of its administrative side.
    pub(crate) admin: Http,
    /// Where all chance of this run comes from.
    pub(crate) chance: Chance,
    ledger: Mutex<Ledger>,
    life: AtomicU32,
    names: AtomicU64,
    is_up: watch::Sender<bool>,
    phase: watch::Sender<Phase>,
    has_died: AtomicBool,
}

impl World {
    /// A world before the first server.
    pub(crate) fn new(seed: u64, http: Http, admin: Http) -> Self {
        Self {
            clock: Clock::start(),
            http,
            admin,
            chance: Chance::of(seed),
            ledger: Mutex::default(),
            life: AtomicU32::new(1),
            names: AtomicU64::new(0),
            is_up: watch::Sender::new(false),
            phase: watch::Sender::new(Phase::Storm),
            has_died: AtomicBool::new(false),
        }
    }

    /// The ledger. Nobody waits while holding it.
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("nothing panics while it is held")
    }

    /// The judge's time.
    pub(crate) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Which process of the server lives now, counted from 1.
    pub(crate) fn life(&self) -> u32 {
        self.life.load(Ordering::SeqCst)
    }

    /// The process is dead, and all it sent has arrived: what comes from now on is of another.
    pub(crate) fn end_life(&self) {
        self.life.fetch_add(1, Ordering::SeqCst);
    }

    /// A name that no intent of this run had before.
    pub(crate) fn draw_name(&self, door: &str) -> String {
        // 22 characters and more, so that nobody could guess it as an idempotency key.
        format!("judge-{door}-{:012}", self.names.fetch_add(1, Ordering::SeqCst))
    }

    /// Says whether the server can be called.
    pub(crate) fn set_up(&self, is_up: bool) {
        self.is_up.send_replace(is_up);
    }

    /// Waits until the server can be called; `false` if it does not come back, or all is over.
    pub(crate) async fn until_up(&self) -> bool {
        let mut is_up = self.is_up.subscribe();
        let waiting = is_up.wait_for(|is_up| *is_up);
        let came = tokio::time::timeout(UP_TIMEOUT, waiting).await;
        matches!(came, Ok(Ok(_))) && self.phase() != Phase::Over
    }

    /// The mood of the load.
    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Changes the mood of the load.
    pub(crate) fn set_phase(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// Waits until the mood is no longer that of the storm, at most for `ms`.
    pub(crate) async fn rest(&self, ms: u64) {
        let mut phase = self.phase.subscribe();
        let over = phase.wait_for(|phase| *phase != Phase::Storm);
        _ = tokio::time::timeout(Duration::from_millis(ms), over).await;
    }

    /// The server cannot be started any more: whatever follows is for nothing.
    pub(crate) fn give_up(&self) {
        self.has_died.store(true, Ordering::SeqCst);
        self.set_phase(Phase::Over);
    }

    /// Whether the server could not be started any more.
    pub(crate) fn has_died(&self) -> bool {
        self.has_died.load(Ordering::SeqCst)
    }

    /// Notes a task as somebody read it: its version never goes back, whatever happens between.
    ///
    /// `known` is [the version](Self::version_of) before the request was sent: an answer may be
    /// overtaken by a later one.
    pub(crate) fn note_read(&self, id: &str, known: u64, document: &Value) {
        let version = document["version"].as_u64().unwrap_or(0);
        let mut ledger = self.ledger();
        ledger.counts.reads += 1;
        ledger.verdict.note(Check::Stays, Some(id), version >= known, || {
            format!("it was read at version {known}, and later at version {version}")
        });
        if let Some(task) = ledger.tasks.get_mut(id) {
            task.version = task.version.max(version);
        }
    }

    /// The highest version of a task that anybody read.
    pub(crate) fn version_of(&self, id: &str) -> u64 {
        self.ledger().tasks.get(id).map_or(0, |task| task.version)
    }
}

/// How long an actor waits for the server to come back.
const UP_TIMEOUT: Duration = Duration::from_secs(40);
