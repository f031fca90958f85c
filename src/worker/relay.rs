//! What a leg hears of the other legs of its call, and what it hears while it waits.
//!
//! ```text
//!   speaker's frames --> Relay (20 to 120 ms) --+
//!   speaker's frames --> Relay -----------------+--> blend --> the leg's packet
//!   engine's play-out --------------------------+
//!   nobody: what is played while one waits -----+
//! ```
//!
//! One voice alone is passed on as it is; several are added as linear samples. A relay begins when 40 ms are there and
//! begins anew after it ran dry; what lies beyond 120 ms is the oldest and goes, so a far end whose clock is fast never
//! makes a conversation late.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::VecDeque;
use std::sync::Arc;

use media::{AudioFormat, BEAT_MAX, Played, SAMPLES_PER_BEAT, Transcoder};

use crate::call::{Announcement, LegId};

/// So many beats are there before the first is passed on.
const PRIMED: usize = 2;
/// More never waits.
const FULL: usize = 6;
/// What is kept of more.
const KEPT: usize = 3;
/// A beat's samples at the highest rate of a leg.
const SAMPLES_MOST: usize = BEAT_MAX / 2;

/// Frames of one speaker on their way to one listener, laid out as the listener hears.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) speaker: LegId,
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

/// What is played, again and again, to somebody who waits.
#[derive(Debug)]
pub(super) struct Waiting {
    audio: Arc<Announcement>,
    at: usize,
    transcoder: Transcoder,
}

impl Relay {
    pub(super) fn new(speaker: LegId) -> Self {
        let room = 2 * FULL * SAMPLES_PER_BEAT;
        let transcoder = Transcoder::new(AudioFormat::Pcmu);
        Self { speaker, audio: VecDeque::with_capacity(room), transcoder, flow: Flow::Filling }
    }

    /// Takes a frame of the speaker. Answers how many samples of the listener's had to go.
    pub(super) fn push(&mut self, listener: AudioFormat, format: AudioFormat, payload: &[u8]) -> usize {
        if self.transcoder.target() != listener {
            self.transcoder = Transcoder::new(listener);
            self.clear();
        }
        let Self { transcoder, audio, .. } = self;
        transcoder.feed(format, payload, |piece| audio.extend(piece));
        let beat = listener.bytes_per_beat();
        if audio.len() <= FULL * beat {
            return 0;
        }
        let gone = audio.len() - KEPT * beat;
        audio.drain(..gone);
        gone / listener.bytes_per_sample()
    }

    /// What waits is of no use any more.
    pub(super) fn clear(&mut self) {
        self.audio.clear();
        self.flow = Flow::Filling;
    }

    /// The next 20 ms, if they are there as the listener hears now; `out` is as long as that.
    pub(super) fn take(&mut self, listener: AudioFormat, out: &mut [u8]) -> bool {
        let beats = match self.flow {
            Flow::Filling => PRIMED,
            Flow::Running => 1,
        };
        if self.transcoder.target() != listener || self.audio.len() < beats * listener.bytes_per_beat() {
            self.flow = Flow::Filling;
            return false;
        }
        self.flow = Flow::Running;
        for (to, from) in out.iter_mut().zip(self.audio.drain(..listener.bytes_per_beat())) {
            *to = from;
        }
        true
    }
}

impl Waiting {
    pub(super) fn new(audio: Arc<Announcement>) -> Self {
        Self { audio, at: 0, transcoder: Transcoder::new(AudioFormat::Pcmu) }
    }

    /// Fills `out` with the next 20 ms.
    fn fill(&mut self, listener: AudioFormat, out: &mut [u8]) {
        if self.transcoder.target() != listener {
            self.transcoder = Transcoder::new(listener);
        }
        let mut codes = [0; SAMPLES_PER_BEAT];
        for code in &mut codes {
            let Some(next) = self.audio.pcmu.get(self.at) else { return };
            *code = *next;
            self.at = (self.at + 1) % self.audio.pcmu.len();
        }
        let mut filled = 0;
        self.transcoder.feed(AudioFormat::Pcmu, &codes, |piece| {
            let length = piece.len().min(out.len() - filled);
            out[filled..filled + length].copy_from_slice(&piece[..length]);
            filled += length;
        });
    }
}

