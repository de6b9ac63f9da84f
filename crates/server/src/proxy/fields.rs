//! Which header fields pass Relais, and what is added (RFC 9110, 7.6).

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, HeaderMap, HeaderName,
    HeaderValue, REFERER, SET_COOKIE, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{Method, Version};
use relais_api::fields;
use relais_engine::headers::{folded, is_hop_by_hop, is_own, is_own_cookie, named_by_connection};

use super::source::{self, Source};
use crate::auth::cookie;

/// Fields that Relais writes itself.
const MADE_ANEW: [HeaderName; 4] = [HOST, EXPECT, CONTENT_LENGTH, FORWARDED];

/// What becomes of `Prefer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PreferIs {
    /// Relais read it: its own preferences are taken out.
    Ours,
    /// The upstream's business.
    Theirs,
}

/// The end-to-end fields of a request, as an upstream may see them: without what is Relais' own,
/// and without what only a trusted proxy may say. Framing, `Host` and `Forwarded` are made anew,
/// and so is what `X-Forwarded-*` say of the same.
pub(crate) fn of_request(headers: &HeaderMap, source: &Source, prefer: PreferIs) -> HeaderMap {
    let named = named_by_connection(headers);
    let mut out = HeaderMap::with_capacity(headers.len() + 4);
    for (name, value) in headers {
        let text = name.as_str();
        let folded = folded(text);
        let is_ours = is_own(text)
            || MADE_ANEW.iter().any(|made| *made == *folded)
            || source::X_FORWARDED.contains(&&*folded);
        // A proxy that is trusted writes the names as they are; the others it passes on unseen.
        let is_hearsay = is_forwarding(&folded) && (!source.is_trusted || *folded != *text);
        if is_ours || is_hearsay || is_hop_by_hop(text) || named.iter().any(|other| other == text) {
            continue;
        }
        let tells_ticket = name == REFERER && has_ticket(value);
        if tells_ticket {
            continue;
        }
        let value = if name == COOKIE {
            cookie::without_own(value)
        } else if name == fields::PREFER && prefer == PreferIs::Ours {
            without_own_preferences(value)
        } else {
            Some(value.clone())
        };
        if let Some(value) = value {
            out.append(name.clone(), value);
        }
    }
    for (name, value) in source.x_forwarded() {
        // Whoever called by HTTP/1.0 may have named no host.
        if !value.is_empty()
            && let Ok(value) = HeaderValue::try_from(value)
        {
            out.insert(name, value);
        }
    }
    out
}

/// Takes from an answer what belonged to its connection only, and what only Relais may say.
pub(crate) fn clean_response(headers: &mut HeaderMap, method: &Method, has_body: bool) {
    let named = named_by_connection(headers);
    // Beside a transfer coding a length is no length (RFC 9112, 6.3): passed
    // on, it would cut the body.
    let is_coded = headers.contains_key(TRANSFER_ENCODING);
    let names: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            let text = name.as_str();
            is_hop_by_hop(text)
                || is_own(text)
                || (text.contains('_') && folded(text) == "content-length")
                || named.iter().any(|other| other == text)
        })
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
    remove_own_cookies(headers);
    // HEAD says what GET would have; else the length is that of the body that is sent.
    if is_coded || (!has_body && method != Method::HEAD) {
        headers.remove(CONTENT_LENGTH);
    }
}

/// The session of a browser is begun by Relais alone.
fn remove_own_cookies(headers: &mut HeaderMap) {
    let lines = headers.get_all(SET_COOKIE);
    if lines.iter().any(|line| is_own_cookie(line.as_bytes())) {
        let others: Vec<_> =
            lines.iter().filter(|line| !is_own_cookie(line.as_bytes())).cloned().collect();
        headers.remove(SET_COOKIE);
        for line in others {
            headers.append(SET_COOKIE, line);
        }
    }
}

/// Notes this hop.
pub(crate) fn add_via(headers: &mut HeaderMap, version: Version, name: &str) {
    let protocol = match version {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    };
    if let Ok(via) = HeaderValue::try_from(format!("{protocol} {name}")) {
        headers.append(VIA, via);
    }
}

/// Whether a request has passed this Relais already.
pub(crate) fn is_loop(headers: &HeaderMap, name: &str) -> bool {
    headers
        .get_all(VIA)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(|hop| hop.split_whitespace().nth(1))
        .any(|by| by.eq_ignore_ascii_case(name))
}

