//! `[server] tls`: what is said of a certificate before it is served, what a reload makes of it,
//! and which ones the commands trust.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::process::{Server, log_with, output, relais, stderr, stdout};

/// Writes a self-signed certificate that is valid from the first day of one
/// year to that of another.
fn write_certificate(folder: &Path, years: (i32, i32)) {
    let key = KeyPair::generate().unwrap();
    let mut asked = CertificateParams::new(["localhost".to_owned()]).unwrap();
    asked.not_before = rcgen::date_time_ymd(years.0, 1, 1);
    asked.not_after = rcgen::date_time_ymd(years.1, 1, 1);
    let made = asked.self_signed(&key).unwrap();
    std::fs::write(folder.join("cert.pem"), made.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
}

const CONFIG: &str = "[server]\ntls = { cert = \"cert.pem\", key = \"key.pem\" }\n[queue.q]\n";

#[test]
fn check_and_serve_agree_on_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("relais.toml"), CONFIG).unwrap();
    let ports = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    for command in ["check", "serve"] {
        let args = [&[command, "--config", "relais.toml"], &ports[..]].concat();
        let said = output(relais(folder.path(), &args), b"");
        assert!(!said.status.success(), "{command}");
        let error = stderr(&said);
        assert!(error.contains("could not read the certificate in cert.pem"), "{command}: {error}");
    }
    write_certificate(folder.path(), (2020, 2021));
    let said = output(relais(folder.path(), &["check", "--config", "relais.toml"]), b"");
    let warning = "warning: the certificate in cert.pem ended on 2021-01-01";
    assert!(said.status.success() && stderr(&said).contains(warning), "{}", stderr(&said));
}

#[test]
fn a_key_of_another_certificate_is_named_with_its_line() {
    // "keys may not be consistent: KeyMismatch", said of the certificate.
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("other.pem"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    write_certificate(folder, (2020, 2200));
    let why = "the private key in other.pem is not that of the certificate in cert.pem";
    let files = "cert = \"cert.pem\"\nkey = \"other.pem\"\n";
    let upstream = "[upstream.\"https://a\"]\n";
    for (text, place) in [
        (CONFIG.replace("key.pem", "other.pem"), "relais.toml:2: [server] tls".to_owned()),
        (format!("{upstream}{files}"), "relais.toml:3: [upstream.\"https://a\"] key".to_owned()),
    ] {
        std::fs::write(folder.join("relais.toml"), text).unwrap();
        let error = refused(folder, &["check"]);
        assert!(error.ends_with(&format!("{place}: {why}\n")), "{error}");
    }
}

#[test]
fn a_hangup_exchanges_a_certificate_or_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("relais.toml"), CONFIG).unwrap();
    write_certificate(folder, (2020, 2200));
    let server = Server::logging(folder, &["--config", "relais.toml"], &[]);
    assert!(server.api.starts_with("https://") && server.admin.starts_with("http://"));
    write_certificate(folder, (2020, 2021));
    server.process.signal("HUP");
    let log = log_with(folder, "was read again");
    assert!(log.contains("the certificate in cert.pem ended on 2021-01-01"), "{log}");
    std::fs::write(folder.join("key.pem"), "").unwrap();
    server.process.signal("HUP");
    let log = log_with(folder, "nothing has changed");
    assert!(log.contains("could not read the private key in key.pem"), "{log}");
    std::fs::write(folder.join("relais.toml"), "[queue.q]\n").unwrap();
    server.process.signal("HUP");
    log_with(folder, "whether [server] tls is on has changed, which needs a restart");
    server.process.signal("TERM");
    assert_eq!(server.process.end().0, Some(0));
}

#[test]
fn a_listener_takes_its_certificate_whatever_the_other_waits_for() {
    // TLS that was switched on for one, which takes a restart, kept the
    // other at its old certificate.
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let tls = |key: &str, of: &str| {
        format!("{key} = {{ cert = \"{of}cert.pem\", key = \"{of}key.pem\" }}\n")
    };
    let write = |text: String| {
        std::fs::write(folder.join("relais.toml"), format!("[server]\n{text}[queue.q]\n")).unwrap();
    };
    write_certificate(folder, (2020, 2200));
    write(tls("admin_tls", ""));
    let server = Server::logging(folder, &["--config", "relais.toml"], &[]);
    std::fs::create_dir(folder.join("new")).unwrap();
    write_certificate(&folder.join("new"), (2020, 2021));
    write(tls("admin_tls", "new/") + &tls("tls", ""));
    server.process.signal("HUP");
    let log = log_with(folder, "was read again");
    assert!(log.contains("whether [server] tls is on has changed, which needs a restart"), "{log}");
    assert!(!log.contains("whether [server] admin_tls is on"), "{log}");
    assert!(log.contains("the certificate in new/cert.pem ended on 2021-01-01"), "{log}");
}

#[test]
fn plain_http_to_a_port_that_speaks_https_cannot_fill_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("relais.toml"), CONFIG).unwrap();
    write_certificate(folder, (2020, 2200));
    let server = Server::logging(folder, &["--config", "relais.toml"], &[]);
    for _ in 0..5 {
        let address = server.api.trim_start_matches("https://");
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        assert_eq!(answer, "HTTP/1.1 400 Bad Request\r\n");
    }
    // A line that comes after all of theirs.
    server.process.signal("HUP");
    let log = log_with(folder, "was read again");
    assert_eq!(log.matches("plain HTTP came to a port").count(), 1, "{log}");
}

