//! `[credentials]`: what held ones are sealed with, and which secrets the rest of the file refers to.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::mistake::Problem;
use super::section::{SecretReference, Section};
use super::surroundings::{SecretsAre, Surroundings};
use crate::api::ReferencedSecret;
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

/// Those that are one tenant's: of its own section and of its providers'.
pub(super) fn of_tenants(
    references: Vec<SecretReference>,
    providers: &BTreeMap<ProviderKey, Arc<Provider>>,
) -> Vec<ReferencedSecret> {
    let of_tenants = references.into_iter().filter_map(|SecretReference { section, key, kind }| {
        let tenant = match section.split_once('.')? {
            ("tenants", tenant) => tenant.into(),
            ("providers", name) => providers.get(&ProviderKey::from(name))?.tenant.clone(),
            _ => return None,
        };
        Some(ReferencedSecret { tenant, name: format!("{section}.{key}"), kind })
    });
    of_tenants.collect()
}
