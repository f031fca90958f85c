//! Which addresses a webhook may reach. A URL is chosen by a customer, the network behind the edge belongs to its
//! operator: without this check a webhook is a way in. Pure.
//!
//! The check is made on addresses, after the name was resolved, and the connection goes to an address that passed: a
//! name that resolves differently a moment later gains nothing. Ranges are those of the IANA special-purpose registries
//! (RFC 6890, RFC 8190); IPv6 outside of 2000::/3 is refused as a whole. An IPv6 address that carries an IPv4 address is
//! judged by that one.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// What the operator allows beyond the public internet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkPolicy {
    /// Private, carrier-grade NAT, unique local and loopback addresses may be reached. Link-local addresses (where clouds
    /// keep their credentials) may not even then.
    pub allow_private: bool,
    /// These may be reached whatever they are.
    pub allow_networks: Vec<IpNet>,
}

/// How the receiver is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS: only within networks that the operator has allowed.
    Http,
    /// With TLS.
    Https,
}

/// What an address that is not public is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// `0.0.0.0/8`, `::`: on many systems the machine itself.
    Unspecified,
    /// `127.0.0.0/8`, `::1`.
    Loopback,
    /// RFC 1918.
    Private,
    /// RFC 6598, shared by carriers.
    CarrierNat,
    /// RFC 4193.
    UniqueLocal,
    /// RFC 3927, RFC 4291 §2.5.6; the metadata services of clouds live here.
    LinkLocal,
    /// Metadata services at addresses that look public.
    Metadata,
    /// RFC 5737, RFC 3849, RFC 9637.
    Documentation,
    /// Groups and broadcast.
    Multicast,
    /// Protocol assignments, benchmarks, tunnels, and what is not assigned.
    Reserved,
}

impl Range {
    /// Belongs to networks that an operator may well have receivers in.
    fn is_private(self) -> bool {
        match self {
            Self::Loopback | Self::Private | Self::CarrierNat | Self::UniqueLocal => true,
            Self::Unspecified
            | Self::LinkLocal
            | Self::Metadata
            | Self::Documentation
            | Self::Multicast
            | Self::Reserved => false,
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "unspecified",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::CarrierNat => "carrier NAT",
            Self::UniqueLocal => "unique local",
            Self::LinkLocal => "link-local",
            Self::Metadata => "metadata",
            Self::Documentation => "documentation",
            Self::Multicast => "multicast",
            Self::Reserved => "reserved",
        })
    }
}

/// Why an address is not connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not public, and the operator has not allowed it.
    #[error("refused address {0} ({1})")]
    Range(IpAddr, Range),
    /// The body would go over the internet in the clear.
    #[error("refused plain http to {0}: use https")]
    PlainHttp(IpAddr),
    /// The name has no address.
    #[error("the name has no address")]
    NoAddress,
}

impl NetworkPolicy {
    /// Whether this address may be reached.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, address: IpAddr, scheme: Scheme) -> Result<(), Refusal> {
        let judged = carried(address);
        if [address, judged].iter().any(|address| self.allow_networks.iter().any(|net| net.contains(address)))
        {
            return Ok(());
        }
        match range(judged) {
            Some(range) if self.allow_private && range.is_private() => Ok(()),
            Some(range) => Err(Refusal::Range(address, range)),
            None => match scheme {
                Scheme::Https => Ok(()),
                Scheme::Http => Err(Refusal::PlainHttp(address)),
            },
        }
    }

    /// Of the addresses that a name resolved to, those that may be reached, in the resolver's order.
    ///
    /// # Errors
    /// When none of them may: why the first may not.
    pub fn choose(&self, resolved: &[SocketAddr], scheme: Scheme) -> Result<Vec<SocketAddr>, Refusal> {
        let passes = |address: &&SocketAddr| self.check(address.ip(), scheme).is_ok();
        let chosen: Vec<SocketAddr> = resolved.iter().filter(passes).copied().collect();
        match resolved.first() {
            None => Err(Refusal::NoAddress),
            Some(_) if !chosen.is_empty() => Ok(chosen),
            Some(first) => self.check(first.ip(), scheme).map(|()| chosen),
        }
    }
}

