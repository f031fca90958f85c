//! Telnyx Call Control: an event is signed with Ed25519 (RFC 8032) over its time, a `|`, and the body as it came.
//! ```text
//!   telnyx-timestamp: 1779298264
//!   telnyx-signature-ed25519: base64(sign("1779298264|{\"data\":…}"))
//!   {"data": {"id": "…", "event_type": "call.answered", "payload": {…}}, "meta": {…}}
//! ```

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{NotAnEvent, PlatformEvent, Unproven, is_fresh};
use crate::crypto;

const SIGNATURE: &str = "telnyx-signature-ed25519";
const TIMESTAMP: &str = "telnyx-timestamp";

/// The longest id and the longest kind that are kept.
const WORD_MAX: usize = 128;

/// An account's public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TelnyxKey([u8; 32]);

/// The text is not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a public key; write the 44 characters of base64 that Telnyx shows for the account")]
pub struct NotAKey;

impl std::str::FromStr for TelnyxKey {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let bytes = STANDARD.decode(text).map_err(|_| NotAKey)?;
        bytes.try_into().map(Self).map_err(|_| NotAKey)
    }
}

pub(super) fn verify<'a>(
    key: &TelnyxKey,
    header: impl Fn(&str) -> Option<&'a str>,
    body: &[u8],
    now: i64,
) -> Result<(), Unproven> {
    let signature = header(SIGNATURE).and_then(|text| STANDARD.decode(text).ok());
    let signature = signature.ok_or(Unproven::Header(SIGNATURE))?;
    let timestamp = header(TIMESTAMP).ok_or(Unproven::Header(TIMESTAMP))?;
    let written: i64 = timestamp.parse().map_err(|_| Unproven::Header(TIMESTAMP))?;
    // The time is signed as it was written, whatever else would read as the same number.
    let signed = [timestamp.as_bytes(), b"|", body].concat();
    if !crypto::is_signed_ed25519(&key.0, &signed, &signature) {
        return Err(Unproven::Signature);
    }
    if is_fresh(written, now) { Ok(()) } else { Err(Unproven::Stale) }
}

#[derive(Deserialize)]
struct Envelope {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    id: String,
    event_type: String,
}

pub(super) fn read(body: &[u8]) -> Result<PlatformEvent, NotAnEvent> {
    let Envelope { data } = serde_json::from_slice(body).map_err(|_| NotAnEvent)?;
    let is_word =
        |text: &str| (1..=WORD_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    match is_word(&data.id) && is_word(&data.event_type) {
        true => Ok(PlatformEvent { id: data.id, kind: data.event_type }),
        false => Err(NotAnEvent),
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    const NOW: i64 = 1_779_298_264;
    const BODY: &[u8] = br#"{"data":{"id":"evt-1","event_type":"call.answered","record_type":"event","payload":{}},"meta":{"attempt":1}}"#;

    fn pair() -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
    }

    fn key() -> TelnyxKey {
        STANDARD.encode(pair().public_key()).parse().unwrap()
    }

    fn signature(timestamp: &str, body: &[u8]) -> String {
        STANDARD.encode(pair().sign(&[timestamp.as_bytes(), b"|", body].concat()))
    }

    fn verdict(signature: Option<&str>, timestamp: Option<&str>, body: &[u8]) -> Result<(), Unproven> {
        let header = |name: &str| match name {
            SIGNATURE => signature,
            TIMESTAMP => timestamp,
            _ => None,
        };
        verify(&key(), header, body, NOW)
    }

    #[test]
    fn what_the_platform_has_signed_is_its_own_within_five_minutes_both_ways() {
        for (age, expected) in [
            (0, Ok(())),
            (300, Ok(())),
            (-300, Ok(())),
            (301, Err(Unproven::Stale)),
            (-301, Err(Unproven::Stale)),
        ] {
            let timestamp = (NOW - age).to_string();

            let seen = verdict(Some(&signature(&timestamp, BODY)), Some(&timestamp), BODY);

            assert_eq!(seen, expected, "{age}");
        }
    }

    #[test]
    fn one_changed_bit_of_body_time_or_signature_is_a_forgery() {
        let timestamp = NOW.to_string();
        let good = signature(&timestamp, BODY);
        let mut body = BODY.to_vec();
        for at in 0..body.len() {
            body[at] ^= 1;
            assert_eq!(verdict(Some(&good), Some(&timestamp), &body), Err(Unproven::Signature), "{at}");
            body[at] ^= 1;
        }
        let later = (NOW + 1).to_string();
        assert_eq!(verdict(Some(&good), Some(&later), BODY), Err(Unproven::Signature));
        assert_eq!(verdict(Some(&good), Some(&format!("0{timestamp}")), BODY), Err(Unproven::Signature));
        let other = STANDARD.encode(Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap().sign(BODY));
        assert_eq!(verdict(Some(&other), Some(&timestamp), BODY), Err(Unproven::Signature));
        assert_eq!(verdict(Some("AAAA"), Some(&timestamp), BODY), Err(Unproven::Signature));
    }

    #[test]
    fn headers_that_are_missing_or_unreadable_are_named() {
        let timestamp = NOW.to_string();
        let good = signature(&timestamp, BODY);

        assert_eq!(verdict(None, Some(&timestamp), BODY), Err(Unproven::Header(SIGNATURE)));
        assert_eq!(verdict(Some("not base64!"), Some(&timestamp), BODY), Err(Unproven::Header(SIGNATURE)));
        assert_eq!(verdict(Some(&good), None, BODY), Err(Unproven::Header(TIMESTAMP)));
        assert_eq!(verdict(Some(&good), Some("soon"), BODY), Err(Unproven::Header(TIMESTAMP)));
    }

    #[test]
    fn an_event_has_an_id_and_a_kind_and_whatever_else_the_platform_likes() {
        let event = read(BODY).unwrap();

        assert_eq!((event.id.as_str(), event.kind.as_str()), ("evt-1", "call.answered"));
        let long = format!(r#"{{"data":{{"id":"{}","event_type":"x"}}}}"#, "i".repeat(129));
        for body in [
            "",
            "[]",
            "{}",
            r#"{"data":{"id":"1"}}"#,
            r#"{"data":{"id":"","event_type":"x"}}"#,
            r#"{"data":{"id":"a b","event_type":"x"}}"#,
            long.as_str(),
        ] {
            assert_eq!(read(body.as_bytes()), Err(NotAnEvent), "{body}");
        }
    }

    #[test]
    fn a_key_is_32_bytes_in_base64() {
        for text in ["", "AAAA", "not base64", &"A".repeat(88)] {
            assert_eq!(text.parse::<TelnyxKey>(), Err(NotAKey), "{text}");
        }
    }
}
