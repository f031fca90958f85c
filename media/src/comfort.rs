//! Comfort noise, RFC 3389: what a line sounds like while nobody speaks, in a few bytes.
//!
//! ```text
//!   | 0 |    level     |   N1    |   N2    | ...       level: 0 to 127 dB below overload (a square wave at full scale)
//!   | 1 |    7 bits    | 8 bits  | 8 bits  |           k = 258 (N - 127) / 32768, reflection coefficients (§3.2)
//!
//!   frames of background -> NoiseMeter -> ComfortNoise -> packet ... packet -> ComfortNoise -> NoiseSource -> frames
//! ```
//! The first coefficient is negative where low frequencies prevail: k1 is the second of two neighbouring samples'
//! correlation, negated. When to send is for whoever knows who speaks.

/// Coefficients that are made and used; a payload may have more or none.
const ORDER: usize = 10;

/// The longest payload that is written.
pub const COMFORT_NOISE_MAX: usize = 1 + ORDER;

/// What one step of a coefficient is.
const STEP: f32 = 258.0 / 32_768.0;

/// A full-scale square wave, 0 dBov.
const OVERLOAD: f32 = 32_768.0;

/// Share of a frame of 20 ms in what is measured: what was before fades in 200 ms.
const PACE: f32 = 0.1;

/// Samples between two steps of a source towards what it was told, and how far each of them goes.
const PIECE: usize = 40;
const GLIDE: f32 = 0.08;

/// Noise by its level and its spectrum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ComfortNoise {
    level: u8,
    /// Quantised as on the wire.
    coefficients: [u8; ORDER],
    order: u8,
}

impl ComfortNoise {
    /// White noise at so many dB below overload, at most 127.
    pub fn white(level: u8) -> Self {
        Self { level: level.min(127), coefficients: [127; ORDER], order: 0 }
    }

    /// The payload of a packet. Coefficients beyond those used here are left out (§3: a receiver may); nothing where there
    /// is not even a level.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let (level, coefficients) = payload.split_first()?;
        let mut noise = Self::white(level & 0x7F);
        for (to, from) in noise.coefficients.iter_mut().zip(coefficients) {
            // 255 is reserved.
            *to = (*from).min(254);
            noise.order += 1;
        }
        Some(noise)
    }

    /// Writes the payload and answers its length.
    pub fn write(&self, out: &mut [u8; COMFORT_NOISE_MAX]) -> usize {
        let order = usize::from(self.order);
        out[0] = self.level;
        out[1..=order].copy_from_slice(&self.coefficients[..order]);
        1 + order
    }

    /// In dB below overload, 0 to 127.
    pub fn level(&self) -> u8 {
        self.level
    }

    fn reflections(&self) -> [f32; ORDER] {
        self.coefficients.map(|code| STEP * (f32::from(code) - 127.0))
    }

    fn amplitude(&self) -> f32 {
        OVERLOAD * 10.0_f32.powf(f32::from(self.level) / -20.0)
    }
}

/// Measures the background of a line from frames in which nobody speaks.
#[derive(Debug, Clone, Default)]
pub struct NoiseMeter {
    /// A sample's mean product with those up to [`ORDER`] before.
    products: [f32; ORDER + 1],
    measured: bool,
}

impl NoiseMeter {
    /// A frame without speech, some 20 ms long.
    pub fn push(&mut self, frame: &[i16]) {
        if frame.len() <= ORDER {
            return;
        }
        let pace = if self.measured { PACE } else { 1.0 };
        for (lag, mean) in self.products.iter_mut().enumerate() {
            let pairs = frame[lag..].iter().zip(frame);
            let sum: f32 = pairs.map(|(one, other)| f32::from(*one) * f32::from(*other)).sum();
            *mean += pace * (sum / frame.len() as f32 - *mean);
        }
        self.measured = true;
    }

