//! Calls without a key, from this machine: a web page, or a name that was made to point here, must
//! not be able to make them.

use http::{HeaderMap, Uri, Version, header};
use relais_api::codes;
use relais_engine::headers::folded;

use crate::answer::problem::Refusal;
use crate::request::fetch::Fetch;

/// Fields that proxies add, beside all that begin with `x-forwarded-`: a call with one of them was
/// made by whoever reached the proxy, however local the connection is.
const OF_PROXIES: [&str; 11] = [
    "cdn-loop",
    "cf-connecting-ip",
    "fastly-client-ip",
    "forwarded",
    "true-client-ip",
    "via",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "x-original-host",
    "x-real-ip",
];

/// Refuses a call that came through a proxy, as far as it shows.
///
/// Proxies speak HTTP/1.0 to their upstreams unless they are told otherwise (nginx), and then most
/// often send a `Host` that looks local; nobody else uses it any more.
pub(super) fn check_direct(version: Version, headers: &HeaderMap) -> Result<(), Refusal> {
    if version < Version::HTTP_11 {
        let why = "without API keys, calls to `/v1` by HTTP/1.0 are taken for those of a proxy";
        return Err(Refusal::new(&codes::NOT_LOCAL).because(why));
    }
    let of_proxy = |name: &str| {
        let name = folded(name);
        OF_PROXIES.contains(&&*name) || name.starts_with("x-forwarded-")
    };
    match headers.keys().find(|name| of_proxy(name.as_str())) {
        Some(name) => {
            let why = format!(
                "the request carries `{name}`: it came through a proxy, so that it takes a key, or what \
                 reaches its task: a ticket, or the right value of the field that it is bound to"
            );
            Err(Refusal::new(&codes::NOT_LOCAL).because(why))
        }
        None => Ok(()),
    }
}

/// Refuses a call that a browser made for another site, or under a name that is not this machine's.
pub(super) fn check(
    uri: &Uri,
    headers: &HeaderMap,
    fetch: &Fetch,
    any_host: bool,
) -> Result<(), Refusal> {
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
    if fetch.is_of_another_site(headers, host) {
        return Err(Refusal::new(&codes::CROSS_SITE));
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
    use crate::config::ServerConfig;

    fn code(fields: &[(&'static str, &'static str)]) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let target = Uri::from_static("/v1/tasks");
        let fetch = Fetch::of(&ServerConfig::on_loopback(), &headers);
        check(&target, &headers, &fetch, false).err().map(|refusal| refusal.code().code)
    }

    #[test]
    fn what_came_through_a_proxy_is_not_local() {
        let code = |version, name: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert("host", HeaderValue::from_static("localhost"));
            if let Some(name) = name {
                headers.insert(name, HeaderValue::from_static("203.0.113.7"));
            }
            check_direct(version, &headers).err().map(|refusal| refusal.code().code)
        };
        assert_eq!(code(Version::HTTP_11, None), None);
        assert_eq!(code(Version::HTTP_2, None), None);
        assert_eq!(code(Version::HTTP_10, None), Some("not-local"), "nginx as it is by default");
        for name in ["forwarded", "via", "x-real-ip", "x-forwarded-for", "x-forwarded-anything"] {
            assert_eq!(code(Version::HTTP_11, Some(name)), Some("not-local"), "{name}");
        }
        assert_eq!(code(Version::HTTP_11, Some("x-request-id")), None);
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
            (
                &[("host", "localhost:1"), ("origin", "null"), ("sec-fetch-site", "same-origin")],
                None,
            ),
            (
                &[("host", "localhost:1"), ("origin", "null"), ("sec-fetch-site", "none")],
                Some("cross-site"),
            ),
            (&[("host", "localhost"), ("sec-fetch-site", "none")], None),
            (&[("host", "localhost"), ("sec-fetch-site", "same-site")], Some("cross-site")),
            (&[("host", "localhost"), ("sec-fetch-site", "cross-site")], Some("cross-site")),
        ] {
            assert_eq!(code(fields), expected, "{fields:?}");
        }
    }
}
