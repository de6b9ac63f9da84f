//! New connections to upstreams: TCP, TLS, HTTP.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::sync::{Arc, RwLock};

use http::Uri;
use http::uri::Scheme;
use relais_core::address::Passage;
use relais_core::limits;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig};
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;

use super::idle::Generation;
use super::reach::Reach;
use super::tls::UpstreamTls;
use super::wire::{Shared, Wire};

/// Why there is no connection to an upstream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// Its URL names no host.
    #[error("its URL names no host")]
    NoAddress,
    /// Its name cannot be resolved.
    #[error("its name is unknown")]
    NoName,
    /// It is where callers may not have called, or nowhere: the difference would say which names an inner
    /// network has. Which address it is, the operator's log alone says.
    #[error("its name is unknown, or its address is not one that callers may have called")]
    NotAllowed,
    /// Nobody listens there.
    #[error("it refuses connections")]
    Refused,
    /// Name, connection and handshake took too long together.
    #[error("connecting took too long")]
    Slow,
    /// It closed the connection before anything was sent.
    #[error("it closed the connection at once")]
    Closed,
    /// Its certificate is not good: whose word it is, or for which name, or until when.
    #[error("its certificate is not trusted ({0})")]
    Certificate(String),
    /// It does not trust the client certificate, or the want of one.
    #[error("it does not accept the client certificate ({0})")]
    ClientCertificate(String),
    /// The handshake failed in another way.
    #[error("TLS failed ({0})")]
    Tls(String),
    /// The network says no in another way.
    #[error("the connection failed ({0})")]
    Network(io::ErrorKind),
}

impl Unreachable {
    /// The upstream's refusal of our certificate, if that is what an error is.
    pub(super) fn of_refused_certificate(error: &(dyn Error + 'static)) -> Option<Self> {
        let refused = Self::of_tls(tls_error(error)?);
        matches!(refused, Self::ClientCertificate(_)).then_some(refused)
    }

    fn of_tls(error: &rustls::Error) -> Self {
        use AlertDescription as Alert;
        match error {
            rustls::Error::InvalidCertificate(_) => Self::Certificate(error.to_string()),
            rustls::Error::AlertReceived(
                Alert::CertificateRequired
                | Alert::BadCertificate
                | Alert::UnknownCA
                | Alert::AccessDenied
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked,
            ) => Self::ClientCertificate(error.to_string()),
            _ => Self::Tls(error.to_string()),
        }
    }

    /// What whoever named the URL is told where the operator's list let it through: words of TLS name
    /// the hosts that an inner certificate is for.
    fn behind(self, passage: Option<Passage>) -> Self {
        match self {
            Self::Certificate(_) | Self::ClientCertificate(_) | Self::Tls(_)
                if passage == Some(Passage::Allowed) =>
            {
                Self::Tls("of an inner service no more is told".to_owned())
            }
            told => told,
        }
    }

    fn of_handshake(error: &io::Error) -> Self {
        tls_error(error).map_or(Self::Network(error.kind()), Self::of_tls)
    }

    /// From the connector's error, which tells causes apart by its sources only.
    pub(super) fn of_connect(error: &(dyn Error + 'static)) -> Self {
        match sources(error).find_map(|source| source.downcast_ref::<io::Error>()) {
            Some(error) if error.kind() == io::ErrorKind::ConnectionRefused => Self::Refused,
            Some(error) if error.kind() == io::ErrorKind::TimedOut => Self::Slow,
            Some(error) => Self::Network(error.kind()),
            None => Self::Network(io::ErrorKind::Other),
        }
    }
}

/// An error, and what is behind it.
fn sources<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    sources(error).find_map(|source| match source.downcast_ref::<io::Error>() {
        // An I/O error tells of what it wraps only when it is asked for it.
        Some(wrapper) => wrapper.get_ref()?.downcast_ref(),
        None => source.downcast_ref(),
    })
}

#[derive(Debug)]
pub(super) struct Dialer {
    pub(super) reach: Reach,
    /// Upstreams, as scheme and authority, that are trusted by other roots than everybody's, or
    /// that want to know who calls.
    own: RwLock<BTreeMap<String, UpstreamTls>>,
    /// For all others; made when the first is called, because the system's roots are many files.
    public: OnceCell<UpstreamTls>,
}

impl Dialer {
    pub(super) fn new(reach: Reach, own: BTreeMap<String, UpstreamTls>) -> Self {
        Self { reach, own: RwLock::new(own), public: OnceCell::new() }
    }

