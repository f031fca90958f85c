//! The call in conversation: engine and caller, hold, loss of either.

use std::time::Duration;

use super::command::{CommandError, RecordMode};
use super::engine::{Dialect, EngineCommand, EngineEvent, EngineFailure, EngineStart};
use super::event::{Asker, EndReason, EventKind};
use super::handover::Handover;
use super::inbound::reason_header;
use super::info::NoKey;
use super::leg::{NotAnswered, Reoffered, warning};
use super::one::{Call, Farewell, Hands, Link, State};
use super::record::Layer;
use super::settings::Fallback;
use super::telling;
use super::transfer::GiveUp;
use super::view::{CallView, Mode};
use super::voice::VoiceOrder;

/// How long the last words of an engine that hung up may take.
const DRAIN: Duration = Duration::from_secs(60);
/// What an announcement may take beyond its own length.
const ANNOUNCEMENT_SLACK: Duration = Duration::from_secs(3);
/// How long one key is pressed.
const DIGIT: Duration = Duration::from_millis(160);
/// Samples of PCMU in a second.
const PCMU_RATE: u64 = 8000;

impl Call {
    /// Both sides are there, or the human side is and the engine is on its way.
    pub(super) fn begin_conversation(
        &mut self,
        hands: &mut Hands<'_>,
        raw: Box<serde_json::value::RawValue>,
    ) {
        self.state = State::Talking { until: hands.now + self.max_duration };
        self.note_session_timer(hands);
        if self.record != RecordMode::Off && hands.settings.recording.is_some() {
            let url = format!("/api/calls/{}/recording", self.id);
            self.story.change(hands.outputs, |view| view.recording_url = Some(url));
        }
        self.story.answer(hands.now, hands.outputs);
        // The far end may have answered with a hold.
        let status = self.talking_status();
        self.story.change(hands.outputs, |view| view.status = status);
        self.story.tell(hands.now, hands.outputs, EventKind::Answered, raw);
        self.let_speak(hands);
        self.begin_recording(hands);
        self.listen_who_answered(hands);
        self.watch_silence(hands);
        self.call_first_human(hands);
        self.application_answered(hands);
    }

    fn begin_recording(&mut self, hands: &mut Hands<'_>) {
        let Some(to) = hands.settings.recording.clone() else { return };
        let mode = self.record;
        if mode != RecordMode::Off {
            self.milestone(hands, Layer::Media, "recording begun", None);
            hands.outputs.voice(self.id, VoiceOrder::Record { leg: self.leg.id, mode, to });
        }
    }

    /// Offer and answer agree: the worker may send and receive.
    pub(super) fn negotiated(&mut self, hands: &mut Hands<'_>, negotiated: media::Negotiated) {
        let (id, codec) = (self.leg.id, negotiated.codec.name());
        self.story.change(hands.outputs, |view| {
            if let Some(leg) = view.legs.iter_mut().find(|known| known.leg == id.0) {
                leg.codec = Some(codec.to_owned());
            }
        });
        let held = !negotiated.direction.sends();
        self.leg.negotiated = Some(negotiated.clone());
        hands.outputs.voice(self.id, VoiceOrder::Negotiated { leg: self.leg.id, media: negotiated });
        if held != self.leg.held {
            self.leg.held = held;
            self.hold_changed(hands, held);
        }
    }

    pub(super) fn hold_changed(&mut self, hands: &mut Hands<'_>, held: bool) {
        let (what, event) = if held {
            ("held by the far end", EngineEvent::Held)
        } else {
            ("resumed by the far end", EngineEvent::Resumed)
        };
        self.milestone(hands, Layer::Signalling, what, None);
        self.tell_engine(hands, event);
        if self.story.is_answered() {
            let status = self.talking_status();
            self.story.change(hands.outputs, |view| view.status = status);
        }
    }

