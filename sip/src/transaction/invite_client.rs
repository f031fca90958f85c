//! INVITE client transaction: RFC 3261 §17.1.1, with Accepted from RFC 6026 §7.2.
//! ```text
//!               1xx                  2xx
//!   [Calling] -------> [Proceeding] -----> [Accepted] ---- M ----> gone
//!     |  ^ A: send again   | |  ^ 1xx         ^ | 2xx: handed up, the owner repeats its ACK
//!     |  +---+             | |  +--+          +-+
//!     |      |             | +--- 64·T1 after CANCEL ------------> gone, the owner is told
//!     |      |             | 3xx..6xx
//!     |      |             v
//!     |      |         [Completed] ---- D -----------------------> gone
//!     |      |             ^ | 3xx..6xx: ACK again
//!     |      |             +-+
//!     +--- B: no response at all --------------------------------> gone, the owner is told
//! ```
//! From Calling, 2xx and 3xx–6xx lead to Accepted and Completed at once. The ACK of a refusal belongs to this
//! transaction and is written by the owner when asked; the ACK of a 2xx does not, and is the dialog's.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Carriage, Reception, Resend, ResponseKind, Timers, Wire};

/// What an INVITE client transaction wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InviteClientOutput {
    /// This goes to where the INVITE goes.
    Send(Wire),
    /// No final response came in time. `Gone` follows.
    TimedOut,
    /// The transaction is over and can be forgotten.
    Gone,
}

use InviteClientOutput as Output;

/// One INVITE on its way, until its final response can no longer be repeated.
#[derive(Debug)]
pub struct InviteClient {
    carriage: Carriage,
    timers: Timers,
    state: State,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
enum State {
    Calling { request: Wire, resend: Option<Resend>, give_up: Instant },
    Proceeding { give_up: Option<Instant> },
    Accepted { until: Instant },
    Completed { ack: Wire, until: Instant },
    Gone,
}

impl InviteClient {
    /// Sends `request` and repeats it on datagrams until something comes back, or `give_up` (timer B) has passed.
    pub fn new(now: Instant, carriage: Carriage, timers: Timers, request: Wire, give_up: Duration) -> Self {
        let resend = match carriage {
            Carriage::Datagram => Some(Resend::begin(now, &timers)),
            Carriage::Stream => None,
        };
        let outputs = VecDeque::from([Output::Send(request.clone())]);
        Self { carriage, timers, state: State::Calling { request, resend, give_up: now + give_up }, outputs }
    }

    /// Takes a response that matches. `ack` is asked for once, at the first refusal.
    pub fn handle_response(
        &mut self,
        now: Instant,
        kind: ResponseKind,
        ack: impl FnOnce() -> Wire,
    ) -> Reception {
        match (&mut self.state, kind) {
            (State::Calling { .. }, ResponseKind::Provisional) => {
                self.state = State::Proceeding { give_up: None };
                Reception::Deliver
            }
            (State::Proceeding { .. }, ResponseKind::Provisional) => Reception::Deliver,
            (State::Calling { .. } | State::Proceeding { .. }, ResponseKind::Success) => {
                self.state = State::Accepted { until: now + self.timers.give_up() };
                Reception::Deliver
            }
            (State::Calling { .. } | State::Proceeding { .. }, ResponseKind::Refusal) => {
                let ack = ack();
                self.outputs.push_back(Output::Send(ack.clone()));
                match self.carriage {
                    Carriage::Datagram => {
                        let until = now + self.timers.absorb_refusals();
                        self.state = State::Completed { ack, until };
                    }
                    Carriage::Stream => self.leave(),
                }
                Reception::Deliver
            }
            (State::Accepted { .. }, ResponseKind::Success) => Reception::Deliver,
            (State::Completed { ack, .. }, ResponseKind::Refusal) => {
                self.outputs.push_back(Output::Send(ack.clone()));
                Reception::Absorb
            }
            (State::Accepted { .. }, ResponseKind::Provisional | ResponseKind::Refusal)
            | (State::Completed { .. }, ResponseKind::Provisional | ResponseKind::Success)
            | (State::Gone, ResponseKind::Provisional | ResponseKind::Success | ResponseKind::Refusal) => {
                Reception::Absorb
            }
        }
    }

