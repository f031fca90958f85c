//! What a caller says before the engine is told that the call was answered: between our 200 and its ACK. Kept, and told
//! with the first frame behind it.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::VecDeque;
use std::time::Instant;

use media::AudioFormat;

use crate::bridge::Heard;
use crate::call::LegId;

/// Frames that are kept: a second. The oldest go.
const FRAMES: usize = 50;

/// Frames in the order they came.
#[derive(Debug, Default)]
pub(super) struct Unheard {
    frames: VecDeque<Frame>,
}

#[derive(Debug)]
struct Frame {
    leg: LegId,
    format: AudioFormat,
    payload: Vec<u8>,
    media_time: u32,
    captured: Instant,
    discontinuity: bool,
    concealed: bool,
}

impl Unheard {
    /// Tells a frame, and before it what was kept. One that `tell` does not take yet is kept. How many were told.
    pub(super) fn told(&mut self, heard: &Heard<'_>, mut tell: impl FnMut(&Heard<'_>) -> bool) -> u64 {
        let mut told = 0;
        while let Some(frame) = self.frames.front() {
            if !tell(&frame.heard()) {
                self.keep(heard);
                return told;
            }
            self.frames.pop_front();
            told += 1;
        }
        if tell(heard) {
            return told + 1;
        }
        self.keep(heard);
        told
    }

    /// It is of no use to whoever comes now.
    pub(super) fn clear(&mut self) {
        self.frames.clear();
    }

    fn keep(&mut self, heard: &Heard<'_>) {
        if self.frames.len() == FRAMES {
            self.frames.pop_front();
        }
        let Heard { leg, format, payload, media_time, captured, discontinuity, concealed } = *heard;
        let payload = payload.to_vec();
        self.frames.push_back(Frame { leg, format, payload, media_time, captured, discontinuity, concealed });
    }
}

impl Frame {
    fn heard(&self) -> Heard<'_> {
        let Self { leg, format, ref payload, media_time, captured, discontinuity, concealed } = *self;
        Heard { leg, format, payload, media_time, captured, discontinuity, concealed }
    }
}
