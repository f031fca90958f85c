//! Hears keys in band as ITU-T Q.24 asks.
//!
//! Every 5 ms the last 20 ms are judged, as two halves of 10 ms:
//! ```text
//!      |--- first half ---|--- second half ---|
//!        |W1| |W2| of each tone: amplitude        angle from W1 to W2: how far off its frequency the tone is
//! ```
//! A window speaks for a key when one row and one column hold nearly all of its energy, at a level and a twist that a
//! keypad makes, near their frequencies. Speech and music have more than two tones, or do not hold them. A key is taken
//! when windows agree for long enough, and its frequencies, averaged over all of them, are within about 2 %.
//!
//! ```text
//!   nothing --a window speaks for K--> K sounds --K's tones are gone for 25 ms, or another key--> told, if long enough
//! ```

use super::filter::{BLOCK, Phasors};
use super::{KEYS, TONES};
use crate::Digit;
use crate::hearing::{AMPLITUDE_0_DBM0, PER_MS};

/// Share of the window's energy that the two tones must have. White noise 15 dB below leaves 97 %, a dial tone 12 dB
/// below 94 %; voiced speech rarely has 70 % for long.
const SHARE: f32 = 0.74;

/// Share at which a window is clear. What speech makes of two tones wavers around 80 % and gets above 90 % for moments.
const CLEAR: f32 = 0.88;

/// Clear windows in a row that a key must have; one of 40 ms has 4 or more.
const CLEARLY: u32 = 3;

/// The least amplitude of either tone, at about -45 dBm0. Q.24: -25 dBm must be taken, -55 dBm must not.
const LEAST: f32 = AMPLITUDE_0_DBM0 * 0.0056;

/// Column over row, as ratio of powers: at most 8 dB. Q.24 and Bellcore: 4 dB must be taken.
const TWIST_COLUMN: f32 = 6.3;

/// Row over column: at most 11 dB. 8 dB must be taken.
const TWIST_ROW: f32 = 12.6;

/// Deviation of frequency beyond which a window says nothing; a window of 20 ms cannot say it exactly.
const ROUGH: f32 = 0.035;

/// Deviation beyond which a key is not taken: 1.5 % must be, 3.5 % must not.
const EXACT: f32 = 0.024;

/// Windows in a row that must agree; a tone of 23 ms makes at most 3, one of 40 ms 6 or more.
const AGREE: u32 = 4;

/// Blocks without its tones after which a key is over. 10 ms (2 or 3 blocks) must be bridged, 40 ms (7) must not.
const GONE: u32 = 5;

/// The least measured length: 40 ms must be taken, 23 ms must not.
const SHORTEST: f32 = 28.0 * PER_MS as f32;

/// Seconds between the middles of the two halves.
const BETWEEN: f32 = 0.010;

/// A key that was pressed and let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeardDigit {
    /// Which.
    pub digit: Digit,
    /// Where its tones begin, in samples since the detector began.
    pub start: u64,
    /// How many samples they last.
    pub length: u64,
}

/// Listens to one leg.
#[derive(Debug, Clone, Default)]
pub struct DtmfDetector {
    pending: Pending,
    /// Blocks heard so far.
    blocks: u64,
    /// The last block of each kind is at index 0.
    last: [Block; 4],
    /// The last three pairs: a window is the first and the last of them.
    pairs: [Phasors; 3],
    key: Option<Key>,
}

