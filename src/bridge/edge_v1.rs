//! `edge.v1`, our own dialect (CONTRACT §3): JSON control in text frames, audio in binary ones. What engines
//! may rely on is written for their authors in `docs/engine/edge-v1.md`.
//!
//! ```text
//!   edge   -> engine   start, early_media, answered, hold, resumed, transfer, mode, context, dtmf,
//!                      mark, cleared, playout, error, stop, audio (track 0)
//!   engine -> edge     accept, ring, early_media, reject, redirect, clear, mark, pause, resume, finish,
//!                      dtmf, transfer, mode, hang_up, context, audio (track 2)
//! ```
//!
//! Left out of this version: the multiplexed form, resumption, whispering.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod control;
mod frame;

use std::time::{Duration, Instant};

use bytes::BufMut;
use media::{Digit, SegmentId};

pub use frame::{
    FrameCodec, FrameError, FrameFlags, FrameHeader, FrameKind, HEADER_LENGTH, HIGHEST_SEGMENT, Track,
};

use super::interpreter::Credit;
use super::language::Language;
use super::said::{Answer, Complaint, Heard, Incoming, Mistake, Said};
use super::{Form, Outgoing};
use crate::call::{Direction, DtmfMethod, EngineEvent, EngineStart, FIRST_LEG, LegId, LegRole};
use control::{AudioPart, Parameters, Sip, SipStatus, Start, ToEngine, TrackPart};

/// One conversation.
#[derive(Debug)]
pub struct EdgeV1 {
    credit: Credit,
    /// What the engine hears; it may speak in any codec, frame by frame.
    codec: FrameCodec,
    state: State,
    /// The next frame's number: first track, second track.
    sequences: [u32; 2],
}

/// ```text
///   Silent -- start --> Speaking -- stop --> Stopped
/// ```
#[derive(Debug, Clone, Copy)]
enum State {
    Silent,
    Speaking { began: Instant },
    Stopped,
}

impl Language for EdgeV1 {
    fn tell(&mut self, now: Instant, event: &EngineEvent, out: &mut Outgoing) {
        Self::tell(self, now, event, out);
    }

    fn hear(&mut self, heard: &Heard<'_>, out: &mut Outgoing) -> bool {
        Self::hear(self, heard, out)
    }

    fn digit(
        &mut self,
        leg: LegId,
        digit: Digit,
        duration: Duration,
        method: DtmfMethod,
        out: &mut Outgoing,
    ) {
        Self::digit(self, leg, digit, duration, method, out);
    }

    fn answer(&mut self, answer: &Answer<'_>, out: &mut Outgoing) {
        Self::answer(self, answer, out);
    }

    fn complain(&mut self, complaint: &Complaint<'_>, out: &mut Outgoing) {
        Self::complain(self, complaint, out);
    }

    fn understand<'a>(
        &mut self,
        message: Incoming<'a>,
        _scratch: &'a mut Vec<u8>,
        _out: &mut Outgoing,
    ) -> Result<Said<'a>, (Mistake, Option<String>)> {
        Self::understand(self, message)
    }
}

impl EdgeV1 {
    /// Nothing said yet.
    pub fn new(credit: Credit) -> Self {
        Self { credit, codec: FrameCodec::Pcmu, state: State::Silent, sequences: [0; 2] }
    }

    /// Writes an event.
    pub fn tell(&mut self, now: Instant, event: &EngineEvent, out: &mut Outgoing) {
        match event {
            EngineEvent::Start(start) => {
                self.state = State::Speaking { began: now };
                write(out, &self.start(start));
            }
            EngineEvent::EarlyMedia => write(out, &ToEngine::EarlyMedia {}),
            EngineEvent::Answered => write(out, &ToEngine::Answered {}),
            EngineEvent::Held => write(out, &ToEngine::Hold {}),
            EngineEvent::Resumed => write(out, &ToEngine::Resumed {}),
            EngineEvent::Transfer(step) => {
                let sip = step.sip.as_ref().map(|(code, reason)| SipStatus { code: *code, reason });
                write(out, &ToEngine::Transfer { re: step.re.as_deref(), state: step.state, sip });
            }
            EngineEvent::Context(context) => write(out, &ToEngine::Context { context }),
            EngineEvent::Mode(mode) => write(out, &ToEngine::Mode { mode: *mode }),
            EngineEvent::Stop(reason) => {
                self.state = State::Stopped;
                write(out, &ToEngine::Stop { reason: *reason });
            }
            EngineEvent::Refused { re, code, message } => {
                self.complain(&Complaint { code, re: re.as_deref(), message, fatal: false }, out);
            }
        }
    }

