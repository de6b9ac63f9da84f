//! Where Relais may call for somebody who names a URL: a webhook of a task or of a tenant, a push service.
//!
//! What is named is judged twice by the same rules: as a URL when it is named, so that whoever names it is
//! told, and as an address when it is dialled, because a name leads to another address whenever its owner
//! likes. Not here: looking up and dialling, and the upstreams of the configuration, which are an
//! operator's own and may be anywhere.

mod allow;
mod special;
mod url;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use allow::{Allowed, InvalidAllowed};
pub use special::Reserved;
pub use url::InvalidUrl;

use url::Host;

/// What callers and tenants may have called: the public internet, and what an operator allows beyond it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guard {
    allow: Vec<Allowed>,
}

/// By which right an address is dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// Everybody can reach it.
    Public,
    /// The operator's list lets it through: what answers there is not for the eyes of who named it.
    Allowed,
}

impl Guard {
    /// One with a list of what is let through besides the public internet.
    #[must_use]
    pub const fn new(allow: Vec<Allowed>) -> Self {
        Self { allow }
    }

    /// Judges a URL as it is named. What its name leads to is judged when it is dialled.
    ///
    /// # Errors
    /// When it is not written in the one plain way that everybody reads alike, or names what is not let
    /// through.
    pub fn judge_url(&self, url: &str) -> Result<(), InvalidUrl> {
        let (host, port) = url::read(url)?;
        match host {
            Host::Address(address) => self.judge_literal(address, port),
            // What every machine knows it by, whatever a name server says (RFC 6761, 6.3).
            Host::Name(name) if is_localhost(name) && !self.allows_name(name, port) => {
                let four = self.judge_literal(Ipv4Addr::LOCALHOST.into(), port);
                four.or_else(|_| self.judge_literal(Ipv6Addr::LOCALHOST.into(), port))
            }
            Host::Name(name) if self.allows_name(name, port) => Ok(()),
            Host::Name(_) => special::port(port).map_or(Ok(()), |why| Err(why.into())),
        }
    }

    /// Judges an address that the host of a URL led to, or is. The host is as in the URL, an IPv6 address
    /// without its brackets.
    ///
    /// # Errors
    /// What it is kept for.
    pub fn judge(&self, host: &str, address: IpAddr, port: u16) -> Result<Passage, Reserved> {
        let address = special::plain(address);
        if self.allows_name(host, port) || self.allow.iter().any(|one| one.takes(address, port)) {
            return Ok(Passage::Allowed);
        }
        let reserved = special::address(address).or_else(|| special::port(port));
        reserved.map_or(Ok(Passage::Public), Err)
    }

    fn judge_literal(&self, address: IpAddr, port: u16) -> Result<(), InvalidUrl> {
        self.judge("", address, port)?;
        Ok(())
    }

    fn allows_name(&self, name: &str, port: u16) -> bool {
        self.allow.iter().any(|one| one.takes_name(name, port))
    }
}

fn is_localhost(name: &str) -> bool {
    let name = url::without_dot(name);
    let last = name.rsplit('.').next().unwrap_or(name);
    last.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests;
