//! What the telephone network says with tones: ringing, busy, congestion, dial tone, call waiting, special information, fax.
//!
//! Countries differ in frequencies more than in rhythm, so the rhythm decides; frequencies only bound it (ITU-T E.180
//! and its supplement 2 for the networks' tones, E.180 for special information, T.30 for fax).
//!
//! ```text
//!   ringback      ====----------------  0.4 to 3 s on, or twice 0.4 s; then more than a second off
//!   busy          ===---===---          on and off alike, 0.62 to 1.5 s together
//!   reorder       =-=-=-                the same, faster
//!   dial          =================     2.6 s without a pause
//!   call waiting  =----------           shortly on, long off
//!   sit           =-=-= upwards         about 950, 1400, 1800 Hz
//!   fax           ========== 2100 Hz    fax_cng: ==------------ 1100 Hz
//! ```

use super::spectrum::{HOP, Spectrum};
use super::tonal::{Run, Runs, Tonal};

/// What a tone means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToneKind {
    /// The far telephone rings.
    Ringback,
    /// It is in use.
    Busy,
    /// The network is full.
    Reorder,
    /// A line waits for keys.
    Dial,
    /// Somebody else calls whom we talk to.
    CallWaiting,
    /// Special information: the call cannot be put through.
    Sit,
    /// A fax machine answers.
    Fax,
    /// A fax machine calls.
    FaxCng,
}

/// A tone that was recognised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeardTone {
    /// What it means.
    pub kind: ToneKind,
    /// Where it begins, in samples since the detector began.
    pub start: u64,
    /// Where it was recognised.
    pub at: u64,
    /// Its stronger frequency, in Hz; two closer than 100 Hz count as their middle.
    pub hz: f32,
}

/// Sound that is no tone, in dB of the spectrum's power: about -36 dBov.
const UNREST_DB: f32 = 54.0;

/// Frames without such sound before a call waiting's burst: one in the middle of speech is a machine's beep.
const REST: u64 = 150;

/// Where ringing, busy and their kin are, in Hz: from 400 to 620 in all countries.
const LOW: std::ops::Range<f32> = 375.0..700.0;

/// Bursts that are remembered.
const BURSTS: usize = 3;

/// A tone from its beginning to its end, in frames of 20 ms.
#[derive(Debug, Clone, Copy, Default)]
struct Burst {
    hz: f32,
    start: u64,
    end: u64,
    level_db: f32,
}

impl Burst {
    fn length(&self) -> u64 {
        self.end - self.start
    }
}

/// Listens to one leg, above all before it is answered.
#[derive(Debug, Clone)]
pub struct ToneDetector {
    spectrum: Spectrum,
    runs: Runs,
    /// The newest first.
    bursts: [Option<Burst>; BURSTS],
    told: Option<ToneKind>,
    /// The last frame with sound that is no tone.
    unrest: Option<u64>,
    /// How many such frames there were in a row.
    restless: u32,
}

impl Default for ToneDetector {
    fn default() -> Self {
        Self {
            spectrum: Spectrum::default(),
            runs: Runs::new(0.84, 26.0),
            bursts: [None; BURSTS],
            told: None,
            unrest: None,
            restless: 0,
        }
    }
}

impl ToneDetector {
    /// Hears the next samples, at most 20 ms at once. A tone is told once until another one comes.
    pub fn push(&mut self, samples: &[i16]) -> Option<HeardTone> {
        let mut heard = None;
        let mut rest = samples;
        while !rest.is_empty() {
            let (taken, complete) = self.spectrum.take(rest);
            rest = &rest[taken..];
            if complete {
                heard = self.frame().or(heard);
            }
        }
        heard
    }

    fn frame(&mut self) -> Option<HeardTone> {
        let now = self.spectrum.frames();
        let tonal = Tonal::of(self.spectrum.power());
        if let Some(run) = self.runs.frame(now - 1, &tonal) {
            self.ended(&run);
        }
        let sounding = self.runs.run.filter(|run| run.frames >= 4);
        let found = match sounding {
            Some(run) => self.while_sounding(&run),
            None => {
                if self.runs.run.is_none() {
                    self.check_silence(&tonal, now);
                }
                self.while_silent(now)
            }
        };
        let (kind, start, hz) = found?;
        if self.told == Some(kind) {
            return None;
        }
        self.told = Some(kind);
        let hop = HOP as u64;
        Some(HeardTone { kind, start: start * hop, at: now * hop, hz })
    }

