//! From the peer's packets to the engine's frames.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::{self, Rtp, Seen, facts, frames, ms, start};
use media::{
    Alternate, Codec, Digit, Direction, Discard, DtmfDigit, Negotiated, Session, SessionConfig, SessionFact,
    g711,
};
use proptest::prelude::*;

#[test]
fn packets_in_order_pass_at_once_with_their_times() {
    let start = start();
    let mut session = session(start);

    for index in 0..10 {
        let now = start + ms(7 + 20 * u64::from(index));
        session.handle_rtp(now, peer(), &Rtp { marker: index == 0, ..Rtp::nth(index) }.bytes()).unwrap();
        let frame = session.next_frame(now).unwrap();

        assert_eq!(frame.payload, [index as u8; 160]);
        assert_eq!((frame.media_time, frame.capture), (160 * index, now - start));
        assert_eq!((frame.discontinuity, frame.marker), (false, index == 0));
        assert_eq!(session.next_frame(now), None);
    }
    assert_eq!(facts(&mut session), [SessionFact::FirstPacket { from: peer() }]);
}

#[test]
fn packets_that_overtook_each_other_are_put_in_order() {
    let start = start();
    let mut session = session(start);

    let seen = receive(&mut session, start, &[0, 2, 1, 3]);

    assert_eq!(seen, [(0, 0, false), (1, 160, false), (2, 320, false), (3, 480, false)]);
    let statistics = session.statistics(start);
    assert_eq!((statistics.reordered, statistics.lost, statistics.frames_up), (1, 0, 4));
}

#[test]
fn a_gap_waits_for_its_deadline_and_is_then_a_discontinuity() {
    let start = start();
    let mut session = session(start);
    assert_eq!(receive(&mut session, start, &[0, 2]), [(0, 0, false)]);
    let deadline = session.poll_timeout().unwrap();

    assert_eq!(deadline, start + ms(20), "twice a sixth of the longest wait, to begin with");
    session.handle_timeout(deadline);

    assert_eq!(frames(&mut session, deadline), [(2, 320, true)]);
    assert_eq!(session.handle_rtp(deadline, peer(), &Rtp::nth(1).bytes()), Err(Discard::Late));
    assert_eq!(session.handle_rtp(deadline, peer(), &Rtp::nth(2).bytes()), Err(Discard::Duplicate));
    let statistics = session.statistics(deadline);
    assert_eq!((statistics.late, statistics.duplicates), (1, 1));
}

#[test]
fn loss_is_told_in_percent() {
    let start = start();
    let mut session = session(start);
    for index in (0..1_000).filter(|index| index % 20 != 5) {
        let now = start + ms(20 * u64::from(index));
        session.handle_rtp(now, peer(), &Rtp::nth(index).bytes()).unwrap();
        frames(&mut session, now);
    }

    let statistics = session.statistics(start);

    assert_eq!((statistics.received, statistics.lost), (950, 50));
    assert!((statistics.loss_pct - 5.0).abs() < 0.01);
    assert!(statistics.jitter_ms < 0.1);
}

/// G.107 §3.5: 1 for random loss, the longer the runs the more.
#[test]
fn loss_in_runs_is_told_from_loss_at_random() {
    for (is_lost, expected) in [
        ((|index| index % 20 == 5) as fn(u32) -> bool, 0.95..=1.05),
        (|index| index % 60 < 3, 2.8..=3.0),
        (|_| false, 1.0..=1.0),
    ] {
        let start = start();
        let mut session = session(start);
        for index in (0..1_200).filter(|index| !is_lost(*index)) {
            let now = start + ms(20 * u64::from(index));
            session.handle_rtp(now, peer(), &Rtp::nth(index).bytes()).unwrap();
            frames(&mut session, now);
        }

        let ratio = session.statistics(start).burst_ratio;

        assert!(expected.contains(&ratio), "{ratio}, expected {expected:?}");
    }
}

#[test]
fn every_packet_time_up_to_60_ms_is_one_frame_and_more_is_refused() {
    for milliseconds in [10, 20, 30, 40, 60] {
        let start = start();
        let mut session = session(start);
        for index in 0..3 {
            let length = 8 * milliseconds;
            let packet = Rtp {
                timestamp: index * length as u32,
                payload: vec![index as u8; length],
                ..Rtp::nth(index)
            };
            session.handle_rtp(start, peer(), &packet.bytes()).unwrap();
            let frame = session.next_frame(start).unwrap();

            assert_eq!((frame.payload.len(), frame.media_time), (length, index * length as u32));
        }
    }

    let start = start();
    let mut session = session(start);
    let large = Rtp { payload: vec![0; 481], ..Rtp::nth(1) };
    session.handle_rtp(start, peer(), &Rtp::nth(0).bytes()).unwrap();
    assert_eq!(session.handle_rtp(start, peer(), &large.bytes()), Err(Discard::TooLarge));
    session.handle_rtp(start, peer(), &Rtp::nth(2).bytes()).unwrap();
    assert_eq!(frames(&mut session, start), [(0, 0, false), (2, 320, true)]);
}

