//! Via: the way a request came and its response goes back (RFC 3261 §18.2, §20.42; RFC 3581 for `rport`).

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use crate::header::Params;
use crate::host::{self, Host, HostAt};
use crate::lex::{self, Cursor, Malformed};

/// What every branch begins with that is unique on its own (RFC 3261 §8.1.1.7).
pub const BRANCH_COOKIE: &str = "z9hG4bK";

/// The port of UDP and TCP where none is written (RFC 3261 §19.1.2).
pub const DEFAULT_PORT: u16 = 5060;

/// The port of TLS where none is written (RFC 3261 §19.1.2).
pub const DEFAULT_TLS_PORT: u16 = 5061;

/// One hop of a message's way: `SIP/2.0/UDP host:port;branch=…`.
#[derive(Clone)]
pub struct Via {
    transport: ViaTransport,
    host: HostAt,
    /// The host where it is a name.
    domain: Option<Arc<str>>,
    port: Option<u16>,
    params: Params,
}

/// The transport a Via names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ViaTransport {
    /// `UDP`
    Udp,
    /// `TCP`
    Tcp,
    /// `TLS`
    Tls,
    /// `SCTP`
    Sctp,
    /// `WS`, RFC 7118
    Ws,
    /// `WSS`, RFC 7118
    Wss,
    /// Any other token.
    Other(Arc<str>),
}

/// The `rport` of a Via (RFC 3581).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rport {
    /// Without value: the sender asks for the response to come back where the request came from.
    Asked,
    /// The port that the receiver saw.
    Seen(u16),
}

impl Via {
    /// Our own Via of a request: asks for `rport` (RFC 3581), unless the transport is a connection anyway.
    pub fn new(transport: ViaTransport, host: Host<'_>, port: Option<u16>, branch: &str) -> Self {
        let asks = transport == ViaTransport::Udp;
        let mut via =
            Self { transport, host: HostAt::of(host), domain: domain(host), port, params: Params::default() };
        via.params.set("branch", Some(branch));
        if asks {
            via.params.set("rport", None);
        }
        via
    }

    /// Reads a whole text as one Via. A comma list is an error here; `Message::vias` reads lists.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(text.as_ref());
        let read = Self::read(&mut cursor)?;
        cursor.expect_end()?;
        Ok(read)
    }

    /// The transport.
    pub fn transport(&self) -> &ViaTransport {
        &self.transport
    }

    /// The host of `sent-by`.
    pub fn host(&self) -> Host<'_> {
        self.host.with(self.domain.as_deref().unwrap_or_default())
    }

    /// The port of `sent-by`, if one is written.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether both name the same `sent-by`, where no port is the default port (RFC 3261 §17.2.3, §18.1.1).
    pub fn same_sent_by(&self, other: &Self) -> bool {
        self.host() == other.host() && self.port_or_default() == other.port_or_default()
    }

    /// The branch as written, with or without [`BRANCH_COOKIE`].
    pub fn branch(&self) -> Option<&str> {
        self.params.token("branch")
    }

    /// The address the receiver saw. Bracketed IPv6 is read too, although the grammar has none (RFC 5118 §4.5).
    pub fn received(&self) -> Option<IpAddr> {
        let text = self.params.token("received")?;
        let plain = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        plain.parse().ok()
    }

    /// The `rport`; one with a value that is no port counts as asked.
    pub fn rport(&self) -> Option<Rport> {
        let rport = self.params.get("rport")?;
        let port = rport.raw_value().and_then(|port| port.parse().ok());
        Some(port.map_or(Rport::Asked, Rport::Seen))
    }

    /// All parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// This Via with a parameter; see [`Params::set`].
    pub fn with_param(mut self, name: &str, value: Option<&str>) -> Self {
        self.params.set(name, value);
        self
    }

    /// Notes where the request really came from: `received` when `sent-by` says otherwise or `rport` was asked for
    /// (RFC 3261 §18.2.1, RFC 3581 §4). What the sender claimed in those two is overwritten.
    pub fn stamp(&mut self, source: SocketAddr) {
        let source_ip = source.ip().to_canonical();
        let rport = self.params.get("rport").is_some();
        if rport {
            self.params.set("rport", Some(&source.port().to_string()));
        }
        if rport || self.host().ip() != Some(source_ip) || self.params.get("received").is_some() {
            self.params.set("received", Some(&source_ip.to_string()));
        }
    }

    /// Where a response goes that does not travel on the request's own connection (RFC 3261 §18.2.2, RFC 3581 §4): the
    /// source's address always, its port when `rport` is there, else the one of `sent-by`. `maddr` is not followed: it
    /// would let a stranger aim our responses.
    pub fn reply_address(&self, source: SocketAddr) -> SocketAddr {
        match self.rport() {
            Some(Rport::Asked | Rport::Seen(_)) => source,
            None => SocketAddr::new(source.ip(), self.port_or_default()),
        }
    }

    fn port_or_default(&self) -> u16 {
        let default = match self.transport {
            ViaTransport::Tls | ViaTransport::Wss => DEFAULT_TLS_PORT,
            ViaTransport::Udp
            | ViaTransport::Tcp
            | ViaTransport::Sctp
            | ViaTransport::Ws
            | ViaTransport::Other(_) => DEFAULT_PORT,
        };
        self.port.unwrap_or(default)
    }

    pub(crate) fn read(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let Parts { transport, host, port } = Parts::read(cursor)?;
        let transport = ViaTransport::from_token(transport);
        let params = Params::read(cursor)?;
        Ok(Self { transport, host: HostAt::of(host), domain: domain(host), port, params })
    }

    /// Reads one element without keeping it.
    pub(crate) fn skip(cursor: &mut Cursor<'_>) -> Result<(), Malformed> {
        Parts::read(cursor)?;
        while cursor.param()?.is_some() {}
        Ok(())
    }
}