    /// Writes audio in the codec that the engine chose. Whether it did: not before `start`, not after `stop`.
    pub fn hear(&mut self, heard: &Heard<'_>, out: &mut Outgoing) -> bool {
        let State::Speaking { began } = self.state else { return false };
        let track = track_of(heard.leg);
        let sequence = &mut self.sequences[usize::from(track.to_byte())];
        let header = FrameHeader {
            kind: FrameKind::Audio,
            track,
            flags: if heard.discontinuity { FrameFlags::DISCONTINUITY } else { FrameFlags::default() },
            codec: self.codec,
            sequence: *sequence,
            media_time: heard.media_time,
            // Wraps after 49 days, as the header's field does.
            capture_or_segment: heard.captured.saturating_duration_since(began).as_millis() as u32,
        };
        *sequence = sequence.wrapping_add(1);
        let target = self.codec.format();
        let samples = heard.payload.len() / heard.format.bytes_per_sample();
        out.write(Form::Binary, |message| {
            message.put_slice(&header.to_bytes());
            let audio = message.len();
            message.resize(audio + samples * target.bytes_per_sample(), 0);
            heard.format.convert(target, heard.payload, &mut message[audio..]);
        });
        true
    }

    /// Writes a key that was pressed.
    pub fn digit(
        &mut self,
        leg: LegId,
        digit: Digit,
        duration: Duration,
        method: DtmfMethod,
        out: &mut Outgoing,
    ) {
        let duration_ms = u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
        let track = track_of(leg).to_byte();
        write(out, &ToEngine::Dtmf { track, digit: digit.as_char(), duration_ms, method });
    }

    /// Writes what became of audio.
    pub fn answer(&mut self, answer: &Answer<'_>, out: &mut Outgoing) {
        let message = match *answer {
            Answer::Marked { name, result, played_ms } => {
                ToEngine::Mark { name, result: control::result_word(result), played_ms }
            }
            Answer::Cleared { re, segment, played_ms, dropped_ms } => {
                let segment = segment.map(|SegmentId(segment)| segment);
                ToEngine::Cleared { re, segment, played_ms, dropped_ms }
            }
            Answer::Position { segment: SegmentId(segment), played_ms, buffered_ms, underruns } => {
                ToEngine::Playout { segment, played_ms, buffered_ms, underruns }
            }
        };
        write(out, &message);
    }

    /// Writes what is wrong.
    pub fn complain(&mut self, complaint: &Complaint<'_>, out: &mut Outgoing) {
        let Complaint { code, re, message, fatal } = *complaint;
        write(out, &ToEngine::Error { code, fatal, re, message });
    }

    /// Reads one message.
    ///
    /// # Errors
    /// What is wrong with it, and its `id` where that could be read.
    pub fn understand<'a>(&mut self, message: Incoming<'a>) -> Result<Said<'a>, (Mistake, Option<String>)> {
        match message {
            Incoming::Text(text) => {
                let read = control::read(text)?;
                self.codec = read.codec.unwrap_or(self.codec);
                Ok(read.said)
            }
            Incoming::Binary(bytes) => audio(bytes).map_err(|error| (error.into(), None)),
        }
    }

    fn start<'a>(&self, start: &'a EngineStart) -> ToEngine<'a> {
        let role = match start.direction {
            Direction::Inbound => LegRole::Caller,
            Direction::Outbound => LegRole::Callee,
        };
        let ms = |length: Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        ToEngine::Start(Box::new(Start {
            version: 1,
            call_id: start.call,
            provider: &start.provider,
            direction: start.direction,
            from: &start.from,
            to: &start.to,
            mode: start.mode,
            started_at: start.started_at,
            context: &start.context,
            parameters: Parameters(&start.parameters),
            sip: Sip { call_id: &start.sip_call_id, headers: &start.sip_headers },
            tracks: [TrackPart { track: track_of(FIRST_LEG).to_byte(), role }],
            audio: AudioPart { codec: self.codec.name(), codecs: FrameCodec::ALL.map(FrameCodec::name) },
            window_ms: ms(self.credit.window),
            limit_ms: ms(self.credit.limit),
        }))
    }
}

fn audio(message: &[u8]) -> Result<Said<'_>, FrameError> {
    let (header, payload) = FrameHeader::parse(message)?;
    match header.track {
        Track::Engine => {}
        Track::First | Track::Second | Track::Whisper => {
            return Err(FrameError::NotYours(header.track.to_byte()));
        }
    }
    if header.capture_or_segment > HIGHEST_SEGMENT {
        return Err(FrameError::Segment(header.capture_or_segment));
    }
    let segment = SegmentId(header.capture_or_segment);
    let last = header.flags.contains(FrameFlags::END_OF_SEGMENT);
    Ok(match (payload.is_empty(), last) {
        (false, _) => Said::Audio { segment, format: header.codec.format(), payload, last },
        (true, true) => Said::Finish { segment },
        (true, false) => Said::Nothing,
    })
}

/// The leg the call began with is the first track, whoever called whom.
fn track_of(leg: LegId) -> Track {
    if leg == FIRST_LEG { Track::First } else { Track::Second }
}

fn write(out: &mut Outgoing, message: &ToEngine<'_>) {
    out.write(Form::Text, |text| {
        serde_json::to_writer(text.writer(), message)
            .expect("strings, numbers and maps with string keys always serialise, and the buffer grows");
    });
}
