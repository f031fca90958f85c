//! A call that comes in: it rings while the engine is asked, and its refusal becomes the SIP answer.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::admission::without_humans;
use super::application::Application;
use super::context::Context;
use super::engine::{EngineEvent, EngineFailure};
use super::event::{EndReason, EventKind};
use super::identity::Identity;
use super::ids::{CallId, FIRST_LEG, TenantId};
use super::leg::warning;
use super::one::{Call, Farewell, Hands, Link, State};
use super::output::Output;
use super::record::{CallRecord, Layer};
use super::settings::{Engine, Handling, Provider, Trunk};
use super::telling::{self, Story};
use super::verdict;
use super::view::{CallView, Direction, LegRole, LegView, Mode, SipPart, Status};

/// The INVITE and where admission sends it.
pub(super) struct Arrival<'a> {
    pub(super) id: CallId,
    pub(super) dialog: sip::DialogId,
    pub(super) request: &'a sip::Message,
    pub(super) flow: sip::Flow,
    pub(super) provider: Arc<Provider>,
    pub(super) engine: Arc<Engine>,
    pub(super) mode: Mode,
    pub(super) handling: Arc<Handling>,
    pub(super) webhook_url: Option<String>,
    pub(super) application: Option<Application>,
}

impl Call {
    /// An admitted INVITE. It rings from here on.
    pub(super) fn arrive(hands: &mut Hands<'_>, arrival: Arrival<'_>) -> Self {
        let Arrival { id, dialog, request, flow, provider, engine, mode, handling, webhook_url, application } =
            arrival;
        let listens = provider.trunk.policy.records(request);
        let (mode, handling) = match listens {
            true => (Mode::Assist, Arc::new(without_humans(&handling))),
            false => (mode, handling),
        };
        let record = CallRecord {
            tenant: provider.tenant.clone(),
            view: view(hands, id, request, flow, &provider, &engine, mode),
            last_seq: 0,
            webhook_url: None,
            idempotency: None,
        };
        let story = Story::begin(record, webhook_url, hands.now, hands.outputs);
        let give_up = hands.now + engine.connect_timeout + engine.accept_timeout;
        let mut call =
            Self::new(story, provider, engine, handling, State::Ringing { give_up }, Some(dialog), hands);
        if application.is_some() && !listens {
            call.link = Link::Gone;
            call.application = application;
            call.story.change(hands.outputs, |view| view.engine = None);
        }
        call.caller = request.from().ok().map(|from| from.uri().clone());
        call.headers = shown_headers(request, &call.provider.trunk);
        call.offer = request.session_description().ok().flatten();
        call.milestone(hands, Layer::Signalling, "invite received", Some(format!("from {}", flow.peer)));
        if listens {
            call.begin_listening(hands, request, flow);
        }
        call.story.tell(hands.now, hands.outputs, EventKind::InboundRinging, telling::raw(request));
        call
    }

    /// The leg has a port: if the offer can be answered the phone rings and the engine is dialled.
    pub(super) fn opened(&mut self, hands: &mut Hands<'_>, port: u16) {
        let mut negotiator = self.leg.negotiator(hands, port);
        match self.state {
            State::Opening { .. } => {
                let offer = negotiator.offer(media::Direction::SendRecv);
                self.leg.negotiator = Some(negotiator);
                self.invite(hands, offer);
            }
            State::Ringing { .. } => {
                if let Some(offer) = &self.offer {
                    match negotiator.handle_offer(offer) {
                        Ok((negotiated, answer)) => {
                            self.leg.negotiated = Some(negotiated);
                            self.leg.answer = Some(answer);
                        }
                        Err(error) => return self.not_acceptable(hands, error),
                    }
                }
                self.leg.negotiator = Some(negotiator);
                self.ring(hands);
                if self.begins_with_human() {
                    self.link = Link::Gone;
                } else {
                    self.dial(hands);
                }
                self.answer_when_ready(hands);
                self.ask_for_inbound(hands);
            }
            // It ended while the worker opened the port; `Close` is on its way.
            State::Confirming
            | State::Calling { .. }
            | State::Talking { .. }
            | State::Announcing { .. }
            | State::Draining { .. }
            | State::Ending { .. } => {}
        }
    }

