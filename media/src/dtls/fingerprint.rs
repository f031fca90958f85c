//! `a=fingerprint`: RFC 8122 §5.

use ring::digest;

/// The hash of a certificate. SHA-1 and MD5 are not read: who could make two certificates of one hash could be either.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    hash: Hash,
    /// As many bytes as the hash has; zeros behind.
    bytes: [u8; 64],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }

    fn algorithm(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        }
    }
}

impl Fingerprint {
    /// SHA-256 of a certificate.
    pub fn of(certificate: &[u8]) -> Self {
        Self::by(Hash::Sha256, certificate)
    }

    /// `sha-256 AB:CD:…`, in any case. Nothing where it is malformed or of a hash that we do not take.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, digits) = text.trim().split_once(|letter: char| letter.is_ascii_whitespace())?;
        let hash = Hash::ALL.into_iter().find(|hash| hash.name().eq_ignore_ascii_case(name))?;
        let mut bytes = [0; 64];
        let mut places = bytes.iter_mut().take(hash.algorithm().output_len());
        for pair in digits.trim().split(':') {
            let is_pair = pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
            *places.next()? = u8::from_str_radix(pair, 16).ok().filter(|_| is_pair)?;
        }
        places.next().is_none().then_some(Self { hash, bytes })
    }

    /// Whether it is that of this certificate.
    pub fn is_of(&self, certificate: &[u8]) -> bool {
        *self == Self::by(self.hash, certificate)
    }

    fn by(hash: Hash, certificate: &[u8]) -> Self {
        let digest = digest::digest(hash.algorithm(), certificate);
        let mut bytes = [0; 64];
        bytes[..digest.as_ref().len()].copy_from_slice(digest.as_ref());
        Self { hash, bytes }
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.hash.name())?;
        for (place, byte) in self.bytes.iter().take(self.hash.algorithm().output_len()).enumerate() {
            write!(f, "{}{byte:02X}", if place == 0 { ' ' } else { ':' })?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_written_and_read_back_by_every_hash_in_any_case() {
        for hash in Hash::ALL {
            let fingerprint = Fingerprint::by(hash, b"a certificate");

            assert_eq!(Fingerprint::parse(&fingerprint.to_string()), Some(fingerprint));
            assert_eq!(Fingerprint::parse(&fingerprint.to_string().to_lowercase()), Some(fingerprint));
            assert!(fingerprint.is_of(b"a certificate") && !fingerprint.is_of(b"another one"));
        }
    }

    #[test]
    fn a_malformed_fingerprint_or_one_of_a_weak_hash_is_none() {
        let whole = Fingerprint::of(b"").to_string();
        for text in [
            "",
            "sha-256",
            "sha-256 ",
            "sha-256 AB",
            &whole[..whole.len() - 3],
            &format!("{whole}:00"),
            &whole.replace(':', ""),
            &whole.replacen("E3", "+3", 1),
            "sha-1 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB",
        ] {
            assert_eq!(Fingerprint::parse(text), None, "{text}");
        }
    }
}
