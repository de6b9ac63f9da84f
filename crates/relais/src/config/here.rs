//! Where the server of this folder is: what client commands go by where nobody says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use relais_server::config::ServerConfig;

use super::{DEFAULT_FILE, Environment};

/// A server, as commands on its machine reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Here {
    /// Scheme, host and prefix.
    pub url: String,
    /// The file of its certificate, if it speaks HTTPS.
    pub certificate: Option<PathBuf>,
}

/// The server that goes by the variables and the file of this folder. `None` where neither says an
/// address: a file that is wrong is the server's matter.
#[must_use]
pub fn here(environment: Environment<'_>) -> Option<Here> {
    let file = environment("RELAIS_CONFIG").unwrap_or_else(|| DEFAULT_FILE.to_owned());
    let text = std::fs::read_to_string(file).unwrap_or_default();
    server_of(&text, environment)
}

fn server_of(text: &str, environment: Environment<'_>) -> Option<Here> {
    let file = text.parse::<toml::Table>().unwrap_or_default();
    let server = file.get("server").and_then(toml::Value::as_table);
    let said = |key: &str| server?.get(key)?.as_str().map(str::to_owned);
    let public_url = environment("RELAIS_PUBLIC_URL").or_else(|| said("public_url"));
    let public_url = public_url.and_then(|url| url.parse().ok());
    let config = ServerConfig { public_url, ..ServerConfig::on_loopback() };
    let has_keys = file.get("key").is_some();
    if config.is_public() && !has_keys {
        // Without credentials it is taken there only; all calls are.
        let listen = environment("RELAIS_ADMIN_LISTEN").or_else(|| said("admin_listen"));
        let tls = server.and_then(|server| server.get("admin_tls"));
        return at(listen, DEFAULT_ADMIN_LISTEN, "", tls);
    }
    let listen = environment("RELAIS_LISTEN").or_else(|| said("listen"));
    let prefix = said("api_prefix").unwrap_or_default();
    let prefix = prefix.trim_end_matches('/');
    let tls = server.and_then(|server| server.get("tls"));
    if let (Some(tls), Some(url)) = (tls, &config.public_url) {
        // The certificate is for that name.
        let url = format!("{}{prefix}", url.as_str());
        return Some(Here { url, certificate: certificate_of(tls) });
    }
    if listen.is_none() && prefix.is_empty() && tls.is_none() {
        return None;
    }
    at(listen, DEFAULT_LISTEN, prefix, tls)
}

/// A listener as commands reach it; `None` where nobody knows its port.
fn at(
    listen: Option<String>,
    default: SocketAddr,
    prefix: &str,
    tls: Option<&toml::Value>,
) -> Option<Here> {
    let address = listen.map_or(Ok(default), |text| text.parse()).ok()?;
    if address.port() == 0 {
        return None;
    }
    let scheme = if tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}{prefix}", reachable(address));
    Some(Here { url, certificate: tls.and_then(certificate_of) })
}

fn certificate_of(tls: &toml::Value) -> Option<PathBuf> {
    Some(tls.get("cert")?.as_str()?.into())
}

/// An address that a connection can be made to: "any" is none.
fn reachable(address: SocketAddr) -> SocketAddr {
    let loopback = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(loopback, address.port())
}

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
const DEFAULT_ADMIN_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8081);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_finds_the_server_of_its_folder() {
        let of = |text: &str| server_of(text, &nothing).map(|here| here.url);
        let listen = |text: &str| of(&format!("[server]\nlisten = \"{text}\"\n"));
        assert_eq!(listen("127.0.0.1:9090").unwrap(), "http://127.0.0.1:9090");
        assert_eq!(listen("0.0.0.0:80").unwrap(), "http://127.0.0.1:80");
        assert_eq!(listen("[::]:80").unwrap(), "http://[::1]:80");
        assert_eq!(listen("127.0.0.1:0"), None, "nobody knows which");
        assert_eq!(of("[server]\napi_prefix = \"/_r/\"").unwrap(), "http://127.0.0.1:8080/_r");
        let tls = "[server]\nlisten = \"0.0.0.0:443\"\ntls = { cert = \"a\", key = \"b\" }\n";
        assert_eq!(of(tls).unwrap(), "https://127.0.0.1:443");
        let named = format!("{tls}public_url = \"https://a.example\"\n[[key]]\n");
        assert_eq!(of(&named).unwrap(), "https://a.example");
        assert_eq!(of("[[route]]\n"), None);
        assert_eq!(of("not toml"), None);
        let listen = |name: &str| (name == "RELAIS_LISTEN").then(|| "127.0.0.1:7".to_owned());
        assert_eq!(server_of("", &listen).unwrap().url, "http://127.0.0.1:7");
        assert_eq!(server_of(&named, &nothing).unwrap().certificate, Some("a".into()));
    }

    /// With a `public_url` and no keys commands went to `listen`, and were refused there.
    #[test]
    fn a_command_without_a_key_goes_where_calls_without_keys_are_taken() {
        let of = |text: &str| server_of(text, &nothing).map(|here| here.url);
        let public = "[server]\napi_prefix = \"/_r\"\npublic_url = \"https://a.example\"\n";
        assert_eq!(of(public).unwrap(), "http://127.0.0.1:8081");
        let admin = format!("{public}admin_listen = \"0.0.0.0:90\"\n");
        assert_eq!(of(&admin).unwrap(), "http://127.0.0.1:90");
        let tls = format!("{admin}admin_tls = {{ cert = \"a\", key = \"b\" }}\n");
        let here = server_of(&tls, &nothing).unwrap();
        assert_eq!((&*here.url, here.certificate), ("https://127.0.0.1:90", Some("a".into())));
        assert_eq!(of(&format!("{public}[[key]]\n")).unwrap(), "http://127.0.0.1:8080/_r");
        let here = "[server]\npublic_url = \"http://localhost:8080\"\n";
        assert_eq!(of(here), None, "as without it");
        let public = |name: &str| (name == "RELAIS_PUBLIC_URL").then(|| "http://a".to_owned());
        assert_eq!(server_of("", &public).unwrap().url, "http://127.0.0.1:8081");
    }

    fn nothing(_: &str) -> Option<String> {
        None
    }
}
