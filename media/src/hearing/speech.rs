//! Whether somebody speaks: how much louder the line is than without, in eleven bands.
//!
//! ```text
//!   floor    of each band: the least of the last 1.4 s
//!   score    dB above the floor, the mean over the bands
//!   rest     score of the background: a television is louder than a silent line
//!   peak     score of whoever holds the telephone, who is louder than the television
//!   speech   score > rest + a share of the way to peak, less of it once somebody speaks
//! ```
//! A beginning is decided on two loud frames, and told with the moment at which the loudest three bands began to rise
//! beyond what they waver by; a consonant that is closed for up to 120 ms before its vowel belongs to it. Speech begins
//! softly: the less it stands out, the more of it went under in the noise before, so the beginning is dated back by that.
//! An end is decided after 120 ms of quiet.
//! ```text
//!   loudest     usual ~~~~~~~~~~~~~~~/^^^|^^^^^^^
//!                        |<- lead ->|    decided
//!                      start       rise
//! ```

use super::spectrum::{BINS, HOP, Spectrum};

/// Where bands begin and end, in bins: 190 to 3,700 Hz, about as wide as the ear's.
const EDGES: [usize; BANDS + 1] = [6, 9, 12, 16, 20, 25, 31, 39, 50, 65, 85, 118];
const BANDS: usize = 11;

/// The power of a quiet line in one band: no line is quieter for us.
const QUIET: f32 = 20.0;

/// Share of the way from rest to peak at which speech begins and goes on, and the bounds of that in dB. In a quiet room
/// the upper bound decides, with a loud background the share.
const BEGIN_SHARE: f32 = 1.23;
const KEEP_SHARE: f32 = 0.3;
const LEAST_DB: f32 = 1.2;
const MOST_DB: f32 = 8.3;

/// How far peak is above rest at least, and where it begins.
const APART_DB: f32 = 0.8;
const FIRST_PEAK_DB: f32 = 7.8;

/// How fast peak rises to a score and falls, and rest follows it, a frame.
const PEAK_RISE: f32 = 0.0265;
const PEAK_FALL: f32 = 0.0035;
const REST_PACE: f32 = 0.0173;
const REST_FADE: f32 = 0.002;

/// How far the loudest three bands are above what is usual for them when they belong to the speech that follows: so many
/// times what they waver by, and at least this; and how much farther where they are quiet in between. In dB of their
/// geometric mean.
const RISE_SPREADS: f32 = 3.0;
const RISE_DB: f32 = 4.5;
const BURST_DB: f32 = 1.5;

/// The beginning is this much earlier for each dB by which they stand out less than that, and at most by that; in samples.
const LEAD: f32 = 48.0;
const CLEAR_DB: f32 = 20.0;
const MOST_LEAD: f32 = 440.0;

/// How long they may be quiet, in frames.
const CLOSED: u32 = 6;

/// How fast what is usual follows, a frame; and how old, in frames, what tells how it wavers is, so that no speech
/// that only begins is in it.
const USUAL_PACE: f32 = 0.03;
const SETTLED: usize = 8;

/// Frames over which the floor of a band is sought: six pieces of 12, 1.4 s.
const PIECES: usize = 6;
const PIECE: u64 = 12;

/// The floor is the least of a noise that wavers; its middle is higher by this factor.
const MIDDLE: f32 = 1.7;

/// Frames that speech holds on after the last loud one, since words end softly.
const HOLD: u32 = 6;

/// A stretch of speech.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpeechSegment {
    /// Where it begins, in samples since the detector began.
    pub start: u64,
    /// Where it ends.
    pub end: u64,
}

/// Listens to one leg for speech.
#[derive(Debug, Clone, Default)]
pub struct SpeechDetector {
    spectrum: Spectrum,
    level: SpeechLevel,
}

/// The deciding half, on spectra that somebody else makes.
#[derive(Debug, Clone)]
pub(super) struct SpeechLevel {
    smooth: [f32; BANDS],
    least: [[f32; BANDS]; PIECES],
    floor: [f32; BANDS],
    peak: f32,
    /// How loud the loudest three bands were in the last frames, the newest first, and usually without speech.
    recent: [f32; 24],
    usual: f32,
    /// By how much they waver, the mean in dB.
    spread: f32,
    rest: f32,
    frames: u64,
    loud: u32,
    quiet: u32,
    /// Where the speech that goes on now began, in samples.
    start: u64,
    last_loud: u64,
    speaking: bool,
}

impl Default for SpeechLevel {
    fn default() -> Self {
        Self {
            smooth: [0.0; BANDS],
            least: [[1e12; BANDS]; PIECES],
            floor: [QUIET; BANDS],
            peak: FIRST_PEAK_DB,
            recent: [0.0; 24],
            usual: 3.0,
            spread: 1.5,
            rest: 1.0,
            frames: 0,
            loud: 0,
            quiet: 0,
            start: 0,
            last_loud: 0,
            speaking: false,
        }
    }
}

