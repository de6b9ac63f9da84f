//! Answers that grow: what an attempt brings, shown to readers while it is stored.
//!
//! Readers read the stored copy, each at its own pace; nothing is queued for any of them. How an answer
//! ends is told by what was committed about its task ([`GrowingAnswers::note`]), or by the spool that
//! is dropped before it was whole, or breaks it off because it will not be the outcome; never by a
//! reader. What was committed before the answer was shown tells it nothing: whoever finds an answer reads
//! its task afterwards.
//!
//! A driver whose store one process owns keeps them here, as its [`Notices`](crate::Notices). Not here:
//! what other processes show; a driver that is shared among them learns that by its own means.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use bytes::Bytes;
use relais_core::{Fate, ResultVersion, Task, TaskId};
use tokio::sync::watch;

use crate::StoreFuture;
use crate::body::{BodyRead, BodySource, StoredBody};

/// How far an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// So many bytes are there, and whether it will be the result is not known.
    Growing(u64),
    /// It is the result, and has so many bytes: durably.
    Committed(u64),
    /// It will never be whole, or never be the result.
    Broken,
}

/// What an answer is shown as.
#[derive(Debug, Clone)]
pub struct ShownAs {
    /// Whose answer it is.
    pub task: TaskId,
    /// Of which run and attempt.
    pub version: ResultVersion,
    /// As it will be stored with the bytes. Opaque.
    pub head: Bytes,
    /// The length that was announced for it.
    pub announced_len: Option<u64>,
}

/// An answer on its way. Its bytes can be read as long as it is held, whatever became of it.
pub struct GrowingAnswer {
    /// Of which run and attempt it is.
    pub version: ResultVersion,
    /// Its head. Opaque.
    pub head: Bytes,
    /// The length that was announced for it.
    pub announced_len: Option<u64>,
    /// Reads what is there, and what will be.
    pub body: Arc<dyn BodyRead>,
    growth: watch::Sender<Growth>,
}

impl fmt::Debug for GrowingAnswer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let growth = self.growth();
        out.debug_tuple("GrowingAnswer").field(&self.version).field(&growth).finish()
    }
}

impl GrowingAnswer {
    /// How far it is.
    #[must_use]
    pub fn growth(&self) -> Growth {
        *self.growth.borrow()
    }

    /// Follows how far it is, from now on.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<Growth> {
        self.growth.subscribe()
    }

    /// Resolves once it is the result (`true`), or will never be. It must be held by whoever
    /// watches its task: an answer that nobody watches is told nothing.
    pub async fn over(&self) -> bool {
        let mut growth = self.follow();
        let over = growth.wait_for(|growth| !matches!(growth, Growth::Growing(_))).await;
        over.is_ok_and(|growth| matches!(*growth, Growth::Committed(_)))
    }

    fn grow(&self, to: impl FnOnce(u64) -> Growth) {
        self.growth.send_if_modified(|growth| match *growth {
            Growth::Growing(len) => {
                *growth = to(len);
                true
            }
            Growth::Committed(_) | Growth::Broken => false,
        });
    }
}

/// The answers of a store that grow, by their tasks. Clones are the same.
#[derive(Clone, Default)]
pub struct GrowingAnswers {
    entries: Arc<Mutex<HashMap<TaskId, Weak<Entry>>>>,
}

/// A task that somebody watches, or whose answer grows; gone with the last of them.
struct Entry {
    task: TaskId,
    shown: watch::Sender<Option<Arc<GrowingAnswer>>>,
    of: GrowingAnswers,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut entries = self.of.entries();
        // Another one may have come in its place meanwhile.
        if entries.get(&self.task).is_some_and(|entry| entry.strong_count() == 0) {
            entries.remove(&self.task);
        }
    }
}

impl GrowingAnswers {
    /// Watches the answers of a task, which need not exist yet.
    #[must_use]
    pub fn watch(&self, task: TaskId) -> WatchedAnswer {
        let entry = self.entry(task);
        let seen = entry.shown.subscribe();
        WatchedAnswer { entry, seen }
    }

    /// Shows an answer whose bytes `body` reads; the one before it of the same task is over.
    #[must_use]
    pub fn show(&self, shown: ShownAs, body: Arc<dyn BodyRead>) -> Shown {
        let ShownAs { task, version, head, announced_len } = shown;
        let growth = watch::Sender::new(Growth::Growing(0));
        let answer = Arc::new(GrowingAnswer { version, head, announced_len, body, growth });
        let entry = self.entry(task);
        if let Some(before) = entry.shown.send_replace(Some(answer.clone())) {
            before.grow(|_| Growth::Broken);
        }
        Shown { answer, _entry: entry, is_whole: false }
    }

