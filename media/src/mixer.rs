//! Several voices as one, with a limiter that is not heard until it is needed.
//!
//! ```text
//!   inputs -> sum -> peak of each 4 ms -> gain that keeps it below LIMIT -> what still passes LIMIT is bent -> out
//! ```
//! Voices are added, not averaged: nobody becomes quieter because others listen. As long as the sum stays below
//! [`LIMIT`] it goes out as it is. Where it does not, the gain falls along a straight line that arrives when the
//! peak does, since a frame is known as a whole, and rises again by 6 dB in 200 ms. Only a peak in the first 4 ms of
//! a frame can find the gain too high; it is bent towards full scale, not cut.

use crate::SampleRate;

/// A frame is worked on in pieces of this many samples: what fits on the stack.
const PIECE: usize = 512;

/// Pieces have at most so many blocks, 4 ms each.
const BLOCKS: usize = PIECE / 32;

/// 1 dB below full scale.
const LIMIT: f32 = 29_204.0;

/// Full scale.
const MOST: f32 = 32_767.0;

/// What a gain grows by in 4 ms: twice as much in 200 ms.
const RELEASE: f32 = 1.013_96;

/// Adds up the voices of one listener. Never allocates.
#[derive(Debug, Clone)]
pub struct Mixer {
    limiter: Limiter,
}

/// Keeps sums below full scale.
#[derive(Debug, Clone)]
pub(crate) struct Limiter {
    /// Samples of 4 ms.
    block: usize,
    /// Where the gain stood at the end of the last frame.
    gain: f32,
}

impl Mixer {
    /// For voices at this rate.
    pub fn new(rate: SampleRate) -> Self {
        Self { limiter: Limiter::new(rate) }
    }

    /// What all inputs come to. One that is shorter than `out` is silent from its end on, what is longer is not heard;
    /// without inputs `out` is silence.
    pub fn mix(&mut self, inputs: &[&[i16]], out: &mut [i16]) {
        let mut sums = [0; PIECE];
        let mut begin = 0;
        for out in out.chunks_mut(self.limiter.piece()) {
            let sums = &mut sums[..out.len()];
            sums.fill(0);
            for input in inputs {
                let input = input.get(begin..).unwrap_or_default();
                for (sum, sample) in sums.iter_mut().zip(input) {
                    *sum += i32::from(*sample);
                }
            }
            begin += out.len();
            self.limiter.limit(sums, out);
        }
    }
}

impl Limiter {
    pub(crate) fn new(rate: SampleRate) -> Self {
        Self { block: rate.hertz() as usize / 250, gain: 1.0 }
    }

    /// The most that is taken at once: whole blocks, so that the gain has its corners at the same places whatever the rate.
    fn piece(&self) -> usize {
        PIECE / self.block * self.block
    }

    /// Writes what is left of the sums, at most [`Self::piece`] of them.
    pub(crate) fn limit(&mut self, sums: &[i32], out: &mut [i16]) {
        debug_assert!(sums.len() <= self.piece(), "{} sums at once", sums.len());
        if self.gain >= 1.0 && peak(sums) <= LIMIT as i32 {
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = *sum as i16;
            }
        } else if !sums.is_empty() {
            self.lower(sums, out);
        }
    }

    /// Along straight lines between the ends of blocks, each as low as the blocks on both its sides ask for.
    fn lower(&mut self, sums: &[i32], out: &mut [i16]) {
        let mut wanted = [1.0_f32; BLOCKS + 1];
        let blocks = sums.chunks(self.block);
        let last = blocks.len();
        for (wanted, sums) in wanted.iter_mut().zip(blocks) {
            *wanted = (LIMIT / peak(sums).max(1) as f32).min(1.0);
        }
        // The next frame is not known yet.
        wanted[last] = wanted[last - 1];
        for (index, (out, sums)) in out.chunks_mut(self.block).zip(sums.chunks(self.block)).enumerate() {
            let end = wanted[index].min(wanted[index + 1]).min(self.gain * RELEASE);
            let step = (end - self.gain) / sums.len() as f32;
            for (at, (out, sum)) in (1_u16..).zip(out.iter_mut().zip(sums)) {
                *out = bent(*sum as f32 * (self.gain + step * f32::from(at)));
            }
            self.gain = end;
        }
    }
}

fn peak(sums: &[i32]) -> i32 {
    let (mut least, mut most) = (0, 0);
    for sum in sums {
        least = least.min(*sum);
        most = most.max(*sum);
    }
    most.max(-least)
}

