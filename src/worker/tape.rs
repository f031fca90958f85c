//! What of a call goes on tape: what its first leg says and what it hears, a second at a time.
//!
//! ```text
//!   the leg's frames --> Relay --+
//!                                +-- every beat --> 160 pairs of samples --> a chunk a second --> the recorder's queue
//!   the leg's packets -----------+
//! ```
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use media::{AudioFormat, Codec, SAMPLES_PER_BEAT, SampleRate};

use super::relay::Relay;
use crate::call::{LegId, RecordMode};

/// Pairs of samples in a chunk: a second.
const CHUNK: usize = 8_000;
const L16: AudioFormat = AudioFormat::L16 { rate: SampleRate::Hz8000 };

/// One recording under way.
#[derive(Debug)]
pub(super) struct Tape {
    mode: RecordMode,
    said: Relay,
    paused: bool,
    chunk: Vec<i16>,
}

impl Tape {
    pub(super) fn new(leg: LegId, mode: RecordMode) -> Self {
        Self { mode, said: Relay::new(leg), paused: false, chunk: Vec::with_capacity(2 * CHUNK) }
    }

    /// Channels of the file.
    pub(super) fn channels(mode: RecordMode) -> u16 {
        match mode {
            RecordMode::Stereo => 2,
            RecordMode::Mixed | RecordMode::Off => 1,
        }
    }

    /// Silence from now on, or sound again.
    pub(super) fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// A frame that the leg said.
    pub(super) fn said(&mut self, format: AudioFormat, payload: &[u8]) {
        self.said.push(Codec::Pcmu, format, payload);
    }

    /// A beat passed; the leg heard `frame` of `codec`, or nothing. Answers a chunk when one is full.
    pub(super) fn beat(&mut self, heard: Option<(Codec, &[u8])>) -> Option<Vec<i16>> {
        let mut said = [0; SAMPLES_PER_BEAT];
        let has_said = self.said.take(&mut said);
        let (mut left, mut right) = ([0; SAMPLES_PER_BEAT], [0; SAMPLES_PER_BEAT]);
        if has_said && !self.paused {
            linear(Codec::Pcmu.format(), &said, &mut left);
        }
        if let Some((codec, frame)) = heard.filter(|_| !self.paused) {
            linear(codec.format(), frame, &mut right);
        }
        for (left, right) in left.into_iter().zip(right) {
            match self.mode {
                RecordMode::Stereo => self.chunk.extend([left, right]),
                RecordMode::Mixed | RecordMode::Off => self.chunk.push(left.saturating_add(right)),
            }
        }
        let full = CHUNK * usize::from(Self::channels(self.mode));
        (self.chunk.len() >= full).then(|| std::mem::replace(&mut self.chunk, Vec::with_capacity(full)))
    }

    /// What is left at the end.
    pub(super) fn rest(self) -> Vec<i16> {
        self.chunk
    }
}

fn linear(format: AudioFormat, frame: &[u8], samples: &mut [i16; SAMPLES_PER_BEAT]) {
    let mut bytes = [0; 2 * SAMPLES_PER_BEAT];
    let length = format.convert(L16, frame, &mut bytes);
    for (sample, pair) in samples.iter_mut().zip(bytes[..length].chunks_exact(2)) {
        *sample = i16::from_le_bytes([pair[0], pair[1]]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_lie_side_by_side_or_in_one() {
        for (mode, expected) in [(RecordMode::Stereo, [100, 1_000]), (RecordMode::Mixed, [1_100, 1_100])] {
            let mut tape = Tape::new(LegId(0), mode);
            let (said, heard) =
                ([media::g711::linear_to_ulaw(100); 160], [media::g711::linear_to_ulaw(1_000); 160]);
            let mut chunk = None;
            for _ in 0..52 {
                tape.said(AudioFormat::Pcmu, &said);
                chunk = chunk.or(tape.beat(Some((Codec::Pcmu, &heard))));
            }
            let chunk = chunk.expect("a second is full");
            assert_eq!(chunk.len(), 8_000 * usize::from(Tape::channels(mode)));
            let last: Vec<i16> = chunk[chunk.len() - 2..].to_vec();
            let near = last.iter().zip(expected).all(|(sample, wanted)| (sample - wanted).abs() < 40);
            assert!(near, "{last:?}");
        }
    }

    #[test]
    fn a_paused_tape_goes_on_in_silence() {
        let mut tape = Tape::new(LegId(0), RecordMode::Mixed);
        tape.pause(true);
        for _ in 0..3 {
            tape.said(AudioFormat::Pcmu, &[0x20; 160]);
            tape.beat(Some((Codec::Pcmu, &[0x20; 160])));
        }
        assert_eq!(tape.rest(), [0; 480]);
    }
}
