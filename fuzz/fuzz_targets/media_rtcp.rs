//! Any datagram at the RTCP port, and our own report afterwards.
#![no_main]

use std::net::SocketAddr;
use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use media::{Codec, Negotiated, REPORT_MAX, Session, SessionConfig};

fuzz_target!(|data: &[u8]| {
    let now = Instant::now();
    let peer = SocketAddr::from(([192, 0, 2, 1], 4_000));
    let mut session = Session::new(now, &Negotiated::plain(peer, Codec::Pcmu), SessionConfig::from_seed(1));
    let _ = session.handle_rtcp(now, peer, data);
    let _ = session.handle_rtcp(now, peer, data);
    let mut report = [0; REPORT_MAX];
    let (length, _) = session.farewell(now, &mut report).expect("the peer has an address");
    let mut other = Session::new(now, &Negotiated::plain(peer, Codec::Pcmu), SessionConfig::from_seed(2));
    other.handle_rtcp(now, peer, &report[..length]).expect("our own report");
    let statistics = session.statistics(now);
    assert!(statistics.remote_loss_pct.is_none_or(|loss| (0.0..=100.0).contains(&loss)));
    assert!(statistics.rtt_ms.is_none_or(f32::is_finite));
});
