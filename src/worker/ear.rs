//! Lets detectors hear a leg, whatever the leg speaks: they hear the telephone's 8,000 Hz.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use media::hearing::{AmdEvent, AnswerDetector, DtmfDetector, HeardDigit};
use media::{AudioFormat, SampleRate, Transcoder};

/// Samples that are listened to in one step.
const STEP: usize = 240;

/// What takes linear samples at 8,000 Hz.
pub(super) trait Listener {
    fn take(&mut self, samples: &[i16]);
}

/// A detector of one leg.
#[derive(Debug)]
pub(super) struct Ear<D> {
    pub(super) detector: D,
    transcoder: Transcoder,
}

impl<D: Listener> Ear<D> {
    pub(super) fn new(detector: D) -> Box<Self> {
        let transcoder = Transcoder::new(AudioFormat::L16 { rate: SampleRate::Hz8000 });
        Box::new(Self { detector, transcoder })
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
                detector.take(&samples[..count]);
            }
        });
    }
}

/// Who answered a leg.
impl Listener for AnswerDetector {
    fn take(&mut self, samples: &[i16]) {
        self.push(samples);
    }
}

impl Ear<AnswerDetector> {
    /// What was heard, oldest first.
    pub(super) fn next_event(&mut self) -> Option<AmdEvent> {
        self.detector.next_event()
    }
}

/// Keys that come as tones, from a far end that has no better way.
#[derive(Debug, Default)]
pub(super) struct Keys {
    detector: DtmfDetector,
    /// Let go in the frame that was heard last: there is room for one, since a key takes longer than a frame.
    heard: Option<HeardDigit>,
}

impl Listener for Keys {
    fn take(&mut self, samples: &[i16]) {
        self.heard = self.detector.push(samples).or(self.heard);
    }
}

impl Ear<Keys> {
    /// The key that was let go.
    pub(super) fn next_key(&mut self) -> Option<HeardDigit> {
        self.detector.heard.take()
    }
}
