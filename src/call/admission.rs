//! Who may call, and where a call leads: providers by source address and number, limits.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sip::auth::Algorithm;

use super::account::{Account, no_engine};
use super::clock::Timestamp;
use super::command::CommandError;
use super::ids::{EngineName, ProviderKey, TenantId};
use super::pace::Pace;
use super::settings::{Engine, Handling, InboundAuth, InboundDigest, Provider, Settings, Workflow};
use super::view::Mode;

/// Why an INVITE is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No route for the number called.
    NoRoute,
    /// A limit of calls at once is reached.
    Limit,
    /// New calls come too fast.
    Rate(Duration),
    /// There is too much to do.
    Busy,
    /// The disk does not keep up.
    StoreBehind,
    /// The edge is stopping.
    Draining,
}

impl Refusal {
    /// Status, `Retry-After` in seconds, and what `Reason` says.
    pub(super) fn answer(self) -> (sip::StatusCode, Option<u32>, &'static str) {
        match self {
            Self::NoRoute => (sip::StatusCode::NOT_FOUND, None, "No route for this number"),
            Self::Limit => (sip::StatusCode::SERVICE_UNAVAILABLE, Some(5), "Limit of calls at once"),
            Self::Rate(wait) => {
                let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
                (sip::StatusCode::SERVICE_UNAVAILABLE, Some(seconds), "Limit of calls a second")
            }
            Self::Busy => (sip::StatusCode::SERVICE_UNAVAILABLE, None, "Too much to do"),
            Self::StoreBehind => (sip::StatusCode::SERVICE_UNAVAILABLE, Some(5), "Overloaded"),
            Self::Draining => (sip::StatusCode::SERVICE_UNAVAILABLE, Some(10), "Stopping"),
        }
    }
}

/// Where an inbound call leads.
#[derive(Debug, Clone)]
pub(super) struct Destination {
    pub(super) provider: Arc<Provider>,
    pub(super) engine: Arc<Engine>,
    pub(super) mode: Mode,
    pub(super) handling: Arc<Handling>,
    /// Who runs the call in the place of an engine.
    pub(super) account: Option<Arc<Account>>,
}

impl Destination {
    /// Where it leads at this time: elsewhere when nobody is there.
    pub(super) fn at(self, settings: &Settings, now: Timestamp) -> Self {
        let closed = self.handling.closed.as_ref().filter(|closed| !closed.hours.are_open(now));
        let Some(instead) = closed.map(|closed| closed.instead.clone()) else { return self };
        match settings.engines.get(&instead.engine) {
            Some(engine) => Self {
                engine: engine.clone(),
                mode: instead.mode,
                handling: instead.handling.clone(),
                ..self
            },
            None => self,
        }
    }
}

/// Whether any provider's requests come from `source`.
pub(super) fn is_known(settings: &Settings, source: IpAddr) -> bool {
    settings.providers.values().any(|provider| claims(provider, source))
}

/// An answer to a request that belongs to no provider, without a state of ours. Nothing for ACK, and nothing for what
/// cannot be answered.
pub(super) fn turned_away(
    flow: sip::Flow,
    request: &sip::Message,
    status: sip::StatusCode,
    headers: &sip::Headers,
) -> Option<sip::Transmit> {
    if matches!(request.method()?, sip::Method::Ack) {
        return None;
    }
    let mut writer = sip::MessageWriter::response_to(request, status, flow.peer, Some("unknown"));
    for (name, value) in headers {
        writer.extension_header(name, value).ok()?;
    }
    Some(sip::Transmit {
        transport: flow.transport,
        local: Some(flow.local),
        to: request.via().ok()?.reply_address(flow.peer),
        connection: flow.connection,
        payload: writer.finish(),
    })
}

/// Whether an INVITE may come from anywhere, since a trunk is known by its password alone.
pub(super) fn takes_strangers<'a>(mut providers: impl Iterator<Item = &'a Arc<Provider>>) -> bool {
    providers.any(|provider| matches!(provider.trunk.inbound_auth, InboundAuth::Digest(_)))
}

