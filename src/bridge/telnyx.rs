//! Telnyx media streaming, bidirectional over RTP payloads (`stream_bidirectional_mode=rtp`): Twilio's shape in snake case.
//!
//! ```text
//!   edge -> bot   connected, start, media…, dtmf, mark, stop; then the socket closes
//!   bot -> edge   media, mark, clear; closing the socket is its way to let go of the call
//! ```
//!
//! Audio is mu-law at 8 kHz, or linear where the engine's `sample_rate` asks for another rate. A clear brings all pending
//! marks back, and a mark with nothing before it comes back at once.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::time::{Duration, Instant};

use bytes::BytesMut;
use media::{AudioFormat, Digit};
use serde::Deserialize;
use serde_json::json;

use super::border::Border;
use super::json_stream::{self, Stream, Text, put, put_audio, put_number};
use super::language::Language;
use super::said::{Answer, Heard, Incoming, Mistake, Said};
use super::{Form, Outgoing};
use crate::call::{CallId, DtmfMethod, EngineEvent, EngineStart, LegId};

/// One stream of one call.
#[derive(Debug)]
pub(super) struct Telnyx {
    hex: String,
    border: Border,
    room: BytesMut,
    stream: Stream,
}

impl Telnyx {
    pub(super) fn new(call: CallId, format: AudioFormat) -> Self {
        let hex = json_stream::hex(call);
        Self { hex, border: Border::new(format), room: BytesMut::new(), stream: Stream::default() }
    }

    fn begin(&mut self, now: Instant, start: &EngineStart, out: &mut Outgoing) {
        if !self.stream.begin(now) {
            return;
        }
        json_stream::write(out, &json!({ "event": "connected", "version": "1.0.0" }));
        let sequence = self.stream.next_sequence().to_string();
        let format = self.border.format();
        let encoding = match format {
            AudioFormat::Pcmu => "PCMU",
            AudioFormat::Pcma => "PCMA",
            AudioFormat::L16 { .. } => "L16",
        };
        let message = json!({
            "event": "start", "sequence_number": sequence, "stream_id": self.hex,
            "start": {
                "user_id": start.provider.as_str(), "call_control_id": format!("v3:{}", self.hex),
                "call_session_id": self.hex, "from": start.from, "to": start.to, "client_state": null, "tags": [],
                "custom_parameters": json_stream::parameters(start),
                "media_format": { "encoding": encoding, "sample_rate": format.rate().hertz(), "channels": 1 },
            },
        });
        json_stream::write(out, &message);
    }

    fn stop(&mut self, out: &mut Outgoing) {
        if self.stream.stop() {
            let sequence = self.stream.next_sequence().to_string();
            let message = json!({
                "event": "stop", "sequence_number": sequence, "stream_id": self.hex,
                "stop": { "call_control_id": format!("v3:{}", self.hex) },
            });
            json_stream::write(out, &message);
        }
    }
}

impl Language for Telnyx {
    fn tell(&mut self, now: Instant, event: &EngineEvent, out: &mut Outgoing) {
        match event {
            EngineEvent::Start(start) => self.begin(now, start, out),
            EngineEvent::Stop(_) => self.stop(out),
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
        let (sequence, chunk) = (self.stream.next_sequence(), self.stream.next_chunk());
        let timestamp = self.stream.timestamp(heard);
        out.write(Form::Text, |text| {
            put(text, "{\"event\":\"media\",\"sequence_number\":\"");
            put_number(text, sequence);
            put(text, "\",\"stream_id\":\"");
            put(text, &self.hex);
            put(text, "\",\"media\":{\"track\":\"inbound\",\"chunk\":\"");
            put_number(text, chunk);
            put(text, "\",\"timestamp\":\"");
            put_number(text, timestamp);
            put(text, "\",\"payload\":\"");
            put_audio(text, &mut self.border, &mut self.room, heard);
            put(text, "\"}}");
        });
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
            let sequence = self.stream.next_sequence().to_string();
            let message = json!({
                "event": "dtmf", "sequence_number": sequence, "stream_id": self.hex,
                "dtmf": { "digit": digit.as_char().to_string() },
            });
            json_stream::write(out, &message);
        }
    }

    fn answer(&mut self, answer: &Answer<'_>, out: &mut Outgoing) {
        match answer {
            Answer::Marked { name, .. } if self.stream.is_on() => {
                let sequence = self.stream.next_sequence().to_string();
                let message = json!({
                    "event": "mark", "sequence_number": sequence, "stream_id": self.hex, "mark": { "name": name },
                });
                json_stream::write(out, &message);
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
        understand(message, scratch, &mut self.stream, self.border.format())
            .map_err(|mistake| (mistake, None))
    }
}

/// What bots of this shape say, their audio being `format`: `media`, `mark`, `clear`. Unknown events and fields are passed over, as the originals do.
pub(super) fn understand<'a>(
    message: Incoming<'a>,
    scratch: &'a mut Vec<u8>,
    stream: &mut Stream,
    format: AudioFormat,
) -> Result<Said<'a>, Mistake> {
    let Incoming::Text(text) = message else { return Err(Mistake::Binary) };
    if text.trim_start().starts_with('[') {
        return Err(Mistake::Malformed("a message is an object".into()));
    }
    let message: FromBot<'a> = serde_json::from_str(text)?;
    match message.event.as_ref().map(|Text(event)| &**event) {
        Some("media") => match message.media.and_then(|media| media.payload) {
            Some(Text(base64)) => {
                json_stream::decode(&base64, scratch)?;
                Ok(audio(scratch, stream, format))
            }
            None => Ok(Said::Nothing),
        },
        Some("mark") => match message.mark.and_then(|mark| mark.name) {
            Some(Text(name)) => Ok(Said::Mark { id: None, name }),
            None => Ok(Said::Nothing),
        },
        Some("clear") => {
            stream.next_segment();
            Ok(Said::Clear { id: None, segment: None })
        }
        Some(_) | None => Ok(Said::Nothing),
    }
}

/// What lies in `scratch` is audio of `format`.
pub(super) fn audio<'a>(scratch: &'a [u8], stream: &Stream, format: AudioFormat) -> Said<'a> {
    if scratch.is_empty() {
        return Said::Nothing;
    }
    Said::Audio { segment: stream.segment(), format, payload: scratch, last: false }
}

#[derive(Deserialize)]
struct FromBot<'a> {
    #[serde(borrow, default)]
    event: Option<Text<'a>>,
    #[serde(borrow, default)]
    media: Option<Media<'a>>,
    #[serde(borrow, default)]
    mark: Option<Mark<'a>>,
}

#[derive(Deserialize)]
struct Media<'a> {
    #[serde(borrow, default)]
    payload: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Mark<'a> {
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
}
