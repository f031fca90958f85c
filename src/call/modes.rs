//! Who owns the conversation: modes, and who hears whom because of them.
//!
//! | there is | mode | the engine hears | the engine is heard by | caller and human |
//! |---|---|---|---|---|
//! | no human | any | the caller | the caller | |
//! | a human | `assist` | both, a track each | the human | hear each other |
//! | a human | any other | nobody: its socket is closed before they are joined | nobody | hear each other |
//!
//! A switch is told once, by `transferred` with `edge.mode`, when the new owner has the caller.

use std::collections::VecDeque;

use super::command::{CommandError, Control, OnFailure, SwitchMode, TransferStyle, Voice};
use super::engine::EngineEvent;
use super::event::{Asker, EndReason, EventKind, ModeChange};
use super::ids::LegId;
use super::one::{Call, Farewell, Hands, Link, State};
use super::record::Layer;
use super::telling;
use super::transfer::{Destination, GiveUp, Order};
use super::view::{Mode, Status};
use super::voice::{Route, VoiceOrder};
use super::waiting;

impl Call {
    /// Another mode, asked for by the API.
    pub(super) fn mode_ordered(
        &mut self,
        hands: &mut Hands<'_>,
        ordered: SwitchMode,
    ) -> Result<(), CommandError> {
        let SwitchMode { mode, to, reason, .. } = ordered;
        let to = to.as_ref().map(|to| self.resolve(hands, to, "to")).transpose()?;
        self.switch_mode(hands, mode, to, reason, Asker::Api)
    }

    /// Another mode, asked for by the engine.
    pub(super) fn engine_switches(
        &mut self,
        hands: &mut Hands<'_>,
        id: Option<String>,
        mode: Mode,
        to: Option<&str>,
        reason: Option<String>,
    ) {
        let to = to.map(|to| self.destination_of(hands, to, "to")).transpose();
        let switched = to.and_then(|to| self.switch_mode(hands, mode, to, reason, Asker::Engine));
        if let Err(error) = switched {
            self.refuse_engine(hands, id, error.code(), &error.to_string());
        }
    }

    /// Another mode, whoever asked for it.
    pub(super) fn switch_mode(
        &mut self,
        hands: &mut Hands<'_>,
        mode: Mode,
        to: Option<Destination>,
        reason: Option<String>,
        by: Asker,
    ) -> Result<(), CommandError> {
        self.may_transfer()?;
        if self.story.view().mode == mode {
            return Err(CommandError::ModeUnchanged);
        }
        if self.hooked.is_some() {
            // Who hears whom is the platform's to say.
            return Err(CommandError::ProviderInboundOnly);
        }
        let human = self.joined().next();
        let reason = reason.unwrap_or_else(|| "asked_for".to_owned());
        match (mode, human) {
            (Mode::AiOnly | Mode::AiFirst, None) => {
                self.mode_changed(hands, mode, reason, by, telling::nothing());
            }
            (Mode::AiOnly | Mode::AiFirst, Some(_)) => {
                self.let_parties_go(hands, "The engine has the caller again");
                self.mode_changed(hands, mode, reason, by, telling::nothing());
                self.call_engine_back(hands);
            }
            (Mode::Assist | Mode::Routing, Some(_)) => {
                if mode == Mode::Routing {
                    self.dismiss_engine(hands);
                }
                self.mode_changed(hands, mode, reason, by, telling::nothing());
                if mode == Mode::Assist {
                    self.call_engine_back(hands);
                }
            }
            (Mode::Assist | Mode::Routing, None) => {
                let groups = self.wanted_humans(hands, to)?;
                let order = Order {
                    style: TransferStyle::Bridge,
                    give_up: GiveUp::Back,
                    reason: Some(reason),
                    announce: self.handling.briefing.clone(),
                    on_machine: self.handling.human_machine,
                    re: None,
                    by,
                    mode,
                    referral: None,
                };
                self.begin_transfer(hands, order, groups);
            }
        }
        Ok(())
    }

