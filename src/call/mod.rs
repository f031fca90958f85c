//! Decides: admission, routing, modes, legs, transfer, timers, events. Pure.
//!
//! The [`Exchange`] owns the SIP endpoint and every call; shells hand it datagrams, commands and facts and carry out
//! its [`Output`]s. What a call object, an event or an engine command looks like is defined here too, since
//! everyone above speaks of calls in these words.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, unsafe_code)]

mod account;
mod admission;
mod answering;
mod application;
mod callbacks;
mod challenges;
mod clock;
mod command;
mod content;
mod context;
mod conversation;
mod destination;
mod do_not_call;
mod engine;
mod event;
mod exchange;
mod handover;
mod hook;
mod hours;
mod identity;
mod ids;
mod inbound;
mod info;
mod leg;
mod modes;
mod naming;
mod number;
mod one;
mod outbound;
mod output;
mod outputs;
mod overload;
mod pace;
mod party;
mod program;
mod record;
mod redirect;
mod reference;
mod registration;
mod resumption;
mod rules;
mod securing;
mod settings;
mod siprec;
mod standby;
mod strangers;
mod table;
mod telling;
mod transfer;
mod verdict;
mod view;
mod voice;
mod waiting;
mod ways;
mod web;
pub mod words;

pub use account::{Account, Voice as AccountVoice};
pub use application::{Happening, Run, StatusCallback};
pub use clock::{Timestamp, WallClock};
pub use command::{
    Answer, AnsweringMachine, Command, CommandError, Control, MachineForHuman, OnFailure, OnMachine,
    PlaceCall, Platform, RecordMode, SwitchEngine, SwitchMode, TransferCall, TransferStyle, TransferTarget,
    Voice, WrapUp,
};
pub use context::Context;
pub use destination::{Destinations, Forbidden, Place, country_of, home};
pub use do_not_call::DoNotCall;
pub use engine::{
    Dialect, DtmfMethod, EngineCommand, EngineEvent, EngineFailure, EngineStart, TransferManner,
    TransferState, TransferStep,
};
pub use event::{Asker, EdgePart, EndReason, EventBody, EventKind, ModeChange};
pub use exchange::{Exchange, Tally};
pub use hook::{HookArrival, HookFact, HookOrder, HookRefusal, HookUse, SECOND_LEG};
pub use hours::{Closed, Holiday, Hours, Opening};
pub use identity::{Diverted, Identity, Person, Privacy, Visited};
pub use ids::{CallId, EngineName, EventId, FIRST_LEG, LegId, NotACallId, ProviderKey, RequestId, TenantId};
pub use naming::{Located, TargetName, TrunkNames};
pub use number::NumberRules;
pub use output::{Health, Output, RegistrationHealth, RegistrationState, TargetHealth, TargetState};
pub use program::Source;
pub use record::{CallRecord, EventRecord, Idempotency, Layer, Milestone, Record, RecordNumber};
pub use resumption::{ResumeOffer, ResumeToken};
pub use rules::{Action, Rule, Trigger};
pub use settings::{
    AfterHuman, Ban, BargeInPolicy, Engine, Fallback, Handling, IdentityHeader, InboundAuth, InboundDigest,
    NumberPattern, Provider, ProviderKind, RecordingSettings, RingGroup, Route, Settings, Tenant, Trunk,
    TrunkTarget, UnknownSources, Workflow,
};
pub use table::CallTable;
pub use view::{
    AnsweredBy, CallView, Direction, Latency, LegRole, LegStatus, LegView, Mode, Quality, SentQuality,
    SipPart, Status,
};
pub use voice::{Announcement, LegSummary, Route as VoiceRoute, VoiceFact, VoiceOrder, VoiceSummary};
pub use web::{FetchId, WebAnswer, WebFailure, WebRequest};
