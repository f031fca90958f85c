//! Just enough of pcap and pcapng to get the UDP payloads out of a capture, whatever its byte order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// One UDP datagram of a capture.
#[derive(Debug, Clone)]
pub(crate) struct Datagram {
    /// Since the first one.
    pub(crate) at: Duration,
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) payload: Vec<u8>,
}

/// All UDP datagrams that are whole; what cannot be read is passed over.
pub(crate) fn datagrams(file: &[u8]) -> Vec<Datagram> {
    let frames = match file.get(..4) {
        Some([0x0A, 0x0D, 0x0D, 0x0A]) => next_generation(file),
        Some(_) => classic(file).unwrap_or_default(),
        None => Vec::new(),
    };
    let mut found = Vec::new();
    for (link, micros, frame) in frames {
        if let Some((from, to, payload)) = network(link, frame).and_then(udp) {
            let at = Duration::from_micros(micros);
            found.push(Datagram { at, from, to, payload: payload.to_vec() });
        }
    }
    let first = found.first().map_or(Duration::ZERO, |datagram| datagram.at);
    for datagram in &mut found {
        datagram.at = datagram.at.saturating_sub(first);
    }
    found
}

/// Link type, time in microseconds, bytes.
type Frames<'a> = Vec<(u32, u64, &'a [u8])>;

#[derive(Clone, Copy)]
struct Order {
    little: bool,
}

impl Order {
    fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let word: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(if self.little { u32::from_le_bytes(word) } else { u32::from_be_bytes(word) })
    }

    fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let word: [u8; 2] = bytes.get(at..at + 2)?.try_into().ok()?;
        Some(if self.little { u16::from_le_bytes(word) } else { u16::from_be_bytes(word) })
    }
}

fn classic(file: &[u8]) -> Option<Frames<'_>> {
    let order = Order { little: file[0] != 0xA1 };
    let link = order.u32(file, 20)?;
    let mut frames = Vec::new();
    let mut at = 24;
    while let (Some(seconds), Some(micros), Some(length)) =
        (order.u32(file, at), order.u32(file, at + 4), order.u32(file, at + 8))
    {
        let Some(frame) = file.get(at + 16..at + 16 + length as usize) else { break };
        frames.push((link, u64::from(seconds) * 1_000_000 + u64::from(micros), frame));
        at += 16 + length as usize;
    }
    Some(frames)
}

fn next_generation(file: &[u8]) -> Frames<'_> {
    const SECTION: u32 = 0x0A0D_0D0A;
    const INTERFACE: u32 = 1;
    const PACKET: u32 = 6;
    let mut order = Order { little: true };
    let mut links = Vec::new();
    let mut frames = Vec::new();
    let mut at = 0;
    while let Some(block) = file.get(at..) {
        if order.u32(block, 0) == Some(SECTION) {
            order = Order { little: block.get(8) == Some(&0x4D) };
            links.clear();
        }
        let (Some(kind), Some(length)) = (order.u32(block, 0), order.u32(block, 4)) else { break };
        match kind {
            INTERFACE => links.push(u32::from(order.u16(block, 8).unwrap_or(0))),
            PACKET => frames.extend(enhanced(order, &links, block)),
            _ => {}
        }
        at += (length as usize).max(12);
    }
    frames
}

/// An enhanced packet block; times are taken for microseconds, the default.
fn enhanced<'a>(order: Order, links: &[u32], block: &'a [u8]) -> Option<(u32, u64, &'a [u8])> {
    let link = *links.get(order.u32(block, 8)? as usize)?;
    let micros = u64::from(order.u32(block, 12)?) << 32 | u64::from(order.u32(block, 16)?);
    let length = order.u32(block, 20)? as usize;
    Some((link, micros, block.get(28..28 + length)?))
}

/// The IP packet of a frame: Ethernet with VLAN tags, Linux "cooked", loopback, raw.
fn network(link: u32, frame: &[u8]) -> Option<&[u8]> {
    match link {
        1 => {
            let mut at = 12;
            while matches!(frame.get(at..at + 2)?, [0x81, 0x00] | [0x88, 0xA8]) {
                at += 4;
            }
            frame.get(at + 2..)
        }
        113 => frame.get(16..),
        0 => frame.get(4..),
        101 => Some(frame),
        _ => None,
    }
}

fn udp(packet: &[u8]) -> Option<(SocketAddr, SocketAddr, &[u8])> {
    let (from, to, datagram): (IpAddr, IpAddr, &[u8]) = match packet.first()? >> 4 {
        4 => {
            let header = 4 * usize::from(packet[0] & 0x0F);
            let address = |at: usize| -> Option<Ipv4Addr> {
                let octets: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
                Some(octets.into())
            };
            if *packet.get(9)? != 17 {
                return None;
            }
            (address(12)?.into(), address(16)?.into(), packet.get(header..)?)
        }
        6 => {
            let address = |at: usize| -> Option<Ipv6Addr> {
                let octets: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
                Some(octets.into())
            };
            if *packet.get(6)? != 17 {
                return None;
            }
            (address(8)?.into(), address(24)?.into(), packet.get(40..)?)
        }
        _ => return None,
    };
    let network = Order { little: false };
    let length = usize::from(network.u16(datagram, 4)?);
    let payload = datagram.get(8..length.min(datagram.len()))?;
    let port = |at: usize| network.u16(datagram, at);
    Some((SocketAddr::new(from, port(0)?), SocketAddr::new(to, port(2)?), payload))
}
