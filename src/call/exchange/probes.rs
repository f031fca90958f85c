//! Whether the trunks are there: OPTIONS (RFC 3261 §11) at an interval. Any final answer is a yes.

use std::time::Instant;

use super::Exchange;
use crate::call::clock::Timestamp;
use crate::call::ids::ProviderKey;
use crate::call::number;
use crate::call::output::{Health, Output};
use crate::call::settings::Provider;

/// The probing of one trunk.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) next: Option<Instant>,
    pub(super) waiting: Option<sip::RequestId>,
    pub(super) reachable: Option<bool>,
    pub(super) detail: String,
    pub(super) checked_at: Option<Timestamp>,
}

impl Probe {
    /// Probes at once where the trunk has a target and an interval.
    pub(super) fn new(now: Instant, provider: &Provider) -> Self {
        let probed = provider.trunk.target.is_some() && provider.trunk.probe_interval.is_some();
        let detail = if probed { "not probed yet" } else { "not probed" };
        Self {
            next: probed.then_some(now),
            waiting: None,
            reachable: None,
            detail: detail.to_owned(),
            checked_at: None,
        }
    }

    /// The outcome of an OPTIONS. True when the verdict is another than before.
    pub(super) fn conclude(&mut self, reachable: bool, detail: String, at: Timestamp) -> bool {
        let changed = self.reachable != Some(reachable) || self.detail != detail;
        self.waiting = None;
        self.reachable = Some(reachable);
        self.detail = detail;
        self.checked_at = Some(at);
        changed
    }
}

impl Exchange {
    pub(super) fn start_probes(&mut self, now: Instant) {
        let providers = &self.settings.providers;
        self.probes.retain(|key, _| providers.contains_key(key));
        for (key, provider) in providers {
            self.probes.entry(key.clone()).or_insert_with(|| Probe::new(now, provider));
        }
        let keys: Vec<ProviderKey> = self.probes.keys().cloned().collect();
        for key in keys {
            self.tell_health(&key);
        }
    }

    pub(super) fn probe(&mut self, now: Instant) {
        for (key, probe) in &mut self.probes {
            if probe.next.is_none_or(|next| next > now) {
                continue;
            }
            let provider = self.settings.providers.get(key);
            let Some((provider, target)) = provider.and_then(|known| Some((known, known.trunk.target?)))
            else {
                probe.next = None;
                continue;
            };
            probe.next = provider.trunk.probe_interval.map(|interval| now + interval);
            let uri = number::domain(&provider.trunk)
                .ok()
                .and_then(|domain| sip::Uri::parse(format!("sip:{domain}")).ok());
            let Some(uri) = uri.filter(|_| probe.waiting.is_none()) else { continue };
            let id = self.endpoint.request(
                now,
                sip::OutOfDialog {
                    target,
                    method: sip::Method::Options,
                    from: sip::NameAddr::new(uri.clone()),
                    to: sip::NameAddr::new(uri.clone()),
                    request_uri: uri,
                    credentials: provider.trunk.credentials.clone(),
                    headers: Vec::new(),
                    body: None,
                    timeout: Some(provider.trunk.response_timeout),
                },
            );
            probe.waiting = Some(id);
        }
    }

    pub(super) fn probed(&mut self, now: Instant, id: sip::RequestId, reachable: bool, detail: String) {
        let at = self.outputs.timestamp(now);
        let found = self.probes.iter_mut().find(|(_, probe)| probe.waiting == Some(id));
        let Some((key, probe)) = found else { return };
        probe.conclude(reachable, detail, at);
        let key = key.clone();
        self.tell_health(&key);
    }

    fn tell_health(&mut self, key: &ProviderKey) {
        let Some(probe) = self.probes.get(key) else { return };
        let health =
            Health { reachable: probe.reachable, detail: probe.detail.clone(), checked_at: probe.checked_at };
        self.outputs.push(Output::Health { provider: key.clone(), health });
    }
}
