//! Webhooks: who is told of what, by which number, and what becomes of an endpoint.
//!
//! Not here: how a delivery is sent and signed, and the order of attempts, which is that of every task. A
//! store applies [`change`] inside its own transaction, and writes a row for each endpoint whose
//! [`Filter`] takes what the transaction appends.

mod endpoint;
mod topic;
mod verdict;

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};

pub use endpoint::{
    Dropped, Endpoint, EndpointChange, EndpointOp, EndpointStep, Heard, MadeIn, NoSuchEndpoint,
    Secret, Standing, change,
};
pub use topic::{Filter, InvalidTopic, Topic, Topics};
pub use verdict::{Verdict, Wish, judge};

use crate::event::{Entry, EventData};
use crate::id::{InvalidId, TaskId, decode_half, encode_half};
use crate::spec::Spec;
use crate::time::Timestamp;

const ENDPOINT_PREFIX: &str = "wh_";
const DELIVERY_PREFIX: &str = "msg_";
/// Set in the numbers of tasks' own webhooks.
const OWN_BIT: u64 = 1 << 63;

/// The number of an endpoint: `wh_` and 13 digits in base 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct EndpointId(#[n(0)] u64);

impl EndpointId {
    /// That of an endpoint of a tenant, from 63 bits nobody else has.
    #[must_use]
    pub const fn kept(bits: u64) -> Self {
        Self(bits & !OWN_BIT)
    }

    /// That of a task's own webhook: 63 bits of a hash of its tenant and URL, so that all that goes to
    /// one URL goes through one lane.
    #[must_use]
    pub const fn own(hash: u64) -> Self {
        Self(hash | OWN_BIT)
    }

    /// As it is stored.
    #[must_use]
    pub const fn from_u64(bits: u64) -> Self {
        Self(bits)
    }

    /// The number.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Whether it is a task's own webhook, of which nothing is kept beside its tasks and deliveries.
    #[must_use]
    pub const fn is_own(self) -> bool {
        self.0 & OWN_BIT != 0
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{ENDPOINT_PREFIX}{}", encode_half(self.0))
    }
}

impl FromStr for EndpointId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        decode_half(text.strip_prefix(ENDPOINT_PREFIX).ok_or(InvalidId)?).map(Self)
    }
}

/// What is told to one endpoint of one change: where it goes, and the change's place in the store's order.
///
/// It is the key of the row that waits, the id of the internal task that delivers it, and the `webhook-id`
/// that its receiver sees: whatever is done twice is done under the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId {
    /// To whom.
    pub endpoint: EndpointId,
    /// The place of what is told.
    pub pos: u64,
}

impl DeliveryId {
    /// The id of the internal task that delivers it.
    #[must_use]
    pub const fn task(self) -> TaskId {
        TaskId::from_u128((self.endpoint.0 as u128) << 64 | self.pos as u128)
    }

    /// What an internal task whose runner is [`Runner::Delivery`](crate::Runner::Delivery) delivers.
    #[must_use]
    pub const fn of_task(task: TaskId) -> Self {
        let bits = task.as_u128();
        Self { endpoint: EndpointId((bits >> 64) as u64), pos: bits as u64 }
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{DELIVERY_PREFIX}{}_{}", encode_half(self.endpoint.0), self.pos)
    }
}

impl FromStr for DeliveryId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let id = text.strip_prefix(DELIVERY_PREFIX).ok_or(InvalidId)?;
        let (endpoint, pos) = id.split_once('_').ok_or(InvalidId)?;
        let is_plain = !pos.starts_with('0') && pos.bytes().all(|byte| byte.is_ascii_digit());
        let pos = pos.parse().ok().filter(|_| is_plain).ok_or(InvalidId)?;
        Ok(Self { endpoint: EndpointId(decode_half(endpoint)?), pos })
    }
}

/// A webhook that a task brings along, for itself alone.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct OwnWebhook {
    /// Its number: see [`EndpointId::own`].
    #[n(0)]
    pub endpoint: EndpointId,
    /// Where it goes.
    #[n(1)]
    pub url: String,
    /// What is told.
    #[n(2)]
    pub topics: Topics,
}