/// The trunk that is known by this name, wherever its calls come from.
pub(super) fn named<'a>(
    settings: &'a Settings,
    username: &str,
) -> Option<(&'a Arc<Provider>, &'a InboundDigest)> {
    settings.providers.values().find_map(|provider| match &provider.trunk.inbound_auth {
        InboundAuth::Digest(digest) if digest.credentials.username == username => Some((provider, digest)),
        InboundAuth::Digest(_) | InboundAuth::Both(_) | InboundAuth::Address | InboundAuth::Signed(_) => None,
    })
}

/// What is offered to a stranger: all that any trunk takes which is known by its password alone. The same for every
/// name.
pub(super) fn offered_to_strangers(settings: &Settings) -> Vec<Algorithm> {
    let mut offered: Vec<Algorithm> = Vec::new();
    for provider in settings.providers.values() {
        if let InboundAuth::Digest(digest) = &provider.trunk.inbound_auth {
            let further: Vec<Algorithm> =
                digest.algorithms.iter().filter(|one| !offered.contains(one)).copied().collect();
            offered.extend(further);
        }
    }
    // The last such trunk may just have been taken out of the configuration.
    if offered.is_empty() { InboundDigest::USUAL.to_vec() } else { offered }
}

/// Whom an INVITE is from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller<'a> {
    /// Where it came from.
    pub(super) source: IpAddr,
    /// Whose password it has shown, where that alone counts.
    pub(super) proven: Option<&'a ProviderKey>,
}

impl Caller<'_> {
    /// Whether it is this provider's.
    pub(super) fn is_of(&self, provider: &Provider) -> bool {
        match (self.proven, &provider.trunk.inbound_auth) {
            (Some(proven), _) => *proven == provider.key,
            (None, InboundAuth::Address | InboundAuth::Both(_)) => claims(provider, self.source),
            (None, InboundAuth::Digest(_) | InboundAuth::Signed(_)) => false,
        }
    }
}

/// The first provider whose caller it is and that has a route for the number.
pub(super) fn destination(
    settings: &Settings,
    caller: Caller<'_>,
    number: &str,
) -> Result<Destination, Refusal> {
    let claiming = settings.providers.values().filter(|provider| caller.is_of(provider));
    let mut found = claiming.filter_map(|provider| {
        let number = provider.trunk.numbers_in.apply(number);
        let route = provider.routes.iter().find(|route| route.number.matches(&number));
        if let (None, Some(account)) = (route, applied(settings, provider)) {
            return Some(Destination {
                provider: provider.clone(),
                engine: no_engine(),
                mode: Mode::AiOnly,
                handling: Arc::new(without_humans(&provider.default_handling)),
                account: Some(account),
            });
        }
        let (engine, mode, handling) = match route {
            Some(route) => (&route.engine, route.mode, &route.handling),
            None if provider.routes.is_empty() => {
                let engine = provider.default_engine.as_ref()?;
                (engine, provider.default_mode, &provider.default_handling)
            }
            None => return None,
        };
        let engine = settings.engines.get(engine)?.clone();
        Some(Destination {
            provider: provider.clone(),
            engine,
            mode,
            handling: handling.clone(),
            account: None,
        })
    });
    found.next().ok_or(Refusal::NoRoute)
}

/// The account whose application says what becomes of calls that no route of the provider claims.
fn applied(settings: &Settings, provider: &Provider) -> Option<Arc<Account>> {
    let account = settings.tenants.get(&provider.tenant)?.account.as_ref()?;
    (account.provider == provider.key && account.voice.is_some()).then(|| account.clone())
}

/// What else belongs to a call that an application runs: it calls the humans itself.
pub(super) fn without_humans(usual: &Handling) -> Handling {
    Handling { record: usual.record, waiting: usual.waiting.clone(), ..Handling::default() }
}

/// Whose credentials a call has to show: the provider that would take it, or, so that nobody learns without credentials
/// which numbers there are, any that claims the source and wants some.
pub(super) fn guard(settings: &Settings, caller: Caller<'_>, number: &str) -> Option<Arc<Provider>> {
    if let Ok(destination) = destination(settings, caller, number) {
        return Some(destination.provider);
    }
    let mut claiming = settings.providers.values().filter(|provider| caller.is_of(provider));
    claiming.find(|provider| provider.trunk.inbound_auth.digest().is_some()).cloned()
}

/// Whether this provider's requests come from `source`.
pub(super) fn claims(provider: &Provider, source: IpAddr) -> bool {
    let source = source.to_canonical();
    provider.trunk.peers.iter().any(|network| network.contains(&source))
        || provider.trunk.targets.iter().any(|at| at.target.address.ip().to_canonical() == source)
}