#[test]
fn suppressed_silence_is_neither_loss_nor_a_break() {
    let start = start();
    let mut session = session(start);
    receive(&mut session, start, &[0]);
    let later = start + ms(4_000);
    let spurt = Rtp { timestamp: 32_000, marker: true, ..Rtp::nth(1) };

    session.handle_rtp(later, peer(), &spurt.bytes()).unwrap();

    assert_eq!(frames(&mut session, later), [(1, 32_000, false)]);
    assert_eq!(session.statistics(later).lost, 0);
}

#[test]
fn comfort_noise_and_keep_alives_are_no_audio_and_no_gap() {
    let start = start();
    let mut session = session(start);
    session.handle_rtp(start, peer(), &Rtp::nth(0).bytes()).unwrap();
    session
        .handle_rtp(start, peer(), &Rtp { payload_type: 13, payload: vec![60], ..Rtp::nth(1) }.bytes())
        .unwrap();
    session.handle_rtp(start, peer(), &Rtp { payload: Vec::new(), ..Rtp::nth(2) }.bytes()).unwrap();
    session.handle_rtp(start, peer(), &Rtp::nth(3).bytes()).unwrap();

    assert_eq!(frames(&mut session, start), [(0, 0, false), (3, 480, false)]);
}

#[test]
fn padding_extension_and_contributing_sources_are_not_audio() {
    let start = start();
    let mut session = session(start);
    let mut packet = Rtp { payload: Vec::new(), ..Rtp::nth(0) }.bytes();
    packet[0] = 0x80 | 0x20 | 0x10 | 2;
    packet.extend([1; 8]);
    packet.extend([0xBE, 0xDE, 0, 1, 9, 9, 9, 9]);
    packet.extend([7; 160]);
    packet.extend([0, 0, 3]);

    session.handle_rtp(start, peer(), &packet).unwrap();

    assert_eq!(session.next_frame(start).unwrap().payload, [7; 160]);
}

#[test]
fn what_is_not_the_peers_audio_is_told_apart_and_counted() {
    let start = start();
    let mut session = session(start);
    receive(&mut session, start, &[0]);
    let mut stun = vec![0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42];
    stun.resize(20, 0);
    let mut lying = Rtp::nth(1).bytes();
    lying[0] |= 0x0F;
    lying.truncate(40);
    let cases = [
        (vec![0x80], Discard::Malformed),
        (vec![0x80, 0, 0], Discard::Malformed),
        (lying, Discard::Malformed),
        (vec![b'I'; 300], Discard::NotRtp),
        (stun, Discard::Stun),
        (vec![22, 254, 255, 0], Discard::Dtls),
        (vec![0x80, 200, 0, 0], Discard::WrongPort),
        (Rtp { payload_type: 18, ..Rtp::nth(1) }.bytes(), Discard::PayloadType(18)),
        (Rtp { sequence: 20_000, ..Rtp::nth(1) }.bytes(), Discard::Jump),
        (Rtp { ssrc: 1, ..Rtp::nth(2) }.bytes(), Discard::Ssrc),
    ];
    for (packet, discard) in &cases {
        assert_eq!(session.handle_rtp(start, peer(), packet), Err(*discard));
    }
    assert_eq!(session.handle_rtcp(start, peer(), &Rtp::nth(1).bytes()), Err(Discard::WrongPort));

    let discarded = session.statistics(start).discarded;

    assert_eq!(
        (discarded.malformed, discarded.wrong_port, discarded.total()),
        (3, 2, cases.len() as u64 + 1)
    );
}

/// A packet of a payload type that nobody agreed on is not played, and is not waited for either.
#[test]
fn an_unknown_payload_type_of_the_peer_leaves_no_gap() {
    let start = start();
    let mut session = session(start);
    receive(&mut session, start, &[0]);
    let _ = session.handle_rtp(start, peer(), &Rtp { payload_type: 97, ..Rtp::nth(1) }.bytes());

    assert_eq!(receive(&mut session, start, &[2]), [(2, 320, false)]);
}

