//! What goes up in the place of packets that were lost.

use std::f64::consts::TAU;
use std::net::SocketAddr;
use std::time::Instant;

use proptest::prelude::*;

use crate::support::{Rtp, beats, ms, start};
use media::{AudioFormat, Codec, Negotiated, SampleRate, SegmentId, Session, SessionConfig, g711};

/// Where it begins and ends in 1/8,000 s, and whether it is a guess.
type Piece = (u32, u32, bool);

#[test]
fn a_lost_packet_becomes_a_guess_as_long_as_it_was() {
    let start = start();
    let mut session = session(start, Codec::Pcmu);

    let pieces = receive(&mut session, start, &[0, 1, 3, 4]);

    assert_eq!(
        pieces,
        [(0, 160, false), (160, 320, false), (320, 480, true), (480, 640, false), (640, 800, false)]
    );
    let statistics = session.statistics(start);
    assert_eq!((statistics.concealed_ms, statistics.frames_up, statistics.lost), (20, 4, 1));
}

#[test]
fn up_to_120_ms_are_guessed_and_a_longer_gap_is_a_break() {
    for (missing, guessed_ms) in [(1, 20), (3, 60), (6, 120), (7, 0), (50, 0)] {
        let start = start();
        let mut session = session(start, Codec::Pcmu);

        let pieces = receive(&mut session, start, &[0, 1, missing + 2]);

        assert_eq!(session.statistics(start).concealed_ms, guessed_ms, "{missing} missing: {pieces:?}");
        assert_eq!(pieces.last(), Some(&(160 * (missing + 2), 160 * (missing + 3), false)));
    }
}

/// A sender that was silent, or sent a key, has left nothing out; of what was lost in between nobody knows whether it was audio.
#[test]
fn what_was_never_said_is_not_guessed() {
    let start = start();
    let silent = |index: u32, timestamp: u32| Rtp { timestamp, ..Rtp::nth(index) };
    let key = Rtp { payload_type: 101, payload: vec![5, 0x8A, 0x03, 0x20], ..Rtp::nth(2) };
    let cases = [
        vec![silent(0, 0), silent(1, 160), silent(2, 16_000)],
        vec![silent(0, 0), silent(1, 160), key, silent(3, 1_600)],
        vec![silent(0, 0), silent(1, 160), silent(3, 16_000)],
    ];
    for packets in cases {
        let mut session = session(start, Codec::Pcmu);
        for packet in packets {
            session.handle_rtp(start, peer(), &packet.bytes()).unwrap();
            drain(&mut session, start);
        }
        drain(&mut session, start + ms(100));

        assert_eq!(session.statistics(start).concealed_ms, 0);
    }
}

/// Of a tone neither the level nor the phase is lost, at either bandwidth.
#[test]
fn a_tone_goes_on_through_a_gap() {
    for (codec, rate) in [
        (Codec::Pcmu, SampleRate::Hz8000),
        (Codec::G722, SampleRate::Hz16000),
        (Codec::Opus, SampleRate::Hz16000),
    ] {
        for missing in [1, 3, 5] {
            let start = start();
            let (mut speaker, mut listener) = (session(start, codec), session(start, codec));
            let tone: Vec<u8> = (0..rate.hertz())
                .flat_map(|at| {
                    let angle = f64::from(at) * TAU * 400.0 / f64::from(rate.hertz());
                    ((angle.sin() * 8_000.0) as i16).to_le_bytes()
                })
                .collect();
            speaker.playout().push(SegmentId(1), AudioFormat::L16 { rate }, &tone).unwrap();

            let mut heard = Vec::new();
            for (at, packet) in (0..).zip(beats(&mut speaker, start, 40)) {
                let now = start + ms(20 * at);
                if !(20..20 + missing).contains(&at) {
                    listener.handle_rtp(now, peer(), &packet.unwrap().0).unwrap();
                }
                samples(&mut listener, now, &mut heard);
            }
            samples(&mut listener, start + ms(1_000), &mut heard);

            let beat = rate.hertz() as usize / 50;
            assert_eq!(heard.len(), 40 * beat, "{codec:?}, {missing} missing");
            let gap = &heard[20 * beat..(20 + missing as usize) * beat];
            let level = (gap.iter().map(|sample| sample.powi(2)).sum::<f64>() / gap.len() as f64).sqrt();
            let whole = 8_000.0 / 2.0_f64.sqrt();
            // Opus conceals by itself, and gives up sooner.
            let least = match (codec, missing) {
                (Codec::Opus, 2..) => 0.1,
                (_, 4..) => 0.4,
                (_, _) => 0.7,
            };
            assert!((least * whole..1.1 * whole).contains(&level), "{codec:?}, {missing} missing: {level}");
            let step =
                heard[18 * beat..].windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f64::max);
            assert!(step < 3_500.0, "{codec:?}, {missing} missing: a click of {step}");
        }
    }
}