    /// A new offer, or none, inside the dialog.
    pub(super) fn reinvited(&mut self, hands: &mut Hands<'_>, request: &sip::Message) {
        if self.siprec.is_some() {
            return self.lines_reoffered(hands, request);
        }
        match self.leg.reoffered(hands, request) {
            Ok(Reoffered::Negotiated(negotiated)) => {
                self.milestone(hands, Layer::Signalling, "re-invite answered", None);
                self.negotiated(hands, negotiated);
            }
            Ok(Reoffered::Offered) => {
                self.milestone(hands, Layer::Signalling, "re-invite without offer answered", None);
            }
            Err(NotAnswered::Refused { why }) => {
                self.milestone(hands, Layer::Signalling, "re-invite refused", Some(why));
            }
            Err(NotAnswered::TooEarly) => {}
        }
    }

    /// The far end goes on in a dialog of its own choice (RFC 3891): somebody else has the caller now, or it is the same
    /// one at another telephone. Engine and voice notice nothing but new media.
    pub(super) fn taken_over(
        &mut self,
        hands: &mut Hands<'_>,
        dialog: sip::DialogId,
        request: &sip::Message,
        flow: sip::Flow,
    ) {
        if self.siprec.is_some() {
            return self.listening_taken_over(hands, dialog, request, flow);
        }
        let is_talking = match self.state {
            State::Talking { .. } | State::Announcing { .. } | State::Draining { .. } => true,
            State::Ringing { .. }
            | State::Confirming
            | State::Opening { .. }
            | State::Calling { .. }
            | State::Ending { .. } => false,
        };
        let (true, Some(before)) = (is_talking, self.leg.negotiator.as_ref()) else {
            let status = sip::StatusCode::DECLINE;
            let reason = reason_header(status, "the call is not in conversation");
            return hands.endpoint.refuse(hands.now, dialog, status, vec![("Reason".into(), reason)]);
        };
        let mut negotiator = before.anew(rand::Rng::random::<u64>(hands.chance) >> 1);
        self.leg.protect(hands, &mut negotiator);
        let offer = super::inbound::description(request);
        let (negotiated, description) = if offer.is_empty() {
            (None, negotiator.offer(media::Direction::SendRecv))
        } else {
            match negotiator.handle_offer(&offer) {
                Ok((negotiated, answer)) => (Some(negotiated), answer),
                Err(error) => {
                    let headers = vec![warning(hands, error)];
                    let status = sip::StatusCode::NOT_ACCEPTABLE_HERE;
                    return hands.endpoint.refuse(hands.now, dialog, status, headers);
                }
            }
        };
        let before = self.leg.dialog;
        self.leg.begin(dialog);
        self.leg.negotiator = Some(negotiator);
        self.leg.owes_answer = negotiated.is_none();
        hands.endpoint.accept(hands.now, dialog, Vec::new(), Some(sip::Body::sdp(description)));
        if let Some(before) = before {
            let reason = reason_header(sip::StatusCode::OK, "Replaced");
            hands.endpoint.hang_up(hands.now, before, vec![("Reason".into(), reason)]);
        }
        let sip_call_id = request.call_id().unwrap_or_default().to_owned();
        self.story.change(hands.outputs, |view| {
            view.sip.call_id = Some(sip_call_id.clone());
            if let Some(leg) = view.legs.first_mut() {
                leg.peer = flow.peer.to_string();
                leg.sip_call_id = sip_call_id;
            }
        });
        self.milestone(hands, Layer::Signalling, "dialog replaced", Some(format!("from {}", flow.peer)));
        if let Some(negotiated) = negotiated {
            self.negotiated(hands, negotiated);
        }
    }

