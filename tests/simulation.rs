//! Thousands of calls through the exchange in virtual time, over a network that loses, repeats and reorders, with
//! engines that refuse, stall and die, callers that cancel at the wrong moment, and an API that interferes.
//!
//! What must hold for every call, whatever happens: exactly one last event, `seq` without gaps, every leg ended on both
//! sides, every order answered, no timer left. On failure the seed is printed; `SIMULATION_SEED=n` runs that one alone.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod simulated;

use simulated::{Report, World};

/// Calls over all seeds.
const CALLS: u64 = 10_000;
/// Calls that run at once in one world.
const CALLS_A_WORLD: u64 = 20;

#[test]
fn ten_thousand_random_calls_each_end_exactly_once() {
    let seeds: Vec<u64> = match std::env::var("SIMULATION_SEED") {
        Ok(seed) => vec![seed.parse().expect("SIMULATION_SEED is a number")],
        Err(_) => (0..CALLS / CALLS_A_WORLD).collect(),
    };
    let mut total = Report::default();
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| World::new(seed).run(CALLS_A_WORLD));
        match outcome {
            Ok(report) => total.add(&report),
            Err(panic) => {
                eprintln!("run it alone with SIMULATION_SEED={seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("{total:#?}");

    assert!(total.calls >= CALLS || std::env::var("SIMULATION_SEED").is_ok());
    if std::env::var("SIMULATION_SEED").is_err() {
        total.assert_that_everything_happened();
    }
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let one = World::new(4711).run(CALLS_A_WORLD);
    let other = World::new(4711).run(CALLS_A_WORLD);

    assert_eq!(one, other);
}

/// The process is killed at a random moment; the next one starts from what was on disk.
#[test]
fn after_a_crash_every_kept_call_gets_its_one_last_event() {
    for seed in 0..200 {
        let mut world = World::new(seed);
        world.run_until_crash(CALLS_A_WORLD);
        world.restart_and_check();
    }
}
