//! Credentials for upstreams that we hold for a tenant: sealed (AES-256-GCM), brought by a link that is good once, never read
//! back by anybody but the edge itself.
//!
//! ```text
//!   create --> [empty] --- link ---> a value comes by it, once ---> [held] --- used, by the configuration
//!                 |                    | used, expired: refused        |
//!                 +------------------- delete -------------------------+
//! ```
//! A link is `ci_<id>_<secret>`, shown once and kept as a hash, like a token. Whatever is done is on the audit log in the same
//! transaction. Like tokens these are written beside the disk thread, since a running call never waits for one.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::audit::{self, Actor, AuditAction};
use super::error::StoreError;
use super::row::Ms;
use super::schema::{Location, Opener, open_writer};
use crate::call::{TenantId, Timestamp};
use crate::crypto::{self, SealingKey};

/// How many credentials one tenant may have.
pub const CREDENTIALS_MAX: u32 = 200;

/// Refusals of one link that are written down: whoever has an old link fills no disk.
const REFUSALS_TOLD: u32 = 16;

/// For so long a link that is over is told from one that never was.
const REMEMBERED: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A credential as it is listed: everything but its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldCredential {
    /// The tenant's name for it.
    pub name: String,
    /// What it is for, in its maker's words.
    pub note: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its value came; none came yet.
    pub set_at: Option<Timestamp>,
    /// When it was read last.
    pub used_at: Option<Timestamp>,
}

/// A link that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntakeLink {
    /// Its public half.
    pub id: String,
    /// Whose value it brings.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it is good.
    pub expires_at: Timestamp,
}

/// Why no credential was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotCreated {
    /// There is one of this name.
    Exists,
    /// The tenant has [`CREDENTIALS_MAX`].
    TooMany,
}

/// Why a value was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// There is no such link, or no longer.
    Unknown,
    /// A value came by it before.
    Used,
    /// It is too late, or a newer link took its place.
    Expired,
}

/// Why a value cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotUsable {
    /// The tenant has none of this name.
    #[error("is not held; make it with POST /api/credentials")]
    Absent,
    /// No value has come.
    #[error("has no value yet; make a link with POST /api/credentials/intake")]
    Empty,
    /// It was sealed with another key, or somebody has changed it.
    #[error(
        "cannot be opened with `key` of [credentials]; write the key that it was sealed with, or bring the value again"
    )]
    OtherKey,
}

/// The credentials of a store. Waits for the disk.
pub struct Vault(Connection);

