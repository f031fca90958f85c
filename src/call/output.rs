//! What the exchange wants done. Each is carried out by one shell.

use std::sync::Arc;

use super::command::Answer;
use super::ids::{CallId, ProviderKey, RequestId};
use super::record::{CallRecord, Record, RecordNumber};
use super::settings::Engine;
use super::voice::VoiceOrder;
use super::web::{FetchId, WebRequest};

/// One thing to do.
#[derive(Debug)]
pub enum Output {
    /// Put it on the wire.
    Transmit(sip::Transmit),
    /// Give it to the worker of the call; the first order of a call chooses the worker.
    Voice {
        /// The call.
        call: CallId,
        /// The order.
        order: VoiceOrder,
    },
    /// Dial the engine and hand the open socket to the call's worker, which says `EngineConnected`; or answer
    /// `EngineGone`.
    DialEngine {
        /// The call.
        call: CallId,
        /// Whom.
        engine: Arc<Engine>,
    },
    /// Send the request; answered by [`super::Exchange::handle_fetched`] with the same name, within 15 seconds.
    Fetch {
        /// Which.
        id: FetchId,
        /// What.
        request: Box<WebRequest>,
    },
    /// Keep it. Records are kept in the order of their numbers.
    Keep {
        /// Its number; said again when it is on disk.
        number: RecordNumber,
        /// What.
        record: Record,
    },
    /// Show everyone the call as it is now.
    Publish(Arc<CallRecord>),
    /// Answer a command, once `after` is on disk.
    Reply {
        /// Who asked.
        to: RequestId,
        /// What must be on disk first.
        after: RecordNumber,
        /// What.
        answer: Answer,
    },
    /// The call is in no hands any more: readers may look for it in the store.
    Forget(CallId),
    /// A trunk's health changed.
    Health {
        /// Whose.
        provider: ProviderKey,
        /// How it is.
        health: Health,
    },
    /// All calls are over after a stop was asked for.
    Drained,
}

/// How a provider is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// `None` before the first probe, and where nothing is probed.
    pub reachable: Option<bool>,
    /// What the last probe said: a status, or why there was none.
    pub detail: String,
    /// When.
    pub checked_at: Option<super::clock::Timestamp>,
    /// Each target.
    pub targets: Vec<TargetHealth>,
    /// At its registrar, where it registers.
    pub registration: Option<RegistrationHealth>,
}

/// How a trunk stands with its registrar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationHealth {
    /// In a word.
    pub state: RegistrationState,
    /// What the registrar said last, or why it said nothing.
    pub detail: String,
}

/// How a registration is, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RegistrationState {
    /// Asked for, not answered yet.
    Registering,
    /// Granted.
    Registered,
    /// Refused, or nobody answers; it is tried again.
    Failed,
    /// Taken back, because the edge stops.
    Unregistered,
}

/// How one target of a trunk is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetHealth {
    /// Its address and transport.
    pub target: String,
    /// In a word.
    pub state: TargetState,
    /// What it said last, or why it said nothing.
    pub detail: String,
    /// When.
    pub checked_at: Option<super::clock::Timestamp>,
}

/// How a target is, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TargetState {
    /// Not asked yet.
    Unknown,
    /// It answers.
    Up,
    /// It does not; calls go elsewhere for a while.
    Down,
    /// It did not, and one call may find out whether it does again.
    HalfOpen,
}
