//! From the engine's audio to the packets of each beat, and the reports beside them.

use std::net::SocketAddr;

use crate::support::{Rtp, beats, facts, frames, ms, start};
use media::{
    AudioFormat, Codec, Digit, Direction, Discard, DtmfRefused, Negotiated, REPORT_MAX, SegmentId, Session,
    SessionConfig, SessionFact, g711,
};
use rtp_types::RtpPacket;

const SEGMENT: SegmentId = SegmentId(1);

#[test]
fn every_beat_sends_a_packet_also_when_there_is_nothing_to_say() {
    let start = start();
    let mut session = session();
    session.playout().push(SEGMENT, AudioFormat::Pcmu, &[0x11; 320]).unwrap();
    session.playout().finish(SEGMENT);

    let sent = beats(&mut session, start, 4);

    for (beat, packet) in (0_u32..).zip(&sent) {
        let (bytes, to) = packet.as_ref().unwrap();
        let packet = RtpPacket::parse(bytes).unwrap();
        assert_eq!(*to, peer());
        assert_eq!(packet.ssrc(), 0xCAFE);
        assert_eq!(packet.sequence_number(), 65_534_u16.wrapping_add(beat as u16));
        assert_eq!(packet.timestamp(), (u32::MAX - 159).wrapping_add(160 * beat));
        assert_eq!((packet.payload_type(), packet.marker_bit()), (0, beat == 0));
        assert_eq!(packet.payload() == [0x11; 160], beat < 2);
        assert_eq!(packet.payload_len(), 160);
    }
    let statistics = session.statistics(start);
    assert_eq!((statistics.sent, statistics.frames_down, statistics.silence_down), (4, 2, 2));
}

#[test]
fn held_we_send_nothing_but_the_timestamp_counts_on_and_the_audio_waits() {
    let start = start();
    let mut session = session();
    session.playout().push(SEGMENT, AudioFormat::Pcmu, &[0x11; 320]).unwrap();
    let before = timestamp(&beats(&mut session, start, 1)[0]);
    session.renegotiate(start, &Negotiated { direction: Direction::RecvOnly, ..plain() });

    assert_eq!(beats(&mut session, start, 50), vec![None; 50]);
    session.renegotiate(start, &plain());
    let after = beats(&mut session, start, 1).remove(0);

    assert_eq!(timestamp(&after).wrapping_sub(before), 51 * 160);
    let (bytes, _) = after.unwrap();
    let packet = RtpPacket::parse(&bytes).unwrap();
    assert_eq!((packet.sequence_number(), packet.marker_bit()), (65_535, true));
    assert_eq!(packet.payload(), [0x11; 160]);
}

#[test]
fn a_peer_without_port_or_address_is_sent_nothing() {
    let start = start();
    for rtp in ["192.0.2.1:0", "0.0.0.0:4000"] {
        let negotiated = Negotiated { rtp: rtp.parse().unwrap(), ..plain() };
        let mut session = Session::new(start, &negotiated, config());

        assert_eq!(beats(&mut session, start, 3), vec![None; 3], "{rtp}");
    }
}

#[test]
fn a_key_takes_the_place_of_audio_which_goes_on_afterwards() {
    let start = start();
    let mut session = session();
    session.playout().push(SEGMENT, AudioFormat::Pcmu, &[0x11; 1_600]).unwrap();
    session.send_dtmf(digit('7'), ms(100)).unwrap();

    let sent = beats(&mut session, start, 8);

    let packets: Vec<_> =
        sent.iter().map(|sent| RtpPacket::parse(&sent.as_ref().unwrap().0).unwrap()).collect();
    let types: Vec<_> = packets.iter().map(RtpPacket::payload_type).collect();
    assert_eq!(types, [101, 101, 101, 101, 101, 101, 101, 0]);
    let sequences: Vec<_> = packets.iter().map(RtpPacket::sequence_number).collect();
    assert_eq!(sequences, [65_534, 65_535, 0, 1, 2, 3, 4, 5]);
    assert!(packets[..7].iter().all(|packet| packet.timestamp() == packets[0].timestamp()));
    assert_eq!(packets[7].timestamp().wrapping_sub(packets[0].timestamp()), 7 * 160);
    assert_eq!(packets[7].payload(), [0x11; 160]);
    assert_eq!(session.playout().played_ms(SEGMENT), 20);
    assert_eq!(session.statistics(start).dtmf_out, 1);
}

