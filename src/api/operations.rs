//! For whoever runs the edge: does it live, may it get calls, how much does it do.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::auth::{Administer, Allowed};
use super::problem::Problem;
use super::serve::Peer;
use super::{Api, Phase};

/// Headers by which a proxy shows itself: who comes through one only looks as if on this machine.
const PROXY_HEADERS: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// Who may read `/metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsAccess {
    /// Whoever connects from this machine and does not come through a proxy; others with a token of scope `admin`.
    Loopback,
    /// Only with a token of scope `admin`.
    Token,
    /// Everyone.
    Open,
}

/// Whether new calls may be sent here.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Readiness {
    /// Whether they may.
    ready: bool,
    /// Why not; empty when they may.
    #[schema(example = json!(["draining: the edge is stopping and finishes its calls"]))]
    reasons: Vec<&'static str>,
    /// Calls running now.
    calls: usize,
}

/// Says that the process lives.
#[utoipa::path(get, path = "/healthz", tag = "operations", operation_id = "healthz",
    responses((status = 200, description = "It lives.", body = String, content_type = "text/plain", example = "ok\n")))]
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Says whether new calls may be sent here.
#[utoipa::path(get, path = "/readyz", tag = "operations", operation_id = "readyz",
    responses((status = 200, description = "They may.", body = Readiness),
        (status = 503, description = "They may not.", body = Readiness)))]
pub(crate) async fn readyz(State(api): State<Api>) -> (StatusCode, axum::Json<Readiness>) {
    let mut reasons = Vec::new();
    match *api.phase.borrow() {
        Phase::Starting => reasons.push("starting: not all sockets are open yet"),
        Phase::Serving => {}
        Phase::Draining => reasons.push("draining: the edge is stopping and finishes its calls"),
        Phase::Stopped => reasons.push("stopped: the edge is about to end"),
    }
    if !api.store.healthy() {
        reasons.push("store: the last events could not be written to disk");
    }
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(Readiness { ready, reasons, calls: api.calls.running(|_| true) }))
}

/// Tells all numbers, for Prometheus.
///
/// Who may read them is configured: `metrics` in `[http]`. By default whoever connects from this machine without a proxy
/// between; others need a token with the scope `admin`.
#[utoipa::path(get, path = "/metrics", tag = "operations", operation_id = "metrics",
    security((), ("bearer" = ["admin"])),
    responses((status = 200, description = "The numbers.", body = String, content_type = "text/plain")))]
pub(crate) async fn metrics(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
    let open = match api.metrics_access {
        MetricsAccess::Open => true,
        MetricsAccess::Token => false,
        MetricsAccess::Loopback => {
            let peer = request.extensions().get::<Peer>();
            let proxied = PROXY_HEADERS.iter().any(|name| request.headers().contains_key(*name));
            peer.is_some_and(|peer| peer.0.ip().to_canonical().is_loopback()) && !proxied
        }
    };
    if !open {
        let (mut parts, _) = request.into_parts();
        Allowed::<Administer>::from_request_parts(&mut parts, &api).await?;
    }
    let text = (api.metrics)();
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}
