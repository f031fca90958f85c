//! Non-INVITE client transaction: RFC 3261 §17.1.2.
//! ```text
//!                1xx                   2xx..6xx
//!   [Trying] ----------> [Proceeding] ---------> [Completed] ---- K ----> gone
//!     | ^ E: send again     | ^ E = T2: send again    ^ | repeated: absorbed
//!     | +---+               | +---+                   +-+
//!     +---------------------+--- F: no final response ------------------> gone, the owner is told
//! ```
//! From Trying, 2xx–6xx lead to Completed at once.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Carriage, Reception, Resend, ResponseKind, Timers, Wire};

/// What a non-INVITE client transaction wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientOutput {
    /// This goes to where the request goes.
    Send(Wire),
    /// No final response came in time. `Gone` follows.
    TimedOut,
    /// The transaction is over and can be forgotten.
    Gone,
}

use ClientOutput as Output;

/// One request other than INVITE and ACK on its way.
#[derive(Debug)]
pub struct Client {
    carriage: Carriage,
    timers: Timers,
    state: State,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
enum State {
    Trying { request: Wire, resend: Option<Resend>, give_up: Instant },
    Proceeding { request: Wire, resend: Option<Resend>, give_up: Instant },
    Completed { until: Instant },
    Gone,
}

impl Client {
    /// Sends `request` and repeats it on datagrams until it is answered or `give_up` (timer F) has passed.
    pub fn new(now: Instant, carriage: Carriage, timers: Timers, request: Wire, give_up: Duration) -> Self {
        let resend = match carriage {
            Carriage::Datagram => Some(Resend::begin(now, &timers)),
            Carriage::Stream => None,
        };
        let outputs = VecDeque::from([Output::Send(request.clone())]);
        Self { carriage, timers, state: State::Trying { request, resend, give_up: now + give_up }, outputs }
    }

    /// Takes a response that matches.
    pub fn handle_response(&mut self, now: Instant, kind: ResponseKind) -> Reception {
        match (&mut self.state, kind) {
            (State::Trying { request, resend, give_up }, ResponseKind::Provisional) => {
                if let Some(resend) = resend {
                    resend.slow_down(now, &self.timers);
                }
                let (request, resend, give_up) = (request.clone(), *resend, *give_up);
                self.state = State::Proceeding { request, resend, give_up };
                Reception::Deliver
            }
            (State::Proceeding { .. }, ResponseKind::Provisional) => Reception::Deliver,
            (
                State::Trying { .. } | State::Proceeding { .. },
                ResponseKind::Success | ResponseKind::Refusal,
            ) => {
                match self.carriage {
                    Carriage::Datagram => self.state = State::Completed { until: now + self.timers.t4 },
                    Carriage::Stream => self.leave(),
                }
                Reception::Deliver
            }
            (
                State::Completed { .. } | State::Gone,
                ResponseKind::Provisional | ResponseKind::Success | ResponseKind::Refusal,
            ) => Reception::Absorb,
        }
    }

