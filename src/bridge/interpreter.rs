//! One conversation with one engine, whatever its dialect.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::time::{Duration, Instant};

use media::{AudioFormat, Digit, SampleRate};

use super::asterisk::{Asterisk, Control};
use super::deepgram::Deepgram;
use super::elevenlabs::ElevenLabs;
use super::exotel::Exotel;
use super::gemini::Gemini;
use super::jambonz::Jambonz;
use super::language::Language;
use super::openai::{Names, OpenAi};
use super::pipecat::Pipecat;
use super::plivo::Plivo;
use super::said::{
    Answer, Complaint, Fault, Heard, Incoming, MISTAKES_IN_A_ROW, Measured, Mistake, Resumption, Said, Speech,
};
use super::telnyx::Telnyx;
use super::ultravox::Ultravox;
use super::vonage::Vonage;
use super::{EdgeV1, Outgoing, Replayed, Twilio};
use crate::call::{CallId, Dialect, DtmfMethod, EngineEvent, LegId};

/// A parser's complaint may repeat all it was given.
const LONGEST_DETAIL: usize = 200;

/// How much audio an engine may send ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credit {
    /// What it should not go beyond.
    pub window: Duration,
    /// What it cannot go beyond.
    pub limit: Duration,
}

/// Translates between a call and its engine.
#[derive(Debug)]
pub struct Interpreter {
    language: Box<dyn Language>,
    mistakes: u32,
}

impl Interpreter {
    /// For a conversation that begins, with audio as the dialect usually has it.
    pub fn new(dialect: Dialect, call: CallId, credit: Credit) -> Self {
        Self::with_rate(dialect, None, call, credit)
    }

    /// For a conversation that begins, with so many samples a second where the dialect leaves them open.
    pub fn with_rate(dialect: Dialect, rate: Option<SampleRate>, call: CallId, credit: Credit) -> Self {
        let coded = match rate {
            None | Some(SampleRate::Hz8000) => AudioFormat::Pcmu,
            Some(rate) => AudioFormat::L16 { rate },
        };
        let language: Box<dyn Language> = match dialect {
            // What stands around it is the socket's affair.
            Dialect::EdgeV1 | Dialect::EdgeMuxV1 => Box::new(EdgeV1::new(credit)),
            Dialect::Twilio => Box::new(Twilio::new(call)),
            Dialect::Telnyx => Box::new(Telnyx::new(call, coded)),
            Dialect::Plivo => Box::new(Plivo::new(call, coded)),
            Dialect::Exotel => Box::new(Exotel::new(call, rate.unwrap_or(SampleRate::Hz8000))),
            Dialect::Vonage => Box::new(Vonage::new(rate.unwrap_or(SampleRate::Hz16000))),
            Dialect::Jambonz => Box::new(Jambonz::new(call, rate.unwrap_or(SampleRate::Hz8000))),
            Dialect::Asterisk => Box::new(Asterisk::new(call, Control::Plain)),
            Dialect::AsteriskJson => Box::new(Asterisk::new(call, Control::Json)),
            Dialect::Pipecat => Box::new(Pipecat::new(rate.unwrap_or(SampleRate::Hz16000))),
            Dialect::OpenAiRealtime => Box::new(OpenAi::new(Names::Ga)),
            Dialect::OpenAiRealtimeBeta => Box::new(OpenAi::new(Names::Beta)),
            Dialect::GeminiLive => Box::new(Gemini::new()),
            Dialect::ElevenLabs => Box::new(ElevenLabs::new()),
            Dialect::Deepgram => Box::new(Deepgram::new()),
            Dialect::Ultravox => Box::new(Ultravox::new(rate.unwrap_or(SampleRate::Hz8000))),
        };
        Self { language, mistakes: 0 }
    }

    /// Writes what the call has to tell, where the dialect has words for it.
    pub fn tell(&mut self, now: Instant, event: &EngineEvent, out: &mut Outgoing) {
        self.language.tell(now, event, out);
    }

    /// Writes one packet's audio. Whether it did: the engine hears nothing before it was told of the call
    /// and after it was told to stop.
    pub fn hear(&mut self, heard: &Heard<'_>, out: &mut Outgoing) -> bool {
        self.language.hear(heard, out)
    }

    /// The engine does not read for now: keeps one packet's audio for [`Self::catch_up`], where the dialect can say that it comes
    /// late. Whether it did.
    pub fn hold(&mut self, heard: &Heard<'_>) -> bool {
        self.language.hold(heard)
    }

    /// Writes a key that the far end of `leg` pressed.
    pub fn digit(
        &mut self,
        leg: LegId,
        digit: Digit,
        duration: Duration,
        method: DtmfMethod,
        out: &mut Outgoing,
    ) {
        self.language.digit(leg, digit, duration, method, out);
    }

    /// Writes what became of the engine's audio.
    pub fn answer(&mut self, answer: &Answer<'_>, out: &mut Outgoing) {
        self.language.answer(answer, out);
    }

    /// Writes that the far end of `leg` speaks or is quiet, where the dialect has words for it.
    pub fn speech(&mut self, leg: LegId, speech: &Speech, out: &mut Outgoing) {
        self.language.speech(leg, speech, out);
    }

    /// Writes what was measured, where the dialect has words for it.
    pub fn measured(&mut self, measured: &Measured, out: &mut Outgoing) {
        self.language.measured(measured, out);
    }

    /// Writes what is wrong; not every dialect has words for it.
    pub fn complain(&mut self, complaint: &Complaint<'_>, out: &mut Outgoing) {
        self.language.complain(complaint, out);
    }

    /// The socket is lost. Whether the conversation can go on over another one; until it does, what there is to be told
    /// is kept.
    pub fn lose(&mut self) -> bool {
        self.mistakes = 0;
        self.language.lose()
    }

    /// There is another socket: writes what takes the conversation up again, and nothing else until the engine agrees.
    pub fn resume(&mut self, resumption: &Resumption<'_>, out: &mut Outgoing) {
        self.language.resume(resumption, out);
    }

    /// Writes more of what was kept while there was no socket: once a beat, so that the engine catches up.
    pub fn catch_up(&mut self, out: &mut Outgoing) -> Replayed {
        self.language.catch_up(out)
    }

    /// Reads one message. Audio is borrowed from it, or decoded into `scratch`; what the dialect wants answered at once
    /// goes into `out`.
    ///
    /// # Errors
    /// What was wrong with the message, and whether the conversation should end over it.
    pub fn understand<'a>(
        &mut self,
        message: Incoming<'a>,
        scratch: &'a mut Vec<u8>,
        out: &mut Outgoing,
    ) -> Result<Said<'a>, Fault> {
        self.language
            .understand(message, scratch, out)
            .inspect(|_| self.mistakes = 0)
            .map_err(|(mistake, re)| Self::fault(&mut self.mistakes, mistake, re))
    }

    fn fault(mistakes: &mut u32, mistake: Mistake, re: Option<String>) -> Fault {
        *mistakes += 1;
        let close = (*mistakes >= MISTAKES_IN_A_ROW).then(|| mistake.close_code());
        Fault { mistake, re, close }
    }
}

impl From<serde_json::Error> for Mistake {
    fn from(error: serde_json::Error) -> Self {
        match error.classify() {
            serde_json::error::Category::Data => {
                Self::Malformed(error.to_string().chars().take(LONGEST_DETAIL).collect())
            }
            serde_json::error::Category::Io
            | serde_json::error::Category::Syntax
            | serde_json::error::Category::Eof => Self::NotJson { column: error.column() },
        }
    }
}
