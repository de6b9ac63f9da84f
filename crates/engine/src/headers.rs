//! Which header fields travel end to end (RFC 9110, 7.6.1), and which are Relais' own.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{HeaderMap, SET_COOKIE};

use crate::envelope::Field;

/// Fields that belong to one connection only. `Proxy-*` credentials end here, too.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Prefix of the fields of Relais itself.
const OWN_PREFIX: &str = "relais-";

/// The cookies of Relais itself: the first is bound to `https` by every browser, the second is for
/// `http` on this machine. Neither reaches an upstream, nor does one that an upstream sets reach a browser.
pub const OWN_COOKIES: [&str; 2] = ["__Host-relais", "relais"];

/// Whether a pair of a `Cookie`, or a line of `Set-Cookie`, is about a cookie of Relais.
#[must_use]
pub fn is_own_cookie(pair: &[u8]) -> bool {
    let name = pair.split(|byte| matches!(byte, b'=' | b';')).next().unwrap_or_default();
    OWN_COOKIES.iter().any(|own| own.as_bytes() == name.trim_ascii())
}

/// A lower-case name as CGI, WSGI and PHP read it: they make one name of `Relais_Task` and
/// `Relais-Task`, so that the rules of the one hold for the other.
#[must_use]
pub fn folded(name: &str) -> Cow<'_, str> {
    if name.contains('_') { name.replace('_', "-").into() } else { name.into() }
}

/// Whether a field, by its lower-case name, belongs to one connection only.
#[must_use]
pub fn is_hop_by_hop(name: &str) -> bool {
    HOP_BY_HOP.contains(&&*folded(name))
}

/// Whether a field, by its lower-case name, is one of Relais itself: nobody else sets it.
#[must_use]
pub fn is_own(name: &str) -> bool {
    folded(name).starts_with(OWN_PREFIX)
}

/// Fields by which an answer speaks for its whole origin, not for itself: what the browser keeps
/// for it, sends to it, or lets others read of it.
const OF_ORIGIN: [&str; 18] = [
    "accept-ch",
    "alt-svc",
    "clear-site-data",
    "critical-ch",
    "expect-ct",
    "nel",
    "origin-agent-cluster",
    "public-key-pins",
    "public-key-pins-report-only",
    "report-to",
    "reporting-endpoints",
    "service-worker-allowed",
    "set-cookie",
    "set-cookie2",
    "set-login",
    "strict-transport-security",
    "use-as-dictionary",
    "www-authenticate",
];

/// How such fields begin: who may read answers (CORS), and what only the browser itself may say.
const OF_ORIGIN_PREFIXES: [&str; 2] = ["access-control-", "sec-"];

/// Whether a field, by its lower-case name, speaks for the origin that an answer is told from.
#[must_use]
pub fn speaks_for_origin(name: &str) -> bool {
    let name = folded(name);
    OF_ORIGIN.contains(&&*name) || OF_ORIGIN_PREFIXES.iter().any(|start| name.starts_with(start))
}

/// The lower-case names that `Connection` lists as belonging to this connection.
#[must_use]
pub fn named_by_connection(headers: &HeaderMap) -> Vec<String> {
    headers
        .get_all(http::header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| !name.is_empty())
        .collect()
}

/// The end-to-end fields, in order within each name, without
/// `Content-Length` (framing is made anew), and without what sets a cookie of Relais.
#[must_use]
pub fn end_to_end(headers: &HeaderMap) -> Vec<Field> {
    let named = named_by_connection(headers);
    headers
        .iter()
        .filter(|(name, value)| {
            let sets_own = *name == SET_COOKIE && is_own_cookie(value.as_bytes());
            let name = name.as_str();
            !sets_own
                && !is_hop_by_hop(name)
                && folded(name) != "content-length"
                && !named.iter().any(|other| other == name)
        })
        .map(|(name, value)| (name.as_str().to_owned(), Bytes::copy_from_slice(value.as_bytes())))
        .collect()
}

/// Parses `Retry-After`: seconds only; a date is measured against `Date` of the same answer, so
/// that clocks that differ do no harm. Absurd values are bounded by whoever uses them.
#[must_use]
pub fn retry_after(headers: &HeaderMap) -> Option<std::time::Duration> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(std::time::Duration::from_secs(seconds));
    }
    let date = headers.get(http::header::DATE)?.to_str().ok()?;
    let then = httpdate::parse_http_date(text).ok()?;
    let now = httpdate::parse_http_date(date.trim()).ok()?;
    Some(then.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_end_to_end_fields_travel_and_keep_their_order() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Secret-Hop"),
            ("x-secret-hop", "1"),
            ("te", "trailers"),
            ("content-length", "3"),
            ("content_length", "3"),
            ("transfer_encoding", "chunked"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("set-cookie", "relais=x; Path=/"),
            ("set-cookie", "__Host-relais=x; Path=/; Secure"),
            ("etag", "\"x\""),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let fields = end_to_end(&headers);
        let names: Vec<_> =
            fields.iter().map(|(name, value)| (name.as_str(), &value[..])).collect();
        assert_eq!(
            names,
            [("set-cookie", &b"a=1"[..]), ("set-cookie", b"b=2"), ("etag", b"\"x\"")]
        );
    }

    #[test]
    fn retry_after_is_understood_in_seconds_and_as_every_form_of_a_date() {
        let parse = |after: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", HeaderValue::from_static(after));
            headers.insert("date", HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
            retry_after(&headers).map(|span| span.as_secs())
        };
        assert_eq!(parse("120"), Some(120));
        assert_eq!(parse("Sun, 06 Nov 1994 08:50:07 GMT"), Some(30));
        assert_eq!(parse("Sat, 06 Nov 1993 08:50:07 GMT"), Some(0), "the past is now");
        // Old forms that every recipient must read (RFC 9110, 5.6.7).
        assert_eq!(parse("Sunday, 06-Nov-94 08:50:07 GMT"), Some(30));
        assert_eq!(parse("Sun Nov  6 08:50:07 1994"), Some(30));
        for absurd in ["-1", "1e99", "NaN", "soon", "", "Sun, 99 Foo 1994 08:50:07 GMT"] {
            assert_eq!(parse(absurd), None, "{absurd}");
        }
    }
}
