//! URLs of a configuration: of upstreams, of this server, of the store.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use relais_server::config::{HostHeader, InvalidPublicUrl, InvalidUpstream, PublicUrl, Upstream};

/// Where tasks survive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// Nowhere: for tests and trials.
    Memory,
    /// One file of SQLite, and a folder beside it for large bodies.
    Sqlite(PathBuf),
}

impl Default for StoreUrl {
    fn default() -> Self {
        Self::Sqlite("relais.db".into())
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
        }
    }
}

impl FromStr for StoreUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "memory:" {
            return Ok(Self::Memory);
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            // The URL holds a password: it is not repeated.
            return Err("a store on PostgreSQL is not available yet".to_owned());
        }
        match text.strip_prefix("sqlite:") {
            Some("") | None => {
                Err(format!("{text:?} is no store; write \"sqlite:relais.db\" or \"memory:\""))
            }
            Some(":memory:") => Err("write \"memory:\" for a store in memory".to_owned()),
            Some(path) => Ok(Self::Sqlite(path.into())),
        }
    }
}

/// The URL of an upstream: scheme, authority and maybe a base path.
pub(crate) fn upstream(text: &str) -> Result<Upstream, String> {
    text.parse().map_err(|error: InvalidUpstream| error.to_string())
}

/// Scheme and authority of an upstream.
pub(crate) fn origin(text: &str) -> Result<String, String> {
    let upstream = upstream(text)?;
    let origin = upstream.origin();
    if upstream.base().is_empty() {
        Ok(origin.to_string())
    } else {
        Err(format!("limits are of a whole service: write {origin:?}, without a path"))
    }
}

/// Scheme and authority of this server, as its clients know it.
pub(crate) fn public(text: &str) -> Result<PublicUrl, String> {
    text.parse().map_err(|error: InvalidPublicUrl| error.to_string())
}

/// Which `Host` an upstream is sent: its own, that of the client, or this one.
pub(crate) fn host(text: &str) -> Result<HostHeader, String> {
    match text {
        "upstream" => Ok(HostHeader::Upstream),
        "client" => Ok(HostHeader::Client),
        _ if text.parse::<http::uri::Authority>().is_ok() && !text.contains('@') => {
            Ok(HostHeader::Fixed(text.to_owned()))
        }
        _ => Err(format!("{text:?} is no host: \"client\", \"upstream\", or a name")),
    }
}

/// The origin of pages: as browsers write it, because they are compared letter by letter.
pub(super) fn page_origin(text: &str) -> Result<String, String> {
    let refuse = |why: &str| Err(format!("{why}; write for example \"https://shop.example.com\""));
    if text == "null" {
        return refuse("\"null\" is the origin of every sandboxed page and local file");
    }
    if text.contains('*') {
        return refuse(
            "answers are read with credentials, so that each origin must be named: no \"*\"",
        );
    }
    let Ok(upstream) = upstream(text) else {
        return refuse("an origin is http or https, a host, and maybe a port");
    };
    let origin = upstream.origin().trim_end_matches(':');
    if text == origin {
        Ok(text.to_owned())
    } else {
        Err(format!("write {origin:?}: without path, slash at the end, capitals or default port"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_a_file_or_memory() {
        assert_eq!("memory:".parse(), Ok(StoreUrl::Memory));
        assert_eq!("sqlite:a/b.db".parse(), Ok(StoreUrl::Sqlite("a/b.db".into())));
        for text in ["", "sqlite:", "sqlite::memory:", "relais.db", "mysql://x"] {
            assert!(text.parse::<StoreUrl>().is_err(), "{text}");
        }
        let error = "postgres://me:secret@host/db".parse::<StoreUrl>().unwrap_err();
        assert!(error.contains("not available") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn an_origin_has_no_path() {
        assert_eq!(origin("https://a:443/").unwrap(), "https://a");
        assert!(origin("http://a/x").unwrap_err().starts_with("limits are of a whole service"));
        // It spoke of limits, too.
        let refused = public("https://a.example/x").unwrap_err();
        assert!(
            refused.starts_with("links are made of") && refused.contains("\"https://a.example\"")
        );
    }
}
