//! Encryption and authentication of one packet in place, with its index known: RFC 3711 §4, RFC 7714 §8 and §9.
//!
//! Counter mode comes from `aes` and `ctr`, HMAC-SHA1 from `hmac` and `sha1`, GCM from `ring`: each where its packet is
//! cheapest. A one-file change, as `src/crypto.rs` is in the daemon.

use aes::Aes128Enc;
use aes::cipher::KeyInit;
use hmac::{Hmac, Mac};
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use sha1::Sha1;

use super::derivation::{Protocol, SessionKeys, apply_counter};
use super::{Header, INDEX_LENGTH, RTCP_HEADER, SrtpError, SrtpKey, SrtpSuite};

/// The E flag: the packet is encrypted, not just authenticated.
const ENCRYPTED: u32 = 1 << 31;

/// Bytes of a tag of GCM.
const GCM_TAG: usize = 16;

/// Bytes of a tag of HMAC-SHA1 with 80 bits.
const LONG_TAG: usize = 10;

/// Bytes of a tag of HMAC-SHA1 with 32 bits.
const SHORT_TAG: usize = 4;

/// The session keys of one protocol and direction, ready to use.
pub(super) enum Cipher {
    /// AES in counter mode, and HMAC-SHA1 cut to `tag` bytes.
    Counter { aes: Aes128Enc, mac: Hmac<Sha1>, salt: [u8; 14], tag: usize },
    /// AES-GCM.
    Gcm { key: LessSafeKey, salt: [u8; 12] },
}

impl Cipher {
    pub(super) fn new(master: &SrtpKey, protocol: Protocol) -> Self {
        Self::with_session_keys(master.suite(), &SessionKeys::derive(master, protocol), protocol)
    }

    fn with_session_keys(suite: SrtpSuite, keys: &SessionKeys, protocol: Protocol) -> Self {
        match suite {
            SrtpSuite::AeadAes256Gcm => Self::gcm(&AES_256_GCM, &keys.cipher, &keys.salt),
            SrtpSuite::AeadAes128Gcm => Self::gcm(&AES_128_GCM, &keys.cipher[..16], &keys.salt),
            SrtpSuite::AesCm128HmacSha1_80 => Self::counter(keys, LONG_TAG),
            // RFC 4568 §6.2.2: RTCP keeps the long tag.
            SrtpSuite::AesCm128HmacSha1_32 => match protocol {
                Protocol::Rtp => Self::counter(keys, SHORT_TAG),
                Protocol::Rtcp => Self::counter(keys, LONG_TAG),
            },
        }
    }

    fn gcm(algorithm: &'static ring::aead::Algorithm, key: &[u8], salt: &[u8; 14]) -> Self {
        let key = UnboundKey::new(algorithm, key).expect("the key has its algorithm's length");
        let salt = *salt.first_chunk().expect("14 bytes are more than 12");
        Self::Gcm { key: LessSafeKey::new(key), salt }
    }

    fn counter(keys: &SessionKeys, tag: usize) -> Self {
        let aes = Aes128Enc::new_from_slice(&keys.cipher[..16]).expect("16 bytes are a key of AES-128");
        let mac = <Hmac<Sha1> as hmac::KeyInit>::new_from_slice(&keys.authentication)
            .expect("HMAC takes a key of any length");
        Self::Counter { aes, mac, salt: keys.salt, tag }
    }

    /// Protects the RTP packet in the first `length` bytes and answers how long it became.
    #[inline]
    pub(super) fn seal_rtp(
        &self,
        buffer: &mut [u8],
        length: usize,
        header: Header,
        index: u64,
    ) -> Result<usize, SrtpError> {
        let protected = length + self.tag();
        let packet = buffer.get_mut(..protected).ok_or(SrtpError::NoRoom)?;
        let (clear, tag) = packet.split_at_mut(length);
        let (head, payload) = clear.split_at_mut(header.length);
        match self {
            Self::Counter { aes, mac, salt, .. } => {
                apply_counter(aes, &counter(salt, header.ssrc, index), payload);
                let mac = mac.clone().chain_update(&*clear).chain_update(rollover(index));
                tag.copy_from_slice(&mac.finalize().into_bytes()[..tag.len()]);
            }
            Self::Gcm { key, salt } => {
                let nonce = nonce(salt, header.ssrc, index);
                let made = key.seal_in_place_separate_tag(nonce, Aad::from(&*head), payload);
                tag.copy_from_slice(made.map_err(|_| SrtpError::Malformed)?.as_ref());
            }
        }
        Ok(protected)
    }