fn domain(host: Host<'_>) -> Option<Arc<str>> {
    match host {
        Host::Domain(name) => Some(name.into()),
        Host::V4(_) | Host::V6(_) => None,
    }
}

impl ViaTransport {
    /// The transport that this token names, in any case.
    pub fn from_token(token: &str) -> Self {
        const KNOWN: [(&str, ViaTransport); 6] = [
            ("UDP", ViaTransport::Udp),
            ("TCP", ViaTransport::Tcp),
            ("TLS", ViaTransport::Tls),
            ("SCTP", ViaTransport::Sctp),
            ("WS", ViaTransport::Ws),
            ("WSS", ViaTransport::Wss),
        ];
        let known = KNOWN.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(token));
        known.map_or_else(|| Self::Other(token.into()), |(_, transport)| transport)
    }

    /// The token as it is written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Sctp => "SCTP",
            Self::Ws => "WS",
            Self::Wss => "WSS",
            Self::Other(token) => token,
        }
    }
}

/// Everything before the parameters.
struct Parts<'a> {
    transport: &'a str,
    host: Host<'a>,
    port: Option<u16>,
}

impl<'a> Parts<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, Malformed> {
        cursor.skip_lws();
        let start = cursor.malformed();
        let protocol = cursor.token()?;
        cursor.expect_spaced(b'/')?;
        let version = cursor.token()?;
        if !protocol.eq_ignore_ascii_case("SIP") || version != "2.0" {
            return Err(start);
        }
        cursor.expect_spaced(b'/')?;
        let transport = cursor.token()?;
        if !cursor.peek().is_some_and(lex::is_lws) {
            return Err(cursor.malformed());
        }
        cursor.skip_lws();
        let host = host::read(cursor)?;
        // White space may stand around this colon, unlike in a URI.
        let mut ahead = cursor.clone();
        ahead.skip_lws();
        let port = host::read_port(&mut ahead)?;
        if port.is_some() {
            *cursor = ahead;
        }
        Ok(Self { transport, host, port })
    }
}

impl PartialEq for Via {
    fn eq(&self, other: &Self) -> bool {
        self.transport == other.transport
            && self.host() == other.host()
            && self.port == other.port
            && self.params == other.params
    }
}

impl Eq for Via {}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SIP/2.0/{} {}", self.transport.as_str(), self.host())?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        self.params.fmt(f)
    }
}

impl fmt::Debug for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Via({self})")
    }
}

impl FromStr for Via {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Via {
        Via::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn white_space_may_stand_almost_everywhere() {
        let via = parse(
            " SIP  / 2.0\r\n / udp   spindle.example.com : 5070 ;\r\n  branch  =   z9hG4bK9ikj8 ; rport",
        );

        assert_eq!(via.to_string(), "SIP/2.0/UDP spindle.example.com:5070;branch=z9hG4bK9ikj8;rport");
        assert_eq!(
            (via.port(), via.branch(), via.rport()),
            (Some(5070), Some("z9hG4bK9ikj8"), Some(Rport::Asked))
        );
    }

