//! What outlives the process: calls, events, timelines, deliveries, tokens and held credentials, in one SQLite file.
//!
//! ```text
//!   exchange ----- keep(number, record) ------> [disk thread] ---> file (WAL, synchronous = FULL)
//!      ^                                            |  |  |              ^
//!      +---- durable(): may be told to anyone ------+  |  |              | read-only connections
//!   API, SSE <----------- follow(): events ------------+  |              |
//!   webhook sender <----- outbox_changed() ---------------+          reads of all
//! ```
//! Nobody who calls waits for the disk except by asking to. Writes have one owner, the disk thread (tokens and credentials
//! aside, which no call waits for and any process with the file may write). Reads are answered from the last commit.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a shell: it has a thread, a clock and a lock"
)]

mod audit;
mod board;
mod calls;
mod disk;
mod error;
mod feed;
mod outbox;
mod readers;
mod row;
#[cfg(test)]
mod sample;
mod schema;
mod token;
mod vault;
mod write;

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, SystemTime};

use rusqlite::Connection;
use tokio::sync::{Semaphore, broadcast, oneshot, watch};

pub use audit::{Actor, AuditAction, AuditRecord};
pub use board::OutboxChange;
pub use calls::CallFilter;
pub use error::StoreError;
pub use feed::{Committed, EventFeed};
pub use outbox::{
    Backlog, Delivery, DeliveryFilter, DeliveryId, DeliveryState, Outgoing, ReceiverId, Settled, Step, Tried,
    Waiting, WaitingPage,
};
pub use schema::{Location, MemoryName};
pub use token::{NotAScope, Scope, Token, TokenRow, Tokens};
pub use vault::{CREDENTIALS_MAX, HeldCredential, IntakeLink, NotCreated, NotTaken, NotUsable, Vault};

use crate::call::{
    CallId, CallRecord, EventId, Idempotency, Milestone, Record, RecordNumber, TenantId, Timestamp,
};
use crate::crypto::SealingKey;
use board::Board;
use disk::{Disk, Told, Work};
use readers::Readers;
use schema::Opener;

/// The most that one page of a list holds.
pub const PAGE: u32 = 200;

/// How long an `Idempotency-Key` is remembered (CONTRACT §1).
pub const IDEMPOTENCY: Duration = Duration::from_secs(24 * 60 * 60);

/// The shortest time for which ended calls are kept (CONTRACT §1).
pub const SHORTEST_RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// Events that a live reader may be behind before it is sent back to the disk.
const LIVE: usize = 1_024;

/// How a store behaves.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// For how long ended calls are kept, with their events, timelines and deliveries. Less than
    /// [`SHORTEST_RETENTION`] means that.
    pub retention: Duration,
    /// How long [`Store::close`] tries to save what a failing disk does not take.
    pub last_chance: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { retention: Duration::from_secs(72 * 60 * 60), last_chance: Duration::from_secs(10) }
    }
}

/// What was found at opening.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Calls that were not over, oldest first.
    pub open_calls: Vec<CallRecord>,
    /// The keys of the last 24 hours, oldest first.
    pub idempotency: Vec<(TenantId, Idempotency, CallId)>,
}

/// A handle to the store; clones share it. When the last one is gone what was given is saved and the thread ends.
#[derive(Clone)]
pub struct Store {
    work: mpsc::Sender<Work>,
    readers: Readers,
    location: Location,
    durable: watch::Receiver<RecordNumber>,
    healthy: watch::Receiver<bool>,
    events: broadcast::WeakSender<Committed>,
    board: Arc<Board>,
    /// Held by whoever writes credentials.
    vault: Arc<Semaphore>,
}

