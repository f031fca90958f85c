//! The host of a URI or a Via: a name, an IPv4 address or a bracketed IPv6 address (RFC 3261 §25.1, RFC 5954).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::lex::{self, Cursor, Malformed};

/// Where a URI or a Via points. Names compare without case, addresses by value. `Display` writes the brackets of IPv6.
#[derive(Debug, Clone, Copy)]
pub enum Host<'a> {
    /// A domain name as written.
    Domain(&'a str),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address, without its brackets.
    V6(Ipv6Addr),
}

impl Host<'_> {
    /// The address, `None` for a name. An IPv4 address mapped into IPv6 (RFC 5118 §4.9) comes back as IPv4, so that it
    /// cannot walk around a list of addresses.
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Domain(_) => None,
            Self::V4(address) => Some(IpAddr::V4(address)),
            Self::V6(address) => Some(IpAddr::V6(address).to_canonical()),
        }
    }
}

impl PartialEq for Host<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Domain(one), Self::Domain(other)) => one.eq_ignore_ascii_case(other),
            (Self::V4(one), Self::V4(other)) => one == other,
            (Self::V6(one), Self::V6(other)) => one == other,
            (Self::Domain(_) | Self::V4(_) | Self::V6(_), _) => false,
        }
    }
}

impl Eq for Host<'_> {}

impl From<IpAddr> for Host<'_> {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6(address),
        }
    }
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(name) => f.write_str(name),
            Self::V4(address) => address.fmt(f),
            Self::V6(address) => write!(f, "[{address}]"),
        }
    }
}

/// Reads one host. What consists of digits and dots must be an IPv4 address; a name whose last label is a number is
/// refused, because somebody will take it for an address.
pub(crate) fn read<'a>(cursor: &mut Cursor<'a>) -> Result<Host<'a>, Malformed> {
    let start = cursor.malformed();
    if cursor.eat(b'[') {
        let inner = lex::ascii(cursor.take_while(|byte| lex::is_hex(byte) || matches!(byte, b':' | b'.')));
        cursor.expect(b']')?;
        return inner.parse().map(Host::V6).map_err(|_| start);
    }
    let text = lex::ascii(cursor.take_while(lex::is_host_byte));
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return text.parse().map(Host::V4).map_err(|_| start);
    }
    let mut last = "";
    for label in text.strip_suffix('.').unwrap_or(text).split('.') {
        if label.is_empty() {
            return Err(start);
        }
        last = label;
    }
    if last.bytes().all(|byte| byte.is_ascii_digit()) { Err(start) } else { Ok(Host::Domain(text)) }
}

/// Reads `:port`, if a colon follows. White space around the colon is for Via only.
pub(crate) fn read_port(cursor: &mut Cursor<'_>) -> Result<Option<u16>, Malformed> {
    if !cursor.eat(b':') {
        return Ok(None);
    }
    cursor.skip_lws();
    let start = cursor.malformed();
    u16::try_from(cursor.number()?).map(Some).map_err(|_| start)
}

/// A host that owns no text: a name is kept as its place in the text around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum HostAt {
    Domain,
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

impl HostAt {
    pub(crate) fn of(host: Host<'_>) -> Self {
        match host {
            Host::Domain(_) => Self::Domain,
            Host::V4(address) => Self::V4(address),
            Host::V6(address) => Self::V6(address),
        }
    }

    pub(crate) fn with(self, text: &str) -> Host<'_> {
        match self {
            Self::Domain => Host::Domain(text),
            Self::V4(address) => Host::V4(address),
            Self::V6(address) => Host::V6(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Host<'_>> {
        let mut cursor = Cursor::new(text.as_bytes());
        let host = read(&mut cursor).ok()?;
        cursor.expect_end().ok()?;
        Some(host)
    }

    #[test]
    fn what_looks_like_an_address_must_be_one() {
        assert_eq!(parse("192.0.2.1"), Some(Host::V4(Ipv4Addr::new(192, 0, 2, 1))));
        assert_eq!(parse("[2001:db8::1]"), Some(Host::V6("2001:db8::1".parse().unwrap())));
        for bad in [
            "",
            "192.0.2",
            "192.0.2.256",
            "a..b",
            ".a",
            "a.1",
            "[::1",
            "[2001:db8:::1]",
            "[fe80::1%eth0]",
            "::1",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_compare_without_case_and_a_mapped_address_is_its_ipv4() {
        assert_eq!(parse("Edge_1.Example.NET"), parse("edge_1.example.net"));
        assert_ne!(parse("example.net"), parse("192.0.2.1"));
        assert_eq!(parse("[::ffff:192.0.2.2]").unwrap().ip(), Some("192.0.2.2".parse().unwrap()));
    }
}
