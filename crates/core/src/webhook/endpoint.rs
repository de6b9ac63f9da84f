//! An endpoint: where a tenant is told of its tasks, and how it stands.

use std::time::Duration;

use bytes::Bytes;
use minicbor::{Decode, Encode};

use super::{EndpointId, Filter, News};
use crate::limits;
use crate::name::TenantName;
use crate::time::Timestamp;

/// Where an endpoint comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum MadeIn {
    /// Somebody made it by the API.
    #[n(0)]
    Api,
    /// The operator's file says so; the API does not change it.
    #[n(1)]
    File,
}

/// What signs the deliveries of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Secret {
    /// The key, sealed for this endpoint.
    #[n(0)]
    #[cbor(with = "crate::cbor::opaque")]
    pub sealed: Bytes,
    /// Until when it signs beside a newer one; `None` for the newest.
    #[n(1)]
    pub until: Option<Timestamp>,
}

/// How an endpoint stands. Whatever it is, what is to be told to it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
pub enum Standing {
    /// It is delivered to.
    #[n(0)]
    Active {
        /// Since when all that was sent to it has failed; `None` if the last delivery arrived.
        #[n(0)]
        failing_since: Option<Timestamp>,
    },
    /// It answered that it is gone: nothing is sent until somebody resumes it.
    #[n(1)]
    Disabled {
        /// Since when.
        #[n(0)]
        at: Timestamp,
    },
    /// Nothing is sent until somebody resumes it.
    #[n(2)]
    Held {
        /// Since when.
        #[n(0)]
        at: Timestamp,
        /// Since when all had failed before; `None` if somebody held it.
        #[n(1)]
        failing_since: Option<Timestamp>,
    },
}

impl Standing {
    /// One that is delivered to, and of which nothing bad is known.
    pub const SOUND: Self = Self::Active { failing_since: None };

    /// Whether anything is sent to it.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Active { .. })
    }
}

/// Deliveries that nobody will make: too many waited, or for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Dropped {
    /// The place of the first, and of the last, of what was dropped.
    #[n(0)]
    pub first: u64,
    /// See `first`.
    #[n(1)]
    pub last: u64,
    /// How many.
    #[n(2)]
    pub count: u64,
    /// When the first was dropped.
    #[n(3)]
    pub since: Timestamp,
    /// When the last was.
    #[n(4)]
    pub until: Timestamp,
}

/// Where a tenant is told of what happens.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Endpoint {
    /// Its number.
    #[n(0)]
    pub id: EndpointId,
    /// Whose it is.
    #[n(1)]
    pub tenant: TenantName,
    /// Where it comes from.
    #[n(2)]
    pub made_in: MadeIn,
    /// Where it is.
    #[n(3)]
    pub url: String,
    /// What people call it.
    #[n(4)]
    pub description: Option<String>,
    /// What it is told.
    #[n(5)]
    pub filter: Filter,
    /// What signs: the newest first, at most [`limits::WEBHOOK_SECRETS_MAX`].
    #[n(6)]
    pub secrets: Vec<Secret>,
    /// When it was made.
    #[n(7)]
    pub created_at: Timestamp,
    /// When somebody changed it last.
    #[n(8)]
    pub updated_at: Timestamp,
    /// How it stands.
    #[n(9)]
    pub standing: Standing,
    /// What was dropped, the oldest first: at most [`limits::DROPPED_RANGES_MAX`] ranges.
    #[n(10)]
    pub dropped: Vec<Dropped>,
}

/// What somebody changes of an endpoint; `None` leaves a member as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndpointChange {
    /// See [`Endpoint::url`].
    pub url: Option<String>,
    /// See [`Endpoint::description`]; the inner `None` takes it away.
    pub description: Option<Option<String>>,
    /// See [`Endpoint::filter`].
    pub filter: Option<Filter>,
}

/// How an attempt to deliver ended, as far as it says something of the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It took it.
    Delivered,
    /// It did not.
    Failed,
    /// It said that it is gone for good.
    Gone,
}

/// What is asked of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointOp {
    /// It comes into being. One that is there stays as it is.
    Create(Box<Endpoint>),
    /// Somebody changes it.
    Change(EndpointChange),
    /// Another secret signs from now on; the one before goes on for a while.
    Rotate {
        /// The new key, sealed.
        sealed: Bytes,
        /// For how long both sign.
        overlap: Duration,
    },
    /// An attempt ended.
    Heard {
        /// How.
        heard: Heard,
        /// How long everything must have failed before it is held.
        hold_after: Duration,
    },
    /// Nothing is sent any more until it is resumed.
    Hold,
    /// It is delivered to again.
    Resume,
    /// The clock was set: since when everything fails is counted, and does not follow it.
    Shift {
        /// By so much, forward if positive.
        by_ms: i64,
    },
    /// It is no more.
    Remove,
}

