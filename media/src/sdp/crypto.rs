//! Keys of SRTP in `a=crypto`: RFC 4568 (SDES). They are as secret as the description that carries them.
//!
//! `a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:<key and salt in base64>|2^31`. A line that wants more than that (a master
//! key identifier, several keys, an unencrypted stream, a key derivation rate) is passed over, as the RFC has it.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sdp_types::Attribute;

use crate::{SrtpKey, SrtpSuite};

/// Peers disagree about the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The most crypto lines that are read.
const MAX_LINES: usize = 16;

/// Whether a leg's audio is encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum SrtpPolicy {
    /// Never: what is offered with SRTP only is refused.
    #[default]
    Off,
    /// Where the peer can: we offer keys beside plain RTP, and take what comes.
    Prefer,
    /// Always: we offer SRTP only, and refuse what is not encrypted.
    Require,
}

/// How the keys of our offers are agreed on. Offers of the peer decide for themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum SrtpKeying {
    /// In the description (SDES, RFC 4568).
    #[default]
    Sdes,
    /// By a handshake on the port of RTP (DTLS-SRTP, RFC 5763).
    Dtls,
}

/// What both sides encrypt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SrtpKeys {
    /// Of what we send.
    pub ours: SrtpKey,
    /// Of what the peer sends; the same suite.
    pub theirs: SrtpKey,
}

/// One usable `a=crypto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Crypto {
    pub(super) tag: u32,
    pub(super) key: SrtpKey,
}

impl Crypto {
    /// All usable lines in the peer's order.
    pub(super) fn read(attributes: &[Attribute]) -> Vec<Self> {
        let values = attributes.iter().filter(|attribute| attribute.attribute.eq_ignore_ascii_case("crypto"));
        values.take(MAX_LINES).filter_map(|attribute| Self::parse(attribute.value.as_deref()?)).collect()
    }

    /// RFC 4568 §9.1. Nothing when it is malformed or wants what we do not do.
    fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let tag = words.next().filter(|tag| tag.len() <= 9)?.parse().ok()?;
        let suite = SrtpSuite::from_name(words.next()?)?;
        let (method, parameters) = words.next()?.split_once(':')?;
        let mut parameters = parameters.split('|');
        let key = parameters.next()?;
        let lifetime = parameters.next();
        let is_usable = method.eq_ignore_ascii_case("inline")
            && lifetime.is_none_or(is_lifetime)
            && parameters.next().is_none()
            && words.all(is_harmless);
        let decoded = BASE64.decode(key).ok().filter(|_| is_usable)?;
        Some(Self { tag, key: SrtpKey::new(suite, &decoded).ok()? })
    }

    /// Writing into a string cannot fail, hence the result left alone.
    pub(super) fn write(&self, body: &mut String) {
        let key = base64::engine::general_purpose::STANDARD.encode(self.key.key_and_salt());
        let _ = write!(body, "a=crypto:{} {} inline:{key}\r\n", self.tag, self.key.suite().name());
    }
}

/// `2^31` or a number of packets, RFC 4568 §6.1; with a colon it would be a master key identifier.
fn is_lifetime(text: &str) -> bool {
    let digits = text.strip_prefix("2^").unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit())
}

/// RFC 4568 §6.3: what may be ignored says so by its dash; the window is a hint. The rest changes what is sent.
fn is_harmless(parameter: &str) -> bool {
    parameter.starts_with('-') || parameter.get(..4).is_some_and(|name| name.eq_ignore_ascii_case("WSH="))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";

    #[test]
    fn a_line_is_read_and_written_back() {
        let lines = [
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"),
            format!("22 aes_cm_128_hmac_sha1_32 INLINE:{KEY}|2^20 WSH=64 -EXTRA=1"),
            format!("3 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|1048576"),
            String::from("4 AEAD_AES_128_GCM inline:MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3OA"),
            String::from("5 AEAD_AES_128_GCM inline:MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3OA=="),
        ];

        for line in lines {
            let crypto = Crypto::parse(&line).expect(&line);
            let mut written = String::new();
            crypto.write(&mut written);

            let value = written.strip_prefix("a=crypto:").and_then(|line| line.strip_suffix("\r\n"));
            assert_eq!(value.and_then(Crypto::parse), Some(crypto), "{line}");
        }
    }

    #[test]
    fn a_line_that_wants_more_or_is_malformed_is_passed_over() {
        for line in [
            String::new(),
            String::from("1"),
            String::from("1 AES_CM_128_HMAC_SHA1_80"),
            format!("x AES_CM_128_HMAC_SHA1_80 inline:{KEY}"),
            format!("1234567890 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"),
            format!("1 F8_128_HMAC_SHA1_80 inline:{KEY}"),
            format!("1 AEAD_AES_256_GCM inline:{KEY}"),
            format!("1 AES_CM_128_HMAC_SHA1_80 outline:{KEY}"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|1:4"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY};inline:{KEY}"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} UNENCRYPTED_SRTP"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} KDR=1"),
            String::from("1 AES_CM_128_HMAC_SHA1_80 inline:!!!!"),
        ] {
            assert_eq!(Crypto::parse(&line), None, "{line}");
        }
    }
}
