//! Keys of SRTP in offer and answer (RFC 4568), and legs that are encrypted by them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use crate::support::{Rtp, facts, frames, ms, start};
use media::{
    Codec, Direction, Discard, LocalMedia, Negotiated, Negotiator, PACKET_MAX, REPORT_MAX, SdpError,
    SegmentId, Session, SessionConfig, SessionFact, SrtpKey, SrtpPolicy, SrtpSuite, Transport,
};

const KEY: &str = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";

#[test]
fn two_that_may_encrypt_do_so_with_the_strongest_suite() {
    for (caller, called) in [
        (SrtpPolicy::Require, SrtpPolicy::Require),
        (SrtpPolicy::Require, SrtpPolicy::Prefer),
        (SrtpPolicy::Prefer, SrtpPolicy::Require),
        (SrtpPolicy::Prefer, SrtpPolicy::Prefer),
    ] {
        let (here, there, proto) = agree(caller, called);
        let (here, there) = (here.srtp.unwrap(), there.srtp.unwrap());

        assert_eq!((here.ours, here.theirs), (there.theirs, there.ours));
        assert_eq!((here.ours.suite(), here.theirs.suite()), (SrtpSuite::ALL[0], SrtpSuite::ALL[0]));
        assert_ne!(here.ours, here.theirs);
        assert_eq!(proto, if caller == SrtpPolicy::Require { "RTP/SAVP" } else { "RTP/AVP" });
    }
}

#[test]
fn one_that_may_not_leaves_the_other_in_clear() {
    for (caller, called) in [
        (SrtpPolicy::Prefer, SrtpPolicy::Off),
        (SrtpPolicy::Off, SrtpPolicy::Prefer),
        (SrtpPolicy::Off, SrtpPolicy::Off),
    ] {
        let (here, there, proto) = agree(caller, called);

        assert_eq!((here.srtp, there.srtp, proto.as_str()), (None, None, "RTP/AVP"));
    }
}

#[test]
fn what_must_be_encrypted_and_is_not_is_refused_with_its_warning() {
    let secure = format!("m=audio 4000 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r\n");
    let with_identifier = secure.replace(KEY, &format!("{KEY}|2^20|1:4"));
    for (policy, lines, error) in [
        (SrtpPolicy::Require, "m=audio 4000 RTP/AVP 0\r\n", SdpError::SrtpRequired),
        (SrtpPolicy::Require, "m=audio 4000 RTP/SAVP 0\r\n", SdpError::NoCommonCrypto),
        (SrtpPolicy::Prefer, "m=audio 4000 RTP/SAVP 0\r\n", SdpError::NoCommonCrypto),
        (SrtpPolicy::Prefer, &with_identifier, SdpError::NoCommonCrypto),
        (SrtpPolicy::Off, &secure, SdpError::Transport(Transport::Srtp)),
    ] {
        let refused = negotiator(policy, 1).handle_offer(&description(lines)).unwrap_err();

        assert_eq!((refused, refused.warning_code()), (error, 302), "{lines}");
    }
}

#[test]
fn an_offer_is_answered_by_the_first_line_that_can_be_used_under_its_tag() {
    let mut us = negotiator(SrtpPolicy::Prefer, 1);

    let (agreed, answer) = us
        .handle_offer(&description(&format!(
            "m=audio 4000 RTP/SAVP 0\r\na=crypto:1 F8_128_HMAC_SHA1_80 inline:{KEY}\r\n\
             a=crypto:7 AES_CM_128_HMAC_SHA1_32 inline:{KEY}|2^31\r\n\
             a=crypto:8 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r\n",
        )))
        .unwrap();

    let answer = text(&answer);
    assert!(answer.contains("m=audio 30000 RTP/SAVP 0\r\n"), "{answer}");
    assert!(answer.contains("a=crypto:7 AES_CM_128_HMAC_SHA1_32 inline:"), "{answer}");
    assert_eq!(answer.matches("a=crypto").count(), 1);
    assert!(!answer.contains(KEY));
    let keys = agreed.srtp.unwrap();
    assert_eq!(keys.theirs.key_and_salt(), b"wDfvg&T+)xG7@fb5jU,RaA}\\|p0%*#");
}

