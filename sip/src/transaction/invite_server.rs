//! INVITE server transaction: RFC 3261 §17.2.1, with Accepted from RFC 6026 §7.1.
//! ```text
//!                  2xx
//!   [Proceeding] ------> [Accepted] ----- L ----> gone
//!     |  ^ 200 ms: 100 Trying   ^ | ACK: handed up
//!     |  +---+                  +-+
//!     | 3xx..6xx
//!     v             ACK
//!   [Completed] ------> [Confirmed] ----- I ----> gone
//!     |  ^ G: send the response again
//!     +--+---- H: nobody acknowledged ----------> gone, the owner is told
//! ```
//! A repeated INVITE is answered with the latest response, in Accepted and Confirmed with nothing: the 2xx is repeated
//! by the dialog (RFC 3261 §13.3.1.4), which waits for the ACK too.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{AlreadyAnswered, Carriage, Resend, Timers, Wire};

/// How long the owner may take before 100 is sent in its place (RFC 3261 §17.2.1).
const TRYING_AFTER: Duration = Duration::from_millis(200);

/// What an INVITE server transaction wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InviteServerOutput {
    /// This goes to where the INVITE came from.
    Send(Wire),
    /// Nobody acknowledged our refusal. `Gone` follows.
    AckMissing,
    /// The transaction is over and can be forgotten.
    Gone,
}

use InviteServerOutput as Output;

/// What the transaction says of a received ACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum AckReception {
    /// It acknowledges a 2xx and belongs to the dialog.
    Deliver,
    /// It acknowledges a refusal, or nothing: dealt with.
    Absorb,
}

/// One received INVITE, until its final response can no longer be asked for.
#[derive(Debug)]
pub struct InviteServer {
    carriage: Carriage,
    timers: Timers,
    state: State,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
enum State {
    Proceeding { latest: Option<Wire>, trying: Option<Trying> },
    Accepted { until: Instant },
    Completed { response: Wire, resend: Option<Resend>, give_up: Instant },
    Confirmed { until: Instant },
    Gone,
}

#[derive(Debug)]
struct Trying {
    at: Instant,
    response: Wire,
}

impl InviteServer {
    /// Begins with the INVITE's arrival; `trying` is the 100 that goes out if the owner stays silent for 200 ms.
    pub fn new(now: Instant, carriage: Carriage, timers: Timers, trying: Wire) -> Self {
        let trying = Some(Trying { at: now + TRYING_AFTER, response: trying });
        let state = State::Proceeding { latest: None, trying };
        Self { carriage, timers, state, outputs: VecDeque::new() }
    }

    /// Sends a provisional response.
    pub fn ring(&mut self, response: Wire) -> Result<(), AlreadyAnswered> {
        let State::Proceeding { latest, trying } = &mut self.state else { return Err(AlreadyAnswered) };
        *latest = Some(response.clone());
        *trying = None;
        self.outputs.push_back(Output::Send(response));
        Ok(())
    }

    /// Sends a 2xx, once: the dialog repeats it.
    pub fn accept(&mut self, now: Instant, response: Wire) -> Result<(), AlreadyAnswered> {
        let State::Proceeding { .. } = self.state else { return Err(AlreadyAnswered) };
        self.outputs.push_back(Output::Send(response));
        self.state = State::Accepted { until: now + self.timers.give_up() };
        Ok(())
    }

    /// Sends a 3xx–6xx and repeats it on datagrams until it is acknowledged.
    pub fn refuse(&mut self, now: Instant, response: Wire) -> Result<(), AlreadyAnswered> {
        let State::Proceeding { .. } = self.state else { return Err(AlreadyAnswered) };
        let resend = match self.carriage {
            Carriage::Datagram => Some(Resend::begin(now, &self.timers)),
            Carriage::Stream => None,
        };
        self.outputs.push_back(Output::Send(response.clone()));
        self.state = State::Completed { response, resend, give_up: now + self.timers.give_up() };
        Ok(())
    }

