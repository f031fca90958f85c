//! `edge.v1`, our own dialect (CONTRACT §3): JSON control in text frames, audio in binary ones. What engines
//! may rely on is written for their authors in `docs/engine/edge-v1.md`.
//!
//! ```text
//!   edge   -> engine   start, early_media, answered, hold, resumed, transfer, mode, context, dtmf, speech,
//!                      mark, cleared, playout, error, stop, resume, audio (track 0)
//!   engine -> edge     accept, ring, early_media, reject, redirect, clear, mark, pause, resume, finish,
//!                      dtmf, transfer, mode, switch_engine, hang_up, context, ack, audio (track 2)
//! ```
//!
//! An engine that says so in `accept` can take the conversation up again over another socket: what it is told is numbered and
//! kept in [`Replay`] until it has heard it.
//!
//! Left out of this version: the multiplexed form, whispering.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod control;
mod frame;
mod replay;

use std::time::{Duration, Instant};

use bytes::{BufMut, BytesMut};
use media::{Digit, SegmentId};

pub use frame::{
    FrameCodec, FrameError, FrameFlags, FrameHeader, FrameKind, HEADER_LENGTH, HIGHEST_SEGMENT, Track,
};
pub use replay::Replayed;

use super::border::Border;
use super::interpreter::Credit;
use super::language::Language;
use super::said::{Answer, Complaint, Heard, Incoming, Measured, Mistake, Resumption, Said, Speech};
use super::{Form, Outgoing};
use crate::call::{
    Direction, DtmfMethod, EngineCommand, EngineEvent, EngineStart, FIRST_LEG, LegId, LegRole, ResumeOffer,
};
use control::{
    Aside, AudioPart, HeardPart, HeardTrack, KeptPart, Parameters, PlayoutPart, Resume, ResumePart, Sip,
    SipStatus, Start, ToEngine, TrackPart,
};
use replay::{KEPT_MS, Replay, TRACKS};

/// What an engine that catches up is told in one beat: twenty times what comes in.
const TOLD_A_BEAT: usize = 20;

/// What an engine that has not caught up is told at least before it hears of the end.
const TOLD_AT_THE_END: usize = 200;

/// One conversation.
#[derive(Debug)]
pub struct EdgeV1 {
    credit: Credit,
    /// What the engine hears; it may speak in any codec, frame by frame.
    codec: FrameCodec,
    border: Border,
    state: State,
    /// The next frame's number: first track, second track.
    sequences: [u32; TRACKS],
    /// Whether the engine was told how to resume.
    offered: bool,
    /// Of an engine that can.
    memory: Option<Box<Memory>>,
}

/// ```text
///   Silent -- start --> Speaking -- stop --> Stopped
///                        ^    | lost
///                 accept |    v
///                     Asking <-- resume -- Away
/// ```
#[derive(Debug, Clone, Copy)]
enum State {
    Silent,
    Speaking {
        began: Instant,
    },
    /// Without a socket.
    Away {
        began: Instant,
    },
    /// With a socket, and not yet the engine's consent.
    Asking {
        began: Instant,
    },
    Stopped,
}

/// What makes it possible to go on over another socket.
#[derive(Debug, Default)]
struct Memory {
    replay: Replay,
    /// The number of the message that was written last.
    messages: u32,
    /// How far the engine was heard: its audio, its numbered messages.
    heard_audio: Option<u32>,
    heard_messages: Option<u32>,
    /// Room for one message.
    room: BytesMut,
    /// What the engine will never hear, and nobody has counted yet.
    lost: u64,
}

impl Language for EdgeV1 {
    fn tell(&mut self, now: Instant, event: &EngineEvent, out: &mut Outgoing) {
        Self::tell(self, now, event, out);
    }

    fn hear(&mut self, heard: &Heard<'_>, out: &mut Outgoing) -> bool {
        Self::hear(self, heard, out)
    }

