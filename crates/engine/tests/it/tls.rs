//! Upstreams behind TLS: whom we trust, as whom we come, and how it is said that it does not work.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use relais_core::{EventKind, State, Status, Task};
use relais_engine::{Config, TlsFault, UpstreamTls};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::log::Log;
use crate::world::{Upstream, World, for_upstream, policy};

/// A private authority, and what it vouches for.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, folder: tempfile::tempdir().unwrap() }
    }

    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn ca(&self) -> PathBuf {
        self.file("ca.pem", &self.issuer.pem())
    }

    fn identity(&self) -> (PathBuf, PathBuf) {
        let (cert, key) = self.issue("relais.example");
        (self.file("cert.pem", &cert.pem()), self.file("key.pem", &key.serialize_pem()))
    }

    /// Takes connections for `localhost`, and answers one call on each; `asks_who` wants a
    /// certificate of the same authority.
    async fn serve(&self, asks_who: bool) -> Upstream {
        let (cert, key) = self.issue("localhost");
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = if asks_who {
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = builder.with_single_cert(vec![cert.der().clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut upstream = Upstream::start().await;
        upstream.origin = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut scratch = [0; 4096];
                if stream.read(&mut scratch).await.is_ok_and(|len| len > 0) {
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
                    drop(stream.write_all(answer).await);
                    drop(stream.shutdown().await);
                }
            }
        });
        upstream
    }
}

async fn world(upstream: &Upstream, tls: Option<UpstreamTls>) -> World {
    let upstream_tls = tls.map(|tls| (upstream.origin.clone(), tls)).into_iter().collect();
    World::with(Config { template: Some(policy()), upstream_tls, ..Config::default() }).await
}

async fn post(world: &World, upstream: &Upstream) -> Task {
    world.submit(for_upstream(upstream, "POST", false)).await
}

/// The last failure of a POST that was not sent, and is to be tried again.
async fn failure(world: &World, task: &Task) -> String {
    let task = world.until(task.spec.id, EventKind::AttemptFailed).await;
    assert!(matches!(task.life.state, State::Queued { .. }), "nothing was sent: {task:?}");
    let failure = &task.life.last_failure.as_ref().expect("it failed").failure;
    assert_eq!(failure.code, relais_core::FailureCode::UpstreamUnreachable);
    failure.detail.clone().unwrap()
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_its_file_is_named() {
    let authority = Authority::new();
    let upstream = authority.serve(false).await;
    let tls = UpstreamTls::of_files(Some(&authority.ca()), None).unwrap();
    let with_ca = world(&upstream, Some(tls)).await;
    let task = post(&with_ca, &upstream).await;
    let task = with_ca.until(task.spec.id, EventKind::Succeeded).await;
    assert_eq!(task.life.status(), Status::Succeeded);
    // "Check that the upstream runs" sent the operator the wrong way.
    let without = world(&upstream, None).await;
    let log = Log::here();
    let task = post(&without, &upstream).await;
    let detail = failure(&without, &task).await;
    assert!(detail.contains("its certificate is not trusted"), "{detail}");
    assert!(detail.contains("UnknownIssuer"), "{detail}");
    assert_eq!(log.with("UnknownIssuer").len(), 1, "one line for one failure: {}", log.text());
}

#[tokio::test]
async fn an_upstream_may_ask_who_calls() {
    let authority = Authority::new();
    let upstream = authority.serve(true).await;
    let (cert, key) = authority.identity();
    let tls = UpstreamTls::of_files(Some(&authority.ca()), Some((&cert, &key))).unwrap();
    let known = world(&upstream, Some(tls)).await;
    let task = post(&known, &upstream).await;
    known.until(task.spec.id, EventKind::Succeeded).await;
    let tls = UpstreamTls::of_files(Some(&authority.ca()), None).unwrap();
    let unknown = world(&upstream, Some(tls)).await;
    let task = post(&unknown, &upstream).await;
    let detail = failure(&unknown, &task).await;
    assert!(detail.contains("client certificate"), "{detail}");
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let authority = Authority::new();
    let (cert, _) = authority.identity();
    let other = authority.file("other.pem", &KeyPair::generate().unwrap().serialize_pem());
    let empty = authority.file("empty.pem", "");
    let missing = authority.folder.path().join("missing.pem");
    for ca in [&empty, &missing] {
        let fault = UpstreamTls::of_files(Some(ca), None).unwrap_err();
        assert!(matches!(fault, TlsFault::Authorities(_)), "{fault}");
    }
    for (cert, key, is_of_key) in
        [(&cert, &other, true), (&cert, &missing, true), (&empty, &other, false)]
    {
        let fault = UpstreamTls::of_files(None, Some((cert, key))).unwrap_err();
        assert_eq!(matches!(fault, TlsFault::Key(_)), is_of_key, "{fault}");
    }
}
