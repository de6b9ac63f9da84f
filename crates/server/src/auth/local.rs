//! Calls without a key, from this machine: a web page, or a name that was made to point here, must
//! not be able to make them.

use http::{HeaderMap, Uri, header};
use relais_api::codes;

use crate::problem::Refusal;

/// Refuses a call that a browser made for another site, or under a name that is not this machine's.
pub(super) fn check(uri: &Uri, headers: &HeaderMap, any_host: bool) -> Result<(), Refusal> {
    let mut hosts = headers.get_all(header::HOST).iter();
    // HTTP/2 names the host in the target instead.
    let host = match (uri.authority(), hosts.next(), hosts.next()) {
        (Some(authority), _, _) => authority.as_str(),
        (None, Some(host), None) => {
            host.to_str().map_err(|_| Refusal::new(&codes::INVALID_HOST))?
        }
        _ => return Err(Refusal::new(&codes::INVALID_HOST)),
    };
    if !any_host && !is_loopback(host) {
        return Err(Refusal::new(&codes::FOREIGN_HOST));
    }
    let site = headers.get("sec-fetch-site").map(http::HeaderValue::as_bytes);
    if site.is_some_and(|site| site != b"same-origin" && site != b"none") {
        return Err(Refusal::new(&codes::CROSS_SITE));
    }
    for origin in headers.get_all(header::ORIGIN) {
        let authority = origin
            .to_str()
            .ok()
            .and_then(|origin| origin.split_once("://"))
            .map(|(_, authority)| authority);
        if !authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host)) {
            return Err(Refusal::new(&codes::CROSS_SITE));
        }
    }
    Ok(())
}

/// Whether a `Host` names this machine itself.
pub(crate) fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn code(fields: &[(&'static str, &'static str)]) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let target = Uri::from_static("/v1/tasks");
        check(&target, &headers, false).err().map(|refusal| refusal.code().code)
    }

    #[test]
    fn only_this_machine_and_no_other_site_calls_without_a_key() {
        for (fields, expected) in [
            (&[("host", "127.0.0.1:8080")][..], None),
            (&[("host", "LOCALHOST")], None),
            (&[("host", "[::1]:8080")], None),
            (&[("host", "127.9.9.9")], None),
            (&[("host", "evil.example")], Some("foreign-host")),
            (&[("host", "127.0.0.1.evil.example")], Some("foreign-host")),
            (&[("host", "localhost.evil.example:8080")], Some("foreign-host")),
            (&[("host", "10.0.0.1")], Some("foreign-host")),
            (&[], Some("invalid-host")),
            (&[("host", "localhost"), ("host", "localhost")], Some("invalid-host")),
            (&[("host", "localhost:1"), ("origin", "http://localhost:1")], None),
            (&[("host", "localhost:1"), ("origin", "http://localhost:2")], Some("cross-site")),
            (&[("host", "localhost:1"), ("origin", "null")], Some("cross-site")),
            (&[("host", "localhost:1"), ("origin", "http://evil.example")], Some("cross-site")),
            (&[("host", "localhost"), ("sec-fetch-site", "same-origin")], None),
            (&[("host", "localhost"), ("sec-fetch-site", "none")], None),
            (&[("host", "localhost"), ("sec-fetch-site", "same-site")], Some("cross-site")),
            (&[("host", "localhost"), ("sec-fetch-site", "cross-site")], Some("cross-site")),
        ] {
            assert_eq!(code(fields), expected, "{fields:?}");
        }
    }
}
