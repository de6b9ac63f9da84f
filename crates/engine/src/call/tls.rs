//! Whom we trust at the other end of TLS, and as whom we come.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

/// How an upstream is called over TLS.
#[derive(Debug, Clone)]
pub(super) struct UpstreamTls {
    config: Arc<ClientConfig>,
}

impl UpstreamTls {
    /// For upstreams with a certificate of an authority that everybody trusts, or this machine: the roots
    /// of Mozilla's programme, which are part of the program, and those of the system.
    #[must_use]
    pub(super) fn public() -> Self {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let system = rustls_native_certs::load_native_certs();
        for error in system.errors {
            tracing::debug!(%error, "some of the system's certificates could not be read");
        }
        roots.add_parsable_certificates(system.certs);
        let config = builder().with_root_certificates(roots).with_no_client_auth();
        Self { config: Arc::new(config) }
    }

    pub(super) fn config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }
}

fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows the default protocol versions")
}
