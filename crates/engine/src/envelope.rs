//! What the engine remembers of requests and answers beside their bytes: the heads of bodies, and
//! the context of a task. Stored as a version byte and postcard; opaque to rules and stores.

use bytes::Bytes;
use relais_core::limits;
use relais_store::{Body, Data, StoreError};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

/// The layout of every envelope below. Fields are appended only together with a new version.
const VERSION: u8 = 1;

/// A header field: its name in lower case, and its value as it was sent.
pub type Field = (String, Bytes);

/// The head of a stored request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RequestHead {
    /// The method, for a pushed task.
    pub method: String,
    /// Path and query as they came.
    pub target: String,
    /// The end-to-end fields, in order, without those that are sealed.
    pub fields: Vec<Field>,
    /// The values of the names in its route's path, decoded.
    pub params: Vec<(String, String)>,
}

/// The head of a stored answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultHead {
    /// The status.
    pub status: u16,
    /// The end-to-end fields, in order.
    pub fields: Vec<Field>,
    /// Whether the answer had a body at all (HEAD, 204 and 304 have none).
    pub has_body: bool,
}

impl ResultHead {
    /// The media type.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        let (_, value) = self.fields.iter().find(|(name, _)| name == "content-type")?;
        std::str::from_utf8(value).ok()
    }

    /// Whether the body is JSON as it stands, without a content coding around it.
    #[must_use]
    pub fn has_plain_json(&self) -> bool {
        let is_coded = self.fields.iter().any(|(name, _)| name == "content-encoding");
        !is_coded && self.content_type().is_some_and(is_json)
    }
}

/// Whether a media type is JSON, or something written in it.
#[must_use]
pub fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.contains('/') && essence.ends_with("+json"))
}

/// What the log tells of a result: all of it, if it is JSON and small.
#[must_use]
pub fn told_result(result: &Body) -> Option<Bytes> {
    let Data::Inline(bytes) = &result.data else { return None };
    if bytes.len() > limits::EVENT_RESULT_BYTES_MAX {
        return None;
    }
    let head: ResultHead = decode(&result.head).ok()?;
    let is_json = head.has_plain_json() && serde_json::from_slice::<IgnoredAny>(bytes).is_ok();
    is_json.then(|| bytes.clone())
}

/// Who may see a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// Whoever has its ticket, or a key of its tenant.
    Ticket,
    /// Whoever sends the same credentials: an HMAC of the field's value.
    Caller {
        /// Which field.
        field: String,
        /// The HMAC; absent when the caller sent none.
        mac: Option<[u8; 32]>,
    },
    /// Whoever has a key of its tenant.
    Key,
}

/// What a ticket lets its bearer do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Grants {
    /// See the task, its events and its result.
    pub read: bool,
    /// Cancel it.
    pub cancel: bool,
    /// Retry it.
    pub retry: bool,
}

/// What engine and server need to know of a task and the rules do not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// Scheme, host, port and base path of the upstream; empty for leased tasks.
    pub upstream: String,
    /// The `Host` to send; `None` is that of the upstream.
    pub host: Option<String>,
    /// Scheme and authority under which the client called, to make relative links absolute.
    pub called_as: String,
    /// Path and query under which the client called.
    pub called_target: String,
    /// The client's idempotency key.
    pub idempotency_key: Option<String>,
    /// Who may see it.
    pub access: Access,
    /// What its tickets grant.
    pub grants: Grants,
    /// The trace it belongs to (W3C).
    pub traceparent: Option<String>,
    /// For the upstream: who called (`Forwarded`).
    pub forwarded: String,
    /// Whether the upstream is given a lease token to report with.
    pub may_report: bool,
}

/// Encodes an envelope.
///
/// # Panics
/// Never: the types of this module always encode.
#[must_use]
pub fn encode<T: Serialize>(envelope: &T) -> Bytes {
    let bytes = postcard::to_extend(envelope, vec![VERSION]).expect("plain data always encodes");
    bytes.into()
}

/// Decodes an envelope.
///
/// # Errors
/// [`StoreError::Corrupt`] when the bytes are not what this version, or an older one, wrote.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    let corrupt = || StoreError::Corrupt("an envelope cannot be read".to_owned());
    match bytes.split_first() {
        Some((&VERSION, rest)) => postcard::from_bytes(rest).map_err(|_| corrupt()),
        _ => Err(corrupt()),
    }
}
