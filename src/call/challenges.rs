//! Digest of inbound calls (RFC 3261 §22, RFC 7616, RFC 8760): the nonces that we gave out and what an answer is worth.
//! ```text
//!   nonce = milliseconds since our beginning . chance . seal over both         hexadecimal digits
//!   401 (nonce) ---> answered right, nc grows, less than five minutes old ---> the call is taken
//! ```
//! A nonce carries its own age under a seal, so that challenges cost no memory, and a flood of them makes nobody's
//! nonce go. Kept are only the counts (`nc`) of nonces that somebody has answered with the right password.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;
use sip::auth::{Algorithm, Authorization, Challenge, Credentials, Qop};

use super::settings::InboundDigest;
use crate::crypto::hmac_sha256;

/// How long a nonce may be answered.
const LIFETIME: Duration = Duration::from_secs(300);
/// Counts remembered; beyond, the oldest is forgotten, and with it every nonce that is not younger: who answers one is
/// told that it is stale.
const COUNTS_MAX: usize = 10_000;
/// Bytes of the seal that a nonce carries.
const SEAL: usize = 16;

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

/// The `Authorization` of a request for our realm.
pub(super) enum Shown {
    /// There is none.
    Nothing,
    /// One that cannot be read.
    Malformed,
    /// One.
    Answer(Box<Authorization>),
}

impl Shown {
    pub(super) fn of(request: &sip::Message, realm: &str) -> Self {
        let mut shown = Self::Nothing;
        for value in request.headers(sip::HeaderName::Authorization) {
            match Authorization::parse(value.text().as_bytes()) {
                Ok(answer) if answer.realm == realm => return Self::Answer(Box::new(answer)),
                Ok(_) => {}
                Err(_) => shown = Self::Malformed,
            }
        }
        shown
    }

    pub(super) fn username(&self) -> Option<&str> {
        match self {
            Self::Answer(answer) => Some(&answer.username),
            Self::Nothing | Self::Malformed => None,
        }
    }
}

/// The count that a nonce was answered with last.
#[derive(Debug, Clone, Copy)]
struct Counted {
    given: Duration,
    count: u32,
}

/// The nonces.
#[derive(Debug, Default)]
pub(super) struct Challenges {
    /// What seals them, and when the first was given out.
    seal: Option<([u8; 32], Instant)>,
    counts: HashMap<String, Counted>,
    /// As they were answered first, the oldest first; each is in `counts`.
    order: VecDeque<String>,
    /// Nonces given before are stale: their counts are forgotten.
    floor: Duration,
}

impl Challenges {
    /// What an answer is worth with this request, were it the first time that it comes in. Without credentials that
    /// could be meant it is wrong, after the same work.
    pub(super) fn weigh(
        &self,
        now: Instant,
        shown: &Shown,
        request: &sip::Message,
        expected: Option<&InboundDigest>,
    ) -> Proof {
        let answer = match shown {
            Shown::Nothing => return Proof::Missing,
            Shown::Malformed => return Proof::Wrong,
            Shown::Answer(answer) => answer,
        };
        let (Some(method), Some(count)) = (request.method(), answer.count()) else { return Proof::Wrong };
        let decoy = Credentials { username: String::new(), password: answer.nonce.clone() };
        let credentials = expected.map_or(&decoy, |expected| &expected.credentials);
        // Always computed, so that the time tells nothing about which part was wrong.
        let is_right = answer.verify(credentials, method, &[]);
        let is_offered = expected.is_some_and(|expected| expected.algorithms.contains(&answer.algorithm));
        if !(is_right && is_offered && answer.qop == Some(Qop::Auth) && is_for(answer, request)) {
            return Proof::Wrong;
        }
        let is_unused = self.counts.get(&answer.nonce).is_none_or(|known| count > known.count);
        match self.given(now, &answer.nonce) {
            Some(_) if is_unused => Proof::Right,
            Some(_) | None => Proof::Stale,
        }
    }

    /// [`Self::weigh`], and marks the count of what is right as used.
    pub(super) fn judge(
        &mut self,
        now: Instant,
        shown: &Shown,
        request: &sip::Message,
        expected: Option<&InboundDigest>,
    ) -> Proof {
        let proof = self.weigh(now, shown, request, expected);
        if let (Proof::Right, Shown::Answer(answer)) = (proof, shown)
            && let (Some(given), Some(count)) = (self.given(now, &answer.nonce), answer.count())
        {
            self.forget(now);
            if self.counts.insert(answer.nonce.clone(), Counted { given, count }).is_none() {
                self.order.push_back(answer.nonce.clone());
            }
        }
        proof
    }

    /// The headers of a 401: one fresh nonce, one line for each algorithm.
    pub(super) fn challenge(
        &mut self,
        now: Instant,
        realm: &str,
        stale: bool,
        algorithms: &[Algorithm],
        chance: &mut StdRng,
    ) -> sip::Headers {
        let (_, began) = *self.seal.get_or_insert_with(|| (chance.random(), now));
        let since = u64::try_from((now - began).as_millis()).unwrap_or(u64::MAX);
        let head = format!("{since:016x}{:016x}", chance.random::<u64>());
        let nonce = format!("{head}{}", self.sealed(&head).unwrap_or_default());
        let lines = algorithms.iter().map(|algorithm| {
            let challenge = Challenge {
                realm: realm.to_owned(),
                nonce: nonce.clone(),
                opaque: None,
                algorithm: *algorithm,
                qop: vec![Qop::Auth],
                stale,
            };
            ("WWW-Authenticate".into(), challenge.to_string())
        });
        lines.collect()
    }

