//! Plivo audio streaming, bidirectional (`<Stream bidirectional="true">`).
//!
//! ```text
//!   edge -> bot   start, media…, dtmf, playedStream, clearedAudio; the socket closes
//!   bot -> edge   playAudio, checkpoint, clearAudio; closing the socket is its way to let go of the call
//! ```
//!
//! A checkpoint is told as `playedStream` only if its audio was really played. Numbers are numbers here, but for the timestamp.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::borrow::Cow;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use media::{AudioFormat, Digit, MarkResult, SampleRate};
use serde::Deserialize;
use serde_json::{Value, json};

use super::border::Border;
use super::json_stream::{self, Stream, Text, put, put_audio, put_number};
use super::language::Language;
use super::said::{Answer, Heard, Incoming, Mistake, Said};
use super::{Form, Outgoing};
use crate::call::{CallId, DtmfMethod, EngineEvent, EngineStart, LegId};

/// One stream of one call.
#[derive(Debug)]
pub(super) struct Plivo {
    hex: String,
    border: Border,
    room: BytesMut,
    /// Unix milliseconds of the beginning: timestamps are absolute.
    epoch_ms: u64,
    stream: Stream,
}

impl Plivo {
    pub(super) fn new(call: CallId, format: AudioFormat) -> Self {
        let (hex, border) = (json_stream::hex(call), Border::new(format));
        Self { hex, border, room: BytesMut::new(), epoch_ms: 0, stream: Stream::default() }
    }

    fn begin(&mut self, now: Instant, start: &EngineStart, out: &mut Outgoing) {
        if !self.stream.begin(now) {
            return;
        }
        self.epoch_ms = u64::try_from(start.started_at.unix_ms()).unwrap_or(0);
        let format = self.border.format();
        let headers: Vec<String> = json_stream::parameters(start)
            .into_iter()
            .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default().replace(';', ",")))
            .collect();
        let message = json!({
            "sequenceNumber": self.stream.next_sequence(), "event": "start",
            "start": {
                "callId": self.hex, "streamId": self.hex, "accountId": start.provider.as_str(), "tracks": ["inbound"],
                "mediaFormat": { "encoding": content_type(format), "sampleRate": format.rate().hertz() },
            },
            "extra_headers": headers.join(";"),
        });
        json_stream::write(out, &message);
    }

    fn read<'a>(&mut self, text: &'a str, scratch: &'a mut Vec<u8>) -> Result<Said<'a>, Mistake> {
        if text.trim_start().starts_with('[') {
            return Err(Mistake::Malformed("a message is an object".into()));
        }
        let message: FromBot<'a> = serde_json::from_str(text)?;
        match message.event.as_ref().map(|Text(event)| &**event) {
            Some("playAudio") => match message.media {
                Some(Media { payload: Some(Text(base64)), content_type, sample_rate }) => {
                    let format = spoken(content_type.as_ref(), sample_rate.as_ref(), self.border.format())?;
                    json_stream::decode(&base64, scratch)?;
                    if scratch.is_empty() {
                        return Ok(Said::Nothing);
                    }
                    let segment = self.stream.segment();
                    Ok(Said::Audio { segment, format, payload: scratch, last: false })
                }
                Some(_) | None => Ok(Said::Nothing),
            },
            Some("checkpoint") => match message.name {
                Some(Text(name)) => Ok(Said::Mark { id: None, name }),
                None => Ok(Said::Nothing),
            },
            Some("clearAudio") => {
                self.stream.next_segment();
                Ok(Said::Clear { id: None, segment: None })
            }
            Some(_) | None => Ok(Said::Nothing),
        }
    }
}

