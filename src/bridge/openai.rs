//! OpenAI's Realtime API, and what is compatible with it: the edge is its client.
//!
//! ```text
//!   edge -> engine   session.update, response.create (greeting), input_audio_buffer.append…, conversation.item.truncate,
//!                    conversation.item.create (function_call_output, keys)
//!   engine -> edge   response.output_audio.delta, .done, input_audio_buffer.speech_started,
//!                    response.function_call_arguments.done, …
//! ```
//!
//! Audio is mu-law both ways, so a mu-law leg is passed on as it is. Each item that the engine speaks is a segment. When the
//! caller begins to speak, what waits is thrown away and the item is cut where the caller stopped hearing it: at the
//! milliseconds that really went out. Names of the beta are understood as well; which ones are written is the dialect's choice.
//!
//! Parameters of the engine: `instructions`, `voice`, `greeting`; `{{name}}` in them is replaced by what the call knows.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use media::{AudioFormat, Digit, SegmentId};
use serde_json::{Map, Value, json};

use super::border::Border;
use super::json_stream::{self, Stream, put, put_audio};
use super::language::Language;
use super::said::{Answer, Heard, Incoming, Mistake, Said};
use super::tools::{self, Asked};
use super::{Form, Outgoing};
use crate::call::{DtmfMethod, EngineEvent, EngineStart, LegId};

/// Items whose segment is remembered.
const ITEMS: usize = 32;

/// Whose names are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    Ga,
    Beta,
}

/// One session.
#[derive(Debug)]
pub(super) struct OpenAi {
    names: Names,
    border: Border,
    room: BytesMut,
    stream: Stream,
    /// What was spoken, by the segment it is played as, the latest last.
    items: VecDeque<(SegmentId, String)>,
    next_segment: u32,
}

impl OpenAi {
    pub(super) fn new(names: Names) -> Self {
        Self {
            names,
            border: Border::new(AudioFormat::Pcmu),
            room: BytesMut::new(),
            stream: Stream::default(),
            items: VecDeque::new(),
            next_segment: 0,
        }
    }

    fn begin(&mut self, now: Instant, start: &EngineStart, out: &mut Outgoing) {
        if !self.stream.begin(now) {
            return;
        }
        let known = json_stream::parameters(start);
        let text = |name: &str| {
            let own = start.parameters.iter().find(|(key, _)| key == name);
            own.map(|(_, text)| tools::filled(text, &known))
        };
        json_stream::write(
            out,
            &json!({ "type": "session.update", "session": self.session(text("instructions"), text("voice")) }),
        );
        if let Some(greeting) = text("greeting") {
            let response =
                json!({ "instructions": format!("Say this to the caller, word by word: {greeting}") });
            json_stream::write(out, &json!({ "type": "response.create", "response": response }));
        }
    }

    fn session(&self, instructions: Option<String>, voice: Option<String>) -> Value {
        let tools: Vec<Value> = tools::all()
            .into_iter()
            .map(|tool| {
                json!({
                    "type": "function", "name": tool.name, "description": tool.description,
                    "parameters": tool.parameters,
                })
            })
            .collect();
        let detection = json!({ "type": "server_vad", "create_response": true, "interrupt_response": true });
        let mut session = match self.names {
            Names::Ga => {
                let format = json!({ "type": "audio/pcmu" });
                let mut output = json!({ "format": format });
                if let (Some(voice), Value::Object(output)) = (&voice, &mut output) {
                    output.insert("voice".into(), json!(voice));
                }
                json!({
                    "type": "realtime", "output_modalities": ["audio"],
                    "audio": { "input": { "format": format, "turn_detection": detection }, "output": output },
                })
            }
            Names::Beta => {
                let mut session = json!({
                    "modalities": ["audio", "text"], "input_audio_format": "g711_ulaw",
                    "output_audio_format": "g711_ulaw", "turn_detection": detection,
                });
                if let (Some(voice), Value::Object(session)) = (&voice, &mut session) {
                    session.insert("voice".into(), json!(voice));
                }
                session
            }
        };
        if let Value::Object(session) = &mut session {
            session.extend(instructions.map(|text| ("instructions".to_owned(), json!(text))));
            session.insert("tools".into(), Value::Array(tools));
            session.insert("tool_choice".into(), json!("auto"));
        }
        session
    }

