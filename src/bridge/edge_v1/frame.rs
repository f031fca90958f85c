//! The binary frames of `edge.v1`: a header of 16 bytes, big-endian, and the audio.
//!
//! ```text
//!    0       1       2       3       4       8           12                  16
//!   +-------+-------+-------+-------+-------+-----------+-------------------+-------
//!   | kind  | track | flags | codec | seq   | media     | capture ms (up)   | audio
//!   |       |       |       |       |       | time      | segment (down)    |
//!   +-------+-------+-------+-------+-------+-----------+-------------------+-------
//! ```
//!
//! Kind 2, several records in one message, belongs to the multiplexed form and is refused here.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use media::{AudioFormat, SampleRate};

/// Bytes before the audio.
pub const HEADER_LENGTH: usize = 16;

/// Where the flags stand in the header.
pub(super) const FLAGS_AT: usize = 2;

/// The highest number that an engine may give a segment; those above are the edge's own, for announcements.
pub const HIGHEST_SEGMENT: u32 = u32::MAX / 2;

/// What a binary message holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// One record of audio.
    Audio,
}

/// Whose audio it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Track {
    /// The party the call began with.
    First,
    /// The party that came second.
    Second,
    /// The engine.
    Engine,
    /// The engine, heard by the second party alone.
    Whisper,
}

/// What may be said of a frame, one bit each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FrameFlags(u8);

/// How the audio is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameCodec {
    /// G.711 mu-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// 16-bit linear, 8 kHz, little-endian.
    L16Narrow,
    /// The same at 16 kHz: all that a wideband call has.
    L16Wide,
    /// The same at 24 kHz, what many models speak.
    L16At24,
}

/// The header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// What follows.
    pub kind: FrameKind,
    /// Whose.
    pub track: Track,
    /// About it.
    pub flags: FrameFlags,
    /// How it is laid out.
    pub codec: FrameCodec,
    /// Counts the frames of a track and direction from 0; wraps.
    pub sequence: u32,
    /// Samples at the track's clock; wraps.
    pub media_time: u32,
    /// To the engine: milliseconds from `start` to the arrival of the audio. From the engine: the segment.
    pub capture_or_segment: u32,
}

/// Why a binary message is not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Fewer bytes than a header has.
    #[error("{0} bytes are no frame: the header alone has 16")]
    Short(usize),
    /// Not 1.
    #[error("frames of kind {0} are not part of edge.v1")]
    Kind(u8),
    /// Not 0 to 3.
    #[error("there is no track {0}")]
    Track(u8),
    /// From 5: not spoken here (yet).
    #[error("codec {0} is not spoken on this call: choose one of start.audio.codecs")]
    Codec(u8),
    /// A track that the engine may not speak on.
    #[error("an engine speaks on track 2 here, not on {0}")]
    NotYours(u8),
    /// Above [`HIGHEST_SEGMENT`].
    #[error("segment {0} is above 2147483647")]
    Segment(u32),
}

impl FrameError {
    /// The stable code that engines see.
    pub fn code(self) -> &'static str {
        match self {
            Self::Short(_) => "frame.short",
            Self::Kind(_) => "frame.kind",
            Self::Track(_) | Self::NotYours(_) => "frame.track",
            Self::Codec(_) => "frame.codec",
            Self::Segment(_) => "frame.segment",
        }
    }
}

impl FrameKind {
    const AUDIO: u8 = 1;
}

impl Track {
    /// As in the header.
    pub fn to_byte(self) -> u8 {
        match self {
            Self::First => 0,
            Self::Second => 1,
            Self::Engine => 2,
            Self::Whisper => 3,
        }
    }

    fn from_byte(byte: u8) -> Result<Self, FrameError> {
        [Self::First, Self::Second, Self::Engine, Self::Whisper]
            .into_iter()
            .find(|track| track.to_byte() == byte)
            .ok_or(FrameError::Track(byte))
    }
}

impl FrameFlags {
    /// Something before it is missing.
    pub const DISCONTINUITY: Self = Self(1);
    /// Made up in place of what was lost.
    pub const CONCEALED: Self = Self(2);
    /// No speech in it.
    pub const SILENCE: Self = Self(4);
    /// Speech in it.
    pub const SPEECH: Self = Self(8);
    /// Sent before.
    pub const REPLAY: Self = Self(16);
    /// Nothing more comes for its segment.
    pub const END_OF_SEGMENT: Self = Self(32);

    /// These bits; unknown ones are kept, and mean nothing.
    pub fn from_byte(byte: u8) -> Self {
        Self(byte)
    }

    /// As in the header.
    pub fn to_byte(self) -> u8 {
        self.0
    }

    /// Whether all of `other` is said.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::ops::BitOr for FrameFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl FrameCodec {
    /// All that are spoken, the one nobody refuses first.
    pub const ALL: [Self; 5] = [Self::Pcmu, Self::Pcma, Self::L16Narrow, Self::L16Wide, Self::L16At24];

