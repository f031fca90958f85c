//! The audio of a WAV file, and of its pieces in the time that a call would hear them.

use std::path::Path;

use media::{Wav, WavEncoding};

use super::Fault;

/// A file's audio as linear samples.
#[derive(Debug)]
pub(super) struct Audio {
    pub(super) encoding: WavEncoding,
    /// In Hz.
    pub(super) rate: u32,
    /// One for mono, two for stereo.
    pub(super) channels: Vec<Vec<i16>>,
}

impl Audio {
    pub(super) fn read(path: &Path) -> Result<Self, Fault> {
        let file = std::fs::read(path)?;
        let wav = Wav::parse(&file)?;
        let channels = (0..wav.channels).map(|number| wav.channel(number)).collect();
        Ok(Self { encoding: wav.encoding, rate: wav.rate, channels })
    }

    pub(super) fn duration_ms(&self) -> u64 {
        let samples = self.channels.first().map_or(0, Vec::len) as u64;
        samples * 1_000 / u64::from(self.rate)
    }
}
