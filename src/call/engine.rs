//! What a call and its engine say to each other, whatever the dialect (CONTRACT §3). Audio, marks and `clear` are
//! not here: they stay between the engine's socket and the leg's play-out, on one worker.

use serde::{Deserialize, Serialize};

use super::clock::Timestamp;
use super::command::{MachineForHuman, OnFailure, TransferStyle};
use super::context::Context;
use super::event::EndReason;
use super::identity::Identity;
use super::ids::{CallId, ProviderKey};
use super::resumption::ResumeOffer;
use super::view::{Direction, Mode};

/// The wire language of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Dialect {
    /// Ours.
    #[serde(rename = "edge.v1")]
    EdgeV1,
    /// Ours, many calls on one socket.
    #[serde(rename = "edge.mux.v1")]
    EdgeMuxV1,
    /// Twilio Media Streams, bidirectional.
    #[serde(rename = "twilio")]
    Twilio,
    /// Telnyx media streaming.
    #[serde(rename = "telnyx")]
    Telnyx,
    /// Plivo audio streaming.
    #[serde(rename = "plivo")]
    Plivo,
    /// Exotel AgentStream.
    #[serde(rename = "exotel")]
    Exotel,
    /// Vonage Voice websockets.
    #[serde(rename = "vonage")]
    Vonage,
    /// jambonz `listen`.
    #[serde(rename = "jambonz")]
    Jambonz,
    /// Asterisk `chan_websocket`, plain control messages.
    #[serde(rename = "asterisk")]
    Asterisk,
    /// Asterisk `chan_websocket`, JSON control messages.
    #[serde(rename = "asterisk-json")]
    AsteriskJson,
    /// Pipecat's protobuf frames.
    #[serde(rename = "pipecat")]
    Pipecat,
    /// OpenAI's Realtime API; we are its client.
    #[serde(rename = "openai-realtime")]
    OpenAiRealtime,
    /// The same with the names of its beta.
    #[serde(rename = "openai-realtime-beta")]
    OpenAiRealtimeBeta,
    /// Gemini Live; we are its client.
    #[serde(rename = "gemini-live")]
    GeminiLive,
    /// ElevenLabs Agents; we are its client.
    #[serde(rename = "elevenlabs")]
    ElevenLabs,
    /// Deepgram Voice Agent; we are its client.
    #[serde(rename = "deepgram")]
    Deepgram,
    /// Ultravox over a server websocket; we are its client.
    #[serde(rename = "ultravox")]
    Ultravox,
}

impl Dialect {
    /// The engine itself says whether the call is taken. Others take it by accepting the socket, and hear of
    /// the call only when it was answered.
    pub fn decides_before_answer(self) -> bool {
        matches!(self, Self::EdgeV1 | Self::EdgeMuxV1)
    }

    /// There are words for taking a conversation up again over another socket.
    pub fn can_resume(self) -> bool {
        matches!(self, Self::EdgeV1 | Self::EdgeMuxV1)
    }

    /// The edge can tell its engines what was thrown away of what they said.
    pub fn tells_what_was_cut(self) -> bool {
        matches!(self, Self::EdgeV1 | Self::EdgeMuxV1)
    }

    /// Many calls speak on one socket.
    pub fn shares_socket(self) -> bool {
        self == Self::EdgeMuxV1
    }

