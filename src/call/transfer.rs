//! Handing the caller over: one machine for REFER (RFC 3515) and for legs of our own, told to its final state.
//! ```text
//!                  +------------------ next target <--------------------+
//!                  v                                                    |
//!   [Referring] -- 2xx --> [accepted] -- NOTIFY 2xx, BYE --> transferred, the call leaves us
//!        |                     | NOTIFY 3xx..6xx: the human was asked ---+
//!        | `blind`: refused    |                                        |
//!        +---------------------+ no final NOTIFY ------------------------+  no target left: what was
//!        | `auto`                                                       |  asked for then: back to the
//!        v                                                              |  engine, or the end
//!   [Bridging] -- a person answers, is briefed --> joined, told         |
//!        | busy, no answer, refused, unreachable, a machine -------------+
//! ```
//! The engine stays with the caller until somebody is there; wherever it says nothing the caller hears ringback.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;

use super::command::{CommandError, MachineForHuman, TransferCall, TransferStyle, TransferTarget};
use super::engine::{EngineEvent, TransferManner, TransferState, TransferStep};
use super::event::{Asker, EndReason, EventKind};
use super::ids::LegId;
use super::inbound::reason_header;
use super::number::{self, NotDialable};
use super::one::{Call, Farewell, Hands, State};
use super::party::NotReached;
use super::record::Layer;
use super::settings::{AfterHuman, RingGroup};
use super::telling;
use super::view::{Mode, Status};
use super::voice::Announcement;

/// How long a human's phone rings when nothing else is said; the trunk's own limit where that is shorter.
const HUMAN_RINGS: Duration = Duration::from_secs(30);

/// A transfer under way.
pub(super) struct Transfer {
    order: Order,
    /// Those who are asked at the moment, all at once.
    current: Vec<Destination>,
    /// Who is asked next, group by group.
    rest: VecDeque<Vec<Destination>>,
    step: Step,
    /// REFER was refused: it would be again.
    refuses_refer: bool,
}

/// How it was asked for.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) style: TransferStyle,
    pub(super) give_up: GiveUp,
    pub(super) reason: Option<String>,
    /// What a human hears before they are joined.
    pub(super) announce: Option<Arc<Announcement>>,
    /// When a machine answers for a human.
    pub(super) on_machine: MachineForHuman,
    /// The engine's own name for its request.
    pub(super) re: Option<String>,
    pub(super) by: Asker,
    /// Whose the conversation is when a human has joined.
    pub(super) mode: Mode,
    /// The REFER that asked for it.
    pub(super) referral: Option<Referral>,
}

/// A REFER of a far end: it is told how it goes, and whom we reach takes its place.
#[derive(Debug, Clone)]
pub(super) struct Referral {
    dialog: sip::DialogId,
    id: sip::RequestId,
    /// The leg that it came over.
    leg: LegId,
    /// What the INVITE says in Replaces (RFC 3891), where the new party has a dialog with theirs already.
    replaces: Option<String>,
    /// Who they say they are, for whom we call (RFC 3892 §2.2).
    referred_by: Option<String>,
}

/// When nobody takes the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GiveUp {
    /// The engine has the caller as before.
    Back,
    HangUp,
    /// What the engine's configuration says for the loss of it.
    PlanB,
}

/// Somebody who may be called.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Destination {
    /// As it was asked for.
    to: String,
    uri: sip::Uri,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// Nobody was asked yet.
    Begun,
    Referring {
        give_up: Instant,
        accepted: bool,
    },
    /// These legs ring, or one of them is being briefed.
    Bridging {
        legs: Vec<LegId>,
    },
    /// The human is there, and the caller's far end was asked to take our place with them (RFC 5589 §7).
    Replacing {
        leg: LegId,
        give_up: Instant,
        accepted: bool,
    },
}

