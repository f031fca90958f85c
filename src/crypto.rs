//! Every hash, keyed hash and random byte of the daemon goes through here, so that the library behind it (`ring`) is
//! a one-file change. SRTP has its own in `media`, where the price of a packet decides.

use ring::digest;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

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

/// Bytes that nobody can guess, from the operating system.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("getrandom works on every kernel we run on");
    bytes
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
    fn random_bytes_do_not_repeat() {
        assert_ne!(random::<16>(), random::<16>());
    }
}
