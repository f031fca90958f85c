//! A 2xx to an INVITE that waits for its ACK: RFC 3261 §13.3.1.4.
//! ```text
//!   [Waiting] --- ACK ------------> forgotten
//!     |  ^ T1, doubling up to T2: send again, on streams too
//!     +--+---- 64·T1 -------------> forgotten, the dialog has to end
//! ```
//! The INVITE server transaction has sent the 2xx once already; a proxy on the way may have moved it from a stream to
//! datagrams, so it is repeated whatever the transport.

use std::time::Instant;

use crate::transaction::{Resend, Timers, Wire};

/// What an unacknowledged 2xx wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SuccessOutput {
    /// The 2xx again.
    Send(Wire),
    /// Nobody will acknowledge it any more.
    AckMissing,
}

/// One 2xx that we have sent to an INVITE.
#[derive(Debug)]
pub(crate) struct Success {
    response: Wire,
    timers: Timers,
    resend: Resend,
    give_up: Instant,
}

impl Success {
    /// `response` has just been sent for the first time.
    pub(crate) fn new(now: Instant, timers: Timers, response: Wire) -> Self {
        Self { response, timers, resend: Resend::begin(now, &timers), give_up: now + timers.give_up() }
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub(crate) fn poll_timeout(&self) -> Instant {
        self.resend.at.min(self.give_up)
    }

    /// Does what is due at `now`.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<SuccessOutput> {
        if self.give_up <= now {
            return Some(SuccessOutput::AckMissing);
        }
        if self.resend.at > now {
            return None;
        }
        self.resend.double_up_to_t2(now, &self.timers);
        Some(SuccessOutput::Send(self.response.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unacknowledged_2xx_is_repeated_ten_times_and_given_up_after_32_seconds() {
        let start = beginning();
        let mut success = Success::new(start, Timers::default(), Wire::from_static(b"200"));

        let mut sends = Vec::new();
        let gave_up = loop {
            let now = success.poll_timeout();
            match success.handle_timeout(now).unwrap() {
                SuccessOutput::Send(_) => sends.push(now.duration_since(start).as_millis()),
                SuccessOutput::AckMissing => break now.duration_since(start).as_millis(),
            }
        };

        assert_eq!(sends, [500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500]);
        assert_eq!(gave_up, 32000);
    }

    #[test]
    fn nothing_is_sent_before_its_time() {
        let start = beginning();
        let mut success = Success::new(start, Timers::default(), Wire::from_static(b"200"));

        assert_eq!(success.handle_timeout(start), None);
    }

    #[expect(clippy::disallowed_methods, reason = "a test asks the clock once, for its beginning")]
    fn beginning() -> Instant {
        Instant::now()
    }
}