#[test]
fn a_peer_behind_nat_is_followed_and_a_stranger_is_not() {
    let start = start();
    let mut session = session(start);
    let (nat, stranger) = (address("203.0.113.1:5000"), address("203.0.113.9:5000"));
    for index in 0..50 {
        let now = start + ms(20 * u64::from(index));
        session.handle_rtp(now, nat, &Rtp::nth(index).bytes()).unwrap();
        let forged = Rtp { payload: vec![0xEE; 160], ..Rtp::nth(index + 1) };
        assert_eq!(session.handle_rtp(now, stranger, &forged.bytes()), Err(Discard::Source));
        assert_eq!(frames(&mut session, now), [(index as u8, 160 * index, false)]);
    }

    let sent = support::beats(&mut session, start, 1);

    assert_eq!(sent[0].as_ref().map(|(_, to)| *to), Some(nat));
    assert_eq!(session.statistics(start).discarded.source, 50);
}

#[test]
fn a_source_that_moved_after_silence_is_told_and_heard_with_a_break() {
    let start = start();
    let mut session = session(start);
    receive(&mut session, start, &[0]);
    let moved = address("203.0.113.1:5000");
    let later = start + ms(2_500);
    let other = Rtp { ssrc: 9, sequence: 40_000, timestamp: 12_345, ..Rtp::nth(1) };

    session.handle_rtp(later, moved, &other.bytes()).unwrap();

    assert_eq!(frames(&mut session, later), [(1, 20_000, true)]);
    assert_eq!(
        facts(&mut session)[1..],
        [SessionFact::SourceChanged { from: moved }, SessionFact::StreamChanged { ssrc: 9 }]
    );
}

#[test]
fn another_ssrc_from_the_peer_costs_one_packet_and_is_a_break() {
    let start = start();
    let mut session = session(start);
    receive(&mut session, start, &[0, 1]);
    let mut seen = Vec::new();
    for index in 2..5 {
        let now = start + ms(20 * u64::from(index));
        let packet =
            Rtp { ssrc: 77, sequence: 900 + index as u16, timestamp: 5 + 160 * index, ..Rtp::nth(index) };
        let _ = session.handle_rtp(now, peer(), &packet.bytes());
        seen.extend(frames(&mut session, now));
    }

    // The media time goes on by what passed here: packet 1 came at 0 ms, this one at 60 ms.
    assert_eq!(seen, [(3, 640, true), (4, 800, false)]);
    assert_eq!(session.statistics(start).discarded.ssrc, 1);
    assert_eq!(facts(&mut session).last(), Some(&SessionFact::StreamChanged { ssrc: 77 }));
}

#[test]
fn a_storm_of_sources_does_not_take_the_peers_place() {
    let start = start();
    let mut session = session(start);
    for index in 0..500 {
        let now = start + ms(20 * u64::from(index));
        session.handle_rtp(now, peer(), &Rtp::nth(index).bytes()).unwrap();
        for storm in 1..20 {
            let forged = Rtp { ssrc: storm * 7_919 + index, sequence: storm as u16, ..Rtp::nth(index) };
            assert_eq!(session.handle_rtp(now, peer(), &forged.bytes()), Err(Discard::Ssrc));
        }
        assert_eq!(frames(&mut session, now), [(index as u8, 160 * index, false)]);
    }
    assert_eq!(facts(&mut session).len(), 1);
}

#[test]
fn a_sender_that_starts_over_is_followed_at_its_second_packet() {
    let start = start();
    let mut session = session(start);
    receive(&mut session, start, &[0, 1]);
    let later = start + ms(40);

    let jumped =
        |index: u32| Rtp { sequence: 30_000 + index as u16, timestamp: 9 + 160 * index, ..Rtp::nth(index) };
    assert_eq!(session.handle_rtp(later, peer(), &jumped(2).bytes()), Err(Discard::Jump));
    session.handle_rtp(later, peer(), &jumped(3).bytes()).unwrap();

    assert_eq!(frames(&mut session, later), [(3, 480, true)]);
}