    fn hold(&mut self, heard: &Heard<'_>) -> bool {
        self.memory.is_some() && self.take(heard, None)
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

    fn speech(&mut self, leg: LegId, speech: &Speech, out: &mut Outgoing) {
        Self::speech(self, leg, speech, out);
    }

    fn measured(&mut self, measured: &Measured, out: &mut Outgoing) {
        Self::measured(self, measured, out);
    }

    fn complain(&mut self, complaint: &Complaint<'_>, out: &mut Outgoing) {
        Self::complain(self, complaint, out);
    }

    fn lose(&mut self) -> bool {
        Self::lose(self)
    }

    fn resume(&mut self, resumption: &Resumption<'_>, out: &mut Outgoing) {
        Self::resume(self, resumption, out);
    }

    fn catch_up(&mut self, out: &mut Outgoing) -> Replayed {
        Self::catch_up(self, out)
    }

    fn understand<'a>(
        &mut self,
        message: Incoming<'a>,
        _scratch: &'a mut Vec<u8>,
        out: &mut Outgoing,
    ) -> Result<Said<'a>, (Mistake, Option<String>)> {
        Self::understand(self, message, out)
    }
}

impl EdgeV1 {
    /// Nothing said yet.
    pub fn new(credit: Credit) -> Self {
        let codec = FrameCodec::Pcmu;
        Self {
            credit,
            codec,
            border: Border::new(codec.format()),
            state: State::Silent,
            sequences: [0; TRACKS],
            offered: false,
            memory: None,
        }
    }

    /// Writes an event.
    pub fn tell(&mut self, now: Instant, event: &EngineEvent, out: &mut Outgoing) {
        match event {
            EngineEvent::Start(start) => {
                self.state = State::Speaking { began: now };
                self.offered = start.resume.is_some();
                write(out, &ToEngine::Start(Box::new(self.start(start))));
            }
            EngineEvent::EarlyMedia => self.write(out, &ToEngine::EarlyMedia {}),
            EngineEvent::Answered => self.write(out, &ToEngine::Answered {}),
            EngineEvent::Held => self.write(out, &ToEngine::Hold {}),
            EngineEvent::Resumed => self.write(out, &ToEngine::Resumed {}),
            EngineEvent::Transfer(step) => {
                let sip = step.sip.as_ref().map(|(code, reason)| SipStatus { code: *code, reason });
                self.write(out, &ToEngine::Transfer { re: step.re.as_deref(), state: step.state, sip });
            }
            EngineEvent::Context(context) => self.write(out, &ToEngine::Context { context }),
            EngineEvent::Mode(mode) => self.write(out, &ToEngine::Mode { mode: *mode }),
            EngineEvent::Stop(reason) => {
                self.tell_the_rest(out);
                self.write(out, &ToEngine::Stop { reason: *reason });
                self.state = State::Stopped;
            }
            EngineEvent::Refused { re, code, message } => {
                self.write(out, &ToEngine::Error { code, fatal: false, re: re.as_deref(), message });
            }
        }
    }

    /// Writes audio in the codec that the engine chose, or keeps it while there is no socket. Whether it did: not before
    /// `start`, not after `stop`.
    pub fn hear(&mut self, heard: &Heard<'_>, out: &mut Outgoing) -> bool {
        self.take(heard, Some(out))
    }

    /// Audio goes `out`, or is kept.
    fn take(&mut self, heard: &Heard<'_>, out: Option<&mut Outgoing>) -> bool {
        let began = match self.state {
            State::Speaking { began } | State::Away { began } | State::Asking { began } => began,
            State::Silent | State::Stopped => return false,
        };
        let track = track_of(heard.leg);
        let sequence = &mut self.sequences[usize::from(track.to_byte())];
        let header = FrameHeader {
            kind: FrameKind::Audio,
            track,
            flags: flags_of(heard),
            codec: self.codec,
            sequence: *sequence,
            // At the clock of what the engine hears; it wraps there as well.
            media_time: heard.media_time.wrapping_mul(self.codec.format().rate().hertz() / 8_000),
            // Wraps after 49 days, as the header's field does.
            capture_or_segment: heard.captured.saturating_duration_since(began).as_millis() as u32,
        };
        *sequence = sequence.wrapping_add(1);
        let live = self.is_live();
        let Self { memory, border, .. } = self;
        let mut frame = |message: &mut BytesMut| {
            message.put_slice(&header.to_bytes());
            border.outward(heard, message);
        };
        let Some(memory) = memory else {
            if let Some(out) = out {
                out.write(Form::Binary, frame);
            }
            return true;
        };
        memory.room.clear();
        frame(&mut memory.room);
        let samples = heard.payload.len() / heard.format.bytes_per_sample();
        let ms = samples as u64 * 1_000 / u64::from(heard.format.rate().hertz());
        let ms = u16::try_from(ms).unwrap_or(u16::MAX);
        memory.replay.keep_frame(track.to_byte(), header.sequence, ms, &memory.room);
        if let Some(out) = out.filter(|_| live) {
            memory.replay.told_live();
            out.write(Form::Binary, |message| message.put_slice(&memory.room));
        }
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
        self.write(out, &ToEngine::Dtmf { track, digit: digit.as_char(), duration_ms, method });
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
        self.write(out, &message);
    }

