//! Who runs a task.

use minicbor::{Decode, Encode};

/// Who runs a task; fixed when it is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Runner {
    /// Relais calls the upstream.
    #[n(0)]
    Upstream {
        /// Scheme, host and port of the upstream: what pauses and limits of a service hold for.
        #[n(0)]
        #[cbor(with = "crate::cbor::text")]
        origin: std::sync::Arc<str>,
        /// Whether the request may be sent again after a lost answer: an idempotent method, or an
        /// upstream declared so.
        #[n(1)]
        repeatable: bool,
    },
    /// Workers lease it.
    #[n(1)]
    Workers,
    /// A handler within the process runs it.
    #[n(2)]
    Inline,
    /// Relais delivers what the row of the same number says: see [`DeliveryId`](crate::DeliveryId). Of
    /// internal tasks alone.
    #[n(3)]
    Delivery,
}

impl Runner {
    /// The origin that is called, if Relais calls one.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        match self {
            Self::Upstream { origin, .. } => Some(origin),
            Self::Workers | Self::Inline | Self::Delivery => None,
        }
    }

    /// Whether an attempt whose end is unknown may be followed by another.
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        match self {
            Self::Upstream { repeatable, .. } => *repeatable,
            Self::Workers | Self::Inline | Self::Delivery => true,
        }
    }
}
