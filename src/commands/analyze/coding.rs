//! The codecs through which `conceal` and `replay` send a file.

use clap::ValueEnum;
use media::{SampleRate, g711, g722};
use serde::Serialize;

/// A codec by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Coding {
    /// G.711 mu-law, 8,000 Hz.
    Pcmu,
    /// G.711 A-law, 8,000 Hz.
    Pcma,
    /// Linear, at the file's own rate.
    L16,
    /// G.722 at 64 kbit/s, 16,000 Hz.
    G722,
}

impl Coding {
    /// The rate at which it carries a file of this rate.
    pub(super) fn rate(self, file: SampleRate) -> SampleRate {
        match self {
            Self::Pcmu | Self::Pcma => SampleRate::Hz8000,
            Self::L16 => file,
            Self::G722 => SampleRate::Hz16000,
        }
    }
}

/// One sender and one receiver.
pub(super) enum Coder {
    Pcmu,
    Pcma,
    L16,
    G722(Box<(g722::Encoder, g722::Decoder)>),
}

impl Coder {
    pub(super) fn new(coding: Coding) -> Self {
        match coding {
            Coding::Pcmu => Self::Pcmu,
            Coding::Pcma => Self::Pcma,
            Coding::L16 => Self::L16,
            Coding::G722 => {
                Self::G722(Box::new((g722::Encoder::new(), g722::Decoder::new(g722::Mode::Kbit64))))
            }
        }
    }

    /// The payload of the next packet.
    pub(super) fn encode(&mut self, samples: &[i16]) -> Vec<u8> {
        match self {
            Self::Pcmu => samples.iter().map(|sample| g711::linear_to_ulaw(*sample)).collect(),
            Self::Pcma => samples.iter().map(|sample| g711::linear_to_alaw(*sample)).collect(),
            Self::L16 => samples.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
            Self::G722(both) => {
                let mut codes = vec![0; samples.len() / 2];
                both.0.encode(samples, &mut codes);
                codes
            }
        }
    }

    /// The samples of the next packet that came, as many as `samples` has room for; answers how many.
    pub(super) fn decode(&mut self, payload: &[u8], samples: &mut [i16]) -> usize {
        match self {
            Self::Pcmu => each(payload.iter().map(|code| g711::ulaw_to_linear(*code)), samples),
            Self::Pcma => each(payload.iter().map(|code| g711::alaw_to_linear(*code)), samples),
            Self::L16 => {
                each(payload.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])), samples)
            }
            Self::G722(both) => both.1.decode(payload, samples),
        }
    }
}

fn each(decoded: impl Iterator<Item = i16>, samples: &mut [i16]) -> usize {
    let mut written = 0;
    for (sample, decoded) in samples.iter_mut().zip(decoded) {
        *sample = decoded;
        written += 1;
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_arrives_but_for_what_the_codec_takes() {
        let said: Vec<i16> = (0..1_600).map(|at| (8_000.0 * (f64::from(at) * 0.2).sin()) as i16).collect();
        for (coding, most) in
            [(Coding::Pcmu, 300), (Coding::Pcma, 300), (Coding::L16, 0), (Coding::G722, 2_000)]
        {
            let mut coder = Coder::new(coding);
            let mut heard = Vec::new();
            for frame in said.chunks(320) {
                let payload = coder.encode(frame);
                let mut samples = vec![0; 320];
                assert_eq!(coder.decode(&payload, &mut samples), 320, "{coding:?}");
                heard.extend(samples);
            }

            // G.722 delays by 22 samples.
            let delay = if coding == Coding::G722 { 22 } else { 0 };
            let far = said.iter().zip(&heard[delay..]).skip(200).map(|(said, heard)| said.abs_diff(*heard));
            assert!(far.max().unwrap() <= most, "{coding:?}");
        }
    }
}
