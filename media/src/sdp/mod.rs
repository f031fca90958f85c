//! Offer and answer of one leg: RFC 3264 over the descriptions of RFC 8866.

mod direction;
mod error;

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

pub use direction::Direction;
pub use error::{AddressFault, SdpError, Transport};

use crate::Codec;

/// What we have to offer on one leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalMedia {
    /// Where the peer shall send: an address it can reach.
    pub address: IpAddr,
    /// The RTP port; RTCP is the next one.
    pub port: u16,
    /// Codecs we speak on this leg, the preferred one first; at least one.
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
    /// What we send, and expect.
    pub codec: Codec,
    /// Its number in RTP.
    pub payload_type: u8,
    /// A second codec that the peer may switch to without asking (RFC 3264 §6.1); rewritten to `codec`
    /// when it comes in.
    pub alternate: Option<Alternate>,
    /// The number under which we send telephone events.
    pub telephone_event: Option<u8>,
    /// The number under which the peer sends them, where it differs from what it asked of us.
    pub telephone_event_in: Option<u8>,
    /// What we may send and receive.
    pub direction: Direction,
    /// The packet time the peer asks for. We send 20 ms whatever it says.
    pub ptime_ms: u16,
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
            codec,
            payload_type: codec.static_payload_type().unwrap_or(96),
            alternate: None,
            telephone_event: Some(101),
            telephone_event_in: None,
            direction: Direction::SendRecv,
            ptime_ms: 20,
        }
    }
}

/// The offer/answer machine of one leg.
#[derive(Debug)]
pub struct Negotiator {
    local: LocalMedia,
    session_id: u64,
    want: Direction,
}

impl Negotiator {
    /// Nothing said yet. `session_id` goes into `o=` and should be unique on this machine.
    pub fn new(local: LocalMedia, session_id: u64) -> Self {
        Self { local, session_id, want: Direction::SendRecv }
    }

    /// Our offer, first or again, wishing for `direction`. The version in `o=` rises only when the
    /// description differs from the one sent last (RFC 3264 §8).
    pub fn offer(&mut self, direction: Direction) -> Bytes {
        self.want = direction;
        Bytes::from(format!("v=0\r\no=- {} 1 IN IP4 {}\r\n", self.session_id, self.local.address))
    }

    /// The peer's offer, first or again, and the answer to it. Every `m=` line is answered in its place;
    /// those we cannot use get port 0.
    ///
    /// # Errors
    /// When no line can be used; the state is what it was before.
    pub fn handle_offer(&mut self, sdp: &[u8]) -> Result<(Negotiated, Bytes), SdpError> {
        let _ = sdp;
        Err(SdpError::NoAudio)
    }

    /// The peer's answer to our offer. A later answer to the same offer replaces the earlier one (a 183
    /// and then the 200, or another fork).
    ///
    /// # Errors
    /// When the answer cannot be used; the offer still waits then.
    pub fn handle_answer(&mut self, sdp: &[u8]) -> Result<Negotiated, SdpError> {
        let _ = sdp;
        Err(SdpError::NoAudio)
    }

    /// Our offer was refused: what was agreed before holds again.
    pub fn rollback(&mut self) {}

    /// What we wish from now on: it limits our answers, and is what [`Self::offer`] starts from. Send only
    /// to hold the peer, both to resume.
    pub fn want(&mut self, direction: Direction) {
        self.want = direction;
    }
}
