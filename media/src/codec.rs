//! What audio is called in SDP and RTP: RFC 3551 §6.

use crate::{AudioFormat, SampleRate};

/// A codec that a leg can speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// G.711 mu-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// G.722 at 64 kbit/s: 16,000 samples a second under a clock of 8,000 Hz, by an old mistake (RFC 3551 §4.5.2).
    G722,
    /// Opus (RFC 6716, RFC 7587), one channel.
    Opus,
}

impl Codec {
    /// All of them, the one nobody refuses first.
    pub const ALL: [Self; 4] = [Self::Pcmu, Self::Pcma, Self::G722, Self::Opus];

    /// What is spoken unless somebody asks for more: Opus costs several times what the rest of a call does.
    pub const USUAL: [Self; 3] = [Self::Pcmu, Self::Pcma, Self::G722];

    /// The encoding name of `a=rtpmap`. Names are compared without case (RFC 8866 §6.6).
    pub fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::G722 => "G722",
            Self::Opus => "opus",
        }
    }

    /// The RTP clock in Hz, as written in `a=rtpmap`.
    pub fn clock_rate(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => 8_000,
            Self::Opus => 48_000,
        }
    }

    /// The number that needs no `a=rtpmap`; nothing where numbers are dynamic.
    pub fn static_payload_type(self) -> Option<u8> {
        match self {
            Self::Pcmu => Some(0),
            Self::Pcma => Some(8),
            Self::G722 => Some(9),
            Self::Opus => None,
        }
    }

    /// The codec behind a static payload type.
    pub fn from_static(payload_type: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.static_payload_type() == Some(payload_type))
    }

    /// Channels as written in `a=rtpmap`: Opus always says two, whatever it carries (RFC 7587 §7).
    pub fn channels(self) -> u8 {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => 1,
            Self::Opus => 2,
        }
    }

    /// The codec of an `a=rtpmap` encoding name, clock and number of channels.
    pub fn from_rtpmap(name: &str, clock_rate: u32, channels: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| {
            codec.name().eq_ignore_ascii_case(name)
                && codec.clock_rate() == clock_rate
                && codec.channels() == channels
        })
    }

    /// What a far end that sends us this codec should know (`a=fmtp`).
    pub(crate) fn parameters(self) -> Option<&'static str> {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => None,
            // What is lost may be in the next packet; more than a telephone's width is not passed on.
            Self::Opus => Some("useinbandfec=1;maxplaybackrate=16000;sprop-maxcapturerate=16000;stereo=0"),
        }
    }

    /// How a session that speaks this codec hands out and takes audio: G.711 as it is, everything else decoded.
    pub fn format(self) -> AudioFormat {
        match self {
            Self::Pcmu => AudioFormat::Pcmu,
            Self::Pcma => AudioFormat::Pcma,
            Self::G722 | Self::Opus => AudioFormat::L16 { rate: SampleRate::Hz16000 },
        }
    }

    /// Whether it carries more than the telephone's 3,400 Hz.
    pub fn is_wide(self) -> bool {
        self.format().rate() != SampleRate::Hz8000
    }

    /// Ticks of the RTP clock in one beat.
    pub(crate) fn ticks_per_beat(self) -> u32 {
        self.clock_rate() / 50
    }

    /// Ticks of the RTP clock in 1/8,000 s.
    pub(crate) fn ticks_per_unit(self) -> u32 {
        self.clock_rate() / 8_000
    }

    /// How long a payload's audio lasts, in 1/8,000 s.
    pub(crate) fn length_of(self, payload: &[u8]) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => payload.len() as u32,
            Self::Opus => opus::packet::get_nb_samples(payload, 8_000).map_or(0, |samples| samples as u32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_codec_is_found_by_its_name_in_any_case_and_by_its_number() {
        for codec in Codec::ALL {
            let name = codec.name().to_ascii_lowercase();

            assert_eq!(Codec::from_rtpmap(&name, codec.clock_rate(), codec.channels()), Some(codec));
            let by_number = codec.static_payload_type().map(Codec::from_static);
            assert!(by_number.is_none_or(|found| found == Some(codec)));
        }
    }

    #[test]
    fn another_clock_or_number_is_another_codec() {
        assert_eq!(Codec::from_rtpmap("PCMU", 16_000, 1), None);
        assert_eq!(Codec::from_rtpmap("G729", 8_000, 1), None);
        assert_eq!(Codec::from_static(18), None);
    }
}
