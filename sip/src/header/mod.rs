//! Header fields: their names, raw values, and the ones that have a meaning of their own (RFC 3261 §20 and extensions).

mod cseq;
mod event;
mod media_type;
mod name;
mod name_addr;
mod params;
mod rack;
mod reason;
mod replaces;
mod session_timer;
mod value;
mod via;

pub use cseq::CSeq;
pub use event::{Event, SubscriptionState, SubscriptionStatus};
pub use media_type::MediaType;
pub use name::HeaderName;
pub use name_addr::NameAddr;
pub use params::{Param, Params};
pub use rack::RAck;
pub use reason::{Reason, RetryAfter, Warning};
pub use replaces::Replaces;
pub(crate) use session_timer::seconds_with_params;
pub use session_timer::{Refresher, SessionExpires};
pub use value::HeaderValue;
pub use via::{BRANCH_COOKIE, DEFAULT_PORT, DEFAULT_TLS_PORT, Rport, Via, ViaTransport};
