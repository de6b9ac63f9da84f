//! From a stored request to the one that the upstream gets.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use bytes::Bytes;
use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use minicbor::Decode;
use relais_core::cbor::Format;
use relais_core::{BodyKind, Cause, Failure, FailureCode, LeaseToken, Task};
use relais_store::{BodyRead, Claimed, StoreError, StoredBody};

use super::inline::find;
use crate::config::Config;
use crate::envelope::{self, Calling, Field, RequestHead, Secrets};
use crate::seal::CannotOpen;
use crate::upstream::call::Outgoing;
use crate::work::{Outcome, Unread};

/// Bytes read from a spilled body at a time.
const PIECE_BYTES: usize = 64 << 10;

/// The stored request cannot be sent: it is damaged, or was sealed with another key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unsendable {
    /// What is stored cannot be read.
    #[error(transparent)]
    Unread(#[from] Unread),
    /// The credentials cannot be opened.
    #[error(transparent)]
    Sealed(#[from] CannotOpen),
    /// There is no key at all.
    #[error("there is no key to open the sealed credentials with")]
    NoKey,
    /// The stored request is not one.
    #[error("the stored request cannot be sent: {0}")]
    Malformed(#[from] http::Error),
}

impl Unsendable {
    /// How its attempt ends. No upstream was asked: none of these is its error.
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Unread(unread) => unread.outcome(),
            Self::Sealed(CannotOpen::Damaged) => Outcome::Spoil { body: BodyKind::Sealed },
            Self::Malformed(_) => Outcome::Spoil { body: BodyKind::Input },
            Self::Sealed(CannotOpen::OtherKey(_)) | Self::NoKey => Outcome::Fail {
                failure: Failure::new(FailureCode::SealKeyMissing, Some(&self.to_string())),
                cause: Cause::Error,
                retryable: false,
                retry_after: None,
                result: None,
            },
        }
    }
}

/// Reads what the engine remembers of the request that an input is.
pub(crate) fn decode<T: for<'b> Decode<'b, Format>>(bytes: &[u8]) -> Result<T, Unread> {
    envelope::decode(bytes).map_err(|error| Unread { body: BodyKind::Input, error })
}

/// The input that an attempt was handed.
pub(crate) fn input_of(claimed: &Claimed) -> Result<&StoredBody, Unread> {
    let missing = || StoreError::BodyDamaged("it is missing".to_owned());
    find(&claimed.bodies, BodyKind::Input)
        .ok_or_else(|| Unread { body: BodyKind::Input, error: missing() })
}

/// How the upstream of a task is called.
pub(crate) fn calling_of(task: &Task) -> Result<Calling, Unread> {
    let unread = |error| Unread { body: BodyKind::Input, error };
    let context = envelope::context_of(task).map_err(unread)?;
    let missing = || StoreError::Corrupt("a task for an upstream does not say which".to_owned());
    context.calling.ok_or_else(|| unread(missing()))
}

/// Builds the request of one attempt; its body is read from the stored input.
pub(crate) fn build<'a>(
    claimed: &'a Claimed,
    calling: &Calling,
    config: &Config,
    traceparent: &str,
) -> Result<Request<&'a StoredBody>, Unsendable> {
    let task = claimed.task();
    let input = input_of(claimed)?;
    let head: RequestHead = decode(&input.head)?;
    let uri: Uri =
        format!("{}{}", calling.upstream, head.target).parse().map_err(http::Error::from)?;
    let mut headers = HeaderMap::with_capacity(head.fields.len() + 8);
    append(&mut headers, &head.fields)?;
    append(&mut headers, &unseal(claimed, config)?)?;
    let host =
        calling.host.as_deref().or_else(|| uri.authority().map(http::uri::Authority::as_str));
    if let Some(host) = host {
        headers.insert(HOST, HeaderValue::try_from(host).map_err(http::Error::from)?);
    }
    own_fields(&mut headers, task, calling, claimed.nonce, config, traceparent)?;
    let method = Method::from_bytes(head.method.as_bytes()).map_err(http::Error::from)?;
    let mut request = Request::builder().method(method).uri(uri).body(input)?;
    *request.headers_mut() = headers;
    Ok(request)
}