#[test]
fn hours_of_packets_wrap_their_numbers_without_a_break() {
    let start = start();
    let mut session = session(start);
    for index in 0..200_000_u32 {
        let now = start + ms(20 * u64::from(index));
        let packet = Rtp {
            sequence: 65_000_u16.wrapping_add(index as u16),
            timestamp: (u32::MAX - 1_000_000).wrapping_add(160 * index),
            payload: vec![index as u8; 2],
            ..Rtp::nth(0)
        };
        session.handle_rtp(now, peer(), &packet.bytes()).unwrap();
        let frame = session.next_frame(now).unwrap();
        assert_eq!(
            (frame.payload[0], frame.media_time, frame.discontinuity),
            (index as u8, 160 * index, false)
        );
    }
    assert_eq!(session.statistics(start).lost, 0);
}

#[test]
fn clocks_that_jump_on_either_side_stop_nothing() {
    let start = start() + ms(100_000);
    let mut session = session(start);
    receive(&mut session, start, &[0]);

    for (index, (now, timestamp)) in
        [(start - ms(90_000), 160), (start + ms(90_000), 320), (start, 3_000_000_000), (start, 0)]
            .into_iter()
            .enumerate()
    {
        let packet = Rtp { timestamp, ..Rtp::nth(index as u32 + 1) };
        session.handle_rtp(now, peer(), &packet.bytes()).unwrap();
        assert_eq!(frames(&mut session, now).len(), 1, "at {index}");
    }
}

#[test]
fn keys_are_heard_once_and_are_neither_audio_nor_a_gap() {
    let start = start();
    let mut session = session(start);
    let event = |index: u32, flags: u8, duration: u16| Rtp {
        payload_type: 101,
        timestamp: 320,
        payload: [[5, flags].as_slice(), &duration.to_be_bytes()].concat(),
        ..Rtp::nth(index)
    };
    receive(&mut session, start, &[0, 1]);
    for packet in
        [event(2, 10, 160), event(3, 10, 320), event(4, 0x8A, 800), event(5, 0x8A, 800), event(6, 0x8A, 800)]
    {
        session.handle_rtp(start, peer(), &packet.bytes()).unwrap();
    }

    assert_eq!(receive(&mut session, start, &[7]), [(7, 1_120, false)]);
    assert_eq!(session.next_dtmf(), Some(DtmfDigit { digit: digit('5'), duration_ms: 100 }));
    assert_eq!(session.next_dtmf(), None);
}

#[test]
fn a_key_whose_end_was_lost_is_told_by_the_timeout() {
    let start = start();
    let mut session = session(start);
    let press = Rtp { payload_type: 101, payload: vec![11, 10, 1, 0x40], ..Rtp::nth(0) };
    session.handle_rtp(start, peer(), &press.bytes()).unwrap();
    assert_eq!(session.next_dtmf(), None);

    let deadline = session.poll_timeout().unwrap();
    session.handle_timeout(deadline);

    assert_eq!(deadline, start + ms(200));
    assert_eq!(session.next_dtmf(), Some(DtmfDigit { digit: digit('#'), duration_ms: 40 }));
}

#[test]
fn keys_under_the_number_of_either_side_are_understood() {
    let start = start();
    let negotiated = Negotiated {
        telephone_event: Some(97),
        telephone_event_in: Some(101),
        ..Negotiated::plain(peer(), Codec::Pcmu)
    };
    let mut session = Session::new(start, &negotiated, SessionConfig::from_seed(1));
    for (index, payload_type) in [(0, 101), (1, 97)] {
        let key = Rtp {
            payload_type,
            timestamp: 8_000 * index,
            payload: vec![index as u8, 0x8A, 3, 0x20],
            ..Rtp::nth(index)
        };
        session.handle_rtp(start, peer(), &key.bytes()).unwrap();
    }

    let keys: String = std::iter::from_fn(|| session.next_dtmf()).map(|key| key.digit.as_char()).collect();

    assert_eq!(keys, "01");
}

/// What real receivers are put through: loss, duplication, reordering, long presses.
#[test]
fn the_scenarios_of_telephone_events_give_their_digits() {
    let Some(path) = support::fixture("audio/rfc4733/scenarios.json") else { return };
    let scenarios = support::scenarios(&std::fs::read_to_string(path).unwrap());
    assert!(scenarios.len() >= 10);
    for scenario in &scenarios {
        let start = start();
        let mut session = session(start);
        let mut keys = String::new();
        let mut now = start;
        for packet in &scenario.packets {
            let arrival = start + ms(packet.at_ms);
            while let Some(deadline) = session.poll_timeout().filter(|deadline| *deadline <= arrival) {
                session.handle_timeout(deadline);
                let _ = frames(&mut session, deadline);
            }
            now = arrival;
            let _ = session.handle_rtp(now, peer(), &packet.rtp.bytes());
            assert_eq!(frames(&mut session, now), [], "a key is no audio");
            keys.extend(std::iter::from_fn(|| session.next_dtmf()).map(|key| key.digit.as_char()));
        }
        session.handle_timeout(now + ms(1_000));
        keys.extend(std::iter::from_fn(|| session.next_dtmf()).map(|key| key.digit.as_char()));

        assert_eq!(keys, scenario.digits, "{}", scenario.name);
    }
}

