//! The four transactions of RFC 3261 §17, each its own type: they repeat what may be lost, absorb what is
//! repeated, and give up in time.
//!
//! A transaction knows neither addresses nor headers. It is handed wire images ([`Wire`]) that its owner wrote, says
//! when one has to be sent, and tells which received messages are new. Matching messages to transactions, and writing
//! them, is the work of [`crate::Endpoint`].
//!
//! | timer | where | RFC 3261 table 4 |
//! |---|---|---|
//! | A, B | [`InviteClient`] | resend the INVITE, give up |
//! | D, M | [`InviteClient`] | absorb repeated refusals, hand up repeated 2xx (RFC 6026) |
//! | E, F, K | [`Client`] | resend the request, give up, absorb repeated answers |
//! | G, H, I | [`InviteServer`] | resend the refusal, give up waiting for its ACK, absorb repeated ACKs |
//! | L | [`InviteServer`] | absorb repeated INVITEs after a 2xx (RFC 6026) |
//! | J | [`Server`] | answer repeated requests |

mod client;
mod invite_client;
mod invite_server;
mod server;
#[cfg(test)]
mod timeline;

use std::time::{Duration, Instant};

use bytes::Bytes;

pub use client::{Client, ClientOutput};
pub use invite_client::{InviteClient, InviteClientOutput};
pub use invite_server::{AckReception, InviteServer, InviteServerOutput};
pub use server::{Server, ServerOutput};

/// A message as it goes out.
pub type Wire = Bytes;

/// The three durations that every timer is made of (RFC 3261 §17.1.1.1 and table 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// An estimate of the round trip.
    pub t1: Duration,
    /// The longest interval between two sendings of one message.
    pub t2: Duration,
    /// The longest time a message stays in the network.
    pub t4: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self { t1: Duration::from_millis(500), t2: Duration::from_secs(4), t4: Duration::from_secs(5) }
    }
}

impl Timers {
    /// 64·T1: how long every transaction waits before it gives up.
    pub fn give_up(&self) -> Duration {
        64 * self.t1
    }

    /// Timer D: at least 32 seconds on a datagram transport (RFC 3261 §17.1.1.2).
    fn absorb_refusals(&self) -> Duration {
        self.give_up().max(Duration::from_secs(32))
    }
}

/// Whether the transport below loses messages; only then is anything repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carriage {
    /// Messages may be lost, doubled and overtaken: UDP.
    Datagram,
    /// Messages arrive once and in order, or the connection ends: TCP, TLS.
    Stream,
}

/// What a transaction has to know of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseKind {
    /// 1xx.
    Provisional,
    /// 2xx.
    Success,
    /// 3xx to 6xx.
    Refusal,
}

/// What a transaction says of a received response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Reception {
    /// The owner has to see it.
    Deliver,
    /// A repetition, or too late: the transaction has dealt with it.
    Absorb,
}

/// A final response has already been sent; the newer one is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a final response has already been sent")]
pub struct AlreadyAnswered;

/// When a message goes out again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resend {
    pub(crate) at: Instant,
    interval: Duration,
}

impl Resend {
    /// The first repetition after T1 (timers A, E, G, and a 2xx that waits for its ACK).
    pub(crate) fn begin(now: Instant, timers: &Timers) -> Self {
        Self { at: now + timers.t1, interval: timers.t1 }
    }

    /// Twice the interval, without limit: timer A.
    pub(crate) fn double(&mut self, now: Instant) {
        self.interval *= 2;
        self.at = now + self.interval;
    }

    /// Twice the interval, but at most T2: timers E and G.
    pub(crate) fn double_up_to_t2(&mut self, now: Instant, timers: &Timers) {
        self.interval = timers.t2.min(self.interval * 2);
        self.at = now + self.interval;
    }

    /// From now on every T2: timer E once the server has shown that it lives.
    pub(crate) fn slow_down(&mut self, now: Instant, timers: &Timers) {
        self.interval = timers.t2;
        self.at = now + self.interval;
    }
}