#[test]
fn keys_are_refused_where_the_peer_takes_none_and_when_too_many_wait() {
    let mut deaf = Session::new(start(), &Negotiated { telephone_event: None, ..plain() }, config());
    assert_eq!(deaf.send_dtmf(digit('1'), ms(100)), Err(DtmfRefused::NotNegotiated));

    let mut session = session();
    for _ in 0..32 {
        session.send_dtmf(digit('1'), ms(100)).unwrap();
    }
    assert_eq!(session.send_dtmf(digit('1'), ms(100)), Err(DtmfRefused::Full));
}

#[test]
fn a_whole_number_arrives_at_another_session_also_when_a_third_of_it_is_lost() {
    let start = start();
    let number = "0123456789*#ABCD";
    let (mut ours, mut theirs) = (session(), session());
    for key in number.chars() {
        ours.send_dtmf(digit(key), ms(80)).unwrap();
    }
    let mut heard = String::new();
    for (beat, packet) in beats(&mut ours, start, 200).into_iter().enumerate() {
        let now = start + ms(20 * beat as u64);
        theirs.handle_timeout(now);
        if beat % 3 != 1 {
            theirs.handle_rtp(now, peer(), &packet.unwrap().0).unwrap();
        }
        let _ = frames(&mut theirs, now);
        heard.extend(std::iter::from_fn(|| theirs.next_dtmf()).map(|key| key.digit.as_char()));
    }

    assert_eq!(heard, number);
}

#[test]
fn a_changed_codec_is_spoken_from_the_next_beat_also_by_what_waited() {
    let start = start();
    let mut session = session();
    session.playout().push(SEGMENT, AudioFormat::Pcmu, &[0x11; 160]).unwrap();
    session.renegotiate(start, &Negotiated::plain(peer(), Codec::Pcma));

    let (bytes, _) = beats(&mut session, start, 1).remove(0).unwrap();

    let packet = RtpPacket::parse(&bytes).unwrap();
    assert_eq!((packet.payload_type(), packet.payload()), (8, &[g711::ulaw_to_alaw(0x11); 160][..]));
}

#[test]
fn two_sessions_report_to_each_other_what_they_heard() {
    let start = start();
    let (mut ours, mut theirs) = (session(), session());
    let report_from = address("192.0.2.1:4001");
    let mut buffer = [0; REPORT_MAX];
    let (mut to_theirs, mut to_ours) = (Vec::<Vec<u8>>::new(), Vec::<Vec<u8>>::new());
    let mut reports = 0;
    for beat in 0..1_500_u64 {
        let now = start + ms(20 * beat);
        let (ahead, back) = (beats(&mut ours, now, 1).remove(0), beats(&mut theirs, now, 1).remove(0));
        if beat % 10 != 3 {
            theirs.handle_rtp(now + ms(30), peer(), &ahead.unwrap().0).unwrap();
        }
        ours.handle_rtp(now + ms(30), peer(), &back.unwrap().0).unwrap();
        let (_, _) = (frames(&mut ours, now + ms(100)), frames(&mut theirs, now + ms(100)));
        for report in to_theirs.drain(..) {
            theirs.handle_rtcp(now, report_from, &report).unwrap();
        }
        for report in to_ours.drain(..) {
            ours.handle_rtcp(now, report_from, &report).unwrap();
        }
        // Reports take one beat each way.
        if let Some((length, to)) = ours.next_report(now, &mut buffer) {
            assert_eq!(to, report_from);
            to_theirs.push(buffer[..length].to_vec());
            reports += 1;
        }
        if let Some((length, _)) = theirs.next_report(now, &mut buffer) {
            to_ours.push(buffer[..length].to_vec());
        }
    }

    let statistics = ours.statistics(start);

    assert!((4..=12).contains(&reports), "{reports} reports in 30 s");
    assert!(statistics.rtt_ms.is_some_and(|rtt| (rtt - 40.0).abs() < 1.0), "{statistics:?}");
    assert!(statistics.remote_loss_pct.is_some_and(|loss| (loss - 10.0).abs() < 1.5), "{statistics:?}");
    assert_eq!(statistics.lost, 0);
    assert_eq!(theirs.statistics(start).lost, 150);

    let (length, _) = ours.farewell(start, &mut buffer).unwrap();
    theirs.handle_rtcp(start, report_from, &buffer[..length]).unwrap();
    assert!(facts(&mut theirs).contains(&SessionFact::Bye));
}

