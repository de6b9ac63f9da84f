//! Where others find Relais: parsed once, at the door.

use std::str::FromStr;
use std::sync::Arc;

use super::upstream::{InvalidUpstream, Upstream};
use crate::auth::is_loopback;

/// The address under which others find Relais: scheme and authority, in the one spelling that browsers
/// write as an origin. Links begin with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    text: Arc<str>,
    authority_at: usize,
}

/// Why a text is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPublicUrl {
    /// It is no URL of HTTP.
    #[error(transparent)]
    Url(#[from] InvalidUpstream),
    /// It has a path.
    #[error("links are made of scheme and host alone: write {0:?}, without a path")]
    Path(Arc<str>),
}

impl PublicUrl {
    /// Scheme and authority, without a slash at the end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host, with its port where the scheme does not imply it.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.text[self.authority_at..]
    }

    /// Whether clients speak TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.text.starts_with("https:")
    }

    /// Whether its host is a name of this machine alone.
    #[must_use]
    pub fn is_of_this_machine(&self) -> bool {
        is_loopback(self.authority())
    }
}

impl FromStr for PublicUrl {
    type Err = InvalidPublicUrl;

    fn from_str(text: &str) -> Result<Self, InvalidPublicUrl> {
        let url: Upstream = text.parse()?;
        let text = url.origin().clone();
        if !url.base().is_empty() {
            return Err(InvalidPublicUrl::Path(text));
        }
        let authority_at = text.find("://").expect("an origin has a scheme") + 3;
        Ok(Self { text, authority_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_scheme_and_authority_as_browsers_write_an_origin() {
        for (text, expected, authority, is_https, is_here) in [
            ("https://Shop.example:443/", "https://shop.example", "shop.example", true, false),
            ("http://localhost:8080", "http://localhost:8080", "localhost:8080", false, true),
            ("https://a.example:0443", "https://a.example", "a.example", true, false),
            ("https://[2001:DB8:0::1]", "https://[2001:db8::1]", "[2001:db8::1]", true, false),
            ("https://[::1]:8443", "https://[::1]:8443", "[::1]:8443", true, true),
            (
                "http://localhost.evil.example",
                "http://localhost.evil.example",
                "localhost.evil.example",
                false,
                false,
            ),
        ] {
            let url: PublicUrl = text.parse().expect(text);
            assert_eq!((url.as_str(), url.authority()), (expected, authority));
            assert_eq!((url.is_https(), url.is_of_this_machine()), (is_https, is_here), "{text}");
        }
        let refused = |text: &str| text.parse::<PublicUrl>().expect_err(text).to_string();
        assert!(refused("https://a.example/x").contains("write \"https://a.example\""));
        assert!(refused("ftp://a.example").contains("http or https"));
    }
}
