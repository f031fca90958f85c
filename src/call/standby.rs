//! Another engine in place of one that failed, and which engines are left alone for a while (a circuit breaker).
//! ```text
//!   asked --- failed three times in a row ---> left alone for 10 s
//!     ^                                            |
//!     +-- taken: one call -- it works -------------+-- one call asks again; it failed: 10 s more
//! ```
//! An engine that has as many calls as it may have is passed over like one that is left alone.
//! Only calls that have somebody else to turn to leave an engine alone: for the others the last try is better than none.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::engine::EngineFailure;
use super::event::EndReason;
use super::ids::{EngineName, FIRST_LEG};
use super::one::{Call, Hands, Link, State};
use super::record::Layer;
use super::settings::{Engine, Settings};
use super::voice::VoiceOrder;

/// Failures in a row after which an engine is left alone.
const PATIENCE: u32 = 3;

/// For how long; then one call asks it again.
const PAUSE: Duration = Duration::from_secs(10);

/// How the engines are.
#[derive(Debug, Default)]
pub(super) struct Standby {
    failing: BTreeMap<EngineName, Failing>,
    /// Calls that each engine has, or is being dialled for.
    busy: BTreeMap<EngineName, usize>,
    /// Engines that took the place of another.
    pub(super) stood_in: u64,
    /// Engines that went on over another socket, and those that did not.
    pub(super) resumed: u64,
    pub(super) not_resumed: u64,
}

#[derive(Debug)]
struct Failing {
    in_a_row: u32,
    again: Instant,
}

impl Standby {
    fn failed(&mut self, now: Instant, engine: &EngineName) {
        let failing = self.failing.entry(engine.clone()).or_insert(Failing { in_a_row: 0, again: now });
        failing.in_a_row = failing.in_a_row.saturating_add(1);
        failing.again = now + PAUSE;
    }

    /// What the configuration has no more is not waited for.
    pub(super) fn keep(&mut self, settings: &Settings) {
        self.failing.retain(|engine, _| settings.engines.contains_key(engine));
    }

    /// It took a call.
    pub(super) fn works(&mut self, engine: &EngineName) {
        self.failing.remove(engine);
    }

    /// Whether a call may ask it. After a pause the first who asks may.
    fn may_be_asked(&mut self, now: Instant, engine: &EngineName) -> bool {
        match self.failing.get_mut(engine) {
            Some(failing) if failing.in_a_row >= PATIENCE && now < failing.again => false,
            Some(failing) if failing.in_a_row >= PATIENCE => {
                failing.again = now + PAUSE;
                true
            }
            Some(_) | None => true,
        }
    }

    /// A call had `before` and has `after`: the engine that it speaks with, or has dialled.
    pub(super) fn moved(&mut self, before: Option<&Engine>, after: Option<&Engine>) {
        let (before, after) = (before.map(|engine| &engine.name), after.map(|engine| &engine.name));
        if before == after {
            return;
        }
        if let Some(before) = before
            && let Some(calls) = self.busy.get_mut(before)
        {
            *calls -= 1;
            if *calls == 0 {
                self.busy.remove(before);
            }
        }
        if let Some(after) = after {
            *self.busy.entry(after.clone()).or_default() += 1;
        }
    }

    /// It has as many calls as it may have.
    pub(super) fn is_full(&self, engine: &Engine) -> bool {
        let calls = self.busy.get(&engine.name).copied().unwrap_or(0);
        engine.max_calls.is_some_and(|most| calls >= most)
    }

    /// It is full, and so is everyone who would stand in for it.
    pub(super) fn has_no_room(&self, engine: &Engine, settings: &Settings) -> bool {
        let mut asked = vec![&engine.name];
        let mut next = engine;
        while self.is_full(next) {
            let fallback = next.fallback.as_ref().filter(|name| !asked.contains(name));
            let Some(fallback) = fallback.and_then(|name| settings.engines.get(name)) else { return true };
            asked.push(&fallback.name);
            next = fallback;
        }
        false
    }