    /// Something was committed about a task, durably: its answer learns what that means. To be called
    /// for each step, whoever took it; without an answer it costs a look.
    pub fn note(&self, task: &Task) {
        let entry = self.entries().get(&task.spec.id).and_then(Weak::upgrade);
        let Some(entry) = entry else { return };
        let Some(answer) = entry.shown.borrow().clone() else { return };
        match task.life.fate_of(answer.version) {
            Fate::Open => {}
            Fate::Kept => answer.grow(Growth::Committed),
            Fate::Gone => answer.grow(|_| Growth::Broken),
        }
    }

    /// How many tasks are watched, or have an answer that grows.
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries().len()
    }

    fn entry(&self, task: TaskId) -> Arc<Entry> {
        let mut entries = self.entries();
        let known = entries.get(&task).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let shown = watch::Sender::new(None);
            let entry = Arc::new(Entry { task, shown, of: self.clone() });
            entries.insert(task, Arc::downgrade(&entry));
            entry
        })
    }

    /// No entry may be let go of while this is held: its end takes it, too.
    fn entries(&self) -> MutexGuard<'_, HashMap<TaskId, Weak<Entry>>> {
        self.entries.lock().expect("nothing panics while it is held")
    }
}

/// Watches the answers of one task.
#[derive(Clone)]
pub struct WatchedAnswer {
    entry: Arc<Entry>,
    seen: watch::Receiver<Option<Arc<GrowingAnswer>>>,
}

impl fmt::Debug for WatchedAnswer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.entry.shown.borrow().clone();
        out.debug_tuple("WatchedAnswer").field(&self.entry.task).field(&shown).finish()
    }
}

impl WatchedAnswer {
    /// The answer that grows, or the last one that did; `None` before the first.
    #[must_use]
    pub fn current(&mut self) -> Option<Arc<GrowingAnswer>> {
        self.seen.borrow_and_update().clone()
    }

    /// Shows an answer that is whole, is stored before its outcome, and that nobody shows (any more): it
    /// came while nobody watched, or to a process that is gone. Whoever does this reads the task again
    /// afterwards: an outcome that was committed meanwhile is not told.
    pub fn show_whole(&self, version: ResultVersion, stored: StoredBody) {
        let body = match stored.data {
            BodySource::Reader(reader) => reader,
            BodySource::Inline(bytes) => Arc::new(Whole(bytes)),
        };
        let growth = watch::Sender::new(Growth::Growing(stored.len));
        let (head, announced_len) = (stored.head, None);
        let answer = Arc::new(GrowingAnswer { version, head, announced_len, body, growth });
        self.entry.shown.send_if_modified(|shown| {
            let is_known = shown
                .as_ref()
                .is_some_and(|known| known.version == version && known.growth() != Growth::Broken);
            if !is_known {
                *shown = Some(answer);
            }
            !is_known
        });
    }

    /// Resolves once another answer is shown than [`current`](Self::current) said last.
    pub async fn changed(&mut self) {
        // The sender lives in the entry that this holds.
        let _ = self.seen.changed().await;
    }
}

/// The bytes of a small answer.
struct Whole(Bytes);

impl BodyRead for Whole {
    fn read_at(&self, offset: u64, max: usize) -> StoreFuture<'_, Bytes> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        let to = from.saturating_add(max).min(self.0.len());
        Box::pin(std::future::ready(Ok(self.0.slice(from..to))))
    }
}

/// Shows an answer: held by the spool that writes it. Dropped before the answer is whole, it breaks it.
pub struct Shown {
    answer: Arc<GrowingAnswer>,
    _entry: Arc<Entry>,
    is_whole: bool,
}

impl Shown {
    /// So many bytes are there now.
    pub fn grew(&self, len: u64) {
        self.answer.grow(|_| Growth::Growing(len));
    }

    /// All bytes are there, and durable: what becomes of them is told by what is committed.
    pub fn is_whole(&mut self) {
        self.is_whole = true;
    }

    /// It will not be the outcome.
    pub fn break_off(&self) {
        self.answer.grow(|_| Growth::Broken);
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if !self.is_whole {
            self.break_off();
        }
    }
}
