//! Who waits for a task, and what becomes of it once all of them have left.
//!
//! A node counts the connections that wait for a task, stream its answer or follow it; what is stored is
//! only whether it has any. Where a task goes on in any case ([`Spec::grace`](crate::Spec) is `None`),
//! nothing is counted and nothing is stored.

use std::time::Duration;

use minicbor::{Decode, Encode};

use crate::limits;
use crate::time::Timestamp;

/// How long a task goes on once everybody who attended it has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Grace(
    #[cbor(with = "crate::cbor::span")]
    #[n(0)]
    Duration,
);

impl Grace {
    /// It is canceled at once.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// So long; `None` if that is less than [`limits::GRACE_MIN`], in which nobody comes back, or
    /// more than [`limits::HORIZON_MAX`].
    #[must_use]
    pub fn of(span: Duration) -> Option<Self> {
        (limits::GRACE_MIN..=limits::HORIZON_MAX).contains(&span).then_some(Self(span))
    }

    /// How long it is; zero for a task that is canceled at once.
    #[must_use]
    pub const fn span(self) -> Duration {
        self.0
    }

    /// The longest that whoever asks how the task stands may be told to wait before it asks again, so
    /// that two of its requests may be lost.
    #[must_use]
    pub fn ask_within(self) -> Duration {
        self.0 / 3
    }
}

/// Whether anybody waits for a task that is canceled when all have left.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
pub enum Attendance {
    /// These nodes have connections that attend it, each once; and whether the last that went had broken
    /// off. One that only asked how the task stands, and was told, does not count as gone: it says nothing
    /// of the others.
    #[n(0)]
    By(#[n(0)] Vec<u64>, #[n(1)] bool),
    /// The last of them broke: the task is canceled at this moment, unless somebody comes before.
    #[n(1)]
    Until(#[n(0)] Timestamp),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grace_is_long_enough_to_come_back() {
        let s = Duration::from_secs;
        assert_eq!(Grace::of(limits::GRACE_MIN - Duration::from_millis(1)), None);
        assert_eq!(Grace::of(limits::GRACE_MIN).map(Grace::ask_within), Some(s(1)));
        assert_eq!(Grace::of(s(60)).map(Grace::span), Some(s(60)));
        assert_eq!(Grace::of(limits::HORIZON_MAX + s(1)), None);
        assert_eq!(Grace::ZERO.span(), Duration::ZERO);
    }
}