    pub(super) fn ring(&mut self, hands: &mut Hands<'_>) {
        if let Some(dialog) = self.leg.dialog {
            hands.endpoint.ring(hands.now, dialog, sip::StatusCode::RINGING, Vec::new(), None);
        }
        self.milestone(hands, Layer::Signalling, "ringing sent", None);
    }

    pub(super) fn dial(&mut self, hands: &mut Hands<'_>) {
        if !matches!(self.link, Link::Idle) {
            return;
        }
        self.choose_engine(hands);
        self.link = Link::Dialling;
        if hands.standby.is_full(&self.engine) {
            return self.engine_gone(hands, EngineFailure::Full);
        }
        self.milestone(hands, Layer::Engine, "engine dialled", Some(self.engine.name.to_string()));
        hands.outputs.push(Output::DialEngine { call: self.id, engine: self.engine.clone() });
    }

    /// 200 as soon as both the engine and the port are there.
    pub(super) fn answer_when_ready(&mut self, hands: &mut Hands<'_>) {
        let is_ready = match self.link {
            Link::Willing => true,
            Link::Gone => match &self.application {
                Some(application) => application.answers(),
                None => self.has_humans(),
            },
            Link::Idle | Link::Dialling | Link::Deciding { .. } | Link::Speaking | Link::Resuming(_) => false,
        };
        let (State::Ringing { .. }, true) = (&self.state, is_ready) else { return };
        if self.hooked.is_some() {
            return self.take_hooked(hands);
        }
        let (Some(dialog), Some(negotiator)) = (self.leg.dialog, self.leg.negotiator.as_mut()) else {
            return;
        };
        let description = match self.leg.answer.clone() {
            Some(answer) => answer,
            None => {
                self.leg.owes_answer = true;
                negotiator.offer(media::Direction::SendRecv)
            }
        };
        self.state = State::Confirming;
        hands.endpoint.accept(hands.now, dialog, Vec::new(), Some(sip::Body::sdp(description)));
        if self.siprec.is_some() {
            self.lines_negotiated(hands);
        } else if let Some(negotiated) = self.leg.negotiated.take() {
            self.negotiated(hands, negotiated);
        }
        self.story.change(hands.outputs, |view| view.sip.code = Some(200));
        self.milestone(hands, Layer::Signalling, "answer sent", None);
    }

    /// The first ACK of our 200.
    pub(super) fn acknowledged(&mut self, hands: &mut Hands<'_>, request: &sip::Message) {
        if self.leg.owes_answer && !self.take_late_answer(hands, &description(request)) {
            return;
        }
        match self.state {
            State::Confirming => {
                self.milestone(hands, Layer::Signalling, "acknowledged", None);
                self.begin_conversation(hands, telling::raw(request));
            }
            // The ACK of a re-INVITE, or one that crossed the end.
            State::Ringing { .. }
            | State::Opening { .. }
            | State::Calling { .. }
            | State::Talking { .. }
            | State::Announcing { .. }
            | State::Draining { .. }
            | State::Ending { .. } => {}
        }
    }

    /// The ACK has to carry the answer to the offer in our 2xx; without a usable one the call cannot go on.
    fn take_late_answer(&mut self, hands: &mut Hands<'_>, answer: &[u8]) -> bool {
        self.leg.owes_answer = false;
        let Some(negotiator) = self.leg.negotiator.as_mut() else { return true };
        match negotiator.handle_answer(answer) {
            Ok(negotiated) => {
                self.negotiated(hands, negotiated);
                true
            }
            Err(error) => {
                let detail = error.to_string();
                self.milestone(hands, Layer::Media, "answer not usable", Some(detail.clone()));
                let raw = telling::raw_code("media.incompatible", &detail);
                self.end(
                    hands,
                    EndReason::MediaIncompatible,
                    raw,
                    Farewell::hang_up("Session description not usable"),
                );
                false
            }
        }
    }

