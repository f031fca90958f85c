//! The two families of signatures on every event (CONTRACT §2). Pure.
//!
//! - `X-CallingEdge-Signature: sha256=<hex>`: HMAC-SHA256 of the raw body, keyed with the secret's UTF-8 bytes.
//! - `webhook-signature: v1,<base64>`: HMAC-SHA256 of `<webhook-id>.<webhook-timestamp>.<body>` as Standard Webhooks has it,
//!   keyed with what follows `whsec_` base64-decoded; a secret without that prefix is taken as it is.
//!
//! While a secret is rotated each header carries both signatures, the newer one first.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::settings::{Secret, Secrets};
use crate::crypto;

/// The headers that only the holders of the secret can make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHeaders {
    /// `X-CallingEdge-Signature`.
    pub edge: String,
    /// `webhook-signature`.
    pub standard: String,
}

/// Signs one attempt: `id` is the event's, `timestamp` the attempt's in seconds since 1970.
pub fn sign(secrets: &Secrets, id: &str, timestamp: i64, body: &[u8]) -> SignedHeaders {
    let prefix = format!("{id}.{timestamp}.");
    let edge = |secret: &Secret| {
        format!("sha256={}", crypto::hex(&crypto::hmac_sha256(secret.text().as_bytes(), &[body])))
    };
    let standard = |secret: &Secret| {
        let tag = crypto::hmac_sha256(&standard_key(secret), &[prefix.as_bytes(), body]);
        format!("v1,{}", STANDARD.encode(tag))
    };
    SignedHeaders {
        edge: secrets.all().map(edge).collect::<Vec<_>>().join(", "),
        standard: secrets.all().map(standard).collect::<Vec<_>>().join(" "),
    }
}

/// What follows `whsec_` and is not base64 is no key anybody could have meant, so the whole secret is one.
fn standard_key(secret: &Secret) -> Vec<u8> {
    let encoded = secret.text().strip_prefix("whsec_");
    encoded.and_then(|text| STANDARD.decode(text).ok()).unwrap_or_else(|| secret.text().as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"provider":"sip-main","kind":"answered"}"#;
    const ID: &str = "evt_01JVQ4Y0V8R2T6ZK3M9N5P7QWX_3";

    #[test]
    fn both_families_match_vectors_made_elsewhere() {
        let plain = sign(&Secrets::one("sesame, öffne dich"), ID, 1_779_298_264, BODY);
        let standard = sign(&Secrets::one("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), ID, 1_779_298_264, BODY);

        assert_eq!(plain.edge, "sha256=18dc3334d7d58e93422fb8d9c89d98cc4da526ac81c1aeaea99302d69cac3034");
        assert_eq!(plain.standard, "v1,HlPyS9bvRvK6muDInLsOP8wbQuQTeBqXXMZ6wK0jZaE=");
        assert_eq!(standard.edge, "sha256=a1ee1079b5e84e4425abef3c582b950c8019f002da67d32c0e07a5cc68dbf685");
        assert_eq!(standard.standard, "v1,6bpanOkrpw5o4TbNb4/3Uds7xbpuJhYO/FPCWHZeVso=");
    }

    /// The example of the Standard Webhooks verification libraries.
    #[test]
    fn the_published_standard_webhooks_example_is_reproduced() {
        let secrets = Secrets::one("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");

        let signed =
            sign(&secrets, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);

        assert_eq!(signed.standard, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn both_secrets_sign_while_one_replaces_the_other() {
        let (old, new) = (Secret::from("old"), Secret::from("new"));
        let alone = |secret: &Secret| sign(&Secrets { current: secret.clone(), previous: None }, ID, 1, BODY);

        let both = sign(&Secrets { current: new.clone(), previous: Some(old.clone()) }, ID, 1, BODY);

        assert_eq!(both.edge, format!("{}, {}", alone(&new).edge, alone(&old).edge));
        assert_eq!(both.standard, format!("{} {}", alone(&new).standard, alone(&old).standard));
    }

    #[test]
    fn a_prefix_without_base64_behind_it_signs_with_the_whole_secret() {
        let odd = sign(&Secrets::one("whsec_not base64!"), ID, 1, BODY);

        let tag = crypto::hmac_sha256(b"whsec_not base64!", &[format!("{ID}.1.").as_bytes(), BODY]);
        assert_eq!(odd.standard, format!("v1,{}", STANDARD.encode(tag)));
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert!(!format!("{:?}", Secrets::one("sesame")).contains("sesame"));
    }
}
