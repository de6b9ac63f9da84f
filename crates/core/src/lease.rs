//! The right to run an attempt: who has it, and until when.

use std::time::Duration;

use minicbor::{Decode, Encode};

use crate::time::Timestamp;

/// Who holds a lease.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
pub enum Holder {
    /// A node, which is a process of Relais that runs the attempt itself: what one held that is dead
    /// is found by its number.
    #[n(0)]
    Relais {
        /// The number of the node, drawn at its start.
        #[n(0)]
        epoch: u64,
    },
    /// A worker, by the name it gave.
    #[n(1)]
    Worker {
        /// For people only; may be empty.
        #[n(0)]
        name: String,
    },
}

/// How it is known that a holder is gone, which left its attempt without an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// Relais itself gave the attempt up, because its operator stopped it and the time for that was over.
    Stopped,
    /// The process of Relais that ran the attempt is not there any more.
    Died,
    /// A fault of Relais itself broke the attempt off.
    Broke,
    /// Nothing was heard of the holder for a whole lease.
    Silent,
}

/// The time-limited, fenced right to run one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Lease {
    /// The fence: drawn for each attempt.
    #[n(0)]
    #[cbor(with = "crate::cbor::bits")]
    pub nonce: u128,
    /// When it ends unless it is extended.
    #[n(1)]
    pub until: Timestamp,
    /// How long it lasts from a sign of life.
    #[n(2)]
    #[cbor(with = "crate::cbor::span")]
    pub span: Duration,
    /// Who holds it.
    #[n(3)]
    pub holder: Holder,
}

impl Lease {
    /// A lease that begins at `now`.
    #[must_use]
    pub fn new(nonce: u128, now: Timestamp, span: Duration, holder: Holder) -> Self {
        Self { nonce, until: now.plus(span), span, holder }
    }

    /// Until when it holds, seen at `now`; `None` if it is over.
    ///
    /// Silence proves that a holder is gone only if it could have spoken. Since `here_since`
    /// a server has been there: a lease that ended before, or soon after, lasts one more
    /// from then on. And it is a duration: if the clock was set back it ends a whole lease
    /// from now on at the latest.
    #[must_use]
    pub fn holds_until(&self, here_since: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let longest = now.plus(self.span);
        if self.until > now {
            return Some(self.until.min(longest));
        }
        Some(here_since.plus(self.span).min(longest)).filter(|until| *until > now)
    }

    /// Whether it ends later than one that begins at `now`: the clock was set back
    /// since its last sign of life.
    #[must_use]
    pub fn is_beyond(&self, now: Timestamp) -> bool {
        self.until > now.plus(self.span)
    }
}
