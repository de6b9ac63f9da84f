//! Tickets: another one for the same task.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::bounded;
use crate::object::object;
use crate::time::{Span, Time};
use crate::words::words;

words! {
    /// What a ticket lets its bearer do.
    Grant {
        /// See the task, its events and its result.
        Read = "read",
        /// Call it off.
        Cancel = "cancel",
        /// Run it again.
        Retry = "retry",
    }
}

/// The body of `POST /v1/tasks/{id}/tickets`; it may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct TicketRequest {
    /// What it is to grant, of what the caller may do itself; all that its own ticket grants unless
    /// given, and for a caller with a key what the ticket of the 202 granted.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounded::list")]
    #[schema(max_items = 3)]
    pub grants: Vec<Grant>,
    /// How long it is to last; up to the end of the task's retention unless given, and at most so
    /// long. One that is asked for by the cookie of a session lasts an hour at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Span>,
}

/// Another ticket for a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct TicketResponse {
    /// The ticket.
    pub ticket: String,
    /// What it grants.
    #[serde(deserialize_with = "bounded::list")]
    pub grants: Vec<Grant>,
    /// When it ends.
    pub expires_at: Time,
}

object!(TicketRequest, TicketResponse);
