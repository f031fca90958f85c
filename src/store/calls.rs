//! Reading calls, their timelines and their events.

use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};

use super::error::StoreError;
use super::feed::Committed;
use super::row::{CallKey, Ms, Word, call_record};
use crate::call::{
    CallId, CallRecord, EventId, EventRecord, Idempotency, Milestone, ProviderKey, Status, TenantId,
    Timestamp,
};

/// Which calls to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallFilter {
    /// Only these.
    pub status: Option<Status>,
    /// Only this provider's.
    pub provider: Option<ProviderKey>,
    /// Only those older than this one: the last of the page before.
    pub before: Option<CallId>,
    /// How many, 200 at most.
    pub limit: u32,
}

pub(super) fn call(
    connection: &Connection,
    tenant: &TenantId,
    id: CallId,
) -> Result<Option<CallRecord>, StoreError> {
    connection
        .prepare_cached("SELECT json FROM call WHERE id = ?1 AND tenant = ?2")?
        .query_row(params![CallKey(id), tenant.as_str()], |row| row.get::<_, String>(0))
        .optional()?
        .map(|json| call_record(&json, CallKey(id)))
        .transpose()
}

pub(super) fn calls(
    connection: &Connection,
    tenant: &TenantId,
    filter: &CallFilter,
) -> Result<Vec<CallRecord>, StoreError> {
    let before = filter.before.map_or_else(|| vec![0xff; 16], |id| id.as_u128().to_be_bytes().to_vec());
    let limit = filter.limit.min(super::PAGE);
    let status = filter.status.map(Status::as_str);
    let provider = filter.provider.as_ref().map(ProviderKey::as_str);
    let mut sql = String::from("SELECT json, id FROM call WHERE tenant = ?1 AND id < ?2");
    let tenant = tenant.as_str();
    let mut parameters: Vec<&dyn ToSql> = vec![&tenant, &before, &limit];
    if let Some(status) = &status {
        parameters.push(status);
        sql += &format!(" AND status = ?{}", parameters.len());
        // Said again in the words of the index `call_open`, which a parameter would hide.
        if filter.status != Some(Status::Ended) {
            sql += " AND status <> 'ended'";
        }
    }
    if let Some(provider) = &provider {
        parameters.push(provider);
        sql += &format!(" AND provider = ?{}", parameters.len());
    }
    sql += " ORDER BY id DESC LIMIT ?3";
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(&parameters[..])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(call_record(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?, row.get(1)?)?);
    }
    Ok(found)
}

/// Every call that was not over when the process ended, whoever's it is.
pub(super) fn open_calls(connection: &Connection) -> Result<Vec<CallRecord>, StoreError> {
    let mut statement = connection
        .prepare("SELECT json, id FROM call INDEXED BY call_open WHERE status <> 'ended' ORDER BY id")?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(call_record(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?, row.get(1)?)?);
    }
    Ok(found)
}

/// The keys of requests made since then, oldest first.
pub(super) fn idempotency(
    connection: &Connection,
    since: Timestamp,
) -> rusqlite::Result<Vec<(TenantId, Idempotency, CallId)>> {
    connection
        .prepare(
            "SELECT tenant, idempotency_key, fingerprint, id FROM call
             WHERE idempotency_key IS NOT NULL AND started_ms >= ?1 ORDER BY started_ms",
        )?
        .query_map([Ms(since)], |row| {
            let idempotency = Idempotency { key: row.get(1)?, fingerprint: row.get(2)? };
            Ok((row.get_ref(0)?.as_str()?.into(), idempotency, row.get::<_, CallKey>(3)?.0))
        })?
        .collect()
}

/// In the order in which it was told. Nothing when the tenant has no such call.
pub(super) fn timeline(
    connection: &Connection,
    tenant: &TenantId,
    id: CallId,
) -> rusqlite::Result<Option<Vec<Milestone>>> {
    let known = connection
        .prepare_cached("SELECT 1 FROM call WHERE id = ?1 AND tenant = ?2")?
        .exists(params![CallKey(id), tenant.as_str()])?;
    if !known {
        return Ok(None);
    }
    connection
        .prepare_cached(
            "SELECT at_ms, since_start_ms, layer, what, detail FROM milestone WHERE call = ?1 ORDER BY n",
        )?
        .query_map([CallKey(id)], |row| {
            Ok(Milestone {
                call: id,
                at: row.get::<_, Ms>(0)?.0,
                since_start_ms: u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0),
                layer: row.get::<_, Word<_>>(2)?.0,
                what: row.get(3)?,
                detail: row.get(4)?,
            })
        })?
        .collect::<Result<_, _>>()
        .map(Some)
}

/// A tenant's events after a place in the order of commits.
pub(super) fn events(
    connection: &Connection,
    tenant: &TenantId,
    after: i64,
    limit: u32,
) -> rusqlite::Result<Vec<Committed>> {
    connection
        .prepare_cached(
            "SELECT event.n, event.call, event.seq, event.tenant, event.provider, event.kind, event.occurred_ms,
                 event.is_last, event.body, delivery.url
             FROM event LEFT JOIN delivery ON delivery.event = event.n
             WHERE event.tenant = ?1 AND event.n > ?2 ORDER BY event.n LIMIT ?3",
        )?
        .query_map(params![tenant.as_str(), after, limit], event_row)?
        .collect()
}

fn event_row(row: &Row<'_>) -> rusqlite::Result<Committed> {
    let event = EventRecord {
        id: EventId { call: row.get::<_, CallKey>(1)?.0, seq: row.get(2)? },
        tenant: row.get_ref(3)?.as_str()?.into(),
        provider: row.get_ref(4)?.as_str()?.into(),
        kind: row.get::<_, Word<_>>(5)?.0,
        occurred_at: row.get::<_, Ms>(6)?.0,
        is_last: row.get(7)?,
        body: row.get::<_, Vec<u8>>(8)?.into(),
        webhook_url: row.get(9)?,
    };
    Ok(Committed { number: row.get(0)?, event: event.into() })
}

/// The newest event's place in the order of commits, 0 when there is none.
pub(super) fn newest(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("SELECT ifnull(max(n), 0) FROM event")?.query_row([], |row| row.get(0))
}
