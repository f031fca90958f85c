//! Telephone events in any order and of any content: six bytes a packet, a seventh for when it comes.
#![no_main]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use media::{Codec, Negotiated, Session, SessionConfig};

fuzz_target!(|data: &[u8]| {
    let mut now = Instant::now();
    let peer = SocketAddr::from(([192, 0, 2, 1], 4_000));
    let mut session = Session::new(now, &Negotiated::plain(peer, Codec::Pcmu), SessionConfig::from_seed(1));
    let (mut packets, mut digits) = (0, 0);
    for (sequence, bytes) in (0_u16..).zip(data.chunks_exact(7)) {
        let [event, flags, high, low, time, step, wait] = *bytes else { return };
        now += Duration::from_millis(u64::from(wait));
        let mut packet = vec![0x80, 101 | flags << 7];
        packet.extend(sequence.to_be_bytes());
        packet.extend([0, time, step, 0, 1, 2, 3, 4, event, flags, high, low]);
        session.handle_timeout(now);
        let _ = session.handle_rtp(now, peer, &packet);
        packets += 1;
        assert!(session.next_frame(now).is_none());
        while session.next_dtmf().is_some() {
            digits += 1;
        }
    }
    session.handle_timeout(now + Duration::from_secs(1));
    while session.next_dtmf().is_some() {
        digits += 1;
    }
    assert!(digits <= packets);
    assert_eq!(session.statistics(now).dtmf_in, digits);
});
