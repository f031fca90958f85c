//! What may protect a stream, and the master key for it: RFC 4568 §6.2, RFC 7714 §14.1.

/// A cipher with its authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SrtpSuite {
    /// AES-256-GCM, tag of 128 bits.
    AeadAes256Gcm,
    /// AES-128-GCM, tag of 128 bits.
    AeadAes128Gcm,
    /// AES-128 as counter, HMAC-SHA1 with 80 bits.
    AesCm128HmacSha1_80,
    /// AES-128 as counter, HMAC-SHA1 with 32 bits; 80 bits for RTCP.
    AesCm128HmacSha1_32,
}

impl SrtpSuite {
    /// All four, the strongest first.
    pub const ALL: [Self; 4] =
        [Self::AeadAes256Gcm, Self::AeadAes128Gcm, Self::AesCm128HmacSha1_80, Self::AesCm128HmacSha1_32];

    /// Its name in `a=crypto`.
    pub fn name(self) -> &'static str {
        match self {
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
        }
    }

    /// The suite behind a name of `a=crypto`. Peers write it in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.name().eq_ignore_ascii_case(name))
    }

    /// Bytes of the master key and, behind it, of the master salt.
    pub const fn key_lengths(self) -> (usize, usize) {
        match self {
            Self::AeadAes256Gcm => (32, 12),
            Self::AeadAes128Gcm => (16, 12),
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 => (16, 14),
        }
    }
}

/// A master key with its salt. Nothing prints it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SrtpKey {
    suite: SrtpSuite,
    /// The key and behind it the salt, as SDES writes them; zeros behind.
    bytes: [u8; SrtpKey::LONGEST],
}

/// A key whose length is not that of its suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("key and salt have {found} bytes, not {expected}")]
pub struct WrongKeyLength {
    /// What the suite wants.
    pub expected: usize,
    /// What came.
    pub found: usize,
}

impl SrtpKey {
    /// The longest key with its salt, in bytes.
    pub const LONGEST: usize = 32 + 14;

    /// A key and behind it its salt.
    ///
    /// # Errors
    /// When their length is not that of `suite`.
    pub fn new(suite: SrtpSuite, key_and_salt: &[u8]) -> Result<Self, WrongKeyLength> {
        let (key, salt) = suite.key_lengths();
        let expected = key + salt;
        if key_and_salt.len() != expected {
            return Err(WrongKeyLength { expected, found: key_and_salt.len() });
        }
        let mut bytes = [0; Self::LONGEST];
        bytes[..expected].copy_from_slice(key_and_salt);
        Ok(Self { suite, bytes })
    }

    /// As much of `random` as the suite needs. It must be drawn where nobody can guess it, and for this key alone.
    pub fn from_random(suite: SrtpSuite, random: &[u8; Self::LONGEST]) -> Self {
        let (key, salt) = suite.key_lengths();
        let mut bytes = [0; Self::LONGEST];
        bytes[..key + salt].copy_from_slice(&random[..key + salt]);
        Self { suite, bytes }
    }

    /// What it is a key of.
    pub fn suite(&self) -> SrtpSuite {
        self.suite
    }

    /// The key and behind it the salt.
    pub fn key_and_salt(&self) -> &[u8] {
        let (key, salt) = self.suite.key_lengths();
        &self.bytes[..key + salt]
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.bytes[..self.suite.key_lengths().0]
    }

    /// A salt of 96 bits has 16 bits of zeros behind it (RFC 7714 §11).
    pub(super) fn salt(&self) -> [u8; 14] {
        let mut salt = [0; 14];
        let (_, behind) = self.key_and_salt().split_at(self.suite.key_lengths().0);
        salt[..behind.len()].copy_from_slice(behind);
        salt
    }
}

impl std::fmt::Debug for SrtpKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SrtpKey").field("suite", &self.suite).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_another_length_is_refused() {
        for suite in SrtpSuite::ALL {
            let (key, salt) = suite.key_lengths();
            let expected = key + salt;

            assert!(SrtpKey::new(suite, &vec![1; expected]).is_ok());
            for found in [0, expected - 1, expected + 1] {
                assert_eq!(
                    SrtpKey::new(suite, &vec![1; found]),
                    Err(WrongKeyLength { expected, found }),
                    "{suite:?}"
                );
            }
        }
    }

    #[test]
    fn a_key_is_not_printed() {
        let key = SrtpKey::from_random(SrtpSuite::AeadAes256Gcm, &[0xAB; SrtpKey::LONGEST]);

        assert_eq!(format!("{key:?}"), "SrtpKey { suite: AeadAes256Gcm, .. }");
    }
}
