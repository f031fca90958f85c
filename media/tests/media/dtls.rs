//! Keys of SRTP from a DTLS handshake: who shakes hands with whom by the descriptions (RFC 5763 §5, RFC 8842), and the
//! handshake itself between two legs of ours over a network that loses and reorders, in virtual time.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::{Rtp, facts, frames, ms, start};
use media::{
    Codec, Direction, Discard, DtlsIdentity, DtlsRole, Fingerprint, HANDSHAKE_MAX, HANDSHAKE_PATIENCE,
    LocalMedia, Negotiated, Negotiator, PACKET_MAX, REPORT_MAX, SdpError, Session, SessionConfig,
    SessionFact, SrtpKeying, SrtpPolicy, SrtpSuite, Transport, Unsecured,
};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

#[test]
fn an_offered_handshake_is_answered_with_our_part_in_it() {
    for (offered, answered, role) in [
        ("a=setup:actpass\r\n", "active", DtlsRole::Client),
        ("a=setup:passive\r\n", "active", DtlsRole::Client),
        ("a=setup:active\r\n", "passive", DtlsRole::Server),
        ("", "passive", DtlsRole::Server),
    ] {
        for proto in ["UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF", "RTP/SAVP", "RTP/SAVPF", "RTP/AVP"] {
            let identity = identity();
            let mut us = negotiator(1, SrtpPolicy::Prefer, SrtpKeying::Sdes, &identity);

            let (agreed, answer) = us.handle_offer(&description(proto, offered)).unwrap();

            let answer = text(&answer);
            assert!(answer.contains(&format!("m=audio 30001 {proto} 0\r\n")), "{answer}");
            assert!(answer.contains(&format!("a=setup:{answered}\r\n")), "{offered}: {answer}");
            assert!(answer.contains(&format!("a=fingerprint:{}\r\n", identity.fingerprint())), "{answer}");
            assert!(!answer.contains("a=crypto"), "{answer}");
            let terms = agreed.dtls.unwrap();
            assert_eq!((terms.role, agreed.srtp), (role, None));
            assert!(terms.is_of(b"peer") && !terms.is_of(b"stranger"));
        }
    }
}

#[test]
fn what_cannot_be_shaken_hands_with_is_refused_with_its_warning() {
    let weak = "a=setup:actpass\r\na=fingerprint:sha-1 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB\r\n";
    let held = format!("a=setup:holdconn\r\na=fingerprint:{}\r\n", Fingerprint::of(b"peer"));
    let whole = format!("a=setup:actpass\r\na=fingerprint:{}\r\n", Fingerprint::of(b"peer"));
    let refused = SdpError::Transport(Transport::DtlsSrtp);
    for (policy, lines, error) in [
        (SrtpPolicy::Prefer, weak, SdpError::NoHandshake),
        (SrtpPolicy::Prefer, "a=setup:actpass\r\n", SdpError::NoHandshake),
        (SrtpPolicy::Require, held.as_str(), SdpError::NoHandshake),
        (SrtpPolicy::Off, whole.as_str(), refused),
    ] {
        let mut us = negotiator(1, policy, SrtpKeying::Dtls, &identity());

        let outcome = us.handle_offer(&plain_description("UDP/TLS/RTP/SAVP", lines)).unwrap_err();

        assert_eq!((outcome, outcome.warning_code()), (error, 302), "{lines}");
    }
    let mut without = Negotiator::new(local(1), 1);
    without.protect(SrtpPolicy::Require, Vec::new());
    assert_eq!(without.handle_offer(&description("UDP/TLS/RTP/SAVP", "")).unwrap_err(), refused);
}

#[test]
fn our_offer_leaves_the_part_to_the_answer() {
    for (policy, proto) in [(SrtpPolicy::Require, "UDP/TLS/RTP/SAVP"), (SrtpPolicy::Prefer, "RTP/AVP")] {
        for (answered, role) in [("active", DtlsRole::Server), ("passive", DtlsRole::Client)] {
            let mut us = negotiator(1, policy, SrtpKeying::Dtls, &identity());

            let offer = text(&us.offer(Direction::SendRecv));
            let answer = description(proto, &format!("a=setup:{answered}\r\na=rtcp-mux\r\n"));
            let agreed = us.handle_answer(&answer).unwrap();

            assert!(offer.contains(&format!("m=audio 30001 {proto} 0")), "{offer}");
            assert!(offer.contains("a=setup:actpass\r\n") && offer.contains("a=rtcp-mux\r\n"), "{offer}");
            assert!(!offer.contains("a=crypto"), "{offer}");
            assert_eq!((agreed.dtls.map(|terms| terms.role), agreed.rtcp_mux), (Some(role), true));
        }
    }
}

