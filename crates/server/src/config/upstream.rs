//! The address of a service behind Relais: parsed once, at the door.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use std::sync::Arc;

use http::Uri;
use http::uri::Authority;

/// A service behind Relais: scheme and authority, and the path that goes before those of requests.
/// It has one spelling: the host in lower case, no port that its scheme implies, no slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    origin: Arc<str>,
    base: String,
}

impl Upstream {
    /// Scheme and authority: what limits and pauses are of.
    #[must_use]
    pub const fn origin(&self) -> &Arc<str> {
        &self.origin
    }

    /// The path that goes before those of requests; mostly empty.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }
}

/// Scheme, authority and base path.
impl fmt::Display for Upstream {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}", self.origin, self.base)
    }
}

/// Why a text is no address of an upstream. It is not repeated: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}; write for example \"http://127.0.0.1:9000\"")]
pub struct InvalidUpstream(&'static str);

impl FromStr for Upstream {
    type Err = InvalidUpstream;

    fn from_str(text: &str) -> Result<Self, InvalidUpstream> {
        let refuse = |why| Err(InvalidUpstream(why));
        let Ok(uri) = text.parse::<Uri>() else { return refuse("it is no URL") };
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return refuse("a URL needs a scheme and a host");
        };
        if !matches!(scheme, "http" | "https") {
            return refuse("the scheme is http or https");
        }
        if authority.as_str().contains('@') {
            return refuse("a URL here cannot hold a user and a password");
        }
        if uri.query().is_some() || text.contains('#') {
            return refuse("a URL here has no query and no fragment");
        }
        let authority = spelled(scheme, authority)?;
        Ok(Self {
            origin: format!("{scheme}://{authority}").into(),
            base: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

/// Host and port as browsers write them: they compare origins by their text, and so does Relais.
fn spelled(scheme: &str, authority: &Authority) -> Result<String, InvalidUpstream> {
    let host = authority.host();
    let port = &authority.as_str()[host.len()..];
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(six) => {
            let six = six.parse::<Ipv6Addr>();
            format!("[{}]", six.map_err(|_| InvalidUpstream("its host is no IPv6 address"))?)
        }
        None => host.to_ascii_lowercase(),
    };
    let Some(port) = port.strip_prefix(':') else { return Ok(host) };
    let port: u16 = port.parse().map_err(|_| InvalidUpstream("its port is no number"))?;
    let implied = if scheme == "http" { 80 } else { 443 };
    Ok(if port == implied { host } else { format!("{host}:{port}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_has_one_spelling() {
        let parsed = |text: &str| text.parse::<Upstream>();
        for text in ["http://A.example:80/x/", "http://a.example/x"] {
            let upstream = parsed(text).expect("an address");
            assert_eq!((&**upstream.origin(), upstream.base()), ("http://a.example", "/x"));
            assert_eq!(upstream.to_string(), "http://a.example/x");
        }
        for text in [
            "http://a:",
            "http://[::x]",
            "",
            "a",
            "/x",
            "a:80",
            "ftp://a",
            "ws://a",
            "http://me:pw@a",
            "http://a?x=1",
        ] {
            let refused = parsed(text).expect_err(text).to_string();
            assert!(!refused.contains("pw"), "{refused}");
        }
    }
}