    /// The segment as which an item is played: its own from its first audio on.
    fn segment_of(&mut self, item: &str) -> SegmentId {
        if let Some((segment, _)) = self.items.iter().rev().find(|(_, known)| known == item) {
            return *segment;
        }
        let segment = SegmentId(self.next_segment);
        self.next_segment = self.next_segment.wrapping_add(1) & super::HIGHEST_SEGMENT;
        if self.items.len() == ITEMS {
            self.items.pop_front();
        }
        self.items.push_back((segment, item.to_owned()));
        segment
    }

    fn read<'a>(
        &mut self,
        message: Incoming<'a>,
        scratch: &'a mut Vec<u8>,
        out: &mut Outgoing,
    ) -> Result<Said<'a>, Mistake> {
        let message = json_stream::object(message)?;
        let text = |key: &str| message.get(key).and_then(Value::as_str);
        match text("type") {
            Some("response.output_audio.delta" | "response.audio.delta") => {
                let (Some(item), Some(delta)) = (text("item_id"), text("delta")) else {
                    return Err(Mistake::Field { field: "delta", must: "must come with its item_id" });
                };
                json_stream::decode(delta, scratch)?;
                if scratch.is_empty() {
                    return Ok(Said::Nothing);
                }
                let segment = self.segment_of(item);
                Ok(Said::Audio { segment, format: AudioFormat::Pcmu, payload: scratch, last: false })
            }
            Some("response.output_audio.done" | "response.audio.done") => match text("item_id") {
                Some(item) => Ok(Said::Finish { segment: self.segment_of(item) }),
                None => Ok(Said::Nothing),
            },
            Some("input_audio_buffer.speech_started") => Ok(Said::Clear { id: None, segment: None }),
            Some("response.function_call_arguments.done") => {
                let (Some(id), Some(name)) = (text("call_id"), text("name")) else {
                    return Err(Mistake::Field { field: "call_id", must: "must come with a name" });
                };
                let arguments = tools::arguments(message.get("arguments"));
                Ok(self.asked(id, name, &arguments, out))
            }
            Some(_) | None => Ok(Said::Nothing),
        }
    }

    fn asked<'a>(&self, id: &str, name: &str, arguments: &Value, out: &mut Outgoing) -> Said<'a> {
        match tools::ask(id, name, arguments) {
            Asked::Ordered(said) => said,
            Asked::Done(said, output) => {
                answered(out, id, output);
                said
            }
            Asked::Refused(why) => {
                answered(out, id, &why);
                json_stream::write(out, &json!({ "type": "response.create" }));
                Said::Nothing
            }
        }
    }
}

/// What came of a function.
fn answered(out: &mut Outgoing, id: &str, output: &str) {
    let item = json!({ "type": "function_call_output", "call_id": id, "output": output });
    json_stream::write(out, &json!({ "type": "conversation.item.create", "item": item }));
}

impl Language for OpenAi {
    fn tell(&mut self, now: Instant, event: &EngineEvent, out: &mut Outgoing) {
        if let Some((id, output)) = tools::outcome(event).filter(|_| self.stream.is_on()) {
            answered(out, id, &output);
            json_stream::write(out, &json!({ "type": "response.create" }));
            return;
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
        if !self.stream.is_on() {
            return false;
        }
        out.write(Form::Text, |text| {
            put(text, "{\"type\":\"input_audio_buffer.append\",\"audio\":\"");
            put_audio(text, &mut self.border, &mut self.room, heard);
            put(text, "\"}");
        });
        true
    }

    /// Keys are told as words: the API has no event of its own for them over a websocket.
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
            let item = json!({
                "type": "message", "role": "user", "content": [{ "type": "input_text", "text": text }],
            });
            json_stream::write(out, &json!({ "type": "conversation.item.create", "item": item }));
        }
    }

    fn answer(&mut self, answer: &Answer<'_>, out: &mut Outgoing) {
        let Answer::Cleared { segment: Some(segment), played_ms, dropped_ms, .. } = answer else { return };
        let item = self.items.iter().find(|(known, _)| known == segment);
        if let Some((_, item)) = item.filter(|_| *dropped_ms > 0 && self.stream.is_on()) {
            let mut message = Map::new();
            message.insert("type".into(), json!("conversation.item.truncate"));
            message.insert("item_id".into(), json!(item));
            message.insert("content_index".into(), json!(0));
            message.insert("audio_end_ms".into(), json!(played_ms));
            json_stream::write(out, &Value::Object(message));
        }
    }

    fn understand<'a>(
        &mut self,
        message: Incoming<'a>,
        scratch: &'a mut Vec<u8>,
        out: &mut Outgoing,
    ) -> Result<Said<'a>, (Mistake, Option<String>)> {
        self.read(message, scratch, out).map_err(|mistake| (mistake, None))
    }
}
