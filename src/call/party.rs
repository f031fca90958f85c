//! A leg that we place while the call runs: to the human who is to have the caller.
//! ```text
//!   [Opening] -- port --> [Calling] -- 2xx --> [Listened] -- a person --> [Briefed] -- heard all --> [Joined]
//!       |                     |                    |                          |                         |
//!       |                     |                    +--- a machine ------------+                         |
//!       +--- refused, no answer, BYE, caller gone, somebody else was faster ----------------------------+
//!                             v
//!                         [Leaving] -- nothing of its dialog is left --> removed
//! ```
//! What its answer or its failure means is decided in `transfer`; what its leaving means, in `modes`.

use std::time::{Duration, Instant};

use sip::endpoint::Event;

use super::ids::LegId;
use super::inbound::reason_header;
use super::leg::{Dialling, Invited, Leg, NotAnswered, Outcome, Reoffered, warning};
use super::one::{Call, Hands};
use super::record::Layer;
use super::telling;
use super::view::{LegRole, LegStatus, LegView};
use super::voice::VoiceOrder;

/// How long the worker may take to open a port.
const OPEN: Duration = Duration::from_secs(5);
/// How long the dialog of somebody who is no longer wanted may take to let go.
const LET_GO: Duration = Duration::from_secs(90);
/// What an announcement may take beyond its own length.
const SLACK: Duration = Duration::from_secs(3);
/// Legs of one call, those that are over among them.
const LEGS: u8 = 64;

/// Somebody whom we called into the call.
pub(super) struct Party {
    pub(super) leg: Leg,
    pub(super) stage: Stage,
    /// How long it may ring.
    ring_timeout: Duration,
}

/// Where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// No port yet.
    Opening { give_up: Instant },
    /// INVITE is sent.
    Calling { give_up: Instant },
    /// Answered; whether it is a person is listened for.
    Listened { give_up: Instant },
    /// Answered; hears an announcement first.
    Briefed { give_up: Instant },
    /// Answered; the caller's far end was asked to take our place.
    Waiting,
    /// Speaks with the caller.
    Joined,
    /// Not wanted any more.
    Leaving { give_up: Instant },
}

/// Why somebody did not come.
pub(super) struct NotReached {
    /// Stable code.
    pub(super) code: &'static str,
    pub(super) sip: Option<(u16, String)>,
    pub(super) raw: Box<serde_json::value::RawValue>,
}

impl NotReached {
    /// Nobody was asked.
    pub(super) fn nobody() -> Self {
        Self::told("transfer.no_target", "there was nobody to ask")
    }

    pub(super) fn told(code: &'static str, detail: &str) -> Self {
        Self { code, sip: None, raw: telling::raw_code(code, detail) }
    }
}

impl Party {
    /// Somebody who is there without having been called: their voice comes over the dialog of the first leg.
    pub(super) fn on_our_line(id: LegId, provider: std::sync::Arc<super::settings::Provider>) -> Self {
        Self { leg: Leg::new(id, provider, None), stage: Stage::Joined, ring_timeout: Duration::ZERO }
    }

    pub(super) fn is_joined(&self) -> bool {
        self.stage == Stage::Joined
    }

    fn is_leaving(&self) -> bool {
        matches!(self.stage, Stage::Leaving { .. })
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.stage {
            Stage::Opening { give_up }
            | Stage::Calling { give_up }
            | Stage::Listened { give_up }
            | Stage::Briefed { give_up }
            | Stage::Leaving { give_up } => Some(give_up),
            Stage::Joined | Stage::Waiting => None,
        }
    }

    /// It has answered and not gone since.
    pub(super) fn is_there(&self) -> bool {
        match self.stage {
            Stage::Listened { .. } | Stage::Briefed { .. } | Stage::Waiting | Stage::Joined => true,
            Stage::Opening { .. } | Stage::Calling { .. } | Stage::Leaving { .. } => false,
        }
    }
}