    /// A new offer before the call is answered (RFC 3311).
    pub(super) fn offered_early(
        &mut self,
        hands: &mut Hands<'_>,
        id: sip::RequestId,
        request: &sip::Message,
    ) {
        if self.siprec.is_some() {
            return self.lines_offered_early(hands, id, request);
        }
        let answered = match self.leg.negotiator.as_mut() {
            Some(negotiator) => negotiator.handle_offer(&super::inbound::description(request)),
            None => Err(media::SdpError::NoOffer),
        };
        match answered {
            Ok((negotiated, answer)) => {
                let body = Some(sip::Body::sdp(answer));
                hands.endpoint.respond(hands.now, id, sip::StatusCode::OK, Vec::new(), body);
                self.milestone(hands, Layer::Signalling, "early offer answered", None);
                match self.state {
                    // The worker hears of it with the 200.
                    State::Calling { .. } => {
                        let tag = request.from().ok().and_then(|from| from.tag().map(str::to_owned));
                        for (_, early) in
                            self.leg.early_answers.iter_mut().filter(|(known, _)| Some(known) == tag.as_ref())
                        {
                            *early = negotiated.clone();
                        }
                    }
                    State::Ringing { .. }
                    | State::Opening { .. }
                    | State::Confirming
                    | State::Talking { .. }
                    | State::Announcing { .. }
                    | State::Draining { .. }
                    | State::Ending { .. } => self.negotiated(hands, negotiated),
                }
            }
            Err(error) => {
                let headers = vec![warning(hands, error)];
                let status = sip::StatusCode::NOT_ACCEPTABLE_HERE;
                hands.endpoint.respond(hands.now, id, status, headers, None);
                self.milestone(hands, Layer::Signalling, "early offer refused", Some(error.to_string()));
            }
        }
    }

    /// The session timer was refreshed. A re-INVITE of ours for it has offered what holds; the answer may say something new.
    pub(super) fn refreshed(&mut self, hands: &mut Hands<'_>, message: &sip::Message) {
        if self.siprec.is_some() {
            return self.listening_refreshed(hands, message);
        }
        let by = if message.status().is_some() { "by us" } else { "by the far end" };
        self.milestone(hands, Layer::Signalling, "session refreshed", Some(by.to_owned()));
        match self.leg.refreshed(message) {
            Ok(Some(negotiated)) => self.negotiated(hands, negotiated),
            Ok(None) => {}
            Err(error) => {
                self.milestone(hands, Layer::Media, "answer not usable", Some(error.to_string()));
            }
        }
    }

    /// Nobody refreshed the session in time (RFC 4028 §10); the dialog has sent BYE.
    pub(super) fn session_expired(&mut self, hands: &mut Hands<'_>) {
        self.milestone(hands, Layer::Signalling, "session expired", None);
        let raw = telling::raw_code("session.expired", "the session was not refreshed in time");
        self.end(hands, EndReason::Unreachable, raw, Farewell::Nothing);
    }

    /// Whether the first 2xx has agreed on a session timer, and on whom it is.
    fn note_session_timer(&mut self, hands: &mut Hands<'_>) {
        let Some(dialog) = self.leg.dialog else { return };
        let Some((interval, refresher)) = hands.endpoint.session_timer(dialog) else { return };
        let by = match refresher {
            sip::Party::Us => "us",
            sip::Party::Them => "the far end",
        };
        let detail = format!("{} s, refreshed by {by}", interval.as_secs());
        self.milestone(hands, Layer::Signalling, "session timer agreed", Some(detail));
    }

    /// BYE.
    pub(super) fn hung_up(&mut self, hands: &mut Hands<'_>, request: &sip::Message) {
        self.milestone(hands, Layer::Signalling, "hung up by the far end", None);
        // A trunk that took the caller over may say so by hanging up on us alone.
        if self.transfer.as_ref().is_some_and(|transfer| transfer.is_accepted()) {
            return self.transferred(hands, telling::raw(request), Farewell::Nothing);
        }
        // BYE in the early dialog does what CANCEL does (RFC 5407, appendix A).
        let reason = match self.state {
            State::Ringing { .. } => EndReason::CallerCancelled,
            State::Confirming
            | State::Opening { .. }
            | State::Calling { .. }
            | State::Talking { .. }
            | State::Announcing { .. }
            | State::Draining { .. }
            | State::Ending { .. } => EndReason::RemoteHungUp,
        };
        self.end(hands, reason, telling::raw(request), Farewell::Nothing);
    }

    /// The engine's socket is up.
    pub(super) fn engine_connected(&mut self, hands: &mut Hands<'_>) {
        if self.engine_reconnected(hands) {
            return;
        }
        match self.link {
            // A dial that was given up and begun again can bring two: the worker keeps the newest, which knows nothing yet.
            Link::Dialling | Link::Deciding { .. } | Link::Willing | Link::Speaking | Link::Resuming(_) => {}
            // Nobody wants it any more.
            Link::Idle | Link::Gone => {
                return hands.outputs.voice(self.id, VoiceOrder::DismissEngine(EndReason::Transferred));
            }
        }
        self.milestone(hands, Layer::Engine, "engine connected", None);
        if self.engine.dialect.decides_before_answer() {
            self.link = Link::Deciding { give_up: hands.now + self.engine.accept_timeout };
            self.offer_resumption(hands);
            let start = self.start(hands);
            self.tell_engine(hands, start);
        } else {
            self.engine_is_willing(hands);
        }
    }

