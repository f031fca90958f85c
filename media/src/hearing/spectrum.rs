//! The power spectrum of the last 32 ms, every 20 ms: what the listeners for speech, tones and machines look at.
//!
//! 256 samples under a Hann window are transformed as 128 complex ones (even samples real, odd ones imaginary), then
//! taken apart. A bin is 31.25 Hz wide; a sine fills three.

use std::f64::consts::TAU;

use super::trig;

/// Samples from one spectrum to the next: 20 ms.
pub(super) const HOP: usize = 160;

/// Samples under the window.
const WINDOW: usize = 256;

const HALF: usize = WINDOW / 2;

/// Bins from 0 up to but not including 4,000 Hz.
pub(super) const BINS: usize = HALF;

/// Hz from bin to bin.
pub(super) const BIN_HZ: f32 = 31.25;

static SHAPE: [f32; WINDOW] = shape();
/// `exp(-2 pi i n / 256)` for the first half of the circle.
static EIGHTS: ([[f32; 16]; 8], [[f32; 16]; 8]) = turns();
static CIRCLE: ([f32; HALF], [f32; HALF]) = circle();

/// Cuts audio into frames and transforms each.
#[derive(Debug, Clone)]
pub(super) struct Spectrum {
    samples: [f32; WINDOW],
    /// How many of the newest `HOP` samples are there.
    filled: usize,
    frames: u64,
    power: [f32; BINS],
}

impl Default for Spectrum {
    fn default() -> Self {
        Self { samples: [0.0; WINDOW], filled: 0, frames: 0, power: [0.0; BINS] }
    }
}

impl Spectrum {
    /// Takes samples until a frame is complete; says how many. When that frame is complete, [`Self::power`] is its.
    pub(super) fn take(&mut self, samples: &[i16]) -> (usize, bool) {
        let place = WINDOW - HOP + self.filled;
        let count = samples.len().min(WINDOW - place);
        for (to, from) in self.samples[place..].iter_mut().zip(&samples[..count]) {
            *to = f32::from(*from);
        }
        self.filled += count;
        if self.filled < HOP {
            return (count, false);
        }
        self.transform();
        self.samples.copy_within(HOP.., 0);
        self.filled = 0;
        self.frames += 1;
        (count, true)
    }

    /// The power of each bin: a sine of amplitude A has A²/4 in its middle one.
    pub(super) fn power(&self) -> &[f32; BINS] {
        &self.power
    }

    /// Frames so far.
    pub(super) fn frames(&self) -> u64 {
        self.frames
    }

    fn transform(&mut self) {
        let mut re = [0.0_f32; HALF];
        let mut im = [0.0_f32; HALF];
        for (index, (pair, shape)) in self.samples.chunks_exact(2).zip(SHAPE.chunks_exact(2)).enumerate() {
            re[index] = pair[0] * shape[0];
            im[index] = pair[1] * shape[1];
        }
        let (mut other_re, mut other_im) = ([0.0_f32; HALF], [0.0_f32; HALF]);
        // Stockham, from array to array, in order at the end: three passes as one, then four.
        eights(&re, &im, &mut other_re, &mut other_im);
        pass::<8>(&other_re, &other_im, &mut re, &mut im);
        pass::<16>(&re, &im, &mut other_re, &mut other_im);
        pass::<32>(&other_re, &other_im, &mut re, &mut im);
        pass::<64>(&re, &im, &mut other_re, &mut other_im);
        let (re, im) = (other_re, other_im);
        let scale = 1.0 / (WINDOW * WINDOW) as f32;
        self.power[0] = 4.0 * (re[0] + im[0]) * (re[0] + im[0]) * scale;
        let forward = re[1..].iter().zip(&im[1..]);
        let backward = re[1..].iter().rev().zip(im[1..].iter().rev());
        let circle = CIRCLE.0[1..].iter().zip(&CIRCLE.1[1..]);
        let bins = forward.zip(backward).zip(circle);
        for (power, (((re, im), (mirror_re, mirror_im)), (cos, sin))) in self.power[1..].iter_mut().zip(bins)
        {
            let (even_re, even_im) = (re + mirror_re, im - mirror_im);
            let (odd_re, odd_im) = (im + mirror_im, mirror_re - re);
            let x = even_re + odd_re * cos - odd_im * sin;
            let y = even_im + odd_re * sin + odd_im * cos;
            *power = (x * x + y * y) * scale;
        }
    }
}

