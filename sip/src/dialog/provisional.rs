//! A reliable provisional response that waits for its PRACK: RFC 3262 §3.
//! ```text
//!   [Waiting] --- PRACK ----------> forgotten
//!     |  ^ T1, doubling: send again, on streams too
//!     +--+---- 64·T1 -------------> forgotten, the INVITE is refused
//! ```

use std::time::Instant;

use crate::transaction::{Resend, Timers, Wire};

/// What an unacknowledged provisional response wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProvisionalOutput {
    /// The response again.
    Send(Wire),
    /// Nobody will acknowledge it any more.
    PrackMissing,
}

/// One reliable provisional response that we have sent.
#[derive(Debug)]
pub(crate) struct Provisional {
    response: Wire,
    resend: Resend,
    give_up: Instant,
}

impl Provisional {
    /// `response` has just been sent for the first time.
    pub(crate) fn new(now: Instant, timers: Timers, response: Wire) -> Self {
        Self { response, resend: Resend::begin(now, &timers), give_up: now + timers.give_up() }
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub(crate) fn poll_timeout(&self) -> Instant {
        self.resend.at.min(self.give_up)
    }

    /// Does what is due at `now`.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<ProvisionalOutput> {
        if self.give_up <= now {
            return Some(ProvisionalOutput::PrackMissing);
        }
        if self.resend.at > now {
            return None;
        }
        self.resend.double(now);
        Some(ProvisionalOutput::Send(self.response.clone()))
    }
}