    /// Closing the socket in order is how its engines hang up: they have no other word for it.
    pub fn hangs_up_by_closing(self) -> bool {
        match self {
            Self::EdgeV1
            | Self::EdgeMuxV1
            | Self::OpenAiRealtime
            | Self::OpenAiRealtimeBeta
            | Self::GeminiLive
            | Self::ElevenLabs
            | Self::Deepgram
            | Self::Ultravox => false,
            Self::Twilio
            | Self::Telnyx
            | Self::Plivo
            | Self::Exotel
            | Self::Vonage
            | Self::Jambonz
            | Self::Asterisk
            | Self::AsteriskJson
            | Self::Pipecat => true,
        }
    }

    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 17] = [
        Self::EdgeV1,
        Self::EdgeMuxV1,
        Self::Twilio,
        Self::Telnyx,
        Self::Plivo,
        Self::Exotel,
        Self::Vonage,
        Self::Jambonz,
        Self::Asterisk,
        Self::AsteriskJson,
        Self::Pipecat,
        Self::OpenAiRealtime,
        Self::OpenAiRealtimeBeta,
        Self::GeminiLive,
        Self::ElevenLabs,
        Self::Deepgram,
        Self::Ultravox,
    ];

    /// As written in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EdgeV1 => "edge.v1",
            Self::EdgeMuxV1 => "edge.mux.v1",
            Self::Twilio => "twilio",
            Self::Telnyx => "telnyx",
            Self::Plivo => "plivo",
            Self::Exotel => "exotel",
            Self::Vonage => "vonage",
            Self::Jambonz => "jambonz",
            Self::Asterisk => "asterisk",
            Self::AsteriskJson => "asterisk-json",
            Self::Pipecat => "pipecat",
            Self::OpenAiRealtime => "openai-realtime",
            Self::OpenAiRealtimeBeta => "openai-realtime-beta",
            Self::GeminiLive => "gemini-live",
            Self::ElevenLabs => "elevenlabs",
            Self::Deepgram => "deepgram",
            Self::Ultravox => "ultravox",
        }
    }
}

/// How a key came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DtmfMethod {
    /// As telephone-event (RFC 4733).
    Rfc4733,
    /// As INFO.
    Info,
    /// As two tones in the audio.
    Inband,
}

impl DtmfMethod {
    /// As engines and timelines read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rfc4733 => "rfc4733",
            Self::Info => "info",
            Self::Inband => "inband",
        }
    }
}

/// All an engine is told at the beginning.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineStart {
    /// The call.
    pub call: CallId,
    /// Which provider it runs over.
    pub provider: ProviderKey,
    /// Who began.
    pub direction: Direction,
    /// The calling number or URI.
    pub from: String,
    /// The called number or URI.
    pub to: String,
    /// What the INVITE says of the caller beside `from` (inbound).
    pub identity: Identity,
    /// Who owns the conversation.
    pub mode: Mode,
    /// Who and what it is about.
    pub context: Context,
    /// The first leg's Call-ID.
    pub sip_call_id: String,
    /// The INVITE's headers (inbound), as they came, in order; known sensitive ones left out.
    pub sip_headers: Vec<(String, String)>,
    /// When the call began.
    pub started_at: Timestamp,
    /// Fixed values from the engine's configuration (Twilio: `customParameters`).
    pub parameters: Vec<(String, String)>,
    /// The account whose application has connected it, as Twilio's applications name it.
    pub account: Option<String>,
    /// How it may take the conversation up again, where its dialect can and the configuration lets it.
    pub resume: Option<ResumeOffer>,
}

/// What the call tells its engine.
#[derive(Debug, Clone, PartialEq)]
pub enum EngineEvent {
    /// First of all.
    Start(Box<EngineStart>),
    /// Audio flows, though the call is not answered yet.
    EarlyMedia,
    /// The call was answered: audio may be heard from now on.
    Answered,
    /// The far end holds the call: nothing is heard and nothing is played until `Resumed`.
    Held,
    /// The hold is over.
    Resumed,
    /// A step of the transfer under way.
    Transfer(TransferStep),
    /// The context changed.
    Context(Context),
    /// The conversation has another owner.
    Mode(Mode),
    /// The call is over, or no longer the engine's. The socket closes after it.
    Stop(EndReason),
    /// A command could not be obeyed.
    Refused {
        /// The command's `id`.
        re: Option<String>,
        /// Stable code.
        code: String,
        /// What to do.
        message: String,
    },
}

/// How a transfer stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferStep {
    /// The `id` of the engine's command, when it asked.
    pub re: Option<String>,
    /// Where it stands.
    pub state: TransferState,
    /// The SIP status behind it.
    pub sip: Option<(u16, String)>,
}