    pub(super) fn not_acceptable(&mut self, hands: &mut Hands<'_>, error: media::SdpError) {
        self.milestone(hands, Layer::Media, "offer not acceptable", Some(error.to_string()));
        let raw = telling::raw_code("media.incompatible", &error.to_string());
        let headers = vec![warning(hands, error)];
        self.end(
            hands,
            EndReason::MediaIncompatible,
            raw,
            Farewell::Refuse { status: sip::StatusCode::NOT_ACCEPTABLE_HERE, headers },
        );
    }

    /// The engine refuses a call that still rings.
    pub(super) fn engine_rejected(&mut self, hands: &mut Hands<'_>, status: u16, reason: &str) {
        let status = sip::StatusCode::new(status).filter(|status| status.code() >= 300);
        let status = status.unwrap_or(sip::StatusCode::DECLINE);
        let detail = format!("{} {reason}", status.code());
        let raw = telling::raw_code("engine.rejected", &detail);
        self.milestone(hands, Layer::Engine, "engine rejected", Some(detail));
        match self.story.view().direction {
            Direction::Inbound => {
                let headers = vec![("Reason".into(), reason_header(status, reason))];
                self.end_turned_away(hands, status, raw, Farewell::Refuse { status, headers });
            }
            Direction::Outbound => {
                self.end(hands, EndReason::EngineRefused, raw, Farewell::hang_up("Engine rejected the call"));
            }
        }
    }

    /// There is no engine for a call that nobody has answered yet.
    pub(super) fn engine_unavailable(&mut self, hands: &mut Hands<'_>, failure: &EngineFailure) {
        if self.handling.human_for_engine && self.has_humans() && self.is_ready_for_human() {
            return self.human_for_engine(hands);
        }
        let raw = telling::raw_code("engine.unavailable", &failure.to_string());
        let farewell = match self.story.view().direction {
            Direction::Inbound => {
                let (status, retry_after) = verdict::of_engine_failure(failure);
                let mut headers: sip::Headers =
                    vec![("Reason".into(), reason_header(status, &failure.to_string()))];
                headers.extend(retry_after.map(|seconds| ("Retry-After".into(), seconds.to_string())));
                Farewell::Refuse { status, headers }
            }
            Direction::Outbound => Farewell::hang_up("No engine"),
        };
        self.end(hands, EndReason::EngineRefused, raw, farewell);
    }

    /// The engine sends the caller elsewhere before the answer (302).
    pub(super) fn engine_redirected(&mut self, hands: &mut Hands<'_>, to: &str) {
        let Direction::Inbound = self.story.view().direction else {
            return self.refuse_engine(
                hands,
                None,
                "call.not_inbound",
                "only an inbound call can be redirected",
            );
        };
        match self.destination(hands, to) {
            Ok(uri) => {
                self.milestone(hands, Layer::Engine, "engine redirected", None);
                let headers = vec![("Contact".into(), format!("<{uri}>"))];
                let raw = telling::raw_code("engine.redirected", uri.as_str());
                let status = sip::StatusCode::MOVED_TEMPORARILY;
                self.end_turned_away(hands, status, raw, Farewell::Refuse { status, headers });
            }
            Err(error) => self.refuse_engine(hands, None, error.code(), &error.to_string()),
        }
    }

    /// Neither the engine nor the port came in time.
    pub(super) fn not_taken_in_time(&mut self, hands: &mut Hands<'_>) {
        self.engine_unavailable(hands, &EngineFailure::Timeout);
    }

    /// Gave up before we answered.
    pub(super) fn cancelled(&mut self, hands: &mut Hands<'_>, raw: Box<RawValue>) {
        self.milestone(hands, Layer::Signalling, "cancelled by the caller", None);
        self.end(hands, EndReason::CallerCancelled, raw, Farewell::Nothing);
    }

    /// 200 was repeated for 64·T1 and never acknowledged; the dialog has sent BYE.
    pub(super) fn not_acknowledged(&mut self, hands: &mut Hands<'_>) {
        self.milestone(hands, Layer::Signalling, "answer not acknowledged", None);
        self.end(hands, EndReason::NotAcknowledged, telling::nothing(), Farewell::Nothing);
    }

