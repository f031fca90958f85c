//! A call whose first leg has no SIP: a platform has opened a websocket to us and brings the conversation over it. Words for the
//! shells, and how such a call begins, is taken and ends.
//! ```text
//!   arrived -> [Ringing] -- socket at the worker: engine is dialled -- engine willing: taken --> [Talking]
//!                  |                                                                                |
//!                  +---------- no engine, platform gone, limits --------> [Ending] <---------------+
//! ```
//! A session that brings both sides of a conversation is listened to: the engine hears caller and agent, and nobody hears the
//! engine. One that brings the caller alone is the engine's own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::command::RecordMode;
use super::context::Context;
use super::engine::EngineEvent;
use super::event::{EndReason, EventKind};
use super::identity::Identity;
use super::ids::{CallId, FIRST_LEG, LegId, ProviderKey};
use super::one::{Call, Farewell, Hands, State};
use super::record::{CallRecord, Layer};
use super::settings::{Engine, Handling, Provider};
use super::telling::{self, Story};
use super::view::{CallView, Direction, LegRole, LegView, Mode, SipPart, Status};
use super::voice::{Route, VoiceOrder};

/// The other side of a conversation that is listened to.
pub const SECOND_LEG: LegId = LegId(FIRST_LEG.0 + 1);

/// How long the platform waits for us to take the session, less what the way takes.
const PATIENCE: Duration = Duration::from_millis(4500);

/// How long a platform may take to open another session for a call that goes on.
const RENEWAL: Duration = Duration::from_secs(10);

/// What a platform ends a session with that goes on in another.
const RECONNECT: &str = "reconnect";

/// What becomes of a session's audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookUse {
    /// Caller and agent are listened to.
    Listen,
    /// The engine speaks with the caller.
    Speak,
}

/// A session that a platform has opened.
#[derive(Debug, Clone)]
pub struct HookArrival {
    /// The provider in the path, proven.
    pub provider: ProviderKey,
    /// The session's name.
    pub session: String,
    /// Sessions that go on in this one.
    pub continued: Vec<String>,
    /// The platform's name for the conversation.
    pub conversation: String,
    /// Who calls.
    pub from: String,
    /// Who was called.
    pub to: String,
    /// What it is for.
    pub purpose: HookUse,
    /// What the platform has handed over.
    pub context: Context,
    /// All that it said.
    pub raw: Box<RawValue>,
    /// Where it came from.
    pub peer: SocketAddr,
}

/// Why a session is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HookRefusal {
    /// The provider is not there any more.
    #[error("404 this integration is not configured")]
    Unknown,
    /// There is no engine for its calls.
    #[error("404 no engine takes calls of this integration")]
    NoEngine,
    /// A limit of calls at once is reached.
    #[error("429 limit of calls at once")]
    Limit,
    /// New calls come too fast.
    #[error("429 limit of calls a second")]
    Rate,
    /// There is too much to do.
    #[error("503 too much to do")]
    Busy,
    /// The edge is stopping.
    #[error("503 the edge is stopping")]
    Draining,
}

/// What a worker tells of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookFact {
    /// Its socket is there.
    Arrived,
    /// The platform sends no audio for now.
    Paused,
    /// It sends some again.
    Resumed,
    /// The platform ends it.
    Closing {
        /// In the platform's word.
        reason: String,
    },
    /// Its socket is gone, or the platform broke the rules.
    Lost {
        /// What happened.
        why: String,
    },
}

/// What a worker does about a session.
#[derive(Debug, Clone, PartialEq)]
pub enum HookOrder {
    /// The call is taken: audio may come.
    Take,
    /// This session ends, and the call goes on in another.
    Renew,
    /// The call is over.
    Leave {
        /// Whether all went well.
        completed: bool,
        /// Why, for people.
        info: String,
        /// What the platform's flow learns.
        variables: Map<String, Value>,
    },
}

impl Call {
    /// An admitted session.
    pub(super) fn arrive_hooked(
        hands: &mut Hands<'_>,
        id: CallId,
        arrival: HookArrival,
        provider: Arc<Provider>,
        engine: Arc<Engine>,
        handling: Arc<Handling>,
        webhook_url: Option<String>,
    ) -> Self {
        let HookArrival { purpose, raw, peer, session, .. } = &arrival;
        let (purpose, raw, peer, session) = (*purpose, raw.clone(), *peer, session.clone());
        let record = CallRecord {
            tenant: provider.tenant.clone(),
            view: view(hands, id, arrival, &provider, &engine),
            last_seq: 0,
            webhook_url: None,
            idempotency: None,
        };
        let story = Story::begin(record, webhook_url, hands.now, hands.outputs);
        let state = State::Ringing { give_up: hands.now + PATIENCE };
        let mut call = Self::without_port(story, provider, engine, handling, state, None);
        call.hooked = Some(purpose);
        call.session = session;
        if purpose == HookUse::Listen {
            call.next_leg = SECOND_LEG.0 + 1;
        }
        call.milestone(hands, Layer::Signalling, "session opened", Some(format!("from {peer}")));
        call.story.tell(hands.now, hands.outputs, EventKind::InboundRinging, raw);
        call
    }

