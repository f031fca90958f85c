//! How alike two recordings are, wherever one begins in the other.
//!
//! For every lag with an overlap of at least half of the shorter recording,
//! ```text
//!                      sum said[i] · heard[i + lag]
//!   value(lag) = ----------------------------------------     over the overlap
//!                sqrt(sum said[i]²) · sqrt(sum heard[i+lag]²)
//! ```
//! All numerators come from one Fourier transform there and back, so a minute of audio takes a fraction of
//! a second.

/// The best match of two recordings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Correlation {
    /// Samples by which the second recording is later than the first (negative: earlier).
    pub lag: i32,
    /// Normalised: 1 the same but for loudness, 0 unrelated, -1 inverted.
    pub value: f32,
}

/// Finds the lag at which `heard` is most like `said`. Silence is like nothing: 0 at lag 0.
pub fn correlate(said: &[i16], heard: &[i16]) -> Correlation {
    let products = cross_products(said, heard);
    let said_energy = running_energy(said);
    let heard_energy = running_energy(heard);
    let shortest = said.len().min(heard.len()).div_ceil(2).max(1);
    let mut best = Correlation { lag: 0, value: 0.0 };
    for lag in -(said.len() as i64)..heard.len() as i64 {
        let from = (-lag).max(0) as usize;
        let to = (heard.len() as i64 - lag).min(said.len() as i64) as usize;
        if to < from + shortest {
            continue;
        }
        let shifted = |index: usize| (index as i64 + lag) as usize;
        let energy =
            (said_energy[to] - said_energy[from]) * (heard_energy[shifted(to)] - heard_energy[shifted(from)]);
        if energy <= 0.0 {
            continue;
        }
        let product = products[lag.rem_euclid(products.len() as i64) as usize];
        let value = (product / energy.sqrt()) as f32;
        if value > best.value || (best.value == 0.0 && value != 0.0) {
            best = Correlation { lag: lag as i32, value };
        }
    }
    best
}

/// The energy of all samples before each index, exactly: it stays below 2^53 for 90 days of audio.
fn running_energy(samples: &[i16]) -> Vec<f64> {
    let mut energy = 0.0;
    let after = samples.iter().map(|sample| {
        energy += f64::from(*sample).powi(2);
        energy
    });
    std::iter::once(0.0).chain(after).collect()
}

/// The sum of `said[i] * heard[i + lag]` at index `lag`, negative lags counted from the end.
fn cross_products(said: &[i16], heard: &[i16]) -> Vec<f64> {
    let size = (said.len() + heard.len() + 1).next_power_of_two();
    let spectrum = |samples: &[i16]| {
        let mut values: Vec<Complex> =
            samples.iter().map(|sample| Complex { re: f64::from(*sample), im: 0.0 }).collect();
        values.resize(size, Complex { re: 0.0, im: 0.0 });
        transform(&mut values);
        values
    };
    let (said, heard) = (spectrum(said), spectrum(heard));
    // The transform back is the transform of the conjugate; the products are real, so its conjugate is itself.
    let mut products: Vec<_> =
        said.iter().zip(&heard).map(|(said, heard)| said.times(heard.conjugate())).collect();
    transform(&mut products);
    products.iter().map(|product| product.re / size as f64).collect()
}

#[derive(Debug, Clone, Copy)]
struct Complex {
    re: f64,
    im: f64,
}

impl Complex {
    fn times(self, other: Self) -> Self {
        Self { re: self.re * other.re - self.im * other.im, im: self.re * other.im + self.im * other.re }
    }

    fn conjugate(self) -> Self {
        Self { re: self.re, im: -self.im }
    }
}

/// The discrete Fourier transform in place, radix 2; the length is a power of two.
fn transform(values: &mut [Complex]) {
    let length = values.len();
    let shift = length.leading_zeros() + 1;
    for index in 0..length {
        let mirrored = if length == 1 { 0 } else { index.reverse_bits() >> shift };
        if index < mirrored {
            values.swap(index, mirrored);
        }
    }
    let mut half = 1;
    while half < length {
        let angle = -std::f64::consts::PI / half as f64;
        let turns: Vec<_> = (0..half)
            .map(|step| {
                let (im, re) = (angle * step as f64).sin_cos();
                Complex { re, im }
            })
            .collect();
        for block in values.chunks_exact_mut(2 * half) {
            let (low, high) = block.split_at_mut(half);
            for ((low, high), turn) in low.iter_mut().zip(high).zip(&turns) {
                let turned = high.times(*turn);
                *high = Complex { re: low.re - turned.re, im: low.im - turned.im };
                *low = Complex { re: low.re + turned.re, im: low.im + turned.im };
            }
        }
        half *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_found_where_it_was_put() {
        let said = noise(1, 4_000);
        for delay in [0, 1, 777, 3_000] {
            let heard: Vec<i16> = std::iter::repeat_n(0, delay).chain(said.iter().map(|s| s / 2)).collect();

            let found = correlate(&said, &heard);

            assert_eq!(found.lag, delay as i32);
            assert!(found.value > 0.999, "{found:?}");
        }
    }

    #[test]
    fn a_recording_whose_beginning_is_missing_is_earlier() {
        let said = noise(1, 4_000);

        let found = correlate(&said, &said[600..]);

        assert_eq!(found.lag, -600);
        assert!(found.value > 0.999);
    }

    #[test]
    fn other_recordings_and_silence_are_not_alike() {
        let said = noise(1, 8_000);

        assert!(correlate(&said, &noise(2, 8_000)).value < 0.1);
        assert_eq!(correlate(&said, &[0; 8_000]), Correlation { lag: 0, value: 0.0 });
        assert_eq!(correlate(&[], &[]), Correlation { lag: 0, value: 0.0 });
        assert_eq!(correlate(&said, &[]), Correlation { lag: 0, value: 0.0 });
    }

    #[test]
    fn half_noise_of_equal_loudness_is_half_alike() {
        let said = noise(1, 8_000);
        let heard: Vec<i16> = said.iter().zip(noise(3, 8_000)).map(|(one, two)| one / 2 + two / 2).collect();

        let found = correlate(&said, &heard);

        assert!((found.value - 0.707).abs() < 0.03, "{found:?}");
    }

    #[test]
    fn the_inverse_is_minus_one() {
        let said = [1_000, 0, 0, 0, 0];

        assert_eq!(correlate(&said, &[-1_000, 0, 0, 0, 0]), Correlation { lag: 0, value: -1.0 });
    }

    fn noise(seed: u32, length: usize) -> Vec<i16> {
        let mut chance = seed.wrapping_mul(0x9E37_79B9) | 1;
        std::iter::repeat_with(|| {
            chance ^= chance << 13;
            chance ^= chance >> 17;
            chance ^= chance << 5;
            (chance >> 16) as i16 / 4
        })
        .take(length)
        .collect()
    }
}
