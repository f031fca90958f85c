//! Session descriptions of one leg: RFC 8866, offered and answered by RFC 3264.
//!
//! One audio stream a leg. What the peer offers beside it (video, a second audio line, fax) is answered with
//! port 0 in its place. Keys of SRTP are exchanged in `a=crypto` (RFC 4568), or come from a DTLS handshake that
//! `a=fingerprint` and `a=setup` speak of (RFC 5763). RTCP shares RTP's port where both sides say so (RFC 5761). Left out: bundling, ICE,
//! preconditions and capability negotiation, all of which a peer must be able to live without.

mod crypto;
mod description;
mod direction;
mod error;
mod negotiator;
mod setup;

use std::net::{IpAddr, SocketAddr};

pub use crypto::{SrtpKeying, SrtpKeys, SrtpPolicy};
pub use direction::Direction;
pub use error::{AddressFault, SdpError, Transport};
pub use negotiator::Negotiator;

use crate::{Codec, DtlsTerms};

/// What we have to offer on one leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalMedia {
    /// Where the peer shall send: an address it can reach.
    pub address: IpAddr,
    /// The RTP port; RTCP is the next one.
    pub port: u16,
    /// Codecs we speak on this leg, the preferred one first; at least one. Whether that one is narrow or wide decides which the
    /// answer to an offer prefers.
    pub codecs: Vec<Codec>,
    /// Whether we speak telephone-event (RFC 4733).
    pub telephone_event: bool,
    /// The packet time we ask for.
    pub ptime_ms: u16,
}

/// What both sides agreed on, enough to run a [`crate::Session`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// Where the peer wants its RTP; port 0 where it wants none.
    pub rtp: SocketAddr,
    /// Where the peer wants its RTCP (RFC 3605, else the port after `rtp`); port 0 where there is none.
    pub rtcp: SocketAddr,
    /// RTCP goes from and to the port of RTP, both ways (RFC 5761).
    pub rtcp_mux: bool,
    /// What we send, and expect.
    pub codec: Codec,
    /// Its number in RTP.
    pub payload_type: u8,
    /// A second codec that the peer may switch to without asking (RFC 3264 §6.1); handed out as `codec` would be.
    pub alternate: Option<Alternate>,
    /// The number under which we send telephone events.
    pub telephone_event: Option<u8>,
    /// The clock of their durations, both ways, in Hz.
    pub event_clock: u32,
    /// The number under which the peer sends them, where it differs from what it asked of us.
    pub telephone_event_in: Option<u8>,
    /// What we may send and receive.
    pub direction: Direction,
    /// The packet time the peer asks for. We send 20 ms whatever it says.
    pub ptime_ms: u16,
    /// What RTP and RTCP are encrypted with, where they are.
    pub srtp: Option<SrtpKeys>,
    /// The handshake that such keys come from instead.
    pub dtls: Option<DtlsTerms>,
}

/// Another codec that may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alternate {
    /// What it is.
    pub codec: Codec,
    /// Its number in RTP.
    pub payload_type: u8,
}

impl Negotiated {
    /// The usual outcome: `codec` under its static number both ways, telephone events as 101, RTCP on the
    /// next port.
    pub fn plain(rtp: SocketAddr, codec: Codec) -> Self {
        let rtcp = SocketAddr::new(rtp.ip(), rtp.port().checked_add(1).unwrap_or(0));
        Self {
            rtp,
            rtcp,
            rtcp_mux: false,
            codec,
            payload_type: codec.static_payload_type().unwrap_or(96),
            alternate: None,
            telephone_event: Some(101),
            event_clock: 8_000,
            telephone_event_in: None,
            direction: Direction::SendRecv,
            ptime_ms: 20,
            srtp: None,
            dtls: None,
        }
    }
}
