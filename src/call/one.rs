//! One call, from its first message to the moment when nothing of it is left.
//! ```text
//!  inbound   [Ringing] -- engine accepts, ports open --> [Confirming] -- ACK --+
//!                                                                              v
//!  outbound  [Opening] -- ports open --> [Calling] -- 2xx ----------------> [Talking]
//!                                                                            |     |
//!                          engine lost, plan B announces: [Announcing] <-----+     +----> [Draining]: the engine
//!                                                             |                               | hangs up, but what it
//!            refused, cancelled, BYE, limits: any state --+   |                               | said is still played
//!                                                         v   v                               v
//!                                                        [Ending] -- dialog and worker gone --> removed
//! ```
//! The last event is told on entering `Ending`, and nowhere else. What a call needs from the world outside it
//! comes in as [`Hands`]; its parts are in `inbound`, `outbound`, `conversation` and `transfer`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;

use super::answering::Answering;
use super::application::Application;
use super::callbacks::Callbacks;
use super::command::{RecordMode, Voice};
use super::context::Context;
use super::event::{EndReason, EventKind};
use super::handover::Handover;
use super::hook::HookUse;
use super::ids::{CallId, EngineName, FIRST_LEG, ProviderKey, TenantId};
use super::leg::Leg;
use super::outputs::Outputs;
use super::party::Party;
use super::program::Program;
use super::record::Layer;
use super::reference::References;
use super::resumption::{Resumption, Returns};
use super::settings::{Engine, Handling, Provider, Settings};
use super::siprec::Siprec;
use super::standby::Standby;
use super::telling::{self, Story};
use super::transfer::Transfer;
use super::verdict;
use super::view::{CallView, Quality};
use super::voice::{LegSummary, Route, VoiceFact, VoiceOrder, VoiceSummary};
use super::ways::Ways;

/// How long the dialog and the worker may take to let go of an ended call before it is forgotten anyway.
const LET_GO: Duration = Duration::from_secs(90);

/// What a call may act with.
pub(super) struct Hands<'a> {
    pub(super) now: Instant,
    pub(super) endpoint: &'a mut sip::Endpoint,
    pub(super) outputs: &'a mut Outputs,
    pub(super) settings: &'a Settings,
    /// For what must not be guessed or must differ: session ids.
    pub(super) chance: &'a mut rand::rngs::StdRng,
    /// Chance that nobody can guess, for keys alone.
    pub(super) secrets: &'a mut rand::rngs::StdRng,
    /// The targets of every trunk, and how they are.
    pub(super) ways: &'a mut BTreeMap<ProviderKey, Ways>,
    /// Counts what was not dialled because the trunk may not.
    pub(super) forbidden: &'a mut u64,
    /// Contexts that did not fit a header.
    pub(super) references: &'a mut References,
    /// How the engines are.
    pub(super) standby: &'a mut Standby,
    /// What applications are told.
    pub(super) callbacks: &'a mut Callbacks,
}

/// Where a call stands, with the deadline that each state has.
#[derive(Debug)]
pub(super) enum State {
    /// Inbound: the phone rings, the engine is asked.
    Ringing { give_up: Instant },
    /// Inbound: 200 is sent and not yet acknowledged. The dialog watches the time.
    Confirming,
    /// Outbound: no port yet.
    Opening { give_up: Instant },
    /// Outbound: INVITE is sent.
    Calling { give_up: Instant },
    /// In conversation.
    Talking { until: Instant },
    /// Plan B speaks.
    Announcing { give_up: Instant },
    /// What the engine said last is still played.
    Draining { give_up: Instant },
    /// Its last event is told.
    Ending { give_up: Instant },
}

/// How far the engine is.
#[derive(Debug)]
pub(super) enum Link {
    /// Not dialled.
    Idle,
    /// Dialled; the shell watches the time.
    Dialling,
    /// Connected and told of the call; it decides.
    Deciding { give_up: Instant },
    /// It takes the call.
    Willing,
    /// It has the caller.
    Speaking,
    /// It had the caller; its socket is lost, and it is called back.
    Resuming(Resumption),
    /// Lost, refused or dismissed.
    Gone,
}