impl Vault {
    /// Opens the store's file for a process that is not the daemon; it may run beside it.
    ///
    /// # Errors
    /// When the file cannot be opened or is not for this version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::of(&Location::File(path.to_owned()))
    }

    pub(super) fn of(location: &Location) -> Result<Self, StoreError> {
        open_writer(location, Opener::Beside).map(Self)
    }

    /// Makes a name that a value can be held under.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn create(
        &mut self,
        tenant: &TenantId,
        name: &str,
        note: &str,
        actor: &Actor,
    ) -> Result<Result<HeldCredential, NotCreated>, StoreError> {
        let (now, transaction) = self.begin()?;
        let count: u32 = transaction.query_row(
            "SELECT count(*) FROM credential WHERE tenant = ?1",
            [tenant.as_str()],
            |row| row.get(0),
        )?;
        if find(&transaction, tenant, name)?.is_some() {
            return Ok(Err(NotCreated::Exists));
        }
        if count >= CREDENTIALS_MAX {
            return Ok(Err(NotCreated::TooMany));
        }
        transaction.execute(
            "INSERT INTO credential (tenant, name, note, created_ms) VALUES (?1, ?2, ?3, ?4)",
            params![tenant.as_str(), name, note, Ms(now)],
        )?;
        audit::add(&transaction, now, tenant, actor, AuditAction::CredentialCreated, name, None)?;
        let made = find(&transaction, tenant, name)?;
        transaction.commit()?;
        Ok(made.ok_or(NotCreated::Exists))
    }

    /// Removes it with its value and its links. Answers whether there was one.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn delete(&mut self, tenant: &TenantId, name: &str, actor: &Actor) -> Result<bool, StoreError> {
        let (now, transaction) = self.begin()?;
        let whose = params![tenant.as_str(), name];
        if transaction.execute("DELETE FROM credential WHERE tenant = ?1 AND name = ?2", whose)? == 0 {
            return Ok(false);
        }
        transaction.execute("DELETE FROM intake WHERE tenant = ?1 AND name = ?2", whose)?;
        audit::add(&transaction, now, tenant, actor, AuditAction::CredentialDeleted, name, None)?;
        transaction.commit()?;
        Ok(true)
    }

    /// Makes the link by which a value may be brought once; earlier ones of the same credential are over. The token in the
    /// answer is its only copy; nothing when the tenant has no such credential.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn link(
        &mut self,
        tenant: &TenantId,
        name: &str,
        good_for: Duration,
        actor: &Actor,
    ) -> Result<Option<(IntakeLink, String)>, StoreError> {
        let (now, transaction) = self.begin()?;
        if find(&transaction, tenant, name)?.is_none() {
            return Ok(None);
        }
        let (id, secret) = (crypto::hex(&crypto::random::<8>()), crypto::hex(&crypto::random::<20>()));
        let expires_at = later(now, good_for);
        transaction.execute(
            "DELETE FROM intake WHERE tenant = ?1 AND name = ?2 AND max(expires_ms, coalesce(taken_ms, 0)) < ?3",
            params![tenant.as_str(), name, now.unix_ms() - millis(REMEMBERED)],
        )?;
        transaction.execute(
            "UPDATE intake SET expires_ms = ?3 WHERE tenant = ?1 AND name = ?2 AND expires_ms > ?3 AND taken_ms IS NULL",
            params![tenant.as_str(), name, Ms(now)],
        )?;
        transaction.execute(
            "INSERT INTO intake (id, tenant, name, hash, created_ms, expires_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![id, tenant.as_str(), name, crypto::sha256(secret.as_bytes()), Ms(now), Ms(expires_at)],
        )?;
        let detail = format!("link {id}, good until {expires_at}");
        audit::add(&transaction, now, tenant, actor, AuditAction::IntakeLinked, name, Some(&detail))?;
        transaction.commit()?;
        let token = format!("ci_{id}_{secret}");
        Ok(Some((IntakeLink { id, name: name.to_owned(), created_at: now, expires_at }, token)))
    }

    /// Takes the value that came by a link, sealed. Answers whose it is.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn take(
        &mut self,
        token: &str,
        value: &str,
        key: &SealingKey,
        source: Option<String>,
    ) -> Result<Result<(TenantId, HeldCredential), NotTaken>, StoreError> {
        let Some((id, secret)) = token.strip_prefix("ci_").and_then(|rest| rest.split_once('_')) else {
            return Ok(Err(NotTaken::Unknown));
        };
        let (now, transaction) = self.begin()?;
        let Some(link) = known_link(&transaction, id)? else { return Ok(Err(NotTaken::Unknown)) };
        let actor = Actor { who: format!("link {id}"), source };
        let refused = if !crypto::equal(&link.hash, &crypto::sha256(secret.as_bytes())) {
            Some((NotTaken::Unknown, "the token is wrong"))
        } else if link.taken {
            Some((NotTaken::Used, "the link was used before"))
        } else if link.expires_at <= now {
            Some((NotTaken::Expired, "the link has expired"))
        } else {
            None
        };
        if let Some((refusal, why)) = refused {
            if link.refusals < REFUSALS_TOLD {
                transaction.execute("UPDATE intake SET refusals = refusals + 1 WHERE id = ?1", [id])?;
                let action = AuditAction::IntakeRefused;
                audit::add(&transaction, now, &link.tenant, &actor, action, &link.name, Some(why))?;
                transaction.commit()?;
            }
            return Ok(Err(refusal));
        }
        let sealed = key.seal(&sealed_for(&link.tenant, &link.name), value.as_bytes());
        let whose = (link.tenant.as_str(), &link.name);
        transaction.execute(
            "UPDATE credential SET sealed = ?3, key_id = ?4, set_ms = ?5 WHERE tenant = ?1 AND name = ?2",
            params![whose.0, whose.1, sealed, key.id(), Ms(now)],
        )?;
        transaction.execute("UPDATE intake SET taken_ms = ?2 WHERE id = ?1", params![id, Ms(now)])?;
        audit::add(&transaction, now, &link.tenant, &actor, AuditAction::IntakeTaken, &link.name, None)?;
        let held = find(&transaction, &link.tenant, &link.name)?;
        transaction.commit()?;
        // Its links go with a credential, in one transaction.
        Ok(held.map(|held| (link.tenant, held)).ok_or(NotTaken::Unknown))
    }

    /// Reads a value, to be used towards its upstream.
    ///
    /// # Errors
    /// When the disk cannot be read, or does not take the record of it: what is not on the log is not read.
    pub fn use_value(
        &mut self,
        tenant: &TenantId,
        name: &str,
        key: &SealingKey,
        actor: &Actor,
    ) -> Result<Result<String, NotUsable>, StoreError> {
        let (now, transaction) = self.begin()?;
        let found = transaction
            .query_row(
                "SELECT sealed FROM credential WHERE tenant = ?1 AND name = ?2",
                params![tenant.as_str(), name],
                |row| row.get::<_, Option<Vec<u8>>>(0),
            )
            .optional()?;
        let opened = match found {
            None => Err(NotUsable::Absent),
            Some(None) => Err(NotUsable::Empty),
            Some(Some(sealed)) => key
                .open(&sealed_for(tenant, name), &sealed)
                .and_then(|value| String::from_utf8(value).ok())
                .ok_or(NotUsable::OtherKey),
        };
        let (action, detail) = match &opened {
            Ok(_) => (AuditAction::CredentialUsed, None),
            Err(refusal) => (AuditAction::CredentialRefused, Some(refusal.to_string())),
        };
        if opened.is_ok() {
            transaction.execute(
                "UPDATE credential SET used_ms = ?3 WHERE tenant = ?1 AND name = ?2",
                params![tenant.as_str(), name, Ms(now)],
            )?;
        }
        audit::add(&transaction, now, tenant, actor, action, name, detail.as_deref())?;
        transaction.commit()?;
        Ok(opened)
    }

    /// Writes a record of something else that was let in, or was not.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn note(
        &mut self,
        tenant: &TenantId,
        actor: &Actor,
        action: AuditAction,
        subject: &str,
        detail: &str,
    ) -> Result<(), StoreError> {
        let (now, transaction) = self.begin()?;
        audit::add(&transaction, now, tenant, actor, action, subject, Some(detail))?;
        Ok(transaction.commit()?)
    }

    fn begin(&mut self) -> Result<(Timestamp, Transaction<'_>), StoreError> {
        let transaction = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        Ok((SystemTime::now().into(), transaction))
    }
}

