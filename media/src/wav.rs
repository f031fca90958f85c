//! WAV files, as far as announcements and tests need them.

use crate::AudioFormat;

/// Audio of a WAV file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wav<'a> {
    /// How `data` is laid out.
    pub format: AudioFormat,
    /// The samples, as they stand in the file.
    pub data: &'a [u8],
}

/// Why a file is not a WAV that we can play.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WavError {
    /// No `RIFF`…`WAVE` at the beginning.
    #[error("not a RIFF/WAVE file")]
    NotWave,
    /// The file ends inside of a chunk.
    #[error("the file ends inside of its {0} chunk")]
    Truncated(&'static str),
    /// A chunk that must be there is not.
    #[error("the {0} chunk is missing")]
    Missing(&'static str),
    /// Not PCM 16 bit, mu-law or A-law.
    #[error("format {tag} with {bits} bits a sample; we read PCM 16 bit (1), A-law (6) and mu-law (7)")]
    Format {
        /// The format tag.
        tag: u16,
        /// Bits a sample.
        bits: u16,
    },
    /// Not one channel.
    #[error("{0} channels; we read mono")]
    Channels(u16),
    /// Not 8,000 Hz.
    #[error("{0} Hz; we read 8000 Hz")]
    Rate(u32),
}

impl<'a> Wav<'a> {
    /// Reads a file: PCM 16 bit, mu-law or A-law, 8,000 Hz, mono; anything else says what it is.
    pub fn parse(file: &'a [u8]) -> Result<Self, WavError> {
        let _ = file;
        Err(WavError::NotWave)
    }

    /// The whole file as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        Vec::new()
    }

    /// The samples as 16-bit linear.
    pub fn to_linear(&self) -> Vec<i16> {
        Vec::new()
    }
}
