//! SRTP and SRTCP between a sender and a receiver: what is protected comes back, and nothing else is taken.

use media::{SRTCP_OVERHEAD, SRTP_OVERHEAD, SrtpError, SrtpKey, SrtpReceiver, SrtpSender, SrtpSuite};
use proptest::collection::vec;
use proptest::prelude::*;

const SSRC: u32 = 0x0102_0304;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_protected_comes_back(
        random in any::<[u8; 23]>(),
        sequence: u16,
        sources in 0_usize..16,
        extension in proptest::option::of(0_u16..8),
        payload in vec(any::<u8>(), 0..400),
    ) {
        for suite in SrtpSuite::ALL {
            let (mut sender, mut receiver) = pair(suite, &random);
            let mut plain = rtp(SSRC, sequence, &[]);
            plain[0] |= sources as u8;
            plain.extend(std::iter::repeat_n(0x11, 4 * sources));
            if let Some(words) = extension {
                plain[0] |= 0x10;
                plain.extend([0xBE, 0xDE]);
                plain.extend(words.to_be_bytes());
                plain.extend(std::iter::repeat_n(0x22, 4 * usize::from(words)));
            }
            let clear = plain.len();
            plain.extend(&payload);

            let mut packet = protect(&mut sender, &plain);

            prop_assert_eq!(&packet[..clear], &plain[..clear]);
            prop_assert!(payload.len() < 8 || packet[clear..plain.len()] != plain[clear..]);
            let length = receiver.unprotect_rtp(&mut packet);
            prop_assert_eq!(length, Ok(plain.len()));
            prop_assert_eq!(&packet[..plain.len()], &plain[..]);
        }
    }

    #[test]
    fn reports_that_were_protected_come_back(random in any::<[u8; 23]>(), body in vec(any::<u8>(), 0..200)) {
        for suite in SrtpSuite::ALL {
            let (mut sender, mut receiver) = pair(suite, &random);
            let plain = rtcp(SSRC, &body);

            for _ in 0..3 {
                let mut packet = protect_report(&mut sender, &plain);

                prop_assert_eq!(&packet[..8], &plain[..8]);
                let length = receiver.unprotect_rtcp(&mut packet);
                prop_assert_eq!(length, Ok(plain.len()));
                prop_assert_eq!(&packet[..plain.len()], &plain[..]);
            }
        }
    }

    #[test]
    fn garbage_is_an_error(bytes in vec(any::<u8>(), 0..300)) {
        for suite in SrtpSuite::ALL {
            let (mut sender, mut receiver) = pair(suite, &[3; 23]);

            prop_assert!(receiver.unprotect_rtp(&mut bytes.clone()).is_err());
            prop_assert!(receiver.unprotect_rtcp(&mut bytes.clone()).is_err());
            // No room behind it, whatever it is.
            prop_assert!(sender.protect_rtp(&mut bytes.clone(), bytes.len()).is_err());
            prop_assert!(sender.protect_rtcp(&mut bytes.clone(), bytes.len()).is_err());
            prop_assert!(sender.protect_rtp(&mut bytes.clone(), bytes.len() + 1).is_err());
        }
    }
}

#[test]
fn every_flipped_bit_is_refused_and_harms_nothing() {
    for suite in SrtpSuite::ALL {
        let (mut sender, mut receiver) = pair(suite, &[1; 23]);
        receiver.unprotect_rtp(&mut protect(&mut sender, &rtp(SSRC, 99, &[1; 20]))).unwrap();
        let packet = protect(&mut sender, &rtp(SSRC, 100, &[0x55; 20]));

        for bit in 0..8 * packet.len() {
            let mut forged = packet.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let refused = receiver.unprotect_rtp(&mut forged);
            assert!(refused.is_err(), "{suite:?}, bit {bit}");
        }

        assert_eq!(receiver.unprotect_rtp(&mut packet.clone()), Ok(32), "{suite:?}");
    }
}

#[test]
fn every_flipped_bit_of_a_report_is_refused_and_harms_nothing() {
    for suite in SrtpSuite::ALL {
        let (mut sender, mut receiver) = pair(suite, &[1; 23]);
        let packet = protect_report(&mut sender, &rtcp(SSRC, &[0x55; 20]));

        for bit in 0..8 * packet.len() {
            let mut forged = packet.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(receiver.unprotect_rtcp(&mut forged).is_err(), "{suite:?}, bit {bit}");
        }

        assert_eq!(receiver.unprotect_rtcp(&mut packet.clone()), Ok(28), "{suite:?}");
    }
}