    /// The same INVITE came again.
    pub fn handle_repetition(&mut self) {
        match &mut self.state {
            State::Proceeding { latest: Some(response), .. } | State::Completed { response, .. } => {
                self.outputs.push_back(Output::Send(response.clone()));
            }
            State::Proceeding { latest, trying } => {
                if let Some(trying) = trying.take() {
                    *latest = Some(trying.response.clone());
                    self.outputs.push_back(Output::Send(trying.response));
                }
            }
            State::Accepted { .. } | State::Confirmed { .. } | State::Gone => {}
        }
    }

    /// An ACK that matches.
    pub fn handle_ack(&mut self, now: Instant) -> AckReception {
        match self.state {
            State::Completed { .. } => {
                match self.carriage {
                    Carriage::Datagram => self.state = State::Confirmed { until: now + self.timers.t4 },
                    Carriage::Stream => self.leave(),
                }
                AckReception::Absorb
            }
            State::Accepted { .. } => AckReception::Deliver,
            State::Proceeding { .. } | State::Confirmed { .. } | State::Gone => AckReception::Absorb,
        }
    }

    /// No final response has been sent yet.
    pub fn is_pending(&self) -> bool {
        matches!(self.state, State::Proceeding { .. })
    }

    /// The final response was a 3xx–6xx.
    pub fn is_refused(&self) -> bool {
        matches!(self.state, State::Completed { .. } | State::Confirmed { .. })
    }