    /// Opens an SRTP packet and answers how long its RTP packet is. What is left in `packet` after an error means nothing.
    #[inline]
    pub(super) fn open_rtp(&self, packet: &mut [u8], header: Header, index: u64) -> Result<usize, SrtpError> {
        let length = packet.len().checked_sub(self.tag()).filter(|length| *length >= header.length);
        let length = length.ok_or(SrtpError::Malformed)?;
        match self {
            Self::Counter { aes, mac, salt, .. } => {
                let (clear, tag) = packet.split_at_mut(length);
                let mac = mac.clone().chain_update(&*clear).chain_update(rollover(index));
                mac.verify_truncated_left(tag).map_err(|_| SrtpError::Forged)?;
                apply_counter(aes, &counter(salt, header.ssrc, index), &mut clear[header.length..]);
            }
            Self::Gcm { key, salt } => {
                let (head, sealed) = packet.split_at_mut(header.length);
                let nonce = nonce(salt, header.ssrc, index);
                key.open_in_place(nonce, Aad::from(&*head), sealed).map_err(|_| SrtpError::Forged)?;
            }
        }
        Ok(length)
    }

    /// Protects the compound RTCP packet in the first `length` bytes, at least a header's, and answers how long it became.
    pub(super) fn seal_rtcp(
        &self,
        buffer: &mut [u8],
        length: usize,
        ssrc: u32,
        index: u32,
    ) -> Result<usize, SrtpError> {
        let protected = length + self.tag() + INDEX_LENGTH;
        let packet = buffer.get_mut(..protected).ok_or(SrtpError::NoRoom)?;
        let word = (ENCRYPTED | index).to_be_bytes();
        match self {
            Self::Counter { aes, mac, salt, .. } => {
                let counter = counter(salt, ssrc, u64::from(index));
                apply_counter(aes, &counter, &mut packet[RTCP_HEADER..length]);
                packet[length..length + INDEX_LENGTH].copy_from_slice(&word);
                let (sealed, tag) = packet.split_at_mut(length + INDEX_LENGTH);
                let mac = mac.clone().chain_update(&*sealed);
                tag.copy_from_slice(&mac.finalize().into_bytes()[..tag.len()]);
            }
            Self::Gcm { key, salt } => {
                let nonce = nonce(salt, ssrc, u64::from(index));
                let associated = Aad::from(associated(packet, word));
                let made =
                    key.seal_in_place_separate_tag(nonce, associated, &mut packet[RTCP_HEADER..length]);
                let (tag, behind) = packet[length..].split_at_mut(GCM_TAG);
                tag.copy_from_slice(made.map_err(|_| SrtpError::Malformed)?.as_ref());
                behind.copy_from_slice(&word);
            }
        }
        Ok(protected)
    }

    /// The index that an SRTCP packet says it has.
    pub(super) fn rtcp_index(&self, packet: &[u8]) -> Result<u32, SrtpError> {
        if packet.len() < RTCP_HEADER + self.tag() + INDEX_LENGTH {
            return Err(SrtpError::Malformed);
        }
        Ok(u32::from_be_bytes(self.word(packet)?) & !ENCRYPTED)
    }

