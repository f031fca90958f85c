//! Genesys AudioHook: the platform opens a websocket to us and signs its request (an HTTP message signature with one key of both).
//! ```text
//!   Signature-Input: sig1=("@request-target" "@authority" "audiohook-organization-id" "audiohook-session-id"
//!                          "audiohook-correlation-id" "x-api-key");keyid="…";nonce="…";alg="hmac-sha256";created=…;expires=…
//!   Signature:       sig1=:base64(HMAC-SHA256(secret, base)):
//!   base             one line `"name": value` for each of them, then `"@signature-params": ` and what stands behind `sig1=`
//! ```
//! A request is taken once: it is ten seconds old at most, and its nonce is remembered for longer than that.

use std::collections::{HashSet, VecDeque};
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::crypto;

/// How old a request may be, in seconds.
const AGE_MAX: i64 = 10;

/// How far the platform's clock may be ahead of ours, in seconds.
const SKEW_MAX: i64 = 3;

/// The nonces that are remembered.
const NONCES: usize = 16 << 10;

/// How long a nonce is.
const NONCE_LENGTH: std::ops::RangeInclusive<usize> = 22..=128;

/// The longest name of an organization, a session or anything else that is kept.
const NAME_MAX: usize = 128;

/// What has to be signed.
const SIGNED: [&str; 6] = ["@request-target", "@authority", ORGANIZATION, SESSION, CORRELATION, API_KEY];

const ORGANIZATION: &str = "audiohook-organization-id";
const SESSION: &str = "audiohook-session-id";
const CORRELATION: &str = "audiohook-correlation-id";
const API_KEY: &str = "x-api-key";
const INPUT: &str = "signature-input";
const SIGNATURE: &str = "signature";

/// What an integration proves itself with. Is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct HookKeys {
    api_key: String,
    secret: Vec<u8>,
    organization: Option<String>,
}

/// The text is not a client secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a client secret; write what the integration has, base64 of at least 8 bytes")]
pub struct NotSecret;

/// Why a request is not known to be the platform's. Nobody but our log is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotProven {
    /// A header that the scheme needs is not there, or not of its form.
    #[error("the header `{0}` is missing or cannot be read")]
    Header(&'static str),
    /// Something that has to be signed is not.
    #[error("`{0}` is not signed")]
    Unsigned(&'static str),
    /// It is another integration's.
    #[error("its API key is not the configured one")]
    Key,
    /// It is another customer's.
    #[error("its organization is not the configured one")]
    Organization,
    /// Too old, or of the future: it may be one that somebody has kept.
    #[error("it is not of the last {AGE_MAX} s")]
    Stale,
    /// The signature is not one by this secret.
    #[error("its signature is not by the configured secret")]
    Signature,
    /// It came before.
    #[error("it came before")]
    Repeated,
}

/// What a proven request says of the session that it opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookProof {
    /// Whose it is.
    pub organization: String,
    /// The session's name.
    pub session: String,
    nonce: String,
}

impl HookKeys {
    /// `secret` as the platform shows it; one that is left out proves nobody. Without an organization any that signs is taken.
    ///
    /// # Errors
    /// When the secret is not one.
    pub fn new(api_key: String, secret: &str, organization: Option<String>) -> Result<Self, NotSecret> {
        let secret = STANDARD.decode(secret.trim()).map_err(|_| NotSecret)?;
        if (1..8).contains(&secret.len()) {
            return Err(NotSecret);
        }
        Ok(Self { api_key, secret, organization })
    }

