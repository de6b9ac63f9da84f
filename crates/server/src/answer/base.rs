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
    path: String,
    address: OnceLock<SocketAddr>,
    text: OnceLock<String>,
}

impl Base {
    /// Of a server that does not listen yet.
    pub(crate) fn new(config: Arc<ServerConfig>) -> Self {
        let path = path_before(&config);
        Self { config, path, address: OnceLock::new(), text: OnceLock::new() }
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
        let _ = self.text.set(self.on(address));
    }

    /// The text, without a slash at the end.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        self.text.get_or_init(|| self.on(self.config.listen))
    }

    /// Its path alone, without a slash at the end: what the links of pages begin with. It is the same under
    /// whatever name a caller found Relais.
    #[must_use]
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The text without the prefix of Relais' own paths: a public URL may have a path before it.
    #[must_use]
    pub(crate) fn without_prefix(&self) -> &str {
        let base = self.as_str();
        base.strip_suffix(self.config.api_prefix.as_str()).unwrap_or(base)
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
        let may = !self.is_given() && is_loopback(host) && is_authority(host);
        let (scheme, rest) = self.as_str().split_once("://")?;
        let own = rest.split('/').next().unwrap_or_default();
        (may && host != own).then(|| format!("{scheme}://{host}{}", self.config.api_prefix))
    }

    /// A task as the occurrence of its problem: its path.
    #[must_use]
    pub(crate) fn path_of(&self, task: TaskId) -> String {
        format!("{}/v1/tasks/{task}", self.config.api_prefix)
    }

    fn on(&self, address: SocketAddr) -> String {
        let origin = match &self.config.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("{}://{address}", self.config.scheme()),
        };
        format!("{origin}{}", self.config.api_prefix)
    }
}

fn path_before(config: &ServerConfig) -> String {
    let public = config.public_url.as_deref().and_then(|url| url.split_once("://"));
    let path = public.and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]));
    let path = path.unwrap_or_default().trim_end_matches('/');
    [path, config.api_prefix.as_str()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_lead_to_paths_below_that_of_the_public_url_and_the_prefix() {
        for (public_url, api_prefix, expected) in [
            (None, "", ""),
            (None, "/_r", "/_r"),
            (Some("https://a.example"), "", ""),
            (Some("https://a.example/"), "/_r", "/_r"),
            (Some("https://a.example:8/shop/"), "", "/shop"),
            (Some("https://[::1]:8/shop"), "/_r", "/shop/_r"),
        ] {
            let config = ServerConfig {
                public_url: public_url.map(str::to_owned),
                api_prefix: api_prefix.to_owned(),
                ..ServerConfig::on_loopback()
            };
            let base = Base::new(Arc::new(config));
            assert_eq!(base.path(), expected, "{public_url:?} {api_prefix}");
            assert!(base.as_str().ends_with(expected), "{}", base.as_str());
        }
    }
}