impl SpeechDetector {
    /// Hears the next samples, at most 100 ms at once; a segment is told when it is over.
    pub fn push(&mut self, samples: &[i16]) -> Option<SpeechSegment> {
        let mut told = None;
        let mut rest = samples;
        while !rest.is_empty() {
            let (taken, complete) = self.spectrum.take(rest);
            rest = &rest[taken..];
            if complete {
                told = self.level.frame(self.spectrum.power()).or(told);
            }
        }
        told
    }

    /// The audio is over: speech that still goes on ends here.
    pub fn finish(&mut self) -> Option<SpeechSegment> {
        self.level.finish()
    }

    /// Where the speech that goes on now began.
    pub fn speaking_since(&self) -> Option<u64> {
        self.level.speaking_since()
    }
}

impl SpeechLevel {
    pub(super) fn frame(&mut self, power: &[f32; BINS]) -> Option<SpeechSegment> {
        self.frames += 1;
        // The first window is half empty.
        if self.frames <= 1 {
            return None;
        }
        let piece = (self.frames / PIECE) as usize % PIECES;
        let fresh = self.frames.is_multiple_of(PIECE);
        let mut score = 1.0_f32;
        let mut loudest = [1.0_f32; 3];
        for band in 0..BANDS {
            let bins = &power[EDGES[band]..EDGES[band + 1]];
            let now = bins.iter().sum::<f32>() / bins.len() as f32 + QUIET;
            let smooth = if self.frames == 2 { now } else { 0.5 * (self.smooth[band] + now) };
            self.smooth[band] = smooth;
            if fresh {
                self.least[piece][band] = 1e12;
            }
            self.least[piece][band] = self.least[piece][band].min(smooth);
            if fresh || smooth < self.floor[band] || self.frames < 4 {
                self.floor[band] = self.least.iter().fold(1e12, |least, piece| piece[band].min(least));
            }
            // Eleven of these fit: at most 10^38 together.
            let mut above = (now / (MIDDLE * self.floor[band])).clamp(1.0, 2_500.0);
            score *= above;
            for loudest in &mut loudest {
                if above > *loudest {
                    std::mem::swap(&mut above, loudest);
                }
            }
        }
        let score = 10.0 * score.log10() / BANDS as f32;
        if score > self.peak {
            self.peak += PEAK_RISE * (score - self.peak);
        } else {
            self.peak -= PEAK_FALL * (self.peak - score).min(6.0);
        }
        if self.speaking {
            self.rest -= REST_FADE * self.rest;
        } else {
            self.rest += REST_PACE * (score.min(self.rest + 6.0) - self.rest);
        }
        self.peak = self.peak.max(self.rest + APART_DB);
        let share = if self.speaking { KEEP_SHARE } else { BEGIN_SHARE };
        let margin = (share * (self.peak - self.rest)).clamp(LEAST_DB, MOST_DB);
        let loudest = 10.0 * loudest.iter().product::<f32>().log10() / 3.0;
        if !self.speaking {
            self.usual += USUAL_PACE * (loudest.min(self.usual + 6.0) - self.usual);
        }
        self.recent.rotate_right(1);
        self.recent[0] = loudest;
        if !self.speaking {
            let wavers = (self.recent[SETTLED] - self.usual).abs().min(6.0);
            self.spread += USUAL_PACE * (wavers - self.spread);
        }
        if score > self.rest + margin {
            self.loud += 1;
            self.quiet = 0;
            if !self.speaking && self.loud >= 2 {
                self.speaking = true;
                self.start = self.begun();
            }
            self.last_loud = self.frames;
            return None;
        }
        self.loud = 0;
        self.quiet += 1;
        if self.speaking && self.quiet > HOLD {
            return self.finish();
        }
        None
    }

    /// Where the speech that was recognised now began.
    fn begun(&self) -> u64 {
        let rise = self.frames.saturating_sub(1 + self.rise()) * HOP as u64;
        let clear = self.recent[0].max(self.recent[1]) - self.usual;
        let lead = (LEAD * (CLEAR_DB - clear)).clamp(0.0, MOST_LEAD);
        rise.saturating_sub(lead as u64)
    }

    /// Frames since the loudest bands began to rise.
    fn rise(&self) -> u64 {
        let risen = self.usual + RISE_DB.max(RISE_SPREADS * self.spread);
        let (mut rise, mut quiet) = (0, 0);
        for (back, loudest) in (1..).zip(self.recent) {
            let burst = if quiet > 0 { BURST_DB } else { 0.0 };
            if loudest > risen + burst {
                (rise, quiet) = (back, 0);
            } else {
                quiet += 1;
                if quiet > CLOSED {
                    break;
                }
            }
        }
        rise
    }

    pub(super) fn finish(&mut self) -> Option<SpeechSegment> {
        if !self.speaking {
            return None;
        }
        self.speaking = false;
        let hop = HOP as u64;
        Some(SpeechSegment { start: self.start, end: (self.last_loud + u64::from(HOLD)) * hop })
    }

    /// Whether the newest frame was loud.
    pub(super) fn is_loud(&self) -> bool {
        self.speaking && self.quiet == 0
    }

    pub(super) fn speaking_since(&self) -> Option<u64> {
        self.speaking.then_some(self.start)
    }
}
