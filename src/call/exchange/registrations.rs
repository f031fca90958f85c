//! Carries out what the registrations want: REGISTER to a target of the trunk, and the farewell when the edge stops.

use std::time::{Duration, Instant};

use super::Exchange;
use crate::call::ids::ProviderKey;
use crate::call::number;
use crate::call::output::RegistrationHealth;
use crate::call::registration::Registration;
use crate::call::settings::Provider;

impl Exchange {
    pub(super) fn start_registrations(&mut self, now: Instant) {
        let providers = &self.settings.providers;
        let leaving: Vec<ProviderKey> = (self.registrations.keys())
            .filter(|key| providers.get(*key).is_none_or(|provider| provider.trunk.register.is_none()))
            .cloned()
            .collect();
        for key in leaving {
            self.registrations.remove(&key);
            if let Some(ways) = self.ways.get_mut(&key) {
                ways.registration = None;
                self.tell_health(now, &key);
            }
        }
        for (key, provider) in &self.settings.providers {
            if let Some(expires) = provider.trunk.register {
                self.registrations.entry(key.clone()).or_insert_with(|| Registration::new(now, expires));
            }
        }
    }

    /// Sends every REGISTER that is due.
    pub(super) fn register(&mut self, now: Instant) {
        for registration in self.registrations.values_mut() {
            registration.handle_timeout(now);
        }
        let due: Vec<ProviderKey> = (self.registrations.iter())
            .filter(|(_, registration)| registration.is_due(now))
            .map(|(key, _)| key.clone())
            .collect();
        for key in due {
            let expires = self.registrations.get(&key).map_or(0, Registration::expires);
            let request = self.send_register(now, &key, expires);
            let Some(registration) = self.registrations.get_mut(&key) else { continue };
            match request {
                Some(request) => registration.asked(request),
                None => registration.failed(now, "no target or no username".into(), None, &mut self.chance),
            }
            self.tell_registration(now, &key);
        }
    }

    /// The edge is going: nothing is to be sent to us any more.
    pub(super) fn unregister(&mut self, now: Instant) {
        let keys: Vec<ProviderKey> = self.registrations.keys().cloned().collect();
        for key in keys {
            let bound = self.registrations.get(&key).is_some_and(Registration::is_bound);
            let request = if bound { self.send_register(now, &key, 0) } else { None };
            if let Some(registration) = self.registrations.get_mut(&key) {
                registration.leave(now, request);
            }
            self.tell_registration(now, &key);
        }
    }

    /// Takes the answer of a REGISTER; false when it is none.
    pub(super) fn register_answered(
        &mut self,
        now: Instant,
        id: sip::RequestId,
        response: Result<&sip::Message, &str>,
    ) -> bool {
        let found = self.registrations.iter_mut().find(|(_, registration)| registration.waits_for(id));
        let Some((key, registration)) = found else { return false };
        let key = key.clone();
        let chance = &mut self.chance;
        match response {
            Err(failure) => {
                registration.failed(now, failure.to_owned(), None, chance);
                self.register_failed(now, &key, failure);
            }
            Ok(response) => {
                let status = response.status().map_or(0, sip::StatusCode::code);
                let told = format!("{status} {}", response.reason_phrase().unwrap_or_default());
                match status {
                    200..300 => {
                        let user = self.settings.providers.get(&key).and_then(|provider| user_of(provider));
                        registration.granted(now, granted(response, user, registration.expires()), chance);
                    }
                    423 if registration.too_brief(now, min_expires(response)) => {}
                    _ => {
                        let after = response.retry_after().ok().flatten();
                        let after = after.map(|after| Duration::from_secs(after.seconds.into()));
                        registration.failed(now, told, after, chance);
                    }
                }
            }
        }
        self.tell_registration(now, &key);
        // A 423 is asked again at once, and what is left may be due.
        self.register(now);
        true
    }

    /// A stream to this address is gone, or could not be had.
    pub(super) fn registrar_lost(
        &mut self,
        now: Instant,
        transport: sip::Transport,
        to: std::net::SocketAddr,
    ) {
        let lost = sip::Target { transport, address: to };
        for (key, registration) in &mut self.registrations {
            let provider = self.settings.providers.get(key);
            if provider.is_some_and(|provider| provider.trunk.targets.iter().any(|at| at.target == lost)) {
                registration.flow_lost(now, &mut self.chance);
            }
        }
    }

    /// The registrar at the target that was asked is not there: the next try asks another one.
    fn register_failed(&mut self, now: Instant, key: &ProviderKey, why: &str) {
        let at = self.outputs.timestamp(now);
        if let (Some(ways), Some(target)) = (self.ways.get_mut(key), self.registrars.get(key)) {
            ways.failed(now, *target, why, None, at);
        }
    }

    fn send_register(&mut self, now: Instant, key: &ProviderKey, expires: u32) -> Option<sip::RequestId> {
        let provider = self.settings.providers.get(key)?;
        let target = self.ways.get(key)?.order(now, &mut self.chance).first().copied()?;
        let domain = number::domain(&provider.trunk).ok()?;
        let registrar = sip::Uri::parse(format!("sip:{domain}")).ok()?;
        let user = user_of(provider)?;
        let own = sip::NameAddr::new(sip::Uri::sip(Some(user), registrar.host()?, registrar.port()).ok()?);
        let request = sip::OutOfDialog {
            target,
            method: sip::Method::Register,
            request_uri: registrar,
            from: own.clone(),
            to: own,
            credentials: provider.trunk.credentials.clone(),
            headers: vec![("Expires".into(), expires.to_string())],
            body: None,
            timeout: Some(provider.trunk.response_timeout),
        };
        self.registrars.insert(key.clone(), target);
        Some(self.endpoint.request(now, request))
    }

    fn tell_registration(&mut self, now: Instant, key: &ProviderKey) {
        let (Some(ways), Some(registration)) = (self.ways.get_mut(key), self.registrations.get(key)) else {
            return;
        };
        let (state, detail) = registration.health(now);
        let told = Some(RegistrationHealth { state, detail });
        if ways.registration != told {
            ways.registration = told;
            self.tell_health(now, key);
        }
    }
}

fn user_of(provider: &Provider) -> Option<&str> {
    provider.trunk.credentials.as_ref().map(|credentials| credentials.username.as_str())
}

/// RFC 3261 §10.2.4: what our Contact says, else what Expires says, else what was asked for.
fn granted(response: &sip::Message, user: Option<&str>, asked: u32) -> u32 {
    let ours = response.contacts().filter_map(Result::ok).filter(|contact| contact.uri().user() == user);
    let granted = ours.filter_map(|contact| contact.params().token("expires")?.parse().ok()).max();
    granted.or(response.expires().ok().flatten()).unwrap_or(asked)
}

fn min_expires(response: &sip::Message) -> Option<u32> {
    response.header_named("Min-Expires")?.text().trim().parse().ok()
}
