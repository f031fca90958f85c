//! Genesys AudioHook, the platform's side of a call on a websocket that the platform has opened.
//! ```text
//!   platform -> open                     -> [Opening]  we decide ---- take ----> opened, [Open]
//!               audio, ping, paused …    -> [Open]     <- pong, event, audio (bots)
//!               close                    -> [Closing]  we leave ----> closed, [Over]
//!   we leave first: disconnect -> [Leaving] -- close --> closed, [Over]
//! ```
//! Audio is PCMU without a header: the channels of what was agreed, sample by sample. A session with both sides of a
//! conversation is there to be listened to, and the platform takes offence at audio from us; one with the external side alone
//! is a bot's, and hears us in packets of 200 ms. An `open` about nobody's conversation asks whether we are there.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod message;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use bytes::BufMut;
use media::Digit;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use self::message::{
    Close, Closed, Discarded, Disconnect, Dtmf, Entity, Event, FromPlatform, Media, Nothing, Open, Opened,
    Ping, ToPlatform, Trouble, duration,
};
use super::{Form, Incoming, Outgoing};
use crate::call::Context;

/// The conversation of nobody.
const PROBE: &str = "00000000-0000-0000-0000-000000000000";

/// The longest text.
const TEXT_MAX: usize = 65_535;

/// The longest audio: more than two seconds of two channels.
const AUDIO_MAX: usize = 40_000;

/// Bytes of a channel in 20 ms.
pub const HOOK_FRAME: usize = 160;

/// Bytes of a packet of ours: shorter ones, and so more of them, are refused by the platform as too many.
const PACKET: usize = 1600;

/// Texts that may come at once, and a second after that.
const TEXTS: (f64, f64) = (60.0, 10.0);

/// Seconds of audio that may come at once; after that a second a second, and a little for clocks that differ.
const AUDIO: (f64, f64) = (20.0, 1.05);

/// The most sessions that go on in another.
const CONTINUED: usize = 16;

/// The longest text of the platform that is kept.
const KEPT: usize = 256;

/// The channels of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookChannels {
    /// Both sides of a conversation, to be listened to. Which of the two channels is the external one.
    Both {
        /// 0 or 1.
        external: usize,
    },
    /// The external side alone, to be spoken with.
    External,
}

impl HookChannels {
    /// How many.
    pub fn count(self) -> usize {
        match self {
            Self::Both { .. } => 2,
            Self::External => 1,
        }
    }
}

/// What an `open` says.
#[derive(Debug, Clone, PartialEq)]
pub struct HookOpen {
    /// Whose session it says it is.
    pub organization: String,
    /// The platform's name for the conversation.
    pub conversation: String,
    /// Who calls.
    pub from: String,
    /// As what they are shown.
    pub name: String,
    /// Who was called.
    pub to: String,
    /// The language, where one is known.
    pub language: Option<String>,
    /// What of the offered media is taken.
    pub channels: HookChannels,
    /// Sessions that go on in this one.
    pub continued: Vec<String>,
    /// What the flow has handed over.
    pub context: Context,
    /// All of it.
    pub raw: Box<RawText>,
}

/// JSON as it came.
#[derive(Debug, Clone)]
pub struct RawText(pub Box<RawValue>);

impl PartialEq for RawText {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

/// What the platform said.
#[derive(Debug, Clone, PartialEq)]
pub enum HookSaid {
    /// Here is a conversation.
    Open(Box<HookOpen>),
    /// Are you there? It was answered.
    Probe,
    /// Audio: [`AudioHook::next_frame`] has it.
    Audio,
    /// A key was pressed.
    Digit(Digit),
    /// No audio comes for now.
    Paused,
    /// It comes again.
    Resumed,
    /// It is over; what is left is to [`AudioHook::leave`].
    Closing {
        /// In the platform's word.
        reason: String,
    },
    /// It is over, and everything is said.
    Closed,
    /// Nothing that matters to the call.
    Nothing,
}

/// What the platform did wrong, in AudioHook's numbers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HookFault {
    /// Not a message, or one that may not come now.
    #[error("400 {0}")]
    Malformed(&'static str),
    /// What the signature does not speak for.
    #[error("409 {0}")]
    Conflict(&'static str),
    /// Longer than allowed.
    #[error("413 a message is too long")]
    TooLong,
    /// None of the offered media can be used.
    #[error("415 none of the offered media can be used: PCMU at 8000 Hz, the external channel or both")]
    Media,
    /// More than a session may say.
    #[error("429 too much is sent")]
    TooMuch,
    /// Told by the platform, and it means the end.
    #[error("the platform said: {0}")]
    Theirs(String),
}

/// Why we leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookParting {
    /// All is done.
    Completed,
    /// Something went wrong.
    Error,
    /// It was never to be.
    Unauthorized,
}

impl HookParting {
    fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Error => "error",
            Self::Unauthorized => "unauthorized",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was said.
    Fresh,
    /// The platform waits for our `opened`.
    Opening,
    Open,
    /// The platform waits for our `closed`.
    Closing,
    /// We wait for the platform's `close`.
    Leaving,
    Over,
}

/// One session. See the module.
#[derive(Debug)]
pub struct AudioHook {
    id: String,
    state: State,
    /// Of our last text, and of the platform's.
    said: u64,
    heard: u64,
    media: Option<Value>,
    channels: HookChannels,
    /// Audio that came and was not taken.
    audio: Vec<u8>,
    taken: usize,
    /// Of the first channel's frame among those of one moment.
    packet: Vec<u8>,
    /// The platform may still be playing what we sent.
    playing: bool,
    round_trip: Option<Duration>,
    skipped: Duration,
    texts: Allowance,
    sounds: Allowance,
}

/// So much at once, so much a second.
#[derive(Debug)]
struct Allowance {
    left: f64,
    most: f64,
    a_second: f64,
    at: Instant,
}

impl Allowance {
    fn new(now: Instant, (most, a_second): (f64, f64)) -> Self {
        Self { left: most, most, a_second, at: now }
    }

