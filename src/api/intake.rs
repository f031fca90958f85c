//! Events from platforms: each verified by the platform's own scheme over the bytes as they came, before anything of them is read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::HeaderMap;
use metrics::counter;
use serde::Serialize;
use tokio::sync::Mutex;

use super::Api;
use super::auth::Source;
use super::body::Raw;
use super::openapi::{NotFound, Unproven as UnprovenResponse};
use super::path::Segment;
use super::problem::{Code, Problem};
use crate::call::TenantId;
use crate::provider::{Arrival, Gate, Platform, PlatformEvent};
use crate::store::{Actor, AuditAction};

/// One place where a platform's events come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intake {
    /// Whose they are.
    pub tenant: TenantId,
    /// Who sends them.
    pub platform: Platform,
}

/// What came in of late, by intake. An intake that a reload took away is forgotten with its next event.
pub type Gates = Arc<Mutex<BTreeMap<String, Gate>>>;

/// What became of an event.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Receipt {
    /// The platform's own name for the event.
    event_id: String,
    /// Whether it came for the first time.
    status: ReceiptStatus,
}

/// Whether an event came for the first time.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum ReceiptStatus {
    /// It did.
    Accepted,
    /// It came before, and nothing was done.
    Repeated,
}

/// Takes an event from a platform, which proves itself by its own scheme in place of a token.
#[utoipa::path(post, path = "/api/intake/{key}/events", tag = "events", operation_id = "takePlatformEvent",
    params(("key" = String, Path, description = "The intake's name in the configuration.", example = "telnyx-main")),
    request_body(content = Object, description = "The event as the platform writes it."),
    responses((status = 200, description = "It is taken, or was before.", body = Receipt),
        (status = 401, response = UnprovenResponse), (status = 404, response = NotFound),
        (status = 422, description = "The platform has signed something that is no event.",
            content_type = "application/problem+json")))]
pub(crate) async fn take(
    State(api): State<Api>,
    Segment(key): Segment,
    source: Source,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<axum::Json<Receipt>, Problem> {
    let intake = api.intakes.borrow().get(&key).cloned();
    let intake = intake.ok_or_else(|| {
        Problem::new(
            Code::PlatformNotFound,
            "There is no such intake; look at [intakes] of the configuration.",
        )
    })?;
    let platform = intake.platform.as_str();
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed());
    if let Err(why) = intake.platform.verify(header, &body, now) {
        counter!("callingedge_platform_events_total", "platform" => platform, "result" => "refused")
            .increment(1);
        if api.gate(&key, |gate| gate.refuse(Instant::now())).await {
            record(&api, &intake, &key, source, AuditAction::PlatformRefused, why.to_string()).await?;
        }
        let detail = format!("This is not known to be from {platform}: {why}.");
        return Err(Problem::new(Code::PlatformUnproven, detail));
    }
    let PlatformEvent { id, kind } = intake.platform.read(&body).map_err(|error| {
        counter!("callingedge_platform_events_total", "platform" => platform, "result" => "unread")
            .increment(1);
        Problem::new(Code::FieldInvalid, format!("It is from {platform}, and {error}."))
    })?;
    let (result, status) = match api.gate(&key, |gate| gate.accept(Instant::now(), &id)).await {
        Arrival::New { worth_a_record } => {
            if worth_a_record {
                let detail = format!("{kind}, and those that follow it");
                record(&api, &intake, &key, source, AuditAction::PlatformAccepted, detail).await?;
            }
            ("accepted", ReceiptStatus::Accepted)
        }
        Arrival::Repeated => ("repeated", ReceiptStatus::Repeated),
    };
    counter!("callingedge_platform_events_total", "platform" => platform, "result" => result).increment(1);
    tracing::debug!(intake = key, platform, event = id, kind, result, "a platform told an event");
    Ok(axum::Json(Receipt { event_id: id, status }))
}

async fn record(
    api: &Api,
    intake: &Intake,
    key: &str,
    source: Source,
    action: AuditAction,
    detail: String,
) -> Result<(), Problem> {
    let actor = Actor { who: format!("platform {}", intake.platform.as_str()), source: source.0 };
    let (tenant, subject) = (intake.tenant.clone(), key.to_owned());
    Ok(api.store.vault(move |vault| vault.note(&tenant, &actor, action, &subject, &detail)).await?)
}

impl Api {
    async fn gate<T>(&self, key: &str, ask: impl FnOnce(&mut Gate) -> T) -> T {
        let mut gates = self.gates.lock().await;
        let intakes = self.intakes.borrow().clone();
        gates.retain(|name, _| intakes.contains_key(name));
        ask(gates.entry(key.to_owned()).or_default())
    }
}