    fn engine_is_willing(&mut self, hands: &mut Hands<'_>) {
        self.link = Link::Willing;
        hands.standby.works(&self.engine.name);
        self.answer_when_ready(hands);
        self.let_speak(hands);
    }

    /// Engine and caller hear each other from now on, if both are there.
    fn let_speak(&mut self, hands: &mut Hands<'_>) {
        let (State::Talking { .. }, Link::Willing) = (&self.state, &self.link) else { return };
        self.link = Link::Speaking;
        self.let_wait(hands);
        let event = if self.engine.dialect.decides_before_answer() {
            EngineEvent::Answered
        } else {
            self.start(hands)
        };
        self.tell_engine(hands, event);
        if self.leg.held {
            self.tell_engine(hands, EngineEvent::Held);
        }
        self.milestone(hands, Layer::Engine, "engine has the caller", None);
        self.stream_begins(hands);
    }

    pub(super) fn start(&self, hands: &Hands<'_>) -> EngineEvent {
        let view = self.story.view();
        EngineEvent::Start(Box::new(EngineStart {
            call: self.id,
            provider: view.provider.clone(),
            direction: view.direction,
            from: view.from.clone(),
            to: view.to.clone(),
            identity: view.identity.clone(),
            mode: view.mode,
            context: view.context.clone(),
            sip_call_id: view.sip.call_id.clone().unwrap_or_default(),
            sip_headers: self.headers.clone(),
            started_at: hands.outputs.timestamp(self.story.began()),
            parameters: self.parameters(),
            account: self.application.as_ref().map(|application| application.account_sid().to_owned()),
            resume: self.resume_offer(),
        }))
    }

    /// What the configuration tells the engine, and who answered once that is known.
    fn parameters(&self) -> Vec<(String, String)> {
        let answered_by = self.story.view().answered_by;
        let known = answered_by.map(|who| ("answered_by".to_owned(), who.as_str().to_owned()));
        let stands_in = self.had_engines.first().map(|name| ("fallback_for".to_owned(), name.to_string()));
        let given = self.handover.iter().flat_map(Handover::parameters);
        self.engine.parameters.iter().cloned().chain(known).chain(stands_in).chain(given).collect()
    }

    pub(super) fn tell_engine(&self, hands: &mut Hands<'_>, event: EngineEvent) {
        match self.link {
            Link::Deciding { .. } | Link::Willing | Link::Speaking | Link::Resuming(_) => {
                hands.outputs.voice(self.id, VoiceOrder::Tell(event));
            }
            Link::Idle | Link::Dialling | Link::Gone => {}
        }
    }

    pub(super) fn refuse_engine(&self, hands: &mut Hands<'_>, re: Option<String>, code: &str, message: &str) {
        self.milestone(hands, Layer::Engine, "engine command refused", Some(code.to_owned()));
        let (code, message) = (code.to_owned(), message.to_owned());
        self.tell_engine(hands, EngineEvent::Refused { re, code, message });
    }

