//! Who did what with credentials, when, and from where. Rows are written in the transaction of what they tell of, so that
//! neither is without the other; the tables themselves refuse to change or remove one.

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::row::{Ms, Word};
use crate::call::{TenantId, Timestamp};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum AuditAction {
    /// A name was made that a value can be held under.
    #[serde(rename = "credential.created")]
    CredentialCreated,
    /// A credential was removed with its value.
    #[serde(rename = "credential.deleted")]
    CredentialDeleted,
    /// A value was read, to be used towards its upstream.
    #[serde(rename = "credential.used")]
    CredentialUsed,
    /// A value was wanted and could not be read.
    #[serde(rename = "credential.refused")]
    CredentialRefused,
    /// A link for a value was made.
    #[serde(rename = "intake.linked")]
    IntakeLinked,
    /// A value came by its link.
    #[serde(rename = "intake.taken")]
    IntakeTaken,
    /// A value came by a link and was not taken.
    #[serde(rename = "intake.refused")]
    IntakeRefused,
    /// A platform's events are taken: the first since the start, or since one was refused.
    #[serde(rename = "platform.accepted")]
    PlatformAccepted,
    /// What came for a platform's intake was not known to be its own.
    #[serde(rename = "platform.refused")]
    PlatformRefused,
}

impl AuditAction {
    fn as_str(self) -> &'static str {
        match self {
            Self::CredentialCreated => "credential.created",
            Self::CredentialDeleted => "credential.deleted",
            Self::CredentialUsed => "credential.used",
            Self::CredentialRefused => "credential.refused",
            Self::IntakeLinked => "intake.linked",
            Self::IntakeTaken => "intake.taken",
            Self::IntakeRefused => "intake.refused",
            Self::PlatformAccepted => "platform.accepted",
            Self::PlatformRefused => "platform.refused",
        }
    }
}

/// Who does something, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// `token 0011223344556677`, `link 0011223344556677`, `configuration`.
    pub who: String,
    /// The address of the connection; none for what happens on this machine.
    pub source: Option<String>,
}

/// One thing that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct AuditRecord {
    /// Its place in the log; grows.
    #[schema(example = "17")]
    pub id: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Who: a token or a link by its public half, the configuration, or a platform.
    #[schema(example = "token 0011223344556677")]
    pub actor: String,
    /// What.
    pub action: AuditAction,
    /// Which credential, or which intake.
    #[schema(example = "sip-password")]
    pub subject: String,
    /// Where the connection came from; null for what happened on the machine itself.
    #[schema(example = "203.0.113.9")]
    pub source: Option<String>,
    /// Why not, or until when.
    pub detail: Option<String>,
}

/// Adds a record, in the transaction of what it tells of.
pub(super) fn add(
    connection: &Connection,
    at: Timestamp,
    tenant: &TenantId,
    actor: &Actor,
    action: AuditAction,
    subject: &str,
    detail: Option<&str>,
) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO audit (at_ms, tenant, actor, action, subject, source, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![Ms(at), tenant.as_str(), actor.who, action.as_str(), subject, actor.source, detail],
    )?;
    Ok(())
}

/// A tenant's records before one, newest first.
pub(super) fn page(
    connection: &Connection,
    tenant: &TenantId,
    before: Option<i64>,
    limit: u32,
) -> rusqlite::Result<Vec<AuditRecord>> {
    let mut statement = connection.prepare_cached(
        "SELECT n, at_ms, actor, action, subject, source, detail FROM audit
         WHERE tenant = ?1 AND n < ?2 ORDER BY n DESC LIMIT ?3",
    )?;
    let rows = statement.query_map(params![tenant.as_str(), before.unwrap_or(i64::MAX), limit], |row| {
        Ok(AuditRecord {
            id: row.get::<_, i64>(0)?.to_string(),
            at: row.get::<_, Ms>(1)?.0,
            actor: row.get(2)?,
            action: row.get::<_, Word<AuditAction>>(3)?.0,
            subject: row.get(4)?,
            source: row.get(5)?,
            detail: row.get(6)?,
        })
    })?;
    rows.collect()
}
