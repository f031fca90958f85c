//! Gemini Live (BidiGenerateContent): the edge is its client. It hears linear audio at 16 kHz and speaks at 24 kHz.
//!
//! ```text
//!   edge -> engine   setup, realtimeInput…, toolResponse
//!   engine -> edge   setupComplete, serverContent (audio, interrupted, turnComplete), toolCall, goAway, …
//! ```
//!
//! Messages are JSON, in text or binary frames. Parameters of the engine: `model` (needed), `instructions`, `voice`, `setup` (the
//! whole `setup` object as JSON text, in place of the others); `{{name}}` in them is replaced by what the call knows.
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

/// One session.
#[derive(Debug)]
pub(super) struct Gemini {
    border: Border,
    room: BytesMut,
    stream: Stream,
    is_set_up: bool,
    /// Functions that were asked for and have no outcome yet: id and name.
    asked: Vec<(String, String)>,
}

impl Gemini {
    pub(super) fn new() -> Self {
        let border = Border::new(AudioFormat::L16 { rate: SampleRate::Hz16000 });
        let stream = Stream::default();
        Self { border, room: BytesMut::new(), stream, is_set_up: false, asked: Vec::new() }
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
        let whole = text("setup").and_then(|text| serde_json::from_str::<Value>(&text).ok());
        let setup = whole.unwrap_or_else(|| setup(text("model"), text("instructions"), text("voice")));
        json_stream::write(out, &json!({ "setup": setup }));
    }

    fn read<'a>(
        &mut self,
        message: Incoming<'a>,
        scratch: &'a mut Vec<u8>,
        out: &mut Outgoing,
    ) -> Result<Said<'a>, Mistake> {
        let message = match message {
            Incoming::Text(text) => json_stream::object(Incoming::Text(text))?,
            Incoming::Binary(bytes) => serde_json::from_slice(bytes)?,
        };
        if message.contains_key("setupComplete") {
            self.is_set_up = true;
        }
        if let Some(calls) = message.get("toolCall").and_then(|call| call.get("functionCalls")) {
            let text = |key: &str| calls.get(0).and_then(|call| call.get(key)).and_then(Value::as_str);
            let (Some(id), Some(name)) = (text("id"), text("name")) else {
                return Err(Mistake::Field { field: "functionCalls", must: "must have an id and a name" });
            };
            let arguments = tools::arguments(calls.get(0).and_then(|call| call.get("args")));
            return Ok(self.obey(id, name, &arguments, out));
        }
        let Some(content) = message.get("serverContent") else { return Ok(Said::Nothing) };
        if content.get("interrupted").and_then(Value::as_bool) == Some(true) {
            self.stream.next_segment();
            return Ok(Said::Clear { id: None, segment: None });
        }
        let parts = content.get("modelTurn").and_then(|turn| turn.get("parts")).and_then(Value::as_array);
        scratch.clear();
        let mut rate = SampleRate::Hz24000;
        let mut piece = Vec::new();
        for inline in parts.into_iter().flatten().filter_map(|part| part.get("inlineData")) {
            rate = inline.get("mimeType").and_then(Value::as_str).map_or(Ok(rate), rate_of)?;
            if let Some(data) = inline.get("data").and_then(Value::as_str) {
                json_stream::decode(data, &mut piece)?;
                scratch.extend_from_slice(&piece);
            }
        }
        if !scratch.is_empty() {
            let format = AudioFormat::L16 { rate };
            return Ok(Said::Audio { segment: self.stream.segment(), format, payload: scratch, last: false });
        }
        if content.get("turnComplete").and_then(Value::as_bool) == Some(true) {
            let segment = self.stream.segment();
            self.stream.next_segment();
            return Ok(Said::Finish { segment });
        }
        Ok(Said::Nothing)
    }

    fn obey<'a>(&mut self, id: &str, name: &str, arguments: &Value, out: &mut Outgoing) -> Said<'a> {
        match tools::ask(id, name, arguments) {
            Asked::Ordered(said) => {
                self.asked.push((id.to_owned(), name.to_owned()));
                said
            }
            Asked::Done(said, output) => {
                answered(out, id, name, output);
                said
            }
            Asked::Refused(why) => {
                answered(out, id, name, &why);
                Said::Nothing
            }
        }
    }
}

fn setup(model: Option<String>, instructions: Option<String>, voice: Option<String>) -> Value {
    let declarations: Vec<Value> = tools::all()
        .into_iter()
        .map(|tool| json!({ "name": tool.name, "description": tool.description, "parameters": tool.parameters }))
        .collect();
    let mut generation = json!({ "responseModalities": ["AUDIO"] });
    if let (Some(voice), Value::Object(generation)) = (voice, &mut generation) {
        let named = json!({ "voiceConfig": { "prebuiltVoiceConfig": { "voiceName": voice } } });
        generation.insert("speechConfig".into(), named);
    }
    let mut setup =
        json!({ "generationConfig": generation, "tools": [{ "functionDeclarations": declarations }] });
    if let Value::Object(setup) = &mut setup {
        setup.extend(model.map(|model| ("model".to_owned(), json!(model))));
        let instruction = |text| json!({ "parts": [{ "text": text }] });
        setup.extend(instructions.map(|text| ("systemInstruction".to_owned(), instruction(text))));
    }
    setup
}

fn answered(out: &mut Outgoing, id: &str, name: &str, result: &str) {
    let response = json!({ "id": id, "name": name, "response": { "result": result } });
    json_stream::write(out, &json!({ "toolResponse": { "functionResponses": [response] } }));
}

/// `audio/pcm;rate=24000`.
fn rate_of(mime: &str) -> Result<SampleRate, Mistake> {
    let wrong = Mistake::Field { field: "mimeType", must: "must be audio/pcm with a rate of 8000 to 48000" };
    let Some(rest) = mime.strip_prefix("audio/pcm") else { return Err(wrong) };
    let Some((_, hertz)) = rest.split_once("rate=") else { return Ok(SampleRate::Hz24000) };
    let hertz: Option<u32> = hertz.split(';').next().and_then(|hertz| hertz.trim().parse().ok());
    hertz.and_then(|hertz| SampleRate::try_from(hertz).ok()).ok_or(wrong)
}

impl Language for Gemini {
    fn tell(&mut self, now: Instant, event: &EngineEvent, out: &mut Outgoing) {
        if let Some((id, result)) = tools::outcome(event)
            && let Some(place) = self.asked.iter().position(|(known, _)| known == id)
        {
            let (id, name) = self.asked.remove(place);
            return answered(out, &id, &name, &result);
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
        if !(self.stream.is_on() && self.is_set_up) {
            return false;
        }
        out.write(Form::Text, |text| {
            put(text, "{\"realtimeInput\":{\"audio\":{\"mimeType\":\"audio/pcm;rate=16000\",\"data\":\"");
            put_audio(text, &mut self.border, &mut self.room, heard);
            put(text, "\"}}}");
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
        if self.stream.is_on() && self.is_set_up {
            let text = format!("The caller pressed the key {}.", digit.as_char());
            json_stream::write(out, &json!({ "realtimeInput": { "text": text } }));
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