    /// What to do next; call until `None` after every input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Proceeding { trying, .. } => trying.as_ref().map(|trying| trying.at),
            State::Accepted { until } | State::Confirmed { until } => Some(*until),
            State::Completed { resend: Some(resend), give_up, .. } => Some(resend.at.min(*give_up)),
            State::Completed { resend: None, give_up, .. } => Some(*give_up),
            State::Gone => None,
        }
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        match &mut self.state {
            State::Proceeding { latest, trying: Some(trying) } if trying.at <= now => {
                self.outputs.push_back(Output::Send(trying.response.clone()));
                self.state = State::Proceeding {
                    latest: latest.take().or(Some(trying.response.clone())),
                    trying: None,
                };
            }
            State::Completed { give_up, .. } if *give_up <= now => {
                self.outputs.push_back(Output::AckMissing);
                self.leave();
            }
            State::Completed { response, resend: Some(resend), .. } if resend.at <= now => {
                self.outputs.push_back(Output::Send(response.clone()));
                resend.double_up_to_t2(now, &self.timers);
            }
            State::Accepted { until } | State::Confirmed { until } if *until <= now => self.leave(),
            State::Proceeding { .. }
            | State::Accepted { .. }
            | State::Completed { .. }
            | State::Confirmed { .. }
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

    automaton!(InviteServer, InviteServerOutput);

    const TRYING: Wire = Wire::from_static(b"100");
    const RINGING: Wire = Wire::from_static(b"180");
    const OK: Wire = Wire::from_static(b"200");
    const BUSY: Wire = Wire::from_static(b"486");

    /// RFC 3261 §17.2.1: timer G doubles up to T2, timer H gives up after 64·T1.
    #[test]
    fn an_unacknowledged_refusal_is_repeated_for_32_seconds() {
        let start = beginning();
        let mut transaction = server(start, Carriage::Datagram);
        transaction.refuse(start, BUSY).unwrap();

        let log = run_until_idle(&mut transaction, start);

        let sends = times(&log, |output| *output == Output::Send(BUSY));
        assert_eq!(sends, [0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500]);
        assert_eq!(log[11..], [(32000, Output::AckMissing), (32000, Output::Gone)]);
    }

    #[test]
    fn on_a_stream_the_refusal_is_sent_once_and_its_ack_still_awaited() {
        let start = beginning();
        let mut transaction = server(start, Carriage::Stream);
        transaction.refuse(start, BUSY).unwrap();

        let log = run_until_idle(&mut transaction, start);

        assert_eq!(log, [(0, Output::Send(BUSY)), (32000, Output::AckMissing), (32000, Output::Gone)]);
    }

    /// RFC 3261 §17.2.1: timer I.
    #[test]
    fn an_acknowledged_refusal_absorbs_for_5_seconds() {
        let start = beginning();
        let mut transaction = server(start, Carriage::Datagram);
        transaction.refuse(start, BUSY).unwrap();

        let first = transaction.handle_ack(start + ms(100));
        let again = transaction.handle_ack(start + ms(200));
        transaction.handle_repetition();
        let log = run_until_idle(&mut transaction, start);

        assert_eq!((first, again), (AckReception::Absorb, AckReception::Absorb));
        assert_eq!(log, [(0, Output::Send(BUSY)), (5100, Output::Gone)]);
    }

    #[test]
    fn on_a_stream_the_ack_of_a_refusal_ends_the_transaction_at_once() {
        let start = beginning();
        let mut transaction = server(start, Carriage::Stream);
        transaction.refuse(start, BUSY).unwrap();

        let reception = transaction.handle_ack(start);

        assert_eq!(reception, AckReception::Absorb);
        assert_eq!(run_until_idle(&mut transaction, start), [(0, Output::Send(BUSY)), (0, Output::Gone)]);
    }

    /// RFC 3261 §17.2.1: 100 within 200 ms unless the owner is faster.
    #[test]
    fn trying_is_sent_after_200_ms_of_silence_and_only_once() {
        let start = beginning();
        let mut transaction = server(start, Carriage::Datagram);

        let log = run_until_idle(&mut transaction, start);

        assert_eq!(log, [(200, Output::Send(TRYING))]);
        assert_eq!(transaction.poll_timeout(), None);
    }

    #[test]
    fn an_owner_who_answers_at_once_needs_no_trying() {
        let start = beginning();
        let mut transaction = server(start, Carriage::Datagram);
        transaction.ring(RINGING).unwrap();

        assert_eq!(run_until_idle(&mut transaction, start), [(0, Output::Send(RINGING))]);
    }

    #[test]
    fn a_repeated_invite_is_answered_with_the_latest_response() {
        let start = beginning();
        let mut transaction = server(start, Carriage::Datagram);

        transaction.handle_repetition();
        transaction.handle_repetition();
        transaction.ring(RINGING).unwrap();
        transaction.handle_repetition();
        transaction.refuse(start, BUSY).unwrap();
        transaction.handle_repetition();

        let log = run_until(&mut transaction, start, ms(0));
        let sent: Vec<_> = log.into_iter().map(|(_, output)| output).collect();
        let expected = [TRYING, TRYING, RINGING, RINGING, BUSY, BUSY].map(Output::Send);
        assert_eq!(sent, expected);
    }

    /// RFC 6026 §7.1: timer L, on any transport; the 2xx itself is the dialog's to repeat.
    #[test]
    fn after_a_2xx_invites_are_absorbed_and_acks_handed_up_for_32_seconds() {
        for carriage in [Carriage::Datagram, Carriage::Stream] {
            let start = beginning();
            let mut transaction = server(start, carriage);
            transaction.accept(start, OK).unwrap();

            transaction.handle_repetition();
            let ack = transaction.handle_ack(start + ms(100));
            let log = run_until_idle(&mut transaction, start);

            assert_eq!(ack, AckReception::Deliver);
            assert_eq!(log, [(0, Output::Send(OK)), (32000, Output::Gone)]);
        }
    }

    #[test]
    fn only_one_final_response_is_ever_sent() {
        let start = beginning();
        let mut accepted = server(start, Carriage::Datagram);
        let mut refused = server(start, Carriage::Datagram);
        accepted.accept(start, OK).unwrap();
        refused.refuse(start, BUSY).unwrap();

        assert_eq!(accepted.refuse(start, BUSY), Err(AlreadyAnswered));
        assert_eq!(accepted.ring(RINGING), Err(AlreadyAnswered));
        assert_eq!(refused.accept(start, OK), Err(AlreadyAnswered));
        assert_eq!(refused.refuse(start, BUSY), Err(AlreadyAnswered));
        assert!(!accepted.is_pending() && !refused.is_pending());
    }

    #[test]
    fn an_ack_before_any_final_response_is_nobodys() {
        let start = beginning();
        let mut transaction = server(start, Carriage::Datagram);

        assert_eq!(transaction.handle_ack(start), AckReception::Absorb);
        assert!(transaction.is_pending());
    }

    fn server(start: Instant, carriage: Carriage) -> InviteServer {
        InviteServer::new(start, carriage, Timers::default(), TRYING)
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }
}
