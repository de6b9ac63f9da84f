//! Bodies of requests to the task API: their media types and sizes are
//! checked before they are read.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use relais_api::{DecodeError, codes};
use relais_core::limits;
use serde::de::DeserializeOwned;

use crate::answer::problem::Refusal;
use crate::auth::Visitor;
use crate::request::bodies::{Bodies, Held, Place};
use crate::request::heavy;
use crate::request::pieces::Pieces;

/// How a batch is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lines {
    /// One JSON document.
    One,
    /// One JSON document a line.
    Many,
}

/// Reads the JSON document of a call that says little.
///
/// # Errors
/// When it is of another media type, too large, or not what it should be.
pub(crate) async fn json<T: DeserializeOwned>(
    bodies: &Bodies,
    visitor: &Visitor,
    body: Body,
) -> Result<T, Refusal> {
    require_json(visitor.headers())?;
    Ok(relais_api::decode(&small(bodies, visitor, body).await?)?)
}

/// The same for a body that may be left out.
///
/// # Errors
/// See [`json`].
pub(crate) async fn optional_json<T: DeserializeOwned + Default>(
    bodies: &Bodies,
    visitor: &Visitor,
    body: Body,
) -> Result<T, Refusal> {
    let bytes = small(bodies, visitor, body).await?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    require_json(visitor.headers())?;
    Ok(relais_api::decode(&bytes)?)
}

/// A call whose body may only be empty, or an object without members.
///
/// # Errors
/// Names the member, or see [`json`].
pub(crate) async fn nothing(bodies: &Bodies, visitor: &Visitor, body: Body) -> Result<(), Refusal> {
    #[derive(Default, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}
    let Nothing {} = optional_json(bodies, visitor, body).await?;
    Ok(())
}

/// Refuses a body that is not JSON. A web page cannot send JSON to another site unasked.
///
/// # Errors
/// When it is of another media type, or coded.
pub(crate) fn require_json(headers: &HeaderMap) -> Result<(), Refusal> {
    match essence(headers)?.as_str() {
        "application/json" => Ok(()),
        _ => Err(Refusal::new(&codes::UNSUPPORTED_MEDIA_TYPE)),
    }
}

/// How a batch is written, by its media type.
///
/// # Errors
/// When it is of another media type, or coded.
pub(crate) fn batch_lines(headers: &HeaderMap) -> Result<Lines, Refusal> {
    match essence(headers)?.as_str() {
        "application/json" => Ok(Lines::One),
        "application/x-ndjson" | "application/ndjson" => Ok(Lines::Many),
        _ => Err(Refusal::new(&codes::UNSUPPORTED_MEDIA_TYPE)),
    }
}

async fn small(bodies: &Bodies, visitor: &Visitor, body: Body) -> Result<Bytes, Refusal> {
    Ok(Large::read(bodies, visitor, body, limits::SMALL_BODY_BYTES_MAX).await?.into_bytes())
}

/// A body that may be large, whole, and the room it takes.
pub(crate) struct Large {
    pub(crate) bytes: Bytes,
    held: Held,
}

impl Large {
    /// Reads a body of at most `max` bytes, on its sender's account.
    ///
    /// # Errors
    /// When it is longer, too slow, or breaks off, or its sender, or all
    /// together, send too much at once.
    pub(crate) async fn read(
        bodies: &Bodies,
        visitor: &Visitor,
        body: Body,
        max: u64,
    ) -> Result<Self, Refusal> {
        check_length(visitor.headers(), max)?;
        let mut held = bodies.begin(Place::Memory, visitor.holder());
        let bytes = gather(body, max, |len| held.grow(len)).await?;
        Ok(Self { bytes, held })
    }

    /// What `decode` makes of it, which may take long.
    ///
    /// # Errors
    /// Those of `decode`.
    pub(crate) async fn decode<T: Send + 'static>(
        &self,
        decode: impl FnOnce(&[u8]) -> Result<T, DecodeError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let bytes = self.bytes.clone();
        Ok(heavy::on(bytes.len(), move || decode(&bytes)).await??)
    }

    /// The bytes alone: their room is given back, as they are whole and decoded.
    pub(crate) fn into_bytes(self) -> Bytes {
        drop(self.held);
        self.bytes
    }
}

/// Reads a body of at most `max` bytes; `grow` hears of each length before the bytes are kept.
async fn gather(
    body: Body,
    max: u64,
    mut grow: impl FnMut(u64) -> Result<(), Refusal>,
) -> Result<Bytes, Refusal> {
    let mut pieces = Pieces::of(body);
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(data) = pieces.next().await? {
        let len = (first.len() + rest.len() + data.len()) as u64;
        if len > max {
            return Err(too_large(max));
        }
        grow(len)?;
        if first.is_empty() {
            // Most bodies come in one piece, which is not copied.
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    if rest.is_empty() {
        return Ok(first);
    }
    let mut all = BytesMut::with_capacity(first.len() + rest.len());
    all.extend_from_slice(&first);
    all.extend_from_slice(&rest);
    Ok(all.freeze())
}

/// Refuses a body by the length it announces, before any of it is read.
///
/// # Errors
/// When it announces more than `max` bytes.
pub(crate) fn check_length(headers: &HeaderMap, max: u64) -> Result<(), Refusal> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    match length.and_then(|length| length.parse::<u64>().ok()) {
        Some(length) if length > max => Err(too_large(max)),
        _ => Ok(()),
    }
}

/// The refusal of a body over `max` bytes.
#[must_use]
pub(crate) fn too_large(max: u64) -> Refusal {
    Refusal::new(&codes::BODY_TOO_LARGE).because(format!("the body is over {max} bytes")).limit(max)
}

/// The refusal of a body that broke off: whoever sent it is most likely gone.
#[must_use]
pub(crate) fn broken_off() -> Refusal {
    Refusal::new(&codes::MALFORMED_REQUEST).because("the body broke off").closing()
}

/// The media type in lower case, without parameters.
fn essence(headers: &HeaderMap) -> Result<String, Refusal> {
    let unsupported = || Refusal::new(&codes::UNSUPPORTED_MEDIA_TYPE);
    let is_coded = headers
        .get(header::CONTENT_ENCODING)
        .is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if is_coded {
        return Err(unsupported());
    }
    let line = headers.get(header::CONTENT_TYPE).ok_or_else(unsupported)?;
    let text = line.to_str().map_err(|_| unsupported())?;
    Ok(text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}
