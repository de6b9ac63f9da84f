//! Who called, and under which name: from the connection, or from what a trusted proxy says of it.

use std::fmt::Write as _;
use std::net::IpAddr;

use http::{HeaderMap, header};

use crate::answer::base::Base;
use crate::auth::{Caller, CallerMac, is_loopback};
use crate::config::ServerConfig;
use crate::request::lists::split;

const X_FORWARDED_FOR: &str = "x-forwarded-for";
const X_FORWARDED_HOST: &str = "x-forwarded-host";
const X_FORWARDED_PROTO: &str = "x-forwarded-proto";
/// What says the same as `Forwarded`, and is made anew with it.
pub(super) const X_FORWARDED: [&str; 3] = [X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST];

#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// The other end of the connection.
    peer: IpAddr,
    /// Whether that is a proxy whose word counts.
    pub(crate) is_trusted: bool,
    /// The client itself, as far as it can be told.
    pub(crate) client: IpAddr,
    /// The way the request took, without `peer`: the client first, then trusted proxies. `None` is
    /// a node that a trusted proxy did not name by an address.
    way: Vec<Option<IpAddr>>,
    /// `http` or `https`.
    proto: &'static str,
    host: String,
}

/// What one proxy says of the request that it got.
#[derive(Default)]
struct Hop<'a> {
    node: Option<&'a str>,
    proto: Option<&'a str>,
    host: Option<&'a str>,
}

impl Source {
    /// Reads who called from a request.
    pub(crate) fn of(config: &ServerConfig, peer: IpAddr, headers: &HeaderMap) -> Self {
        let peer = peer.to_canonical();
        let is_trusted = is_trusted(config, peer);
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.filter(|host| !host.contains(['"', '\\'])).unwrap_or_default();
        let mut source = Self {
            peer,
            is_trusted,
            client: peer,
            way: Vec::new(),
            proto: config.scheme(),
            host: host.to_owned(),
        };
        if is_trusted {
            source.believe(config, headers);
        }
        source
    }

    /// Takes over what the proxies before us say, from our end on. What stands before the first
    /// node that is no proxy of ours is that client's own word, and counts for nothing.
    ///
    /// `X-Forwarded-For` outweighs `Forwarded`: nearly all proxies write the first, and many of
    /// them let a `Forwarded` of their client pass untouched. A proxy that does not write it wrote
    /// the others of its kind neither: `X-Forwarded-Proto` and `-Host` without it are the client's.
    fn believe(&mut self, config: &ServerConfig, headers: &HeaderMap) {
        let mut hops = if headers.contains_key(X_FORWARDED_FOR) {
            old_hops(headers)
        } else {
            standard_hops(headers)
        };
        while let Some(hop) = hops.pop() {
            self.proto = hop.proto.and_then(proto).unwrap_or(self.proto);
            if let Some(host) = hop.host.filter(|host| is_authority(host)) {
                host.clone_into(&mut self.host);
            }
            let Some(node) = hop.node else { continue };
            let address = address(node);
            self.way.push(address);
            match address {
                Some(address) if is_trusted(config, address) => self.client = address,
                Some(address) => {
                    self.client = address;
                    break;
                }
                None => break,
            }
        }
        self.way.reverse();
    }

    /// Whether the client called by `https`, as far as we know or a trusted proxy says.
    pub(crate) fn is_https(&self) -> bool {
        self.proto == "https"
    }

    /// The way of the request as `Forwarded` tells it (RFC 7239): the client first, us last.
    pub(crate) fn forwarded(&self) -> String {
        let mut out = String::new();
        let last = self.way.len();
        for (index, node) in self.nodes().enumerate() {
            if index > 0 {
                out.push_str(", ");
            }
            // Writing to a string cannot fail.
            let _ = match node {
                None => write!(out, "for=unknown"),
                Some(IpAddr::V4(address)) => write!(out, "for={address}"),
                Some(IpAddr::V6(address)) => write!(out, "for=\"[{address}]\""),
            };
            // How the client called us, for those who read the first element, or the last.
            if index == 0 || index == last {
                let _ = write!(out, ";proto={}", self.proto);
                if !self.host.is_empty() {
                    // Quoted, because a port may be in it.
                    let _ = write!(out, ";host=\"{}\"", self.host);
                }
            }
        }
        out
    }

