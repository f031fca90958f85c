//! What a datagram is: its protocol by the first bytes, its meaning by the payload type.

use super::Discard;
use crate::{Codec, Negotiated};

/// RFC 3389 by its static number, which peers use without asking.
const COMFORT_NOISE: u8 = 13;

/// What the first bytes of a datagram say (RFC 7983 §7, RFC 5761 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Rtp,
    Rtcp,
}

impl Protocol {
    pub(super) fn of(datagram: &[u8]) -> Result<Self, Discard> {
        const STUN_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
        let [first, second, ..] = *datagram else { return Err(Discard::Malformed) };
        match first {
            0x80..=0xBF if (192..=223).contains(&second) => Ok(Self::Rtcp),
            0x80..=0xBF => Ok(Self::Rtp),
            0..=3 if datagram.get(4..8) == Some(&STUN_COOKIE) => Err(Discard::Stun),
            20..=63 => Err(Discard::Dtls),
            0..=0x7F | 0xC0..=0xFF => Err(Discard::NotRtp),
        }
    }
}

/// The payload types that may come in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Accepts {
    /// What the leg speaks; what the peer may switch to; what it spoke before the last renegotiation
    /// and may still have on the way.
    audio: [Option<(u8, Codec)>; 3],
    events: [Option<u8>; 2],
}

/// What a payload type means.
#[derive(Debug, Clone, Copy)]
pub(super) enum Payload {
    Audio(Codec),
    Event,
    ComfortNoise,
    Unknown,
}

impl Accepts {
    pub(super) fn new(negotiated: &Negotiated, former: Option<(u8, Codec)>) -> Self {
        let alternate = negotiated.alternate.map(|other| (other.payload_type, other.codec));
        Self {
            audio: [Some((negotiated.payload_type, negotiated.codec)), alternate, former],
            events: [negotiated.telephone_event_in, negotiated.telephone_event],
        }
    }

    pub(super) fn meaning(&self, payload_type: u8) -> Payload {
        let audio = self.audio.iter().flatten().find(|(number, _)| *number == payload_type);
        match audio {
            Some((_, codec)) => Payload::Audio(*codec),
            None if self.events.contains(&Some(payload_type)) => Payload::Event,
            None if payload_type == COMFORT_NOISE => Payload::ComfortNoise,
            None => Payload::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_that_share_a_port_are_told_apart() {
        let stun = [0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let cases: [(&[u8], Result<Protocol, Discard>); 8] = [
            (&[0x80, 0x00], Ok(Protocol::Rtp)),
            (&[0x80, 0x80], Ok(Protocol::Rtp)),
            (&[0x81, 200], Ok(Protocol::Rtcp)),
            (&stun, Err(Discard::Stun)),
            (&[22, 254, 253], Err(Discard::Dtls)),
            (b"INVITE sip:a@example.com SIP/2.0", Err(Discard::NotRtp)),
            (&[0xC0, 0x00], Err(Discard::NotRtp)),
            (&[0x80], Err(Discard::Malformed)),
        ];
        for (datagram, protocol) in cases {
            assert_eq!(Protocol::of(datagram), protocol, "{datagram:?}");
        }
    }

    #[test]
    fn the_number_agreed_on_wins_over_what_else_it_might_mean() {
        let peer = "192.0.2.1:4000".parse().unwrap();
        let negotiated = Negotiated {
            payload_type: 101,
            telephone_event_in: Some(96),
            ..Negotiated::plain(peer, Codec::Pcma)
        };
        let accepts = Accepts::new(&negotiated, Some((0, Codec::Pcmu)));

        let meanings = [101, 96, 0, 13, 8].map(|number| accepts.meaning(number));

        assert!(matches!(
            meanings,
            [
                Payload::Audio(Codec::Pcma),
                Payload::Event,
                Payload::Audio(Codec::Pcmu),
                Payload::ComfortNoise,
                Payload::Unknown
            ]
        ));
    }
}