/// What a certificate is asked for with: for localhost and 127.0.0.1, or called an authority's.
fn asked(is_authority: bool) -> CertificateParams {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let mut asked = CertificateParams::new(names).unwrap();
    if is_authority {
        asked.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    asked
}

/// A folder's certificate, signed by itself, as `openssl req -x509` makes it: it calls itself an
/// authority.
fn write_self_signed(folder: &Path, asked: &CertificateParams) {
    let key = KeyPair::generate().unwrap();
    std::fs::write(folder.join("cert.pem"), asked.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
}

/// A server that speaks HTTPS with the certificate of this folder, and its URL by name.
fn served(folder: &Path) -> (Server, String) {
    std::fs::write(folder.join("served.toml"), CONFIG).unwrap();
    let server = Server::logging(folder, &["--config", "served.toml"], &[]);
    let port = server.api.rsplit(':').next().unwrap();
    let url = format!("https://localhost:{port}");
    (server, url)
}

/// What a command says that must not do its work.
fn refused(folder: &Path, args: &[&str]) -> String {
    let said = output(relais(folder, args), b"");
    assert_eq!(said.status.code(), Some(1), "{args:?}: {}", stderr(&said));
    stderr(&said)
}

#[test]
fn commands_and_workers_trust_an_authority_that_they_are_told() {
    // They knew public roots only, so that behind a private authority nothing could be called.
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (authority_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let authority = asked(true).self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(asked(true), authority_key);
    let made = asked(false).signed_by(&key, &issuer).unwrap();
    std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    std::fs::write(folder.join("cert.pem"), made.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    let (_server, url) = served(folder);

    let error = refused(folder, &["tasks", "--url", &url]);
    assert_eq!(
        error,
        format!(
            "relais: could not reach {url}: its certificate is of no authority that is trusted \
             here; if it is one of your own, name its file, or that of its authority: --ca FILE \
             (RELAIS_CA)\n"
        )
    );
    let submit = ["submit", "-", "--queue", "q", "--url", &url, "--ca", "ca.pem"];
    let submitted = output(relais(folder, &submit), b"{}");
    assert!(submitted.status.success(), "{}", stderr(&submitted));
    // A worker's heartbeats have connections of their own.
    let exec = "echo '{\"progress\": {\"percent\": 40}}' >&3; kill $PPID; echo done";
    let mut work = relais(folder, &["work", "--queue", "q", "--url", &url, "--exec", exec]);
    work.env("RELAIS_CA", "ca.pem");
    let worked = output(work, b"");
    assert!(stderr(&worked).contains("1 succeeded, 0 failed"), "{}", stderr(&worked));
    let task = stdout(&submitted).trim().to_owned();
    // The certificate itself will do as well.
    let result = ["result", &task, "--url", &url, "--ca", "cert.pem"];
    assert_eq!(stdout(&output(relais(folder, &result), b"")), "done\n");

    std::fs::write(folder.join("other.pem"), "").unwrap();
    for file in ["nowhere.pem", "other.pem"] {
        let said = output(relais(folder, &["tasks", "--url", &url, "--ca", file]), b"");
        assert_eq!(said.status.code(), Some(2));
        assert!(stderr(&said).contains("'--ca <FILE>': could not"), "{}", stderr(&said));
    }
    let mut unsaid = relais(folder, &["tasks", "--url", "http://127.0.0.1:1"]);
    unsaid.env("RELAIS_CA", "");
    assert!(stderr(&output(unsaid, b"")).contains("could not reach"));
}

#[test]
fn a_certificate_that_signed_itself_is_trusted_where_it_is_named() {
    // "Other(OtherError(CaUsedAsEndEntity))", even if it was named.
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_self_signed(folder, &asked(true));
    let (server, url) = served(folder);
    let error = refused(folder, &["tasks", "--url", &url]);
    let is_clear =
        error.contains("no authority that is trusted here") && error.contains("--ca FILE");
    assert!(is_clear && !error.contains("Ca"), "{error}");
    let named = output(relais(folder, &["tasks", "--url", &url, "--ca", "cert.pem"]), b"");
    assert!(named.status.success(), "{}", stderr(&named));

    // The file that says where the server is says which certificate it has.
    let listen = server.api.strip_prefix("https://").unwrap();
    let file = CONFIG.replace("[server]", &format!("[server]\nlisten = \"{listen}\""));
    std::fs::write(folder.join("relais.toml"), file).unwrap();
    let here = output(relais(folder, &["tasks"]), b"");
    assert!(here.status.success(), "{}", stderr(&here));
    let elsewhere = refused(folder, &["tasks", "--url", &server.api]);
    assert!(elsewhere.contains("no authority that is trusted here"), "{elsewhere}");
}

#[test]
fn a_certificate_that_is_named_still_has_its_names_and_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let said = |asked: &CertificateParams| {
        write_self_signed(folder, asked);
        let (_server, url) = served(folder);
        refused(folder, &["tasks", "--url", &url, "--ca", "cert.pem"])
    };
    for is_authority in [false, true] {
        let mut other = CertificateParams::new(["shop.example".to_owned()]).unwrap();
        other.is_ca = asked(is_authority).is_ca;
        let error = said(&other);
        assert!(error.contains("is for another name; call the server by a name"), "{error}");
        let mut ended = asked(is_authority);
        ended.not_after = rcgen::date_time_ymd(2021, 1, 1);
        let error = said(&ended);
        assert!(error.ends_with("its certificate is no longer valid\n"), "{error}");
    }
}
