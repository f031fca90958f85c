//! Whether the caller wants to speak while we do.
//!
//! What comes back while we speak is echo, noise, a "mm-hmm" or the caller. So we pause as soon as it can be the caller, and
//! cut or go on when it is clear:
//! ```text
//!   [Listening] --100 ms louder than echo and noise--> [Paused] --goes on for 360 ms--> [Cut], told once
//!        ^                                                 |
//!        +------------- quiet for 200 ms: resume ----------+
//! [Cut] --quiet for 200 ms--> [Listening]
//! ```
//! The echo is bounded by its loss, not modelled: it is never louder than the loudest of what we said in the last 400 ms,
//! less what the line was seen to take away. Loss and delay are learned while only we speak.

use std::time::Duration;

/// Samples in a frame, 20 ms.
const FRAME: usize = 160;

/// Frames in which an echo comes back: 400 ms.
const DELAY: usize = 20;

/// The loss in dB before anything is known of the line, and how fast a better one is believed.
const FIRST_LOSS_DB: f32 = 8.0;

/// Frames with our voice after which the best loss seen in them is believed: 600 ms.
const LEARN: u32 = 30;

/// Frames until the noise is known: 200 ms.
const SETTLE: u64 = 10;

/// Frames with audible echo after which its delay is believed.
const ECHOES: u32 = 12;

/// How much louder than echo and than noise a caller is, in dB.
const OVER_ECHO_DB: f32 = 5.0;
const OVER_NOISE_DB: f32 = 12.0;

/// No caller is quieter than this: about -50 dBov.
const QUIET_DB: f32 = 40.0;

/// Frames until we pause: 100 ms. A knock or a click is shorter.
const PAUSE: u32 = 5;

/// Loud frames until it is no "mm-hmm": 360 ms, short gaps not counted.
const CONFIRM: u32 = 18;

/// Quiet frames until we go on: 200 ms.
const RESUME: u32 = 10;

/// Quiet frames that speech bridges.
const BRIDGE: u32 = 2;

/// What to do with what we say. Positions are in samples since the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BargeIn {
    /// Stop, but keep what is left: somebody may have begun to speak at `start`.
    Pause {
        /// Where the caller began.
        start: u64,
        /// Where this was known.
        at: u64,
    },
    /// Throw it away: the caller speaks.
    Cut {
        /// Where the caller began.
        start: u64,
        /// Where this was known.
        at: u64,
    },
    /// Go on: it was nothing, or a "mm-hmm".
    Resume {
        /// Where this was known.
        at: u64,
    },
    /// The caller for whom it was thrown away is quiet again.
    Quiet {
        /// Where this was known.
        at: u64,
    },
}

#[derive(Debug, Clone, Copy)]
enum State {
    Listening,
    Paused { start: u64, loud: u32 },
    Cut,
}

/// Compares what we say with what comes back.
#[derive(Debug, Clone)]
pub struct BargeInDetector {
    state: State,
    frames: u64,
    /// What we said, in dB, the newest first.
    said: [f32; DELAY],
    loss_db: f32,
    /// The least loss since learning began anew, and for how many frames with our voice.
    seen_db: f32,
    learned: u32,
    noise_db: f32,
    /// For each delay the least loss seen in frames with audible echo; the true delay has the greatest.
    losses_db: [f32; DELAY],
    echoes: u32,
    /// Loud frames in a row, bridged; quiet ones since.
    loud: u32,
    quiet: u32,
}

impl Default for BargeInDetector {
    fn default() -> Self {
        Self {
            state: State::Listening,
            frames: 0,
            said: [0.0; DELAY],
            loss_db: FIRST_LOSS_DB,
            seen_db: f32::MAX,
            learned: 0,
            noise_db: QUIET_DB,
            losses_db: [60.0; DELAY],
            echoes: 0,
            loud: 0,
            quiet: 0,
        }
    }
}

impl BargeInDetector {
    /// How long a caller is quiet before that is told.
    pub const QUIET: Duration = Duration::from_millis(20 * RESUME as u64);

    /// The next 20 ms of both: what we sent and what came in at the same time.
    pub fn push(&mut self, said: &[i16; FRAME], heard: &[i16; FRAME]) -> Option<BargeIn> {
        self.said.rotate_right(1);
        self.said[0] = level_db(said);
        self.frames += 1;
        let level = level_db(heard);
        let loudest = self.said.iter().fold(0.0_f32, |loudest, said| loudest.max(*said));
        let echo = self.echo_db(loudest) + OVER_ECHO_DB;
        let loud = self.frames > SETTLE && level > echo.max(self.noise_db + OVER_NOISE_DB).max(QUIET_DB);
        if loud {
            self.loud += 1 + if self.loud > 0 { self.quiet } else { 0 };
            self.quiet = 0;
        } else {
            self.quiet += 1;
            if self.quiet > BRIDGE {
                self.loud = 0;
            }
            self.learn(level, loudest);
        }
        self.decide()
    }

