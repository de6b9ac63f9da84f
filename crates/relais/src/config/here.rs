//! Where the server of this folder is: what client commands go by where nobody says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

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
    server_of(&text, environment("RELAIS_LISTEN").as_deref())
}

fn server_of(text: &str, listen: Option<&str>) -> Option<Here> {
    let file = text.parse::<toml::Table>().unwrap_or_default();
    let server = file.get("server").and_then(toml::Value::as_table);
    let said = |key: &str| server?.get(key)?.as_str();
    let listen = listen.or_else(|| said("listen"));
    let prefix = said("api_prefix").unwrap_or_default().trim_end_matches('/');
    let tls = server.and_then(|server| server.get("tls"));
    let certificate = tls.and_then(|tls| Some(tls.get("cert")?.as_str()?.into()));
    let is_tls = tls.is_some();
    if is_tls && let Some(url) = said("public_url") {
        // The certificate is for that name.
        let url = format!("{}{prefix}", url.trim_end_matches('/'));
        return Some(Here { url, certificate });
    }
    let address = match listen {
        Some(text) => text.parse().ok()?,
        None if prefix.is_empty() && !is_tls => return None,
        None => DEFAULT_LISTEN,
    };
    if address.port() == 0 {
        return None;
    }
    let scheme = if is_tls { "https" } else { "http" };
    let url = format!("{scheme}://{}{prefix}", reachable(address));
    Some(Here { url, certificate })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_finds_the_server_of_its_folder() {
        let of = |text: &str| server_of(text, None).map(|here| here.url);
        let listen = |text: &str| of(&format!("[server]\nlisten = \"{text}\"\n"));
        assert_eq!(listen("127.0.0.1:9090").unwrap(), "http://127.0.0.1:9090");
        assert_eq!(listen("0.0.0.0:80").unwrap(), "http://127.0.0.1:80");
        assert_eq!(listen("[::]:80").unwrap(), "http://[::1]:80");
        assert_eq!(listen("127.0.0.1:0"), None, "nobody knows which");
        assert_eq!(of("[server]\napi_prefix = \"/_r/\"").unwrap(), "http://127.0.0.1:8080/_r");
        let tls = "[server]\nlisten = \"0.0.0.0:443\"\ntls = { cert = \"a\", key = \"b\" }\n";
        assert_eq!(of(tls).unwrap(), "https://127.0.0.1:443");
        let named = format!("{tls}public_url = \"https://a.example\"\n");
        assert_eq!(of(&named).unwrap(), "https://a.example");
        assert_eq!(of("[[route]]\n"), None);
        assert_eq!(of("not toml"), None);
        assert_eq!(server_of("", Some("127.0.0.1:7")).unwrap().url, "http://127.0.0.1:7");
        assert_eq!(server_of(&named, None).unwrap().certificate, Some("a".into()));
    }
}
