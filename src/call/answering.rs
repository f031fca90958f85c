//! Who answered a call that we placed, or a human's telephone: a person or a machine, and what is done about a machine.
//! ```text
//!   [Listening] -- machine --> told; `continue`: nothing more
//!        |                     `hang_up`: the call ends
//!        |                     `leave_message`: [Awaiting the beep] -- beep, or too long --> the engine begins anew
//!        +-- person: known in the call object                |
//!                                                            +-- a person after all --> the engine begins anew
//! ```
//! The hello is never delayed: the engine speaks from the answer on, and is stopped only when it is a machine that it speaks to.
//! A human who is called into the call is joined when a person was heard, so that a machine hears neither caller nor
//! announcement; who says nothing is taken for a person after a while.

use std::time::{Duration, Instant};

use super::command::OnMachine;
use super::event::{EndReason, EventKind};
use super::ids::LegId;
use super::one::{Call, Farewell, Hands, Link, State};
use super::party::{NotReached, Stage};
use super::record::Layer;
use super::telling;
use super::view::AnsweredBy;
use super::voice::VoiceOrder;

/// A machine without a beep is spoken to after this.
const BEEP: Duration = Duration::from_secs(30);

/// Who answers for a human and has said nothing telling for so long is a person. A verdict on somebody who speaks comes sooner.
const LISTEN: Duration = Duration::from_secs(5);

/// What is done about machines in one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answering {
    on_machine: OnMachine,
    /// The engine is away until then.
    awaits_beep: Option<Instant>,
}

impl Answering {
    pub(super) fn new(on_machine: OnMachine) -> Self {
        Self { on_machine, awaits_beep: None }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.awaits_beep
    }
}

impl Call {
    /// The call was answered: who is it?
    pub(super) fn listen_who_answered(&self, hands: &mut Hands<'_>) {
        if self.answering.is_some() {
            hands.outputs.voice(self.id, VoiceOrder::DetectAnswerer { leg: self.leg.id });
        }
    }

    /// The worker has heard who it is, first or better than before.
    pub(super) fn answerer_heard(&mut self, hands: &mut Hands<'_>, who: AnsweredBy, confidence: f32) {
        let before = self.story.view().answered_by;
        self.story.change(hands.outputs, |view| view.answered_by = Some(who));
        self.story.show(hands.outputs);
        let detail = format!("{} ({:.0} %)", who.as_str(), confidence * 100.0);
        self.milestone(hands, Layer::Media, "answered by", Some(detail));
        let (State::Talking { .. }, Some(answering)) = (&self.state, self.answering) else { return };
        match who {
            AnsweredBy::Machine if before != Some(AnsweredBy::Machine) => self.is_machine(hands, answering),
            AnsweredBy::Human if answering.awaits_beep.is_some() => self.speak_again(hands),
            AnsweredBy::Machine | AnsweredBy::Human | AnsweredBy::Unknown => {}
        }
    }

    fn is_machine(&mut self, hands: &mut Hands<'_>, answering: Answering) {
        let raw = telling::raw_code("answered_by.machine", "an answering machine was heard");
        self.story.tell(hands.now, hands.outputs, EventKind::Voicemail, raw);
        match answering.on_machine {
            OnMachine::Continue => {}
            OnMachine::HangUp => {
                let farewell = Farewell::hang_up("Answering machine");
                self.end(hands, EndReason::MachineAnswered, telling::nothing(), farewell);
            }
            OnMachine::LeaveMessage => {
                self.dismiss_engine(hands);
                let awaits_beep = Some(hands.now + BEEP);
                self.answering = Some(Answering { awaits_beep, ..answering });
            }
        }
    }

    /// The beep is over.
    pub(super) fn beep_heard(&mut self, hands: &mut Hands<'_>) {
        self.milestone(hands, Layer::Media, "beep", None);
        if self.answering.is_some_and(|answering| answering.awaits_beep.is_some()) {
            self.speak_again(hands);
        }
    }

    /// No beep came.
    pub(super) fn handle_answering_timeout(&mut self, hands: &mut Hands<'_>) {
        let due = self.answering.and_then(|answering| answering.awaits_beep);
        if due.is_some_and(|at| at <= hands.now) {
            self.milestone(hands, Layer::Media, "no beep", None);
            self.speak_again(hands);
        }
    }

    fn speak_again(&mut self, hands: &mut Hands<'_>) {
        if let Some(answering) = &mut self.answering {
            answering.awaits_beep = None;
        }
        if matches!((&self.state, &self.link), (State::Talking { .. }, Link::Gone)) {
            self.call_engine_back(hands);
        }
    }

    /// A human's telephone was answered: by the human?
    pub(super) fn listen_to_party(&mut self, hands: &mut Hands<'_>, leg: LegId) {
        let give_up = hands.now + LISTEN;
        let Some(party) = self.party(leg) else { return };
        party.stage = Stage::Listened { give_up };
        hands.outputs.voice(self.id, VoiceOrder::DetectAnswerer { leg });
    }

    /// The worker has heard who answered for a human. What is heard after they were joined changes nothing.
    pub(super) fn party_heard(
        &mut self,
        hands: &mut Hands<'_>,
        leg: LegId,
        who: AnsweredBy,
        confidence: f32,
    ) {
        let Some(stage) = self.party(leg).map(|party| party.stage) else { return };
        let detail = format!("leg {}: {} ({:.0} %)", leg.0, who.as_str(), confidence * 100.0);
        self.milestone(hands, Layer::Media, "human answered by", Some(detail));
        let is_awaited = match stage {
            Stage::Listened { .. } | Stage::Briefed { .. } => true,
            Stage::Opening { .. }
            | Stage::Calling { .. }
            | Stage::Waiting
            | Stage::Joined
            | Stage::Leaving { .. } => false,
        };
        match who {
            AnsweredBy::Machine if is_awaited => {
                let why = "an answering machine has answered";
                self.party_lost(hands, leg, NotReached::told("transfer.voicemail", why));
            }
            AnsweredBy::Human if matches!(stage, Stage::Listened { .. }) => self.party_is_person(hands, leg),
            AnsweredBy::Machine | AnsweredBy::Human | AnsweredBy::Unknown => {}
        }
    }

    /// Nothing speaks for a machine.
    pub(super) fn party_is_person(&mut self, hands: &mut Hands<'_>, leg: LegId) {
        self.party_is_chosen(hands, leg, telling::nothing());
    }
}