    /// Whether the platform has sent this request. `target` is the path as it was asked for, `header` finds a header by its name in
    /// lower case, `now` is seconds since 1970.
    ///
    /// # Errors
    /// Why it is not known to be.
    pub fn verify<'a>(
        &self,
        target: &'a str,
        header: impl Fn(&str) -> Option<&'a str>,
        now: i64,
    ) -> Result<HookProof, NotProven> {
        let input = header(INPUT).ok_or(NotProven::Header(INPUT))?;
        let parameters = input.trim().strip_prefix("sig1=").ok_or(NotProven::Header(INPUT))?;
        let Input { components, key, nonce, algorithm, created, expires } =
            read(parameters).ok_or(NotProven::Header(INPUT))?;
        let signature =
            header(SIGNATURE).and_then(|text| text.trim().strip_prefix("sig1=:")?.strip_suffix(':'));
        let signature = signature.and_then(|text| STANDARD.decode(text).ok());
        let signature = signature.ok_or(NotProven::Header(SIGNATURE))?;
        let mut base = String::new();
        for component in &components {
            let value = match *component {
                "@request-target" => Some(target),
                "@authority" => header("host"),
                name if name.starts_with('@') => None,
                name => header(name),
            };
            let known = SIGNED.iter().find(|known| *known == component).copied().unwrap_or(INPUT);
            let value = value.ok_or(NotProven::Header(known))?;
            base.push_str(&format!("\"{component}\": {}\n", value.trim()));
        }
        base.push_str("\"@signature-params\": ");
        base.push_str(parameters);
        let expected = crypto::hmac_sha256(&self.secret, &[base.as_bytes()]);
        let is_signed = !self.secret.is_empty() && crypto::equal(&expected, &signature);

        let api_key = header(API_KEY).ok_or(NotProven::Header(API_KEY))?;
        if !crypto::equal(api_key.as_bytes(), self.api_key.as_bytes()) || key != api_key {
            return Err(NotProven::Key);
        }
        if !is_signed || algorithm.is_some_and(|algorithm| algorithm != "hmac-sha256") {
            return Err(NotProven::Signature);
        }
        if let Some(missing) = SIGNED.into_iter().find(|name| !components.contains(name)) {
            return Err(NotProven::Unsigned(missing));
        }
        let is_fresh = created >= now.saturating_sub(AGE_MAX) && created <= now.saturating_add(SKEW_MAX);
        if !is_fresh || expires.is_some_and(|expires| expires < now) {
            return Err(NotProven::Stale);
        }
        if !NONCE_LENGTH.contains(&nonce.len()) {
            return Err(NotProven::Header(INPUT));
        }
        let name = |of: &'static str| {
            let value = header(of).filter(|value| (1..=NAME_MAX).contains(&value.len()));
            value.map(str::to_owned).ok_or(NotProven::Header(of))
        };
        let (organization, session) = (name(ORGANIZATION)?, name(SESSION)?);
        if self.organization.as_ref().is_some_and(|own| *own != organization) {
            return Err(NotProven::Organization);
        }
        Ok(HookProof { organization, session, nonce: nonce.to_owned() })
    }
}

impl fmt::Debug for HookKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookKeys").field("organization", &self.organization).finish_non_exhaustive()
    }
}

/// What `Signature-Input` says.
struct Input<'a> {
    components: Vec<&'a str>,
    key: &'a str,
    nonce: &'a str,
    algorithm: Option<&'a str>,
    created: i64,
    expires: Option<i64>,
}

fn read(parameters: &str) -> Option<Input<'_>> {
    let (list, rest) = parameters.strip_prefix('(')?.split_once(')')?;
    let quoted = |text: &'_ str| {
        let inner = text.len().checked_sub(1).filter(|end| *end >= 1);
        inner.is_some() && text.starts_with('"') && text.ends_with('"')
    };
    let mut components: Vec<&str> = Vec::new();
    for one in list.split_ascii_whitespace() {
        let name = quoted(one).then(|| &one[1..one.len() - 1])?;
        if components.contains(&name) || components.len() >= 16 {
            return None;
        }
        components.push(name);
    }
    let (mut key, mut nonce, mut algorithm, mut created, mut expires) = (None, None, None, None, None);
    for parameter in rest.split(';').skip(1) {
        let (name, value) = parameter.trim().split_once('=')?;
        let text = || quoted(value).then(|| &value[1..value.len() - 1]);
        match name {
            "keyid" => key = Some(text()?),
            "nonce" => nonce = Some(text()?),
            "alg" => algorithm = Some(text()?),
            "created" => created = Some(value.parse().ok()?),
            "expires" => expires = Some(value.parse().ok()?),
            _ => {}
        }
    }
    Some(Input { components, key: key?, nonce: nonce?, algorithm, created: created?, expires })
}

/// The requests of late, so that none is taken twice.
#[derive(Debug, Default)]
pub struct Nonces {
    seen: HashSet<String>,
    in_order: VecDeque<(i64, String)>,
}

