//! The JSON messages of `edge.v1`. `docs/engine/schemas` says the same in JSON Schema, held together by a test.
//!
//! Towards us, fields that we do not know are passed over, so that an engine of tomorrow can speak to an edge
//! of today; a type that we do not know is answered with an error, so that nobody waits for its effect.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::borrow::Cow;
use std::time::Duration;

use media::{Digit, MarkResult, SegmentId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::frame::{FrameCodec, HIGHEST_SEGMENT};
use super::replay::Position;
use crate::bridge::said::{Mistake, Said};
use crate::call::{
    CallId, Context, Direction, DtmfMethod, EndReason, EngineCommand, Identity, LegRole, MachineForHuman,
    Mode, OnFailure, ProviderKey, Timestamp, TransferManner, TransferState, TransferStyle,
};

/// Digits in one order.
const MOST_DIGITS: usize = 32;

/// How long a digit may be told to last (RFC 4733 leaves it open; so much fits one event).
const DIGIT_MS: std::ops::RangeInclusive<u32> = 40..=8_000;

/// The length of a digit when none is given.
const USUAL_DIGIT_MS: u32 = 100;

/// What we write.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ToEngine<'a> {
    Start(Box<Start<'a>>),
    Resume(Box<Resume<'a>>),
    EarlyMedia {},
    Answered {},
    Hold {},
    Resumed {},
    Transfer {
        re: Option<&'a str>,
        state: TransferState,
        sip: Option<SipStatus<'a>>,
    },
    Context {
        context: &'a Context,
    },
    Mode {
        mode: Mode,
    },
    Dtmf {
        track: u8,
        digit: char,
        duration_ms: u32,
        method: DtmfMethod,
    },
    SpeechStarted {
        track: u8,
        at_ms: u64,
        interrupts: bool,
    },
    SpeechStopped {
        track: u8,
        at_ms: u64,
    },
    Quality {
        track: u8,
        mos: Option<f32>,
        jitter_ms: Option<f32>,
        loss_pct: Option<f32>,
        rtt_ms: Option<f32>,
    },
    Latency {
        response_ms: Option<u64>,
        barge_in_ms: Option<u64>,
    },
    Mark {
        name: &'a str,
        result: &'static str,
        played_ms: u32,
    },
    Cleared {
        re: Option<&'a str>,
        segment: Option<u32>,
        played_ms: u32,
        dropped_ms: u32,
    },
    Playout {
        segment: u32,
        played_ms: u32,
        buffered_ms: u32,
        underruns: u32,
    },
    Error {
        code: &'a str,
        fatal: bool,
        re: Option<&'a str>,
        message: &'a str,
    },
    Stop {
        reason: EndReason,
    },
}

#[derive(Debug, Serialize)]
pub(super) struct Start<'a> {
    pub(super) version: u8,
    pub(super) call_id: CallId,
    pub(super) provider: &'a ProviderKey,
    pub(super) direction: Direction,
    pub(super) from: &'a str,
    pub(super) to: &'a str,
    pub(super) identity: &'a Identity,
    pub(super) mode: Mode,
    pub(super) started_at: Timestamp,
    pub(super) context: &'a Context,
    pub(super) parameters: Parameters<'a>,
    pub(super) sip: Sip<'a>,
    pub(super) tracks: [TrackPart; 1],
    pub(super) audio: AudioPart,
    pub(super) window_ms: u64,
    pub(super) limit_ms: u64,
    pub(super) resume: Option<ResumePart<'a>>,
}

#[derive(Debug, Serialize)]
pub(super) struct ResumePart<'a> {
    pub(super) token: &'a str,
    pub(super) within_ms: u64,
    pub(super) replay_ms: u32,
}

#[derive(Debug, Serialize)]
pub(super) struct Resume<'a> {
    pub(super) version: u8,
    pub(super) token: Option<&'a str>,
    pub(super) away_ms: u64,
    pub(super) heard: HeardPart,
    pub(super) kept: Vec<KeptPart>,
    pub(super) playout: Option<PlayoutPart>,
    pub(super) start: Start<'a>,
}

