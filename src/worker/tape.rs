//! What of a call goes on tape: what its first leg says and what it hears, a second at a time.
//!
//! ```text
//!   the leg's frames --> Relay --+
//!                                +-- every beat --> 20 ms of pairs --> a chunk a second --> the recorder's queue
//!   the leg's packets -----------+
//! ```
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use media::{AudioFormat, BEAT_MAX, SampleRate, Transcoder};

use super::relay::Relay;
use crate::call::{LegId, RecordMode};

/// A beat's samples at the highest rate of a leg.
const SAMPLES_MOST: usize = BEAT_MAX / 2;

/// How a recording is laid out, the same from its beginning to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TapeLayout {
    /// One, or two with the leg's own voice in the left.
    pub channels: u16,
    /// That of the leg when the recording began.
    pub rate: SampleRate,
}

/// One recording under way.
#[derive(Debug)]
pub(super) struct Tape {
    mode: RecordMode,
    rate: SampleRate,
    said: Relay,
    heard: Transcoder,
    paused: bool,
    chunk: Vec<i16>,
}

impl Tape {
    pub(super) fn new(leg: LegId, mode: RecordMode, rate: SampleRate) -> Self {
        let heard = Transcoder::new(AudioFormat::L16 { rate });
        let chunk = Vec::with_capacity(2 * rate.hertz() as usize);
        Self { mode, rate, said: Relay::new(leg), heard, paused: false, chunk }
    }

    /// Of the file.
    pub(super) fn layout(&self) -> TapeLayout {
        let channels = match self.mode {
            RecordMode::Stereo => 2,
            RecordMode::Mixed | RecordMode::Off => 1,
        };
        TapeLayout { channels, rate: self.rate }
    }

    /// Silence from now on, or sound again.
    pub(super) fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// A frame that the leg said.
    pub(super) fn said(&mut self, format: AudioFormat, payload: &[u8]) {
        self.said.push(AudioFormat::L16 { rate: self.rate }, format, payload);
    }

    /// A beat passed; the leg heard a frame of this format, or nothing. Answers a chunk when one is full.
    pub(super) fn beat(&mut self, heard: Option<(AudioFormat, &[u8])>) -> Option<Vec<i16>> {
        let format = AudioFormat::L16 { rate: self.rate };
        let mut said = [0; BEAT_MAX];
        let said = &mut said[..format.bytes_per_beat()];
        let has_said = self.said.take(format, said);
        let (mut left, mut right) = ([0; SAMPLES_MOST], [0; SAMPLES_MOST]);
        if has_said && !self.paused {
            fill(&mut left, &mut 0, said);
        }
        if let Some((format, frame)) = heard.filter(|_| !self.paused) {
            let mut filled = 0;
            self.heard.feed(format, frame, |piece| fill(&mut right, &mut filled, piece));
        }
        for (left, right) in left.into_iter().zip(right).take(format.bytes_per_beat() / 2) {
            match self.mode {
                RecordMode::Stereo => self.chunk.extend([left, right]),
                RecordMode::Mixed | RecordMode::Off => self.chunk.push(left.saturating_add(right)),
            }
        }
        let full = self.rate.hertz() as usize * usize::from(self.layout().channels);
        (self.chunk.len() >= full).then(|| std::mem::replace(&mut self.chunk, Vec::with_capacity(full)))
    }

    /// What is left at the end.
    pub(super) fn rest(self) -> Vec<i16> {
        self.chunk
    }
}

/// Writes linear bytes as samples, from the place on where the last ones ended.
fn fill(samples: &mut [i16; SAMPLES_MOST], filled: &mut usize, bytes: &[u8]) {
    for (sample, pair) in samples[*filled..].iter_mut().zip(bytes.chunks_exact(2)) {
        *sample = i16::from_le_bytes([pair[0], pair[1]]);
        *filled += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_lie_side_by_side_or_in_one() {
        for (mode, expected) in [(RecordMode::Stereo, [100, 1_000]), (RecordMode::Mixed, [1_100, 1_100])] {
            let mut tape = Tape::new(LegId(0), mode, SampleRate::Hz8000);
            let (said, heard) =
                ([media::g711::linear_to_ulaw(100); 160], [media::g711::linear_to_ulaw(1_000); 160]);
            let mut chunk = None;
            for _ in 0..52 {
                tape.said(AudioFormat::Pcmu, &said);
                chunk = chunk.or(tape.beat(Some((AudioFormat::Pcmu, &heard))));
            }
            let chunk = chunk.expect("a second is full");
            assert_eq!(chunk.len(), if mode == RecordMode::Stereo { 16_000 } else { 8_000 });
            let last: Vec<i16> = chunk[chunk.len() - 2..].to_vec();
            let near = last.iter().zip(expected).all(|(sample, wanted)| (sample - wanted).abs() < 40);
            assert!(near, "{last:?}");
        }
    }

    #[test]
    fn a_paused_tape_goes_on_in_silence() {
        let mut tape = Tape::new(LegId(0), RecordMode::Mixed, SampleRate::Hz8000);
        tape.pause(true);
        for _ in 0..3 {
            tape.said(AudioFormat::Pcmu, &[0x20; 160]);
            tape.beat(Some((AudioFormat::Pcmu, &[0x20; 160])));
        }
        assert_eq!(tape.rest(), [0; 480]);
    }
}
