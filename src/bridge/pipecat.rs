//! Pipecat's own protocol: one protobuf message, `Frame`, in each binary websocket message.
//!
//! ```text
//!   Frame { oneof: text = 1, audio = 2 { audio = 3, sample_rate = 4, num_channels = 5 }, transcription = 3,
//!           message = 4 { data = 1: JSON }, interruption = 5 }
//! ```
//!
//! Towards the bot: audio, and who calls as a `message`. From it: audio of any rate that it says, and interruptions, which
//! clear. It has no marks; closing the socket is its way to let go of the call. The few rules of the encoding that are needed
//! (varints, length-delimited fields, others skipped) are here: protobuf encoding, <https://protobuf.dev/programming-guides/encoding/>.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::time::{Duration, Instant};

use bytes::{BufMut, BytesMut};
use media::{AudioFormat, Digit, SampleRate};
use serde_json::json;

use super::border::Border;
use super::json_stream::{self, Stream};
use super::language::Language;
use super::said::{Answer, Heard, Incoming, Mistake, Said};
use super::{Form, Outgoing};
use crate::call::{DtmfMethod, EngineEvent, EngineStart, LegId};

/// Fields of `Frame`.
const AUDIO: u64 = 2;
const MESSAGE: u64 = 4;
const INTERRUPTION: u64 = 5;

/// One conversation.
#[derive(Debug)]
pub(super) struct Pipecat {
    border: Border,
    room: BytesMut,
    stream: Stream,
}

impl Pipecat {
    pub(super) fn new(rate: SampleRate) -> Self {
        let border = Border::new(AudioFormat::L16 { rate });
        Self { border, room: BytesMut::new(), stream: Stream::default() }
    }

    fn begin(&mut self, now: Instant, start: &EngineStart, out: &mut Outgoing) {
        if self.stream.begin(now) {
            let data = json!({ "type": "start", "data": json_stream::parameters(start) });
            message(out, &data.to_string());
        }
    }

    fn read<'a>(&mut self, bytes: &'a [u8]) -> Result<Said<'a>, Mistake> {
        let mut frame = Fields { rest: bytes };
        while let Some((field, value)) = frame.next()? {
            match (field, value) {
                (AUDIO, Wire::Bytes(audio)) => return self.audio(audio),
                (INTERRUPTION, Wire::Bytes(_)) => {
                    self.stream.next_segment();
                    return Ok(Said::Clear { id: None, segment: None });
                }
                (_, Wire::Bytes(_) | Wire::Number(_) | Wire::Other) => {}
            }
        }
        Ok(Said::Nothing)
    }

    fn audio<'a>(&self, bytes: &'a [u8]) -> Result<Said<'a>, Mistake> {
        let mut fields = Fields { rest: bytes };
        let (mut audio, mut hertz, mut channels) =
            (&[][..], u64::from(self.border.format().rate().hertz()), 1);
        while let Some((field, value)) = fields.next()? {
            match (field, value) {
                (3, Wire::Bytes(bytes)) => audio = bytes,
                (4, Wire::Number(number)) => hertz = number,
                (5, Wire::Number(number)) => channels = number,
                (_, Wire::Bytes(_) | Wire::Number(_) | Wire::Other) => {}
            }
        }
        if channels > 1 {
            return Err(Mistake::Field { field: "num_channels", must: "must be 1" });
        }
        let wrong = Mistake::Field { field: "sample_rate", must: "must be 8000, 16000, 24000 or 48000" };
        let rate =
            u32::try_from(hertz).ok().and_then(|hertz| SampleRate::try_from(hertz).ok()).ok_or(wrong)?;
        if audio.is_empty() {
            return Ok(Said::Nothing);
        }
        let segment = self.stream.segment();
        Ok(Said::Audio { segment, format: AudioFormat::L16 { rate }, payload: audio, last: false })
    }
}

impl Language for Pipecat {
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
        self.room.clear();
        self.border.outward(heard, &mut self.room);
        let (audio, rate) = (&self.room, u64::from(self.border.format().rate().hertz()));
        let inner = 1 + varint_length(audio.len() as u64) + audio.len() + 1 + varint_length(rate) + 2;
        out.write(Form::Binary, |bytes| {
            put_key(bytes, AUDIO, 2);
            put_varint(bytes, inner as u64);
            put_key(bytes, 3, 2);
            put_varint(bytes, audio.len() as u64);
            bytes.put_slice(audio);
            put_key(bytes, 4, 0);
            put_varint(bytes, rate);
            put_key(bytes, 5, 0);
            put_varint(bytes, 1);
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
            let data = json!({ "type": "dtmf", "data": { "digit": digit.as_char().to_string() } });
            message(out, &data.to_string());
        }
    }

    /// It has no words for what became of its audio.
    fn answer(&mut self, _answer: &Answer<'_>, _out: &mut Outgoing) {}

    fn understand<'a>(
        &mut self,
        message: Incoming<'a>,
        _scratch: &'a mut Vec<u8>,
        _out: &mut Outgoing,
    ) -> Result<Said<'a>, (Mistake, Option<String>)> {
        match message {
            Incoming::Binary(bytes) => self.read(bytes).map_err(|mistake| (mistake, None)),
            Incoming::Text(_) => {
                Err((Mistake::Malformed("this dialect speaks in binary messages".into()), None))
            }
        }
    }
}

/// A `message` frame.
fn message(out: &mut Outgoing, data: &str) {
    let inner = 1 + varint_length(data.len() as u64) + data.len();
    out.write(Form::Binary, |bytes| {
        put_key(bytes, MESSAGE, 2);
        put_varint(bytes, inner as u64);
        put_key(bytes, 1, 2);
        put_varint(bytes, data.len() as u64);
        bytes.put_slice(data.as_bytes());
    });
}

/// The fields of one message, in the order they came.
struct Fields<'a> {
    rest: &'a [u8],
}

enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of a fixed length; nothing that is looked at.
    Other,
}

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<Option<(u64, Wire<'a>)>, Mistake> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Wire::Number(self.varint()?),
            1 => {
                self.take(8)?;
                Wire::Other
            }
            2 => {
                let length = self.varint()?;
                Wire::Bytes(self.take(usize::try_from(length).map_err(|_| cut_short())?)?)
            }
            5 => {
                self.take(4)?;
                Wire::Other
            }
            _ => return Err(Mistake::Malformed("a protobuf field of an unknown type".into())),
        };
        Ok(Some((key >> 3, value)))
    }

    fn varint(&mut self) -> Result<u64, Mistake> {
        let mut value = 0;
        for place in 0..10 {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7F) << (7 * place).min(63);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Mistake::Malformed("a protobuf number of more than ten bytes".into()))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Mistake> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(cut_short)?;
        self.rest = rest;
        Ok(taken)
    }
}

fn cut_short() -> Mistake {
    Mistake::Malformed("the protobuf message is cut short".into())
}

fn put_key(bytes: &mut BytesMut, field: u64, kind: u64) {
    put_varint(bytes, field << 3 | kind);
}

fn put_varint(bytes: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        bytes.put_u8((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    bytes.put_u8(value as u8);
}

fn varint_length(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}
