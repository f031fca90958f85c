//! The DTLS handshakes of legs: their datagrams go out from the RTP socket.

use std::time::Instant;

use super::super::call::Call;
use super::Shared;
use crate::call::LegId;

impl Shared {
    /// Sends what a leg's handshake has to say; nothing for a leg that has none.
    pub(super) fn shake(&mut self, now: Instant, call: &mut Call, leg: LegId) {
        let Some(place) = call.legs.iter().position(|known| known.id == leg) else { return };
        while let Some((length, to)) = call.voice.next_handshake(now, leg, &mut self.datagram[..]) {
            let outcome = call.legs[place].sockets.rtp.send_to(&self.datagram[..length], to);
            self.tally.send_errors += u64::from(outcome.is_err());
        }
    }
}
