//! Why a session description cannot be used.

/// What one description can suffer. [`Self::warning_code`] is for the 488 that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// There is no audio line that is switched on.
    #[error("no audio stream is offered")]
    NoAudio,
    /// A description came longer than we read.
    #[error("the description is longer than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// More media lines than we keep.
    #[error("more than {limit} media lines")]
    TooManyMedia {
        /// The limit.
        limit: usize,
    },
    /// Not a description by RFC 8866.
    #[error("line {line} is malformed")]
    Malformed {
        /// Counted from 1; 0 for the description as a whole.
        line: usize,
    },
    /// No codec in common.
    #[error("none of the offered audio formats is supported")]
    NoCommonCodec,
    /// No stream is encrypted, and this leg wants no other.
    #[error("SRTP is required")]
    SrtpRequired,
    /// SRTP without a key that we could use, or in an answer with another one than offered.
    #[error("no a=crypto line can be used")]
    NoCommonCrypto,
    /// DTLS without a fingerprint that we could check a certificate against, or without a part for us in the handshake.
    #[error("a=fingerprint or a=setup cannot be used")]
    NoHandshake,
    /// Audio only by a transport that we do not speak, or SRTP where it is off.
    #[error("{0} is not supported on this trunk")]
    Transport(Transport),
    /// The peer's address is a host name, a multicast group or nothing at all.
    #[error("the media address is {0}")]
    Address(AddressFault),
    /// An answer without an offer of ours.
    #[error("there is no offer that this could answer")]
    NoOffer,
    /// An offer while ours waits (glare: SIP answers 491, RFC 3261 §14.2).
    #[error("our own offer is not answered yet")]
    OfferPending,
    /// The answer has not the same media lines as the offer (RFC 3264 §6).
    #[error("the answer has {found} media lines where the offer had {expected}")]
    LineCount {
        /// As offered.
        expected: usize,
        /// As answered.
        found: usize,
    },
    /// The peer refused our audio (port 0).
    #[error("the audio stream was refused")]
    Refused,
}

/// Transports that are told apart because their refusal means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// SRTP keyed by SDES (RTP/SAVP, RTP/SAVPF).
    Srtp,
    /// SRTP keyed by DTLS (UDP/TLS/RTP/SAVP, UDP/TLS/RTP/SAVPF).
    DtlsSrtp,
    /// Anything else.
    Unknown,
}

/// What is wrong with an address in `c=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressFault {
    /// There is no `c=` line for this stream.
    Missing,
    /// Not an IP address: a host name, another network, garbage.
    NotAnIpAddress,
    /// A group, not a peer.
    Multicast,
    /// IPv6 where we have IPv4, or the other way round.
    OtherFamily,
}

impl SdpError {
    /// The `warn-code` of RFC 3261 §20.43.
    pub fn warning_code(self) -> u16 {
        match self {
            Self::NoAudio => 304,
            Self::NoCommonCodec => 305,
            Self::Transport(_) | Self::SrtpRequired | Self::NoCommonCrypto | Self::NoHandshake => 302,
            Self::Address(AddressFault::Multicast) => 330,
            Self::Address(AddressFault::NotAnIpAddress) => 300,
            Self::Address(AddressFault::OtherFamily) => 301,
            Self::Address(AddressFault::Missing)
            | Self::TooLong { .. }
            | Self::TooManyMedia { .. }
            | Self::Malformed { .. }
            | Self::NoOffer
            | Self::OfferPending
            | Self::LineCount { .. }
            | Self::Refused => 399,
        }
    }
}

impl std::fmt::Display for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Srtp => "SRTP",
            Self::DtlsSrtp => "DTLS-SRTP",
            Self::Unknown => "this transport",
        })
    }
}

impl std::fmt::Display for AddressFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::NotAnIpAddress => "not an IP address",
            Self::Multicast => "a multicast group",
            Self::OtherFamily => "of another IP version than ours",
        })
    }
}