    /// An order of the engine.
    pub(super) fn engine_ordered(&mut self, hands: &mut Hands<'_>, command: EngineCommand) {
        // An order that is under way while another engine is dialled is of the one before.
        if self.is_ending() || matches!(self.link, Link::Gone | Link::Idle | Link::Dialling) {
            return;
        }
        if let Link::Resuming(_) = self.link {
            return self.asked_engine_said(hands, &command);
        }
        match command {
            EngineCommand::Accept => self.engine_accepted(hands),
            EngineCommand::Ring => self.milestone(hands, Layer::Engine, "engine lets it ring", None),
            EngineCommand::EarlyMedia => self.early_media(hands),
            EngineCommand::Reject { status, reason } if !self.story.is_answered() => {
                self.engine_rejected(hands, status, &reason);
            }
            EngineCommand::Reject { .. } => {
                self.refuse_engine(
                    hands,
                    None,
                    "call.already_answered",
                    "an answered call is ended by hang_up",
                );
            }
            EngineCommand::Redirect { to } if matches!(self.state, State::Ringing { .. }) => {
                self.engine_redirected(hands, &to);
            }
            EngineCommand::Redirect { .. } => {
                self.refuse_engine(
                    hands,
                    None,
                    "call.already_answered",
                    "an answered call is handed over by transfer",
                );
            }
            EngineCommand::Transfer { id, to, reason, manner } => {
                self.engine_transfers(hands, id, &to, reason, &manner);
            }
            EngineCommand::Mode { id, mode, to, reason } => {
                self.engine_switches(hands, id, mode, to.as_deref(), reason);
            }
            EngineCommand::SwitchEngine { id, engine, reason } => {
                if let Err(error) = self.switch_engine(hands, &engine, reason, Asker::Engine) {
                    self.refuse_engine(hands, id, error.code(), &error.to_string());
                }
            }
            EngineCommand::HangUp { reason, .. } if self.is_others_business() => {
                self.milestone(hands, Layer::Engine, "engine leaves", reason);
                self.engine_leaves(hands);
            }
            EngineCommand::HangUp { reason, drain, .. } => self.engine_hangs_up(hands, reason, drain),
            EngineCommand::Context(context) => {
                let intent = context.intent.clone();
                self.story.change(hands.outputs, |view| view.context.merge(context));
                self.story.show(hands.outputs);
                if let Some(intent) = intent {
                    self.intent_told(hands, &intent);
                }
            }
        }
    }

    fn engine_accepted(&mut self, hands: &mut Hands<'_>) {
        let Link::Deciding { .. } = self.link else {
            return self.refuse_engine(hands, None, "call.already_accepted", "the call was accepted before");
        };
        self.milestone(hands, Layer::Engine, "engine accepted", None);
        self.engine_is_willing(hands);
    }

    fn engine_hangs_up(&mut self, hands: &mut Hands<'_>, reason: Option<String>, drain: bool) {
        self.milestone(hands, Layer::Engine, "engine hangs up", reason);
        match self.state {
            State::Talking { .. } if drain => {
                self.state = State::Draining { give_up: hands.now + DRAIN };
                hands.outputs.voice(self.id, VoiceOrder::Drain);
            }
            State::Ringing { .. } => self.engine_rejected(hands, 603, "Decline"),
            State::Draining { .. } if drain => {}
            State::Confirming
            | State::Opening { .. }
            | State::Calling { .. }
            | State::Talking { .. }
            | State::Announcing { .. }
            | State::Draining { .. }
            | State::Ending { .. } => self.end_by_engine(hands),
        }
    }

    fn end_by_engine(&mut self, hands: &mut Hands<'_>) {
        let farewell = Farewell::hang_up("Ended by the engine");
        self.end(hands, EndReason::EngineHungUp, telling::nothing(), farewell);
    }

    /// What the engine said last was played, or took too long.
    pub(super) fn drained(&mut self, hands: &mut Hands<'_>) {
        if let State::Draining { .. } = self.state {
            return self.end_by_engine(hands);
        }
        self.with_program(hands, |program, now| program.drained(now));
    }

