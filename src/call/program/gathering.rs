//! Taking keys, with something to hear meanwhile.
//! ```text
//!   prompts, one after the other --> waiting for keys -- enough, the last key, no key for too long --> done
//!        | a key: silence                   ^
//!        +----------------------------------+
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Act, Sound, Sounding};
use crate::provider::twilio::{Gather, Play, Prompt, Said, WebAddress};

/// Keys of one `<Gather>`; then it is enough, whatever was asked for.
const KEYS: usize = 64;

#[derive(Debug)]
pub(super) struct Gathering {
    takes_keys: bool,
    enough: usize,
    finish_on: Option<char>,
    timeout: Duration,
    action: Option<WebAddress>,
    tells_nothing_too: bool,
    prompts: VecDeque<Prompt>,
    keys: String,
    finished_on: Option<char>,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Sounding(Sounding),
    Pausing { until: Instant },
    Waiting { until: Instant },
    Done,
}

/// What it came to.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) action: Option<WebAddress>,
    /// What is told; nothing where no key came and nobody wants to know.
    pub(super) fields: Option<Vec<(String, String)>>,
}

impl Gathering {
    pub(super) fn new(now: Instant, gather: Gather, acts: &mut VecDeque<Act>) -> Self {
        let Gather { takes_keys, enough, finish_on, timeout, action, tells_nothing_too, prompts } = gather;
        let mut gathering = Self {
            takes_keys,
            enough: enough.unwrap_or(KEYS).min(KEYS),
            finish_on,
            timeout,
            action,
            tells_nothing_too,
            prompts: prompts.into(),
            keys: String::new(),
            finished_on: None,
            step: Step::Done,
        };
        gathering.next_prompt(now, acts);
        gathering
    }

    pub(super) fn key(&mut self, now: Instant, key: char, acts: &mut VecDeque<Act>) {
        if !self.takes_keys || matches!(self.step, Step::Done) {
            return;
        }
        if matches!(self.step, Step::Sounding(_)) {
            acts.push_back(Act::Silence);
        }
        self.prompts.clear();
        if self.finish_on == Some(key) {
            self.finished_on = Some(key);
            self.step = Step::Done;
            return;
        }
        self.keys.push(key);
        self.step = if self.keys.len() >= self.enough {
            Step::Done
        } else {
            Step::Waiting { until: now + self.timeout }
        };
    }

    /// What was to be heard was heard.
    pub(super) fn heard(&mut self, now: Instant, acts: &mut VecDeque<Act>) {
        if let Step::Sounding(sounding) = &mut self.step {
            if sounding.again(now) {
                acts.push_back(Act::Sound(sounding.sound.clone()));
            } else {
                self.next_prompt(now, acts);
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match &self.step {
            Step::Pausing { until } | Step::Waiting { until } => Some(*until),
            Step::Sounding(_) | Step::Done => None,
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, acts: &mut VecDeque<Act>) {
        match self.step {
            Step::Pausing { until } if until <= now => self.next_prompt(now, acts),
            Step::Waiting { until } if until <= now => self.step = Step::Done,
            Step::Pausing { .. } | Step::Waiting { .. } | Step::Sounding(_) | Step::Done => {}
        }
    }

    pub(super) fn done(&self) -> Option<Done> {
        let Step::Done = self.step else { return None };
        let mut fields = vec![("Digits".to_owned(), self.keys.clone())];
        fields.extend(self.finished_on.map(|key| ("FinishedOnKey".to_owned(), key.to_string())));
        let told = !self.keys.is_empty() || self.tells_nothing_too || self.finished_on.is_some();
        Some(Done { action: self.action.clone(), fields: told.then_some(fields) })
    }

    fn next_prompt(&mut self, now: Instant, acts: &mut VecDeque<Act>) {
        let (sound, times) = match self.prompts.pop_front() {
            Some(Prompt::Say(Said { text, times })) => (Sound::Say(text), times),
            Some(Prompt::Play(Play { sound, times })) => (Sound::Play(sound), times),
            Some(Prompt::Pause(length)) => {
                self.step = Step::Pausing { until: now + length };
                return;
            }
            // Nobody presses keys while keys are taken.
            Some(Prompt::Keys(_)) => return self.next_prompt(now, acts),
            None => {
                self.step = Step::Waiting { until: now + self.timeout };
                return;
            }
        };
        self.step = Step::Sounding(Sounding::new(now, sound.clone(), times));
        acts.push_back(Act::Sound(sound));
    }
}
