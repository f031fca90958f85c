//! A temporary directory for an edge that is gone tomorrow.

use std::path::{Path, PathBuf};

use crate::crypto;

/// A directory that is gone with its owner.
pub(super) struct Directory(PathBuf);

impl Directory {
    /// A new and empty one. `purpose` is part of its name.
    pub(super) fn new(purpose: &str) -> std::io::Result<Self> {
        let name = format!("callingedge-{purpose}-{}", crypto::hex(&crypto::random::<8>()));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "a temporary directory stays behind");
        }
    }
}
