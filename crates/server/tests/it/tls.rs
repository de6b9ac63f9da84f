//! TLS on a listener: what is agreed on, what certificates do at run time,
//! and who comes without it.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use relais_server::config::{Mode, ServerConfig};
use relais_server::{Certificates, TlsFiles};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::house::{House, Plan, reply_of};

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// Writes a certificate for localhost and its key.
fn write_certificate(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

fn files(folder: &Path) -> TlsFiles {
    let place = "relais.toml:2: [server] tls".to_owned();
    TlsFiles { cert: folder.join("cert.pem"), key: folder.join("key.pem"), place }
}

/// A house with TLS on its public listener, and its certificate.
async fn house(folder: &Path) -> (House, CertificateDer<'static>) {
    let certificate = write_certificate(folder);
    let mut plan = Plan::with(Mode::Async).await;
    plan.server.tls = Some(files(folder));
    (plan.build().await, certificate)
}

/// Connects, and trusts this certificate only.
async fn connect(
    house: &House,
    trusted: &CertificateDer<'static>,
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(house.address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), stream).await
}

async fn ask(mut stream: TlsStream<TcpStream>, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn both_protocols_are_spoken_and_links_are_https() {
    let folder = tempfile::tempdir().unwrap();
    let (house, certificate) = house(folder.path()).await;
    let stream = connect(&house, &certificate, &["http/1.1"]).await.unwrap();
    assert!(ask(stream, HEALTH).await.starts_with("HTTP/1.1 200"));
    // Without a word on protocols it is HTTP/1.1.
    let stream = connect(&house, &certificate, &[]).await.unwrap();
    let submit =
        "POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let answer = ask(stream, submit).await;
    let reply = reply_of(answer.as_bytes());
    assert_eq!(reply.status, 202);
    assert!(reply.field("location").starts_with("https://localhost/v1/"));
    let call = house.upstream.next().await;
    assert!(call.field("forwarded").unwrap().contains("proto=https"));
    assert_eq!(call.field("x-forwarded-proto"), Some("https"));
    // A follower, by HTTP/1.1, to the end of its stream.
    let id = reply.field("relais-task").to_owned();
    let ticket = reply.field("location").split_once('?').unwrap().1.to_owned();
    house.engine.cancel(&"default".parse().unwrap(), id.parse().unwrap()).await.unwrap();
    let events = format!("GET /v1/tasks/{id}/events?{ticket} HTTP/1.1\r\nhost: localhost\r\n");
    let stream = connect(&house, &certificate, &["http/1.1"]).await.unwrap();
    let answer = ask(stream, &format!("{events}connection: close\r\n\r\n")).await;
    assert!(answer.contains("event: canceled") && answer.ends_with("0\r\n\r\n"), "{answer}");
    // And HTTP/2 where both know it.
    let stream = connect(&house, &certificate, &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let shaken =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("https://localhost/healthz").body(Empty::<Bytes>::new());
    let answer = sender.send_request(request.unwrap()).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, http::Version::HTTP_2));
    answer.into_body().collect().await.unwrap();
    // HTTP/2 has no handshake of a WebSocket here.
    let request = http::Request::get("https://localhost/v1/ws").body(Empty::<Bytes>::new());
    let answer = sender.send_request(request.unwrap()).await.unwrap();
    assert_eq!(answer.status().as_u16(), 426);
}

