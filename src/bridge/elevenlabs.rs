//! ElevenLabs Agents: the edge is its client. Formats are what the agent says in its first message.
//!
//! ```text
//!   edge -> engine   conversation_initiation_client_data, user_audio_chunk…, pong, client_tool_result
//!   engine -> edge   conversation_initiation_metadata, audio…, interruption, ping, client_tool_call, …
//! ```
//!
//! Audio carries an event id that only grows; an interruption names the last one that is not to be heard any more, so late audio
//! of it is thrown away. Everything that the call knows goes along as `dynamic_variables`.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::time::{Duration, Instant};

use bytes::BytesMut;
use media::{AudioFormat, Digit, SampleRate};
use serde_json::{Value, json};

use super::border::Border;
use super::json_stream::{self, Stream, put, put_audio};
use super::language::Language;
use super::said::{Answer, Heard, Incoming, Mistake, Said};
use super::tools::{self, Asked};
use super::{Form, Outgoing};
use crate::call::{DtmfMethod, EngineEvent, EngineStart, LegId};

/// One conversation.
#[derive(Debug)]
pub(super) struct ElevenLabs {
    /// What the agent hears; nothing before it has said so.
    hears: Option<Border>,
    speaks: AudioFormat,
    room: BytesMut,
    stream: Stream,
    /// Audio up to this event is not to be heard any more.
    interrupted: i64,
}

impl ElevenLabs {
    pub(super) fn new() -> Self {
        Self {
            hears: None,
            speaks: AudioFormat::Pcmu,
            room: BytesMut::new(),
            stream: Stream::default(),
            interrupted: i64::MIN,
        }
    }

    fn begin(&mut self, now: Instant, start: &EngineStart, out: &mut Outgoing) {
        if self.stream.begin(now) {
            let variables = json_stream::parameters(start);
            let message =
                json!({ "type": "conversation_initiation_client_data", "dynamic_variables": variables });
            json_stream::write(out, &message);
        }
    }

    fn read<'a>(
        &mut self,
        message: Incoming<'a>,
        scratch: &'a mut Vec<u8>,
        out: &mut Outgoing,
    ) -> Result<Said<'a>, Mistake> {
        let message = json_stream::object(message)?;
        match message.get("type").and_then(Value::as_str) {
            Some("conversation_initiation_metadata") => {
                let event = message.get("conversation_initiation_metadata_event");
                let format = |key: &str| {
                    let name = event.and_then(|event| event.get(key)).and_then(Value::as_str);
                    name.map_or(Ok(AudioFormat::L16 { rate: SampleRate::Hz16000 }), format_of)
                };
                self.speaks = format("agent_output_audio_format")?;
                self.hears = Some(Border::new(format("user_input_audio_format")?));
                Ok(Said::Nothing)
            }
            Some("audio") => {
                let event = message.get("audio_event").unwrap_or(&Value::Null);
                let id = event.get("event_id").and_then(Value::as_i64).unwrap_or(i64::MAX);
                let Some(audio) = event.get("audio_base_64").and_then(Value::as_str) else {
                    return Err(Mistake::Field { field: "audio_base_64", must: "must be audio in base64" });
                };
                json_stream::decode(audio, scratch)?;
                if id <= self.interrupted || scratch.is_empty() {
                    return Ok(Said::Nothing);
                }
                let format = self.speaks;
                Ok(Said::Audio { segment: self.stream.segment(), format, payload: scratch, last: false })
            }
            Some("interruption") => {
                let event = message.get("interruption_event");
                let id = event.and_then(|event| event.get("event_id")).and_then(Value::as_i64);
                self.interrupted = self.interrupted.max(id.unwrap_or(i64::MIN));
                self.stream.next_segment();
                Ok(Said::Clear { id: None, segment: None })
            }
            Some("ping") => {
                let id = message.get("ping_event").and_then(|event| event.get("event_id"));
                json_stream::write(out, &json!({ "type": "pong", "event_id": id }));
                Ok(Said::Nothing)
            }
            Some("client_tool_call") => {
                let call = message.get("client_tool_call").unwrap_or(&Value::Null);
                let text = |key: &str| call.get(key).and_then(Value::as_str);
                let (Some(id), Some(name)) = (text("tool_call_id"), text("tool_name")) else {
                    return Err(Mistake::Field {
                        field: "client_tool_call",
                        must: "must have an id and a name",
                    });
                };
                Ok(match tools::ask(id, name, &tools::arguments(call.get("parameters"))) {
                    Asked::Ordered(said) => said,
                    Asked::Done(said, output) => {
                        answered(out, id, output, false);
                        said
                    }
                    Asked::Refused(why) => {
                        answered(out, id, &why, true);
                        Said::Nothing
                    }
                })
            }
            Some(_) | None => Ok(Said::Nothing),
        }
    }
}

fn answered(out: &mut Outgoing, id: &str, result: &str, is_error: bool) {
    let message =
        json!({ "type": "client_tool_result", "tool_call_id": id, "result": result, "is_error": is_error });
    json_stream::write(out, &message);
}

fn format_of(name: &str) -> Result<AudioFormat, Mistake> {
    let wrong = Mistake::Field {
        field: "audio_format",
        must: "must be ulaw_8000, alaw_8000, pcm_8000, pcm_16000, pcm_24000 or pcm_48000",
    };
    match name.split_once('_') {
        Some(("ulaw", "8000")) => Ok(AudioFormat::Pcmu),
        Some(("alaw", "8000")) => Ok(AudioFormat::Pcma),
        Some(("pcm", hertz)) => {
            let rate = hertz.parse().ok().and_then(|hertz: u32| SampleRate::try_from(hertz).ok());
            rate.map(|rate| AudioFormat::L16 { rate }).ok_or(wrong)
        }
        Some(_) | None => Err(wrong),
    }
}

impl Language for ElevenLabs {
    fn tell(&mut self, now: Instant, event: &EngineEvent, out: &mut Outgoing) {
        if let Some((id, result)) = tools::outcome(event).filter(|_| self.stream.is_on()) {
            let failed = !result.starts_with("transferred");
            return answered(out, id, &result, failed);
        }
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
        let (true, Some(border)) = (self.stream.is_on(), &mut self.hears) else { return false };
        out.write(Form::Text, |text| {
            put(text, "{\"user_audio_chunk\":\"");
            put_audio(text, border, &mut self.room, heard);
            put(text, "\"}");
        });
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
        if self.stream.is_on() && self.hears.is_some() {
            let text = format!("The caller pressed the key {}.", digit.as_char());
            json_stream::write(out, &json!({ "type": "user_message", "text": text }));
        }
    }

    /// It has no words for what became of its audio.
    fn answer(&mut self, _answer: &Answer<'_>, _out: &mut Outgoing) {}

    fn understand<'a>(
        &mut self,
        message: Incoming<'a>,
        scratch: &'a mut Vec<u8>,
        out: &mut Outgoing,
    ) -> Result<Said<'a>, (Mistake, Option<String>)> {
        self.read(message, scratch, out).map_err(|mistake| (mistake, None))
    }
}