#[test]
fn a_packet_cut_short_is_refused() {
    for suite in SrtpSuite::ALL {
        let (mut sender, mut receiver) = pair(suite, &[1; 23]);
        let packet = protect(&mut sender, &rtp(SSRC, 1, &[0x55; 20]));
        let report = protect_report(&mut sender, &rtcp(SSRC, &[0x55; 20]));

        for length in 0..packet.len() {
            assert!(receiver.unprotect_rtp(&mut packet[..length].to_vec()).is_err(), "{suite:?}, {length}");
        }
        for length in 0..report.len() {
            assert!(receiver.unprotect_rtcp(&mut report[..length].to_vec()).is_err(), "{suite:?}, {length}");
        }
    }
}

#[test]
fn a_packet_is_opened_once() {
    for suite in SrtpSuite::ALL {
        let (mut sender, mut receiver) = pair(suite, &[1; 23]);
        let packets: Vec<_> =
            (0..100).map(|sequence| protect(&mut sender, &rtp(SSRC, sequence, &[9]))).collect();
        let report = protect_report(&mut sender, &rtcp(SSRC, &[9; 4]));

        // The window's 64 places, in an order of its own: 36 to 99.
        for at in 36..100 {
            let sequence = 36 + (at * 37) % 64;
            assert_eq!(
                receiver.unprotect_rtp(&mut packets[sequence].clone()),
                Ok(13),
                "{suite:?}, {sequence}"
            );
        }
        for packet in &packets {
            assert_eq!(receiver.unprotect_rtp(&mut packet.clone()), Err(SrtpError::Replayed), "{suite:?}");
        }
        assert_eq!(receiver.unprotect_rtcp(&mut report.clone()), Ok(12));
        assert_eq!(receiver.unprotect_rtcp(&mut report.clone()), Err(SrtpError::Replayed));
    }
}

/// RFC 3711 §3.3.1: 200,000 packets wrap the sequence number three times.
#[test]
fn the_rollover_counter_is_followed_over_three_wraps() {
    let (mut sender, mut receiver) = pair(SrtpSuite::AesCm128HmacSha1_80, &[1; 23]);

    for index in 0..200_000_u32 {
        let mut packet = protect(&mut sender, &rtp(SSRC, index as u16, &[9]));
        // Now and then a hundred are lost, also where it wraps.
        if index % 5_000 >= 100 || index < 100 {
            assert_eq!(receiver.unprotect_rtp(&mut packet), Ok(13), "{index}");
        }
    }
}

#[test]
fn packets_reordered_over_the_wrap_are_opened() {
    for suite in SrtpSuite::ALL {
        let (mut sender, mut receiver) = pair(suite, &[1; 23]);
        let packets: Vec<_> = (0xFFE0..0x1_0020_u32)
            .map(|index| protect(&mut sender, &rtp(SSRC, index as u16, &[9])))
            .collect();
        receiver.unprotect_rtp(&mut packets[0].clone()).unwrap();

        for pair in packets[1..].chunks(5) {
            for packet in pair.iter().rev() {
                assert_eq!(receiver.unprotect_rtp(&mut packet.clone()), Ok(13), "{suite:?}");
            }
        }
    }
}

/// A forged packet far ahead in the sequence must not move the rollover counter.
#[test]
fn forged_packets_do_not_move_the_rollover_counter() {
    let (mut sender, mut receiver) = pair(SrtpSuite::AesCm128HmacSha1_32, &[1; 23]);
    let (mut forger, _) = pair(SrtpSuite::AesCm128HmacSha1_32, &[2; 23]);

    for index in 0..2_000_u32 {
        let mut forged = protect(&mut forger, &rtp(SSRC, (index * 33) as u16 | 1, &[9]));
        assert!(receiver.unprotect_rtp(&mut forged).is_err(), "{index}");
        let mut packet = protect(&mut sender, &rtp(SSRC, index as u16, &[9]));
        assert_eq!(receiver.unprotect_rtp(&mut packet), Ok(13), "{index}");
        (forger, _) = pair(SrtpSuite::AesCm128HmacSha1_32, &[2; 23]);
    }
}

#[test]
fn every_stream_has_its_own_rollover_counter() {
    let key = key(SrtpSuite::AeadAes128Gcm, &[1; 23]);
    let mut receiver = SrtpReceiver::new(&key);
    let (mut first, mut second) = (SrtpSender::new(&key), SrtpSender::new(&key));

    for index in 0..0x1_0010_u32 {
        let mut packet = protect(&mut first, &rtp(1, index as u16, &[9]));
        assert_eq!(receiver.unprotect_rtp(&mut packet), Ok(13), "{index}");
    }
    let mut packet = protect(&mut second, &rtp(2, 0x10, &[9]));

    assert_eq!(receiver.unprotect_rtp(&mut packet), Ok(13));
    assert_eq!(receiver.unprotect_rtp(&mut protect(&mut first, &rtp(1, 0x10, &[9]))), Ok(13));
}

