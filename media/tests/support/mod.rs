//! What several test files need.

use std::path::PathBuf;

/// A file or folder of the shared test data, which is not part of this repository: under `$FIXTURES`, else
/// beside the checkout. Says so when it is not there, and the test that asked proves nothing then.
pub(crate) fn fixture(path: &str) -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/fixtures");
    let root = std::env::var_os("FIXTURES").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    let path = root.join(path);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: there is no {}", path.display());
    None
}