    /// Writes that a party speaks or is quiet.
    pub fn speech(&mut self, leg: LegId, speech: &Speech, out: &mut Outgoing) {
        let began = match self.state {
            State::Speaking { began } | State::Away { began } | State::Asking { began } => began,
            State::Silent | State::Stopped => return,
        };
        let track = track_of(leg).to_byte();
        let at_ms = |at: Instant| milliseconds(at.saturating_duration_since(began));
        match *speech {
            Speech::Started { at, interrupts } => {
                self.write(out, &ToEngine::SpeechStarted { track, at_ms: at_ms(at), interrupts });
            }
            Speech::Stopped { at } => self.write(out, &ToEngine::SpeechStopped { track, at_ms: at_ms(at) }),
        }
    }

    /// Writes what was measured. Who has lost its socket is told what is new when it is back.
    pub fn measured(&mut self, measured: &Measured, out: &mut Outgoing) {
        match self.state {
            State::Speaking { .. } => {}
            State::Silent | State::Away { .. } | State::Asking { .. } | State::Stopped => return,
        }
        let whole = |after: Duration| Some(milliseconds(after));
        let message = match *measured {
            Measured::Quality { leg, mos, jitter_ms, loss_pct, rtt_ms } => {
                let [mos, jitter_ms, loss_pct, rtt_ms] = [mos, jitter_ms, loss_pct, rtt_ms].map(rounded);
                ToEngine::Quality { track: track_of(leg).to_byte(), mos, jitter_ms, loss_pct, rtt_ms }
            }
            Measured::Responded(after) => ToEngine::Latency { response_ms: whole(after), barge_in_ms: None },
            Measured::BargedIn(after) => ToEngine::Latency { response_ms: None, barge_in_ms: whole(after) },
        };
        self.write(out, &message);
    }

    /// Writes what is wrong.
    pub fn complain(&mut self, complaint: &Complaint<'_>, out: &mut Outgoing) {
        let Complaint { code, re, message, fatal } = *complaint;
        let error = ToEngine::Error { code, fatal, re, message };
        match self.state {
            // It is about the new socket, and before what is told again.
            State::Asking { .. } => write(out, &error),
            State::Silent | State::Speaking { .. } | State::Away { .. } | State::Stopped => {
                self.write(out, &error);
            }
        }
    }

    /// The socket is lost. Whether the engine can resume: then it is told later what it is told from now on.
    pub fn lose(&mut self) -> bool {
        match self.state {
            State::Speaking { began } | State::Away { began } | State::Asking { began }
                if self.memory.is_some() =>
            {
                self.state = State::Away { began };
                true
            }
            State::Silent
            | State::Speaking { .. }
            | State::Away { .. }
            | State::Asking { .. }
            | State::Stopped => false,
        }
    }

    /// Writes `resume` on the new socket; the engine's `accept` is what everything else waits for.
    pub fn resume(&mut self, resumption: &Resumption<'_>, out: &mut Outgoing) {
        let (State::Away { began }, Some(memory)) = (self.state, &self.memory) else { return };
        let audio = memory.heard_audio.map(|seq| HeardTrack { track: Track::Engine.to_byte(), seq });
        let kept = [Track::First, Track::Second].into_iter().filter_map(|track| {
            let (from_seq, to_seq) = memory.replay.kept(track.to_byte())?;
            Some(KeptPart { track: track.to_byte(), from_seq, to_seq })
        });
        let message = ToEngine::Resume(Box::new(Resume {
            version: 1,
            token: resumption.start.resume.as_ref().map(|offer| offer.token.reveal()),
            away_ms: milliseconds(resumption.away),
            heard: HeardPart { audio: audio.into_iter().collect(), messages: memory.heard_messages },
            kept: kept.collect(),
            playout: resumption.playout.map(|standing| PlayoutPart {
                segment: standing.segment.0,
                played_ms: standing.played_ms,
                buffered_ms: standing.buffered_ms,
                underruns: standing.underruns,
            }),
            start: self.start(resumption.start),
        }));
        write(out, &message);
        self.state = State::Asking { began };
    }

