//! The providers of a tenant, and how they are.

use axum::extract::State;
use serde::Serialize;

use super::Api;
use super::auth::{Allowed, ReadCalls};
use super::path::Segment;
use super::problem::{Code, Problem};
use crate::call::{
    Mode, Provider, ProviderKey, RegistrationState, TargetHealth, TargetState, TenantId, Timestamp,
};

/// The providers enabled for the token's tenant.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ProviderList {
    providers: Vec<ProviderView>,
}

/// A provider.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ProviderView {
    /// Its name in paths and events.
    #[schema(value_type = String, example = "sip-main")]
    key: ProviderKey,
    /// What it is.
    #[schema(example = "sip-trunk")]
    kind: &'static str,
    /// Always true: what is not enabled is not listed.
    enabled: bool,
    /// What can be done with it.
    capabilities: Capabilities,
    /// The engine of calls that name none.
    default_engine: Option<String>,
    /// The mode of calls that name none.
    default_mode: Mode,
}

/// What can be done with a provider.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Capabilities {
    /// It sends calls.
    inbound: bool,
    /// Calls can be placed.
    outbound: bool,
    /// How calls can be handed over.
    #[schema(example = json!(["blind", "auto"]))]
    transfer: Vec<&'static str>,
    /// Digits can be sent.
    dtmf: bool,
    /// What it speaks, the preferred one first.
    #[schema(example = json!(["PCMU", "PCMA"]))]
    codecs: Vec<&'static str>,
}

impl From<&Provider> for ProviderView {
    fn from(provider: &Provider) -> Self {
        Self {
            key: provider.key.clone(),
            kind: provider.kind.as_str(),
            enabled: true,
            capabilities: Capabilities {
                inbound: !provider.routes.is_empty() && provider.trunk.is_inbound(),
                outbound: provider.trunk.is_outbound(),
                transfer: vec!["blind", "auto"],
                dtmf: true,
                codecs: provider.trunk.codecs.iter().map(|codec| codec.name()).collect(),
            },
            default_engine: provider.default_engine.as_ref().map(|engine| engine.as_str().to_owned()),
            default_mode: provider.default_mode,
        }
    }
}

/// How a provider is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct HealthView {
    /// Whose.
    #[schema(value_type = String, example = "sip-main")]
    provider: ProviderKey,
    /// In a word.
    verdict: Verdict,
    /// Whether the last probe was answered; null before the first, and where nothing is probed.
    reachable: Option<bool>,
    /// What the last probe said.
    #[schema(example = "200 OK")]
    detail: String,
    /// When it said so.
    #[schema(value_type = Option<String>, format = DateTime)]
    checked_at: Option<Timestamp>,
    /// Each target, the preferred one first.
    targets: Vec<TargetView>,
    /// At its registrar; null where it does not register.
    registration: Option<RegistrationView>,
    /// Calls running over it now.
    active_calls: usize,
}

/// How a provider stands with its registrar.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct RegistrationView {
    /// In a word.
    state: RegistrationState,
    /// What the registrar said last, or why it said nothing.
    #[schema(example = "registered for 600 s")]
    detail: String,
}

/// How one target of a provider is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct TargetView {
    /// Its address and transport.
    #[schema(example = "203.0.113.10:5060;transport=udp")]
    target: String,
    /// In a word.
    state: TargetState,
    /// What it said last, or why it said nothing.
    detail: String,
    /// When.
    #[schema(value_type = Option<String>, format = DateTime)]
    checked_at: Option<Timestamp>,
}

impl From<&TargetHealth> for TargetView {
    fn from(health: &TargetHealth) -> Self {
        let TargetHealth { target, state, detail, checked_at } = health.clone();
        Self { target, state, detail, checked_at }
    }
}

/// How a provider is, in a word.
#[derive(Debug, Clone, Copy, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// It answers.
    Healthy,
    /// It does not answer, or answers that it cannot serve.
    Unhealthy,
    /// Not probed, or not yet.
    Unknown,
}

/// Lists the providers enabled for the token's tenant.
#[utoipa::path(get, path = "/api/integrations/providers", tag = "providers", operation_id = "listProviders",
    security(("bearer" = ["calls:read"])),
    responses((status = 200, description = "The tenant's providers.", body = ProviderList)))]
pub(crate) async fn list(State(api): State<Api>, bearer: Allowed<ReadCalls>) -> axum::Json<ProviderList> {
    let settings = api.settings();
    let own = settings.providers.values().filter(|provider| provider.tenant == bearer.tenant);
    axum::Json(ProviderList { providers: own.map(|provider| provider.as_ref().into()).collect() })
}

/// Says how a provider is: 200 with a verdict, also when it cannot be reached.
#[utoipa::path(get, path = "/api/integrations/providers/{key}/health", tag = "providers",
    operation_id = "providerHealth", security(("bearer" = ["calls:read"])),
    params(("key" = String, Path, description = "The provider.", example = "sip-main")),
    responses((status = 200, description = "How it is.", body = HealthView),
        (status = 404, response = super::openapi::NotFound)))]
pub(crate) async fn health(
    State(api): State<Api>,
    bearer: Allowed<ReadCalls>,
    Segment(key): Segment,
) -> Result<axum::Json<HealthView>, Problem> {
    let provider = own(&api, &bearer.tenant, &key)?;
    let all = api.health.borrow().clone();
    let known = all.get(&provider);
    Ok(axum::Json(HealthView {
        verdict: match known.and_then(|health| health.reachable) {
            Some(true) => Verdict::Healthy,
            Some(false) => Verdict::Unhealthy,
            None => Verdict::Unknown,
        },
        reachable: known.and_then(|health| health.reachable),
        detail: known.map_or_else(|| "not probed".to_owned(), |health| health.detail.clone()),
        checked_at: known.and_then(|health| health.checked_at),
        targets: known.map_or_else(Vec::new, |health| health.targets.iter().map(TargetView::from).collect()),
        registration: known
            .and_then(|health| health.registration.clone())
            .map(|told| RegistrationView { state: told.state, detail: told.detail }),
        active_calls: api.calls.running(|record| record.view.provider == provider),
        provider,
    }))
}

/// The provider, if it is the tenant's.
pub(crate) fn own(api: &Api, tenant: &TenantId, key: &str) -> Result<ProviderKey, Problem> {
    let settings = api.settings();
    let provider = settings.providers.get(key).filter(|provider| provider.tenant == *tenant);
    provider.map(|provider| provider.key.clone()).ok_or_else(|| {
        Problem::new(
            Code::ProviderNotFound,
            "There is no such provider; GET /api/integrations/providers lists those of the token's tenant.",
        )
    })
}
