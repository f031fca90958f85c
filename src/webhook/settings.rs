//! What the operator decides about webhooks. Given through a watch channel, so that a reload takes effect with the next
//! attempt.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rustls_pki_types::CertificateDer;

use super::guard::NetworkPolicy;
use super::queue::Limits;
use crate::call::TenantId;

/// All settings of the sender.
#[derive(Debug, Clone)]
pub struct WebhookSettings {
    /// Whose events are signed with what. Events of a tenant that has none wait, as if its receivers were down.
    pub secrets: BTreeMap<TenantId, Secrets>,
    /// Which addresses may be reached.
    pub network: NetworkPolicy,
    /// How many posts at once.
    pub limits: Limits,
    /// For name, TCP and TLS together.
    pub connect_timeout: Duration,
    /// For everything up to the end of the response's head.
    pub total_timeout: Duration,
    /// Certificates trusted beside the public ones.
    pub roots: Vec<CertificateDer<'static>>,
}

impl Default for WebhookSettings {
    fn default() -> Self {
        Self {
            secrets: BTreeMap::new(),
            network: NetworkPolicy::default(),
            limits: Limits::default(),
            connect_timeout: Duration::from_secs(5),
            total_timeout: Duration::from_secs(15),
            roots: Vec::new(),
        }
    }
}

/// A tenant's secret, and the one before while it is being rotated: then both sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secrets {
    /// Signs first.
    pub current: Secret,
    /// Signs too.
    pub previous: Option<Secret>,
}

impl Secrets {
    /// One secret, no rotation under way.
    pub fn one(secret: &str) -> Self {
        Self { current: Secret::from(secret), previous: None }
    }

    /// Newest first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Secret> {
        std::iter::once(&self.current).chain(&self.previous)
    }
}

/// A shared secret as configured. Is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// As configured.
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(secret: &str) -> Self {
        Self(secret.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
