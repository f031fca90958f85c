//! SIP messages, transactions and dialogs, sans-IO.
#![forbid(unsafe_code)]

pub mod auth;
mod dialog;
pub mod endpoint;
mod flow;
mod header;
mod host;
mod lex;
pub mod locate;
mod message;
#[cfg(feature = "test-support")]
pub mod simulate;
mod stream;
pub mod transaction;
mod uri;
mod write;

pub use endpoint::{
    Body, Config, DialogId, Endpoint, Failure, Headers, Invite, Ledger, Limits, Local, OutOfDialog, Party,
    Policy, Recordings, Refusal, ReliableProvisionals, RequestId, SessionTimerMode, SessionTimers,
    StatusLine,
};
pub use flow::{ConnectionId, Flow, Target, Transmit, Transport};
pub use header::{
    BRANCH_COOKIE, CSeq, DEFAULT_PORT, DEFAULT_TLS_PORT, Event, HeaderName, HeaderValue, MediaType, NameAddr,
    Param, Params, RAck, Reason, Refresher, Replaces, RetryAfter, Rport, SessionExpires, SubscriptionState,
    SubscriptionStatus, Via, ViaTransport, Warning,
};
pub use host::Host;
pub use lex::Malformed;
pub use message::{
    ContentFault, Framing, MAX_HEADERS, MAX_LINE, MAX_MESSAGE, MAX_MULTIPART_DEPTH, MAX_VIAS, Message,
    Method, ParseError, StartLine, StatusClass, StatusCode, sipfrag_status,
};
pub use stream::{Framed, FramingError, Side, StreamFramer};
pub use transaction::Timers;
pub use uri::{Scheme, Uri};
pub use write::{InvalidName, MessageWriter};
