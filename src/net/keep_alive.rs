//! When to ping the far end of a stream that we opened, and when to believe that it is gone: RFC 5626 §4.4.1.
//! ```text
//!              interval: Ping                pong
//!   [Resting] ----------------> [Waiting] --------> [Resting]
//!                                  | no pong in time, though earlier pings were answered: Close
//!                                  | no pong in time, and never one: Resting
//! ```
//! A peer that has never answered does not speak RFC 5626 and is not blamed for it: the pings still keep the ways of
//! NATs open, and what a dead peer does not acknowledge, the kernel gives up by itself.

use std::time::Duration;

use tokio::time::Instant;

/// How long a peer may take to answer a ping (RFC 5626 §4.4.1).
const PONG: Duration = Duration::from_secs(10);
/// How long a stream may carry no message at all before it is closed.
const IDLE: Duration = Duration::from_secs(3600);

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Send CRLF CRLF.
    Ping,
    /// The peer has answered before and does so no longer.
    Dead,
    /// Nobody has used the stream for long.
    Idle,
    /// Nothing yet.
    Nothing,
}

/// What was heard since the stream was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// Answers to pings.
    pub(super) pongs: u64,
    /// Messages in either direction.
    pub(super) messages: u64,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Resting { ping: Instant },
    Waiting { until: Instant, pongs: u64 },
}

/// The pings of one stream.
#[derive(Debug)]
pub(super) struct KeepAlive {
    interval: Duration,
    state: State,
    used: (u64, Instant),
}

impl KeepAlive {
    /// RFC 5626 §4.4.1 wants pings apart by 80 to 100 % of two minutes; `chance` says where in between, from 0 to 1.
    pub(super) fn new(now: Instant, chance: f64) -> Self {
        let interval = Duration::from_secs(96) + Duration::from_secs(24).mul_f64(chance.clamp(0.0, 1.0));
        Self { interval, state: State::Resting { ping: now + interval }, used: (0, now) }
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub(super) fn poll_timeout(&self) -> Instant {
        match self.state {
            State::Resting { ping } => ping,
            State::Waiting { until, .. } => until,
        }
    }

    /// What is due at `now`, given what was heard up to then.
    pub(super) fn handle_timeout(&mut self, now: Instant, heard: Heard) -> Due {
        if heard.messages != self.used.0 {
            self.used = (heard.messages, now);
        }
        match self.state {
            State::Resting { ping } if ping <= now => {
                if now.saturating_duration_since(self.used.1) >= IDLE {
                    return Due::Idle;
                }
                self.state = State::Waiting { until: now + PONG, pongs: heard.pongs };
                Due::Ping
            }
            State::Waiting { until, pongs } if until <= now => {
                if heard.pongs == pongs && pongs > 0 {
                    return Due::Dead;
                }
                self.state = State::Resting { ping: until - PONG + self.interval };
                Due::Nothing
            }
            State::Resting { .. } | State::Waiting { .. } => Due::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every thing that is due until the stream would be closed or `limit` has passed, a peer answering the first
    /// `answers` pings.
    fn run(answers: u64, busy: bool, limit: Duration) -> (Vec<Due>, Duration) {
        let start = Instant::now();
        let mut keep_alive = KeepAlive::new(start, 0.5);
        let (mut heard, mut due) = (Heard::default(), Vec::new());
        loop {
            let now = keep_alive.poll_timeout();
            if now - start > limit {
                return (due, limit);
            }
            heard.messages += u64::from(busy);
            match keep_alive.handle_timeout(now, heard) {
                Due::Ping => {
                    due.push(Due::Ping);
                    heard.pongs += u64::from(heard.pongs < answers);
                }
                Due::Nothing => {}
                last @ (Due::Dead | Due::Idle) => {
                    due.push(last);
                    return (due, now - start);
                }
            }
        }
    }

    #[test]
    fn a_peer_that_stops_answering_is_given_up_ten_seconds_later() {
        let (due, after) = run(2, true, Duration::from_secs(7200));

        assert_eq!(due, [Due::Ping, Due::Ping, Due::Ping, Due::Dead]);
        assert_eq!(after, Duration::from_secs(3 * 108 + 10));
    }

    #[test]
    fn a_peer_that_never_answers_is_pinged_on_but_not_blamed() {
        let (due, _) = run(0, true, Duration::from_secs(1081));

        assert_eq!(due, [Due::Ping; 10]);
    }

    #[test]
    fn a_stream_that_carries_nothing_for_an_hour_is_closed() {
        let (due, after) = run(u64::MAX, false, Duration::from_secs(7200));

        assert_eq!(due.last(), Some(&Due::Idle));
        assert!(after >= IDLE && after < IDLE + Duration::from_secs(120), "{after:?}");
    }

    #[test]
    fn pings_of_many_streams_are_spread_within_what_the_rfc_allows() {
        let start = Instant::now();
        for (chance, seconds) in [(-1.0, 96), (0.0, 96), (1.0, 120), (9.0, 120)] {
            assert_eq!(KeepAlive::new(start, chance).poll_timeout() - start, Duration::from_secs(seconds));
        }
    }
}
