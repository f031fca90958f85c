//! Digest authentication (RFC 3261 §22, RFC 7616, RFC 8760): answering a challenge as a client, checking an answer as a
//! server. Pure functions of their arguments: nonces, their counts and their ages belong to the caller.
//!
//! ```text
//!   response = H( H(A1) : nonce [: nc : cnonce : qop] : H(A2) )
//!   A1 = user : realm : password            -sess: H(A1) : nonce : cnonce
//!   A2 = method : digest-uri                auth-int: … : H(body)
//! ```

mod authorization;
mod challenge;
mod digest;

use std::fmt;

pub use authorization::Authorization;
pub use challenge::{Challenge, Qop};
pub use digest::Algorithm;

/// What a trunk knows us by. `Debug` never shows the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name, as the realm knows it.
    pub username: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// The one challenge to answer: the strongest algorithm, the first among equals (RFC 8760 §2.4 lets the server's order
/// decide; strength goes first here, so that nobody on the way can put MD5 on top).
pub fn strongest(challenges: impl IntoIterator<Item = Challenge>) -> Option<Challenge> {
    challenges.into_iter().reduce(|best, next| if next.algorithm > best.algorithm { next } else { best })
}

#[cfg(test)]
mod tests;
