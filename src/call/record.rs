//! What outlives the process: calls, events and timelines, in the order in which they became true.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::clock::Timestamp;
use super::event::EventKind;
use super::ids::{CallId, EventId, TenantId};
use super::view::CallView;

/// Counts the records of one run of the process from 1. What is told to anyone may name the record that must
/// be on disk first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordNumber(pub u64);

/// One thing to be kept.
#[derive(Debug, Clone)]
pub enum Record {
    /// A call as it is now; replaces what was kept of it.
    Call(Arc<CallRecord>),
    /// An event, never changed again, and the call as the event leaves it: both or neither are on disk.
    Event {
        /// What happened.
        event: Arc<EventRecord>,
        /// Replaces what was kept of the call.
        call: Arc<CallRecord>,
    },
    /// A milestone for the call's timeline.
    Milestone(Milestone),
}

/// A call and what only we need to know of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallRecord {
    /// Whose call it is.
    pub tenant: TenantId,
    /// What everyone may see.
    pub view: CallView,
    /// The `seq` of its newest event, 0 before the first.
    pub last_seq: u32,
    /// Where its events go when not where the provider's do.
    pub webhook_url: Option<String>,
    /// The request that made it, so that its repetition makes no second call.
    pub idempotency: Option<Idempotency>,
}

/// An `Idempotency-Key` and the body it came with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotency {
    /// The header's value.
    pub key: String,
    /// SHA-256 of path and body, hex.
    pub fingerprint: String,
}

/// An event and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRecord {
    /// Its name.
    pub id: EventId,
    /// Whose.
    pub tenant: TenantId,
    /// Which provider's, for `X-CallingEdge-Provider`.
    pub provider: super::ids::ProviderKey,
    /// What happened.
    pub kind: EventKind,
    /// When.
    pub occurred_at: Timestamp,
    /// Nothing follows it.
    pub is_last: bool,
    /// The receiver, when there is one.
    pub webhook_url: Option<String>,
    /// The JSON that every receiver gets, on every attempt the same bytes.
    pub body: Bytes,
}

/// Which part of the edge a milestone belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// SIP.
    Signalling,
    /// RTP and play-out.
    Media,
    /// The engine's socket.
    Engine,
    /// Events told to the customer.
    Event,
    /// Asked for by the API.
    Control,
}

/// One line of a call's timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Milestone {
    /// The call.
    #[serde(skip_serializing, default = "nobody")]
    #[schema(ignore)]
    pub call: CallId,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Milliseconds since the call began.
    pub since_start_ms: u64,
    /// Where in the edge.
    pub layer: Layer,
    /// What, in a few words that stay the same: `invite received`, `engine connected`.
    pub what: String,
    /// The particulars: a status, an address, a reason.
    pub detail: Option<String>,
}

fn nobody() -> CallId {
    CallId::NOBODY
}