#[test]
fn a_session_that_shall_not_guess_leaves_the_gap() {
    let start = start();
    let config = SessionConfig { conceal: false, ..SessionConfig::from_seed(1) };
    let mut session = Session::new(start, &Negotiated::plain(peer(), Codec::Pcmu), config);

    let pieces = receive(&mut session, start, &[0, 2]);

    assert_eq!(pieces, [(0, 160, false), (320, 480, false)]);
}

proptest! {
    /// Whatever is lost, what goes up follows on without overlap, whole where no gap was longer than 120 ms.
    #[test]
    fn pieces_follow_each_other_and_leave_out_only_long_gaps(
        came in prop::collection::vec(prop::bool::weighted(0.7), 1..120),
    ) {
        let start = start();
        let mut session = session(start, Codec::Pcma);
        let mut pieces: Vec<Piece> = Vec::new();
        for (index, came) in (0_u32..).zip(&came) {
            let now = start + ms(20 * u64::from(index));
            if *came || index == 0 {
                let packet = Rtp { payload_type: 8, ..Rtp::nth(index) };
                session.handle_rtp(now, peer(), &packet.bytes()).unwrap();
            }
            pieces.extend(drain(&mut session, now));
        }
        pieces.extend(drain(&mut session, start + ms(60_000)));

        for pair in pieces.windows(2) {
            let gap = pair[1].0 - pair[0].1;
            prop_assert!(gap == 0 || gap > 960, "{:?}", pair);
        }
        let whole: u32 = pieces.iter().filter(|(_, _, guess)| !guess).map(|(from, to, _)| to - from).sum();
        let received = came.iter().skip(1).filter(|came| **came).count() as u32 + 1;
        prop_assert_eq!(whole, 160 * received);
    }
}

fn receive(session: &mut Session, now: Instant, indexes: &[u32]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for index in indexes {
        session.handle_rtp(now, peer(), &Rtp::nth(*index).bytes()).unwrap();
        pieces.extend(drain(session, now));
    }
    pieces.extend(drain(session, now + ms(100)));
    pieces
}

fn drain(session: &mut Session, now: Instant) -> Vec<Piece> {
    let mut pieces = Vec::new();
    while let Some(frame) = session.next_frame(now) {
        let end = frame.media_time + frame.payload.len() as u32;
        pieces.push((frame.media_time, end, frame.concealed));
    }
    pieces
}

fn samples(session: &mut Session, now: Instant, heard: &mut Vec<f64>) {
    let format = session.format();
    while let Some(frame) = session.next_frame(now) {
        match format {
            AudioFormat::Pcmu => {
                heard.extend(frame.payload.iter().map(|code| f64::from(g711::ulaw_to_linear(*code))));
            }
            AudioFormat::Pcma | AudioFormat::L16 { .. } => {
                let pairs = frame.payload.chunks_exact(2);
                heard.extend(pairs.map(|pair| f64::from(i16::from_le_bytes([pair[0], pair[1]]))));
            }
        }
    }
}

fn session(now: Instant, codec: Codec) -> Session {
    Session::new(now, &Negotiated::plain(peer(), codec), SessionConfig::from_seed(1))
}

fn peer() -> SocketAddr {
    "192.0.2.1:4000".parse().unwrap()
}
