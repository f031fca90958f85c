//! Lets a detector hear a leg, whatever the leg speaks: detectors hear the telephone's 8,000 Hz.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use media::hearing::{AmdEvent, AnswerDetector};
use media::{AudioFormat, SampleRate, Transcoder};

/// Samples that are listened to in one step.
const STEP: usize = 240;

/// Who answered a leg: listened for while that may still change.
#[derive(Debug)]
pub(super) struct Ear {
    detector: AnswerDetector,
    transcoder: Transcoder,
}

impl Ear {
    pub(super) fn new() -> Self {
        let transcoder = Transcoder::new(AudioFormat::L16 { rate: SampleRate::Hz8000 });
        Self { detector: AnswerDetector::default(), transcoder }
    }

    /// Takes a frame of the leg.
    pub(super) fn listen(&mut self, format: AudioFormat, payload: &[u8]) {
        let Self { detector, transcoder } = self;
        let mut samples = [0; STEP];
        transcoder.feed(format, payload, |piece| {
            for step in piece.chunks(2 * STEP) {
                let pairs = step.chunks_exact(2);
                let count = pairs.len();
                for (sample, pair) in samples.iter_mut().zip(pairs) {
                    *sample = i16::from_le_bytes([pair[0], pair[1]]);
                }
                detector.push(&samples[..count]);
            }
        });
    }

    /// What was heard, oldest first.
    pub(super) fn next_event(&mut self) -> Option<AmdEvent> {
        self.detector.next_event()
    }
}
