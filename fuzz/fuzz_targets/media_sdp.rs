//! Any body as offer and as answer: it is refused, or what we say in return is understood by ourselves.
#![no_main]

use libfuzzer_sys::fuzz_target;
use media::{Codec, Direction, LocalMedia, Negotiator};

fuzz_target!(|data: &[u8]| {
    let mut callee = negotiator();
    if let Ok((agreed, answer)) = callee.handle_offer(data) {
        let lines =
            |body: &[u8]| body.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"m=")).count();
        assert!(lines(&answer) >= 1);
        assert!(agreed.payload_type < 128);
        let (again, same) = callee.handle_offer(data).expect("what was taken once is taken again");
        assert_eq!((agreed, answer), (again, same));
        let offer = callee.offer(Direction::SendRecv);
        negotiator().handle_offer(&offer).expect("our own offer");
    }
    let mut caller = negotiator();
    caller.offer(Direction::SendRecv);
    if caller.handle_answer(data).is_ok() {
        let _ = caller.handle_answer(data);
        caller.offer(Direction::SendOnly);
        caller.rollback();
    }
});

fn negotiator() -> Negotiator {
    let local = LocalMedia {
        address: [192, 0, 2, 1].into(),
        port: 30_000,
        codecs: Codec::ALL.to_vec(),
        telephone_event: true,
        ptime_ms: 20,
    };
    Negotiator::new(local, 7)
}
