//! `Authorization: Digest …` and `Proxy-Authorization: Digest …` (RFC 3261 §20.7, §20.28; RFC 7616 §3.4).

use std::fmt;

use crate::auth::challenge::{Inner, Name, read_digest};
use crate::auth::digest::{Algorithm, Input};
use crate::auth::{Credentials, Qop};
use crate::lex::{self, Malformed};
use crate::message::Method;

/// An answer to a challenge. `Display` writes the value of the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// Who answers, escapes read.
    pub username: String,
    /// The realm of the challenge, as between its quotes.
    pub realm: String,
    /// The nonce of the challenge, as between its quotes.
    pub nonce: String,
    /// The digest-uri. The caller compares it with the Request-URI (RFC 7616 §3.4.6).
    pub uri: String,
    /// The hash, in hexadecimal digits.
    pub response: String,
    /// The algorithm; MD5 where none is named.
    pub algorithm: Algorithm,
    /// Echoed from the challenge.
    pub opaque: Option<String>,
    /// The client's random text.
    pub cnonce: Option<String>,
    /// What is protected, `None` for an answer of RFC 2069.
    pub qop: Option<Qop>,
    /// `nc` as written. The caller makes sure that it grows with every use of a nonce.
    pub nonce_count: Option<String>,
}

impl Authorization {
    /// Reads a value. An error also for another scheme or an algorithm or quality that we do not have.
    pub fn parse(value: impl AsRef<[u8]>) -> Result<Self, Malformed> {
        let (mut username, mut realm, mut nonce, mut uri) = (None, None, None, None);
        let (mut response, mut opaque, mut cnonce, mut nonce_count) = (None, None, None, None);
        let (mut algorithm, mut qop) = (Some(Algorithm::Md5), None);
        let end = read_digest(value.as_ref(), |name, text| match name {
            Name::Username => username = Some(unescape(&text)),
            Name::Realm => realm = Some(text),
            Name::Nonce => nonce = Some(text),
            Name::Uri => uri = Some(text),
            Name::Response => response = Some(text),
            Name::Opaque => opaque = Some(text),
            Name::Cnonce => cnonce = Some(text),
            Name::NonceCount => nonce_count = Some(text),
            Name::Algorithm => algorithm = Algorithm::from_token(&text),
            Name::Qop => qop = Some(Qop::from_token(&text)),
            Name::Stale | Name::Other => {}
        })?;
        let unusable = Malformed { at: end };
        let qop = match qop {
            Some(known) => Some(known.ok_or(unusable)?),
            None => None,
        };
        if qop.is_some() && (cnonce.is_none() || nonce_count.is_none()) {
            return Err(unusable);
        }
        Ok(Self {
            username: username.ok_or(unusable)?,
            realm: realm.ok_or(unusable)?,
            nonce: nonce.ok_or(unusable)?,
            uri: uri.ok_or(unusable)?,
            response: response.ok_or(unusable)?,
            algorithm: algorithm.ok_or(unusable)?,
            opaque,
            cnonce,
            qop,
            nonce_count,
        })
    }

    /// Whether the answer was made with these credentials for this request. Takes the same time wherever it differs.
    ///
    /// Says nothing about the nonce: that it is ours, fresh, and its count unused is for the caller to know, and so is
    /// whether [`Self::uri`] is the Request-URI.
    pub fn verify(&self, credentials: &Credentials, method: Method<'_>, body: &[u8]) -> bool {
        let expected = Input {
            algorithm: self.algorithm,
            username: &self.username,
            realm: &self.realm,
            password: &credentials.password,
            nonce: &self.nonce,
            cnonce: self.cnonce.as_deref().unwrap_or_default(),
            nonce_count: self.nonce_count.as_deref().unwrap_or_default(),
            qop: self.qop,
            method: method.as_str(),
            uri: &self.uri,
            body,
        }
        .response();
        let same_name = same(self.username.as_bytes(), credentials.username.as_bytes());
        let same_hash = same(expected.as_bytes(), self.response.to_ascii_lowercase().as_bytes());
        same_name & same_hash
    }

    /// `nc` as a number: up to eight hexadecimal digits (RFC 7616 §3.4).
    pub fn count(&self) -> Option<u32> {
        let count = self.nonce_count.as_deref().filter(|count| count.bytes().all(lex::is_hex))?;
        u32::from_str_radix(count, 16).ok()
    }
}

/// Compares without telling by its time where the difference is.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |sum, (one, other)| sum | (one ^ other)) == 0
}

fn unescape(inner: &str) -> String {
    let quoted = format!("\"{inner}\"");
    String::from_utf8_lossy(&lex::unquote(quoted.as_bytes())).into_owned()
}

impl fmt::Display for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut username = String::new();
        lex::push_quoted(&mut username, &self.username);
        write!(f, "Digest username={username}, realm=\"{}\"", Inner(&self.realm))?;
        write!(f, ", nonce=\"{}\", uri=\"{}\"", Inner(&self.nonce), Inner(&self.uri))?;
        write!(f, ", response=\"{}\", algorithm={}", Inner(&self.response), self.algorithm.as_str())?;
        if let Some(cnonce) = &self.cnonce {
            write!(f, ", cnonce=\"{}\"", Inner(cnonce))?;
        }
        if let Some(opaque) = &self.opaque {
            write!(f, ", opaque=\"{}\"", Inner(opaque))?;
        }
        if let (Some(qop), Some(count)) = (self.qop, &self.nonce_count) {
            let digits: String = count.chars().filter(char::is_ascii_hexdigit).collect();
            write!(f, ", qop={}, nc={digits}", qop.as_str())?;
        }
        Ok(())
    }
}
