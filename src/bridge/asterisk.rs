//! Asterisk's `chan_websocket` (sub-protocol `media`): raw mu-law in binary messages, commands and events in text, plain or JSON.
//!
//! ```text
//!   edge -> bot   MEDIA_START, audio…, DTMF_END, STATUS, MEDIA_MARK_PROCESSED, MEDIA_BUFFERING_COMPLETED, QUEUE_DRAINED
//!   bot -> edge   audio, ANSWER, HANGUP, START/STOP_MEDIA_BUFFERING, FLUSH_MEDIA, PAUSE/CONTINUE_MEDIA, MARK_MEDIA,
//!                 GET_STATUS, REPORT_QUEUE_DRAINED, SET_MEDIA_DIRECTION
//! ```
//!
//! Events are written in the form that the engine's configuration names; commands are understood in both. Any chunk size is
//! taken, also what the original would drop outside of buffering; so its flow control (XOFF) is never needed. What is flushed
//! takes its marks with it, as the original's does.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::borrow::Cow;
use std::time::{Duration, Instant};

use media::{AudioFormat, Digit, MarkResult};
use serde_json::{Map, Value, json};

use super::Outgoing;
use super::border::Border;
use super::json_stream::{self, Stream, put};
use super::language::Language;
use super::said::{Answer, Heard, Incoming, Mistake, Said};
use super::{Form, vonage};
use crate::call::{CallId, DtmfMethod, EngineCommand, EngineEvent, EngineStart, LegId};

/// Milliseconds of a frame: what a queue's length is counted in.
const FRAME_MS: u32 = 20;

/// How control messages look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Control {
    /// `NAME key:value …`.
    Plain,
    /// `{"event": …}`.
    Json,
}

/// One conversation.
#[derive(Debug)]
pub(super) struct Asterisk {
    hex: String,
    control: Control,
    border: Border,
    stream: Stream,
    buffered_ms: u32,
    bulk: bool,
    paused: bool,
}

/// A command, whichever form it came in.
struct Command<'a> {
    name: Cow<'a, str>,
    argument: Option<Cow<'a, str>>,
}

impl Asterisk {
    pub(super) fn new(call: CallId, control: Control) -> Self {
        Self {
            hex: json_stream::hex(call),
            control,
            border: Border::new(AudioFormat::Pcmu),
            stream: Stream::default(),
            buffered_ms: 0,
            bulk: false,
            paused: false,
        }
    }

    fn begin(&mut self, now: Instant, start: &EngineStart, out: &mut Outgoing) {
        if !self.stream.begin(now) {
            return;
        }
        let channel = format!("WebSocket/{}", self.hex);
        let fields = [
            ("connection_id", json!(self.hex)),
            ("channel", json!(channel)),
            ("channel_id", json!(start.call.to_string())),
            ("format", json!("ulaw")),
            ("optimal_frame_size", json!(AudioFormat::Pcmu.bytes_per_beat())),
            ("ptime", json!(FRAME_MS)),
            ("channel_variables", Value::Object(json_stream::parameters(start))),
        ];
        self.event(out, "MEDIA_START", &fields);
    }

    /// Writes an event; what is an object has no words in the plain form.
    fn event(&self, out: &mut Outgoing, name: &str, fields: &[(&str, Value)]) {
        match self.control {
            Control::Json => {
                let mut message = Map::from_iter([("event".to_owned(), json!(name))]);
                message.extend(fields.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
                json_stream::write(out, &Value::Object(message));
            }
            Control::Plain => out.write(Form::Text, |text| {
                put(text, name);
                for (key, value) in fields {
                    match value {
                        Value::String(value) => put(text, &format!(" {key}:{value}")),
                        Value::Number(_) | Value::Bool(_) => put(text, &format!(" {key}:{value}")),
                        Value::Null | Value::Array(_) | Value::Object(_) => {}
                    }
                }
            }),
        }
    }

    fn obey<'a>(&mut self, command: Command<'a>, out: &mut Outgoing) -> Result<Said<'a>, Mistake> {
        let named = |kind: &str, argument: Option<Cow<'a, str>>| {
            let name = Cow::Owned(format!("{kind}:{}", argument.unwrap_or_default()));
            Ok(Said::Mark { id: None, name })
        };
        match &*command.name {
            "ANSWER" | "SET_MEDIA_DIRECTION" => Ok(Said::Nothing),
            "HANGUP" => Ok(Said::Command(EngineCommand::HangUp { id: None, reason: None, drain: false })),
            "START_MEDIA_BUFFERING" => {
                self.bulk = true;
                Ok(Said::Nothing)
            }
            "STOP_MEDIA_BUFFERING" => {
                self.bulk = false;
                named("buffered", command.argument)
            }
            "MARK_MEDIA" => named("marked", command.argument),
            "REPORT_QUEUE_DRAINED" => named("drained", None),
            "FLUSH_MEDIA" => {
                self.stream.next_segment();
                (self.bulk, self.paused, self.buffered_ms) = (false, false, 0);
                Ok(Said::Clear { id: None, segment: None })
            }
            "PAUSE_MEDIA" => {
                self.paused = true;
                Ok(Said::Pause)
            }
            "CONTINUE_MEDIA" => {
                self.paused = false;
                Ok(Said::Resume)
            }
            "GET_STATUS" => {
                let fields = [
                    ("queue_length", json!(self.buffered_ms / FRAME_MS)),
                    ("xon_level", json!(800)),
                    ("xoff_level", json!(900)),
                    ("queue_full", json!(false)),
                    ("bulk_media", json!(self.bulk)),
                    ("media_paused", json!(self.paused)),
                ];
                self.event(out, "STATUS", &fields);
                Ok(Said::Nothing)
            }
            unknown => Err(Mistake::UnknownType(unknown.chars().take(64).collect())),
        }
    }
}

