//! Any datagram where SRTP and SRTCP are expected: it is refused, and the peer's own packets are opened afterwards.
#![no_main]

use libfuzzer_sys::fuzz_target;
use media::{SRTCP_OVERHEAD, SRTP_OVERHEAD, SrtpKey, SrtpReceiver, SrtpSender, SrtpSuite};

fuzz_target!(|data: &[u8]| {
    for suite in SrtpSuite::ALL {
        let key = SrtpKey::from_random(suite, &[7; SrtpKey::LONGEST]);
        let (mut sender, mut receiver) = (SrtpSender::new(&key), SrtpReceiver::new(&key));
        let mut packet = data.to_vec();
        assert!(receiver.unprotect_rtp(&mut packet).is_err());
        let mut packet = data.to_vec();
        assert!(receiver.unprotect_rtcp(&mut packet).is_err());

        let mut packet = data.to_vec();
        packet.resize(data.len() + SRTP_OVERHEAD, 0);
        if let Ok(length) = sender.protect_rtp(&mut packet, data.len()) {
            assert_eq!(receiver.unprotect_rtp(&mut packet[..length]), Ok(data.len()));
            assert_eq!(&packet[..data.len()], data);
        }
        let mut packet = data.to_vec();
        packet.resize(data.len() + SRTCP_OVERHEAD, 0);
        if let Ok(length) = sender.protect_rtcp(&mut packet, data.len()) {
            assert_eq!(receiver.unprotect_rtcp(&mut packet[..length]), Ok(data.len()));
            assert_eq!(&packet[..data.len()], data);
        }
    }
});
