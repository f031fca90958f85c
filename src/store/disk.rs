//! The disk thread: takes whatever waits, writes it in one transaction, and tells everyone after the one fsync.
//!
//! ```text
//!   keep ---> queue ---> pending ---- commit ----> durable, events, outbox, replies
//!                          ^             | failed
//!                          +--- wait ----+   (unhealthy; 50 ms doubling to 2 s; nothing is dropped)
//! ```
//! The more waits, the larger the group: under load a commit costs one fsync for hundreds of records, at rest a record
//! is on disk after one. While the disk fails the queue grows; whoever makes records watches how far `durable` lags
//! and makes no new calls.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use metrics::{counter, gauge, histogram};
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{broadcast, oneshot, watch};

use super::board::Board;
use super::error::StoreError;
use super::feed::Committed;
use super::outbox::{self, Delivery, ReceiverId, Settled};
use super::{SHORTEST_RETENTION, StoreOptions, write};
use crate::call::{CallId, EventId, Record, RecordNumber, TenantId};

/// Pieces of work in one transaction at most, so that one commit stays well under a second.
const GROUP: usize = 4_096;

/// The first wait after a failed commit, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Between two looks for calls to retire, and between two batches when there are more.
const RETIRE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_millis(20));

/// What the disk thread is asked for.
pub(super) enum Work {
    Record(RecordNumber, Record),
    Settle {
        settled: Vec<Settled>,
        done: oneshot::Sender<()>,
    },
    Replay {
        tenant: TenantId,
        event: EventId,
        reply: oneshot::Sender<Option<Delivery>>,
    },
    Close {
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
    #[cfg(test)]
    Poke(Box<dyn FnOnce(&Connection) + Send>),
}

/// Where the disk thread says what has become true.
pub(super) struct Told {
    pub(super) durable: watch::Sender<RecordNumber>,
    pub(super) healthy: watch::Sender<bool>,
    pub(super) events: broadcast::Sender<Committed>,
    pub(super) board: Arc<Board>,
}

pub(super) struct Disk {
    connection: Connection,
    queue: Receiver<Work>,
    told: Told,
    options: StoreOptions,
    /// Held as long as the thread lives, so that no second daemon uses the file.
    _lock: Option<File>,
    pending: VecDeque<Work>,
    condition: Condition,
    closing: Option<Closing>,
    retire_at: Instant,
}

enum Condition {
    Well,
    Failing { retry_at: Instant, wait: Duration },
}

struct Closing {
    by: Instant,
    reply: Option<oneshot::Sender<Result<(), StoreError>>>,
}

/// What one commit made true.
#[derive(Default)]
struct Group {
    durable: Option<RecordNumber>,
    events: Vec<Committed>,
    receivers: BTreeSet<ReceiverId>,
    replayed: VecDeque<Option<Delivery>>,
}

impl Disk {
    pub(super) fn new(
        connection: Connection,
        queue: Receiver<Work>,
        told: Told,
        options: StoreOptions,
        lock: Option<File>,
    ) -> Self {
        let retire_at = Instant::now() + RETIRE.1;
        Self {
            connection,
            queue,
            told,
            options,
            _lock: lock,
            pending: VecDeque::new(),
            condition: Condition::Well,
            closing: None,
            retire_at,
        }
    }

    /// Until the store is closed or nobody is left to ask for anything.
    pub(super) fn run(mut self) {
        loop {
            self.take_work();
            if !self.pending.is_empty() && !self.is_waiting() {
                self.commit();
            }
            if let Some(closing) = &mut self.closing
                && (self.pending.is_empty() || closing.by <= Instant::now())
            {
                let reply = closing.reply.take();
                return self.finish(reply);
            }
            if self.retire_at <= Instant::now() {
                self.retire();
            }
        }
    }

    fn is_waiting(&self) -> bool {
        match self.condition {
            Condition::Well => false,
            Condition::Failing { retry_at, .. } => Instant::now() < retry_at,
        }
    }

    /// Waits until there is something to do, and takes all that was asked for.
    fn take_work(&mut self) {
        let until = match self.condition {
            Condition::Failing { retry_at, .. } if !self.pending.is_empty() => retry_at,
            Condition::Well | Condition::Failing { .. } if !self.pending.is_empty() => Instant::now(),
            Condition::Well | Condition::Failing { .. } => self.retire_at,
        };
        if self.closing.is_some() {
            // Nobody sends any more, so waiting for them would not wait.
            thread::sleep(until.saturating_duration_since(Instant::now()).min(RETRY.1));
        } else {
            match self.queue.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(work) => self.take(work),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.begin_to_close(None),
            }
        }
        while let Ok(work) = self.queue.try_recv() {
            self.take(work);
        }
        gauge!("callingedge_store_waiting").set(self.pending.len() as f64);
    }

    fn take(&mut self, work: Work) {
        match work {
            Work::Close { reply } => self.begin_to_close(Some(reply)),
            #[cfg(test)]
            Work::Poke(poke) => poke(&self.connection),
            work @ (Work::Record(..) | Work::Settle { .. } | Work::Replay { .. }) => {
                self.pending.push_back(work)
            }
        }
    }

    fn begin_to_close(&mut self, reply: Option<oneshot::Sender<Result<(), StoreError>>>) {
        if self.closing.is_none() {
            self.closing = Some(Closing { by: Instant::now() + self.options.last_chance, reply });
        }
    }

