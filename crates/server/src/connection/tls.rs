//! Certificates of the listeners: read from their files and judged. They are part of what a reload
//! exchanges: each connection takes the present one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use relais_api::Time;
use relais_core::Timestamp;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::ServerConfig;
use crate::connection::Side;

/// What is offered, the first first: browsers speak HTTP/2 over TLS only.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// How long before its end a certificate is called expiring; shorter ones, for
/// the last third of theirs.
const EXPIRING: Duration = Duration::from_secs(14 * 86_400);

/// The files of a listener's certificate, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and after it those that lead to a root.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Where they are named, such as `relais.toml:3: [server] tls`: what is wrong with them is said
    /// of it.
    pub place: String,
}

/// Why a listener's certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {fault}")]
pub struct TlsError {
    /// Where its files are named.
    pub place: String,
    /// What is wrong with them.
    pub fault: TlsFault,
}

/// What is wrong with the files of a certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    /// A file cannot be read, or holds nothing of the kind.
    #[error("could not read the {what} in {}: {why}", .path.display())]
    Unreadable {
        /// What was looked for.
        what: &'static str,
        path: PathBuf,
        /// Why it was not found.
        why: String,
    },
    /// The certificate cannot be served.
    #[error("could not use the certificate in {}: {why}", .path.display())]
    Unusable {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Certificate and key are not of each other.
    #[error(
        "the private key in {} is not that of the certificate in {}",
        .key.display(),
        .cert.display()
    )]
    Unmatched {
        /// Where the certificate is.
        cert: PathBuf,
        /// Where the key is.
        key: PathBuf,
    },
}

/// A certificate with its key, ready to be served.
#[derive(Debug)]
pub(crate) struct Certificate {
    config: Arc<rustls::ServerConfig>,
    path: PathBuf,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Certificate {
    /// Reads a certificate and its key, and sees that they belong together.
    ///
    /// # Errors
    /// Names the file, and what is wrong with it.
    fn read(files: &TlsFiles) -> Result<Self, TlsFault> {
        let unreadable = |what, path: &Path| {
            let path = path.to_owned();
            move |error: PemError| TlsFault::Unreadable { what, path, why: why_of(error) }
        };
        let unusable = |why: String| TlsFault::Unusable { path: files.cert.clone(), why };
        let chain = CertificateDer::pem_file_iter(&files.cert)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(unreadable("certificate", &files.cert))?;
        let nothing = || unreadable("certificate", &files.cert)(PemError::NoItemsFound);
        let first = chain.first().ok_or_else(nothing)?;
        let validity = validity(first).ok_or_else(|| unusable("it is no X.509".to_owned()))?;
        let (not_before, not_after) = validity;
        let key = PrivateKeyDer::from_pem_file(&files.key)
            .map_err(unreadable("private key", &files.key))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => {
                    TlsFault::Unmatched { cert: files.cert.clone(), key: files.key.clone() }
                }
                error => unusable(error.to_string()),
            })?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(Self { config: Arc::new(config), path: files.cert.clone(), not_before, not_after })
    }

    /// When it ends.
    #[must_use]
    pub(crate) const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// What an operator should know of it: that it is not valid, or soon no longer.
    fn warning(&self, now: Timestamp) -> Option<String> {
        let path = self.path.display();
        let time = |moment: Timestamp| Time::from_ms(moment.as_ms());
        let end = time(self.not_after);
        if now >= self.not_after {
            return Some(format!("the certificate in {path} ended on {end}: clients refuse it"));
        }
        if now < self.not_before {
            let begin = time(self.not_before);
            return Some(format!("the certificate in {path} begins on {begin} only"));
        }
        let life = self.not_after.since(self.not_before);
        let left = self.not_after.since(now);
        (left < EXPIRING.min(life / 3)).then(|| {
            let days = left.as_secs() / 86_400;
            format!("the certificate in {path} ends on {end}, in {days} days")
        })
    }
}

/// The certificates of a server, as far as its listeners have one.
#[derive(Debug)]
pub struct Certificates {
    /// Of the front door and the task API.
    pub(crate) public: Option<Certificate>,
    /// Of metrics and administration.
    pub(crate) admin: Option<Certificate>,
}

impl Certificates {
    /// Reads the certificates that a configuration names.
    ///
    /// # Errors
    /// Names the file, and what is wrong with it.
    pub fn read(config: &ServerConfig) -> Result<Self, TlsError> {
        let one = |files: &TlsFiles| {
            let place = || files.place.clone();
            Certificate::read(files).map_err(|fault| TlsError { place: place(), fault })
        };
        let read = |files: &Option<TlsFiles>| files.as_ref().map(one).transpose();
        Ok(Self { public: read(&config.tls)?, admin: read(&config.admin_tls)? })
    }

    /// What an operator should know of them.
    #[must_use]
    pub fn warnings(&self, now: Timestamp) -> Vec<String> {
        let all = [&self.public, &self.admin].into_iter().flatten();
        all.filter_map(|certificate| certificate.warning(now)).collect()
    }