/// What became of it, and what the tenant's other endpoints are told.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointStep {
    /// Afterwards; `None` if it is no more.
    pub endpoint: Option<Endpoint>,
    /// For the others.
    pub news: Option<News>,
}

/// There is no such endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such endpoint")]
pub struct NoSuchEndpoint;

/// Decides what `op` makes of an endpoint.
///
/// # Errors
/// When there is none, unless it is to come into being.
pub fn change(
    endpoint: Option<Endpoint>,
    op: EndpointOp,
    now: Timestamp,
) -> Result<EndpointStep, NoSuchEndpoint> {
    let mut endpoint = match (endpoint, op) {
        (Some(there), EndpointOp::Create(_)) => {
            return Ok(EndpointStep { endpoint: Some(there), news: None });
        }
        (None, EndpointOp::Create(new)) => {
            return Ok(EndpointStep { endpoint: Some(*new), news: None });
        }
        (Some(_), EndpointOp::Remove) => return Ok(EndpointStep { endpoint: None, news: None }),
        (Some(endpoint), op) => Decided { endpoint, news: None }.by(op, now),
        (None, _) => return Err(NoSuchEndpoint),
    };
    let news = endpoint.news.take();
    Ok(EndpointStep { endpoint: Some(endpoint.endpoint), news })
}

/// An endpoint that changes.
struct Decided {
    endpoint: Endpoint,
    news: Option<News>,
}

impl Decided {
    fn by(mut self, op: EndpointOp, now: Timestamp) -> Self {
        let endpoint = &mut self.endpoint;
        match op {
            EndpointOp::Create(_) | EndpointOp::Remove => {}
            EndpointOp::Change(change) => endpoint.take(change, now),
            EndpointOp::Rotate { sealed, overlap } => endpoint.rotate(sealed, overlap, now),
            EndpointOp::Heard { heard, hold_after } => {
                if let Some(standing) = endpoint.after(heard, hold_after, now) {
                    self.stand(standing);
                }
            }
            EndpointOp::Hold => {
                if endpoint.standing.is_active() {
                    self.stand(Standing::Held { at: now, failing_since: None });
                }
            }
            EndpointOp::Resume => endpoint.standing = Standing::SOUND,
            EndpointOp::Shift { by_ms } => {
                if let Standing::Active { failing_since: Some(since) } = &mut endpoint.standing {
                    *since = Timestamp::from_ms(since.as_ms().saturating_add(by_ms));
                }
            }
        }
        self
    }

    /// It stands otherwise from now on, which the others learn if it is delivered to no more.
    fn stand(&mut self, standing: Standing) {
        let id = self.endpoint.id;
        self.endpoint.standing = standing;
        self.news = match standing {
            Standing::Active { .. } => None,
            Standing::Disabled { .. } => Some(News::Disabled { endpoint: id }),
            Standing::Held { failing_since, .. } => {
                Some(News::Held { endpoint: id, failing_since })
            }
        };
    }
}

impl Endpoint {
    /// How it stands after an attempt, if that is another than before.
    #[must_use]
    pub fn after(&self, heard: Heard, hold_after: Duration, now: Timestamp) -> Option<Standing> {
        let Standing::Active { failing_since } = self.standing else { return None };
        match (heard, failing_since) {
            (Heard::Delivered, Some(_)) => Some(Standing::SOUND),
            (Heard::Gone, _) => Some(Standing::Disabled { at: now }),
            (Heard::Failed, None) => Some(Standing::Active { failing_since: Some(now) }),
            (Heard::Failed, Some(since)) if now.since(since) >= hold_after => {
                Some(Standing::Held { at: now, failing_since })
            }
            (Heard::Delivered, None) | (Heard::Failed, Some(_)) => None,
        }
    }

    /// The secrets that sign at a moment, the newest first.
    pub fn signing(&self, now: Timestamp) -> impl Iterator<Item = &Secret> {
        self.secrets.iter().filter(move |secret| secret.until.is_none_or(|until| now < until))
    }

    /// How many deliveries were dropped in all.
    #[must_use]
    pub fn dropped_count(&self) -> u64 {
        self.dropped.iter().map(|range| range.count).sum()
    }

