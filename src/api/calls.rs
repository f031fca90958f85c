//! Reading calls: one, many, and the timeline of one. What runs comes from the table, what is over from the store.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Api;
use super::auth::{Allowed, ReadCalls};
use super::body::Query;
use super::openapi::{BadQuery, NotFound};
use super::path::{CallInPath, Segment, no_such_call};
use super::problem::{Code, Problem};
use crate::call::{CallId, CallRecord, CallView, Milestone, ProviderKey, Status, TenantId};
use crate::store::{CallFilter, PAGE};

/// Calls on a page when the request does not say.
const USUAL: u32 = 50;

const STATUSES: [Status; 7] = [
    Status::Placing,
    Status::Ringing,
    Status::EarlyMedia,
    Status::Answered,
    Status::Transferring,
    Status::Held,
    Status::Ended,
];

/// A page of calls, newest first.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct CallPage {
    /// The calls.
    calls: Vec<CallView>,
    /// The `cursor` of the next page; null on the last one.
    next_cursor: Option<String>,
}

/// What happened in a call, in order.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Timeline {
    /// The call as it is now.
    call: CallView,
    /// Every milestone.
    milestones: Vec<Milestone>,
}

/// Lists calls, newest first.
#[utoipa::path(get, path = "/api/calls", tag = "calls", operation_id = "listCalls",
    security(("bearer" = ["calls:read"])),
    params(
        ("status" = Option<Status>, Query, description = "Only calls that stand there."),
        ("provider" = Option<String>, Query, description = "Only calls over this provider."),
        ("limit" = Option<u32>, Query, description = "How many, 50 when not given.", minimum = 1, maximum = 200),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before."),
    ),
    responses((status = 200, description = "A page of calls.", body = CallPage), (status = 422, response = BadQuery)))]
pub(crate) async fn list(
    State(api): State<Api>,
    bearer: Allowed<ReadCalls>,
    uri: Uri,
) -> Result<axum::Json<CallPage>, Problem> {
    let query = Query::read(&uri, &["status", "provider", "limit", "cursor"])?;
    let words: Vec<&str> = STATUSES.iter().map(|status| status.as_str()).collect();
    let rule = format!("is not a status; write one of {}", words.join(", "));
    let status =
        query.parsed("status", &rule, |text| STATUSES.into_iter().find(|status| status.as_str() == text))?;
    let provider = query.parsed("provider", "", |text| Some(ProviderKey::from(text)))?;
    let cursor = "is not a cursor; write `next_cursor` of the page before";
    let before = query.parsed("cursor", cursor, |text| text.parse::<CallId>().ok())?;
    let limit = query.limit(USUAL, PAGE)?;

    let filter = CallFilter { status, provider, before, limit };
    let records = page(&api, &bearer.tenant, filter).await?;
    let full = records.len() == limit as usize;
    let last = records.last().map(|record| record.view.call_id.to_string());
    Ok(axum::Json(CallPage {
        calls: records.iter().map(|record| record.view.clone()).collect(),
        next_cursor: last.filter(|_| full),
    }))
}

/// The table is read first: a call that ends meanwhile is in the store before it leaves the table, so none is missed.
pub(crate) async fn page(
    api: &Api,
    tenant: &TenantId,
    filter: CallFilter,
) -> Result<Vec<Arc<CallRecord>>, Problem> {
    let limit = filter.limit as usize;
    let wanted = |record: &CallRecord| {
        let view = &record.view;
        filter.status.is_none_or(|status| view.status == status)
            && filter.provider.as_ref().is_none_or(|provider| view.provider == *provider)
            && filter.before.is_none_or(|before| view.call_id < before)
    };
    let mut records = api.calls.live(tenant, limit, wanted);
    // Of calls that run, the store knows only how they stood at their last event.
    if filter.status.is_none_or(|status| status == Status::Ended) {
        let over = CallFilter { status: Some(Status::Ended), ..filter.clone() };
        let over = api.store.calls(tenant.clone(), over).await?;
        records.retain(|live| !over.iter().any(|ended| ended.view.call_id == live.view.call_id));
        records.extend(over.into_iter().map(Arc::new));
        records.sort_unstable_by_key(|record| std::cmp::Reverse(record.view.call_id));
        records.truncate(limit);
    }
    Ok(records)
}