fn own_fields(
    headers: &mut HeaderMap,
    task: &Task,
    calling: &Calling,
    nonce: u128,
    config: &Config,
    traceparent: &str,
) -> Result<(), http::Error> {
    let mut set = |name: &'static str, value: String| {
        headers.insert(HeaderName::from_static(name), HeaderValue::try_from(value)?);
        Ok::<(), http::Error>(())
    };
    set("relais-task", task.spec.id.to_string())?;
    set("relais-attempt", task.life.attempt.to_string())?;
    let mut key = calling.idempotency_key.clone().unwrap_or_else(|| task.spec.id.to_string());
    if task.life.run > 1 {
        // After a retry by hand the upstream must not answer from its memory of the run before.
        key = format!("{key}-r{}", task.life.run);
    }
    set("idempotency-key", key)?;
    set("traceparent", traceparent.to_owned())?;
    if !calling.forwarded.is_empty() {
        set("forwarded", calling.forwarded.clone())?;
    }
    if calling.may_report {
        set("relais-lease", LeaseToken { task: task.spec.id, nonce }.to_string())?;
    }
    headers.append("via", HeaderValue::try_from(format!("1.1 {}", config.via))?);
    Ok(())
}

fn append(headers: &mut HeaderMap, fields: &[Field]) -> Result<(), http::Error> {
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes())?;
        headers.append(name, HeaderValue::from_maybe_shared(value.clone())?);
    }
    Ok(())
}

fn unseal(claimed: &Claimed, config: &Config) -> Result<Vec<Field>, Unsendable> {
    let Some(sealed) = find(&claimed.bodies, BodyKind::Sealed) else { return Ok(Vec::new()) };
    let relais_store::BodySource::Inline(sealed) = &sealed.data else {
        return Err(CannotOpen::Damaged.into());
    };
    let key = config.seal_key.as_ref().ok_or(Unsendable::NoKey)?;
    let text = key.open(claimed.task().spec.id, sealed)?;
    let unread = |error| Unread { body: BodyKind::Sealed, error };
    let secrets: Secrets = envelope::decode(&text).map_err(unread)?;
    Ok(secrets.fields)
}

/// The trace of an attempt: the stored one with a new parent, or a new one.
pub(crate) fn trace_of(calling: &Calling, bits: u128) -> String {
    let parent = u64::try_from(bits >> 64).expect("the upper half fits") | 1;
    let kept = &calling.traceparent;
    match kept.get(3..35).zip(kept.get(53..55)) {
        Some((trace, flags)) => format!("00-{trace}-{parent:016x}-{flags}"),
        None => format!("00-{:032x}-{parent:016x}-00", bits | 1),
    }
}

/// A stored input on its way to the upstream, read piece by piece.
pub(crate) struct Upload {
    source: Source,
    len: u64,
    sent: u64,
}

enum Source {
    Inline(Option<Bytes>),
    Idle(Arc<dyn BodyRead>),
    Reading(Arc<dyn BodyRead>, Pin<Box<dyn Future<Output = Result<Bytes, StoreError>> + Send>>),
}

impl Upload {
    /// A body that begins at the beginning.
    pub(crate) fn outgoing(body: &StoredBody) -> Outgoing {
        let source = match &body.data {
            relais_store::BodySource::Inline(bytes) => Source::Inline(Some(bytes.clone())),
            relais_store::BodySource::Reader(reader) => Source::Idle(reader.clone()),
        };
        Self { source, len: body.len, sent: 0 }.map_err(Into::into).boxed_unsync()
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = StoreError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StoreError>>> {
        if self.is_end_stream() {
            return Poll::Ready(None);
        }
        let offset = self.sent;
        loop {
            match &mut self.source {
                Source::Inline(bytes) => {
                    let bytes = bytes.take().unwrap_or_default();
                    self.sent += bytes.len() as u64;
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Source::Idle(reader) => {
                    let reader = reader.clone();
                    let read = reader.clone();
                    let piece = Box::pin(async move { read.read_at(offset, PIECE_BYTES).await });
                    self.source = Source::Reading(reader, piece);
                }
                Source::Reading(reader, piece) => {
                    let bytes = ready!(piece.as_mut().poll(context));
                    let reader = reader.clone();
                    self.source = Source::Idle(reader);
                    let bytes = bytes?;
                    if bytes.is_empty() {
                        let short = StoreError::BodyDamaged("an input ends early".to_owned());
                        return Poll::Ready(Some(Err(short)));
                    }
                    self.sent += bytes.len() as u64;
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.sent >= self.len
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len - self.sent)
    }
}
