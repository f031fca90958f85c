//! A call that is placed: a port, an INVITE, the engine dialled while the phone rings.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::answering::Answering;
use super::application::{Application, Happening};
use super::command::PlaceCall;
use super::event::{EndReason, EventKind};
use super::identity::Identity;
use super::ids::{CallId, LegId};
use super::leg::{Dialling, Invited, Outcome};
use super::number;
use super::one::{Call, Farewell, Hands, Link, State};
use super::record::{CallRecord, Idempotency, Layer};
use super::settings::{Engine, Handling, Provider};
use super::telling::{self, Story};
use super::view::{CallView, Direction, LegRole, LegView, Mode, SipPart, Status};

/// How long the worker may take to open a port.
const OPEN: Duration = Duration::from_secs(5);

/// A call asked for and found possible.
pub(super) struct Placement {
    pub(super) id: CallId,
    pub(super) provider: Arc<Provider>,
    pub(super) engine: Arc<Engine>,
    pub(super) mode: Mode,
    pub(super) handling: Arc<Handling>,
    pub(super) call: Box<PlaceCall>,
    pub(super) idempotency: Option<Idempotency>,
    pub(super) webhook_url: Option<String>,
    /// In the order in which they are tried.
    pub(super) targets: VecDeque<sip::Target>,
    pub(super) application: Option<Application>,
}

impl Call {
    /// An order to call out.
    pub(super) fn place(hands: &mut Hands<'_>, placement: Placement) -> Self {
        let Placement {
            id,
            provider,
            engine,
            mode,
            handling,
            call: ordered,
            idempotency,
            webhook_url,
            targets,
            application,
        } = placement;
        let from = ordered.from.or_else(|| provider.trunk.from.clone()).unwrap_or_else(|| "anonymous".into());
        let record = CallRecord {
            tenant: provider.tenant.clone(),
            view: CallView {
                call_id: id,
                provider: provider.key.clone(),
                provider_call_id: None,
                direction: Direction::Outbound,
                from,
                to: ordered.to,
                identity: Identity::default(),
                status: Status::Placing,
                mode,
                engine: application.is_none().then(|| engine.name.to_string()),
                context: ordered.context,
                disposition: None,
                notes: None,
                started_at: hands.outputs.timestamp(hands.now),
                answered_at: None,
                ended_at: None,
                duration_sec: None,
                end_reason: None,
                sip: SipPart::default(),
                answered_by: None,
                recording_url: None,
                transcript_url: None,
                quality: super::view::Quality::default(),
                latency: super::view::Latency::default(),
                legs: Vec::new(),
            },
            last_seq: 0,
            webhook_url: ordered.webhook_url,
            idempotency,
        };
        let story = Story::begin(record, webhook_url, hands.now, hands.outputs);
        let state = State::Opening { give_up: hands.now + OPEN };
        let mut call = Self::new(story, provider, engine, handling, state, None, hands);
        let view = call.story.view();
        call.caller = number::uri(&view.to, &call.provider.trunk).ok();
        let dialling = Dialling::new(view.to.clone(), view.from.clone(), targets);
        let mut headers: Vec<(String, String)> = ordered.headers.into_iter().collect();
        headers.extend(ordered.stir.map(|stir| ("Identity".to_owned(), stir)));
        call.leg.dialling = Some(Dialling { headers, privacy: ordered.privacy, ..dialling });
        if let Some(seconds) = ordered.ring_timeout_sec {
            call.ring_timeout = Duration::from_secs(seconds.into());
        }
        if let Some(seconds) = ordered.max_duration_sec {
            call.max_duration = Duration::from_secs(seconds.into());
        }
        if let Some(record) = ordered.record {
            call.record = record;
        }
        let machine = ordered.answering_machine.filter(|machine| machine.detect);
        call.answering = machine.map(|machine| Answering::new(machine.on_machine));
        call.milestone(hands, Layer::Control, "call ordered", None);
        if application.is_some() {
            call.link = Link::Gone;
            call.application = application;
            call.tell_application(hands, Happening::Initiated);
        }
        call
    }

    /// The port is open: INVITE.
    pub(super) fn invite(&mut self, hands: &mut Hands<'_>, offer: bytes::Bytes) {
        if let Some(dialling) = &mut self.leg.dialling {
            dialling.offer = Some(offer);
        }
        self.state = State::Calling { give_up: hands.now + self.ring_timeout };
        self.invite_next(hands);
    }

    /// INVITE to the next target.
    fn invite_next(&mut self, hands: &mut Hands<'_>) {
        let invited = self.leg.invite_next(hands, self.id, &self.story.view().context);
        let Ok(Invited { target, sip_call_id }) = invited else {
            let raw = telling::raw_code("field.invalid", "`to` or `from` cannot be written as a SIP URI");
            return self.end(hands, EndReason::EdgeFailed, raw, Farewell::Nothing);
        };
        let leg = self.leg.id;
        self.story.change(hands.outputs, |view| {
            view.provider_call_id = Some(sip_call_id.clone());
            view.sip.call_id = Some(sip_call_id.clone());
            let LegId(number) = leg;
            view.legs.retain(|known| known.leg != number);
            view.legs.insert(0, LegView::begun(leg, LegRole::Callee, target.address, sip_call_id));
        });
        self.milestone(hands, Layer::Signalling, "invite sent", Some(format!("to {}", target.address)));
    }