impl Nonces {
    /// Takes note of a proven request.
    ///
    /// # Errors
    /// When it came before.
    pub fn take(&mut self, proof: &HookProof, now: i64) -> Result<(), NotProven> {
        while self.in_order.front().is_some_and(|(until, _)| *until < now || self.in_order.len() >= NONCES) {
            if let Some((_, nonce)) = self.in_order.pop_front() {
                self.seen.remove(&nonce);
            }
        }
        if !self.seen.insert(proof.nonce.clone()) {
            return Err(NotProven::Repeated);
        }
        self.in_order.push_back((now + AGE_MAX + 2 * SKEW_MAX, proof.nonce.clone()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_779_298_264;
    const SECRET: &str = "TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU=";
    const KEY: &str = "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh";
    const ALL: &str = "\"@request-target\" \"@authority\" \"audiohook-organization-id\" \"audiohook-session-id\" \
                       \"audiohook-correlation-id\" \"x-api-key\"";

    fn keys() -> HookKeys {
        HookKeys::new(KEY.to_owned(), SECRET, Some("org-1".to_owned())).unwrap()
    }

    fn parameters(list: &str, created: i64) -> String {
        let expires = created + 30;
        format!(
            "({list});keyid=\"{KEY}\";nonce=\"VGhpc0lzQU5vbmNlT2Y=AB1\";alg=\"hmac-sha256\";created={created};expires={expires}"
        )
    }

    /// The verdict on a request with these parameters, signed over what they name, with one header changed afterwards.
    fn verdict(parameters: &str, changed: Option<(&str, &str)>) -> Result<HookProof, NotProven> {
        let headers = [
            ("host", "edge.example.com"),
            (ORGANIZATION, "org-1"),
            (SESSION, "session-1"),
            (CORRELATION, "correlation-1"),
            (API_KEY, KEY),
        ];
        let value = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        let mut base = String::new();
        for name in read(parameters).map(|input| input.components).unwrap_or_default() {
            let value = match name {
                "@request-target" => "/audiohook/genesys",
                "@authority" => "edge.example.com",
                name => value(name).unwrap_or_default(),
            };
            base.push_str(&format!("\"{name}\": {value}\n"));
        }
        base.push_str(&format!("\"@signature-params\": {parameters}"));
        let tag = crypto::hmac_sha256(&STANDARD.decode(SECRET).unwrap(), &[base.as_bytes()]);
        let signature = format!("sig1=:{}:", STANDARD.encode(tag));
        let input = format!("sig1={parameters}");
        let header = |name: &str| match changed {
            Some((known, other)) if known == name => Some(other).filter(|other| !other.is_empty()),
            Some(_) | None => match name {
                INPUT => Some(input.as_str()),
                SIGNATURE => Some(signature.as_str()),
                name => value(name),
            },
        };
        keys().verify("/audiohook/genesys", header, NOW)
    }

    #[test]
    fn a_signed_request_of_the_last_ten_seconds_is_the_platforms() {
        for (age, fresh) in [(0, true), (10, true), (-3, true), (11, false), (-4, false)] {
            let verdict = verdict(&parameters(ALL, NOW - age), None);

            assert_eq!(
                verdict.map(|proof| proof.session),
                if fresh { Ok("session-1".to_owned()) } else { Err(NotProven::Stale) }
            );
        }
    }

    #[test]
    fn whatever_was_changed_behind_the_signature_shows() {
        let good = parameters(ALL, NOW);
        for header in ["host", ORGANIZATION, SESSION, CORRELATION] {
            assert_eq!(verdict(&good, Some((header, "other"))), Err(NotProven::Signature), "{header}");
            assert!(verdict(&good, Some((header, ""))).is_err(), "{header}");
        }
        assert_eq!(verdict(&good, Some((API_KEY, "other"))), Err(NotProven::Key));
        assert_eq!(verdict(&good, Some((SIGNATURE, "sig1=:AAAA:"))), Err(NotProven::Signature));
        assert_eq!(verdict(&good, Some((SIGNATURE, "AAAA"))), Err(NotProven::Header(SIGNATURE)));
        for input in ["", "sig1=", "sig1=()", "sig1=(a);keyid=\"", "sig1=(\"\"\");created=x", "sig2=(\"x\")"]
        {
            assert_eq!(verdict(&good, Some((INPUT, input))), Err(NotProven::Header(INPUT)), "{input}");
        }
    }

    #[test]
    fn everything_that_matters_must_be_signed() {
        for missing in SIGNED {
            let list = ALL.replace(&format!("\"{missing}\""), "");

            assert_eq!(verdict(&parameters(&list, NOW), None), Err(NotProven::Unsigned(missing)));
        }
    }

    #[test]
    fn another_customer_of_the_platform_is_refused() {
        let keys = HookKeys::new(KEY.to_owned(), SECRET, Some("org-2".to_owned())).unwrap();
        let any = HookKeys::new(KEY.to_owned(), SECRET, None).unwrap();

        let nobody = HookKeys::new(KEY.to_owned(), "", None).unwrap();

        assert_ne!(keys, any);
        assert!(nobody.secret.is_empty());
        assert_eq!(HookKeys::new(KEY.to_owned(), "no base64!", None), Err(NotSecret));
        assert!(!format!("{any:?}").contains(KEY));
    }

    #[test]
    fn a_request_is_taken_once_and_forgotten_when_it_is_too_old_anyway() {
        let proof = verdict(&parameters(ALL, NOW), None).unwrap();
        let mut nonces = Nonces::default();

        assert_eq!(nonces.take(&proof, NOW), Ok(()));
        assert_eq!(nonces.take(&proof, NOW + 10), Err(NotProven::Repeated));
        assert_eq!(nonces.take(&proof, NOW + 17), Ok(()));
        assert_eq!(nonces.seen.len(), 1);
    }
}