    /// Goes by other files from the next connection on.
    pub(super) fn configure(&self, own: BTreeMap<String, UpstreamTls>) {
        *self.own.write().expect("nothing panics while it is held") = own;
    }

    /// A new connection to the upstream of a URI.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn dial(
        &self,
        upstream: &Uri,
        generation: Generation,
    ) -> Result<Wire, Unreachable> {
        let connect = self.connect(upstream, generation);
        let connecting = tokio::time::timeout(limits::CONNECT_MAX, connect);
        connecting.await.unwrap_or(Err(Unreachable::Slow))
    }

    async fn connect(&self, upstream: &Uri, generation: Generation) -> Result<Wire, Unreachable> {
        let (socket, passage) = self.reach.connect(upstream).await?;
        let socket = Arc::new(socket);
        let stream = Shared(socket.clone());
        let wire = if upstream.scheme() == Some(&Scheme::HTTPS) {
            let name = server_name(upstream).ok_or(Unreachable::NoAddress)?;
            let tls = TlsConnector::from(self.tls(upstream).await);
            let stream = tls.connect(name, stream).await;
            let stream =
                stream.map_err(|error| Unreachable::of_handshake(&error).behind(passage))?;
            Wire::over(stream, socket, passage, generation).await
        } else {
            Wire::over(stream, socket, passage, generation).await
        };
        wire.map_err(|_| Unreachable::Closed)
    }

    fn own_tls(&self, upstream: &Uri) -> Option<UpstreamTls> {
        let origin = format!("https://{}", upstream.authority()?);
        self.own.read().expect("nothing panics while it is held").get(&origin).cloned()
    }

    async fn tls(&self, upstream: &Uri) -> Arc<ClientConfig> {
        if let Some(own) = self.own_tls(upstream) {
            return own.config();
        }
        let public = self.public.get_or_init(|| async {
            let made = tokio::task::spawn_blocking(UpstreamTls::public).await;
            made.expect("reading the system's roots does not panic")
        });
        public.await.config()
    }
}

/// The name that an upstream's certificate must have: that of its URL, whatever `Host` it is sent.
fn server_name(upstream: &Uri) -> Option<ServerName<'static>> {
    ServerName::try_from(bare_host(upstream)?.to_owned()).ok()
}

/// The host of a URL, an IPv6 address without its brackets.
pub(super) fn bare_host(upstream: &Uri) -> Option<&str> {
    let host = upstream.host()?;
    Some(host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host))
}

#[cfg(test)]
mod tests {
    use relais_core::Guard;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn words_of_tls_are_not_told_of_what_the_list_lets_through() {
        let inner = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = inner.local_addr().unwrap();
        let url: Uri = format!("https://{address}/").parse().unwrap();
        let guard = Guard::new(vec![address.to_string().parse().unwrap()]);
        let fault = async |reach| {
            let dialer = Dialer::new(reach, BTreeMap::new());
            let connect = dialer.connect(&url, Generation::default());
            let answer = async { inner.accept().await?.0.write_all(b"HTTP/1.1 400 no\r\n").await };
            tokio::join!(connect, answer).0.unwrap_err().to_string()
        };
        assert!(fault(Reach::anywhere()).await.contains("corrupt message"));
        let told = fault(Reach::outward(guard)).await;
        assert_eq!(told, "TLS failed (of an inner service no more is told)");
    }

    #[test]
    fn the_hosts_of_an_inner_certificate_are_not_told() {
        let fault = Unreachable::Certificate("it is for vault.corp.example".to_owned());
        for passage in [None, Some(Passage::Public)] {
            assert!(fault.clone().behind(passage).to_string().contains("vault"));
        }
        assert!(!fault.behind(Some(Passage::Allowed)).to_string().contains("vault"));
        assert_eq!(Unreachable::Refused.behind(Some(Passage::Allowed)), Unreachable::Refused);
    }
}