#[test]
fn an_answer_without_a_handshake_leaves_the_call_in_clear_or_is_refused() {
    let plain = plain_description("RTP/AVP", "");
    let mut may = negotiator(1, SrtpPolicy::Prefer, SrtpKeying::Dtls, &identity());
    may.offer(Direction::SendRecv);
    let mut must = negotiator(1, SrtpPolicy::Require, SrtpKeying::Dtls, &identity());
    must.offer(Direction::SendRecv);

    let agreed = may.handle_answer(&plain).unwrap();

    assert_eq!((agreed.dtls, agreed.srtp), (None, None));
    assert_eq!(must.handle_answer(&plain), Err(SdpError::SrtpRequired));
    let bare = plain_description("UDP/TLS/RTP/SAVP", "");
    assert_eq!(must.handle_answer(&bare), Err(SdpError::NoHandshake));
}

/// RFC 8842 §4: the same certificate in the same part goes on, whatever else is agreed anew.
#[test]
fn the_association_stays_while_certificate_and_parts_do() {
    let mut us = negotiator(1, SrtpPolicy::Require, SrtpKeying::Dtls, &identity());
    let active = description("UDP/TLS/RTP/SAVP", "a=setup:active\r\n");
    let again = description("UDP/TLS/RTP/SAVP", "a=setup:actpass\r\na=sendonly\r\n");
    let other = plain_description(
        "UDP/TLS/RTP/SAVP",
        &format!("a=setup:active\r\na=fingerprint:{}\r\n", Fingerprint::of(b"another")),
    );

    let (first, _) = us.handle_offer(&active).unwrap();
    let (second, answer) = us.handle_offer(&again).unwrap();
    let (third, _) = us.handle_offer(&other).unwrap();

    assert_eq!(first.dtls, second.dtls);
    assert!(text(&answer).contains("a=setup:passive\r\n"));
    assert_ne!(second.dtls, third.dtls);
}

#[test]
fn two_legs_come_to_keys_by_every_part_and_hear_each_other() {
    for caller_begins in [false, true] {
        let mut line = Line::of(Setting { caller_begins, ..Setting::default() });

        let took = line.until_secured(ms(2_000));

        assert!(took <= ms(500), "{took:?}");
        assert_eq!(line.suites(), [Some(SrtpSuite::AeadAes256Gcm); 2]);
        line.hear_each_other();
        line.report_to_each_other();
    }
}

#[test]
fn a_network_that_loses_a_fifth_and_reorders_only_delays_the_keys() {
    for seed in 0..20 {
        let mut line = Line::of(Setting {
            seed,
            caller_begins: seed % 2 == 0,
            loss: 0.2,
            shuffle: ms(30),
            ..Setting::default()
        });

        let took = line.until_secured(HANDSHAKE_PATIENCE);

        assert!(took < HANDSHAKE_PATIENCE, "seed {seed}");
        line.network.loss = 0.0;
        line.hear_each_other();
    }
}

#[test]
fn nothing_goes_out_in_clear_and_nothing_comes_in_before_the_keys() {
    let mut line = Line::of(Setting { loss: 1.0, ..Setting::default() });
    let mut buffer = [0; REPORT_MAX];

    line.run(ms(1_000));

    for leg in &mut line.legs {
        assert_eq!(leg.session.next_packet(line.now, &mut [0; PACKET_MAX]), None);
        assert_eq!(leg.session.farewell(line.now, &mut buffer), None);
        let early = leg.session.handle_rtp(line.now, leg.peer, &Rtp::nth(0).bytes());
        assert_eq!(early, Err(Discard::Unkeyed));
        let report = [0x80, 201, 0, 1, 0, 0, 0, 9];
        assert_eq!(leg.session.handle_rtp(line.now, leg.peer, &report), Err(Discard::Unkeyed));
        assert_eq!(leg.session.statistics(line.now).discarded.unkeyed, 2);
        assert_eq!(leg.sent_media, 0);
    }
}

