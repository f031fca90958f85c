//! Vonage Voice websockets (NCCO `connect` to a `websocket` endpoint): linear audio in binary messages, events in JSON.
//!
//! ```text
//!   edge -> bot   websocket:connected, audio…, websocket:dtmf, websocket:notify, websocket:cleared; the socket closes
//!   bot -> edge   audio, {"action":"notify"}, {"action":"clear"}; closing the socket is its way to let go of the call
//! ```
//!
//! A notify comes back with its payload once the audio before it was played, and not at all if that was cleared.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::borrow::Cow;
use std::time::{Duration, Instant};

use media::{AudioFormat, Digit, MarkResult, SampleRate};
use serde_json::{Value, json};

use super::border::Border;
use super::json_stream::{self, Stream};
use super::language::Language;
use super::said::{Answer, Heard, Incoming, Mistake, Said};
use super::{Form, Outgoing};
use crate::call::{DtmfMethod, EngineEvent, EngineStart, LegId};

/// One conversation.
#[derive(Debug)]
pub(super) struct Vonage {
    border: Border,
    stream: Stream,
}

impl Vonage {
    pub(super) fn new(rate: SampleRate) -> Self {
        Self { border: Border::new(AudioFormat::L16 { rate }), stream: Stream::default() }
    }

    fn begin(&mut self, now: Instant, start: &EngineStart, out: &mut Outgoing) {
        if !self.stream.begin(now) {
            return;
        }
        let rate = self.border.format().rate().hertz();
        let mut message = json!({
            "event": "websocket:connected", "content-type": format!("audio/l16;rate={rate}"),
        });
        if let Value::Object(message) = &mut message {
            let own: Vec<String> = message.keys().cloned().collect();
            let parameters = json_stream::parameters(start).into_iter();
            message.extend(parameters.filter(|(name, _)| !own.contains(name)));
        }
        json_stream::write(out, &message);
    }

    fn read<'a>(&mut self, text: &'a str) -> Result<Said<'a>, Mistake> {
        let mut message = json_stream::object(Incoming::Text(text))?;
        match message.get("action").and_then(Value::as_str) {
            Some("clear") => {
                self.stream.next_segment();
                Ok(Said::Clear { id: None, segment: None })
            }
            Some("notify") => {
                let payload = message.remove("payload").unwrap_or(Value::Null);
                Ok(Said::Mark { id: None, name: Cow::Owned(payload.to_string()) })
            }
            Some(_) | None => Ok(Said::Nothing),
        }
    }
}

impl Language for Vonage {
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
        duration: Duration,
        _method: DtmfMethod,
        out: &mut Outgoing,
    ) {
        if self.stream.is_on() {
            let duration = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            let digit = digit.as_char().to_string();
            json_stream::write(
                out,
                &json!({ "event": "websocket:dtmf", "digit": digit, "duration": duration }),
            );
        }
    }

    fn answer(&mut self, answer: &Answer<'_>, out: &mut Outgoing) {
        if !self.stream.is_on() {
            return;
        }
        match answer {
            Answer::Marked { name, result: MarkResult::Played, .. } => {
                // It was read from JSON, so it reads as JSON again.
                let payload: Value = serde_json::from_str(name).unwrap_or(Value::Null);
                json_stream::write(out, &json!({ "event": "websocket:notify", "payload": payload }));
            }
            Answer::Cleared { .. } => json_stream::write(out, &json!({ "event": "websocket:cleared" })),
            Answer::Marked { result: MarkResult::Cleared, .. } | Answer::Position { .. } => {}
        }
    }

    fn understand<'a>(
        &mut self,
        message: Incoming<'a>,
        _scratch: &'a mut Vec<u8>,
        _out: &mut Outgoing,
    ) -> Result<Said<'a>, (Mistake, Option<String>)> {
        match message {
            Incoming::Text(text) => self.read(text).map_err(|mistake| (mistake, None)),
            Incoming::Binary(audio) => Ok(spoken(audio, &self.stream, self.border.format())),
        }
    }
}

/// A binary message that is nothing but audio of `format`.
pub(super) fn spoken<'a>(audio: &'a [u8], stream: &Stream, format: AudioFormat) -> Said<'a> {
    if audio.is_empty() {
        return Said::Nothing;
    }
    Said::Audio { segment: stream.segment(), format, payload: audio, last: false }
}
