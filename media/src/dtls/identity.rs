//! Who we are in a handshake: a key and its certificate, which nobody signed but itself.

use super::Fingerprint;

/// A key with its certificate. Nothing prints it.
pub struct DtlsIdentity {
    fingerprint: Fingerprint,
    #[cfg(feature = "dtls")]
    pub(super) certificate: rtc_dtls::crypto::Certificate,
    #[cfg(feature = "dtls")]
    pub(super) provider: std::sync::Arc<dyn rtc_crypto::RTCCryptoProvider>,
}

/// A key or its certificate could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no certificate for DTLS: {0}")]
pub struct NoIdentity(pub String);

impl DtlsIdentity {
    /// A new key (ECDSA, P-256) with its certificate, by the system's randomness.
    ///
    /// # Errors
    /// When the system has none.
    #[cfg(feature = "dtls")]
    pub fn generate() -> Result<std::sync::Arc<Self>, NoIdentity> {
        let provider = rtc_crypto::default_provider().map_err(|error| NoIdentity(error.to_string()))?;
        let names = [String::from("callingedge")];
        let certificate = rtc_dtls::crypto::Certificate::generate_self_signed(names, provider.crypto())
            .map_err(|error| NoIdentity(error.to_string()))?;
        let leaf = certificate.certificate.first().ok_or_else(|| NoIdentity(String::from("it is empty")))?;
        let fingerprint = Fingerprint::of(leaf);
        Ok(std::sync::Arc::new(Self { fingerprint, certificate, provider }))
    }

    /// Of its certificate.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

impl PartialEq for DtlsIdentity {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Eq for DtlsIdentity {}

impl std::fmt::Debug for DtlsIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DtlsIdentity").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}
