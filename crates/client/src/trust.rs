//! Whose certificates a server may come with, and why one is not trusted.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::error::{Distrust, InvalidAuthorities};

/// The certificates of a PEM text; at least one, and each could be an authority's.
pub(crate) fn authorities(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, InvalidAuthorities> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let named = read.map_err(|_| InvalidAuthorities("it is no PEM"))?;
    if named.is_empty() {
        return Err(InvalidAuthorities("it holds no certificate (PEM)"));
    }
    match RootCertStore::empty().add_parsable_certificates(named.iter().cloned()) {
        (_, 0) => Ok(named),
        _ => Err(InvalidAuthorities("a certificate in it is no X.509")),
    }
}

/// For a server with a certificate of an authority that everybody trusts, or this
/// machine, or that is among the `named` ones. Where nothing is called over TLS the
/// system's, which are many, are not read.
pub(crate) fn config(is_tls: bool, named: Vec<CertificateDer<'static>>) -> ClientConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if is_tls {
        let system = rustls_native_certs::load_native_certs();
        for error in system.errors {
            tracing::debug!(%error, "some of the system's certificates could not be read");
        }
        roots.add_parsable_certificates(system.certs);
    }
    roots.add_parsable_certificates(named.iter().cloned());
    let usual = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone())
        .build()
        .expect("there are roots, and no lists of revoked certificates");
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows the default protocol versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { usual, named }))
        .with_no_client_auth()
}

/// Judges as everybody does, and besides takes a certificate that was named itself: the usual rules
/// refuse it as a server's own where it calls itself an authority, as what `openssl req -x509`
/// makes does, and where its issuer was not named.
#[derive(Debug)]
struct Verifier {
    usual: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let judged = self.usual.verify_server_cert(own, others, name, ocsp, now);
        // Dates are judged before this, so that a certificate with such a fault is in its time.
        let is_for_its_issuer = matches!(
            &judged,
            Err(rustls::Error::InvalidCertificate(fault))
                if Distrust::of(fault) == Distrust::Authority
        );
        if is_for_its_issuer && self.named.iter().any(|named| named == own) {
            verify_server_name(&ParsedCertificate::try_from(own)?, name)?;
            return Ok(ServerCertVerified::assertion());
        }
        judged
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls12_signature(message, own, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls13_signature(message, own, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

impl Distrust {
    /// Why a certificate was refused.
    pub(crate) fn of(fault: &CertificateError) -> Self {
        use CertificateError as Fault;
        match fault {
            Fault::Expired | Fault::ExpiredContext { .. } => Self::Ended,
            Fault::NotValidYet | Fault::NotValidYetContext { .. } => Self::NotYet,
            Fault::NotValidForName | Fault::NotValidForNameContext { .. } => Self::Name,
            // The last is what one that calls itself an authority gets.
            Fault::UnknownIssuer | Fault::BadSignature | Fault::Other(_) => Self::Authority,
            _ => Self::Form,
        }
    }
}

/// What TLS says is wrong, if an error comes of it.
pub(crate) fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref() {
            return Some(tls);
        }
        next = match error.downcast_ref::<io::Error>() {
            // An I/O error tells of what it wraps, which may be another one, only when it is asked.
            Some(wrapper) => wrapper.get_ref().map(|wrapped| wrapped as _),
            None => error.source(),
        };
    }
    None
}
