//! Rules of a workflow: what is done when nobody speaks, when a key is pressed, or when the engine has told what the caller wants.
//! ```text
//!   worker: caller or engine silent ----+
//!   worker: key of the caller ----------+--> the first rule that fits --> play, another mode, a human, the end
//!   engine: intent in `context` --------+
//! ```
//! A rule counts while the engine has the caller: not while somebody is called for them, nor when a human is there.

use std::sync::Arc;
use std::time::Duration;

use super::command::Voice;
use super::event::{Asker, EndReason};
use super::ids::LegId;
use super::one::{Call, Farewell, Hands, State};
use super::record::Layer;
use super::telling;
use super::transfer::GiveUp;
use super::view::Mode;
use super::voice::{Announcement, VoiceOrder};

/// What is done when something happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What happens.
    pub when: Trigger,
    /// What is done.
    pub then: Action,
}

/// What may happen in a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trigger {
    /// The engine has spoken, and the caller has said nothing for so long since.
    CallerSilent(Duration),
    /// The caller has spoken, or the call has begun, and the engine has said nothing for so long since.
    EngineSilent(Duration),
    /// The caller presses this key.
    Key(media::Digit),
    /// The engine tells this intent this many times.
    Intent {
        /// As the engine writes it.
        intent: String,
        /// From 1.
        times: u32,
    },
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The caller hears this in place of what the engine says.
    Play(Arc<Announcement>),
    /// Another mode.
    Mode(Mode),
    /// A human is called: this one, or those of the workflow.
    Human(Option<String>),
    /// The call ends.
    HangUp,
}

impl Trigger {
    fn as_str(&self) -> &'static str {
        match self {
            Self::CallerSilent(_) => "caller_silent",
            Self::EngineSilent(_) => "engine_silent",
            Self::Key(_) => "key",
            Self::Intent { .. } => "intent",
        }
    }

    fn asker(&self) -> Asker {
        match self {
            Self::CallerSilent(_) | Self::EngineSilent(_) | Self::Intent { .. } => Asker::Rule,
            Self::Key(_) => Asker::Dtmf,
        }
    }
}

impl Call {
    /// The call is in conversation: the worker tells of the silences that rules wait for.
    pub(super) fn watch_silence(&self, hands: &mut Hands<'_>) {
        let lengths = |of: fn(&Trigger) -> Option<Duration>| {
            let mut lengths: Vec<Duration> =
                self.handling.rules.iter().filter_map(|rule| of(&rule.when)).collect();
            lengths.sort_unstable();
            lengths.dedup();
            lengths
        };
        let caller = lengths(|when| match when {
            Trigger::CallerSilent(length) => Some(*length),
            Trigger::EngineSilent(_) | Trigger::Key(_) | Trigger::Intent { .. } => None,
        });
        let engine = lengths(|when| match when {
            Trigger::EngineSilent(length) => Some(*length),
            Trigger::CallerSilent(_) | Trigger::Key(_) | Trigger::Intent { .. } => None,
        });
        if !(caller.is_empty() && engine.is_empty()) {
            hands.outputs.voice(self.id, VoiceOrder::WatchSilence { caller, engine });
        }
    }

    /// Whose turn it is to speak has been silent for so long.
    pub(super) fn silence_heard(&mut self, hands: &mut Hands<'_>, who: Voice, lasted: Duration) {
        let happened = match who {
            Voice::Caller => Trigger::CallerSilent(lasted),
            Voice::Engine => Trigger::EngineSilent(lasted),
            Voice::Human => return,
        };
        self.follow_rule(hands, &happened);
    }

    /// A key of the caller, where a rule waits for it.
    pub(super) fn key_for_rule(&mut self, hands: &mut Hands<'_>, leg: LegId, digit: media::Digit) {
        if leg == self.leg.id {
            self.follow_rule(hands, &Trigger::Key(digit));
        }
    }

    /// The engine has told what the caller wants.
    pub(super) fn intent_told(&mut self, hands: &mut Hands<'_>, intent: &str) {
        let waits = self.handling.rules.iter().any(|rule| match &rule.when {
            Trigger::Intent { intent: wanted, .. } => wanted == intent,
            Trigger::CallerSilent(_) | Trigger::EngineSilent(_) | Trigger::Key(_) => false,
        });
        if !waits {
            return;
        }
        let times = self.intents.entry(intent.to_owned()).or_default();
        *times += 1;
        let happened = Trigger::Intent { intent: intent.to_owned(), times: *times };
        self.follow_rule(hands, &happened);
    }

    fn follow_rule(&mut self, hands: &mut Hands<'_>, happened: &Trigger) {
        let State::Talking { .. } = self.state else { return };
        if self.transfer.is_some() || self.joined().next().is_some() {
            return;
        }
        let handling = self.handling.clone();
        let Some(rule) = handling.rules.iter().find(|rule| rule.when == *happened) else { return };
        let reason = happened.as_str();
        self.milestone(hands, Layer::Control, "rule", Some(reason.to_owned()));
        let done = match &rule.then {
            Action::Play(audio) => {
                hands.outputs.voice(self.id, VoiceOrder::Announce { leg: self.leg.id, audio: audio.clone() });
                Ok(())
            }
            Action::Mode(mode) => {
                self.switch_mode(hands, *mode, None, Some(reason.to_owned()), happened.asker())
            }
            Action::Human(Some(to)) => self.destination_of(hands, to, "to").map(|to| {
                self.escalate_to(
                    hands,
                    [vec![to]].into(),
                    GiveUp::Back,
                    Mode::Routing,
                    reason,
                    happened.asker(),
                );
            }),
            Action::Human(None) => {
                self.escalate(hands, GiveUp::Back, Mode::Routing, reason, happened.asker());
                Ok(())
            }
            Action::HangUp => {
                let farewell = Farewell::hang_up("Ended by a rule");
                self.end(hands, EndReason::RuleHungUp, telling::nothing(), farewell);
                Ok(())
            }
        };
        if let Err(error) = done {
            self.milestone(hands, Layer::Control, "rule not followed", Some(error.to_string()));
        }
    }
}