    /// Those that failed too often to be asked as usual.
    pub(super) fn left_alone(&self) -> usize {
        self.failing.values().filter(|failing| failing.in_a_row >= PATIENCE).count()
    }
}

impl Call {
    /// The engine that is dialled: where it is left alone, the one that stands in for it.
    pub(super) fn choose_engine(&mut self, hands: &mut Hands<'_>) {
        while let Some(engine) = self.stand_in(hands.settings) {
            let why = if hands.standby.is_full(&self.engine) {
                "engine full"
            } else if !hands.standby.may_be_asked(hands.now, &self.engine.name) {
                "engine left alone"
            } else {
                return;
            };
            self.milestone(hands, Layer::Engine, why, Some(self.engine.name.to_string()));
            self.replace_engine(hands, engine);
        }
    }

    /// The engine failed: the one that stands in for it is dialled. False where there is none.
    pub(super) fn turn_to_stand_in(&mut self, hands: &mut Hands<'_>, failure: &EngineFailure) -> bool {
        let may = match self.state {
            State::Ringing { .. } | State::Opening { .. } | State::Calling { .. } => true,
            State::Confirming | State::Talking { .. } => !self.is_others_business(),
            State::Announcing { .. } | State::Draining { .. } | State::Ending { .. } => false,
        };
        let Some(engine) = self.stand_in(hands.settings).filter(|_| may) else { return false };
        self.milestone(hands, Layer::Engine, "engine gone", Some(failure.to_string()));
        hands.outputs.voice(self.id, VoiceOrder::DismissEngine(EndReason::EngineLost));
        self.replace_engine(hands, engine);
        self.link = Link::Idle;
        self.dial(hands);
        self.let_wait(hands);
        true
    }

    /// The engine that it speaks with, or that is dialled for it.
    pub(super) fn engine_in_use(&self) -> Option<&Arc<Engine>> {
        match self.link {
            Link::Idle | Link::Gone => None,
            Link::Dialling | Link::Deciding { .. } | Link::Willing | Link::Speaking | Link::Resuming(_) => {
                Some(&self.engine)
            }
        }
    }

    /// What became of the engine, for the calls that come after this one.
    pub(super) fn note_failure(&self, hands: &mut Hands<'_>) {
        hands.standby.failed(hands.now, &self.engine.name);
    }

    /// An engine that this call has not had, and that the configuration still has.
    fn stand_in(&self, settings: &Settings) -> Option<Arc<Engine>> {
        let name = self.engine.fallback.as_ref()?;
        let is_new = *name != self.engine.name && !self.had_engines.contains(name);
        settings.engines.get(name).filter(|_| is_new).cloned()
    }

    fn replace_engine(&mut self, hands: &mut Hands<'_>, engine: Arc<Engine>) {
        let before = std::mem::replace(&mut self.engine, engine);
        self.had_engines.push(before.name.clone());
        self.handover = None;
        hands.standby.stood_in += 1;
        let name = self.engine.name.to_string();
        self.milestone(hands, Layer::Engine, "engine replaced", Some(format!("{} by {name}", before.name)));
        self.story.change(hands.outputs, |view| view.engine = Some(name));
        self.story.show(hands.outputs);
    }

    /// The caller waits alone in an answered call for an engine that takes another's place, or that of humans.
    pub(super) fn awaits_stand_in(&self) -> bool {
        let is_coming = match self.link {
            Link::Dialling | Link::Deciding { .. } => true,
            Link::Idle | Link::Willing | Link::Speaking | Link::Resuming(_) | Link::Gone => false,
        };
        let was_with_others =
            !self.had_engines.is_empty() || self.handover.is_some() || self.next_leg > FIRST_LEG.0 + 1;
        let is_alone = self.joined().next().is_none();
        is_coming && was_with_others && is_alone && matches!(self.state, State::Talking { .. })
    }
}
