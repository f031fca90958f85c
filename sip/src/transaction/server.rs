//! Non-INVITE server transaction: RFC 3261 §17.2.2, with the silence of RFC 4320 §4.2.
//! ```text
//!               1xx                 2xx..6xx
//!   [Trying] --------> [Proceeding] --------> [Completed] ---- J ----> gone
//!     |                   ^ | repeated: latest   ^ | repeated: the response again
//!     |                   +-+                    +-+
//!     +---- 64·T1 without final response -----------------------------> gone: the client has given up too
//! ```
//! From Trying, 2xx–6xx lead to Completed at once.

use std::collections::VecDeque;
use std::time::Instant;

use super::{AlreadyAnswered, Carriage, Timers, Wire};

/// What a non-INVITE server transaction wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerOutput {
    /// This goes to where the request came from.
    Send(Wire),
    /// The transaction is over and can be forgotten.
    Gone,
}

use ServerOutput as Output;

/// One received request other than INVITE and ACK.
#[derive(Debug)]
pub struct Server {
    carriage: Carriage,
    timers: Timers,
    state: State,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
enum State {
    Trying { give_up: Instant },
    Proceeding { latest: Wire, give_up: Instant },
    Completed { response: Wire, until: Instant },
    Gone,
}

impl Server {
    /// Begins with the request's arrival.
    pub fn new(now: Instant, carriage: Carriage, timers: Timers) -> Self {
        let state = State::Trying { give_up: now + timers.give_up() };
        Self { carriage, timers, state, outputs: VecDeque::new() }
    }

    /// Sends a provisional response.
    pub fn proceed(&mut self, response: Wire) -> Result<(), AlreadyAnswered> {
        match self.state {
            State::Trying { give_up } | State::Proceeding { give_up, .. } => {
                self.outputs.push_back(Output::Send(response.clone()));
                self.state = State::Proceeding { latest: response, give_up };
                Ok(())
            }
            State::Completed { .. } | State::Gone => Err(AlreadyAnswered),
        }
    }

    /// Sends the final response, and again whenever the request is repeated.
    pub fn answer(&mut self, now: Instant, response: Wire) -> Result<(), AlreadyAnswered> {
        match self.state {
            State::Trying { .. } | State::Proceeding { .. } => {
                self.outputs.push_back(Output::Send(response.clone()));
                match self.carriage {
                    Carriage::Datagram => {
                        self.state = State::Completed { response, until: now + self.timers.give_up() };
                    }
                    Carriage::Stream => self.leave(),
                }
                Ok(())
            }
            State::Completed { .. } | State::Gone => Err(AlreadyAnswered),
        }
    }

    /// The same request came again.
    pub fn handle_repetition(&mut self) {
        match &self.state {
            State::Proceeding { latest: response, .. } | State::Completed { response, .. } => {
                self.outputs.push_back(Output::Send(response.clone()));
            }
            State::Trying { .. } | State::Gone => {}
        }
    }

    /// No final response has been sent yet.
    pub fn is_pending(&self) -> bool {
        matches!(self.state, State::Trying { .. } | State::Proceeding { .. })
    }

    /// The request gets no answer, on purpose: ends without a word.
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
            State::Trying { give_up } | State::Proceeding { give_up, .. } => Some(*give_up),
            State::Completed { until, .. } => Some(*until),
            State::Gone => None,
        }
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.state {
            State::Trying { give_up } | State::Proceeding { give_up, .. } if give_up <= now => self.leave(),
            State::Completed { until, .. } if until <= now => self.leave(),
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
    use std::time::Duration;

    use super::super::timeline::{automaton, beginning, run_until, run_until_idle};
    use super::*;

    automaton!(Server, ServerOutput);

    const TRYING: Wire = Wire::from_static(b"100");
    const OK: Wire = Wire::from_static(b"200");

    /// RFC 3261 §17.2.2: timer J.
    #[test]
    fn a_repeated_request_is_answered_again_for_32_seconds() {
        let start = beginning();
        let mut transaction = server(start, Carriage::Datagram);
        transaction.answer(start, OK).unwrap();
        run_until(&mut transaction, start, ms(31000));

        transaction.handle_repetition();
        let again = transaction.poll_output();
        let log = run_until_idle(&mut transaction, start);
        transaction.handle_repetition();

        assert_eq!(again, Some(Output::Send(OK)));
        assert_eq!(log, [(32000, Output::Gone)]);
        assert_eq!(transaction.poll_output(), None);
    }

    #[test]
    fn on_a_stream_the_answer_ends_the_transaction_at_once() {
        let start = beginning();
        let mut transaction = server(start, Carriage::Stream);
        transaction.answer(start, OK).unwrap();

        assert_eq!(run_until_idle(&mut transaction, start), [(0, Output::Send(OK)), (0, Output::Gone)]);
    }

    /// RFC 4320 §4.2: an answer after the client's timer F only makes storms.
    #[test]
    fn a_request_nobody_answers_is_forgotten_in_silence() {
        let start = beginning();
        let mut transaction = server(start, Carriage::Datagram);

        transaction.handle_repetition();
        let log = run_until_idle(&mut transaction, start);

        assert_eq!(log, [(32000, Output::Gone)]);
        assert_eq!(transaction.answer(start, OK), Err(AlreadyAnswered));
    }

    #[test]
    fn a_repeated_request_gets_the_latest_provisional_response() {
        let start = beginning();
        let mut transaction = server(start, Carriage::Datagram);
        transaction.proceed(TRYING).unwrap();

        transaction.handle_repetition();
        let log = run_until_idle(&mut transaction, start);

        let sent = [(0, Output::Send(TRYING)), (0, Output::Send(TRYING)), (32000, Output::Gone)];
        assert_eq!(log, sent);
    }

    #[test]
    fn only_one_final_response_is_ever_sent() {
        let start = beginning();
        let mut transaction = server(start, Carriage::Datagram);
        transaction.answer(start, OK).unwrap();

        assert_eq!(transaction.answer(start, OK), Err(AlreadyAnswered));
        assert_eq!(transaction.proceed(TRYING), Err(AlreadyAnswered));
        assert!(!transaction.is_pending());
    }

    #[test]
    fn a_request_can_be_left_without_an_answer() {
        let start = beginning();
        let mut transaction = server(start, Carriage::Datagram);

        transaction.abort();

        assert_eq!(run_until_idle(&mut transaction, start), [(0, Output::Gone)]);
    }

    fn server(start: Instant, carriage: Carriage) -> Server {
        Server::new(start, carriage, Timers::default())
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }
}
