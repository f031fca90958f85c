//! What the customer's systems are told of a call: CONTRACT §2, field order included.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::clock::Timestamp;
use super::context::Context;
use super::ids::{CallId, EventId, ProviderKey};
use super::view::{AnsweredBy, Direction, Mode};

/// The nine kinds. Fixed by the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The outbound INVITE reached the network: its first response came.
    Placed,
    /// An INVITE came in and was admitted.
    InboundRinging,
    /// Somebody or something answered.
    Answered,
    /// A machine answered.
    Voicemail,
    /// Nobody answered in time, or the caller gave up first.
    NoAnswer,
    /// 486 or 600.
    Busy,
    /// The conversation has a new owner.
    Transferred,
    /// An answered call is over.
    Ended,
    /// Refused or failed; on a running call (`edge.end_reason` null) something asked for did not happen.
    Error,
}

impl EventKind {
    /// The kind as the contract writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::InboundRinging => "inbound_ringing",
            Self::Answered => "answered",
            Self::Voicemail => "voicemail",
            Self::NoAnswer => "no_answer",
            Self::Busy => "busy",
            Self::Transferred => "transferred",
            Self::Ended => "ended",
            Self::Error => "error",
        }
    }
}

/// Why a call is over. Part of the contract: `end_reason` in events and in the call object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The far end of the first leg sent BYE.
    RemoteHungUp,
    /// The engine ended the call, by command or by closing its stream where that means it.
    EngineHungUp,
    /// The API ended the call (wrap-up).
    ApiHungUp,
    /// The caller was handed over.
    Transferred,
    /// `max_duration_sec` has passed.
    MaxDuration,
    /// No RTP came for longer than the configured time.
    MediaTimeout,
    /// The engine was lost mid-call and the fallback ended the call.
    EngineLost,
    /// The engine refused the call, or could not be reached, before it was answered.
    EngineRefused,
    /// 486 or 600 from the far end.
    Busy,
    /// No answer within the ring timeout, or 408, 480, 487 from the far end.
    NoAnswer,
    /// The caller gave up before the call was answered.
    CallerCancelled,
    /// The far end refused with any other final response.
    Rejected,
    /// The far end could not be reached.
    Unreachable,
    /// The two sides have no codec in common, or a session description that cannot be used.
    MediaIncompatible,
    /// The far end encrypts, and the DTLS handshake for the keys came to nothing.
    MediaNotSecured,
    /// A machine answered, and the call was to end then.
    MachineAnswered,
    /// A transfer failed, and it was asked to end the call then.
    TransferFailed,
    /// A rule of the call's workflow ended it.
    RuleHungUp,
    /// Our answer was never acknowledged.
    NotAcknowledged,
    /// The edge was stopped and the call did not end within the drain limit.
    EdgeShutdown,
    /// The edge was killed while the call ran; told at the next start.
    EdgeRestarted,
    /// The edge could not go on: no port, no worker, disk full.
    EdgeFailed,
}

/// A switch of modes, told by `transferred`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ModeChange {
    /// Before.
    pub from: Mode,
    /// After.
    pub to: Mode,
    /// Free text of whoever asked.
    pub reason: String,
    /// Who asked.
    pub by: Asker,
}

/// Who asked for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Asker {
    /// The engine.
    Engine,
    /// The REST API.
    Api,
    /// A key press.
    Dtmf,
    /// A configured rule.
    Rule,
    /// The caller.
    Caller,
}

/// The one additive object of an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EdgePart {
    /// Counts the call's events from 1 without gaps.
    pub seq: u32,
    /// Filled when the event tells a switch of modes.
    pub mode: Option<ModeChange>,
    /// Who answered, once known.
    pub answered_by: Option<AnsweredBy>,
    /// Filled in the call's last event and in no other.
    pub end_reason: Option<EndReason>,
}

/// The body of one webhook: field order as in the contract.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EventBody {
    /// Which provider the call runs over.
    #[schema(value_type = String)]
    pub provider: ProviderKey,
    /// What happened.
    pub kind: EventKind,
    /// The call.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// Who began.
    pub direction: Direction,
    /// The calling number or URI.
    pub from: String,
    /// The called number or URI.
    pub to: String,
    /// The call's context as it is now.
    pub context: Context,
    /// Whole seconds since the call was answered; null before.
    pub duration_sec: Option<u64>,
    /// Set by wrap-up.
    pub disposition: Option<String>,
    /// Where the recording is.
    pub recording_url: Option<String>,
    /// Where the transcript is.
    pub transcript_url: Option<String>,
    /// The upstream's own payload.
    #[schema(value_type = Object)]
    pub raw: Box<RawValue>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub occurred_at: Timestamp,
    /// Ours.
    pub edge: EdgePart,
}

impl EventBody {
    /// The event's name, the same on every retry and after every restart.
    pub fn id(&self) -> EventId {
        EventId { call: self.call_id, seq: self.edge.seq }
    }

    /// Nothing follows this event.
    pub fn is_last(&self) -> bool {
        self.edge.end_reason.is_some()
    }
}