    fn take(&mut self, now: Instant, amount: f64) -> Result<(), HookFault> {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.left = (self.left + passed * self.a_second).min(self.most) - amount;
        if self.left < 0.0 { Err(HookFault::TooMuch) } else { Ok(()) }
    }
}

impl AudioHook {
    /// The session of that name, before anything was said.
    pub fn new(now: Instant, id: String) -> Self {
        Self {
            id,
            state: State::Fresh,
            said: 0,
            heard: 0,
            media: None,
            channels: HookChannels::External,
            audio: Vec::new(),
            taken: 0,
            packet: Vec::new(),
            playing: false,
            round_trip: None,
            skipped: Duration::ZERO,
            texts: Allowance::new(now, TEXTS),
            sounds: Allowance::new(now, AUDIO),
        }
    }

    /// A message of the platform. What there is to answer at once is written.
    ///
    /// # Errors
    /// When the session cannot go on: [`Self::fail`], then close.
    pub fn understand(
        &mut self,
        now: Instant,
        message: Incoming<'_>,
        out: &mut Outgoing,
    ) -> Result<HookSaid, HookFault> {
        match message {
            Incoming::Text(text) => self.read(now, text, out),
            Incoming::Binary(audio) => self.hear(now, audio),
        }
    }

    fn hear(&mut self, now: Instant, audio: &[u8]) -> Result<HookSaid, HookFault> {
        if audio.len() > AUDIO_MAX {
            return Err(HookFault::TooLong);
        }
        match self.state {
            State::Open => {}
            State::Closing | State::Leaving => return Ok(HookSaid::Nothing),
            State::Fresh | State::Opening | State::Over => {
                return Err(HookFault::Malformed("audio before the session is open"));
            }
        }
        self.sounds.take(now, audio.len() as f64 / (8000 * self.channels.count()) as f64)?;
        self.audio.drain(..std::mem::take(&mut self.taken));
        self.audio.extend_from_slice(audio);
        Ok(HookSaid::Audio)
    }

    /// The next 20 ms of every channel, the external one first. What is left over waits for the next message.
    pub fn next_frame(&mut self, frames: &mut [[u8; HOOK_FRAME]; 2]) -> bool {
        let channels = self.channels.count();
        let Some(whole) = self.audio.get(self.taken..self.taken + HOOK_FRAME * channels) else {
            return false;
        };
        self.taken += whole.len();
        match self.channels {
            HookChannels::External => frames[0].copy_from_slice(whole),
            HookChannels::Both { external } => {
                for (at, pair) in whole.chunks_exact(2).enumerate() {
                    frames[0][at] = pair[external];
                    frames[1][at] = pair[1 - external];
                }
            }
        }
        true
    }

    /// How much audio the platform has thrown away since this was asked.
    pub fn take_skipped(&mut self) -> Duration {
        std::mem::take(&mut self.skipped)
    }

