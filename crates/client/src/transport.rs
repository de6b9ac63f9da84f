//! Connections to one server: its URL, TLS, the pool.

use std::time::Duration;

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client as Pool, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;

use crate::body::SendBody;
use crate::error::{Distrust, Error, InvalidUrl};
use crate::limits;
use crate::trust;

/// Connections to one server. They belong to the runtime that first uses them.
pub(crate) struct Transport {
    pool: Pool<HttpsConnector<HttpConnector>, SendBody>,
    origin: Origin,
    tls: ClientConfig,
}

/// Where the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Scheme and authority.
    pub(crate) base: String,
    /// What goes before every path of Relais: empty, or `/…` without a slash at the end.
    prefix: String,
}

impl Origin {
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidUrl> {
        let refuse = |why| Err(InvalidUrl { text: shown(text), why });
        let Ok(uri) = text.trim().parse::<Uri>() else { return refuse("it cannot be read") };
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return refuse("it needs a scheme and a host");
        };
        if !matches!(scheme, "http" | "https") {
            return refuse("the scheme is http or https");
        }
        if authority.as_str().contains('@') {
            return refuse("it cannot hold a user; give an API key");
        }
        if uri.query().is_some() {
            return refuse("it cannot have a query");
        }
        Ok(Self {
            base: format!("{scheme}://{authority}"),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.base.starts_with("https:")
    }

    /// The URL of one of Relais' own paths.
    fn uri(&self, path: &str) -> Result<Uri, Error> {
        let Self { base, prefix } = self;
        format!("{base}{prefix}{path}")
            .parse()
            .map_err(|_| Error::Invalid("an id or a name has characters that no URL can have"))
    }
}

impl Transport {
    pub(crate) fn new(origin: Origin, tls: ClientConfig) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(limits::CONNECT_TIMEOUT));
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls.clone())
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .http1_max_buf_size(256 << 10)
            .build(connector);
        Self { pool, origin, tls }
    }

    /// The same way to the same server, by connections of its own.
    pub(crate) fn on_its_own(&self) -> Self {
        Self::new(self.origin.clone(), self.tls.clone())
    }

    pub(crate) const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Sends one request and returns once the head of the answer is there.
    pub(crate) async fn send(
        &self,
        mut head: http::request::Parts,
        path: &str,
        body: SendBody,
        patience: Duration,
    ) -> Result<Response<Incoming>, Error> {
        head.uri = self.origin.uri(path)?;
        let sent = self.pool.request(Request::from_parts(head, body));
        match tokio::time::timeout(patience, sent).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(self.unreachable(&error)),
            Err(_) => Err(Error::TimedOut { at: self.origin.base.clone() }),
        }
    }

    pub(crate) fn unreachable(&self, error: &(dyn std::error::Error + 'static)) -> Error {
        let at = self.origin.base.clone();
        match trust::tls_error(error) {
            Some(rustls::Error::InvalidCertificate(fault)) => {
                Error::Untrusted { at, why: Distrust::of(fault) }
            }
            Some(rustls::Error::InvalidMessage(_)) => {
                Error::Unreachable { at, source: "what answers there does not speak TLS".into() }
            }
            _ => Error::Unreachable { at, source: deepest(error).into() },
        }
    }
}

/// hyper says "client error (Connect)"; the reason is below it.
fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(below) = deepest.source() {
        deepest = below;
    }
    deepest.to_string()
}

fn shown(text: &str) -> String {
    // A password typed into the URL must not come back in an error.
    let text = text.rsplit_once('@').map_or(text, |(_, after)| after);
    format!("{:?}", text.chars().take(80).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_scheme_host_and_maybe_a_prefix() {
        let uri = |base: &str| Origin::parse(base).unwrap().uri("/v1/tasks").unwrap().to_string();
        assert_eq!(uri("http://127.0.0.1:8080"), "http://127.0.0.1:8080/v1/tasks");
        assert_eq!(uri("https://a.example/_relais/"), "https://a.example/_relais/v1/tasks");
    }

    #[test]
    fn what_is_no_url_of_a_server_is_refused_without_its_secrets() {
        for text in ["", "localhost", "127.0.0.1:80", "ftp://a", "http://a/?b=c", "/v1"] {
            assert!(Origin::parse(text).is_err(), "{text}");
        }
        let error = Origin::parse("http://me:secret@a.example").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
