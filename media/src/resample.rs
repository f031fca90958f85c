//! From one sample rate to another, 8, 16, 24 and 48 kHz: a windowed-sinc polyphase filter of fixed ratio.
//!
//! ```text
//!   M samples in --> M streams, one for each place in a cycle
//!                    output p of a cycle = sum of taps of p, each on one stream --> L samples out
//! ```
//!
//! Between two rates lies a smallest cycle: M samples come in, L go out (8 to 24 kHz: 1 and 3; 24 to 16 kHz: 3 and 2).
//! Each of the L outputs has taps of its own. All inputs that a tap meets lie in one stream, one behind the other, so
//! that many cycles are added up side by side.
//!
//! The filter is a sinc under a Kaiser window whose half height is at half the lower rate: it passes up to
//! 0.425 of the lower rate (3.4 kHz of 8 kHz) and stops from 0.575 of it on. It delays by 17.5 samples of the
//! lower rate, 2.19 ms at 8 kHz; more delay would buy a steeper filter, and nobody hears that on a telephone.

use crate::SampleRate;

/// Half the filter's length, in halves of a sample at the lower rate.
const HALF_SAMPLES: usize = 35;

/// Kaiser's beta for that length and the transition in the head: 81 dB.
const BETA: f64 = 8.1;

/// Cycles in one round: 20 ms when the lower rate is 8 kHz.
const ROUND: usize = 160;

/// Cycles that are added up side by side.
const LANES: usize = 32;

/// Adding this to a small number leaves its nearest integer in the lowest bits (IEEE 754: 1.5 times 2^23).
const TO_INTEGER: f32 = 12_582_912.0;

/// One channel on its way from one rate to another. Never allocates after [`Self::new`].
#[derive(Debug, Clone)]
pub struct Resampler {
    /// Samples of one cycle that come in.
    ins: usize,
    /// Those that go out: one list of taps for each.
    outs: Vec<Vec<Tap>>,
    /// Streams of the cycle's places, each `stride` long: what taps still look back to, then this round's.
    streams: Vec<f32>,
    stride: usize,
    /// Cycles that taps look back.
    history: usize,
    /// Samples of this round that came in so far.
    filled: usize,
    round: Vec<i16>,
}

#[derive(Debug, Clone, Copy)]
struct Tap {
    weight: f32,
    /// Where it stands for the first cycle of a round.
    place: usize,
}

impl Resampler {
    /// What comes out is later by this many halves of a sample at the lower rate.
    pub const DELAY_HALVES: usize = HALF_SAMPLES;

    /// At rest: as if only silence had come before.
    pub fn new(from: SampleRate, to: SampleRate) -> Self {
        let (from, to) = (from.hertz() as usize, to.hertz() as usize);
        let common = greatest_common_divisor(from, to);
        let (ins, outs) = (from / common, to / common);
        let filter = Filter::new(ins, outs);
        let history = (filter.length() / outs).div_ceil(ins);
        let stride = history + ROUND;
        let outs: Vec<Vec<Tap>> = (0..outs).map(|out| filter.taps(out, ins, outs, history, stride)).collect();
        let round = vec![0; ROUND * outs.len()];
        Self { ins, outs, streams: vec![0.0; ins * stride], stride, history, filled: 0, round }
    }

    /// Forgets all that came before.
    pub fn reset(&mut self) {
        self.streams.fill(0.0);
        self.filled = 0;
    }

    /// Takes samples, any number of them, and gives what they come to, in one or more pieces. What does not fill a
    /// cycle waits for the rest.
    pub fn feed(&mut self, input: &[i16], mut give: impl FnMut(&[i16])) {
        let mut rest = input;
        while !rest.is_empty() {
            let room = ROUND * self.ins - self.filled;
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.fill(now);
            self.work(&mut give);
            rest = later;
        }
    }

    /// Each stream takes its own of the samples.
    fn fill(&mut self, input: &[i16]) {
        for place in 0..self.ins {
            // The first of them that stands at this place of a cycle.
            let first = (place + self.ins - self.filled % self.ins) % self.ins;
            let cycle = self.history + (self.filled + first) / self.ins;
            let stream = &mut self.streams[place * self.stride..(place + 1) * self.stride];
            let own = input.get(first..).unwrap_or_default().iter().step_by(self.ins);
            for (to, from) in stream[cycle.min(self.stride)..].iter_mut().zip(own) {
                *to = f32::from(*from);
            }
        }
        self.filled += input.len();
    }