    fn read(&mut self, now: Instant, text: &str, out: &mut Outgoing) -> Result<HookSaid, HookFault> {
        if text.len() > TEXT_MAX {
            return Err(HookFault::TooLong);
        }
        self.texts.take(now, 1.0)?;
        let message: FromPlatform = serde_json::from_str(text)
            .map_err(|_| HookFault::Malformed("a text is no message of AudioHook"))?;
        if message.version != "2" {
            return Err(HookFault::Malformed("only version 2 is spoken"));
        }
        if message.id != self.id {
            return Err(HookFault::Conflict("a message is of another session than the one that was signed"));
        }
        if message.seq != self.heard + 1 {
            return Err(HookFault::Malformed("a message is missing, or came twice"));
        }
        if message.serverseq > self.said {
            return Err(HookFault::Malformed("a message answers what was not said"));
        }
        self.heard = message.seq;
        let parameters = message.parameters.as_deref();
        let is_open = match self.state {
            State::Fresh if message.kind == "open" => return self.opening(parameters, out),
            State::Fresh => return Err(HookFault::Malformed("the first message is not `open`")),
            State::Over => return Ok(HookSaid::Nothing),
            State::Open => true,
            State::Opening | State::Closing | State::Leaving => false,
        };
        match message.kind.as_str() {
            "open" => Err(HookFault::Malformed("a second `open`")),
            "ping" => {
                let ping: Ping = parameters.map(of).transpose()?.unwrap_or_default();
                self.round_trip = ping.rtt.as_deref().and_then(duration).or(self.round_trip);
                self.write(out, "pong", Nothing {});
                Ok(HookSaid::Nothing)
            }
            "close" if self.state == State::Leaving => {
                self.write(out, "closed", Nothing {});
                self.state = State::Over;
                Ok(HookSaid::Closed)
            }
            "close" => {
                let Close { reason } = of(parameters.ok_or(NO_PARAMETERS)?)?;
                self.state = State::Closing;
                Ok(HookSaid::Closing { reason: shortened(reason) })
            }
            "error" => {
                let Trouble { code, message } = of(parameters.ok_or(NO_PARAMETERS)?)?;
                Err(HookFault::Theirs(shortened(format!("{code} {message}"))))
            }
            "paused" if is_open => Ok(HookSaid::Paused),
            "resumed" if is_open => {
                self.discarded(parameters)?;
                Ok(HookSaid::Resumed)
            }
            "discarded" if is_open => {
                self.discarded(parameters)?;
                Ok(HookSaid::Nothing)
            }
            "dtmf" if is_open => {
                let Dtmf { digit } = of(parameters.ok_or(NO_PARAMETERS)?)?;
                let mut keys = digit.chars();
                let digit = match (keys.next(), keys.next()) {
                    (Some(key), None) => Digit::try_from(key).ok(),
                    (Some(_) | None, _) => None,
                };
                digit.map(HookSaid::Digit).ok_or(HookFault::Malformed("`digit` is no key"))
            }
            "update" if is_open => {
                self.write(out, "updated", Nothing {});
                Ok(HookSaid::Nothing)
            }
            "playback_completed" => {
                self.playing = false;
                Ok(HookSaid::Nothing)
            }
            // What a newer platform says besides is no reason to leave.
            _ => Ok(HookSaid::Nothing),
        }
    }

    fn opening(&mut self, parameters: Option<&RawValue>, out: &mut Outgoing) -> Result<HookSaid, HookFault> {
        let raw = parameters.ok_or(NO_PARAMETERS)?;
        let open: Open = of(raw)?;
        let is_probe = open.conversation_id == PROBE;
        let (media, channels) = chosen(open.media).ok_or(HookFault::Media)?;
        self.media = Some(media);
        self.channels = channels;
        self.state = State::Opening;
        if is_probe {
            self.take(out);
            return Ok(HookSaid::Probe);
        }
        Ok(HookSaid::Open(Box::new(HookOpen {
            organization: shortened(open.organization_id),
            conversation: shortened(open.conversation_id),
            from: shortened(open.participant.ani),
            name: shortened(open.participant.ani_name),
            to: shortened(open.participant.dnis),
            language: open.language.map(shortened),
            channels,
            continued: open.continued_sessions.into_iter().take(CONTINUED).map(|one| one.id).collect(),
            context: context(open.input_variables, open.participant.id),
            raw: Box::new(RawText(raw.to_owned())),
        })))
    }

    fn discarded(&mut self, parameters: Option<&RawValue>) -> Result<(), HookFault> {
        let Discarded { discarded } = of(parameters.ok_or(NO_PARAMETERS)?)?;
        let length = duration(&discarded).ok_or(HookFault::Malformed("`discarded` is no length"))?;
        self.skipped = self.skipped.saturating_add(length);
        Ok(())
    }

    /// The session's name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What was agreed on.
    pub fn channels(&self) -> HookChannels {
        self.channels
    }

    /// How long the platform says that its ping took, there and back.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// The session is taken: `opened`.
    pub fn take(&mut self, out: &mut Outgoing) {
        if self.state != State::Opening {
            return;
        }
        self.state = State::Open;
        if let Some(media) = self.media.take() {
            self.write(out, "opened", Opened { media: [&media] });
        }
    }