impl Call {
    /// Calls `to` over the call's own trunk. Nobody, when the trunk leads nowhere or the call has had too many legs.
    pub(super) fn call_party(
        &mut self,
        hands: &mut Hands<'_>,
        to: &str,
        ring_timeout: Duration,
        headers: &[(String, String)],
    ) -> Option<LegId> {
        let targets = match hands.ways.get(&self.provider.key) {
            Some(ways) => ways.order(hands.now, hands.chance).into(),
            None => self.provider.trunk.targets.iter().map(|at| at.target).collect(),
        };
        let is_possible = !std::collections::VecDeque::is_empty(&targets) && self.next_leg < LEGS;
        if !is_possible {
            return None;
        }
        let id = LegId(self.next_leg);
        self.next_leg += 1;
        let mut leg = Leg::new(id, self.provider.clone(), None);
        let dialling = Dialling::new(to.to_owned(), self.shown_to_humans(), targets);
        leg.dialling = Some(Dialling { headers: headers.to_vec(), ..dialling });
        let stage = Stage::Opening { give_up: hands.now + OPEN };
        self.parties.push(Party { leg, stage, ring_timeout });
        let (address, inactivity) = (hands.settings.media_bind, self.provider.trunk.media_timeout);
        hands.outputs.voice(self.id, VoiceOrder::Open { leg: id, address, inactivity });
        Some(id)
    }

    /// The number that a human who is called sees: the caller's, where the trunk has none of its own to show.
    fn shown_to_humans(&self) -> String {
        let view = self.story.view();
        let dialled = self.application.as_ref().and_then(|application| application.dial());
        if let Some(caller_id) = dialled.and_then(|dial| dial.caller_id.clone()) {
            return caller_id;
        }
        let own = self.provider.trunk.from.clone();
        match view.direction {
            super::view::Direction::Inbound => own.unwrap_or_else(|| view.to.clone()),
            super::view::Direction::Outbound => view.from.clone(),
        }
    }

    pub(super) fn has_party(&self, dialog: sip::DialogId) -> bool {
        self.parties.iter().any(|party| party.leg.dialog == Some(dialog))
    }

    /// Those who speak with the caller.
    pub(super) fn joined(&self) -> impl Iterator<Item = LegId> {
        self.parties.iter().filter(|party| party.is_joined()).map(|party| party.leg.id)
    }

    pub(super) fn party(&mut self, leg: LegId) -> Option<&mut Party> {
        self.parties.iter_mut().find(|party| party.leg.id == leg)
    }

    /// The port of a party is open: INVITE.
    pub(super) fn party_opened(&mut self, hands: &mut Hands<'_>, leg: LegId, port: u16) {
        let now = hands.now;
        let Some(party) = self.party(leg) else { return };
        let Stage::Opening { .. } = party.stage else { return };
        let mut negotiator = party.leg.negotiator(hands, port);
        let offer = negotiator.offer(media::Direction::SendRecv);
        party.leg.negotiator = Some(negotiator);
        if let Some(dialling) = &mut party.leg.dialling {
            dialling.offer = Some(offer);
        }
        party.stage = Stage::Calling { give_up: now + party.ring_timeout };
        self.invite_party(hands, leg);
    }

    pub(super) fn party_not_opened(&mut self, hands: &mut Hands<'_>, leg: LegId, error: &str) {
        let failure = NotReached::told("transfer.no_port", error);
        self.party_lost(hands, leg, failure);
    }

    fn invite_party(&mut self, hands: &mut Hands<'_>, leg: LegId) {
        let (id, context) = (self.id, self.story.view().context.clone());
        let Some(party) = self.party(leg) else { return };
        let invited = party.leg.invite_next(hands, id, &context);
        let Invited { target, sip_call_id } = match invited {
            Ok(invited) => invited,
            Err(error) => {
                let failure = NotReached::told("transfer.unreachable", &error.to_string());
                return self.party_lost(hands, leg, failure);
            }
        };
        let LegId(number) = leg;
        self.story.change(hands.outputs, |view| {
            view.legs.retain(|known| known.leg != number);
            view.legs.push(LegView::begun(leg, LegRole::Human, target.address, sip_call_id));
        });
        self.milestone(hands, Layer::Signalling, "human called", Some(format!("leg {number}")));
    }

