//! The tables, how a file comes to have them, and how it is opened.
//!
//! The schema's version is the file's `user_version`; a file of an older version is brought forward step by step in one
//! transaction, one of a newer version is refused. `application_id` tells a foreign file from ours.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::error::StoreError;

/// How long a connection waits for another writer of the same file: ours is the only busy one, so a second is much.
const BUSY: Duration = Duration::from_secs(1);

/// "CEdg".
const APPLICATION_ID: i32 = 0x4345_6467;

/// Entry `n` brings a file of version `n` to version `n + 1`.
const MIGRATIONS: [&str; 2] = [include_str!("schema_1.sql"), include_str!("schema_2.sql")];

/// Where a store lives.
#[derive(Debug, Clone)]
pub enum Location {
    /// A file; `-wal`, `-shm` and `.lock` lie beside it.
    File(PathBuf),
    /// Gone when the last handle is: for tests and the demonstration.
    Memory(MemoryName),
}

/// Names one store in memory, so that its connections find each other.
#[derive(Debug, Clone)]
pub struct MemoryName(String);

impl Location {
    /// A new store in memory, apart from every other.
    pub fn memory() -> Self {
        Self::Memory(MemoryName(crate::crypto::hex(&crate::crypto::random::<8>())))
    }
}

/// Who opens, which decides what becomes of a file of an older version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opener {
    /// Brings it forward.
    Daemon,
    /// Leaves it alone: an older daemon may be at work on it.
    Beside,
}

/// Opens for writing, and makes the tables when there are none.
pub(super) fn open_writer(location: &Location, opener: Opener) -> Result<Connection, StoreError> {
    let mut connection = match location {
        Location::File(path) => {
            make_private(path)?;
            Connection::open(path)?
        }
        Location::Memory(name) => connect_memory(name)?,
    };
    connection.busy_timeout(BUSY)?;
    migrate(&mut connection, opener)?;
    // The answers ("wal", or "memory" where there is no file) are not errors, hence not `pragma_update`.
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 4_000)?;
    connection.query_row("PRAGMA journal_size_limit = 67108864", [], |_| Ok(()))?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// Makes the file, unless it is there, so that nobody else on the machine may read it and no power cut unmakes it. What
/// lies beside it later has the same mode.
fn make_private(path: &Path) -> std::io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file.sync_all()?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(error),
    }
    match path.parent() {
        Some(folder) if folder != Path::new("") => File::open(folder)?.sync_all(),
        Some(_) | None => File::open(".")?.sync_all(),
    }
}

/// Opens for reading what [`open_writer`] has made.
pub(super) fn open_reader(location: &Location) -> Result<Connection, StoreError> {
    let connection = match location {
        Location::File(path) => Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?,
        Location::Memory(name) => connect_memory(name)?,
    };
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

fn connect_memory(MemoryName(name): &MemoryName) -> Result<Connection, rusqlite::Error> {
    Connection::open_with_flags(
        format!("file:/callingedge-{name}?vfs=memdb"),
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_URI,
    )
}

fn migrate(connection: &mut Connection, opener: Opener) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let number = |pragma| transaction.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    let (application, version) = (number("application_id")?, number("user_version")?);
    let tables: i64 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION_ID && (tables != 0 || version != 0) {
        return Err(StoreError::Foreign);
    }
    let known = MIGRATIONS.len();
    let found = usize::try_from(version).map_err(|_| StoreError::Foreign)?;
    let Some(steps) = MIGRATIONS.get(found..) else { return Err(StoreError::Newer { found, known }) };
    if steps.is_empty() {
        return Ok(());
    }
    if found != 0 && opener == Opener::Beside {
        return Err(StoreError::Older { found, known });
    }
    for step in steps {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", i32::try_from(known).unwrap_or(i32::MAX))?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_of_a_newer_version_is_refused_and_left_alone() {
        let location = Location::memory();
        let newer = open_writer(&location, Opener::Daemon).unwrap();
        newer.pragma_update(None, "user_version", 99).unwrap();

        let error = open_writer(&location, Opener::Daemon).unwrap_err();

        assert_eq!(
            error.to_string(),
            "the store was written by a newer version (schema 99, this one knows 2)"
        );
        let version: i32 = newer.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(version, 99);
    }

    #[test]
    fn a_database_of_another_program_is_refused() {
        let Location::Memory(name) = Location::memory() else { unreachable!("asked for memory") };
        let theirs = connect_memory(&name).unwrap();
        theirs.execute_batch("CREATE TABLE precious (x)").unwrap();

        assert!(matches!(open_writer(&Location::Memory(name), Opener::Daemon), Err(StoreError::Foreign)));
    }

    #[test]
    fn a_reader_cannot_write() {
        let location = Location::memory();
        let _writer = open_writer(&location, Opener::Daemon).unwrap();

        let reader = open_reader(&location).unwrap();

        assert!(reader.execute("DELETE FROM call", []).is_err());
    }
}
