//! The two mirror filters of 24 taps that split the band at 4 kHz and join it again: G.722 §3.1, §4.4.

use super::saturate;

/// Half of the filter; the other half is its mirror image. All taps of it sum up to 2^13.
const TAPS: [i32; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];

/// The same, from the other end.
const REVERSED: [i32; 12] = [-11, 53, -156, 362, -805, 3876, 951, -210, 32, 12, -11, 3];

/// The last twelve values of either phase, the newest last.
type Phase = [i32; 12];

/// Splits.
#[derive(Debug, Clone, Default)]
pub(super) struct Splitter {
    first: Phase,
    second: Phase,
}

impl Splitter {
    /// Two samples to one of the low and one of the high band.
    pub(super) fn split(&mut self, first: i16, second: i16) -> (i32, i32) {
        push(&mut self.first, i32::from(first));
        push(&mut self.second, i32::from(second));
        let first = forward(&self.first);
        let second = backward(&self.second);
        (saturate((second + first) >> 14), saturate((second - first) >> 14))
    }
}

/// Joins.
#[derive(Debug, Clone, Default)]
pub(super) struct Joiner {
    sum: Phase,
    difference: Phase,
}

impl Joiner {
    /// One sample of each band to two.
    pub(super) fn join(&mut self, low: i32, high: i32) -> (i16, i16) {
        push(&mut self.sum, saturate(low + high));
        push(&mut self.difference, saturate(low - high));
        let sample = |sum: i32| saturate(sum >> 11) as i16;
        (sample(backward(&self.difference)), sample(forward(&self.sum)))
    }
}

fn push(phase: &mut Phase, value: i32) {
    let [_, kept @ ..] = *phase;
    phase[..11].copy_from_slice(&kept);
    phase[11] = value;
}

fn forward(phase: &Phase) -> i32 {
    phase.iter().zip(TAPS).map(|(value, tap)| value * tap).sum()
}

fn backward(phase: &Phase) -> i32 {
    phase.iter().zip(REVERSED).map(|(value, tap)| value * tap).sum()
}