/// The same up to [`LIMIT`], then ever flatter and never beyond full scale; without a corner.
fn bent(sample: f32) -> i16 {
    let over = (sample.abs() - LIMIT).max(0.0);
    let room = MOST - LIMIT;
    let size = sample.abs().min(LIMIT) + over * room / (over + room);
    size.copysign(sample) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: usize = 160;

    #[test]
    fn what_has_room_is_the_exact_sum() {
        let one = tone(440.0, 9_000.0);
        let other = tone(1_210.0, 8_000.0);
        let third = tone(300.0, 7_000.0);

        let mixed = mixed(&[&one, &other, &third], FRAME);

        for (index, mixed) in mixed.iter().enumerate() {
            assert_eq!(*mixed, one[index] + other[index] + third[index], "sample {index}");
        }
    }

    #[test]
    fn three_that_shout_keep_their_shape_and_never_wrap_around() {
        let loud = tone(500.0, 30_000.0);
        let mixed = mixed(&[&loud, &loud, &loud], FRAME);

        let settled = &mixed[FRAME..];
        let top = settled.iter().copied().max().unwrap();
        assert!((29_000..=29_204).contains(&top), "{top}");
        // The line of the one voice, louder or quieter: what is left of it is rounding and the release.
        let scale = f64::from(top) / 30_000.0;
        for (mixed, loud) in settled.iter().zip(&loud[FRAME..]) {
            let expected = f64::from(*loud) * scale;
            assert!((f64::from(*mixed) - expected).abs() < 500.0, "{mixed} for {expected}");
        }
    }

    #[test]
    fn a_sudden_peak_makes_no_jump_that_was_not_there() {
        let quiet = vec![1_000_i16; 1_600];
        let mut peak = vec![0; 1_600];
        for (sample, at) in peak[700..900].iter_mut().zip(0..) {
            *sample = ((f64::from(at) * 0.1).sin() * 32_000.0) as i16;
        }
        let mixed = mixed(&[&quiet, &peak, &peak], FRAME);

        let steepest =
            |samples: &[i16]| samples.windows(2).map(|pair| pair[0].abs_diff(pair[1])).max().unwrap();
        assert!(steepest(&mixed) <= 2 * steepest(&peak), "{} {}", steepest(&mixed), steepest(&peak));
        assert!(mixed.iter().all(|sample| sample.unsigned_abs() < 32_767));
    }

    #[test]
    fn after_a_peak_the_gain_comes_back_by_6_db_in_200_ms() {
        let mut mixer = Mixer::new(SampleRate::Hz8000);
        let shout = [30_000_i16; FRAME];
        let voice = [10_000_i16; FRAME];
        let mut out = [0; FRAME];
        mixer.mix(&[&shout, &shout], &mut out);
        let after: Vec<i16> = (0..20)
            .map(|_| {
                mixer.mix(&[&voice], &mut out);
                out[FRAME - 1]
            })
            .collect();

        // The limiter halved it.
        assert!((4_900..5_300).contains(&after[0]), "{after:?}");
        assert!(after[8] < 9_900 && after[11..] == [10_000; 9], "{after:?}");
    }

    #[test]
    fn inputs_of_other_lengths_are_silent_from_their_end_and_none_is_silence() {
        let mut mixer = Mixer::new(SampleRate::Hz8000);
        let mut out = [7; 6];

        mixer.mix(&[&[1, 2, 3], &[10; 9], &[]], &mut out);
        assert_eq!(out, [11, 12, 13, 10, 10, 10]);
        mixer.mix(&[], &mut out);
        assert_eq!(out, [0; 6]);
        mixer.mix(&[&[1]], &mut []);
    }

    #[test]
    fn whatever_comes_stays_within_full_scale_at_every_rate() {
        for rate in [SampleRate::Hz8000, SampleRate::Hz16000, SampleRate::Hz24000, SampleRate::Hz48000] {
            let mut mixer = Mixer::new(rate);
            let mut seed = 1_u32;
            for length in [0, 1, 31, 160, 511, 512, 960, 2_001] {
                let input: Vec<i16> = (0..length)
                    .map(|_| {
                        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        if seed >> 31 == 0 { i16::MIN } else { i16::MAX }
                    })
                    .collect();
                let mut out = vec![0; length];
                mixer.mix(&[input.as_slice(); 40], &mut out);

                // The sign of the sum is kept: nothing wrapped around.
                assert!(out.iter().zip(&input).all(|(out, input)| (*out < 0) == (*input < 0)), "{rate:?}");
            }
        }
    }

    fn mixed(inputs: &[&[i16]], frame: usize) -> Vec<i16> {
        let mut mixer = Mixer::new(SampleRate::Hz8000);
        let mut out = vec![0; inputs[0].len()];
        for (index, out) in out.chunks_mut(frame).enumerate() {
            let inputs: Vec<&[i16]> =
                inputs.iter().map(|input| &input[index * frame..][..out.len()]).collect();
            mixer.mix(&inputs, out);
        }
        out
    }

    fn tone(hertz: f64, amplitude: f64) -> Vec<i16> {
        let turn = std::f64::consts::TAU / 8_000.0;
        (0..1_600).map(|at| (amplitude * (hertz * turn * f64::from(at)).sin()) as i16).collect()
    }
}
