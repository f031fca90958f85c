//! A frame costs no allocation, on its way up or down, in either dialect: counted on the worker's own thread, with
//! its poller, its sockets and its websocket.
#![expect(clippy::unwrap_used, reason = "a test may fail that way, in its helpers too")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for one thing among many")]

#[path = "support/voice_rig.rs"]
mod voice_rig;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use callingedge::call::Dialect;
use voice_rig::{FakeEngine, FarEnd, Rig, call, config, speech};

/// Counts what other threads than the test's own allocate: there is no other but the worker.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static IS_TEST: Cell<bool> = const { Cell::new(false) };
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !IS_TEST.get() {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller keeps the promises that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !IS_TEST.get() {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_frame_costs_no_allocation() {
    IS_TEST.set(true);
    for dialect in [Dialect::EdgeV1, Dialect::Twilio] {
        let mut rig = Rig::new(config());
        let (mut engine, mut far_end) = rig.answered(call(1), dialect);
        talk(dialect, &mut engine, &mut far_end, 150);

        let before = ALLOCATIONS.load(Ordering::Relaxed);
        talk(dialect, &mut engine, &mut far_end, 150);
        let after = ALLOCATIONS.load(Ordering::Relaxed);

        assert_eq!(after - before, 0, "{dialect:?}: in 150 frames each way");
        assert!(before > 0, "the worker's thread is counted");
        let summary = rig.close(call(1));
        assert_eq!((summary.frames_to_engine, summary.frames_to_engine_dropped), (300, 0));
    }
}

/// With every beat a frame up and a frame down.
fn talk(dialect: Dialect, engine: &mut FakeEngine, far_end: &mut FarEnd, beats: usize) {
    let audio = speech(160);
    for _ in 0..beats {
        far_end.next();
        far_end.say(&audio);
        assert_eq!(engine.hear(160), audio);
        engine.say_audio(dialect, 1, &audio);
    }
}
