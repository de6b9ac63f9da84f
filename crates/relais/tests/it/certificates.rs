//! `[server] tls`: what is said of a certificate before it is served, and what a reload makes of it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;

use crate::process::{Server, log_with, output, relais, stderr};

/// Writes a self-signed certificate that is valid from the first day of one year to that of another.
fn write_certificate(folder: &Path, years: (i32, i32)) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut asked = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
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
