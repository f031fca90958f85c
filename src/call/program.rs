//! What an application makes of a call: it runs one document after the other, each verb until it is done.
//! ```text
//!                 answered, or arrived             document
//!   [Waiting] ------------------------> [Asking] -----------> next verb <------------------------+
//!       |  the document came with the order  ^ |                  |                              |
//!       +------------------------------------|-|----------------> |                              |
//!        Redirect, action of a verb ---------+ | no answer,       +--> [Answering] -- answered --+
//!                                              | no document      +--> [Pausing] --- time -------+
//!                     again, FallbackUrl <-----+ none left        +--> [Sounding] -- heard ------+
//!                                              v                  +--> [Streaming] - bot closes, +
//!                                           HangUp <- no verb ----+        its words are heard   |
//!                                                                 +--> [Gathering] - enough keys +
//!                                                                 +--> [Dialling] -- they leave -+
//!                                                                 +--> [Referring] - refused ----+
//! ```
//! It knows nothing of SIP, sockets or sound: what it wants done comes out as [`Act`]s, what became of it goes in. Every wait has a
//! deadline here or at whoever does the act; what comes for another state is passed over.

mod asking;
mod gathering;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use url::Url;

use self::asking::Asked;
use self::gathering::Gathering;
use crate::provider::twilio::{
    Dial, Document, Play, Prompt, Refer, Rejection, Said, Stream, Verb, WebAddress, errors,
};

/// Documents of one call: an application that only ever redirects ends.
const DOCUMENTS: u32 = 5000;
/// One key is pressed, and then there is a gap.
const KEY: Duration = Duration::from_millis(250);
/// A `w` among keys.
const WAIT: Duration = Duration::from_millis(500);
/// How long the last words of a bot that has closed may take.
const LAST_WORDS: Duration = Duration::from_secs(60);
/// How long the end of a call may take to come.
const END: Duration = Duration::from_secs(30);

/// Where instructions come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A URL is asked.
    Web(WebAddress),
    /// They came with the order.
    Document(Arc<Document>),
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// Ask the application; answered by [`Program::fetched`] with the same number.
    Ask { number: u32, at: WebAddress, fields: Vec<(String, String)> },
    /// A line for the timeline.
    Note { what: &'static str, detail: Option<String> },
    /// Take the inbound call; answered by [`Program::answered`].
    Answer,
    /// Do not take the inbound call.
    Reject(Rejection),
    /// The call is over.
    HangUp,
    /// Let the caller hear it; answered by [`Program::heard`], at once where there is nothing to hear.
    Sound(Sound),
    /// Not any more; what is heard now is of no interest.
    Silence,
    /// Press keys.
    Press(String),
    /// Connect a bot; answered by [`Program::stream_began`], [`Program::stream_closed`] or [`Program::stream_failed`].
    Connect(Stream),
    /// Let somebody listen.
    Listen(Stream),
    /// Nobody listens any more.
    StopListening,
    /// Call somebody; answered by [`Program::joined`] and [`Program::left`], or [`Program::not_joined`].
    Dial(Dial),
    /// Send the caller on; answered by [`Program::not_referred`], or the end of the call.
    Refer(Refer),
    /// Whoever was called into the call leaves it.
    Part,
    /// So does a bot.
    Disconnect,
}

/// What is heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sound {
    /// A text.
    Say(String),
    /// A sound of that URL.
    Play(String),
}

/// Why an answer of an application is of no use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Useless {
    /// Twilio's number for it.
    pub(super) code: u32,
    /// In words.
    pub(super) why: String,
    /// Whether asking again may help.
    pub(super) again: bool,
}

/// What came of calling somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DialOutcome {
    Busy,
    NoAnswer,
    Failed,
}

impl DialOutcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::NoAnswer => "no-answer",
            Self::Failed => "failed",
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Program {
    state: State,
    /// The verbs that follow.
    rest: VecDeque<Verb>,
    /// Where the document came from, for what is relative to it.
    base: Option<WebAddress>,
    fallback: Option<WebAddress>,
    /// Pressed first of all.
    keys: Option<String>,
    answered: bool,
    /// How many times the application was asked.
    asked: u32,
    acts: VecDeque<Act>,
}

