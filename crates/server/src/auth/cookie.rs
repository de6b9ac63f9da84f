//! The cookie that names the session of a browser: its names and fields, and which requests of the
//! browser count. Not here: what is in it (`session`).

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Version, header};

use relais_engine::headers::{OWN_COOKIES, is_own_cookie};

use super::{is_loopback, local};
use crate::config::{PublicUrl, ServerConfig};
use crate::proxy::source::Source;

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
    /// That of a call; `None` where no browser would keep one, or where it is
    /// not known that it came by `https`.
    ///
    /// It came by `https` where Relais itself speaks it, where the public URL says so, or a trusted
    /// proxy. `Host` says nothing of it: proxies put their own there. The plain name is for browsers
    /// on this machine that call it by a name of its own, and through no proxy: behind one that
    /// speaks `https` a sister site could set such a cookie. A public URL of this machine says that
    /// a proxy on it speaks plain `http`, too.
    #[must_use]
    pub(crate) fn of(
        config: &ServerConfig,
        source: &Source,
        version: Version,
        headers: &HeaderMap,
    ) -> Option<Self> {
        let public = config.public_url.as_ref();
        let is_https = public.is_some_and(PublicUrl::is_https);
        if is_https || source.is_https() {
            return Some(Self::Secure);
        }
        if !source.is_from_here() {
            return None;
        }
        let is_plain = match public {
            Some(url) => url.is_of_this_machine(),
            None => {
                let host = headers.get(header::HOST)?.to_str().ok()?;
                is_loopback(host) && local::check_direct(version, headers).is_ok()
            }
        };
        is_plain.then_some(Self::Plain)
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
        value_of(headers, own)
    }
}

/// The value of the first cookie of a request with this name.
#[must_use]
pub(crate) fn value_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut cookies = lines.flat_map(|line| line.split(';'));
    cookies.find_map(|cookie| cookie.trim().strip_prefix(name)?.strip_prefix('='))
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
        let public_url = public_url.map(|url| url.parse().unwrap());
        ServerConfig { public_url, ..ServerConfig::on_loopback() }
    }

    #[test]
    fn the_cookie_is_for_https_and_has_a_plain_name_on_this_machine_alone() {
        const HERE: &str = "127.0.0.1";
        const THERE: &str = "192.0.2.7";
        for (url, peer, host, more, expected) in [
            (None, HERE, "localhost:8080", ("a", "b"), Some(Jar::Plain)),
            (None, HERE, "127.0.0.1", ("a", "b"), Some(Jar::Plain)),
            (None, "::ffff:127.0.0.1", "[::1]:8080", ("a", "b"), Some(Jar::Plain)),
            // Plain http on a network: a browser would drop what is `Secure`.
            (None, THERE, "192.168.1.5:8080", ("a", "b"), None),
            (None, THERE, "localhost", ("a", "b"), None),
            (None, HERE, "intranet", ("a", "b"), None),
            (None, HERE, "localhost.evil.example", ("a", "b"), None),
            // A proxy whose word does not count, or which says nothing, may speak either.
            (None, HERE, "localhost", ("x-forwarded-for", "192.0.2.1"), None),
            (None, HERE, "localhost", ("x-forwarded-proto", "https"), None),
            (None, THERE, "shop.example", ("forwarded", "proto=https"), None),
            (Some("https://shop.example"), HERE, "127.0.0.1:8080", ("a", "b"), Some(Jar::Secure)),
            (Some("https://localhost:8443"), THERE, "localhost", ("a", "b"), Some(Jar::Secure)),
            (Some("http://localhost:8080"), HERE, "a", ("via", "1.1 a"), Some(Jar::Plain)),
            (Some("http://localhost:8080"), THERE, "localhost", ("a", "b"), None),
            (Some("http://intranet"), HERE, "intranet", ("a", "b"), None),
        ] {
            let fields = headers(&[("host", host), more]);
            let config = config(url);
            let source = Source::of(&config, peer.parse().unwrap(), &fields);
            let jar = |version| Jar::of(&config, &source, version, &fields);
            assert_eq!(jar(Version::HTTP_11), expected, "{url:?} {peer} {host} {more:?}");
            if url.is_none() {
                assert_eq!(jar(Version::HTTP_10), None, "nginx as it is by default");
            }
        }
        let mut behind = config(None);
        behind.trusted_proxies = vec!["192.0.2.0/24".parse().unwrap()];
        for (proto, expected) in [("https", Some(Jar::Secure)), ("http", None)] {
            let fields = headers(&[
                ("host", "localhost"),
                ("x-forwarded-for", "198.51.100.1"),
                ("x-forwarded-proto", proto),
            ]);
            let source = Source::of(&behind, THERE.parse().unwrap(), &fields);
            let jar = Jar::of(&behind, &source, Version::HTTP_11, &fields);
            assert_eq!(jar, expected, "a trusted proxy says {proto}");
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
