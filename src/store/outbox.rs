//! Deliveries: an event that has a receiver is a row here from the moment it is on disk until its call is retired.
//!
//! ```text
//!             attempt failed: in turn, or parked until a time
//!              +------+
//!              v      |        2xx
//!   event --> [Pending] ----------------> [Delivered]
//!              ^      |  24 hours          |
//!              |      +-------> [Given up] |
//!              |  replay          |        |
//!              +------------------+--------+
//! ```
//! Who is tried when is not decided here but in [`crate::webhook`].

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize, Serializer};

use super::row::{CallKey, Ms, Word};
use crate::call::{CallId, EventId, EventKind, ProviderKey, TenantId, Timestamp};
use crate::crypto;

/// Stands for a tenant and a URL: one queue of deliveries. Made of their hash, so nobody has to keep a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReceiverId(pub i64);

impl ReceiverId {
    /// The receiver of a tenant's events at this URL.
    pub fn of(tenant: &TenantId, url: &str) -> Self {
        let hash = crypto::sha256(format!("{tenant}\0{url}").as_bytes());
        let mut half = [0; 8];
        half.copy_from_slice(&hash[..8]);
        Self(i64::from_be_bytes(half))
    }
}

/// One queueing of one event. A replay is another one, so that a late answer to the first does not count for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId {
    /// The event's place in the order of commits.
    pub number: i64,
    /// How often it was replayed.
    pub replays: u32,
}

/// A delivery as its queue needs it: no body, no URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Its name.
    pub delivery: DeliveryId,
    /// The event.
    pub event: EventId,
    /// Failed so far.
    pub attempts: u32,
    /// When the 24 hours began: the event's time, or the replay's.
    pub since: Timestamp,
    /// It has failed for so long that others of its call need not wait for it.
    pub parked: bool,
}

/// The next deliveries of a receiver.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WaitingPage {
    /// In turn: in the order of commits.
    pub in_turn: Vec<Waiting>,
    /// Parked and due, the one due longest first.
    pub due: Vec<Waiting>,
    /// There was no room for all of them.
    pub more: bool,
    /// When the next of the parked ones is due.
    pub next_due: Option<Timestamp>,
}

/// All that is pending, of all receivers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// How many.
    pub pending: u64,
    /// When the first of them was queued.
    pub oldest: Option<Timestamp>,
}

/// All that goes into a POST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Whose secret signs.
    pub tenant: TenantId,
    /// For `X-CallingEdge-Provider`.
    pub provider: ProviderKey,
    /// For `X-CallingEdge-Event-Id`.
    pub event: EventId,
    /// Where to.
    pub url: String,
    /// The same bytes on every attempt.
    pub body: Bytes,
}

/// What became of a delivery, to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// Which.
    pub delivery: DeliveryId,
    /// What now.
    pub step: Step,
    /// Attempts so far, this one included.
    pub attempts: u32,
    /// The attempt that led here, if one did.
    pub tried: Option<Tried>,
}

/// An attempt that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// When it was over.
    pub at: Timestamp,
    /// How, in a few words: `HTTP 503`, `timed out`.
    pub outcome: String,
}

/// What happens to a delivery next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing: it was acknowledged.
    Delivered,
    /// Tried again at `next`, and until it has failed for a minute its call's later events wait for it.
    Failed {
        /// The next attempt.
        next: Timestamp,
    },
    /// Out of the queue's memory until then.
    Parked {
        /// The next attempt.
        until: Timestamp,
    },
    /// Nothing, unless it is replayed.
    GivenUp,
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Not acknowledged yet.
    Pending,
    /// Acknowledged by a 2xx.
    Delivered,
    /// Not acknowledged for 24 hours.
    GivenUp,
}

impl DeliveryState {
    /// As in the table.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Pending => 0,
            Self::Delivered => 1,
            Self::GivenUp => 2,
        }
    }
}