    /// A CANCEL has been sent: the final response has to come within 64·T1 (RFC 3261 §9.1).
    pub fn handle_cancelled(&mut self, now: Instant) {
        match &mut self.state {
            State::Proceeding { give_up } => {
                give_up.get_or_insert(now + self.timers.give_up());
            }
            State::Calling { .. } | State::Accepted { .. } | State::Completed { .. } | State::Gone => {}
        }
    }

    /// A response has come, but no final one.
    pub fn is_proceeding(&self) -> bool {
        matches!(self.state, State::Proceeding { .. })
    }

    /// No final response has come yet.
    pub fn is_pending(&self) -> bool {
        matches!(self.state, State::Calling { .. } | State::Proceeding { .. })
    }

    /// The transport cannot carry it, or the owner has no more use for it: ends without a word.
    pub fn abort(&mut self) {
        if !matches!(self.state, State::Gone) {
            self.outputs.clear();
            self.leave();
        }
    }

    /// What to do next; call until `None` after every input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Calling { resend: Some(resend), give_up, .. } => Some(resend.at.min(*give_up)),
            State::Calling { resend: None, give_up, .. } => Some(*give_up),
            State::Proceeding { give_up } => *give_up,
            State::Accepted { until } | State::Completed { until, .. } => Some(*until),
            State::Gone => None,
        }
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        match &mut self.state {
            State::Calling { give_up, .. } | State::Proceeding { give_up: Some(give_up) }
                if *give_up <= now =>
            {
                self.outputs.push_back(Output::TimedOut);
                self.leave();
            }
            State::Calling { request, resend: Some(resend), .. } if resend.at <= now => {
                self.outputs.push_back(Output::Send(request.clone()));
                resend.double(now);
            }
            State::Accepted { until } | State::Completed { until, .. } if *until <= now => self.leave(),
            State::Calling { .. }
            | State::Proceeding { .. }
            | State::Accepted { .. }
            | State::Completed { .. }
            | State::Gone => {}
        }
    }

    fn leave(&mut self) {
        self.state = State::Gone;
        self.outputs.push_back(Output::Gone);
    }
}

#[cfg(test)]
mod tests {
    use super::super::timeline::{automaton, beginning, run_until, run_until_idle, times};
    use super::*;

    automaton!(InviteClient, InviteClientOutput);

    const INVITE: Wire = Wire::from_static(b"INVITE");
    const ACK: Wire = Wire::from_static(b"ACK");

    /// RFC 3261 §17.1.1.2: timer A doubles without limit, timer B gives up after 64·T1.
    #[test]
    fn an_unanswered_invite_is_sent_seven_times_in_32_seconds() {
        let start = beginning();
        let mut transaction = client(start, Carriage::Datagram);

        let log = run_until_idle(&mut transaction, start);

        let sends = times(&log, |output| *output == Output::Send(INVITE));
        assert_eq!(sends, [0, 500, 1500, 3500, 7500, 15500, 31500]);
        assert_eq!(log[7..], [(32000, Output::TimedOut), (32000, Output::Gone)]);
    }

    #[test]
    fn a_stream_carries_the_invite_once() {
        let start = beginning();
        let mut transaction = client(start, Carriage::Stream);

        let log = run_until_idle(&mut transaction, start);

        assert_eq!(log, [(0, Output::Send(INVITE)), (32000, Output::TimedOut), (32000, Output::Gone)]);
    }

    #[test]
    fn timer_b_can_be_set_for_one_transaction() {
        let start = beginning();
        let timers = Timers::default();
        let mut transaction =
            InviteClient::new(start, Carriage::Datagram, timers, INVITE, Duration::from_secs(4));

        let log = run_until_idle(&mut transaction, start);

        assert_eq!(times(&log, |output| *output == Output::TimedOut), [4000]);
        assert_eq!(times(&log, |output| *output == Output::Send(INVITE)), [0, 500, 1500, 3500]);
    }

    #[test]
    fn a_provisional_response_stops_the_repetitions_and_the_clock() {
        let start = beginning();
        let mut transaction = client(start, Carriage::Datagram);
        run_until(&mut transaction, start, Duration::from_millis(600));

        let first = transaction.handle_response(start + ms(600), ResponseKind::Provisional, no_ack);
        let again = transaction.handle_response(start + ms(700), ResponseKind::Provisional, no_ack);

        assert_eq!((first, again), (Reception::Deliver, Reception::Deliver));
        assert_eq!(transaction.poll_timeout(), None);
    }

