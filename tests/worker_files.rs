//! Calls that come and go leave no file open. Alone in its process, since open files are counted by process.
#![expect(clippy::disallowed_methods, reason = "a shell is tested on sockets")]
#![expect(clippy::unwrap_used, reason = "a test may fail that way, in its helpers too")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for one thing among many")]

#[path = "support/voice_rig.rs"]
mod voice_rig;

use std::time::Instant;

use callingedge::call::Dialect;
use voice_rig::{PATIENCE, Rig, call, config};

#[test]
fn a_hundred_calls_leave_nothing_open() {
    let mut rig = Rig::new(config());
    let before = open_files();

    let mut calls = Vec::new();
    for number in 0..100 {
        let dialect = if number % 2 == 0 { Dialect::EdgeV1 } else { Dialect::Twilio };
        calls.push((call(number), rig.answered(call(number), dialect)));
    }
    assert!(open_files() >= before + 600, "each call has six ends here");
    assert_eq!(rig.workers.calls(), 100);
    for (call, (engine, far_end)) in calls {
        rig.close(call);
        drop((engine, far_end));
    }

    let began = Instant::now();
    while open_files() > before || rig.workers.calls() > 0 {
        assert!(began.elapsed() < PATIENCE, "{} of {before} files are open", open_files());
        std::thread::yield_now();
    }
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
