//! Why a datagram was not used.

/// What one datagram can suffer. Each is counted in [`DiscardCounts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Discard {
    /// Too short or its lengths lie.
    #[error("malformed packet")]
    Malformed,
    /// Not RTP by its first byte.
    #[error("not RTP")]
    NotRtp,
    /// STUN, which nobody negotiated.
    #[error("STUN")]
    Stun,
    /// DTLS that nobody negotiated, or that a handshake has no use for.
    #[error("DTLS")]
    Dtls,
    /// RTCP on the RTP port, or RTP on the RTCP port.
    #[error("sent to the wrong port of the pair")]
    WrongPort,
    /// Its tag is not one the peer made: SRTP only.
    #[error("forged packet")]
    Forged,
    /// Before the handshake came to the keys that it needs.
    #[error("there are no keys yet")]
    Unkeyed,
    /// From an address that is not the peer's.
    #[error("from another source")]
    Source,
    /// Of a stream that is not (yet) the peer's.
    #[error("of another stream")]
    Ssrc,
    /// A payload type that was not negotiated.
    #[error("payload type {0} was not negotiated")]
    PayloadType(u8),
    /// More audio in one packet than we take (60 ms).
    #[error("payload too large")]
    TooLarge,
    /// Seen before.
    #[error("duplicate")]
    Duplicate,
    /// Its turn is over.
    #[error("late")]
    Late,
    /// A jump in the sequence that the next packet must confirm.
    #[error("sequence jump")]
    Jump,
    /// The reorder window is full of frames nobody took.
    #[error("reorder window full")]
    WindowFull,
    /// The direction forbids the peer to send.
    #[error("the peer should not send now")]
    Direction,
}

/// How often each happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiscardCounts {
    /// See [`Discard::Malformed`].
    pub malformed: u64,
    /// See [`Discard::NotRtp`].
    pub not_rtp: u64,
    /// See [`Discard::Stun`].
    pub stun: u64,
    /// See [`Discard::Dtls`].
    pub dtls: u64,
    /// See [`Discard::WrongPort`].
    pub wrong_port: u64,
    /// See [`Discard::Forged`].
    pub forged: u64,
    /// See [`Discard::Unkeyed`].
    pub unkeyed: u64,
    /// See [`Discard::Source`].
    pub source: u64,
    /// See [`Discard::Ssrc`].
    pub ssrc: u64,
    /// See [`Discard::PayloadType`].
    pub payload_type: u64,
    /// See [`Discard::TooLarge`].
    pub too_large: u64,
    /// See [`Discard::Duplicate`].
    pub duplicate: u64,
    /// See [`Discard::Late`].
    pub late: u64,
    /// See [`Discard::Jump`].
    pub jump: u64,
    /// See [`Discard::WindowFull`].
    pub window_full: u64,
    /// See [`Discard::Direction`].
    pub direction: u64,
}

impl DiscardCounts {
    /// Counts one and hands it back.
    pub(super) fn count(&mut self, discard: Discard) -> Discard {
        let counter = match discard {
            Discard::Malformed => &mut self.malformed,
            Discard::NotRtp => &mut self.not_rtp,
            Discard::Stun => &mut self.stun,
            Discard::Dtls => &mut self.dtls,
            Discard::WrongPort => &mut self.wrong_port,
            Discard::Forged => &mut self.forged,
            Discard::Unkeyed => &mut self.unkeyed,
            Discard::Source => &mut self.source,
            Discard::Ssrc => &mut self.ssrc,
            Discard::PayloadType(_) => &mut self.payload_type,
            Discard::TooLarge => &mut self.too_large,
            Discard::Duplicate => &mut self.duplicate,
            Discard::Late => &mut self.late,
            Discard::Jump => &mut self.jump,
            Discard::WindowFull => &mut self.window_full,
            Discard::Direction => &mut self.direction,
        };
        *counter += 1;
        discard
    }

    /// All of them together.
    pub fn total(&self) -> u64 {
        self.malformed
            + self.not_rtp
            + self.stun
            + self.dtls
            + self.wrong_port
            + self.forged
            + self.unkeyed
            + self.source
            + self.ssrc
            + self.payload_type
            + self.too_large
            + self.duplicate
            + self.late
            + self.jump
            + self.window_full
            + self.direction
    }
}
