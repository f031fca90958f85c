//! Asking the application: once more when it could not be reached, then its fallback, then the call ends.

use std::time::{Duration, Instant};

use url::Url;

use super::{Act, DOCUMENTS, Program, State, Useless};
use crate::provider::twilio::{Document, WebAddress, errors};

/// How long an answer may take: the shell gives up at 15 s and tells why.
const PATIENCE: Duration = Duration::from_secs(20);

/// A question that waits for its answer.
#[derive(Debug)]
pub(super) struct Asked {
    number: u32,
    at: WebAddress,
    fields: Vec<(String, String)>,
    turn: Turn,
    give_up: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    First,
    Second,
    Fallback,
}

impl Asked {
    pub(super) fn give_up(&self) -> Instant {
        self.give_up
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }
}

impl Program {
    pub(super) fn ask(&mut self, now: Instant, at: WebAddress, fields: Vec<(String, String)>) {
        match self.absolute(&at) {
            Some(at) => self.ask_at(now, at, fields, Turn::First),
            None => {
                self.note("application url not usable", at.url);
                self.hang_up(now);
            }
        }
    }

    fn ask_at(&mut self, now: Instant, at: WebAddress, fields: Vec<(String, String)>, turn: Turn) {
        if self.asked == DOCUMENTS {
            self.note("application asked too often", format!("{DOCUMENTS} documents"));
            return self.hang_up(now);
        }
        self.asked += 1;
        let number = self.asked;
        self.rest.clear();
        self.acts.push_back(Act::Ask { number, at: at.clone(), fields: fields.clone() });
        self.state = State::Asking(Asked { number, at, fields, turn, give_up: now + PATIENCE });
    }

    /// What the application has answered, or why it has not.
    pub(in crate::call) fn fetched(&mut self, now: Instant, number: u32, answer: Result<Document, Useless>) {
        let State::Asking(asked) = &mut self.state else { return };
        if asked.number != number {
            return;
        }
        let at = asked.at.clone();
        match answer {
            Ok(document) => {
                // What is relative is relative to where it came from; an answer of the fallback has its own place.
                self.base = Some(at);
                self.run(now, &document);
            }
            Err(useless) => {
                let (turn, fields) = (asked.turn, std::mem::take(&mut asked.fields));
                self.note("application not usable", format!("{}: {}", useless.code, useless.why));
                match turn {
                    Turn::First if useless.again => self.ask_at(now, at, fields, Turn::Second),
                    Turn::First | Turn::Second => self.fall_back(now, &at, fields, &useless),
                    Turn::Fallback => self.hang_up(now),
                }
            }
        }
    }

    fn fall_back(
        &mut self,
        now: Instant,
        failed: &WebAddress,
        mut fields: Vec<(String, String)>,
        useless: &Useless,
    ) {
        match self.fallback.clone().and_then(|fallback| self.absolute(&fallback)) {
            Some(fallback) => {
                fields.push(("ErrorCode".to_owned(), useless.code.to_string()));
                fields.push(("ErrorUrl".to_owned(), failed.url.clone()));
                self.ask_at(now, fallback, fields, Turn::Fallback);
            }
            None => self.hang_up(now),
        }
    }

    /// `http` or `https`, with a host; what is relative is made whole.
    pub(in crate::call) fn absolute(&self, at: &WebAddress) -> Option<WebAddress> {
        let url = match Url::parse(&at.url) {
            Ok(url) => url,
            Err(_) => Url::parse(&self.base.as_ref()?.url).ok()?.join(&at.url).ok()?,
        };
        let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
        is_web.then(|| WebAddress { url: url.into(), method: at.method })
    }
}

impl Useless {
    /// What came is no document.
    pub(in crate::call) fn malformed(why: String) -> Self {
        Self { code: errors::DOCUMENT_PARSE, why, again: false }
    }

    /// What came has another status than 2xx, or nothing came.
    pub(in crate::call) fn not_had(why: String, again: bool) -> Self {
        Self { code: errors::HTTP_RETRIEVAL, why, again }
    }
}
