//! Where messages come from and go to. Addresses only; the sockets are the shell's.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::transaction::Carriage;

/// How a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// One datagram a message.
    Udp,
    /// A plain stream.
    Tcp,
    /// A stream inside TLS.
    Tls,
}

impl Transport {
    /// The word in a Via (RFC 3261 §20.42).
    pub fn as_via(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }

    /// The value of a URI's `transport` parameter (RFC 3261 §19.1.1; `tls` is RFC 2543's and what peers expect).
    pub fn as_param(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }

    /// Reads the value of a URI's `transport` parameter, in any case.
    pub fn from_param(value: &str) -> Option<Self> {
        [Self::Udp, Self::Tcp, Self::Tls]
            .into_iter()
            .find(|known| known.as_param().eq_ignore_ascii_case(value))
    }

    /// The port of a SIP URI or Via that names none (RFC 3261 §19.1.2).
    pub fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
        }
    }

    /// Whether messages can be lost on the way.
    pub fn carriage(self) -> Carriage {
        match self {
            Self::Udp => Carriage::Datagram,
            Self::Tcp | Self::Tls => Carriage::Stream,
        }
    }
}

/// One open stream. The shell gives out the numbers and never uses one twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Where a message came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flow {
    /// How it came.
    pub transport: Transport,
    /// Our own address that received it: [`crate::Local::bind`], or the stream's local end.
    pub local: SocketAddr,
    /// The address it came from.
    pub peer: SocketAddr,
    /// The stream it came on; `None` for datagrams.
    pub connection: Option<ConnectionId>,
}

/// Where a request shall go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// How.
    pub transport: Transport,
    /// To whom.
    pub address: SocketAddr,
}

/// One message for the shell to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// How.
    pub transport: Transport,
    /// The listener to send from. `None` on TCP and TLS: a stream is not opened from the port that listens.
    pub local: Option<SocketAddr>,
    /// To whom.
    pub to: SocketAddr,
    /// The stream to use while it is open. `None` on TCP and TLS: use any stream to `to`, or open one.
    pub connection: Option<ConnectionId>,
    /// The whole message.
    pub payload: Bytes,
}