/// The engine and mode of a call placed by REST.
pub(super) fn engine_of(
    settings: &Settings,
    provider: &Provider,
    asked: Option<&str>,
) -> Result<Arc<Engine>, CommandError> {
    let name = match asked {
        Some(name) => name,
        None => {
            provider.default_engine.as_ref().map(EngineName::as_str).ok_or(CommandError::EngineMissing)?
        }
    };
    engine_named(settings, name)
}

/// The engine of that name.
pub(super) fn engine_named(settings: &Settings, name: &str) -> Result<Arc<Engine>, CommandError> {
    settings.engines.get(name).cloned().ok_or_else(|| CommandError::EngineNotFound {
        name: name.to_owned(),
        nearest: nearest(name, settings.engines.keys().map(EngineName::as_str)).map(str::to_owned),
    })
}

/// The workflow of that name.
pub(super) fn workflow<'a>(settings: &'a Settings, name: &str) -> Result<&'a Workflow, CommandError> {
    settings.workflows.get(name).map(Arc::as_ref).ok_or_else(|| CommandError::WorkflowNotFound {
        name: name.to_owned(),
        nearest: nearest(name, settings.workflows.keys().map(String::as_str)).map(str::to_owned),
    })
}

/// The name most like the one asked for, if one is like it at all.
fn nearest<'a>(asked: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|name| (strsim::jaro_winkler(asked, name), name))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name)
}

/// Why there is no room for one more call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// A limit of calls at once: `edge`, `tenant` or `provider`.
    AtOnce(&'static str),
    /// A limit of new calls a second, `tenant` or `provider`, and when one more may come.
    TooFast(&'static str, Duration),
}

/// Calls at once: over all, by tenant, by provider; and how fast they come.
#[derive(Debug, Default)]
pub(super) struct Census {
    calls: usize,
    tenants: BTreeMap<TenantId, usize>,
    providers: BTreeMap<ProviderKey, usize>,
    paces_of_tenants: BTreeMap<TenantId, Pace>,
    paces_of_providers: BTreeMap<ProviderKey, Pace>,
}

impl Census {
    /// Counts one more call, unless a limit says no; then says which.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        settings: &Settings,
        provider: &Provider,
    ) -> Result<(), Full> {
        let tenant = settings.tenants.get(&provider.tenant);
        let tenant_limit = tenant.and_then(|tenant| tenant.max_calls);
        let of_tenant = self.tenants.entry(provider.tenant.clone()).or_default();
        let of_provider = self.providers.entry(provider.key.clone()).or_default();
        if self.calls >= settings.max_calls {
            return Err(Full::AtOnce("edge"));
        }
        if tenant_limit.is_some_and(|limit| *of_tenant >= limit) {
            return Err(Full::AtOnce("tenant"));
        }
        if provider.trunk.max_calls.is_some_and(|limit| *of_provider >= limit) {
            return Err(Full::AtOnce("provider"));
        }
        let tenant_rate = tenant.and_then(|tenant| tenant.calls_per_second);
        let pace_of_tenant = self.paces_of_tenants.entry(provider.tenant.clone()).or_default();
        let pace_of_provider = self.paces_of_providers.entry(provider.key.clone()).or_default();
        let rates = [
            ("tenant", tenant_rate, pace_of_tenant),
            ("provider", provider.trunk.calls_per_second, pace_of_provider),
        ];
        for (scope, rate, pace) in &rates {
            if let Some(wait) = rate.and_then(|rate| pace.wait(now, rate)) {
                return Err(Full::TooFast(scope, wait));
            }
        }
        // Only a call that every limit lets through counts for any.
        for (_, rate, pace) in rates {
            if let Some(rate) = rate {
                pace.count(now, rate);
            }
        }
        self.calls += 1;
        *of_tenant += 1;
        *of_provider += 1;
        Ok(())
    }

    /// One call less.
    pub(super) fn release(&mut self, provider: &Provider) {
        self.calls = self.calls.saturating_sub(1);
        if let Some(count) = self.tenants.get_mut(&provider.tenant) {
            *count = count.saturating_sub(1);
        }
        if let Some(count) = self.providers.get_mut(&provider.key) {
            *count = count.saturating_sub(1);
        }
    }
}