    /// The conversation has a new owner.
    pub(super) fn mode_changed(
        &mut self,
        hands: &mut Hands<'_>,
        to: Mode,
        reason: String,
        by: Asker,
        raw: Box<serde_json::value::RawValue>,
    ) {
        let from = self.story.view().mode;
        let status = self.talking_status();
        self.story.change(hands.outputs, |view| {
            view.mode = to;
            view.status = status;
        });
        self.let_hear(hands);
        self.let_wait(hands);
        let detail = format!("{} to {}: {reason}", from.as_str(), to.as_str());
        self.milestone(hands, Layer::Control, "mode", Some(detail));
        self.tell_engine(hands, EngineEvent::Mode(to));
        let change = ModeChange { from, to, reason, by };
        self.story.tell_mode(hands.now, hands.outputs, EventKind::Transferred, raw, change);
    }

    /// Everyone hears whom they should, from now on.
    pub(super) fn let_hear(&mut self, hands: &mut Hands<'_>) {
        let route = self.wanted_route();
        if route != self.route {
            self.route = route.clone();
            hands.outputs.voice(self.id, VoiceOrder::Route(route));
        }
    }

    fn wanted_route(&self) -> Route {
        if let Some(route) = self.listening_route() {
            return route;
        }
        let caller = self.leg.id;
        if self.on_hold {
            return Route { engine_to: None, engine_hears: Vec::new(), hears: Vec::new(), muted: Vec::new() };
        }
        let muted = self.muted_legs();
        let mut humans: Vec<LegId> = self.joined().collect();
        if humans.is_empty() {
            if let Some(route) = self.hooked_route(muted.clone()) {
                return route;
            }
            let engine_to = Some(caller).filter(|_| !self.muted.contains(&Voice::Engine));
            return Route { engine_to, engine_hears: vec![caller], hears: Vec::new(), muted };
        }
        let assists = self.story.view().mode == Mode::Assist;
        let whispers = assists && !self.muted.contains(&Voice::Engine);
        let engine_to = humans.first().copied().filter(|_| whispers);
        humans.insert(0, caller);
        let others = |listener: LegId| {
            humans
                .iter()
                .filter(move |speaker| **speaker != listener)
                .map(move |speaker| (listener, *speaker))
        };
        let hears = humans.iter().copied().flat_map(others).collect();
        let engine_hears = if assists { humans.clone() } else { Vec::new() };
        Route { engine_to, engine_hears, hears, muted }
    }

    /// The caller hears ringback while somebody is asked or called for them, and while the human holds.
    pub(super) fn let_wait(&mut self, hands: &mut Hands<'_>) {
        let held = self.parties.iter().any(|party| party.is_joined() && party.leg.held);
        let waits =
            self.transfer.is_some() || held || self.on_hold || self.awaits_stand_in() || self.awaits_return();
        if waits != self.waits {
            self.waits = waits;
            let own = || self.handling.waiting.clone().unwrap_or_else(waiting::ringback);
            let audio = waits.then(own);
            hands.outputs.voice(self.id, VoiceOrder::Wait { leg: self.leg.id, audio });
        }
    }

    fn muted_legs(&self) -> Vec<LegId> {
        let humans = self.joined().filter(|_| self.muted.contains(&Voice::Human));
        let caller = Some(self.leg.id).filter(|_| self.muted.contains(&Voice::Caller));
        caller.into_iter().chain(humans).collect()
    }