    /// What is between bursts must be quiet, or there is no rhythm.
    fn check_silence(&mut self, tonal: &Tonal, now: u64) {
        let level = 10.0 * tonal.total.log10();
        // A burst's edges are no tone either, but short.
        self.restless = if level > UNREST_DB { self.restless + 1 } else { 0 };
        if self.restless > 2 {
            self.unrest = Some(now);
        }
        let Some(last) = self.bursts[0] else { return };
        if now > last.end + 2 && level > last.level_db - 9.0 {
            self.bursts = [None; BURSTS];
        }
    }

    fn ended(&mut self, run: &Run) {
        let steady = run.frames >= 4 && run.purity > 0.88;
        if !steady {
            return;
        }
        let burst = Burst {
            hz: run.hz[0],
            start: run.start,
            end: run.start + u64::from(run.frames),
            level_db: run.level_db,
        };
        if let Some(last) = &mut self.bursts[0]
            && burst.start <= last.end + 2
            && (burst.hz - last.hz).abs() < 40.0
        {
            last.end = burst.end;
            return;
        }
        self.bursts = [Some(burst), self.bursts[0], self.bursts[1]];
    }

    fn while_sounding(&self, run: &Run) -> Option<(ToneKind, u64, f32)> {
        let hz = run.hz[0];
        let frames = u64::from(run.frames);
        let pure = run.purity > 0.9;
        if pure && (hz - 2_100.0).abs() < 25.0 && frames >= 25 {
            return Some((ToneKind::Fax, run.start, hz));
        }
        if pure
            && (1_730.0..1_850.0).contains(&hz)
            && frames >= 8
            && let [Some(second), Some(first), _] = self.bursts
        {
            let close = run.start <= second.end + 5 && second.start <= first.end + 5;
            let order = (1_330.0..1_460.0).contains(&second.hz) && (880.0..1_020.0).contains(&first.hz);
            if close && order {
                return Some((ToneKind::Sit, first.start, hz));
            }
        }
        if !LOW.contains(&hz) {
            return None;
        }
        if pure && frames >= 130 {
            return Some((ToneKind::Dial, run.start, hz));
        }
        let last = self.bursts[0].filter(|last| run.near(last.hz) && run.start > last.end)?;
        let (on, off) = (last.length(), run.start - last.end);
        let alike = on.abs_diff(off) <= 2 + on / 5 && (last.level_db - run.level_db).abs() < 3.0;
        let kind = match on + off {
            12..=30 => ToneKind::Reorder,
            31..=75 => ToneKind::Busy,
            _ => return None,
        };
        (alike && pure).then_some((kind, last.start, hz))
    }

    fn while_silent(&self, now: u64) -> Option<(ToneKind, u64, f32)> {
        let last = self.bursts[0]?;
        let quiet = now - last.end;
        let on = last.length();
        if (1_065.0..1_135.0).contains(&last.hz) && (20..=30).contains(&on) && quiet >= 50 {
            return Some((ToneKind::FaxCng, last.start, last.hz));
        }
        if !LOW.contains(&last.hz) || quiet < 55 {
            return None;
        }
        if (36..=160).contains(&on) {
            return Some((ToneKind::Ringback, last.start, last.hz));
        }
        let before = self.bursts[1].filter(|before| (before.hz - last.hz).abs() < 45.0);
        if let Some(before) = before {
            let between = last.start.saturating_sub(before.end);
            let twice =
                (13..=27).contains(&on) && before.length().abs_diff(on) <= 4 && (6..=17).contains(&between);
            if twice {
                return Some((ToneKind::Ringback, before.start, last.hz));
            }
        }
        let rested = self.unrest.is_none_or(|unrest| unrest + REST < last.start);
        let short =
            (5..=17).contains(&on) && quiet >= 80 && before.is_none() && (380.0..460.0).contains(&last.hz);
        (short && rested).then_some((ToneKind::CallWaiting, last.start, last.hz))
    }
}