    /// What is not the caller is noise or echo.
    fn learn(&mut self, level: f32, loudest: f32) {
        if self.loud > 0 {
            return;
        }
        let pace = if level < self.noise_db || self.frames <= SETTLE { 0.3 } else { 0.004 };
        self.noise_db += pace * (level - self.noise_db);
        if level > self.noise_db + 8.0 && self.frames > SETTLE && loudest > 50.0 {
            self.echoes += 1;
            for (loss, said) in self.losses_db.iter_mut().zip(&self.said) {
                // An echo never gains; what is below it all along was somebody else.
                *loss = loss.min((said - level).max(0.0)) + 0.01;
            }
        }
        // Only what we said loudly tells what comes back.
        if loudest > 55.0 && self.said[DELAY - 1] > 0.0 {
            self.seen_db = self.seen_db.min(loudest - level);
            self.learned += 1;
            if self.learned >= LEARN {
                self.loss_db = if self.seen_db > self.loss_db {
                    self.seen_db
                } else {
                    0.5 * (self.loss_db + self.seen_db)
                };
                self.seen_db = f32::MAX;
                self.learned = 0;
            }
        }
    }

    /// At most so loud is what comes back of what we said.
    fn echo_db(&self, loudest: f32) -> f32 {
        let anywhere = loudest - self.loss_db;
        if self.echoes < ECHOES {
            return anywhere;
        }
        let mut best = 0;
        for delay in 1..DELAY {
            if self.losses_db[delay] > self.losses_db[best] {
                best = delay;
            }
        }
        let around = best.saturating_sub(1)..(best + 3).min(DELAY);
        let there = self.said[around].iter().fold(0.0_f32, |loudest, said| loudest.max(*said));
        anywhere.min(there - self.losses_db[best])
    }

    fn decide(&mut self) -> Option<BargeIn> {
        let at = self.frames * FRAME as u64;
        match &mut self.state {
            State::Listening if self.loud >= PAUSE => {
                let start = at - u64::from(self.loud) * FRAME as u64;
                self.state = State::Paused { start, loud: self.loud };
                Some(BargeIn::Pause { start, at })
            }
            State::Paused { start, loud } => {
                *loud += u32::from(self.quiet == 0 && self.loud > 0);
                if *loud >= CONFIRM {
                    let start = *start;
                    self.state = State::Cut;
                    return Some(BargeIn::Cut { start, at });
                }
                (self.quiet >= RESUME).then(|| {
                    self.state = State::Listening;
                    BargeIn::Resume { at }
                })
            }
            State::Cut => (self.quiet >= RESUME).then(|| {
                self.state = State::Listening;
                BargeIn::Quiet { at }
            }),
            State::Listening => None,
        }
    }
}

/// dB of the mean square.
fn level_db(samples: &[i16; FRAME]) -> f32 {
    let mut sums = [0.0_f32; 8];
    for eight in samples.chunks_exact(8) {
        for (sum, sample) in sums.iter_mut().zip(eight) {
            *sum += f32::from(*sample) * f32::from(*sample);
        }
    }
    10.0 * (sums.iter().sum::<f32>() / FRAME as f32 + 1.0).log10()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hearing::PER_MS;

    const NOTHING: [i16; FRAME] = [0; FRAME];

    #[test]
    fn a_caller_pauses_us_within_200_ms_and_cuts_when_he_goes_on() {
        let mut detector = BargeInDetector::default();

        let heard = (0..100).map(|index| if index < 20 { NOTHING } else { tone(3_000) });
        let told: Vec<_> = heard.filter_map(|heard| detector.push(&NOTHING, &heard)).collect();

        let begun = 20 * FRAME as u64;
        assert!(
            matches!(told[0], BargeIn::Pause { start, at } if start == begun && at <= begun + 200 * PER_MS),
            "{told:?}"
        );
        assert!(matches!(told[1], BargeIn::Cut { start, .. } if start == begun), "{told:?}");
        assert_eq!(told.len(), 2, "{told:?}");
    }

    #[test]
    fn a_short_sound_pauses_at_most_and_a_knock_does_not_even() {
        for (frames, expected) in [(4, 0), (10, 2)] {
            let mut detector = BargeInDetector::default();

            let heard =
                (0..100).map(|index| if (20..20 + frames).contains(&index) { tone(3_000) } else { NOTHING });
            let told: Vec<_> = heard.filter_map(|heard| detector.push(&NOTHING, &heard)).collect();

            assert_eq!(told.len(), expected, "{told:?}");
            assert!(!told.iter().any(|told| matches!(told, BargeIn::Cut { .. })), "{told:?}");
        }
    }

    #[test]
    fn our_own_voice_that_comes_back_is_no_caller() {
        for (delay, divisor) in [(2, 5), (8, 20), (18, 60)] {
            let mut detector = BargeInDetector::default();
            let said: Vec<_> =
                (0..500).map(|index| if index % 40 < 30 { tone(12_000) } else { NOTHING }).collect();

            let told: Vec<_> = (0..500)
                .filter_map(|index| {
                    let echo = if index < delay { NOTHING } else { said[index - delay].map(|x| x / divisor) };
                    detector.push(&said[index], &echo)
                })
                .collect();

            assert_eq!(told, [], "{delay} frames later, 1/{divisor}");
        }
    }

    fn tone(amplitude: i16) -> [i16; FRAME] {
        std::array::from_fn(|index| if index % 16 < 8 { amplitude } else { -amplitude })
    }
}