/// A delivery as the API lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Delivery {
    /// The event's id, which also names the delivery: what to replay.
    #[schema(value_type = String)]
    #[serde(serialize_with = "as_text")]
    pub id: EventId,
    /// The call.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// Which provider's event.
    #[schema(value_type = String)]
    pub provider: ProviderKey,
    /// What happened.
    pub kind: EventKind,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    pub occurred_at: Timestamp,
    /// The receiver.
    pub url: String,
    /// Where it stands.
    pub state: DeliveryState,
    /// Attempts since it was queued or replayed.
    pub attempts: u32,
    /// When the last attempt was over.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_attempt_at: Option<Timestamp>,
    /// How it ended: `HTTP 503`, `timed out`, `refused address 10.0.0.7`.
    pub last_outcome: Option<String>,
    /// When the next one is due; null before the first, and when there is none.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_attempt_at: Option<Timestamp>,
}

fn as_text<S: Serializer>(id: &EventId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

/// Which deliveries to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// Only these.
    pub state: Option<DeliveryState>,
    /// Only those older than this one: the last of the page before.
    pub before: Option<EventId>,
    /// How many, 200 at most.
    pub limit: u32,
}

/// Receivers with something pending, from `after` on in the order of their ids.
pub(super) fn receivers(
    connection: &Connection,
    after: Option<ReceiverId>,
    limit: u32,
) -> rusqlite::Result<Vec<ReceiverId>> {
    // One seek a receiver: DISTINCT would walk every row of the index.
    let mut next = connection.prepare_cached(
        "SELECT receiver FROM delivery WHERE state = 0 AND receiver > ?1 ORDER BY receiver LIMIT 1",
    )?;
    let mut found = Vec::new();
    let mut last = after.map_or(i64::MIN, |receiver| receiver.0);
    for _ in 0..limit {
        let Some(receiver) = next.query_row([last], |row| row.get(0)).optional()? else { break };
        found.push(ReceiverId(receiver));
        last = receiver;
    }
    Ok(found)
}

/// What a receiver's queue may try next: at most `limit` in turn and as many parked ones that are due at `now`.
pub(super) fn waiting(
    connection: &Connection,
    receiver: ReceiverId,
    now: Timestamp,
    limit: u32,
) -> rusqlite::Result<WaitingPage> {
    const COLUMNS: &str = "SELECT delivery.event, delivery.replays, event.call, event.seq, delivery.attempts,
             delivery.since_ms, delivery.due_ms <> 0
         FROM delivery JOIN event ON event.n = delivery.event
         WHERE delivery.state = 0 AND delivery.receiver = ?1";
    let rows = |condition: &str, due: i64| -> rusqlite::Result<Vec<Waiting>> {
        let mut statement = connection.prepare_cached(&format!("{COLUMNS} AND {condition} LIMIT ?3"))?;
        statement.query_map(params![receiver.0, due, limit], waiting_row)?.collect()
    };
    let in_turn = rows("delivery.due_ms = ?2 ORDER BY delivery.event", 0)?;
    let due = rows(
        "delivery.due_ms > 0 AND delivery.due_ms <= ?2 ORDER BY delivery.due_ms, delivery.event",
        now.unix_ms(),
    )?;
    let next_due = connection
        .prepare_cached(
            "SELECT min(due_ms) FROM delivery WHERE state = 0 AND receiver = ?1 AND due_ms > ?2 AND due_ms > 0",
        )?
        .query_row(params![receiver.0, now.unix_ms()], |row| row.get::<_, Option<Ms>>(0))?
        .map(|Ms(due)| due);
    let full = |rows: &Vec<Waiting>| u32::try_from(rows.len()) == Ok(limit);
    let more = full(&in_turn) || full(&due);
    Ok(WaitingPage { in_turn, due, more, next_due })
}

fn waiting_row(row: &Row<'_>) -> rusqlite::Result<Waiting> {
    Ok(Waiting {
        delivery: DeliveryId { number: row.get(0)?, replays: row.get(1)? },
        event: EventId { call: row.get::<_, CallKey>(2)?.0, seq: row.get(3)? },
        attempts: row.get(4)?,
        since: row.get::<_, Ms>(5)?.0,
        parked: row.get(6)?,
    })
}

/// Counts what is pending.
pub(super) fn backlog(connection: &Connection) -> rusqlite::Result<Backlog> {
    // Both from the index alone.
    let (pending, first) = connection
        .prepare_cached(
            "SELECT count(*), min(event) FROM delivery INDEXED BY delivery_waiting WHERE state = 0",
        )?
        .query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?)))?;
    let oldest = connection
        .prepare_cached("SELECT since_ms FROM delivery WHERE event = ?1")?
        .query_row([first], |row| row.get::<_, Ms>(0))
        .optional()?
        .map(|Ms(since)| since);
    Ok(Backlog { pending: u64::try_from(pending).unwrap_or(0), oldest })
}