    /// What happens in the dialog of a party.
    pub(super) fn handle_party(&mut self, hands: &mut Hands<'_>, dialog: sip::DialogId, event: Event) {
        let Some(leg) =
            self.parties.iter().find(|party| party.leg.dialog == Some(dialog)).map(|party| party.leg.id)
        else {
            return;
        };
        match event {
            Event::Progress { response, .. } => self.party_progressed(hands, leg, &response),
            Event::Answered { response, .. } => self.party_answered(hands, leg, &response),
            Event::Refused { response, .. } => self.party_refused(hands, leg, &response),
            Event::Failed { failure, .. } => self.party_failed(hands, leg, failure),
            Event::Reinvited { request, .. } | Event::Updated { request, .. } => {
                self.party_reinvited(hands, leg, &request);
            }
            Event::Acknowledged { request, .. } => self.party_acknowledged(hands, leg, &request),
            Event::EarlyOffer { id, request, .. } => self.party_offered_early(hands, leg, id, &request),
            Event::Refreshed { message, .. } => self.party_refreshed(hands, leg, &message),
            Event::HungUp { request, .. } => {
                self.milestone(hands, Layer::Signalling, "human hung up", Some(leg.0.to_string()));
                self.party_left(hands, leg, telling::raw(&request));
            }
            Event::SessionExpired { .. } | Event::AckMissing { .. } | Event::PrackMissing { .. } => {
                let raw = telling::raw_code("session.expired", "the human's leg was not kept alive");
                self.party_left(hands, leg, raw);
            }
            Event::Referred { id, request, .. } => self.party_refers(hands, leg, id, &request),
            Event::Gone { .. } => {
                if let Some(party) = self.party(leg) {
                    party.leg.dialog_gone = true;
                }
                self.forget_parties();
            }
            Event::Info { id, request, .. } => self.informed(hands, leg, id, &request),
            Event::Notified { id, .. } => {
                let status = sip::StatusCode::BAD_EVENT;
                hands.endpoint.respond(hands.now, id, status, Vec::new(), None);
            }
            Event::Invited { .. }
            | Event::Cancelled { .. }
            | Event::Expired { .. }
            | Event::Pracked { .. }
            | Event::ReferAccepted { .. }
            | Event::ReferRefused { .. }
            | Event::ReferProgress { .. }
            | Event::Request { .. }
            | Event::RequestAnswered { .. }
            | Event::RequestFailed { .. }
            | Event::ReinviteCancelled { .. }
            | Event::ReinviteAnswered { .. }
            | Event::ReinviteRefused { .. }
            | Event::UpdateAnswered { .. }
            | Event::UpdateRefused { .. }
            | Event::InfoAnswered { .. }
            | Event::InfoFailed { .. } => {}
        }
    }

    fn party_progressed(&mut self, hands: &mut Hands<'_>, leg: LegId, response: &sip::Message) {
        let status = response.status().map_or(0, sip::StatusCode::code);
        let Some(party) = self.party(leg) else { return };
        if !matches!(party.stage, Stage::Calling { .. }) || status <= 100 {
            return;
        }
        let first = party.leg.rang(hands, status);
        if let Err(error) = party.leg.take_early_answer(response) {
            self.milestone(hands, Layer::Media, "early answer not usable", Some(error.to_string()));
        }
        self.milestone(hands, Layer::Signalling, "human's phone rings", Some(status.to_string()));
        if first {
            let reason = match response.start_line() {
                sip::StartLine::Response { reason, .. } => reason.into_owned(),
                sip::StartLine::Request { .. } => String::new(),
            };
            self.party_rings(hands, (status, reason));
        }
    }

    fn party_answered(&mut self, hands: &mut Hands<'_>, leg: LegId, response: &sip::Message) {
        let Some(party) = self.party(leg) else { return };
        if let Some(dialog) = party.leg.dialog {
            hands.endpoint.acknowledge(hands.now, dialog, None);
        }
        if !matches!(party.stage, Stage::Calling { .. }) {
            return;
        }
        party.leg.judge(hands, Outcome::Answered("200"));
        match party.leg.final_answer(response) {
            Ok(negotiated) => {
                self.milestone(hands, Layer::Signalling, "human answered", Some(leg.0.to_string()));
                self.party_negotiated(hands, leg, negotiated);
                self.show_leg(hands, leg, LegStatus::Connected);
                self.party_is_there(hands, leg, telling::raw(response));
            }
            Err(error) => {
                let failure = NotReached::told("transfer.media_incompatible", &error.to_string());
                self.party_lost(hands, leg, failure);
            }
        }
    }

