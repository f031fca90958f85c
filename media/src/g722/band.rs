//! The adaptive quantiser of either band and the predictor that both have: G.722 §3.2 to §3.6, §6.2.
//!
//! ```text
//!   in --(-)--> quantise --> index --> step size of the next one
//!         ^                    v
//!         |   predict <-- inverse, 4 or 2 bits
//!         +------+
//! ```
//!
//! Encoder and decoder adapt by the same bits, the low band by its upper four, so a decoder in any mode
//! follows an encoder. Fixed point, with the rounding of the recommendation's tables and blocks.

use super::{Mode, saturate};

/// Decision levels of the low band, in parts of the step size (`Q6`).
const LEVELS: [i32; 30] = [
    0, 35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023, 1121,
    1219, 1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
];

/// Values of a 4-bit index (`QM4`).
const VALUES_4: [i32; 16] =
    [0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584, 1200, 0];

/// Values of a 5-bit index (`QM5`).
const VALUES_5: [i32; 32] = [
    -280, -280, -23352, -17560, -14120, -11664, -9752, -8184, -6864, -5712, -4696, -3784, -2960, -2208,
    -1520, -880, 23352, 17560, 14120, 11664, 9752, 8184, 6864, 5712, 4696, 3784, 2960, 2208, 1520, 880, 280,
    -280,
];

/// Values of a 6-bit index (`QM6`).
const VALUES_6: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232, -9360,
    -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032, -1688,
    -1360, -1040, -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232, 9360, 8576, 7856,
    7192, 6576, 6000, 5456, 4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136,
    -432, -136,
];

/// Values of a 2-bit index (`QM2`).
const VALUES_2: [i32; 4] = [-7408, -1616, 7408, 1616];

/// How a 4-bit index moves the logarithm of the step size (`WL` of `RL4`).
const STEPS_4: [i32; 16] = [-60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60];

/// How a 2-bit index moves it (`WH` of `IH2`).
const STEPS_2: [i32; 4] = [798, -214, 798, -214];

/// The fraction of a power of two (`ILB`).
const POWERS: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834, 2896,
    2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];

/// The one decision level of the high band, in parts of the step size.
const HIGH_LEVEL: i32 = 564;

/// Below 4 kHz.
#[derive(Debug, Clone)]
pub(super) struct Low {
    step: Step,
    predictor: Predictor,
}

impl Default for Low {
    fn default() -> Self {
        Self { step: Step { logarithm: 0, size: 32 }, predictor: Predictor::default() }
    }
}

impl Low {
    /// A sample to its six bits.
    pub(super) fn encode(&mut self, sample: i32) -> u8 {
        let error = saturate(sample - self.predictor.next);
        let magnitude = if error >= 0 { error } else { !error };
        // Levels grow, so the number of those that are reached says where the magnitude lies.
        let reached =
            LEVELS[1..].iter().map(|level| u8::from(magnitude >= (level * self.step.size) >> 12)).sum::<u8>();
        let code = match (error >= 0, reached) {
            (true, reached) => 61 - reached,
            (false, reached @ 0..=1) => 63 - reached,
            (false, reached) => 33 - reached,
        };
        self.follow(code >> 2);
        code
    }

    /// Six bits, of which `mode` says how many count, to their sample.
    pub(super) fn decode(&mut self, mode: Mode, code: u8) -> i32 {
        let value = match mode {
            Mode::Kbit64 => VALUES_6[usize::from(code)],
            Mode::Kbit56 => VALUES_5[usize::from(code >> 1)],
            Mode::Kbit48 => VALUES_4[usize::from(code >> 2)],
        };
        let sample = limit(self.predictor.next + ((self.step.size * value) >> 15));
        self.follow(code >> 2);
        sample
    }

    fn follow(&mut self, index: u8) {
        let index = usize::from(index);
        let difference = (self.step.size * VALUES_4[index]) >> 15;
        self.step.adapt::<18_432, 8>(STEPS_4[index]);
        self.predictor.follow(difference);
    }
}

/// Above 4 kHz.
#[derive(Debug, Clone)]
pub(super) struct High {
    step: Step,
    predictor: Predictor,
}

impl Default for High {
    fn default() -> Self {
        Self { step: Step { logarithm: 0, size: 8 }, predictor: Predictor::default() }
    }
}

impl High {
    /// A sample to its two bits.
    pub(super) fn encode(&mut self, sample: i32) -> u8 {
        let error = saturate(sample - self.predictor.next);
        let magnitude = if error >= 0 { error } else { !error };
        let large = magnitude >= (HIGH_LEVEL * self.step.size) >> 12;
        let code = match (error >= 0, large) {
            (false, true) => 0,
            (false, false) => 1,
            (true, true) => 2,
            (true, false) => 3,
        };
        self.follow(code);
        code
    }