    /// There is no engine any more, or there never was one.
    pub(super) fn engine_gone(&mut self, hands: &mut Hands<'_>, failure: EngineFailure) {
        if self.is_ending() || matches!(self.link, Link::Gone) {
            return;
        }
        let hung_up =
            is_hang_up(self.engine.dialect, &failure) && matches!(self.link, Link::Willing | Link::Speaking);
        if self.stream_over(hands, &failure, hung_up) {
            return;
        }
        if !hung_up {
            // Having enough to do is no failure.
            if failure != EngineFailure::Full {
                self.note_failure(hands);
            }
            if self.turn_to_stand_in(hands, &failure) {
                return;
            }
        }
        self.milestone(hands, Layer::Engine, "engine gone", Some(failure.to_string()));
        if self.is_others_business() {
            self.link = Link::Gone;
            return self.let_wait(hands);
        }
        match self.state {
            State::Ringing { .. } | State::Opening { .. } | State::Calling { .. } => {
                self.link = Link::Gone;
                self.engine_unavailable(hands, &failure);
            }
            State::Talking { .. } if hung_up => {
                self.link = Link::Gone;
                self.state = State::Draining { give_up: hands.now + DRAIN };
                hands.outputs.voice(self.id, VoiceOrder::Drain);
            }
            State::Talking { .. } if self.handling.human_for_engine && self.has_humans() => {
                self.link = Link::Gone;
                self.escalate(hands, GiveUp::PlanB, Mode::Routing, "engine_lost", Asker::Rule);
            }
            State::Confirming if self.handling.human_for_engine && self.has_humans() => {
                self.link = Link::Gone;
            }
            State::Confirming | State::Talking { .. } => {
                self.link = Link::Gone;
                self.plan_b(hands);
            }
            // Its last words are still to be played.
            State::Draining { .. } => self.link = Link::Gone,
            State::Announcing { .. } | State::Ending { .. } => {}
        }
    }

    /// A human has the caller, or somebody is being asked to take them: the engine's end is not the call's.
    pub(super) fn is_others_business(&self) -> bool {
        let listens = self.siprec.is_some() && matches!(self.state, State::Confirming);
        let is_answered = self.story.is_answered();
        listens || (is_answered && (self.transfer.is_some() || self.joined().next().is_some()))
    }

    /// It has said all it wants to say in a call that goes on without it. Its last words are still played.
    fn engine_leaves(&mut self, hands: &mut Hands<'_>) {
        self.link = Link::Gone;
        hands.outputs.voice(self.id, VoiceOrder::DismissEngine(EndReason::EngineHungUp));
        self.let_wait(hands);
    }

    /// The engine was lost: what the configuration says.
    pub(super) fn plan_b(&mut self, hands: &mut Hands<'_>) {
        hands.outputs.voice(self.id, VoiceOrder::DismissEngine(EndReason::EngineLost));
        self.let_wait(hands);
        match &self.engine.on_lost {
            Fallback::Announce(audio) => {
                let audio = audio.clone();
                let length = Duration::from_millis(audio.pcmu.len() as u64 * 1000 / PCMU_RATE);
                self.milestone(hands, Layer::Media, "announcement", Some(audio.name.clone()));
                self.state = State::Announcing { give_up: hands.now + length + ANNOUNCEMENT_SLACK };
                hands.outputs.voice(self.id, VoiceOrder::Announce { leg: self.leg.id, audio });
            }
            Fallback::HangUp => self.end_engine_lost(hands),
        }
    }

    /// Plan B has spoken.
    pub(super) fn announced(&mut self, hands: &mut Hands<'_>) {
        if let State::Announcing { .. } = self.state {
            return self.end_engine_lost(hands);
        }
        self.application_heard(hands);
    }

    fn end_engine_lost(&mut self, hands: &mut Hands<'_>) {
        let raw = telling::raw_code("engine.lost", "the engine was lost in the middle of the call");
        self.end(hands, EndReason::EngineLost, raw, Farewell::hang_up("Engine lost"));
    }

    /// No RTP for too long.
    pub(super) fn silent(&mut self, hands: &mut Hands<'_>) {
        match self.state {
            State::Talking { .. } | State::Announcing { .. } | State::Draining { .. } => {
                self.milestone(hands, Layer::Media, "no packets from the far end", None);
                let raw = telling::raw_code("media.timeout", "no RTP came from the far end for too long");
                self.end(hands, EndReason::MediaTimeout, raw, Farewell::hang_up("Media timeout"));
            }
            State::Ringing { .. }
            | State::Confirming
            | State::Opening { .. }
            | State::Calling { .. }
            | State::Ending { .. } => {}
        }
    }

    /// The engine's first audio is on its way to the caller.
    pub(super) fn first_audio(&mut self, hands: &mut Hands<'_>) {
        self.milestone(hands, Layer::Media, "first engine audio sent", None);
        let now = hands.now;
        if let Some(answered) = self.story.answered_at() {
            self.story.change(hands.outputs, |view| {
                view.latency.first_audio_ms = Some(telling::milliseconds(now - answered));
            });
        }
    }

