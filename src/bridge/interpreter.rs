//! One conversation with one engine, whatever its dialect.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::time::{Duration, Instant};

use media::Digit;

use super::said::{Answer, Complaint, Fault, Heard, Incoming, MISTAKES_IN_A_ROW, Mistake, Said};
use super::{EdgeV1, Outgoing, Twilio};
use crate::call::{CallId, Dialect, EngineEvent, LegId};

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
    dialect: State,
    mistakes: u32,
}

#[derive(Debug)]
enum State {
    EdgeV1(EdgeV1),
    Twilio(Twilio),
}

impl Interpreter {
    /// For a conversation that begins.
    pub fn new(dialect: Dialect, call: CallId, credit: Credit) -> Self {
        let dialect = match dialect {
            Dialect::EdgeV1 => State::EdgeV1(EdgeV1::new(credit)),
            Dialect::Twilio => State::Twilio(Twilio::new(call)),
        };
        Self { dialect, mistakes: 0 }
    }

    /// Writes what the call has to tell, where the dialect has words for it.
    pub fn tell(&mut self, now: Instant, event: &EngineEvent, out: &mut Outgoing) {
        match &mut self.dialect {
            State::EdgeV1(edge) => edge.tell(now, event, out),
            State::Twilio(twilio) => twilio.tell(now, event, out),
        }
    }

    /// Writes one packet's audio. Whether it did: the engine hears nothing before it was told of the call
    /// and after it was told to stop.
    pub fn hear(&mut self, heard: &Heard<'_>, out: &mut Outgoing) -> bool {
        match &mut self.dialect {
            State::EdgeV1(edge) => edge.hear(heard, out),
            State::Twilio(twilio) => twilio.hear(heard, out),
        }
    }

    /// Writes a key that the far end of `leg` pressed.
    pub fn digit(&mut self, leg: LegId, digit: Digit, duration: Duration, out: &mut Outgoing) {
        match &mut self.dialect {
            State::EdgeV1(edge) => edge.digit(leg, digit, duration, out),
            State::Twilio(twilio) => twilio.digit(digit, out),
        }
    }

    /// Writes what became of the engine's audio.
    pub fn answer(&mut self, answer: &Answer<'_>, out: &mut Outgoing) {
        match &mut self.dialect {
            State::EdgeV1(edge) => edge.answer(answer, out),
            State::Twilio(twilio) => twilio.answer(answer, out),
        }
    }

    /// Writes what is wrong; not every dialect has words for it.
    pub fn complain(&mut self, complaint: &Complaint<'_>, out: &mut Outgoing) {
        match &mut self.dialect {
            State::EdgeV1(edge) => edge.complain(complaint, out),
            State::Twilio(_) => {}
        }
    }

    /// Reads one message. Audio is borrowed from it, or decoded into `scratch`.
    ///
    /// # Errors
    /// What was wrong with the message, and whether the conversation should end over it.
    pub fn understand<'a>(
        &mut self,
        message: Incoming<'a>,
        scratch: &'a mut Vec<u8>,
    ) -> Result<Said<'a>, Fault> {
        let understood = match &mut self.dialect {
            State::EdgeV1(edge) => edge.understand(message),
            State::Twilio(twilio) => twilio.understand(message, scratch).map_err(|mistake| (mistake, None)),
        };
        understood
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