    /// What the API wants of a running call.
    pub(super) fn controlled(&mut self, hands: &mut Hands<'_>, control: Control) -> Result<(), CommandError> {
        self.may_be_controlled()?;
        match control {
            Control::Hold => self.hold(hands, true),
            Control::Resume => self.hold(hands, false),
            Control::Play { announcement } => {
                let audio = super::transfer::announcement(hands, &announcement)?;
                self.milestone(hands, Layer::Media, "played", Some(announcement));
                hands.outputs.voice(self.id, VoiceOrder::Announce { leg: self.leg.id, audio });
                Ok(())
            }
            Control::PauseRecording { paused } => {
                if self.story.view().recording_url.is_none() {
                    return Err(CommandError::NotRecorded);
                }
                let what = if paused { "recording paused" } else { "recording resumed" };
                self.milestone(hands, Layer::Control, what, None);
                hands.outputs.voice(self.id, VoiceOrder::PauseRecording(paused));
                Ok(())
            }
            Control::MaskKeys { masked } => {
                self.masked = masked;
                let what = if masked { "keys masked" } else { "keys told again" };
                self.milestone(hands, Layer::Control, what, None);
                hands.outputs.voice(self.id, VoiceOrder::MaskKeys(masked));
                Ok(())
            }
            Control::Mute { who, muted } => {
                self.muted.retain(|known| *known != who);
                if muted {
                    self.muted.push(who);
                }
                let what = if muted { "muted" } else { "heard again" };
                self.milestone(hands, Layer::Control, what, Some(who.as_str().to_owned()));
                self.let_hear(hands);
                Ok(())
            }
        }
    }

