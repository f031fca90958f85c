//! Being known to a registrar: REGISTER (RFC 3261 §10.2) of one trunk.
//! ```text
//!                        200                      time to refresh, stream lost
//!   [Asking] ----------------------> [Registered] ----------------+
//!     ^  | 423: once more, longer                                 |
//!     |  | anything else, nothing: wait                           |
//!     |  +-----------------------> [Waiting] ---- wait is over ---+---> [Asking]
//!     |
//!   told to stop, from any state but Waiting: [Leaving] -- answered, or two seconds --> [Gone]
//! ```
//! Digest is the endpoint's business. What is left to others: which target the registrar is at, and what it says in
//! `Service-Route` (RFC 3608), which is not followed.

use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;

use super::output::RegistrationState;

/// The first wait after a failure; each further one twice as long, and each shortened by chance to as little as half.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// The longest wait, whatever `Retry-After` says.
const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// How long the farewell may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// What we grant ourselves at most, whatever a registrar asks for with 423.
const LONGEST_EXPIRES: u32 = 86_400;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Asking { request: sip::RequestId },
    Registered { refresh: Instant, until: Instant },
    Waiting { until: Instant },
    Leaving { request: sip::RequestId, until: Instant },
    Gone,
}

/// The registration of one trunk.
#[derive(Debug)]
pub(super) struct Registration {
    state: State,
    /// What is asked for, in seconds.
    expires: u32,
    failures: u32,
    detail: String,
}

impl Registration {
    /// To be asked for at once.
    pub(super) fn new(now: Instant, expires: Duration) -> Self {
        let expires = u32::try_from(expires.as_secs()).unwrap_or(LONGEST_EXPIRES).min(LONGEST_EXPIRES);
        Self {
            state: State::Waiting { until: now },
            expires,
            failures: 0,
            detail: "not registered yet".to_owned(),
        }
    }

    /// What to ask for, in seconds.
    pub(super) fn expires(&self) -> u32 {
        self.expires
    }