    /// Opens an SRTCP packet whose index was asked for before, and answers how long its RTCP packet is. One that the key's
    /// owner chose not to encrypt is taken too. What is left in `packet` after an error means nothing.
    pub(super) fn open_rtcp(&self, packet: &mut [u8], ssrc: u32, index: u32) -> Result<usize, SrtpError> {
        let word = self.word(packet)?;
        let encrypted = u32::from_be_bytes(word) & ENCRYPTED != 0;
        let length =
            packet.len().checked_sub(self.tag() + INDEX_LENGTH).filter(|length| *length >= RTCP_HEADER);
        let length = length.ok_or(SrtpError::Malformed)?;
        match self {
            Self::Counter { aes, mac, salt, .. } => {
                let (sealed, tag) = packet.split_at_mut(length + INDEX_LENGTH);
                mac.clone()
                    .chain_update(&*sealed)
                    .verify_truncated_left(tag)
                    .map_err(|_| SrtpError::Forged)?;
                if encrypted {
                    let counter = counter(salt, ssrc, u64::from(index));
                    apply_counter(aes, &counter, &mut sealed[RTCP_HEADER..length]);
                }
            }
            Self::Gcm { key, salt } => {
                let nonce = nonce(salt, ssrc, u64::from(index));
                let opened = if encrypted {
                    let associated = Aad::from(associated(packet, word));
                    let sealed = &mut packet[RTCP_HEADER..length + GCM_TAG];
                    key.open_in_place(nonce, associated, sealed)
                } else {
                    // RFC 7714 §9.3: the whole packet with its last word is associated data, and nothing is encrypted.
                    let mut tag = [0; GCM_TAG];
                    tag.copy_from_slice(&packet[length..length + GCM_TAG]);
                    packet[length..length + INDEX_LENGTH].copy_from_slice(&word);
                    key.open_in_place(nonce, Aad::from(&packet[..length + INDEX_LENGTH]), &mut tag)
                        .map(|_| &mut [][..])
                };
                opened.map_err(|_| SrtpError::Forged)?;
            }
        }
        Ok(length)
    }

    /// The word with the E flag and the index: before the tag of HMAC-SHA1, behind that of GCM.
    fn word(&self, packet: &[u8]) -> Result<[u8; INDEX_LENGTH], SrtpError> {
        let behind = match self {
            Self::Counter { tag, .. } => *tag,
            Self::Gcm { .. } => 0,
        };
        let end = packet.len().checked_sub(behind).ok_or(SrtpError::Malformed)?;
        packet[..end].last_chunk().copied().ok_or(SrtpError::Malformed)
    }

    fn tag(&self) -> usize {
        match self {
            Self::Counter { tag, .. } => *tag,
            Self::Gcm { .. } => GCM_TAG,
        }
    }
}

/// RFC 3711 §4.1.1 without its last 16 bits, in which blocks are counted.
fn counter(salt: &[u8; 14], ssrc: u32, index: u64) -> [u8; 14] {
    let mut place = [0; 14];
    place[4..8].copy_from_slice(&ssrc.to_be_bytes());
    place[8..].copy_from_slice(&index.to_be_bytes()[2..]);
    for (byte, salt) in place.iter_mut().zip(salt) {
        *byte ^= salt;
    }
    place
}

/// RFC 7714 §8.1 and §9.1: an index of SRTCP has zeros before it.
fn nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> Nonce {
    let mut place = [0; 12];
    place[2..6].copy_from_slice(&ssrc.to_be_bytes());
    place[6..].copy_from_slice(&index.to_be_bytes()[2..]);
    for (byte, salt) in place.iter_mut().zip(salt) {
        *byte ^= salt;
    }
    Nonce::assume_unique_for_key(place)
}