impl Store {
    /// Opens the store, makes or updates its tables, reads what the last run left open, and starts the disk thread.
    ///
    /// # Errors
    /// When another daemon uses the file, when it is newer than we are or not ours, or when it cannot be opened.
    pub fn open(location: Location, options: &StoreOptions) -> Result<(Self, Recovered), StoreError> {
        let lock = match &location {
            Location::File(path) => Some(lock(path)?),
            Location::Memory(_) => None,
        };
        let connection = schema::open_writer(&location, Opener::Daemon)?;
        let since = SystemTime::now().checked_sub(IDEMPOTENCY).unwrap_or(SystemTime::UNIX_EPOCH);
        let recovered = Recovered {
            open_calls: calls::open_calls(&connection)?,
            idempotency: calls::idempotency(&connection, since.into())?,
        };
        let (work, queue) = mpsc::channel();
        let (durable, durable_seen) = watch::channel(RecordNumber(0));
        let (healthy, healthy_seen) = watch::channel(true);
        let (events, _) = broadcast::channel(LIVE);
        let board = Arc::new(Board::default());
        let store = Self {
            work,
            readers: Readers::new(location.clone()),
            location,
            durable: durable_seen,
            healthy: healthy_seen,
            events: events.downgrade(),
            board: Arc::clone(&board),
            vault: Arc::new(Semaphore::new(1)),
        };
        let told = Told { durable, healthy, events, board };
        let disk = Disk::new(connection, queue, told, options.clone(), lock);
        thread::Builder::new().name("disk".into()).spawn(move || disk.run())?;
        Ok((store, recovered))
    }

    /// Has the record saved. Never waits; [`Self::durable`] tells when it is. Records are saved in the order given, and
    /// numbers grow. What is given after [`Self::close`] is dropped.
    pub fn keep(&self, number: RecordNumber, record: Record) {
        if self.work.send(Work::Record(number, record)).is_err() {
            metrics::counter!("callingedge_store_dropped_records_total").increment(1);
            tracing::error!(number = number.0, "a record came after the store was closed");
        }
    }

    /// The highest number on disk: it and all below.
    pub fn durable(&self) -> watch::Receiver<RecordNumber> {
        self.durable.clone()
    }

    /// Whether the last commit worked. False means that records wait in memory, and is retried until it does.
    pub fn healthy(&self) -> bool {
        *self.healthy.borrow() && self.durable.has_changed().is_ok()
    }

    /// [`Self::healthy`], to be waited for.
    pub fn health(&self) -> watch::Receiver<bool> {
        self.healthy.clone()
    }

    /// Everyone's events as they become durable, in the order of commits. Who is slow misses some and is told so;
    /// [`Self::follow`] is for who must not. Nothing when the store is closed.
    pub fn events(&self) -> Option<broadcast::Receiver<Committed>> {
        self.events.upgrade().map(|events| events.subscribe())
    }