#[derive(Debug)]
enum State {
    /// Nothing has begun.
    Waiting(Source),
    Asking(Asked),
    /// The verb is done when the call is answered.
    Answering(Box<Verb>),
    Pausing {
        until: Instant,
    },
    Sounding(Sounding),
    Streaming {
        action: Option<WebAddress>,
    },
    /// The bot has closed.
    LastWords {
        action: Option<WebAddress>,
        give_up: Instant,
    },
    Gathering(Gathering),
    Dialling {
        action: Option<WebAddress>,
        limit: Option<Duration>,
        joined: Option<Joined>,
    },
    Referring {
        action: Option<WebAddress>,
    },
    /// The end is ordered.
    Ending {
        give_up: Instant,
    },
    Over,
}

#[derive(Debug, Clone, Copy)]
struct Joined {
    at: Instant,
    until: Option<Instant>,
}

/// A sound that is repeated.
#[derive(Debug)]
struct Sounding {
    sound: Sound,
    /// How often still; `None`: until something else happens.
    left: Option<u32>,
    since: Instant,
}

impl Program {
    /// A program that begins with `source`, when it is told to; an answered call with the `keys`.
    pub(super) fn new(source: Source, fallback: Option<WebAddress>, keys: Option<String>) -> Self {
        Self {
            state: State::Waiting(source),
            rest: VecDeque::new(),
            base: None,
            fallback,
            keys,
            answered: false,
            asked: 0,
            acts: VecDeque::new(),
        }
    }

    pub(super) fn poll_act(&mut self) -> Option<Act> {
        self.acts.pop_front()
    }

    /// An inbound call wants to be told what to do.
    pub(super) fn arrived(&mut self, now: Instant) {
        if let State::Waiting(source) = &self.state {
            let source = source.clone();
            self.follow(now, source);
        }
    }

    /// The call was answered.
    pub(super) fn answered(&mut self, now: Instant) {
        self.answered = true;
        match std::mem::replace(&mut self.state, State::Over) {
            State::Waiting(source) => match self.keys.take() {
                Some(keys) => self.press_first(now, &keys, source),
                None => self.follow(now, source),
            },
            State::Answering(verb) => self.perform(now, *verb),
            other @ (State::Asking(_)
            | State::Pausing { .. }
            | State::Sounding(_)
            | State::Streaming { .. }
            | State::LastWords { .. }
            | State::Gathering(_)
            | State::Dialling { .. }
            | State::Referring { .. }
            | State::Ending { .. }
            | State::Over) => self.state = other,
        }
    }

    /// Other instructions, from now on.
    pub(super) fn redirected(&mut self, now: Instant, source: Source, fallback: Option<WebAddress>) {
        self.rest.clear();
        self.acts.extend([Act::Silence, Act::Disconnect, Act::Part]);
        if fallback.is_some() {
            self.fallback = fallback;
        }
        match &mut self.state {
            State::Waiting(waiting) => *waiting = source,
            State::Ending { .. } | State::Over => {}
            State::Asking(_)
            | State::Answering(_)
            | State::Pausing { .. }
            | State::Sounding(_)
            | State::Streaming { .. }
            | State::LastWords { .. }
            | State::Gathering(_)
            | State::Dialling { .. }
            | State::Referring { .. } => self.follow(now, source),
        }
    }

    /// The call is over, whoever ended it.
    pub(super) fn ended(&mut self) {
        self.state = State::Over;
        self.rest.clear();
        self.acts.clear();
    }

    /// What the caller was to hear was heard.
    pub(super) fn heard(&mut self, now: Instant) {
        match &mut self.state {
            State::Sounding(sounding) => {
                if sounding.again(now) {
                    self.acts.push_back(Act::Sound(sounding.sound.clone()));
                } else {
                    self.next(now);
                }
            }
            State::Gathering(gathering) => gathering.heard(now, &mut self.acts),
            State::Waiting(_)
            | State::Asking(_)
            | State::Answering(_)
            | State::Pausing { .. }
            | State::Streaming { .. }
            | State::LastWords { .. }
            | State::Dialling { .. }
            | State::Referring { .. }
            | State::Ending { .. }
            | State::Over => {}
        }
    }

