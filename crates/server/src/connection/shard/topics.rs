//! Who follows which channel, in one shard.

use std::collections::HashMap;
use std::sync::Arc;

use relais_engine::{Channel, Inbox};
use slab::Slab;

/// The followers of all channels that a shard has followers of.
#[derive(Default)]
pub(in crate::connection) struct Topics {
    topics: Slab<Topic>,
    /// Topics by where their channel is in memory: it stays there while there is the topic.
    by_channel: HashMap<usize, u32>,
}

struct Topic {
    channel: Arc<Channel>,
    slots: Vec<u32>,
}

/// Where a follower stands.
#[derive(Debug, Clone, Copy)]
pub(in crate::connection) struct Place {
    topic: u32,
    index: u32,
}

impl Topics {
    /// A follower comes; the first of a channel has `inbox` told of what happens.
    pub(in crate::connection) fn join(
        &mut self,
        channel: &Arc<Channel>,
        slot: u32,
        inbox: &Arc<Inbox>,
    ) -> Place {
        let topics = &mut self.topics;
        let topic = *self.by_channel.entry(address(channel)).or_insert_with(|| {
            let topic = topics.insert(Topic { channel: channel.clone(), slots: Vec::new() });
            let topic = super::slot_of(topic);
            channel.join(inbox, topic);
            topic
        });
        let slots = &mut topics[topic as usize].slots;
        slots.push(slot);
        Place { topic, index: super::slot_of(slots.len() - 1) }
    }

    /// A follower goes. Answers who stands at its place now.
    pub(in crate::connection) fn leave(&mut self, place: Place, inbox: &Arc<Inbox>) -> Option<u32> {
        let topic = &mut self.topics[place.topic as usize];
        topic.slots.swap_remove(place.index as usize);
        if topic.slots.is_empty() {
            topic.channel.leave(inbox);
            self.by_channel.remove(&address(&topic.channel));
            self.topics.remove(place.topic as usize);
            return None;
        }
        topic.slots.get(place.index as usize).copied()
    }

    /// The followers of a topic, if there still is one.
    pub(in crate::connection) fn followers(&self, topic: u32) -> Option<(Arc<Channel>, Vec<u32>)> {
        let topic = self.topics.get(topic as usize)?;
        Some((topic.channel.clone(), topic.slots.clone()))
    }
}

fn address(channel: &Arc<Channel>) -> usize {
    Arc::as_ptr(channel).addr()
}
