//! The UDP sockets of a leg: RTP on an even port, RTCP on the next one.
#![expect(clippy::disallowed_types, reason = "a shell: it has the sockets")]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Instant;

use super::ports::PortPool;

/// Pairs that are tried for one leg before it is given up: others may hold some of ours.
const ATTEMPTS: usize = 16;

/// The most room a datagram needs here: beyond, no codec of ours goes.
pub(super) const DATAGRAM: usize = 2048;

/// One leg's sockets.
#[derive(Debug)]
pub(super) struct LegSockets {
    pub(super) rtp: UdpSocket,
    pub(super) rtcp: UdpSocket,
    pub(super) port: u16,
}

/// Why there are none.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoSockets {
    /// All pairs are in use or resting.
    #[error("no RTP port is free")]
    NoPort,
    /// The system said no, for the last pair that was tried.
    #[error("cannot bind RTP port {port}: {error}")]
    Bind { port: u16, error: io::Error },
}

impl LegSockets {
    /// Binds a pair on `address`; where that is not an address of this machine (behind NAT), on all of them.
    /// `class` is the traffic class (RFC 4594: voice is 46 shifted by two).
    pub(super) fn open(
        now: Instant,
        ports: &mut PortPool,
        address: IpAddr,
        class: u8,
    ) -> Result<Self, NoSockets> {
        let mut last = NoSockets::NoPort;
        for _ in 0..ATTEMPTS {
            let Some(port) = ports.take(now) else { return Err(last) };
            match bind_pair(address, port) {
                Ok((rtp, rtcp)) => {
                    // A host that forbids it still carries voice.
                    let _ = match address {
                        IpAddr::V4(_) => rustix::net::sockopt::set_ip_tos(&rtp, class),
                        IpAddr::V6(_) => rustix::net::sockopt::set_ipv6_tclass(&rtp, class.into()),
                    };
                    return Ok(Self { rtp, rtcp, port });
                }
                Err(error) => {
                    ports.give_back(now, port);
                    let taken = error.kind() == io::ErrorKind::AddrInUse;
                    last = NoSockets::Bind { port, error };
                    if !taken {
                        return Err(last);
                    }
                }
            }
        }
        Err(last)
    }

    /// Where RTCP goes out from: `shared` with RTP (RFC 5761), or on its own.
    pub(super) fn report(&self, shared: bool) -> &UdpSocket {
        if shared { &self.rtp } else { &self.rtcp }
    }
}

fn bind_pair(address: IpAddr, port: u16) -> io::Result<(UdpSocket, UdpSocket)> {
    let any = match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let rtp = match bind(address, port) {
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => bind(any, port)?,
        bound => bound?,
    };
    let rtcp = bind(rtp.local_addr()?.ip(), port + 1)?;
    Ok((rtp, rtcp))
}

fn bind(address: IpAddr, port: u16) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(SocketAddr::new(address, port))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
