//! What the API asks of the calls, and what it is answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::application::Run;
use super::context::Context;
use super::destination::Forbidden;
use super::identity::Privacy;
use super::ids::{CallId, ProviderKey, TenantId};
use super::record::{CallRecord, Idempotency};
use super::view::{CallView, Mode};

/// An order from outside. Answered once, by [`Answer`].
#[derive(Debug, Clone)]
pub enum Command {
    /// `POST …/calls`.
    Place {
        /// Whose token it was.
        tenant: TenantId,
        /// The provider in the path.
        provider: ProviderKey,
        /// The body.
        call: Box<PlaceCall>,
        /// The `Idempotency-Key`.
        idempotency: Option<Idempotency>,
    },
    /// The same for a call that an application runs, in Twilio's words.
    PlaceFor {
        /// Whose token it was.
        tenant: TenantId,
        /// What is placed.
        call: Box<PlaceCall>,
        /// What runs it.
        run: Box<Run>,
    },
    /// Other instructions for a call, in Twilio's words.
    Run {
        /// Whose token it was.
        tenant: TenantId,
        /// The call.
        call: CallId,
        /// What runs it from now on.
        run: Box<Run>,
    },
    /// The end of a call, in Twilio's words.
    End {
        /// Whose token it was.
        tenant: TenantId,
        /// The call.
        call: CallId,
        /// One that was answered goes on.
        only_before_answer: bool,
    },
    /// `POST …/transfer`.
    Transfer {
        /// Whose token it was.
        tenant: TenantId,
        /// The provider in the path.
        provider: ProviderKey,
        /// The body.
        transfer: Box<TransferCall>,
    },
    /// `POST …/wrap-up`.
    WrapUp {
        /// Whose token it was.
        tenant: TenantId,
        /// The provider in the path.
        provider: ProviderKey,
        /// The body.
        wrap_up: WrapUp,
    },
    /// `POST /api/calls/{call_id}/mode`.
    SwitchMode {
        /// Whose token it was.
        tenant: TenantId,
        /// The call.
        call: CallId,
        /// The body.
        switch: Box<SwitchMode>,
    },
    /// `POST /api/calls/{call_id}/engine`.
    SwitchEngine {
        /// Whose token it was.
        tenant: TenantId,
        /// The call.
        call: CallId,
        /// The body.
        switch: Box<SwitchEngine>,
    },
    /// `POST /api/calls/{call_id}/hold`, `/resume`, `/play`, `/mute`, `/mask`, `/recording`.
    Control {
        /// Whose token it was.
        tenant: TenantId,
        /// The call.
        call: CallId,
        /// What.
        control: Control,
    },
    /// `GET /api/context/{ref}`.
    TakeContext {
        /// From a header of ours; it is the key.
        reference: String,
    },
    /// `POST /api/calls/{call_id}/dtmf`.
    SendDtmf {
        /// Whose token it was.
        tenant: TenantId,
        /// The call.
        call: CallId,
        /// `0`–`9`, `*`, `#`, `A`–`D`.
        digits: String,
    },
}

/// The body of `POST …/calls` (CONTRACT §1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlaceCall {
    /// E.164, a SIP URI, or what the provider dials.
    pub to: String,
    /// Calling number or URI; the trunk's own when not given.
    #[serde(default)]
    pub from: Option<String>,
    /// Whether the called party may learn who calls.
    #[serde(default)]
    pub privacy: Privacy,
    /// A signed statement of who calls (STIR, RFC 8224), sent as it is in `Identity`.
    #[serde(default)]
    pub stir: Option<String>,
    /// Rides along every leg, transfer and event.
    #[serde(default)]
    pub context: Context,
    /// Who owns the conversation; the provider's default when not given.
    #[serde(default)]
    pub mode: Option<Mode>,
    /// Which engine; the provider's default when not given.
    #[serde(default)]
    pub engine: Option<String>,
    /// Which of the configured workflows; the provider's default when not given.
    #[serde(default)]
    pub workflow: Option<String>,
    /// How long it may ring, 1–600 seconds.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 600)]
    pub ring_timeout_sec: Option<u32>,
    /// How long it may last, 1–86,400 seconds.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 86_400)]
    pub max_duration_sec: Option<u32>,
    /// What to do about machines.
    #[serde(default)]
    pub answering_machine: Option<AnsweringMachine>,
    /// Whether to record.
    #[serde(default)]
    pub record: Option<RecordMode>,
    /// Where this call's events go instead of the provider's URL.
    #[serde(default)]
    pub webhook_url: Option<String>,
    /// Identifiers a platform needs.
    #[serde(default)]
    pub platform: Option<Platform>,
    /// Extra SIP headers; names begin with `X-`.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

