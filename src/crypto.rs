//! Every hash, keyed hash and random byte of the daemon goes through here, so that the library behind it (`ring`) is
//! a one-file change. SRTP has its own in `media`, where the price of a packet decides.

use std::fmt;
use std::sync::{Arc, OnceLock};

use ring::aead;
use ring::digest;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature;

/// SHA-256 (FIPS 180-4).
pub fn sha256(data: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, data).as_ref());
    hash
}

/// HMAC-SHA-256 (RFC 2104) of the parts one after the other.
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut tag = [0; 32];
    tag.copy_from_slice(keyed(hmac::HMAC_SHA256, key, parts).as_ref());
    tag
}

/// HMAC-SHA-1 (RFC 2104) of the parts one after the other, for the platforms whose signatures are made with it.
pub fn hmac_sha1(key: &[u8], parts: &[&[u8]]) -> [u8; 20] {
    let mut tag = [0; 20];
    tag.copy_from_slice(keyed(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key, parts).as_ref());
    tag
}

fn keyed(algorithm: hmac::Algorithm, key: &[u8], parts: &[&[u8]]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(&hmac::Key::new(algorithm, key));
    for part in parts {
        context.update(part);
    }
    context.sign()
}

/// Whether both are the same, in a time that tells nothing about where they differ: not the bytes are compared
/// but their tags under one key, by the library's own verification.
pub fn equal(one: &[u8], other: &[u8]) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"equal");
    hmac::verify(&key, one, hmac::sign(&key, other).as_ref()).is_ok()
}

/// Whether the message is signed with the private half of an Ed25519 key (RFC 8032).
pub fn is_signed_ed25519(public: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    signature::UnparsedPublicKey::new(&signature::ED25519, public).verify(message, signature).is_ok()
}

/// Bytes that nobody can guess, from the operating system.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("getrandom works on every kernel we run on");
    bytes
}

/// Who this process is in DTLS handshakes: a key and a certificate made when they are first asked for. Nothing in a build
/// without them, or where the system has no randomness.
pub fn dtls_identity() -> Option<Arc<media::DtlsIdentity>> {
    static IDENTITY: OnceLock<Option<Arc<media::DtlsIdentity>>> = OnceLock::new();
    #[cfg(feature = "dtls")]
    let make = || {
        let made = media::DtlsIdentity::generate();
        made.inspect_err(|error| tracing::error!(%error, "calls by DTLS-SRTP are refused")).ok()
    };
    #[cfg(not(feature = "dtls"))]
    let make = || None;
    IDENTITY.get_or_init(make).clone()
}

/// Seals what lies on disk: AES-256-GCM (NIST SP 800-38D), a fresh nonce for each value. Is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SealingKey([u8; 32]);

impl SealingKey {
    /// A key of 64 hexadecimal digits; nothing when the text is anything else.
    pub fn from_hex(text: &str) -> Option<Self> {
        from_hex(text)?.try_into().ok().map(Self)
    }

    /// Tells one key from another and says nothing of either.
    pub fn id(&self) -> String {
        hex(&hmac_sha256(&self.0, &[b"callingedge sealing key"])[..8])
    }

    /// Nonce, sealed value, tag. `of` is what it is bound to: it opens with the same only.
    pub fn seal(&self, of: &[u8], value: &[u8]) -> Vec<u8> {
        let nonce = random::<{ aead::NONCE_LEN }>();
        let mut sealed = value.to_vec();
        let done = self.library().seal_in_place_append_tag(
            aead::Nonce::assume_unique_for_key(nonce),
            aead::Aad::from(of),
            &mut sealed,
        );
        done.expect("a value of less than 64 GiB can be sealed");
        [&nonce[..], &sealed].concat()
    }

    /// What [`Self::seal`] sealed; nothing when the key is another one, `of` is, or anybody has changed a bit.
    pub fn open(&self, of: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_at_checked(aead::NONCE_LEN)?;
        let nonce = aead::Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let value = self.library().open_in_place(nonce, aead::Aad::from(of), &mut sealed).ok()?;
        Some(value.to_vec())
    }

    fn library(&self) -> aead::LessSafeKey {
        let key = aead::UnboundKey::new(&aead::AES_256_GCM, &self.0);
        aead::LessSafeKey::new(key.expect("32 bytes are a key of AES-256"))
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({})", self.id())
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// What [`hex`] wrote, upper case allowed; nothing when the text is anything else.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pairs = text.as_bytes().chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4 "abc"; RFC 4231 case 2; RFC 2202 case 2.
    #[test]
    fn hashes_match_the_published_vectors() {
        let (key, data): (&[u8], [&[u8]; 2]) = (b"Jefe", [b"what do ya want ", b"for nothing?"]);

        assert_eq!(hex(&sha256(b"abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(
            hex(&hmac_sha256(key, &data)),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(hex(&hmac_sha1(key, &data)), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    }

    /// RFC 8032 §7.1, test 3.
    #[test]
    fn an_ed25519_signature_matches_the_published_vector() {
        let public = from_hex("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025").unwrap();
        let public: [u8; 32] = public.try_into().unwrap();
        let signature = from_hex(
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
             18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        );
        let signature = signature.unwrap();

        assert!(is_signed_ed25519(&public, &[0xaf, 0x82], &signature));
        assert!(!is_signed_ed25519(&public, &[0xaf, 0x83], &signature));
        assert!(!is_signed_ed25519(&public, &[0xaf, 0x82], &signature[1..]));
    }

    #[test]
    fn equal_is_true_for_the_same_bytes_only() {
        assert!(equal(b"", b""));
        assert!(equal(b"secret", b"secret"));
        assert!(!equal(b"secret", b"secreT"));
        assert!(!equal(b"secret", b"secret\0"));
    }

    #[test]
    fn hex_reads_back_what_it_writes_and_refuses_the_rest() {
        assert_eq!(from_hex(&hex(&[0, 1, 0xab, 0xff])), Some(vec![0, 1, 0xab, 0xff]));
        assert_eq!(from_hex("AB"), Some(vec![0xab]));
        assert_eq!(from_hex("abc"), None);
        assert_eq!(from_hex("zz"), None);
        assert_eq!(from_hex("é"), None);
    }

    #[test]
    fn what_is_sealed_opens_with_the_same_key_for_the_same_thing_and_unchanged_only() {
        let key = SealingKey::from_hex(&"0f".repeat(32)).unwrap();
        let other = SealingKey::from_hex(&"f0".repeat(32)).unwrap();

        let sealed = key.seal(b"acme/sip", b"hunter2");

        assert_eq!(key.open(b"acme/sip", &sealed).as_deref(), Some(&b"hunter2"[..]));
        assert_ne!(key.seal(b"acme/sip", b"hunter2"), sealed);
        assert_eq!(other.open(b"acme/sip", &sealed), None);
        assert_eq!(key.open(b"acme/bot", &sealed), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(key.open(b"acme/sip", &changed), None, "{at}");
            assert_eq!(key.open(b"acme/sip", &sealed[..at]), None, "{at}");
        }
        assert!(!format!("{key:?}").contains("0f0f"));
        assert_eq!(SealingKey::from_hex("0f0f"), None);
    }

    #[test]
    fn random_bytes_do_not_repeat() {
        assert_ne!(random::<16>(), random::<16>());
    }
}
