//! The cookie that names the session of a browser: its names and fields, and which requests of the
//! browser count. Not here: what is in it (`session`).

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};

use relais_engine::headers::{OWN_COOKIES, is_own_cookie};

use super::is_loopback;
use crate::config::ServerConfig;

/// Its names for `https`, and for plain `http` on this machine.
const SECURE: &str = OWN_COOKIES[0];
const PLAIN: &str = OWN_COOKIES[1];

/// How a browser that called like this keeps the cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Jar {
    /// For `https` only, and no other host can have set it.
    Secure,
    /// Under a loopback name, by plain `http`.
    Plain,
}

impl Jar {
    /// That of the address under which Relais was called; `None` where no browser would keep one:
    /// plain `http` on another machine. Without a public URL, a name that is not of this machine is
    /// that of a proxy, which is taken to speak `https`.
    #[must_use]
    pub(crate) fn of(config: &ServerConfig, headers: &HeaderMap) -> Option<Self> {
        let (scheme, authority) = match &config.public_url {
            Some(url) => url.split_once("://")?,
            None => {
                let host = headers.get(header::HOST)?.to_str().ok()?;
                (if is_loopback(host) { config.scheme() } else { "https" }, host)
            }
        };
        let authority = authority.split(['/', '?']).next().unwrap_or_default();
        match scheme {
            "https" => Some(Self::Secure),
            _ => is_loopback(authority).then_some(Self::Plain),
        }
    }

    /// The `Set-Cookie` by which the browser keeps `text` for so long.
    #[must_use]
    pub(crate) fn keeps(self, text: &str, age: Duration) -> HeaderValue {
        let (name, secure) = match self {
            Self::Secure => (SECURE, "; Secure"),
            Self::Plain => (PLAIN, ""),
        };
        let age = age.as_secs();
        let line = format!("{name}={text}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}");
        HeaderValue::try_from(line).expect("a text of ours is ASCII")
    }

    /// The `Set-Cookie` by which the browser forgets it.
    #[must_use]
    pub(crate) fn forgets(self) -> HeaderValue {
        self.keeps("", Duration::ZERO)
    }

    /// The cookie of a request. One under the name that is not for its address is nobody's: another
    /// host, or plain `http`, may have set it.
    pub(crate) fn read(self, headers: &HeaderMap) -> Option<&str> {
        let own = match self {
            Self::Secure => SECURE,
            Self::Plain => PLAIN,
        };
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut cookies = lines.flat_map(|line| line.split(';'));
        cookies.find_map(|cookie| cookie.trim().strip_prefix(own)?.strip_prefix('='))
    }
}

/// A `Cookie` without those of Relais; `None` when nothing is left.
#[must_use]
pub(crate) fn without_own(value: &HeaderValue) -> Option<HeaderValue> {
    let mut pairs = value.as_bytes().split(|byte| *byte == b';');
    if !pairs.clone().any(is_own_cookie) {
        return Some(value.clone());
    }
    let others: Vec<_> =
        pairs.by_ref().filter(|p| !is_own_cookie(p)).map(<[u8]>::trim_ascii).collect();
    let left = others.join(&b"; "[..]);
    if left.is_empty() { None } else { HeaderValue::from_bytes(&left).ok() }
}

/// Whether a page of Relais' own origin sent a request, as its browser says: by `Sec-Fetch-Site`, or
/// where that is not sent by `Origin`. An origin that may read answers (`cors_origins`) is not
/// Relais' own.
#[must_use]
pub(crate) fn is_same_origin(config: &ServerConfig, headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all("sec-fetch-site").iter();
    if let Some(site) = sites.next() {
        return site == "same-origin" && sites.next().is_none();
    }
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let (Some(origin), None) = (origins.next(), origins.next()) else { return false };
    origin.to_str().is_ok_and(|origin| is_own_origin(config, headers, origin))
}

/// Whether an `Origin` is that under which Relais was called.
#[must_use]
pub(crate) fn is_own_origin(config: &ServerConfig, headers: &HeaderMap, origin: &str) -> bool {
    match &config.public_url {
        Some(url) => origin_of(url).is_some_and(|own| own.eq_ignore_ascii_case(origin)),
        None => {
            let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            matches!((host, authority), (Some(h), Some(a)) if h.eq_ignore_ascii_case(a))
        }
    }
}