/// How far one side has heard the other.
#[derive(Debug, Serialize)]
pub(super) struct HeardPart {
    pub(super) audio: Vec<HeardTrack>,
    pub(super) messages: Option<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HeardTrack {
    pub(super) track: u8,
    pub(super) seq: u32,
}

/// What of a track can be told again.
#[derive(Debug, Serialize)]
pub(super) struct KeptPart {
    pub(super) track: u8,
    pub(super) from_seq: u32,
    pub(super) to_seq: u32,
}

#[derive(Debug, Serialize)]
pub(super) struct PlayoutPart {
    pub(super) segment: u32,
    pub(super) played_ms: u32,
    pub(super) buffered_ms: u32,
    pub(super) underruns: u32,
}

#[derive(Debug, Serialize)]
pub(super) struct Sip<'a> {
    pub(super) call_id: &'a str,
    pub(super) headers: &'a [(String, String)],
}

#[derive(Debug, Serialize)]
pub(super) struct TrackPart {
    pub(super) track: u8,
    pub(super) role: LegRole,
}

#[derive(Debug, Serialize)]
pub(super) struct AudioPart {
    pub(super) codec: &'static str,
    pub(super) codecs: [&'static str; FrameCodec::ALL.len()],
}

#[derive(Debug, Serialize)]
pub(super) struct SipStatus<'a> {
    pub(super) code: u16,
    pub(super) reason: &'a str,
}

/// An object, in the order of the configuration.
#[derive(Debug)]
pub(super) struct Parameters<'a>(pub(super) &'a [(String, String)]);

impl Serialize for Parameters<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// A mark's result as written.
pub(super) fn result_word(result: MarkResult) -> &'static str {
    match result {
        MarkResult::Played => "played",
        MarkResult::Cleared => "cleared",
    }
}

/// What we read first of any message.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
}

/// Borrowed unless it has escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// What was read of a message: what it says to the call, and what it says to the dialect.
#[derive(Debug, PartialEq)]
pub(super) struct Read<'a> {
    pub(super) said: Said<'a>,
    pub(super) aside: Aside,
}

/// What concerns nobody but the dialect itself.
#[derive(Debug, PartialEq)]
pub(super) enum Aside {
    /// An `accept`: what the engine wants to hear, whether it can resume, and how far it has heard.
    Accepted {
        codec: Option<FrameCodec>,
        resumes: bool,
        heard: Option<Position>,
    },
    /// How far the engine has heard.
    Acknowledged(Position),
    /// The engine has a trouble.
    Troubled,
    Nothing,
}

/// The number that an engine has given its message.
pub(super) fn sequence(text: &str) -> Option<u32> {
    #[derive(Deserialize)]
    struct Numbered {
        seq: u32,
    }
    serde_json::from_str(text).ok().map(|Numbered { seq }| seq)
}

/// Reads one message.
///
/// # Errors
/// What is wrong with it, and its `id` where that could be read.
pub(super) fn read(text: &str) -> Result<Read<'_>, (Mistake, Option<String>)> {
    if text.trim_start().starts_with('[') {
        return Err((Mistake::Malformed("a message is an object".into()), None));
    }
    let head: Head<'_> = serde_json::from_str(text).map_err(|error| (error.into(), None))?;
    let id = head.id.map(|Text(id)| id);
    let re = id.as_deref().map(str::to_owned);
    body(&head.kind, id, text).map_err(|mistake| (mistake, re))
}