    /// Goes on to the next target (RFC 3263 §4.3), if there is one and nobody's phone has rung.
    fn fail_over(&mut self, hands: &mut Hands<'_>, why: &str) -> bool {
        let (State::Calling { .. }, Some(target)) = (&self.state, self.leg.may_fail_over()) else {
            return false;
        };
        self.milestone(hands, Layer::Signalling, "next target", Some(format!("{}: {why}", target.address)));
        self.invite_next(hands);
        true
    }

    /// Goes on to where the trunk has sent the call (RFC 3261 §8.1.3.4), if there is anybody left there.
    fn goes_elsewhere(&mut self, hands: &mut Hands<'_>, response: Option<&sip::Message>, why: &str) -> bool {
        let State::Calling { .. } = self.state else { return false };
        let Some(elsewhere) = self.leg.redirected(hands, response) else { return false };
        self.milestone(hands, Layer::Signalling, "redirected", Some(format!("{why}: to {elsewhere}")));
        self.invite_next(hands);
        true
    }

    /// A provisional response. The first response of any kind means that the call reached the network.
    pub(super) fn progressed(&mut self, hands: &mut Hands<'_>, response: &sip::Message) {
        self.placed(hands, response);
        let State::Calling { .. } = self.state else { return };
        let status = response.status().map_or(0, sip::StatusCode::code);
        if status > 100 {
            self.leg.rang(hands, status);
            self.milestone(hands, Layer::Signalling, "progress", Some(status.to_string()));
            let early = status == 183 && !response.body().is_empty();
            let shown = if early { Status::EarlyMedia } else { Status::Ringing };
            self.story.change(hands.outputs, |view| view.status = shown);
            // What the 200 says may still be of use.
            if let Err(error) = self.leg.take_early_answer(response) {
                self.milestone(hands, Layer::Media, "early answer not usable", Some(error.to_string()));
            }
            self.dial(hands);
            self.application_rings(hands);
        }
    }

    fn placed(&mut self, hands: &mut Hands<'_>, response: &sip::Message) {
        if self.story.kept().last_seq == 0 {
            self.story.tell(hands.now, hands.outputs, EventKind::Placed, telling::raw(response));
        }
    }

    /// 2xx to our INVITE.
    pub(super) fn answered(&mut self, hands: &mut Hands<'_>, response: &sip::Message) {
        let Some(dialog) = self.leg.dialog else { return };
        hands.endpoint.acknowledge(hands.now, dialog, None);
        let State::Calling { .. } = self.state else { return };
        self.placed(hands, response);
        let status = response.status().map(sip::StatusCode::code);
        self.story.change(hands.outputs, |view| view.sip.code = status);
        self.leg.judge(hands, Outcome::Answered("200"));
        match self.leg.final_answer(response) {
            Ok(negotiated) => {
                self.milestone(hands, Layer::Signalling, "answered", None);
                self.negotiated(hands, negotiated);
                self.dial(hands);
                self.begin_conversation(hands, telling::raw(response));
            }
            Err(error) => {
                self.milestone(hands, Layer::Media, "answer not usable", Some(error.to_string()));
                let raw = telling::raw(response);
                let farewell = Farewell::hang_up("Session description not usable");
                self.end(hands, EndReason::MediaIncompatible, raw, farewell);
            }
        }
    }

    /// A final refusal of our INVITE.
    pub(super) fn refused(&mut self, hands: &mut Hands<'_>, response: &sip::Message) {
        let (status, reason) = match response.start_line() {
            sip::StartLine::Response { status, reason } => (status, reason.into_owned()),
            sip::StartLine::Request { .. } => return,
        };
        let told = format!("{} {reason}", status.code());
        if self.leg.judge_refusal(hands, response, &told) && self.fail_over(hands, &told) {
            return;
        }
        self.placed(hands, response);
        if self.goes_elsewhere(hands, Some(response), &told) {
            return;
        }
        self.milestone(hands, Layer::Signalling, "refused", Some(told));
        self.story.change(hands.outputs, |view| {
            view.sip.code = Some(status.code());
            view.sip.reason = Some(reason);
        });
        self.end_refused(hands, status, telling::raw(response), Farewell::Nothing);
    }

    /// No final response at all.
    pub(super) fn failed(&mut self, hands: &mut Hands<'_>, failure: sip::Failure) {
        self.leg.judge(hands, Outcome::Failed(&failure.to_string(), None));
        if self.fail_over(hands, &failure.to_string()) {
            return;
        }
        if self.goes_elsewhere(hands, None, &failure.to_string()) {
            return;
        }
        self.milestone(hands, Layer::Signalling, "no response", Some(failure.to_string()));
        let raw = telling::raw_code("provider.unreachable", &failure.to_string());
        self.end(hands, EndReason::Unreachable, raw, Farewell::Nothing);
    }

    /// Nobody answered within the ring timeout.
    pub(super) fn not_answered_in_time(&mut self, hands: &mut Hands<'_>) {
        self.milestone(hands, Layer::Signalling, "no answer in time", None);
        let raw = telling::raw_code("call.no_answer", "the ring timeout has passed");
        self.end(hands, EndReason::NoAnswer, raw, Farewell::hang_up("No answer"));
    }
}