    /// Whether REGISTER is to be sent now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        match self.state {
            State::Waiting { until } | State::Registered { refresh: until, .. } => until <= now,
            State::Asking { .. } | State::Leaving { .. } | State::Gone => false,
        }
    }

    /// When something is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Waiting { until }
            | State::Registered { refresh: until, .. }
            | State::Leaving { until, .. } => Some(until),
            State::Asking { .. } | State::Gone => None,
        }
    }

    /// REGISTER is on its way.
    pub(super) fn asked(&mut self, request: sip::RequestId) {
        self.state = State::Asking { request };
    }

    /// Whether its answer is waited for.
    pub(super) fn waits_for(&self, request: sip::RequestId) -> bool {
        match self.state {
            State::Asking { request: ours } | State::Leaving { request: ours, .. } => ours == request,
            State::Registered { .. } | State::Waiting { .. } | State::Gone => false,
        }
    }

    /// 2xx: granted for so many seconds.
    pub(super) fn granted(&mut self, now: Instant, seconds: u32, chance: &mut StdRng) {
        if let State::Leaving { .. } = self.state {
            self.state = State::Gone;
            return;
        }
        let granted = Duration::from_secs(seconds.max(1).into());
        // Early enough for a lost answer, and not all trunks of the world at once.
        let refresh = now + granted.mul_f64(chance.random_range(0.75..0.9));
        self.state = State::Registered { refresh, until: now + granted };
        self.failures = 0;
        self.detail = format!("registered for {seconds} s");
    }

    /// 423: not for so short a time. False when it makes no sense to ask again.
    pub(super) fn too_brief(&mut self, now: Instant, least: Option<u32>) -> bool {
        match least.filter(|least| (self.expires + 1..=LONGEST_EXPIRES).contains(least)) {
            Some(least) => {
                self.expires = least;
                self.state = State::Waiting { until: now };
                true
            }
            None => false,
        }
    }

    /// No 2xx.
    pub(super) fn failed(
        &mut self,
        now: Instant,
        why: String,
        retry_after: Option<Duration>,
        chance: &mut StdRng,
    ) {
        if let State::Leaving { .. } = self.state {
            self.state = State::Gone;
            return;
        }
        let wait = match retry_after {
            Some(asked) => asked.clamp(FIRST_WAIT, LONGEST_WAIT),
            None => {
                let doubled = FIRST_WAIT * 2u32.saturating_pow(self.failures.min(10));
                doubled.min(LONGEST_WAIT).mul_f64(chance.random_range(0.5..=1.0))
            }
        };
        self.failures += 1;
        self.state = State::Waiting { until: now + wait };
        self.detail = why;
    }

    /// The stream to the registrar is gone, and with it perhaps the way back to us.
    pub(super) fn flow_lost(&mut self, now: Instant, chance: &mut StdRng) {
        if let State::Registered { refresh, until } = self.state {
            let soon = now + FIRST_WAIT.mul_f64(chance.random_range(0.1..1.0));
            self.state = State::Registered { refresh: refresh.min(soon), until };
        }
    }

    /// Whether a farewell makes sense; what was never granted needs none.
    pub(super) fn is_bound(&self) -> bool {
        match self.state {
            State::Asking { .. } | State::Registered { .. } => true,
            State::Waiting { .. } | State::Leaving { .. } | State::Gone => false,
        }
    }

    /// REGISTER with Expires: 0 is on its way, or nothing needed saying.
    pub(super) fn leave(&mut self, now: Instant, request: Option<sip::RequestId>) {
        self.state = match request {
            Some(request) => State::Leaving { request, until: now + FAREWELL },
            None => State::Gone,
        };
        self.detail = "unregistered".to_owned();
    }

    /// Whether the farewell is still waited for.
    pub(super) fn is_leaving(&self, now: Instant) -> bool {
        matches!(self.state, State::Leaving { until, .. } if until > now)
    }

    /// Lets time pass.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let State::Leaving { until, .. } = self.state
            && until <= now
        {
            self.state = State::Gone;
        }
    }

    /// How it is, and what was said last.
    pub(super) fn health(&self, now: Instant) -> (RegistrationState, String) {
        let state = match self.state {
            State::Registered { until, .. } if until > now => RegistrationState::Registered,
            State::Asking { .. } if self.failures == 0 => RegistrationState::Registering,
            State::Waiting { .. } if self.failures == 0 => RegistrationState::Registering,
            State::Asking { .. } | State::Waiting { .. } | State::Registered { .. } => {
                RegistrationState::Failed
            }
            State::Leaving { .. } | State::Gone => RegistrationState::Unregistered,
        };
        (state, self.detail.clone())
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn it_is_refreshed_before_it_ends() {
        for seed in 0..100 {
            let (mut registration, now, mut chance) = asked(seed);
            registration.granted(now, 60, &mut chance);

            let refresh = registration.poll_timeout().unwrap() - now;

            assert!((45..54).contains(&refresh.as_secs()), "{refresh:?}");
            assert!(!registration.is_due(now) && registration.is_due(now + refresh));
            assert_eq!(registration.health(now).0, RegistrationState::Registered);
            assert_eq!(registration.health(now + Duration::from_secs(61)).0, RegistrationState::Failed);
        }
    }

    #[test]
    fn failures_are_waited_out_longer_each_time_and_forgotten_after_a_success() {
        let (mut registration, mut now, mut chance) = asked(1);
        for most in [5, 10, 20, 40, 80, 160, 320, 600, 600] {
            registration.failed(now, "no response".into(), None, &mut chance);
            let wait = registration.poll_timeout().unwrap() - now;
            assert!(
                wait <= Duration::from_secs(most) && wait >= Duration::from_secs(most) / 2,
                "{wait:?} of {most}"
            );
            assert_eq!(registration.health(now), (RegistrationState::Failed, "no response".to_owned()));
            now += wait;
            assert!(registration.is_due(now));
            registration.asked(sip::RequestId(1));
        }
        registration.granted(now, 60, &mut chance);
        registration.failed(now, "503".into(), None, &mut chance);
        assert!(registration.poll_timeout().unwrap() - now <= FIRST_WAIT);
        registration.failed(now, "503".into(), Some(Duration::from_secs(77)), &mut chance);
        assert_eq!(registration.poll_timeout().unwrap() - now, Duration::from_secs(77));
    }

    #[test]
    fn a_longer_time_is_asked_for_once_when_the_registrar_wants_one() {
        let (mut registration, now, _) = asked(1);

        assert!(registration.too_brief(now, Some(3600)));
        assert_eq!((registration.expires(), registration.is_due(now)), (3600, true));
        for nonsense in [None, Some(0), Some(3600), Some(u32::MAX)] {
            assert!(!registration.too_brief(now, nonsense), "{nonsense:?}");
        }
    }

    #[test]
    fn a_lost_stream_is_replaced_within_seconds() {
        let (mut registration, now, mut chance) = asked(1);
        registration.granted(now, 3600, &mut chance);

        registration.flow_lost(now, &mut chance);

        assert!(registration.poll_timeout().unwrap() - now <= FIRST_WAIT);
    }

    #[test]
    fn a_farewell_is_waited_for_two_seconds_and_only_where_there_is_something_to_take_back() {
        let (mut registration, now, mut chance) = asked(1);
        assert!(registration.is_bound());
        registration.leave(now, Some(sip::RequestId(2)));
        assert!(registration.is_leaving(now) && registration.waits_for(sip::RequestId(2)));
        registration.handle_timeout(now + FAREWELL);
        assert!(!registration.is_leaving(now) && registration.poll_timeout().is_none());

        let (mut failed, now, _) = asked(2);
        failed.failed(now, "403 Forbidden".into(), None, &mut chance);
        assert!(!failed.is_bound());
    }

    fn asked(seed: u64) -> (Registration, Instant, StdRng) {
        let now = beginning();
        let mut registration = Registration::new(now, Duration::from_secs(60));
        assert!(registration.is_due(now));
        registration.asked(sip::RequestId(1));
        (registration, now, StdRng::seed_from_u64(seed))
    }

    #[expect(clippy::disallowed_methods, reason = "a test asks the clock once, for its beginning")]
    fn beginning() -> Instant {
        Instant::now()
    }
}