/// How the far end is told that the call is over.
pub(super) enum Farewell {
    /// BYE, CANCEL or whatever the dialog's state asks for.
    HangUp { reason: Option<String> },
    /// A final response to its INVITE.
    Refuse { status: sip::StatusCode, headers: sip::Headers },
    /// It knows.
    Nothing,
}

/// One call.
pub(super) struct Call {
    pub(super) id: CallId,
    pub(super) provider: Arc<Provider>,
    pub(super) engine: Arc<Engine>,
    /// Those that it had before.
    pub(super) had_engines: Vec<EngineName>,
    /// Who gave the conversation to the engine that has it now, and why, where it was given.
    pub(super) handover: Option<Handover>,
    pub(super) handling: Arc<Handling>,
    pub(super) story: Story,
    pub(super) state: State,
    pub(super) link: Link,
    /// The first leg.
    pub(super) leg: Leg,
    /// Who was called into the call.
    pub(super) parties: Vec<Party>,
    pub(super) next_leg: u8,
    /// What it is for, where a platform has brought it over a websocket.
    pub(super) hooked: Option<HookUse>,
    /// And the name of the session that it came in last.
    pub(super) session: String,
    /// Until when another session may go on with it, while there is none.
    pub(super) renews_until: Option<Instant>,
    /// Who hears whom, as the worker was told.
    pub(super) route: Route,
    /// The caller hears ringback.
    pub(super) waits: bool,
    /// Whether it is recorded, once it is answered.
    pub(super) record: RecordMode,
    /// Where it matters who answered.
    pub(super) answering: Option<Answering>,
    /// How often the engine has told each intent that a rule waits for.
    pub(super) intents: BTreeMap<String, u32>,
    /// The API has put the caller on hold.
    pub(super) on_hold: bool,
    /// Whom nobody hears because the API said so.
    pub(super) muted: Vec<Voice>,
    /// Keys are for the other legs only.
    pub(super) masked: bool,
    /// The engine takes the caller back when the human has gone.
    pub(super) returns_to_engine: bool,
    /// How its engine came back after its socket was lost.
    pub(super) returns: Returns,
    pub(super) transfer: Option<Transfer>,
    /// What runs it, where an application does.
    pub(super) application: Option<Application>,
    pub(super) max_duration: Duration,
    /// Who is at the first leg: whom the INVITE was from, or for.
    pub(super) caller: Option<sip::Uri>,
    /// Inbound: what the engine may see of the INVITE.
    pub(super) headers: Vec<(String, String)>,
    /// Inbound: the offer in the INVITE.
    pub(super) offer: Option<bytes::Bytes>,
    /// Where it is somebody else's call that is listened to.
    pub(super) siprec: Option<Box<Siprec>>,
    pub(super) ring_timeout: Duration,
    voice_gone: bool,
    /// What the exchange has noted as this call's next deadline.
    pub(super) noted: Option<Instant>,
}

/// `context` in the headers of an INVITE or REFER of `call`.
pub(super) fn context_headers(
    hands: &mut Hands<'_>,
    call: CallId,
    tenant: &TenantId,
    context: &Context,
) -> sip::Headers {
    let Hands { now, references, secrets, .. } = hands;
    context.to_sip(call, |bytes| references.give(*now, *secrets, tenant, context, bytes))
}

impl Call {
    pub(super) fn new(
        story: Story,
        provider: Arc<Provider>,
        engine: Arc<Engine>,
        handling: Arc<Handling>,
        state: State,
        dialog: Option<sip::DialogId>,
        hands: &mut Hands<'_>,
    ) -> Self {
        let (address, inactivity) = (hands.settings.media_bind, provider.trunk.media_timeout);
        let id = story.view().call_id;
        hands.outputs.voice(id, VoiceOrder::Open { leg: FIRST_LEG, address, inactivity });
        Self::without_port(story, provider, engine, handling, state, dialog)
    }

