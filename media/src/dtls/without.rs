//! In place of the handshake where it is not built in: since there is no identity, there never is an association.

use std::net::SocketAddr;
use std::time::Instant;

use super::{DtlsTerms, Outcome};
use crate::Discard;

/// Never made.
#[derive(Debug)]
pub(crate) enum Association {}

impl Association {
    pub(crate) fn new(_now: Instant, _terms: DtlsTerms) -> Option<Self> {
        None
    }

    pub(crate) fn extend(&mut self, _now: Instant) {
        match *self {}
    }

    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match *self {}
    }

    pub(crate) fn handle(
        &mut self,
        _now: Instant,
        _from: SocketAddr,
        _signalled: SocketAddr,
        _destination: SocketAddr,
        _datagram: &[u8],
    ) -> Result<(), Discard> {
        match *self {}
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match *self {}
    }

    pub(crate) fn handle_timeout(&mut self, _now: Instant) {
        match *self {}
    }

    pub(crate) fn next_datagram(&mut self, _buffer: &mut [u8]) -> Option<usize> {
        match *self {}
    }

    pub(crate) fn next_outcome(&mut self) -> Option<Outcome> {
        match *self {}
    }
}
