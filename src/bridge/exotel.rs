//! Exotel AgentStream, bidirectional: Twilio's shape in snake case, linear audio.
//!
//! ```text
//!   edge -> bot   connected, start, media…, dtmf, mark, stop; then the socket closes
//!   bot -> edge   media, mark, clear; closing the socket is its way to let go of the call
//! ```
//!
//! Audio is 16-bit linear, little-endian, 100 ms a message towards the bot, at the engine's `sample_rate`. From the bot
//! any length is taken, also what the original would play with gaps.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::time::{Duration, Instant};

use bytes::BytesMut;
use media::{AudioFormat, Digit, SampleRate};
use serde_json::json;

use super::border::Border;
use super::json_stream::{self, Stream, put, put_base64, put_number};
use super::language::Language;
use super::said::{Answer, Heard, Incoming, Mistake, Said};
use super::{Form, Outgoing, telnyx};
use crate::call::{CallId, DtmfMethod, EngineEvent, EngineStart, LegId};

/// Beats in one message.
const BEATS: usize = 5;

/// One stream of one call.
#[derive(Debug)]
pub(super) struct Exotel {
    hex: String,
    border: Border,
    /// Audio of the message that is being filled.
    room: BytesMut,
    timestamp: u64,
    stream: Stream,
}

impl Exotel {
    pub(super) fn new(call: CallId, rate: SampleRate) -> Self {
        let format = AudioFormat::L16 { rate };
        let room = BytesMut::with_capacity(BEATS * format.bytes_per_beat());
        let hex = json_stream::hex(call);
        Self { hex, border: Border::new(format), room, timestamp: 0, stream: Stream::default() }
    }

    fn begin(&mut self, now: Instant, start: &EngineStart, out: &mut Outgoing) {
        if !self.stream.begin(now) {
            return;
        }
        json_stream::write(out, &json!({ "event": "connected" }));
        let sequence = self.stream.next_sequence();
        let rate = self.border.format().rate().hertz();
        let message = json!({
            "event": "start", "sequence_number": sequence, "stream_sid": self.hex,
            "start": {
                "stream_sid": self.hex, "call_sid": self.hex, "account_sid": start.provider.as_str(),
                "from": start.from, "to": start.to, "custom_parameters": json_stream::parameters(start),
                "media_format": {
                    "encoding": "audio/x-raw", "sample_rate": rate.to_string(), "bit_rate": (rate * 16).to_string(),
                },
            },
        });
        json_stream::write(out, &message);
    }

    fn stop(&mut self, out: &mut Outgoing) {
        if self.stream.is_on() && !self.room.is_empty() {
            self.send(out);
        }
        if self.stream.stop() {
            let sequence = self.stream.next_sequence();
            let message = json!({
                "event": "stop", "sequence_number": sequence, "stream_sid": self.hex,
                "stop": { "call_sid": self.hex, "reason": "callended" },
            });
            json_stream::write(out, &message);
        }
    }

    fn send(&mut self, out: &mut Outgoing) {
        let (sequence, chunk) = (self.stream.next_sequence(), self.stream.next_chunk());
        let (room, timestamp) = (&mut self.room, self.timestamp);
        out.write(Form::Text, |text| {
            put(text, "{\"event\":\"media\",\"sequence_number\":");
            put_number(text, sequence);
            put(text, ",\"stream_sid\":\"");
            put(text, &self.hex);
            put(text, "\",\"media\":{\"chunk\":");
            put_number(text, chunk);
            put(text, ",\"timestamp\":\"");
            put_number(text, timestamp);
            put(text, "\",\"payload\":\"");
            put_base64(text, room);
            put(text, "\"}}");
        });
        self.room.clear();
    }
}

impl Language for Exotel {
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
        if self.room.is_empty() {
            self.timestamp = self.stream.timestamp(heard);
        }
        self.border.outward(heard, &mut self.room);
        if self.room.len() >= BEATS * self.border.format().bytes_per_beat() {
            self.send(out);
        }
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
            let sequence = self.stream.next_sequence();
            let message = json!({
                "event": "dtmf", "sequence_number": sequence, "stream_sid": self.hex,
                "dtmf": { "digit": digit.as_char().to_string(), "duration": duration.as_millis().to_string() },
            });
            json_stream::write(out, &message);
        }
    }

    fn answer(&mut self, answer: &Answer<'_>, out: &mut Outgoing) {
        match answer {
            Answer::Marked { name, .. } if self.stream.is_on() => {
                let sequence = self.stream.next_sequence();
                let message = json!({
                    "event": "mark", "sequence_number": sequence, "stream_sid": self.hex, "mark": { "name": name },
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
        telnyx::understand(message, scratch, &mut self.stream, self.border.format())
            .map_err(|mistake| (mistake, None))
    }
}
