//! Sessions that platforms open.

use std::time::Instant;

use super::Exchange;
use crate::call::admission::Full;
use crate::call::hook::{HookArrival, HookRefusal};
use crate::call::ids::CallId;
use crate::call::one::Call;

impl Exchange {
    /// A platform has opened a session, and has proven who it is. The call that it becomes: its worker is to be handed the socket.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn handle_hook(&mut self, now: Instant, arrival: HookArrival) -> Result<CallId, HookRefusal> {
        let admitted = self.admit_hook(now, arrival);
        if admitted.is_err() {
            self.tally.refused += 1;
        }
        self.settle(now);
        admitted
    }

    fn admit_hook(&mut self, now: Instant, arrival: HookArrival) -> Result<CallId, HookRefusal> {
        let continued = self.calls.iter().find(|(_, call)| call.continues(&arrival)).map(|(id, _)| *id);
        if let Some(id) = continued {
            self.with_call(now, id, |call, _| call.session = arrival.session);
            return Ok(id);
        }
        if self.draining.is_some() {
            return Err(HookRefusal::Draining);
        }
        if self.overload.is_late() || self.is_store_behind() {
            return Err(HookRefusal::Busy);
        }
        let provider = self.settings.providers.get(&arrival.provider).cloned().ok_or(HookRefusal::Unknown)?;
        let called = provider.trunk.numbers_in.apply(&arrival.to);
        let route = provider.routes.iter().find(|route| route.number.matches(&called));
        let (name, handling) = match route {
            Some(route) => (Some(&route.engine), &route.handling),
            None => (provider.default_engine.as_ref(), &provider.default_handling),
        };
        let engine =
            name.and_then(|name| self.settings.engines.get(name)).ok_or(HookRefusal::NoEngine)?.clone();
        let handling = handling.clone();
        self.census.admit(now, &self.settings, &provider).map_err(|full| match full {
            Full::AtOnce(_) => HookRefusal::Limit,
            Full::TooFast(..) => {
                self.tally.too_fast += 1;
                HookRefusal::Rate
            }
        })?;
        self.tally.admitted += 1;
        let id = CallId::new(self.outputs.wall().at(now), &mut self.chance);
        let webhook_url = self.receiver(None, &provider);
        let call =
            Call::arrive_hooked(&mut self.hands(now), id, arrival, provider, engine, handling, webhook_url);
        self.calls.insert(id, call);
        self.note_deadline(id);
        Ok(id)
    }
}