    /// Notes that a delivery was dropped; what the others are told of it, once in a while.
    pub fn note_dropped(&mut self, pos: u64, now: Timestamp) -> Option<News> {
        let is_same = |range: &&mut Dropped| now < range.since.plus(limits::DROPPED_TOLD_EVERY);
        if let Some(range) = self.dropped.last_mut().filter(is_same) {
            range.last = pos;
            range.count += 1;
            range.until = now;
            return None;
        }
        self.dropped.push(Dropped { first: pos, last: pos, count: 1, since: now, until: now });
        if self.dropped.len() > limits::DROPPED_RANGES_MAX {
            let oldest = self.dropped.remove(0);
            let next = &mut self.dropped[0];
            *next = Dropped {
                first: oldest.first,
                count: oldest.count + next.count,
                since: oldest.since,
                ..*next
            };
        }
        Some(News::Dropped { endpoint: self.id, count: self.dropped_count() })
    }

    fn take(&mut self, change: EndpointChange, now: Timestamp) {
        let EndpointChange { url, description, filter } = change;
        if let Some(url) = url
            && url != self.url
        {
            // What is known of the old place says nothing of the new one. What somebody held stays held.
            if !matches!(self.standing, Standing::Held { failing_since: None, .. }) {
                self.standing = Standing::SOUND;
            }
            self.url = url;
        }
        if let Some(description) = description {
            self.description = description;
        }
        if let Some(filter) = filter {
            self.filter = filter;
        }
        self.updated_at = now;
    }

    fn rotate(&mut self, sealed: Bytes, overlap: Duration, now: Timestamp) {
        self.secrets.retain(|secret| secret.until.is_none_or(|until| now < until));
        if let Some(newest) = self.secrets.first_mut() {
            newest.until = Some(now.plus(overlap));
        }
        self.secrets.insert(0, Secret { sealed, until: None });
        self.secrets.truncate(limits::WEBHOOK_SECRETS_MAX);
        self.updated_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn at(s: i64) -> Timestamp {
        Timestamp::from_ms(s * 1_000)
    }

    fn endpoint() -> Endpoint {
        Endpoint {
            id: EndpointId::kept(7),
            tenant: "default".parse().expect("a name"),
            made_in: MadeIn::Api,
            url: "https://example.com/hook".to_owned(),
            description: None,
            filter: Filter::default(),
            secrets: vec![Secret { sealed: "first".into(), until: None }],
            created_at: at(0),
            updated_at: at(0),
            standing: Standing::SOUND,
            dropped: Vec::new(),
        }
    }

    fn by(endpoint: &Endpoint, op: EndpointOp, now: i64) -> (Endpoint, Option<News>) {
        let step = change(Some(endpoint.clone()), op, at(now)).expect("it is there");
        (step.endpoint.expect("it stays"), step.news)
    }

    fn heard(endpoint: &Endpoint, heard: Heard, now: i64) -> (Endpoint, Option<News>) {
        by(endpoint, EndpointOp::Heard { heard, hold_after: DAY }, now)
    }

    #[test]
    fn what_fails_for_long_enough_is_held_however_often_it_failed() {
        let (mut one, news) = heard(&endpoint(), Heard::Failed, 10);
        assert_eq!((one.standing, news), (Standing::Active { failing_since: Some(at(10)) }, None));
        for now in 11..1_000 {
            let (next, news) = heard(&one, Heard::Failed, now);
            assert_eq!((&next, news), (&one, None), "a thousand failures in minutes hold nothing");
            one = next;
        }
        let (held, news) = heard(&one, Heard::Failed, 10 + 86_400);
        let failing_since = Some(at(10));
        assert_eq!(held.standing, Standing::Held { at: at(86_410), failing_since });
        assert_eq!(news, Some(News::Held { endpoint: one.id, failing_since }));
        assert_eq!(heard(&held, Heard::Failed, 90_000), (held.clone(), None), "told once");
        // What was on its way arrives: somebody has to look all the same.
        assert_eq!(heard(&held, Heard::Delivered, 90_000), (held.clone(), None));
        assert_eq!(by(&held, EndpointOp::Resume, 90_001).0.standing, Standing::SOUND);
    }

    #[test]
    fn one_delivery_that_arrives_ends_the_failing() {
        let (failing, _) = heard(&endpoint(), Heard::Failed, 10);
        let (sound, news) = heard(&failing, Heard::Delivered, 80_000);
        assert_eq!((sound.standing, news), (Standing::SOUND, None));
        assert!(heard(&sound, Heard::Failed, 90_000).0.standing.is_active());
    }

    /// P74.
    #[test]
    fn an_endpoint_that_says_it_is_gone_is_disabled_at_once() {
        let (gone, news) = heard(&endpoint(), Heard::Gone, 5);
        assert_eq!(gone.standing, Standing::Disabled { at: at(5) });
        assert_eq!(news, Some(News::Disabled { endpoint: gone.id }));
    }

    #[test]
    fn a_clock_that_is_set_holds_nobody() {
        let (failing, _) = heard(&endpoint(), Heard::Failed, 10);
        let day_ms = 86_400_000;
        let (shifted, _) = by(&failing, EndpointOp::Shift { by_ms: day_ms }, 86_420);
        assert!(heard(&shifted, Heard::Failed, 86_420).0.standing.is_active());
        assert!(!heard(&failing, Heard::Failed, 86_420).0.standing.is_active());
        assert_eq!(by(&endpoint(), EndpointOp::Shift { by_ms: day_ms }, 1).0, endpoint());
    }

    #[test]
    fn two_secrets_sign_while_they_overlap() {
        let rotate = |endpoint: &Endpoint, text: &'static str, now| {
            let (sealed, overlap) = (text.into(), Duration::from_secs(60));
            by(endpoint, EndpointOp::Rotate { sealed, overlap }, now).0
        };
        let signing = |endpoint: &Endpoint, now| {
            endpoint.signing(at(now)).map(|secret| secret.sealed.clone()).collect::<Vec<_>>()
        };
        let second = rotate(&endpoint(), "second", 100);
        assert_eq!(signing(&second, 159), ["second", "first"]);
        assert_eq!(signing(&second, 160), ["second"]);
        let third = rotate(&second, "third", 159);
        assert_eq!(signing(&third, 159), ["third", "second", "first"]);
        assert_eq!(signing(&third, 160), ["third", "second"]);
        assert_eq!(rotate(&third, "fourth", 500).secrets.len(), 2, "what has ended is forgotten");
        let many = (0..9).fold(third, |endpoint, _| rotate(&endpoint, "more", 159));
        assert_eq!(many.secrets.len(), limits::WEBHOOK_SECRETS_MAX);
    }

