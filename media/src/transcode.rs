//! Audio of any layout and rate on its way to one layout and rate.
//!
//! ```text
//!   as it is wanted already ---------------------------------------------------> give
//!   of the same rate --------------------> AudioFormat::convert ---------------> give
//!   of another rate --> linear --> Resampler --> AudioFormat::convert ----------> give
//! ```

use crate::{AudioFormat, Resampler, SampleRate};

/// Samples that are converted in one step.
const STEP: usize = 240;

/// One stream's way to a layout. Allocates only where the rate of what comes is another than before.
#[derive(Debug, Clone)]
pub struct Transcoder {
    to: AudioFormat,
    resampler: Option<(SampleRate, Box<Resampler>)>,
}

impl Transcoder {
    /// At rest: as if only silence had come before.
    pub fn new(to: AudioFormat) -> Self {
        Self { to, resampler: None }
    }

    /// The layout of what is given.
    pub fn target(&self) -> AudioFormat {
        self.to
    }

    /// What comes next has nothing to do with what came before.
    pub fn reset(&mut self) {
        if let Some((_, resampler)) = &mut self.resampler {
            resampler.reset();
        }
    }

    /// Takes whole samples, laid out as `from`, and gives what they come to in one or more pieces of whole samples. An odd
    /// last byte of linear audio is left out.
    pub fn feed(&mut self, from: AudioFormat, audio: &[u8], mut give: impl FnMut(&[u8])) {
        let to = self.to;
        if from == to {
            return give(&audio[..audio.len() / from.bytes_per_sample() * from.bytes_per_sample()]);
        }
        let mut bytes = [0; 2 * STEP];
        if from.rate() == to.rate() {
            for step in audio.chunks(STEP * from.bytes_per_sample()) {
                let length = from.convert(to, step, &mut bytes);
                give(&bytes[..length]);
            }
            return;
        }
        let Some(resampler) = self.resampler(from.rate()) else { return };
        let linear = AudioFormat::L16 { rate: from.rate() };
        let mut samples = [0; STEP];
        for step in audio.chunks(STEP * from.bytes_per_sample()) {
            let length = from.convert(linear, step, &mut bytes);
            let count = read(&bytes[..length], &mut samples);
            resampler.feed(&samples[..count], |given| {
                for step in given.chunks(STEP) {
                    let length = write(to, step, &mut bytes);
                    give(&bytes[..length]);
                }
            });
        }
    }

    fn resampler(&mut self, from: SampleRate) -> Option<&mut Resampler> {
        if self.resampler.as_ref().is_none_or(|(known, _)| *known != from) {
            self.resampler = Some((from, Box::new(Resampler::new(from, self.to.rate()))));
        }
        self.resampler.as_mut().map(|(_, resampler)| &mut **resampler)
    }
}

/// Little-endian bytes to samples; answers how many.
fn read(bytes: &[u8], samples: &mut [i16; STEP]) -> usize {
    let mut count = 0;
    for (to, from) in samples.iter_mut().zip(bytes.chunks_exact(2)) {
        *to = i16::from_le_bytes([from[0], from[1]]);
        count += 1;
    }
    count
}

/// Samples to bytes of a layout; answers how many.
fn write(to: AudioFormat, samples: &[i16], bytes: &mut [u8; 2 * STEP]) -> usize {
    let mut linear = [0; 2 * STEP];
    for (pair, sample) in linear.chunks_exact_mut(2).zip(samples) {
        pair.copy_from_slice(&sample.to_le_bytes());
    }
    AudioFormat::L16 { rate: to.rate() }.convert(to, &linear[..2 * samples.len()], bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use SampleRate::{Hz8000, Hz16000, Hz24000};

    #[test]
    fn audio_that_is_right_already_is_passed_on_in_one_piece() {
        let mut pieces = Vec::new();

        Transcoder::new(AudioFormat::Pcmu)
            .feed(AudioFormat::Pcmu, &[7; 1_000], |piece| pieces.push(piece.len()));

        assert_eq!(pieces, [1_000]);
    }

    #[test]
    fn the_length_in_time_is_kept_between_any_two_layouts() {
        let all = [
            AudioFormat::Pcmu,
            AudioFormat::Pcma,
            AudioFormat::L16 { rate: Hz8000 },
            AudioFormat::L16 { rate: Hz16000 },
            AudioFormat::L16 { rate: Hz24000 },
        ];
        for (from, to) in all.iter().flat_map(|from| all.iter().map(move |to| (*from, *to))) {
            let mut given = 0;
            let mut transcoder = Transcoder::new(to);

            for _ in 0..50 {
                transcoder.feed(from, &vec![0; from.bytes_per_beat()], |piece| given += piece.len());
            }

            assert_eq!(given, 50 * to.bytes_per_beat(), "{from:?} to {to:?}");
        }
    }

    /// A telephone's tone comes out of a wide leg as loud as it went in.
    #[test]
    fn a_tone_is_as_loud_at_the_other_rate() {
        let tone: Vec<u8> = (0..8_000)
            .map(|at| crate::g711::linear_to_ulaw(((f64::from(at) * 0.4).sin() * 8_000.0) as i16))
            .collect();
        let mut wide = Vec::new();

        Transcoder::new(AudioFormat::L16 { rate: Hz16000 })
            .feed(AudioFormat::Pcmu, &tone, |piece| wide.extend_from_slice(piece));

        let samples =
            wide[2_000..].chunks_exact(2).map(|pair| f64::from(i16::from_le_bytes([pair[0], pair[1]])));
        let mean = samples.clone().map(|sample| sample * sample).sum::<f64>() / samples.count() as f64;
        let expected = 8_000.0 / 2.0_f64.sqrt();
        assert!((mean.sqrt() / expected - 1.0).abs() < 0.02, "{} instead of {expected}", mean.sqrt());
    }
}
