//! The one feed behind every transport: who follows a task learns of each event with its number.
//!
//! The log in the store is the truth; this only wakes followers and keeps the last events of
//! followed tasks at hand, so that ten thousand followers of one task do not read it ten thousand
//! times. Nothing is queued per follower: a slow one reads on from its number.

use std::collections::hash_map::{Entry as Slot, RandomState};
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, Weak};

use relais_core::{Entry, Task, TaskId, limits};
use tokio::sync::{broadcast, watch};

/// Followed tasks are spread over as many locks.
const SHARDS: usize = 64;
/// Events of a followed task kept at hand.
const RECENT_MAX: usize = 64;

/// An event, shared by all its followers, with room for what a transport made of it.
#[derive(Debug)]
pub struct Published {
    /// The event.
    pub entry: Entry,
    /// The event as a transport encoded it; made once, by the first follower that needs it.
    pub encoded: std::sync::OnceLock<bytes::Bytes>,
}

/// The state of a followed task: its number, and its last events.
#[derive(Debug)]
struct Channel {
    version: watch::Sender<u64>,
    recent: Mutex<VecDeque<Arc<Published>>>,
}

/// Wakes followers.
#[derive(Debug)]
pub struct Feed {
    shards: Vec<Mutex<HashMap<TaskId, Weak<Channel>>>>,
    hasher: RandomState,
    pos: watch::Sender<u64>,
    erased: broadcast::Sender<Arc<Task>>,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            pos: watch::Sender::new(0),
            erased: broadcast::Sender::new(limits::ERASED_WAITING_MAX),
        }
    }
}

impl Feed {
    /// Follows a task: from now on no event of it is missed.
    #[must_use]
    pub fn follow(&self, task: TaskId) -> Follower {
        let mut shard = self.shard(task);
        let channel = shard.get(&task).and_then(Weak::upgrade).unwrap_or_else(|| {
            let channel =
                Arc::new(Channel { version: watch::Sender::new(0), recent: Mutex::default() });
            shard.insert(task, Arc::downgrade(&channel));
            channel
        });
        Follower { version: channel.version.subscribe(), channel }
    }

    /// Follows the store's order: resolves whenever something was committed.
    #[must_use]
    pub fn follow_all(&self) -> watch::Receiver<u64> {
        self.pos.subscribe()
    }

    /// Makes durable events known. `pos` is that of the last of them.
    pub fn publish(&self, entries: &[Entry], pos: u64) {
        if entries.is_empty() {
            return;
        }
        for entry in entries {
            self.publish_one(entry);
        }
        if self.pos.receiver_count() > 0 {
            self.pos.send_if_modified(|last| {
                let is_newer = pos > *last;
                *last = pos.max(*last);
                is_newer
            });
        }
    }

    /// Follows erasures.
    #[must_use]
    pub fn follow_erased(&self) -> broadcast::Receiver<Arc<Task>> {
        self.erased.subscribe()
    }

    /// Makes it known that a task was erased.
    pub(crate) fn publish_erased(&self, task: &Task) {
        if self.erased.receiver_count() > 0 {
            // Whoever left in between needs to know nothing.
            let _ = self.erased.send(Arc::new(task.clone()));
        }
    }

    fn publish_one(&self, entry: &Entry) {
        let channel = {
            let mut shard = self.shard(entry.task);
            let Slot::Occupied(slot) = shard.entry(entry.task) else { return };
            if let Some(channel) = slot.get().upgrade() {
                channel
            } else {
                slot.remove();
                return;
            }
        };
        {
            let mut recent = channel.recent.lock().expect("nothing panics while it is held");
            // Two commits may become known in the wrong order; then followers read the log instead.
            if recent.back().is_some_and(|last| last.entry.seq + 1 != entry.seq) {
                recent.clear();
            }
            if recent.len() == RECENT_MAX {
                recent.pop_front();
            }
            let encoded = std::sync::OnceLock::new();
            recent.push_back(Arc::new(Published { entry: entry.clone(), encoded }));
        }
        channel.version.send_if_modified(|version| {
            let is_newer = entry.seq > *version;
            *version = entry.seq.max(*version);
            is_newer
        });
    }

    fn shard(&self, task: TaskId) -> std::sync::MutexGuard<'_, HashMap<TaskId, Weak<Channel>>> {
        let index = usize::try_from(self.hasher.hash_one(task) % SHARDS as u64).expect("small");
        self.shards[index].lock().expect("nothing panics while it is held")
    }

    /// Forgets tasks that nobody follows any more; called from time to time.
    pub(crate) fn sweep(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock().expect("nothing panics while it is held");
            shard.retain(|_, channel| channel.strong_count() > 0);
        }
    }
}

/// One follower of one task.
#[derive(Debug, Clone)]
pub struct Follower {
    channel: Arc<Channel>,
    version: watch::Receiver<u64>,
}

impl Follower {
    /// Resolves once an event after `seq` is known to exist. Events from before the follower came
    /// may not be known here: read the log first.
    pub async fn after(&mut self, seq: u64) {
        // The sender lives in the channel that this follower holds.
        let _ = self.version.wait_for(|version| *version > seq).await;
    }

    /// How many followers the task has, this one included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.channel.version.receiver_count()
    }

    /// The events after `seq` that are at hand, if all of them are; otherwise the log must be read.
    #[must_use]
    pub fn recent(&self, seq: u64) -> Option<Vec<Arc<Published>>> {
        let recent = self.channel.recent.lock().expect("nothing panics while it is held");
        let first = recent.front()?.entry.seq;
        if first > seq + 1 {
            return None;
        }
        Some(recent.iter().filter(|event| event.entry.seq > seq).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use relais_core::{EventData, Timestamp};

    use super::*;

    fn entry(task: TaskId, seq: u64) -> Entry {
        let data = EventData::Started { worker: None };
        Entry { task, seq, at: Timestamp::EPOCH, attempt: 0, data }
    }

    #[tokio::test]
    async fn a_follower_sees_every_event_in_order_and_others_see_nothing() {
        let feed = Feed::default();
        let (task, other) = (TaskId::from_u128(1), TaskId::from_u128(2));
        let mut follower = feed.follow(task);
        assert_eq!(follower.count(), 1);
        feed.publish(&[entry(task, 1), entry(other, 1), entry(task, 2)], 3);
        follower.after(0).await;
        let seqs = |events: Vec<Arc<Published>>| {
            events.iter().map(|event| event.entry.seq).collect::<Vec<_>>()
        };
        assert_eq!(follower.recent(0).map(seqs), Some(vec![1, 2]));
        assert_eq!(follower.recent(1).map(seqs), Some(vec![2]));
        assert!(feed.follow(other).recent(0).is_none(), "nobody followed it then");
    }

    #[tokio::test]
    async fn events_made_known_in_the_wrong_order_are_read_from_the_log() {
        let feed = Feed::default();
        let task = TaskId::from_u128(1);
        let follower = feed.follow(task);
        feed.publish(&[entry(task, 1)], 1);
        feed.publish(&[entry(task, 3)], 3);
        assert!(follower.recent(1).is_none());
    }

    #[test]
    fn tasks_nobody_follows_are_forgotten() {
        let feed = Feed::default();
        for id in 0..1_000 {
            drop(feed.follow(TaskId::from_u128(id)));
        }
        feed.sweep();
        assert_eq!(feed.shards.iter().map(|shard| shard.lock().unwrap().len()).sum::<usize>(), 0);
    }
}