#[test]
fn the_other_codec_that_was_agreed_on_is_rewritten() {
    let start = start();
    let alternate = Some(Alternate { codec: Codec::Pcma, payload_type: 8 });
    let negotiated = Negotiated { alternate, ..Negotiated::plain(peer(), Codec::Pcmu) };
    let mut session = Session::new(start, &negotiated, SessionConfig::from_seed(1));
    let packet = Rtp { payload_type: 8, payload: vec![0x55; 160], ..Rtp::nth(0) };

    session.handle_rtp(start, peer(), &packet.bytes()).unwrap();

    assert_eq!(session.next_frame(start).unwrap().payload, [g711::alaw_to_ulaw(0x55); 160]);
}

#[test]
fn a_renegotiated_codec_leaves_no_frame_in_the_old_one() {
    let start = start();
    let mut session = session(start);
    receive(&mut session, start, &[0, 2]);
    session.renegotiate(start, &Negotiated::plain(peer(), Codec::Pcma));

    // One more in the old codec was on its way; the missing one comes in the new.
    session.handle_rtp(start, peer(), &Rtp::nth(3).bytes()).unwrap();
    let new = Rtp { payload_type: 8, ..Rtp::nth(1) };
    session.handle_rtp(start, peer(), &new.bytes()).unwrap();

    assert_eq!(session.codec(), Codec::Pcma);
    let seen: Vec<u8> = frames(&mut session, start).into_iter().map(|(first, ..)| first).collect();
    assert_eq!(seen, [1, g711::ulaw_to_alaw(2), g711::ulaw_to_alaw(3)]);
}

#[test]
fn while_the_peer_is_held_nothing_goes_up_and_resume_finds_no_gap() {
    let start = start();
    let mut session = session(start);
    receive(&mut session, start, &[0]);
    session.renegotiate(start, &held(Direction::SendOnly));
    for index in 1..100 {
        assert_eq!(session.handle_rtp(start, peer(), &Rtp::nth(index).bytes()), Err(Discard::Direction));
    }
    assert_eq!(frames(&mut session, start), []);
    session.renegotiate(start, &held(Direction::SendRecv));

    assert_eq!(receive(&mut session, start, &[100]), [(100, 16_000, false)]);
    assert_eq!(session.statistics(start).lost, 0);
}

#[test]
fn silence_of_the_peer_is_told_once_and_again_only_after_it_spoke() {
    let start = start();
    let config = SessionConfig { inactivity: Duration::from_secs(10), ..SessionConfig::from_seed(1) };
    let mut session = Session::new(start, &Negotiated::plain(peer(), Codec::Pcmu), config);

    assert_eq!(session.poll_timeout(), Some(start + ms(10_000)));
    session.handle_timeout(start + ms(9_999));
    assert_eq!(facts(&mut session), []);
    session.handle_timeout(start + ms(10_000));
    assert_eq!(facts(&mut session), [SessionFact::Inactive]);
    assert_eq!(session.poll_timeout(), None);
    session.handle_timeout(start + ms(50_000));
    assert_eq!(facts(&mut session), []);

    session.handle_rtp(start + ms(60_000), peer(), &Rtp::nth(0).bytes()).unwrap();
    frames(&mut session, start + ms(60_000));
    session.handle_timeout(start + ms(70_000));
    assert_eq!(facts(&mut session), [SessionFact::FirstPacket { from: peer() }, SessionFact::Inactive]);
}

#[test]
fn while_either_side_holds_the_other_silence_is_no_fault() {
    for hold in [Direction::SendOnly, Direction::RecvOnly, Direction::Inactive] {
        let start = start();
        let config = SessionConfig { inactivity: Duration::from_secs(10), ..SessionConfig::from_seed(1) };
        let mut session = Session::new(start, &held(hold), config);
        assert_eq!(session.poll_timeout(), None);
        session.handle_timeout(start + ms(100_000));
        assert_eq!(facts(&mut session), []);

        session.renegotiate(start + ms(100_000), &held(Direction::SendRecv));

        assert_eq!(session.poll_timeout(), Some(start + ms(110_000)), "its time begins with the resume");
    }
}