    /// 20 ms of audio for the external side of a bot's session.
    pub fn say(&mut self, audio: &[u8], out: &mut Outgoing) {
        if self.state != State::Open || self.channels != HookChannels::External {
            return;
        }
        self.packet.extend_from_slice(audio);
        if self.packet.len() >= PACKET {
            self.send_packet(out);
        }
    }

    /// Nothing more is said for now: what waits for a whole packet goes out.
    pub fn fall_silent(&mut self, out: &mut Outgoing) {
        if !self.packet.is_empty() && self.state == State::Open {
            self.send_packet(out);
        }
    }

    fn send_packet(&mut self, out: &mut Outgoing) {
        out.write(Form::Binary, |buffer| buffer.extend_from_slice(&self.packet));
        self.packet.clear();
        self.playing = true;
    }

    /// What was said is not to be heard any more.
    pub fn barge_in(&mut self, out: &mut Outgoing) {
        self.packet.clear();
        if self.state == State::Open && std::mem::take(&mut self.playing) {
            let entities = [Entity { kind: "barge_in", data: Nothing {} }];
            self.write(out, "event", Event { entities });
        }
    }

    /// The call is over on our side. Whether everything is said: otherwise the platform's `close` is to come.
    pub fn leave(
        &mut self,
        parting: HookParting,
        info: &str,
        variables: &Map<String, Value>,
        out: &mut Outgoing,
    ) -> bool {
        match self.state {
            State::Fresh | State::Over => return true,
            State::Leaving => return false,
            State::Closing => {
                self.write(out, "closed", Closed { output_variables: variables });
                self.state = State::Over;
                return true;
            }
            State::Opening | State::Open => {}
        }
        self.fall_silent(out);
        let reason = parting.as_str();
        self.write(out, "disconnect", Disconnect { reason, info, output_variables: variables });
        self.state = State::Leaving;
        false
    }

    /// The platform did something wrong: it is told what.
    pub fn fail(&mut self, fault: &HookFault, out: &mut Outgoing) {
        if self.state == State::Fresh {
            // It has told no name, but the one that was signed is known.
            self.state = State::Opening;
        }
        self.leave(HookParting::Error, &fault.to_string(), &Map::new(), out);
        self.state = State::Over;
    }

    fn write(&mut self, out: &mut Outgoing, kind: &'static str, parameters: impl Serialize) {
        self.said += 1;
        let (seq, clientseq) = (self.said, self.heard);
        let message = ToPlatform { version: "2", id: &self.id, kind, seq, clientseq, parameters };
        out.write(Form::Text, |buffer| {
            serde_json::to_writer(buffer.writer(), &message)
                .expect("strings and numbers can be written as JSON");
        });
    }
}

const NO_PARAMETERS: HookFault = HookFault::Malformed("`parameters` is missing");

fn of<T: DeserializeOwned>(parameters: &RawValue) -> Result<T, HookFault> {
    serde_json::from_str(parameters.get()).map_err(|_| HookFault::Malformed("`parameters` cannot be read"))
}

/// What of the offered media is taken, as it was offered: both sides rather than one.
fn chosen(offered: Vec<Value>) -> Option<(Value, HookChannels)> {
    let usable = |value: &Value| {
        let media: Media = serde_json::from_value(value.clone()).ok()?;
        let is_ours = media.kind == "audio" && media.format == "PCMU" && media.rate == 8000;
        let channels: Vec<&str> = media.channels.iter().map(String::as_str).collect();
        match (is_ours, &channels[..]) {
            (true, ["external", "internal"]) => Some(HookChannels::Both { external: 0 }),
            (true, ["internal", "external"]) => Some(HookChannels::Both { external: 1 }),
            (true, ["external"]) => Some(HookChannels::External),
            (true | false, _) => None,
        }
    };
    let usable = |value: Value| usable(&value).map(|channels| (value, channels));
    offered.into_iter().filter_map(usable).max_by_key(|(_, channels)| channels.count())
}

/// What the flow has handed over, under our names where it uses them.
fn context(variables: Map<String, Value>, participant: String) -> Context {
    let mut context = Context { merge_fields: variables, ..Context::default() };
    let mut own = |name: &str| match context.merge_fields.get(name) {
        Some(Value::String(text)) => {
            let text = text.clone();
            context.merge_fields.remove(name);
            Some(text)
        }
        Some(_) | None => None,
    };
    let (tenant_id, campaign_id, contact_id, intent) =
        (own("tenant_id"), own("campaign_id"), own("contact_id"), own("intent"));
    let contact_id = contact_id.or_else(|| Some(shortened(participant)).filter(|id| !id.is_empty()));
    Context { tenant_id, campaign_id, contact_id, intent, ..context }
}

fn shortened(mut text: String) -> String {
    if text.len() > KEPT {
        let end = (0..=KEPT).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        // A cut is shown.
        let _ = text.write_char('…');
    }
    text
}

#[cfg(test)]
mod tests;