    /// A tenant's events from one on, without a gap. `after` is the last one already known: `None` begins with the
    /// next to come, and one that is no longer kept begins with the oldest that is.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub async fn follow(&self, tenant: TenantId, after: Option<EventId>) -> Result<EventFeed, StoreError> {
        // Subscribed before reading, so that nothing falls between.
        let live = self.events().ok_or(StoreError::Closed)?;
        let owner = tenant.clone();
        let position = self
            .read(move |connection| {
                Ok(match after {
                    Some(event) => outbox::number(connection, &owner, event)?.unwrap_or(0),
                    None => calls::newest(connection)?,
                })
            })
            .await?;
        Ok(EventFeed::new(self.clone(), tenant, live, position))
    }

    /// A tenant's events after one, in the order of commits, [`PAGE`] at most; from the oldest kept when there is no
    /// such event.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub async fn events_after(
        &self,
        tenant: TenantId,
        after: Option<EventId>,
        limit: u32,
    ) -> Result<Vec<Committed>, StoreError> {
        self.read(move |connection| {
            let position = match after {
                Some(event) => outbox::number(connection, &tenant, event)?.unwrap_or(0),
                None => 0,
            };
            Ok(calls::events(connection, &tenant, position, limit.min(PAGE))?)
        })
        .await
    }

    /// One call, if it is the tenant's.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub async fn call(&self, tenant: TenantId, id: CallId) -> Result<Option<CallRecord>, StoreError> {
        self.read(move |connection| calls::call(connection, &tenant, id)).await
    }

    /// A tenant's calls, newest first.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub async fn calls(&self, tenant: TenantId, filter: CallFilter) -> Result<Vec<CallRecord>, StoreError> {
        self.read(move |connection| calls::calls(connection, &tenant, &filter)).await
    }

    /// A call's milestones in the order in which they were kept; nothing when the tenant has no such call.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub async fn timeline(&self, tenant: TenantId, id: CallId) -> Result<Option<Vec<Milestone>>, StoreError> {
        self.read(move |connection| Ok(calls::timeline(connection, &tenant, id)?)).await
    }

    /// A tenant's deliveries, newest first.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub async fn deliveries(
        &self,
        tenant: TenantId,
        filter: DeliveryFilter,
    ) -> Result<Vec<Delivery>, StoreError> {
        self.read(move |connection| Ok(outbox::deliveries(connection, &tenant, &filter)?)).await
    }

    /// Sends an event again, whatever became of it, for 24 hours from now: same id, same bytes. The delivery as it is
    /// then; nothing when the tenant has no such event or it has no receiver.
    ///
    /// # Errors
    /// When the store is closed.
    pub async fn replay(&self, tenant: TenantId, event: EventId) -> Result<Option<Delivery>, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.work.send(Work::Replay { tenant, event, reply }).map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)
    }

    /// Whose bearer token this is; nothing when it is not one of ours, or no longer.
    ///
    /// # Errors
    /// When the disk cannot be read: then nobody knows.
    pub async fn verify(&self, presented: String) -> Result<Option<Token>, StoreError> {
        self.read(move |connection| Ok(token::verify(connection, &presented)?)).await
    }

    /// The tokens of this store, to make, revoke and list. Waits for the disk.
    ///
    /// # Errors
    /// When the file cannot be opened once more.
    pub fn tokens(&self) -> Result<Tokens, StoreError> {
        Tokens::of(&self.location)
    }

    /// Does something with the credentials that are held, one caller at a time.
    ///
    /// # Errors
    /// When the file cannot be opened once more, or the disk does not take it.
    pub async fn vault<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Vault) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = Arc::clone(&self.vault).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let location = self.location.clone();
        let answer = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            ask(&mut Vault::of(&location)?)
        });
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Takes the value that came by a link, sealed. Answers whose it is. A stranger's token costs no turn of the disk.
    ///
    /// # Errors
    /// When the disk cannot be read or does not take it.
    pub async fn take_value(
        &self,
        token: String,
        value: String,
        key: SealingKey,
        source: Option<String>,
    ) -> Result<Result<(TenantId, HeldCredential), NotTaken>, StoreError> {
        let asked = token.clone();
        if !self.read(move |connection| Ok(vault::is_worth_a_turn(connection, &asked)?)).await? {
            return Ok(Err(NotTaken::Unknown));
        }
        self.vault(move |vault| vault.take(&token, &value, &key, source)).await
    }

    /// A tenant's held credentials, by name.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub async fn credentials(&self, tenant: TenantId) -> Result<Vec<HeldCredential>, StoreError> {
        self.read(move |connection| Ok(vault::list(connection, &tenant)?)).await
    }

    /// A tenant's open links for values, newest first.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub async fn intake_links(&self, tenant: TenantId) -> Result<Vec<IntakeLink>, StoreError> {
        self.read(move |connection| Ok(vault::links(connection, &tenant, SystemTime::now().into())?)).await
    }

    /// A tenant's audit records before one, newest first, [`PAGE`] at most.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub async fn audit(
        &self,
        tenant: TenantId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        self.read(move |connection| Ok(audit::page(connection, &tenant, before, limit.min(PAGE))?)).await
    }

    /// For the sender: waits until some receiver has something new.
    pub async fn outbox_changed(&self) -> OutboxChange {
        self.board.look().await
    }

    /// For the sender: receivers with something pending, in the order of their ids.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub async fn outbox_receivers(
        &self,
        after: Option<ReceiverId>,
        limit: u32,
    ) -> Result<Vec<ReceiverId>, StoreError> {
        self.read(move |connection| Ok(outbox::receivers(connection, after, limit)?)).await
    }

    /// For the sender: what a receiver waits for.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub async fn outbox_waiting(
        &self,
        receiver: ReceiverId,
        now: Timestamp,
        limit: u32,
    ) -> Result<WaitingPage, StoreError> {
        self.read(move |connection| Ok(outbox::waiting(connection, receiver, now, limit)?)).await
    }

    /// For the sender's metrics: how much is pending.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub async fn outbox_backlog(&self) -> Result<Backlog, StoreError> {
        self.read(|connection| Ok(outbox::backlog(connection)?)).await
    }

    /// For the sender: what to post; nothing when the delivery is no longer pending.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub async fn outgoing(&self, delivery: DeliveryId) -> Result<Option<Outgoing>, StoreError> {
        self.read(move |connection| Ok(outbox::outgoing(connection, delivery)?)).await
    }

    /// For the sender: has it written down what became of deliveries. Ready when it is on disk.
    ///
    /// # Errors
    /// When the store is closed.
    pub fn settle(
        &self,
        settled: Vec<Settled>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send + use<> {
        let (done, answer) = oneshot::channel();
        let sent = self.work.send(Work::Settle { settled, done });
        async move {
            sent.map_err(|_| StoreError::Closed)?;
            answer.await.map_err(|_| StoreError::Closed)
        }
    }

    /// Saves what was given and ends the disk thread. Every other handle is of no use afterwards.
    ///
    /// # Errors
    /// When the disk did not take it within [`StoreOptions::last_chance`]: what it would not take is lost.
    pub async fn close(self) -> Result<(), StoreError> {
        self.readers.close();
        self.vault.close();
        let (reply, answer) = oneshot::channel();
        self.work.send(Work::Close { reply }).map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.readers.read(question).await
    }

    /// Has the disk thread do something to its connection, to make its disk fail.
    #[cfg(test)]
    fn poke(&self, poke: impl FnOnce(&Connection) + Send + 'static) {
        self.work.send(Work::Poke(Box::new(poke))).expect("the store is open");
    }
}

