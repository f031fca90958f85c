//! What one record, or one step of a delivery, changes in the tables. All of it may be done twice.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, named_params, params};

use super::outbox::{DeliveryState, ReceiverId, Settled, Step};
use super::row::{CallKey, Ms, Word};
use crate::call::{CallRecord, EventId, EventRecord, Milestone, TenantId, Timestamp};

/// Calls removed in one transaction at most, with all that belongs to them.
const RETIRED_AT_ONCE: i64 = 100;

/// Replaces what is kept of a call.
pub(super) fn call(connection: &Connection, record: &CallRecord) -> rusqlite::Result<()> {
    let json = serde_json::to_string(record)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let idempotency = record.idempotency.as_ref();
    connection
        .prepare_cached(
            "INSERT INTO call (id, tenant, provider, status, started_ms, ended_ms, idempotency_key, fingerprint, json)
             VALUES (:id, :tenant, :provider, :status, :started, :ended, :key, :fingerprint, :json)
             ON CONFLICT (id) DO UPDATE SET status = excluded.status, ended_ms = excluded.ended_ms, json = excluded.json",
        )?
        .execute(named_params! {
            ":id": CallKey(record.view.call_id),
            ":tenant": record.tenant.as_str(),
            ":provider": record.view.provider.as_str(),
            ":status": record.view.status.as_str(),
            ":started": Ms(record.view.started_at),
            ":ended": record.view.ended_at.map(Ms),
            ":key": idempotency.map(|i| &i.key),
            ":fingerprint": idempotency.map(|i| &i.fingerprint),
            ":json": json,
        })?;
    Ok(())
}

/// Adds an event and, when it has a receiver, its delivery. Answers its place in the order of commits; nothing when
/// the event was there already.
pub(super) fn event(connection: &Connection, event: &EventRecord) -> rusqlite::Result<Option<i64>> {
    let added = connection
        .prepare_cached(
            "INSERT INTO event (call, seq, tenant, provider, kind, occurred_ms, is_last, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (call, seq) DO NOTHING",
        )?
        .execute(params![
            CallKey(event.id.call),
            event.id.seq,
            event.tenant.as_str(),
            event.provider.as_str(),
            Word(event.kind),
            Ms(event.occurred_at),
            event.is_last,
            &event.body[..],
        ])?;
    if added == 0 {
        return Ok(None);
    }
    let number = connection.last_insert_rowid();
    if let Some(url) = &event.webhook_url {
        connection
            .prepare_cached(
                "INSERT INTO delivery (event, receiver, tenant, url, state, attempts, due_ms, since_ms)
                 VALUES (?1, ?2, ?3, ?4, 0, 0, 0, ?5)",
            )?
            .execute(params![
                number,
                ReceiverId::of(&event.tenant, url).0,
                event.tenant.as_str(),
                url,
                Ms(event.occurred_at)
            ])?;
    }
    Ok(Some(number))
}

/// Adds a line to a call's timeline.
pub(super) fn milestone(connection: &Connection, milestone: &Milestone) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO milestone (call, at_ms, since_start_ms, layer, what, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            CallKey(milestone.call),
            Ms(milestone.at),
            i64::try_from(milestone.since_start_ms).unwrap_or(i64::MAX),
            Word(milestone.layer),
            milestone.what,
            milestone.detail,
        ])?;
    Ok(())
}

/// Writes down how an attempt ended. What was settled or replayed since is left as it is.
pub(super) fn settle(connection: &Connection, settled: &Settled) -> rusqlite::Result<()> {
    let (state, due, next) = match settled.step {
        Step::Delivered => (DeliveryState::Delivered, 0, None),
        Step::GivenUp => (DeliveryState::GivenUp, 0, None),
        Step::Failed { next } => (DeliveryState::Pending, 0, Some(next)),
        Step::Parked { until } => (DeliveryState::Pending, until.unix_ms().max(1), Some(until)),
    };
    connection
        .prepare_cached(
            "UPDATE delivery SET state = ?3, due_ms = ?4, next_ms = ?5, attempts = ?6, tried_ms = ifnull(?7, tried_ms),
                 outcome = ifnull(?8, outcome)
             WHERE event = ?1 AND replays = ?2 AND state = 0",
        )?
        .execute(params![
            settled.delivery.number,
            settled.delivery.replays,
            state.code(),
            due,
            next.map(Ms),
            settled.attempts,
            settled.tried.as_ref().map(|tried| Ms(tried.at)),
            settled.tried.as_ref().map(|tried| &tried.outcome),
        ])?;
    Ok(())
}

/// Queues an event's delivery anew, for 24 hours from `now`. Nothing when the tenant has no such delivery.
pub(super) fn replay(
    connection: &Connection,
    tenant: &TenantId,
    event: EventId,
    now: Timestamp,
) -> rusqlite::Result<Option<ReceiverId>> {
    connection
        .prepare_cached(
            "UPDATE delivery SET state = 0, attempts = 0, due_ms = 0, next_ms = NULL, since_ms = ?4, replays = replays + 1
             WHERE tenant = ?1 AND event = (SELECT n FROM event WHERE call = ?2 AND seq = ?3) RETURNING receiver",
        )?
        .query_row(params![tenant.as_str(), CallKey(event.call), event.seq, Ms(now)], |row| row.get(0))
        .optional()
        .map(|receiver| receiver.map(ReceiverId))
}

/// Removes a few calls that ended longer than `keep` ago, with their events, deliveries and timelines. A call with a
/// delivery still pending stays. Answers how many were removed, and whether there may be more.
pub(super) fn retire(
    connection: &Connection,
    now: Timestamp,
    keep: Duration,
) -> rusqlite::Result<(usize, bool)> {
    let before = now.unix_ms().saturating_sub(i64::try_from(keep.as_millis()).unwrap_or(i64::MAX));
    let calls: Vec<Vec<u8>> = connection
        .prepare_cached(
            "SELECT id FROM call WHERE ended_ms IS NOT NULL AND ended_ms < ?1 AND NOT EXISTS
                 (SELECT 1 FROM event JOIN delivery ON delivery.event = event.n
                  WHERE event.call = call.id AND delivery.state = 0)
             ORDER BY ended_ms LIMIT ?2",
        )?
        .query_map(params![before, RETIRED_AT_ONCE], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for statement in [
        "DELETE FROM delivery WHERE event IN (SELECT n FROM event WHERE call = ?1)",
        "DELETE FROM event WHERE call = ?1",
        "DELETE FROM milestone WHERE call = ?1",
        "DELETE FROM call WHERE id = ?1",
    ] {
        let mut statement = connection.prepare_cached(statement)?;
        for call in &calls {
            statement.execute([call])?;
        }
    }
    Ok((calls.len(), i64::try_from(calls.len()) == Ok(RETIRED_AT_ONCE)))
}
