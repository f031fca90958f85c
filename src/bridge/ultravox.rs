//! Ultravox `serverWebSocket`: the edge is its client, at the `joinUrl` of a call that was made over its REST API.
//!
//! ```text
//!   edge -> engine   audio…, client_tool_result, pong
//!   engine -> edge   call_started, audio…, playback_clear_buffer, client_tool_invocation, ping, …
//! ```
//!
//! Audio is 16-bit linear, little-endian, in binary messages at the engine's `sample_rate`, which has to be the one that the
//! call was made with.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::time::{Duration, Instant};

use media::{AudioFormat, Digit, SampleRate};
use serde_json::{Value, json};

use super::border::Border;
use super::json_stream::{self, Stream};
use super::language::Language;
use super::said::{Answer, Heard, Incoming, Mistake, Said};
use super::tools::{self, Asked};
use super::{Form, Outgoing, vonage};
use crate::call::{DtmfMethod, EngineEvent, LegId};

/// One call of theirs.
#[derive(Debug)]
pub(super) struct Ultravox {
    border: Border,
    stream: Stream,
}

impl Ultravox {
    pub(super) fn new(rate: SampleRate) -> Self {
        Self { border: Border::new(AudioFormat::L16 { rate }), stream: Stream::default() }
    }

    fn read<'a>(&mut self, text: &'a str, out: &mut Outgoing) -> Result<Said<'a>, Mistake> {
        let message = json_stream::object(Incoming::Text(text))?;
        let text = |key: &str| message.get(key).and_then(Value::as_str);
        match text("type") {
            Some("playback_clear_buffer") => {
                self.stream.next_segment();
                Ok(Said::Clear { id: None, segment: None })
            }
            Some("ping") => {
                let timestamp = message.get("timestamp");
                json_stream::write(out, &json!({ "type": "pong", "timestamp": timestamp }));
                Ok(Said::Nothing)
            }
            Some("client_tool_invocation") => {
                let (Some(id), Some(name)) = (text("invocationId"), text("toolName")) else {
                    return Err(Mistake::Field { field: "invocationId", must: "must come with a toolName" });
                };
                Ok(match tools::ask(id, name, &tools::arguments(message.get("parameters"))) {
                    Asked::Ordered(said) => said,
                    Asked::Done(said, output) => {
                        answered(out, id, output);
                        said
                    }
                    Asked::Refused(why) => {
                        answered(out, id, &why);
                        Said::Nothing
                    }
                })
            }
            Some(_) | None => Ok(Said::Nothing),
        }
    }
}

fn answered(out: &mut Outgoing, id: &str, result: &str) {
    json_stream::write(out, &json!({ "type": "client_tool_result", "invocationId": id, "result": result }));
}

impl Language for Ultravox {
    fn tell(&mut self, now: Instant, event: &EngineEvent, out: &mut Outgoing) {
        if let Some((id, result)) = tools::outcome(event).filter(|_| self.stream.is_on()) {
            return answered(out, id, &result);
        }
        match event {
            EngineEvent::Start(_) => {
                self.stream.begin(now);
            }
            EngineEvent::Stop(_) => {
                if self.stream.stop() {
                    json_stream::write(out, &json!({ "type": "hang_up" }));
                }
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

    /// Keys are told as words: the API has no event of its own for them.
    fn digit(
        &mut self,
        _leg: LegId,
        digit: Digit,
        _duration: Duration,
        _method: DtmfMethod,
        out: &mut Outgoing,
    ) {
        if self.stream.is_on() {
            let text = format!("The caller pressed the key {}.", digit.as_char());
            json_stream::write(out, &json!({ "type": "user_text_message", "text": text }));
        }
    }

    /// It has no words for what became of its audio.
    fn answer(&mut self, _answer: &Answer<'_>, _out: &mut Outgoing) {}

    fn understand<'a>(
        &mut self,
        message: Incoming<'a>,
        _scratch: &'a mut Vec<u8>,
        out: &mut Outgoing,
    ) -> Result<Said<'a>, (Mistake, Option<String>)> {
        match message {
            Incoming::Text(text) => self.read(text, out).map_err(|mistake| (mistake, None)),
            Incoming::Binary(audio) => Ok(vonage::spoken(audio, &self.stream, self.border.format())),
        }
    }
}
