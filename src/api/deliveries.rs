//! What was sent to webhooks, what waits, what was given up; and sending again.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use serde::Serialize;

use super::Api;
use super::auth::{Allowed, ReadEvents};
use super::body::Query;
use super::openapi::{BadQuery, NotFound};
use super::path::{EventInPath, no_such_delivery};
use super::problem::Problem;
use crate::store::{Delivery, DeliveryFilter, DeliveryState, PAGE};

/// Deliveries on a page when the request does not say.
const USUAL: u32 = 50;

/// A page of deliveries, newest first.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct DeliveryPage {
    /// The deliveries.
    deliveries: Vec<Delivery>,
    /// The `cursor` of the next page; null on the last one.
    next_cursor: Option<String>,
}

/// Lists deliveries of webhooks, newest first.
#[utoipa::path(get, path = "/api/webhooks/deliveries", tag = "webhooks", operation_id = "listDeliveries",
    security(("bearer" = ["events:read"])),
    params(
        ("state" = Option<DeliveryState>, Query, description = "Only deliveries that stand there."),
        ("limit" = Option<u32>, Query, description = "How many, 50 when not given.", minimum = 1, maximum = 200),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before."),
    ),
    responses((status = 200, description = "A page of deliveries.", body = DeliveryPage),
        (status = 422, response = BadQuery)))]
pub(crate) async fn list(
    State(api): State<Api>,
    bearer: Allowed<ReadEvents>,
    uri: Uri,
) -> Result<axum::Json<DeliveryPage>, Problem> {
    let query = Query::read(&uri, &["state", "limit", "cursor"])?;
    let rule = "is not a state; write one of pending, delivered, given_up";
    let state = query.parsed("state", rule, |text| match text {
        "pending" => Some(DeliveryState::Pending),
        "delivered" => Some(DeliveryState::Delivered),
        "given_up" => Some(DeliveryState::GivenUp),
        _ => None,
    })?;
    let cursor = "is not a cursor; write `next_cursor` of the page before";
    let before = query.parsed("cursor", cursor, |text| text.parse().ok())?;
    let limit = query.limit(USUAL, PAGE)?;

    let filter = DeliveryFilter { state, before, limit };
    let deliveries = api.store.deliveries(bearer.tenant.clone(), filter).await?;
    let full = deliveries.len() == limit as usize;
    let next_cursor = deliveries.last().map(|delivery| delivery.id.to_string()).filter(|_| full);
    Ok(axum::Json(DeliveryPage { deliveries, next_cursor }))
}

/// Sends an event again, for another 24 hours: same id, same bytes.
#[utoipa::path(post, path = "/api/webhooks/deliveries/{id}/replay", tag = "webhooks", operation_id = "replayDelivery",
    security(("bearer" = ["events:read"])),
    params(("id" = String, Path, description = "The event's id.", example = "evt_01JVNT5C8Z3W5Q2R8K6M0X4H7D_3")),
    responses((status = 202, description = "It waits to be sent again.", body = Delivery),
        (status = 404, response = NotFound)))]
pub(crate) async fn replay(
    State(api): State<Api>,
    bearer: Allowed<ReadEvents>,
    EventInPath(event): EventInPath,
) -> Result<(StatusCode, axum::Json<Delivery>), Problem> {
    let delivery = api.store.replay(bearer.tenant.clone(), event).await?.ok_or_else(no_such_delivery)?;
    Ok((StatusCode::ACCEPTED, axum::Json(delivery)))
}
