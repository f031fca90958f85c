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

    /// What a telephone would carry of it: 8,000 Hz, two channels as one.
    pub(super) fn telephone(&self) -> Vec<i16> {
        let mixed = match self.channels.as_slice() {
            [] => Vec::new(),
            [only] => only.clone(),
            [left, right, ..] => left.iter().zip(right).map(|(left, right)| middle(*left, *right)).collect(),
        };
        decimated(mixed, (self.rate / 8_000).max(1) as usize)
    }
}

/// Samples at 8,000 Hz as milliseconds.
pub(super) fn to_ms(samples: u64) -> u64 {
    (samples + 4) / 8
}

fn middle(left: i16, right: i16) -> i16 {
    ((i32::from(left) + i32::from(right)) / 2) as i16
}

/// One sample of `factor`, after a low pass that lets up to 3,400 Hz through: a sinc under a Hann window.
fn decimated(samples: Vec<i16>, factor: usize) -> Vec<i16> {
    if factor == 1 {
        return samples;
    }
    let reach = 24 * factor as i64;
    let cutoff = 0.9 / factor as f64;
    let taps: Vec<f64> = (-reach..=reach)
        .map(|at| {
            let x = std::f64::consts::PI * at as f64;
            let sinc = if at == 0 { cutoff } else { (x * cutoff).sin() / x };
            sinc * (0.5 + 0.5 * (x / (reach + 1) as f64).cos())
        })
        .collect();
    let at = |place: i64| usize::try_from(place).ok().and_then(|place| samples.get(place)).copied();
    let filtered = (0..samples.len()).step_by(factor).map(|middle| {
        let places = (-reach..=reach).map(|offset| at(middle as i64 + offset).unwrap_or_default());
        let sum: f64 = places.zip(&taps).map(|(sample, tap)| f64::from(sample) * tap).sum();
        sum.round().clamp(f64::from(i16::MIN), f64::from(i16::MAX)) as i16
    });
    filtered.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
