//! `[credentials]`: what held ones are sealed with, and which secrets the rest of the file refers to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::mistake::Problem;
use super::section::{SecretReference, Section};
use super::surroundings::{Reference, SecretsAre, Surroundings};
use crate::api::{CredentialKind, ReferencedSecret};
use crate::call::{Provider, ProviderKey};
use crate::crypto::SealingKey;

/// The key, where one is written.
pub(super) fn key(mut section: Section<'_>, surroundings: &Surroundings) -> Option<SealingKey> {
    let key = section.secret("key", surroundings);
    let read = key.as_ref().and_then(|key| SealingKey::from_hex(key.reveal()));
    if key.is_some() && read.is_none() && surroundings.secrets == SecretsAre::Needed {
        let problem = "what it refers to is no key; put 64 hexadecimal digits there, as `openssl rand -hex 32` prints them";
        section.object("key", Problem::Conflict(problem.to_owned()));
    }
    section.finish();
    read
}

/// What of the file lies in the vault: where that is, what opens it, and which values are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The store's file.
    pub store: PathBuf,
    /// The values, as `TENANT/NAME`.
    pub names: Vec<String>,
    /// What they are sealed with.
    pub key: SealingKey,
}

/// The names of held values among the references, each once.
pub(super) fn held(references: &[SecretReference]) -> Vec<String> {
    let held = references.iter().filter(|of| of.kind == CredentialKind::Held);
    let names: BTreeSet<String> = held.map(|of| of.name.clone()).collect();
    names.into_iter().collect()
}

/// The key that the references name, read apart from all the rest; why not, as the rest of a sentence.
pub(super) fn key_apart(
    references: &[SecretReference],
    surroundings: &Surroundings,
) -> Result<SealingKey, String> {
    let of = references.iter().find(|of| of.section == "credentials" && of.key == "key");
    let of = of.ok_or("cannot be opened: write `key` in [credentials]")?;
    let key = surroundings.secret(&Reference::of(of.kind, &of.name));
    let key = key.ok().and_then(|key| SealingKey::from_hex(key.reveal()));
    key.ok_or_else(|| "cannot be opened: `key` of [credentials] cannot be used".to_owned())
}

/// Those that are one tenant's: of its own section and of its providers'.
pub(super) fn of_tenants(
    references: Vec<SecretReference>,
    providers: &BTreeMap<ProviderKey, Arc<Provider>>,
) -> Vec<ReferencedSecret> {
    let of_tenants = references.into_iter().filter_map(|SecretReference { section, key, kind, name: _ }| {
        if kind == CredentialKind::Held {
            return None;
        }
        let tenant = match section.split_once('.')? {
            ("tenants", tenant) => tenant.into(),
            ("providers", name) => providers.get(&ProviderKey::from(name))?.tenant.clone(),
            _ => return None,
        };
        Some(ReferencedSecret { tenant, name: format!("{section}.{key}"), kind })
    });
    of_tenants.collect()
}