    /// One whose first leg needs no sockets.
    pub(super) fn without_port(
        story: Story,
        provider: Arc<Provider>,
        engine: Arc<Engine>,
        handling: Arc<Handling>,
        state: State,
        dialog: Option<sip::DialogId>,
    ) -> Self {
        let id = story.view().call_id;
        let (max_duration, record) = (provider.trunk.max_duration, handling.record);
        let ring_timeout = provider.trunk.ring_timeout;
        Self {
            id,
            engine,
            had_engines: Vec::new(),
            handover: None,
            handling,
            story,
            state,
            link: Link::Idle,
            leg: Leg::new(FIRST_LEG, provider.clone(), dialog),
            provider,
            parties: Vec::new(),
            next_leg: FIRST_LEG.0 + 1,
            hooked: None,
            session: String::new(),
            renews_until: None,
            route: Route::default(),
            waits: false,
            record,
            answering: None,
            intents: BTreeMap::new(),
            on_hold: false,
            muted: Vec::new(),
            masked: false,
            returns_to_engine: false,
            returns: Returns::default(),
            transfer: None,
            application: None,
            max_duration,
            caller: None,
            headers: Vec::new(),
            offer: None,
            siprec: None,
            ring_timeout,
            voice_gone: false,
            noted: None,
        }
    }

    /// The context as a leg or REFER carries it.
    pub(super) fn context_headers(&self, hands: &mut Hands<'_>) -> sip::Headers {
        context_headers(hands, self.id, &self.provider.tenant, &self.story.view().context)
    }

    /// The dialogs of its legs.
    pub(super) fn dialogs(&self) -> impl Iterator<Item = sip::DialogId> {
        let parties = self.parties.iter().filter_map(|party| party.leg.dialog);
        self.leg.dialog.into_iter().chain(parties)
    }

    /// Nothing of it is left anywhere.
    pub(super) fn is_gone(&self) -> bool {
        self.is_ending() && self.leg.dialog_gone && self.voice_gone && self.parties.is_empty()
    }

    pub(super) fn is_ending(&self) -> bool {
        matches!(self.state, State::Ending { .. })
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let state = match self.state {
            State::Ringing { give_up }
            | State::Opening { give_up }
            | State::Calling { give_up }
            | State::Talking { until: give_up }
            | State::Announcing { give_up }
            | State::Draining { give_up }
            | State::Ending { give_up } => Some(give_up),
            State::Confirming => None,
        };
        let link = match &self.link {
            Link::Deciding { give_up } => Some(*give_up),
            Link::Resuming(resumption) => resumption.poll_timeout(),
            Link::Idle | Link::Dialling | Link::Willing | Link::Speaking | Link::Gone => None,
        };
        let transfer = self.transfer.as_ref().and_then(Transfer::poll_timeout);
        let parties = self.parties.iter().filter_map(Party::poll_timeout).min();
        let answering = self.answering.as_ref().and_then(Answering::poll_timeout);
        let answering = answering.filter(|_| !self.is_ending());
        let program = self.application.as_ref().and_then(|application| application.poll_timeout());
        let program = program.filter(|_| !self.is_ending());
        let renewal = self.renews_until.filter(|_| !self.is_ending());
        [state, link, transfer, parties, answering, program, renewal].into_iter().flatten().min()
    }