    #[test]
    fn received_is_read_with_and_without_brackets_and_written_without() {
        let seen = Some("2001:db8::9:255".parse().unwrap());
        let mut via = parse("SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bKas3-111");
        assert_eq!(via.received(), seen);
        assert_eq!(parse("SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::9:255").received(), seen);

        via.stamp("[2001:db8::7]:5060".parse().unwrap());

        assert_eq!(via.params().as_str(), ";received=2001:db8::7;branch=z9hG4bKas3-111");
    }

    /// RFC 3581 §4 and RFC 3261 §18.2.1.
    #[test]
    fn the_source_is_stamped_where_it_is_asked_for_or_differs() {
        let source = "192.0.2.9:40000".parse().unwrap();
        for (before, after) in [
            ("SIP/2.0/UDP 192.0.2.9;branch=x", ";branch=x"),
            ("SIP/2.0/UDP 10.0.0.1;branch=x", ";branch=x;received=192.0.2.9"),
            ("SIP/2.0/UDP phone;branch=x", ";branch=x;received=192.0.2.9"),
            ("SIP/2.0/UDP 192.0.2.9;rport;branch=x", ";rport=40000;branch=x;received=192.0.2.9"),
            ("SIP/2.0/UDP 192.0.2.9;rport=1;received=8.8.8.8", ";rport=40000;received=192.0.2.9"),
        ] {
            let mut via = parse(before);
            via.stamp(source);
            assert_eq!(via.params().as_str(), after, "{before}");
        }
    }

    #[test]
    fn a_response_never_goes_to_an_address_that_the_request_made_up() {
        let source = "192.0.2.9:40000".parse().unwrap();
        for (via, reply) in [
            ("SIP/2.0/UDP 203.0.113.1:5080;maddr=203.0.113.2;received=203.0.113.3", "192.0.2.9:5080"),
            ("SIP/2.0/UDP 203.0.113.1", "192.0.2.9:5060"),
            ("SIP/2.0/TLS 203.0.113.1", "192.0.2.9:5061"),
            ("SIP/2.0/UDP 203.0.113.1:5080;rport", "192.0.2.9:40000"),
        ] {
            assert_eq!(parse(via).reply_address(source), reply.parse().unwrap(), "{via}");
        }
    }

    #[test]
    fn what_is_not_a_via_is_refused() {
        for bad in [
            "",
            "SIP/2.0/UDP",
            "SIP/2.0/UDP ",
            "SIP/2.0/UDP 192.0.2.15;;,;,,",
            "SIP/7.0/UDP host",
            "HTTP/2.0/UDP host",
            "SIP/2.0/UDPhost:",
            "SIP/2.0/UDP host:99999",
            "SIP/2.0/UDP host;branch=",
            "SIP/2.0/UDP a, SIP/2.0/UDP b",
            "SIP/2.0/UDP 2001:db8::1",
            "SIP/2.0/UDP host branch=x",
        ] {
            assert!(Via::parse(bad).is_err(), "{bad:?} was read");
        }
    }

    #[test]
    fn sent_by_without_a_port_is_the_default_port() {
        assert!(parse("SIP/2.0/UDP Host;branch=a").same_sent_by(&parse("SIP/2.0/UDP host:5060;branch=b")));
        assert!(!parse("SIP/2.0/UDP host").same_sent_by(&parse("SIP/2.0/UDP host:5061")));
    }

    proptest! {
        #[test]
        fn a_via_reads_back_as_the_same(
            transport in "[A-Za-z-]{1,6}",
            host in prop_oneof!["[a-z]{1,8}(\\.[a-z]{1,3})?", any::<std::net::IpAddr>().prop_map(|ip| Host::from(ip).to_string())],
            port in proptest::option::of(any::<u16>()),
            branch in "\\PC{0,20}",
        ) {
            let text = format!("SIP/2.0/{transport} {host}");
            let port = port.map_or(String::new(), |port| format!(":{port}"));
            let via = Via::parse(format!("{text}{port}")).unwrap().with_param("branch", Some(&branch));

            prop_assert_eq!(Via::parse(via.to_string()), Ok(via));
        }

        #[test]
        fn no_text_panics(text in "SIP/2.0/UDP [ -~\r\n\t]{0,60}") {
            if let Ok(mut read) = Via::parse(&text) {
                prop_assert_eq!(Via::parse(read.to_string()), Ok(read.clone()));
                read.stamp("192.0.2.1:1".parse().unwrap());
            }
        }
    }
}
