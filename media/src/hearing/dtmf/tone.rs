//! One key, made: two sines that begin and end softly.

use super::{KEYS, TONES};
use crate::Digit;
use crate::hearing::{AMPLITUDE_0_DBM0, PER_MS};
use std::f64::consts::TAU;

/// Samples of rise and of fall (2 ms): without them a key clicks.
const EDGE: u64 = 2 * PER_MS;

/// The two sines of one key at 8,000 Hz, for a given time.
#[derive(Debug, Clone)]
pub struct DtmfTone {
    row: f64,
    column: f64,
    amplitude: f64,
    at: u64,
    length: u64,
}

impl DtmfTone {
    /// `digit` for `length_ms`, each of its two tones at `level_dbm0`, which is usually between -9 and -6 (and never
    /// above -3: two tones of 0 dBm0 would clip).
    pub fn new(digit: Digit, level_dbm0: f32, length_ms: u32) -> Self {
        let key = digit.as_char();
        let place = (0..16).find(|place| KEYS[place / 4][place % 4] == key).unwrap_or_default();
        let level = f64::from(level_dbm0.min(-3.0));
        Self {
            row: TONES[place / 4] * TAU / 8_000.0,
            column: TONES[4 + place % 4] * TAU / 8_000.0,
            amplitude: f64::from(AMPLITUDE_0_DBM0) * 10_f64.powf(level / 20.0),
            at: 0,
            length: u64::from(length_ms) * PER_MS,
        }
    }

    /// Writes the next samples; says how many, less than `out` has room for when the key is over.
    pub fn fill(&mut self, out: &mut [i16]) -> usize {
        let count = (self.length - self.at).min(out.len() as u64);
        for sample in &mut out[..count as usize] {
            let at = self.at as f64;
            let edge = EDGE.min(self.at + 1).min(self.length - self.at) as f64 / EDGE as f64;
            let sum = (self.row * at).sin() + (self.column * at).sin();
            *sample = (self.amplitude * edge * sum).round() as i16;
            self.at += 1;
        }
        count as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_lasts_as_long_as_it_was_told_and_never_clips() {
        for event in 0..16 {
            let mut tone = DtmfTone::new(Digit::from_event(event).unwrap(), 0.0, 45);
            let mut samples: Vec<i16> = Vec::new();
            let mut frame = [0; 160];
            loop {
                let written = tone.fill(&mut frame);
                samples.extend(&frame[..written]);
                if written < frame.len() {
                    break;
                }
            }

            let peak = samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap();
            assert_eq!(samples.len(), 360);
            assert!((28_000..32_767).contains(&peak), "{peak}");
        }
    }
}
