//! Guesses in the place of packets that were lost, on the way up.
//!
//! ```text
//!   window: 12 13 (14 given up) 15    -->    out: 12 13 guess 15
//! ```
//!
//! What follows a gap is here when the gap is given up, so the guess is made from both sides ([`Concealer::bridge`]) and
//! nothing is delayed for it. Only a gap that is as long as the packets missing from it is filled: where the sender was
//! silent, or a key was pressed, there was nothing. While nothing is lost this costs a copy a frame; the concealer is made
//! at the first loss.

use std::time::Duration;

use crate::{AudioFormat, BEAT_MAX, Concealer, SampleRate, Transcoder};

/// The longest gap that is filled, in 1/8,000 s: 120 ms. Beyond, nobody knows what was said.
const LONGEST: u32 = 960;

/// A guess from both sides is made of up to 60 ms.
const BRIDGED: u32 = 480;

/// What a guess is made from: more than the concealer's own history.
const RECENT: usize = 3 * BEAT_MAX;

/// What is known of a frame beside its audio.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    pub(super) media_time: u32,
    pub(super) capture: Duration,
    pub(super) marker: bool,
}

/// What a guess is made with, used again for the next.
#[derive(Debug)]
struct Workshop {
    concealer: Concealer,
    past: Vec<i16>,
    guess: Vec<i16>,
    following: Vec<i16>,
    bytes: Vec<u8>,
}

/// One session's gaps.
#[derive(Debug)]
pub(super) struct Gaps {
    format: AudioFormat,
    /// What was handed out last, at most 60 ms, the newest at the end.
    recent: Vec<u8>,
    /// The media time behind it.
    next: Option<u32>,
    workshop: Option<Box<Workshop>>,
    /// The guess, and the frame behind it; how much of both was handed out.
    waiting: Vec<u8>,
    handed_out: usize,
    guessed: usize,
    piece: usize,
    stamp: Stamp,
    /// Units that were guessed.
    total: u64,
}

impl Gaps {
    pub(super) fn new(format: AudioFormat) -> Self {
        Self {
            format,
            recent: Vec::with_capacity(RECENT),
            next: None,
            workshop: None,
            waiting: Vec::new(),
            handed_out: 0,
            guessed: 0,
            piece: 0,
            stamp: Stamp { media_time: 0, capture: Duration::ZERO, marker: false },
            total: 0,
        }
    }

    /// Frames are handed out as `format` from now on. What waits is as it was, and no longer of use.
    pub(super) fn switch_format(&mut self, format: AudioFormat) {
        if self.format != format {
            let total = self.total;
            *self = Self { total, ..Self::new(format) };
        }
    }

    /// Units of 1/8,000 s that were guessed so far.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// How long the gap before a frame is, where it is one to be filled: `missing` packets before this frame of `length` never came.
    pub(super) fn before(&self, missing: u32, media_time: u32, length: u32) -> Option<u32> {
        let gap = media_time.wrapping_sub(self.next?);
        let fits = missing > 0 && length > 0 && gap == missing.checked_mul(length)? && gap <= LONGEST;
        (fits && !self.recent.is_empty()).then_some(gap)
    }

    /// A frame is handed out as it came.
    pub(super) fn keep(&mut self, media_time: u32, length: u32, audio: &[u8]) {
        self.next = Some(media_time.wrapping_add(length));
        remember(&mut self.recent, audio);
    }

    /// Puts what a codec has recovered of `gap` units, and the frame behind it: [`Self::next`] hands out both.
    pub(super) fn put(&mut self, gap: u32, stamp: Stamp, length: u32, recovered: &[u8], audio: &[u8]) {
        self.waiting.clear();
        self.waiting.extend_from_slice(recovered);
        self.guessed = self.waiting.len();
        self.waiting.extend_from_slice(audio);
        self.begin(gap, stamp, length);
    }

    /// Guesses `gap` units and puts the frame behind them: [`Self::next`] hands out both.
    pub(super) fn fill(&mut self, gap: u32, stamp: Stamp, length: u32, audio: &[u8]) {
        let (format, rate) = (self.format, self.format.rate());
        let scale = rate.hertz() as usize / 8_000;
        let workshop = self.workshop.get_or_insert_with(|| Box::new(Workshop::new(rate)));
        let Workshop { concealer, past, guess, following, bytes } = &mut **workshop;
        read(format, &self.recent, past);
        read(format, audio, following);
        guess.resize(gap as usize * scale, 0);
        concealer.keep(past);
        self.waiting.clear();
        if gap <= BRIDGED {
            concealer.bridge(following, guess);
            write(format, guess, bytes, &mut self.waiting);
            self.guessed = self.waiting.len();
            self.waiting.extend_from_slice(audio);
        } else {
            concealer.conceal(guess);
            concealer.keep(following);
            write(format, guess, bytes, &mut self.waiting);
            self.guessed = self.waiting.len();
            write(format, following, bytes, &mut self.waiting);
        }
        self.begin(gap, stamp, length);
    }

    /// What waits is handed out from its beginning.
    fn begin(&mut self, gap: u32, stamp: Stamp, length: u32) {
        self.handed_out = 0;
        self.piece = length as usize * self.format.bytes_per_unit();
        self.stamp = Stamp { media_time: stamp.media_time.wrapping_sub(gap), ..stamp };
        self.next = Some(stamp.media_time.wrapping_add(length));
        self.total += u64::from(gap);
        remember(&mut self.recent, &self.waiting);
    }

    /// Whether [`Self::next`] has something.
    pub(super) fn has_next(&self) -> bool {
        self.handed_out < self.waiting.len()
    }

    /// The next piece of what was filled, as long as its packets: its stamp, whether it is a guess, and its audio.
    pub(super) fn next(&mut self) -> (Stamp, bool, &[u8]) {
        let begin = self.handed_out;
        let is_guess = begin < self.guessed;
        let end = if is_guess { (begin + self.piece).min(self.guessed) } else { self.waiting.len() };
        self.handed_out = end;
        let units = begin / self.format.bytes_per_unit();
        let media_time = self.stamp.media_time.wrapping_add(units as u32);
        let marker = self.stamp.marker && !is_guess;
        (Stamp { media_time, marker, ..self.stamp }, is_guess, &self.waiting[begin..end])
    }
}

impl Workshop {
    fn new(rate: SampleRate) -> Self {
        let concealer = Concealer::new(rate);
        Self { concealer, past: Vec::new(), guess: Vec::new(), following: Vec::new(), bytes: Vec::new() }
    }
}

fn remember(recent: &mut Vec<u8>, audio: &[u8]) {
    let audio = &audio[audio.len().saturating_sub(RECENT)..];
    let over = (recent.len() + audio.len()).saturating_sub(RECENT);
    recent.drain(..over);
    recent.extend_from_slice(audio);
}

fn read(format: AudioFormat, audio: &[u8], samples: &mut Vec<i16>) {
    let linear = AudioFormat::L16 { rate: format.rate() };
    samples.clear();
    Transcoder::new(linear).feed(format, audio, |piece| {
        samples.extend(piece.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])));
    });
}

/// Appends samples as `format`.
fn write(format: AudioFormat, samples: &[i16], bytes: &mut Vec<u8>, audio: &mut Vec<u8>) {
    let linear = AudioFormat::L16 { rate: format.rate() };
    bytes.clear();
    samples.iter().for_each(|sample| bytes.extend_from_slice(&sample.to_le_bytes()));
    Transcoder::new(format).feed(linear, bytes, |piece| audio.extend_from_slice(piece));
}
