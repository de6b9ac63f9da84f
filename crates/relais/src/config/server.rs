//! `[server]` and `[limits]`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::HeaderName;
use http::header::InvalidHeaderName;
use ipnet::IpNet;
use relais_api::time::Span;
use relais_core::{TenantName, limits};
use relais_engine::headers::folded;
use relais_server::TlsFiles;
use relais_server::config::{PublicUrl, ServerConfig};
use toml::Spanned;

use super::file::{Bytes, File, Server, Text, Tls};
use super::problem::Report;
use super::{Overrides, url};

/// What the server is told, but for its routes and keys.
pub(super) fn resolve(file: &File, overrides: &Overrides, report: &mut Report<'_>) -> ServerConfig {
    let table = &file.server;
    let defaults = ServerConfig::on_loopback();
    let mut config = ServerConfig {
        listen: address(overrides.listen, table.listen.as_ref(), DEFAULT_PORT),
        admin_listen: address(
            overrides.admin_listen,
            table.admin_listen.as_ref(),
            DEFAULT_ADMIN_PORT,
        ),
        is_insecure: overrides.insecure,
        access_log: overrides.access_log
            || table.access_log.as_ref().is_some_and(|on| *on.get_ref()),
        tls: certificate(table.tls.as_ref(), "[server] tls", report),
        admin_tls: certificate(table.admin_tls.as_ref(), "[server] admin_tls", report),
        ..defaults
    };
    if config.listen == config.admin_listen && config.listen.port() != 0 {
        let what = "the admin listener needs an address of its own";
        match &table.admin_listen {
            Some(given) => report.at(given.span(), "[server] admin_listen", what),
            None => report.elsewhere("--admin-listen", "", what),
        }
    }
    config.public_url = public_url(table.public_url.as_ref(), overrides, report);
    if config.public_url.is_none() && !config.listen.ip().is_loopback() {
        let what = "off loopback the public URL must be said (public_url, --public-url): links are \
                    never made from what a client sends as Host";
        match &table.listen {
            Some(given) if overrides.listen.is_none() => {
                report.at(given.span(), "[server] listen", what);
            }
            _ => report.elsewhere("--listen", "", what),
        }
    }
    for proxy in &table.trusted_proxies {
        let network =
            report.take(proxy.span(), "[server] trusted_proxies", network(proxy.get_ref()));
        config.trusted_proxies.extend(network);
    }
    behind_everything(table, overrides, &mut config, report);
    if let Some(prefix) = &table.api_prefix {
        let prefix_ok = prefix_of(prefix.get_ref());
        config.api_prefix =
            report.take(prefix.span(), "[server] api_prefix", prefix_ok).unwrap_or_default();
    }
    for origin in &table.cors_origins {
        let page = url::page_origin(origin.get_ref());
        config.cors_origins.extend(report.take(origin.span(), "[server] cors_origins", page));
    }
    if let Some(tenant) = report.parse::<TenantName>(table.tenant.as_ref(), "[server] tenant") {
        config.default_tenant = tenant;
    }
    for name in &table.sealed_headers {
        match sealed_field(name.get_ref()) {
            Ok(name) if config.sealed_fields.contains(&name) => {}
            Ok(name) => config.sealed_fields.push(name),
            Err(_) => report.at(name.span(), "[server] sealed_headers", "is no header name"),
        }
    }
    if let Some(timeout) = span(table.header_timeout.as_ref(), "[server] header_timeout", report) {
        config.header_timeout = timeout;
    }
    config.body_bytes_max = bytes(
        file.limits.request_body.as_ref(),
        "[limits] request_body",
        limits::REQUEST_BODY_BYTES_MAX,
        report,
    );
    config.connections_max = connections(file.limits.connections.as_ref(), report);
    config
}

/// A header's name as requests are compared with it: `X_Api_Token` seals `x-api-token` too, and the
/// other way round, since upstreams read both as one.
fn sealed_field(name: &str) -> Result<String, InvalidHeaderName> {
    let name: HeaderName = name.parse()?;
    Ok(folded(name.as_str()).into_owned())
}

fn certificate(given: Option<&Spanned<Tls>>, field: &str, report: &Report<'_>) -> Option<TlsFiles> {
    let given = given?;
    let place = format!("{}: {field}", report.place(given.span().start));
    let Tls { cert, key } = given.get_ref();
    Some(TlsFiles { cert: cert.clone(), key: key.clone(), place })
}

