//! For the tests: runs a transaction from deadline to deadline and writes down what it says and when.

use std::time::{Duration, Instant};

/// What the four transactions have in common for a test.
pub(super) trait Automaton {
    type Output;
    fn poll_output(&mut self) -> Option<Self::Output>;
    fn poll_timeout(&self) -> Option<Instant>;
    fn handle_timeout(&mut self, now: Instant);
}

macro_rules! automaton {
    ($name:ty, $output:ty) => {
        impl crate::transaction::timeline::Automaton for $name {
            type Output = $output;

            fn poll_output(&mut self) -> Option<$output> {
                <$name>::poll_output(self)
            }

            fn poll_timeout(&self) -> Option<std::time::Instant> {
                <$name>::poll_timeout(self)
            }

            fn handle_timeout(&mut self, now: std::time::Instant) {
                <$name>::handle_timeout(self, now);
            }
        }
    };
}
pub(super) use automaton;

/// The beginning of a test's time.
#[expect(clippy::disallowed_methods, reason = "a test asks the clock once, for its beginning")]
pub(super) fn beginning() -> Instant {
    Instant::now()
}

/// Everything said until nothing is left to wait for, in milliseconds after `start`.
pub(super) fn run_until_idle<A: Automaton>(automaton: &mut A, start: Instant) -> Vec<(u128, A::Output)> {
    let log = run_until(automaton, start, Duration::from_secs(3600));
    assert_eq!(automaton.poll_timeout(), None, "a timer is left after an hour");
    log
}

/// Everything said until `span` after `start`; deadlines after that stay.
pub(super) fn run_until<A: Automaton>(
    automaton: &mut A,
    start: Instant,
    span: Duration,
) -> Vec<(u128, A::Output)> {
    let mut log = Vec::new();
    let mut now = start;
    loop {
        while let Some(output) = automaton.poll_output() {
            log.push((now.duration_since(start).as_millis(), output));
        }
        match automaton.poll_timeout() {
            Some(at) if at <= start + span => now = now.max(at),
            Some(_) | None => return log,
        }
        automaton.handle_timeout(now);
    }
}

/// The times at which `wanted` holds.
pub(super) fn times<O>(log: &[(u128, O)], wanted: impl Fn(&O) -> bool) -> Vec<u128> {
    log.iter().filter(|(_, output)| wanted(output)).map(|(at, _)| *at).collect()
}