/// What to do about answering machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnsweringMachine {
    /// Whether to tell people and machines apart.
    pub detect: bool,
    /// When it is a machine.
    #[serde(default)]
    pub on_machine: OnMachine,
}

/// When a machine answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnMachine {
    /// End the call.
    HangUp,
    /// Wait for the beep.
    LeaveMessage,
    /// As if it were a person.
    #[default]
    Continue,
}

/// Whether and how to record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordMode {
    /// Not.
    #[default]
    Off,
    /// Both sides in one channel.
    Mixed,
    /// A channel a side.
    Stereo,
}

/// Identifiers a platform needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Platform {
    /// Webex, Genesys.
    #[serde(default)]
    pub entry_point_id: Option<String>,
    /// Genesys, Connect.
    #[serde(default)]
    pub flow_id: Option<String>,
    /// Any contact centre.
    #[serde(default)]
    pub queue_id: Option<String>,
    /// Any contact centre.
    #[serde(default)]
    pub agent_id: Option<String>,
}

/// The body of `POST …/transfer`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TransferCall {
    /// Which call.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// To whom.
    pub to: TransferTarget,
    /// How.
    #[serde(default)]
    pub style: TransferStyle,
    /// Free text, in the timeline and the REFER.
    #[serde(default)]
    pub reason: Option<String>,
    /// Whispered to the human before they are joined.
    #[serde(default)]
    pub announce: Option<String>,
    /// When no target takes the caller.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// Further targets, in order.
    #[serde(default)]
    pub then: Vec<TransferTarget>,
    /// When a machine answers for the human; what the call's workflow says when not given.
    #[serde(default)]
    pub on_machine: Option<MachineForHuman>,
    /// Let the engine assist afterwards.
    #[serde(default)]
    pub assist_after: bool,
    /// Merged into the call's context.
    #[serde(default)]
    pub context: Option<Context>,
}

/// To whom: exactly one of the fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TransferTarget {
    /// E.164 or what the provider dials.
    #[serde(default)]
    pub number: Option<String>,
    /// `sip:` or `sips:`.
    #[serde(default)]
    pub sip_uri: Option<String>,
    /// A platform's queue.
    #[serde(default)]
    pub queue_id: Option<String>,
    /// A platform's agent.
    #[serde(default)]
    pub agent_id: Option<String>,
    /// A platform's entry point.
    #[serde(default)]
    pub entry_point_id: Option<String>,
    /// A platform's flow.
    #[serde(default)]
    pub flow_id: Option<String>,
}

/// How to hand over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TransferStyle {
    /// REFER and let go.
    Blind,
    /// Talk first.
    Attended,
    /// Through a leg of ours.
    Bridge,
    /// What works.
    #[default]
    Auto,
}

/// When a transfer fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// The engine takes the caller back.
    #[default]
    ReturnToAi,
    /// The next of `then`.
    Next,
    /// End the call.
    HangUp,
}

/// When an answering machine takes the call for a human.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MachineForHuman {
    /// Nobody listens for one: whoever answers is joined at once.
    #[default]
    Join,
    /// It is listened first, and a machine counts as somebody who did not answer.
    Next,
}

/// What is done with a running call from outside its engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// The caller waits.
    Hold,
    /// Not any more.
    Resume,
    /// Play an announcement to the caller in place of what the engine says.
    Play {
        /// One of the configuration.
        announcement: String,
    },
    /// Record silence, or sound again.
    PauseRecording {
        /// Whether.
        paused: bool,
    },
    /// Keys of those in the call are for the other legs only, or for everyone again.
    MaskKeys {
        /// Whether.
        masked: bool,
    },
    /// Nobody hears one of them any more, or everyone again.
    Mute {
        /// Whom.
        who: Voice,
        /// Whether.
        muted: bool,
    },
}

