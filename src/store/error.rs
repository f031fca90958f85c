//! Why the store cannot do what it was asked.

/// Why the store cannot do what it was asked. Trouble with keeping records is not among it: that is retried and seen in
/// [`super::Store::healthy`].
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Going back needs the older version's own copy of the file.
    #[error("the store was written by a newer version (schema {found}, this one knows {known})")]
    Newer {
        /// The file's.
        found: usize,
        /// Ours.
        known: usize,
    },
    /// Only the daemon itself brings a file forward.
    #[error(
        "the store is of an older version (schema {found}, this one knows {known}): start the daemon once"
    )]
    Older {
        /// The file's.
        found: usize,
        /// Ours.
        known: usize,
    },
    /// The path names some other program's database.
    #[error("the file is a database, but not one of ours")]
    Foreign,
    /// Two daemons on one store would send everything twice.
    #[error("the store is in use by another process")]
    InUse,
    /// What is kept does not read back.
    #[error("what is kept of {what} cannot be read: {problem}")]
    Unreadable {
        /// Which record.
        what: String,
        /// What the reader said.
        problem: String,
    },
    /// The disk thread has ended.
    #[error("the store is closed")]
    Closed,
    /// Closed while the disk would not take what waited.
    #[error("{0} records could not be saved before the store was closed")]
    Unsaved(usize),
    /// The file or its directory.
    #[error("the store's file: {0}")]
    File(#[from] std::io::Error),
    /// The library's own words.
    #[error("the store: {0}")]
    Sqlite(#[from] rusqlite::Error),
}
