//! Towards the caller: a queue of segments measured in milliseconds, taken out 20 ms at a time.

use std::time::Duration;

use crate::{AudioFormat, Codec, SAMPLES_PER_BEAT};

/// A stretch of audio that belongs together, numbered by the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SegmentId(pub u32);

/// Why audio was not taken. Nothing of the chunk was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// The chunk does not fit below the limit.
    #[error("the play-out queue has room for {free_ms} ms only")]
    Full {
        /// How much would fit now.
        free_ms: u32,
    },
    /// Too many segments wait at once.
    #[error("too many segments are queued")]
    TooManySegments,
}

/// Too many marks, or too long names, wait at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many marks are pending")]
pub struct TooManyMarks;

/// What became of a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkResult {
    /// All audio before it was handed to RTP.
    Played,
    /// Its audio was cleared.
    Cleared,
}

/// What [`Playout::clear`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cleared {
    /// The segment asked for, else the one that was being played; nothing when none ever was.
    pub segment: Option<SegmentId>,
    /// How much of that segment was played.
    pub played_ms: u32,
    /// How much audio was thrown away, of all segments concerned.
    pub dropped_ms: u32,
}

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Played {
    /// Audio of the engine, its end padded where there was not enough.
    Audio,
    /// Comfort noise.
    Silence,
}

/// What the engine is told about its audio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlayoutFact {
    /// A mark was reached, or its audio cleared.
    Marked {
        /// As given.
        name: String,
        /// Which of the two.
        result: MarkResult,
        /// How much of the mark's segment was played by then.
        played_ms: u32,
    },
    /// A segment began, ran dry or came to its end.
    Position {
        /// Which.
        segment: SegmentId,
        /// How much of it was played.
        played_ms: u32,
        /// How much audio waits, of all segments.
        buffered_ms: u32,
        /// How often it ran dry before its end.
        underruns: u32,
    },
    /// All of a finished segment was played.
    Finished {
        /// Which.
        segment: SegmentId,
    },
}

/// The queue of one leg.
#[derive(Debug)]
pub struct Playout {
    codec: Codec,
    limit: Duration,
}

impl Playout {
    /// An empty queue that keeps its audio as `codec`, at most `limit` of it. `seed` chooses where in the
    /// comfort noise it begins.
    pub fn new(codec: Codec, limit: Duration, seed: u64) -> Self {
        let _ = seed;
        Self { codec, limit }
    }

    /// Appends audio in chunks of any size. An odd last byte of linear audio is kept for the segment's next
    /// chunk. Audio of a cleared segment is thrown away and counted.
    ///
    /// # Errors
    /// When it does not fit; nothing of it is taken then.
    pub fn push(&mut self, segment: SegmentId, format: AudioFormat, audio: &[u8]) -> Result<(), PushError> {
        let _ = (segment, format, audio, self.codec, self.limit);
        Ok(())
    }

    /// No more audio will come for `segment`: its partial last frame is padded instead of waited for.
    pub fn finish(&mut self, segment: SegmentId) {
        let _ = segment;
    }

    /// Asks to be told when everything queued so far (of `segment`, where given) is played. With nothing
    /// queued the answer comes at once.
    ///
    /// # Errors
    /// When too many marks wait already.
    pub fn mark(&mut self, segment: Option<SegmentId>, name: &str) -> Result<(), TooManyMarks> {
        let _ = (segment, name);
        Ok(())
    }

    /// Throws away what waits of `segment`, or all there is; the next frame is another segment's or
    /// silence. Marks on that audio come back as [`MarkResult::Cleared`].
    pub fn clear(&mut self, segment: Option<SegmentId>) -> Cleared {
        Cleared { segment, played_ms: 0, dropped_ms: 0 }
    }

    /// Plays comfort noise until [`Self::resume`]; the queue stays as it is.
    pub fn pause(&mut self) {}

    /// Goes on where [`Self::pause`] stopped.
    pub fn resume(&mut self) {}

    /// Exactly 20 ms in the leg's codec.
    pub fn next_frame(&mut self, out: &mut [u8; SAMPLES_PER_BEAT]) -> Played {
        out.fill(0xFF);
        Played::Silence
    }

    /// What happened since, oldest first.
    pub fn next_fact(&mut self) -> Option<PlayoutFact> {
        None
    }

    /// How much audio waits, of all segments.
    pub fn buffered_ms(&self) -> u32 {
        0
    }

    /// How much of `segment` was played; 0 for one that is not known (any more).
    pub fn played_ms(&self, segment: SegmentId) -> u32 {
        let _ = segment;
        0
    }
}
