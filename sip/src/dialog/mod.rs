//! What two user agents remember of each other between the requests of one call: RFC 3261 §12 to §15.
//!
//! These are the parts that need no transaction and no event: who is who, which way, in which order ([`Dialog`]), how
//! long a 2xx waits for its ACK ([`Success`]), how long two crossed offers stay apart ([`glare`]), and what a REFER of ours
//! has come to ([`Referrals`]). The usage of [`crate::endpoint`] puts them together to the life of a call.

pub(crate) mod glare;
mod provisional;
pub(crate) mod referral;
mod session_timer;
mod state;
mod success;

pub(crate) use provisional::{Provisional, ProvisionalOutput};
pub(crate) use referral::{Notification, Referrals, is_refer_notification};
pub use session_timer::Party;
pub(crate) use session_timer::{Due, Lines, SessionTimer};
pub(crate) use state::{Dialog, Route};
pub(crate) use success::{Success, SuccessOutput};