    pub(super) fn handle_timeout(&mut self, hands: &mut Hands<'_>) {
        let now = hands.now;
        match self.state {
            State::Ringing { give_up } if give_up <= now => self.not_taken_in_time(hands),
            State::Opening { give_up } if give_up <= now => {
                self.no_port(hands, "the voice worker did not answer")
            }
            State::Calling { give_up } if give_up <= now => self.not_answered_in_time(hands),
            State::Talking { until } if until <= now => {
                self.end(
                    hands,
                    EndReason::MaxDuration,
                    telling::nothing(),
                    Farewell::hang_up("Maximum duration"),
                );
            }
            State::Announcing { give_up } if give_up <= now => self.announced(hands),
            State::Draining { give_up } if give_up <= now => self.drained(hands),
            State::Ending { give_up } if give_up <= now => self.forget(hands),
            State::Ringing { .. }
            | State::Confirming
            | State::Opening { .. }
            | State::Calling { .. }
            | State::Talking { .. }
            | State::Announcing { .. }
            | State::Draining { .. }
            | State::Ending { .. } => {}
        }
        if matches!(self.link, Link::Deciding { give_up } if give_up <= now) && !self.is_ending() {
            self.engine_gone(hands, super::engine::EngineFailure::Timeout);
        }
        self.pursue_engine(hands);
        self.handle_renewal_timeout(hands);
        if self.transfer.as_ref().and_then(Transfer::poll_timeout).is_some_and(|at| at <= now) {
            self.transfer_timed_out(hands);
        }
        self.handle_party_timeouts(hands);
        if !self.is_ending() {
            self.handle_answering_timeout(hands);
            self.with_program(hands, Program::handle_timeout);
            self.handle_sound_timeout(hands);
        }
    }

    /// What its worker tells.
    pub(super) fn handle_voice(&mut self, hands: &mut Hands<'_>, fact: VoiceFact) {
        match fact {
            VoiceFact::Opened { leg, port } if self.siprec.is_some() => self.line_opened(hands, leg, port),
            VoiceFact::NotOpened { error, .. } if self.siprec.is_some() => self.no_port(hands, &error),
            VoiceFact::Inactive { leg } if self.siprec.is_some() => self.line_silent(hands, leg),
            VoiceFact::Opened { leg, port } if leg != self.leg.id => self.party_opened(hands, leg, port),
            VoiceFact::Opened { port, .. } => self.opened(hands, port),
            VoiceFact::NotOpened { leg, error } if leg != self.leg.id => {
                self.party_not_opened(hands, leg, &error);
            }
            VoiceFact::NotOpened { error, .. } => self.no_port(hands, &error),
            VoiceFact::EngineConnected => self.engine_connected(hands),
            VoiceFact::EngineNotReached(failure) if matches!(self.link, Link::Dialling) => {
                self.engine_gone(hands, failure);
            }
            VoiceFact::EngineNotReached(failure) if self.is_calling_back() => {
                self.attempt_failed(hands, &failure);
            }
            // Whoever dials sees to it.
            VoiceFact::EngineToDial { .. } => {}
            // Another dial has taken its place, or nobody wants it any more.
            VoiceFact::EngineNotReached(_) => {}
            // It is an earlier engine's end: the one that is dialled has no socket yet.
            VoiceFact::EngineGone(_) if matches!(self.link, Link::Dialling) => {}
            VoiceFact::EngineGone(failure) if matches!(self.link, Link::Resuming(_)) => {
                self.resumption_failed(hands, &failure);
            }
            VoiceFact::EngineGone(failure) => self.engine_gone(hands, failure),
            VoiceFact::EngineAway(failure) => self.engine_away(hands, failure),
            VoiceFact::Engine(command) => self.engine_ordered(hands, command),
            VoiceFact::Dtmf { leg, digit, method, .. } => {
                let how = Some(method.as_str().to_owned());
                self.milestone(hands, Layer::Media, "digit received", how);
                if !self.masked {
                    self.key_pressed(hands, leg, digit);
                    self.key_for_rule(hands, leg, digit);
                }
            }
            VoiceFact::AnsweredBy { leg, who, confidence } if leg == self.leg.id => {
                self.answerer_heard(hands, who, confidence);
            }
            VoiceFact::Beep { leg } if leg == self.leg.id => self.beep_heard(hands),
            VoiceFact::AnsweredBy { leg, who, confidence } => self.party_heard(hands, leg, who, confidence),
            VoiceFact::Beep { .. } => {}
            VoiceFact::FirstPacket { from, .. } => {
                self.milestone(hands, Layer::Media, "first packet received", Some(from.to_string()));
            }
            VoiceFact::Secured { leg, suite } => self.secured(hands, leg, suite),
            VoiceFact::NotSecured { leg, why } => self.not_secured(hands, leg, why),
            VoiceFact::FirstAudio { .. } => self.first_audio(hands),
            VoiceFact::Hook(fact) => self.hook_told(hands, fact),
            // Over a stream nothing is lost and everything comes in lumps: that says nothing of how it sounds.
            VoiceFact::Measured(_) if self.hooked.is_some() => {}
            VoiceFact::Measured(leg) => self.story.change(hands.outputs, |view| measured(view, &[leg])),
            VoiceFact::BargedIn { after, .. } => self.barged_in(hands, after),
            VoiceFact::Responded { after, .. } => self.responded(hands, after),
            VoiceFact::Inactive { leg } if leg != self.leg.id => self.party_silent(hands, leg),
            VoiceFact::Inactive { .. } => self.silent(hands),
            VoiceFact::Announced { leg } if leg != self.leg.id => self.party_announced(hands, leg),
            VoiceFact::Announced { .. } => self.announced(hands),
            VoiceFact::Silent { who, lasted } => self.silence_heard(hands, who, lasted),
            VoiceFact::Drained => self.drained(hands),
            VoiceFact::Closed(summary) => self.closed(hands, summary),
        }
    }

