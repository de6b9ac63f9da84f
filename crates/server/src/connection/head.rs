//! Response heads written without the HTTP library: the last word on a connection it gave up, and
//! the first on one that was taken back from it.

use std::time::{Duration, SystemTime};

use axum::response::Response;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode};
use relais_core::Timestamp;

/// A head that ends the connection after its body: `body_len` is announced, or the body is chunked.
pub(crate) fn closing(
    status: StatusCode,
    fields: &HeaderMap,
    body_len: Option<usize>,
    now: Timestamp,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let reason = status.canonical_reason().unwrap_or_default();
    out.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).as_bytes());
    for (name, value) in fields {
        if [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name) {
            continue;
        }
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    if !fields.contains_key(DATE) {
        out.extend_from_slice(format!("date: {}\r\n", http_date(now)).as_bytes());
    }
    match body_len {
        Some(len) => out.extend_from_slice(format!("content-length: {len}\r\n").as_bytes()),
        None => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    out.extend_from_slice(b"connection: close\r\n\r\n");
    out
}

/// A whole answer of Relais' own, as bytes. Its body must be at hand.
pub(crate) async fn whole(response: Response, now: Timestamp) -> Bytes {
    let (parts, body) = response.into_parts();
    // Documents of Relais are small; what is not there at once would be a mistake, and is left out.
    let body = axum::body::to_bytes(body, 64 << 10).await.unwrap_or_default();
    let mut out = closing(parts.status, &parts.headers, Some(body.len()), now);
    out.extend_from_slice(&body);
    out.into()
}

/// A moment as HTTP says it (RFC 9110, 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(moment: Timestamp) -> String {
    let since_1970 = Duration::from_millis(u64::try_from(moment.as_ms()).unwrap_or(0));
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since_1970)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_http() {
        for (seconds, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"),
            (1_798_761_599, "Thu, 31 Dec 2026 23:59:59 GMT"),
        ] {
            assert_eq!(http_date(Timestamp::from_ms(seconds * 1_000)), expected);
        }
    }
}
