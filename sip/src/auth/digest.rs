//! The hash functions of digest authentication and what is hashed.

use md5::Md5;
use sha2::{Digest, Sha256, Sha512_256};

use crate::auth::Qop;

/// A digest algorithm, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// `MD5`, also meant where no algorithm is named. Still what most trunks ask for.
    Md5,
    /// `MD5-sess`
    Md5Sess,
    /// `SHA-256`
    Sha256,
    /// `SHA-256-sess`
    Sha256Sess,
    /// `SHA-512-256`
    Sha512t256,
    /// `SHA-512-256-sess`
    Sha512t256Sess,
}

impl Algorithm {
    const ALL: [Self; 6] =
        [Self::Md5, Self::Md5Sess, Self::Sha256, Self::Sha256Sess, Self::Sha512t256, Self::Sha512t256Sess];

    /// The algorithm of that name, in any case.
    pub fn from_token(token: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(token))
    }

    /// The name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Md5Sess => "MD5-sess",
            Self::Sha256 => "SHA-256",
            Self::Sha256Sess => "SHA-256-sess",
            Self::Sha512t256 => "SHA-512-256",
            Self::Sha512t256Sess => "SHA-512-256-sess",
        }
    }

    /// Whether A1 contains the nonce.
    pub fn is_session(self) -> bool {
        match self {
            Self::Md5Sess | Self::Sha256Sess | Self::Sha512t256Sess => true,
            Self::Md5 | Self::Sha256 | Self::Sha512t256 => false,
        }
    }

    /// The hash of the parts with colons between, in small hexadecimal digits.
    pub(super) fn hash(self, parts: &[&[u8]]) -> String {
        match self {
            Self::Md5 | Self::Md5Sess => hash::<Md5>(parts),
            Self::Sha256 | Self::Sha256Sess => hash::<Sha256>(parts),
            Self::Sha512t256 | Self::Sha512t256Sess => hash::<Sha512_256>(parts),
        }
    }
}

fn hash<D: Digest>(parts: &[&[u8]]) -> String {
    let mut digest = D::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            digest.update(b":");
        }
        digest.update(part);
    }
    let mut hex = String::with_capacity(64);
    for byte in digest.finalize() {
        let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
        hex.extend([digit(byte >> 4), digit(byte & 15)]);
    }
    hex
}

/// Everything that a response is made of.
pub(super) struct Input<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) username: &'a str,
    pub(super) realm: &'a str,
    pub(super) password: &'a str,
    pub(super) nonce: &'a str,
    pub(super) cnonce: &'a str,
    /// Eight hexadecimal digits.
    pub(super) nonce_count: &'a str,
    pub(super) qop: Option<Qop>,
    pub(super) method: &'a str,
    pub(super) uri: &'a str,
    pub(super) body: &'a [u8],
}

impl Input<'_> {
    pub(super) fn response(&self) -> String {
        let hash = |parts: &[&[u8]]| self.algorithm.hash(parts);
        let bytes = str::as_bytes;
        let mut secret = hash(&[bytes(self.username), bytes(self.realm), bytes(self.password)]);
        if self.algorithm.is_session() {
            secret = hash(&[bytes(&secret), bytes(self.nonce), bytes(self.cnonce)]);
        }
        let (method, uri, nonce) = (bytes(self.method), bytes(self.uri), bytes(self.nonce));
        let request = match self.qop {
            Some(Qop::AuthInt) => hash(&[method, uri, bytes(&hash(&[self.body]))]),
            Some(Qop::Auth) | None => hash(&[method, uri]),
        };
        match self.qop {
            Some(qop) => hash(&[
                bytes(&secret),
                nonce,
                bytes(self.nonce_count),
                bytes(self.cnonce),
                bytes(qop.as_str()),
                bytes(&request),
            ]),
            None => hash(&[bytes(&secret), nonce, bytes(&request)]),
        }
    }
}
