//! Reads a configuration together with the values in it that the edge holds itself: `{ held = "TENANT/NAME" }`. Every value that is
//! read is on the audit log, with what it was read for.

use std::path::Path;

use crate::call::TenantId;
use crate::config::{Config, ConfigError, Held, Secret, Wanted};
use crate::store::{Actor, NotUsable, StoreError, Vault};

/// Reads the file and everything it refers to. `purpose` is the command that wants it.
///
/// # Errors
/// The mistakes of the file; a value that cannot be had is one.
pub fn load(path: &Path, purpose: &str) -> Result<Config, ConfigError> {
    Config::load(path, |wanted| open(&wanted, purpose))
}

/// The same from the text that `config` was read from: only what lies outside of the file is new.
///
/// # Errors
/// The mistakes of the file; a value that cannot be had is one.
pub fn load_again(path: &Path, config: &Config, purpose: &str) -> Result<Config, ConfigError> {
    Config::load_again(path, &config.source, |wanted| open(&wanted, purpose))
}

fn open(wanted: &Wanted, purpose: &str) -> Held {
    // Asking must not make a store.
    let vault = match wanted.store.exists() {
        true => Vault::open(&wanted.store).map(Some),
        false => Ok(None),
    };
    let mut vault = match vault {
        Ok(vault) => vault,
        Err(error) => return all(wanted, &unreadable(&error)),
    };
    let actor = Actor { who: format!("configuration ({purpose})"), source: None };
    let mut value = |name: &String| {
        let Some((tenant, bare)) = name.split_once('/') else {
            return Err(
                "names no held credential; write the tenant and the name, like \"acme/sip-password\""
                    .to_owned(),
            );
        };
        let Some(vault) = &mut vault else { return Err(NotUsable::Absent.to_string()) };
        let read = vault.use_value(&TenantId::from(tenant), bare, &wanted.key, &actor);
        match read {
            Ok(Ok(value)) => Ok(Secret::from(value)),
            Ok(Err(refusal)) => Err(refusal.to_string()),
            Err(error) => Err(unreadable(&error)),
        }
    };
    wanted.names.iter().map(|name| (name.clone(), value(name))).collect()
}

fn unreadable(error: &StoreError) -> String {
    format!("cannot be read: {error}")
}

fn all(wanted: &Wanted, why: &str) -> Held {
    wanted.names.iter().map(|name| (name.clone(), Err(why.to_owned()))).collect()
}