/// Samples that do not fill a block yet.
#[derive(Debug, Clone)]
struct Pending {
    samples: [f32; BLOCK],
    count: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Block {
    tones: Phasors,
    energy: f32,
}

/// What one window says.
#[derive(Debug, Clone, Copy)]
struct Window {
    row: usize,
    column: usize,
    row_advance: (f32, f32),
    column_advance: (f32, f32),
    /// Row and column together: `A1² + A2²`.
    strength: f32,
    clear: bool,
}

/// A key that sounds, perhaps.
#[derive(Debug, Clone, Copy)]
struct Key {
    row: usize,
    column: usize,
    row_advance: (f32, f32),
    column_advance: (f32, f32),
    strength: f32,
    /// Windows that agreed in a row until now, and the most that did.
    agreeing: u32,
    agreed: u32,
    /// The same of those that were clear.
    clearing: u32,
    cleared: u32,
    /// Blocks that were heard when it was first suspected. `start` and `end` are counted from there, in samples.
    origin: u64,
    start: f32,
    end: f32,
    gone: u32,
}

impl DtmfDetector {
    /// Hears the next samples. A piece of up to 50 ms ends at most one key; that one is told.
    pub fn push(&mut self, samples: &[i16]) -> Option<HeardDigit> {
        let mut heard = None;
        let mut rest = samples;
        while !rest.is_empty() {
            let room = &mut self.pending.samples[self.pending.count..];
            let (now, later) = rest.split_at(room.len().min(rest.len()));
            for (place, sample) in room.iter_mut().zip(now) {
                *place = f32::from(*sample);
            }
            self.pending.count += now.len();
            rest = later;
            if self.pending.count == BLOCK {
                self.pending.count = 0;
                heard = self.block().or(heard);
            }
        }
        heard
    }

    /// The audio is over: a key that still sounds ends here.
    pub fn finish(&mut self) -> Option<HeardDigit> {
        let key = self.key.take()?;
        key.told()
    }

    /// The key that sounds now and was heard for long enough to be one.
    pub fn sounding(&self) -> Option<Digit> {
        self.key.as_ref().filter(|key| key.is_one()).map(Key::digit)
    }

    fn block(&mut self) -> Option<HeardDigit> {
        let samples = &self.pending.samples;
        let block = Block { tones: Phasors::of(samples), energy: energy(samples) };
        self.pairs = [self.last[0].tones.with(&block.tones), self.pairs[0], self.pairs[1]];
        self.last = [block, self.last[0], self.last[1], self.last[2]];
        self.blocks += 1;
        let window = self.window();
        let Some(key) = &mut self.key else {
            self.key = window.map(|window| Key::begun(window, self.blocks, &self.last));
            return None;
        };
        match window {
            Some(window) if window.row == key.row && window.column == key.column => {
                key.agree(window);
                key.follow(self.blocks, &block);
                None
            }
            Some(window) => {
                let told = key.told();
                // What a long key leaves in the window while it fades is no other key.
                self.key = Some(Key::begun(window, self.blocks, &self.last));
                told
            }
            None => {
                key.agreeing = 0;
                key.clearing = 0;
                key.follow(self.blocks, &block);
                let told = (key.gone >= GONE).then(|| key.told());
                if told.is_some() {
                    self.key = None;
                }
                told.flatten()
            }
        }
    }