/// The rollover counter of an index, authenticated though it is not sent (RFC 3711 §4.2).
fn rollover(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

/// RFC 7714 §9.2: what of an encrypted SRTCP packet is authenticated beside its ciphertext.
fn associated(packet: &[u8], word: [u8; INDEX_LENGTH]) -> [u8; RTCP_HEADER + INDEX_LENGTH] {
    let mut associated = [0; RTCP_HEADER + INDEX_LENGTH];
    associated[..RTCP_HEADER].copy_from_slice(&packet[..RTCP_HEADER]);
    associated[RTCP_HEADER..].copy_from_slice(&word);
    associated
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::{bytes, rtcp_ssrc, rtp_header};

    const RTP: &str = "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976
                       69736120 696e2070 61727465 73207472 6573";

    const RTCP: &str = "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61
                        deadbeef deadbeef deadbeef deadbeef deadbeef";

    const RTCP_INDEX: u32 = 0x5d4;

    /// RFC 7714 §16.1.1, §16.1.2, §16.2.1 and §16.2.2.
    #[test]
    fn srtp_by_gcm_is_that_of_rfc_7714_16() {
        for (suite, expected) in [
            (
                SrtpSuite::AeadAes128Gcm,
                "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5
                 0d294e6f 42a5f47a 51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce",
            ),
            (
                SrtpSuite::AeadAes256Gcm,
                "8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238
                 9a58e2f3 b50b2a02 76ffae0f 1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13",
            ),
        ] {
            let (cipher, plain) = (rfc_7714(suite), bytes(RTP));
            let header = rtp_header(&plain).unwrap();
            let mut packet = plain.clone();
            packet.resize(plain.len() + GCM_TAG, 0);

            let sealed = cipher.seal_rtp(&mut packet, plain.len(), header, 0xf17b);

            assert_eq!((sealed, &packet), (Ok(packet.len()), &bytes(expected)), "{suite:?}");
            assert_eq!(cipher.open_rtp(&mut packet, header, 0xf17b), Ok(plain.len()));
            assert_eq!(packet[..plain.len()], plain);
        }
    }

    /// RFC 7714 §17.1 and §17.2.
    #[test]
    fn srtcp_by_gcm_is_that_of_rfc_7714_17() {
        for (suite, expected) in [
            (
                SrtpSuite::AeadAes128Gcm,
                "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d
                 c676a5f1 730d6fda 4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872
                 45d9eade 800005d4",
            ),
            (
                SrtpSuite::AeadAes256Gcm,
                "81c8000d 4d617273 d50ae4d1 f5ce5d30 4ba297e4 7d470c28 2c3ece5d bffe0a50
                 a2eaa5c1 110555be 8415f658 c61de047 6f1b6fad 1d1eb30c 4446839f 57ff6f6c
                 b26ac3be 800005d4",
            ),
        ] {
            let (cipher, plain) = (rfc_7714(suite), bytes(RTCP));
            let ssrc = rtcp_ssrc(&plain).unwrap();
            let mut packet = plain.clone();
            packet.resize(plain.len() + GCM_TAG + INDEX_LENGTH, 0);

            let sealed = cipher.seal_rtcp(&mut packet, plain.len(), ssrc, RTCP_INDEX);

            assert_eq!((sealed, &packet), (Ok(packet.len()), &bytes(expected)), "{suite:?}");
            assert_eq!(cipher.rtcp_index(&packet), Ok(RTCP_INDEX));
            assert_eq!(cipher.open_rtcp(&mut packet, ssrc, RTCP_INDEX), Ok(plain.len()));
            assert_eq!(packet[..plain.len()], plain);
        }
    }

    /// RFC 7714 §17.3: authenticated, not encrypted.
    #[test]
    fn srtcp_in_clear_is_that_of_rfc_7714_17_3() {
        let (cipher, plain) = (rfc_7714(SrtpSuite::AeadAes128Gcm), bytes(RTCP));
        let ssrc = rtcp_ssrc(&plain).unwrap();
        let tagged = bytes(&format!("{RTCP} 841dd968 3dd78ec9 2ae58790 125f62b3 000005d4"));

        for bit in 0..8 * tagged.len() {
            let mut forged = tagged.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let index = cipher.rtcp_index(&forged).unwrap();
            assert_eq!(cipher.open_rtcp(&mut forged, ssrc, index), Err(SrtpError::Forged), "bit {bit}");
        }
        let mut packet = tagged;

        assert_eq!(cipher.open_rtcp(&mut packet, ssrc, RTCP_INDEX), Ok(plain.len()));
        assert_eq!(packet[..plain.len()], plain);
    }

    /// The examples of RFC 7714 give session keys, not a master key.
    fn rfc_7714(suite: SrtpSuite) -> Cipher {
        let cipher = std::array::from_fn(|at| at as u8);
        let mut salt = [0; 14];
        salt[..12].copy_from_slice(b"Quid pro quo");
        Cipher::with_session_keys(
            suite,
            &SessionKeys { cipher, authentication: [0; 20], salt },
            Protocol::Rtp,
        )
    }
}
