//! What a worker counts while it works: plain numbers of its own, published once a second.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use super::relay::Relayed;

/// Counters since the worker began. They only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Frames given to engines.
    pub frames_to_engine: u64,
    /// Frames not given to an engine because it did not read.
    pub frames_to_engine_dropped: u64,
    /// Frames that an engine which had lost its socket heard late, most of them a second time.
    pub frames_replayed: u64,
    /// Frames and messages that were too old to be kept for such an engine.
    pub replay_lost: u64,
    /// How often a caller spoke while an engine did.
    pub barge_ins: u64,
    /// How often an engine that was held for it did nothing until it was too late.
    pub holds_expired: u64,
    /// Frames that were guessed in the place of lost packets.
    pub frames_concealed: u64,
    /// RTP packets sent to legs.
    pub packets_to_leg: u64,
    /// Datagrams from legs that were not used.
    pub datagrams_discarded: u64,
    /// Those of them that were no SRTP of the peer.
    pub datagrams_forged: u64,
    /// DTLS handshakes that came to keys.
    pub handshakes: u64,
    /// How often it was told that one did not.
    pub handshakes_failed: u64,
    /// Datagrams that came before the keys they needed.
    pub datagrams_unkeyed: u64,
    /// Datagrams that the system did not take.
    pub send_errors: u64,
    /// Messages of engines that could not be understood.
    pub engine_mistakes: u64,
    /// Audio messages of engines that did not fit the play-out.
    pub playout_full: u64,
    /// Keys that came in a second way and were not told again.
    pub keys_twice: u64,
    /// Samples of one leg that came too late for another one that hears it.
    pub relay_late: u64,
    /// Samples guessed for another leg, since nothing was there.
    pub relay_concealed: u64,
    /// Samples added or taken off on the way to another leg.
    pub relay_stretched: u64,
    /// Digits that could not be told, because their call's owner does not listen.
    pub facts_dropped: u64,
    /// Orders for calls that are closed already.
    pub stray_orders: u64,
    /// Beats that came more than half a beat late.
    pub late_beats: u64,
    /// Beats that were left out.
    pub missed_beats: u64,
    /// Audio and messages on such a socket for calls that are no longer on it.
    pub stray_records: u64,
    /// Calls ended by a fault of our own.
    pub panics: u64,
}

impl Tally {
    /// A beat of legs that hear legs.
    pub(super) fn count_relayed(&mut self, relayed: Relayed) {
        self.relay_concealed += relayed.concealed;
        self.relay_stretched += relayed.stretched;
    }

    /// A datagram from a leg was not used.
    pub fn count_discarded(&mut self, why: media::Discard) {
        self.datagrams_discarded += 1;
        self.datagrams_forged += u64::from(why == media::Discard::Forged);
        self.datagrams_unkeyed += u64::from(why == media::Discard::Unkeyed);
    }
}