    /// When a nonce was given out, if it is ours and may still be answered.
    fn given(&self, now: Instant, nonce: &str) -> Option<Duration> {
        let (_, began) = self.seal?;
        let (head, seal) = nonce.split_at_checked(32)?;
        if self.sealed(head)? != seal {
            return None;
        }
        let given = Duration::from_millis(u64::from_str_radix(head.get(..16)?, 16).ok()?);
        let is_counted = given >= self.floor || self.counts.contains_key(nonce);
        (is_counted && now < began + given + LIFETIME).then_some(given)
    }

    fn sealed(&self, head: &str) -> Option<String> {
        let (key, _) = &self.seal?;
        let tag = hmac_sha256(key, &[head.as_bytes()]);
        Some(tag[..SEAL].iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Makes room for one more count.
    fn forget(&mut self, now: Instant) {
        let Some((_, began)) = self.seal else { return };
        while let Some(oldest) = self.order.front() {
            let known = self.counts.get(oldest).copied();
            let is_over = known.is_none_or(|known| began + known.given + LIFETIME <= now);
            if !is_over && self.order.len() < COUNTS_MAX {
                return;
            }
            if let Some(known) = known {
                self.floor = self.floor.max(known.given + Duration::from_millis(1));
            }
            self.counts.remove(oldest);
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
    fn no_flood_of_challenges_makes_a_nonce_stale() {
        let mut desk = Desk::new();
        let first = desk.nonce();

        for _ in 0..2 * COUNTS_MAX {
            desk.nonce();
        }

        assert_eq!(desk.judge(&first, 1), Proof::Right);
        assert_eq!(desk.challenges.counts.len(), 1);
    }

    #[test]
    fn of_too_many_counts_the_oldest_go_and_their_nonces_are_stale_ever_after() {
        let mut desk = Desk::new();
        let first = desk.nonce();
        assert_eq!(desk.judge(&first, 1), Proof::Right);

        for _ in 0..COUNTS_MAX {
            desk.now += Duration::from_millis(1);
            let nonce = desk.nonce();
            assert_eq!(desk.judge(&nonce, 1), Proof::Right);
        }

        let held = (desk.challenges.counts.len(), desk.challenges.order.len());
        assert_eq!(held, (COUNTS_MAX, COUNTS_MAX));
        assert_eq!(desk.judge(&first, 1), Proof::Stale);
        assert_eq!(desk.judge(&first, 2), Proof::Stale);
    }

    #[test]
    fn a_nonce_that_was_changed_is_not_ours() {
        let mut desk = Desk::new();
        let nonce = desk.nonce();
        let younger = format!("{:016x}{}", 9, &nonce[16..]);

        for changed in [younger.as_str(), &nonce[..40], &format!("{nonce}0"), "", "ä".repeat(40).as_str()] {
            assert_eq!(desk.judge(changed, 1), Proof::Stale, "{changed}");
        }
        assert_eq!(desk.judge(&nonce, 1), Proof::Right);
    }

    struct Desk {
        challenges: Challenges,
        chance: StdRng,
        now: Instant,
        expected: InboundDigest,
        invite: sip::Message,
    }

    impl Desk {
        fn new() -> Self {
            let credentials = Credentials { username: "trunk".into(), password: "secret".into() };
            #[expect(clippy::disallowed_methods, reason = "the beginning of virtual time")]
            let now = Instant::now();
            let wire = "INVITE sip:1@edge SIP/2.0\r\nContent-Length: 0\r\n\r\n";
            Self {
                challenges: Challenges::default(),
                chance: StdRng::seed_from_u64(1),
                now,
                expected: InboundDigest { credentials, algorithms: vec![Algorithm::Md5] },
                invite: sip::Message::parse(wire.into(), sip::Framing::Datagram).unwrap(),
            }
        }

        fn nonce(&mut self) -> String {
            let algorithms = [Algorithm::Md5];
            let lines = self.challenges.challenge(self.now, "edge", false, &algorithms, &mut self.chance);
            Challenge::parse(lines[0].1.as_bytes()).unwrap().nonce
        }

        fn judge(&mut self, nonce: &str, count: u32) -> Proof {
            let challenge = Challenge {
                realm: "edge".into(),
                nonce: nonce.into(),
                opaque: None,
                algorithm: Algorithm::Md5,
                qop: vec![Qop::Auth],
                stale: false,
            };
            let (who, uri) = (&self.expected.credentials, "sip:1@edge");
            let answer = challenge.respond(who, sip::Method::Invite, uri, b"", "0123456789", count);
            let shown = Shown::Answer(Box::new(answer));
            self.challenges.judge(self.now, &shown, &self.invite, Some(&self.expected))
        }
    }
}
