//! Speech brought to one loudness, whoever made it: engines differ by 20 dB.
//!
//! ```text
//!   frame -> power -> is it speech? -> active level, over seconds -> gain, a few dB a second -> limiter -> out
//! ```
//! The active level (in the sense of ITU-T P.56: pauses do not count) is followed slowly, so that what is loud in a
//! sentence stays louder than the rest of it. Down it goes faster than up. Silence stays silence.

use crate::SampleRate;
use crate::mixer::Limiter;

/// The active level that is sought, in dBov: what telephone networks expect (ITU-T G.107 takes -26).
const WANTED_DB: f32 = -24.0;

/// Frames below this, or so far below the active level, are pauses.
const QUIET_DB: f32 = -55.0;
const PAUSE_DB: f32 = -16.0;

/// The most that is taken or given.
const DOWN_MOST_DB: f32 = -20.0;
const UP_MOST_DB: f32 = 12.0;

/// In a second of speech the gain rises by so much, and falls by so much.
const UP_DB: f32 = 6.0;
const DOWN_DB: f32 = 30.0;

/// Over how many seconds of speech the active level is the mean, once so much was heard.
const SECONDS: f32 = 3.0;

/// Samples with one gain's slope.
const PIECE: usize = 160;

/// One engine's voice at the loudness it should have. Never allocates.
#[derive(Debug, Clone)]
pub struct Loudness {
    hertz: f32,
    /// Mean power of what was speech, of full scale, and for how many seconds.
    power: f32,
    heard: f32,
    gain_db: f32,
    gain: f32,
    limiter: Limiter,
}

impl Loudness {
    /// For a voice at this rate, taken to be as it should until it is heard.
    pub fn new(rate: SampleRate) -> Self {
        Self {
            hertz: rate.hertz() as f32,
            power: 0.0,
            heard: 0.0,
            gain_db: 0.0,
            gain: 1.0,
            limiter: Limiter::new(rate),
        }
    }

    /// Changes the next samples, any number of them, in their place.
    pub fn adjust(&mut self, samples: &mut [i16]) {
        let mut louder = [0; PIECE];
        for piece in samples.chunks_mut(PIECE) {
            self.listen(piece);
            let louder = &mut louder[..piece.len()];
            let wanted = 10.0_f32.powf(self.gain_db / 20.0);
            let step = (wanted - self.gain) / piece.len() as f32;
            for (at, (louder, sample)) in (1_u16..).zip(louder.iter_mut().zip(&*piece)) {
                *louder = (f32::from(*sample) * (self.gain + step * f32::from(at))).round() as i32;
            }
            self.gain = wanted;
            self.limiter.limit(louder, piece);
        }
    }

    /// What is given now, in dB.
    pub fn gain_db(&self) -> f32 {
        self.gain_db
    }

    fn listen(&mut self, piece: &[i16]) {
        let energy: f32 = piece.iter().map(|sample| (f32::from(*sample) / 32_768.0).powi(2)).sum();
        let power = energy / piece.len() as f32;
        let seconds = piece.len() as f32 / self.hertz;
        let level_db = decibels(power);
        if level_db < QUIET_DB || (self.heard > 0.0 && level_db < decibels(self.power) + PAUSE_DB) {
            return;
        }
        self.heard = (self.heard + seconds).min(SECONDS);
        self.power += seconds / self.heard * (power - self.power);
        let missing = (WANTED_DB - decibels(self.power)).clamp(DOWN_MOST_DB, UP_MOST_DB) - self.gain_db;
        self.gain_db += missing.clamp(-DOWN_DB * seconds, UP_DB * seconds);
    }
}

fn decibels(power: f32) -> f32 {
    10.0 * power.max(1e-12).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voices_of_all_levels_come_to_the_same_after_some_seconds() {
        for rate in [SampleRate::Hz8000, SampleRate::Hz24000] {
            for loud in [1_100.0, 2_000.0, 6_000.0, 16_000.0] {
                let mut samples = syllables(rate, 10, loud);
                Loudness::new(rate).adjust(&mut samples);

                let end = &samples[8 * rate.hertz() as usize..];
                let level = active_db(end);
                assert!((level - f64::from(WANTED_DB)).abs() < 2.0, "{rate:?} {loud}: {level:.1} dB");
            }
        }
    }

    #[test]
    fn pauses_and_noise_are_not_made_louder() {
        let rate = SampleRate::Hz8000;
        let mut loudness = Loudness::new(rate);
        loudness.adjust(&mut syllables(rate, 5, 3_000.0));
        let gain = loudness.gain_db();
        let mut hiss: Vec<i16> = (0..80_000).map(|at| if at % 3 == 0 { 40 } else { -20 }).collect();
        loudness.adjust(&mut hiss);

        assert_eq!(loudness.gain_db(), gain);
        assert!(hiss.iter().all(|sample| sample.abs() <= 100));
    }

    #[test]
    fn the_gain_is_slow_upwards_and_nothing_is_cut_off() {
        let rate = SampleRate::Hz8000;
        let mut loudness = Loudness::new(rate);
        let mut quiet = syllables(rate, 1, 800.0);
        loudness.adjust(&mut quiet);
        assert!((0.0..=UP_DB).contains(&loudness.gain_db()), "{}", loudness.gain_db());
        loudness.adjust(&mut syllables(rate, 6, 800.0));

        let mut shout = syllables(rate, 1, 26_000.0);
        loudness.adjust(&mut shout);
        let most = shout.iter().map(|sample| sample.unsigned_abs()).max().unwrap();
        assert!(most < 32_767, "{most}");
    }

    #[test]
    fn pieces_of_any_size_come_to_nearly_the_same() {
        let rate = SampleRate::Hz8000;
        let (mut whole, mut pieces) = (syllables(rate, 6, 1_500.0), syllables(rate, 6, 1_500.0));
        Loudness::new(rate).adjust(&mut whole);
        let mut loudness = Loudness::new(rate);
        for piece in pieces.chunks_mut(80) {
            loudness.adjust(piece);
        }

        assert!((active_db(&whole) - active_db(&pieces)).abs() < 0.5);
    }

    /// A tone of 200 Hz in syllables, with pauses.
    fn syllables(rate: SampleRate, seconds: u32, loud: f64) -> Vec<i16> {
        let hertz = f64::from(rate.hertz());
        (0..rate.hertz() * seconds)
            .map(|at| {
                let at = f64::from(at) / hertz;
                let voiced = if at % 1.0 < 0.7 { (at * 30.0).sin().abs() } else { 0.0 };
                (loud * voiced * (at * 200.0 * std::f64::consts::TAU).sin()) as i16
            })
            .collect()
    }

    /// The level of what is not a pause, in dBov.
    fn active_db(samples: &[i16]) -> f64 {
        let frames = samples.chunks(160).map(|frame| {
            frame.iter().map(|sample| (f64::from(*sample) / 32_768.0).powi(2)).sum::<f64>()
                / frame.len() as f64
        });
        let active: Vec<f64> = frames.filter(|power| *power > 1e-5).collect();
        10.0 * (active.iter().sum::<f64>() / active.len().max(1) as f64).log10()
    }
}