    /// What its worker tells of the session.
    pub(super) fn hook_told(&mut self, hands: &mut Hands<'_>, fact: HookFact) {
        if self.is_ending() {
            return;
        }
        match fact {
            HookFact::Arrived if self.renews_until.take().is_some() => {
                hands.outputs.voice(self.id, VoiceOrder::Hook(HookOrder::Take));
                self.milestone(hands, Layer::Signalling, "session continued", Some(self.session.clone()));
                self.hook_paused(hands, false);
            }
            HookFact::Closing { reason } if reason == RECONNECT && self.is_talking() => {
                hands.outputs.voice(self.id, VoiceOrder::Hook(HookOrder::Renew));
                self.renews_until = Some(hands.now + RENEWAL);
                self.milestone(hands, Layer::Signalling, "session to be continued", None);
                self.hook_paused(hands, true);
            }
            // The socket of the session that has ended.
            HookFact::Lost { .. } if self.renews_until.is_some() => {}
            HookFact::Arrived => {
                self.let_hear(hands);
                self.dial(hands);
                self.answer_when_ready(hands);
            }
            HookFact::Paused => self.hook_paused(hands, true),
            HookFact::Resumed => self.hook_paused(hands, false),
            HookFact::Closing { reason } => {
                self.milestone(
                    hands,
                    Layer::Signalling,
                    "session closed by the platform",
                    Some(reason.clone()),
                );
                let end = match (self.state_is_ringing(), reason.as_str()) {
                    (true, _) => EndReason::CallerCancelled,
                    (false, "error") => EndReason::Unreachable,
                    (false, _) => EndReason::RemoteHungUp,
                };
                self.end(hands, end, telling::raw_code("session.closed", &reason), Farewell::Nothing);
            }
            HookFact::Lost { why } => {
                self.milestone(hands, Layer::Signalling, "session lost", Some(why.clone()));
                self.end(
                    hands,
                    EndReason::Unreachable,
                    telling::raw_code("session.lost", &why),
                    Farewell::Nothing,
                );
            }
        }
    }

    /// Whether the session that arrives is this call's next one. Then it is.
    pub(super) fn continues(&self, arrival: &HookArrival) -> bool {
        self.renews_until.is_some()
            && self.hooked == Some(arrival.purpose)
            && self.provider.key == arrival.provider
            && self.story.view().provider_call_id.as_deref() == Some(&arrival.conversation)
            && arrival.continued.contains(&self.session)
    }

    /// The platform has not opened another session in time.
    pub(super) fn handle_renewal_timeout(&mut self, hands: &mut Hands<'_>) {
        if self.renews_until.is_some_and(|until| until <= hands.now) && !self.is_ending() {
            self.renews_until = None;
            self.hook_told(hands, HookFact::Lost { why: "it was not continued in time".to_owned() });
        }
    }

    fn is_talking(&self) -> bool {
        matches!(self.state, State::Talking { .. })
    }

    fn state_is_ringing(&self) -> bool {
        matches!(self.state, State::Ringing { .. })
    }

    fn hook_paused(&mut self, hands: &mut Hands<'_>, paused: bool) {
        if self.leg.held == paused {
            return;
        }
        self.leg.held = paused;
        let (what, event) = match paused {
            true => ("paused by the platform", EngineEvent::Held),
            false => ("resumed by the platform", EngineEvent::Resumed),
        };
        self.milestone(hands, Layer::Signalling, what, None);
        self.tell_engine(hands, event);
        if self.story.is_answered() {
            let status = self.talking_status();
            self.story.change(hands.outputs, |view| view.status = status);
        }
    }

    /// The engine is there: the session is taken, and the conversation begins.
    pub(super) fn take_hooked(&mut self, hands: &mut Hands<'_>) {
        hands.outputs.voice(self.id, VoiceOrder::Hook(HookOrder::Take));
        self.milestone(hands, Layer::Signalling, "session taken", None);
        self.begin_conversation(hands, telling::raw_code("session.opened", "the session is taken"));
    }

