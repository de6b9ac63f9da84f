//! What was committed, by whomever, in the one order: what feeds, wake-ups, aborts, policies and keys
//! come from.
//!
//! Whoever commits may act on its own answer at once, which says the same. What others did it learns
//! here, and nowhere else. A heartbeat is no change.

use std::collections::VecDeque;

use relais_core::{EndpointId, Entry, Life, QueueName, Step, Task, TenantName, limits};
use tokio::sync::watch;

use crate::commit::QueueChange;

/// Something that was committed.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Its place in the one order, which has gaps.
    pub pos: u64,
    /// What it is.
    pub what: What,
}

/// What was committed.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// The log of a task has one entry more; the task is as it is when the change is read.
    Entry(Box<Task>, Entry),
    /// The holder of a task that is over has stopped: its slot is free, and no log says so.
    Freed(Box<Task>),
    /// A countdown of a task begins, or goes on anew, which no log says: others must know when it is due,
    /// and whoever still attends it says so again.
    Left(Box<Task>),
    /// A task was forgotten: as it was.
    Erased(Box<Task>),
    /// A setting of a queue.
    Queue(TenantName, QueueName, QueueChange),
    /// A named value was put or removed.
    Secret(String),
    /// An endpoint of a webhook came up, changed, or is gone; or deliveries to it were dropped.
    Endpoint(EndpointId),
}

impl What {
    /// What a step did that is in no log, but concerns other nodes. `before` is the life before it.
    #[must_use]
    pub fn beside_the_log(before: &Life, step: &Step) -> Option<fn(Box<Task>) -> Self> {
        if !step.entries.is_empty() {
            return None;
        }
        if !step.effects.is_empty() {
            return Some(Self::Freed);
        }
        let until = step.life.abandon_at();
        (until.is_some() && until != before.abandon_at()).then_some(Self::Left as fn(_) -> _)
    }
}

/// The answer to whoever asks what was committed after a position.
#[derive(Debug, Clone, PartialEq)]
pub enum Changes {
    /// All changes from there up to `upto`, in order: the next question begins there.
    Since {
        /// The changes. The entries of a task that was erased meanwhile are not among them.
        changes: Vec<Change>,
        /// The last position that this answer tells of; that asked from if nothing follows.
        upto: u64,
    },
    /// Some of them are not kept any more: whoever asks reads all anew, and goes on from `head`.
    Gap {
        /// The position of the last change.
        head: u64,
    },
}

/// What a driver keeps of changes that are no entries, and how it wakes who waits for any.
///
/// Entries are in the log. The others are few and kept here, in the memory of the process that owns the
/// store: the last [`limits::CHANGES_KEPT`], from its opening on.
#[derive(Debug, Default)]
pub struct Notices {
    kept: VecDeque<Change>,
    /// The position up to which nothing is kept.
    gone: u64,
    head: u64,
    told: watch::Sender<u64>,
}

impl Notices {
    /// Those of a store whose last change is at `head`.
    #[must_use]
    pub fn from(head: u64) -> Self {
        Self { kept: VecDeque::new(), gone: head, head, told: watch::Sender::new(0) }
    }

    /// The position of the last change.
    #[must_use]
    pub const fn head(&self) -> u64 {
        self.head
    }

    /// Something was committed, up to `head`: of it, these are no entries.
    pub fn add(&mut self, head: u64, notices: impl IntoIterator<Item = Change>) {
        self.head = head;
        for notice in notices {
            if self.kept.len() == limits::CHANGES_KEPT {
                self.gone = self.kept.pop_front().map_or(self.gone, |first| first.pos);
            }
            self.kept.push_back(notice);
        }
    }

    /// Wakes who waits, if more than one node lives. One that is alone knows what it did, and for
    /// nobody else is anything kept: whoever comes later reads all anew.
    pub fn tell(&mut self, living: usize) {
        if living > 1 {
            self.told.send_if_modified(|told| std::mem::replace(told, self.head) < self.head);
        } else if living == 1
            && let Some(last) = self.kept.back()
        {
            self.gone = last.pos;
            self.kept.clear();
        }
    }

    /// How far those who wait were told.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.told.subscribe()
    }

    /// The notices after a position; `None` if they are not all kept.
    #[must_use]
    pub fn after(&self, after: u64) -> Option<Vec<Change>> {
        let later = self.kept.iter().filter(|notice| notice.pos > after);
        (after >= self.gone).then(|| later.cloned().collect())
    }
}

impl Changes {
    /// The answer of a driver: `entries` and `notices` are those after `after`. Entries are told up
    /// to `upto`; what is noted behind that comes with the next answer.
    #[must_use]
    pub fn merged(
        mut entries: Vec<Change>,
        notices: Vec<Change>,
        (after, upto): (u64, u64),
    ) -> Self {
        entries.extend(notices.into_iter().filter(|notice| notice.pos <= upto));
        entries.sort_unstable_by_key(|change| change.pos);
        Self::Since { changes: entries, upto: upto.max(after) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thousand erased tasks stayed in memory, 60 kB each, for nodes that there were not.
    #[test]
    fn what_a_node_does_alone_is_not_kept() {
        let mut notices = Notices::from(3);
        let secret = |pos| Change { pos, what: What::Secret(String::new()) };
        notices.add(4, [secret(4)]);
        notices.tell(2);
        assert_eq!(notices.after(3), Some(vec![secret(4)]));
        notices.add(5, [secret(5)]);
        notices.tell(1);
        assert_eq!((notices.after(4), notices.after(5)), (None, Some(Vec::new())));
    }
}