/// Scheme and authority of a URL.
fn origin_of(url: &str) -> Option<&str> {
    let start = url.find("://")? + 3;
    let end = url[start..].find(['/', '?']).map_or(url.len(), |at| start + at);
    Some(&url[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn config(public_url: Option<&str>) -> ServerConfig {
        ServerConfig { public_url: public_url.map(str::to_owned), ..ServerConfig::on_loopback() }
    }

    #[test]
    fn the_cookie_is_for_https_and_has_a_plain_name_on_this_machine_alone() {
        for (url, host, expected) in [
            (None, "localhost:8080", Some(Jar::Plain)),
            (None, "127.0.0.1", Some(Jar::Plain)),
            (None, "[::1]:8080", Some(Jar::Plain)),
            (None, "localhost.evil.example", Some(Jar::Secure)),
            (None, "shop.example", Some(Jar::Secure)),
            (Some("https://shop.example/a"), "127.0.0.1:8080", Some(Jar::Secure)),
            (Some("https://localhost:8443"), "localhost:8443", Some(Jar::Secure)),
            (Some("http://localhost:8080"), "127.0.0.1:8080", Some(Jar::Plain)),
            (Some("http://intranet"), "intranet", None),
        ] {
            assert_eq!(Jar::of(&config(url), &headers(&[("host", host)])), expected, "{url:?}");
        }
        assert_eq!(
            Jar::Secure.keeps("x", Duration::from_secs(60)),
            "__Host-relais=x; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure"
        );
        let line = "relais=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax";
        assert_eq!(Jar::Plain.forgets(), line);
    }

    #[test]
    fn a_cookie_under_the_other_name_is_nobodys() {
        let both =
            headers(&[("cookie", "a=1; relais=plain;__Host-relais=secure"), ("cookie", "b=2")]);
        assert_eq!(Jar::Secure.read(&both), Some("secure"));
        assert_eq!(Jar::Plain.read(&both), Some("plain"));
        for line in ["relais2=x", "xrelais=x", "Relais=x", "relais", "__Host-relais-x=1"] {
            let headers = HeaderMap::from_iter([(header::COOKIE, line.parse().unwrap())]);
            assert_eq!((Jar::Secure.read(&headers), Jar::Plain.read(&headers)), (None, None));
        }
    }

    #[test]
    fn only_a_page_of_ours_is_of_the_same_origin() {
        let asks = |url, fields: &[_]| is_same_origin(&config(url), &headers(fields));
        for (fields, expected) in [
            (&[("host", "localhost:1")][..], false),
            (&[("host", "localhost:1"), ("sec-fetch-site", "same-origin")], true),
            (&[("host", "localhost:1"), ("sec-fetch-site", "same-site")], false),
            (&[("host", "localhost:1"), ("sec-fetch-site", "cross-site")], false),
            (&[("host", "localhost:1"), ("sec-fetch-site", "none")], false),
            (
                &[("host", "a"), ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "none")],
                false,
            ),
            (&[("host", "a"), ("sec-fetch-site", "cross-site"), ("origin", "http://a")], false),
            (&[("host", "localhost:1"), ("origin", "http://localhost:1")], true),
            (&[("host", "localhost:1"), ("origin", "http://localhost:2")], false),
            (&[("host", "localhost:1"), ("origin", "null")], false),
            (&[("host", "a"), ("origin", "http://a"), ("origin", "http://a")], false),
            (&[("origin", "http://a")], false),
        ] {
            assert_eq!(asks(None, fields), expected, "{fields:?}");
        }
        let url = Some("https://Shop.example/app");
        for (origin, expected) in [
            ("https://shop.example", true),
            ("http://shop.example", false),
            ("https://shop.example.evil.example", false),
            ("https://shop.example/app", false),
        ] {
            assert_eq!(asks(url, &[("host", "127.0.0.1"), ("origin", origin)]), expected);
        }
    }

    #[test]
    fn our_cookies_are_taken_out_and_the_others_left() {
        let left = |line| without_own(&HeaderValue::from_static(line));
        let expected = Some(HeaderValue::from_static("a=1; b=2"));
        assert_eq!(left("a=1; __Host-relais=x; relais=y; b=2"), expected);
        assert_eq!(left("relais=y;a=1;  b=2"), expected);
        assert_eq!(left("relais"), None);
        assert_eq!(left("relais2=1"), Some(HeaderValue::from_static("relais2=1")));
        assert!(
            is_own_cookie(b"relais=x; Path=/")
                && is_own_cookie(b" __Host-relais ")
                && !is_own_cookie(b"sid=relais")
        );
    }
}
