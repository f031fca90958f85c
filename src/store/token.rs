//! Bearer tokens: `ce_<id>_<secret>`, shown once, kept as the SHA-256 of the secret.
//!
//! Every check reads the file, so that a token revoked by another process (`callingedge token`) is refused from then on.
//! A fast hash is enough: the secret is 160 random bits, not a password.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;

use super::error::StoreError;
use super::row::Ms;
use super::schema::{Location, Opener, open_writer};
use crate::call::{TenantId, Timestamp};
use crate::crypto;

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Reading calls and providers.
    CallsRead,
    /// Placing and controlling calls.
    CallsWrite,
    /// Following events, listing and replaying deliveries.
    EventsRead,
    /// All of these, and what changes the tenant itself.
    Admin,
}

/// The text is not a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a scope is one of calls:read, calls:write, events:read, admin")]
pub struct NotAScope;

impl Scope {
    /// As the contract writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CallsRead => "calls:read",
            Self::CallsWrite => "calls:write",
            Self::EventsRead => "events:read",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = NotAScope;

    fn from_str(text: &str) -> Result<Self, NotAScope> {
        let all = [Self::CallsRead, Self::CallsWrite, Self::EventsRead, Self::Admin];
        all.into_iter().find(|scope| scope.as_str() == text).ok_or(NotAScope)
    }
}

impl Serialize for Scope {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What a valid token says of its bearer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its public half.
    pub id: String,
    /// Whose it is.
    pub tenant: TenantId,
    /// What it allows.
    pub scopes: Vec<Scope>,
}

impl Token {
    /// Whether the bearer may do what needs this scope.
    pub fn allows(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }
}

/// A token as it is listed: everything but the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenRow {
    /// Its public half.
    pub id: String,
    /// Whose it is.
    pub tenant: TenantId,
    /// What it is for, in its maker's words.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it is refused.
    pub revoked_at: Option<Timestamp>,
}

/// The tokens of a store, for a process that is not the daemon; it may run beside it.
pub struct Tokens(Connection);

impl Tokens {
    /// Opens the store's file, and makes it when there is none.
    ///
    /// # Errors
    /// When the file cannot be opened or is not for this version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::of(&Location::File(path.to_owned()))
    }

    pub(super) fn of(location: &Location) -> Result<Self, StoreError> {
        open_writer(location, Opener::Beside).map(Self)
    }

    /// Makes a token. The answer is its only copy.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn create(&self, tenant: &TenantId, name: &str, scopes: &[Scope]) -> Result<String, StoreError> {
        let (id, secret) = (crypto::hex(&crypto::random::<8>()), crypto::hex(&crypto::random::<20>()));
        let scopes: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
        self.0.execute(
            "INSERT INTO token (id, tenant, name, scopes, hash, created_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                id,
                tenant.as_str(),
                name,
                scopes.join(" "),
                crypto::sha256(secret.as_bytes()),
                Ms(SystemTime::now().into())
            ],
        )?;
        Ok(format!("ce_{id}_{secret}"))
    }

    /// Refuses the token from now on. Answers whether there was one to refuse.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn revoke(&self, id: &str) -> Result<bool, StoreError> {
        let now = Ms(SystemTime::now().into());
        let changed = self.0.execute(
            "UPDATE token SET revoked_ms = ?2 WHERE id = ?1 AND revoked_ms IS NULL",
            params![id, now],
        )?;
        Ok(changed == 1)
    }

    /// All tokens, oldest first, the revoked ones too.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn list(&self) -> Result<Vec<TokenRow>, StoreError> {
        let mut statement = self.0.prepare(
            "SELECT id, tenant, name, scopes, created_ms, revoked_ms FROM token ORDER BY created_ms, id",
        )?;
        let rows = statement.query_map([], |row| {
            Ok(TokenRow {
                id: row.get(0)?,
                tenant: row.get_ref(1)?.as_str()?.into(),
                name: row.get(2)?,
                scopes: scopes(row, 3)?,
                created_at: row.get::<_, Ms>(4)?.0,
                revoked_at: row.get::<_, Option<Ms>>(5)?.map(|Ms(at)| at),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// Whose token was presented; nothing when it is not one of ours, or no longer.
pub(super) fn verify(connection: &Connection, presented: &str) -> rusqlite::Result<Option<Token>> {
    let Some((id, secret)) = presented.strip_prefix("ce_").and_then(|rest| rest.split_once('_')) else {
        return Ok(None);
    };
    let found = connection
        .prepare_cached("SELECT hash, tenant, scopes FROM token WHERE id = ?1 AND revoked_ms IS NULL")?
        .query_row([id], |row| {
            let token = Token {
                id: id.to_owned(),
                tenant: row.get_ref(1)?.as_str()?.into(),
                scopes: scopes(row, 2)?,
            };
            Ok((row.get::<_, [u8; 32]>(0)?, token))
        })
        .optional()?;
    Ok(found
        .filter(|(hash, _)| crypto::equal(hash, &crypto::sha256(secret.as_bytes())))
        .map(|(_, token)| token))
}

fn scopes(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<Scope>> {
    let words = row.get_ref(column)?.as_str()?.split_whitespace();
    // A scope that we do not know allows nothing that we have.
    Ok(words.filter_map(|word| word.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_valid_until_it_is_revoked_and_no_other_text_is() {
        let tokens = Tokens(open_writer(&Location::memory(), Opener::Beside).unwrap());
        let tenant = TenantId::from("acme");
        let shown = tokens.create(&tenant, "crm", &[Scope::CallsRead, Scope::EventsRead]).unwrap();

        let token = verify(&tokens.0, &shown).unwrap().unwrap();

        assert_eq!(token.tenant, tenant);
        assert!(token.allows(Scope::CallsRead) && !token.allows(Scope::CallsWrite));
        let mut wrong = shown.clone();
        wrong.replace_range(wrong.len() - 1.., if shown.ends_with('0') { "1" } else { "0" });
        for text in [wrong.as_str(), "", "ce_", "ce__", "Bearer", &shown[..shown.len() - 1]] {
            assert_eq!(verify(&tokens.0, text).unwrap(), None, "{text}");
        }
        assert!(tokens.revoke(&token.id).unwrap());
        assert_eq!(verify(&tokens.0, &shown).unwrap(), None);
        assert!(!tokens.revoke(&token.id).unwrap());
        assert!(tokens.list().unwrap()[0].revoked_at.is_some());
    }

    #[test]
    fn the_secret_itself_is_not_kept() {
        let tokens = Tokens(open_writer(&Location::memory(), Opener::Beside).unwrap());
        let shown = tokens.create(&TenantId::from("acme"), "crm", &[Scope::Admin]).unwrap();
        let secret = shown.rsplit('_').next().unwrap().to_owned();

        let row: (String, String, String, Vec<u8>) = tokens
            .0
            .query_row("SELECT id, name, scopes, hash FROM token", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })
            .unwrap();

        let kept = format!("{}{}{}{}", row.0, row.1, row.2, String::from_utf8_lossy(&row.3));
        assert!(!kept.contains(&secret));
    }
}
