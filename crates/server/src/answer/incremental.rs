//! What is said of an answer that comes bit by bit, so that nobody on its way collects it first.

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName, HeaderValue};
use relais_api::fields;

/// Marks an answer that Relais makes while it is read: a stream of events, or a result that grows.
///
/// `Incremental` (draft-ietf-httpbis-incremental) is the standard's word; nginx knows its own only.
/// Whoever compresses would hold pieces back, and break offsets: `no-transform` (RFC 9111, 5.2.2.6)
/// forbids that. What changes with each reading is for no cache.
pub(crate) fn as_it_comes(headers: &mut HeaderMap) {
    headers.insert(HeaderName::from_static(fields::INCREMENTAL), HeaderValue::from_static("?1"));
    headers
        .insert(HeaderName::from_static(fields::X_ACCEL_BUFFERING), HeaderValue::from_static("no"));
    let control = HeaderValue::from_static("private, no-store, no-transform");
    headers.insert(CACHE_CONTROL, control);
}
