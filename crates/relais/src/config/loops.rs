//! An upstream that is this server itself: its requests would come back for ever.

use std::net::{IpAddr, SocketAddr};

use http::Uri;
use relais_server::config::ServerConfig;

use super::problem::Report;
use super::{Overrides, file, url};

/// Refuses upstreams that are one of the server's own listeners. Behind a proxy in between a loop
/// cannot be seen here: it is noticed by its first request (`loop-detected`).
pub(super) fn refuse(
    file: &file::File,
    overrides: &Overrides,
    server: &ServerConfig,
    report: &mut Report<'_>,
) {
    let routes = file.route.iter().filter_map(|route| route.get_ref().upstream.as_ref());
    let routes = routes.map(|given| ("[[route]] upstream", given));
    let fallback = file.server.fallback.iter().map(|given| ("[server] fallback", given));
    for (field, given) in routes.chain(fallback) {
        if let Some(why) = why_own(given.get_ref(), server) {
            report.at(given.span(), field, why);
        }
    }
    if let Some(why) = overrides.upstream.as_ref().and_then(|text| why_own(text, server)) {
        report.elsewhere("--upstream", "", why);
    }
}

fn why_own(text: &str, server: &ServerConfig) -> Option<String> {
    let upstream = url::upstream(text).ok()?.to_string();
    if is_at(&upstream, server.listen) {
        return Some(format!(
            "{text} is this server itself: its requests would come back for ever"
        ));
    }
    is_at(&upstream, server.admin_listen)
        .then(|| format!("{text} is this server's own administration: everybody would reach it"))
}

/// Whether a call of this URL from this machine arrives at that listener. Names other than
/// `localhost` are not looked up: what they mean may change.
fn is_at(url: &str, listener: SocketAddr) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let default_port = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    if listener.port() == 0 || uri.port_u16().unwrap_or(default_port) != listener.port() {
        return false;
    }
    let own = listener.ip().to_canonical();
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    if host == "localhost" {
        return own.is_loopback() || own.is_unspecified();
    }
    let Ok(called) = host.parse::<IpAddr>() else { return false };
    let called = called.to_canonical();
    let is_here = |ip: IpAddr| ip.is_loopback() || ip.is_unspecified();
    // Nowhere means everywhere to a listener, and this machine to a caller.
    called == own
        || (own.is_unspecified() && is_here(called))
        || (called.is_unspecified() && is_here(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_known_by_each_of_its_addresses() {
        for (url, listener, expected) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080", true),
            ("http://127.0.0.1:8080/base", "127.0.0.1:8080", true),
            ("http://localhost:8080", "127.0.0.1:8080", true),
            ("http://0.0.0.0:8080", "127.0.0.1:8080", true),
            ("http://127.0.0.1:8080", "0.0.0.0:8080", true),
            ("http://127.0.0.1:8080", "[::]:8080", true),
            ("http://[::ffff:127.0.0.1]:8080", "127.0.0.1:8080", true),
            ("http://[::1]:8080", "[::1]:8080", true),
            ("http://10.0.0.1", "10.0.0.1:80", true),
            ("https://10.0.0.1", "10.0.0.1:443", true),
            ("http://127.0.0.1:8081", "127.0.0.1:8080", false),
            ("http://127.0.0.2:8080", "127.0.0.1:8080", false),
            ("http://10.0.0.2:8080", "0.0.0.0:8080", false),
            ("http://api.example:8080", "0.0.0.0:8080", false),
            ("http://127.0.0.1:80", "127.0.0.1:0", false),
        ] {
            assert_eq!(is_at(url, listener.parse().unwrap()), expected, "{url} at {listener}");
        }
    }
}