#[tokio::test]
async fn a_websocket_goes_through_tls_and_ends_with_either_side() {
    let folder = tempfile::tempdir().unwrap();
    let (house, certificate) = house(folder.path()).await;
    for stops in [false, true] {
        let mut stream = connect(&house, &certificate, &["http/1.1"]).await.unwrap();
        stream.write_all(crate::ws::client::handshake("").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let comes = async |stream: &mut TlsStream<TcpStream>, answer: &mut Vec<u8>, text: &str| {
            while !String::from_utf8_lossy(answer).contains(text) {
                assert!(stream.read_buf(answer).await.unwrap() > 0, "{answer:?}");
            }
        };
        comes(&mut stream, &mut answer, "\"op\":\"ready\"").await;
        let ping = crate::ws::client::text(&serde_json::json!({"op": "ping"}));
        stream.write_all(&ping).await.unwrap();
        comes(&mut stream, &mut answer, "\"op\":\"pong\"").await;
        let close = crate::ws::client::frame(0x88, &1000_u16.to_be_bytes());
        if stops {
            house.app.stop.close();
            comes(&mut stream, &mut answer, "the server stops").await;
        }
        stream.write_all(&close).await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest.is_empty(), stops, "a close is answered by a close");
    }
    tokio::time::timeout(crate::house::SOON, house.serving).await.expect("it ends").unwrap();
}

#[tokio::test]
async fn a_certificate_is_exchanged_while_connections_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (house, old) = house(folder.path()).await;
    let before = connect(&house, &old, &[]).await.unwrap();
    let new = write_certificate(folder.path());
    let mut config = ServerConfig::on_loopback();
    config.tls = Some(files(folder.path()));
    house.door.go_by(house.door.prepare(config.clone()).unwrap());
    assert!(connect(&house, &old, &[]).await.is_err(), "the new one is served");
    let after = connect(&house, &new, &[]).await.unwrap();
    for stream in [before, after] {
        assert!(ask(stream, HEALTH).await.starts_with("HTTP/1.1 200"));
    }
    // What cannot be used is not gone by.
    std::fs::write(folder.path().join("key.pem"), "no key").unwrap();
    let error = house.door.prepare(config).err().expect("no key").to_string();
    assert!(error.contains("could not read the private key in"), "{error}");
    assert!(connect(&house, &new, &[]).await.is_ok());
}

#[tokio::test]
async fn who_speaks_no_tls_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let (house, certificate) = house(folder.path()).await;
    let reply = house.call(HEALTH).await;
    assert_eq!((reply.status, reply.field("connection")), (400, "close"));
    assert!(reply.text().contains("https://"), "{}", reply.text());
    // A handshake that breaks off, or is none, costs nobody else anything.
    let mut broken = house.send("\u{16}\u{3}\u{1}").await;
    broken.stream.shutdown().await.unwrap();
    assert_eq!(broken.rest().await.0, b"");
    assert!(connect(&house, &certificate, &[]).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_never_ends_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let (house, _) = house(folder.path()).await;
    let began = tokio::time::Instant::now();
    let mut client = house.send("\u{16}\u{3}\u{1}").await;
    assert_eq!(client.rest().await.0, b"");
    assert_eq!(began.elapsed().as_secs(), 10, "the time of a head");
}

#[test]
fn a_certificate_that_cannot_be_used_is_named() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_certificate(one.path());
    write_certificate(other.path());
    let read = |cert: &Path, key: &Path| {
        let mut config = ServerConfig::on_loopback();
        let place = "relais.toml:3: [server] admin_tls".to_owned();
        config.admin_tls = Some(TlsFiles { cert: cert.to_owned(), key: key.to_owned(), place });
        Certificates::read(&config).map(drop).map_err(|error| error.to_string())
    };
    let (cert, key) = (one.path().join("cert.pem"), one.path().join("key.pem"));
    assert_eq!(read(&cert, &key), Ok(()));
    for (cert, key, words) in [
        (&cert, &other.path().join("key.pem"), "is not that of the certificate in"),
        (&one.path().join("none.pem"), &key, "could not read the certificate"),
        (&cert, &one.path().join("none.pem"), "could not read the private key"),
        (&key, &key, "there is none in PEM"),
        (&cert, &cert, "there is none in PEM"),
    ] {
        let error = read(cert, key).unwrap_err();
        let place = "relais.toml:3: [server] admin_tls: ";
        assert!(error.starts_with(place) && error.contains(words), "{error}");
    }
}