    /// The edge is stopping and waits no longer.
    pub(super) fn shut_down(&mut self, hands: &mut Hands<'_>) {
        let farewell = match self.state {
            State::Ringing { .. } => Farewell::Refuse {
                status: sip::StatusCode::SERVICE_UNAVAILABLE,
                headers: sip::Headers::new(),
            },
            State::Confirming
            | State::Opening { .. }
            | State::Calling { .. }
            | State::Talking { .. }
            | State::Announcing { .. }
            | State::Draining { .. }
            | State::Ending { .. } => Farewell::hang_up("Shutting down"),
        };
        self.end(hands, EndReason::EdgeShutdown, telling::nothing(), farewell);
    }

    /// The one way out. Tells the last event, says farewell and lets go of dialog and worker.
    pub(super) fn end(
        &mut self,
        hands: &mut Hands<'_>,
        reason: EndReason,
        raw: Box<RawValue>,
        farewell: Farewell,
    ) {
        let kind = match (self.story.is_answered(), reason) {
            (true, _) => EventKind::Ended,
            (false, EndReason::Busy) => EventKind::Busy,
            // Who hangs up before the ACK has given up, too.
            (
                false,
                EndReason::NoAnswer
                | EndReason::CallerCancelled
                | EndReason::RemoteHungUp
                | EndReason::ApiHungUp,
            ) => EventKind::NoAnswer,
            (false, _) => EventKind::Error,
        };
        self.end_as(hands, kind, reason, raw, farewell);
    }

    /// [`Self::end`] with the meaning of a SIP status.
    pub(super) fn end_refused(
        &mut self,
        hands: &mut Hands<'_>,
        status: sip::StatusCode,
        raw: Box<RawValue>,
        farewell: Farewell,
    ) {
        let (kind, reason) = verdict::of_refusal(status.code());
        self.end_as(hands, kind, reason, raw, farewell);
    }

    /// [`Self::end`] of an inbound call that its engine has refused with a status.
    pub(super) fn end_turned_away(
        &mut self,
        hands: &mut Hands<'_>,
        status: sip::StatusCode,
        raw: Box<RawValue>,
        farewell: Farewell,
    ) {
        let (kind, reason) = verdict::of_engine_refusal(status.code());
        self.end_as(hands, kind, reason, raw, farewell);
    }