/// What a delivery tells where no entry of a log does: because there is none, or not any more.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cbor(flat)]
pub enum News {
    /// An entry whose task is gone, as it was, without the result.
    #[n(0)]
    Entry {
        /// See [`Entry`].
        #[n(0)]
        task: TaskId,
        /// See [`Entry`].
        #[n(1)]
        seq: u64,
        /// See [`Entry`].
        #[n(2)]
        at: Timestamp,
        /// See [`Entry`].
        #[n(3)]
        attempt: u32,
        /// See [`Entry`].
        #[n(4)]
        data: EventData,
    },
    /// Nothing any more: the task was erased before it was told.
    #[n(1)]
    Withdrawn,
    /// A task was erased.
    #[n(2)]
    Erased {
        /// Its id, and nothing else.
        #[n(0)]
        task: TaskId,
    },
    /// Another endpoint answered that it is gone.
    #[n(3)]
    Disabled {
        /// Which.
        #[n(0)]
        endpoint: EndpointId,
    },
    /// Another endpoint is held: nothing is sent to it until somebody resumes it.
    #[n(4)]
    Held {
        /// Which.
        #[n(0)]
        endpoint: EndpointId,
        /// Since when all that was sent to it had failed; `None` if somebody held it.
        #[n(1)]
        failing_since: Option<Timestamp>,
    },
    /// Deliveries to another endpoint were dropped, because too many waited, or for too long.
    #[n(5)]
    Dropped {
        /// Which.
        #[n(0)]
        endpoint: EndpointId,
        /// How many of its deliveries have been dropped in all.
        #[n(1)]
        count: u64,
    },
}

impl News {
    /// An entry as it outlives its task.
    #[must_use]
    pub fn outliving(entry: Entry) -> Self {
        let Entry { task, seq, at, attempt, data } = entry;
        Self::Entry { task, seq, at, attempt, data: data.without_result() }
    }

    /// What it is about; `None` if nothing is left to tell.
    #[must_use]
    pub const fn topic(&self) -> Option<Topic> {
        match self {
            Self::Entry { data, .. } => Some(Topic::Task(data.kind())),
            Self::Withdrawn => None,
            Self::Erased { .. } => Some(Topic::Erased),
            Self::Disabled { .. } => Some(Topic::Disabled),
            Self::Held { .. } => Some(Topic::Held),
            Self::Dropped { .. } => Some(Topic::Dropped),
        }
    }
}

/// What the row of a delivery says where its entry does not.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Notice {
    /// What is told.
    #[n(0)]
    pub news: News,
    /// Where it goes, if that is a task's own webhook.
    #[n(1)]
    pub own: Option<OwnWebhook>,
}

/// Who is told what happened to a task: its own webhook, then those endpoints of its tenant that take it.
/// Nobody, of an internal one.
pub fn audience<'a>(
    spec: &'a Spec,
    topic: Topic,
    endpoints: impl Iterator<Item = &'a Endpoint>,
) -> impl Iterator<Item = EndpointId> {
    let is_told = spec.purpose.causes_deliveries();
    let own = spec.webhook.as_ref().filter(|own| own.topics.contains(topic));
    let takes = move |endpoint: &&Endpoint| endpoint.filter.takes(topic, Some(&spec.queue));
    let all =
        own.map(|own| own.endpoint).into_iter().chain(endpoints.filter(takes).map(|it| it.id));
    all.filter(move |_| is_told)
}

/// Who is told what became of an endpoint: the others of its tenant that take it.
pub fn others<'a>(
    about: EndpointId,
    topic: Topic,
    endpoints: impl Iterator<Item = &'a Endpoint>,
) -> impl Iterator<Item = EndpointId> {
    let takes = move |it: &&Endpoint| it.id != about && it.filter.takes(topic, None);
    endpoints.filter(takes).map(|it| it.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_has_one_number_in_three_forms() {
        let endpoint = EndpointId::kept(0x0123_4567_89ab_cdef);
        let delivery = DeliveryId { endpoint, pos: 4_711 };
        assert_eq!(DeliveryId::of_task(delivery.task()), delivery);
        assert_eq!(delivery.to_string(), "msg_028t5cy4tqkff_4711");
        assert_eq!(delivery.to_string().parse(), Ok(delivery));
        assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
        // A dot would end the id within what is signed.
        assert!(!delivery.to_string().contains('.'));
        for wrong in ["msg_028t5cy4tqkff_", "msg_028t5cy4tqkff_01", "msg_028t5cy4tqkf_1", "msg_é_1"]
        {
            assert_eq!(wrong.parse::<DeliveryId>(), Err(InvalidId), "{wrong}");
        }
        assert_eq!("wh_z28t5cy4tqkff".parse::<EndpointId>(), Err(InvalidId), "over 64 bits");
    }

    #[test]
    fn a_tasks_own_webhook_is_no_endpoint_of_a_tenant() {
        assert!(EndpointId::own(5).is_own() && !EndpointId::kept(u64::MAX).is_own());
        assert_eq!(EndpointId::own(5), EndpointId::own(5 | OWN_BIT));
    }

    #[test]
    fn what_outlives_its_task_has_no_result() {
        let data = EventData::Succeeded { result: Some("1".into()), message: Some("{}".into()) };
        let (task, at) = (TaskId::from_u128(1), Timestamp::from_ms(5));
        let news = News::outliving(Entry { task, seq: 3, at, attempt: 1, data });
        let News::Entry { data, .. } = news else { panic!("{news:?}") };
        assert_eq!(data, EventData::Succeeded { result: None, message: Some("{}".into()) });
    }
}