/// How a caller is to be handed over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TransferManner {
    /// By REFER, by a leg of ours, or by what works.
    pub style: TransferStyle,
    /// The name of what the human hears before they are joined.
    pub announce: Option<String>,
    /// When nobody takes the caller.
    pub on_failure: OnFailure,
    /// Further targets, in order: numbers or SIP URIs.
    pub then: Vec<String>,
    /// When a machine answers for the human; what the workflow says when not given.
    pub on_machine: Option<MachineForHuman>,
    /// Whether the engine assists afterwards.
    pub assist_after: bool,
}

/// Where a transfer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransferState {
    /// REFER was sent.
    Requested,
    /// The far end took it up.
    Accepted,
    /// The new party rings.
    Ringing,
    /// The new party has the caller.
    Transferred,
    /// It did not work; the call goes on as before.
    Failed,
}

/// What the engine orders, audio aside.
#[derive(Debug, Clone, PartialEq)]
pub enum EngineCommand {
    /// Take the call.
    Accept,
    /// Let it ring.
    Ring,
    /// Let audio flow before the answer.
    EarlyMedia,
    /// Do not take the call.
    Reject {
        /// Final status, 300–699.
        status: u16,
        /// Reason phrase.
        reason: String,
    },
    /// Send the caller elsewhere (302).
    Redirect {
        /// Number or SIP URI.
        to: String,
    },
    /// Hand the caller over.
    Transfer {
        /// Repeated in every step.
        id: Option<String>,
        /// Number or SIP URI.
        to: String,
        /// Free text.
        reason: Option<String>,
        /// How.
        manner: TransferManner,
    },
    /// Give the conversation another owner.
    Mode {
        /// Repeated in the refusal, if any.
        id: Option<String>,
        /// Whose it is to be.
        mode: Mode,
        /// The human to call, number or SIP URI.
        to: Option<String>,
        /// Free text.
        reason: Option<String>,
    },
    /// Give the conversation to another engine.
    SwitchEngine {
        /// Repeated in the refusal, if any.
        id: Option<String>,
        /// Its name in the configuration.
        engine: String,
        /// Free text.
        reason: Option<String>,
    },
    /// End the call.
    HangUp {
        /// Repeated in the refusal, if any.
        id: Option<String>,
        /// Free text.
        reason: Option<String>,
        /// Play what is queued first.
        drain: bool,
    },
    /// Merge into the call's context.
    Context(Context),
}

/// Why there is no engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineFailure {
    /// Its name does not resolve.
    #[error("the engine's host name does not resolve")]
    Dns,
    /// No TCP connection.
    #[error("the engine cannot be reached: {0}")]
    Connect(String),
    /// No TLS session.
    #[error("no TLS session with the engine: {0}")]
    Tls(String),
    /// The upgrade to a websocket was answered with this HTTP status.
    #[error("the engine answered the upgrade with HTTP {status}")]
    Http {
        /// HTTP status.
        status: u16,
        /// `Retry-After`, seconds.
        retry_after: Option<u32>,
    },
    /// The upgrade's answer is not one: wrong accept key, wrong sub-protocol.
    #[error("the engine's answer to the upgrade is wrong: {0}")]
    Upgrade(String),
    /// It took longer than the configuration allows.
    #[error("the engine did not answer in time")]
    Timeout,
    /// It closed the socket.
    #[error("the engine closed the socket{}", told(*code))]
    Closed {
        /// Websocket close code.
        code: Option<u16>,
    },
    /// The socket broke.
    #[error("the engine's socket broke: {0}")]
    Broken(String),
    /// It said something that its dialect does not allow; closed by us.
    #[error("the engine broke its protocol: {0}")]
    Protocol(String),
    /// It has as many calls as the configuration lets it have.
    #[error("the engine has as many calls as it may have")]
    Full,
    /// It read too slowly for too long; closed by us.
    #[error("the engine does not read what it is sent")]
    Stalled,
}

fn told(close_code: Option<u16>) -> String {
    match close_code {
        Some(code) => format!(" with code {code}"),
        None => " without a word".to_owned(),
    }
}