    /// The caller has pressed a key.
    pub(super) fn key(&mut self, now: Instant, key: char) {
        if let State::Gathering(gathering) = &mut self.state {
            gathering.key(now, key, &mut self.acts);
            self.finish_gathering(now);
        }
    }

    /// The bot has closed its socket in order; what it said is still heard.
    pub(super) fn stream_closed(&mut self, now: Instant) {
        if let State::Streaming { action } = &mut self.state {
            let action = action.take();
            self.state = State::LastWords { action, give_up: now + LAST_WORDS };
        }
    }

    /// What the bot said last was heard.
    pub(super) fn drained(&mut self, now: Instant) {
        if let State::LastWords { action, .. } = &mut self.state {
            let action = action.take();
            self.go_on(now, action, Vec::new());
        }
    }

    /// There is no bot, or no longer one. The document goes on.
    pub(super) fn stream_failed(&mut self, now: Instant, why: &str) {
        if let State::Streaming { action } = &mut self.state {
            let action = action.take();
            self.note("stream failed", format!("{}: {why}", errors::STREAM_CONNECT));
            self.go_on(now, action, Vec::new());
        }
    }

    /// Whoever was called speaks with the caller.
    pub(super) fn joined(&mut self, now: Instant) {
        if let State::Dialling { joined, limit, .. } = &mut self.state {
            *joined = Some(Joined { at: now, until: limit.map(|limit| now + limit) });
        }
    }

    /// Whether somebody was called by this program who speaks with the caller.
    pub(super) fn is_dialling(&self) -> bool {
        matches!(self.state, State::Dialling { .. })
    }

    /// Whether it waits for the outcome of a REFER.
    pub(super) fn is_referring(&self) -> bool {
        matches!(self.state, State::Referring { .. })
    }

    /// Whether a bot speaks with the caller because of it.
    pub(super) fn is_streaming(&self) -> bool {
        matches!(self.state, State::Streaming { .. })
    }

    /// Where the end of what runs is told, should the call end with it.
    pub(super) fn action(&self) -> Option<WebAddress> {
        match &self.state {
            State::Dialling { action, .. } | State::Referring { action } => {
                action.as_ref().and_then(|action| self.absolute(action))
            }
            State::Waiting(_)
            | State::Asking(_)
            | State::Answering(_)
            | State::Pausing { .. }
            | State::Sounding(_)
            | State::Streaming { .. }
            | State::LastWords { .. }
            | State::Gathering(_)
            | State::Ending { .. }
            | State::Over => None,
        }
    }

    /// Whoever was called has left.
    pub(super) fn left(&mut self, now: Instant) {
        if let State::Dialling { action, joined, .. } = &mut self.state {
            let action = action.take();
            let fields = dial_fields(now, *joined, "completed");
            self.go_on(now, action, fields);
        }
    }

    /// Nobody came.
    pub(super) fn not_joined(&mut self, now: Instant, outcome: DialOutcome) {
        if let State::Dialling { action, .. } = &mut self.state {
            let action = action.take();
            let fields = dial_fields(now, None, outcome.as_str());
            self.go_on(now, action, fields);
        }
    }

    /// The caller was not sent on.
    pub(super) fn not_referred(&mut self, now: Instant, status: Option<u16>) {
        if let State::Referring { action } = &mut self.state {
            let action = action.take();
            let mut fields = vec![("ReferCallStatus".to_owned(), "failed".to_owned())];
            fields.extend(status.map(|status| ("ReferSipResponseCode".to_owned(), status.to_string())));
            self.go_on(now, action, fields);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Asking(asked) => Some(asked.give_up()),
            State::Pausing { until } => Some(*until),
            State::LastWords { give_up, .. } | State::Ending { give_up } => Some(*give_up),
            State::Gathering(gathering) => gathering.poll_timeout(),
            State::Dialling { joined, .. } => joined.and_then(|joined| joined.until),
            // Somebody else watches the time: the call's own states, the play-out, the transfer.
            State::Waiting(_)
            | State::Answering(_)
            | State::Sounding(_)
            | State::Streaming { .. }
            | State::Referring { .. }
            | State::Over => None,
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|at| at > now) {
            return;
        }
        match &mut self.state {
            State::Asking(asked) => {
                let number = asked.number();
                let why = "no answer came in time".to_owned();
                self.fetched(now, number, Err(Useless { code: errors::HTTP_TIMEOUT, why, again: true }));
            }
            State::Pausing { .. } => self.next(now),
            State::LastWords { .. } => self.drained(now),
            State::Gathering(gathering) => {
                gathering.handle_timeout(now, &mut self.acts);
                self.finish_gathering(now);
            }
            State::Dialling { joined, .. } => {
                if let Some(joined) = joined {
                    joined.until = None;
                }
                self.acts.push_back(Act::Part);
                self.left(now);
            }
            State::Ending { .. } => {
                self.state = State::Ending { give_up: now + END };
                self.acts.push_back(Act::HangUp);
            }
            State::Waiting(_)
            | State::Answering(_)
            | State::Sounding(_)
            | State::Streaming { .. }
            | State::Referring { .. }
            | State::Over => {}
        }
    }