#[test]
fn a_handshake_without_an_answer_is_told_once_a_second_when_its_time_is_over() {
    let mut line = Line::of(Setting { loss: 1.0, ..Setting::default() });

    line.run(HANDSHAKE_PATIENCE - ms(50));
    assert_eq!(line.told(), [vec![], vec![]]);
    line.run(ms(2_500));

    let late = SessionFact::NotSecured(Unsecured::TimedOut);
    assert_eq!(line.told(), [vec![late; 3], vec![late; 3]]);
    line.network.loss = 0.0;
    line.until_secured(ms(3_000));
    line.hear_each_other();
}

#[test]
fn a_session_without_keys_asks_to_be_woken_when_that_must_be_told() {
    let mut line = Line::of(Setting { loss: 1.0, ..Setting::default() });
    let session = &mut line.legs[0].session;
    let due = line.now + HANDSHAKE_PATIENCE;

    assert_eq!(session.poll_timeout(), Some(due));
    session.handle_timeout(due);

    assert_eq!(facts(session), [SessionFact::NotSecured(Unsecured::TimedOut)]);
    assert!(session.poll_timeout().is_some_and(|next| next > due));
}

#[test]
fn another_certificate_than_the_one_that_was_signalled_comes_to_no_keys() {
    for caller_begins in [false, true] {
        let mut line = Line::of(Setting { caller_begins, impostor: true, ..Setting::default() });

        line.run(ms(3_000));

        let told = line.told();
        assert_eq!(told[0], [SessionFact::NotSecured(Unsecured::Fingerprint)], "begins: {caller_begins}");
        assert_eq!(line.legs.iter().map(|leg| leg.sent_media).collect::<Vec<_>>()[0], 0);
    }
}

#[test]
fn garbage_strangers_and_a_flood_delay_no_handshake_and_end_no_call() {
    let mut line = Line::of(Setting { loss: 1.0, ..Setting::default() });
    let stranger: SocketAddr = "203.0.113.9:9".parse().unwrap();
    line.run(ms(100));
    line.network.loss = 0.0;
    let mut chance = SmallRng::seed_from_u64(5);

    for round in 0..100_u32 {
        let mut garbage = vec![0; chance.random_range(1..200)];
        chance.fill(&mut garbage[..]);
        garbage[0] = 20 + (round % 44) as u8;
        for leg in &mut line.legs {
            let _ = leg.session.handle_rtp(line.now, leg.peer, &garbage);
            let _ = leg.session.handle_rtp(line.now, stranger, &garbage);
        }
    }
    line.until_secured(ms(5_000));
    line.hear_each_other();

    // Afterwards neither a forged end nor a flood of first words does anything.
    let alert = [21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 99, 0, 2, 2, 40];
    for _ in 0..1_000 {
        for leg in &mut line.legs {
            let _ = leg.session.handle_rtp(line.now, leg.peer, &alert);
        }
    }
    line.run(ms(100));
    assert_eq!(line.told(), [vec![], vec![]]);
    line.hear_each_other();
}

/// The port is open before the peer has spoken: whoever finds it can be faster.
#[test]
fn strangers_who_are_faster_than_the_peer_end_no_call() {
    let alert = vec![21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 2, 40];
    let closed = vec![21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 1, 0];
    let first_word = vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for datagram in [alert, closed, first_word] {
        for caller_begins in [false, true] {
            let mut line = Line::of(Setting { caller_begins, loss: 1.0, ..Setting::default() });
            line.run(ms(100));
            line.network.loss = 0.0;

            for stranger in ["203.0.113.9:9", "203.0.113.10:9"] {
                for _ in 0..300 {
                    for leg in &mut line.legs {
                        let _ = leg.session.handle_rtp(line.now, stranger.parse().unwrap(), &datagram);
                    }
                }
            }

            line.until_secured(ms(5_000));
            line.hear_each_other();
        }
    }
}

#[test]
fn forged_packets_are_counted_as_with_any_keys() {
    let mut line = Line::of(Setting::default());
    line.until_secured(ms(2_000));
    let before = line.legs[0].session.statistics(line.now).discarded.forged;

    let mut forged = Rtp::nth(9).bytes();
    forged.extend([7; 16]);
    let leg = &mut line.legs[0];
    assert_eq!(leg.session.handle_rtp(line.now, leg.peer, &forged), Err(Discard::Forged));

    assert_eq!(leg.session.statistics(line.now).discarded.forged, before + 1);
    line.hear_each_other();
}

