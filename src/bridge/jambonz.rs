//! jambonz `listen` with bidirectional streaming audio (sub-protocol `audio.drachtio.org`).
//!
//! ```text
//!   edge -> bot   one text with who calls whom, audio…, dtmf, mark; the socket closes
//!   bot -> edge   audio, playAudio, killAudio, mark, clearMarks, disconnect
//! ```
//!
//! Audio is 16-bit linear, little-endian, in binary messages at the engine's `sample_rate`, both ways. Marks are told when
//! they are reached, not before; one behind the last audio is told as well.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::borrow::Cow;
use std::time::{Duration, Instant};

use media::{AudioFormat, Digit, MarkResult, SampleRate, Wav, WavEncoding};
use serde_json::{Value, json};

use super::Outgoing;
use super::border::Border;
use super::json_stream::{self, Stream};
use super::language::Language;
use super::said::{Answer, Heard, Incoming, Mistake, Said};
use super::{Form, vonage};
use crate::call::{CallId, Direction, DtmfMethod, EngineCommand, EngineEvent, EngineStart, LegId};

/// One conversation.
#[derive(Debug)]
pub(super) struct Jambonz {
    hex: String,
    border: Border,
    stream: Stream,
}

impl Jambonz {
    pub(super) fn new(call: CallId, rate: SampleRate) -> Self {
        let hex = json_stream::hex(call);
        Self { hex, border: Border::new(AudioFormat::L16 { rate }), stream: Stream::default() }
    }

    fn begin(&mut self, now: Instant, start: &EngineStart, out: &mut Outgoing) {
        if !self.stream.begin(now) {
            return;
        }
        let direction = match start.direction {
            Direction::Inbound => "inbound",
            Direction::Outbound => "outbound",
        };
        let mut message = json!({
            "sampleRate": self.border.format().rate().hertz(), "mixType": "mono", "callSid": self.hex,
            "callId": start.sip_call_id, "accountSid": start.provider.as_str(), "direction": direction,
            "from": start.from, "to": start.to, "callStatus": "in-progress",
        });
        if let Value::Object(message) = &mut message {
            let own: Vec<String> = message.keys().cloned().collect();
            let parameters = json_stream::parameters(start).into_iter();
            message.extend(parameters.filter(|(name, _)| !own.contains(name)));
        }
        json_stream::write(out, &message);
    }

    fn read<'a>(&mut self, text: &'a str, scratch: &'a mut Vec<u8>) -> Result<Said<'a>, Mistake> {
        let mut message = json_stream::object(Incoming::Text(text))?;
        let data = message.remove("data").unwrap_or(Value::Null);
        match message.get("type").and_then(Value::as_str) {
            Some("playAudio") => self.play(&data, scratch),
            Some("killAudio") => {
                self.stream.next_segment();
                Ok(Said::Clear { id: None, segment: None })
            }
            Some("mark") => match data.get("name").and_then(Value::as_str) {
                Some(name) => Ok(Said::Mark { id: None, name: Cow::Owned(name.to_owned()) }),
                None => Ok(Said::Nothing),
            },
            Some("disconnect") => {
                Ok(Said::Command(EngineCommand::HangUp { id: None, reason: None, drain: false }))
            }
            Some(_) | None => Ok(Said::Nothing),
        }
    }

    fn play<'a>(&mut self, data: &Value, scratch: &'a mut Vec<u8>) -> Result<Said<'a>, Mistake> {
        let Some(content) = data.get("audioContent").and_then(Value::as_str) else {
            return Err(Mistake::Field { field: "audioContent", must: "must be audio in base64" });
        };
        json_stream::decode(content, scratch)?;
        let rate = match data.get("audioContentType").and_then(Value::as_str) {
            Some("wav") => {
                let wrong =
                    Mistake::Field { field: "audioContent", must: "must be a WAV file, mono, 16-bit PCM" };
                let (rate, samples) = {
                    let wav = Wav::parse(scratch).map_err(|_| wrong.clone())?;
                    let rate = SampleRate::try_from(wav.rate).map_err(|_| wrong.clone())?;
                    let is_linear = wav.channels == 1 && wav.encoding == WavEncoding::Pcm16;
                    (rate, is_linear.then(|| wav.data.to_vec()))
                };
                *scratch = samples.ok_or(wrong)?;
                rate
            }
            Some(_) | None => {
                let hertz = data.get("sampleRate").and_then(Value::as_u64);
                let hertz = hertz.map_or(Ok(self.border.format().rate().hertz()), u32::try_from);
                let wrong =
                    Mistake::Field { field: "sampleRate", must: "must be 8000, 16000, 24000 or 48000" };
                hertz.ok().and_then(|hertz| SampleRate::try_from(hertz).ok()).ok_or(wrong)?
            }
        };
        if scratch.is_empty() {
            return Ok(Said::Nothing);
        }
        let format = AudioFormat::L16 { rate };
        Ok(Said::Audio { segment: self.stream.segment(), format, payload: scratch, last: false })
    }
}

impl Language for Jambonz {
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
            // In samples at 8 kHz.
            let duration = (duration.as_millis() * 8).to_string();
            let digit = digit.as_char().to_string();
            json_stream::write(out, &json!({ "event": "dtmf", "dtmf": digit, "duration": duration }));
        }
    }

    fn answer(&mut self, answer: &Answer<'_>, out: &mut Outgoing) {
        match answer {
            Answer::Marked { name, result, .. } if self.stream.is_on() => {
                let event = match result {
                    MarkResult::Played => "playout",
                    MarkResult::Cleared => "cleared",
                };
                json_stream::write(out, &json!({ "type": "mark", "data": { "name": name, "event": event } }));
            }
            Answer::Marked { .. } | Answer::Cleared { .. } | Answer::Position { .. } => {}
        }
    }

    fn understand<'a>(
        &mut self,
        message: Incoming<'a>,
        scratch: &'a mut Vec<u8>,
        _out: &mut Outgoing,
    ) -> Result<Said<'a>, (Mistake, Option<String>)> {
        match message {
            Incoming::Text(text) => self.read(text, scratch).map_err(|mistake| (mistake, None)),
            Incoming::Binary(audio) => Ok(vonage::spoken(audio, &self.stream, self.border.format())),
        }
    }
}