    /// No final response has come yet.
    pub fn is_pending(&self) -> bool {
        matches!(self.state, State::Trying { .. } | State::Proceeding { .. })
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
            State::Trying { resend: Some(resend), give_up, .. }
            | State::Proceeding { resend: Some(resend), give_up, .. } => Some(resend.at.min(*give_up)),
            State::Trying { resend: None, give_up, .. } | State::Proceeding { resend: None, give_up, .. } => {
                Some(*give_up)
            }
            State::Completed { until } => Some(*until),
            State::Gone => None,
        }
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        match &mut self.state {
            State::Trying { give_up, .. } | State::Proceeding { give_up, .. } if *give_up <= now => {
                self.outputs.push_back(Output::TimedOut);
                self.leave();
            }
            State::Trying { request, resend: Some(resend), .. } if resend.at <= now => {
                self.outputs.push_back(Output::Send(request.clone()));
                resend.double_up_to_t2(now, &self.timers);
            }
            State::Proceeding { request, resend: Some(resend), .. } if resend.at <= now => {
                self.outputs.push_back(Output::Send(request.clone()));
                resend.slow_down(now, &self.timers);
            }
            State::Completed { until } if *until <= now => self.leave(),
            State::Trying { .. } | State::Proceeding { .. } | State::Completed { .. } | State::Gone => {}
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

    automaton!(Client, ClientOutput);

    const BYE: Wire = Wire::from_static(b"BYE");

    /// RFC 3261 §17.1.2.2: timer E doubles up to T2, timer F gives up after 64·T1.
    #[test]
    fn an_unanswered_request_is_sent_eleven_times_in_32_seconds() {
        let start = beginning();
        let mut transaction = client(start, Carriage::Datagram);

        let log = run_until_idle(&mut transaction, start);

        let sends = times(&log, |output| *output == Output::Send(BYE));
        assert_eq!(sends, [0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500]);
        assert_eq!(log[11..], [(32000, Output::TimedOut), (32000, Output::Gone)]);
    }

    #[test]
    fn a_stream_carries_the_request_once() {
        let start = beginning();
        let mut transaction = client(start, Carriage::Stream);

        let log = run_until_idle(&mut transaction, start);

        assert_eq!(log, [(0, Output::Send(BYE)), (32000, Output::TimedOut), (32000, Output::Gone)]);
    }

    #[test]
    fn timer_f_can_be_set_for_one_transaction() {
        let start = beginning();
        let mut transaction =
            Client::new(start, Carriage::Datagram, Timers::default(), BYE, Duration::from_secs(2));

        let log = run_until_idle(&mut transaction, start);

        assert_eq!(times(&log, |output| *output == Output::TimedOut), [2000]);
    }

    /// RFC 3261 §17.1.2.2: in Proceeding timer E is T2, and timer F still runs.
    #[test]
    fn after_a_provisional_response_the_request_is_repeated_every_4_seconds() {
        let start = beginning();
        let mut transaction = client(start, Carriage::Datagram);
        run_until(&mut transaction, start, ms(1000));

        let first = transaction.handle_response(start + ms(1000), ResponseKind::Provisional);
        let again = transaction.handle_response(start + ms(1100), ResponseKind::Provisional);
        let log = run_until_idle(&mut transaction, start);

        assert_eq!((first, again), (Reception::Deliver, Reception::Deliver));
        let sends = times(&log, |output| *output == Output::Send(BYE));
        assert_eq!(sends, [5000, 9000, 13000, 17000, 21000, 25000, 29000]);
        assert_eq!(times(&log, |output| *output == Output::TimedOut), [32000]);
    }

    /// RFC 3261 §17.1.2.2: timer K.
    #[test]
    fn repeated_answers_are_absorbed_for_5_seconds() {
        let start = beginning();
        let mut transaction = client(start, Carriage::Datagram);

        let first = transaction.handle_response(start + ms(100), ResponseKind::Success);
        let again = transaction.handle_response(start + ms(200), ResponseKind::Success);
        let log = run_until_idle(&mut transaction, start);

        assert_eq!((first, again), (Reception::Deliver, Reception::Absorb));
        assert_eq!(log, [(0, Output::Send(BYE)), (5100, Output::Gone)]);
    }

    #[test]
    fn on_a_stream_the_answer_ends_the_transaction_at_once() {
        let start = beginning();
        let mut transaction = client(start, Carriage::Stream);

        let reception = transaction.handle_response(start, ResponseKind::Refusal);
        let log = run_until_idle(&mut transaction, start);

        assert_eq!(reception, Reception::Deliver);
        assert_eq!(log, [(0, Output::Send(BYE)), (0, Output::Gone)]);
    }

    #[test]
    fn an_aborted_transaction_says_gone_once_and_nothing_else() {
        let start = beginning();
        let mut transaction = client(start, Carriage::Datagram);

        transaction.abort();
        transaction.abort();

        assert_eq!(run_until_idle(&mut transaction, start), [(0, Output::Gone)]);
        assert!(!transaction.is_pending());
    }

    fn client(start: Instant, carriage: Carriage) -> Client {
        let timers = Timers::default();
        Client::new(start, carriage, timers, BYE, timers.give_up())
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }
}
