//! What the followers of one subscription share: the latest of what happened, in order.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::pin::pin;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use bytes::Bytes;
use relais_core::{Entry, TaskId, limits};
use tokio::sync::Notify;

use super::subscription::Subscription;
use crate::EngineError;
use crate::document::event_of;

/// A durable event, shared by all who are told of it.
#[derive(Debug)]
pub struct Published {
    pub entry: Entry,
    /// Its place in the order of the store.
    pub pos: u64,
    json: OnceLock<Bytes>,
}

impl Published {
    /// An event with its place in the order of the store.
    #[must_use]
    pub fn new(entry: Entry, pos: u64) -> Arc<Self> {
        Arc::new(Self { entry, pos, json: OnceLock::new() })
    }

    /// The event as JSON on one line: made once, whoever needs it and in whatever form it travels.
    /// `base` is the address under which problems have their pages.
    #[must_use]
    pub fn json(&self, base: &str) -> &Bytes {
        self.json.get_or_init(|| event_of(&self.entry, base).to_json().into())
    }
}

/// Something that happened to what is followed.
#[derive(Debug, Clone)]
pub enum Happening {
    /// An event of the log.
    Event(Arc<Published>),
    /// A task was erased. It has no number: who is not there misses it, and finds the task gone.
    Erased(TaskId),
}

impl Happening {
    /// The bytes that it carries, about: what its writer may make large counts.
    fn bytes(&self) -> usize {
        match self {
            Self::Event(event) => size_of::<Published>() + event.entry.data.large_bytes(),
            Self::Erased(_) => 0,
        }
    }
}

/// The latest happenings as they stand now. Each has an index, which only the channel knows;
/// numbers have gaps.
#[derive(Debug, Clone)]
pub struct View {
    /// The index of the first of `recent`, and how far back a follower may be.
    pub first: u64,
    /// From then on, oldest first.
    pub recent: Vec<Happening>,
}

impl View {
    /// The index of what happens next.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first + self.recent.len() as u64
    }
}

/// The followers of one subscription and what they are told.
#[derive(Debug)]
pub struct Channel {
    subscription: Subscription,
    state: Mutex<State>,
    /// Wakes those who wait for this channel alone.
    changed: Notify,
    /// Counts this one while it exists, if it is not found by its tasks.
    _counted: Option<Counted>,
}

#[derive(Debug, Default)]
struct State {
    recent: VecDeque<Happening>,
    /// The bytes that what is at hand carries, about.
    bytes: usize,
    /// The index of the first of them.
    first: u64,
    /// The highest number that was made known.
    last: u64,
    /// Who waits for many channels at once, and their word for this one.
    inboxes: Vec<(Arc<Inbox>, u32)>,
    order: Order,
}

/// How a channel over many tasks gets its events in the order of the store: commits become known in
/// any order, and only the log tells what comes between two places.
#[derive(Debug, Default)]
struct Order {
    /// All up to this place was told, or was there before the channel; `None` before it began.
    head: Option<u64>,
    is_stale: bool,
    is_refreshing: bool,
    /// What was made known since the last refresh, so that the log's copies need no encoding.
    known: Vec<Arc<Published>>,
    erased: Vec<TaskId>,
}

/// What a refresh must read.
#[derive(Debug)]
pub(crate) struct News {
    pub(crate) head: u64,
    known: Vec<Arc<Published>>,
    erased: Vec<TaskId>,
}

impl News {
    /// What happened, in order: what was read of the log, and what was made known, which the log has
    /// no more if its task was erased meanwhile.
    fn all(&self, read: Vec<Arc<Published>>) -> Vec<Arc<Published>> {
        let mut events: BTreeMap<_, _> = read.into_iter().map(|event| (event.pos, event)).collect();
        let known = self.known.iter().filter(|known| known.pos > self.head);
        events.extend(known.map(|known| (known.pos, known.clone())));
        events.into_values().collect()
    }
}