    fn party_negotiated(&mut self, hands: &mut Hands<'_>, leg: LegId, negotiated: media::Negotiated) {
        let codec = negotiated.codec.name().to_owned();
        self.story.change(hands.outputs, |view| {
            if let Some(shown) = view.legs.iter_mut().find(|known| known.leg == leg.0) {
                shown.codec = Some(codec);
            }
        });
        let Some(party) = self.party(leg) else { return };
        let held = !negotiated.direction.sends();
        let changed = std::mem::replace(&mut party.leg.held, held) != held;
        party.leg.negotiated = Some(negotiated.clone());
        hands.outputs.voice(self.id, VoiceOrder::Negotiated { leg, media: negotiated });
        if changed {
            let what = if held { "held by the human" } else { "resumed by the human" };
            self.milestone(hands, Layer::Signalling, what, None);
            self.let_wait(hands);
        }
    }

    /// Goes on to where the trunk has sent the INVITE, if there is anybody left there.
    fn party_goes_elsewhere(
        &mut self,
        hands: &mut Hands<'_>,
        leg: LegId,
        response: Option<&sip::Message>,
        why: &str,
    ) -> bool {
        let redirected = self.party(leg).and_then(|party| party.leg.redirected(hands, response));
        let Some(elsewhere) = redirected else { return false };
        self.milestone(hands, Layer::Signalling, "redirected", Some(format!("{why}: to {elsewhere}")));
        self.invite_party(hands, leg);
        true
    }

    fn party_refused(&mut self, hands: &mut Hands<'_>, leg: LegId, response: &sip::Message) {
        let (status, reason) = match response.start_line() {
            sip::StartLine::Response { status, reason } => (status, reason.into_owned()),
            sip::StartLine::Request { .. } => return,
        };
        let told = format!("{} {reason}", status.code());
        let Some(party) = self.party(leg) else { return };
        if !matches!(party.stage, Stage::Calling { .. }) {
            return;
        }
        if party.leg.judge_refusal(hands, response, &told) && self.party_fails_over(hands, leg, &told) {
            return;
        }
        if self.party_goes_elsewhere(hands, leg, Some(response), &told) {
            return;
        }
        let code = match status.code() {
            486 | 600 => "transfer.busy",
            408 | 480 | 487 => "transfer.no_answer",
            _ => "transfer.refused",
        };
        let failure = NotReached { code, sip: Some((status.code(), reason)), raw: telling::raw(response) };
        self.party_lost(hands, leg, failure);
    }

    fn party_failed(&mut self, hands: &mut Hands<'_>, leg: LegId, failure: sip::Failure) {
        let told = failure.to_string();
        let Some(party) = self.party(leg) else { return };
        match party.stage {
            Stage::Calling { .. } => {
                party.leg.judge(hands, Outcome::Failed(&told, None));
                if !self.party_fails_over(hands, leg, &told)
                    && !self.party_goes_elsewhere(hands, leg, None, &told)
                {
                    self.party_lost(hands, leg, NotReached::told("transfer.unreachable", &told));
                }
            }
            Stage::Listened { .. } | Stage::Briefed { .. } | Stage::Waiting | Stage::Joined => {
                self.party_left(hands, leg, telling::raw_code("transfer.unreachable", &told));
            }
            Stage::Opening { .. } | Stage::Leaving { .. } => {}
        }
    }

    fn party_fails_over(&mut self, hands: &mut Hands<'_>, leg: LegId, why: &str) -> bool {
        let Some(target) = self.party(leg).and_then(|party| party.leg.may_fail_over()) else { return false };
        self.milestone(hands, Layer::Signalling, "next target", Some(format!("{}: {why}", target.address)));
        self.invite_party(hands, leg);
        true
    }

    fn party_reinvited(&mut self, hands: &mut Hands<'_>, leg: LegId, request: &sip::Message) {
        let Some(party) = self.party(leg) else { return };
        match party.leg.reoffered(hands, request) {
            Ok(Reoffered::Negotiated(negotiated)) => self.party_negotiated(hands, leg, negotiated),
            Ok(Reoffered::Offered) => {}
            Err(NotAnswered::Refused { why }) => {
                self.milestone(hands, Layer::Signalling, "re-invite of the human refused", Some(why));
            }
            Err(NotAnswered::TooEarly) => {}
        }
    }