#[test]
fn an_answer_must_take_what_was_offered() {
    let crypto = |line: &str| format!("m=audio 4000 RTP/SAVP 0\r\na=crypto:{line} inline:{KEY}\r\n");
    for (policy, lines, expected) in [
        (SrtpPolicy::Require, crypto("3 AES_CM_128_HMAC_SHA1_80"), None),
        (SrtpPolicy::Require, crypto("4 AES_CM_128_HMAC_SHA1_80"), Some(SdpError::NoCommonCrypto)),
        (SrtpPolicy::Require, crypto("5 AES_CM_128_HMAC_SHA1_80"), Some(SdpError::NoCommonCrypto)),
        (SrtpPolicy::Require, String::from("m=audio 4000 RTP/AVP 0\r\n"), Some(SdpError::SrtpRequired)),
        (SrtpPolicy::Prefer, crypto("4 AES_CM_128_HMAC_SHA1_80"), Some(SdpError::NoCommonCrypto)),
        (SrtpPolicy::Off, crypto("3 AES_CM_128_HMAC_SHA1_80"), Some(SdpError::Transport(Transport::Srtp))),
    ] {
        let mut us = negotiator(policy, 1);
        us.offer(Direction::SendRecv);

        let answered = us.handle_answer(&description(&lines));

        assert_eq!(answered.as_ref().err().copied(), expected, "{lines}");
        assert!(expected.is_some() || answered.is_ok_and(|agreed| agreed.srtp.is_some()));
    }
}

#[test]
fn a_later_offer_repeats_our_keys_and_is_no_new_version() {
    let mut us = negotiator(SrtpPolicy::Require, 1);
    let first = us.offer(Direction::SendRecv);
    let answer = format!("m=audio 4000 RTP/SAVP 0\r\na=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r\n");
    let agreed = us.handle_answer(&description(&answer)).unwrap();

    let second = us.offer(Direction::SendRecv);

    assert_eq!(first, second);
    assert_eq!(us.handle_answer(&description(&answer)), Ok(agreed));
}

#[test]
fn an_encrypted_call_is_heard_both_ways() {
    let start = start();
    let (mut here, mut there) = call(start);
    let mut buffer = [0; PACKET_MAX];
    let mut report = [0; REPORT_MAX];
    here.playout().push(SegmentId(1), media::AudioFormat::Pcmu, &[0x55; 3_200]).unwrap();

    let mut heard = 0;
    for beat in 0..400 {
        let now = start + ms(20 * beat);
        let (length, _) = here.next_packet(now, &mut buffer).unwrap();
        assert_eq!(length, PACKET_MAX);
        let clear = Rtp::nth(beat as u32).bytes();
        assert_eq!(there.handle_rtp(now, HERE, &clear), Err(Discard::Forged));
        assert_eq!(there.handle_rtp(now, HERE, &buffer[..length]), Ok(()));
        assert_eq!(there.handle_rtp(now, HERE, &buffer[..length]), Err(Discard::Duplicate));
        while let Some(frame) = there.next_frame(now) {
            heard += u32::from(frame.payload == [0x55; 160]);
        }
        if let Some((length, _)) = here.next_report(now, &mut report) {
            assert_eq!(there.handle_rtcp(now, HERE, &report[..length]), Ok(()));
            assert_eq!(there.handle_rtcp(now, HERE, &report[..length]), Err(Discard::Duplicate));
        }
    }
    let end = start + ms(8_000);
    let (length, _) = here.farewell(end, &mut report).unwrap();
    there.handle_rtcp(end, HERE, &report[..length]).unwrap();

    assert_eq!(heard, 20);
    assert_eq!(there.statistics(end).discarded.forged, 400);
    assert_eq!(facts(&mut there), [SessionFact::FirstPacket { from: HERE }, SessionFact::Bye]);
}

