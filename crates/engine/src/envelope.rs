//! What the engine remembers of requests and answers beside their bytes: the heads of bodies, and
//! the context of a task. Stored like rows (`relais_store::row`); opaque to rules and stores.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use minicbor::{Decode, Encode};
use relais_core::cbor::Format;
use relais_core::{Grants, Task, limits};
use relais_store::{Body, BodySource, Data, StoreError, StoredBody, row};
use serde::de::IgnoredAny;

use crate::engine::Engine;

/// A header field: its name in lower case, and its value as it was sent.
pub type Field = (String, Bytes);

/// The head of a stored request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct RequestHead {
    /// The method, for a pushed task.
    #[n(0)]
    pub method: String,
    /// Path and query as they came.
    #[n(1)]
    pub target: String,
    /// The end-to-end fields, in order, without those that are sealed.
    #[n(2)]
    #[cbor(with = "fields")]
    pub fields: Vec<Field>,
    /// The values of the names in its route's path, decoded.
    #[n(3)]
    pub params: Vec<(String, String)>,
}

/// The head of a stored answer.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ResultHead {
    #[n(0)]
    pub status: u16,
    /// The end-to-end fields, in order.
    #[n(1)]
    #[cbor(with = "fields")]
    pub fields: Vec<Field>,
    /// Whether the answer had a body at all (HEAD, 204 and 304 have none).
    #[n(2)]
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
    let bytes = match &result.data {
        Data::Inline(bytes)
        | Data::Early { stored: StoredBody { data: BodySource::Inline(bytes), .. }, .. } => bytes,
        Data::Spilled { .. } | Data::Early { .. } => return None,
    };
    if bytes.len() > limits::EVENT_RESULT_BYTES_MAX {
        return None;
    }
    let head: ResultHead = decode(&result.head).ok()?;
    let is_json = head.has_plain_json() && serde_json::from_slice::<IgnoredAny>(bytes).is_ok();
    is_json.then(|| bytes.clone())
}

/// By what somebody shows that they may see a task.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Access {
    /// Whoever has its ticket, or a key of its tenant.
    #[n(0)]
    Ticket,
    /// Whoever sends the same credentials: an HMAC of the field's value.
    #[n(1)]
    Caller {
        #[n(0)]
        field: String,
        /// The HMAC; absent when the caller sent none.
        #[n(1)]
        #[cbor(with = "minicbor::bytes")]
        mac: Option<[u8; 32]>,
    },
    /// Whoever has a key of its tenant.
    #[n(2)]
    Key,
}

/// What engine and server need to know of a task and the rules do not.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Context {
    /// How its upstream is called; `None` where workers or a handler run it.
    #[n(0)]
    pub calling: Option<Calling>,
    /// How its answer is presented.
    #[n(1)]
    pub presented: Presented,
    /// Who may see it.
    #[n(2)]
    pub sight: Sight,
}

/// How an upstream is called for a task.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Calling {
    /// Scheme, host, port and base path of the upstream.
    #[n(0)]
    pub upstream: String,
    /// The `Host` to send; `None` is that of the upstream.
    #[n(1)]
    pub host: Option<String>,
    /// The client's idempotency key; without one the task's id stands in for it.
    #[n(2)]
    pub idempotency_key: Option<String>,
    /// The trace it belongs to (W3C).
    #[n(3)]
    pub traceparent: String,
    /// Who called (`Forwarded`).
    #[n(4)]
    pub forwarded: String,
    /// Whether the upstream is given a lease token to report with.
    #[n(5)]
    pub may_report: bool,
}

/// How an answer is presented: as that to the request which became the task.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Presented {
    /// Scheme and authority under which the client called, to make relative links absolute.
    #[n(0)]
    pub called_as: String,
    /// Path and query under which the client called.
    #[n(1)]
    pub called_target: String,
}

/// Who may see a task.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Sight {
    /// By what they show that they may.
    #[n(0)]
    pub access: Access,
    /// What its tickets grant.
    #[n(1)]
    pub grants: Grants,
}

/// Credentials of a stored request, before they are sealed.
#[derive(Debug, Encode, Decode)]
pub(crate) struct Secrets {
    #[n(0)]
    #[cbor(with = "fields")]
    pub(crate) fields: Vec<Field>,
}

/// Fields as one list: a name, its value, the next name.
mod fields {
    use bytes::Bytes;
    use minicbor::decode::{self, Decoder};
    use minicbor::encode::{self, Encoder, Write};

    use super::Field;

    pub(super) fn encode<C, W: Write>(
        fields: &[Field],
        to: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        to.array(fields.len() as u64 * 2)?;
        for (name, value) in fields {
            to.str(name)?.bytes(value)?;
        }
        Ok(())
    }

    pub(super) fn decode<C>(
        from: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<Vec<Field>, decode::Error> {
        let len = from.array()?.ok_or_else(|| decode::Error::message("a list without an end"))?;
        let field = |_| Ok((from.str()?.to_owned(), Bytes::copy_from_slice(from.bytes()?)));
        (0..len / 2).map(field).collect()
    }
}

impl Engine {
    /// Encodes an envelope in the format that every node reads that lives.
    #[must_use]
    pub fn encode<T: Encode<Format>>(&self, envelope: &T) -> Bytes {
        row::encode(envelope, self.inner().format.load(Ordering::Acquire)).into()
    }
}

/// What engine and server remember of a task beside its rules.
///
/// # Errors
/// [`StoreError::Corrupt`] when it cannot be read.
pub fn context_of(task: &Task) -> Result<Context, StoreError> {
    decode(&task.spec.context)
}

/// Decodes an envelope.
///
/// # Errors
/// [`StoreError::Corrupt`] when the bytes are not what this version, or an older one, wrote.
pub fn decode<T: for<'b> Decode<'b, Format>>(bytes: &[u8]) -> Result<T, StoreError> {
    row::decode(bytes).map_err(|error| StoreError::Corrupt(format!("of an envelope: {error}")))
}
