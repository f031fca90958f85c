//! Who the peer's packets come from, and where ours go: symmetric RTP (RFC 4961) with a pinned source.
//!
//! ```text
//!               from the SDP's address
//!   [Waiting] ----------------------------------------------> [Pinned]
//!       |  from elsewhere                                      ^  |
//!       +----------------> [Learning] -- 5 packets and the ----+  | silent for `silence`:
//!                            ^  |  |     window are over,      |  | the next one from elsewhere
//!                            |  |  +---- or the SDP's address -+  |
//!                            |  +- silent for the window: the     |
//!                            +---- next one from elsewhere <------+
//! ```
//!
//! Against hijacking: only packets that parse and carry a negotiated payload type get this far. The address
//! of the SDP always wins while we learn, so a stranger's early packet does not keep the peer out; a single
//! stray packet never pins. Once pinned, other sources are refused as long as the pinned one speaks. After a
//! renegotiation that moved the peer, its former source is refused for `silence`, so that a stream that has not
//! stopped yet is not learned again. An attacker on the path is SRTP's business.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Packets after which an address other than the SDP's is believed.
const ENOUGH: u8 = 5;

/// How long a former source is refused where sources never move by themselves.
const FORMER: Duration = Duration::from_secs(2);

/// The peer's source.
#[derive(Debug)]
pub(super) struct Source {
    signalled: SocketAddr,
    state: State,
    /// The last accepted packet.
    heard: Option<Instant>,
    former: Option<(SocketAddr, Instant)>,
    learning: Duration,
    silence: Option<Duration>,
}

/// The head draws it.
#[derive(Debug, Clone, Copy)]
enum State {
    Waiting,
    Learning { from: SocketAddr, since: Instant, packets: u8 },
    Pinned { from: SocketAddr },
}

/// What is to be done with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The first one that is accepted.
    First,
    /// From where it should.
    Accept,
    /// From elsewhere than before, where we send from now on too.
    Moved,
    /// Not the peer's.
    Refuse,
}

impl Source {
    pub(super) fn new(signalled: SocketAddr, learning: Duration, silence: Option<Duration>) -> Self {
        Self { signalled, state: State::Waiting, heard: None, former: None, learning, silence }
    }

    /// Where our packets go: the address learned, else the SDP's.
    pub(super) fn destination(&self) -> SocketAddr {
        match self.state {
            State::Waiting => self.signalled,
            State::Learning { from, .. } | State::Pinned { from } => from,
        }
    }

    /// Where a packet was accepted from last, if ever.
    pub(super) fn learned(&self) -> Option<SocketAddr> {
        match self.state {
            State::Waiting => None,
            State::Learning { from, .. } | State::Pinned { from } => Some(from),
        }
    }

    /// Decides about a valid packet.
    pub(super) fn judge(&mut self, now: Instant, from: SocketAddr) -> Verdict {
        let verdict = match self.state {
            State::Waiting if self.is_former(now, from) => Verdict::Refuse,
            State::Waiting => {
                self.follow(now, from);
                if self.heard.is_none() { Verdict::First } else { Verdict::Moved }
            }
            State::Learning { from: candidate, since, packets } if same(from, candidate) => {
                let packets = packets.saturating_add(1);
                let over = packets >= ENOUGH && now.saturating_duration_since(since) >= self.learning;
                self.state = if over {
                    State::Pinned { from }
                } else {
                    State::Learning { from: candidate, since, packets }
                };
                Verdict::Accept
            }
            State::Learning { .. } if same(from, self.signalled) || self.silent_for(now, self.learning) => {
                self.follow(now, from);
                Verdict::Moved
            }
            State::Pinned { from: pinned } if same(from, pinned) => Verdict::Accept,
            State::Pinned { .. } if self.silence.is_some_and(|silence| self.silent_for(now, silence)) => {
                self.follow(now, from);
                Verdict::Moved
            }
            State::Learning { .. } | State::Pinned { .. } => Verdict::Refuse,
        };
        if verdict != Verdict::Refuse {
            self.heard = Some(now);
        }
        verdict
    }

    /// The SDP names an address again. An address of zeros (hold) is none: what was learned stays.
    pub(super) fn renegotiate(&mut self, now: Instant, signalled: SocketAddr) {
        if signalled.ip().is_unspecified() || same(signalled, self.signalled) {
            return;
        }
        self.signalled = signalled;
        let refused = self.silence.unwrap_or(FORMER);
        self.former = self.learned().filter(|from| !same(*from, signalled)).map(|from| (from, now + refused));
        self.state = match self.learned() {
            Some(from) if same(from, signalled) => State::Pinned { from },
            Some(_) | None => State::Waiting,
        };
    }