    /// Gives all whole cycles, and moves what is still needed to the front.
    fn work(&mut self, give: &mut impl FnMut(&[i16])) {
        let cycles = self.filled / self.ins;
        if cycles == 0 {
            return;
        }
        let outs = self.outs.len();
        for (out, taps) in self.outs.iter().enumerate() {
            for first in (0..cycles).step_by(LANES) {
                let sums = add_up(taps, &self.streams, first);
                let results = self.round[first * outs + out..].iter_mut().step_by(outs);
                for (result, sum) in results.zip(sums).take(cycles - first) {
                    *result = sum;
                }
            }
        }
        for stream in self.streams.chunks_exact_mut(self.stride) {
            stream.copy_within(cycles..(cycles + self.history + 1).min(self.stride), 0);
        }
        self.filled -= cycles * self.ins;
        give(&self.round[..cycles * outs]);
    }
}

/// One output of [`LANES`] cycles. Those beyond the last whole cycle come from what lies there; they are not used.
#[inline]
fn add_up(taps: &[Tap], streams: &[f32], first: usize) -> [i16; LANES] {
    let mut sums = [0.0_f32; LANES];
    for tap in taps {
        let Some(samples) = streams.get(tap.place + first..).and_then(<[f32]>::first_chunk::<LANES>) else {
            break;
        };
        for (sum, sample) in sums.iter_mut().zip(samples) {
            *sum += tap.weight * sample;
        }
    }
    sums.map(|sum| (sum.clamp(-32_768.0, 32_767.0) + TO_INTEGER).to_bits() as i16)
}

/// The filter at the rate where both meet.
struct Filter {
    /// Weights from the middle outwards; both sides are alike.
    half: Vec<f64>,
}

impl Filter {
    fn new(ins: usize, outs: usize) -> Self {
        let lower = ins.max(outs);
        let length = HALF_SAMPLES * lower / 2;
        let gain = outs as f64 / lower as f64;
        let weight = |index: usize| {
            let place = index as f64 / length as f64;
            let window = bessel(BETA * (1.0 - place * place).sqrt()) / bessel(BETA);
            gain * sinc(index as f64 / lower as f64) * window
        };
        Self { half: (0..=length).map(weight).collect() }
    }

    /// From its first weight to its last.
    fn length(&self) -> usize {
        2 * (self.half.len() - 1)
    }

    /// The taps of one output of a cycle, those that weigh nothing left out.
    fn taps(&self, out: usize, ins: usize, outs: usize, history: usize, stride: usize) -> Vec<Tap> {
        let newest = history * ins + out * ins / outs;
        let middle = self.half.len() - 1;
        let mut taps = Vec::new();
        for (age, index) in (out * ins % outs..=self.length()).step_by(outs).enumerate() {
            let weight = self.half[index.abs_diff(middle)];
            if weight.abs() > 1e-9 {
                let sample = newest - age;
                let place = sample % ins * stride + sample / ins;
                taps.push(Tap { weight: weight as f32, place });
            }
        }
        taps
    }
}

fn sinc(x: f64) -> f64 {
    let angle = std::f64::consts::PI * x;
    if x == 0.0 { 1.0 } else { angle.sin() / angle }
}

