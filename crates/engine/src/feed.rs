//! The one feed behind every transport: who follows something learns what happens to it.
//!
//! The log in the store is the truth. The feed wakes those whom a commit concerns and no others, and keeps
//! the latest events at hand for them, so that ten thousand followers of one task do not read
//! its log ten thousand times. Nothing is queued per follower: a slow one reads on from the log.

mod channel;
mod subscription;

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use relais_core::{Entry, Task, TaskId, limits};
use relais_store::{Changed, EventQuery, Logged, StoreError};
use tokio::sync::watch;

pub use self::channel::{Channel, Happening, Inbox, Published, View};
use self::channel::{Counted, News};
use self::subscription::Key;
pub use self::subscription::{Many, Subscription};
use crate::{Engine, EngineError};

/// What is followed is spread over as many locks.
const SHARDS: usize = 64;
/// Events read from the log at once.
const PAGE: usize = 64;

/// The channels that somebody follows, by what they are found by.
type Channels = HashMap<u64, Vec<Weak<Channel>>>;

/// Who follows what.
#[derive(Debug)]
pub(crate) struct Feed {
    shards: Vec<Mutex<Channels>>,
    hasher: RandomState,
    /// Channels that are not found by their tasks: without any, none is looked for.
    wide: Arc<AtomicUsize>,
    pos: watch::Sender<u64>,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            wide: Arc::default(),
            pos: watch::Sender::new(0),
        }
    }
}

impl Feed {
    /// The channel of a subscription: from now on nothing that happens to it is missed.
    fn channel(&self, subscription: Subscription) -> Arc<Channel> {
        let hashes: Vec<_> = subscription.keys().iter().map(|key| self.hash(key)).collect();
        let (first, others) = hashes.split_first().expect("each subscription has a key");
        if let Some(known) = find(&self.shard(*first), *first, &subscription) {
            return known;
        }
        let counted = (!subscription.names_tasks()).then(|| Counted::by(&self.wide));
        let channel = Arc::new(Channel::new(subscription, counted));
        for hash in others {
            self.shard(*hash).entry(*hash).or_default().push(Arc::downgrade(&channel));
        }
        // By its first key others find it: it must be complete by then.
        let mut shard = self.shard(*first);
        if let Some(known) = find(&shard, *first, channel.subscription()) {
            return known;
        }
        shard.entry(*first).or_default().push(Arc::downgrade(&channel));
        channel
    }

    /// Makes durable entries of one task known, of which the first has the place `pos` in the order of the
    /// store and the others the next ones. Answers the channels that must be refreshed.
    fn publish(&self, task: &Task, entries: &[Entry], pos: u64) -> Vec<Arc<Channel>> {
        let mut stale = Vec::new();
        let channels = self.concerned(task);
        if !channels.is_empty() {
            for (entry, pos) in entries.iter().zip(pos..) {
                let event = Published::new(entry.clone(), pos);
                for channel in &channels {
                    match channel.subscription() {
                        Subscription::Task(_) => channel.push(event.clone()),
                        Subscription::Many(_) if channel.note(event.clone()) => {
                            stale.push(channel.clone());
                        }
                        Subscription::Many(_) => {}
                    }
                }
            }
        }
        if self.pos.receiver_count() > 0 && !entries.is_empty() {
            let last = pos + entries.len() as u64 - 1;
            self.pos.send_if_modified(|known| last > std::mem::replace(known, last.max(*known)));
        }
        stale
    }

    /// Makes it known that a task was erased. Answers the channels that must be refreshed.
    fn publish_erased(&self, task: &Task) -> Vec<Arc<Channel>> {
        let mut channels = self.concerned(task);
        channels.retain(|channel| match channel.subscription() {
            Subscription::Task(id) => {
                channel.push_erased(*id);
                false
            }
            Subscription::Many(_) => channel.note_erased(task.spec.id),
        });
        channels
    }

    /// The channels that something happening to a task concerns.
    fn concerned(&self, task: &Task) -> Vec<Arc<Channel>> {
        let spec = &task.spec;
        let mut channels = Vec::new();
        self.gather(&Key::Task(spec.id), task, &mut channels);
        if self.wide.load(Ordering::Relaxed) > 0 {
            for label in &spec.labels {
                self.gather(&Key::Label(&spec.tenant, label), task, &mut channels);
            }
            self.gather(&Key::Tenant(&spec.tenant), task, &mut channels);
        }
        channels
    }

    fn gather(&self, key: &Key<'_>, task: &Task, channels: &mut Vec<Arc<Channel>>) {
        let hash = self.hash(key);
        let shard = self.shard(hash);
        let found = shard.get(&hash).into_iter().flatten().filter_map(Weak::upgrade);
        channels.extend(found.filter(|channel| channel.subscription().takes(task)));
    }

    /// All that is followed.
    fn channels(&self) -> Vec<Arc<Channel>> {
        let mut channels = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().expect("nothing panics while it is held");
            channels.extend(shard.values().flatten().filter_map(Weak::upgrade));
        }
        channels
    }

    fn hash(&self, key: &Key<'_>) -> u64 {
        self.hasher.hash_one(key)
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Channels> {
        let index = usize::try_from(hash % SHARDS as u64).expect("small");
        self.shards[index].lock().expect("nothing panics while it is held")
    }

    /// Forgets what nobody follows any more; called from time to time.
    pub(crate) fn sweep(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock().expect("nothing panics while it is held");
            shard.retain(|_, channels| {
                channels.retain(|channel| channel.strong_count() > 0);
                !channels.is_empty()
            });
        }
    }
}