/// Whose voice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Voice {
    /// The far end of the call.
    Caller,
    /// The engine.
    Engine,
    /// Who was called into the call.
    Human,
}

impl Voice {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Engine => "engine",
            Self::Human => "human",
        }
    }
}

/// The body of `POST /api/calls/{call_id}/mode`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SwitchMode {
    /// Who owns the conversation from now on.
    pub mode: Mode,
    /// The human to call, where `assist` or `routing` is asked for and none has joined yet; those of the call's
    /// workflow when not given.
    #[serde(default)]
    pub to: Option<TransferTarget>,
    /// Free text, told in the event.
    #[serde(default)]
    pub reason: Option<String>,
}

/// The body of `POST /api/calls/{call_id}/engine`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SwitchEngine {
    /// The engine that has the conversation from now on, by its name in the configuration.
    pub engine: String,
    /// Free text, told to that engine and in the timeline.
    #[serde(default)]
    pub reason: Option<String>,
}

/// The body of `POST …/wrap-up`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WrapUp {
    /// Which call.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// What came of it.
    pub disposition: String,
    /// Free text.
    #[serde(default)]
    pub notes: Option<String>,
}

/// What a command is answered.
#[derive(Debug, Clone)]
pub enum Answer {
    /// The call is on its way; or, the key being known, has been since then.
    Placed(Arc<CallRecord>),
    /// Under way; the outcome comes as events.
    Accepted,
    /// Set; the call as it is now.
    WrappedUp(Box<CallView>),
    /// What a reference stood for.
    Context(Context),
    /// Nothing was done.
    Refused(CommandError),
}

/// Why a command was refused. The codes are part of the API (`docs/errors.md`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Another tenant's calls are unknown too.
    #[error("there is no such call")]
    CallNotFound,
    /// Too late.
    #[error("the call has already ended")]
    CallAlreadyEnded,
    /// Too early.
    #[error("the call has not been answered yet")]
    CallNotAnswered,
    /// It waits already.
    #[error("the call is on hold already")]
    CallHeld,
    /// It does not wait.
    #[error("the call is not on hold")]
    CallNotHeld,
    /// Others speak there, and whoever records them sends us what they say.
    #[error("the call is a recording session: nobody there can be spoken to or handed on")]
    CallListenOnly,
    /// Nothing is recorded.
    #[error("the call is not being recorded")]
    NotRecorded,
    /// There is nowhere to record to.
    #[error("this edge records nothing: write [recording] with a `directory` in its configuration")]
    RecordingOff,
    /// Never given, used, or too old.
    #[error("there is no such reference")]
    ContextNotFound,
    /// Not the token's provider.
    #[error("there is no such provider")]
    ProviderNotFound,
    /// The trunk has no target.
    #[error("the provider is inbound only: its trunk has no `target`")]
    ProviderInboundOnly,
    /// No name of its trunk leads anywhere now.
    #[error("the provider cannot be reached: {why}")]
    ProviderUnreachable {
        /// What the name server said.
        why: String,
    },
    /// Not configured.
    #[error("there is no engine `{name}`")]
    EngineNotFound {
        /// As asked.
        name: String,
        /// The configured one that is nearest.
        nearest: Option<String>,
    },
    /// Not configured.
    #[error("there is no workflow `{name}`")]
    WorkflowNotFound {
        /// As asked.
        name: String,
        /// The configured one that is nearest.
        nearest: Option<String>,
    },
    /// Not one of those that the call's workflow allows.
    #[error("`{disposition}` is none of the dispositions of this call; write one of {allowed}")]
    DispositionUnknown {
        /// As asked.
        disposition: String,
        /// The allowed ones, commas between.
        allowed: String,
    },
    /// None asked for and no default.
    #[error("name an `engine`: the provider has no default one")]
    EngineMissing,
    /// A field's value cannot be used.
    #[error("`{field}`: {problem}")]
    Invalid {
        /// Path of the field, dots between.
        field: &'static str,
        /// What is wrong and what to write instead.
        problem: String,
    },
    /// A call cannot be placed so: not built, or not possible with this provider.
    #[error("`{field}`: {problem}")]
    CallUnsupported {
        /// Path of the field.
        field: &'static str,
        /// What is not possible.
        problem: &'static str,
    },
    /// A call cannot be handed over so.
    #[error("`{field}`: {problem}")]
    TransferUnsupported {
        /// Path of the field.
        field: &'static str,
        /// What is not possible, and what is.
        problem: &'static str,
    },
    /// The caller cannot be handed to itself.
    #[error("the target is the caller")]
    TransferToItself,
    /// Nothing would change.
    #[error("the call is in this mode already")]
    ModeUnchanged,
    /// A mode with a human, and nobody to call.
    #[error("there is no human in the call: name one in `to`, or give the call's workflow `humans`")]
    ModeNoHuman,
    /// Not configured.
    #[error("there is no announcement `{name}`")]
    AnnouncementNotFound {
        /// As asked.
        name: String,
        /// The configured one that is nearest.
        nearest: Option<String>,
    },
    /// One at a time.
    #[error("a transfer of this call is already under way")]
    TransferUnderWay,
    /// The key was used with another body.
    #[error("this Idempotency-Key was used with another body")]
    IdempotencyConflict,
    /// A configured number of calls at once is reached.
    #[error("the limit of calls at once is reached ({scope})")]
    LimitCalls {
        /// `edge`, `tenant`, `provider` or `engine`.
        scope: &'static str,
    },
    /// New calls come faster than a configured number a second.
    #[error("the limit of new calls a second is reached ({scope})")]
    LimitRate {
        /// `tenant` or `provider`.
        scope: &'static str,
        /// When one more may come.
        retry_after: Duration,
    },
    /// The trunk may not dial there, or nobody may.
    #[error("`{field}`: {problem}")]
    DestinationForbidden {
        /// Path of the field.
        field: &'static str,
        /// What may not be dialled, and what to write so that it may.
        problem: Forbidden,
    },
    /// There is too much to do.
    #[error("the edge has too much to do for another call; try again shortly")]
    Overloaded,
    /// The disk does not keep up.
    #[error("the edge cannot save events fast enough; try again shortly")]
    StoreBehind,
    /// The edge is stopping.
    #[error("the edge is stopping and takes no new calls")]
    Draining,
}