/// The modified Bessel function of the first kind and order 0, by its series.
fn bessel(x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for n in 1..40 {
        term *= (x / (2.0 * f64::from(n))).powi(2);
        sum += term;
    }
    sum
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use SampleRate::{Hz8000, Hz16000, Hz24000, Hz48000};
    use std::f64::consts::TAU;

    const RATES: [SampleRate; 4] = [Hz8000, Hz16000, Hz24000, Hz48000];

    /// Long enough for the filter to be full.
    const SETTLED: usize = 400;

    #[test]
    fn a_tone_in_the_pass_band_comes_out_with_80_db_to_anything_else() {
        for (from, to) in pairs() {
            for share in [0.02, 0.1, 0.2, 0.3, 0.4, 0.425] {
                let fit = Fit::of(from, to, share * lower(from, to));

                assert!(fit.snr_db() >= 80.0, "{from:?} to {to:?} at {share}: {:.1} dB", fit.snr_db());
            }
        }
    }

    #[test]
    fn the_pass_band_is_flat_to_a_hundredth_of_a_decibel() {
        for (from, to) in pairs() {
            for step in 1..=42 {
                let fit = Fit::of(from, to, f64::from(step) * 0.01 * lower(from, to));

                assert!(fit.gain_db().abs() <= 0.01, "{from:?} to {to:?} at {step} %: {} dB", fit.gain_db());
            }
        }
    }

    #[test]
    fn images_of_a_tone_are_80_db_below_it() {
        for (from, to) in pairs().filter(|(from, to)| from.hertz() < to.hertz()) {
            for share in [0.05, 0.25, 0.4, 0.425] {
                let low = f64::from(from.hertz());
                let output = resampled(from, to, &tone(from, share * low));
                let settled = &output[SETTLED..];
                let heard = level_at(settled, to, share * low);
                for image in
                    (1..).map(|n| f64::from(n) * low).take_while(|n| *n <= f64::from(to.hertz()) / 2.0)
                {
                    for image in [image - share * low, image + share * low] {
                        let ratio = decibels(level_at(settled, to, image) / heard);
                        assert!(ratio <= -80.0, "{from:?} to {to:?}: {image} Hz at {ratio:.1} dB");
                    }
                }
            }
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_carry_does_not_come_back_as_another_tone() {
        for (from, to) in pairs().filter(|(from, to)| from.hertz() > to.hertz()) {
            let low = f64::from(to.hertz());
            for share in [0.575, 0.6, 0.7, 0.8, 1.0, 1.3] {
                let frequency = share * low;
                if frequency >= f64::from(from.hertz()) / 2.0 {
                    continue;
                }
                let input = tone(from, frequency);
                let output = resampled(from, to, &input);
                let ratio = decibels(power(&output[SETTLED..]).sqrt() / power(&input).sqrt());

                assert!(ratio <= -80.0, "{from:?} to {to:?}: {frequency} Hz at {ratio:.1} dB");
            }
        }
    }

    #[test]
    fn nothing_is_delayed_by_more_than_2_2_ms() {
        for (from, to) in pairs() {
            let fit = Fit::of(from, to, 0.01 * lower(from, to));

            assert!((0.1..=2.2).contains(&fit.delay_ms()), "{from:?} to {to:?}: {} ms", fit.delay_ms());
        }
    }

    #[test]
    fn pieces_of_any_size_come_to_the_same() {
        for (from, to) in pairs() {
            let input = tone(from, 700.0);
            let whole = resampled(from, to, &input);
            for size in [1, 7, 160, 161, 479, 960, 2_001] {
                let mut resampler = Resampler::new(from, to);
                let mut pieces = Vec::new();
                for piece in input.chunks(size) {
                    resampler.feed(piece, |samples| pieces.extend_from_slice(samples));
                }

                assert_eq!(pieces, whole, "{from:?} to {to:?} by {size}");
            }
        }
    }

    #[test]
    fn twenty_milliseconds_in_are_twenty_milliseconds_out() {
        for (from, to) in pairs() {
            let mut resampler = Resampler::new(from, to);
            for _ in 0..3 {
                let mut length = 0;
                resampler.feed(&vec![1; from.hertz() as usize / 50], |samples| length += samples.len());

                assert_eq!(length, to.hertz() as usize / 50, "{from:?} to {to:?}");
            }
        }
    }

    #[test]
    fn the_loudest_samples_stay_at_the_end_of_the_range() {
        for (from, to) in pairs() {
            let square: Vec<i16> =
                (0..4_000).map(|index| if index / 200 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
            let output = resampled(from, to, &square);

            assert!(output.contains(&i16::MAX) && output.contains(&i16::MIN), "{from:?} to {to:?}");
            let steps = output.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) > 40_000).count();
            assert!(steps <= 20, "{from:?} to {to:?}: {steps} jumps from end to end");
        }
    }

    #[test]
    fn after_a_reset_it_is_as_new() {
        let mut resampler = Resampler::new(Hz16000, Hz8000);
        let mut second = Vec::new();
        resampler.feed(&tone(Hz16000, 900.0)[..1_001], |_| {});
        resampler.reset();

        let input = tone(Hz16000, 400.0);
        resampler.feed(&input, |samples| second.extend_from_slice(samples));

        assert_eq!(second, resampled(Hz16000, Hz8000, &input));
    }

    fn pairs() -> impl Iterator<Item = (SampleRate, SampleRate)> {
        RATES.into_iter().flat_map(|from| RATES.map(|to| (from, to))).filter(|(from, to)| from != to)
    }

    fn lower(from: SampleRate, to: SampleRate) -> f64 {
        f64::from(from.hertz().min(to.hertz()))
    }

    /// A quarter of a second, nearly as loud as it can be.
    fn tone(rate: SampleRate, frequency: f64) -> Vec<i16> {
        let step = TAU * frequency / f64::from(rate.hertz());
        (0..rate.hertz() / 4)
            .map(|index| (30_000.0 * (step * f64::from(index)).sin()).round() as i16)
            .collect()
    }

    fn resampled(from: SampleRate, to: SampleRate, input: &[i16]) -> Vec<i16> {
        let mut output = Vec::new();
        Resampler::new(from, to).feed(input, |samples| output.extend_from_slice(samples));
        output
    }

    fn power(samples: &[i16]) -> f64 {
        samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / samples.len() as f64
    }

    fn decibels(ratio: f64) -> f64 {
        20.0 * ratio.log10()
    }

    /// Amplitude of one frequency, seen through a window that leaves its neighbours out.
    fn level_at(samples: &[i16], rate: SampleRate, frequency: f64) -> f64 {
        let step = TAU * frequency / f64::from(rate.hertz());
        let (mut re, mut im, mut weight) = (0.0, 0.0, 0.0);
        for (index, sample) in (0_u32..).zip(samples) {
            let at = TAU * f64::from(index) / samples.len() as f64;
            let window =
                0.358_75 - 0.488_29 * at.cos() + 0.141_28 * (2.0 * at).cos() - 0.011_68 * (3.0 * at).cos();
            let angle = step * f64::from(index);
            re += window * f64::from(*sample) * angle.cos();
            im += window * f64::from(*sample) * angle.sin();
            weight += window;
        }
        2.0 * re.hypot(im) / weight
    }

    /// The sine of one frequency that fits the output best, and what it leaves over.
    struct Fit {
        frequency: f64,
        amplitude: f64,
        phase: f64,
        left: f64,
    }

    impl Fit {
        fn of(from: SampleRate, to: SampleRate, frequency: f64) -> Self {
            let output = resampled(from, to, &tone(from, frequency));
            let settled = &output[SETTLED..];
            let step = TAU * frequency / f64::from(to.hertz());
            let angle = |index: usize| step * (index + SETTLED) as f64;
            // Normal equations of a sin + b cos.
            let (mut ss, mut sc, mut cc, mut ys, mut yc) = (0.0, 0.0, 0.0, 0.0, 0.0);
            for (index, sample) in settled.iter().enumerate() {
                let (sin, cos) = angle(index).sin_cos();
                ss += sin * sin;
                sc += sin * cos;
                cc += cos * cos;
                ys += f64::from(*sample) * sin;
                yc += f64::from(*sample) * cos;
            }
            let determinant = ss * cc - sc * sc;
            let (a, b) = ((ys * cc - yc * sc) / determinant, (yc * ss - ys * sc) / determinant);
            let rest = settled.iter().enumerate().map(|(index, sample)| {
                let (sin, cos) = angle(index).sin_cos();
                (f64::from(*sample) - a * sin - b * cos).powi(2)
            });
            let left = rest.sum::<f64>() / settled.len() as f64;
            Self { frequency, amplitude: a.hypot(b), phase: b.atan2(a), left }
        }

        fn snr_db(&self) -> f64 {
            10.0 * (self.amplitude.powi(2) / 2.0 / self.left).log10()
        }

        fn gain_db(&self) -> f64 {
            decibels(self.amplitude / 30_000.0)
        }

        fn delay_ms(&self) -> f64 {
            -self.phase / (TAU * self.frequency) * 1_000.0
        }
    }
}