/// Shows a call of a provider as it is now; ended calls for at least 24 hours.
#[utoipa::path(get, path = "/api/integrations/providers/{key}/calls/{call_id}", tag = "calls",
    operation_id = "getCall", security(("bearer" = ["calls:read"])),
    params(
        ("key" = String, Path, description = "The provider.", example = "sip-main"),
        ("call_id" = String, Path, description = "The call.", example = "call_01JVNT5C8Z3W5Q2R8K6M0X4H7D"),
    ),
    responses((status = 200, description = "The call.", body = CallView), (status = 404, response = NotFound)))]
pub(crate) async fn show(
    State(api): State<Api>,
    bearer: Allowed<ReadCalls>,
    Segment(key): Segment,
    CallInPath(call): CallInPath,
) -> Result<axum::Json<CallView>, Problem> {
    let record = find(&api, &bearer.tenant, call).await?;
    if record.view.provider.as_str() != key {
        return Err(no_such_call());
    }
    Ok(axum::Json(record.view.clone()))
}

/// Tells every milestone of a call: signalling, media, engine, events.
#[utoipa::path(get, path = "/api/calls/{call_id}/timeline", tag = "calls", operation_id = "callTimeline",
    security(("bearer" = ["calls:read"])),
    params(("call_id" = String, Path, description = "The call.", example = "call_01JVNT5C8Z3W5Q2R8K6M0X4H7D")),
    responses((status = 200, description = "The timeline.", body = Timeline), (status = 404, response = NotFound)))]
pub(crate) async fn timeline(
    State(api): State<Api>,
    bearer: Allowed<ReadCalls>,
    CallInPath(call_id): CallInPath,
) -> Result<axum::Json<Timeline>, Problem> {
    let record = find(&api, &bearer.tenant, call_id).await?;
    // Of a call that has just begun nothing may be on disk yet.
    let milestones = api.store.timeline(bearer.tenant.clone(), call_id).await?.unwrap_or_default();
    Ok(axum::Json(Timeline { call: record.view.clone(), milestones }))
}

/// The recording of a call so far: a WAV file, 8,000 Hz, 16 bit; in stereo the far end is left, what it heard is right.
#[utoipa::path(get, path = "/api/calls/{call_id}/recording", tag = "calls", operation_id = "getRecording",
    security(("bearer" = ["calls:read"])),
    params(("call_id" = String, Path, description = "The call.", example = "call_01JVNT5C8Z3W5Q2R8K6M0X4H7D")),
    responses((status = 200, description = "The file.", content_type = "audio/wav"), (status = 404, response = NotFound)))]
pub(crate) async fn recording(
    State(api): State<Api>,
    bearer: Allowed<ReadCalls>,
    CallInPath(call): CallInPath,
) -> Result<Response, Problem> {
    let record = find(&api, &bearer.tenant, call).await?;
    let none = || Problem::new(Code::RecordingNotFound, "There is no recording of this call.");
    let settings = api.settings();
    let place =
        settings.recording.as_ref().filter(|_| record.view.recording_url.is_some()).ok_or_else(none)?;
    let file = tokio::fs::read(place.file_of(call)).await.map_err(|_| none())?;
    Ok(([(CONTENT_TYPE, "audio/wav")], file).into_response())
}

/// A tenant's call, running or over.
pub(crate) async fn find(api: &Api, tenant: &TenantId, call: CallId) -> Result<Arc<CallRecord>, Problem> {
    if let Some(record) = api.calls.find(call) {
        return if record.tenant == *tenant { Ok(record) } else { Err(no_such_call()) };
    }
    let kept = api.store.call(tenant.clone(), call).await?;
    kept.map(Arc::new).ok_or_else(no_such_call)
}
