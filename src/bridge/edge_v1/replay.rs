//! What an engine that can resume was told lately, as it stood on the wire, so that it can be told again.
//!
//! ```text
//!    heard by the engine | told, perhaps not heard | not told yet
//!    forgotten           ^front                    ^next        ^back
//! ```
//!
//! Frames of audio and messages lie in the order they were written, and keep it. What is told again has the flag
//! [`FrameFlags::REPLAY`]; everything else of it is as it was, so that the numbers tell what is there twice.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::VecDeque;

use super::frame::{FLAGS_AT, FrameFlags};
use crate::bridge::{Form, Outgoing};

/// The longest stretch of a track that is kept.
pub(super) const KEPT_MS: u32 = 30_000;

/// The most messages that are kept.
const KEPT_MESSAGES: usize = 1_024;

/// The most bytes that are kept, of everything: 30 seconds of both tracks in the widest codec.
const KEPT_BYTES: usize = 3 << 20;

/// A store that became larger than this for an engine that was away is given back, down to [`SMALL`].
const LARGE: usize = 64 << 10;
const SMALL: usize = 16 << 10;

/// Tracks that an engine hears.
pub(super) const TRACKS: usize = 2;

/// How far one side has heard the other: numbers of the last of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) tracks: [Option<u32>; TRACKS],
    pub(super) messages: Option<u32>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Replay {
    bytes: VecDeque<u8>,
    entries: VecDeque<Entry>,
    /// How many of the entries were told.
    told: usize,
    /// How much of each track is kept.
    kept_ms: [u32; TRACKS],
    kept_messages: usize,
    newest: Position,
    heard: Position,
    /// The newest of what was let go to make room.
    forgotten: Position,
    /// How much of that the engine was never told.
    untold: u32,
    /// The next frame of the track has something missing before it.
    gaps: [bool; TRACKS],
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    what: What,
    length: u32,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Frame { track: u8, sequence: u32, ms: u16 },
    Message { sequence: u32 },
}

/// What was told in one go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Frames that came late, most of them a second time.
    pub frames: u64,
    /// Frames and messages that were too old to be kept, and that the engine has not heard.
    pub lost: u64,
}

impl Replay {
    /// Keeps a frame.
    pub(super) fn keep_frame(&mut self, track: u8, sequence: u32, ms: u16, frame: &[u8]) {
        self.kept_ms[usize::from(track)] += u32::from(ms);
        self.newest.tracks[usize::from(track)] = Some(sequence);
        self.keep(What::Frame { track, sequence, ms }, frame);
    }

    /// Keeps a message.
    pub(super) fn keep_message(&mut self, sequence: u32, message: &[u8]) {
        self.kept_messages += 1;
        self.newest.messages = Some(sequence);
        self.keep(What::Message { sequence }, message);
    }

    /// Whether all that is kept was told: what comes next is live.
    pub(super) fn is_told(&self) -> bool {
        self.told == self.entries.len()
    }

    /// What was kept last went out at once.
    pub(super) fn told_live(&mut self) {
        self.told = self.entries.len();
    }

    /// The engine has heard so far; that is forgotten. What was never written cannot have been heard.
    pub(super) fn acknowledge(&mut self, heard: &Position) {
        for track in 0..TRACKS {
            let heard = not_after(self.newest.tracks[track], heard.tracks[track]);
            self.heard.tracks[track] = newer(self.heard.tracks[track], heard);
        }
        let messages = not_after(self.newest.messages, heard.messages);
        self.heard.messages = newer(self.heard.messages, messages);
        // All came in this order, so what was told before something that is heard is heard as well.
        let heard = self.entries.iter().rposition(|entry| self.is_heard(entry));
        for _ in 0..heard.map_or(0, |last| last + 1) {
            self.let_go();
        }
        if self.bytes.capacity() > LARGE && self.bytes.len() < SMALL {
            self.bytes.shrink_to(SMALL);
        }
    }

    /// All that the engine has not heard is told again. How much of it there is no more.
    pub(super) fn rewind(&mut self, heard: &Position) -> u32 {
        self.acknowledge(heard);
        self.told = 0;
        let missing = |forgotten: Option<u32>, heard: Option<u32>| {
            let (forgotten, heard) = forgotten.zip(heard)?;
            u32::try_from(distance(heard, forgotten)).ok().filter(|missing| *missing > 0)
        };
        let mut lost = 0;
        for track in 0..TRACKS {
            let (forgotten, heard) = (self.forgotten.tracks[track], heard.tracks[track]);
            let missing = missing(forgotten, heard);
            lost += missing.unwrap_or(0);
            // Who does not say what it heard begins in the middle.
            self.gaps[track] |= missing.is_some() || (heard.is_none() && forgotten.is_some());
        }
        lost += missing(self.forgotten.messages, heard.messages).unwrap_or(0);
        lost.max(self.take_untold())
    }

