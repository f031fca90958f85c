//! Linear prediction: how a sample follows from those before it.

/// Added to the energy of every sample (a 16-bit sample squared), so that silence predicts silence.
const QUIET: f32 = 1e-3;

/// When an energy that was reckoned on has shrunk to this share of one that was added up, it is added up again: what is
/// left of it would be rounding.
const WORN: f32 = 0.03;

/// Buffers for [`predictor`]; made once.
#[derive(Debug, Clone)]
pub(super) struct Workshop {
    forward: Box<[f32]>,
    backward: Box<[f32]>,
    turned: Box<[f32]>,
}

impl Workshop {
    /// For signals of at most `length` samples and predictors of at most `order` weights.
    pub(super) fn new(length: usize, order: usize) -> Self {
        let buffer = |length| vec![0.0; length].into_boxed_slice();
        Self { forward: buffer(length), backward: buffer(length), turned: buffer(order) }
    }

    /// The predictor of `signal` by Burg's method: see [`next`]; the last weight is that of the newest
    /// sample. What it predicts from its own predictions never grows without end. Needs more samples than weights.
    pub(super) fn predictor(&mut self, signal: &[f32], weights: &mut [f32]) {
        let length = signal.len();
        debug_assert!(weights.len() < length, "{} weights for {length} samples", weights.len());
        let (forward, backward) = (&mut self.forward[..length], &mut self.backward[..length]);
        forward.copy_from_slice(signal);
        backward.copy_from_slice(signal);
        // What both errors have in energy; a stage less, and without the samples that it leaves out.
        let mut energy = 2.0 * product(signal, signal);
        let mut exact = energy;
        for order in 1..=weights.len() {
            // Errors of predicting this sample from before and, `order` later, from behind.
            let (first, last) = (forward[order - 1], backward[length - order]);
            let forward = &mut forward[order..];
            let backward = &mut backward[..length - order];
            energy -= first * first + last * last;
            if energy < WORN * exact {
                exact = product(forward, forward) + product(backward, backward);
                energy = exact;
            }
            let reflection = 2.0 * product(forward, backward) / (energy + QUIET * length as f32);
            energy *= 1.0 - reflection * reflection;
            for (forward, backward) in forward.iter_mut().zip(backward) {
                let (ahead, behind) = (*forward, *backward);
                *forward = ahead - reflection * behind;
                *backward = behind - reflection * ahead;
            }
            let (known, rest) = weights.split_at_mut(order - 1);
            let turned = &mut self.turned[..known.len()];
            turned.copy_from_slice(known);
            for (weight, other) in known.iter_mut().zip(turned.iter().rev()) {
                *weight -= reflection * other;
            }
            rest[0] = reflection;
        }
        weights.reverse();
    }
}

/// The next sample of a signal, from as many as there are weights before it.
#[inline]
pub(super) fn next(before: &[f32], weights: &[f32]) -> f32 {
    product(&before[before.len() - weights.len()..], weights)
}

/// The sum of products of two signals of one length.
#[inline]
pub(super) fn product(one: &[f32], other: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 8];
    let (ones, others) = (one.chunks_exact(8), other.chunks_exact(8));
    let rest: f32 = ones.remainder().iter().zip(others.remainder()).map(|(one, other)| one * other).sum();
    for (one, other) in ones.zip(others) {
        for (sum, (one, other)) in sums.iter_mut().zip(one.iter().zip(other)) {
            *sum += one * other;
        }
    }
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sines_go_on_as_they_were() {
        let at = |index: usize| {
            let at = index as f32;
            3_000.0 * (at * 0.21).sin() + 1_500.0 * (at * 0.83).cos() + 700.0 * (at * 1.9).sin()
        };
        let mut signal: Vec<f32> = (0..320).map(at).collect();
        let mut weights = [0.0; 64];
        Workshop::new(320, 64).predictor(&signal, &mut weights);

        for index in 320..480 {
            signal.push(next(&signal, &weights));
            assert!(
                (signal[index] - at(index)).abs() < 250.0,
                "{index}: {} for {}",
                signal[index],
                at(index)
            );
        }
    }

    #[test]
    fn what_goes_on_by_itself_never_grows() {
        let mut seed = 1_u32;
        let mut signal: Vec<f32> = (0..200)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 16) as f32 - 32_768.0
            })
            .collect();
        let mut weights = [0.0; 64];
        Workshop::new(200, 64).predictor(&signal, &mut weights);
        for _ in 0..5_000 {
            signal.push(next(&signal, &weights));
        }

        assert!(signal.iter().all(|sample| sample.abs() < 100_000.0));
        assert!(signal[5_000..].iter().all(|sample| sample.abs() < 3_000.0));
    }

    #[test]
    fn silence_predicts_silence() {
        let mut weights = [1.0; 16];
        Workshop::new(160, 16).predictor(&[0.0; 160], &mut weights);

        assert_eq!(weights, [0.0; 16]);
    }
}
