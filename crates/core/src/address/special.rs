//! Addresses and ports that are kept for something, and not for whoever is on the public internet.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address or a port is kept for, with the document that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reserved(&'static str);

impl fmt::Display for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Reserved {}

/// Addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Net {
    /// The lowest of them.
    pub(super) first: IpAddr,
    /// How many bits they share.
    pub(super) len: u8,
}

impl Net {
    const fn v4([a, b, c, d]: [u8; 4], len: u8) -> Self {
        Self { first: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), len }
    }

    /// From the first of eight groups; those that are left out are zero.
    const fn v6(groups: [u16; 4], len: u8) -> Self {
        let [a, b, c, d] = groups;
        Self { first: IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)), len }
    }

    pub(super) fn contains(self, address: IpAddr) -> bool {
        self.lowest_of(address) == Some(self.first)
    }

    /// The lowest address that shares this network's number of bits with another of its family.
    pub(super) fn lowest_of(self, address: IpAddr) -> Option<IpAddr> {
        match (self.first, address) {
            (IpAddr::V4(_), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.len)).unwrap_or(0);
                Some(Ipv4Addr::from_bits(address.to_bits() & mask).into())
            }
            (IpAddr::V6(_), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.len)).unwrap_or(0);
                Some(Ipv6Addr::from_bits(address.to_bits() & mask).into())
            }
            _ => None,
        }
    }
}

/// IPv4: the registry of special-purpose addresses (RFC 6890), multicast, and what a cloud keeps for itself
/// among public ones. Metadata of most clouds is link-local.
const V4: &[(Net, Reserved)] = &[
    (Net::v4([0, 0, 0, 0], 8), Reserved("this network (RFC 791)")),
    (Net::v4([10, 0, 0, 0], 8), Reserved("private (RFC 1918)")),
    (Net::v4([100, 64, 0, 0], 10), Reserved("shared by a carrier's customers (RFC 6598)")),
    (Net::v4([127, 0, 0, 0], 8), Reserved("loopback (RFC 1122)")),
    (Net::v4([168, 63, 129, 16], 32), Reserved("a cloud's own (Azure's platform)")),
    (Net::v4([169, 254, 0, 0], 16), Reserved("link-local (RFC 3927)")),
    (Net::v4([172, 16, 0, 0], 12), Reserved("private (RFC 1918)")),
    (Net::v4([192, 0, 0, 0], 24), Reserved("of protocols (RFC 6890)")),
    (Net::v4([192, 0, 2, 0], 24), Reserved("for documentation (RFC 5737)")),
    (Net::v4([192, 88, 99, 0], 24), Reserved("the relays of 6to4 (RFC 7526)")),
    (Net::v4([192, 168, 0, 0], 16), Reserved("private (RFC 1918)")),
    (Net::v4([198, 18, 0, 0], 15), Reserved("for benchmarks (RFC 2544)")),
    (Net::v4([198, 51, 100, 0], 24), Reserved("for documentation (RFC 5737)")),
    (Net::v4([203, 0, 113, 0], 24), Reserved("for documentation (RFC 5737)")),
    (Net::v4([224, 0, 0, 0], 4), Reserved("multicast (RFC 5771)")),
    (Net::v4([240, 0, 0, 0], 4), Reserved("reserved, with broadcast (RFC 1112, 8190)")),
];

/// IPv6, the first that fits: what is outside 2000::/3 is nobody's on the public internet.
const V6: &[(Net, Reserved)] = &[
    (Net::v6([0, 0, 0, 0], 96), Reserved("unspecified, loopback or IPv4-compatible (RFC 4291)")),
    (Net::v6([0x64, 0xff9b, 1, 0], 48), Reserved("local translation to IPv4 (RFC 8215)")),
    (Net::v6([0x100, 0, 0, 0], 64), Reserved("discarded (RFC 6666)")),
    (Net::v6([0x2001, 0, 0, 0], 32), Reserved("Teredo (RFC 4380)")),
    (Net::v6([0x2001, 0, 0, 0], 23), Reserved("of protocols (RFC 2928)")),
    (Net::v6([0x2001, 0xdb8, 0, 0], 32), Reserved("for documentation (RFC 3849)")),
    (Net::v6([0x2002, 0, 0, 0], 16), Reserved("6to4 (RFC 3056, 7526)")),
    (Net::v6([0x3fff, 0, 0, 0], 20), Reserved("for documentation (RFC 9637)")),
    (Net::v6([0xfc00, 0, 0, 0], 7), Reserved("unique local (RFC 4193)")),
    (Net::v6([0xfe80, 0, 0, 0], 10), Reserved("link-local (RFC 4291)")),
    (Net::v6([0xfec0, 0, 0, 0], 10), Reserved("site-local (RFC 3879)")),
    (Net::v6([0xff00, 0, 0, 0], 8), Reserved("multicast (RFC 4291)")),
];

const GLOBAL: Net = Net::v6([0x2000, 0, 0, 0], 3);
const NOT_GLOBAL: Reserved = Reserved("not global unicast (RFC 4291)");
/// IPv4 as hosts see it that have IPv6 alone (RFC 6052): it is what is in its last 32 bits.
const NAT64: Net = Net::v6([0x64, 0xff9b, 0, 0], 96);

/// The IPv4 address that an address of IPv6 stands for, mapped or translated; any other as it is.
pub(super) fn plain(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) if NAT64.contains(six.into()) => {
            let [.., a, b, c, d] = six.octets();
            Ipv4Addr::new(a, b, c, d).into()
        }
        address => address,
    }
}

/// What a [`plain`] address is kept for; `None` if it is anybody's.
pub(super) fn address(address: IpAddr) -> Option<Reserved> {
    let find = |table: &[(Net, Reserved)]| {
        let row = table.iter().find(|(net, _)| net.contains(address));
        row.map(|(_, reserved)| *reserved)
    };
    match address {
        IpAddr::V4(_) => find(V4),
        IpAddr::V6(_) => find(V6).or_else(|| (!GLOBAL.contains(address)).then_some(NOT_GLOBAL)),
    }
}

const OTHER_PROTOCOL: Reserved = Reserved("a port of another protocol (Fetch standard, 2.9)");

/// Ports where something else than HTTP listens that could take a request for its own: the list of the
/// Fetch standard, by which no browser calls them either.
#[rustfmt::skip]
const PORTS: [u16; 83] = [
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103,
    104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514,
    515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723,
    2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
];

/// What a port is kept for.
pub(super) fn port(port: u16) -> Option<Reserved> {
    PORTS.binary_search(&port).is_ok().then_some(OTHER_PROTOCOL)
}
