//! Platforms that tell us of their calls: how each proves that an event is its own, and what every event has. Pure.
//! ```text
//!   headers, raw body, time --> Platform::verify --> Platform::read --> Gate: new, or told before
//! ```
//! A platform signs the bytes it sends, so nothing of them is read before they are verified. What an event means for a call is not
//! decided here.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, unsafe_code)]

mod gate;
mod genesys;
mod telnyx;
pub mod twilio;

use std::time::Duration;

pub use gate::{Arrival, Gate};
pub use genesys::{HookKeys, HookProof, Nonces, NotProven, NotSecret};
pub use telnyx::{NotAKey, TelnyxKey};

/// How far a platform's clock may be from ours, and so how long one event could be sent again by somebody else.
pub const REPLAY_WINDOW: Duration = Duration::from_secs(300);

/// Who sends, and what it proves itself with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Platform {
    /// Telnyx Call Control.
    Telnyx(TelnyxKey),
}

/// Why an event is not known to be the platform's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// A header that the scheme needs is not there, or not of its form.
    #[error("the header `{0}` is missing or cannot be read")]
    Header(&'static str),
    /// Too old, or of the future: it may be one that somebody has kept.
    #[error("its time is more than {} s from ours", REPLAY_WINDOW.as_secs())]
    Stale,
    /// The signature is not one of these bytes by this platform's key.
    #[error("its signature is not by the configured key")]
    Signature,
}

/// The bytes are the platform's, but not an event as it writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body is not an event of this platform")]
pub struct NotAnEvent;

/// What every event has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformEvent {
    /// The platform's own name for it, the same when it is sent again.
    pub id: String,
    /// What happened, in the platform's words.
    pub kind: String,
}

impl Platform {
    /// Its name in the configuration.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Telnyx(_) => "telnyx",
        }
    }

    /// Whether the platform has sent this. `header` finds a header by its name in lower case, `now` is seconds since 1970.
    ///
    /// # Errors
    /// Why it is not known to be.
    pub fn verify<'a>(
        &self,
        header: impl Fn(&str) -> Option<&'a str>,
        body: &[u8],
        now: i64,
    ) -> Result<(), Unproven> {
        match self {
            Self::Telnyx(key) => telnyx::verify(key, header, body, now),
        }
    }

    /// What a verified body says.
    ///
    /// # Errors
    /// When it is not an event as the platform writes them.
    pub fn read(&self, body: &[u8]) -> Result<PlatformEvent, NotAnEvent> {
        match self {
            Self::Telnyx(_) => telnyx::read(body),
        }
    }
}

/// Whether a time that a platform has written is close enough to ours.
fn is_fresh(written: i64, now: i64) -> bool {
    written.abs_diff(now) <= REPLAY_WINDOW.as_secs()
}
