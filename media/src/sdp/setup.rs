//! The handshake that a description speaks of: `a=fingerprint` (RFC 8122), `a=setup` (RFC 4145 §4, RFC 5763 §5), `a=tls-id`
//! (RFC 8842 §5).
//!
//! | offered | answered | who begins |
//! |---|---|---|
//! | `actpass` | `active`, or what it was before | the answerer, or who it was before |
//! | `active` | `passive` | the offerer |
//! | `passive` | `active` | the answerer |

use std::fmt::Write as _;
use std::sync::Arc;

use sdp_types::Attribute;

use crate::{DtlsIdentity, DtlsRole, DtlsTerms, Fingerprint};

/// The most fingerprints that are read.
const MAX_FINGERPRINTS: usize = 8;

/// The longest name of an association (RFC 8842 §5.2 asks for 20 characters at least).
const MAX_TLS_ID: usize = 256;

/// Who may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setup {
    Active,
    Passive,
    ActPass,
    /// Nobody, for now.
    HoldConn,
}

/// What the peer says of the handshake; with at least one fingerprint that we can check.
#[derive(Debug, Clone)]
pub(super) struct Offered {
    setup: Option<Setup>,
    fingerprints: Vec<Fingerprint>,
    tls_id: Option<String>,
}

/// What we say of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ours {
    pub(super) setup: Setup,
    pub(super) fingerprint: Fingerprint,
}

impl Setup {
    const ALL: [Self; 4] = [Self::Active, Self::Passive, Self::ActPass, Self::HoldConn];

    fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::ActPass => "actpass",
            Self::HoldConn => "holdconn",
        }
    }
}

impl Offered {
    /// Attributes of the stream count before those of the whole session.
    pub(super) fn read(stream: &[Attribute], session: &[Attribute]) -> Option<Self> {
        let fingerprints = [stream, session].into_iter().map(fingerprints).find(|found| !found.is_empty())?;
        let value =
            |name| super::description::value(stream, name).or(super::description::value(session, name));
        let setup = value("setup").and_then(|text| {
            Setup::ALL.into_iter().find(|setup| setup.name().eq_ignore_ascii_case(text.trim()))
        });
        let tls_id = value("tls-id").filter(|name| name.len() <= MAX_TLS_ID).map(str::to_owned);
        Some(Self { setup, fingerprints, tls_id })
    }

    /// The terms that this offer comes to, and our line in the answer. While the peer's certificate is the one of
    /// `before`, the association stays and so do the parts in it (RFC 8842 §5.3). Nothing where there is no part for us.
    pub(super) fn accept(
        &self,
        identity: &Arc<DtlsIdentity>,
        before: Option<&DtlsTerms>,
    ) -> Option<(DtlsTerms, Ours)> {
        let same =
            |before: &&DtlsTerms| before.fingerprints == self.fingerprints && before.tls_id == self.tls_id;
        let role = match self.setup {
            Some(Setup::ActPass) => before.filter(same).map_or(DtlsRole::Client, |before| before.role),
            Some(Setup::Passive) => DtlsRole::Client,
            // RFC 4145 §4: who says nothing is active.
            Some(Setup::Active) | None => DtlsRole::Server,
            Some(Setup::HoldConn) => return None,
        };
        let setup = match role {
            DtlsRole::Client => Setup::Active,
            DtlsRole::Server => Setup::Passive,
        };
        Some((self.terms(identity, role), Ours { setup, fingerprint: identity.fingerprint() }))
    }

    /// The terms that this answer to an offer with `actpass` comes to.
    pub(super) fn confirm(&self, identity: &Arc<DtlsIdentity>) -> Option<DtlsTerms> {
        let role = match self.setup {
            Some(Setup::Passive) => DtlsRole::Client,
            // Some peers answer as they were asked, or nothing, and begin.
            Some(Setup::Active | Setup::ActPass) | None => DtlsRole::Server,
            Some(Setup::HoldConn) => return None,
        };
        Some(self.terms(identity, role))
    }

    fn terms(&self, identity: &Arc<DtlsIdentity>, role: DtlsRole) -> DtlsTerms {
        let (identity, fingerprints) = (identity.clone(), self.fingerprints.clone());
        DtlsTerms { identity, role, fingerprints, tls_id: self.tls_id.clone() }
    }
}

impl Ours {
    /// Writing into a string cannot fail, hence the result left alone.
    pub(super) fn write(self, body: &mut String) {
        let _ = write!(body, "a=setup:{}\r\na=fingerprint:{}\r\n", self.setup.name(), self.fingerprint);
    }
}

fn fingerprints(attributes: &[Attribute]) -> Vec<Fingerprint> {
    let lines = attributes.iter().filter(|line| line.attribute.eq_ignore_ascii_case("fingerprint"));
    lines.take(MAX_FINGERPRINTS).filter_map(|line| Fingerprint::parse(line.value.as_deref()?)).collect()
}
