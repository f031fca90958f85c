//! The call object of the API (CONTRACT §1): what anyone may read of a call, live or ended.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::clock::Timestamp;
use super::context::Context;
use super::event::EndReason;
use super::identity::Identity;
use super::ids::{CallId, LegId, ProviderKey};

/// Who began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The provider called us.
    Inbound,
    /// We called out.
    Outbound,
}

/// Where a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Outbound, no response yet.
    Placing,
    /// It rings.
    Ringing,
    /// Audio flows before the answer.
    EarlyMedia,
    /// In conversation.
    Answered,
    /// A transfer is under way.
    Transferring,
    /// The far end has put us on hold.
    Held,
    /// Over.
    Ended,
}

impl Status {
    /// The status as the contract writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Placing => "placing",
            Self::Ringing => "ringing",
            Self::EarlyMedia => "early_media",
            Self::Answered => "answered",
            Self::Transferring => "transferring",
            Self::Held => "held",
            Self::Ended => "ended",
        }
    }
}

/// Who owns the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The engine alone.
    AiOnly,
    /// The engine, a human when it cannot.
    AiFirst,
    /// A human; the engine listens and whispers.
    Assist,
    /// Nobody talks here: the call is sent on.
    Routing,
}

impl Mode {
    /// The mode as the contract writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AiOnly => "ai_only",
            Self::AiFirst => "ai_first",
            Self::Assist => "assist",
            Self::Routing => "routing",
        }
    }
}

/// Who picked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnsweredBy {
    /// A person.
    Human,
    /// A machine.
    Machine,
    /// Not asked, or not certain.
    Unknown,
}

impl AnsweredBy {
    /// As the contract writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Machine => "machine",
            Self::Unknown => "unknown",
        }
    }
}

/// What SIP said last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SipPart {
    /// The last final status of the call's INVITE.
    pub code: Option<u16>,
    /// Its reason phrase, or the `Reason` of the BYE.
    pub reason: Option<String>,
    /// The first leg's Call-ID header.
    pub call_id: Option<String>,
}

/// How the audio was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Quality {
    /// Mean opinion score of what we received, 1 to 4.5, estimated from loss, jitter and delay (ITU-T G.107).
    pub mos: Option<f32>,
    /// Inter-arrival jitter of what we received, milliseconds (RFC 3550 §6.4.1).
    pub jitter_ms: Option<f32>,
    /// Lost of what we should have received, percent.
    pub loss_pct: Option<f32>,
    /// Round trip by RTCP, milliseconds.
    pub rtt_ms: Option<f32>,
    /// The other direction: what we sent, as the far end's RTCP tells; null where it sends none.
    #[serde(default)]
    pub sent: Option<SentQuality>,
}

/// How what we sent came to the far end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SentQuality {
    /// Mean opinion score, 1 to 4.5, as above.
    pub mos: f32,
    /// Inter-arrival jitter there, milliseconds.
    pub jitter_ms: f32,
    /// Lost on the way, percent.
    pub loss_pct: f32,
}

/// How long things took, milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Latency {
    /// INVITE to final answer.
    pub setup_ms: Option<f32>,
    /// Answer to the engine's first audio on its way to the caller.
    pub first_audio_ms: Option<f32>,
    /// Barge-in to silence, the slowest of the call.
    pub barge_in_ms: Option<f32>,
    /// The end of what the caller said to the engine's first packet, the slowest of the call.
    #[serde(default)]
    pub response_ms: Option<f32>,
    /// 99th percentile of what the edge added to a frame.
    pub edge_p99_ms: Option<f32>,
}

/// One leg as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LegView {
    /// Counts from 0.
    pub leg: u8,
    /// `caller`, `callee` or `human`.
    pub role: LegRole,
    /// Where it stands.
    #[serde(default)]
    pub status: LegStatus,
    /// Codec in use, once agreed.
    pub codec: Option<String>,
    /// The far end's signalling address.
    pub peer: String,
    /// The leg's Call-ID header.
    pub sip_call_id: String,
    /// Frames received from the far end and passed on.
    pub frames_up: u64,
    /// Frames sent to the far end.
    pub frames_down: u64,
}

impl LegView {
    /// A leg whose INVITE was just sent or received.
    pub(super) fn begun(LegId(leg): LegId, role: LegRole, peer: SocketAddr, sip_call_id: String) -> Self {
        let status = LegStatus::Ringing;
        Self {
            leg,
            role,
            status,
            codec: None,
            peer: peer.to_string(),
            sip_call_id,
            frames_up: 0,
            frames_down: 0,
        }
    }
}

/// What a leg is to the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LegRole {
    /// It began the call.
    Caller,
    /// It was called.
    Callee,
    /// It was called into the running call.
    Human,
}

/// Where a leg stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LegStatus {
    /// Not answered yet.
    #[default]
    Ringing,
    /// Answered.
    Connected,
    /// Over.
    Ended,
}

/// The call object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CallView {
    /// Ours.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// Which provider the call runs over.
    #[schema(value_type = String)]
    pub provider: ProviderKey,
    /// The provider's own name for it (SIP: the Call-ID).
    pub provider_call_id: Option<String>,
    /// Who began.
    pub direction: Direction,
    /// The calling number or URI.
    pub from: String,
    /// The called number or URI.
    pub to: String,
    /// What the INVITE says of the caller beside `from` (inbound).
    #[serde(default)]
    pub identity: Identity,
    /// Where the call stands.
    pub status: Status,
    /// Who owns the conversation.
    pub mode: Mode,
    /// The engine in charge.
    pub engine: Option<String>,
    /// Who and what the call is about.
    pub context: Context,
    /// Set by wrap-up.
    pub disposition: Option<String>,
    /// Notes given with the wrap-up.
    pub notes: Option<String>,
    /// When the INVITE came or the call was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// When it was answered.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub answered_at: Option<Timestamp>,
    /// When it was over.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// Whole seconds from answer to end.
    pub duration_sec: Option<u64>,
    /// Why it is over.
    pub end_reason: Option<EndReason>,
    /// What SIP said last.
    pub sip: SipPart,
    /// Who picked up.
    pub answered_by: Option<AnsweredBy>,
    /// Where the recording is.
    pub recording_url: Option<String>,
    /// Where the transcript is.
    pub transcript_url: Option<String>,
    /// How the audio was.
    pub quality: Quality,
    /// How long things took.
    pub latency: Latency,
    /// Its sides.
    pub legs: Vec<LegView>,
}
