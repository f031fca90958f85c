//! What passes between a call and the interpreter of its engine.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::borrow::Cow;
use std::time::{Duration, Instant};

use media::{AudioFormat, Digit, MarkResult, SegmentId};

use crate::call::{EngineCommand, EngineStart, LegId};

/// So many messages in a row that cannot be understood end the conversation; one good message starts the
/// count anew.
pub const MISTAKES_IN_A_ROW: u32 = 50;

/// A message as the websocket delivered it.
#[derive(Debug, Clone, Copy)]
pub enum Incoming<'a> {
    /// Text.
    Text(&'a str),
    /// Binary.
    Binary(&'a [u8]),
}

/// One thing an engine said.
#[derive(Debug, Clone, PartialEq)]
pub enum Said<'a> {
    /// Audio to be played.
    Audio {
        /// What it belongs to.
        segment: SegmentId,
        /// Layout of `payload`, of any rate.
        format: AudioFormat,
        /// Any length.
        payload: &'a [u8],
        /// Nothing more comes for the segment.
        last: bool,
    },
    /// Tell when everything before this was played.
    Mark {
        /// Repeated in a refusal.
        id: Option<Cow<'a, str>>,
        /// Repeated in the answer.
        name: Cow<'a, str>,
    },
    /// Throw away what waits of `segment`, or all.
    Clear {
        /// Repeated in the answer.
        id: Option<Cow<'a, str>>,
        /// Which; all when not given.
        segment: Option<SegmentId>,
    },
    /// Play nothing until `Resume`.
    Pause,
    /// Go on after `Pause`.
    Resume,
    /// Nothing more comes for the segment.
    Finish {
        /// Which.
        segment: SegmentId,
    },
    /// Send keys to the far end.
    Dtmf {
        /// Repeated in a refusal.
        id: Option<Cow<'a, str>>,
        /// Which.
        digits: Vec<Digit>,
        /// Each one's length.
        duration: Duration,
    },
    /// For the call to decide.
    Command(EngineCommand),
    /// Nothing that concerns us; the dialect allows it.
    Nothing,
}

/// Why a message was not understood. The engine is told where its dialect has words for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// The dialect has text only.
    #[error("binary messages are not part of this dialect")]
    Binary,
    /// Not JSON at all.
    #[error("not JSON: column {column}")]
    NotJson {
        /// Where the parser stopped, counted from 1.
        column: usize,
    },
    /// JSON, but not the message it says it is.
    #[error("malformed: {0}")]
    Malformed(String),
    /// The audio is not base64.
    #[error("the payload is not base64")]
    NotBase64,
    /// No such message.
    #[error("there is no message of type {0:?}")]
    UnknownType(String),
    /// The engine speaks though it has not said yet that it takes the conversation up again.
    #[error("answer `resume` with `accept` or `reject` first")]
    NotResumed,
    /// The header of a binary message is wrong.
    #[error(transparent)]
    Frame(#[from] super::FrameError),
    /// A field holds what it must not.
    #[error("{field}: {must}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What it must be.
        must: &'static str,
    },
}

impl Mistake {
    /// The stable code that engines see.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Binary => "message.binary",
            Self::NotJson { .. } => "message.not_json",
            Self::Malformed(_) => "message.malformed",
            Self::NotBase64 => "message.not_base64",
            Self::UnknownType(_) => "message.unknown_type",
            Self::NotResumed => "resume.not_accepted",
            Self::Frame(error) => error.code(),
            Self::Field { .. } => "message.field",
        }
    }

    /// The websocket close code (RFC 6455 §7.4.1) when it was one too many.
    pub fn close_code(&self) -> u16 {
        match self {
            Self::Binary => 1003,
            Self::NotJson { .. } | Self::NotBase64 => 1007,
            Self::Malformed(_)
            | Self::UnknownType(_)
            | Self::NotResumed
            | Self::Frame(_)
            | Self::Field { .. } => 1008,
        }
    }
}

/// A mistake and whether it is the one too many.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{mistake}")]
pub struct Fault {
    /// What was wrong.
    pub mistake: Mistake,
    /// The `id` of the message, where it could be read.
    pub re: Option<String>,
    /// Close the socket with this code.
    pub close: Option<u16>,
}

/// Audio of a leg on its way to the engine.
#[derive(Debug, Clone, Copy)]
pub struct Heard<'a> {
    /// Whose.
    pub leg: LegId,
    /// Layout of `payload`.
    pub format: AudioFormat,
    /// One packet's audio.
    pub payload: &'a [u8],
    /// Since the leg's first packet, in 1/8,000 s whatever the rate.
    pub media_time: u32,
    /// When its packet arrived.
    pub captured: Instant,
    /// Something before it is missing.
    pub discontinuity: bool,
    /// A guess in the place of what was lost.
    pub concealed: bool,
}

/// The conversation goes on over another socket.
#[derive(Debug, Clone, Copy)]
pub struct Resumption<'a> {
    /// What the engine would be told now if it were the beginning.
    pub start: &'a EngineStart,
    /// How long there was no socket.
    pub away: Duration,
    /// Where the play-out stands; nothing when nothing was played yet.
    pub playout: Option<Standing>,
}

/// How far the play-out is, as in [`Answer::Position`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The segment being played.
    pub segment: SegmentId,
    /// How much of it was played.
    pub played_ms: u32,
    /// How much waits, of all segments.
    pub buffered_ms: u32,
    /// How often it ran dry.
    pub underruns: u32,
}

/// The far end begins or ends to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speech {
    /// It speaks, louder than echo and noise.
    Started {
        /// When it began.
        at: Instant,
        /// The engine is heard at the same time.
        interrupts: bool,
    },
    /// It is quiet again.
    Stopped {
        /// Since when.
        at: Instant,
    },
}

/// What became of an engine's audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'a> {
    /// A mark was reached, or cleared.
    Marked {
        /// As given.
        name: &'a str,
        /// Which of the two.
        result: MarkResult,
        /// How much of its segment was played.
        played_ms: u32,
    },
    /// A `clear` was obeyed.
    Cleared {
        /// The `id` of the `clear`.
        re: Option<&'a str>,
        /// The segment asked for, or the one that was being played.
        segment: Option<SegmentId>,
        /// How much of it was played.
        played_ms: u32,
        /// How much was thrown away.
        dropped_ms: u32,
    },
    /// The play-out stands here.
    Position {
        /// The segment being played.
        segment: SegmentId,
        /// How much of it was played.
        played_ms: u32,
        /// How much waits, of all segments.
        buffered_ms: u32,
        /// How often it ran dry.
        underruns: u32,
    },
}

/// What was measured of a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Measured {
    /// What came of a leg so far. Milliseconds and percent.
    Quality {
        /// The leg, as the engine counts tracks.
        leg: LegId,
        /// Mean opinion score, 1 to 4.5.
        mos: Option<f32>,
        /// Inter-arrival jitter.
        jitter_ms: Option<f32>,
        /// Lost.
        loss_pct: Option<f32>,
        /// Round trip.
        rtt_ms: Option<f32>,
    },
    /// The engine's first packet went out so long after the far end had spoken.
    Responded(Duration),
    /// The engine fell silent so long after the far end began to speak into it.
    BargedIn(Duration),
}

/// What is wrong with something the engine asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Complaint<'a> {
    /// Stable code.
    pub code: &'a str,
    /// The `id` of what it asked for.
    pub re: Option<&'a str>,
    /// What to do.
    pub message: &'a str,
    /// The socket closes after it.
    pub fatal: bool,
}
