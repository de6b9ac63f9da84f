//! Endpoints of webhooks, and the rows that wait for them.
//!
//! Whatever appends an entry to the log of a client's task writes, in the same transaction, a row for each
//! endpoint of its tenant whose filter takes it, and one for the task's own webhook
//! ([`relais_core::webhook::audience`]): the endpoint and the entry's position, no more. Nobody who
//! subscribed costs nothing, not even a read. What waits becomes an internal task by an
//! [`Accept`](crate::Accept) of the same number, once, by whichever node; the row stays as long as that task.

use relais_core::{
    DeliveryId, Endpoint, EndpointId, EndpointOp, EndpointStep, Entry, News, OwnWebhook, TaskId,
    TenantName, Timestamp, limits,
};

use crate::commit::Rejected;

/// A change of an endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointOf {
    pub id: EndpointId,
    /// If given, an endpoint of another tenant is not found.
    pub tenant: Option<TenantName>,
    pub op: EndpointOp,
    pub now: Timestamp,
}

impl EndpointOf {
    /// Whether one more endpoint may be kept beside so many of its tenant.
    ///
    /// # Errors
    /// When it may not.
    pub fn has_room(of_tenant: usize) -> Result<(), Rejected> {
        if of_tenant < limits::ENDPOINTS_MAX { Ok(()) } else { Err(Rejected::EndpointsFull) }
    }
}

/// What a change of an endpoint did.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointDone {
    /// What was decided.
    pub step: EndpointStep,
    /// For whom a delivery waits since: the others, and the endpoint itself if it has something waiting
    /// and is delivered to, or is no more.
    pub told: Vec<EndpointId>,
}

/// What waits for an endpoint since then, or longer, is given up, the oldest first: up to
/// [`DROPPED_AT_ONCE`] of it. For an endpoint that is kept it is counted, and the others are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DropDeliveries {
    pub endpoint: EndpointId,
    pub until: Timestamp,
    pub now: Timestamp,
}

/// Deliveries dropped in one commit: bounds how long other writes wait.
pub const DROPPED_AT_ONCE: usize = 1_000;

/// Which endpoints to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoints {
    /// Those of all tenants.
    All,
    /// Those of one.
    Of(TenantName),
    /// This one.
    One(EndpointId),
}

/// An endpoint, and how much waits for it.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointRow {
    pub endpoint: Endpoint,
    /// Deliveries that are not made into tasks yet. Kept, not counted.
    pub waiting: u64,
}

/// What waits for an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    pub tenant: TenantName,
    /// Since when the oldest waits.
    pub since: Timestamp,
    /// The places of what is told, the oldest first: at least one.
    pub places: Vec<u64>,
}

/// Which deliveries to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deliveries {
    /// This one.
    One(DeliveryId),
    /// To an endpoint, the newest first, of what happened before a place in the store's order.
    To { endpoint: EndpointId, before: Option<u64>, limit: usize },
    /// Of a task, the newest first: what is there while the task is.
    Of { task: TaskId, before: Option<DeliveryId>, limit: usize },
}

/// A delivery, waiting or made into a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    pub id: DeliveryId,
    /// Whose it is.
    pub tenant: TenantName,
    /// Since when it waits, or waited.
    pub at: Timestamp,
    /// Whether no internal task was made of it yet.
    pub is_waiting: bool,
    /// What is told; `None` if the entry cannot be read.
    pub told: Option<Told>,
    /// Where it goes, if to a task's own webhook.
    pub own: Option<OwnWebhook>,
}

/// What a delivery tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// An entry of the log of a task.
    Entry(Entry),
    /// What has no entry, or not any more.
    News(News),
}