/// Whether it is worth while to take the disk's turn for this token: not for one of a stranger, and not when all that would
/// come of it is one more refusal that nobody writes down.
pub(super) fn is_worth_a_turn(connection: &Connection, token: &str) -> rusqlite::Result<bool> {
    let Some((id, secret)) = token.strip_prefix("ci_").and_then(|rest| rest.split_once('_')) else {
        return Ok(false);
    };
    let link = known_link(connection, id)?;
    Ok(link.is_some_and(|link| {
        link.refusals < REFUSALS_TOLD || crypto::equal(&link.hash, &crypto::sha256(secret.as_bytes()))
    }))
}

/// A tenant's credentials, by name.
pub(super) fn list(connection: &Connection, tenant: &TenantId) -> rusqlite::Result<Vec<HeldCredential>> {
    let mut statement = connection.prepare_cached(
        "SELECT name, note, created_ms, set_ms, used_ms FROM credential WHERE tenant = ?1 ORDER BY name",
    )?;
    let rows = statement.query_map([tenant.as_str()], row)?;
    rows.collect()
}

/// A tenant's links that are open, newest first.
pub(super) fn links(
    connection: &Connection,
    tenant: &TenantId,
    now: Timestamp,
) -> rusqlite::Result<Vec<IntakeLink>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, name, created_ms, expires_ms FROM intake
         WHERE tenant = ?1 AND taken_ms IS NULL AND expires_ms > ?2 ORDER BY created_ms DESC, id",
    )?;
    let rows = statement.query_map(params![tenant.as_str(), Ms(now)], |row| {
        Ok(IntakeLink {
            id: row.get(0)?,
            name: row.get(1)?,
            created_at: row.get::<_, Ms>(2)?.0,
            expires_at: row.get::<_, Ms>(3)?.0,
        })
    })?;
    rows.collect()
}

fn find(connection: &Connection, tenant: &TenantId, name: &str) -> rusqlite::Result<Option<HeldCredential>> {
    let question =
        "SELECT name, note, created_ms, set_ms, used_ms FROM credential WHERE tenant = ?1 AND name = ?2";
    connection.query_row(question, params![tenant.as_str(), name], row).optional()
}

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<HeldCredential> {
    let time = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<Ms>>(column)?.map(|Ms(at)| at));
    Ok(HeldCredential {
        name: row.get(0)?,
        note: row.get(1)?,
        created_at: row.get::<_, Ms>(2)?.0,
        set_at: time(3)?,
        used_at: time(4)?,
    })
}

struct KnownLink {
    tenant: TenantId,
    name: String,
    hash: Vec<u8>,
    expires_at: Timestamp,
    taken: bool,
    refusals: u32,
}

