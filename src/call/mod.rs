//! Decides: admission, routing, modes, legs, transfer, timers, events. Pure.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, unsafe_code)]

mod clock;
mod context;
mod event;
mod ids;
mod view;

pub use clock::{Timestamp, WallClock};
pub use context::Context;
pub use event::{Asker, EdgePart, EndReason, EventBody, EventKind, ModeChange};
pub use ids::{CallId, EngineName, EventId, FIRST_LEG, LegId, NotACallId, ProviderKey, RequestId, TenantId};
pub use view::{AnsweredBy, CallView, Direction, Latency, LegRole, LegView, Mode, Quality, SipPart, Status};
