//! What an operator lets through besides the public internet, one entry of `[webhooks] allow` each.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::special::{self, Net};
use super::url::{self, Host};

/// An address, a network or a name, and maybe the one port of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    what: What,
    /// `None` is all ports.
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Net(Net),
    /// Whatever it leads to: its name server is trusted.
    Name(String),
}

/// Why an entry is refused, fit for "{entry} {error}".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAllowed {
    /// It is nothing of the kind.
    #[error(
        "is no address, network or name; write for example \"127.0.0.1:9000\", \"10.0.0.0/8\", \
         \"[fd00::/8]:443\" or \"hook.internal\""
    )]
    Form,
    /// Its length does not fit its family, or its address has bits beyond it.
    #[error("is no network: {0}")]
    Network(NetworkFault),
    /// Its port is none.
    #[error("has a port that is none: 1 to 65535")]
    Port,
    /// It is an IPv4 address written as one of IPv6.
    #[error("is an IPv4 address: write it as one")]
    Mapped,
}

/// What is wrong with a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkFault {
    /// The number behind the slash.
    Length {
        /// The most it may be.
        max: u8,
    },
    /// Its address is not its first.
    First {
        /// Which is.
        first: IpAddr,
        /// The number behind the slash.
        len: u8,
    },
}

impl fmt::Display for NetworkFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { max } => write!(f, "its length is from 0 to {max}"),
            Self::First { first, len } => {
                write!(f, "it begins at {first}, write \"{first}/{len}\"")
            }
        }
    }
}

impl Allowed {
    pub(super) fn takes(&self, address: IpAddr, port: u16) -> bool {
        matches!(self.what, What::Net(net) if net.contains(address)) && self.takes_port(port)
    }

    pub(super) fn takes_name(&self, name: &str, port: u16) -> bool {
        let is_same = |own: &str| own.eq_ignore_ascii_case(url::without_dot(name));
        matches!(&self.what, What::Name(own) if is_same(own)) && self.takes_port(port)
    }

    fn takes_port(&self, port: u16) -> bool {
        self.port.is_none_or(|own| own == port)
    }
}

impl FromStr for Allowed {
    type Err = InvalidAllowed;

    fn from_str(text: &str) -> Result<Self, InvalidAllowed> {
        // The colons of IPv6 are none of a port.
        if let Some(net) = net(text)? {
            return Ok(Self { what: What::Net(net), port: None });
        }
        if text.contains("//") {
            return Err(InvalidAllowed::Form);
        }
        let (host, port) = url::split_port(text).map_err(|_| InvalidAllowed::Port)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if let Some(net) = net(bracketed.unwrap_or(host))? {
            let is_fit = bracketed.is_some() == net.first.is_ipv6();
            return is_fit
                .then_some(Self { what: What::Net(net), port })
                .ok_or(InvalidAllowed::Form);
        }
        match url::host(host) {
            Ok(Host::Name(name)) => {
                let name = url::without_dot(name).to_ascii_lowercase();
                Ok(Self { what: What::Name(name), port })
            }
            Ok(Host::Address(_)) | Err(_) => Err(InvalidAllowed::Form),
        }
    }
}

/// `10.0.0.0/8`, or one address; `None` if it is neither.
fn net(text: &str) -> Result<Option<Net>, InvalidAllowed> {
    let (address, len) = match text.split_once('/') {
        Some((address, len)) => (address, Some(len)),
        None => (text, None),
    };
    let Ok(first) = address.parse::<IpAddr>() else { return Ok(None) };
    if special::plain(first) != first {
        return Err(InvalidAllowed::Mapped);
    }
    let max = if first.is_ipv4() { 32 } else { 128 };
    let len = match len {
        None => max,
        // What follows may be a port: then it is no network yet.
        Some(len) if len.contains(':') && first.is_ipv4() => return Ok(None),
        Some(len) => {
            let is_plain = len.bytes().all(|byte| byte.is_ascii_digit());
            let len = len.parse().ok().filter(|len| is_plain && *len <= max);
            len.ok_or(InvalidAllowed::Network(NetworkFault::Length { max }))?
        }
    };
    let net = Net { first, len };
    match net.lowest_of(first) {
        Some(lowest) if lowest != first => {
            Err(InvalidAllowed::Network(NetworkFault::First { first: lowest, len }))
        }
        _ => Ok(Some(net)),
    }
}