    fn end_as(
        &mut self,
        hands: &mut Hands<'_>,
        kind: EventKind,
        reason: EndReason,
        raw: Box<RawValue>,
        farewell: Farewell,
    ) {
        if self.is_ending() {
            return;
        }
        let rings = matches!(self.state, State::Ringing { .. });
        self.state = State::Ending { give_up: hands.now + LET_GO };
        self.link = Link::Gone;
        self.tell_referrer(hands, sip::StatusCode::REQUEST_TERMINATED);
        self.transfer = None;
        self.story.finish(hands.now, reason, hands.outputs);
        self.story.tell(hands.now, hands.outputs, kind, raw);
        self.application_ends(hands);
        if let Some(dialog) = self.leg.dialog {
            match farewell {
                Farewell::HangUp { reason } => {
                    let headers = reason.map(|text| ("Reason".into(), text));
                    hands.endpoint.hang_up(hands.now, dialog, headers.into_iter().collect());
                }
                // The INVITE has its final response already.
                Farewell::Refuse { headers, .. } if !rings => {
                    let headers = headers.into_iter().filter(|(name, _)| name == "Reason").collect();
                    hands.endpoint.hang_up(hands.now, dialog, headers);
                }
                Farewell::Refuse { status, headers } => {
                    hands.endpoint.refuse(hands.now, dialog, status, headers);
                }
                Farewell::Nothing => {}
            }
        }
        self.let_parties_go(hands, "The call is over");
        self.leave_hooked(hands, reason);
        hands.outputs.voice(self.id, VoiceOrder::Close(reason));
    }

    /// The worker has let go; what it knows completes the call object.
    fn closed(&mut self, hands: &mut Hands<'_>, summary: VoiceSummary) {
        self.voice_gone = true;
        let (is_hooked, listens) = (self.hooked.is_some(), self.hooked == Some(HookUse::Listen));
        self.story.change(hands.outputs, |view| {
            view.latency.edge_p99_ms = summary.edge_p99_ms;
            measured(view, &summary.legs);
            if is_hooked {
                view.quality = Quality::default();
            }
            if listens {
                view.legs.iter_mut().for_each(|leg| leg.frames_down = 0);
            }
        });
        self.story.show(hands.outputs);
        if !self.is_ending() {
            self.milestone(hands, Layer::Media, "the worker has let go", None);
            let raw = telling::raw_code("edge.failed", "a fault of the edge in the call's voice");
            self.end(hands, EndReason::EdgeFailed, raw, Farewell::hang_up("Internal error"));
        }
    }

    /// The dialog has let go.
    pub(super) fn dialog_gone(&mut self) {
        self.leg.dialog_gone = true;
    }

    fn forget(&mut self, hands: &mut Hands<'_>) {
        self.milestone(hands, Layer::Control, "forgotten without a trace of its end", None);
        self.leg.dialog_gone = true;
        self.voice_gone = true;
        self.parties.clear();
    }

    fn no_port(&mut self, hands: &mut Hands<'_>, error: &str) {
        self.milestone(hands, Layer::Media, "no port", Some(error.to_owned()));
        let raw = telling::raw_code("media.no_port", error);
        let farewell = Farewell::Refuse {
            status: sip::StatusCode::SERVICE_UNAVAILABLE,
            headers: vec![("Retry-After".into(), "5".into())],
        };
        self.end(hands, EndReason::EdgeFailed, raw, farewell);
    }

    pub(super) fn milestone(&self, hands: &mut Hands<'_>, layer: Layer, what: &str, detail: Option<String>) {
        self.story.milestone(hands.now, hands.outputs, layer, what, detail);
    }
}

impl Farewell {
    /// BYE or CANCEL with a `Reason` (RFC 3326) that says why.
    pub(super) fn hang_up(text: &str) -> Self {
        Self::HangUp { reason: Some(format!("SIP;cause=200;text=\"{text}\"")) }
    }
}

/// What the call object tells of its legs' voice.
fn measured(view: &mut CallView, legs: &[LegSummary]) {
    for told in legs {
        // The caller's audio is the call's.
        if told.leg == FIRST_LEG.0 {
            let LegSummary { jitter_ms, loss_pct, rtt_ms, mos, sent, .. } = *told;
            view.quality = Quality { mos, jitter_ms, loss_pct, rtt_ms, sent };
        }
        if let Some(leg) = view.legs.iter_mut().find(|leg| leg.leg == told.leg) {
            leg.frames_up = told.frames_up;
            leg.frames_down = told.frames_down;
        }
    }
}