/// A forged packet neither teaches a source nor keeps a silent call alive.
#[test]
fn forged_packets_are_counted_and_change_nothing() {
    let start = start();
    let (mut here, mut there) = call(start);
    let mut buffer = [0; PACKET_MAX];
    let forger = SocketAddr::from(([203, 0, 113, 66], 666));

    for index in 0..100_000_u32 {
        let now = start + ms(u64::from(index / 5));
        let refused = there.handle_rtp(now, forger, &Rtp::nth(index).bytes());
        assert_eq!(refused, Err(Discard::Forged));
    }
    let now = start + ms(20_000);
    let (length, _) = here.next_packet(now, &mut buffer).unwrap();

    assert_eq!(there.handle_rtp(now, HERE, &buffer[..length]), Ok(()));
    assert_eq!(frames(&mut there, now).len(), 1);
    assert_eq!(facts(&mut there), [SessionFact::FirstPacket { from: HERE }]);
    assert_eq!(there.statistics(now).discarded.forged, 100_000);
    let (_, to) = there.next_packet(now, &mut buffer).unwrap();
    assert_eq!(to, HERE);
}

#[test]
fn a_new_key_is_followed_and_clear_again_is_clear() {
    let start = start();
    let (here, there, _) = agree(SrtpPolicy::Require, SrtpPolicy::Require);
    let (mut sender, mut receiver) = (session(start, &here, 1), session(start, &there, 2));
    let mut buffer = [0; PACKET_MAX];
    let mut pass = |sender: &mut Session, receiver: &mut Session| {
        let (length, _) = sender.next_packet(start, &mut buffer).unwrap();
        receiver.handle_rtp(start, HERE, &buffer[..length])
    };
    let (fresh, expected, _) = agree_by(SrtpPolicy::Require, SrtpPolicy::Require, 50);

    assert_eq!(pass(&mut sender, &mut receiver), Ok(()));
    sender.renegotiate(start, &fresh);
    assert_eq!(pass(&mut sender, &mut receiver), Err(Discard::Forged));
    receiver.renegotiate(start, &expected);
    assert_eq!(pass(&mut sender, &mut receiver), Ok(()));
    sender.renegotiate(start, &Negotiated { srtp: None, ..fresh.clone() });
    assert_eq!(pass(&mut sender, &mut receiver), Err(Discard::Forged));
    receiver.renegotiate(start, &Negotiated { srtp: None, ..expected.clone() });
    assert_eq!(pass(&mut sender, &mut receiver), Ok(()));
    sender.renegotiate(start, &fresh);
    receiver.renegotiate(start, &expected);
    assert_eq!(pass(&mut sender, &mut receiver), Ok(()));
}

const HERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 30_000);

fn call(start: Instant) -> (Session, Session) {
    let (here, there, _) = agree(SrtpPolicy::Require, SrtpPolicy::Require);
    (session(start, &here, 1), session(start, &there, 2))
}

fn session(start: Instant, agreed: &Negotiated, seed: u64) -> Session {
    Session::new(start, agreed, SessionConfig::from_seed(seed))
}

fn agree(caller: SrtpPolicy, called: SrtpPolicy) -> (Negotiated, Negotiated, String) {
    agree_by(caller, called, 1)
}

/// What two come to, and by which transport.
fn agree_by(caller: SrtpPolicy, called: SrtpPolicy, seed: u8) -> (Negotiated, Negotiated, String) {
    let (mut caller, mut called) = (negotiator(caller, seed), negotiator(called, seed + 20));
    let offer = caller.offer(Direction::SendRecv);
    let (there, answer) = called.handle_offer(&offer).unwrap();
    let here = caller.handle_answer(&answer).unwrap();
    let line = text(&answer).lines().find(|line| line.starts_with("m=audio")).unwrap();
    (here, there, line.split(' ').nth(2).unwrap().to_owned())
}

fn negotiator(policy: SrtpPolicy, seed: u8) -> Negotiator {
    let local = LocalMedia {
        address: HERE.ip(),
        port: HERE.port(),
        codecs: vec![Codec::Pcmu],
        telephone_event: true,
        ptime_ms: 20,
    };
    let mut negotiator = Negotiator::new(local, 7);
    let keys = (seed..).zip(SrtpSuite::ALL);
    let keys = keys.map(|(seed, suite)| SrtpKey::from_random(suite, &[seed; SrtpKey::LONGEST]));
    negotiator.protect(policy, keys.collect());
    negotiator
}

fn description(lines: &str) -> Vec<u8> {
    format!("v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n{lines}").into_bytes()
}

fn text(body: &[u8]) -> &str {
    std::str::from_utf8(body).unwrap()
}