/// The IPv4 address within an IPv6 one, where there is one: mapped and compatible (RFC 4291 §2.5.5), NAT64
/// (RFC 6052), 6to4 (RFC 3056).
fn carried(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let v4 = |at: usize| {
        let octets = v6.octets();
        IpAddr::V4(Ipv4Addr::new(octets[at], octets[at + 1], octets[at + 2], octets[at + 3]))
    };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => address,
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => v4(12),
        [0x2002, ..] => v4(2),
        _ => address,
    }
}

/// What the address is for; nothing when it is public.
fn range(address: IpAddr) -> Option<Range> {
    match address {
        IpAddr::V4(v4) => V4.iter().find(|(net, _)| net.contains(&v4)).map(|(_, range)| *range),
        IpAddr::V6(v6) => match V6.iter().find(|(net, _)| net.contains(&v6)) {
            Some((_, range)) => Some(*range),
            None if v6.segments()[0] & 0xe000 == 0x2000 => None,
            None => Some(Range::Reserved),
        },
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, rest: [u16; 6], prefix: u8) -> Ipv6Net {
    let [c, d, e, f, g, h] = rest;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)
}

const V4: [(Ipv4Net, Range); 18] = [
    (v4(0, 0, 0, 0, 8), Range::Unspecified),
    (v4(10, 0, 0, 0, 8), Range::Private),
    (v4(100, 64, 0, 0, 10), Range::CarrierNat),
    (v4(127, 0, 0, 0, 8), Range::Loopback),
    (v4(168, 63, 129, 16, 32), Range::Metadata),
    (v4(169, 254, 0, 0, 16), Range::LinkLocal),
    (v4(172, 16, 0, 0, 12), Range::Private),
    (v4(192, 0, 0, 0, 24), Range::Reserved),
    (v4(192, 0, 2, 0, 24), Range::Documentation),
    (v4(192, 31, 196, 0, 24), Range::Reserved),
    (v4(192, 52, 193, 0, 24), Range::Reserved),
    (v4(192, 88, 99, 0, 24), Range::Reserved),
    (v4(192, 168, 0, 0, 16), Range::Private),
    (v4(198, 18, 0, 0, 15), Range::Reserved),
    (v4(198, 51, 100, 0, 24), Range::Documentation),
    (v4(203, 0, 113, 0, 24), Range::Documentation),
    (v4(224, 0, 0, 0, 4), Range::Multicast),
    (v4(240, 0, 0, 0, 4), Range::Reserved),
];