    /// Two bits to their sample.
    pub(super) fn decode(&mut self, code: u8) -> i32 {
        let before = self.predictor.next;
        limit(before + self.follow(code))
    }

    fn follow(&mut self, index: u8) -> i32 {
        let index = usize::from(index);
        let difference = (self.step.size * VALUES_2[index]) >> 15;
        self.step.adapt::<22_528, 10>(STEPS_2[index]);
        self.predictor.follow(difference);
        difference
    }
}

/// To the 15 bits of a band.
fn limit(sample: i32) -> i32 {
    sample.clamp(-16_384, 16_383)
}

/// The size of one step (`DET`) and its logarithm (`NB`).
#[derive(Debug, Clone)]
struct Step {
    logarithm: i32,
    size: i32,
}

impl Step {
    /// `LOGSCL`/`LOGSCH` and `SCALEL`/`SCALEH`: leaks, moves, and becomes linear again.
    fn adapt<const MOST: i32, const SHIFT: i32>(&mut self, step: i32) {
        self.logarithm = (((self.logarithm * 127) >> 7) + step).clamp(0, MOST);
        let power = POWERS[(self.logarithm >> 6 & 31) as usize];
        let shift = SHIFT - (self.logarithm >> 11);
        self.size = if shift < 0 { power << -shift } else { power >> shift } << 2;
    }
}

/// Two poles and six zeros that adapt by signs (`UPPOL1`, `UPPOL2`, `UPZERO`, `FILTEP`, `FILTEZ`).
#[derive(Debug, Clone, Default)]
struct Predictor {
    /// What the next sample should be (`S`), and the part of the zeros in it (`SZ`).
    next: i32,
    next_of_zeros: i32,
    /// The last two reconstructed samples, and the last two as the zeros alone see them.
    reconstructed: [i32; 2],
    partial: [i32; 2],
    poles: [i32; 2],
    /// The last six quantised differences.
    differences: [i32; 6],
    zeros: [i32; 6],
}

impl Predictor {
    fn follow(&mut self, difference: i32) {
        let reconstructed = saturate(self.next + difference);
        let partial = saturate(self.next_of_zeros + difference);
        self.adapt_poles(partial);
        self.adapt_zeros(difference);
        self.partial = [partial, self.partial[0]];
        self.reconstructed = [reconstructed, self.reconstructed[0]];
        let [kept @ .., _] = self.differences;
        self.differences[1..].copy_from_slice(&kept);
        self.differences[0] = difference;

        let of_poles = saturate(
            product(self.poles[0], saturate(2 * self.reconstructed[0]))
                + product(self.poles[1], saturate(2 * self.reconstructed[1])),
        );
        // All products first, side by side; the sums wait for each other only where one of them could overflow.
        let mut products = [0; 6];
        for ((product_of, zero), past) in products.iter_mut().zip(&self.zeros).zip(&self.differences) {
            *product_of = product(*zero, saturate(2 * past));
        }
        let farthest: i32 = products.iter().map(|product| product.abs()).sum();
        self.next_of_zeros = if farthest <= i32::from(i16::MAX) {
            products.iter().sum()
        } else {
            products.iter().rev().fold(0, |sum, product| saturate(sum + product))
        };
        self.next = saturate(of_poles + self.next_of_zeros);
    }

    fn adapt_poles(&mut self, partial: i32) {
        let like_last = same_sign(partial, self.partial[0]);
        let like_one_before = same_sign(partial, self.partial[1]);
        let first = saturate(4 * self.poles[0]);
        let first = if like_last { saturate(-first) } else { first };
        let second = (first >> 7) + if like_one_before { 128 } else { -128 };
        let second = (second + product(self.poles[1], 32_512)).clamp(-12_288, 12_288);
        let bound = 15_360 - second;
        let first = product(self.poles[0], 32_640) + if like_last { 192 } else { -192 };
        self.poles = [saturate(first).clamp(-bound, bound), second];
    }

    fn adapt_zeros(&mut self, difference: i32) {
        let step = if difference == 0 { 0 } else { 128 };
        for (zero, past) in self.zeros.iter_mut().zip(&self.differences) {
            // 1 where the signs are the same, else -1: no branch, so that all six go side by side.
            let towards = step * (((difference ^ past) >> 31) | 1);
            *zero = saturate(towards + product(*zero, 32_640));
        }
    }
}

fn same_sign(one: i32, other: i32) -> bool {
    (one < 0) == (other < 0)
}

fn product(one: i32, other: i32) -> i32 {
    (one * other) >> 15
}