/// The protocol that a request asks to change to, unless it may as well be told nothing.
pub(crate) fn upgrade_of(headers: &HeaderMap, version: Version) -> Option<HeaderValue> {
    if version != Version::HTTP_11 {
        return None;
    }
    let asks = named_by_connection(headers).iter().any(|name| name == "upgrade");
    let mut lines = headers.get_all(UPGRADE).iter();
    let wanted = lines.find(|line| !is_never_taken(line.as_bytes()))?;
    asks.then(|| wanted.clone())
}

/// Whether a request can only be answered as a WebSocket. Any other offer to change the protocol
/// may be ignored (RFC 9110, 7.8).
pub(crate) fn wants_websocket(headers: &HeaderMap, version: Version) -> bool {
    upgrade_of(headers, version).is_some_and(|line| {
        protocols(line.as_bytes()).any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
    })
}

/// Whether a line of `Upgrade` offers nothing but what no part of Relais ever takes: the same
/// connection as HTTP/2 or with TLS, which some clients offer with each request. It stays as it is.
pub(crate) fn is_never_taken(line: &[u8]) -> bool {
    protocols(line).all(|protocol| {
        let name = protocol.split(|byte| *byte == b'/').next().unwrap_or_default();
        [&b"h2c"[..], b"tls"].iter().any(|never| name.eq_ignore_ascii_case(never))
    })
}

