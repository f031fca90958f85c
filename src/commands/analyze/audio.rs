//! The audio of a WAV file, and of its pieces in the time that a call would hear them.

use std::path::Path;

use media::{Resampler, SampleRate, Wav, WavEncoding};

use super::Fault;

/// The rates that a file may have.
const RATES: [SampleRate; 4] =
    [SampleRate::Hz8000, SampleRate::Hz16000, SampleRate::Hz24000, SampleRate::Hz48000];

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

    /// In words of the voice path, which knows no other rates than a file may have.
    pub(super) fn sample_rate(&self) -> SampleRate {
        RATES.into_iter().find(|rate| rate.hertz() == self.rate).unwrap_or(SampleRate::Hz8000)
    }

    /// What a telephone would carry of it: 8,000 Hz, two channels as one.
    pub(super) fn telephone(&self) -> Vec<i16> {
        self.mono(SampleRate::Hz8000)
    }

    /// Two channels as one, at this rate, without delay.
    pub(super) fn mono(&self, rate: SampleRate) -> Vec<i16> {
        let mixed = match self.channels.as_slice() {
            [] => Vec::new(),
            [only] => only.clone(),
            [left, right, ..] => left.iter().zip(right).map(|(left, right)| middle(*left, *right)).collect(),
        };
        resampled(mixed, self.sample_rate(), rate)
    }
}

/// Samples at 8,000 Hz as milliseconds.
pub(super) fn to_ms(samples: u64) -> u64 {
    (samples + 4) / 8
}

fn middle(left: i16, right: i16) -> i16 {
    ((i32::from(left) + i32::from(right)) / 2) as i16
}

/// The resampler's delay is taken out: what it holds back at the end is pushed out by silence.
fn resampled(samples: Vec<i16>, from: SampleRate, to: SampleRate) -> Vec<i16> {
    if from == to {
        return samples;
    }
    let (from_hertz, to_hertz) = (from.hertz() as usize, to.hertz() as usize);
    let delay = Resampler::DELAY_HALVES * to_hertz / (2 * from_hertz.min(to_hertz));
    let length = (samples.len() * to_hertz).div_ceil(from_hertz);
    let silence = vec![0; from_hertz / 50];
    let mut resampled = Vec::with_capacity(length + to_hertz / 50);
    let mut resampler = Resampler::new(from, to);
    resampler.feed(&samples, |piece| resampled.extend_from_slice(piece));
    resampler.feed(&silence, |piece| resampled.extend_from_slice(piece));
    resampled.drain(..delay);
    resampled.truncate(length);
    resampled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_rate_delays_nothing() {
        let click: Vec<i16> =
            (0..4_801).map(|at| if (2_397..2_403).contains(&at) { 20_000 } else { 0 }).collect();
        let audio = Audio { encoding: WavEncoding::Pcm16, rate: 48_000, channels: vec![click] };
        for (rate, length) in
            [(SampleRate::Hz8000, 801), (SampleRate::Hz16000, 1_601), (SampleRate::Hz24000, 2_401)]
        {
            let samples = audio.mono(rate);

            let loudest = (0..samples.len()).max_by_key(|at| samples[*at]).unwrap();
            assert_eq!(samples.len(), length);
            assert!(loudest.abs_diff(length / 2) <= 1, "{rate:?}: {loudest} of {length}");
        }
    }

    #[test]
    fn of_a_stereo_file_at_48_khz_the_telephone_carries_what_is_below_4_khz() {
        let sine = |hertz: f64| {
            let samples =
                (0..48_000_u32).map(move |at| f64::from(at) * hertz * std::f64::consts::TAU / 48_000.0);
            samples.map(|phase| (10_000.0 * phase.sin()) as i16).collect::<Vec<_>>()
        };
        let audio = Audio {
            encoding: WavEncoding::Pcm16,
            rate: 48_000,
            channels: vec![sine(1_000.0), sine(5_000.0)],
        };

        let samples = audio.telephone();

        let middle = &samples[1_000..7_000];
        let power = middle.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / 6_000.0;
        assert_eq!(samples.len(), 8_000);
        assert!((power.sqrt() - 5_000.0 / 2_f64.sqrt()).abs() < 30.0, "{}", power.sqrt());
    }
}