fn find(channels: &Channels, hash: u64, subscription: &Subscription) -> Option<Arc<Channel>> {
    let mut known = channels.get(&hash)?.iter().filter_map(Weak::upgrade);
    known.find(|channel| channel.subscription() == subscription)
}

/// A part of a log, in order.
#[derive(Debug)]
pub struct LogPart {
    /// What is wanted of it.
    pub events: Vec<Arc<Published>>,
    /// The number up to which it was read.
    pub end: u64,
    /// Whether more comes behind.
    pub has_more: bool,
}

/// One follower of one task.
#[derive(Debug, Clone)]
pub struct Follower(Arc<Channel>);

impl Follower {
    /// Resolves once an event after `seq` is known to exist. Events from before the follower came
    /// may not be known here: read the log first.
    pub async fn after(&mut self, seq: u64) {
        self.0.passes(seq).await;
    }
}

impl Engine {
    /// Follows a task: from now on no event of it is missed. Events before are in the log.
    #[must_use]
    pub fn follow(&self, id: TaskId) -> Follower {
        Follower(self.channel(Subscription::Task(id)))
    }

    /// The channel that all followers of a subscription share: from now on nothing that happens is
    /// missed. What happened before is in the log. One over many tasks must be [begun](Self::begin).
    #[must_use]
    pub fn channel(&self, subscription: Subscription) -> Arc<Channel> {
        self.feed().channel(subscription)
    }

    /// Begins a channel over many tasks. Answers the last place that the store's order had before.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn begin(&self, channel: &Arc<Channel>) -> Result<u64, EngineError> {
        let head = self.store().last_pos().await?;
        if channel.begin_at(head) {
            self.refresh(channel.clone());
        }
        Ok(head)
    }

    /// Follows the whole store: changes whenever something was committed.
    #[must_use]
    pub fn follow_all(&self) -> watch::Receiver<u64> {
        self.feed().pos.subscribe()
    }

    /// What the log has of a subscription after a number, as much as is read at once.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn read_log(
        &self,
        subscription: &Subscription,
        after: u64,
    ) -> Result<LogPart, EngineError> {
        // One more than is given out tells whether there is more.
        let limit = PAGE + 1;
        let query = match subscription {
            Subscription::Task(id) => EventQuery::Task { id: *id, after, limit },
            Subscription::Many(Many { tenant, tasks, label, .. }) => {
                let (tenant, tasks, label) = (tenant.clone(), tasks.clone(), label.clone());
                EventQuery::Store { tenant, tasks, label, after, limit }
            }
        };
        let mut page = self.events(query).await?;
        let has_more = page.len() == limit;
        page.truncate(PAGE);
        let event = |logged: Logged| Published::new(logged.entry, logged.pos);
        let mut events: Vec<_> = page.into_iter().map(event).collect();
        let end = events.last().map_or(after, |last| subscription.number_of(last));
        if let Subscription::Many(Many { only_open: true, .. }) = subscription {
            let ids: Vec<_> = events.iter().map(|event| event.entry.task).collect();
            let tasks = match self.tasks(ids).await {
                // Who may see those that cannot be read nobody knows.
                Err(EngineError::Store(StoreError::Corrupt(_))) => Vec::new(),
                tasks => tasks?,
            };
            let is_wanted =
                |task: &Option<Task>| task.as_ref().is_some_and(|task| subscription.takes(task));
            let mut wanted = tasks.iter().map(is_wanted);
            events.retain(|_| wanted.next().unwrap_or(false));
        }
        Ok(LogPart { events, end, has_more })
    }

    /// Makes durable entries of one task known to all whom they concern: of their places in the order of
    /// the store `pos` is the first.
    pub(crate) fn publish(&self, changed: &Changed) {
        let stale = self.feed().publish(&changed.task, &changed.entries, changed.pos);
        stale.into_iter().for_each(|channel| self.refresh(channel));
    }

    /// Makes it known that a task was erased.
    pub(crate) fn publish_erased(&self, task: &Task) {
        let stale = self.feed().publish_erased(task);
        stale.into_iter().for_each(|channel| self.refresh(channel));
    }

    /// Brings all that is followed up to date: something happened that was not made known here.
    pub(crate) async fn refresh_all(&self) -> Result<(), EngineError> {
        for channel in self.feed().channels() {
            let Subscription::Task(id) = channel.subscription() else {
                if channel.turn_stale() {
                    self.refresh(channel);
                }
                continue;
            };
            if self.task(*id).await?.is_none() {
                channel.push_erased(*id);
                continue;
            }
            loop {
                let part = self.read_log(channel.subscription(), channel.last()).await?;
                part.events.into_iter().for_each(|event| channel.push(event));
                if !part.has_more {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Brings a channel over many tasks up to date, once for all its followers.
    fn refresh(&self, channel: Arc<Channel>) {
        let engine = self.clone();
        self.inner().tracker.spawn(async move {
            while let Some(news) = channel.news() {
                let read = engine.read_behind(&channel, &news).await;
                channel.refreshed(news, read);
            }
        });
    }

    async fn read_behind(
        &self,
        channel: &Channel,
        news: &News,
    ) -> Result<(Vec<Arc<Published>>, u64), EngineError> {
        let (mut events, mut head) = (VecDeque::new(), news.head);
        loop {
            let part = self.read_log(channel.subscription(), head).await?;
            events.extend(part.events);
            // One too many tells that there were more than can be at hand.
            let excess = events.len().saturating_sub(limits::RECENT_EVENTS_MAX + 1);
            events.drain(..excess);
            head = part.end;
            if !part.has_more {
                return Ok((events.into(), head));
            }
        }
    }
}
