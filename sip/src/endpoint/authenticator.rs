//! Answers to 401 and 407: RFC 3261 §22.2, §22.3.
//!
//! A challenge is remembered for its realm and answered in every later request of the dialog too, counting the uses of
//! its nonce, so that a BYE need not be refused first. One request is tried again at most once for each realm, and once
//! more when the server says that only the nonce was too old: a server that always refuses ends the game after two tries.

use std::sync::Arc;

use rand::Rng;

use crate::auth::{Challenge, Credentials};
use crate::{HeaderName, Message, Method};

/// Realms that one dialog may know; a chain of proxies has one or two.
const MAX_REALMS: usize = 4;

/// The credentials of one dialog and the challenges they answer.
#[derive(Debug, Clone)]
pub(crate) struct Authenticator {
    credentials: Option<Arc<Credentials>>,
    realms: Vec<Realm>,
}

#[derive(Debug, Clone)]
struct Realm {
    asker: Asker,
    challenge: Challenge,
    uses: u32,
}

/// Who asks: each has its own pair of headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    Server,
    Proxy,
}

impl Asker {
    const BOTH: [Self; 2] = [Self::Server, Self::Proxy];

    fn challenge_header(self) -> HeaderName {
        match self {
            Self::Server => HeaderName::WwwAuthenticate,
            Self::Proxy => HeaderName::ProxyAuthenticate,
        }
    }

    fn answer_header(self) -> HeaderName {
        match self {
            Self::Server => HeaderName::Authorization,
            Self::Proxy => HeaderName::ProxyAuthorization,
        }
    }
}

/// The challenges that one request has already been sent again for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tries(Vec<(Asker, String, u8)>);

impl Authenticator {
    pub(crate) fn new(credentials: Option<Arc<Credentials>>) -> Self {
        Self { credentials, realms: Vec::new() }
    }

    /// Takes the challenges of a 401 or 407. Answers what has been tried with the next attempt, or `None` if another
    /// attempt is not worth making.
    pub(crate) fn learn(&mut self, response: &Message, tries: &Tries) -> Option<Tries> {
        self.credentials.as_ref()?;
        let mut next = tries.clone();
        for asker in Asker::BOTH {
            let mut seen: Vec<String> = Vec::new();
            // The first challenge of a realm that we can answer is the one the server likes best (RFC 8760 §2.4).
            for challenge in response.challenges(asker.challenge_header()) {
                if seen.contains(&challenge.realm) {
                    continue;
                }
                seen.push(challenge.realm.clone());
                self.note_try(&mut next, asker, &challenge)?;
                self.remember(asker, challenge);
            }
        }
        (next != *tries).then_some(next)
    }

    /// The header lines that answer every known challenge for one request.
    pub(crate) fn authorize(
        &mut self,
        method: Method<'_>,
        uri: &str,
        body: &[u8],
        chance: &mut impl Rng,
    ) -> Vec<(HeaderName, String)> {
        let Some(credentials) = &self.credentials else { return Vec::new() };
        let answer = |realm: &mut Realm| {
            realm.uses += 1;
            let cnonce = format!("{:016x}", chance.random::<u64>());
            let Realm { asker, challenge, uses } = realm;
            let answer = challenge.respond(credentials, method, uri, body, &cnonce, *uses);
            (asker.answer_header(), answer.to_string())
        };
        self.realms.iter_mut().map(answer).collect()
    }

    fn note_try(&self, tries: &mut Tries, asker: Asker, challenge: &Challenge) -> Option<()> {
        let is_known = |(who, realm, _): &(Asker, String, u8)| *who == asker && *realm == challenge.realm;
        match tries.0.iter().position(is_known) {
            None if tries.0.len() < MAX_REALMS => tries.0.push((asker, challenge.realm.clone(), 1)),
            Some(at) if tries.0[at].2 == 1 && challenge.stale => tries.0[at].2 = 2,
            None | Some(_) => return None,
        }
        Some(())
    }

    fn remember(&mut self, asker: Asker, challenge: Challenge) {
        let is_known = |realm: &Realm| realm.asker == asker && realm.challenge.realm == challenge.realm;
        match self.realms.iter().position(is_known) {
            // The same nonce again: its count goes on.
            Some(at) if self.realms[at].challenge.nonce == challenge.nonce => {
                self.realms[at].challenge = challenge;
            }
            Some(at) => self.realms[at] = Realm { asker, challenge, uses: 0 },
            None if self.realms.len() < MAX_REALMS => self.realms.push(Realm { asker, challenge, uses: 0 }),
            None => {}
        }
    }
}
