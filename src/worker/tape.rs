//! What of a call goes on tape: what its first leg says and what it hears, a second at a time.
//!
//! ```text
//!   the leg's frames --> Said --+
//!                               +-- every beat --> 20 ms of pairs --> a chunk a second --> the recorder's queue
//!   the leg's packets ----------+
//! ```
//!
//! A recording is not heard while it is made, so nothing in it is made longer or shorter: what the leg says waits 40 ms before it
//! is taken, begins anew after it ran dry, and beyond 120 ms the oldest goes.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::VecDeque;

use media::{AudioFormat, BEAT_MAX, SampleRate, Transcoder};

use crate::call::RecordMode;

/// So many beats are there before the first is taken.
const PRIMED: usize = 2;
/// More never waits.
const FULL: usize = 6;
/// What is kept of more.
const KEPT: usize = 3;

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
    said: Said,
    heard: Transcoder,
    paused: bool,
    chunk: Vec<i16>,
}

impl Tape {
    pub(super) fn new(mode: RecordMode, rate: SampleRate) -> Self {
        let heard = Transcoder::new(AudioFormat::L16 { rate });
        let chunk = Vec::with_capacity(2 * rate.hertz() as usize);
        Self { mode, rate, said: Said::new(rate), heard, paused: false, chunk }
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
        self.said.push(format, payload);
    }

    /// A beat passed; the leg heard a frame of this format, or nothing. Answers a chunk when one is full.
    pub(super) fn beat(&mut self, heard: Option<(AudioFormat, &[u8])>) -> Option<Vec<i16>> {
        let format = AudioFormat::L16 { rate: self.rate };
        let mut said = [0; BEAT_MAX];
        let said = &mut said[..format.bytes_per_beat()];
        let has_said = self.said.take(said);
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

/// What the leg said, until its beat comes.
#[derive(Debug)]
struct Said {
    audio: VecDeque<u8>,
    transcoder: Transcoder,
    flow: Flow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// Too little is there to begin.
    Filling,
    Running,
}

impl Said {
    fn new(rate: SampleRate) -> Self {
        let layout = AudioFormat::L16 { rate };
        let audio = VecDeque::with_capacity(2 * FULL * layout.bytes_per_beat());
        Self { audio, transcoder: Transcoder::new(layout), flow: Flow::Filling }
    }

    fn push(&mut self, format: AudioFormat, payload: &[u8]) {
        let Self { transcoder, audio, .. } = self;
        transcoder.feed(format, payload, |piece| audio.extend(piece));
        let beat = transcoder.target().bytes_per_beat();
        if audio.len() > FULL * beat {
            audio.drain(..audio.len() - KEPT * beat);
        }
    }

    /// The next 20 ms, if they are there; `out` is as long as that.
    fn take(&mut self, out: &mut [u8]) -> bool {
        let beats = match self.flow {
            Flow::Filling => PRIMED,
            Flow::Running => 1,
        };
        if self.audio.len() < beats * out.len() {
            self.flow = Flow::Filling;
            return false;
        }
        self.flow = Flow::Running;
        let length = out.len();
        for (to, from) in out.iter_mut().zip(self.audio.drain(..length)) {
            *to = from;
        }
        true
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
            let mut tape = Tape::new(mode, SampleRate::Hz8000);
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
    fn what_is_said_begins_with_two_frames_and_again_after_it_ran_dry() {
        let mut said = Said::new(SampleRate::Hz8000);
        let mut taken = Vec::new();
        for pushed in [1, 1, 1, 0, 0, 0, 1, 1, 1] {
            for _ in 0..pushed {
                said.push(AudioFormat::Pcmu, &[7; 160]);
            }
            taken.push(said.take(&mut [0; 320]));
        }

        assert_eq!(taken, [false, true, true, true, false, false, false, true, true]);
    }

    #[test]
    fn what_is_too_late_goes_and_the_newest_stays() {
        let mut said = Said::new(SampleRate::Hz8000);
        for frame in 1..=7 {
            said.push(AudioFormat::L16 { rate: SampleRate::Hz8000 }, &[frame; 320]);
        }

        let mut frame = [0; 320];
        assert!(said.take(&mut frame));
        assert_eq!(frame[0], 5);
    }

    #[test]
    fn a_paused_tape_goes_on_in_silence() {
        let mut tape = Tape::new(RecordMode::Mixed, SampleRate::Hz8000);
        tape.pause(true);
        for _ in 0..3 {
            tape.said(AudioFormat::Pcmu, &[0x20; 160]);
            tape.beat(Some((AudioFormat::Pcmu, &[0x20; 160])));
        }
        assert_eq!(tape.rest(), [0; 480]);
    }
}
