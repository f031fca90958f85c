//! A call that is placed: a port, an INVITE, the engine dialled while the phone rings.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::command::PlaceCall;
use super::event::{EndReason, EventKind};
use super::ids::CallId;
use super::number;
use super::one::{Call, Farewell, Hands, State};
use super::output::Output;
use super::record::{CallRecord, Idempotency, Layer};
use super::settings::{Engine, Provider};
use super::telling::{self, Story};
use super::view::{CallView, Direction, LegRole, LegView, Mode, SipPart, Status};

/// How long the worker may take to open a port.
const OPEN: Duration = Duration::from_secs(5);

/// How long a target may say nothing while there is another one.
const TRY: Duration = Duration::from_secs(4);

/// Forks whose early answers are kept.
const MAX_FORKS: usize = 16;

/// What a target did with an INVITE.
enum Outcome<'a> {
    /// Anything but silence.
    Answered(&'a str),
    /// Nothing, or it asks to be left alone for a while.
    Failed(&'a str, Option<Duration>),
}

/// A call asked for and found possible.
pub(super) struct Placement {
    pub(super) id: CallId,
    pub(super) provider: Arc<Provider>,
    pub(super) engine: Arc<Engine>,
    pub(super) mode: Mode,
    pub(super) call: Box<PlaceCall>,
    pub(super) idempotency: Option<Idempotency>,
    pub(super) webhook_url: Option<String>,
    /// In the order in which they are tried.
    pub(super) targets: VecDeque<sip::Target>,
}

impl Call {
    /// An order to call out.
    pub(super) fn place(hands: &mut Hands<'_>, placement: Placement) -> Self {
        let Placement { id, provider, engine, mode, call: ordered, idempotency, webhook_url, targets } =
            placement;
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
                status: Status::Placing,
                mode,
                engine: Some(engine.name.to_string()),
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
        let mut call = Self::new(story, provider, engine, state, None, hands);
        call.targets = targets;
        call.headers = ordered.headers.into_iter().collect();
        if let Some(seconds) = ordered.ring_timeout_sec {
            call.ring_timeout = Duration::from_secs(seconds.into());
        }
        if let Some(seconds) = ordered.max_duration_sec {
            call.max_duration = Duration::from_secs(seconds.into());
        }
        call.milestone(hands, Layer::Control, "call ordered", None);
        call
    }

    /// The port is open: INVITE.
    pub(super) fn invite(&mut self, hands: &mut Hands<'_>, offer: bytes::Bytes) {
        self.offer = Some(offer);
        self.state = State::Calling { give_up: hands.now + self.ring_timeout };
        self.invite_next(hands);
    }

    /// INVITE to the next target.
    fn invite_next(&mut self, hands: &mut Hands<'_>) {
        let view = self.story.view();
        let (Some(target), Some(offer), Ok(request_uri), Ok(from)) = (
            self.targets.pop_front(),
            self.offer.clone(),
            number::uri(&view.to, &self.provider.trunk),
            from_address(&view.from, &self.provider, &hands.settings.sip_host),
        ) else {
            let raw = telling::raw_code("field.invalid", "`to` or `from` cannot be written as a SIP URI");
            return self.end(hands, EndReason::EdgeFailed, raw, Farewell::Nothing);
        };
        let mut headers = view.context.to_sip(self.id);
        headers.extend(self.headers.iter().map(|(name, value)| (name.clone().into(), value.clone())));
        let to = sip::NameAddr::new(request_uri.clone());
        let invite = sip::Invite {
            credentials: self.provider.trunk.credentials.clone(),
            headers,
            body: Some(sip::Body::sdp(offer)),
            timer_b: Some(self.patience()),
            policy: self.provider.trunk.policy,
            ..sip::Invite::new(target, request_uri, from, to)
        };
        let dialog = hands.endpoint.invite(hands.now, invite);
        self.leg.begin(dialog);
        self.tried = Some((target, false));
        if let Some(ways) = hands.ways.get_mut(&self.provider.key) {
            ways.tried(hands.now, target);
        }
        let sip_call_id = hands.endpoint.call_id(dialog).unwrap_or_default().to_owned();
        self.story.change(hands.outputs, |view| {
            view.provider_call_id = Some(sip_call_id.clone());
            view.sip.call_id = Some(sip_call_id.clone());
            view.legs.clear();
            view.legs.push(LegView {
                leg: 0,
                role: LegRole::Callee,
                codec: None,
                peer: target.address.to_string(),
                sip_call_id,
                frames_up: 0,
                frames_down: 0,
            });
        });
        self.milestone(hands, Layer::Signalling, "invite sent", Some(format!("to {}", target.address)));
    }

    /// How long a target may say nothing: less while there is another one to ask.
    fn patience(&self) -> Duration {
        let patience = self.provider.trunk.response_timeout;
        if self.targets.is_empty() { patience } else { patience.min(TRY) }
    }

    /// The target has answered, or has not: what it means for other calls.
    fn judge(&self, hands: &mut Hands<'_>, outcome: Outcome<'_>) {
        let (Some((target, _)), Some(ways)) = (self.tried, hands.ways.get_mut(&self.provider.key)) else {
            return;
        };
        let at = hands.outputs.timestamp(hands.now);
        let changed = match outcome {
            Outcome::Answered(_) if ways.is_up(target) => false,
            Outcome::Answered(detail) => ways.succeeded(target, detail, at),
            Outcome::Failed(detail, retry_after) => {
                ways.failed(hands.now, target, detail, retry_after, at);
                true
            }
        };
        if changed {
            let health = ways.health(hands.now);
            hands.outputs.push(Output::Health { provider: self.provider.key.clone(), health });
        }
    }

    /// Goes on to the next target (RFC 3263 §4.3), if there is one and nobody's phone has rung.
    fn fail_over(&mut self, hands: &mut Hands<'_>, why: &str) -> bool {
        let (State::Calling { .. }, Some((target, false))) = (&self.state, self.tried) else { return false };
        if self.targets.is_empty() {
            return false;
        }
        self.milestone(hands, Layer::Signalling, "next target", Some(format!("{}: {why}", target.address)));
        self.invite_next(hands);
        true
    }

    /// A provisional response. The first response of any kind means that the call reached the network.
    pub(super) fn progressed(&mut self, hands: &mut Hands<'_>, response: &sip::Message) {
        self.placed(hands, response);
        let State::Calling { .. } = self.state else { return };
        let status = response.status().map_or(0, sip::StatusCode::code);
        if status > 100 {
            if let Some((_, rang @ false)) = &mut self.tried {
                *rang = true;
                self.judge(hands, Outcome::Answered(&status.to_string()));
            }
            self.milestone(hands, Layer::Signalling, "progress", Some(status.to_string()));
            let early = status == 183 && !response.body().is_empty();
            let shown = if early { Status::EarlyMedia } else { Status::Ringing };
            self.story.change(hands.outputs, |view| view.status = shown);
            self.take_early_answer(hands, response);
            self.dial(hands);
        }
    }

    /// A reliable provisional response may be where the answer is (RFC 3262 §5): the 200 of that fork has none then.
    fn take_early_answer(&mut self, hands: &mut Hands<'_>, response: &sip::Message) {
        let is_reliable = response.has_token(sip::HeaderName::Require, "100rel");
        let (true, false, Some(negotiator)) =
            (is_reliable, response.body().is_empty(), self.leg.negotiator.as_mut())
        else {
            return;
        };
        match negotiator.handle_answer(&super::inbound::description(response)) {
            Ok(negotiated) => {
                let tag = to_tag(response);
                let early = &mut self.leg.early_answers;
                early.retain(|(known, _)| *known != tag);
                if early.len() < MAX_FORKS {
                    early.push((tag, negotiated));
                }
            }
            // What the 200 says may still be of use.
            Err(error) => {
                self.milestone(hands, Layer::Media, "early answer not usable", Some(error.to_string()));
            }
        }
    }

    /// What the 2xx agrees on; its answer may have come before.
    fn final_answer(&mut self, response: &sip::Message) -> Result<media::Negotiated, media::SdpError> {
        let tag = to_tag(response);
        let early = std::mem::take(&mut self.leg.early_answers).into_iter().find(|(known, _)| *known == tag);
        match (early, &mut self.leg.negotiator) {
            (Some((_, negotiated)), _) if response.body().is_empty() => Ok(negotiated),
            (_, Some(negotiator)) => negotiator.handle_answer(&super::inbound::description(response)),
            (_, None) => Err(media::SdpError::NoOffer),
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
        self.judge(hands, Outcome::Answered("200"));
        match self.final_answer(response) {
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
        if status == sip::StatusCode::SERVICE_UNAVAILABLE {
            // RFC 3261 §21.5.4: without Retry-After it is about this call only.
            let retry_after =
                response.retry_after().ok().flatten().map(|after| Duration::from_secs(after.seconds.into()));
            match retry_after {
                Some(_) => self.judge(hands, Outcome::Failed(&told, retry_after)),
                None => self.judge(hands, Outcome::Answered(&told)),
            }
            if self.fail_over(hands, &told) {
                return;
            }
        } else {
            self.judge(hands, Outcome::Answered(&told));
        }
        self.placed(hands, response);
        self.milestone(hands, Layer::Signalling, "refused", Some(told));
        self.story.change(hands.outputs, |view| {
            view.sip.code = Some(status.code());
            view.sip.reason = Some(reason);
        });
        self.end_refused(hands, status, telling::raw(response), Farewell::Nothing);
    }

    /// No final response at all.
    pub(super) fn failed(&mut self, hands: &mut Hands<'_>, failure: sip::Failure) {
        self.judge(hands, Outcome::Failed(&failure.to_string(), None));
        if self.fail_over(hands, &failure.to_string()) {
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

fn to_tag(response: &sip::Message) -> String {
    response.to().ok().and_then(|to| to.tag().map(str::to_owned)).unwrap_or_default()
}

fn from_address(
    from: &str,
    provider: &Provider,
    sip_host: &str,
) -> Result<sip::NameAddr, number::NotDialable> {
    let uri = match from.split_once(':') {
        Some(_) => number::uri(from, &provider.trunk)?,
        None => {
            let host = provider.trunk.domain.as_deref().unwrap_or(sip_host);
            let user = from.replace('#', "%23");
            sip::Uri::parse(format!("sip:{user}@{host}")).map_err(|_| number::NotDialable::Syntax)?
        }
    };
    Ok(sip::NameAddr::new(uri))
}