    /// How much the engine was never told, and never will be.
    pub(super) fn take_untold(&mut self) -> u32 {
        std::mem::take(&mut self.untold)
    }

    /// The first and the last frame of a track that are kept.
    pub(super) fn kept(&self, wanted: u8) -> Option<(u32, u32)> {
        let of_track = |entry: &Entry| match entry.what {
            What::Frame { track, sequence, .. } if track == wanted => Some(sequence),
            What::Frame { .. } | What::Message { .. } => None,
        };
        let first = self.entries.iter().find_map(of_track)?;
        let last = self.entries.iter().rev().find_map(of_track)?;
        Some((first, last))
    }

    /// Tells up to `most` of what is not told yet. How many frames those were.
    pub(super) fn tell(&mut self, most: usize, out: &mut Outgoing) -> u64 {
        let mut at: usize = self.entries.iter().take(self.told).map(|entry| entry.length as usize).sum();
        let mut frames = 0;
        for Entry { what, length } in self.entries.iter().skip(self.told).take(most) {
            let form = match what {
                What::Frame { .. } => Form::Binary,
                What::Message { .. } => Form::Text,
            };
            let bytes = self.bytes.range(at..at + *length as usize);
            out.write(form, |message| {
                let begin = message.len();
                message.extend(bytes);
                if let What::Frame { track, .. } = what {
                    let gap = std::mem::take(&mut self.gaps[usize::from(*track)]);
                    let flags = FrameFlags::from_byte(message[begin + FLAGS_AT]) | FrameFlags::REPLAY;
                    let flags = if gap { flags | FrameFlags::DISCONTINUITY } else { flags };
                    message[begin + FLAGS_AT] = flags.to_byte();
                    frames += 1;
                }
            });
            at += *length as usize;
        }
        self.told = self.entries.len().min(self.told + most);
        frames
    }

    fn keep(&mut self, what: What, bytes: &[u8]) {
        self.bytes.extend(bytes);
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.entries.push_back(Entry { what, length });
        while self.is_too_much() {
            let untold = self.told == 0;
            let Some(oldest) = self.let_go() else { return };
            self.untold += u32::from(untold);
            match oldest {
                What::Frame { track, sequence, .. } => {
                    self.forgotten.tracks[usize::from(track)] = Some(sequence);
                    self.gaps[usize::from(track)] |= untold;
                }
                What::Message { sequence } => self.forgotten.messages = Some(sequence),
            }
        }
    }

    fn is_too_much(&self) -> bool {
        self.kept_ms.iter().any(|kept| *kept > KEPT_MS)
            || self.kept_messages > KEPT_MESSAGES
            || self.bytes.len() > KEPT_BYTES
    }

    /// Removes the oldest entry.
    fn let_go(&mut self) -> Option<What> {
        let entry = self.entries.pop_front()?;
        self.bytes.drain(..entry.length as usize);
        self.told = self.told.saturating_sub(1);
        match entry.what {
            What::Frame { track, ms, .. } => self.kept_ms[usize::from(track)] -= u32::from(ms),
            What::Message { .. } => self.kept_messages -= 1,
        }
        Some(entry.what)
    }

    fn is_heard(&self, entry: &Entry) -> bool {
        let (sequence, heard) = match entry.what {
            What::Frame { track, sequence, .. } => (sequence, self.heard.tracks[usize::from(track)]),
            What::Message { sequence } => (sequence, self.heard.messages),
        };
        heard.is_some_and(|heard| distance(sequence, heard) >= 0)
    }
}

/// Steps from one number to another, negative when the other is older; numbers wrap.
fn distance(from: u32, to: u32) -> i32 {
    to.wrapping_sub(from).cast_signed()
}

fn not_after(newest: Option<u32>, told: Option<u32>) -> Option<u32> {
    told.filter(|told| newest.is_some_and(|newest| distance(*told, newest) >= 0))
}

fn newer(known: Option<u32>, told: Option<u32>) -> Option<u32> {
    match (known, told) {
        (Some(known), Some(told)) if distance(known, told) < 0 => Some(known),
        (known, told) => told.or(known),
    }
}