    fn may_be_controlled(&self) -> Result<(), CommandError> {
        match self.may_transfer() {
            Ok(()) | Err(CommandError::TransferUnderWay) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The caller waits: nobody hears them, and they hear what who waits hears.
    fn hold(&mut self, hands: &mut Hands<'_>, on_hold: bool) -> Result<(), CommandError> {
        if self.on_hold == on_hold {
            return Err(if on_hold { CommandError::CallHeld } else { CommandError::CallNotHeld });
        }
        self.on_hold = on_hold;
        let (what, event) =
            if on_hold { ("held", EngineEvent::Held) } else { ("resumed", EngineEvent::Resumed) };
        self.milestone(hands, Layer::Control, what, None);
        self.tell_engine(hands, event);
        let status = self.talking_status();
        self.story.change(hands.outputs, |view| view.status = status);
        self.let_hear(hands);
        self.let_wait(hands);
        Ok(())
    }

    /// How the call stands while it is in conversation.
    pub(super) fn talking_status(&self) -> Status {
        if self.transfer.is_some() {
            Status::Transferring
        } else if self.on_hold || self.leg.held {
            Status::Held
        } else {
            Status::Answered
        }
    }

    /// The engine has nothing more to do with the call; its socket is closed.
    pub(super) fn dismiss_engine(&mut self, hands: &mut Hands<'_>) {
        match self.link {
            Link::Idle | Link::Gone => return,
            Link::Dialling | Link::Deciding { .. } | Link::Willing | Link::Speaking | Link::Resuming(_) => {}
        }
        self.link = Link::Gone;
        self.milestone(hands, Layer::Engine, "engine dismissed", None);
        hands.outputs.voice(self.id, VoiceOrder::DismissEngine(EndReason::Transferred));
    }

    /// The engine is wanted again; one that went is dialled anew.
    pub(super) fn call_engine_back(&mut self, hands: &mut Hands<'_>) {
        self.let_hear(hands);
        // Its application decides whom it connects.
        if self.application.is_some() {
            return;
        }
        if matches!(self.link, Link::Gone | Link::Idle) {
            self.link = Link::Idle;
            self.dial(hands);
            self.let_wait(hands);
        }
    }

    /// A human who spoke with the caller has gone.
    pub(super) fn human_left(&mut self, hands: &mut Hands<'_>, raw: Box<serde_json::value::RawValue>) {
        if self.is_ending() {
            return;
        }
        if self.joined().next().is_some() || self.transfer.is_some() {
            self.let_hear(hands);
            return self.let_wait(hands);
        }
        if self.dialled_left(hands, &raw) {
            return;
        }
        if !self.returns_to_engine {
            return self.end(
                hands,
                EndReason::RemoteHungUp,
                raw,
                Farewell::hang_up("The other side hung up"),
            );
        }
        let State::Talking { .. } = self.state else { return };
        self.mode_changed(hands, Mode::AiFirst, "human_hung_up".to_owned(), Asker::Rule, raw);
        self.call_engine_back(hands);
    }

    /// Whom to call: who was named, or those of the workflow.
    fn wanted_humans(
        &self,
        hands: &mut Hands<'_>,
        to: Option<Destination>,
    ) -> Result<VecDeque<Vec<Destination>>, CommandError> {
        if !self.provider.trunk.is_outbound() {
            return Err(CommandError::ProviderInboundOnly);
        }
        let groups = match to {
            Some(to) => [vec![to]].into(),
            None => self.humans(hands),
        };
        if groups.is_empty() { Err(CommandError::ModeNoHuman) } else { Ok(groups) }
    }

    /// Whether somebody can be called when a human is wanted.
    pub(super) fn has_humans(&self) -> bool {
        !self.handling.humans.is_empty() && self.provider.trunk.is_outbound()
    }

    /// The caller is for a human from the beginning.
    pub(super) fn begins_with_human(&self) -> bool {
        self.story.view().mode == Mode::Routing && self.has_humans()
    }

    /// A human can be called for this caller now, or as soon as the call is answered.
    pub(super) fn is_ready_for_human(&self) -> bool {
        self.leg.negotiator.is_some() && matches!(self.state, State::Ringing { .. })
    }

    /// There is no engine for a call that rings: it is answered for a human.
    pub(super) fn human_for_engine(&mut self, hands: &mut Hands<'_>) {
        self.dismiss_engine(hands);
        self.link = Link::Gone;
        self.milestone(hands, Layer::Control, "a human for the engine", None);
        self.answer_when_ready(hands);
    }

    /// The call was answered: where it is for a human, one is called.
    pub(super) fn call_first_human(&mut self, hands: &mut Hands<'_>) {
        let mode = self.story.view().mode;
        let (give_up, wanted, reason) = match (mode, &self.link) {
            (Mode::Routing, _) => (GiveUp::Back, Mode::Routing, "routing"),
            (Mode::Assist, _) => (GiveUp::Back, Mode::Assist, "assist"),
            (Mode::AiOnly | Mode::AiFirst, Link::Gone) => {
                (GiveUp::PlanB, Mode::Routing, "engine_unavailable")
            }
            (
                Mode::AiOnly | Mode::AiFirst,
                Link::Idle
                | Link::Dialling
                | Link::Deciding { .. }
                | Link::Willing
                | Link::Speaking
                | Link::Resuming(_),
            ) => return,
        };
        if self.has_humans() {
            self.escalate(hands, give_up, wanted, reason, Asker::Rule);
        }
    }

    /// A human is wanted, because of a rule.
    pub(super) fn escalate(
        &mut self,
        hands: &mut Hands<'_>,
        give_up: GiveUp,
        mode: Mode,
        reason: &str,
        by: Asker,
    ) {
        let groups = self.humans(hands);
        self.escalate_to(hands, groups, give_up, mode, reason, by);
    }

    /// These are wanted, because of a rule.
    pub(super) fn escalate_to(
        &mut self,
        hands: &mut Hands<'_>,
        groups: VecDeque<Vec<Destination>>,
        give_up: GiveUp,
        mode: Mode,
        reason: &str,
        by: Asker,
    ) {
        let order = Order {
            style: TransferStyle::Bridge,
            give_up,
            reason: Some(reason.to_owned()),
            announce: self.handling.briefing.clone(),
            on_machine: self.handling.human_machine,
            re: None,
            by,
            mode,
            referral: None,
        };
        self.begin_transfer(hands, order, groups);
    }

    /// A key of the caller may call a human.
    pub(super) fn key_pressed(&mut self, hands: &mut Hands<'_>, leg: LegId, digit: media::Digit) {
        if leg == self.leg.id {
            self.with_program(hands, |program, now| program.key(now, digit.as_char()));
        }
        let is_caller = leg == self.leg.id && self.joined().next().is_none();
        if is_caller
            && self.handling.human_key == Some(digit)
            && self.has_humans()
            && self.may_transfer().is_ok()
        {
            self.escalate(hands, GiveUp::Back, Mode::Routing, "key_pressed", Asker::Dtmf);
        }
    }
}

impl From<OnFailure> for GiveUp {
    fn from(on_failure: OnFailure) -> Self {
        match on_failure {
            OnFailure::ReturnToAi | OnFailure::Next => Self::Back,
            OnFailure::HangUp => Self::HangUp,
        }
    }
}