    fn follow(&mut self, now: Instant, source: Source) {
        match source {
            Source::Web(at) => self.ask(now, at, Vec::new()),
            Source::Document(document) => self.run(now, &document),
        }
    }

    /// A document is there.
    fn run(&mut self, now: Instant, document: &Document) {
        self.note_passed_over(document);
        self.rest = document.verbs.iter().cloned().collect();
        self.next(now);
    }

    /// A verb is done: what it is to tell, or the next one.
    fn go_on(&mut self, now: Instant, action: Option<WebAddress>, fields: Vec<(String, String)>) {
        match action {
            Some(action) => self.ask(now, action, fields),
            None => self.next(now),
        }
    }

    fn next(&mut self, now: Instant) {
        match self.rest.pop_front() {
            Some(verb) => self.perform(now, verb),
            None => self.hang_up(now),
        }
    }

    fn hang_up(&mut self, now: Instant) {
        self.rest.clear();
        self.state = State::Ending { give_up: now + END };
        self.acts.push_back(Act::HangUp);
    }

    fn perform(&mut self, now: Instant, verb: Verb) {
        let needs_answer = match &verb {
            Verb::Connect { .. }
            | Verb::Start(_)
            | Verb::Prompt(_)
            | Verb::Dial(_)
            | Verb::Refer(_)
            | Verb::Gather(_) => true,
            Verb::Stop | Verb::Pause(_) | Verb::Redirect(_) | Verb::Reject(_) | Verb::Hangup => false,
        };
        if needs_answer && !self.answered {
            self.acts.push_back(Act::Answer);
            self.state = State::Answering(Box::new(verb));
            return;
        }
        match verb {
            Verb::Pause(length) => self.state = State::Pausing { until: now + length },
            Verb::Prompt(prompt) => self.prompt(now, prompt),
            Verb::Connect { stream, action } => {
                self.state = State::Streaming { action };
                self.acts.push_back(Act::Connect(stream));
            }
            Verb::Start(stream) => {
                self.acts.push_back(Act::Listen(stream));
                self.next(now);
            }
            Verb::Stop => {
                self.acts.push_back(Act::StopListening);
                self.next(now);
            }
            Verb::Dial(mut dial) => {
                self.state =
                    State::Dialling { action: dial.action.take(), limit: dial.time_limit, joined: None };
                self.acts.push_back(Act::Dial(dial));
            }
            Verb::Refer(mut refer) => {
                self.state = State::Referring { action: refer.action.take() };
                self.acts.push_back(Act::Refer(refer));
            }
            Verb::Gather(mut gather) => {
                for prompt in &mut gather.prompts {
                    if let Prompt::Play(play) = prompt {
                        play.sound = self.address_of_sound(&play.sound);
                    }
                }
                self.state = State::Gathering(Gathering::new(now, gather, &mut self.acts));
                self.finish_gathering(now);
            }
            Verb::Redirect(at) => self.ask(now, at, Vec::new()),
            Verb::Reject(rejection) if !self.answered => {
                self.rest.clear();
                self.state = State::Ending { give_up: now + END };
                self.acts.push_back(Act::Reject(rejection));
            }
            // An answered call can only be ended.
            Verb::Reject(_) | Verb::Hangup => self.hang_up(now),
        }
    }