    fn party_acknowledged(&mut self, hands: &mut Hands<'_>, leg: LegId, request: &sip::Message) {
        let Some(party) = self.party(leg) else { return };
        if !std::mem::take(&mut party.leg.owes_answer) {
            return;
        }
        let Some(negotiator) = party.leg.negotiator.as_mut() else { return };
        match negotiator.handle_answer(&super::inbound::description(request)) {
            Ok(negotiated) => self.party_negotiated(hands, leg, negotiated),
            Err(error) => {
                let raw = telling::raw_code("transfer.media_incompatible", &error.to_string());
                self.party_left(hands, leg, raw);
            }
        }
    }

    fn party_offered_early(
        &mut self,
        hands: &mut Hands<'_>,
        leg: LegId,
        id: sip::RequestId,
        request: &sip::Message,
    ) {
        let Some(party) = self.party(leg) else { return };
        let Some(negotiator) = party.leg.negotiator.as_mut() else { return };
        let (status, headers, body) = match negotiator.handle_offer(&super::inbound::description(request)) {
            Ok((negotiated, answer)) => {
                let tag = request.from().ok().and_then(|from| from.tag().map(str::to_owned));
                for (known, early) in &mut party.leg.early_answers {
                    if Some(&*known) == tag.as_ref() {
                        *early = negotiated.clone();
                    }
                }
                (sip::StatusCode::OK, Vec::new(), Some(sip::Body::sdp(answer)))
            }
            Err(error) => (sip::StatusCode::NOT_ACCEPTABLE_HERE, vec![warning(hands, error)], None),
        };
        hands.endpoint.respond(hands.now, id, status, headers, body);
    }

    fn party_refreshed(&mut self, hands: &mut Hands<'_>, leg: LegId, message: &sip::Message) {
        let Some(party) = self.party(leg) else { return };
        match party.leg.refreshed(message) {
            Ok(Some(negotiated)) => self.party_negotiated(hands, leg, negotiated),
            Ok(None) => {}
            Err(error) => {
                self.milestone(hands, Layer::Media, "answer not usable", Some(error.to_string()));
            }
        }
    }

    /// A human hands the caller on.
    fn party_refers(
        &mut self,
        hands: &mut Hands<'_>,
        leg: LegId,
        id: sip::RequestId,
        request: &sip::Message,
    ) {
        if self.party(leg).is_some_and(|party| party.is_joined()) {
            return self.asked_to_transfer(hands, leg, id, request);
        }
        let status = sip::StatusCode::DECLINE;
        hands.endpoint.respond(hands.now, id, status, Vec::new(), None);
    }

    /// It hears `audio` before it is joined.
    pub(super) fn brief(
        &mut self,
        hands: &mut Hands<'_>,
        leg: LegId,
        audio: std::sync::Arc<super::voice::Announcement>,
    ) {
        let give_up = hands.now + audio.length() + SLACK;
        let Some(party) = self.party(leg) else { return };
        party.stage = Stage::Briefed { give_up };
        self.milestone(hands, Layer::Media, "announced to the human", Some(audio.name.clone()));
        hands.outputs.voice(self.id, VoiceOrder::Announce { leg, audio });
    }

    /// It waits for the outcome of a REFER.
    pub(super) fn wait_for_refer(&mut self, leg: LegId) {
        if let Some(party) = self.party(leg) {
            party.stage = Stage::Waiting;
        }
    }

    /// `leg` is what the call began with from now on; what was, is a party that can be let go.
    pub(super) fn change_first_leg(&mut self, hands: &mut Hands<'_>, leg: LegId) {
        let Some(party) = self.parties.iter_mut().find(|party| party.leg.id == leg) else { return };
        std::mem::swap(&mut self.leg, &mut party.leg);
        party.stage = Stage::Joined;
        let (now, before) = (self.leg.id, party.leg.id);
        self.story.change(hands.outputs, |view| {
            let role = view.legs.iter().find(|known| known.leg == before.0).map(|known| known.role);
            if let (Some(role), Some(leg)) = (role, view.legs.iter_mut().find(|known| known.leg == now.0)) {
                leg.role = role;
            }
        });
    }

    /// It speaks with the caller from now on.
    pub(super) fn join(&mut self, leg: LegId) {
        if let Some(party) = self.party(leg) {
            party.stage = Stage::Joined;
        }
    }

    /// It was briefed.
    pub(super) fn party_announced(&mut self, hands: &mut Hands<'_>, leg: LegId) {
        if self.party(leg).is_some_and(|party| matches!(party.stage, Stage::Briefed { .. })) {
            self.party_is_briefed(hands, leg);
        }
    }