    /// The same as most frameworks read it.
    pub(crate) fn x_forwarded(&self) -> [(&'static str, String); 3] {
        let nodes = self.nodes().map(|node| match node {
            None => "unknown".to_owned(),
            Some(address) => address.to_string(),
        });
        let nodes: Vec<_> = nodes.collect();
        [
            (X_FORWARDED_FOR, nodes.join(", ")),
            (X_FORWARDED_PROTO, self.proto.to_owned()),
            (X_FORWARDED_HOST, self.host.clone()),
        ]
    }

    fn nodes(&self) -> impl Iterator<Item = Option<IpAddr>> {
        self.way.iter().copied().chain([Some(self.peer)])
    }

    /// Whose share of a queue a task takes that this caller hands in: that of its address.
    ///
    /// A holder of an API key is known to the operator, and so is whoever is on this machine:
    /// neither is bounded but by the queue.
    pub(crate) fn share(&self, mac: &CallerMac, caller: &Caller) -> Option<relais_core::Source> {
        let network = self.bounded_network().filter(|_| !caller.has_key());
        network.map(|network| mac.of_network(network))
    }

    /// The network of a client that takes of a share: all but this machine.
    pub(crate) fn bounded_network(&self) -> Option<IpAddr> {
        (!self.is_on_this_machine()).then(|| self.network())
    }

    /// What one subscriber has of addresses: of IPv6 a whole network of 64 bits (RFC 6177), any of
    /// whose addresses it can call from.
    pub(crate) fn network(&self) -> IpAddr {
        match self.client {
            IpAddr::V4(_) => self.client,
            IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        }
    }

    /// The proxy at the other end of the connection, if it called for another.
    pub(crate) fn proxy(&self) -> Option<IpAddr> {
        (self.peer != self.client).then_some(self.peer)
    }

    /// Whether the other end of the connection is this machine.
    pub(crate) fn is_from_here(&self) -> bool {
        self.peer.is_loopback()
    }

    /// Whether the client is, without a proxy that says so: what one passes on
    /// may be the client's word.
    fn is_on_this_machine(&self) -> bool {
        self.peer.is_loopback() && self.way.is_empty()
    }

    /// Scheme and authority under which the client called: what relative links are made absolute
    /// with. A foreign `Host` is not believed.
    pub(crate) fn called_as(&self, base: &Base) -> String {
        let is_own_word = self.is_trusted || is_loopback(&self.host);
        if !base.is_given() && is_own_word && is_authority(&self.host) {
            return format!("{}://{}", self.proto, self.host);
        }
        base.origin().to_owned()
    }
}

/// Whether an address is that of a proxy whose word counts.
fn is_trusted(config: &ServerConfig, address: IpAddr) -> bool {
    config.trusted_proxies.iter().any(|network| network.contains(&address.to_canonical()))
}

/// What `Forwarded` tells, in its order.
fn standard_hops(headers: &HeaderMap) -> Vec<Hop<'_>> {
    let lines = headers.get_all(header::FORWARDED).iter();
    let elements = lines.flat_map(|line| parts(line.to_str().unwrap_or_default(), b','));
    let hop = |element| Hop {
        node: parameter(element, "for"),
        proto: parameter(element, "proto"),
        host: parameter(element, "host"),
    };
    elements.map(hop).collect()
}

/// What `X-Forwarded-*` tell, in their order: the proxy that called us says how it was called.
fn old_hops(headers: &HeaderMap) -> Vec<Hop<'_>> {
    let lines = headers.get_all(X_FORWARDED_FOR).iter();
    let nodes = lines.flat_map(|line| line.to_str().unwrap_or_default().split(','));
    let mut hops: Vec<_> =
        nodes.map(|node| Hop { node: Some(node.trim()), ..Hop::default() }).collect();
    hops.push(Hop {
        node: None,
        proto: last(headers, X_FORWARDED_PROTO),
        host: last(headers, X_FORWARDED_HOST),
    });
    hops
}

