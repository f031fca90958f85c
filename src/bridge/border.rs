//! Audio on its way between a leg's codec and an engine's format, resampled where their rates differ.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use bytes::{BufMut, BytesMut};
use media::{AudioFormat, Resampler, SampleRate};

/// Samples that are converted in one step.
const STEP: usize = 480;

/// What legs speak when they speak linear.
const LEG: SampleRate = SampleRate::Hz8000;

/// One conversation's two directions.
#[derive(Debug)]
pub(super) struct Border {
    format: AudioFormat,
    up: Option<Box<Resampler>>,
    down: Option<(SampleRate, Box<Resampler>)>,
    /// The first half of a sample whose second half comes with the next message.
    odd: Option<u8>,
    resampled: Vec<i16>,
}

impl Border {
    /// To and from an engine that hears and speaks `format`.
    pub(super) fn new(format: AudioFormat) -> Self {
        Self { format, up: resampler(LEG, format.rate()), down: None, odd: None, resampled: Vec::new() }
    }

    /// What the engine hears.
    pub(super) fn format(&self) -> AudioFormat {
        self.format
    }

    /// Writes a leg's audio as the engine hears it.
    pub(super) fn outward(&mut self, from: AudioFormat, audio: &[u8], buffer: &mut BytesMut) {
        let Some(resampler) = &mut self.up else {
            let samples = audio.len() / from.bytes_per_sample();
            let begin = buffer.len();
            buffer.resize(begin + samples * self.format.bytes_per_sample(), 0);
            from.convert(self.format, audio, &mut buffer[begin..]);
            return;
        };
        let mut bytes = [0; 2 * STEP];
        let mut linear = [0; STEP];
        for step in audio.chunks(STEP * from.bytes_per_sample()) {
            let length = from.convert(AudioFormat::L16 { rate: LEG }, step, &mut bytes);
            let samples = read(&bytes[..length], &mut linear);
            resampler.feed(samples, |given| given.iter().for_each(|sample| buffer.put_i16_le(*sample)));
        }
    }

    /// Makes what the engine said, `rate` samples a second, linear at the rate of the legs; `audio` is rewritten in place.
    pub(super) fn inward(&mut self, rate: SampleRate, audio: &mut Vec<u8>) -> AudioFormat {
        let leg = AudioFormat::L16 { rate: LEG };
        if rate == LEG {
            return leg;
        }
        if self.down.as_ref().is_none_or(|(from, _)| *from != rate) {
            self.down = resampler(rate, LEG).map(|resampler| (rate, resampler));
            self.odd = None;
        }
        let Some((_, resampler)) = &mut self.down else { return leg };
        if let Some(odd) = self.odd.take() {
            audio.insert(0, odd);
        }
        if audio.len() % 2 == 1 {
            self.odd = audio.pop();
        }
        self.resampled.clear();
        let mut linear = [0; STEP];
        for step in audio.chunks(2 * STEP) {
            resampler.feed(read(step, &mut linear), |given| self.resampled.extend_from_slice(given));
        }
        audio.clear();
        self.resampled.iter().for_each(|sample| audio.extend_from_slice(&sample.to_le_bytes()));
        leg
    }

    /// What the engine says from now on has nothing to do with what it said before.
    pub(super) fn forget(&mut self) {
        self.odd = None;
        if let Some((_, resampler)) = &mut self.down {
            resampler.reset();
        }
    }
}

fn resampler(from: SampleRate, to: SampleRate) -> Option<Box<Resampler>> {
    (from != to).then(|| Box::new(Resampler::new(from, to)))
}

fn read<'a>(bytes: &[u8], linear: &'a mut [i16; STEP]) -> &'a [i16] {
    let mut count = 0;
    for (to, from) in linear.iter_mut().zip(bytes.chunks_exact(2)) {
        *to = i16::from_le_bytes([from[0], from[1]]);
        count += 1;
    }
    &linear[..count]
}

#[cfg(test)]
mod tests {
    use super::*;

    const L16: AudioFormat = AudioFormat::L16 { rate: SampleRate::Hz16000 };

    #[test]
    fn a_tone_goes_up_and_comes_back_whatever_the_chunks() {
        let tone: Vec<i16> = (0..8_000).map(|at| ((f64::from(at) * 0.4).sin() * 8_000.0) as i16).collect();
        let bytes: Vec<u8> = tone.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        let mut border = Border::new(L16);
        let mut up = BytesMut::new();
        for frame in bytes.chunks(320) {
            border.outward(AudioFormat::L16 { rate: LEG }, frame, &mut up);
        }
        assert_eq!(up.len(), 2 * bytes.len());

        let mut back = Vec::new();
        for chunk in up.chunks(333) {
            let mut audio = chunk.to_vec();
            assert_eq!(border.inward(SampleRate::Hz16000, &mut audio), AudioFormat::L16 { rate: LEG });
            back.extend_from_slice(&audio);
        }

        assert!(bytes.len() - back.len() <= 2, "an odd byte may still wait");
        let back: Vec<i16> =
            back.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
        let best = (0..64).map(|lag| error(&tone, &back[lag..])).fold(f64::MAX, f64::min);
        assert!(best < 0.02, "relative error {best}");
    }

    #[test]
    fn audio_of_the_legs_rate_is_passed_on_bit_by_bit() {
        let mut border = Border::new(AudioFormat::Pcmu);
        let mut up = BytesMut::new();
        border.outward(AudioFormat::Pcmu, &[1, 2, 3], &mut up);
        let mut audio = vec![1, 2, 3];
        border.inward(LEG, &mut audio);

        assert_eq!((&up[..], &audio[..]), (&[1, 2, 3][..], &[1, 2, 3][..]));
    }

    fn error(one: &[i16], other: &[i16]) -> f64 {
        let pairs = one.iter().zip(other).skip(200).take(4_000);
        let (mut noise, mut signal) = (0.0, 0.0);
        for (one, other) in pairs {
            noise += (f64::from(*one) - f64::from(*other)).powi(2);
            signal += f64::from(*one).powi(2);
        }
        (noise / signal).sqrt()
    }
}
