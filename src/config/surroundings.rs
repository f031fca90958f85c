//! What the file refers to and does not hold: variables, files, credentials.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::api::CredentialKind;

/// The world around a configuration file. A value, so that a test brings its own.
#[derive(Clone)]
pub struct Surroundings {
    /// Where relative paths begin: the file's own directory.
    pub directory: PathBuf,
    /// Environment variables.
    pub variables: BTreeMap<String, String>,
    /// Whether secrets are read.
    pub secrets: SecretsAre,
    /// What the edge itself holds, by `TENANT/NAME`: the values, or why one cannot be had.
    pub held: Held,
}

/// Values that the edge holds, by `TENANT/NAME`, or why one cannot be had: the rest of a sentence that begins with its name.
pub type Held = BTreeMap<String, Result<Secret, String>>;

/// Whether secrets are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretsAre {
    /// A secret that cannot be read is a mistake.
    Needed,
    /// None is read, and what is made of one stays empty: for commands that only want to know where things are, run by
    /// people who have neither the service's environment nor its credentials.
    LeftAlone,
}

impl Surroundings {
    /// Those of this process and of a file at `path`.
    pub fn of(path: &Path) -> Self {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        Self {
            directory: directory.unwrap_or(Path::new(".")).to_owned(),
            variables: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
            secrets: SecretsAre::Needed,
            held: Held::new(),
        }
    }

    /// Those of a file at `path`, without secrets.
    pub fn offline(path: &Path) -> Self {
        Self { secrets: SecretsAre::LeftAlone, ..Self::of(path) }
    }

    /// A path as written in the file.
    pub(super) fn path(&self, written: &str) -> PathBuf {
        self.directory.join(written)
    }

    /// What stands behind a reference.
    pub(super) fn secret(&self, reference: &Reference<'_>) -> Result<Secret, String> {
        if self.secrets == SecretsAre::LeftAlone {
            return Ok(Secret(String::new()));
        }
        let value = match reference {
            Reference::Variable(name) => self
                .variables
                .get(*name)
                .cloned()
                .ok_or("is not set in the environment (or not as UTF-8); set it, or name another")?,
            Reference::File(path) => read(&self.path(path))?,
            Reference::Held(name) => match self.held.get(*name) {
                Some(value) => value.clone()?.0,
                None => return Err("is not held here".to_owned()),
            },
            Reference::Credential(name) => {
                if name.contains('/') || name.starts_with('.') {
                    return Err(
                        "is not the name of a credential; write the name given in LoadCredential=".to_owned()
                    );
                }
                let directory = self.variables.get("CREDENTIALS_DIRECTORY").ok_or(
                    "cannot be read: CREDENTIALS_DIRECTORY is not set, systemd sets it for a service with LoadCredential=",
                )?;
                read(&Path::new(directory).join(name))?
            }
        };
        let value = value.trim_end_matches(['\r', '\n']);
        if value.is_empty() {
            return Err("is empty; put the secret there".to_owned());
        }
        Ok(Secret(value.to_owned()))
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Variables may be secrets.
        f.debug_struct("Surroundings").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// Where a secret is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reference<'a> {
    /// An environment variable.
    Variable(&'a str),
    /// A file.
    File(&'a str),
    /// A credential of the systemd service.
    Credential(&'a str),
    /// One that the edge holds: `TENANT/NAME`.
    Held(&'a str),
}

impl<'a> Reference<'a> {
    /// The reference of this kind and name.
    pub(super) fn of(kind: CredentialKind, name: &'a str) -> Self {
        match kind {
            CredentialKind::Env => Self::Variable(name),
            CredentialKind::File => Self::File(name),
            CredentialKind::Systemd => Self::Credential(name),
            CredentialKind::Held => Self::Held(name),
        }
    }

    /// What kind of place it lies in.
    pub(super) fn kind(&self) -> CredentialKind {
        match self {
            Self::Variable(_) => CredentialKind::Env,
            Self::File(_) => CredentialKind::File,
            Self::Credential(_) => CredentialKind::Systemd,
            Self::Held(_) => CredentialKind::Held,
        }
    }

    /// Its name, which is no secret.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Variable(name) | Self::File(name) | Self::Credential(name) | Self::Held(name) => name,
        }
    }
}

/// A value that nobody prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value itself, for the one who needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(value)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_itself() {
        let surroundings = Surroundings {
            directory: PathBuf::new(),
            variables: BTreeMap::from([("TOKEN".to_owned(), "hunter2\n".to_owned())]),
            secrets: SecretsAre::Needed,
            held: Held::new(),
        };

        let secret = surroundings.secret(&Reference::Variable("TOKEN")).unwrap();

        assert_eq!(secret.reveal(), "hunter2");
        assert!(!format!("{secret:?} {surroundings:?}").contains("hunter2"));
    }

    #[test]
    fn a_credential_cannot_lead_out_of_its_directory() {
        let surroundings = Surroundings {
            directory: PathBuf::new(),
            variables: BTreeMap::from([("CREDENTIALS_DIRECTORY".to_owned(), "/nowhere".to_owned())]),
            secrets: SecretsAre::Needed,
            held: Held::new(),
        };

        for name in ["../passwd", ".hidden", "a/b"] {
            let refused = surroundings.secret(&Reference::Credential(name)).unwrap_err();

            assert!(refused.contains("is not the name of a credential"), "{name}: {refused}");
        }
    }
}
