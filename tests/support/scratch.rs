//! A folder of a test's own.

use std::path::PathBuf;

/// A folder that is removed with all that is in it.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// `name` is the test's, and apart from every other.
    pub(crate) fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("callingedge-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
        Self(folder)
    }

    /// A file in it.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}
