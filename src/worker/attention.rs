//! Whether the far end speaks, and interrupts the engine: what goes to a leg beside what comes from it.
//!
//! ```text
//!   frames of the leg --> 8,000 Hz --> 20 ms at a time --+
//!                                                        +--> BargeInDetector --> Voice::attend
//!   packets to the leg -> 8,000 Hz --> the last 20 ms ---+
//! ```
//!
//! Time is that of the leg's frames. Where none come for a while, silence is heard instead, so that nobody waits for the
//! end of a sentence whose sender has fallen silent.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::time::{Duration, Instant};

use media::hearing::{BargeIn, BargeInDetector};
use media::{AudioFormat, SAMPLES_PER_BEAT, SampleRate, Transcoder};

use crate::call::LegId;

/// Without a frame for so long, silence is heard.
const ABSENT: Duration = Duration::from_millis(60);

/// An engine that is held and does nothing goes on after this, whatever the caller does.
const HELD_MOST: Duration = Duration::from_secs(4);

const L16: AudioFormat = AudioFormat::L16 { rate: SampleRate::Hz8000 };

/// Listens to one leg while an engine speaks to it.
#[derive(Debug)]
pub(super) struct Attention {
    pub(super) leg: LegId,
    detector: BargeInDetector,
    to_leg: Transcoder,
    from_leg: Transcoder,
    said: [i16; SAMPLES_PER_BEAT],
    heard: Vec<i16>,
    last_heard: Option<Instant>,
    /// Whether the last packet carried the engine's voice.
    pub(super) is_speaking: bool,
    /// The caller speaks.
    pub(super) caller_speaks: bool,
    /// Since when the caller interrupts, while the engine is still heard.
    pub(super) interrupted: Option<Instant>,
    pub(super) held_since: Option<Instant>,
    /// Since when the caller has been quiet, while the engine has not answered yet.
    pub(super) waiting_since: Option<Instant>,
}

impl Attention {
    pub(super) fn new(leg: LegId) -> Box<Self> {
        Box::new(Self {
            leg,
            detector: BargeInDetector::default(),
            to_leg: Transcoder::new(L16),
            from_leg: Transcoder::new(L16),
            said: [0; SAMPLES_PER_BEAT],
            heard: Vec::with_capacity(4 * SAMPLES_PER_BEAT),
            last_heard: None,
            is_speaking: false,
            caller_speaks: false,
            interrupted: None,
            held_since: None,
            waiting_since: None,
        })
    }

    /// A packet's audio goes to the leg.
    pub(super) fn said(&mut self, format: AudioFormat, frame: &[u8]) {
        let Self { to_leg, said, .. } = self;
        let mut filled = 0;
        to_leg.feed(format, frame, |piece| {
            for (sample, pair) in said[filled..].iter_mut().zip(piece.chunks_exact(2)) {
                *sample = i16::from_le_bytes([pair[0], pair[1]]);
                filled += 1;
            }
        });
    }

    /// Nothing goes to the leg in this beat.
    pub(super) fn said_nothing(&mut self) {
        self.said = [0; SAMPLES_PER_BEAT];
    }

    /// A frame came from the leg; what follows from it, the last of it where there is more than one.
    pub(super) fn heard(&mut self, now: Instant, format: AudioFormat, payload: &[u8]) -> Option<BargeIn> {
        self.last_heard = Some(now);
        let Self { from_leg, heard, .. } = self;
        from_leg.feed(format, payload, |piece| {
            heard.extend(piece.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])));
        });
        let mut told = None;
        let (frames, _) = self.heard.as_chunks::<SAMPLES_PER_BEAT>();
        for frame in frames {
            told = self.detector.push(&self.said, frame).or(told);
        }
        let used = frames.len() * SAMPLES_PER_BEAT;
        self.heard.drain(..used);
        told
    }

    /// A beat passed; silence is heard where no frame came.
    pub(super) fn beat(&mut self, now: Instant) -> Option<BargeIn> {
        let last = self.last_heard?;
        if now.saturating_duration_since(last) < ABSENT {
            return None;
        }
        self.heard.clear();
        self.detector.push(&self.said, &[0; SAMPLES_PER_BEAT])
    }

    /// Whether the engine has been held for too long.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.held_since.is_some_and(|since| now.saturating_duration_since(since) >= HELD_MOST)
    }
}

/// How long before `at` something began, both in samples at 8,000 Hz.
pub(super) fn ago(start: u64, at: u64) -> Duration {
    Duration::from_micros(at.saturating_sub(start) * 125)
}