impl Channel {
    pub(super) fn new(subscription: Subscription, counted: Option<Counted>) -> Self {
        let (state, changed) = (Mutex::default(), Notify::new());
        Self { subscription, state, changed, _counted: counted }
    }

    /// What is followed.
    #[must_use]
    pub fn subscription(&self) -> &Subscription {
        &self.subscription
    }

    /// What happened from an index on, as far as it is at hand.
    #[must_use]
    pub fn view(&self, from: u64) -> View {
        let state = self.state();
        let first = from.clamp(state.first, state.end());
        let skipped = usize::try_from(first - state.first).expect("at most what is kept");
        View { first, recent: state.recent.iter().skip(skipped).cloned().collect() }
    }

    /// The index of what happens next.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.state().end()
    }

    /// Resolves once something has happened that has this index, or a later one.
    pub async fn reaches(&self, index: u64) {
        self.wait(|state| state.end() > index).await;
    }

    /// Resolves once an event after this number is known to exist.
    pub async fn passes(&self, number: u64) {
        self.wait(|state| state.last > number).await;
    }

    /// Lets `inbox` know `token` whenever something happens, until [`leave`](Self::leave).
    pub fn join(&self, inbox: &Arc<Inbox>, token: u32) {
        self.state().inboxes.push((inbox.clone(), token));
    }

    /// Ends what [`join`](Self::join) began.
    pub fn leave(&self, inbox: &Arc<Inbox>) {
        self.state().inboxes.retain(|(other, _)| !Arc::ptr_eq(other, inbox));
    }

    /// The highest number that was made known.
    pub(super) fn last(&self) -> u64 {
        self.state().last
    }

    /// Notes that something may have happened to many tasks. Answers whether somebody must refresh.
    #[must_use]
    pub(super) fn turn_stale(&self) -> bool {
        self.state().order.turn_stale()
    }

    /// Takes the next event of the one task that is followed. Commits may become known in the wrong
    /// order: then what is at hand is dropped, and followers read the log. What comes late is in it.
    pub(super) fn push(&self, event: Arc<Published>) {
        let number = self.subscription.number_of(&event);
        {
            let mut state = self.state();
            // It may come twice: from whoever committed it, and as a change of the store.
            if number <= state.last {
                return;
            }
            match state.recent.back() {
                Some(Happening::Event(last)) if number != last.entry.seq + 1 => state.lose(),
                Some(_) | None => {}
            }
            state.last = number;
            state.keep(Happening::Event(event));
        }
        self.changed();
    }

    /// Takes an erasure of the one task that is followed.
    pub(super) fn push_erased(&self, task: TaskId) {
        self.state().keep(Happening::Erased(task));
        self.changed();
    }

    /// Notes what became known of one of many tasks. Answers whether somebody must refresh.
    #[must_use]
    pub(super) fn note(&self, event: Arc<Published>) -> bool {
        let order = &mut self.state().order;
        if order.known.len() < limits::RECENT_EVENTS_MAX {
            order.known.push(event);
        }
        order.turn_stale()
    }

    /// Notes that one of many tasks was erased. Answers whether somebody must refresh.
    #[must_use]
    pub(super) fn note_erased(&self, task: TaskId) -> bool {
        let order = &mut self.state().order;
        if order.erased.len() < limits::ERASED_WAITING_MAX {
            order.erased.push(task);
        }
        order.turn_stale()
    }

    /// Begins a channel over many tasks, at a place up to which all was there before; it stays where
    /// it is if it has begun. Answers whether somebody must refresh.
    #[must_use]
    pub(crate) fn begin_at(&self, head: u64) -> bool {
        let mut state = self.state();
        state.order.head.get_or_insert(head);
        state.order.may_begin()
    }

    /// What a refresh has to read; `None` when there is nothing left, and it is over.
    pub(crate) fn news(&self) -> Option<News> {
        let mut state = self.state();
        let order = &mut state.order;
        if !std::mem::take(&mut order.is_stale) {
            order.is_refreshing = false;
            return None;
        }
        let head = order.head.expect("a refresh begins behind it");
        let known = std::mem::take(&mut order.known);
        let erased = std::mem::take(&mut order.erased);
        Some(News { head, known, erased })
    }

    /// Takes what a refresh has read: all up to `head` that is wanted; or not, if that failed, and
    /// each follower finds out for itself what is wrong.
    pub(crate) fn refreshed(
        &self,
        news: News,
        read: Result<(Vec<Arc<Published>>, u64), EngineError>,
    ) {
        {
            let mut state = self.state();
            match read {
                Ok((read, head)) => {
                    let events = news.all(read);
                    if events.len() > limits::RECENT_EVENTS_MAX {
                        state.lose();
                    }
                    for event in events {
                        state.last = event.pos;
                        state.keep(Happening::Event(event));
                    }
                    state.order.head = Some(head.max(news.head));
                }
                Err(_) => state.lose(),
            }
            news.erased.into_iter().for_each(|task| state.keep(Happening::Erased(task)));
        }
        self.changed();
    }

    async fn wait(&self, is_enough: impl Fn(&State) -> bool) {
        loop {
            // Listening before looking, so that nothing in between is missed.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if is_enough(&self.state()) {
                return;
            }
            changed.await;
        }
    }

    fn changed(&self) {
        self.changed.notify_waiters();
        for (inbox, token) in &self.state().inboxes {
            inbox.put(*token);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it is held")
    }
}