fn known_link(connection: &Connection, id: &str) -> rusqlite::Result<Option<KnownLink>> {
    let question =
        "SELECT tenant, name, hash, expires_ms, taken_ms IS NOT NULL, refusals FROM intake WHERE id = ?1";
    let link = connection.query_row(question, [id], |row| {
        Ok(KnownLink {
            tenant: row.get_ref(0)?.as_str()?.into(),
            name: row.get(1)?,
            hash: row.get(2)?,
            expires_at: row.get::<_, Ms>(3)?.0,
            taken: row.get(4)?,
            refusals: row.get(5)?,
        })
    });
    link.optional()
}

/// What a value is bound to: under another name, or another tenant's, it does not open.
fn sealed_for(tenant: &TenantId, name: &str) -> Vec<u8> {
    format!("{tenant}\0{name}").into_bytes()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn later(now: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_unix_ms(now.unix_ms().saturating_add(millis(by)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn vault() -> (Vault, TenantId, Actor, SealingKey) {
        let vault = Vault::of(&Location::memory()).unwrap();
        let actor = Actor { who: "token 1".to_owned(), source: Some("203.0.113.9".to_owned()) };
        (vault, TenantId::from("acme"), actor, SealingKey::from_hex(&"5a".repeat(32)).unwrap())
    }

    fn log(vault: &Vault, tenant: &TenantId) -> Vec<AuditAction> {
        let page = audit::page(&vault.0, tenant, None, 100).unwrap();
        page.into_iter().rev().map(|record| record.action).collect()
    }

    #[test]
    fn a_value_comes_once_by_its_link_is_kept_sealed_and_every_step_is_on_the_log() {
        let (mut vault, acme, actor, key) = vault();
        vault.create(&acme, "sip", "of the carrier", &actor).unwrap().unwrap();
        let (link, token) = vault.link(&acme, "sip", HOUR, &actor).unwrap().unwrap();

        let (whose, held) = vault.take(&token, "hunter2", &key, None).unwrap().unwrap();
        let again = vault.take(&token, "hunter3", &key, None).unwrap();
        let read = vault.use_value(&acme, "sip", &key, &actor).unwrap();

        assert_eq!((whose, held.name.as_str(), held.set_at.is_some()), (acme.clone(), "sip", true));
        assert_eq!(again, Err(NotTaken::Used));
        assert_eq!(read.as_deref(), Ok("hunter2"));
        assert!(list(&vault.0, &acme).unwrap()[0].used_at.is_some());
        assert_eq!(links(&vault.0, &acme, SystemTime::now().into()).unwrap(), []);
        let expected = [
            AuditAction::CredentialCreated,
            AuditAction::IntakeLinked,
            AuditAction::IntakeTaken,
            AuditAction::IntakeRefused,
            AuditAction::CredentialUsed,
        ];
        assert_eq!(log(&vault, &acme), expected);
        let records = audit::page(&vault.0, &acme, None, 100).unwrap();
        assert_eq!(records[2].actor, format!("link {}", link.id));
        assert_eq!(records[4].source.as_deref(), Some("203.0.113.9"));
    }

    #[test]
    fn neither_the_value_nor_a_links_secret_is_in_the_file() {
        let (mut vault, acme, actor, key) = vault();
        vault.create(&acme, "sip", "", &actor).unwrap().unwrap();
        let (_, token) = vault.link(&acme, "sip", HOUR, &actor).unwrap().unwrap();
        vault.take(&token, "hunter2 in the clear", &key, None).unwrap().unwrap();

        let sealed: Vec<u8> =
            vault.0.query_row("SELECT sealed FROM credential", [], |row| row.get(0)).unwrap();
        let hash: Vec<u8> = vault.0.query_row("SELECT hash FROM intake", [], |row| row.get(0)).unwrap();

        assert!(!sealed.windows(7).any(|window| window == b"hunter2"));
        assert_eq!(hash, crypto::sha256(token.rsplit('_').next().unwrap().as_bytes()));
    }

    #[test]
    fn a_value_opens_with_its_own_key_under_its_own_name_only() {
        let (mut vault, acme, actor, key) = vault();
        for name in ["sip", "bot"] {
            vault.create(&acme, name, "", &actor).unwrap().unwrap();
        }
        let (_, token) = vault.link(&acme, "sip", HOUR, &actor).unwrap().unwrap();
        vault.take(&token, "hunter2", &key, None).unwrap().unwrap();
        let moved = "UPDATE credential SET sealed = (SELECT sealed FROM credential WHERE name = 'sip') WHERE name = 'bot'";
        vault.0.execute(moved, []).unwrap();
        let other = SealingKey::from_hex(&"a5".repeat(32)).unwrap();

        let stranger = vault.use_value(&acme, "sip", &other, &actor).unwrap();
        let moved = vault.use_value(&acme, "bot", &key, &actor).unwrap();
        let theirs = vault.use_value(&TenantId::from("other"), "sip", &key, &actor).unwrap();

        assert_eq!(stranger, Err(NotUsable::OtherKey));
        assert_eq!(moved, Err(NotUsable::OtherKey));
        assert_eq!(theirs, Err(NotUsable::Absent));
        assert_eq!(log(&vault, &acme).last(), Some(&AuditAction::CredentialRefused));
    }

    #[test]
    fn a_newer_link_ends_the_one_before_and_an_expired_or_wrong_one_is_refused() {
        let (mut vault, acme, actor, key) = vault();
        vault.create(&acme, "sip", "", &actor).unwrap().unwrap();
        let (_, older) = vault.link(&acme, "sip", HOUR, &actor).unwrap().unwrap();
        let (_, newer) = vault.link(&acme, "sip", HOUR, &actor).unwrap().unwrap();
        let mut wrong = newer.clone();
        wrong.replace_range(wrong.len() - 1.., if newer.ends_with('0') { "1" } else { "0" });
        let mut refusal = |token: &str| vault.take(token, "x", &key, None).unwrap().unwrap_err();

        assert_eq!(refusal(&older), NotTaken::Expired);
        for text in [wrong.as_str(), "", "ci_", "ci__", "ci_0011223344556677_00", &newer[3..]] {
            assert_eq!(refusal(text), NotTaken::Unknown, "{text}");
        }
        assert!(vault.take(&newer, "x", &key, None).unwrap().is_ok());
        assert_eq!(vault.link(&acme, "nothing", HOUR, &actor).unwrap(), None);
    }

    #[test]
    fn whoever_repeats_an_old_link_does_not_fill_the_log() {
        let (mut vault, acme, actor, key) = vault();
        vault.create(&acme, "sip", "", &actor).unwrap().unwrap();
        let (_, token) = vault.link(&acme, "sip", HOUR, &actor).unwrap().unwrap();
        vault.take(&token, "x", &key, None).unwrap().unwrap();

        for _ in 0..100 {
            assert_eq!(vault.take(&token, "y", &key, None).unwrap(), Err(NotTaken::Used));
        }
        let mut wrong = token.clone();
        wrong.replace_range(wrong.len() - 1.., if token.ends_with('0') { "1" } else { "0" });
        assert!(!is_worth_a_turn(&vault.0, &wrong).unwrap());
        assert!(!is_worth_a_turn(&vault.0, "ci_0011223344556677_00").unwrap());
        assert!(is_worth_a_turn(&vault.0, &token).unwrap(), "whoever has the link is told that it was used");

        assert_eq!(log(&vault, &acme).len(), 3 + REFUSALS_TOLD as usize);
    }

    #[test]
    fn a_deleted_credential_takes_its_links_along_and_leaves_its_records() {
        let (mut vault, acme, actor, key) = vault();
        vault.create(&acme, "sip", "", &actor).unwrap().unwrap();
        assert_eq!(vault.create(&acme, "sip", "", &actor).unwrap(), Err(NotCreated::Exists));
        let (_, token) = vault.link(&acme, "sip", HOUR, &actor).unwrap().unwrap();

        assert!(!vault.delete(&TenantId::from("other"), "sip", &actor).unwrap());
        assert!(vault.delete(&acme, "sip", &actor).unwrap());
        assert!(!vault.delete(&acme, "sip", &actor).unwrap());

        assert_eq!(vault.take(&token, "x", &key, None).unwrap(), Err(NotTaken::Unknown));
        assert_eq!(log(&vault, &acme).last(), Some(&AuditAction::CredentialDeleted));
        assert_eq!(log(&vault, &TenantId::from("other")), []);
    }

    #[test]
    fn the_log_can_neither_be_changed_nor_shortened() {
        let (mut vault, acme, actor, _) = vault();
        vault.create(&acme, "sip", "", &actor).unwrap().unwrap();

        for change in ["UPDATE audit SET actor = 'nobody'", "DELETE FROM audit"] {
            let refused = vault.0.execute(change, []).unwrap_err();

            assert!(refused.to_string().contains("append-only"), "{refused}");
        }
        assert_eq!(log(&vault, &acme), [AuditAction::CredentialCreated]);
    }
}
