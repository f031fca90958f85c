//! Keys of SRTP from a DTLS handshake on the port of RTP: RFC 5763, RFC 5764.
//!
//! ```text
//!   SDP: a=fingerprint, a=setup --> DtlsTerms --> Association --> SrtpKeys
//!                                                  ^     |
//!                                      datagrams --+     +--> datagrams
//! ```
//!
//! Who the peer is, its description says by the fingerprint of its certificate (RFC 8122); nobody else vouches for it. The
//! handshake itself is DTLS 1.2 by `rtc-dtls`, which only `association.rs` and `identity.rs` name. Without the feature
//! `dtls` there is no [`DtlsIdentity`], so nothing of it is ever agreed on.

#[cfg(feature = "dtls")]
mod association;
#[cfg(not(feature = "dtls"))]
#[path = "without.rs"]
mod association;
mod fingerprint;
mod identity;
#[cfg(feature = "dtls")]
mod repeats;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use association::Association;
pub use fingerprint::Fingerprint;
pub use identity::{DtlsIdentity, NoIdentity};

use crate::SrtpKeys;

/// How long a handshake may take. Then it is told once a second that there are no keys.
pub const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

/// The longest datagram of a handshake.
pub const HANDSHAKE_MAX: usize = 1_500;

/// Who begins the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DtlsRole {
    /// We do (`a=setup:active`).
    Client,
    /// The peer does (`a=setup:passive`).
    Server,
}

/// What descriptions say of a handshake. Two that are equal are about the same association (RFC 8842 §4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DtlsTerms {
    /// Who we are.
    pub identity: Arc<DtlsIdentity>,
    /// Our part.
    pub role: DtlsRole,
    /// Of the peer's certificate, by one or several hashes.
    pub fingerprints: Vec<Fingerprint>,
    /// The name of the association, where the peer gives it one (`a=tls-id`).
    pub tls_id: Option<String>,
}

impl DtlsTerms {
    /// Whether a certificate is the one that the peer's description speaks of.
    pub fn is_of(&self, certificate: &[u8]) -> bool {
        self.fingerprints.iter().any(|fingerprint| fingerprint.is_of(certificate))
    }
}

/// Why there are no keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unsecured {
    /// [`HANDSHAKE_PATIENCE`] is over; the handshake goes on all the same.
    #[error("the DTLS handshake did not finish in time")]
    TimedOut,
    /// Whoever is there is not who signalled.
    #[error("the certificate is not the one of a=fingerprint")]
    Fingerprint,
    /// No protection profile in common.
    #[error("no SRTP protection profile in common")]
    Profile,
    /// The peer said no by an alert, or closed the association.
    #[error("the far end ended the DTLS handshake")]
    Alert,
    /// The two sides cannot speak with each other: no cipher suite in common.
    #[error("the DTLS handshake failed")]
    Handshake,
}

/// What an association has to tell.
#[cfg_attr(not(feature = "dtls"), expect(dead_code, reason = "without a handshake nothing is told"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// From now on.
    Secured(SrtpKeys),
    /// Only [`Unsecured::TimedOut`] may be told again, or turn into keys.
    Unsecured(Unsecured),
}