const V6: [(Ipv6Net, Range); 9] = [
    (v6(0, 0, [0; 6], 128), Range::Unspecified),
    (v6(0, 0, [0, 0, 0, 0, 0, 1], 128), Range::Loopback),
    (v6(0xfc00, 0, [0; 6], 7), Range::UniqueLocal),
    (v6(0xfe80, 0, [0; 6], 10), Range::LinkLocal),
    (v6(0xff00, 0, [0; 6], 8), Range::Multicast),
    // Teredo, ORCHID and the other assignments to protocols.
    (v6(0x2001, 0, [0; 6], 23), Range::Reserved),
    (v6(0x2001, 0xdb8, [0; 6], 32), Range::Documentation),
    (v6(0x2620, 0x4f, [0x8000, 0, 0, 0, 0, 0], 48), Range::Reserved),
    (v6(0x3fff, 0, [0; 6], 20), Range::Documentation),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(policy: &NetworkPolicy, address: &str) -> Option<Range> {
        match policy.check(address.parse().unwrap(), Scheme::Https) {
            Ok(()) => None,
            Err(Refusal::Range(_, range)) => Some(range),
            Err(other @ (Refusal::PlainHttp(_) | Refusal::NoAddress)) => panic!("{address}: {other}"),
        }
    }

    #[test]
    fn nothing_but_the_public_internet_is_reached_by_default() {
        let policy = NetworkPolicy::default();
        for (address, range) in [
            ("0.0.0.0", Range::Unspecified),
            ("0.1.2.3", Range::Unspecified),
            ("10.0.0.1", Range::Private),
            ("100.64.0.1", Range::CarrierNat),
            ("100.100.100.200", Range::CarrierNat),
            ("127.0.0.1", Range::Loopback),
            ("127.255.255.254", Range::Loopback),
            ("168.63.129.16", Range::Metadata),
            ("169.254.169.254", Range::LinkLocal),
            ("172.16.0.1", Range::Private),
            ("172.31.255.255", Range::Private),
            ("192.0.0.192", Range::Reserved),
            ("192.0.2.7", Range::Documentation),
            ("192.168.1.1", Range::Private),
            ("198.19.0.1", Range::Reserved),
            ("198.51.100.1", Range::Documentation),
            ("203.0.113.9", Range::Documentation),
            ("224.0.0.1", Range::Multicast),
            ("239.255.255.255", Range::Multicast),
            ("240.0.0.1", Range::Reserved),
            ("255.255.255.255", Range::Reserved),
            ("::", Range::Unspecified),
            ("::1", Range::Loopback),
            ("::2", Range::Unspecified),
            ("::10.0.0.1", Range::Private),
            ("::ffff:127.0.0.1", Range::Loopback),
            ("::ffff:a9fe:a9fe", Range::LinkLocal),
            ("::ffff:0:7f00:1", Range::Reserved),
            ("64:ff9b::10.0.0.1", Range::Private),
            ("64:ff9b::169.254.169.254", Range::LinkLocal),
            ("64:ff9b:1::8.8.8.8", Range::Reserved),
            ("100::1", Range::Reserved),
            ("2001:0:1::1", Range::Reserved),
            ("2001:db8::1", Range::Documentation),
            ("2002:7f00:1::", Range::Loopback),
            ("2002:c0a8:101::1", Range::Private),
            ("3fff::1", Range::Documentation),
            ("5f00::1", Range::Reserved),
            ("fc00::1", Range::UniqueLocal),
            ("fd00:ec2::254", Range::UniqueLocal),
            ("fe80::1", Range::LinkLocal),
            ("fec0::1", Range::Reserved),
            ("ff02::1", Range::Multicast),
        ] {
            assert_eq!(refused(&policy, address), Some(range), "{address}");
        }
        for address in [
            "1.1.1.1",
            "11.0.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.167.255.255",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
            "2606:4700:4700::1111",
            "2a00:1450:4001:800::200e",
        ] {
            assert_eq!(refused(&policy, address), None, "{address}");
        }
    }

    #[test]
    fn private_networks_can_be_allowed_without_the_metadata_service() {
        let policy = NetworkPolicy { allow_private: true, allow_networks: Vec::new() };

        for address in ["10.0.0.1", "127.0.0.1", "::1", "fd00::1", "100.64.0.1", "::ffff:192.168.0.1"] {
            assert_eq!(refused(&policy, address), None, "{address}");
        }
        for address in ["169.254.169.254", "fe80::1", "0.0.0.0", "224.0.0.1", "168.63.129.16"] {
            assert!(refused(&policy, address).is_some(), "{address}");
        }
    }

    #[test]
    fn a_network_that_is_allowed_by_name_is_reached_however_it_is_written() {
        let networks = vec!["10.1.0.0/16".parse().unwrap(), "fd00:1::/32".parse().unwrap()];
        let policy = NetworkPolicy { allow_private: false, allow_networks: networks };

        for address in ["10.1.2.3", "::ffff:10.1.2.3", "fd00:1::9"] {
            assert_eq!(refused(&policy, address), None, "{address}");
        }
        assert_eq!(refused(&policy, "10.2.0.1"), Some(Range::Private));
    }

    #[test]
    fn plain_http_stays_within_allowed_networks() {
        let policy =
            NetworkPolicy { allow_private: true, allow_networks: vec!["8.8.8.0/24".parse().unwrap()] };

        for address in ["127.0.0.1", "10.0.0.1", "8.8.8.8"] {
            assert_eq!(policy.check(address.parse().unwrap(), Scheme::Http), Ok(()), "{address}");
        }
        let public: IpAddr = "1.1.1.1".parse().unwrap();
        assert_eq!(policy.check(public, Scheme::Http), Err(Refusal::PlainHttp(public)));
    }

    #[test]
    fn only_the_addresses_that_pass_are_connected_to() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let policy = NetworkPolicy::default();
        let mixed = [address("10.0.0.1:443"), address("1.1.1.1:443"), address("[::1]:443")];

        assert_eq!(policy.choose(&mixed, Scheme::Https), Ok(vec![address("1.1.1.1:443")]));
        let inside = Refusal::Range("10.0.0.1".parse().unwrap(), Range::Private);
        assert_eq!(policy.choose(&mixed[..1], Scheme::Https), Err(inside));
        assert_eq!(policy.choose(&[], Scheme::Https), Err(Refusal::NoAddress));
    }
}