/// Makes one frame of all that a leg hears; `frame` holds what the engine says to it, or noise.
pub(super) fn blend(
    relays: &mut [Relay],
    waiting: Option<&mut Waiting>,
    format: AudioFormat,
    frame: &mut [u8],
    played: Played,
) -> Played {
    let mut sum = [0_i32; SAMPLES_MOST];
    let mut alone = [0; BEAT_MAX];
    let alone = &mut alone[..frame.len()];
    let mut voices = 0;
    if played == Played::Audio {
        voices += 1;
        alone.copy_from_slice(frame);
        add(&mut sum, format, frame);
    }
    for relay in relays {
        let mut heard = [0; BEAT_MAX];
        let heard = &mut heard[..frame.len()];
        if relay.take(format, heard) {
            voices += 1;
            add(&mut sum, format, heard);
            alone.copy_from_slice(heard);
        }
    }
    match (voices, waiting) {
        (0, Some(waiting)) => {
            waiting.fill(format, frame);
            Played::Audio
        }
        (0, None) => Played::Silence,
        (1, _) => {
            frame.copy_from_slice(alone);
            Played::Audio
        }
        (_, _) => {
            let linear = AudioFormat::L16 { rate: format.rate() };
            for (code, sample) in frame.chunks_exact_mut(format.bytes_per_sample()).zip(sum) {
                let sample = sample.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
                linear.convert(format, &sample.to_le_bytes(), code);
            }
            Played::Audio
        }
    }
}

fn add(sum: &mut [i32; SAMPLES_MOST], format: AudioFormat, frame: &[u8]) {
    let mut linear = [0; 2 * SAMPLES_MOST];
    let length = format.convert(AudioFormat::L16 { rate: format.rate() }, frame, &mut linear);
    let linear = &linear[..length];
    for (sum, sample) in sum.iter_mut().zip(linear.chunks_exact(2)) {
        *sum += i32::from(i16::from_le_bytes([sample[0], sample[1]]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: [u8; SAMPLES_PER_BEAT] = [0xFF; SAMPLES_PER_BEAT];

    #[test]
    fn a_relay_begins_with_two_frames_and_again_after_it_ran_dry() {
        let mut relays = [Relay::new(LegId(1))];
        let mut heard = Vec::new();
        for pushed in [1, 1, 1, 0, 0, 0, 1, 1, 1] {
            for _ in 0..pushed {
                relays[0].push(AudioFormat::Pcmu, AudioFormat::Pcmu, &[7; 160]);
            }
            let mut frame = NOBODY;
            heard.push(
                blend(&mut relays, None, AudioFormat::Pcmu, &mut frame, Played::Silence) == Played::Audio,
            );
        }

        assert_eq!(heard, [false, true, true, true, false, false, false, true, true]);
    }

    #[test]
    fn what_is_too_late_goes_and_the_newest_stays() {
        let mut relay = Relay::new(LegId(1));
        let gone: usize =
            (1..=7).map(|frame| relay.push(AudioFormat::Pcmu, AudioFormat::Pcmu, &[frame; 160])).sum();

        let mut frame = [0; 160];
        assert!(relay.take(AudioFormat::Pcmu, &mut frame));
        assert_eq!((gone, frame[0]), (4 * 160, 5));
    }

    #[test]
    fn one_voice_is_passed_on_bit_by_bit_and_two_are_added() {
        let loud: Vec<u8> = (0..160).map(|place| (place % 256) as u8).collect();
        let mut relays = [Relay::new(LegId(1)), Relay::new(LegId(2))];
        for _ in 0..2 {
            relays[0].push(AudioFormat::Pcmu, AudioFormat::Pcmu, &loud);
        }
        let mut frame = NOBODY;
        blend(&mut relays, None, AudioFormat::Pcmu, &mut frame, Played::Silence);
        assert_eq!(frame[..], loud[..]);

        let sample = |code: u8| i32::from(media::g711::ulaw_to_linear(code));
        for relay in &mut relays {
            relay.clear();
            relay.push(AudioFormat::Pcmu, AudioFormat::Pcmu, &[0xA0; 320]);
        }
        let mut frame = [0xB0; 160];
        blend(&mut relays, None, AudioFormat::Pcmu, &mut frame, Played::Audio);
        let expected = 2 * sample(0xA0) + sample(0xB0);
        let error = (sample(frame[0]) - expected).abs();
        assert!(error <= expected.abs() / 16, "{} of {expected}", sample(frame[0]));
    }

    #[test]
    fn who_waits_hears_something_until_somebody_speaks() {
        let audio = Arc::new(Announcement { name: "tone".into(), pcmu: vec![1, 2, 3] });
        let mut waiting = Waiting::new(audio);
        let mut frame = NOBODY;
        let played = blend(&mut [], Some(&mut waiting), AudioFormat::Pcmu, &mut frame, Played::Silence);
        assert_eq!((played, &frame[..4]), (Played::Audio, &[1, 2, 3, 1][..]));

        let mut frame = [9; 160];
        blend(&mut [], Some(&mut waiting), AudioFormat::Pcmu, &mut frame, Played::Audio);
        assert_eq!(frame, [9; 160]);
    }
}