    /// Audio may flow before the answer: 183 with the session description.
    pub(super) fn early_media(&mut self, hands: &mut Hands<'_>) {
        let State::Ringing { .. } = self.state else { return };
        let answer = self.leg.answer.clone().filter(|_| self.siprec.is_none());
        let (Some(dialog), Some(answer)) = (self.leg.dialog, answer) else {
            return self.refuse_engine(
                hands,
                None,
                "call.no_offer",
                "the caller offered no media before the answer",
            );
        };
        let body = Some(sip::Body::sdp(answer));
        hands.endpoint.ring(hands.now, dialog, sip::StatusCode::SESSION_PROGRESS, Vec::new(), body);
        if let Some(negotiated) = self.leg.negotiated.take() {
            self.negotiated(hands, negotiated);
        }
        self.story.change(hands.outputs, |view| view.status = Status::EarlyMedia);
        self.milestone(hands, Layer::Signalling, "early media sent", None);
        self.tell_engine(hands, EngineEvent::EarlyMedia);
    }
}

/// What the INVITE carries of a context, and what its reference stands for.
fn context_of(hands: &mut Hands<'_>, request: &sip::Message, tenant: &TenantId) -> Context {
    let reference = super::context::reference(request);
    let known = reference.and_then(|one| hands.references.take(hands.now, &one, Some(tenant)));
    let mut context = known.unwrap_or_default();
    context.merge(Context::from_sip(request));
    context
}

fn view(
    hands: &mut Hands<'_>,
    id: CallId,
    request: &sip::Message,
    flow: sip::Flow,
    provider: &Provider,
    engine: &Engine,
    mode: Mode,
) -> CallView {
    let sip_call_id = request.call_id().unwrap_or_default().to_owned();
    let number = |uri: &sip::Uri| provider.trunk.numbers_in.apply(&super::number::shown(uri));
    CallView {
        call_id: id,
        provider: provider.key.clone(),
        provider_call_id: Some(sip_call_id.clone()),
        direction: Direction::Inbound,
        from: request.from().map(|from| number(from.uri())).unwrap_or_default(),
        to: request.request_uri().map(|uri| number(&uri)).unwrap_or_default(),
        identity: Identity::of(request, provider),
        status: Status::Ringing,
        mode,
        engine: Some(engine.name.to_string()),
        context: context_of(hands, request, &provider.tenant),
        disposition: None,
        notes: None,
        started_at: hands.outputs.timestamp(hands.now),
        answered_at: None,
        ended_at: None,
        duration_sec: None,
        end_reason: None,
        sip: SipPart { code: None, reason: None, call_id: Some(sip_call_id.clone()) },
        answered_by: None,
        recording_url: None,
        transcript_url: None,
        quality: super::view::Quality::default(),
        latency: super::view::Latency::default(),
        legs: vec![LegView::begun(FIRST_LEG, LegRole::Caller, flow.peer, sip_call_id)],
    }
}

/// The session description of a message; empty where there is none that could be used.
pub(super) fn description(message: &sip::Message) -> bytes::Bytes {
    message.session_description().ok().flatten().unwrap_or_default()
}

/// What an engine may see of an INVITE: who, for whom, by which way, whatever was added for it.
fn shown_headers(request: &sip::Message, trunk: &Trunk) -> Vec<(String, String)> {
    const ASSERTED: &str = "P-Asserted-Identity";
    const USUAL: [&str; 8] =
        ["From", "To", "User-Agent", "Diversion", "History-Info", "User-to-User", "Subject", "Identity"];
    let shown = |name: &str| {
        name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("X-"))
            || USUAL.iter().any(|usual| usual.eq_ignore_ascii_case(name))
            || (trunk.trust_identity && name.eq_ignore_ascii_case(ASSERTED))
            || trunk.pass_headers.iter().any(|passed| passed.eq_ignore_ascii_case(name))
    };
    let headers = request.all_headers().filter(|(name, _)| shown(name) && !telling::is_secret(name));
    headers.map(|(name, value)| (name.to_owned(), value.text().into_owned())).collect()
}

/// `Reason` (RFC 3326) with a SIP cause.
pub(super) fn reason_header(status: sip::StatusCode, text: &str) -> String {
    sip::Reason::new("SIP", status.code(), text).to_string()
}