    #[test]
    fn another_url_begins_anew_unless_somebody_holds_it() {
        let change = |url: &str| {
            let url = Some(url.to_owned());
            EndpointOp::Change(EndpointChange { url, ..EndpointChange::default() })
        };
        let (gone, _) = heard(&endpoint(), Heard::Gone, 5);
        assert_eq!(by(&gone, change(&gone.url), 6).0.standing, gone.standing);
        let (moved, _) = by(&gone, change("https://example.com/new"), 6);
        assert_eq!((moved.standing, moved.updated_at), (Standing::SOUND, at(6)));
        let (held, news) = by(&endpoint(), EndpointOp::Hold, 7);
        assert_eq!(news, Some(News::Held { endpoint: held.id, failing_since: None }));
        assert!(!by(&held, change("https://example.com/new"), 8).0.standing.is_active());
    }

    #[test]
    fn what_is_dropped_is_counted_and_told_of_once_an_hour() {
        let mut one = endpoint();
        let told = |one: &mut Endpoint, pos, now| one.note_dropped(pos, at(now)).is_some();
        assert!(told(&mut one, 5, 0));
        assert!(!told(&mut one, 9, 3_599));
        assert_eq!(
            one.note_dropped(12, at(3_600)),
            Some(News::Dropped { endpoint: one.id, count: 3 })
        );
        let first = Dropped { first: 5, last: 9, count: 2, since: at(0), until: at(3_599) };
        assert_eq!(one.dropped[0], first);
        for hour in 2..100 {
            told(&mut one, hour as u64 * 100, hour * 3_600);
        }
        assert_eq!((one.dropped.len(), one.dropped_count()), (limits::DROPPED_RANGES_MAX, 101));
        assert_eq!(one.dropped[0].first, 5);
    }

    #[test]
    fn what_is_not_there_cannot_change() {
        assert_eq!(change(None, EndpointOp::Resume, at(1)), Err(NoSuchEndpoint));
        let new = EndpointOp::Create(Box::new(endpoint()));
        let made = change(None, new.clone(), at(1)).expect("it comes into being");
        let held = by(&endpoint(), EndpointOp::Hold, 1).0;
        let again = change(Some(held.clone()), new, at(2)).expect("it is there");
        assert_eq!((made.endpoint, again.endpoint), (Some(endpoint()), Some(held)));
    }
}