/// Reads a command of either form.
fn command(text: &str) -> Result<Command<'_>, Mistake> {
    if !text.trim_start().starts_with('{') {
        let (name, argument) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        let argument = Some(argument.trim()).filter(|argument| !argument.is_empty());
        return Ok(Command { name: Cow::Borrowed(name), argument: argument.map(Cow::Borrowed) });
    }
    let message = json_stream::object(Incoming::Text(text))?;
    let word = |key: &str| message.get(key).and_then(Value::as_str).map(|word| Cow::Owned(word.to_owned()));
    let name = word("command").ok_or(Mistake::Field { field: "command", must: "must name a command" })?;
    Ok(Command { name, argument: word("correlation_id") })
}

impl Language for Asterisk {
    fn tell(&mut self, now: Instant, event: &EngineEvent, out: &mut Outgoing) {
        match event {
            EngineEvent::Start(start) => self.begin(now, start, out),
            EngineEvent::Stop(_) => {
                self.stream.stop();
            }
            EngineEvent::EarlyMedia
            | EngineEvent::Answered
            | EngineEvent::Held
            | EngineEvent::Resumed
            | EngineEvent::Transfer(_)
            | EngineEvent::Context(_)
            | EngineEvent::Mode(_)
            | EngineEvent::Refused { .. } => {}
        }
    }

    fn hear(&mut self, heard: &Heard<'_>, out: &mut Outgoing) -> bool {
        if !self.stream.is_on() {
            return false;
        }
        out.write(Form::Binary, |bytes| self.border.outward(heard, bytes));
        true
    }

    fn digit(
        &mut self,
        _leg: LegId,
        digit: Digit,
        _duration: Duration,
        _method: DtmfMethod,
        out: &mut Outgoing,
    ) {
        if self.stream.is_on() {
            self.event(out, "DTMF_END", &[("digit", json!(digit.as_char().to_string()))]);
        }
    }

    fn answer(&mut self, answer: &Answer<'_>, out: &mut Outgoing) {
        if !self.stream.is_on() {
            return;
        }
        match answer {
            Answer::Marked { name, result: MarkResult::Played, .. } => {
                let (kind, id) = name.split_once(':').unwrap_or(("", name));
                let field = [("correlation_id", json!(id))];
                let fields = if id.is_empty() { &[][..] } else { &field[..] };
                match kind {
                    "buffered" => self.event(out, "MEDIA_BUFFERING_COMPLETED", fields),
                    "marked" => self.event(out, "MEDIA_MARK_PROCESSED", fields),
                    "drained" => self.event(out, "QUEUE_DRAINED", &[]),
                    _ => {}
                }
            }
            Answer::Position { buffered_ms, .. } => self.buffered_ms = *buffered_ms,
            Answer::Marked { result: MarkResult::Cleared, .. } | Answer::Cleared { .. } => {}
        }
    }

    fn understand<'a>(
        &mut self,
        message: Incoming<'a>,
        _scratch: &'a mut Vec<u8>,
        out: &mut Outgoing,
    ) -> Result<Said<'a>, (Mistake, Option<String>)> {
        match message {
            Incoming::Binary(audio) => Ok(vonage::spoken(audio, &self.stream, self.border.format())),
            Incoming::Text(text) => {
                let obeyed = command(text).and_then(|command| self.obey(command, out));
                obeyed.map_err(|mistake| {
                    self.event(out, "ERROR", &[("error_text", json!(mistake.to_string()))]);
                    (mistake, None)
                })
            }
        }
    }
}
