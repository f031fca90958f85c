//! Deepgram's Voice Agent API: the edge is its client. Settings first, then mu-law in binary messages both ways.
//!
//! ```text
//!   edge -> engine   Settings, audio…, FunctionCallResponse
//!   engine -> edge   Welcome, SettingsApplied, audio…, UserStartedSpeaking, AgentAudioDone, FunctionCallRequest, …
//! ```
//!
//! The engine's parameter `agent` is the `agent` object of the settings, as JSON text; `{{name}}` in it is replaced by what the
//! call knows. Nothing is sent between the settings and their `SettingsApplied`.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::time::{Duration, Instant};

use media::{AudioFormat, Digit};
use serde_json::{Value, json};

use super::border::Border;
use super::json_stream::{self, Stream};
use super::language::Language;
use super::said::{Answer, Heard, Incoming, Mistake, Said};
use super::tools::{self, Asked};
use super::{Form, Outgoing, vonage};
use crate::call::{DtmfMethod, EngineEvent, EngineStart, LegId};

/// One conversation.
#[derive(Debug)]
pub(super) struct Deepgram {
    border: Border,
    stream: Stream,
    applied: bool,
    /// Functions that were asked for and have no outcome yet: id and name.
    asked: Vec<(String, String)>,
}

impl Deepgram {
    pub(super) fn new() -> Self {
        let border = Border::new(AudioFormat::Pcmu);
        Self { border, stream: Stream::default(), applied: false, asked: Vec::new() }
    }

    fn begin(&mut self, now: Instant, start: &EngineStart, out: &mut Outgoing) {
        if !self.stream.begin(now) {
            return;
        }
        let known = json_stream::parameters(start);
        let own = start.parameters.iter().find(|(name, _)| name == "agent");
        let agent = own.and_then(|(_, text)| serde_json::from_str(&tools::filled(text, &known)).ok());
        let mut agent: Value = agent.unwrap_or_else(|| json!({}));
        let functions: Vec<Value> = tools::all()
            .into_iter()
            .map(|tool| json!({ "name": tool.name, "description": tool.description, "parameters": tool.parameters }))
            .collect();
        if let Some(Value::Object(think)) = agent.get_mut("think") {
            think.entry("functions").or_insert(Value::Array(functions));
        }
        let message = json!({
            "type": "Settings",
            "audio": {
                "input": { "encoding": "mulaw", "sample_rate": 8000 },
                "output": { "encoding": "mulaw", "sample_rate": 8000, "container": "none" },
            },
            "agent": agent,
        });
        json_stream::write(out, &message);
    }

    fn read<'a>(&mut self, text: &'a str, out: &mut Outgoing) -> Result<Said<'a>, Mistake> {
        let message = json_stream::object(Incoming::Text(text))?;
        match message.get("type").and_then(Value::as_str) {
            Some("SettingsApplied") => {
                self.applied = true;
                Ok(Said::Nothing)
            }
            Some("UserStartedSpeaking") => {
                self.stream.next_segment();
                Ok(Said::Clear { id: None, segment: None })
            }
            Some("AgentAudioDone") => {
                let segment = self.stream.segment();
                self.stream.next_segment();
                Ok(Said::Finish { segment })
            }
            Some("FunctionCallRequest") => {
                let first = message.get("functions").and_then(|functions| functions.get(0));
                let text = |key: &str| first.and_then(|first| first.get(key)).and_then(Value::as_str);
                let (Some(id), Some(name)) = (text("id"), text("name")) else {
                    return Err(Mistake::Field { field: "functions", must: "must have an id and a name" });
                };
                let arguments = tools::arguments(first.and_then(|first| first.get("arguments")));
                Ok(self.obey(id, name, &arguments, out))
            }
            Some(_) | None => Ok(Said::Nothing),
        }
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

fn answered(out: &mut Outgoing, id: &str, name: &str, content: &str) {
    let message = json!({ "type": "FunctionCallResponse", "id": id, "name": name, "content": content });
    json_stream::write(out, &message);
}

impl Language for Deepgram {
    fn tell(&mut self, now: Instant, event: &EngineEvent, out: &mut Outgoing) {
        if let Some((id, content)) = tools::outcome(event)
            && let Some(place) = self.asked.iter().position(|(known, _)| known == id)
        {
            let (id, name) = self.asked.remove(place);
            return answered(out, &id, &name, &content);
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
        if !(self.stream.is_on() && self.applied) {
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
        if self.stream.is_on() && self.applied {
            let content = format!("The caller pressed the key {}.", digit.as_char());
            json_stream::write(out, &json!({ "type": "InjectUserMessage", "content": content }));
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