fn body<'a>(kind: &str, id: Option<Cow<'a, str>>, text: &'a str) -> Result<Read<'a>, Mistake> {
    let owned = |id: Option<Cow<'a, str>>| id.map(Cow::into_owned);
    let said = match kind {
        "accept" => {
            let accept: Accept<'_> = serde_json::from_str(text)?;
            let codec = accept.codec()?;
            let heard = accept.heard.map(|heard| heard.0.position()).transpose()?;
            let aside = Aside::Accepted { codec, resumes: accept.resume, heard };
            return Ok(Read { said: Said::Command(EngineCommand::Accept), aside });
        }
        "ack" => {
            let heard: HeardMessage = serde_json::from_str(text)?;
            return Ok(Read { said: Said::Nothing, aside: Aside::Acknowledged(heard.position()?) });
        }
        "ring" => Said::Command(EngineCommand::Ring),
        "early_media" => Said::Command(EngineCommand::EarlyMedia),
        "reject" => Said::Command(serde_json::from_str::<Reject>(text)?.command()?),
        "redirect" => {
            let redirect: Redirect = serde_json::from_str(text)?;
            Said::Command(EngineCommand::Redirect { to: redirect.to.0.one()? })
        }
        "clear" => {
            let clear: Clear = serde_json::from_str(text)?;
            Said::Clear { id, segment: clear.segment.map(segment).transpose()? }
        }
        "mark" => Said::Mark { id, name: serde_json::from_str::<Mark<'_>>(text)?.name },
        "pause" => Said::Pause,
        "resume" => Said::Resume,
        "finish" => {
            let finish: Finish = serde_json::from_str(text)?;
            Said::Finish { segment: segment(finish.segment)? }
        }
        "dtmf" => {
            let dtmf: Dtmf<'_> = serde_json::from_str(text)?;
            Said::Dtmf { id, digits: dtmf.digits()?, duration: dtmf.duration()? }
        }
        "transfer" => {
            let transfer: Transfer = serde_json::from_str(text)?;
            Said::Command(transfer.command(owned(id))?)
        }
        "mode" => {
            let ModeMessage { mode, to, reason } = serde_json::from_str(text)?;
            let to = to.map(|to| to.0.one()).transpose()?;
            Said::Command(EngineCommand::Mode { id: owned(id), mode, to, reason })
        }
        "switch_engine" => {
            let SwitchEngine { engine, reason } = serde_json::from_str(text)?;
            Said::Command(EngineCommand::SwitchEngine { id: owned(id), engine, reason })
        }
        "hang_up" => {
            let HangUp { reason, drain } = serde_json::from_str(text)?;
            Said::Command(EngineCommand::HangUp { id: owned(id), reason, drain })
        }
        "context" => {
            let message: ContextMessage = serde_json::from_str(text)?;
            Said::Command(EngineCommand::Context(message.context.0.into()))
        }
        // An engine may tell us of its troubles; there is nothing to obey.
        "error" => return Ok(Read { said: Said::Nothing, aside: Aside::Troubled }),
        unknown => return Err(Mistake::UnknownType(shorten(unknown))),
    };
    Ok(Read { said, aside: Aside::Nothing })
}

fn segment(number: u32) -> Result<SegmentId, Mistake> {
    let wrong = Mistake::Field { field: "segment", must: "must not be above 2147483647" };
    (number <= HIGHEST_SEGMENT).then_some(SegmentId(number)).ok_or(wrong)
}

fn shorten(text: &str) -> String {
    text.chars().take(64).collect()
}

#[derive(Deserialize)]
struct Accept<'a> {
    #[serde(borrow, default)]
    codec: Option<Text<'a>>,
    #[serde(default)]
    resume: bool,
    #[serde(default, deserialize_with = "given")]
    heard: Option<Object<HeardMessage>>,
}

impl Accept<'_> {
    fn codec(&self) -> Result<Option<FrameCodec>, Mistake> {
        let Some(Text(name)) = &self.codec else { return Ok(None) };
        let must = "must be one of start.audio.codecs";
        FrameCodec::from_name(name).map(Some).ok_or(Mistake::Field { field: "codec", must })
    }
}

#[derive(Deserialize)]
struct HeardMessage {
    #[serde(default)]
    audio: Vec<Object<HeardTrack>>,
    #[serde(default)]
    messages: Option<u32>,
}

impl HeardMessage {
    fn position(self) -> Result<Position, Mistake> {
        let mut position = Position { messages: self.messages, ..Position::default() };
        for Object(HeardTrack { track, seq }) in self.audio {
            let wrong = Mistake::Field { field: "track", must: "must be 0 or 1" };
            *position.tracks.get_mut(usize::from(track)).ok_or(wrong)? = Some(seq);
        }
        Ok(position)
    }
}

#[derive(Deserialize)]
struct Reject {
    #[serde(default)]
    sip_code: Option<u16>,
    #[serde(default)]
    reason: Option<String>,
}

impl Reject {
    fn command(self) -> Result<EngineCommand, Mistake> {
        let status = self.sip_code.unwrap_or(603);
        if !(300..700).contains(&status) {
            return Err(Mistake::Field { field: "sip_code", must: "must be from 300 to 699" });
        }
        let reason = self.reason.unwrap_or_else(|| String::from("Declined"));
        if reason.contains(char::is_control) {
            return Err(Mistake::Field { field: "reason", must: "must be one line" });
        }
        Ok(EngineCommand::Reject { status, reason })
    }
}

/// Read from an object and nothing else: a derived `Deserialize` would take a list for one, by position.
struct Object<T>(T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = Map::deserialize(deserializer)?;
        T::deserialize(Value::Object(map)).map(Self).map_err(serde::de::Error::custom)
    }
}

