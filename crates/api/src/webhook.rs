//! Webhooks: endpoints, what is sent to them, and the log of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::object::object;
use crate::raw::RawJson;
use crate::time::{Span, Time};
use crate::words::words;

words! {
    /// How an endpoint stands. Whatever it says, what is to be told to it is kept.
    WebhookStatus {
        /// It is delivered to, and what was sent last arrived.
        Active = "active",
        /// It is delivered to, and all that was sent since `failing_since` failed.
        Failing = "failing",
        /// It answered 410, and gets nothing until it is resumed.
        Disabled = "disabled",
        /// All had failed for too long, or somebody held it: it gets nothing until it is resumed.
        Held = "held",
    }
}

words! {
    /// How a delivery stands.
    DeliveryStatus {
        /// It waits for its endpoint.
        Waiting = "waiting",
        /// It is about to be sent, or to be sent again.
        Queued = "queued",
        /// It is being sent.
        Running = "running",
        /// It arrived.
        Delivered = "delivered",
        /// It did not, and is not tried again by itself.
        Failed = "failed",
        /// It is not wanted any more: its task was erased, or its endpoint removed.
        Canceled = "canceled",
    }
}

/// What a webhook is sent: the body of the request, as Standard Webhooks has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct WebhookEvent {
    /// What happened: `task.` and the type of an event, `task.erased`, or `webhook.disabled`,
    /// `webhook.held`, `webhook.dropped` of another endpoint.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it happened.
    pub timestamp: Time,
    /// Of a task's event its document, as on every stream: [`crate::Event`]. Of `task.erased` the id:
    /// `{"task"}`. Of an endpoint [`WebhookNews`].
    pub data: RawJson,
}

/// What became of another endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct WebhookNews {
    /// The endpoint.
    pub webhook: String,
    /// Of `webhook.held`: since when all had failed; absent if somebody held it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Time>,
    /// Of `webhook.dropped`: how many of its deliveries were dropped in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<u64>,
}

/// What one attempt sent, and what came back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct Exchange {
    /// Where to. A query is shown as `?…`, because it may hold secrets.
    pub url: String,
    /// The fields of the request. Values that are secret are shown as `…`.
    #[serde(default)]
    pub request: BTreeMap<String, String>,
    /// The status of the answer, if one came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The fields of the answer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub answer: BTreeMap<String, String>,
    /// The first 4 KiB of the body of the answer, as text; bytes that are not UTF-8 are U+FFFD.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Why there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How long it took, up to the end of what was read of the answer.
    pub took: Span,
}

object!(WebhookEvent, WebhookNews, Exchange);
