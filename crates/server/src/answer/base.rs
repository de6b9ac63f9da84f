//! Where Relais is: what the links of its answers begin with.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use http::HeaderMap;
use http::header::HOST;
use relais_core::TaskId;

use crate::auth::is_loopback;
use crate::config::ServerConfig;
use crate::proxy::source::is_authority;

/// Scheme, authority and prefix of Relais' own paths: of the public URL where there is one, else of
/// the address that the public listener has.
#[derive(Debug)]
pub(crate) struct Base {
    config: Arc<ServerConfig>,
    address: OnceLock<SocketAddr>,
    origin: OnceLock<String>,
    text: OnceLock<String>,
}

impl Base {
    /// Of a server that does not listen yet.
    pub(crate) fn new(config: Arc<ServerConfig>) -> Self {
        let (address, origin, text) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { config, address, origin, text }
    }

    /// Of the same listener by another configuration.
    pub(crate) fn with(&self, config: Arc<ServerConfig>) -> Self {
        let base = Self::new(config);
        if let Some(address) = self.address.get() {
            base.listening_on(*address);
        }
        base
    }

    /// Says where the public listener is. The first call, and the first link, decide.
    pub(crate) fn listening_on(&self, address: SocketAddr) {
        let _ = self.address.set(address);
        let _ = self.origin.set(self.on(address));
    }

    /// The text, without a slash at the end.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        self.text.get_or_init(|| format!("{}{}", self.origin(), self.config.api_prefix))
    }

    /// Its path alone, without a slash at the end: what the links of pages begin with. It is the same under
    /// whatever name a caller found Relais.
    #[must_use]
    pub(crate) fn path(&self) -> &str {
        &self.config.api_prefix
    }

    /// The text without its path.
    #[must_use]
    pub(crate) fn origin(&self) -> &str {
        self.origin.get_or_init(|| self.on(self.config.listen))
    }

    /// Whether the operator says where Relais is, whatever name a caller found it under.
    #[must_use]
    pub(crate) fn is_given(&self) -> bool {
        self.config.public_url.is_some()
    }

    /// The same for a caller who found Relais under another name of this machine, which its
    /// links keep: to a page on `http://localhost:8080`, links on `http://127.0.0.1:8080` lead
    /// to another origin. `None` where [`as_str`](Self::as_str) holds. A name that is not this
    /// machine's never makes a link.
    #[must_use]
    pub(crate) fn for_caller(&self, headers: &HeaderMap) -> Option<String> {
        let host = headers.get(HOST)?.to_str().ok()?;
        if self.is_given() || !is_loopback(host) || !is_authority(host) {
            return None;
        }
        let called = format!("{}://{host}", self.config.scheme());
        (called != self.origin()).then(|| format!("{called}{}", self.path()))
    }

    /// A task as the occurrence of its problem: its path.
    #[must_use]
    pub(crate) fn path_of(&self, task: TaskId) -> String {
        format!("{}/v1/tasks/{task}", self.path())
    }

    fn on(&self, address: SocketAddr) -> String {
        match &self.config.public_url {
            Some(url) => url.as_str().to_owned(),
            None => format!("{}://{address}", self.config.scheme()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_begin_with_the_public_url_or_where_the_server_listens_and_the_prefix() {
        for (public_url, api_prefix, expected) in [
            (None, "", "http://127.0.0.1:8080"),
            (None, "/_r", "http://127.0.0.1:8080/_r"),
            (Some("https://a.example"), "", "https://a.example"),
            (Some("https://[::1]:8/"), "/_r", "https://[::1]:8/_r"),
        ] {
            let config = ServerConfig {
                public_url: public_url.map(|url| url.parse().unwrap()),
                api_prefix: api_prefix.to_owned(),
                ..ServerConfig::on_loopback()
            };
            let base = Base::new(Arc::new(config));
            base.listening_on(([127, 0, 0, 1], 8_080).into());
            assert_eq!((base.as_str(), base.path()), (expected, api_prefix));
            assert_eq!(format!("{}{api_prefix}", base.origin()), expected);
        }
    }
}
