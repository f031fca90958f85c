//! The DTLS handshake of a leg, between its RTP socket and the keys of its SRTP (RFC 5764 §5).
//!
//! ```text
//!   terms agreed --> waits for keys: nothing goes out but the handshake, what comes in is discarded
//!                         | secured
//!                         v
//!                    SRTP by these keys --> other terms: by these keys still, until the new ones are there
//! ```

use std::net::SocketAddr;
use std::time::Instant;

use super::protection::Protection;
use super::{Discard, Session, SessionFact, is_reachable};
use crate::Negotiated;
use crate::dtls::{Association, DtlsTerms, Outcome, Unsecured};

/// A handshake that was agreed on.
#[derive(Debug)]
pub(super) struct Handshake {
    terms: DtlsTerms,
    /// Nothing where it could not begin.
    association: Option<Box<Association>>,
    is_keyed: bool,
}

impl Handshake {
    fn new(now: Instant, terms: &DtlsTerms) -> Self {
        let association = Association::new(now, terms.clone()).map(Box::new);
        Self { terms: terms.clone(), association, is_keyed: false }
    }
}

impl Session {
    /// A datagram of the handshake, and where to. Ask after every datagram, every beat and after each agreement until there is
    /// nothing; it goes out from the RTP socket. `buffer` must hold [`crate::HANDSHAKE_MAX`] bytes.
    pub fn next_handshake(&mut self, now: Instant, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        let elsewhere = self.source.destination();
        self.handle_handshake_timeout(now);
        let association = self.handshake.as_mut()?.association.as_mut()?;
        let to = association.peer().unwrap_or(elsewhere);
        let length = association.next_datagram(buffer);
        length.filter(|_| is_reachable(to)).map(|length| (length, to))
    }

    /// When it is told that there are still no keys.
    pub(super) fn handshake_deadline(&self) -> Option<Instant> {
        self.handshake.as_ref()?.association.as_ref()?.deadline()
    }

    pub(super) fn handle_handshake_timeout(&mut self, now: Instant) {
        let association = self.handshake.as_mut().and_then(|handshake| handshake.association.as_mut());
        let Some(association) = association else { return };
        association.handle_timeout(now);
        self.hear_outcomes();
    }

    /// Keys are agreed on by these descriptions, or by the handshake that they tell of.
    pub(super) fn key(&mut self, now: Instant, negotiated: &Negotiated) {
        let Some(terms) = &negotiated.dtls else {
            self.handshake = None;
            match (&mut self.protection, negotiated.srtp) {
                (Some(protection), keys) => protection.renegotiate(keys),
                (none @ None, keys) => *none = keys.map(Protection::new),
            }
            return;
        };
        if let Some(known) = self.handshake.as_mut().filter(|known| known.terms == *terms) {
            if let Some(association) = &mut known.association {
                association.extend(now);
            }
            return;
        }
        let handshake = Handshake::new(now, terms);
        if handshake.association.is_none() {
            self.tell(SessionFact::NotSecured(Unsecured::Handshake));
        }
        self.handshake = Some(handshake);
    }

    /// Whether nothing may go out, nor count that comes in.
    pub(super) fn waits_for_keys(&self) -> bool {
        self.handshake.as_ref().is_some_and(|handshake| !handshake.is_keyed)
            && !self.protection.as_ref().is_some_and(Protection::is_on)
    }

    /// Whether RTCP has no keys at all: on a port of its own it would need a handshake of its own.
    pub(super) fn has_no_report_keys(&self) -> bool {
        self.waits_for_keys() || (self.handshake.is_some() && !self.rtcp_mux)
    }

    /// A datagram that is DTLS by its first byte.
    pub(super) fn shake(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Result<(), Discard> {
        let destination = self.source.destination();
        let signalled = self.signalled_rtp;
        let association = self.handshake.as_mut().and_then(|handshake| handshake.association.as_mut());
        let taken = association.ok_or(Discard::Dtls)?.handle(now, from, signalled, destination, datagram);
        self.hear_outcomes();
        taken
    }

    fn hear_outcomes(&mut self) {
        while let Some(handshake) = &mut self.handshake {
            let outcome = handshake.association.as_mut().and_then(|association| association.next_outcome());
            match outcome {
                None => return,
                Some(Outcome::Secured(keys)) => {
                    handshake.is_keyed = true;
                    self.protection = Some(Protection::new(keys));
                    self.tell(SessionFact::Secured { suite: keys.ours.suite() });
                }
                Some(Outcome::Unsecured(why)) => self.tell(SessionFact::NotSecured(why)),
            }
        }
    }
}