    /// What handshakes on a listener are made with; `None` where it speaks plain HTTP.
    pub(crate) fn acceptor(&self, side: Side) -> Option<TlsAcceptor> {
        let certificate = match side {
            Side::Public => self.public.as_ref(),
            Side::Admin => self.admin.as_ref(),
        };
        certificate.map(|certificate| certificate.config.clone().into())
    }
}

fn why_of(error: PemError) -> String {
    match error {
        PemError::NoItemsFound => "there is none in PEM".to_owned(),
        PemError::Io(error) => error.to_string(),
        _ => "it is no PEM".to_owned(),
    }
}

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// From when until when a certificate is valid (RFC 5280, 4.1): the one thing that is read of it
/// here. `None` if it is none.
fn validity(der: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let inside = |bytes| match element(bytes)? {
        (SEQUENCE, content, rest) => Some((content, rest)),
        _ => None,
    };
    let (certificate, _) = inside(der)?;
    let (mut fields, _) = inside(certificate)?;
    if fields.first() == Some(&VERSION) {
        fields = element(fields)?.2;
    }
    // The serial number, the algorithm and the issuer come before.
    for _ in 0..3 {
        fields = element(fields)?.2;
    }
    let (validity, _) = inside(fields)?;
    let (kind, begin, rest) = element(validity)?;
    let begin = moment(kind, begin)?;
    let (kind, end, _) = element(rest)?;
    Some((begin, moment(kind, end)?))
}

/// The first element of some DER: its tag, its content, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut len = usize::from(first);
    if first >= 0x80 {
        let (digits, after) = rest.split_at_checked(len - 0x80).filter(|(it, _)| it.len() <= 4)?;
        len = digits.iter().fold(0, |len, digit| (len << 8) | usize::from(*digit));
        rest = after;
    }
    let (content, rest) = rest.split_at_checked(len)?;
    Some((tag, content, rest))
}

/// `YYMMDDHHMMSSZ`, of which years from 50 on are those of the 20th century, or `YYYYMMDDHHMMSSZ`.
fn moment(kind: u8, text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let text = match kind {
        UTC_TIME if text.starts_with(['5', '6', '7', '8', '9']) => format!("19{text}"),
        UTC_TIME => format!("20{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let part = |range| text.get(range);
    let (year, month, day) = (part(0..4)?, part(4..6)?, part(6..8)?);
    let (hour, minute, second) = (part(8..10)?, part(10..12)?, part(12..14)?);
    let time: Time = format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z").parse().ok()?;
    Some(Timestamp::from_ms(time.as_ms()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The time as of a certificate.
    fn at(text: &str) -> Timestamp {
        let kind = if text.len() == 13 { UTC_TIME } else { GENERALIZED_TIME };
        moment(kind, text.as_bytes()).unwrap()
    }

    #[test]
    fn moments_are_read_in_both_forms() {
        assert_eq!(at("700101000000Z").as_ms(), 0);
        assert_eq!(at("20700101000000Z").as_ms(), 3_155_760_000_000);
        assert_eq!(at("490101000000Z"), at("20490101000000Z"));
        for wrong in ["", "700101000000", "7001010000Z", "700101000000+0100", "70010100000\u{e9}Z"]
        {
            assert_eq!(moment(UTC_TIME, wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_validity() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let der = made.cert.der();
        let (begin, end) = validity(der).unwrap();
        assert!(begin < end);
        for len in 0..120.min(der.len()) {
            assert_eq!(validity(&der[..len]), None, "the first {len} bytes");
        }
        assert_eq!(validity(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(validity(&[0x30, 0x89, 1, 1, 1, 1, 1, 1, 1, 1, 1]), None);
    }

    #[test]
    fn an_end_that_is_near_is_told() {
        let certificate = |not_before, not_after| Certificate {
            config: Arc::new(
                rustls::ServerConfig::builder_with_provider(
                    Arc::new(aws_lc_rs::default_provider()),
                )
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(rustls::server::ResolvesServerCertUsingSni::new())),
            ),
            path: "cert.pem".into(),
            not_before: at(not_before),
            not_after: at(not_after),
        };
        let long = certificate("260101000000Z", "260401000000Z");
        assert_eq!(long.warning(at("260315000000Z")), None);
        let soon = long.warning(at("260325000000Z")).unwrap();
        assert_eq!(soon, "the certificate in cert.pem ends on 2026-04-01T00:00:00.000Z, in 7 days");
        assert!(long.warning(at("260401000000Z")).unwrap().contains("ended"));
        assert!(long.warning(at("251231000000Z")).unwrap().contains("begins"));
        // One of six days has not always two weeks left.
        let short = certificate("260101000000Z", "260107000000Z");
        assert_eq!(short.warning(at("260104000000Z")), None);
        assert!(short.warning(at("260106000000Z")).is_some());
    }
}