    /// As in the header.
    pub fn to_byte(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 1,
            Self::L16Narrow => 2,
            Self::L16Wide => 3,
            Self::L16At24 => 4,
        }
    }

    fn from_byte(byte: u8) -> Result<Self, FrameError> {
        Self::ALL.into_iter().find(|codec| codec.to_byte() == byte).ok_or(FrameError::Codec(byte))
    }

    /// As in `start` and `accept`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "pcmu",
            Self::Pcma => "pcma",
            Self::L16Narrow => "l16_8k",
            Self::L16Wide => "l16_16k",
            Self::L16At24 => "l16_24k",
        }
    }

    /// The codec of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }

    /// The layout of its audio.
    pub fn format(self) -> AudioFormat {
        match self {
            Self::Pcmu => AudioFormat::Pcmu,
            Self::Pcma => AudioFormat::Pcma,
            Self::L16Narrow => AudioFormat::L16 { rate: SampleRate::Hz8000 },
            Self::L16Wide => AudioFormat::L16 { rate: SampleRate::Hz16000 },
            Self::L16At24 => AudioFormat::L16 { rate: SampleRate::Hz24000 },
        }
    }
}

impl FrameHeader {
    /// As on the wire.
    pub fn to_bytes(self) -> [u8; HEADER_LENGTH] {
        let FrameKind::Audio = self.kind;
        let mut bytes = [0; HEADER_LENGTH];
        bytes[0] = FrameKind::AUDIO;
        bytes[1] = self.track.to_byte();
        bytes[2] = self.flags.to_byte();
        bytes[3] = self.codec.to_byte();
        bytes[4..8].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.media_time.to_be_bytes());
        bytes[12..].copy_from_slice(&self.capture_or_segment.to_be_bytes());
        bytes
    }

    /// Splits a message into header and audio.
    ///
    /// # Errors
    /// When it is too short, or names what there is not.
    pub fn parse(message: &[u8]) -> Result<(Self, &[u8]), FrameError> {
        let Some((header, audio)) = message.split_first_chunk::<HEADER_LENGTH>() else {
            return Err(FrameError::Short(message.len()));
        };
        let [kind, track, flags, codec, s0, s1, s2, s3, m0, m1, m2, m3, c0, c1, c2, c3] = *header;
        if kind != FrameKind::AUDIO {
            return Err(FrameError::Kind(kind));
        }
        let header = Self {
            kind: FrameKind::Audio,
            track: Track::from_byte(track)?,
            flags: FrameFlags::from_byte(flags),
            codec: FrameCodec::from_byte(codec)?,
            sequence: u32::from_be_bytes([s0, s1, s2, s3]),
            media_time: u32::from_be_bytes([m0, m1, m2, m3]),
            capture_or_segment: u32::from_be_bytes([c0, c1, c2, c3]),
        };
        Ok((header, audio))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers() -> impl Strategy<Value = FrameHeader> {
        let tracks = prop::sample::select(vec![Track::First, Track::Second, Track::Engine, Track::Whisper]);
        let codecs = prop::sample::select(FrameCodec::ALL.to_vec());
        (tracks, any::<u8>(), codecs, any::<u32>(), any::<u32>(), any::<u32>()).prop_map(
            |(track, flags, codec, sequence, media_time, capture_or_segment)| FrameHeader {
                kind: FrameKind::Audio,
                track,
                flags: FrameFlags::from_byte(flags),
                codec,
                sequence,
                media_time,
                capture_or_segment,
            },
        )
    }

    proptest! {
        #[test]
        fn a_header_reads_back_as_it_was_written(header in headers(), audio: Vec<u8>) {
            let mut message = header.to_bytes().to_vec();
            message.extend_from_slice(&audio);

            prop_assert_eq!(FrameHeader::parse(&message), Ok((header, &audio[..])));
        }

        #[test]
        fn what_is_read_writes_back_as_it_came(message: Vec<u8>) {
            if let Ok((header, audio)) = FrameHeader::parse(&message) {
                let mut again = header.to_bytes().to_vec();
                again.extend_from_slice(audio);
                prop_assert_eq!(again, message);
            }
        }
    }

    #[test]
    fn what_there_is_not_is_named_in_the_refusal() {
        let header = [1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let with = |at: usize, byte: u8| {
            let mut header = header;
            header[at] = byte;
            FrameHeader::parse(&header).map(|_| ())
        };

        assert_eq!(FrameHeader::parse(&header[..15]).map(|_| ()), Err(FrameError::Short(15)));
        assert_eq!(with(0, 2), Err(FrameError::Kind(2)));
        assert_eq!(with(1, 4), Err(FrameError::Track(4)));
        assert_eq!(with(3, 5), Err(FrameError::Codec(5)));
        assert_eq!(with(0, 1), Ok(()));
    }
}