#[test]
fn what_is_agreed_anew_on_the_same_terms_keeps_the_keys_and_on_others_gets_new_ones() {
    let mut line = Line::of(Setting::default());
    line.until_secured(ms(2_000));
    line.hear_each_other();

    let same = line.legs.iter().map(|leg| leg.agreed.clone()).collect::<Vec<_>>();
    for (leg, agreed) in line.legs.iter_mut().zip(&same) {
        leg.session.renegotiate(line.now, agreed);
    }
    line.run(ms(500));
    assert_eq!(line.told(), [vec![], vec![]], "no handshake");
    line.hear_each_other();

    let (caller, called) = agreed(&Setting::default());
    for (leg, agreed) in line.legs.iter_mut().zip([caller, called]) {
        leg.session.renegotiate(line.now, &agreed);
    }
    line.until_secured(ms(2_000));
    line.hear_each_other();
}

#[test]
fn a_peer_behind_a_nat_is_answered_where_it_speaks_from() {
    let mut line = Line::of(Setting { caller_begins: true, ..Setting::default() });
    let outside: SocketAddr = "203.0.113.77:40000".parse().unwrap();
    line.network.behind_nat = Some(outside);

    line.until_secured(ms(2_000));

    line.hear_each_other();
}

/// Two legs and the network between them.
struct Line {
    legs: [Leg; 2],
    network: Network,
    now: Instant,
}

struct Leg {
    session: Session,
    agreed: Negotiated,
    peer: SocketAddr,
    suite: Option<SrtpSuite>,
    told: Vec<SessionFact>,
    heard: usize,
    sent_media: usize,
}

struct Network {
    chance: SmallRng,
    loss: f64,
    shuffle: Duration,
    /// Which leg gets it, when, from where.
    under_way: Vec<(Instant, usize, SocketAddr, Vec<u8>)>,
    /// Where the caller's datagrams seem to come from.
    behind_nat: Option<SocketAddr>,
}

#[derive(Default)]
struct Setting {
    seed: u64,
    loss: f64,
    shuffle: Duration,
    /// The called side leaves the first word to the caller.
    caller_begins: bool,
    /// Who shakes hands is not who has answered.
    impostor: bool,
}

impl Line {
    fn of(setting: Setting) -> Self {
        let now = start();
        let (caller, called) = agreed(&setting);
        let leg = |agreed: Negotiated, seed| {
            let session = Session::new(now, &agreed, SessionConfig::from_seed(seed));
            let peer = agreed.rtp;
            Leg { session, agreed, peer, suite: None, told: Vec::new(), heard: 0, sent_media: 0 }
        };
        let network = Network {
            chance: SmallRng::seed_from_u64(setting.seed),
            loss: setting.loss,
            shuffle: setting.shuffle,
            under_way: Vec::new(),
            behind_nat: None,
        };
        Self { legs: [leg(caller, 1), leg(called, 2)], network, now }
    }

    fn run(&mut self, long: Duration) {
        let end = self.now + long;
        let mut beat = self.now;
        while self.now < end {
            if beat <= self.now {
                beat += ms(20);
                self.beat();
            }
            self.carry();
            self.now += ms(5);
        }
    }

    /// How long it took.
    fn until_secured(&mut self, patience: Duration) -> Duration {
        let began = self.now;
        for leg in &mut self.legs {
            leg.suite = None;
        }
        while self.legs.iter().any(|leg| leg.suite.is_none()) {
            assert!(self.now - began < patience, "{:?}", self.told());
            self.run(ms(20));
        }
        self.now - began
    }

    fn suites(&self) -> [Option<SrtpSuite>; 2] {
        [self.legs[0].suite, self.legs[1].suite]
    }

    /// What was told beside the keys, since it was asked last.
    fn told(&mut self) -> [Vec<SessionFact>; 2] {
        [std::mem::take(&mut self.legs[0].told), std::mem::take(&mut self.legs[1].told)]
    }

    fn hear_each_other(&mut self) {
        let before = [self.legs[0].heard, self.legs[1].heard];
        self.run(ms(400));
        for (leg, before) in self.legs.iter().zip(before) {
            assert!(leg.heard >= before + 15, "{} frames", leg.heard - before);
        }
    }

    fn report_to_each_other(&mut self) {
        let mut buffer = [0; REPORT_MAX];
        for (from, to) in [(0, 1), (1, 0)] {
            let (length, _) = self.legs[from].session.farewell(self.now, &mut buffer).unwrap();
            let source = self.legs[to].peer;
            self.legs[to].session.handle_rtp(self.now, source, &buffer[..length]).unwrap();
            assert!(facts(&mut self.legs[to].session).contains(&SessionFact::Bye));
        }
    }