    fn commit(&mut self) {
        let began = Instant::now();
        match self.write_group() {
            Ok(group) => {
                histogram!("callingedge_store_commit_seconds").record(began.elapsed());
                if let Condition::Failing { .. } = self.condition {
                    tracing::info!("the disk takes records again");
                    self.condition = Condition::Well;
                }
                self.told.healthy.send_if_modified(|healthy| !std::mem::replace(healthy, true));
                gauge!("callingedge_store_healthy").set(1);
                self.tell(group);
            }
            Err(error) => {
                let wait = match self.condition {
                    Condition::Well => {
                        tracing::error!(%error, waiting = self.pending.len(), "the disk does not take records");
                        RETRY.0
                    }
                    Condition::Failing { wait, .. } => RETRY.1.min(wait * 2),
                };
                self.condition = Condition::Failing { retry_at: Instant::now() + wait, wait };
                self.told.healthy.send_if_modified(|healthy| std::mem::replace(healthy, false));
                counter!("callingedge_store_commit_failures_total").increment(1);
                gauge!("callingedge_store_healthy").set(0);
            }
        }
    }

    /// Writes the first [`GROUP`] pieces of work in one transaction; none of them when anything fails.
    fn write_group(&mut self) -> rusqlite::Result<Group> {
        let works = || self.pending.iter().take(GROUP);
        // Only the newest state of a call needs writing.
        let mut newest: HashMap<CallId, usize> = HashMap::new();
        for (at, work) in works().enumerate() {
            if let Work::Record(_, Record::Call(call) | Record::Event { call, .. }) = work {
                newest.insert(call.view.call_id, at);
            }
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut group = Group::default();
        for (at, work) in works().enumerate() {
            match work {
                Work::Record(number, record) => {
                    group.durable = group.durable.max(Some(*number));
                    if let Record::Call(call) | Record::Event { call, .. } = record
                        && newest.get(&call.view.call_id) == Some(&at)
                    {
                        write::call(&transaction, call)?;
                    }
                    match record {
                        Record::Call(_) => {}
                        Record::Milestone(milestone) => write::milestone(&transaction, milestone)?,
                        Record::Event { event, .. } => {
                            if let Some(number) = write::event(&transaction, event)? {
                                let url = event.webhook_url.as_deref();
                                group.receivers.extend(url.map(|url| ReceiverId::of(&event.tenant, url)));
                                group.events.push(Committed { number, event: Arc::clone(event) });
                            }
                        }
                    }
                }
                Work::Settle { settled, .. } => {
                    for settled in settled {
                        write::settle(&transaction, settled)?;
                    }
                }
                Work::Replay { tenant, event, .. } => {
                    let receiver = write::replay(&transaction, tenant, *event, SystemTime::now().into())?;
                    group.receivers.extend(receiver);
                    group.replayed.push_back(outbox::delivery(&transaction, tenant, *event)?);
                }
                Work::Close { .. } => {}
                #[cfg(test)]
                Work::Poke(_) => {}
            }
        }
        transaction.commit()?;
        Ok(group)
    }

    /// Tells everyone what is on disk now: the sender first, so that whoever stops it once a record is durable knows that it
    /// has heard of the record; then how far, then what.
    fn tell(&mut self, mut group: Group) {
        self.told.board.pin(group.receivers);
        if let Some(number) = group.durable {
            self.told.durable.send_replace(number);
        }
        counter!("callingedge_store_events_total").increment(group.events.len() as u64);
        for event in group.events {
            // Nobody listening is no error.
            let _ = self.told.events.send(event);
        }
        for work in self.pending.drain(..GROUP.min(self.pending.len())) {
            // Whoever no longer waits for a reply needs none.
            match work {
                Work::Settle { done, .. } => drop(done.send(())),
                Work::Replay { reply, .. } => drop(reply.send(group.replayed.pop_front().flatten())),
                Work::Record(..) => counter!("callingedge_store_records_total").increment(1),
                Work::Close { .. } => {}
                #[cfg(test)]
                Work::Poke(_) => {}
            }
        }
    }

    fn retire(&mut self) {
        let now = Instant::now();
        self.retire_at = now + RETIRE.0;
        let retired = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(
            |transaction| {
                let retired = write::retire(
                    &transaction,
                    SystemTime::now().into(),
                    self.options.retention.max(SHORTEST_RETENTION),
                )?;
                transaction.commit().map(|()| retired)
            },
        );
        match retired {
            Ok((count, more)) => {
                counter!("callingedge_store_retired_calls_total").increment(count as u64);
                if more {
                    self.retire_at = now + RETIRE.1;
                }
            }
            // The next record will meet the same trouble, and be the one to report it.
            Err(error) => tracing::warn!(%error, "ended calls could not be retired"),
        }
    }

    fn finish(self, reply: Option<oneshot::Sender<Result<(), StoreError>>>) {
        let unsaved = self.pending.len();
        if unsaved > 0 {
            tracing::error!(unsaved, "closed while the disk did not take records");
        }
        // Everything is durable without it; it makes the next start quicker.
        if let Err(error) = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
            tracing::debug!(%error, "no checkpoint at closing");
        }
        drop(self);
        if let Some(reply) = reply {
            let result = if unsaved == 0 { Ok(()) } else { Err(StoreError::Unsaved(unsaved)) };
            drop(reply.send(result));
        }
    }
}