/// Takes the lock beside the file, or says who has it.
fn lock(path: &Path) -> Result<File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = OpenOptions::new().create(true).append(true).open(name)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Status;

    fn open() -> Store {
        Store::open(Location::memory(), &StoreOptions::default()).unwrap().0
    }

    async fn until(store: &Store, number: u64) {
        store.durable().wait_for(|durable| durable.0 >= number).await.unwrap();
    }

    fn pages(connection: &Connection) -> u32 {
        connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap()
    }

    #[tokio::test]
    async fn a_full_disk_stops_durable_and_loses_nothing() {
        let store = open();
        store.poke(|connection| {
            let limit = pages(connection);
            connection.pragma_update_and_check(None, "max_page_count", limit, |_| Ok(())).unwrap();
        });
        let calls: Vec<CallRecord> = (0..100).map(sample::call).collect();

        for (call, number) in calls.iter().zip(1..) {
            store.keep(RecordNumber(number), Record::Call(Arc::new(call.clone())));
        }
        store.health().wait_for(|healthy| !healthy).await.unwrap();

        // The first group may be small enough for the pages there are.
        assert!(store.durable().borrow().0 < 100);
        assert!(!store.healthy());
        store.poke(|connection| {
            connection.pragma_update_and_check(None, "max_page_count", 1_000_000, |_| Ok(())).unwrap();
        });
        until(&store, 100).await;
        assert!(store.healthy());
        for call in &calls {
            let kept = store.call(call.tenant.clone(), call.view.call_id).await.unwrap();
            assert_eq!(kept.as_ref(), Some(call));
        }
    }

    #[tokio::test]
    async fn events_are_told_only_after_a_read_only_disk_has_taken_them() {
        let store = open();
        let mut events = store.events().unwrap();
        store.poke(|connection| connection.pragma_update(None, "query_only", true).unwrap());

        store.keep(RecordNumber(1), sample::told(&sample::call(1), 1, None));
        store.health().wait_for(|healthy| !healthy).await.unwrap();

        assert!(events.try_recv().is_err());
        store.poke(|connection| connection.pragma_update(None, "query_only", false).unwrap());
        let event = events.recv().await.unwrap();
        assert_eq!(event.event.id.seq, 1);
        assert_eq!(*store.durable().borrow(), RecordNumber(1));
    }

    #[tokio::test]
    async fn a_store_closed_on_a_failing_disk_says_how_much_is_lost() {
        let options = StoreOptions { last_chance: Duration::from_millis(100), ..StoreOptions::default() };
        let (store, _) = Store::open(Location::memory(), &options).unwrap();
        store.poke(|connection| connection.pragma_update(None, "query_only", true).unwrap());
        store.keep(RecordNumber(1), Record::Call(Arc::new(sample::call(1))));
        store.keep(RecordNumber(2), Record::Call(Arc::new(sample::call(2))));
        let handle = store.clone();

        let error = store.close().await.unwrap_err();

        assert!(matches!(error, StoreError::Unsaved(2)), "{error}");
        assert!(!handle.healthy());
    }

    #[tokio::test]
    async fn the_newest_state_of_a_call_wins_within_a_group_and_across_groups() {
        let store = open();
        let mut call = sample::call(1);
        store.keep(RecordNumber(1), Record::Call(Arc::new(call.clone())));
        store.keep(RecordNumber(2), sample::told(&call, 1, None));
        until(&store, 2).await;
        call.view.status = Status::Held;
        store.keep(RecordNumber(3), sample::told(&call, 2, None));
        call.view.status = Status::Answered;
        store.keep(RecordNumber(4), Record::Call(Arc::new(call.clone())));
        until(&store, 4).await;

        let kept = store.call(call.tenant.clone(), call.view.call_id).await.unwrap();

        assert_eq!(kept, Some(call));
    }

    #[tokio::test]
    async fn a_reader_that_was_too_slow_gets_every_event_all_the_same() {
        let store = open();
        let call = sample::call(1);
        let mut feed = store.follow(call.tenant.clone(), None).await.unwrap();
        let total = u32::try_from(LIVE).unwrap() + 500;

        for seq in 1..=total {
            store.keep(RecordNumber(seq.into()), sample::told(&call, seq, None));
        }
        until(&store, total.into()).await;

        for seq in 1..=total {
            assert_eq!(feed.next().await.unwrap().unwrap().id.seq, seq);
        }
    }

    #[tokio::test]
    async fn calls_are_retired_with_all_that_is_theirs_unless_a_delivery_waits() {
        let store = open();
        let mut retired = sample::call(1);
        retired.view.status = Status::Ended;
        retired.view.ended_at = Some(sample::at(1_000).into());
        let mut waits = CallRecord { tenant: retired.tenant.clone(), ..sample::call(2) };
        waits.view.status = Status::Ended;
        waits.view.ended_at = retired.view.ended_at;
        let running = sample::call(3);
        store.keep(RecordNumber(1), sample::told(&retired, 1, None));
        store.keep(RecordNumber(2), Record::Milestone(sample::milestone(&retired, "invite sent")));
        store.keep(RecordNumber(3), sample::told(&waits, 1, Some("https://hooks.example.com/")));
        store.keep(RecordNumber(4), sample::told(&running, 1, None));
        until(&store, 4).await;

        let (tell, told) = oneshot::channel();
        store.poke(move |connection| {
            write::retire(connection, sample::at(1_000).into(), Duration::from_secs(1)).unwrap();
            let kept = write::retire(connection, sample::at(3_000).into(), Duration::from_secs(1)).unwrap();
            tell.send(kept).unwrap();
        });

        // The poke may have come after the thread's own look, which does the same.
        assert!(told.await.unwrap().0 <= 1);
        let acme = || retired.tenant.clone();
        assert_eq!(store.call(acme(), retired.view.call_id).await.unwrap(), None);
        assert_eq!(store.timeline(acme(), retired.view.call_id).await.unwrap(), None);
        assert!(store.call(acme(), waits.view.call_id).await.unwrap().is_some());
        assert!(store.call(acme(), running.view.call_id).await.unwrap().is_some());
        let left = store.events_after(acme(), None, PAGE).await.unwrap();
        let left: Vec<CallId> = left.iter().map(|event| event.event.id.call).collect();
        assert_eq!(left, [waits.view.call_id, running.view.call_id]);
    }
}
