//! Whom we trust at the other end of TLS, and as whom we come.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// How an upstream is called over TLS.
#[derive(Debug, Clone)]
pub struct UpstreamTls {
    config: Arc<ClientConfig>,
}

/// What is wrong with the files of an upstream's TLS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsFault {
    /// With the file of its authorities.
    #[error("{0}")]
    Authorities(String),
    /// With our certificate.
    #[error("{0}")]
    Identity(String),
    /// With our certificate's key.
    #[error("{0}")]
    Key(String),
}

impl UpstreamTls {
    /// For upstreams with a certificate of an authority that everybody trusts, or this machine: the
    /// roots of Mozilla's programme, which are part of the program, and those of the system.
    #[must_use]
    pub fn public() -> Self {
        Self { config: Arc::new(builder().with_root_certificates(roots()).with_no_client_auth()) }
    }

    /// For one upstream: `ca` is a PEM file of the only authorities that are trusted with it, those
    /// of [`public`](Self::public) if there is none; `identity` is a certificate to call with, its
    /// chain behind it, and its key, as PEM files.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn of_files(ca: Option<&Path>, identity: Option<(&Path, &Path)>) -> Result<Self, TlsFault> {
        let roots = match ca {
            Some(file) => roots_of(file).map_err(TlsFault::Authorities)?,
            None => roots(),
        };
        let builder = builder().with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let chain = certificates(cert).map_err(TlsFault::Identity)?;
                let private = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| TlsFault::Key(could_not_read(key, &error)))?;
                builder.with_client_auth_cert(chain, private).map_err(|error| match error {
                    rustls::Error::InconsistentKeys(_) => TlsFault::Key(format!(
                        "the private key in {} is not that of the certificate in {}",
                        key.display(),
                        cert.display()
                    )),
                    error => {
                        TlsFault::Identity(format!("certificate and key cannot be used: {error}"))
                    }
                })?
            }
        };
        Ok(Self { config: Arc::new(config) })
    }

    pub(super) fn config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }
}

fn roots() -> RootCertStore {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let system = rustls_native_certs::load_native_certs();
    for error in system.errors {
        tracing::debug!(%error, "some of the system's certificates could not be read");
    }
    roots.add_parsable_certificates(system.certs);
    roots
}

fn roots_of(file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| could_not_read(file, &error))?;
    }
    Ok(roots)
}

/// The certificates of a PEM file; at least one.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    let found: Vec<_> = read.map_err(|error| could_not_read(file, &error))?;
    if found.is_empty() {
        return Err(format!("{} holds no certificate (PEM)", file.display()));
    }
    Ok(found)
}

fn could_not_read(file: &Path, error: &dyn std::error::Error) -> String {
    format!("could not read {}: {error}", file.display())
}

fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows the default protocol versions")
}
