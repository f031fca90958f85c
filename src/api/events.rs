//! A tenant's events as a stream of server-sent events: `id` is the event's id, `event` its kind, `data` the body that
//! its webhook has. What is told here is on disk already; a reader that was away says `Last-Event-ID` and misses nothing,
//! and one that is slow is served from the disk.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::auth::{Allowed, ReadEvents};
use super::body::Query;
use super::openapi::{BadQuery, BadRequest, TooMany};
use super::problem::{Code, Problem};
use super::serve::stopped;
use super::{Api, Phase};
use crate::call::{CallId, EventBody, EventId, EventRecord};
use crate::store::EventFeed;

/// How often a silent stream shows that it lives: more often than proxies lose patience.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Follows events as they happen.
///
/// Every event is one `text/event-stream` message: `id` its id, `event` its kind, `data` the same JSON that webhooks
/// get. With `Last-Event-ID` the stream begins after that event, without a gap; an event no longer kept means the oldest
/// that is. Without it the stream begins now. Comments come every 15 seconds.
#[utoipa::path(get, path = "/api/events", tag = "events", operation_id = "followEvents",
    security(("bearer" = ["events:read"])),
    params(
        ("call_id" = Option<String>, Query, description = "Only events of this call."),
        ("Last-Event-ID" = Option<String>, Header, description = "The last event already known."),
    ),
    responses(
        (status = 200, description = "The stream. `data` is an EventBody.", body = EventBody,
            content_type = "text/event-stream"),
        (status = 400, response = BadRequest), (status = 422, response = BadQuery),
        (status = 429, response = TooMany),
    ))]
pub(crate) async fn follow(
    State(api): State<Api>,
    bearer: Allowed<ReadEvents>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let query = Query::read(&uri, &["call_id"])?;
    let call = query
        .parsed("call_id", "is not a call id; write one like call_01JVNT…", |text| text.parse().ok())?;
    let after = last_event_id(&headers)?;
    let place = Arc::clone(&api.streams).try_acquire_owned().map_err(|_| {
        Problem::new(Code::LimitStreams, "All places for readers of events are taken; close other streams.")
    })?;
    let feed = api.store.follow(bearer.tenant.clone(), after).await?;
    let reader = Reader { feed, call, phase: api.phase.clone(), _place: place };
    let stream = unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok(message(&event)), reader))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

struct Reader {
    feed: EventFeed,
    call: Option<CallId>,
    phase: watch::Receiver<Phase>,
    /// Given back when the reader leaves.
    _place: OwnedSemaphorePermit,
}

impl Reader {
    /// Ends the stream when the edge stops or the disk cannot be read: the client comes back with its last id.
    async fn next(&mut self) -> Option<Arc<EventRecord>> {
        loop {
            let next = tokio::select! {
                next = self.feed.next() => next,
                () = stopped(&mut self.phase) => return None,
            };
            match next {
                Ok(Some(event)) if self.call.is_none_or(|call| call == event.id.call) => return Some(event),
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => {
                    tracing::warn!(%error, "a stream of events ends: the store cannot be read");
                    return None;
                }
            }
        }
    }
}

fn message(event: &EventRecord) -> Event {
    let body = String::from_utf8_lossy(&event.body);
    Event::default().id(event.id.to_string()).event(event.kind.as_str()).data(body)
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<EventId>, Problem> {
    let Some(id) = headers.get("last-event-id").filter(|id| !id.is_empty()) else { return Ok(None) };
    let parsed = id.to_str().ok().and_then(|id| id.parse().ok());
    parsed.map(Some).ok_or_else(|| {
        let detail = "Last-Event-ID is not an event's id; send the `id` of the last event as it came.";
        Problem::new(Code::RequestMalformed, detail).at("Last-Event-ID")
    })
}