/// Exactly one of the two.
#[derive(Deserialize)]
struct Target {
    #[serde(default)]
    number: Option<String>,
    #[serde(default)]
    sip_uri: Option<String>,
}

impl Target {
    fn one(self) -> Result<String, Mistake> {
        let wrong = |must| Mistake::Field { field: "to", must };
        let to = match (self.number, self.sip_uri) {
            (Some(number), None) => number,
            (None, Some(uri)) if uri.starts_with("sip:") || uri.starts_with("sips:") => uri,
            (None, Some(_)) => return Err(wrong("sip_uri must begin with sip: or sips:")),
            (None, None) | (Some(_), Some(_)) => return Err(wrong("must have either number or sip_uri")),
        };
        if to.is_empty() || to.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err(wrong("must not be empty and must not have spaces"));
        }
        Ok(to)
    }
}

/// Left out or an object; null is neither.
fn given<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Object<T>>, D::Error> {
    Object::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
struct Redirect {
    to: Object<Target>,
}

#[derive(Deserialize)]
struct Clear {
    #[serde(default)]
    segment: Option<u32>,
}

#[derive(Deserialize)]
struct Mark<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Finish {
    segment: u32,
}

#[derive(Deserialize)]
struct Dtmf<'a> {
    #[serde(borrow)]
    digits: Cow<'a, str>,
    #[serde(default)]
    duration_ms: Option<u32>,
}

impl Dtmf<'_> {
    fn digits(&self) -> Result<Vec<Digit>, Mistake> {
        let must = "must be 1 to 32 of 0-9, *, #, A-D";
        let digits: Result<Vec<Digit>, _> = self.digits.chars().map(Digit::try_from).collect();
        digits
            .ok()
            .filter(|digits| (1..=MOST_DIGITS).contains(&digits.len()))
            .ok_or(Mistake::Field { field: "digits", must })
    }

    fn duration(&self) -> Result<Duration, Mistake> {
        let ms = self.duration_ms.unwrap_or(USUAL_DIGIT_MS);
        let wrong = Mistake::Field { field: "duration_ms", must: "must be from 40 to 8000" };
        DIGIT_MS.contains(&ms).then(|| Duration::from_millis(ms.into())).ok_or(wrong)
    }
}

#[derive(Deserialize)]
struct Transfer {
    to: Object<Target>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    style: Option<TransferStyle>,
    #[serde(default)]
    announce: Option<String>,
    #[serde(default)]
    on_failure: Option<OnFailure>,
    #[serde(default)]
    then: Vec<Object<Target>>,
    #[serde(default)]
    on_machine: Option<MachineForHuman>,
    #[serde(default)]
    assist_after: bool,
}

impl Transfer {
    fn command(self, id: Option<String>) -> Result<EngineCommand, Mistake> {
        let manner = TransferManner {
            style: self.style.unwrap_or_default(),
            announce: self.announce,
            on_failure: self.on_failure.unwrap_or_default(),
            then: self.then.into_iter().map(|further| further.0.one()).collect::<Result<_, _>>()?,
            on_machine: self.on_machine,
            assist_after: self.assist_after,
        };
        Ok(EngineCommand::Transfer { id, to: self.to.0.one()?, reason: self.reason, manner })
    }
}

#[derive(Deserialize)]
struct ModeMessage {
    mode: Mode,
    #[serde(default, deserialize_with = "given")]
    to: Option<Object<Target>>,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Deserialize)]
struct SwitchEngine {
    engine: String,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Deserialize)]
struct HangUp {
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    drain: bool,
}

#[derive(Deserialize)]
struct ContextMessage {
    context: Object<LenientContext>,
}

/// A [`Context`] whose unknown fields are passed over, as everywhere on this socket.
#[derive(Deserialize)]
struct LenientContext {
    #[serde(default)]
    tenant_id: Option<String>,
    #[serde(default)]
    campaign_id: Option<String>,
    #[serde(default)]
    contact_id: Option<String>,
    #[serde(default)]
    intent: Option<String>,
    #[serde(default)]
    merge_fields: Map<String, Value>,
}

impl From<LenientContext> for Context {
    fn from(lenient: LenientContext) -> Self {
        let LenientContext { tenant_id, campaign_id, contact_id, intent, merge_fields } = lenient;
        Self { tenant_id, campaign_id, contact_id, intent, merge_fields }
    }
}