    fn beat(&mut self) {
        for place in 0..2 {
            let mut buffer = [0; PACKET_MAX];
            let leg = &mut self.legs[place];
            let packet = leg.session.next_packet(self.now, &mut buffer);
            if let Some((length, _)) = packet {
                leg.sent_media += 1;
                self.network.send(self.now, place, &self.legs[1 - place], &buffer[..length]);
            }
            self.shake(place);
        }
    }

    fn shake(&mut self, place: usize) {
        let mut buffer = [0; HANDSHAKE_MAX];
        while let Some((length, _)) = self.legs[place].session.next_handshake(self.now, &mut buffer) {
            self.network.send(self.now, place, &self.legs[1 - place], &buffer[..length]);
        }
        self.legs[place].hear();
    }

    fn carry(&mut self) {
        while let Some(next) = self.network.under_way.iter().position(|(at, ..)| *at <= self.now) {
            let (_, place, from, datagram) = self.network.under_way.remove(next);
            let leg = &mut self.legs[place];
            let _ = leg.session.handle_rtp(self.now, from, &datagram);
            leg.heard += frames(&mut leg.session, self.now).len();
            self.shake(place);
        }
    }
}

impl Leg {
    fn hear(&mut self) {
        for fact in facts(&mut self.session) {
            match fact {
                SessionFact::Secured { suite } => self.suite = Some(suite),
                SessionFact::NotSecured(_) => self.told.push(fact),
                SessionFact::FirstPacket { .. }
                | SessionFact::SourceChanged { .. }
                | SessionFact::StreamChanged { .. }
                | SessionFact::Inactive
                | SessionFact::Bye => {}
            }
        }
    }
}

impl Network {
    fn send(&mut self, now: Instant, from: usize, to: &Leg, datagram: &[u8]) {
        if self.chance.random_bool(self.loss) {
            return;
        }
        let delay = ms(5) + self.shuffle.mul_f64(self.chance.random());
        let source = self.behind_nat.filter(|_| from == 0).unwrap_or(to.peer);
        self.under_way.push((now + delay, 1 - from, source, datagram.to_vec()));
    }
}

/// What a caller and who is called agree on, each with a certificate of its own.
fn agreed(setting: &Setting) -> (Negotiated, Negotiated) {
    let mut caller = negotiator(1, SrtpPolicy::Require, SrtpKeying::Dtls, &identity());
    let signalled = identity();
    let mut called = negotiator(2, SrtpPolicy::Prefer, SrtpKeying::Sdes, &signalled);
    let mut offer = text(&caller.offer(Direction::SendRecv));
    if setting.caller_begins {
        offer = offer.replace("setup:actpass", "setup:active");
    }
    let (mut theirs, answer) = called.handle_offer(offer.as_bytes()).unwrap();
    let ours = caller.handle_answer(&answer).unwrap();
    if let Some(terms) = theirs.dtls.as_mut().filter(|_| setting.impostor) {
        terms.identity = identity();
    }
    (ours, theirs)
}

fn negotiator(
    number: u16,
    policy: SrtpPolicy,
    keying: SrtpKeying,
    identity: &Arc<DtlsIdentity>,
) -> Negotiator {
    let mut negotiator = Negotiator::new(local(number), number.into());
    negotiator.protect(policy, Vec::new());
    negotiator.shake_hands(identity.clone(), keying);
    negotiator
}

fn local(number: u16) -> LocalMedia {
    LocalMedia {
        address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, number as u8)),
        port: 30_000 + number,
        codecs: vec![Codec::Pcmu],
        telephone_event: false,
        ptime_ms: 20,
    }
}

fn identity() -> Arc<DtlsIdentity> {
    DtlsIdentity::generate().unwrap()
}

/// With the fingerprint of the certificate `peer`.
fn description(proto: &str, attributes: &str) -> Vec<u8> {
    plain_description(proto, &format!("{attributes}a=fingerprint:{}\r\n", Fingerprint::of(b"peer")))
}

fn plain_description(proto: &str, attributes: &str) -> Vec<u8> {
    format!(
        "v=0\r\no=alice 1 1 IN IP4 198.51.100.9\r\ns=-\r\nc=IN IP4 198.51.100.9\r\nt=0 0\r\n\
         m=audio 4000 {proto} 0\r\n{attributes}"
    )
    .into_bytes()
}

fn text(body: &[u8]) -> String {
    String::from_utf8(body.to_vec()).unwrap()
}
