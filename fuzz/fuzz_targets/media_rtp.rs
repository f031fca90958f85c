//! A run of datagrams at the RTP port: two bytes say how long the next one is and when and whence it comes.
#![no_main]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use media::{Codec, Negotiated, PACKET_MAX, Session, SessionConfig};

fuzz_target!(|data: &[u8]| {
    let start = Instant::now();
    let negotiated = Negotiated::plain(SocketAddr::from(([192, 0, 2, 1], 4_000)), Codec::Pcmu);
    let mut session = Session::new(start, &negotiated, SessionConfig::from_seed(1));
    let mut now = start;
    let mut rest = data;
    let (mut given, mut taken) = (0, 0);
    while let [length, from, after @ ..] = rest {
        let length = usize::from(*length) * 2;
        let (datagram, after) = after.split_at(length.min(after.len()));
        rest = after;
        now += Duration::from_millis(u64::from(from >> 2));
        let from = SocketAddr::from(([192, 0, 2, 1 + (from & 3)], 4_000));
        session.handle_timeout(now);
        given += 1;
        taken += u64::from(session.handle_rtp(now, from, datagram).is_ok());
        let mut last = None;
        while let Some(frame) = session.next_frame(now) {
            assert!(!frame.payload.is_empty() && frame.payload.len() <= 480);
            assert!(last.is_none_or(|last| last <= 16));
            last = Some(last.map_or(1, |count: u32| count + 1));
        }
        while session.next_dtmf().is_some() {}
        while session.next_fact().is_some() {}
        assert!(session.next_packet(now, &mut [0; PACKET_MAX]).is_some());
    }
    let statistics = session.statistics(now);
    assert_eq!(statistics.discarded.total() + taken, given);
    assert!(statistics.frames_up <= taken);
});
