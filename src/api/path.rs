//! What stands in paths: keys and ids.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;

use super::Api;
use super::problem::{Code, Problem};
use crate::call::{CallId, EventId};

/// The path's first variable part, as text.
#[derive(Debug)]
pub(crate) struct Segment(pub(crate) String);

impl FromRequestParts<Api> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        variable(parts, api, "key").await.map(Self)
    }
}

/// The call in the path.
#[derive(Debug)]
pub(crate) struct CallInPath(pub(crate) CallId);

impl FromRequestParts<Api> for CallInPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let text = variable(parts, api, "call_id").await?;
        // What is no id is no call either.
        text.parse().map(Self).map_err(|_| no_such_call())
    }
}

/// The reference in the path.
#[derive(Debug)]
pub(crate) struct ReferenceInPath(pub(crate) String);

impl FromRequestParts<Api> for ReferenceInPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        variable(parts, api, "ref").await.map(Self)
    }
}

/// The event in the path.
#[derive(Debug)]
pub(crate) struct EventInPath(pub(crate) EventId);

impl FromRequestParts<Api> for EventInPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let text = variable(parts, api, "id").await?;
        text.parse().map(Self).map_err(|_| no_such_delivery())
    }
}

/// The credential in the path.
#[derive(Debug)]
pub(crate) struct NameInPath(pub(crate) String);

impl FromRequestParts<Api> for NameInPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        variable(parts, api, "name").await.map(Self)
    }
}

/// The link in the path. Whoever has it may bring a value, so it is not printed.
pub(crate) struct LinkInPath(pub(crate) String);

impl FromRequestParts<Api> for LinkInPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        variable(parts, api, "link").await.map(Self)
    }
}

/// Another tenant's call is unknown too.
pub(crate) fn no_such_call() -> Problem {
    Problem::new(Code::CallNotFound, "There is no such call. Ended calls are kept for at least 24 hours.")
}

/// Another tenant's delivery is unknown too.
pub(crate) fn no_such_delivery() -> Problem {
    Problem::new(
        Code::DeliveryNotFound,
        "There is no such delivery, or its event has no receiver; GET /api/webhooks/deliveries lists them.",
    )
}

async fn variable(parts: &mut Parts, api: &Api, name: &str) -> Result<String, Problem> {
    let unreadable =
        || Problem::new(Code::RequestMalformed, "The path is not UTF-8; write it as it was given.");
    let params = RawPathParams::from_request_parts(parts, api).await.map_err(|_| unreadable())?;
    let found = params.iter().find(|(found, _)| *found == name);
    found.map(|(_, value)| value.to_owned()).ok_or_else(unreadable)
}