    /// The caller interrupted the engine; the slowest is what the call object tells.
    pub(super) fn barged_in(&mut self, hands: &mut Hands<'_>, after: Duration) {
        let after_ms = telling::milliseconds(after);
        self.milestone(
            hands,
            Layer::Media,
            "caller interrupted",
            Some(format!("silent after {after_ms} ms")),
        );
        self.story.change(hands.outputs, |view| {
            let slowest = view.latency.barge_in_ms.map_or(after_ms, |known| known.max(after_ms));
            view.latency.barge_in_ms = Some(slowest);
        });
    }

    /// The engine answered what the caller said; the slowest is what the call object tells.
    pub(super) fn responded(&mut self, hands: &mut Hands<'_>, after: Duration) {
        let after_ms = telling::milliseconds(after);
        if self.story.view().latency.response_ms.is_none_or(|known| after_ms > known) {
            self.story.change(hands.outputs, |view| view.latency.response_ms = Some(after_ms));
        }
    }

    /// INFO: a key, or what we do not know.
    pub(super) fn informed(
        &mut self,
        hands: &mut Hands<'_>,
        leg: super::ids::LegId,
        id: sip::RequestId,
        request: &sip::Message,
    ) {
        let content_type = request.content_type().ok().flatten();
        let kind = content_type.map(|kind| kind.to_string()).unwrap_or_default();
        let (status, headers) = match super::info::key(&kind, &request.body()) {
            _ if request.body().is_empty() => (sip::StatusCode::OK, Vec::new()),
            Ok((digit, duration)) => {
                hands.outputs.voice(self.id, VoiceOrder::Pressed { leg, digit, duration });
                (sip::StatusCode::OK, Vec::new())
            }
            Err(NoKey::Type) => {
                let accept = super::info::ACCEPTED.to_owned();
                (sip::StatusCode::UNSUPPORTED_MEDIA_TYPE, vec![("Accept".into(), accept)])
            }
            Err(NoKey::Malformed) => (sip::StatusCode::BAD_REQUEST, Vec::new()),
        };
        hands.endpoint.respond(hands.now, id, status, headers, None);
    }

    /// Key presses towards the far end, ordered by the API.
    pub(super) fn send_dtmf(
        &mut self,
        hands: &mut Hands<'_>,
        digits: Vec<media::Digit>,
    ) -> Result<(), CommandError> {
        self.may_be_spoken_to()?;
        match self.state {
            State::Talking { .. } => {}
            State::Ringing { .. } | State::Confirming | State::Opening { .. } | State::Calling { .. } => {
                return Err(CommandError::CallNotAnswered);
            }
            State::Announcing { .. } | State::Draining { .. } | State::Ending { .. } => {
                return Err(CommandError::CallAlreadyEnded);
            }
        }
        self.milestone(hands, Layer::Control, "digits ordered", Some(format!("{} digits", digits.len())));
        hands.outputs.voice(self.id, VoiceOrder::SendDtmf { leg: self.leg.id, digits, duration: DIGIT });
        Ok(())
    }

    /// Sets the disposition; a call that still runs ends with it.
    pub(super) fn wrap_up(
        &mut self,
        hands: &mut Hands<'_>,
        disposition: String,
        notes: Option<String>,
    ) -> CallView {
        self.story.change(hands.outputs, |view| {
            view.disposition = Some(disposition);
            view.notes = notes;
        });
        if self.is_ending() {
            self.story.show(hands.outputs);
        } else {
            self.milestone(hands, Layer::Control, "wrapped up", None);
            let farewell = Farewell::hang_up("Wrapped up");
            self.end(hands, EndReason::ApiHungUp, telling::nothing(), farewell);
        }
        self.story.view().clone()
    }
}

/// Whether this way of going means "hang up" in the engine's language (RFC 6455 §7.4.1: 1000, or no code at all).
fn is_hang_up(dialect: Dialect, failure: &EngineFailure) -> bool {
    let in_order = matches!(failure, EngineFailure::Closed { code: None | Some(1000 | 1005) });
    dialect.hangs_up_by_closing() && in_order
}
