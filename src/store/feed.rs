//! One tenant's events as they become durable, in the order of commits, without a gap: from disk until it has caught
//! up, then live; and from disk again whenever it was too slow.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::{Store, StoreError, calls};
use crate::call::{EventRecord, TenantId};

/// Events read from disk at once.
const CHUNK: u32 = 64;

/// An event that is on disk.
#[derive(Debug, Clone)]
pub struct Committed {
    /// Its place in the order of commits.
    pub number: i64,
    /// The event.
    pub event: Arc<EventRecord>,
}

/// One reader of a tenant's events; made by [`Store::follow`].
pub struct EventFeed {
    store: Store,
    tenant: TenantId,
    live: broadcast::Receiver<Committed>,
    /// Everything up to here was handed out.
    position: i64,
    source: Source,
}

enum Source {
    /// Reading from disk; what was read and not yet handed out.
    Disk(VecDeque<Committed>),
    /// Listening.
    Live,
}

impl EventFeed {
    pub(super) fn new(
        store: Store,
        tenant: TenantId,
        live: broadcast::Receiver<Committed>,
        position: i64,
    ) -> Self {
        Self { store, tenant, live, position, source: Source::Disk(VecDeque::new()) }
    }

    /// The next event. Nothing when the store was closed. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the disk cannot be read; asking again is allowed.
    pub async fn next(&mut self) -> Result<Option<Arc<EventRecord>>, StoreError> {
        loop {
            let committed = match &mut self.source {
                Source::Disk(read) => match read.pop_front() {
                    Some(committed) => committed,
                    None => {
                        self.source = self.read_on().await?;
                        continue;
                    }
                },
                Source::Live => match self.live.recv().await {
                    Ok(committed) => committed,
                    Err(RecvError::Lagged(_)) => {
                        self.source = Source::Disk(VecDeque::new());
                        continue;
                    }
                    Err(RecvError::Closed) => return Ok(None),
                },
            };
            if committed.number <= self.position {
                continue;
            }
            self.position = committed.number;
            if committed.event.tenant == self.tenant {
                return Ok(Some(committed.event));
            }
        }
    }

    /// What is on disk and not yet read; when there is nothing, whatever comes later is told live.
    async fn read_on(&self) -> Result<Source, StoreError> {
        let (tenant, position) = (self.tenant.clone(), self.position);
        let read = self
            .store
            .read(move |connection| Ok(calls::events(connection, &tenant, position, CHUNK)?))
            .await?;
        Ok(if read.is_empty() { Source::Live } else { Source::Disk(read.into()) })
    }
}