    /// Judges the last 20 ms.
    fn window(&self) -> Option<Window> {
        let energy: f32 = self.last.iter().map(|block| block.energy).sum();
        let length = 4.0 * BLOCK as f32;
        if energy < LEAST * LEAST * length {
            return None;
        }
        let (first, second) = (&self.pairs[2], self.pairs[0]);
        let loudest = |tones: std::ops::Range<usize>| {
            let power = |tone: usize| first.power(tone) + second.power(tone);
            tones.fold(
                (0, 0.0),
                |best: (usize, f32), tone| {
                    if power(tone) > best.1 { (tone, power(tone)) } else { best }
                },
            )
        };
        let ((row, row_power), (column, column_power)) = (loudest(0..4), loudest(4..8));
        // Before roots and angles: two halves in step would have at most twice this.
        let rough = (row_power + column_power) * 4.0 / (length * energy);
        if rough < SHARE / 2.0 {
            return None;
        }
        let second = second.turned().turned();
        let (row_strength, row_advance) = strength(first, &second, row)?;
        let (column_strength, column_advance) = strength(first, &second, column)?;
        let share = (row_strength + column_strength) / 2.0 * length / energy;
        let fits = share >= SHARE
            && row_strength.min(column_strength) >= LEAST * LEAST
            && column_strength <= TWIST_COLUMN * row_strength
            && row_strength <= TWIST_ROW * column_strength;
        let strength = row_strength + column_strength;
        fits.then_some(Window { row, column, row_advance, column_advance, strength, clear: share >= CLEAR })
    }
}

/// The sum of squares, as eight sums side by side.
fn energy(samples: &[f32; BLOCK]) -> f32 {
    let mut sums = [0.0; 8];
    for eight in samples.chunks_exact(8) {
        for (sum, sample) in sums.iter_mut().zip(eight) {
            *sum += sample * sample;
        }
    }
    sums.iter().sum()
}

/// The square of a tone's amplitude, and its advance from half to half; nothing where that is too far off.
fn strength(first: &Phasors, second: &Phasors, tone: usize) -> Option<(f32, (f32, f32))> {
    let advance = second.advance(first, tone);
    let deviation = deviation(advance, tone);
    if deviation.abs() > ROUGH {
        return None;
    }
    let magnitude = first.power(tone).sqrt() + second.power(tone).sqrt();
    let amplitude = magnitude / (2.0 * BLOCK as f32);
    // A tone beside the frequency of the filter is weakened by it: sinc, near enough for these few Hz.
    let beside = std::f32::consts::PI * deviation * TONES[tone] as f32 * BETWEEN;
    let weakened = 1.0 - beside * beside / 6.0 + beside.powi(4) / 120.0;
    Some(((amplitude / weakened).powi(2), advance))
}

/// How far a tone is off its frequency, as a share of it.
fn deviation(advance: (f32, f32), tone: usize) -> f32 {
    advance.1.atan2(advance.0) / (std::f32::consts::TAU * BETWEEN * TONES[tone] as f32)
}

impl Key {
    /// The first window that speaks for a key. It may have begun inside of the window's first blocks.
    fn begun(window: Window, blocks: u64, last: &[Block; 4]) -> Self {
        let mut key = Self {
            row: window.row,
            column: window.column,
            row_advance: window.row_advance,
            column_advance: window.column_advance,
            strength: window.strength,
            agreeing: 1,
            agreed: 1,
            clearing: window.clear.into(),
            cleared: window.clear.into(),
            start: 0.0,
            origin: blocks,
            end: 0.0,
            gone: 0,
        };
        let present: f32 = last.iter().map(|block| key.present(block)).sum();
        key.start = -present * BLOCK as f32;
        key
    }

    fn agree(&mut self, window: Window) {
        self.row_advance.0 += window.row_advance.0;
        self.row_advance.1 += window.row_advance.1;
        self.column_advance.0 += window.column_advance.0;
        self.column_advance.1 += window.column_advance.1;
        self.agreeing += 1;
        self.agreed = self.agreed.max(self.agreeing);
        self.clearing = if window.clear { self.clearing + 1 } else { 0 };
        self.cleared = self.cleared.max(self.clearing);
        self.strength = self.strength.max(window.strength);
    }

    /// Whether the tones are still there, and until where.
    fn follow(&mut self, blocks: u64, block: &Block) {
        let present = self.present(block);
        let before = (blocks - self.origin - 1) as f32;
        if present > 0.5 {
            self.gone = 0;
            self.end = (before + present) * BLOCK as f32;
        } else {
            // The last piece of a tone that ends inside of this block.
            if self.gone == 0 && present > 0.1 {
                self.end = (before + present) * BLOCK as f32;
            }
            self.gone += 1;
        }
    }

    /// How much of this block the key's tones fill, from 0 to 1.
    fn present(&self, block: &Block) -> f32 {
        let power = block.tones.power(self.row) + block.tones.power(self.column);
        let share = (power * 4.0).sqrt() / (BLOCK as f32 * self.strength.sqrt());
        share.min(1.0)
    }

    fn is_one(&self) -> bool {
        self.agreed >= AGREE
            && self.cleared >= CLEARLY
            && self.end - self.start >= SHORTEST
            && deviation(self.row_advance, self.row).abs() <= EXACT
            && deviation(self.column_advance, self.column).abs() <= EXACT
    }

    fn digit(&self) -> Digit {
        Digit::try_from(KEYS[self.row][self.column - 4]).expect("the keypad has digits only")
    }

    fn told(&self) -> Option<HeardDigit> {
        let before = (-self.start).max(0.0).round() as u64;
        self.is_one().then(|| HeardDigit {
            digit: self.digit(),
            start: (self.origin * BLOCK as u64).saturating_sub(before),
            length: (self.end - self.start).round() as u64,
        })
    }
}

impl Default for Pending {
    fn default() -> Self {
        Self { samples: [0.0; BLOCK], count: 0 }
    }
}
