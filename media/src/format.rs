//! The audio that engines speak, and the way from and to a leg's codec without allocation.

use crate::g711;

/// Samples a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SampleRate {
    /// 8,000 Hz, the telephone's.
    Hz8000,
    /// 16,000 Hz.
    Hz16000,
    /// 24,000 Hz.
    Hz24000,
    /// 48,000 Hz.
    Hz48000,
}

impl SampleRate {
    /// In Hz.
    pub fn hertz(self) -> u32 {
        match self {
            Self::Hz8000 => 8_000,
            Self::Hz16000 => 16_000,
            Self::Hz24000 => 24_000,
            Self::Hz48000 => 48_000,
        }
    }
}

/// A sample rate that nobody here can handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} Hz is none of 8000, 16000, 24000 and 48000")]
pub struct UnknownRate(pub u32);

impl TryFrom<u32> for SampleRate {
    type Error = UnknownRate;

    fn try_from(hertz: u32) -> Result<Self, UnknownRate> {
        let all = [Self::Hz8000, Self::Hz16000, Self::Hz24000, Self::Hz48000];
        all.into_iter().find(|rate| rate.hertz() == hertz).ok_or(UnknownRate(hertz))
    }
}

/// How audio is laid out in bytes between us and an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AudioFormat {
    /// G.711 mu-law, 8,000 Hz.
    Pcmu,
    /// G.711 A-law, 8,000 Hz.
    Pcma,
    /// 16-bit linear, mono, little-endian: what engines send over a websocket (not the network order of
    /// the RTP payload called L16).
    L16 {
        /// Samples a second.
        rate: SampleRate,
    },
}

impl AudioFormat {
    /// Bytes that one sample takes.
    pub fn bytes_per_sample(self) -> usize {
        match self {
            Self::Pcmu | Self::Pcma => 1,
            Self::L16 { .. } => 2,
        }
    }

    /// Samples a second.
    pub fn rate(self) -> SampleRate {
        match self {
            Self::Pcmu | Self::Pcma => SampleRate::Hz8000,
            Self::L16 { rate } => rate,
        }
    }

    /// Bytes that one 20 ms beat takes.
    pub fn bytes_per_beat(self) -> usize {
        self.rate().hertz() as usize / 50 * self.bytes_per_sample()
    }

    /// Bytes that 1/8,000 s takes: the unit in which queues of any layout are measured.
    pub(crate) fn bytes_per_unit(self) -> usize {
        self.rate().hertz() as usize / 8_000 * self.bytes_per_sample()
    }

    /// Fills `out` with nothing to hear.
    pub(crate) fn silence(self, out: &mut [u8]) {
        out.fill(match self {
            Self::Pcmu => g711::ULAW_SILENCE,
            Self::Pcma => g711::ALAW_SILENCE,
            Self::L16 { .. } => 0,
        });
    }

    /// Rewrites `input`, laid out as `self`, as `target` into `output`; answers how many bytes of `output`
    /// were written. Whole samples only: stops where `output` is full, and an odd last byte of linear
    /// input is left out. Both have one rate: between rates lies a [`Transcoder`](crate::Transcoder).
    pub fn convert(self, target: Self, input: &[u8], output: &mut [u8]) -> usize {
        debug_assert_eq!(self.rate(), target.rate(), "samples of one rate only");
        match (self, target) {
            (Self::Pcmu, Self::Pcmu) | (Self::Pcma, Self::Pcma) => {
                let length = input.len().min(output.len());
                output[..length].copy_from_slice(&input[..length]);
                length
            }
            (Self::L16 { .. }, Self::L16 { .. }) => {
                let length = input.len().min(output.len()) & !1;
                output[..length].copy_from_slice(&input[..length]);
                length
            }
            (Self::Pcmu, Self::Pcma) => each(input, output, g711::ulaw_to_alaw),
            (Self::Pcma, Self::Pcmu) => each(input, output, g711::alaw_to_ulaw),
            (Self::Pcmu, Self::L16 { .. }) => expand(input, output, g711::ulaw_to_linear),
            (Self::Pcma, Self::L16 { .. }) => expand(input, output, g711::alaw_to_linear),
            (Self::L16 { .. }, Self::Pcmu) => compress(input, output, g711::linear_to_ulaw),
            (Self::L16 { .. }, Self::Pcma) => compress(input, output, g711::linear_to_alaw),
        }
    }
}

#[inline]
fn each(input: &[u8], output: &mut [u8], code: impl Fn(u8) -> u8) -> usize {
    let mut written = 0;
    for (to, from) in output.iter_mut().zip(input) {
        *to = code(*from);
        written += 1;
    }
    written
}

#[inline]
fn expand(input: &[u8], output: &mut [u8], sample: impl Fn(u8) -> i16) -> usize {
    let mut written = 0;
    for (to, from) in output.chunks_exact_mut(2).zip(input) {
        to.copy_from_slice(&sample(*from).to_le_bytes());
        written += 2;
    }
    written
}

#[inline]
fn compress(input: &[u8], output: &mut [u8], code: impl Fn(i16) -> u8) -> usize {
    let mut written = 0;
    for (to, from) in output.iter_mut().zip(input.chunks_exact(2)) {
        *to = code(i16::from_le_bytes([from[0], from[1]]));
        written += 1;
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    const L16: AudioFormat = AudioFormat::L16 { rate: SampleRate::Hz8000 };
    const ALL: [AudioFormat; 3] = [AudioFormat::Pcmu, AudioFormat::Pcma, L16];

    #[test]
    fn a_beat_is_160_codes_or_320_bytes_of_linear() {
        let sizes = ALL.map(AudioFormat::bytes_per_beat);

        assert_eq!(sizes, [160, 160, 320]);
    }

    #[test]
    fn one_law_through_linear_and_back_is_unchanged() {
        let codes: Vec<u8> = (0..=255).filter(|code| *code != 0x7F).collect();
        for law in [AudioFormat::Pcmu, AudioFormat::Pcma] {
            let mut linear = [0; 510];
            let mut back = [0; 255];

            assert_eq!(law.convert(L16, &codes, &mut linear), 510);
            assert_eq!(L16.convert(law, &linear, &mut back), 255);

            assert_eq!(back, codes[..]);
        }
    }

    #[test]
    fn conversion_stops_at_whole_samples_where_the_output_is_full() {
        for from in ALL {
            for to in ALL {
                let mut output = [0xEE; 8];

                let written = from.convert(to, &[0x55; 320], &mut output[..5]);

                assert_eq!(written, 5 / to.bytes_per_sample() * to.bytes_per_sample(), "{from:?} to {to:?}");
                assert_eq!(output[5..], [0xEE; 3]);
            }
        }
    }

    #[test]
    fn an_odd_last_byte_of_linear_audio_is_left_out() {
        let mut output = [0; 8];

        assert_eq!(L16.convert(AudioFormat::Pcmu, &[0, 0, 0], &mut output), 1);
        assert_eq!(L16.convert(L16, &[1, 2, 3], &mut output), 2);
    }
}