impl CommandError {
    /// The stable code that the API answers and an engine reads.
    pub fn code(&self) -> &'static str {
        match self {
            Self::CallNotFound => "call.not_found",
            Self::CallAlreadyEnded => "call.already_ended",
            Self::CallNotAnswered => "call.not_answered",
            Self::CallHeld => "call.held",
            Self::ContextNotFound => "context.not_found",
            Self::CallNotHeld => "call.not_held",
            Self::CallListenOnly => "call.listen_only",
            Self::NotRecorded => "recording.not_found",
            Self::RecordingOff => "recording.off",
            Self::ProviderNotFound => "provider.not_found",
            Self::ProviderInboundOnly => "provider.inbound_only",
            Self::ProviderUnreachable { .. } => "provider.unreachable",
            Self::EngineNotFound { .. } => "engine.not_found",
            Self::WorkflowNotFound { .. } => "workflow.not_found",
            Self::DispositionUnknown { .. } => "disposition.unknown",
            Self::EngineMissing => "engine.missing",
            Self::Invalid { .. } => "field.invalid",
            Self::CallUnsupported { .. } => "call.unsupported",
            Self::TransferUnsupported { .. } => "transfer.unsupported",
            Self::TransferToItself => "transfer.to_itself",
            Self::ModeUnchanged => "mode.unchanged",
            Self::ModeNoHuman => "mode.no_human",
            Self::AnnouncementNotFound { .. } => "announcement.not_found",
            Self::TransferUnderWay => "transfer.under_way",
            Self::IdempotencyConflict => "idempotency.conflict",
            Self::LimitCalls { .. } => "limit.calls",
            Self::LimitRate { .. } => "limit.calls_per_second",
            Self::DestinationForbidden { problem, .. } => problem.code(),
            Self::Overloaded => "edge.busy",
            Self::StoreBehind => "edge.store_behind",
            Self::Draining => "edge.draining",
        }
    }
}