impl Referral {
    /// What the INVITE says of it.
    fn headers(&self) -> Vec<(String, String)> {
        let known = [("Replaces", &self.replaces), ("Referred-By", &self.referred_by)];
        let there = known.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
        there.map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

impl Transfer {
    pub(super) fn is_accepted(&self) -> bool {
        matches!(self.step, Step::Referring { accepted: true, .. } | Step::Replacing { accepted: true, .. })
    }

    pub(super) fn is_referring(&self) -> bool {
        matches!(self.step, Step::Referring { .. })
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.step {
            Step::Referring { give_up, .. } | Step::Replacing { give_up, .. } => Some(give_up),
            Step::Begun | Step::Bridging { .. } => None,
        }
    }
}

impl Call {
    /// Asked for by the API.
    pub(super) fn transfer_ordered(
        &mut self,
        hands: &mut Hands<'_>,
        ordered: TransferCall,
    ) -> Result<(), CommandError> {
        self.may_transfer()?;
        let to = target(&ordered.to)?;
        let then = ordered.then.iter().map(|further| target(further).map(str::to_owned));
        let manner = TransferManner {
            style: ordered.style,
            announce: ordered.announce,
            on_failure: ordered.on_failure,
            then: then.collect::<Result<_, _>>()?,
            on_machine: ordered.on_machine,
            assist_after: ordered.assist_after,
        };
        let (order, groups) = self.order(hands, to, &manner)?;
        if let Some(context) = ordered.context {
            self.story.change(hands.outputs, |view| view.context.merge(context));
        }
        let order = Order { reason: ordered.reason, ..order };
        self.begin_transfer(hands, order, groups);
        Ok(())
    }

    /// What is asked for, if it can be done so.
    fn order(
        &self,
        hands: &mut Hands<'_>,
        to: &str,
        manner: &TransferManner,
    ) -> Result<(Order, VecDeque<Vec<Destination>>), CommandError> {
        let unsupported = |field, problem| Err(CommandError::TransferUnsupported { field, problem });
        if self.hooked.is_some() {
            return unsupported(
                "to",
                "the platform has the caller: end the call, and let its flow go on with what the call leaves",
            );
        }
        let own_legs = self.provider.trunk.is_outbound();
        match manner.style {
            TransferStyle::Attended | TransferStyle::Bridge if !own_legs => {
                return unsupported("style", "the trunk has no `target` to call over: write `blind`");
            }
            TransferStyle::Blind if manner.announce.is_some() => {
                return unsupported("announce", "nothing can be whispered before a blind transfer");
            }
            TransferStyle::Blind if manner.assist_after => {
                return unsupported("assist_after", "the call leaves the edge with a blind transfer");
            }
            TransferStyle::Blind | TransferStyle::Auto | TransferStyle::Attended | TransferStyle::Bridge => {}
        }
        let announce = manner.announce.as_ref().map(|name| announcement(hands, name)).transpose()?;
        let mut groups = VecDeque::from([vec![self.destination_of(hands, to, "to")?]]);
        for further in &manner.then {
            groups.push_back(vec![self.destination_of(hands, further, "then")?]);
        }
        // Only a leg of ours can be briefed, or listened to by the engine.
        let own_leg_wanted = announce.is_some() || manner.assist_after;
        let style = match manner.style {
            TransferStyle::Auto if own_leg_wanted && own_legs => TransferStyle::Bridge,
            TransferStyle::Auto | TransferStyle::Blind | TransferStyle::Attended | TransferStyle::Bridge => {
                manner.style
            }
        };
        let order = Order {
            style,
            give_up: manner.on_failure.into(),
            reason: None,
            announce,
            on_machine: manner.on_machine.unwrap_or(self.handling.human_machine),
            re: None,
            by: Asker::Api,
            mode: if manner.assist_after { Mode::Assist } else { Mode::Routing },
            referral: None,
        };
        Ok((order, groups))
    }

    /// Those of the workflow, in the groups in which they are called. Who may not be dialled is left out.
    pub(super) fn humans(&self, hands: &mut Hands<'_>) -> VecDeque<Vec<Destination>> {
        let humans = self.handling.humans.iter();
        let humans: Vec<Destination> =
            humans.filter_map(|human| self.destination_of(hands, human, "humans").ok()).collect();
        match self.handling.ring {
            RingGroup::Parallel if humans.is_empty() => VecDeque::new(),
            RingGroup::Parallel => [humans].into(),
            RingGroup::Sequential => humans.into_iter().map(|human| vec![human]).collect(),
        }
    }

    /// Asked for by the engine; it hears of each step.
    pub(super) fn engine_transfers(
        &mut self,
        hands: &mut Hands<'_>,
        id: Option<String>,
        to: &str,
        reason: Option<String>,
        manner: &TransferManner,
    ) {
        match self.may_transfer().and_then(|()| self.order(hands, to, manner)) {
            Ok((order, groups)) => {
                let order = Order { reason, re: id, by: Asker::Engine, ..order };
                self.begin_transfer(hands, order, groups);
            }
            Err(error) => self.refuse_engine(hands, id, error.code(), &error.to_string()),
        }
    }

    /// A far end asks us to call somebody who is to take its place (REFER): obeyed where the trunk may dial them.
    pub(super) fn asked_to_transfer(
        &mut self,
        hands: &mut Hands<'_>,
        leg: LegId,
        id: sip::RequestId,
        request: &sip::Message,
    ) {
        match self.referral(hands, leg, id, request) {
            Ok((referral, to)) => {
                self.milestone(hands, Layer::Signalling, "refer received", Some(format!("to {}", to.to)));
                hands.endpoint.accept_refer(hands.now, id);
                let mode = self.story.view().mode;
                let order = Order {
                    style: TransferStyle::Bridge,
                    give_up: GiveUp::Back,
                    reason: Some("referred".to_owned()),
                    announce: None,
                    on_machine: MachineForHuman::Join,
                    re: None,
                    by: Asker::Caller,
                    mode,
                    referral: Some(referral),
                };
                self.begin_transfer(hands, order, [vec![to]].into());
            }
            Err((status, why)) => {
                let headers: sip::Headers = vec![
                    ("Reason".into(), reason_header(status, &why)),
                    ("Warning".into(), format!("399 {} \"{why}\"", hands.settings.sip_host)),
                ];
                hands.endpoint.respond(hands.now, id, status, headers, None);
                self.milestone(hands, Layer::Signalling, "refer refused", Some(why));
            }
        }
    }

    /// What a REFER asks for, if it can be obeyed.
    fn referral(
        &self,
        hands: &mut Hands<'_>,
        leg: LegId,
        id: sip::RequestId,
        request: &sip::Message,
    ) -> Result<(Referral, Destination), (sip::StatusCode, String)> {
        let refuse = |status, why: &str| Err((status, why.to_owned()));
        let Some(refer_to) = request.refer_to().ok().flatten() else {
            return refuse(sip::StatusCode::BAD_REQUEST, "Refer-To is missing or cannot be read");
        };
        match refer_to.uri().scheme() {
            sip::Scheme::Sip | sip::Scheme::Sips | sip::Scheme::Tel => {}
            sip::Scheme::Other => {
                return refuse(sip::StatusCode::UNSUPPORTED_URI_SCHEME, "this edge calls sip, sips and tel");
            }
        }
        if let Err(error) = self.may_transfer() {
            let is_busy = error == CommandError::TransferUnderWay;
            let status = if is_busy { sip::StatusCode::REQUEST_PENDING } else { sip::StatusCode::DECLINE };
            return Err((status, error.to_string()));
        }
        if !self.provider.trunk.is_outbound() {
            return refuse(sip::StatusCode::DECLINE, "this edge places no calls over this trunk");
        }
        let to = match refer_to.uri().scheme() {
            sip::Scheme::Tel => refer_to.uri().as_str().trim_start_matches("tel:").to_owned(),
            sip::Scheme::Sip | sip::Scheme::Sips | sip::Scheme::Other => {
                refer_to.uri().without_headers().as_str().to_owned()
            }
        };
        // What the operator should allow is for the timeline, not for them.
        let Ok(uri) = self.destination(hands, &to) else {
            return refuse(sip::StatusCode::FORBIDDEN, "this edge may not call there");
        };
        let party = self.parties.iter().find(|party| party.leg.id == leg);
        let dialog = party.map_or(self.leg.dialog, |party| party.leg.dialog);
        let Some(dialog) = dialog else {
            return refuse(sip::StatusCode::DECLINE, "the dialog is gone");
        };
        let replaces = sip::Replaces::of_uri(refer_to.uri()).map(|replaces| replaces.to_string());
        let referred_by = request.header(sip::HeaderName::ReferredBy).map(|value| value.text().into_owned());
        Ok((Referral { dialog, id, leg, replaces, referred_by }, Destination { to, uri }))
    }

    /// Where the caller is to be sent, if the trunk may dial it.
    pub(super) fn destination(&self, hands: &mut Hands<'_>, to: &str) -> Result<sip::Uri, NotDialable> {
        let destination = number::destination(to, &self.provider.trunk);
        if let Err(error) = &destination
            && error.is_forbidden()
        {
            *hands.forbidden += 1;
            self.milestone(hands, Layer::Control, "destination forbidden", Some(error.to_string()));
        }
        destination
    }

    /// The one field that a SIP trunk can dial.
    pub(super) fn resolve(
        &self,
        hands: &mut Hands<'_>,
        to: &TransferTarget,
        field: &'static str,
    ) -> Result<Destination, CommandError> {
        self.destination_of(hands, target(to)?, field)
    }

    pub(super) fn destination_of(
        &self,
        hands: &mut Hands<'_>,
        to: &str,
        field: &'static str,
    ) -> Result<Destination, CommandError> {
        let uri = self.destination(hands, to).map_err(|error| error.at(field))?;
        let trunk = &self.provider.trunk;
        if self.caller.as_ref().is_some_and(|caller| number::reaches(&uri, caller, trunk)) {
            return Err(CommandError::TransferToItself);
        }
        Ok(Destination { to: to.to_owned(), uri })
    }

    pub(super) fn may_transfer(&self) -> Result<(), CommandError> {
        self.may_be_spoken_to()?;
        match self.state {
            State::Talking { .. } if self.transfer.is_none() => Ok(()),
            State::Talking { .. } => Err(CommandError::TransferUnderWay),
            State::Draining { .. } | State::Announcing { .. } | State::Ending { .. } => {
                Err(CommandError::CallAlreadyEnded)
            }
            State::Ringing { .. } | State::Confirming | State::Opening { .. } | State::Calling { .. } => {
                Err(CommandError::CallNotAnswered)
            }
        }
    }

    /// Asks one group after the other.
    pub(super) fn begin_transfer(
        &mut self,
        hands: &mut Hands<'_>,
        order: Order,
        groups: VecDeque<Vec<Destination>>,
    ) {
        self.milestone(hands, Layer::Control, "transfer requested", order.reason.clone());
        self.story.change(hands.outputs, |view| view.status = Status::Transferring);
        self.transfer = Some(Transfer {
            order,
            current: Vec::new(),
            rest: groups,
            step: Step::Begun,
            refuses_refer: false,
        });
        self.step(hands, TransferState::Requested, None);
        self.ask_next(hands, NotReached::nobody());
    }

    /// The next group, or the end of it because of `last`.
    fn ask_next(&mut self, hands: &mut Hands<'_>, last: NotReached) {
        let has_human = self.joined().next().is_some();
        let Some(transfer) = self.transfer.as_mut() else { return };
        let Some(group) = transfer.rest.pop_front() else { return self.transfer_failed(hands, last) };
        transfer.current = group;
        transfer.step = Step::Begun;
        let may_refer = transfer.current.len() == 1 && !transfer.refuses_refer && !has_human;
        match transfer.order.style {
            TransferStyle::Blind | TransferStyle::Auto if may_refer => self.refer(hands),
            TransferStyle::Blind => self.ask_next(hands, last),
            TransferStyle::Auto | TransferStyle::Bridge | TransferStyle::Attended => self.bridge(hands),
        }
    }

    fn refer(&mut self, hands: &mut Hands<'_>) {
        let context = self.context_headers(hands);
        let give_up = hands.now + self.provider.trunk.transfer_timeout;
        let (Some(dialog), Some(transfer)) = (self.leg.dialog, self.transfer.as_mut()) else { return };
        let Some(to) = transfer.current.first() else { return };
        transfer.step = Step::Referring { give_up, accepted: false };
        let refer_to = sip::NameAddr::new(to.uri.clone());
        let detail = to.to.clone();
        hands.endpoint.refer(hands.now, dialog, &refer_to, context);
        self.milestone(hands, Layer::Signalling, "refer sent", Some(format!("to {detail}")));
        self.let_wait(hands);
    }

    /// The far end took the REFER up.
    pub(super) fn refer_accepted(&mut self, hands: &mut Hands<'_>) {
        let Some(Transfer {
            step: Step::Referring { accepted, .. } | Step::Replacing { accepted, .. }, ..
        }) = self.transfer.as_mut()
        else {
            return;
        };
        *accepted = true;
        self.milestone(hands, Layer::Signalling, "transfer accepted", None);
        self.step(hands, TransferState::Accepted, None);
    }

    /// The far end will not, or did not answer the REFER.
    pub(super) fn refer_refused(&mut self, hands: &mut Hands<'_>, refusal: &sip::Refusal) {
        let failure = match refusal {
            sip::Refusal::Response(response) => NotReached {
                code: "transfer.refused",
                sip: status_line(response),
                raw: telling::raw(response),
            },
            sip::Refusal::Failed(failure) => NotReached::told("transfer.timeout", &failure.to_string()),
            // REFER is sent without asking what they have; it is only told of UPDATE.
            sip::Refusal::Overtaken | sip::Refusal::Unsupported => {
                NotReached::told("transfer.overtaken", "the dialog had other business first")
            }
        };
        let Some(transfer) = self.transfer.as_mut() else { return };
        match transfer.step {
            Step::Referring { .. } => {
                transfer.refuses_refer = true;
                self.refer_came_to_nothing(hands, failure);
            }
            Step::Replacing { leg, .. } => self.merge(hands, leg, failure),
            Step::Begun | Step::Bridging { .. } => {}
        }
    }

    /// NOTIFY with the state of the new call.
    pub(super) fn refer_progressed(
        &mut self,
        hands: &mut Hands<'_>,
        status: Option<sip::StatusCode>,
        reason: &str,
        terminated: bool,
        notify: &sip::Message,
    ) {
        // RFC 3515 §2.4.5 asks for a status line; without one only the end of the subscription is news.
        let status = status.map_or(100, sip::StatusCode::code);
        let told = Some((status, reason.to_owned()));
        self.milestone(hands, Layer::Signalling, "transfer progress", Some(format!("{status} {reason}")));
        let replacing = match self.transfer.as_ref().map(|transfer| &transfer.step) {
            Some(Step::Replacing { leg, .. }) => Some(*leg),
            Some(Step::Begun | Step::Referring { .. } | Step::Bridging { .. }) | None => None,
        };
        let is_referring = self.transfer.as_ref().is_some_and(Transfer::is_referring);
        let failed = |code| NotReached { code, sip: told.clone(), raw: telling::raw(notify) };
        match status {
            200..300 => self.transferred(hands, telling::raw(notify), Farewell::hang_up("Transferred")),
            0..=699 if let Some(leg) = replacing => {
                if status >= 300 || (status < 200 && terminated) {
                    self.merge(hands, leg, failed("transfer.failed"));
                }
            }
            0..=399 if !is_referring => {}
            // The human was asked, and it is theirs to say no.
            408 | 480 | 486 | 487 | 600 | 603 if is_referring => {
                let code = if matches!(status, 486 | 600) { "transfer.busy" } else { "transfer.no_answer" };
                self.target_failed(hands, failed(code));
            }
            300.. if is_referring => self.refer_came_to_nothing(hands, failed("transfer.failed")),
            // RFC 6665 §4.4.1: no more will come, and the last word was "trying".
            0..200 if terminated => self.refer_came_to_nothing(hands, failed("transfer.no_outcome")),
            101..200 => self.step(hands, TransferState::Ringing, told),
            0..=100 | 300.. => {}
        }
    }

    /// From REFER to now no final NOTIFY came.
    pub(super) fn transfer_timed_out(&mut self, hands: &mut Hands<'_>) {
        let failure = NotReached::told("transfer.timeout", "no final NOTIFY came in time");
        match self.transfer.as_ref().map(|transfer| &transfer.step) {
            Some(Step::Replacing { leg, .. }) => self.merge(hands, *leg, failure),
            Some(Step::Referring { .. }) => self.refer_came_to_nothing(hands, failure),
            Some(Step::Begun | Step::Bridging { .. }) | None => {}
        }
    }

    /// REFER is no way to them: `auto` calls them itself.
    fn refer_came_to_nothing(&mut self, hands: &mut Hands<'_>, failure: NotReached) {
        let own_legs = self.provider.trunk.is_outbound();
        let Some(transfer) = self.transfer.as_ref().filter(|transfer| transfer.is_referring()) else {
            return;
        };
        match transfer.order.style {
            TransferStyle::Auto if own_legs => {
                self.milestone(hands, Layer::Control, "no transfer by refer", Some(failure.code.to_owned()));
                self.bridge(hands);
            }
            TransferStyle::Auto | TransferStyle::Blind | TransferStyle::Bridge | TransferStyle::Attended => {
                self.target_failed(hands, failure)
            }
        }
    }

    /// Calls all of the group at once.
    fn bridge(&mut self, hands: &mut Hands<'_>) {
        let Some(transfer) = self.transfer.as_ref() else { return };
        let group = transfer.current.clone();
        let headers = transfer.order.referral.as_ref().map(Referral::headers).unwrap_or_default();
        let dialled = self.application.as_ref().and_then(|application| application.dial());
        let rings = dialled
            .map(|dial| dial.timeout)
            .or(self.handling.human_rings)
            .unwrap_or(HUMAN_RINGS)
            .min(self.provider.trunk.ring_timeout);
        let legs: Vec<LegId> =
            group.iter().filter_map(|to| self.call_party(hands, &to.to, rings, &headers)).collect();
        let nobody = legs.is_empty();
        if let Some(transfer) = self.transfer.as_mut() {
            transfer.step = Step::Bridging { legs };
        }
        self.let_wait(hands);
        if nobody {
            let why = "the trunk leads nowhere at the moment";
            self.target_failed(hands, NotReached::told("transfer.unreachable", why));
        }
    }

    /// Somebody's phone rings.
    pub(super) fn party_rings(&mut self, hands: &mut Hands<'_>, told: (u16, String)) {
        if let Some(status) = sip::StatusCode::new(told.0) {
            self.tell_referrer(hands, status);
        }
        self.step(hands, TransferState::Ringing, Some(told));
    }

    /// Somebody answered, or something.
    pub(super) fn party_is_there(&mut self, hands: &mut Hands<'_>, leg: LegId, raw: Box<RawValue>) {
        match self.transfer.as_ref().map(|transfer| transfer.order.on_machine) {
            Some(MachineForHuman::Next) => self.listen_to_party(hands, leg),
            Some(MachineForHuman::Join) | None => self.party_is_chosen(hands, leg, raw),
        }
    }

    /// The others are let go, and whoever came first is briefed.
    pub(super) fn party_is_chosen(&mut self, hands: &mut Hands<'_>, leg: LegId, raw: Box<RawValue>) {
        let Some(transfer) = self.transfer.as_mut() else {
            return self.let_party_go(hands, leg, "Nobody waits any more");
        };
        let Step::Bridging { legs } = &mut transfer.step else {
            return self.let_party_go(hands, leg, "Nobody waits any more");
        };
        let slower: Vec<LegId> = std::mem::replace(legs, vec![leg]);
        let announce = transfer.order.announce.clone();
        for slower in slower.into_iter().filter(|slower| *slower != leg) {
            self.let_party_go(hands, slower, "Answered elsewhere");
        }
        match announce {
            Some(audio) => self.brief(hands, leg, audio),
            None => self.party_takes_over(hands, leg, raw),
        }
    }

    /// They have heard what they should know.
    pub(super) fn party_is_briefed(&mut self, hands: &mut Hands<'_>, leg: LegId) {
        self.party_takes_over(hands, leg, telling::nothing());
    }

    /// Somebody is there for the caller. `attended` asks the caller's far end to speak with them directly.
    fn party_takes_over(&mut self, hands: &mut Hands<'_>, leg: LegId, raw: Box<RawValue>) {
        let attended = self.transfer.as_ref().is_some_and(|transfer| {
            transfer.order.style == TransferStyle::Attended && !transfer.refuses_refer
        });
        let alone = self.joined().next().is_none();
        if !(attended && alone && self.refer_to_party(hands, leg)) {
            self.hand_over(hands, leg, raw);
        }
    }

    /// REFER with Replaces (RFC 5589 §7.1): the caller's far end calls the human and takes our place.
    fn refer_to_party(&mut self, hands: &mut Hands<'_>, leg: LegId) -> bool {
        let dialog = self.parties.iter().find(|party| party.leg.id == leg).and_then(|party| party.leg.dialog);
        let replaces = dialog.and_then(|dialog| hands.endpoint.replaces(dialog));
        let context = self.context_headers(hands);
        let give_up = hands.now + self.provider.trunk.transfer_timeout;
        let (Some(replaces), Some(dialog), Some(transfer)) =
            (replaces, self.leg.dialog, self.transfer.as_mut())
        else {
            return false;
        };
        let Some(to) = transfer.current.first() else { return false };
        let refer_to = sip::NameAddr::new(replaces.in_uri(&to.uri));
        transfer.step = Step::Replacing { leg, give_up, accepted: false };
        hands.endpoint.refer(hands.now, dialog, &refer_to, context);
        self.wait_for_refer(leg);
        self.milestone(hands, Layer::Signalling, "refer with replaces sent", Some(format!("leg {}", leg.0)));
        true
    }

    /// The far end does not take our place: we join the two ourselves.
    fn merge(&mut self, hands: &mut Hands<'_>, leg: LegId, failure: NotReached) {
        let is_there = self.parties.iter().any(|party| party.leg.id == leg && party.is_there());
        if !is_there {
            return self.target_failed(hands, failure);
        }
        self.milestone(hands, Layer::Control, "no transfer by replaces", Some(failure.code.to_owned()));
        self.hand_over(hands, leg, telling::nothing());
    }

    /// The human has the caller.
    fn hand_over(&mut self, hands: &mut Hands<'_>, leg: LegId, raw: Box<RawValue>) {
        self.step(hands, TransferState::Transferred, None);
        self.tell_referrer(hands, sip::StatusCode::OK);
        let Some(Transfer { order, .. }) = self.transfer.take() else { return };
        if order.referral.as_ref().is_some_and(|referral| referral.leg == self.leg.id) {
            return self.take_first_place(hands, leg, order, raw);
        }
        let before: Vec<LegId> = self.joined().collect();
        // The engine's socket is closed before anyone hears another (privacy): orders are carried out as given.
        if order.mode != Mode::Assist {
            self.dismiss_engine(hands);
        }
        let first_human = before.is_empty();
        for earlier in before {
            self.let_party_go(hands, earlier, "Transferred");
        }
        self.join(leg);
        if first_human {
            self.returns_to_engine = match self.handling.after_human {
                Some(AfterHuman::ReturnToAi) => true,
                Some(AfterHuman::HangUp) => false,
                None => self.story.view().mode == Mode::AiFirst,
            };
        }
        let reason = order.reason.unwrap_or_else(|| "transfer".to_owned());
        self.mode_changed(hands, order.mode, reason, order.by, raw);
        self.dialled_joined(hands);
        if order.mode == Mode::Assist {
            self.call_engine_back(hands);
        }
    }

    /// Whom the far end has referred us to speaks in its place from now on; engine and human notice nothing but that.
    fn take_first_place(&mut self, hands: &mut Hands<'_>, leg: LegId, order: Order, raw: Box<RawValue>) {
        let before = self.leg.id;
        self.change_first_leg(hands, leg);
        self.let_party_go(hands, before, "Transferred");
        let mode = self.story.view().mode;
        let reason = order.reason.unwrap_or_else(|| "referred".to_owned());
        self.mode_changed(hands, mode, reason, order.by, raw);
    }

    /// How far it is, to whoever asked for it by REFER.
    pub(super) fn tell_referrer(&self, hands: &mut Hands<'_>, status: sip::StatusCode) {
        let referral = self.transfer.as_ref().and_then(|transfer| transfer.order.referral.as_ref());
        if let Some(Referral { dialog, id, .. }) = referral {
            hands.endpoint.refer_progress(hands.now, *dialog, *id, status);
        }
    }

    /// A party of a transfer did not come.
    pub(super) fn party_did_not_come(&mut self, hands: &mut Hands<'_>, leg: LegId, failure: NotReached) {
        let Some(Transfer { step: Step::Bridging { legs }, .. }) = self.transfer.as_mut() else { return };
        let before = legs.len();
        legs.retain(|known| *known != leg);
        if legs.is_empty() && before > 0 {
            self.target_failed(hands, failure);
        }
    }

    /// Nobody of the group came.
    fn target_failed(&mut self, hands: &mut Hands<'_>, failure: NotReached) {
        self.milestone(hands, Layer::Signalling, "transfer target failed", Some(failure.code.to_owned()));
        self.ask_next(hands, failure);
    }

    /// The new party has the caller, and the call leaves us. A success that comes after we gave up waiting is one, too.
    pub(super) fn transferred(&mut self, hands: &mut Hands<'_>, raw: Box<RawValue>, farewell: Farewell) {
        let State::Talking { .. } = self.state else { return };
        self.step(hands, TransferState::Transferred, None);
        self.transfer = None;
        self.application_transferred(hands);
        self.story.tell(hands.now, hands.outputs, EventKind::Transferred, raw);
        self.end(hands, EndReason::Transferred, telling::nothing(), farewell);
    }

    /// Nobody took the caller.
    fn transfer_failed(&mut self, hands: &mut Hands<'_>, failure: NotReached) {
        self.milestone(hands, Layer::Signalling, "transfer failed", Some(failure.code.to_owned()));
        let status = failure.sip.as_ref().and_then(|(status, _)| sip::StatusCode::new(*status));
        self.tell_referrer(hands, status.unwrap_or(sip::StatusCode::SERVICE_UNAVAILABLE));
        let (code, sip_status) = (failure.code, failure.sip.as_ref().map(|(status, _)| *status));
        self.step(hands, TransferState::Failed, failure.sip);
        let Some(Transfer { order, .. }) = self.transfer.take() else { return };
        let status = self.talking_status();
        self.story.change(hands.outputs, |view| view.status = status);
        self.let_wait(hands);
        self.story.tell(hands.now, hands.outputs, EventKind::Error, failure.raw);
        if self.not_transferred(hands, code, sip_status) {
            return;
        }
        match order.give_up {
            GiveUp::Back if self.joined().next().is_some() => {}
            GiveUp::Back => {
                if matches!(self.story.view().mode, Mode::Assist | Mode::Routing) {
                    let reason = "no_human".to_owned();
                    self.mode_changed(hands, Mode::AiFirst, reason, Asker::Rule, telling::nothing());
                }
                self.call_engine_back(hands);
            }
            GiveUp::HangUp => {
                let farewell = Farewell::hang_up("Transfer failed");
                self.end(hands, EndReason::TransferFailed, telling::nothing(), farewell);
            }
            GiveUp::PlanB => self.plan_b(hands),
        }
    }

    fn step(&self, hands: &mut Hands<'_>, state: TransferState, sip: Option<(u16, String)>) {
        let re = self.transfer.as_ref().and_then(|transfer| transfer.order.re.clone());
        self.tell_engine(hands, EngineEvent::Transfer(TransferStep { re, state, sip }));
    }
}

pub(super) fn announcement(hands: &Hands<'_>, name: &str) -> Result<Arc<Announcement>, CommandError> {
    hands.settings.announcements.get(name).cloned().ok_or_else(|| CommandError::AnnouncementNotFound {
        name: name.to_owned(),
        nearest: crate::spelling::nearest(name, hands.settings.announcements.keys().map(String::as_str))
            .map(str::to_owned),
    })
}

fn status_line(response: &sip::Message) -> Option<(u16, String)> {
    match response.start_line() {
        sip::StartLine::Response { status, reason } => Some((status.code(), reason.into_owned())),
        sip::StartLine::Request { .. } => None,
    }
}

/// The one field that a SIP trunk can dial.
fn target(to: &TransferTarget) -> Result<&str, CommandError> {
    let TransferTarget { number, sip_uri, queue_id, agent_id, entry_point_id, flow_id } = to;
    let platform = [
        ("to.queue_id", queue_id),
        ("to.agent_id", agent_id),
        ("to.entry_point_id", entry_point_id),
        ("to.flow_id", flow_id),
    ];
    if let Some((field, _)) = platform.into_iter().find(|(_, value)| value.is_some()) {
        let problem = "a SIP trunk has no queues, agents or flows: write `number` or `sip_uri`";
        return Err(CommandError::TransferUnsupported { field, problem });
    }
    match (number, sip_uri) {
        (Some(number), None) => Ok(number),
        (None, Some(uri)) => Ok(uri),
        (Some(_), Some(_)) | (None, None) => {
            let problem = "write exactly one of `number` and `sip_uri`".to_owned();
            Err(CommandError::Invalid { field: "to", problem })
        }
    }
}