    /// The platform is told that the call is over. Before the worker closes it.
    pub(super) fn leave_hooked(&mut self, hands: &mut Hands<'_>, reason: EndReason) {
        if self.hooked.is_none() {
            return;
        }
        let completed = match reason {
            EndReason::RemoteHungUp
            | EndReason::EngineHungUp
            | EndReason::ApiHungUp
            | EndReason::Transferred
            | EndReason::MaxDuration
            | EndReason::CallerCancelled
            | EndReason::MachineAnswered
            | EndReason::RuleHungUp => true,
            EndReason::MediaTimeout
            | EndReason::EngineLost
            | EndReason::EngineRefused
            | EndReason::Busy
            | EndReason::NoAnswer
            | EndReason::Rejected
            | EndReason::Unreachable
            | EndReason::MediaIncompatible
            | EndReason::MediaNotSecured
            | EndReason::TransferFailed
            | EndReason::NotAcknowledged
            | EndReason::EdgeShutdown
            | EndReason::EdgeRestarted
            | EndReason::EdgeFailed => false,
        };
        let info = word(reason);
        let variables = variables(self.story.view(), reason);
        let order = HookOrder::Leave { completed, info, variables };
        hands.outputs.voice(self.id, VoiceOrder::Hook(order));
    }

    /// Who hears whom while nobody but the platform is in the call.
    pub(super) fn hooked_route(&self, muted: Vec<LegId>) -> Option<Route> {
        match self.hooked? {
            HookUse::Speak => None,
            HookUse::Listen => Some(Route {
                engine_to: None,
                engine_hears: vec![FIRST_LEG, SECOND_LEG],
                // A recording has what the caller says and hears. Whatever a leg hears goes no further than that.
                hears: if self.record == RecordMode::Off {
                    Vec::new()
                } else {
                    vec![(FIRST_LEG, SECOND_LEG)]
                },
                muted,
            }),
        }
    }
}

/// As it stands in the call object.
fn word(reason: EndReason) -> String {
    match serde_json::to_value(reason) {
        Ok(Value::String(word)) => word,
        Ok(_) | Err(_) => String::new(),
    }
}

/// What a flow of the platform learns of a call that is over: how it ended, and all that is known of its context.
fn variables(view: &CallView, reason: EndReason) -> Map<String, Value> {
    let Context { tenant_id, campaign_id, contact_id, intent, merge_fields } = view.context.clone();
    let named: BTreeMap<&str, Option<String>> = BTreeMap::from([
        ("call_id", Some(view.call_id.to_string())),
        ("end_reason", Some(word(reason))),
        ("disposition", view.disposition.clone()),
        ("tenant_id", tenant_id),
        ("campaign_id", campaign_id),
        ("contact_id", contact_id),
        ("intent", intent),
    ]);
    let mut variables = merge_fields;
    let named = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?))));
    variables.extend(named);
    variables
}

fn view(
    hands: &mut Hands<'_>,
    id: CallId,
    arrival: HookArrival,
    provider: &Provider,
    engine: &Engine,
) -> CallView {
    let HookArrival { conversation, from, to, purpose, context, peer, .. } = arrival;
    let role = |leg, role| LegView {
        codec: Some("PCMU".to_owned()),
        ..LegView::begun(leg, role, peer, String::new())
    };
    let mut legs = vec![role(FIRST_LEG, LegRole::Caller)];
    let mode = match purpose {
        HookUse::Listen => {
            legs.push(role(SECOND_LEG, LegRole::Human));
            Mode::Assist
        }
        HookUse::Speak => Mode::AiOnly,
    };
    CallView {
        call_id: id,
        provider: provider.key.clone(),
        provider_call_id: Some(conversation),
        direction: Direction::Inbound,
        from: provider.trunk.numbers_in.apply(&from),
        to: provider.trunk.numbers_in.apply(&to),
        identity: Identity::default(),
        status: Status::Ringing,
        mode,
        engine: Some(engine.name.to_string()),
        context,
        disposition: None,
        notes: None,
        started_at: hands.outputs.timestamp(hands.now),
        answered_at: None,
        ended_at: None,
        duration_sec: None,
        end_reason: None,
        sip: SipPart { code: None, reason: None, call_id: None },
        answered_by: None,
        recording_url: None,
        transcript_url: None,
        quality: super::view::Quality::default(),
        latency: super::view::Latency::default(),
        legs,
    }
}
