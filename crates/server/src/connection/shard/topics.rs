//! Who follows which channel, in one shard.

use std::collections::HashMap;
use std::sync::Arc;

use relais_engine::{Channel, Inbox};
use slab::Slab;

/// The followers of all channels that a shard has followers of, by their slots.
pub(in crate::connection) struct Topics {
    /// Where the shard is told of what happens.
    inbox: Arc<Inbox>,
    topics: Slab<Topic>,
    /// Topics by where their channel is in memory: it stays there while there is the topic.
    by_channel: HashMap<usize, u32>,
    /// Where each slot stands.
    places: Vec<Option<Place>>,
}

struct Topic {
    channel: Arc<Channel>,
    slots: Vec<u32>,
}

/// Where a follower stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    topic: u32,
    index: u32,
}

impl Topics {
    pub(in crate::connection) fn new(inbox: Arc<Inbox>) -> Self {
        Self { inbox, topics: Slab::new(), by_channel: HashMap::new(), places: Vec::new() }
    }

    /// A follower comes, unless it is there.
    pub(in crate::connection) fn join(&mut self, channel: &Arc<Channel>, slot: u32) {
        if self.places.len() <= slot as usize {
            self.places.resize(slot as usize + 1, None);
        }
        if self.places[slot as usize].is_some() {
            return;
        }
        let topics = &mut self.topics;
        let topic = *self.by_channel.entry(address(channel)).or_insert_with(|| {
            let topic = topics.insert(Topic { channel: channel.clone(), slots: Vec::new() });
            let topic = super::slot_of(topic);
            channel.join(&self.inbox, topic);
            topic
        });
        let slots = &mut topics[topic as usize].slots;
        slots.push(slot);
        let index = super::slot_of(slots.len() - 1);
        self.places[slot as usize] = Some(Place { topic, index });
    }

    /// A follower goes, if it is there.
    pub(in crate::connection) fn leave(&mut self, slot: u32) {
        let place = self.places.get_mut(slot as usize).and_then(Option::take);
        let Some(place) = place else { return };
        let topic = &mut self.topics[place.topic as usize];
        topic.slots.swap_remove(place.index as usize);
        if topic.slots.is_empty() {
            topic.channel.leave(&self.inbox);
            self.by_channel.remove(&address(&topic.channel));
            self.topics.remove(place.topic as usize);
        } else if let Some(moved) = topic.slots.get(place.index as usize) {
            self.places[*moved as usize] = Some(place);
        }
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