    fn prompt(&mut self, now: Instant, prompt: Prompt) {
        let (sound, times) = match prompt {
            Prompt::Say(Said { text, times }) => (Sound::Say(text), times),
            Prompt::Play(Play { sound, times }) => (Sound::Play(self.address_of_sound(&sound)), times),
            Prompt::Keys(keys) => return self.press(now, &keys),
            Prompt::Pause(length) => {
                self.state = State::Pausing { until: now + length };
                return;
            }
        };
        self.state = State::Sounding(Sounding::new(now, sound.clone(), times));
        self.acts.push_back(Act::Sound(sound));
    }

    /// Presses the keys, and begins with `source` then.
    fn press_first(&mut self, now: Instant, keys: &str, source: Source) {
        self.rest = match source {
            Source::Web(at) => [Verb::Redirect(at)].into(),
            Source::Document(document) => {
                self.note_passed_over(&document);
                document.verbs.iter().cloned().collect()
            }
        };
        self.press(now, keys);
    }

    /// Presses the keys up to the next wait, then waits; what is left comes afterwards.
    fn press(&mut self, now: Instant, keys: &str) {
        let waits = keys.len() - keys.trim_start_matches(['w', 'W']).len();
        let (length, rest) = if waits > 0 {
            (WAIT * u32::try_from(waits).unwrap_or(1), &keys[waits..])
        } else {
            let end = keys.find(['w', 'W']).unwrap_or(keys.len());
            self.acts.push_back(Act::Press(keys[..end].to_owned()));
            (KEY * u32::try_from(end).unwrap_or(1), &keys[end..])
        };
        if !rest.is_empty() {
            self.rest.push_front(Verb::Prompt(Prompt::Keys(rest.to_owned())));
        }
        self.state = State::Pausing { until: now + length };
    }

    /// What the keys came to, once there are enough.
    fn finish_gathering(&mut self, now: Instant) {
        let State::Gathering(gathering) = &self.state else { return };
        let Some(done) = gathering.done() else { return };
        self.acts.push_back(Act::Silence);
        let own = || self.base.clone();
        match done.fields {
            Some(fields) => match done.action.or_else(own) {
                Some(action) => self.ask(now, action, fields),
                // Nobody can be told: the document came with the order.
                None => self.next(now),
            },
            None => self.next(now),
        }
    }

    fn note_passed_over(&mut self, document: &Document) {
        for passed in &document.passed_over {
            self.note("twiml passed over", passed.clone());
        }
    }

    fn note(&mut self, what: &'static str, detail: impl Into<String>) {
        self.acts.push_back(Act::Note { what, detail: Some(detail.into()) });
    }

    /// A sound that is no URL is one of the configuration's announcements.
    fn address_of_sound(&self, sound: &str) -> String {
        let relative = sound.starts_with('/') || sound.contains(['/', '.']);
        if !relative || Url::parse(sound).is_ok() {
            return sound.to_owned();
        }
        let base = self.base.as_ref().and_then(|base| Url::parse(&base.url).ok());
        let joined = base.and_then(|base| base.join(sound).ok());
        joined.map_or_else(|| sound.to_owned(), Into::into)
    }
}

impl Sounding {
    fn new(now: Instant, sound: Sound, times: Option<u32>) -> Self {
        Self { sound, left: times.map(|times| times.saturating_sub(1)), since: now }
    }

    /// Whether it is to be heard once more. What is over as soon as it begins is not repeated: nobody would hear it.
    fn again(&mut self, now: Instant) -> bool {
        let lasted = now.saturating_duration_since(std::mem::replace(&mut self.since, now));
        if lasted.is_zero() {
            return false;
        }
        match &mut self.left {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }
}

fn dial_fields(now: Instant, joined: Option<Joined>, status: &str) -> Vec<(String, String)> {
    let mut fields = vec![
        ("DialCallStatus".to_owned(), status.to_owned()),
        ("DialBridged".to_owned(), joined.is_some().to_string()),
    ];
    if let Some(joined) = joined {
        let seconds = now.saturating_duration_since(joined.at).as_secs();
        fields.push(("DialCallDuration".to_owned(), seconds.to_string()));
    }
    fields
}
