//! What the JSON dialects of carriers have in common: where the stream stands, audio in base64, text that may be escaped.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Instant;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use bytes::{BufMut, BytesMut};
use media::SegmentId;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::border::Border;
use super::said::{Heard, Incoming, Mistake};
use super::{Form, Outgoing};
use crate::call::{CallId, EngineStart};

/// Bots pad, or do not.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Where a stream stands, and its counters.
#[derive(Debug, Default)]
pub(super) struct Stream {
    state: State,
    sequence: u64,
    chunk: u64,
    /// These dialects have no segments: each clear ends one, so that what comes after it is played.
    segment: u32,
}

/// ```text
///   Silent -- start --> Streaming -- stop --> Stopped
/// ```
#[derive(Debug, Default, Clone, Copy)]
enum State {
    #[default]
    Silent,
    Streaming {
        began: Instant,
    },
    Stopped,
}

impl Stream {
    /// Whether it begins now: it does so once.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        let silent = matches!(self.state, State::Silent);
        if silent {
            self.state = State::Streaming { began: now };
        }
        silent
    }

    /// Whether it ends now.
    pub(super) fn stop(&mut self) -> bool {
        matches!(std::mem::replace(&mut self.state, State::Stopped), State::Streaming { .. })
    }

    /// When it began, while it goes on.
    pub(super) fn began(&self) -> Option<Instant> {
        match self.state {
            State::Streaming { began } => Some(began),
            State::Silent | State::Stopped => None,
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.began().is_some()
    }

    /// The number of the next message, from 1.
    pub(super) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// The number of the next chunk of audio, from 1.
    pub(super) fn next_chunk(&mut self) -> u64 {
        self.chunk += 1;
        self.chunk
    }

    pub(super) fn segment(&self) -> SegmentId {
        SegmentId(self.segment)
    }

    /// What comes after a clear belongs to another segment.
    pub(super) fn next_segment(&mut self) {
        self.segment = self.segment.wrapping_add(1) & super::HIGHEST_SEGMENT;
    }

    /// Milliseconds from the beginning to when a packet came.
    pub(super) fn timestamp(&self, heard: &Heard<'_>) -> u64 {
        let since = self.began().map(|began| heard.captured.saturating_duration_since(began));
        since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// Borrowed unless it has escapes (PHP writes `/` as `\/`).
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// A message whose fields are looked at one by one.
///
/// # Errors
/// When it is no text with a JSON object.
pub(super) fn object(message: Incoming<'_>) -> Result<Map<String, Value>, Mistake> {
    let Incoming::Text(text) = message else { return Err(Mistake::Binary) };
    Ok(serde_json::from_str(text)?)
}

/// Writes a message.
pub(super) fn write(out: &mut Outgoing, message: &Value) {
    // Writing to a growing buffer has no error of its own.
    out.write(Form::Text, |text| write!(text, "{message}").unwrap_or_default());
}

/// Writes a number.
pub(super) fn put_number(text: &mut BytesMut, number: u64) {
    write!(text, "{number}").unwrap_or_default();
}

/// Writes a leg's audio as the engine hears it, in base64. `room` is used again.
pub(super) fn put_audio(text: &mut BytesMut, border: &mut Border, room: &mut BytesMut, heard: &Heard<'_>) {
    room.clear();
    border.outward(heard, room);
    put_base64(text, room);
}

/// Writes bytes in base64.
pub(super) fn put_base64(text: &mut BytesMut, bytes: &[u8]) {
    let begin = text.len();
    text.resize(begin + bytes.len().div_ceil(3) * 4, 0);
    STANDARD
        .encode_slice(bytes, &mut text[begin..])
        .expect("base64 takes four bytes for three, which is what was made room for");
}

/// Reads bytes from base64 into `scratch`.
///
/// # Errors
/// When it is none.
pub(super) fn decode(base64: &str, scratch: &mut Vec<u8>) -> Result<(), Mistake> {
    scratch.clear();
    LENIENT.decode_vec(base64, scratch).map_err(|_| Mistake::NotBase64)
}

/// 32 hexadecimal digits that name the call.
pub(super) fn hex(call: CallId) -> String {
    format!("{:032x}", call.as_u128())
}

/// What a bot finds among its parameters, all of it text. The configuration's own parameters cannot be overruled by a
/// context, which may have come in with the call; numbers and call id are always ours.
pub(super) fn parameters(start: &EngineStart) -> Map<String, Value> {
    let mut parameters = Map::new();
    for (name, value) in &start.context.merge_fields {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                value.to_string()
            }
        };
        parameters.insert(name.clone(), Value::String(value));
    }
    let context = &start.context;
    let fields = [
        ("tenant_id", &context.tenant_id),
        ("campaign_id", &context.campaign_id),
        ("contact_id", &context.contact_id),
        ("intent", &context.intent),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            parameters.insert(name.into(), Value::String(value.clone()));
        }
    }
    for (name, value) in &start.parameters {
        parameters.insert(name.clone(), Value::String(value.clone()));
    }
    parameters.insert("from_number".into(), Value::String(start.from.clone()));
    parameters.insert("to_number".into(), Value::String(start.to.clone()));
    parameters.insert("call_id".into(), Value::String(start.call.to_string()));
    parameters
}

/// Writes the bytes of a literal.
pub(super) fn put(text: &mut BytesMut, literal: &str) {
    text.put_slice(literal.as_bytes());
}
