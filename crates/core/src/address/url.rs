//! URLs as callers and tenants name them: one plain form, because what two readers read in two ways is
//! judged as one thing and dialled as another.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::special::Reserved;
use crate::limits;

/// Why a URL is refused, fit for "field url: {error}".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// It is too long.
    #[error("must have at most {} bytes", limits::WEBHOOK_URL_BYTES_MAX)]
    Length,
    /// It holds what no URL does: spaces, backslashes, letters beyond ASCII.
    #[error(
        "may only hold the characters of a URL: letters beyond ASCII are written as `%…` in a path, and as \
         `xn--…` in a name"
    )]
    Characters,
    /// It is not of HTTP.
    #[error("must begin with http:// or https://")]
    Scheme,
    /// It holds a user's name or a password.
    #[error("must not hold credentials (`user:password@`): they would be in logs and lists")]
    Credentials,
    /// It has a part that is never sent.
    #[error("must not have a fragment (`#…`), which is never sent")]
    Fragment,
    /// It names no host.
    #[error("must name a host: a name, an IPv4 address, or an IPv6 address in brackets")]
    Host,
    /// Its host is an address that is not written in the one form that everybody reads alike.
    #[error(
        "must write an IPv4 address as four decimal numbers, nothing left out, without leading zeros and \
         without a dot at its end"
    )]
    Obscure,
    /// It names an interface of the machine that calls.
    #[error("must not name the zone of an address (`%…`)")]
    Zone,
    /// Its port is none.
    #[error("must have a port from 1 to 65535, or none")]
    Port,
    /// What it names is kept for something.
    #[error("names what callers may not have called: {0}")]
    Reserved(#[from] Reserved),
}

/// The host of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Host<'a> {
    Name(&'a str),
    Address(IpAddr),
}

/// Host and port of a URL.
pub(super) fn read(url: &str) -> Result<(Host<'_>, u16), InvalidUrl> {
    if url.len() > limits::WEBHOOK_URL_BYTES_MAX {
        return Err(InvalidUrl::Length);
    }
    if url.contains('#') {
        return Err(InvalidUrl::Fragment);
    }
    if !url.bytes().all(is_of_url) {
        return Err(InvalidUrl::Characters);
    }
    let (scheme, rest) = url.split_once("://").ok_or(InvalidUrl::Scheme)?;
    let standard_port = match () {
        () if scheme.eq_ignore_ascii_case("http") => 80,
        () if scheme.eq_ignore_ascii_case("https") => 443,
        () => return Err(InvalidUrl::Scheme),
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(InvalidUrl::Credentials);
    }
    let (host, port) = split_port(authority)?;
    let host = match host.strip_prefix('[') {
        Some(inner) => six(inner.strip_suffix(']').ok_or(InvalidUrl::Host)?)?,
        None => self::host(host)?,
    };
    Ok((host, port.unwrap_or(standard_port)))
}

/// The characters of a URL but `#` (RFC 3986, 2).
const fn is_of_url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b':'
                | b'/'
                | b'?'
                | b'['
                | b']'
                | b'@'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b'%'
        )
}

/// Splits an authority before its port.
pub(super) fn split_port(authority: &str) -> Result<(&str, Option<u16>), InvalidUrl> {
    let end_of_host = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    let Some(colon) = authority[end_of_host..].find(':') else { return Ok((authority, None)) };
    let (host, port) = authority.split_at(end_of_host + colon);
    let digits = &port[1..];
    let is_plain = !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
    let port = digits.parse().ok().filter(|_| is_plain).ok_or(InvalidUrl::Port)?;
    Ok((host, Some(port)))
}

fn six(text: &str) -> Result<Host<'_>, InvalidUrl> {
    if text.contains('%') {
        return Err(InvalidUrl::Zone);
    }
    text.parse::<Ipv6Addr>().map(|six| Host::Address(six.into())).map_err(|_| InvalidUrl::Host)
}

/// A host without brackets. Where the last label is a number the whole is an address, to every reader
/// (URL standard, "ends in a number"); `0x7f.1`, `017700000001` and `127.1` are 127.0.0.1 to many.
pub(super) fn host(text: &str) -> Result<Host<'_>, InvalidUrl> {
    let name = without_dot(text);
    let is_fit = |label: &str| {
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=LABEL_BYTES_MAX).contains(&label.len()) && label.bytes().all(is_of_name)
    };
    if name.len() > NAME_BYTES_MAX || !name.split('.').all(is_fit) {
        return Err(InvalidUrl::Host);
    }
    let last = name.rsplit('.').next().unwrap_or(name);
    if !is_number(last) {
        return Ok(Host::Name(text));
    }
    text.parse::<Ipv4Addr>().map(|four| Host::Address(four.into())).map_err(|_| InvalidUrl::Obscure)
}

fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    match hex {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// A name without the dot that says that it is whole.
pub(super) fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Longest name of a host and longest part of one, bytes (RFC 1035, 2.3.4).
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;
