//! Comfort noise: what the peer hears while there is nothing to play.
//!
//! A line that goes digitally silent sounds dead, and some gateways treat a stopped stream as a lost call.
//! So every empty beat carries white noise at about -65 dBm0, below any voice and just above nothing. The
//! table is made at compile time; each stream begins elsewhere in it.

use crate::{AudioFormat, g711};

/// Half a second: not a multiple of a beat, so that the period cannot be heard as a rhythm.
const LENGTH: usize = 4_096;

static PCMU: [u8; LENGTH] = table(Law::Mu);
static PCMA: [u8; LENGTH] = table(Law::A);

#[derive(Clone, Copy)]
enum Law {
    Mu,
    A,
}

/// Where one stream is in the noise.
#[derive(Debug, Clone)]
pub(crate) struct Noise {
    at: usize,
}

impl Noise {
    /// Begins where `seed` says.
    pub(crate) fn new(seed: u64) -> Self {
        Self { at: (seed % LENGTH as u64) as usize }
    }

    /// Fills `out` with the next noise.
    pub(crate) fn fill(&mut self, format: AudioFormat, out: &mut [u8]) {
        let table = match format {
            AudioFormat::Pcmu => &PCMU,
            AudioFormat::Pcma => &PCMA,
            AudioFormat::L16 { .. } => return self.fill_linear(out),
        };
        let mut rest = out;
        while !rest.is_empty() {
            let length = rest.len().min(LENGTH - self.at);
            let (now, later) = rest.split_at_mut(length);
            now.copy_from_slice(&table[self.at..self.at + length]);
            self.at = (self.at + length) % LENGTH;
            rest = later;
        }
    }

    /// A sample is a sample at any rate: white noise has no pitch.
    fn fill_linear(&mut self, out: &mut [u8]) {
        for pair in out.chunks_exact_mut(2) {
            pair.copy_from_slice(&g711::ulaw_to_linear(PCMU[self.at]).to_le_bytes());
            self.at = (self.at + 1) % LENGTH;
        }
    }
}

/// Each sample is the scaled sum of four uniform ones: nearly normal, with a deviation of 8. A-law, which has
/// no zero, makes it a little louder, mu-law a little quieter.
const fn table(law: Law) -> [u8; LENGTH] {
    let mut table = [0; LENGTH];
    let mut chance: u32 = 0x2545_F491;
    let mut index = 0;
    while index < LENGTH {
        // Xorshift, 32 bits: full period, and four nibbles of it are as good as independent here.
        chance ^= chance << 13;
        chance ^= chance >> 17;
        chance ^= chance << 5;
        let sum = (chance >> 4 & 15) + (chance >> 10 & 15) + (chance >> 18 & 15) + (chance >> 26 & 15);
        let sample = (sum as i16 - 30) * 7 / 8;
        table[index] = match law {
            Law::Mu => g711::encode_ulaw(sample),
            Law::A => g711::encode_alaw(sample),
        };
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 0 dBm0 is a sine 3.17 dB below full scale (G.711 table 5).
    fn level_dbm0(samples: impl Iterator<Item = i16> + Clone) -> f64 {
        let count = samples.clone().count() as f64;
        let power = samples.map(|sample| f64::from(sample).powi(2)).sum::<f64>() / count;
        let reference = (32_768.0 * 10_f64.powf(-3.17 / 20.0)).powi(2) / 2.0;
        10.0 * (power / reference).log10()
    }

    #[test]
    fn the_noise_is_at_minus_65_dbm0() {
        let ulaw = level_dbm0(PCMU.iter().map(|code| g711::ulaw_to_linear(*code)));
        let alaw = level_dbm0(PCMA.iter().map(|code| g711::alaw_to_linear(*code)));

        assert!((ulaw + 65.0).abs() < 1.0, "{ulaw} dBm0");
        assert!((alaw + 65.0).abs() < 1.0, "{alaw} dBm0");
    }

    #[test]
    fn noise_has_no_offset() {
        let mean =
            PCMU.iter().map(|code| i64::from(g711::ulaw_to_linear(*code))).sum::<i64>() / LENGTH as i64;

        assert_eq!(mean, 0);
    }

    #[test]
    fn frames_follow_each_other_in_the_table_around_its_end() {
        let mut noise = Noise::new(LENGTH as u64 - 100);
        let mut frame = [0; 160];

        noise.fill(AudioFormat::Pcmu, &mut frame);

        assert_eq!(frame[..100], PCMU[LENGTH - 100..]);
        assert_eq!(frame[100..], PCMU[..60]);
        assert_eq!(noise.at, 60);
    }
}