    fn follow(&mut self, now: Instant, from: SocketAddr) {
        self.state = if same(from, self.signalled) {
            State::Pinned { from }
        } else {
            State::Learning { from, since: now, packets: 1 }
        };
    }

    fn silent_for(&self, now: Instant, patience: Duration) -> bool {
        self.heard.is_none_or(|heard| now.saturating_duration_since(heard) >= patience)
    }

    fn is_former(&self, now: Instant, from: SocketAddr) -> bool {
        self.former.is_some_and(|(former, until)| same(former, from) && now < until)
    }
}

/// Scope and flow of IPv6 are no part of who somebody is, and a v4 peer on a v6 socket is still v4.
pub(crate) fn same(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() == other.port() && one.ip().to_canonical() == other.ip().to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_millis(250);
    const SILENCE: Duration = Duration::from_secs(2);

    #[test]
    fn the_address_of_the_sdp_is_pinned_at_once() {
        let (start, mut source) = source();

        assert_eq!(source.judge(start, sdp()), Verdict::First);

        assert_eq!(source.judge(start, nat()), Verdict::Refuse);
        assert_eq!(source.destination(), sdp());
    }

    #[test]
    fn a_peer_behind_nat_is_answered_where_it_sends_from() {
        let (start, mut source) = source();
        assert_eq!(source.destination(), sdp());

        let verdicts: Vec<_> = (0..20).map(|beat| source.judge(start + ms(20 * beat), nat())).collect();

        assert_eq!((verdicts[0], &verdicts[1..]), (Verdict::First, &[Verdict::Accept; 19][..]));
        assert_eq!(source.destination(), nat());
        assert_eq!(source.judge(start + ms(400), sdp()), Verdict::Refuse, "the window is over");
    }

    #[test]
    fn within_the_window_the_address_of_the_sdp_wins() {
        let (start, mut source) = source();
        source.judge(start, nat());

        assert_eq!(source.judge(start + ms(200), sdp()), Verdict::Moved);

        assert_eq!(source.judge(start + ms(210), nat()), Verdict::Refuse);
    }

    #[test]
    fn one_stray_packet_never_pins() {
        let (start, mut source) = source();
        source.judge(start, stranger());

        assert_eq!(source.judge(start + ms(100), nat()), Verdict::Refuse);
        assert_eq!(source.judge(start + ms(250), nat()), Verdict::Moved);

        assert_eq!(source.destination(), nat());
    }

    #[test]
    fn while_the_pinned_source_speaks_nobody_takes_its_place() {
        let (start, mut source) = source();
        source.judge(start, sdp());

        for beat in 1..1_000 {
            assert_eq!(source.judge(start + ms(20 * beat), stranger()), Verdict::Refuse);
            assert_eq!(source.judge(start + ms(20 * beat), sdp()), Verdict::Accept);
        }
    }

    #[test]
    fn after_its_silence_another_may_take_its_place_if_configured() {
        let (start, mut moving) = source();
        let mut fixed = Source::new(sdp(), WINDOW, None);
        for source in [&mut moving, &mut fixed] {
            source.judge(start, sdp());
            assert_eq!(source.judge(start + ms(1_999), nat()), Verdict::Refuse);
        }

        assert_eq!(moving.judge(start + ms(2_000), nat()), Verdict::Moved);
        assert_eq!(fixed.judge(start + ms(9_000), nat()), Verdict::Refuse);
    }

    #[test]
    fn a_renegotiated_address_is_learned_anew_and_the_former_one_is_not() {
        let (start, mut source) = source();
        source.judge(start, sdp());
        let other = "198.51.100.9:6000".parse().unwrap();
        source.renegotiate(start, other);

        assert_eq!(source.destination(), other);
        assert_eq!(source.judge(start + ms(20), sdp()), Verdict::Refuse, "it has not stopped yet");
        assert_eq!(source.judge(start + ms(40), nat()), Verdict::Moved);
    }

    #[test]
    fn hold_by_an_address_of_zeros_forgets_nothing() {
        let (start, mut source) = source();
        source.judge(start, nat());
        source.renegotiate(start, "0.0.0.0:4000".parse().unwrap());
        source.renegotiate(start, sdp());

        assert_eq!(source.destination(), nat());
    }

    fn source() -> (Instant, Source) {
        (start(), Source::new(sdp(), WINDOW, Some(SILENCE)))
    }

    #[expect(clippy::disallowed_methods, reason = "a test asks once, for its beginning")]
    fn start() -> Instant {
        Instant::now()
    }

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn sdp() -> SocketAddr {
        "192.0.2.1:4000".parse().unwrap()
    }

    fn nat() -> SocketAddr {
        "203.0.113.1:53211".parse().unwrap()
    }

    fn stranger() -> SocketAddr {
        "203.0.113.99:1".parse().unwrap()
    }
}