/// The layout that a `playAudio` names; where it names none, the stream's own.
fn spoken(
    content_type: Option<&Text<'_>>,
    sample_rate: Option<&Value>,
    usual: AudioFormat,
) -> Result<AudioFormat, Mistake> {
    let rate = match sample_rate {
        None | Some(Value::Null) => usual.rate(),
        Some(Value::Number(number)) => rate_of(number.as_u64())?,
        Some(Value::String(text)) => rate_of(text.parse().ok())?,
        Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => return Err(WRONG_RATE),
    };
    match content_type.map(|Text(name)| name) {
        None => Ok(usual),
        Some(Cow::Borrowed("audio/x-l16")) => Ok(AudioFormat::L16 { rate }),
        Some(name) if name == "audio/x-l16" => Ok(AudioFormat::L16 { rate }),
        Some(name) if name == "audio/x-mulaw" => Ok(AudioFormat::Pcmu),
        Some(_) => Err(Mistake::Field { field: "contentType", must: "must be audio/x-mulaw or audio/x-l16" }),
    }
}

const WRONG_RATE: Mistake =
    Mistake::Field { field: "sampleRate", must: "must be 8000, 16000, 24000 or 48000" };

fn rate_of(hertz: Option<u64>) -> Result<SampleRate, Mistake> {
    hertz.and_then(|hertz| SampleRate::try_from(u32::try_from(hertz).ok()?).ok()).ok_or(WRONG_RATE)
}

fn content_type(format: AudioFormat) -> &'static str {
    match format {
        AudioFormat::Pcmu | AudioFormat::Pcma => "audio/x-mulaw",
        AudioFormat::L16 { .. } => "audio/x-l16",
    }
}

impl Language for Plivo {
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
        let (sequence, chunk) = (self.stream.next_sequence(), self.stream.next_chunk());
        let timestamp = self.epoch_ms + self.stream.timestamp(heard);
        out.write(Form::Text, |text| {
            put(text, "{\"sequenceNumber\":");
            put_number(text, sequence);
            put(text, ",\"streamId\":\"");
            put(text, &self.hex);
            put(text, "\",\"event\":\"media\",\"media\":{\"track\":\"inbound\",\"timestamp\":\"");
            put_number(text, timestamp);
            put(text, "\",\"chunk\":");
            put_number(text, chunk);
            put(text, ",\"payload\":\"");
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
            let sequence = self.stream.next_sequence();
            let message = json!({
                "event": "dtmf", "sequenceNumber": sequence, "streamId": self.hex,
                "dtmf": { "track": "inbound", "digit": digit.as_char().to_string() },
            });
            json_stream::write(out, &message);
        }
    }

    fn answer(&mut self, answer: &Answer<'_>, out: &mut Outgoing) {
        if !self.stream.is_on() {
            return;
        }
        match answer {
            Answer::Marked { name, result: MarkResult::Played, .. } => {
                let sequence = self.stream.next_sequence();
                let message = json!({
                    "event": "playedStream", "sequenceNumber": sequence, "streamId": self.hex, "name": name,
                });
                json_stream::write(out, &message);
            }
            Answer::Cleared { .. } => {
                let sequence = self.stream.next_sequence();
                let message =
                    json!({ "event": "clearedAudio", "sequenceNumber": sequence, "streamId": self.hex });
                json_stream::write(out, &message);
            }
            Answer::Marked { result: MarkResult::Cleared, .. } | Answer::Position { .. } => {}
        }
    }

    fn understand<'a>(
        &mut self,
        message: Incoming<'a>,
        scratch: &'a mut Vec<u8>,
        _out: &mut Outgoing,
    ) -> Result<Said<'a>, (Mistake, Option<String>)> {
        let Incoming::Text(text) = message else { return Err((Mistake::Binary, None)) };
        self.read(text, scratch).map_err(|mistake| (mistake, None))
    }
}

#[derive(Deserialize)]
struct FromBot<'a> {
    #[serde(borrow, default)]
    event: Option<Text<'a>>,
    #[serde(borrow, default)]
    media: Option<Media<'a>>,
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Media<'a> {
    #[serde(borrow, default)]
    payload: Option<Text<'a>>,
    #[serde(borrow, default)]
    content_type: Option<Text<'a>>,
    #[serde(default)]
    sample_rate: Option<Value>,
}
