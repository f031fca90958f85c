//! The targets of one trunk: which of them a call is sent to, and what became of those before it.
//! ```text
//!               answered                        no answer, stream refused, 503 with Retry-After
//!   [Untried] -----------> [Up] ---------------------------------------------------------------+
//!       |                   ^  ^                                                               v
//!       |                   |  +-- answered -- [HalfOpen] <-- wait is over, one call tries -- [Down]
//!       +-- no answer ------|----------------------+--- no answer: the wait doubles ----------> ^
//!                           +--- an OPTIONS is answered ----------------------------------------+
//! ```
//! Targets of the lowest priority number come first, those of one priority share by weight (RFC 2782), and those that
//! are down come last: a call is better tried than refused.

use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;

use super::clock::Timestamp;
use super::output::{Health, RegistrationHealth, RegistrationState, TargetHealth, TargetState};
use super::settings::{Trunk, TrunkTarget};

/// How long a target rests that has failed once; each further time twice as long.
const FIRST_REST: Duration = Duration::from_secs(5);
/// The longest rest, whatever `Retry-After` says.
const LONGEST_REST: Duration = Duration::from_secs(300);
/// How long the one call that tries a target again may take until another may.
const TRIAL: Duration = Duration::from_secs(32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Untried,
    Up,
    Down { until: Instant, rest: Duration },
    HalfOpen { until: Instant, rest: Duration },
}

/// One target and how it is.
#[derive(Debug)]
pub(super) struct Way {
    at: TrunkTarget,
    state: State,
    detail: String,
    checked_at: Option<Timestamp>,
    /// The OPTIONS under way.
    pub(super) probe: Option<sip::RequestId>,
}

/// The targets of one trunk.
#[derive(Debug, Default)]
pub(super) struct Ways {
    ways: Vec<Way>,
    /// When they are to be asked.
    pub(super) next_probe: Option<Instant>,
    /// What is told of its registration.
    pub(super) registration: Option<RegistrationHealth>,
    /// Names that lead nowhere, each with the reason.
    missing: Vec<String>,
}

impl Ways {
    /// Probes at once where the trunk has a target and an interval.
    pub(super) fn new(now: Instant, trunk: &Trunk) -> Self {
        let probed = trunk.is_outbound() && trunk.probe_interval.is_some();
        let mut ways = Self { next_probe: probed.then_some(now), ..Self::default() };
        ways.follow(now, trunk);
        ways
    }