    /// Writes more of what was kept. Afterwards the engine may be up to date: then what it hears is live again.
    pub fn catch_up(&mut self, out: &mut Outgoing) -> Replayed {
        let (State::Speaking { .. }, Some(memory)) = (self.state, &mut self.memory) else {
            return Replayed::default();
        };
        let frames = if memory.replay.is_told() { 0 } else { memory.replay.tell(TOLD_A_BEAT, out) };
        let lost = std::mem::take(&mut memory.lost) + u64::from(memory.replay.take_untold());
        Replayed { frames, lost }
    }

    /// Reads one message.
    ///
    /// # Errors
    /// What is wrong with it, and its `id` where that could be read.
    pub fn understand<'a>(
        &mut self,
        message: Incoming<'a>,
        out: &mut Outgoing,
    ) -> Result<Said<'a>, (Mistake, Option<String>)> {
        match self.state {
            State::Silent | State::Speaking { .. } | State::Stopped => {}
            // Whoever speaks has not been spoken to.
            State::Away { .. } => return Ok(Said::Nothing),
            State::Asking { .. } => return self.understand_answer(message, out),
        }
        match message {
            Incoming::Text(text) => {
                let read = control::read(text)?;
                if let Some(memory) = &mut self.memory {
                    memory.heard_messages = control::sequence(text).or(memory.heard_messages);
                }
                match read.aside {
                    Aside::Accepted { codec, resumes, .. } => {
                        self.choose(codec);
                        if resumes && self.offered {
                            self.memory.get_or_insert_default().heard_messages = control::sequence(text);
                        }
                    }
                    Aside::Acknowledged(heard) => {
                        if let Some(memory) = &mut self.memory {
                            memory.replay.acknowledge(&heard);
                        }
                    }
                    Aside::Troubled | Aside::Nothing => {}
                }
                Ok(read.said)
            }
            Incoming::Binary(bytes) => {
                let (said, sequence) = audio(bytes).map_err(|error| (Mistake::from(error), None))?;
                if let Some(memory) = &mut self.memory {
                    memory.heard_audio = Some(sequence);
                }
                Ok(said)
            }
        }
    }

    /// What comes between `resume` and the engine's consent: that, or a refusal.
    fn understand_answer<'a>(
        &mut self,
        message: Incoming<'a>,
        out: &mut Outgoing,
    ) -> Result<Said<'a>, (Mistake, Option<String>)> {
        let (State::Asking { began }, Incoming::Text(text)) = (self.state, message) else {
            return Err((Mistake::NotResumed, None));
        };
        let read = control::read(text)?;
        match (read.aside, read.said) {
            (Aside::Accepted { codec, heard, .. }, said) => {
                self.choose(codec);
                self.state = State::Speaking { began };
                if let Some(memory) = &mut self.memory {
                    memory.heard_messages = control::sequence(text).or(memory.heard_messages);
                    let lost = memory.replay.rewind(&heard.unwrap_or_default());
                    memory.lost += u64::from(lost);
                    if lost > 0 {
                        let message = format!("{lost} frames and messages were too old to be kept");
                        let (code, re) = ("resume.lost", None);
                        write(out, &ToEngine::Error { code, fatal: false, re, message: &message });
                    }
                }
                Ok(said)
            }
            (Aside::Troubled, _) => {
                let (status, reason) = (481, "the engine does not resume".to_owned());
                Ok(Said::Command(EngineCommand::Reject { status, reason }))
            }
            (_, said @ Said::Command(EngineCommand::Reject { .. })) => Ok(said),
            (Aside::Acknowledged(_) | Aside::Nothing, _) => Err((Mistake::NotResumed, None)),
        }
    }

    /// The engine wants to hear this from now on.
    fn choose(&mut self, codec: Option<FrameCodec>) {
        if let Some(codec) = codec.filter(|codec| *codec != self.codec) {
            self.codec = codec;
            self.border = Border::new(codec.format());
        }
    }

    /// The call is over: an engine that was catching up hears more of it at once.
    fn tell_the_rest(&mut self, out: &mut Outgoing) {
        if let (State::Speaking { .. }, Some(memory)) = (self.state, &mut self.memory) {
            memory.replay.tell(TOLD_AT_THE_END, out);
            memory.replay.told_live();
        }
    }

    /// Whether what is written goes out at once.
    fn is_live(&self) -> bool {
        match self.state {
            State::Silent | State::Stopped => true,
            State::Speaking { .. } => self.memory.as_ref().is_none_or(|memory| memory.replay.is_told()),
            State::Away { .. } | State::Asking { .. } => false,
        }
    }

    /// Writes a message: numbered and kept for an engine that can resume.
    fn write(&mut self, out: &mut Outgoing, message: &ToEngine<'_>) {
        let live = self.is_live();
        let Some(memory) = &mut self.memory else { return write(out, message) };
        memory.messages = memory.messages.wrapping_add(1);
        memory.room.clear();
        serialize(message, &mut memory.room);
        // All of them are objects, with `type` in it.
        memory.room.truncate(memory.room.len() - 1);
        memory.room.put_slice(format!(",\"seq\":{}}}", memory.messages).as_bytes());
        memory.replay.keep_message(memory.messages, &memory.room);
        if live {
            memory.replay.told_live();
            out.write(Form::Text, |text| text.put_slice(&memory.room));
        }
    }

    fn start<'a>(&self, start: &'a EngineStart) -> Start<'a> {
        let role = match start.direction {
            Direction::Inbound => LegRole::Caller,
            Direction::Outbound => LegRole::Callee,
        };
        Start {
            version: 1,
            call_id: start.call,
            provider: &start.provider,
            direction: start.direction,
            from: &start.from,
            to: &start.to,
            identity: &start.identity,
            mode: start.mode,
            started_at: start.started_at,
            context: &start.context,
            parameters: Parameters(&start.parameters),
            sip: Sip { call_id: &start.sip_call_id, headers: &start.sip_headers },
            tracks: [TrackPart { track: track_of(FIRST_LEG).to_byte(), role }],
            audio: AudioPart { codec: self.codec.name(), codecs: FrameCodec::ALL.map(FrameCodec::name) },
            window_ms: milliseconds(self.credit.window),
            limit_ms: milliseconds(self.credit.limit),
            resume: start.resume.as_ref().map(|ResumeOffer { token, within }| ResumePart {
                token: token.reveal(),
                within_ms: milliseconds(*within),
                replay_ms: KEPT_MS,
            }),
        }
    }
}