proptest! {
    #![proptest_config(support::config())]

    /// Whatever arrives at either port, whatever the clock does: no panic, and everything is accounted for.
    #[test]
    fn no_datagram_panics(
        datagrams in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..80), -100_i64..1_000), 0..60),
    ) {
        let start = start() + ms(10_000);
        let mut now = start;
        let mut session = session(start);
        let mut refused = 0;
        for (rtcp, datagram, step) in datagrams {
            now = if step < 0 { now - ms(step.unsigned_abs()) } else { now + ms(step.unsigned_abs()) };
            let outcome = if rtcp { session.handle_rtcp(now, peer(), &datagram) } else { session.handle_rtp(now, peer(), &datagram) };
            refused += u64::from(outcome.is_err());
            frames(&mut session, now);
            session.handle_timeout(now);
        }
        prop_assert_eq!(session.statistics(now).discarded.total(), refused);
    }

    /// Packets that begin as RTP and lie afterwards.
    #[test]
    fn no_mutilated_packet_panics(
        packets in prop::collection::vec((0_u32..30, 0_usize..40, any::<u8>(), 0_usize..172), 0..60),
    ) {
        let start = start();
        let mut session = session(start);
        for (index, at, byte, length) in packets {
            let mut packet = Rtp::nth(index).bytes();
            packet[at] = byte;
            packet.truncate(length);
            let _ = session.handle_rtp(start, peer(), &packet);
            let _ = session.handle_rtcp(start, peer(), &packet);
            frames(&mut session, start);
        }
    }

    /// A network that loses, doubles and delays: frames come out in order, each once, the right bytes
    /// at the right media time, flagged exactly where one before is missing.
    #[test]
    fn frames_are_in_order_once_and_flagged_where_one_is_missing(
        delays in prop::collection::vec(prop::option::weighted(0.9, 0_u64..120), 1..200),
        doubled in prop::collection::vec(any::<bool>(), 200),
    ) {
        let start = start();
        let mut session = session(start);
        let mut arrivals = Vec::new();
        for (index, delay) in delays.iter().enumerate() {
            // The first one must be first for media time to begin with it.
            let Some(delay) = (if index == 0 { Some(0) } else { *delay }) else { continue };
            arrivals.push((20 * index as u64 + delay, index as u32));
            if doubled[index] { arrivals.push((20 * index as u64 + delay + 5, index as u32)); }
        }
        arrivals.sort_unstable();

        let mut seen: Vec<Seen> = Vec::new();
        for (at, index) in arrivals.iter().copied() {
            let now = start + ms(at);
            while let Some(deadline) = session.poll_timeout().filter(|deadline| *deadline <= now) {
                session.handle_timeout(deadline);
                seen.extend(frames(&mut session, deadline));
            }
            let _ = session.handle_rtp(now, peer(), &Rtp::nth(index).bytes());
            seen.extend(frames(&mut session, now));
        }
        seen.extend(frames(&mut session, start + ms(60_000)));

        let mut next = 0;
        for (first, media_time, broken) in &seen {
            let index = media_time / 160;
            prop_assert_eq!(u32::from(*first), index % 256);
            prop_assert!(index >= next, "{} after {}", index, next);
            prop_assert_eq!(*broken, index > next, "{} where {} was due", index, next);
            next = index + 1;
        }
        let statistics = session.statistics(start);
        let distinct = arrivals.iter().map(|(_, index)| index).collect::<std::collections::BTreeSet<_>>().len();
        prop_assert_eq!(seen.len() as u64 + statistics.late + statistics.duplicates, arrivals.len() as u64);
        prop_assert!(seen.len() <= distinct);
    }
}

fn session(now: std::time::Instant) -> Session {
    let config = SessionConfig { conceal: false, ..SessionConfig::from_seed(1) };
    Session::new(now, &Negotiated::plain(peer(), Codec::Pcmu), config)
}

fn held(direction: Direction) -> Negotiated {
    Negotiated { direction, ..Negotiated::plain(peer(), Codec::Pcmu) }
}

fn receive(session: &mut Session, now: std::time::Instant, indexes: &[u32]) -> Vec<Seen> {
    let mut seen = Vec::new();
    for index in indexes {
        session.handle_rtp(now, peer(), &Rtp::nth(*index).bytes()).unwrap();
        seen.extend(frames(session, now));
    }
    seen
}

fn peer() -> SocketAddr {
    address("192.0.2.1:4000")
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn digit(key: char) -> Digit {
    Digit::try_from(key).unwrap()
}