/// The first three passes at once: transforms of the eight values that are 16 apart, sixteen of them side by side.
fn eights(re: &[f32; HALF], im: &[f32; HALF], out_re: &mut [f32; HALF], out_im: &mut [f32; HALF]) {
    let (re, im) = (re.as_chunks::<16>().0, im.as_chunks::<16>().0);
    let (mut turned_re, mut turned_im) = ([[0.0_f32; 16]; 8], [[0.0_f32; 16]; 8]);
    let root = std::f32::consts::FRAC_1_SQRT_2;
    for at in 0..16 {
        let add = |a: usize, b: usize| (re[a][at] + re[b][at], im[a][at] + im[b][at]);
        let subtract = |a: usize, b: usize| (re[a][at] - re[b][at], im[a][at] - im[b][at]);
        let fours = |b: [(f32, f32); 4]| {
            let (s, d) = ((b[0].0 + b[2].0, b[0].1 + b[2].1), (b[0].0 - b[2].0, b[0].1 - b[2].1));
            let (t, u) = ((b[1].0 + b[3].0, b[1].1 + b[3].1), (b[1].0 - b[3].0, b[1].1 - b[3].1));
            [(s.0 + t.0, s.1 + t.1), (d.0 + u.1, d.1 - u.0), (s.0 - t.0, s.1 - t.1), (d.0 - u.1, d.1 + u.0)]
        };
        let even = fours([add(0, 4), add(1, 5), add(2, 6), add(3, 7)]);
        let (first, second) = (subtract(1, 5), subtract(3, 7));
        let quarter = subtract(2, 6);
        let odd = fours([
            subtract(0, 4),
            ((first.0 + first.1) * root, (first.1 - first.0) * root),
            (quarter.1, -quarter.0),
            ((second.1 - second.0) * root, -(second.0 + second.1) * root),
        ]);
        for half in 0..4 {
            for (order, (x, y)) in [(2 * half, even[half]), (2 * half + 1, odd[half])] {
                let (cos, sin) = (EIGHTS.0[order][at], EIGHTS.1[order][at]);
                turned_re[order][at] = x * cos - y * sin;
                turned_im[order][at] = x * sin + y * cos;
            }
        }
    }
    let outs = out_re.as_chunks_mut::<8>().0.iter_mut().zip(out_im.as_chunks_mut::<8>().0);
    for (at, (to_re, to_im)) in outs.enumerate() {
        for order in 0..8 {
            to_re[order] = turned_re[order][at];
            to_im[order] = turned_im[order][at];
        }
    }
}

/// One pass: sums and turned differences of values half of the array apart.
fn pass<const STRIDE: usize>(
    re: &[f32; HALF],
    im: &[f32; HALF],
    out_re: &mut [f32; HALF],
    out_im: &mut [f32; HALF],
) {
    let (first_re, second_re) = re.split_at(HALF / 2);
    let (first_im, second_im) = im.split_at(HALF / 2);
    let ins = first_re.as_chunks::<STRIDE>().0.iter().zip(second_re.as_chunks::<STRIDE>().0);
    let ins = ins.zip(first_im.as_chunks::<STRIDE>().0.iter().zip(second_im.as_chunks::<STRIDE>().0));
    let outs = out_re.chunks_exact_mut(2 * STRIDE).zip(out_im.chunks_exact_mut(2 * STRIDE));
    for (group, (((ar, br), (ai, bi)), (to_re, to_im))) in ins.zip(outs).enumerate() {
        let (cos, sin) = (CIRCLE.0[2 * group * STRIDE], CIRCLE.1[2 * group * STRIDE]);
        let (sum_re, difference_re) = to_re.split_at_mut(STRIDE);
        let (sum_im, difference_im) = to_im.split_at_mut(STRIDE);
        for lane in 0..STRIDE {
            let (x, y) = (ar[lane] - br[lane], ai[lane] - bi[lane]);
            sum_re[lane] = ar[lane] + br[lane];
            sum_im[lane] = ai[lane] + bi[lane];
            difference_re[lane] = x * cos - y * sin;
            difference_im[lane] = x * sin + y * cos;
        }
    }
}

/// Hann, with a sum of 256: a sine keeps its amplitude.
const fn shape() -> [f32; WINDOW] {
    let mut shape = [0.0; WINDOW];
    let mut index = 0;
    while index < WINDOW {
        shape[index] = (1.0 - trig::cos(TAU * (index as f64 + 0.5) / WINDOW as f64)) as f32;
        index += 1;
    }
    shape
}

/// `exp(-2 pi i at order / 128)`.
const fn turns() -> ([[f32; 16]; 8], [[f32; 16]; 8]) {
    let mut turns = ([[0.0; 16]; 8], [[0.0; 16]; 8]);
    let mut order = 0;
    while order < 8 {
        let mut at = 0;
        while at < 16 {
            let angle = TAU * (order * at) as f64 / HALF as f64;
            turns.0[order][at] = trig::cos(angle) as f32;
            turns.1[order][at] = -trig::sin(angle) as f32;
            at += 1;
        }
        order += 1;
    }
    turns
}

const fn circle() -> ([f32; HALF], [f32; HALF]) {
    let mut circle = ([0.0; HALF], [0.0; HALF]);
    let mut index = 0;
    while index < HALF {
        let angle = TAU * index as f64 / WINDOW as f64;
        circle.0[index] = trig::cos(angle) as f32;
        circle.1[index] = -trig::sin(angle) as f32;
        index += 1;
    }
    circle
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sine_is_where_it_belongs_and_as_strong_as_it_is() {
        for bin in [3, 17, 64, 100, 125] {
            let turn = TAU * f64::from(bin) / 256.0;
            let samples: Vec<i16> =
                (0..480).map(|at| (8_000.0 * (turn * f64::from(at)).sin()).round() as i16).collect();
            let mut spectrum = Spectrum::default();

            let mut rest = samples.as_slice();
            while !rest.is_empty() {
                rest = &rest[spectrum.take(rest).0..];
            }

            let power = spectrum.power();
            let bin = bin as usize;
            assert!((power[bin].sqrt() / 8_000.0 - 1.0).abs() < 0.01, "{}", power[bin].sqrt());
            assert!((power[bin + 1].sqrt() / 4_000.0 - 1.0).abs() < 0.02);
            assert!(power[(bin + 40) % 128] < 10.0);
            assert_eq!(spectrum.frames(), 3);
        }
    }
}