/// What to post. Nothing when the delivery is no longer pending.
pub(super) fn outgoing(connection: &Connection, id: DeliveryId) -> rusqlite::Result<Option<Outgoing>> {
    connection
        .prepare_cached(
            "SELECT event.tenant, event.provider, event.call, event.seq, delivery.url, event.body
             FROM delivery JOIN event ON event.n = delivery.event
             WHERE delivery.event = ?1 AND delivery.replays = ?2 AND delivery.state = 0",
        )?
        .query_row(params![id.number, id.replays], |row| {
            Ok(Outgoing {
                tenant: row.get_ref(0)?.as_str()?.into(),
                provider: row.get_ref(1)?.as_str()?.into(),
                event: EventId { call: row.get::<_, CallKey>(2)?.0, seq: row.get(3)? },
                url: row.get(4)?,
                body: row.get::<_, Vec<u8>>(5)?.into(),
            })
        })
        .optional()
}

const LISTED: &str =
    "SELECT event.call, event.seq, event.provider, event.kind, event.occurred_ms, delivery.url,
         delivery.state, delivery.attempts, delivery.tried_ms, delivery.outcome, delivery.next_ms
     FROM event JOIN delivery ON delivery.event = event.n";

/// A tenant's deliveries, newest first.
pub(super) fn deliveries(
    connection: &Connection,
    tenant: &TenantId,
    filter: &DeliveryFilter,
) -> rusqlite::Result<Vec<Delivery>> {
    let before = match filter.before {
        None => i64::MAX,
        Some(event) => number(connection, tenant, event)?.unwrap_or(0),
    };
    let limit = filter.limit.min(super::PAGE);
    // Two statements, because each walks an index that fits it.
    let all = format!("{LISTED} WHERE event.tenant = ?1 AND event.n < ?2 ORDER BY event.n DESC LIMIT ?3");
    let some = format!(
        "{LISTED} WHERE delivery.tenant = ?1 AND delivery.event < ?2 AND delivery.state = ?4
         ORDER BY delivery.event DESC LIMIT ?3"
    );
    let mut statement = connection.prepare_cached(if filter.state.is_none() { &all } else { &some })?;
    match filter.state {
        None => statement.query_map(params![tenant.as_str(), before, limit], delivery_row)?.collect(),
        Some(state) => statement
            .query_map(params![tenant.as_str(), before, limit, state.code()], delivery_row)?
            .collect(),
    }
}

/// One of a tenant's deliveries.
pub(super) fn delivery(
    connection: &Connection,
    tenant: &TenantId,
    event: EventId,
) -> rusqlite::Result<Option<Delivery>> {
    connection
        .prepare_cached(&format!("{LISTED} WHERE event.tenant = ?1 AND event.call = ?2 AND event.seq = ?3"))?
        .query_row(params![tenant.as_str(), CallKey(event.call), event.seq], delivery_row)
        .optional()
}

fn delivery_row(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    let call = row.get::<_, CallKey>(0)?.0;
    Ok(Delivery {
        id: EventId { call, seq: row.get(1)? },
        call_id: call,
        provider: row.get_ref(2)?.as_str()?.into(),
        kind: row.get::<_, Word<_>>(3)?.0,
        occurred_at: row.get::<_, Ms>(4)?.0,
        url: row.get(5)?,
        state: match row.get::<_, u8>(6)? {
            0 => DeliveryState::Pending,
            1 => DeliveryState::Delivered,
            _ => DeliveryState::GivenUp,
        },
        attempts: row.get(7)?,
        last_attempt_at: row.get::<_, Option<Ms>>(8)?.map(|Ms(at)| at),
        last_outcome: row.get(9)?,
        next_attempt_at: row.get::<_, Option<Ms>>(10)?.map(|Ms(at)| at),
    })
}

/// A tenant's event's place in the order of commits.
pub(super) fn number(
    connection: &Connection,
    tenant: &TenantId,
    event: EventId,
) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT n FROM event WHERE call = ?1 AND seq = ?2 AND tenant = ?3")?
        .query_row(params![CallKey(event.call), event.seq, tenant.as_str()], |row| row.get(0))
        .optional()
}