fn protocols(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// Asks the next hop to change to another protocol, or says that this one does.
pub(crate) fn set_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

/// Adds a name to `Vary`.
pub(crate) fn vary_by_prefer(headers: &mut HeaderMap) {
    let lines = headers.get_all(http::header::VARY);
    let mut names = lines.iter().filter_map(|l| l.to_str().ok()).flat_map(|l| l.split(','));
    let is_there =
        names.any(|name| matches!(name.trim(), "*") || name.trim().eq_ignore_ascii_case("prefer"));
    if !is_there {
        headers.append(http::header::VARY, HeaderValue::from_static("Prefer"));
    }
}

fn is_forwarding(name: &str) -> bool {
    name.starts_with("x-forwarded-") || name == "x-real-ip"
}

/// Whether an address is that of a task of Relais with its ticket. Where Relais is does not matter:
/// a proxy before it may give it another name or another prefix.
fn has_ticket(address: &HeaderValue) -> bool {
    let address = String::from_utf8_lossy(address.as_bytes());
    let Some((path, query)) = address.split_once('?') else { return false };
    path.contains("/v1/tasks/task_")
        && query.split('&').any(|parameter| parameter.starts_with("ticket="))
}

/// A `Prefer` without the preferences that Relais acts on; `None` when nothing is left.
fn without_own_preferences(value: &HeaderValue) -> Option<HeaderValue> {
    let Ok(text) = value.to_str() else { return Some(value.clone()) };
    let others: Vec<_> = split_list(text).filter(|one| !is_own_preference(one)).collect();
    let left = others.join(", ");
    if left.is_empty() { None } else { HeaderValue::from_str(&left).ok() }
}

fn is_own_preference(preference: &str) -> bool {
    let name = preference.split([';', '=']).next().unwrap_or_default().trim();
    name.is_empty()
        || name.eq_ignore_ascii_case("respond-async")
        || name.eq_ignore_ascii_case("wait")
}

/// The items of a list, whose commas may also be in quoted strings.
fn split_list(text: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    let mut is_escaped = false;
    text.split(move |c: char| {
        if is_escaped {
            is_escaped = false;
        } else if is_quoted && c == '\\' {
            is_escaped = true;
        } else if c == '"' {
            is_quoted = !is_quoted;
        }
        c == ',' && !is_quoted
    })
    .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServerConfig;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn passed(fields: &[(&'static str, &'static str)], prefer: PreferIs) -> Vec<(String, String)> {
        let headers = map(fields);
        let peer = "192.0.2.1".parse().expect("an address");
        let source = Source::of(&ServerConfig::on_loopback(), peer, &headers);
        of_request(&headers, &source, prefer)
            .iter()
            .filter(|(name, _)| !is_forwarding(name.as_str()))
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                (name.to_string(), value)
            })
            .collect()
    }

    #[test]
    fn what_is_ours_or_hearsay_does_not_pass() {
        let fields = [
            ("host", "a"),
            ("connection", "keep-alive, X-Hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("proxy-authorization", "Basic x"),
            ("relais-api-key", "rk_secret"),
            ("relais-anything", "x"),
            ("expect", "100-continue"),
            ("x-forwarded-for", "6.6.6.6"),
            ("forwarded", "for=6.6.6.6"),
            ("relais_task", "task_x"),
            ("x_forwarded_for", "6.6.6.6"),
            ("x_real-ip", "6.6.6.6"),
            ("transfer_encoding", "chunked"),
            ("content_length", "77"),
            ("proxy_authorization", "Basic x"),
            ("accept", "a"),
            ("accept", "b"),
            ("cookie", "x=1; __Host-relais=secret; y=2"),
            ("prefer", "respond-async, return=minimal, wait=5, x=\"a, b\""),
        ];
        let ours: Vec<_> = [
            ("accept", "a"),
            ("accept", "b"),
            ("cookie", "x=1; y=2"),
            ("prefer", "return=minimal, x=\"a, b\""),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
        assert_eq!(passed(&fields, PreferIs::Ours), ours);
        let theirs = passed(&fields, PreferIs::Theirs);
        assert_eq!(theirs[3].1, "respond-async, return=minimal, wait=5, x=\"a, b\"");
        let gone = [("cookie", "__Host-relais=secret; relais=x"), ("prefer", "wait=5")];
        assert_eq!(passed(&gone, PreferIs::Ours), []);
    }

    #[test]
    fn an_address_with_a_ticket_does_not_pass() {
        // A page told again from its result loads its pictures from the upstream.
        for (address, passes) in [
            ("http://a/v1/tasks/task_x/result?ticket=rt_eyJ", false),
            ("https://b.example/_relais/v1/tasks/task_x?view=page&ticket=rt_eyJ", false),
            ("http://a/v1/tasks/task_x/result", true),
            ("http://a/v1/tasks/task_x?tickets=2", true),
            ("http://a/v1/flights?ticket=7", true),
        ] {
            let seen = !passed(&[("referer", address)], PreferIs::Theirs).is_empty();
            assert_eq!(seen, passes, "{address}");
        }
    }

    #[test]
    fn a_loop_is_seen_by_our_name() {
        let headers = map(&[("via", "1.1 other, 1.1 Relais-1 (a comment)"), ("via", "2 x")]);
        assert!(is_loop(&headers, "relais-1") && !is_loop(&headers, "relais"));
    }

    #[test]
    fn vary_names_prefer_once() {
        for (before, after) in [
            (&[][..], "Prefer"),
            (&[("vary", "accept")], "accept|Prefer"),
            (&[("vary", "accept, PREFER")], "accept, PREFER"),
            (&[("vary", "*")], "*"),
        ] {
            let mut headers = map(before);
            vary_by_prefer(&mut headers);
            let lines: Vec<_> =
                headers.get_all("vary").iter().filter_map(|line| line.to_str().ok()).collect();
            assert_eq!(lines.join("|"), after);
        }
    }

    #[test]
    fn an_offer_that_is_never_taken_is_no_upgrade() {
        let upgrade = |protocol, connection| {
            let headers = map(&[("upgrade", protocol), ("connection", connection)]);
            upgrade_of(&headers, Version::HTTP_11).is_some()
        };
        assert!(upgrade("websocket", "keep-alive, Upgrade"));
        assert!(!upgrade("websocket", "keep-alive") && !upgrade("h2c", "Upgrade, HTTP2-Settings"));
        assert!(!upgrade("TLS/1.2", "Upgrade") && !upgrade("tls/1.3, H2C", "Upgrade"));
        assert!(upgrade("TLS/1.2, websocket", "Upgrade") && upgrade("x", "Upgrade"));
        assert!(upgrade("", "Upgrade"), "what makes no sense is guarded against");
        let both = map(&[("upgrade", "h2c"), ("upgrade", "x"), ("connection", "upgrade")]);
        assert_eq!(upgrade_of(&both, Version::HTTP_11), Some(HeaderValue::from_static("x")));
        assert!(!wants_websocket(&both, Version::HTTP_11));
        let both = map(&[("upgrade", "x, WebSocket"), ("connection", "upgrade")]);
        assert!(wants_websocket(&both, Version::HTTP_11));
    }
}