/// To hundredths: more says nothing.
fn rounded(number: Option<f32>) -> Option<f32> {
    number.map(|number| (number * 100.0).round() / 100.0)
}

fn milliseconds(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

/// What a frame says, and its number.
fn audio(message: &[u8]) -> Result<(Said<'_>, u32), FrameError> {
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
    let said = match (payload.is_empty(), last) {
        (false, _) => Said::Audio { segment, format: header.codec.format(), payload, last },
        (true, true) => Said::Finish { segment },
        (true, false) => Said::Nothing,
    };
    Ok((said, header.sequence))
}

fn flags_of(heard: &Heard<'_>) -> FrameFlags {
    let said = [(heard.discontinuity, FrameFlags::DISCONTINUITY), (heard.concealed, FrameFlags::CONCEALED)];
    said.into_iter().filter(|(is, _)| *is).fold(FrameFlags::default(), |flags, (_, flag)| flags | flag)
}

/// The leg the call began with is the first track, whoever called whom.
fn track_of(leg: LegId) -> Track {
    if leg == FIRST_LEG { Track::First } else { Track::Second }
}

fn write(out: &mut Outgoing, message: &ToEngine<'_>) {
    out.write(Form::Text, |text| serialize(message, text));
}

fn serialize(message: &ToEngine<'_>, text: &mut BytesMut) {
    serde_json::to_writer(text.writer(), message)
        .expect("strings, numbers and maps with string keys always serialise, and the buffer grows");
}