#[test]
fn reports_go_where_the_sdp_says_then_beside_the_nat_then_where_theirs_come_from() {
    let start = start();
    let negotiated = Negotiated { rtcp: address("192.0.2.1:53020"), ..plain() };
    let mut session = Session::new(start, &negotiated, config());
    let mut buffer = [0; REPORT_MAX];
    let mut to = |session: &mut Session| session.farewell(start, &mut buffer).unwrap().1;
    assert_eq!(to(&mut session), address("192.0.2.1:53020"));

    session.handle_rtp(start, address("203.0.113.1:5000"), &Rtp::nth(0).bytes()).unwrap();
    assert_eq!(to(&mut session), address("203.0.113.1:5001"));

    let empty_report = [0x80, 201, 0, 1, 0, 0, 0, 9];
    session.handle_rtcp(start, address("203.0.113.1:6666"), &empty_report).unwrap();
    assert_eq!(to(&mut session), address("203.0.113.1:6666"));
}

#[test]
fn reports_that_share_the_port_of_rtp_go_and_come_there() {
    let start = start();
    let muxed = Negotiated { rtcp_mux: true, ..plain() };
    let mut session = Session::new(start, &muxed, config());
    let mut buffer = [0; REPORT_MAX];
    let empty_report = [0x80, 201, 0, 1, 0, 0, 0, 9];

    assert!(session.shares_port());
    assert_eq!(session.handle_rtp(start, muxed.rtp, &empty_report), Ok(()));
    assert_eq!(session.farewell(start, &mut buffer).unwrap().1, muxed.rtp);
    session.handle_rtp(start, address("203.0.113.1:5000"), &Rtp::nth(0).bytes()).unwrap();
    assert_eq!(session.farewell(start, &mut buffer).unwrap().1, address("203.0.113.1:5000"));

    session.renegotiate(start, &plain());
    assert!(!session.shares_port());
    assert_eq!(session.handle_rtp(start, muxed.rtp, &empty_report), Err(Discard::WrongPort));
}

#[test]
fn reports_of_strangers_are_refused_and_say_nothing() {
    let start = start();
    let mut session = session();
    let mut buffer = [0; REPORT_MAX];
    let (length, _) = session.farewell(start, &mut buffer).unwrap();

    let refused = session.handle_rtcp(start, address("203.0.113.66:4001"), &buffer[..length]);

    assert_eq!(refused, Err(Discard::Source));
    assert_eq!(session.statistics(start).discarded.source, 1);
    assert_eq!(facts(&mut session), []);
}

#[test]
fn two_seeds_give_two_streams_and_one_seed_the_same() {
    let one = SessionConfig::from_seed(1);

    assert_eq!(one, SessionConfig::from_seed(1));
    let two = SessionConfig::from_seed(2);
    assert_ne!(
        (one.ssrc, one.first_sequence, one.first_timestamp),
        (two.ssrc, two.first_sequence, two.first_timestamp)
    );
}

fn config() -> SessionConfig {
    SessionConfig {
        ssrc: 0xCAFE,
        first_sequence: 65_534,
        first_timestamp: u32::MAX - 159,
        ..SessionConfig::from_seed(3)
    }
}

fn session() -> Session {
    Session::new(start(), &plain(), config())
}

fn plain() -> Negotiated {
    Negotiated::plain(peer(), Codec::Pcmu)
}

fn timestamp(sent: &Option<(Vec<u8>, SocketAddr)>) -> u32 {
    RtpPacket::parse(&sent.as_ref().unwrap().0).unwrap().timestamp()
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