    /// RFC 3261 §17.1.1.2: timer D; the refusal itself is handed up once.
    #[test]
    fn a_repeated_refusal_is_acknowledged_each_time_for_32_seconds() {
        let start = beginning();
        let mut transaction = client(start, Carriage::Datagram);

        let first = transaction.handle_response(start + ms(100), ResponseKind::Refusal, || ACK);
        let again = transaction.handle_response(start + ms(600), ResponseKind::Refusal, no_ack);
        let log = run_until_idle(&mut transaction, start);

        assert_eq!((first, again), (Reception::Deliver, Reception::Absorb));
        assert_eq!(times(&log, |output| *output == Output::Send(ACK)).len(), 2);
        assert_eq!(log.last(), Some(&(32100, Output::Gone)));
    }

    #[test]
    fn on_a_stream_a_refusal_ends_the_transaction_at_once() {
        let start = beginning();
        let mut transaction = client(start, Carriage::Stream);

        let reception = transaction.handle_response(start, ResponseKind::Refusal, || ACK);
        let log = run_until_idle(&mut transaction, start);

        assert_eq!(reception, Reception::Deliver);
        assert_eq!(log, [(0, Output::Send(INVITE)), (0, Output::Send(ACK)), (0, Output::Gone)]);
    }

    /// RFC 6026 §7.2: timer M; every repetition and every fork's 2xx is handed up, on any transport.
    #[test]
    fn every_2xx_within_32_seconds_of_the_first_is_handed_up() {
        for carriage in [Carriage::Datagram, Carriage::Stream] {
            let start = beginning();
            let mut transaction = client(start, carriage);

            let first = transaction.handle_response(start, ResponseKind::Success, no_ack);
            let late = transaction.handle_response(start + ms(31999), ResponseKind::Success, no_ack);
            let log = run_until_idle(&mut transaction, start);
            let too_late = transaction.handle_response(start + ms(32001), ResponseKind::Success, no_ack);

            assert_eq!((first, late), (Reception::Deliver, Reception::Deliver));
            assert_eq!(log, [(0, Output::Send(INVITE)), (32000, Output::Gone)]);
            assert_eq!(too_late, Reception::Absorb);
        }
    }

    #[test]
    fn what_comes_after_the_final_response_changes_nothing() {
        let start = beginning();
        let mut accepted = client(start, Carriage::Datagram);
        let mut refused = client(start, Carriage::Datagram);
        let _ = accepted.handle_response(start, ResponseKind::Success, no_ack);
        let _ = refused.handle_response(start, ResponseKind::Refusal, || ACK);

        let receptions = [
            accepted.handle_response(start, ResponseKind::Provisional, no_ack),
            accepted.handle_response(start, ResponseKind::Refusal, no_ack),
            refused.handle_response(start, ResponseKind::Provisional, no_ack),
            refused.handle_response(start, ResponseKind::Success, no_ack),
        ];

        assert_eq!(receptions, [Reception::Absorb; 4]);
    }

    /// RFC 3261 §9.1.
    #[test]
    fn a_cancelled_invite_without_final_response_is_given_up_after_32_seconds() {
        let start = beginning();
        let mut transaction = client(start, Carriage::Stream);
        let _ = transaction.handle_response(start, ResponseKind::Provisional, no_ack);

        transaction.handle_cancelled(start + ms(5000));
        transaction.handle_cancelled(start + ms(6000));
        let _ = transaction.handle_response(start + ms(6000), ResponseKind::Provisional, no_ack);
        let log = run_until_idle(&mut transaction, start);

        assert_eq!(log[1..], [(37000, Output::TimedOut), (37000, Output::Gone)]);
    }

    #[test]
    fn an_aborted_transaction_says_gone_once_and_nothing_else() {
        let start = beginning();
        let mut transaction = client(start, Carriage::Datagram);

        transaction.abort();
        transaction.abort();
        let log = run_until_idle(&mut transaction, start);

        assert_eq!(log, [(0, Output::Gone)]);
    }

    fn client(start: Instant, carriage: Carriage) -> InviteClient {
        let timers = Timers::default();
        InviteClient::new(start, carriage, timers, INVITE, timers.give_up())
    }

    fn no_ack() -> Wire {
        panic!("no ACK may be written here")
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }
}
