//! Eight correlations in one pass: how much of each tone of the keypad is in 5 ms of audio, with its phase.
//!
//! ```text
//!   block k:  B(k) = sum x[n] · exp(-i w n),  n = 0..39, phase counted from the beginning of the block
//!   pair k:   P(k) = B(k-1) + B(k) · exp(-i w 40): 10 ms, phase counted from the beginning of block k-1
//! ```
//! The tables are made at compile time. The eight tones are lanes of one loop, which the compiler turns into vectors.

use super::TONES;
use crate::hearing::trig;

/// Samples in a block, 5 ms.
pub(super) const BLOCK: usize = 40;

static STEPS: Lanes<BLOCK> = Lanes::new(1.0);

/// Turns by one block: what brings the phase of a block to that of the block before it.
static TURN: Lanes<1> = Lanes::new(BLOCK as f64);

/// `exp(-i w (n + 0 or 1) step)` of every tone.
struct Lanes<const COUNT: usize> {
    real: [[f32; 8]; COUNT],
    imaginary: [[f32; 8]; COUNT],
}

/// One complex number a tone.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Phasors {
    pub(super) real: [f32; 8],
    pub(super) imaginary: [f32; 8],
}

impl<const COUNT: usize> Lanes<COUNT> {
    /// Tables of `COUNT` steps from 0, or the one step itself.
    const fn new(step: f64) -> Self {
        let mut lanes = Self { real: [[0.0; 8]; COUNT], imaginary: [[0.0; 8]; COUNT] };
        let mut row = 0;
        while row < COUNT {
            let mut tone = 0;
            while tone < 8 {
                let count = if COUNT == 1 { 1.0 } else { row as f64 };
                let angle = TONES[tone] * std::f64::consts::TAU / 8_000.0 * step * count;
                lanes.real[row][tone] = trig::cos(angle) as f32;
                lanes.imaginary[row][tone] = -trig::sin(angle) as f32;
                tone += 1;
            }
            row += 1;
        }
        lanes
    }
}

impl Phasors {
    /// B of these samples. Even and odd ones are summed apart, so that no sum waits for the one before it.
    pub(super) fn of(samples: &[f32; BLOCK]) -> Self {
        let mut sums = [Self::default(); 2];
        for (pair, (real, imaginary)) in
            samples.chunks_exact(2).zip(STEPS.real.chunks_exact(2).zip(STEPS.imaginary.chunks_exact(2)))
        {
            for (side, sum) in sums.iter_mut().enumerate() {
                for lane in 0..8 {
                    sum.real[lane] += pair[side] * real[side][lane];
                    sum.imaginary[lane] += pair[side] * imaginary[side][lane];
                }
            }
        }
        let [mut sum, odd] = sums;
        for lane in 0..8 {
            sum.real[lane] += odd.real[lane];
            sum.imaginary[lane] += odd.imaginary[lane];
        }
        sum
    }

    /// P of two blocks, `self` the earlier one.
    pub(super) fn with(&self, later: &Self) -> Self {
        let mut sum = later.turned();
        for lane in 0..8 {
            sum.real[lane] += self.real[lane];
            sum.imaginary[lane] += self.imaginary[lane];
        }
        sum
    }

    /// With the phase counted from one block earlier.
    pub(super) fn turned(&self) -> Self {
        let (real, imaginary) = (&TURN.real[0], &TURN.imaginary[0]);
        let mut turned = Self::default();
        for lane in 0..8 {
            turned.real[lane] = self.real[lane] * real[lane] - self.imaginary[lane] * imaginary[lane];
            turned.imaginary[lane] = self.real[lane] * imaginary[lane] + self.imaginary[lane] * real[lane];
        }
        turned
    }

    /// The square of the magnitude of one tone.
    pub(super) fn power(&self, tone: usize) -> f32 {
        self.real[tone] * self.real[tone] + self.imaginary[tone] * self.imaginary[tone]
    }

    /// `self · conj(earlier)` of one tone: its angle is how far the tone ran ahead between the two.
    pub(super) fn advance(&self, earlier: &Self, tone: usize) -> (f32, f32) {
        let (a, b) = (self.real[tone], self.imaginary[tone]);
        let (c, d) = (earlier.real[tone], earlier.imaginary[tone]);
        (a * c + b * d, b * c - a * d)
    }
}