impl State {
    fn end(&self) -> u64 {
        self.first + self.recent.len() as u64
    }

    fn keep(&mut self, happening: Happening) {
        self.bytes += happening.bytes();
        self.recent.push_back(happening);
        while self.recent.len() > limits::RECENT_EVENTS_MAX
            || (self.bytes > limits::RECENT_BYTES_MAX && self.recent.len() > 1)
        {
            let oldest = self.recent.pop_front().expect("there is more than one");
            self.bytes -= oldest.bytes();
            self.first += 1;
        }
    }

    /// Drops what is at hand, and one more, so that whoever had seen all of it reads the log, too.
    fn lose(&mut self) {
        self.first = self.end() + 1;
        self.bytes = 0;
        self.recent.clear();
    }
}

impl Order {
    fn turn_stale(&mut self) -> bool {
        self.is_stale = true;
        self.may_begin()
    }

    fn may_begin(&mut self) -> bool {
        let begins = self.is_stale && !self.is_refreshing && self.head.is_some();
        self.is_refreshing |= begins;
        begins
    }
}

/// Where whoever waits for many channels learns which of them changed.
#[derive(Debug, Default)]
pub struct Inbox {
    tokens: Mutex<HashSet<u32>>,
    filled: Arc<Notify>,
}

impl Inbox {
    /// An inbox that wakes by `filled`.
    #[must_use]
    pub fn new(filled: Arc<Notify>) -> Self {
        Self { tokens: Mutex::default(), filled }
    }

    /// The channels that changed since the last call.
    #[must_use]
    pub fn take(&self) -> HashSet<u32> {
        std::mem::take(&mut *self.tokens())
    }

    fn put(&self, token: u32) {
        self.tokens().insert(token);
        self.filled.notify_one();
    }

    fn tokens(&self) -> MutexGuard<'_, HashSet<u32>> {
        self.tokens.lock().expect("nothing panics while it is held")
    }
}

/// Counts something while it exists.
#[derive(Debug)]
pub(super) struct Counted(Arc<AtomicUsize>);