fn address(
    flag: Option<SocketAddr>,
    given: Option<&Spanned<Text<SocketAddr>>>,
    port: u16,
) -> SocketAddr {
    let given = given.map(|given| given.get_ref().0);
    flag.or(given).unwrap_or(SocketAddr::from(([127, 0, 0, 1], port)))
}

/// What is said of the service that gets what no route takes.
fn behind_everything(
    table: &Server,
    overrides: &Overrides,
    config: &mut ServerConfig,
    report: &mut Report<'_>,
) {
    if let Some(fallback) = &table.fallback {
        config.fallback =
            report.take(fallback.span(), "[server] fallback", url::upstream(fallback.get_ref()));
    }
    if let Some(host) = &table.upstream_host {
        config.upstream_host =
            report.take(host.span(), "[server] upstream_host", url::host(host.get_ref()));
    }
    if let Some(host) = &overrides.upstream_host {
        config.upstream_host = Some(host.clone());
    }
}

fn public_url(
    given: Option<&Spanned<String>>,
    overrides: &Overrides,
    report: &mut Report<'_>,
) -> Option<PublicUrl> {
    if let Some(flag) = &overrides.public_url {
        return match url::public(flag) {
            Ok(url) => Some(url),
            Err(error) => {
                report.elsewhere("--public-url", "", error);
                None
            }
        };
    }
    let given = given?;
    report.take(given.span(), "[server] public_url", url::public(given.get_ref()))
}

/// `10.0.0.0/8`, or one address.
fn network(text: &str) -> Result<IpNet, String> {
    let one = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse()
        .or_else(|_| one())
        .map_err(|_| format!("{text:?} is no network; write for example \"10.0.0.0/8\""))
}

fn prefix_of(text: &str) -> Result<String, &'static str> {
    let text = text.trim_end_matches('/');
    let segments_are_plain = text.split('/').skip(1).all(|segment| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        !matches!(segment, "" | "." | "..") && segment.bytes().all(is_plain)
    });
    let fits = text.is_empty() || (text.starts_with('/') && segments_are_plain);
    if fits { Ok(text.to_owned()) } else { Err("must be empty, or a path such as \"/_relais\"") }
}

/// A duration that is more than nothing.
pub(super) fn span(
    given: Option<&Spanned<Span>>,
    field: &str,
    report: &mut Report<'_>,
) -> Option<Duration> {
    let given = given?;
    let duration = given.get_ref().as_duration();
    if duration.is_zero() {
        report.at(given.span(), field, "must be more than 0s");
        return None;
    }
    Some(duration)
}

/// A number of bytes from 1 to its hard maximum, which is also the default.
pub(super) fn bytes(
    given: Option<&Spanned<Bytes>>,
    field: &str,
    max: u64,
    report: &mut Report<'_>,
) -> u64 {
    let Some(given) = given else { return max };
    let Bytes(bytes) = *given.get_ref();
    if !(1..=max).contains(&bytes) {
        report.at(given.span(), field, format!("must be from 1 to {max} bytes"));
    }
    bytes
}

fn connections(given: Option<&Spanned<u64>>, report: &mut Report<'_>) -> usize {
    let max = limits::CONNECTIONS_MAX;
    let Some(given) = given else { return max };
    match usize::try_from(*given.get_ref()) {
        Ok(connections) if (1..=max).contains(&connections) => connections,
        _ => {
            let what = format!("must be from 1 to {max}");
            report.at(given.span(), "[limits] connections", what);
            max
        }
    }
}

/// Where the front door listens unless told.
const DEFAULT_PORT: u16 = 8080;
/// Where administration listens unless told.
const DEFAULT_ADMIN_PORT: u16 = 8081;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_address_and_a_length() {
        assert_eq!(network("10.0.0.0/8").map(|net| net.prefix_len()), Ok(8));
        assert_eq!(network("::1").map(|net| net.to_string()), Ok("::1/128".to_owned()));
        for text in ["10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "here", ""] {
            assert!(network(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_prefix_is_a_plain_path() {
        assert_eq!(prefix_of("/_relais/"), Ok("/_relais".to_owned()));
        assert_eq!(prefix_of("/a/b"), Ok("/a/b".to_owned()));
        for text in ["a", "//", "/a//b", "/..", "/a b", "/{x}", "/%2f"] {
            let refused = prefix_of(text).is_err() || text == "//";
            assert!(refused, "{text}");
        }
    }
}
