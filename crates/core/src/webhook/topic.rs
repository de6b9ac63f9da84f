//! What may be told, and who takes it.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};

use crate::event::EventKind;
use crate::name::QueueName;

/// What may be told to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// An entry of this kind in the log of a task.
    Task(EventKind),
    /// A task was erased.
    Erased,
    /// Another endpoint is disabled.
    Disabled,
    /// Another endpoint is held.
    Held,
    /// Deliveries to another endpoint were dropped.
    Dropped,
}

/// The text is no type of what is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no type of event, like \"task.succeeded\"")]
pub struct InvalidTopic;

impl Topic {
    /// All that there are.
    pub fn all() -> impl Iterator<Item = Self> {
        let tasks = EventKind::ALL.iter().copied().map(Self::Task);
        tasks.chain([Self::Erased, Self::Disabled, Self::Held, Self::Dropped])
    }

    /// The `type` as it travels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Task(kind) => kind.topic(),
            Self::Erased => "task.erased",
            Self::Disabled => "webhook.disabled",
            Self::Held => "webhook.held",
            Self::Dropped => "webhook.dropped",
        }
    }

    /// Whether it is about a task, and not about an endpoint.
    #[must_use]
    pub const fn is_of_task(self) -> bool {
        matches!(self, Self::Task(_) | Self::Erased)
    }

    /// Its place among [`Topics`]. Kinds of entries take theirs in order, so that a new one comes last.
    const fn bit(self) -> u32 {
        1 << match self {
            Self::Task(kind) => kind as u32,
            Self::Erased => 24,
            Self::Disabled => 25,
            Self::Held => 26,
            Self::Dropped => 27,
        }
    }
}

const _: () = assert!(EventKind::ALL.len() < 24);

impl FromStr for Topic {
    type Err = InvalidTopic;

    fn from_str(text: &str) -> Result<Self, InvalidTopic> {
        Self::all().find(|topic| topic.as_str() == text).ok_or(InvalidTopic)
    }
}

/// A set of them.
#[derive(Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Topics(#[n(0)] u32);

impl Topics {
    /// Whether this is among them.
    #[must_use]
    pub const fn contains(self, topic: Topic) -> bool {
        self.0 & topic.bit() != 0
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that are in it.
    pub fn iter(self) -> impl Iterator<Item = Topic> {
        Topic::all().filter(move |topic| self.contains(*topic))
    }
}

/// What is told unless somebody says otherwise: how each run of a task ends, that it was erased, and what
/// becomes of the other endpoints.
impl Default for Topics {
    fn default() -> Self {
        let is_rare = |topic: &Topic| match topic {
            Topic::Task(kind) => kind.is_terminal(),
            Topic::Erased | Topic::Disabled | Topic::Held | Topic::Dropped => true,
        };
        Topic::all().filter(is_rare).collect()
    }
}

impl FromIterator<Topic> for Topics {
    fn from_iter<I: IntoIterator<Item = Topic>>(topics: I) -> Self {
        Self(topics.into_iter().fold(0, |bits, topic| bits | topic.bit()))
    }
}

impl fmt::Debug for Topics {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.iter().map(Topic::as_str)).finish()
    }
}

/// What an endpoint takes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Filter {
    /// Of what kinds.
    #[n(0)]
    pub topics: Topics,
    /// Of tasks of which queues; of all, if none is named.
    #[n(1)]
    pub queues: Vec<QueueName>,
}

impl Filter {
    /// Whether it takes what happened to a task of this queue, or to an endpoint, which has none.
    #[must_use]
    pub fn takes(&self, topic: Topic, queue: Option<&QueueName>) -> bool {
        let is_of_queue = |queue| self.queues.is_empty() || self.queues.contains(queue);
        self.topics.contains(topic) && queue.is_none_or(is_of_queue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P37: what is told of each attempt is taken for the end by who did not ask for it.
    #[test]
    fn the_end_of_a_run_is_told_unless_more_is_asked_for() {
        let told: Vec<_> = Topics::default().iter().map(Topic::as_str).collect();
        let expected = [
            "task.succeeded",
            "task.failed",
            "task.canceled",
            "task.erased",
            "webhook.disabled",
            "webhook.held",
            "webhook.dropped",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn every_topic_has_a_word_and_a_place_of_its_own() {
        let mut bits: Vec<_> = Topic::all().map(Topic::bit).collect();
        for topic in Topic::all() {
            assert_eq!(topic.as_str().parse(), Ok(topic));
            assert_eq!(Topics::from_iter([topic]).iter().collect::<Vec<_>>(), [topic]);
            // Standard Webhooks: letters, digits, `_` and dots.
            let is_plain = |byte: u8| byte.is_ascii_lowercase() || matches!(byte, b'.' | b'_');
            assert!(topic.as_str().bytes().all(is_plain));
        }
        bits.sort_unstable();
        bits.dedup();
        assert_eq!(bits.len(), Topic::all().count());
        assert_eq!("task.finished".parse::<Topic>(), Err(InvalidTopic));
    }

    #[test]
    fn a_filter_takes_tasks_of_its_queues_and_every_endpoint() {
        let queue = |name: &str| name.parse::<QueueName>().expect("a name");
        let filter = Filter { queues: vec![queue("mail")], ..Filter::default() };
        let end = Topic::Task(EventKind::Failed);
        assert!(filter.takes(end, Some(&queue("mail"))));
        assert!(!filter.takes(end, Some(&queue("imports"))));
        assert!(!filter.takes(Topic::Task(EventKind::Started), Some(&queue("mail"))));
        assert!(filter.takes(Topic::Held, None));
        assert!(Filter::default().takes(end, Some(&queue("imports"))));
    }
}
