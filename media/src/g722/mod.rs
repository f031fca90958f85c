//! G.722 (ITU-T, 09/2012): 16,000 samples a second in 64, 56 or 48 kbit/s, bit for bit as the ITU-T Software
//! Tool Library.
//!
//! ```text
//!   16 kHz -> [split] -- low, 8 kHz --> 6-bit ADPCM --+--> one byte: 2 bits high, 6 bits low
//!                |                                    |
//!                +------ high, 8 kHz -> 2-bit ADPCM --+
//! ```
//!
//! The encoder always writes 64 kbit/s; the lower rates are the same bytes without the last one or two bits of
//! the low band, which the network may have used for data. Over RTP it is 64 kbit/s, with a clock of 8,000 Hz
//! by an old mistake (RFC 3551 §4.5.2): one tick is one byte is two samples.

mod band;
mod mirror;

use band::{High, Low};
use mirror::{Joiner, Splitter};

/// How many of a byte's bits belong to the audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Mode 1: all eight. The only one in RTP.
    Kbit64,
    /// Mode 2: the last bit is data of others.
    Kbit56,
    /// Mode 3: the last two bits are data of others.
    Kbit48,
}

/// 16,000 samples a second to 8,000 bytes.
#[derive(Debug, Clone, Default)]
pub struct Encoder {
    splitter: Splitter,
    low: Low,
    high: High,
}

impl Encoder {
    /// One that has heard nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Encodes pairs of samples; answers how many bytes of `codes` were written. Stops where `codes` is full,
    /// and an odd last sample is left out.
    pub fn encode(&mut self, samples: &[i16], codes: &mut [u8]) -> usize {
        let mut written = 0;
        for (code, pair) in codes.iter_mut().zip(samples.chunks_exact(2)) {
            let (low, high) = self.splitter.split(pair[0], pair[1]);
            *code = self.high.encode(high) << 6 | self.low.encode(low);
            written += 1;
        }
        written
    }
}

/// 8,000 bytes a second to 16,000 samples.
#[derive(Debug, Clone)]
pub struct Decoder {
    mode: Mode,
    low: Low,
    high: High,
    joiner: Joiner,
}

impl Decoder {
    /// One that has heard nothing yet.
    pub fn new(mode: Mode) -> Self {
        Self { mode, low: Low::default(), high: High::default(), joiner: Joiner::default() }
    }

    /// Decodes each byte to a pair of samples; answers how many of `samples` were written. Stops where
    /// `samples` is full.
    pub fn decode(&mut self, codes: &[u8], samples: &mut [i16]) -> usize {
        let mut written = 0;
        for (pair, code) in samples.chunks_exact_mut(2).zip(codes) {
            let low = self.low.decode(self.mode, code & 0x3F);
            let high = self.high.decode(code >> 6);
            (pair[0], pair[1]) = self.joiner.join(low, high);
            written += 2;
        }
        written
    }
}

/// To 16 bits, as every step of the recommendation does.
fn saturate(value: i32) -> i32 {
    value.clamp(i32::from(i16::MIN), i32::from(i16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_pairs_are_encoded_and_only_what_has_room() {
        let mut codes = [0xEE; 4];

        assert_eq!(Encoder::new().encode(&[1, 2, 3], &mut codes), 1);
        assert_eq!(Encoder::new().encode(&[0; 320], &mut codes[..3]), 3);
        assert_eq!(codes[3], 0xEE);

        let mut samples = [7; 6];
        assert_eq!(Decoder::new(Mode::Kbit64).decode(&codes, &mut samples[..5]), 4);
        assert_eq!(samples[4..], [7, 7]);
    }

    #[test]
    fn the_loudest_input_neither_overflows_nor_sticks() {
        let mut encoder = Encoder::new();
        let mut decoder = Decoder::new(Mode::Kbit64);
        let mut codes = [0; 160];
        let mut samples = [0; 320];
        for half_period in [1, 2, 7, 80] {
            let square: Vec<i16> = (0..320)
                .map(|index| if index / half_period % 2 == 0 { i16::MAX } else { i16::MIN })
                .collect();
            for _ in 0..20 {
                encoder.encode(&square, &mut codes);
                decoder.decode(&codes, &mut samples);
            }
        }
        for _ in 0..20 {
            encoder.encode(&[0; 320], &mut codes);
            decoder.decode(&codes, &mut samples);
        }

        assert!(samples.iter().all(|sample| sample.unsigned_abs() < 64), "{samples:?}");
    }

    /// How the blocks are cut must not be heard.
    #[test]
    fn one_frame_at_a_time_gives_the_bytes_of_one_long_call() {
        let samples: Vec<i16> = (0..3_200_i32).map(|n| (n * n % 20_011 - 10_000) as i16).collect();
        let mut whole = vec![0; 1_600];
        let mut parts = vec![0; 1_600];

        Encoder::new().encode(&samples, &mut whole);
        let mut encoder = Encoder::new();
        for (input, output) in samples.chunks(320).zip(parts.chunks_mut(160)) {
            encoder.encode(input, output);
        }

        assert_eq!(whole, parts);
    }
}