    /// The background so far; nothing before the first frame.
    pub fn measured(&self) -> Option<ComfortNoise> {
        if !self.measured {
            return None;
        }
        let power = self.products[0].max(1e-6);
        let level = (-10.0 * (power / (OVERLOAD * OVERLOAD)).log10()).round().clamp(0.0, 127.0) as u8;
        let mut noise = ComfortNoise { order: ORDER as u8, ..ComfortNoise::white(level) };
        for (code, reflection) in noise.coefficients.iter_mut().zip(reflections(&self.products)) {
            *code = (reflection / STEP + 127.0).round().clamp(0.0, 254.0) as u8;
        }
        Some(noise)
    }
}

/// Levinson's recursion, from autocorrelation to the coefficients of a lattice.
fn reflections(products: &[f32; ORDER + 1]) -> [f32; ORDER] {
    let mut reflections = [0.0; ORDER];
    let mut predictor = [0.0_f32; ORDER + 1];
    // A little white noise, 40 dB below, keeps narrow tones from ringing.
    let mut left = products[0] * 1.000_1 + 1.0;
    for order in 1..=ORDER {
        let known: f32 = (1..order).map(|back| predictor[back] * products[order - back]).sum();
        let reflection = (-(products[order] + known) / left).clamp(-0.99, 0.99);
        reflections[order - 1] = reflection;
        let before = predictor;
        for back in 1..order {
            predictor[back] += reflection * before[order - back];
        }
        predictor[order] = reflection;
        left *= 1.0 - reflection * reflection;
    }
    reflections
}

/// Makes noise as it was described, and glides over when it is described anew.
#[derive(Debug, Clone)]
pub struct NoiseSource {
    wanted: ComfortNoise,
    amplitude: f32,
    reflections: [f32; ORDER],
    lattice: [f32; ORDER],
    chance: u32,
    /// Samples until the next step of gliding.
    left: usize,
    /// What white noise is multiplied by.
    gain: f32,
}

impl NoiseSource {
    /// Begins as described. Sources of other seeds have other noise.
    pub fn new(noise: ComfortNoise, seed: u32) -> Self {
        Self {
            wanted: noise,
            amplitude: noise.amplitude(),
            reflections: noise.reflections(),
            lattice: [0.0; ORDER],
            chance: seed | 1,
            left: 0,
            gain: 0.0,
        }
    }

    /// The line sounds like this from now on.
    pub fn describe(&mut self, noise: ComfortNoise) {
        self.wanted = noise;
    }

    /// Fills `out` with the next noise.
    pub fn fill(&mut self, out: &mut [i16]) {
        for sample in out {
            if self.left == 0 {
                self.glide();
                self.left = PIECE;
            }
            self.left -= 1;
            let mut error = self.gain * self.normal();
            for index in (0..ORDER).rev() {
                error -= self.reflections[index] * self.lattice[index];
                let behind = self.lattice[index] + self.reflections[index] * error;
                if index + 1 < ORDER {
                    self.lattice[index + 1] = behind;
                }
            }
            self.lattice[0] = error;
            *sample = error.round() as i16;
        }
    }

    fn glide(&mut self) {
        let wanted = self.wanted.reflections();
        for (reflection, wanted) in self.reflections.iter_mut().zip(wanted) {
            *reflection += GLIDE * (wanted - *reflection);
        }
        self.amplitude += GLIDE * (self.wanted.amplitude() - self.amplitude);
        // Each stage of the lattice makes it louder by this much.
        let stages: f32 = self.reflections.iter().map(|reflection| 1.0 - reflection * reflection).product();
        self.gain = self.amplitude * stages.max(0.0).sqrt();
    }