    /// It is not wanted any more, or gone.
    pub(super) fn let_party_go(&mut self, hands: &mut Hands<'_>, leg: LegId, why: &str) {
        let now = hands.now;
        let Some(party) = self.party(leg).filter(|party| !party.is_leaving()) else { return };
        party.stage = Stage::Leaving { give_up: now + LET_GO };
        if let Some(dialog) = party.leg.dialog {
            let reason = reason_header(sip::StatusCode::OK, why);
            hands.endpoint.hang_up(now, dialog, vec![("Reason".into(), reason)]);
        }
        hands.outputs.voice(self.id, VoiceOrder::CloseLeg(leg));
        self.show_leg(hands, leg, LegStatus::Ended);
        self.forget_parties();
    }

    /// Nobody of those who were called in is wanted any more.
    pub(super) fn let_parties_go(&mut self, hands: &mut Hands<'_>, why: &str) {
        let all: Vec<LegId> = self.parties.iter().map(|party| party.leg.id).collect();
        for leg in all {
            self.let_party_go(hands, leg, why);
        }
    }

    fn forget_parties(&mut self) {
        self.parties.retain(|party| !(party.is_leaving() && party.leg.dialog_gone));
    }

    /// It did not come.
    pub(super) fn party_lost(&mut self, hands: &mut Hands<'_>, leg: LegId, failure: NotReached) {
        let detail = Some(format!("leg {}: {}", leg.0, failure.code));
        self.milestone(hands, Layer::Signalling, "human not reached", detail);
        self.let_party_go(hands, leg, "Not needed");
        self.party_did_not_come(hands, leg, failure);
    }

    /// It was there and has gone.
    pub(super) fn party_left(
        &mut self,
        hands: &mut Hands<'_>,
        leg: LegId,
        raw: Box<serde_json::value::RawValue>,
    ) {
        let Some(stage) = self.party(leg).map(|party| party.stage) else { return };
        self.let_party_go(hands, leg, "Hung up");
        match stage {
            Stage::Joined => self.human_left(hands, raw),
            Stage::Opening { .. }
            | Stage::Calling { .. }
            | Stage::Listened { .. }
            | Stage::Briefed { .. } => {
                self.party_did_not_come(
                    hands,
                    leg,
                    NotReached { code: "transfer.no_answer", sip: None, raw },
                );
            }
            // Its new call has taken our place, or it has lost patience: the outcome of the REFER will tell.
            Stage::Waiting | Stage::Leaving { .. } => {}
        }
    }

    /// No RTP of a human for too long.
    pub(super) fn party_silent(&mut self, hands: &mut Hands<'_>, leg: LegId) {
        self.milestone(hands, Layer::Media, "no packets from the human", Some(leg.0.to_string()));
        let raw = telling::raw_code("media.timeout", "no RTP came from the human for too long");
        self.party_left(hands, leg, raw);
    }

    /// What parties have waited for long enough.
    pub(super) fn handle_party_timeouts(&mut self, hands: &mut Hands<'_>) {
        let now = hands.now;
        let due = |party: &Party| party.poll_timeout().is_some_and(|at| at <= now);
        let due: Vec<(LegId, Stage)> =
            self.parties.iter().filter(|party| due(party)).map(|party| (party.leg.id, party.stage)).collect();
        for (leg, stage) in due {
            match stage {
                Stage::Opening { .. } => {
                    self.party_not_opened(hands, leg, "the voice worker did not answer");
                }
                Stage::Calling { .. } => {
                    let failure = NotReached::told("transfer.no_answer", "the ring timeout has passed");
                    self.party_lost(hands, leg, failure);
                }
                Stage::Listened { .. } => self.party_is_person(hands, leg),
                Stage::Briefed { .. } => self.party_announced(hands, leg),
                Stage::Leaving { .. } => {
                    if let Some(party) = self.party(leg) {
                        party.leg.dialog_gone = true;
                    }
                    self.forget_parties();
                }
                Stage::Waiting | Stage::Joined => {}
            }
        }
    }

    fn show_leg(&mut self, hands: &mut Hands<'_>, LegId(leg): LegId, status: LegStatus) {
        self.story.change(hands.outputs, |view| {
            if let Some(shown) = view.legs.iter_mut().find(|known| known.leg == leg) {
                shown.status = status;
            }
        });
    }
}
