//! Digest of inbound calls (RFC 3261 §22, RFC 7616, RFC 8760): the nonces that we gave out and what an answer is worth.
//!
//! A nonce counts upwards (`nc`), lives five minutes, and is forgotten after that or when too many newer ones are there.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;
use sip::auth::{Algorithm, Authorization, Challenge, Credentials, Qop};

/// How long a nonce may be answered.
const LIFETIME: Duration = Duration::from_secs(300);
/// Nonces remembered; beyond, the oldest is forgotten, and who answers it is told that it is stale.
const NONCES_MAX: usize = 10_000;
/// What we offer, the preferred first (RFC 8760 §2.4).
const OFFERED: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Md5];

/// What a request says of who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// The credentials are right, the nonce is ours and fresh, its count unused.
    Right,
    /// The credentials are right, the nonce is not fresh or its count was used.
    Stale,
    /// Credentials that are not the ones, or an answer that cannot be read.
    Wrong,
    /// No answer for our realm.
    Missing,
}

#[derive(Debug, Clone, Copy)]
struct Given {
    until: Instant,
    last_count: u32,
}

/// The nonces.
#[derive(Debug, Default)]
pub(super) struct Challenges {
    given: HashMap<String, Given>,
    /// As they were given, the oldest first; each is in `given`.
    order: VecDeque<String>,
}

impl Challenges {
    /// Judges the `Authorization` of a request, and marks its count as used when it is right.
    pub(super) fn judge(
        &mut self,
        now: Instant,
        request: &sip::Message,
        realm: &str,
        credentials: &Credentials,
    ) -> Proof {
        let mut is_malformed = false;
        let mut answers = request
            .all_headers()
            .filter(|(name, _)| name.eq_ignore_ascii_case("Authorization"))
            .filter_map(|(_, value)| match Authorization::parse(value.text().as_bytes()) {
                Ok(answer) => Some(answer),
                Err(_) => {
                    is_malformed = true;
                    None
                }
            })
            .filter(|answer| answer.realm == realm);
        let Some(answer) = answers.next() else {
            return if is_malformed { Proof::Wrong } else { Proof::Missing };
        };
        let (Some(method), Some(count)) = (request.method(), answer.count()) else { return Proof::Wrong };
        let is_offered = OFFERED.contains(&answer.algorithm) && answer.qop == Some(Qop::Auth);
        // Always computed, so that the time tells nothing about which part was wrong.
        let is_right = answer.verify(credentials, method, &[]);
        if !(is_right && is_offered && is_for(&answer, request)) {
            return Proof::Wrong;
        }
        match self.given.get_mut(&answer.nonce) {
            Some(given) if now < given.until && count > given.last_count => {
                given.last_count = count;
                Proof::Right
            }
            Some(_) | None => Proof::Stale,
        }
    }

    /// The headers of a 401: one fresh nonce, one line for each algorithm.
    pub(super) fn challenge(
        &mut self,
        now: Instant,
        realm: &str,
        stale: bool,
        chance: &mut StdRng,
    ) -> sip::Headers {
        self.forget(now);
        let nonce = format!("{:032x}", chance.random::<u128>());
        self.given.insert(nonce.clone(), Given { until: now + LIFETIME, last_count: 0 });
        self.order.push_back(nonce.clone());
        let lines = OFFERED.into_iter().map(|algorithm| {
            let challenge = Challenge {
                realm: realm.to_owned(),
                nonce: nonce.clone(),
                opaque: None,
                algorithm,
                qop: vec![Qop::Auth],
                stale,
            };
            ("WWW-Authenticate".into(), challenge.to_string())
        });
        lines.collect()
    }

    /// Makes room for one more.
    fn forget(&mut self, now: Instant) {
        while let Some(oldest) = self.order.front() {
            let is_over = self.given.get(oldest).is_none_or(|given| given.until <= now);
            if !is_over && self.order.len() < NONCES_MAX {
                return;
            }
            self.given.remove(oldest);
            self.order.pop_front();
        }
    }
}

/// Whether the answer was made for the number that is called. Its host is not compared: a proxy on the way may have
/// changed it (RFC 3261 §22.4), and some clients name only the host.
fn is_for(answer: &Authorization, request: &sip::Message) -> bool {
    let (Ok(named), Ok(called)) = (sip::Uri::parse(answer.uri.clone()), request.request_uri()) else {
        return false;
    };
    named.user_text().is_none_or(|user| Some(user) == called.user_text())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn no_flood_of_challenges_grows_the_table_and_old_ones_leave_it() {
        let mut challenges = Challenges::default();
        let mut chance = StdRng::seed_from_u64(1);
        #[expect(clippy::disallowed_methods, reason = "the beginning of virtual time")]
        let now = Instant::now();

        for _ in 0..NONCES_MAX + 500 {
            challenges.challenge(now, "edge", false, &mut chance);
        }
        assert_eq!((challenges.given.len(), challenges.order.len()), (NONCES_MAX, NONCES_MAX));

        challenges.challenge(now + LIFETIME, "edge", false, &mut chance);
        assert_eq!((challenges.given.len(), challenges.order.len()), (1, 1));
    }
}