    /// Nearly normal, mean 0 and deviation 1: the sum of four uniform ones.
    fn normal(&mut self) -> f32 {
        // Xorshift, 32 bits: full period, and four bytes of it are as good as independent here.
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 17;
        self.chance ^= self.chance << 5;
        let sum: u16 = self.chance.to_le_bytes().iter().map(|byte| u16::from(*byte)).sum();
        (f32::from(sum) - 510.0) / 147.8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_reads_back_whatever_its_length() {
        for length in 1..=20 {
            let payload: Vec<u8> = (0..length).map(|index| 40 + index * 10).collect();
            let noise = ComfortNoise::parse(&payload).unwrap();
            let mut written = [0; COMFORT_NOISE_MAX];
            let size = noise.write(&mut written);

            assert_eq!(written[..size], payload[..size]);
            assert_eq!(size, payload.len().min(COMFORT_NOISE_MAX));
        }
        assert_eq!(ComfortNoise::parse(&[]), None);
    }

    #[test]
    fn the_unused_bit_and_the_reserved_code_are_harmless() {
        let odd = ComfortNoise::parse(&[0x80 | 50, 255, 0]).unwrap();
        let mut samples = [0; 8_000];
        NoiseSource::new(odd, 3).fill(&mut samples);

        assert_eq!(odd.level(), 50);
        assert!(samples.iter().all(|sample| sample.unsigned_abs() < 3_000));
    }

    #[test]
    fn the_noise_is_as_loud_as_it_says() {
        for level in [20, 40, 60] {
            for coefficients in [&[][..], &[60, 150, 127][..], &[20, 200, 90, 140][..]] {
                let noise = ComfortNoise::parse(&[&[level], coefficients].concat()).unwrap();
                let mut samples = [0; 16_000];
                NoiseSource::new(noise, 7).fill(&mut samples);

                let heard = level_dbov(&samples);
                assert!((heard + f64::from(level)).abs() < 1.0, "{heard} for -{level}, {coefficients:?}");
            }
        }
    }

    #[test]
    fn what_is_measured_sounds_like_the_line() {
        // Hum and hiss below 1 kHz.
        let mut source = NoiseSource::new(ComfortNoise::white(35), 5);
        let mut line = vec![0; 16_000];
        source.fill(&mut line);
        let mut smooth = 0.0;
        for sample in &mut line {
            smooth += 0.3 * (f32::from(*sample) - smooth);
            *sample = smooth.round() as i16;
        }
        let mut meter = NoiseMeter::default();
        assert_eq!(meter.measured(), None);
        for frame in line.chunks(160) {
            meter.push(frame);
        }
        let mut made = vec![0; 16_000];
        NoiseSource::new(meter.measured().unwrap(), 9).fill(&mut made);

        assert!((level_dbov(&made) - level_dbov(&line)).abs() < 1.5);
        for lag in 1..6 {
            let (one, other) = (correlation(&line, lag), correlation(&made, lag));
            assert!((one - other).abs() < 0.06, "{lag}: {one} {other}");
        }
        // Low frequencies prevail: the first coefficient is negative.
        assert!(meter.measured().unwrap().reflections()[0] < -0.5);
    }

    #[test]
    fn another_description_is_glided_to() {
        let mut source = NoiseSource::new(ComfortNoise::white(60), 1);
        let mut samples = [0; 160];
        source.fill(&mut samples);
        source.describe(ComfortNoise::white(40));
        let levels: Vec<f64> = (0..30)
            .map(|_| {
                source.fill(&mut samples);
                level_dbov(&samples)
            })
            .collect();

        assert!(levels[0] < -44.0 && (levels[29] + 40.0).abs() < 2.0, "{levels:?}");
    }

    #[test]
    fn silence_is_the_least_level() {
        let mut meter = NoiseMeter::default();
        meter.push(&[0; 160]);
        meter.push(&[1; 4]);

        assert_eq!(meter.measured().unwrap().level(), 127);
    }

    fn level_dbov(samples: &[i16]) -> f64 {
        let power =
            samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / samples.len() as f64;
        10.0 * (power / f64::from(OVERLOAD).powi(2)).log10()
    }

    fn correlation(samples: &[i16], lag: usize) -> f64 {
        let product = |lag: usize| -> f64 {
            samples[lag..].iter().zip(samples).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
        };
        product(lag) / product(0)
    }
}