/// The parts of a text between separators that are not quoted.
fn parts(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    split(text.as_bytes(), separator).map(|part| std::str::from_utf8(part).unwrap_or_default())
}

/// The value of a parameter of one element of `Forwarded`.
fn parameter<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = parts(element, b';').filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    Some(value.trim().trim_matches('"')).filter(|value| !value.is_empty())
}

/// The address of a node: `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]:80`, `2001:db8::1`.
fn address(node: &str) -> Option<IpAddr> {
    let node = node.trim().trim_matches('"');
    let parsed = match node.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?.parse(),
        None => node.parse().or_else(|_| node.split(':').next().unwrap_or_default().parse()),
    };
    parsed.ok().map(|address: IpAddr| address.to_canonical())
}

fn proto(text: &str) -> Option<&'static str> {
    ["http", "https"].into_iter().find(|known| known.eq_ignore_ascii_case(text))
}

/// Whether a text is a host, maybe with a port.
pub(crate) fn is_authority(host: &str) -> bool {
    host.parse::<http::uri::Authority>().is_ok_and(|authority| !authority.as_str().contains('@'))
}

/// The last item of a list: what the proxy that called us added.
fn last<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let line = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    line.rsplit(',').next().map(str::trim).filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn source(trusted: &[&str], peer: &str, fields: &[(&'static str, &'static str)]) -> Source {
        let mut config = ServerConfig::on_loopback();
        config.trusted_proxies =
            trusted.iter().map(|network| network.parse().expect("a network")).collect();
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        Source::of(&config, peer.parse().expect("an address"), &headers)
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let fields = [
            ("host", "a.example"),
            ("x-forwarded-for", "6.6.6.6, 203.0.113.7, 10.0.0.9"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "api.example"),
        ];
        let believed = source(&["10.0.0.0/8"], "10.1.2.3", &fields);
        assert_eq!(believed.client, "203.0.113.7".parse::<IpAddr>().expect("an address"));
        assert_eq!((believed.proto, &*believed.host), ("https", "api.example"));
        let other = source(&["10.0.0.0/16"], "10.1.2.3", &fields);
        assert_eq!(other.client, "10.1.2.3".parse::<IpAddr>().expect("an address"));
        assert_eq!((other.proto, &*other.host), ("http", "a.example"));
    }

    #[test]
    fn nobody_elsewhere_is_on_this_machine() {
        let is_here = |peer, told: &'static str| {
            let fields = [("x-forwarded-for", told)];
            source(&["10.0.0.0/8", "127.0.0.0/8"], peer, &fields).is_on_this_machine()
        };
        assert!(is_here("::1", "203.0.113.7"), "nobody's proxy");
        assert!(!is_here("127.0.0.1", "203.0.113.7"));
        assert!(!is_here("127.0.0.1", "127.0.0.1"), "a proxy here may pass on its client's word");
        assert!(!is_here("10.1.2.3", "127.0.0.1"), "a proxy on another machine");
        assert!(!is_here("198.51.100.1", "127.0.0.1"), "a stranger");
    }

    /// `Forwarded`, and what is left of the three others, joined.
    fn told(source: &Source) -> (String, String) {
        (source.forwarded(), source.x_forwarded().map(|(_, value)| value).join(" | "))
    }

    #[test]
    fn both_kinds_of_fields_tell_one_story() {
        let ten = ["10.0.0.0/8", "::1/128"];
        let host = ("host", "a:81");
        let both = |fields: &[(&'static str, &'static str)]| {
            told(&source(&ten, "10.0.0.1", &[&[host], fields].concat()))
        };
        let expected = |forwarded: &str, others: &str| (forwarded.to_owned(), others.to_owned());
        assert_eq!(
            told(&source(&[], "::ffff:192.0.2.1", &[host, ("x-forwarded-for", "6.6.6.6")])),
            expected("for=192.0.2.1;proto=http;host=\"a:81\"", "192.0.2.1 | http | a:81"),
            "a stranger's word is no news"
        );
        let client = "for=203.0.113.7;proto=https;host=\"b\"";
        let us = "for=10.0.0.1;proto=https;host=\"b\"";
        let proto_and_host = [("x-forwarded-proto", "https"), ("x-forwarded-host", "x, b")];
        for way in ["203.0.113.7", "6.6.6.6, 203.0.113.7:4711", "for=1.1.1.1, 203.0.113.7"] {
            let fields = [&[("x-forwarded-for", way)][..], &proto_and_host].concat();
            let told = expected(&format!("{client}, {us}"), "203.0.113.7, 10.0.0.1 | https | b");
            assert_eq!(both(&fields), told, "{way}");
        }
        let two = [&[("x-forwarded-for", "203.0.113.7, 10.9.9.9")][..], &proto_and_host].concat();
        assert_eq!(both(&two).0, format!("{client}, for=10.9.9.9, {us}"));
        let standard = "for=6.6.6.6;host=evil, for=203.0.113.7;proto=https;host=b, for=10.9.9.9";
        assert_eq!(both(&[("forwarded", standard)]), both(&two));
        let hidden = [("forwarded", "for=_secret, for=10.9.9.9")];
        assert_eq!(both(&hidden).1, "unknown, 10.9.9.9, 10.0.0.1 | http | a:81");
        // Many proxies write one of the two and let the client's own word pass in the other.
        let forged = [("forwarded", "for=127.0.0.1"), ("x-forwarded-for", "203.0.113.7")];
        assert_eq!(both(&forged).1, "203.0.113.7, 10.0.0.1 | http | a:81");
        // A proxy that does not say for whom did not say how either: it let its client's word pass.
        let alone = [("x-forwarded-proto", "https"), ("x-forwarded-host", "evil")];
        assert_eq!(both(&alone).1, "10.0.0.1 | http | a:81");
        let beside = [&[("forwarded", "for=203.0.113.7;proto=http")][..], &alone].concat();
        assert_eq!(both(&beside).1, "203.0.113.7, 10.0.0.1 | http | a:81");
        let odd = [("x-forwarded-for", "203.0.113.7"), ("x-forwarded-proto", "HTTPS")];
        let odd = [&odd[..], &[("x-forwarded-host", "a b")]].concat();
        assert_eq!(both(&odd).1, "203.0.113.7, 10.0.0.1 | https | a:81");
    }

    #[test]
    fn addresses_of_six_are_written_as_each_field_wants_them() {
        let fields = [("forwarded", "for=\"[2001:db8::1]:80\";proto=https;host=\"b:1\"")];
        let (forwarded, others) = told(&source(&["::1/128"], "::1", &fields));
        let first = "for=\"[2001:db8::1]\";proto=https;host=\"b:1\"";
        assert_eq!(forwarded, format!("{first}, for=\"[::1]\";proto=https;host=\"b:1\""));
        assert_eq!(others, "2001:db8::1, ::1 | https | b:1");
    }

    #[test]
    fn networks_contain_their_addresses() {
        let is_in = |network: &str, address: &str| {
            let mut config = ServerConfig::on_loopback();
            config.trusted_proxies = vec![network.parse().expect("a network")];
            is_trusted(&config, address.parse().expect("one"))
        };
        assert!(is_in("0.0.0.0/0", "1.2.3.4") && is_in("::/0", "::1"));
        assert!(is_in("192.0.2.0/24", "192.0.2.255") && !is_in("192.0.2.0/24", "192.0.3.0"));
        assert!(is_in("192.0.2.1/32", "::ffff:192.0.2.1") && !is_in("192.0.2.1/32", "192.0.2.0"));
        assert!(!is_in("::/0", "1.2.3.4"));
    }
}
