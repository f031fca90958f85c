//! Read-only connections, a few, used on the runtime's blocking threads. With the write-ahead log a reader sees the
//! last commit and neither waits for the writer nor makes it wait.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::error::StoreError;
use super::schema::{Location, open_reader};

/// Readers at once; others wait their turn.
const READERS: usize = 4;

#[derive(Clone)]
pub(super) struct Readers {
    location: Location,
    idle: Arc<ArrayQueue<Connection>>,
    turns: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(location: Location) -> Self {
        Self { location, idle: Arc::new(ArrayQueue::new(READERS)), turns: Arc::new(Semaphore::new(READERS)) }
    }

    /// Runs `question` on a connection of the pool. A connection on which something failed is not used again.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let Self { location, idle, .. } = self.clone();
        let answer = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let connection = match idle.pop() {
                Some(connection) => connection,
                None => open_reader(&location)?,
            };
            let answer = question(&connection)?;
            // There is always room: no more connections than turns. If there were not, one is closed.
            drop(idle.push(connection));
            Ok(answer)
        });
        // The task is neither aborted nor panics; when the runtime ends first, so does its reader.
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Answers [`StoreError::Closed`] from now on.
    pub(super) fn close(&self) {
        self.turns.close();
        while self.idle.pop().is_some() {}
    }
}