    /// Takes the targets of changed settings; what is known of those that stay is kept.
    pub(super) fn follow(&mut self, now: Instant, trunk: &Trunk) {
        self.missing.clone_from(&trunk.names.missing);
        let mut before = std::mem::take(&mut self.ways);
        for at in &trunk.targets {
            let known = before.iter().position(|way| way.at.target == at.target);
            self.ways.push(match known {
                Some(place) => Way { at: at.clone(), ..before.swap_remove(place) },
                None => {
                    // A target that a name server names only now is asked at once.
                    if trunk.probe_interval.is_some() {
                        self.next_probe = Some(now);
                    }
                    Way {
                        at: at.clone(),
                        state: State::Untried,
                        detail: if trunk.probe_interval.is_some() { "not probed yet" } else { "not probed" }
                            .to_owned(),
                        checked_at: None,
                        probe: None,
                    }
                }
            });
        }
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (sip::Target, &mut Way)> {
        self.ways.iter_mut().map(|way| (way.at.target, way))
    }

    /// The targets in the order in which a call is to try them.
    pub(super) fn order(&self, now: Instant, chance: &mut StdRng) -> Vec<sip::Target> {
        let mut rest: Vec<(bool, &Way)> =
            self.ways.iter().map(|way| (!way.state.is_usable(now), way)).collect();
        let mut order = Vec::with_capacity(rest.len());
        while let Some(best) = rest.iter().map(|(unusable, way)| (*unusable, way.at.priority)).min() {
            let alike: Vec<usize> =
                (0..rest.len()).filter(|at| (rest[*at].0, rest[*at].1.at.priority) == best).collect();
            let total: u32 = alike.iter().map(|at| u32::from(rest[*at].1.at.weight)).sum();
            // RFC 2782: a weight of 0 has a small chance, so it is asked first.
            let mut lot = chance.random_range(0..=total);
            let mut sorted = alike.clone();
            sorted.sort_by_key(|at| rest[*at].1.at.weight > 0);
            let chosen = sorted.into_iter().find(|at| {
                let weight = u32::from(rest[*at].1.at.weight);
                let is_it = lot <= weight;
                lot = lot.saturating_sub(weight);
                is_it
            });
            let (_, way) = rest.remove(chosen.unwrap_or(alike[0]));
            order.push(way.at.target);
        }
        order
    }

    /// A call goes to this target now.
    pub(super) fn tried(&mut self, now: Instant, target: sip::Target) {
        let Some(way) = self.way(target) else { return };
        if let State::Down { until, rest } | State::HalfOpen { until, rest } = way.state
            && until <= now
        {
            way.state = State::HalfOpen { until: now + TRIAL, rest };
        }
    }

    /// Whether it answered when it was last asked.
    pub(super) fn is_up(&self, target: sip::Target) -> bool {
        self.ways.iter().any(|way| way.at.target == target && way.state == State::Up)
    }

    /// It has answered. True when it is told otherwise than before.
    pub(super) fn succeeded(&mut self, target: sip::Target, detail: &str, at: Timestamp) -> bool {
        let Some(way) = self.way(target) else { return false };
        let changed = way.state != State::Up || way.detail != detail;
        way.state = State::Up;
        detail.clone_into(&mut way.detail);
        way.checked_at = Some(at);
        changed
    }

    /// It has not, or asks to be left alone for a while.
    pub(super) fn failed(
        &mut self,
        now: Instant,
        target: sip::Target,
        detail: &str,
        retry_after: Option<Duration>,
        at: Timestamp,
    ) {
        let Some(way) = self.way(target) else { return };
        let rest = match (retry_after, way.state) {
            (Some(asked), _) => asked,
            // A second call that was under way to the same target says nothing new.
            (None, State::Down { until, rest }) if until > now => rest,
            (None, State::Down { rest, .. } | State::HalfOpen { rest, .. }) => rest * 2,
            (None, State::Untried | State::Up) => FIRST_REST,
        };
        let rest = rest.clamp(FIRST_REST, LONGEST_REST);
        way.state = State::Down { until: now + rest, rest };
        detail.clone_into(&mut way.detail);
        way.checked_at = Some(at);
    }

    /// Whether a registrar knows us.
    pub(super) fn is_registered(&self) -> bool {
        self.registration.as_ref().is_some_and(|told| told.state == RegistrationState::Registered)
    }

    /// How they are, all together and each.
    pub(super) fn health(&self, now: Instant) -> Health {
        let targets: Vec<TargetHealth> = self.ways.iter().map(|way| way.health(now)).collect();
        let are = |state| targets.iter().filter(|target| target.state == state).count();
        let (up, unknown) = (are(TargetState::Up), are(TargetState::Unknown));
        let reachable = match (up, unknown) {
            (0, 0) if targets.is_empty() && self.missing.is_empty() => None,
            (0, 0) => Some(false),
            (0, _) => None,
            (_, _) => Some(true),
        };
        let detail = match &targets[..] {
            [] if self.missing.is_empty() => "not probed".to_owned(),
            [] => self.missing.join("; "),
            [only] => only.detail.clone(),
            several => format!("{up} of {} targets answer", several.len()),
        };
        let detail = match &self.missing[..] {
            [] => detail,
            _ if targets.is_empty() => detail,
            missing => format!("{detail}; {}", missing.join("; ")),
        };
        let checked_at = targets.iter().filter_map(|target| target.checked_at).max();
        Health { reachable, detail, checked_at, targets, registration: self.registration.clone() }
    }

    fn way(&mut self, target: sip::Target) -> Option<&mut Way> {
        self.ways.iter_mut().find(|way| way.at.target == target)
    }
}

impl Way {
    fn health(&self, now: Instant) -> TargetHealth {
        let state = match self.state {
            State::Untried => TargetState::Unknown,
            State::Up => TargetState::Up,
            State::Down { until, .. } if until > now => TargetState::Down,
            State::Down { .. } | State::HalfOpen { .. } => TargetState::HalfOpen,
        };
        TargetHealth {
            target: format!("{};transport={}", self.at.target.address, self.at.target.transport.as_param()),
            state,
            detail: self.detail.clone(),
            checked_at: self.checked_at,
        }
    }
}

impl State {
    fn is_usable(self, now: Instant) -> bool {
        match self {
            Self::Untried | Self::Up => true,
            Self::Down { until, .. } | Self::HalfOpen { until, .. } => until <= now,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::SystemTime;

    use rand::SeedableRng;

    use super::*;
    use crate::call::clock::WallClock;

    #[test]
    fn the_first_priority_comes_first_and_one_priority_is_shared_by_weight() {
        let (ways, now, _) = ways(&[(1, 3), (1, 1), (2, 0)]);
        let mut chance = StdRng::seed_from_u64(7);
        let mut firsts: BTreeMap<u16, u32> = BTreeMap::new();

        for _ in 0..4000 {
            let order = ways.order(now, &mut chance);
            assert_eq!((order.len(), order[2]), (3, at(2)));
            *firsts.entry(order[0].address.port()).or_default() += 1;
        }

        // RFC 2782 draws from 0 to the sum, so 3 to 1 is 4 to 1 out of 5 for whoever stands first.
        let share = f64::from(firsts[&5000]) / 4000.0;
        assert!((0.7..0.85).contains(&share), "{firsts:?}");
    }

    #[test]
    fn a_target_that_failed_comes_last_until_one_call_may_try_it_again() {
        let (mut ways, now, clock) = ways(&[(1, 1), (2, 1)]);
        let mut chance = StdRng::seed_from_u64(7);
        let mut order = |ways: &Ways, now| ways.order(now, &mut chance);
        assert_eq!(order(&ways, now), [at(0), at(1)]);

        ways.failed(now, at(0), "no response", None, clock.timestamp(now));
        assert_eq!(order(&ways, now), [at(1), at(0)]);
        let later = now + FIRST_REST;
        assert_eq!(ways.health(later).targets[0].state, TargetState::HalfOpen);
        assert_eq!(order(&ways, later), [at(0), at(1)]);
        ways.tried(later, at(0));
        assert_eq!(order(&ways, later), [at(1), at(0)], "one call is enough to find out");
        ways.succeeded(at(0), "200 OK", clock.timestamp(later));
        assert_eq!(order(&ways, later), [at(0), at(1)]);
    }

    #[test]
    fn the_rest_doubles_up_to_five_minutes_and_retry_after_is_honoured() {
        let (mut ways, mut now, clock) = ways(&[(1, 1)]);
        let rest = |ways: &Ways| match ways.ways[0].state {
            State::Down { rest, .. } => rest.as_secs(),
            State::Untried | State::Up | State::HalfOpen { .. } => 0,
        };
        let mut rests = Vec::new();

        for _ in 0..8 {
            ways.failed(now, at(0), "no response", None, clock.timestamp(now));
            rests.push(rest(&ways));
            now += LONGEST_REST;
            ways.tried(now, at(0));
        }
        assert_eq!(rests, [5, 10, 20, 40, 80, 160, 300, 300]);

        for (asked, kept) in [(0, 5), (60, 60), (86_400, 300)] {
            ways.failed(now, at(0), "503", Some(Duration::from_secs(asked)), clock.timestamp(now));
            assert_eq!(rest(&ways), kept);
        }
    }

    #[test]
    fn a_trunk_is_there_while_one_of_its_targets_is() {
        let (mut ways, now, clock) = ways(&[(1, 1), (1, 1)]);
        assert_eq!(ways.health(now).reachable, None);

        ways.failed(now, at(0), "no response", None, clock.timestamp(now));
        assert_eq!(ways.health(now).reachable, None);
        assert!(ways.succeeded(at(1), "200 OK", clock.timestamp(now)));
        let health = ways.health(now);
        assert_eq!((health.reachable, &*health.detail), (Some(true), "1 of 2 targets answer"));
        ways.failed(now, at(1), "no response", None, clock.timestamp(now));
        assert_eq!(ways.health(now).reachable, Some(false));
    }

    fn ways(targets: &[(u16, u16)]) -> (Ways, Instant, WallClock) {
        let now = beginning();
        let way = |(place, (priority, weight)): (usize, &(u16, u16))| Way {
            at: TrunkTarget { target: at(place), host: String::new(), priority: *priority, weight: *weight },
            state: State::Untried,
            detail: String::new(),
            checked_at: None,
            probe: None,
        };
        let ways = targets.iter().enumerate().map(way).collect();
        (Ways { ways, ..Ways::default() }, now, WallClock::new(now, SystemTime::UNIX_EPOCH))
    }

    fn at(place: usize) -> sip::Target {
        let port = 5000 + u16::try_from(place).unwrap();
        sip::Target { transport: sip::Transport::Udp, address: ([192, 0, 2, 1], port).into() }
    }

    #[expect(clippy::disallowed_methods, reason = "a test asks the clock once, for its beginning")]
    fn beginning() -> Instant {
        Instant::now()
    }
}