impl Counted {
    pub(super) fn by(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use relais_core::{EventData, Failure, FailureCode, TenantName, Timestamp};

    use super::*;
    use crate::feed::Many;

    const TASK: TaskId = TaskId::from_u128(1);

    fn event(seq: u64) -> Arc<Published> {
        let data = EventData::Started { worker: None };
        let entry = Entry { task: TASK, seq, at: Timestamp::EPOCH, attempt: 0, data };
        Published::new(entry, 10 * seq)
    }

    fn seqs(view: &View) -> Vec<u64> {
        let seq = |happening: &Happening| match happening {
            Happening::Event(event) => event.entry.seq,
            Happening::Erased(_) => 0,
        };
        view.recent.iter().map(seq).collect()
    }

    fn one() -> Channel {
        Channel::new(Subscription::Task(TASK), None)
    }

    fn many() -> Channel {
        let tenant: TenantName = "default".parse().expect("a name");
        let many = Many { tenant, tasks: vec![TASK], label: None, only_open: false };
        Channel::new(Subscription::Many(many), None)
    }

    #[test]
    fn events_made_known_in_the_wrong_order_are_read_from_the_log() {
        let channel = one();
        channel.push(event(1));
        assert_eq!((channel.view(0).first, seqs(&channel.view(0))), (0, vec![1]));
        channel.push(event(3));
        let view = channel.view(1);
        assert!(view.first > 1, "whoever saw the first is told to read: {view:?}");
        channel.push(event(2));
        channel.push(event(4));
        assert_eq!(seqs(&channel.view(0)), [3, 4], "what comes late is in the log by then");
    }

    #[test]
    fn what_is_at_hand_is_bounded_in_number_and_in_bytes() {
        let channel = one();
        for seq in 1..=limits::RECENT_EVENTS_MAX as u64 + 5 {
            channel.push(event(seq));
        }
        let view = channel.view(0);
        assert_eq!((view.first, view.recent.len()), (5, limits::RECENT_EVENTS_MAX));
        let channel = one();
        for seq in 1..=20 {
            let mut entry = event(seq).entry.clone();
            entry.data = EventData::Output(vec![b'1'; limits::RECENT_BYTES_MAX / 4].into());
            channel.push(Published::new(entry, seq));
        }
        assert_eq!(seqs(&channel.view(0)), [18, 19, 20]);
        // What workers say of failures is counted, too: a thousand took 16 MiB.
        let channel = one();
        for seq in 1..=limits::RECENT_EVENTS_MAX as u64 {
            let mut entry = event(seq).entry.clone();
            let problem = Some(vec![b'1'; limits::PROBLEM_BYTES_MAX].into());
            let failure = Failure { problem, ..Failure::new(FailureCode::HandlerFailed, None) };
            entry.data = EventData::Failed(failure);
            channel.push(Published::new(entry, seq));
        }
        let kept = channel.view(0).recent.len() * limits::PROBLEM_BYTES_MAX;
        assert!(kept <= limits::RECENT_BYTES_MAX, "{kept} bytes");
    }

    #[test]
    fn a_channel_over_many_tasks_is_refreshed_once_for_all_that_became_known() {
        let channel = many();
        assert!(!channel.note(event(1)), "not before it has begun");
        assert!(channel.begin_at(9), "then what became known before");
        assert!(!channel.note(event(2)), "somebody is about to");
        assert!(!channel.note_erased(TASK));
        let news = channel.news().expect("it is stale");
        assert_eq!(news.head, 9);
        let (known, read) = (news.known[1].clone(), vec![event(1), event(2)]);
        channel.refreshed(news, Ok((read, 20)));
        let view = channel.view(0);
        assert_eq!(seqs(&view), [1, 2, 0], "in the order of the log, then what is in none");
        let Happening::Event(second) = &view.recent[1] else { panic!("{view:?}") };
        assert!(Arc::ptr_eq(second, &known), "what was made known is what is told");
        assert!(channel.news().is_none());
        assert!(channel.note(event(3)), "and again");
        let news = channel.news().expect("it is stale");
        assert_eq!(news.head, 20);
        channel.refreshed(news, Err(EngineError::Draining));
        assert!(channel.view(3).first > 3, "each reads for itself, and is told what is wrong");
    }
}
