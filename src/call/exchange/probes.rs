//! Whether the trunks are there: OPTIONS (RFC 3261 §11) to every target at an interval. Any final answer is a yes.

use std::time::Instant;

use super::Exchange;
use crate::call::ids::ProviderKey;
use crate::call::number;
use crate::call::output::Output;
use crate::call::ways::Ways;

impl Exchange {
    pub(super) fn start_probes(&mut self, now: Instant) {
        let providers = &self.settings.providers;
        self.ways.retain(|key, _| providers.contains_key(key));
        for (key, provider) in providers {
            match self.ways.get_mut(key) {
                Some(ways) => {
                    ways.follow(now, &provider.trunk);
                    if provider.trunk.probe_interval.is_some() {
                        ways.next_probe.get_or_insert(now);
                    }
                }
                None => drop(self.ways.insert(key.clone(), Ways::new(now, &provider.trunk))),
            }
        }
        let keys: Vec<ProviderKey> = self.ways.keys().cloned().collect();
        for key in keys {
            self.tell_health(now, &key);
        }
    }

    pub(super) fn probe(&mut self, now: Instant) {
        for (key, ways) in &mut self.ways {
            if ways.next_probe.is_none_or(|next| next > now) {
                continue;
            }
            let Some(provider) = self.settings.providers.get(key) else {
                ways.next_probe = None;
                continue;
            };
            ways.next_probe = provider.trunk.probe_interval.map(|interval| now + interval);
            let uri = number::domain(&provider.trunk)
                .ok()
                .and_then(|domain| sip::Uri::parse(format!("sip:{domain}")).ok());
            let Some(uri) = uri else { continue };
            for (target, way) in ways.iter_mut().filter(|(_, way)| way.probe.is_none()) {
                let id = self.endpoint.request(
                    now,
                    sip::OutOfDialog {
                        target,
                        method: sip::Method::Options,
                        from: sip::NameAddr::new(uri.clone()),
                        to: sip::NameAddr::new(uri.clone()),
                        request_uri: uri.clone(),
                        credentials: provider.trunk.credentials.clone(),
                        headers: Vec::new(),
                        body: None,
                        timeout: Some(provider.trunk.response_timeout),
                    },
                );
                way.probe = Some(id);
            }
        }
    }

    pub(super) fn probed(&mut self, now: Instant, id: sip::RequestId, reachable: bool, detail: &str) {
        let at = self.outputs.timestamp(now);
        for (key, ways) in &mut self.ways {
            let mut found = ways.iter_mut().filter(|(_, way)| way.probe == Some(id));
            let Some((target, way)) = found.next() else { continue };
            way.probe = None;
            drop(found);
            if reachable {
                ways.succeeded(target, detail, at);
            } else {
                ways.failed(now, target, detail, None, at);
            }
            let key = key.clone();
            return self.tell_health(now, &key);
        }
    }

    pub(super) fn tell_health(&mut self, now: Instant, key: &ProviderKey) {
        let Some(ways) = self.ways.get(key) else { return };
        self.outputs.push(Output::Health { provider: key.clone(), health: ways.health(now) });
    }
}
