//! Session keys from a master key: RFC 3711 §4.3, RFC 6188 §3 for AES-256. The key derivation rate is zero, as nobody
//! offers another.

use aes::cipher::{
    BlockCipherEncrypt, BlockSizeUser, InnerIvInit, KeyInit, StreamCipher, StreamCipherCoreWrapper,
};
use aes::{Aes128Enc, Aes256Enc};
use ctr::CtrCore;
use ctr::flavors::Ctr128BE;

use super::SrtpKey;

/// What a session key is for; the numbers of RFC 3711 §4.3.1 and §4.3.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// RTP: labels 0 to 2.
    Rtp,
    /// RTCP: labels 3 to 5.
    Rtcp,
}

/// The session keys of one protocol; a cipher takes what it needs of each.
pub(super) struct SessionKeys {
    /// As long as the master key; zeros behind.
    pub(super) cipher: [u8; 32],
    pub(super) authentication: [u8; 20],
    pub(super) salt: [u8; 14],
}

impl SessionKeys {
    pub(super) fn derive(master: &SrtpKey, protocol: Protocol) -> Self {
        let first = match protocol {
            Protocol::Rtp => 0,
            Protocol::Rtcp => 3,
        };
        let length = master.key().len();
        let mut keys = Self { cipher: [0; 32], authentication: [0; 20], salt: [0; 14] };
        derive(master, first, &mut keys.cipher[..length]);
        derive(master, first + 1, &mut keys.authentication);
        derive(master, first + 2, &mut keys.salt);
        keys
    }
}

/// One key: the keystream of the master key at a place that label and master salt name.
fn derive(master: &SrtpKey, label: u8, key: &mut [u8]) {
    let mut salt = master.salt();
    salt[7] ^= label;
    key.fill(0);
    match master.key().len() {
        32 => {
            let aes = Aes256Enc::new_from_slice(master.key()).expect("32 bytes are a key of AES-256");
            apply_counter(&aes, &salt, key);
        }
        _ => {
            let aes =
                Aes128Enc::new_from_slice(master.key()).expect("the other suites have keys of 16 bytes");
            apply_counter(&aes, &salt, key);
        }
    }
}

/// AES in counter mode (RFC 3711 §4.1.1): the counter's upper 112 bits are given, it counts from 0.
#[inline]
pub(super) fn apply_counter<A>(aes: &A, upper: &[u8; 14], data: &mut [u8])
where
    A: BlockCipherEncrypt + BlockSizeUser<BlockSize = aes::cipher::consts::U16>,
{
    let mut counter = [0; 16];
    counter[..14].copy_from_slice(upper);
    let core = CtrCore::<_, Ctr128BE>::inner_iv_init(aes, &counter.into());
    StreamCipherCoreWrapper::from_core(core).apply_keystream(data);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::{SrtpSuite, bytes};

    /// RFC 3711 appendix B.2: the blocks at the beginning and at the end of what one packet may use.
    #[test]
    fn the_keystream_is_that_of_rfc_3711_b_2() {
        let aes = Aes128Enc::new_from_slice(&bytes("2B7E151628AED2A6ABF7158809CF4F3C")).unwrap();
        let mut stream = vec![0; 16 * 0xFF02];

        apply_counter(
            &aes,
            bytes("F0F1F2F3F4F5F6F7F8F9FAFBFCFD").as_slice().try_into().unwrap(),
            &mut stream,
        );

        let blocks = [
            (0x0000, "E03EAD0935C95E80E166B16DD92B4EB4"),
            (0x0001, "D23513162B02D0F72A43A2FE4A5F97AB"),
            (0x0002, "41E95B3BB0A2E8DD477901E4FCA894C0"),
            (0xFEFF, "EC8CDF7398607CB0F2D21675EA9EA1E4"),
            (0xFF00, "362B7C3C6773516318A077D7FC5073AE"),
            (0xFF01, "6A2CC3787889374FBEB4C81B17BA6C44"),
        ];
        for (at, block) in blocks {
            assert_eq!(stream[16 * at..16 * at + 16], bytes(block), "block {at:04X}");
        }
    }

    /// RFC 3711 appendix B.3, whose authentication key is longer than the one we use.
    #[test]
    fn session_keys_are_those_of_rfc_3711_b_3() {
        let master = bytes("E1F97A0D3E018BE0D64FA32C06DE4139 0EC675AD498AFEEBB6960B3AABE6");
        let master = SrtpKey::new(SrtpSuite::AesCm128HmacSha1_80, &master).unwrap();
        let mut authentication = [0; 94];

        let keys = SessionKeys::derive(&master, Protocol::Rtp);
        derive(&master, 1, &mut authentication);

        assert_eq!(keys.cipher[..16], bytes("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(keys.salt[..], bytes("30CBBC08863D8C85D49DB34A9AE1"));
        assert_eq!(keys.authentication, authentication[..20]);
        assert_eq!(
            authentication[..],
            bytes(
                "CEBE321F6FF7716B6FD4AB49AF256A15 6D38BAA48F0A0ACF3C34E2359E6CDBCE
                 E049646C43D9327AD175578EF7227098 6371C10C9A369AC2F94A8C5FBCDDDC25
                 6D6E919A48B610EF17C2041E47403576 6B68642C59BBFC2F34DB60DBDFB2"
            )
        );
    }

    /// RFC 6188 §7.2. That suite is not ours, but AEAD_AES_256_GCM derives by the same function.
    #[test]
    fn session_keys_of_aes_256_are_those_of_rfc_6188() {
        let aes = Aes256Enc::new_from_slice(&bytes(
            "f0f04914b513f2763a1b1fa130f10e29 98f6f6e43e4309d1e622a0e332b9f1b6",
        ))
        .unwrap();
        let salt: [u8; 14] = bytes("3b04803de51ee7c96423ab5b78d2").try_into().unwrap();
        let derived = |label: u8, length: usize| {
            let (mut salt, mut key) = (salt, vec![0; length]);
            salt[7] ^= label;
            apply_counter(&aes, &salt, &mut key);
            key
        };

        assert_eq!(
            derived(0, 32),
            bytes("5ba1064e30ec51613cad926c5a28ef73 1ec7fb397f70a960653caf06554cd8c4")
        );
        assert_eq!(derived(1, 20), bytes("fd9c32d39ed5fbb5a9dc96b30818454d1313dc05"));
        assert_eq!(derived(2, 14), bytes("fa31791685ca444a9e07c6c64e93"));
    }

    #[test]
    fn no_two_session_keys_are_the_same() {
        let master = SrtpKey::from_random(SrtpSuite::AeadAes256Gcm, &[7; SrtpKey::LONGEST]);

        let keys: Vec<[u8; 14]> = (0..6)
            .map(|label| {
                let mut key = [0; 14];
                derive(&master, label, &mut key);
                key
            })
            .collect();

        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(key), "label {at}");
        }
    }
}