/// One keystream for two packets would give both away.
#[test]
fn a_sequence_number_is_not_used_twice() {
    let (mut sender, _) = pair(SrtpSuite::AesCm128HmacSha1_80, &[1; 23]);
    let mut buffer = [0; 64];
    let mut send = |ssrc: u32, sequence: u16| {
        buffer[..13].copy_from_slice(&rtp(ssrc, sequence, &[9]));
        sender.protect_rtp(&mut buffer, 13)
    };

    assert_eq!(send(SSRC, 10), Ok(23));
    assert_eq!(send(SSRC, 10), Err(SrtpError::Reused));
    assert_eq!(send(SSRC, 9), Err(SrtpError::Reused));
    assert_eq!(send(SSRC + 1, 11), Err(SrtpError::OtherSsrc));
    assert_eq!(send(SSRC, 11), Ok(23));
}

#[test]
fn another_key_opens_nothing_and_a_new_key_keeps_the_rollover_counter() {
    for suite in SrtpSuite::ALL {
        let (mut sender, mut receiver) = pair(suite, &[1; 23]);
        for index in 0xFFFE..0x1_0002_u32 {
            receiver.unprotect_rtp(&mut protect(&mut sender, &rtp(SSRC, index as u16, &[9]))).unwrap();
        }
        let fresh = key(suite, &[2; 23]);

        sender.rekey(&fresh);
        let packet = protect(&mut sender, &rtp(SSRC, 2, &[9]));
        assert_eq!(receiver.unprotect_rtp(&mut packet.clone()), Err(SrtpError::Forged), "{suite:?}");
        receiver.rekey(&fresh);

        assert_eq!(receiver.unprotect_rtp(&mut packet.clone()), Ok(13), "{suite:?}");
        assert_eq!(receiver.unprotect_rtp(&mut packet.clone()), Err(SrtpError::Replayed), "{suite:?}");
    }
}

/// RFC 4568 §6.2.2: 32 bits for RTP, but 80 for RTCP.
#[test]
fn tags_have_the_length_of_their_suite() {
    for (suite, rtp_tag, rtcp_tag) in [
        (SrtpSuite::AeadAes256Gcm, 16, 16),
        (SrtpSuite::AeadAes128Gcm, 16, 16),
        (SrtpSuite::AesCm128HmacSha1_80, 10, 10),
        (SrtpSuite::AesCm128HmacSha1_32, 4, 10),
    ] {
        let (mut sender, _) = pair(suite, &[1; 23]);

        assert_eq!(protect(&mut sender, &rtp(SSRC, 1, &[9])).len(), 13 + rtp_tag);
        assert_eq!(protect_report(&mut sender, &rtcp(SSRC, &[])).len(), 8 + rtcp_tag + 4);
    }
}

fn key(suite: SrtpSuite, random: &[u8; 23]) -> SrtpKey {
    let mut twice = [0; SrtpKey::LONGEST];
    twice[..23].copy_from_slice(random);
    twice[23..].copy_from_slice(random);
    SrtpKey::from_random(suite, &twice)
}

fn pair(suite: SrtpSuite, random: &[u8; 23]) -> (SrtpSender, SrtpReceiver) {
    let key = key(suite, random);
    (SrtpSender::new(&key), SrtpReceiver::new(&key))
}

fn rtp(ssrc: u32, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend([0, 0, 1, 2]);
    packet.extend(ssrc.to_be_bytes());
    packet.extend(payload);
    packet
}

fn rtcp(ssrc: u32, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend(ssrc.to_be_bytes());
    packet.extend(body);
    packet
}

fn protect(sender: &mut SrtpSender, plain: &[u8]) -> Vec<u8> {
    let mut packet = plain.to_vec();
    packet.resize(plain.len() + SRTP_OVERHEAD, 0);
    let length = sender.protect_rtp(&mut packet, plain.len()).expect("there is room");
    packet.truncate(length);
    packet
}

fn protect_report(sender: &mut SrtpSender, plain: &[u8]) -> Vec<u8> {
    let mut packet = plain.to_vec();
    packet.resize(plain.len() + SRTCP_OVERHEAD, 0);
    let length = sender.protect_rtcp(&mut packet, plain.len()).expect("there is room");
    packet.truncate(length);
    packet
}
