//! What the edge hears in the audio of a leg: keys, the network's tones, speech, answering machines,
//! and whether a caller wants to speak while we do.
//!
//! Every detector takes linear samples at 8,000 Hz as they come, in pieces of any size (20 ms frames in a call), and
//! tells positions in samples since its beginning, so that it can be replayed. None allocates, none knows a clock, and
//! the same samples give the same answers whatever pieces they came in.

mod amd;
mod bargein;
mod dtmf;
mod spectrum;
mod speech;
mod tonal;
mod tones;
mod trig;

pub use amd::{AmdEvent, AnswerDetector, AnswerTiming, Answerer};
pub use bargein::{BargeIn, BargeInDetector};
pub use dtmf::{DtmfDetector, DtmfTone, HeardDigit};
pub use speech::{SpeechDetector, SpeechSegment};
pub use tones::{HeardTone, ToneDetector, ToneKind};

/// Samples in a millisecond, the rate at which everything here hears.
const PER_MS: u64 = 8;

/// The amplitude of a sine of 0 dBm0 (G.711 table 5: 3.17 dB below full scale).
const AMPLITUDE_0_DBM0: f32 = 22_749.0;
